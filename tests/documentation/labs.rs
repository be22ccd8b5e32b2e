//! The labs that pages are run in: one file each, and one line of [`KINDS`].

mod argocd;
mod builders;
mod clouds;
pub mod cluster;
mod files;
mod flux;
mod sealed_secrets;
mod tools;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;

use super::place::Place;

/// A kind of lab.
pub struct Kind {
    /// What a page calls it by.
    pub name: &'static str,
    /// Whether it needs peers.
    pub is_live: bool,
    /// Whether all peers are there that it needs.
    pub is_possible: fn() -> bool,
    /// Makes ready what the commands of a page expect beside a [`Place`].
    pub start: fn(&Place) -> Result<Box<dyn Lab>, Failed>,
}

/// What the commands of a page expect around them. What it started ends when it is dropped.
pub trait Lab {
    /// Returns the command that starts a program where the commands are run, such as in the network of a cluster. The
    /// variables and the folder are set by the caller.
    fn command(&self, program: &Path) -> Result<Command, Failed> {
        Ok(Command::new(program))
    }

    /// Returns variables that the commands see beside those of every place, which they go before.
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        Vec::new()
    }

    /// Does what a comment `<!-- does: WORDS -->` asks for.
    fn does(&mut self, words: &str, _place: &Place) -> Result<(), Failed> {
        Err(format!("this lab does not know how it {words}").into())
    }

    /// Does what the world does after commands of the page, shown or not, went as expected: starts what a cluster would
    /// start, or waits until a controller has done its work.
    fn after(&mut self, _commands: &str, _place: &Place) -> Result<(), Failed> {
        Ok(())
    }
}

/// All of them, by their names.
pub const KINDS: &[Kind] = &[
    argocd::KIND,
    builders::KIND,
    clouds::KIND,
    cluster::KIND,
    files::KIND,
    flux::KIND,
    sealed_secrets::KIND,
    tools::KIND,
];

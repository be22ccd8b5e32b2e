//! The `kubectl seal` command, as a library so that tests can run it in process.

pub mod audit;
mod base64;
mod batch;
mod cache;
mod certificate;
mod change;
mod checks;
pub mod cli;
pub mod cluster;
mod commands;
mod completion;
pub mod config_file;
mod context;
mod controller;
mod digests;
mod document;
mod dotted;
mod doubts;
pub mod editor;
pub mod exec;
pub mod exit;
mod failure;
mod fetch;
pub mod files;
mod git;
mod hint;
mod history;
pub mod identities;
mod json_value;
mod key_changes;
mod key_flags;
mod key_server;
mod key_services;
pub mod kubeseal_face;
mod merging;
mod named_addresses;
mod opening;
mod output;
mod parallel;
mod pasted;
mod publish;
mod reach;
mod rekeying;
mod report;
pub mod scratch;
mod sealed_files;
mod sealed_report;
mod sealer;
mod sealing;
mod sealing_keys;
mod secret_values;
pub mod session;
mod settings;
pub mod signals;
pub mod sops_face;
mod spans;
mod staleness;
mod successor;
mod targets;
mod terminal;
mod turn;
mod versions;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::exit::Exit;
use crate::session::Session;

/// Runs the program in this process: what `main` calls.
#[must_use]
pub fn main() -> ExitCode {
    seal_hook::hardening::forbid_dumps();
    match Session::of_process() {
        Ok(session) => run(&session, &std::env::args_os().collect::<Vec<_>>()).into(),
        // Without a working directory no path means anything, and nobody can be told in colour.
        Err(_) => Exit::Failure.into(),
    }
}

/// Runs the program with these arguments, its own name first.
///
/// The name tells the face: `kubeseal` is that of kubeseal, `sops` that of sops, and so are the subcommands of these
/// names of any other name.
/// kubectl asks for completions under a name of their own.
pub fn run(session: &Session, arguments: &[OsString]) -> Exit {
    let is = |name: &OsString, wanted: &str| Path::new(name).file_stem().is_some_and(|stem| stem == wanted);
    match arguments {
        [name, rest @ ..] if is(name, "kubeseal") => {
            kubeseal_face::run(session, &name.to_string_lossy(), rest)
        }
        [name, rest @ ..] if is(name, "sops") => sops_face::run(session, rest),
        [name, rest @ ..] if is(name, completion::NAME) => completion::run(session, rest),
        [_, word, rest @ ..] if word == "kubeseal" => kubeseal_face::run(session, "kubeseal", rest),
        [_, word, rest @ ..] if word == "sops" => sops_face::run(session, rest),
        [_, word, rest @ ..] if word == completion::REQUEST => completion::run(session, rest),
        _ => cli::run(session, arguments),
    }
}

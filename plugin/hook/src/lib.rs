//! `seal-hook`: the checks of [`selkie::check`] on what Git is about to commit, push or receive. It is a program of its
//! own, which starts in milliseconds, and the commands `check`, `fix`, `hook` and `baseline` of `kubectl seal`.
//!
//! # Layers
//! [`git`] asks Git for paths and identifiers, by plumbing that no configuration or attribute changes, and reads
//! blobs. [`modes`] make [`change::Change`]s of what the user asked for. [`run`] gives their files to the checks.
//! [`report`] tells what was found. [`fix`] mends it. [`install`] makes Git call all this.
//!
//! Invariants: nothing here prints, logs or stores a value of a file; what cannot be verified ends in [`exit::Exit`]
//! `Unverified`, never in success.

pub mod change;
pub mod cli;
pub mod exit;
pub mod fix;
pub mod git;
pub mod hardening;
pub mod install;
pub mod keys;
pub mod modes;
pub mod path;
pub mod report;
pub mod run;

use std::process::ExitCode;

/// Runs the program in this process: what `main` calls.
#[must_use]
pub fn main() -> ExitCode {
    hardening::forbid_dumps();
    cli::run(&std::env::args_os().collect::<Vec<_>>()).into()
}

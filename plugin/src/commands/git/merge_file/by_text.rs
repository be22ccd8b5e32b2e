//! Merging files that are not encrypted by lines, as Git does it itself.

use std::io;
use std::process::Command;

use super::Args;
use crate::context::Context;
use crate::failure::Failure;

/// Merges our side's file in place, and returns whether that left no conflict.
///
/// # Errors
/// If Git cannot be run.
pub(super) fn merge(args: &Args, context: &Context<'_>) -> Result<bool, Failure> {
    let label = |label, other| args.label(label, other).to_owned();
    let status = Command::new("git")
        .current_dir(&context.session.directory)
        .args(["merge-file", "--quiet", &format!("--marker-size={}", args.marker_size)])
        .args(["-L", &label(&args.ours_label, "ours")])
        .args(["-L", &label(&args.ancestor_label, "base")])
        .args(["-L", &label(&args.theirs_label, "theirs")])
        .arg("--")
        .args([&args.ours, &args.ancestor, &args.theirs])
        .status()
        .map_err(Failure::io("run", "git merge-file"))?;
    match status.code() {
        // Up to 127 it is the number of conflicts; beyond, it is no text, say, and Git has said so.
        Some(code) => Ok(code == 0),
        None => Err(Failure::io("run", "git merge-file")(io::Error::other(status.to_string()))),
    }
}

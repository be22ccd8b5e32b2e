//! `kubectl seal access`.

mod report;
mod versions;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::history::Revisions;
use crate::report::count;
use crate::spans::Since;

/// Say who could read which file since when, from the Git history
///
/// Needs no key: it goes by the recipients that are written in each version of a file, in Git and in the folder.
/// Whoever had a version can read it for good. Who was removed, and left with the data key that the file still has,
/// also reads every version that comes, until `kubectl seal rotate` puts an end to it.
///
/// That a recipient "still knows the data key" is certain: a version for it has a ciphertext in common with the present
/// one. That one does not is never certain: after a rotation nothing is left in common, but nor is it after a commit
/// that changed every value under the same data key. All others that were removed "may still know" it, and --since
/// does not leave them out. In JSON, knowsDataKey is true, or null if that is not known, or false where there is no
/// data key to know: of files that are gone, in clear, or SealedSecrets.
///
/// Files that were moved unchanged are followed, if PATH covers both places.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; this folder if there is none
    #[arg(value_name = "PATH")]
    paths: Vec<String>,

    /// Leave out what was over before this day, such as 2026-01-31, or so long ago, such as 90d
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,

    /// Look at the history of this branch or commit; may be given more than once
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    branch: Vec<String>,

    /// Look at all branches and tags
    #[arg(long)]
    all: bool,

    /// List the files of each recipient
    #[arg(long)]
    by_key: bool,

    /// Only tell of recipients that start so
    #[arg(long, value_name = "RECIPIENT")]
    key: Option<String>,

    /// Print JSON
    #[arg(long, conflicts_with = "by_key")]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal access                              all files below this folder
  kubectl seal access --key age1… --since 90d      what one recipient could read in the last 90 days
  kubectl seal access --by-key --all secrets/      also what was on other branches
  kubectl seal access --json | jq '.[] | select(any(.recipients[]; .knowsDataKey and (.reads | not)))'";

/// Finds out and prints.
///
/// # Errors
/// If nothing is at a path, Git cannot tell, or stdout cannot be written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let revisions = if args.all { Revisions::All } else { Revisions::Of(args.branch.clone()) };
    let mut found = versions::find(context, &args.paths, &revisions)?;
    if found.is_cut {
        context.report.warn("the Git history is not all there: `git fetch --unshallow` gets the rest");
    }
    if found.unread > 0 {
        context.report.warn(format!("{} cannot be read, and left out", count(found.unread, "version")));
    }
    let since = args.since.map(|since| since.moment((context.session.clock)()));
    found.files.retain_mut(|file| file.narrow(args.key.as_deref(), since));
    if args.json {
        let files = found.files.iter().map(versions::Found::to_json).collect();
        super::print_json(context, &files)?;
        return Ok(Exit::Success);
    }
    if found.files.is_empty() {
        context.report.note("there are no encrypted files, nor were there any");
    }
    let text = if args.by_key {
        report::by_key(context, &found.files)
    } else {
        report::by_file(context, &found.files)
    };
    context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    Ok(Exit::Success)
}

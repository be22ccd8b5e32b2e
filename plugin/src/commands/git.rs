//! `kubectl seal git`.

mod diff;
mod install;
mod merge_file;
mod settings;
mod textconv;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Let Git merge and show encrypted files
///
/// Git hands files whose attributes say merge=seal and diff=seal to this program: to merge them by their values, and to
/// show what differs with values masked. The files in the worktree, in the index and in commits stay encrypted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

// Without comments on the variants: clap would take them for the help, in place of those of the arguments.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Install(install::InstallArgs),
    Uninstall(install::UninstallArgs),
    Status(install::StatusArgs),
    MergeFile(merge_file::Args),
    Diff(diff::Args),
    Textconv(textconv::Args),
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal git install             in every clone, once
  kubectl seal git status              whether all is in order
  git diff                             encrypted files by path, values masked
  git -c seal.diff=plain diff          with values, for once
  git diff --no-ext-diff --no-textconv what the files really say";

/// Does it.
///
/// # Errors
/// If it fails before it gets to files.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    match &args.command {
        Command::Diff(args) => diff::run(args, context),
        Command::Install(args) => install::install(args, context),
        Command::MergeFile(args) => merge_file::run(args, context),
        Command::Status(args) => install::status(args, context),
        Command::Textconv(args) => textconv::run(args, context),
        Command::Uninstall(args) => install::uninstall(args, context),
    }
}

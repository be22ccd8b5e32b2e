//! `kubectl seal unset`.

use selkie::sops::MacCheck;

use crate::batch::{self, Outcome};
use crate::change::DocumentFlag;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{change, commands, dotted, targets};

/// Remove one value of encrypted files, with its key
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "kubectl seal unset [OPTIONS] <FILE>... <PATH>")]
pub struct Args {
    /// Files, globs or folders; then the path, such as data.password
    #[arg(value_name = "FILE... PATH", required = true, num_args = 1..)]
    arguments: Vec<String>,

    /// Do not fail where there is no such value
    #[arg(long)]
    idempotent: bool,

    #[command(flatten)]
    document: DocumentFlag,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal unset db.yaml stringData.password
  kubectl seal unset db.yaml 'data[\"tls.key\"]'
  kubectl seal unset --idempotent apps/*.yaml data.old";

/// Changes every file.
///
/// # Errors
/// If the arguments name nothing.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let needed = || Failure::Usage("a file and a path are needed".to_owned());
    let (path, files) =
        args.arguments.split_last().filter(|(_, files)| !files.is_empty()).ok_or_else(needed)?;
    let path = dotted::parse(path)?;
    let targets = targets::expand(files, context.session)?;
    commands::refuse_stdin(&targets)?;
    commands::refuse_missing(context, &targets)?;
    Ok(batch::run(context, &targets, |target| {
        let changed = commands::change_in_place(context, target, MacCheck::Require, |format, tree, _| {
            change::unset(format, tree, args.document.having(tree, &path)?, &path)
        });
        match changed {
            Err(Failure::NotFound(_)) if args.idempotent => Ok(Outcome::Unchanged),
            result => result,
        }
    }))
}

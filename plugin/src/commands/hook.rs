//! `kubectl seal hook`.

use seal_hook::cli::HookArgs;

use crate::checks::{self, KeysOf};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Let Git call the checks, and say how this repository is checked
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: HookArgs,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal hook install
  kubectl seal hook status
  kubectl seal hook baseline";

/// Does it.
///
/// # Errors
/// Never: what goes wrong is told by the checks themselves.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    Ok(checks::run(context, KeysOf::Machine, |surroundings| args.command.run(surroundings)))
}

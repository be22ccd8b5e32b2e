//! `kubectl seal check`.

use seal_hook::cli::CheckArgs;

use crate::checks::{self, KeysOf};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Checks what Git is about to commit, or whatever else is asked for.
///
/// # Errors
/// Never: what goes wrong is told by the checks themselves.
pub fn run(args: &CheckArgs, context: &Context<'_>) -> Result<Exit, Failure> {
    Ok(checks::run(context, KeysOf::Machine, |surroundings| args.run(surroundings)))
}

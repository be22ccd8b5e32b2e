//! `kubectl seal fix`.

use seal_hook::cli::FixArgs;

use crate::checks::{self, KeysOf};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Encrypts or seals what a check finds.
///
/// # Errors
/// Never: what goes wrong is told by the checks themselves.
pub fn run(args: &FixArgs, context: &Context<'_>) -> Result<Exit, Failure> {
    Ok(checks::run(context, KeysOf::Context, |surroundings| args.run(surroundings)))
}

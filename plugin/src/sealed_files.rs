//! Files with SealedSecrets, as they are given to commands that work on these alone.

use selkie::format::Format;
use selkie::sealed::{SealedFile, SealedFileError, holds_sealed_secrets};
use selkie::tree::Tree;

use crate::context::Context;
use crate::document::{Document, InputFlags};
use crate::failure::Failure;
use crate::targets::Target;

/// Reads a file with SealedSecrets; nothing if it has none, and the user did not name it.
///
/// # Errors
/// If it cannot be read, or has no SealedSecret and was named.
pub fn load(
    context: &Context<'_>,
    input: &InputFlags,
    target: &Target,
) -> Result<Option<(Document, SealedFile)>, Failure> {
    let Some((document, tree)) = read(context, input, target)? else { return Ok(None) };
    if !holds_sealed_secrets(&tree) {
        return if target.is_named() { Err(SealedFileError::Missing.into()) } else { Ok(None) };
    }
    let file = SealedFile::new(document.format, tree)?;
    Ok(Some((document, file)))
}

/// Reads a manifest; nothing if it cannot have a SealedSecret, and the user did not name it. What has no name that
/// tells its format is JSON if it looks like that, else YAML.
///
/// # Errors
/// If it cannot be read.
pub fn read(
    context: &Context<'_>,
    input: &InputFlags,
    target: &Target,
) -> Result<Option<(Document, Tree)>, Failure> {
    let mut document = input.load(context, target)?;
    if !target.is_named() && !document.may_hold_secrets() {
        return Ok(None);
    }
    let is_guess = document.path.is_none() || document.format == Format::Binary;
    if is_guess && input.input_type.is_none() {
        let is_json = document.source.expose_secret().trim_ascii_start().starts_with(b"{");
        document.format = if is_json { Format::Json } else { Format::Yaml };
    }
    Ok(document.tree_of(target)?.ok().map(|tree| (document, tree)))
}

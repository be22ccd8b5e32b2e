//! Files with SealedSecrets, as they are given to commands that work on these alone.

use std::path::Path;

use selkie::format::Format;
use selkie::sealed::{SealedFile, SealedFileError, holds_sealed_secrets, names_group};
use selkie::tree::Tree;

use crate::context::Context;
use crate::document::{Document, InputFlags, TEMPLATE_SYNTAX};
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
    if !may_have_some(&document, target) {
        return Ok(None);
    }
    settle_format(&mut document, input);
    Ok(tree_of(&document, target)?.ok().map(|tree| (document, tree)))
}

/// Returns whether a file is to be looked at for SealedSecrets: one that the user named is; of those that are found,
/// one is that names their group, if it is a manifest by its name or by what is in it.
#[must_use]
pub fn may_have_some(document: &Document, target: &Target) -> bool {
    let is_manifest =
        || document.format != Format::Binary || document.path.as_deref().is_some_and(is_manifest);
    target.is_named() || (names_group(document.source.expose_secret()) && is_manifest())
}

/// Takes what has no name that tells its format for JSON if it looks like that, else for YAML.
pub fn settle_format(document: &mut Document, input: &InputFlags) {
    let is_guess = document.path.is_none() || document.format == Format::Binary;
    if is_guess && input.input_type.is_none() {
        let is_json = document.source.expose_secret().trim_ascii_start().starts_with(b"{");
        document.format = if is_json { Format::Json } else { Format::Yaml };
    }
}

/// Reads the text of a file, as [`Document::tree_of`] does; one that names the group of SealedSecrets is not passed
/// over for its template syntax.
///
/// # Errors
/// If it cannot be read.
pub fn tree_of(document: &Document, target: &Target) -> Result<Result<Tree, &'static str>, Failure> {
    match document.tree_of(target)? {
        Err(TEMPLATE_SYNTAX) if names_group(document.source.expose_secret()) => document.tree().map(Ok),
        read => Ok(read),
    }
}

/// Returns whether a file is one of YAML or JSON by its name, however that is written, and whatever follows.
fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.split('.').skip(1).any(|part| ["json", "yaml", "yml"].contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_known_by_their_names() {
        for (name, expected) in [
            ("a/b.YAML", true),
            ("b.yaml.tmpl", true),
            ("b.Json", true),
            ("yaml", false),
            ("README.md", false),
        ] {
            assert_eq!(is_manifest(Path::new(name)), expected, "{name}");
        }
    }
}

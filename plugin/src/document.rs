//! Documents of the user: read from a target, and written to where they belong.

use std::path::{Path, PathBuf};

use selkie::format::{Format, ParseErrorKind, STORES};
use selkie::scheme::{Scheme, may_hold_secrets};
use selkie::sealed::SealedSecrets;
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, MetadataError, Sops, Unlocked};
use selkie::tree::Tree;

use crate::context::Context;
use crate::failure::Failure;
use crate::files::{self, Audience, Expected};
use crate::git::Revision;
use crate::sealing::unlock;
use crate::targets::Target;
use crate::turn::Turn;

/// A document as it was read.
pub struct Document {
    /// The absolute path of the file; none for stdin, unless the user gave it a name.
    pub path: Option<PathBuf>,
    /// What it is written in.
    pub format: Format,
    /// What was read.
    pub source: SecretBytes,
}

/// How to read what is given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InputFlags {
    /// Read the input as this format, whatever its name
    #[arg(long, value_name = "FORMAT", value_parser = format_names())]
    pub input_type: Option<String>,

    /// Take this as the name of what comes from stdin, for its format and its rule
    #[arg(long, visible_alias = "filename-override", value_name = "NAME")]
    pub filename: Option<PathBuf>,
}

impl InputFlags {
    /// Reads a target.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn load(&self, context: &Context<'_>, target: &Target) -> Result<Document, Failure> {
        let path = self.path(context, target);
        if let Some(path) = &path {
            context.named.note_file(path);
        }
        let format = self.format(path.as_deref());
        let source = match target {
            Target::File { path, .. } => read(context, path)?,
            Target::Stdin => context.session.stdin.read_all().map_err(Failure::io("read", "stdin"))?,
        };
        Ok(Document { format: self.format_in(format, path.as_deref(), &source), path, source })
    }

    /// Returns the format of a text that has a name, or none: SealedSecrets have one, to which JSON belongs as well.
    fn format_in(&self, format: Format, path: Option<&Path>, source: &SecretBytes) -> Format {
        let is_unknown = self.input_type.is_none() && (path.is_none() || format == Format::Binary);
        if !is_unknown || !SealedSecrets.may_be_in(source.expose_secret()) {
            return format;
        }
        // What has a name may be a text about them.
        let tree = || Format::Yaml.read(SecretBytes::from(source.expose_secret()));
        let is_manifest = path.is_none() || tree().is_ok_and(|tree| SealedSecrets.is_in(&tree));
        if is_manifest { Format::Yaml } else { format }
    }

    /// Reads what a name stands for: stdin, a file, or a file of a Git revision. If the name tells no
    /// format, it is `other`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn load_version(
        &self,
        context: &Context<'_>,
        name: &str,
        other: Format,
    ) -> Result<Document, Failure> {
        let mut document = match Revision::parse(name) {
            Some(revision) if !context.session.absolute(Path::new(name)).exists() => {
                let source = revision.read(&context.session.directory)?;
                let path = Path::new(revision.path);
                let format = self.format_in(self.format(Some(path)), Some(path), &source);
                Document { path: Some(context.session.absolute(path)), format, source }
            }
            _ if name == "-" => self.load(context, &Target::Stdin)?,
            _ => {
                let input = Self { filename: None, ..self.clone() };
                input.load(context, &Target::file(name))?
            }
        };
        if document.format == Format::Binary && self.input_type.is_none() {
            document.format = other;
        }
        Ok(document)
    }

    /// Returns the absolute path that stands for a target.
    #[must_use]
    pub fn path(&self, context: &Context<'_>, target: &Target) -> Option<PathBuf> {
        let path = self.filename.as_deref().or(target.path())?;
        Some(context.session.absolute(path))
    }

    /// Returns the format of a file.
    #[must_use]
    pub fn format(&self, path: Option<&Path>) -> Format {
        let named = self.input_type.as_deref().and_then(Format::from_name);
        named.unwrap_or_else(|| path.map_or(Format::Binary, format_of))
    }
}

impl Document {
    /// Reads the document's text.
    ///
    /// # Errors
    /// If it is not of its format.
    pub fn tree(&self) -> Result<Tree, Failure> {
        let source = self.source.expose_secret();
        self.format.read(SecretBytes::from(source)).map_err(|error| match conflict_line(source) {
            Some(line) if self.format != Format::Binary => Failure::MergeConflict(line),
            _ => error.into(),
        })
    }

    /// Reads the document's text, or returns why a file that was found by a glob or in a folder is none of
    /// our concern: no tool could encrypt it.
    ///
    /// # Errors
    /// If it is not of its format, and was named, or should have been.
    pub fn tree_of(&self, target: &Target) -> Result<Result<Tree, &'static str>, Failure> {
        match self.tree() {
            Err(Failure::Parse(error)) if !target.is_named() => match self.no_document(&error.kind) {
                Some(reason) => Ok(Err(reason)),
                None => Err(error.into()),
            },
            tree => tree.map(Ok),
        }
    }

    fn no_document(&self, kind: &ParseErrorKind) -> Option<&'static str> {
        let is_template = || self.source.expose_secret().windows(2).any(|window| window == b"{{");
        match kind {
            ParseErrorKind::Empty => Some("empty"),
            ParseErrorKind::OnlyComments => Some("with comments only"),
            ParseErrorKind::NotAMap => Some("with no map at the top"),
            // Anything else that cannot be read may be a secret with a slip in it.
            _ if self.format == Format::Yaml && is_template() => Some(TEMPLATE_SYNTAX),
            _ => None,
        }
    }

    /// Returns whether the document came from stdin, and was read as bytes for want of a name.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.path.is_none() && self.format == Format::Binary
    }

    /// Makes sure that a document which has no metadata was not read as bytes for want of a name.
    ///
    /// # Errors
    /// If it looks like an encrypted one.
    pub fn refuse_unnamed(&self, tree: &Tree) -> Result<(), Failure> {
        let is_mistaken = self.is_unnamed() && self.looks_encrypted() && !is_encrypted(tree);
        if is_mistaken { Err(Failure::Unnamed) } else { Ok(()) }
    }

    /// Returns whether the document can be one of SOPS; no text without an encrypted MAC is.
    #[must_use]
    pub fn looks_encrypted(&self) -> bool {
        may_be_encrypted(&self.source)
    }

    /// Returns whether the document can hold secrets of any scheme: a look that costs less than reading it.
    #[must_use]
    pub fn may_hold_secrets(&self) -> bool {
        may_hold_secrets(self.source.expose_secret())
    }

    /// Decrypts the document, if it is one of SOPS.
    ///
    /// # Errors
    /// If it is not encrypted, no key at hand fits, or it was changed without one.
    pub fn unlock(&self, context: &Context<'_>, check: MacCheck) -> Result<Unlocked, Failure> {
        let is_unnamed = self.is_unnamed();
        let opened =
            self.tree().and_then(|tree| unlock(context, self.path.as_deref(), self.format, tree, check));
        match opened {
            Err(Failure::Metadata(MetadataError::Missing) | Failure::Parse(_)) if is_unnamed => {
                Err(Failure::Unnamed)
            }
            // Encrypted JSON looks like encrypted bytes until these are to be had.
            Ok(unlocked) if is_unnamed && unlocked.opened.plaintext().is_err() => Err(Failure::Unnamed),
            opened => opened,
        }
    }
}

/// Returns the 1-based line of the first conflict that a merge left in a text.
#[must_use]
pub fn conflict_line(text: &[u8]) -> Option<usize> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let line = lines.position(|line| line.starts_with(b"<<<<<<< "))? + 1;
    lines.any(|line| line.starts_with(b">>>>>>> ")).then_some(line)
}

/// Returns whether a text can be that of a document of SOPS: none without an encrypted MAC is.
#[must_use]
pub fn may_be_encrypted(text: &SecretBytes) -> bool {
    Sops.may_be_in(text.expose_secret())
}

/// Returns whether a tree is that of a document of SOPS.
#[must_use]
pub fn is_encrypted(tree: &Tree) -> bool {
    Sops.is_in(tree)
}

/// Reads a file, given by its path as it is shown.
///
/// # Errors
/// If it cannot be read.
pub fn read(context: &Context<'_>, path: &Path) -> Result<SecretBytes, Failure> {
    let absolute = context.session.absolute(path);
    files::read(&absolute).map_err(Failure::io("read", path.display().to_string()))
}

/// Puts something encrypted in place of a file, given by its path as it is shown, if that is as it was read.
///
/// # Errors
/// If it cannot be written, or is not as it was read; it then stays as it is.
pub fn replace(
    context: &Context<'_>,
    path: &Path,
    read: &SecretBytes,
    content: &SecretBytes,
) -> Result<(), Failure> {
    write_expecting(context, path, content, Audience::Everyone, Expected::Content(read.expose_secret()))
}

/// Writes something encrypted to a file that does not exist, given by its path as it is shown; folders on
/// the way are made.
///
/// # Errors
/// If it cannot be written, or exists; it then stays as it is.
pub fn create(context: &Context<'_>, path: &Path, content: &SecretBytes) -> Result<(), Failure> {
    make_folder(context, path, Audience::Everyone)?;
    write_expecting(context, path, content, Audience::Everyone, Expected::Absent)
}

/// Makes the folder that a file is in, given by the file's path as it is shown; one for plaintext is for its owner alone.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(context: &Context<'_>, path: &Path, audience: Audience) -> Result<(), Failure> {
    let path_of_file = context.session.absolute(path);
    let made = path_of_file.parent().map_or(Ok(()), |folder| files::make_folder(folder, audience));
    made.map_err(Failure::io("write", path.display().to_string()))
}

/// Waits for the turn to change the file of a target.
pub fn turn(context: &Context<'_>, target: &Target) -> Turn {
    target.path().map_or(Turn::none(), |path| turn_for(context, path))
}

/// Waits for the turn to change a file, given by its path as it is shown.
pub fn turn_for(context: &Context<'_>, path: &Path) -> Turn {
    Turn::wait_for(&context.session.absolute(path), &|text| context.report.note(text))
}

/// Writes to a file, given by its path as it is shown, if there is what is expected.
///
/// # Errors
/// If it cannot be written, or something else is there; it then stays as it is.
pub fn write_expecting(
    context: &Context<'_>,
    path: &Path,
    content: &SecretBytes,
    audience: Audience,
    expected: Expected<'_>,
) -> Result<(), Failure> {
    let absolute = context.session.absolute(path);
    files::write_expecting(&absolute, content.expose_secret(), audience, expected)
        .map_err(Failure::io("write", path.display().to_string()))
}

/// Returns the format that a file's name stands for.
#[must_use]
pub fn format_of(path: &Path) -> Format {
    Format::from_file_name(&path.file_name().unwrap_or_default().to_string_lossy())
}

/// Returns the names of formats, for the command line.
pub fn format_names() -> Vec<&'static str> {
    STORES.iter().map(|store| store.name()).collect()
}

/// Why a file is passed over that some program makes a document of.
pub const TEMPLATE_SYNTAX: &str = "with template syntax";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflict_has_both_its_ends() {
        let text = b"a: x\n<<<<<<< HEAD\nb: x\n=======\nb: y\n>>>>>>> other\n";
        assert_eq!(conflict_line(text), Some(2));
        assert_eq!(conflict_line(&text[..20]), None);
    }
}

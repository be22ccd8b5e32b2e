//! The way of an encrypted document through a run: read, recovered, opened, written.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use selkie::format::{Format, ParseError, ParseErrorKind, WriteError, WriteOptions};
use selkie::keys::KeyGroup;
use selkie::secret::SecretBytes;
use selkie::sops::{
    Envelope, MacCheck, Metadata, MetadataError, Opened, RecoverError, SealError, Sealed, WrapError,
};
use selkie::tree::Tree;

use super::config::Configuration;
use super::failure::{Failure, cause, of_file};
use super::flags;
use super::log::Level;
use super::services::Services;
use super::{Context, report};
use crate::audit;
use crate::exit::Exit;
use crate::files::{self, Audience, Expected};
use crate::turn::Turn;

/// Where a document comes from.
pub(super) enum Source {
    /// A file, by its absolute path.
    File(PathBuf),
    /// The stream for data.
    Stdin,
}

/// The formats of a run.
pub(super) struct Formats {
    /// That of the input.
    pub input: Format,
    /// That of the output.
    pub output: Format,
    /// How the output is written.
    pub options: WriteOptions,
}

/// An encrypted document.
pub(super) struct Encrypted {
    /// Its format.
    pub format: Format,
    /// What it says, encrypted.
    pub tree: Tree,
    /// Its metadata.
    pub metadata: Metadata,
}

impl Source {
    /// Returns the file that a command's first argument names, or stdin if there is none.
    pub fn of(context: &Context<'_>) -> Self {
        context.path(0).map_or(Self::Stdin, |path| Self::File(context.session.absolute(&path)))
    }

    /// Returns the file that a command's first argument names.
    pub fn file(context: &Context<'_>) -> Result<PathBuf, Failure> {
        let missing = || Failure::new(Exit::NoFile, "Error: no file specified");
        context.path(0).map(|path| context.session.absolute(&path)).ok_or_else(missing)
    }

    /// Returns the name by which formats and rules are looked up.
    pub fn name(&self, context: &Context<'_>) -> PathBuf {
        match (context.given.path(flags::FILENAME_OVERRIDE), self) {
            (Some(name), _) => context.session.absolute(Path::new(name)),
            (None, Self::File(path)) => path.clone(),
            (None, Self::Stdin) => PathBuf::new(),
        }
    }

    /// Fails if the file does not exist.
    pub fn must_exist(&self) -> Result<(), Failure> {
        match self {
            Self::File(path) if is_missing(path) => Err(Failure::new(
                Exit::NoFile,
                format!("Error: cannot operate on non-existent file {:?}", path.display().to_string()),
            )),
            _ => Ok(()),
        }
    }

    /// Waits for the turn to change the file, if it is to be replaced.
    pub fn turn(&self, context: &Context<'_>, is_replaced: bool) -> Turn {
        let log = &context.log;
        match self {
            Self::File(path) if is_replaced => Turn::wait_for(path, &|text| log.warn(text)),
            _ => Turn::none(),
        }
    }

    /// Reads everything.
    pub fn read(&self, context: &Context<'_>) -> Result<SecretBytes, Failure> {
        match self {
            Self::File(path) => files::read(path).map_err(|error| {
                // A folder can be opened, as far as Go is concerned.
                let call = if error.kind() == io::ErrorKind::IsADirectory { "read" } else { "open" };
                Failure::new(Exit::Read, format!("Error reading file: {}", of_file(call, path, &error)))
            }),
            Self::Stdin => context.session.stdin.read_all().map_err(|error| {
                Failure::new(Exit::Read, format!("Error reading from stdin: {}", cause(&error)))
            }),
        }
    }

    /// Reads an encrypted document.
    pub fn read_encrypted(&self, context: &Context<'_>, format: Format) -> Result<Encrypted, Failure> {
        let tree = match format.read(self.read(context)?) {
            Ok(tree) => tree,
            Err(error) if error.kind == ParseErrorKind::Empty => {
                return Err(Failure::generic(MetadataError::Missing.to_string()));
            }
            Err(error) => return Err(Failure::generic(self.describe(&error))),
        };
        let metadata = Metadata::from_entry(tree.metadata());
        let metadata = metadata.map_err(|error| Failure::generic(error.to_string()))?;
        Ok(Encrypted { format, tree, metadata })
    }

    /// Says what is wrong with the text, and where.
    pub fn describe(&self, error: &ParseError) -> String {
        match self {
            Self::File(path) => format!("{}: {error}", path.display()),
            Self::Stdin => error.to_string(),
        }
    }
}

impl Formats {
    /// Returns the formats for a document of this name. As with sops, a format that is none counts as
    /// not given.
    pub fn of(context: &Context<'_>, configuration: &Configuration, name: &Path) -> Self {
        let of_name = Format::from_file_name(&name.to_string_lossy());
        let given = |flag| context.given.text(flag).and_then(|name| Format::from_name(&name));
        let output = given(flags::OUTPUT_TYPE).unwrap_or(of_name);
        let global = context.global();
        let indent = match global.is_used("indent") {
            true => Some(i32::try_from(global.number("indent")).unwrap_or(i32::MIN)),
            false => configuration.stores().indent(output),
        };
        let options = WriteOptions { indent };
        Self { input: given(flags::INPUT_TYPE).unwrap_or(of_name), output, options }
    }

    /// Returns a sealed document as it is written into its own file: in place if the format stays and
    /// can say so, else anew.
    pub fn write_into_file(
        &self,
        context: &Context<'_>,
        sealed: &Sealed<'_>,
    ) -> Result<SecretBytes, Failure> {
        if self.input != self.output {
            return self.write_anew(sealed);
        }
        match sealed.in_place() {
            Err(SealError::Unfaithful | SealError::Write(WriteError::Unsupported { .. })) => {
                let written = self.write_anew(sealed)?;
                context.log.warn("The file cannot be changed in place, and is written anew as by sops");
                Ok(written)
            }
            written => Ok(written?),
        }
    }

    /// Returns a sealed document as sops writes it.
    pub fn write_anew(&self, sealed: &Sealed<'_>) -> Result<SecretBytes, Failure> {
        Ok(sealed.write(self.output, &self.options)?)
    }
}

impl Encrypted {
    /// Recovers the data key and decrypts the document.
    pub fn open(self, context: &Context<'_>, services: &Services) -> Result<(Envelope, Opened), Failure> {
        audit::check(context.session).map_err(|error| Failure::generic(error.to_string()).logged())?;
        let envelope =
            recover(self.metadata, services, &services.order()).map_err(|(error, threshold)| {
                Failure::new(Exit::DataKey, report::of_recovery(&error, threshold))
            })?;
        let check = match context.given.switch(flags::IGNORE_MAC) {
            true => MacCheck::Ignore,
            false => MacCheck::Require,
        };
        let opened = envelope.open(self.format, self.tree, check)?;
        if opened.metadata().selector.is_broken() {
            let (field, text) = (opened.metadata().selector.field(), opened.metadata().selector.text());
            let message = format!("the pattern {text:?} of {field} does not compile: it matches nothing");
            context.log.say("SOPS", Level::Warning, &message, &[]);
        }
        if opened.metadata().has_mixed_up_contexts() {
            let message = "The encryption contexts of AWS KMS may be mixed up in this file, as sops before 3.3.0 did; \
                           the next rotation puts them right";
            context.log.say("SOPS", Level::Warning, message, &[]);
        }
        if opened.unreadable_comments() > 0 {
            let count = opened.unreadable_comments();
            let message = format!(
                "Found possibly unencrypted comment in file: {count} comments look encrypted but cannot be \
                 decrypted, and stay as they are"
            );
            context.log.say("SOPS", Level::Warning, &message, &[]);
        }
        Ok((envelope, opened))
    }

    /// Returns the document with the metadata of `envelope` and nothing else changed.
    pub fn with_metadata(&self, envelope: &Envelope) -> Result<SecretBytes, Failure> {
        Ok(envelope.metadata().replace_in(self.format, &self.tree)?)
    }

    /// Returns the document with the metadata of `envelope`, as sops writes it.
    pub fn with_metadata_anew(&self, envelope: &Envelope, formats: &Formats) -> Result<SecretBytes, Failure> {
        Ok(envelope.metadata().write_with(formats.output, &self.tree, &formats.options)?)
    }
}

/// Recovers a data key; a failure comes with the threshold that the document names.
pub(super) fn recover(
    metadata: Metadata,
    services: &Services,
    order: &[&str],
) -> Result<Envelope, (RecoverError, usize)> {
    let threshold = metadata.shamir_threshold;
    let recovered = pollster::block_on(Envelope::recover(metadata, &services.all(), order));
    recovered.map_err(|error| (error, threshold))
}

/// Wraps the data key of an envelope for other groups.
pub(super) fn rewrap(
    context: &Context<'_>,
    envelope: &mut Envelope,
    groups: Vec<KeyGroup>,
    threshold: usize,
    services: &Services,
) -> Result<(), WrapError> {
    let (now, services, mut rng) = (context.session.now(), services.all(), rand::rngs::OsRng);
    pollster::block_on(envelope.rewrap(groups, threshold, &services, &now, &mut rng))
}

/// Returns the decrypted document as text: in place if that is possible, else written anew.
pub(super) fn plaintext(opened: &Opened) -> Result<SecretBytes, Failure> {
    match opened.plaintext() {
        Ok(plaintext) => Ok(plaintext),
        Err(_) => {
            opened.write(opened.format(), &WriteOptions::default()).map_err(|error| dump_failure(&error))
        }
    }
}

/// Reads a decrypted document again.
pub(super) fn read_plain(format: Format, plaintext: SecretBytes) -> Result<Tree, Failure> {
    format.read(plaintext).map_err(|error| {
        Failure::new(Exit::Serialise, format!("the decrypted document does not read back: {error}"))
    })
}

/// Returns the failure to write a decrypted document.
pub(super) fn dump_failure(error: &WriteError) -> Failure {
    Failure::new(Exit::Serialise, format!("Error dumping file: {error}"))
}

/// Returns the failure to write an encrypted document.
pub(super) fn marshal_failure(error: &WriteError) -> Failure {
    Failure::new(Exit::Serialise, format!("Could not marshal tree: {error}"))
}

/// Writes a file in place of what was expected there.
pub(super) fn write_in_place(
    context: &Context<'_>,
    path: &Path,
    content: &SecretBytes,
    audience: Audience,
    expected: Expected<'_>,
) -> Result<(), Failure> {
    let written = files::write_expecting(path, content.expose_secret(), audience, expected);
    written.map_err(|error| {
        if files::is_changed(&error) {
            let message = format!("{} was changed by somebody else meanwhile", path.display());
            return Failure::new(Exit::Write, message);
        }
        write_failure(path, &error)
    })?;
    context.log.info("File written successfully");
    Ok(())
}

/// Returns the failure to write a file in place.
pub(super) fn write_failure(path: &Path, error: &io::Error) -> Failure {
    let error = of_file("open", path, error);
    Failure::new(Exit::Write, format!("Could not open in-place file for writing: {error}"))
}

/// Writes to the file that `--output` names, or to the stream for data.
pub(super) fn write_output(
    context: &Context<'_>,
    content: &SecretBytes,
    audience: Audience,
) -> Result<(), Failure> {
    let Some(name) = context.given.path(flags::OUTPUT) else {
        let written = context.session.stdout.write(content.expose_secret());
        return written.map_err(|error| Failure::of_stdout(&error));
    };
    let path = context.session.absolute(Path::new(name));
    files::write(&path, content.expose_secret(), audience).map_err(|error| {
        let error = of_file("open", Path::new(name), &error);
        Failure::new(Exit::Write, format!("Could not open output file for writing: {error}"))
    })
}

/// Fails if the output is to go to two places.
pub(super) fn check_output(context: &Context<'_>) -> Result<(), Failure> {
    if context.given.switch(flags::IN_PLACE) && context.given.path(flags::OUTPUT).is_some() {
        let message = "Error: cannot operate on both --output and --in-place";
        return Err(Failure::new(Exit::Conflict, message));
    }
    Ok(())
}

/// Returns whether nothing is at a path.
pub(super) fn is_missing(path: &Path) -> bool {
    matches!(std::fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Returns the last part of a path.
pub(super) fn base_name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(OsStr::new("document"))
}

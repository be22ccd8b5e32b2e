//! What a run that failed leaves its caller: an exit code and a text.

use std::io;
use std::path::Path;

use selkie::format::WriteError;
use selkie::sops::{OpenError, SealError};

use super::report::wrap;
use crate::config_file::ConfigFileError;
use crate::editor::{EditError, describe};
use crate::exec::{ExecError, code_of};
use crate::exit::Exit;
use crate::publish::PublishError;

/// Why a run failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The text for people.
    pub message: String,
    /// How the text is written.
    pub form: Form,
}

/// How the text of a failure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As a line of the log.
    Fatal,
    /// As it is.
    Plain,
}

impl Failure {
    /// Returns a failure whose text is written as it is.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), form: Form::Plain }
    }

    /// Returns a failure without a code of its own.
    pub fn generic(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }

    /// Returns the failure with its text as a line of the log.
    pub fn logged(self) -> Self {
        Self { form: Form::Fatal, ..self }
    }

    /// Returns the failure to write the stream for data.
    pub fn of_stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // The reader has enough. A program that is not told so ends by the signal, in silence.
            return Self::new(Exit::BROKEN_PIPE, "");
        }
        Self::generic(format!("write /dev/stdout: {}", cause(error)))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Value { aad, line, source, .. } => Self::new(
                Exit::TreeDecryption,
                format!(
                    "Error decrypting tree: Error walking tree: Could not decrypt value: {source} \
                     (line {line}, {aad:?})"
                ),
            ),
            // sops prints both hashes here. That of the values lets one try guesses of them.
            OpenError::MacMismatch | OpenError::MacMissing => Self::new(
                Exit::Mac,
                "MAC mismatch. File has no MAC, or one that is not that of its values: it was changed \
                 without its key",
            ),
            OpenError::Mac(_) => Self::new(Exit::Mac, error.to_string()),
            error => Self::new(Exit::Serialise, format!("Error dumping file: {error}")),
        }
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        match error {
            SealError::AlreadyEncrypted | SealError::Write(WriteError::ReservedKey(_)) => {
                Self::new(Exit::AlreadyEncrypted, already_encrypted())
            }
            SealError::Unsigned { line } => Self::new(
                Exit::TreeEncryption,
                format!(
                    "Error encrypting tree: Error walking tree: line {line}: Cannot walk value, unknown type: \
                     uint64; put the number in quotes"
                ),
            ),
            SealError::AmbiguousComment { .. }
            | SealError::BrokenRule { .. }
            | SealError::NothingSelected { .. } => {
                Self::new(Exit::TreeEncryption, format!("Error encrypting tree: Error walking tree: {error}"))
            }
            error => Self::new(Exit::Serialise, format!("Could not marshal tree: {error}")),
        }
    }
}

impl From<ConfigFileError> for Failure {
    fn from(error: ConfigFileError) -> Self {
        Self::generic(match &error {
            ConfigFileError::Read { path, source } => {
                format!("could not read config file: {}", of_file("open", path, source))
            }
            error => format!("error loading config: {error}"),
        })
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NoConfig => Self::generic("config file not found"),
            PublishError::NoRule { .. } => {
                Self::generic("error loading config: no matching destination found in config")
            }
            PublishError::Nowhere { .. } => Self::generic("no destination configured for this file"),
            PublishError::Open(error) => error.into(),
            PublishError::Seal(error) => error.into(),
            PublishError::Wrap(error) => {
                Self::generic(format!("Could not generate data key: {}", super::report::of_wrapping(&error)))
            }
            error => Self::generic(error.to_string()),
        }
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        let exit = match &error {
            EditError::Failed(_) | EditError::Malformed(_) | EditError::Missing | EditError::Start(_) => {
                Exit::Editor
            }
            EditError::File { .. } => Exit::Write,
            // The user was told why when the text was refused.
            EditError::Kept { cause, kept } if matches!(**cause, EditError::Refused(_)) => {
                return Self::generic(kept.to_string());
            }
            EditError::Kept { cause, .. } if matches!(**cause, EditError::File { .. }) => Exit::Write,
            EditError::Kept { .. } => Exit::Editor,
            EditError::Refused(_) => Exit::Failure,
            EditError::Unchanged => Exit::NotModified,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        match error {
            // Whoever is sent a signal has no exit code: sops reports -1, of which 255 is left.
            ExecError::Ended { status, .. } => {
                Self::new(Exit::Child(code_of(status).unwrap_or(u8::MAX)), describe(status))
            }
            ExecError::Interrupted(signal) => {
                Self::new(Exit::Child(crate::signals::exit_code(signal)), error.to_string())
            }
            error => Self::generic(error.to_string()),
        }
    }
}

/// Returns the text on a document that has metadata where there must be none.
pub(super) fn already_encrypted() -> String {
    wrap(
        "The file you have provided contains a top-level entry called 'sops', or for flat file formats \
         top-level entries starting with 'sops_'. That is where the metadata of an encrypted file \
         stands, so that the file most likely is encrypted already.\n\n\
         To change an encrypted file, edit it: `sops edit my_file.yaml`. If the file is not encrypted, \
         give the entry another name.",
        75,
    )
}

/// Returns the failure of a system call on a file in the words of Go.
pub(super) fn of_file(call: &str, path: &Path, error: &io::Error) -> String {
    format!("{call} {}: {}", path.display(), cause(error))
}

/// Returns what the system said, without its number.
pub(super) fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_speaks_as_in_go() {
        let error = io::Error::from_raw_os_error(2);
        let text = of_file("open", Path::new("/x"), &error);
        assert_eq!(text, "open /x: no such file or directory");
    }
}

//! What a run that failed leaves its caller: an exit code and a text.

use std::io;
use std::path::Path;

use crate::exit::Exit;

/// Why a run failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The text for people, if there is something to say.
    pub message: String,
}

impl Failure {
    /// Returns a failure with the exit code that most have.
    pub fn new(message: impl ToString) -> Self {
        Self { exit: Exit::Failure, message: message.to_string() }
    }

    /// Returns the failure to do something with a file, in the words of Go.
    pub fn of_file(call: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!("{call} {}: {}", path.display(), cause(error)))
    }

    /// Returns the failure to write the stream for data.
    pub fn of_stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // The reader has enough. A program that is not told so ends by the signal, in silence.
            return Self { exit: Exit::BROKEN_PIPE, message: String::new() };
        }
        Self::new(format!("write /dev/stdout: {}", cause(error)))
    }
}

/// Returns what the system said, without its number.
pub(super) fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

//! What objects are read from: a file, which must be there, or stdin.

use std::fs::File;
use std::path::Path;

use selkie::secret::SecretBytes;

use super::failure::{Failure, cause};
use super::options::Options;
use crate::files;
use crate::session::Session;

/// Where objects are read from. It is opened once: it may be a pipe.
pub(super) enum Input<'a> {
    File(File),
    Stdin(&'a Session),
}

impl<'a> Input<'a> {
    /// Opens the input. A person who is to type it is told so.
    pub fn open(session: &'a Session, options: &Options<'_>) -> Result<Self, Failure> {
        let Some(path) = options.secret_file else {
            if !options.raw && !options.fetch_cert && session.stdin.is_terminal() {
                session.stderr.say("(tty detected: expecting json/yaml k8s resource in stdin)");
            }
            return Ok(Self::Stdin(session));
        };
        let file = File::open(session.absolute(Path::new(path)));
        file.map(Self::File).map_err(|_| Failure::new("Could not read file specified with --secret-file"))
    }

    /// Reads everything.
    pub fn read(self) -> Result<SecretBytes, Failure> {
        let read = match self {
            Self::File(mut file) => files::read_stream(&mut file, 0),
            Self::Stdin(session) => session.stdin.read_all(),
        };
        read.map_err(|error| Failure::new(format!("cannot read the input: {}", cause(&error))))
    }
}

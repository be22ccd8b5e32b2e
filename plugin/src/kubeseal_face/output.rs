//! Where results go, and in which format.

use std::path::{Path, PathBuf};

use selkie::manifest::{ObjectKind, arrange, print_json, print_yaml};
use selkie::secret::SecretBytes;
use serde_json::Value as Json;

use super::failure::Failure;
use crate::files::{self, Audience, Expected};
use crate::session::Session;

/// The format of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Yaml,
}

/// Where results go: to stdout at once, or into a file once all is done.
pub(super) struct Output<'a> {
    session: &'a Session,
    file: Option<PathBuf>,
    /// What the file holds, if it is what was read.
    old: Option<SecretBytes>,
    pending: SecretBytes,
}

impl Format {
    /// Returns the format of a name, which may be written in capitals.
    pub fn parse(name: &str) -> Result<Self, Failure> {
        match name.to_lowercase().as_str() {
            "" | "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            _ => Err(Failure::new(format!("unsupported output format: {name}"))),
        }
    }

    /// Returns an object as text; YAML is a document of its own.
    pub fn print(self, object: &Json, kind: ObjectKind) -> SecretBytes {
        match self {
            Self::Json => {
                let mut text = print_json(&arrange(object, kind));
                text.push(b'\n');
                text
            }
            Self::Yaml => {
                let mut text = SecretBytes::from("---\n");
                text.extend_from_slice(print_yaml(object).expose_secret());
                text
            }
        }
    }
}

impl<'a> Output<'a> {
    /// Returns where results go; `file` is a path as the user gave it.
    pub fn new(session: &'a Session, file: Option<&str>) -> Self {
        let file = file.map(|file| session.absolute(Path::new(file)));
        Self { session, file, old: None, pending: SecretBytes::new() }
    }

    /// Says what the file must hold: what others wrote there meanwhile is not overwritten.
    pub fn replaces(&mut self, old: &SecretBytes) {
        self.old = Some(old.expose_secret().into());
    }

    /// Takes a part of the result.
    pub fn put(&mut self, text: &[u8]) -> Result<(), Failure> {
        if self.file.is_some() {
            self.pending.extend_from_slice(text);
            return Ok(());
        }
        self.session.stdout.write(text).map_err(|error| Failure::of_stdout(&error))
    }

    /// Writes the file, if the result goes into one.
    pub fn finish(self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        let expected =
            self.old.as_ref().map_or(Expected::Anything, |old| Expected::Content(old.expose_secret()));
        files::write_expecting(file, self.pending.expose_secret(), Audience::Owner, expected)
            .map_err(|error| Failure::of_file("open", file, &error))
    }
}

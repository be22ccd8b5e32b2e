//! The audit log, which an administrator turns on for all users of a machine.
//!
//! Whatever document of SOPS is encrypted or decrypted, and whatever key another program uses by the key service, is
//! written to every log that `/etc/sops/audit.yaml` names, before a plaintext or ciphertext is handed out; if one of
//! them does not take it, nothing is. No option and no variable turns it off.

mod configuration;
mod file;
mod postgres;
mod syslog;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use selkie::keyservice::Operation;
use serde_json::{Value as Json, json};

use crate::key_server::Asked;
use crate::session::Session;
use configuration::BackendConfig;

/// Where events are written to, in a run.
pub struct AuditLog {
    backends: OnceLock<Result<Vec<Box<dyn Backend>>, AuditError>>,
}

/// Takes events.
pub trait Backend: Send + Sync {
    /// Writes an event down for good.
    ///
    /// # Errors
    /// If that cannot be done.
    fn record(&self, event: &Event) -> Result<(), AuditError>;
}

/// What happens to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Its values are decrypted.
    Decrypt,
    /// Its values are encrypted.
    Encrypt,
    /// It gets other master keys around its data key. Sops does not write that down.
    Rewrap,
    /// It gets a new data key.
    Rotate,
    /// The key service unwraps a data key for another program. Sops does not write that down.
    Unwrap,
    /// The key service wraps a data key for another program. Sops does not write that down.
    Wrap,
}

/// What is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happens.
    pub deed: Deed,
    /// The absolute path of the document. Of the key service, the key and who asks: it never sees documents.
    pub file: String,
    /// Who does it.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// When: RFC 3339.
    pub time: String,
}

/// Why nothing may be encrypted or decrypted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A log cannot be written to.
    #[error("the audit log ({name}) cannot be written: {why}")]
    Backend {
        /// The log, without any password.
        name: String,
        /// Why not.
        why: String,
    },
    /// What turns the log on cannot be read.
    #[error("{path}: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl AuditLog {
    /// Returns a log that nothing was written to yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { backends: OnceLock::new() }
    }

    /// Makes sure that events can be written: before anything is done.
    ///
    /// # Errors
    /// If what turns the log on cannot be read, or a log cannot be had.
    pub fn open(&self, session: &Session) -> Result<&[Box<dyn Backend>], AuditError> {
        let open = || configuration::read(&session.audit)?.iter().map(BackendConfig::open).collect();
        self.backends.get_or_init(open).as_deref().map_err(Clone::clone)
    }

    /// Writes down what is about to happen to a document, which stdin may be.
    ///
    /// # Errors
    /// If a log does not take it: then it must not happen.
    pub fn record(&self, session: &Session, deed: Deed, file: Option<&Path>) -> Result<(), AuditError> {
        let file = file.map_or_else(|| PathBuf::from("<stdin>"), |file| session.absolute(file));
        self.write(session, deed, file.display().to_string())
    }

    /// Writes down that another program is about to use a key by the key service.
    ///
    /// # Errors
    /// If a log does not take it: then the key must not be used.
    pub fn record_use(&self, session: &Session, asked: &Asked) -> Result<(), AuditError> {
        let deed = match asked.operation {
            Operation::Decrypt => Deed::Unwrap,
            Operation::Encrypt => Deed::Wrap,
        };
        self.write(session, deed, format!("<key service>: {} {}, for {}", asked.kind, asked.key, asked.who()))
    }

    fn write(&self, session: &Session, deed: Deed, file: String) -> Result<(), AuditError> {
        let backends = self.open(session)?;
        if backends.is_empty() {
            return Ok(());
        }
        let event = Event {
            deed,
            file,
            user: user(),
            host: ::syslog::Formatter3164::default().hostname.unwrap_or_default(),
            time: session.now(),
        };
        backends.iter().try_for_each(|backend| backend.record(&event))
    }
}

impl Default for AuditLog {
    fn default() -> Self {
        Self::new()
    }
}

impl Deed {
    /// Returns the word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decrypt => "decrypt",
            Self::Encrypt => "encrypt",
            Self::Rewrap => "rewrap",
            Self::Rotate => "rotate",
            Self::Unwrap => "unwrap",
            Self::Wrap => "wrap",
        }
    }
}

impl Event {
    /// Returns the event, for programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "time": self.time,
            "action": self.deed.name(),
            "file": self.file,
            "username": self.user,
            "host": self.host,
            "program": concat!("kubectl-seal ", env!("CARGO_PKG_VERSION")),
        })
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Returns who runs this: the name of the real user, or the number if there is none.
#[cfg(unix)]
fn user() -> String {
    let id = nix::unistd::Uid::current();
    nix::unistd::User::from_uid(id).ok().flatten().map_or_else(|| id.to_string(), |user| user.name)
}

#[cfg(not(unix))]
fn user() -> String {
    std::env::var("USERNAME").unwrap_or_default()
}

/// What turns the log on.
pub const CONFIGURATION: &str = "/etc/sops/audit.yaml";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli;
    use crate::exit::Exit;
    use crate::session::{Environment, Input, Output};

    /// Runs a command in a folder with a document and the key to it.
    fn run(folder: &Path, arguments: &[&str]) -> Exit {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/sops");
        fs::copy(golden.join("json/encrypted-3.13.3.json"), folder.join("sealed.json")).expect("copied");
        fs::write(folder.join("plain.yaml"), "a: x\n").expect("written");
        let keys = golden.join("keys.txt");
        let session = Session {
            environment: Environment::from_iter([("SOPS_AGE_KEY_FILE", keys.to_str().expect("a text"))]),
            directory: folder.to_owned(),
            stdin: Input::new(std::io::empty(), false),
            stdout: Output::new(std::io::sink(), false),
            stderr: Output::new(std::io::sink(), false),
            clock: || time::OffsetDateTime::UNIX_EPOCH,
            audit: folder.join("audit.yaml"),
        };
        let words = std::iter::once(&"kubectl-seal").chain(arguments);
        cli::run(&session, &words.map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn no_command_goes_past_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        for command in [
            &["encrypt", "--age", recipient, "plain.yaml"][..],
            &["decrypt", "sealed.json"],
            &["rotate", "sealed.json"],
            &["groups", "add", "--age", recipient, "sealed.json"],
        ] {
            assert_eq!(run(folder.path(), command), Exit::Success, "{command:?}");
            fs::write(folder.path().join("audit.yaml"), ASKED).expect("written");
            assert_eq!(run(folder.path(), command), Exit::Failure, "{command:?}");
            fs::remove_file(folder.path().join("audit.yaml")).expect("removed");
        }
    }

    const ASKED: &str =
        "backends:\n  postgres:\n    - connection_string: postgres://x:y@127.0.0.1:1/z?sslmode=disable\n";
}

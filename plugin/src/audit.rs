//! The audit log of sops, which an administrator turns on for all users of a machine.
//!
//! sops writes to it before it encrypts or decrypts, and does neither if it cannot. This build cannot
//! write to it, and therefore does neither as well.

use std::path::Path;

use selkie::format::Format;
use serde_json::Value as Json;

use crate::files;
use crate::session::Session;

/// Why nothing may be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The log is turned on.
    #[error("{0} asks for an audit log, which this build cannot write to")]
    Unsupported(String),
    /// What turns the log on cannot be read.
    #[error("{path}: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Fails if whatever is encrypted or decrypted on this machine is to be logged.
///
/// # Errors
/// If it is, or if that cannot be known.
pub fn check(session: &Session) -> Result<(), AuditError> {
    check_file(&session.audit)
}

fn check_file(path: &Path) -> Result<(), AuditError> {
    // As in sops, a file that cannot be opened counts as none.
    let Ok(text) = files::read(path) else { return Ok(()) };
    let name = || path.display().to_string();
    let tree = Format::Yaml
        .read(text)
        .map_err(|error| AuditError::Unusable { path: name(), why: error.to_string() })?;
    let configuration = tree.documents().first().map_or(Json::Null, |&root| tree.to_json(root));
    match configuration.pointer("/backends/postgres") {
        Some(Json::Array(backends)) if !backends.is_empty() => Err(AuditError::Unsupported(name())),
        _ => Ok(()),
    }
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

    const ASKED: &str = "backends:\n  postgres:\n    - connection_string: postgres://x\n";

    fn check_text(text: &str) -> Result<(), AuditError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.yaml");
        std::fs::write(&path, text).expect("written");
        check_file(&path)
    }

    #[test]
    fn log_that_is_asked_for_stops_the_run() {
        let asked = check_text(ASKED);
        assert!(matches!(asked, Err(AuditError::Unsupported(_))));
        assert!(matches!(check_text("backends: [\n"), Err(AuditError::Unusable { .. })));
    }

    #[test]
    fn no_backend_is_no_log() {
        check_text("backends:\n  postgres: []\n").expect("nothing to log to");
        check_file(Path::new("/nonexistent")).expect("nothing to log to");
    }
}

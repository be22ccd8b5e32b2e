//! The audit log of sops, which an administrator turns on for all users of a machine.
//!
//! sops writes to it before it encrypts or decrypts, and does neither if it cannot. This build cannot
//! write to it, and therefore does neither as well.

use std::path::Path;

use selkie::format::Format;
use serde_json::Value as Json;

use crate::files;

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
pub fn check() -> Result<(), AuditError> {
    check_file(Path::new(CONFIGURATION))
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

const CONFIGURATION: &str = "/etc/sops/audit.yaml";

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> Result<(), AuditError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.yaml");
        std::fs::write(&path, text).expect("written");
        check_file(&path)
    }

    #[test]
    fn log_that_is_asked_for_stops_the_run() {
        let asked = check_text("backends:\n  postgres:\n    - connection_string: postgres://x\n");
        assert!(matches!(asked, Err(AuditError::Unsupported(_))));
        assert!(matches!(check_text("backends: [\n"), Err(AuditError::Unusable { .. })));
    }

    #[test]
    fn no_backend_is_no_log() {
        check_text("backends:\n  postgres: []\n").expect("nothing to log to");
        check_file(Path::new("/nonexistent")).expect("nothing to log to");
    }
}

//! What turns the audit log on: `/etc/sops/audit.yaml`, as sops has it, with further kinds of logs.

use std::io;
use std::path::{Path, PathBuf};

use selkie::format::Format;
use serde_json::{Map, Value as Json};

use super::file::ChainedFile;
use super::postgres::Postgres;
use super::syslog::Syslog;
use super::{AuditError, Backend};
use crate::files;

/// A log, as it is named there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendConfig {
    /// A file that is only appended to.
    File(PathBuf),
    /// A database.
    Postgres(String),
    /// A log of a system.
    Syslog {
        /// Where, if not on this machine.
        address: Option<String>,
        /// The facility, if not `authpriv`.
        facility: Option<String>,
    },
}

impl BackendConfig {
    /// Connects to the log.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn open(&self) -> Result<Box<dyn Backend>, AuditError> {
        Ok(match self {
            Self::File(path) => Box::new(ChainedFile::open(path.clone())?),
            Self::Postgres(connection) => Box::new(Postgres::open(connection)?),
            Self::Syslog { address, facility } => {
                Box::new(Syslog::open(address.as_deref(), facility.as_deref())?)
            }
        })
    }
}

/// Returns the logs that a configuration names; none if there is no configuration.
///
/// # Errors
/// If it cannot be read, or says anything that is not understood.
pub fn read(path: &Path) -> Result<Vec<BackendConfig>, AuditError> {
    let unusable = |why: String| AuditError::Unusable { path: path.display().to_string(), why };
    let text = match files::read(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        text => text.map_err(|error| unusable(format!("cannot be read: {error}")))?,
    };
    let tree = match Format::Yaml.read(text) {
        Err(error) if is_blank(&error.kind) => return Ok(Vec::new()),
        tree => tree.map_err(|error| unusable(error.to_string()))?,
    };
    let [root] = tree.documents() else { return Err(unusable("there is more than one document".to_owned())) };
    parse(&tree.to_json(*root)).map_err(unusable)
}

const fn is_blank(kind: &selkie::format::ParseErrorKind) -> bool {
    use selkie::format::ParseErrorKind::{Empty, OnlyComments};
    matches!(kind, Empty | OnlyComments)
}

/// Reads a configuration. Sops passes over what it does not know; here that could be a log with a slip in its name.
fn parse(configuration: &Json) -> Result<Vec<BackendConfig>, String> {
    let mut logs = Vec::new();
    for (name, value) in fields(configuration, "the top")? {
        if name != "backends" {
            return Err(format!("nothing reads {name:?}; did you mean \"backends\"?"));
        }
        for (kind, list) in fields(value, name)? {
            if !["file", "postgres", "syslog"].contains(&kind.as_str()) {
                return Err(format!("there is no backend {kind:?}, but file, postgres and syslog"));
            }
            let list = match list {
                Json::Null => &[],
                Json::Array(list) => list.as_slice(),
                _ => return Err(format!("{kind} is not a list")),
            };
            for entry in list {
                logs.push(backend(kind, entry)?);
            }
        }
    }
    Ok(logs)
}

fn backend(kind: &str, entry: &Json) -> Result<BackendConfig, String> {
    let entry = fields(entry, kind)?;
    let known: &[&str] = match kind {
        "file" => &["path"],
        "postgres" => &["connection_string"],
        _ => &["address", "facility"],
    };
    if let Some(name) = entry.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("nothing reads {name:?} of {kind}"));
    }
    let text = |name: &str| match entry.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name} of {kind} is not a text")),
    };
    let needed = |name: &str| text(name)?.ok_or_else(|| format!("{kind} needs {name}"));
    match kind {
        "file" => match PathBuf::from(needed("path")?) {
            path if path.is_absolute() => Ok(BackendConfig::File(path)),
            _ => Err("path of file is not absolute".to_owned()),
        },
        "postgres" => Ok(BackendConfig::Postgres(needed("connection_string")?)),
        _ => Ok(BackendConfig::Syslog { address: text("address")?, facility: text("facility")? }),
    }
}

fn fields<'a>(value: &'a Json, what: &str) -> Result<&'a Map<String, Json>, String> {
    static NONE: std::sync::OnceLock<Map<String, Json>> = std::sync::OnceLock::new();
    match value {
        Json::Object(fields) => Ok(fields),
        Json::Null => Ok(NONE.get_or_init(Map::new)),
        _ => Err(format!("{what} is not a map")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<BackendConfig>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.yaml");
        std::fs::write(&path, text).expect("written");
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn logs_are_named() {
        let text = "backends:\n  postgres: [{connection_string: x}]\n  file:\n  - path: /log\n  syslog: [{}, {facility: auth}]\n";
        let of_facility = |facility: Option<&str>| BackendConfig::Syslog {
            address: None,
            facility: facility.map(str::to_owned),
        };
        let expected = [
            BackendConfig::Postgres("x".to_owned()),
            BackendConfig::File("/log".into()),
            of_facility(None),
            of_facility(Some("auth")),
        ];
        assert_eq!(read_text(text), Ok(expected.into()));
    }

    #[test]
    fn no_backend_is_no_log() {
        for text in ["", "# nothing\n", "backends:\n", "backends:\n  postgres: []\n"] {
            assert_eq!(read_text(text), Ok(vec![]), "{text}");
        }
        assert!(read(Path::new("/nonexistent")).is_ok_and(|logs| logs.is_empty()));
    }

    #[test]
    fn what_is_not_understood_stops_the_run() {
        for text in [
            "backends: [\n",
            "backend:\n  postgres: []\n",
            "backends:\n  postgre: [{connection_string: x}]\n",
            "backends:\n  kafka: []\n  mysql: [{}]\n",
            "backends:\n  postgres: [{connection: x}]\n",
            "backends:\n  postgres: [{}]\n",
            "backends:\n  file: [{path: log}]\n",
            "backends:\n  file: {path: /log}\n",
            "backends: file\n",
        ] {
            assert!(read_text(text).is_err(), "{text}");
        }
        assert!(read(Path::new("/")).is_err());
    }
}

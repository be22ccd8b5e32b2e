//! Why a command failed, and as which exit code its caller sees that.
//!
//! No variant holds a value of a document. What to do next is in `hint.rs`.

use std::io;
use std::path::PathBuf;

use selkie::format::{ParseError, ParseErrorKind, WriteError};
use selkie::keys::{IdentityReport, KeyError, KeyParseError};
use selkie::scheme::SchemeError;
use selkie::sealed::{
    BackupError, BackupProblem, CertError, SealedFileError, SealingError, SecretFileError, UnsealError,
};
use selkie::sops::config::Warning;
use selkie::sops::{MetadataError, OpenError, RecoverError, SealError, SelectorError, WrapError};
use selkie::tree::{PathError, TreePath};

use crate::audit::AuditError;
use crate::cluster::ClusterError;
use crate::config_file::ConfigFileError;
use crate::dotted;
use crate::editor::EditError;
use crate::exit::Exit;
use crate::fetch::FetchError;
use crate::json_value::JsonValueError;
use crate::key_server::KeyServerError;
use crate::merging::MergingError;
use crate::publish::PublishError;
use crate::report::escape;
use crate::sealing_keys;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The input is encrypted already.
    #[error("the file is encrypted already")]
    AlreadyEncrypted,
    /// Nothing may be encrypted or decrypted on this machine.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A text with sealing keys cannot be read.
    #[error("{}", describe_backup(.what, .error))]
    Backup {
        /// The text.
        what: String,
        /// What is wrong with it.
        error: BackupError,
    },
    /// The encrypted version of a file cannot be used.
    #[error("{name}: {source}")]
    Base {
        /// The name of the version.
        name: String,
        /// Why not.
        source: Box<Failure>,
    },
    /// A certificate of Sealed Secrets cannot be used.
    #[error("{what}: {error}")]
    Certificate {
        /// The certificate.
        what: String,
        /// Why not.
        error: CertError,
    },
    /// Something that was to be checked is not as it should be.
    #[error("{0}")]
    Check(String),
    /// The cluster did not do what it was asked for.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigFileError),
    /// A document cannot be written in the format that was asked for.
    #[error("{0}")]
    Conversion(WriteError),
    /// A path does not tell which document of the file is meant.
    #[error("{0}")]
    Document(String),
    /// The editor failed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The command of the user failed.
    #[error(transparent)]
    Exec(#[from] crate::exec::ExecError),
    /// Nothing could be had from an address of the web.
    #[error("cannot fetch {address}")]
    Fetch {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        error: FetchError,
    },
    /// The value would be written in clear.
    #[error("the rule {field} {text:?} of the file leaves {} in clear", dotted::show(.path))]
    InClear {
        /// Where.
        path: TreePath,
        /// The name of the rule.
        field: &'static str,
        /// Its suffix or pattern.
        text: String,
    },
    /// A file or stream cannot be read or written.
    #[error("cannot {action} {what}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A value that is given as JSON cannot be used.
    #[error(transparent)]
    Json(#[from] JsonValueError),
    /// Others cannot be served.
    #[error(transparent)]
    KeyServer(#[from] KeyServerError),
    /// A key of the command line cannot be read.
    #[error(transparent)]
    Key(#[from] KeyParseError),
    /// The keys that stay are those of others.
    #[error("none of your identities could read the file any more")]
    LockedOut,
    /// The user's keys could not be tried on what a document would become.
    #[error("your keys did not open the file as it would be, so that you may not read it any more")]
    LockOutUnknown(Box<RecoverError>),
    /// A merge left a conflict in the file.
    #[error("line {0}: an unresolved merge conflict")]
    MergeConflict(usize),
    /// Versions of a file are not merged, or its conflicts not decided.
    #[error(transparent)]
    Merging(#[from] MergingError),
    /// The metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A field of the rule is not one, but looks like one that chooses keys or values.
    #[error("{}:{}: nothing reads {:?} in a rule; did you mean {:?}?",
        .config.display(), .warning.line, .warning.key, .warning.suggestion.unwrap_or_default())]
    Misspelled {
        /// The configuration.
        config: PathBuf,
        /// The field.
        warning: Warning,
    },
    /// There is neither a configuration nor a key.
    #[error("no {} was found, and no keys were given", crate::config_file::FILE_NAME)]
    NoConfig,
    /// Nothing matches what the user named.
    #[error("no file matches {0}")]
    NoFile(String),
    /// The rule names no keys.
    #[error("rule {position} of {} names no keys", .config.display())]
    NoKeys {
        /// The configuration.
        config: PathBuf,
        /// The 1-based position of the rule.
        position: usize,
    },
    /// No rule matches the file.
    #[error("no creation rule of {} matches {}", .config.display(), name_of(.file))]
    NoRule {
        /// The configuration.
        config: PathBuf,
        /// The path that rules were matched with.
        file: String,
    },
    /// The configuration has no rules.
    #[error("{} has no creation_rules, and no keys were given", .0.display())]
    NoRules(PathBuf),
    /// No private key of Sealed Secrets is named.
    #[error("no private sealing key is given")]
    NoSealingKeys,
    /// There is nothing at the path.
    #[error("there is no {} in the file", dotted::show(.0))]
    NotFound(TreePath),
    /// The user left the text as it was.
    #[error("nothing was changed")]
    NotModified,
    /// The values cannot be decrypted.
    #[error("{}", describe_open(.0))]
    Open(OpenError),
    /// The input cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A path is malformed.
    #[error("{text:?} is not a path")]
    Path {
        /// The path.
        text: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// There is no Secret to seal.
    #[error("there is no Secret in the file")]
    NoSecret,
    /// The path leads into something that cannot be changed there.
    #[error("{} cannot be set: {why}", dotted::show(.path))]
    Place {
        /// Where.
        path: TreePath,
        /// Why not.
        why: &'static str,
    },
    /// A document is not published.
    #[error(transparent)]
    Publish(PublishError),
    /// No key recovered the data key.
    #[error("{}", describe_recovery(.0))]
    Recover(Box<RecoverError>),
    /// The user said no.
    #[error("left as it is")]
    Refused,
    /// Something is wrong with the SealedSecrets of a file.
    #[error(transparent)]
    Scheme(Box<SchemeError>),
    /// The values cannot be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The file is one with SealedSecrets, and what was asked for is of SOPS.
    #[error("the file holds SealedSecrets, and is no document of SOPS")]
    SealedSecret,
    /// A Secret cannot be sealed.
    #[error("{0}")]
    Sealing(SealingError),
    /// The Secrets of a file cannot be read or replaced.
    #[error(transparent)]
    SecretFile(#[from] SecretFileError),
    /// The flags that choose values exclude each other, or do not compile.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// Values that were to be sealed again stay as they are.
    #[error("{} {what}", crate::report::count(.values.len(), "value"))]
    Unsealable {
        /// What is to be said of them.
        what: &'static str,
        /// The values, by line, name and key.
        values: Vec<String>,
    },
    /// What came from stdin is not what it was read as, and has no name that tells its format.
    #[error("stdin was read as bytes, as it has no name that tells its format")]
    Unnamed,
    /// A SealedSecret cannot be unsealed.
    #[error("line {line}: {}: {error}", name_of(.name))]
    Unseal {
        /// The line at which it begins.
        line: usize,
        /// Its name.
        name: String,
        /// Why not.
        error: UnsealError,
    },
    /// Nothing in a text with sealing keys is one that can be used.
    #[error("there is no usable key in {what}")]
    UnusableKeys {
        /// The text.
        what: String,
        /// What is wrong with what is in it.
        problems: Vec<BackupProblem>,
    },
    /// The arguments do not fit each other.
    #[error("{0}")]
    Usage(String),
    /// A value to set is malformed.
    #[error("{0}")]
    Value(String),
    /// The data key cannot be wrapped.
    #[error(transparent)]
    Wrap(#[from] WrapError),
    /// The document cannot be written in the format.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Failure {
    /// Returns the failure of doing something to a file or stream.
    pub fn io(action: &'static str, what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = escape(&what.into());
        move |source| Self::Io { action, what, source }
    }

    /// Returns whether whoever reads stdout has enough: there is nobody to tell, and nothing to go on for.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io { what, source, .. }
            if what == "stdout" && source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns how the run ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Base { source, .. } => source.exit(),
            Self::AlreadyEncrypted | Self::Seal(SealError::AlreadyEncrypted) => Exit::AlreadyEncrypted,
            Self::Io { .. } if self.is_broken_pipe() => Exit::BROKEN_PIPE,
            Self::Edit(EditError::Unchanged) | Self::NotModified => Exit::NotModified,
            Self::Edit(_) => Exit::Editor,
            Self::Exec(crate::exec::ExecError::Ended { status, .. }) => exit_of_command(*status),
            Self::Exec(crate::exec::ExecError::Interrupted(signal)) => {
                Exit::Child(crate::signals::exit_code(*signal))
            }
            Self::InClear { .. } | Self::Json(_) | Self::Place { .. } | Self::Value(_) => Exit::Set,
            Self::Io { action: "write", .. } => Exit::Write,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NoFile,
            Self::Io { .. } => Exit::Read,
            Self::NoFile(_) => Exit::NoFile,
            Self::Open(OpenError::Mac(_) | OpenError::MacMismatch | OpenError::MacMissing) => Exit::Mac,
            Self::Write(WriteError::ReservedKey(_)) => Exit::AlreadyEncrypted,
            Self::Conversion(_) | Self::Open(OpenError::Write(_)) | Self::Write(_) => Exit::Serialise,
            Self::Open(_) => Exit::TreeDecryption,
            Self::Parse(error) if error.kind == ParseErrorKind::Empty => Exit::NoDocument,
            Self::MergeConflict(_) | Self::Parse(_) => Exit::Read,
            Self::Document(_) | Self::Path { .. } | Self::NotFound(_) => Exit::Path,
            Self::Recover(_) | Self::Unseal { .. } => Exit::DataKey,
            Self::Merging(error) => error.exit(),
            Self::NoSecret => Exit::NoDocument,
            Self::Seal(_) | Self::Sealing(_) | Self::SecretFile(_) => Exit::TreeEncryption,
            Self::Scheme(error) => exit_of_scheme(error),
            Self::Selector(SelectorError::Conflict(..)) => Exit::Conflict,
            Self::Audit(_)
            | Self::Backup { .. }
            | Self::Certificate { .. }
            | Self::Check(_)
            | Self::Cluster(_)
            | Self::Config(_)
            | Self::Exec(_)
            | Self::Fetch { .. }
            | Self::Key(_)
            | Self::KeyServer(_)
            | Self::LockedOut
            | Self::LockOutUnknown(_)
            | Self::Metadata(_)
            | Self::Misspelled { .. }
            | Self::NoConfig
            | Self::NoKeys { .. }
            | Self::NoRule { .. }
            | Self::NoRules(_)
            | Self::NoSealingKeys
            | Self::Publish(_)
            | Self::Refused
            | Self::SealedSecret
            | Self::Selector(_)
            | Self::Unnamed
            | Self::Unsealable { .. }
            | Self::UnusableKeys { .. }
            | Self::Usage(_)
            | Self::Wrap(_) => Exit::Failure,
        }
    }

    /// Returns what led to the failure, the nearest first.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Base { source, .. } => return source.causes(),
            Self::Cluster(error) => return error.causes(),
            Self::LockOutUnknown(error) | Self::Recover(error) => return recovery_causes(error),
            Self::Merging(error) => return error.causes(),
            Self::Unsealable { values, .. } => return values.clone(),
            Self::UnusableKeys { what, problems } => {
                return problems
                    .iter()
                    .map(|problem| format!("{what}:{}", sealing_keys::describe(problem)))
                    .collect();
            }
            _ => {}
        }
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            causes.push(error.to_string());
            next = error.source();
        }
        // Some say why themselves.
        let text = self.to_string();
        causes.retain(|cause| !text.ends_with(cause));
        causes
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Open(error) => error.into(),
            PublishError::Parse(error) => error.into(),
            PublishError::Seal(error) => error.into(),
            PublishError::Wrap(error) => error.into(),
            error => Self::Publish(error),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<SchemeError> for Failure {
    fn from(error: SchemeError) -> Self {
        match error {
            SchemeError::Metadata(error) => error.into(),
            SchemeError::Open(error) => error.into(),
            SchemeError::Parse(error) | SchemeError::Sealed(SealedFileError::Parse(error)) => error.into(),
            SchemeError::Recover(error) => error.into(),
            SchemeError::Seal(SealError::Write(error))
            | SchemeError::Sealed(SealedFileError::Write(error)) => error.into(),
            SchemeError::Seal(error) => error.into(),
            error => Self::Scheme(Box::new(error)),
        }
    }
}

impl From<SealedFileError> for Failure {
    fn from(error: SealedFileError) -> Self {
        SchemeError::from(error).into()
    }
}

impl From<SealingError> for Failure {
    fn from(error: SealingError) -> Self {
        Self::Sealing(error)
    }
}

impl From<RecoverError> for Failure {
    fn from(error: RecoverError) -> Self {
        Self::Recover(Box::new(error))
    }
}

fn exit_of_scheme(error: &SchemeError) -> Exit {
    match error {
        SchemeError::Sealed(SealedFileError::Item { .. }) => Exit::DataKey,
        SchemeError::Sealed(SealedFileError::Missing) => Exit::NoDocument,
        SchemeError::Sealed(SealedFileError::Seal { .. }) => Exit::TreeEncryption,
        _ => Exit::Failure,
    }
}

fn describe_open(error: &OpenError) -> String {
    match error {
        OpenError::Value { path, line, source, .. } => {
            format!("line {line}, {}: {source}", dotted::show(path))
        }
        error => error.to_string(),
    }
}

fn describe_backup(what: &str, error: &BackupError) -> String {
    match error {
        BackupError::Parse(ParseError { line, kind }) => format!("{what}:{line}: {kind}"),
        error => format!("{what}: {error}"),
    }
}

/// Names what may have no name.
fn name_of(text: &str) -> &str {
    if text.is_empty() { "what has no name" } else { text }
}

/// Returns the code that a shell would have for a command that ended so.
fn exit_of_command(status: std::process::ExitStatus) -> Exit {
    let signal = crate::exec::signal_of(status).map(crate::signals::exit_code);
    Exit::Child(crate::exec::code_of(status).or(signal).unwrap_or(u8::MAX))
}

fn describe_recovery(error: &RecoverError) -> String {
    let keys: usize = error.groups.iter().map(|group| group.failures.len()).sum();
    match (error.groups.len(), keys) {
        (1, 1) => "the file's key could not be used".to_owned(),
        (1, keys) => format!("none of the file's {keys} keys could be used"),
        _ => {
            format!("{} of the {} key groups that are needed could be used", error.recovered, error.required)
        }
    }
}

fn recovery_causes(error: &RecoverError) -> Vec<String> {
    let several = error.groups.len() > 1;
    let mut causes = Vec::new();
    for (index, group) in error.groups.iter().enumerate() {
        for failure in &group.failures {
            let place = if several { format!("group {}: ", index + 1) } else { String::new() };
            let why: Vec<_> = failure.causes.iter().map(|(_, cause)| cause.to_string()).collect();
            let why = if why.is_empty() {
                format!("this build has no {} support", failure.key.kind().name)
            } else {
                why.join("; ")
            };
            causes.push(format!("{place}{}: {why}", failure.key));
        }
    }
    causes.extend(error.combining.iter().map(ToString::to_string));
    causes.extend(identity_causes(error));
    causes
}

/// Returns where identities were looked for, and what came of it: once, as all keys ask the same places.
fn identity_causes(error: &RecoverError) -> Vec<String> {
    let reports: Vec<_> = identity_reports(error).collect();
    let all = |names: fn(&IdentityReport) -> &[String]| {
        let mut all: Vec<&str> = Vec::new();
        for name in reports.iter().flat_map(|report| names(report)) {
            if !all.contains(&name.as_str()) {
                all.push(name);
            }
        }
        all.join(", ")
    };
    let mut causes: Vec<String> = Vec::new();
    for problem in reports.iter().flat_map(|report| &report.problems).map(ToString::to_string) {
        if !causes.contains(&problem) {
            causes.push(problem);
        }
    }
    let (tried, empty) = (all(|report| &report.tried), all(|report| &report.empty));
    if !tried.is_empty() {
        causes.push(format!("tried the identities of {tried}"));
    }
    if !empty.is_empty() {
        causes.push(format!("there are no identities in {empty}"));
    }
    causes
}

/// Returns what the keys of a file found out about the identities at hand.
pub fn identity_reports(error: &RecoverError) -> impl Iterator<Item = &IdentityReport> {
    let failures = error.groups.iter().flat_map(|group| &group.failures);
    failures.flat_map(|failure| &failure.causes).filter_map(|(_, cause)| match cause {
        KeyError::IdentityFailed(report) | KeyError::NoIdentity(report) => Some(&**report),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use selkie::keys::{IdentityProblem, KeyKind, MasterKey};
    use selkie::sops::{GroupReport, KeyFailure};

    use super::*;

    #[test]
    fn what_went_wrong_with_identities_is_told_once() {
        let kind = KeyKind::from_name("pgp").expect("pgp is a kind");
        let report = IdentityReport {
            problems: vec![IdentityProblem { location: "key.txt".into(), problem: "no key".into() }],
            tried: vec!["other.txt".into()],
            empty: vec!["SOPS_AGE_KEY".into(), "SOPS_AGE_KEY_FILE".into()],
            unasked: Vec::new(),
        };
        let keys = MasterKey::parse_list(kind, "A,B").expect("keys");
        let failures = keys.into_iter().map(|key| {
            let cause = KeyError::NoIdentity(Box::new(report.clone()));
            KeyFailure { key, causes: vec![("local".to_owned(), cause)] }
        });
        let groups = vec![GroupReport { recovered: false, failures: failures.collect() }];
        let error = RecoverError { recovered: 0, required: 1, groups, combining: None };
        assert_eq!(
            Failure::from(error).causes(),
            [
                "A: no identity matched the key",
                "B: no identity matched the key",
                "key.txt: no key",
                "tried the identities of other.txt",
                "there are no identities in SOPS_AGE_KEY, SOPS_AGE_KEY_FILE",
            ]
        );
    }
}

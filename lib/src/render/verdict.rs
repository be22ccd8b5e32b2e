//! What is said about what was rendered, and why something was not. Nothing here holds a value.

use super::files::FilesError;
use super::limits::LimitError;
use crate::format::{ParseError, WriteError};
use crate::manifest::ObjectError;
use crate::sealed::SealingError;
use crate::sops::{MetadataError, OpenError, RecoverError};

/// What is known of the MAC of an encrypted document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MacVerdict {
    /// It is that of the document's own bytes.
    Ok,
    /// It is that of another document.
    Mismatch,
    /// It was not looked at, as the rule says.
    SkippedByPolicy,
    /// The document is there only as something was made of it, and what it was made of is not at hand.
    SourceUnavailable,
    /// No key was asked for: whoever opens the document later checks it.
    Deferred,
}

/// Something to tell about what came out nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file or object.
    pub place: String,
    /// What is the matter.
    pub text: String,
}

/// Why nothing was rendered. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// Nothing came out.
    #[error(
        "nothing was rendered; an engine that prunes would delete everything. If that is meant, allow it: --allow-empty"
    )]
    Empty,
    /// Files cannot be had.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It looks encrypted, but is not of the format that its name says.
    #[error(
        "{path}: is encrypted, but not as a {format} file, which it is by its name or its place; rename it, or encrypt it again with `kubectl seal encrypt`"
    )]
    Format {
        /// The file.
        path: String,
        /// The format.
        format: &'static str,
        /// What is wrong with it, if it cannot be parsed.
        source: Option<ParseError>,
    },
    /// A value that tells which object this is cannot be known without keys.
    #[error(
        "{path}: {field} is encrypted, so that nobody without keys knows which object this is; leave it in clear"
    )]
    HiddenIdentity {
        /// The file or object.
        path: String,
        /// The field.
        field: String,
    },
    /// A file is a kustomization, which has to be built.
    #[error("{path}: is a kustomization, which has to be built: use --kustomize")]
    Kustomization {
        /// The file.
        path: String,
    },
    /// A limit is exceeded.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A value is encrypted, and nothing that was verified has it.
    #[error("{place}: {path} is encrypted, and {reason}")]
    LeftEncrypted {
        /// The file or object.
        place: String,
        /// The place of the value.
        path: String,
        /// Why it cannot be decrypted.
        reason: &'static str,
    },
    /// A key is not one that may be used.
    #[error("{path}: is encrypted for {key}, a key that the policy does not allow here")]
    Key {
        /// The file.
        path: String,
        /// The key.
        key: String,
    },
    /// The MAC is not that of the document, or there is none to check.
    #[error("{path}: {reason}; nothing of it is used")]
    Mac {
        /// The file or object.
        path: String,
        /// What is known of it.
        verdict: MacVerdict,
        /// What is the matter.
        reason: String,
    },
    /// Part of a mark was changed or cut, so that it does not tell what it stands for.
    #[error("{place}: {path} holds a changed part of a decrypted value, which cannot be filled in; {hint}")]
    ChangedMark {
        /// The object.
        place: String,
        /// The place of the value.
        path: String,
        /// What to do.
        hint: &'static str,
    },
    /// A text looks like a mark.
    #[error("{place}: holds a word that stands for a decrypted value here; write another one")]
    ForeignMark {
        /// The file or object.
        place: String,
    },
    /// The metadata cannot be used.
    #[error("{path}: cannot be decrypted")]
    Metadata {
        /// The file or object.
        path: String,
        /// What is wrong with it.
        source: MetadataError,
    },
    /// A manifest cannot be put in this form.
    #[error("{place}: {reason}")]
    Mode {
        /// The object.
        place: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// An encrypted file is no manifest.
    #[error(
        "{path}: is encrypted, but is no manifest: it has no kind; leave it out of what is rendered, or use it with --kustomize or --helm"
    )]
    NotAManifest {
        /// The file.
        path: String,
    },
    /// A document cannot be read.
    #[error("{place}: cannot be read")]
    Object {
        /// The file or stream.
        place: String,
        /// What is wrong with it.
        source: ObjectError,
    },
    /// A value cannot be decrypted.
    #[error("{path}: cannot be decrypted")]
    Open {
        /// The file or object.
        path: String,
        /// Why not.
        source: OpenError,
    },
    /// A file cannot be parsed.
    #[error("{path}: cannot be parsed")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// No key at hand recovers the data key.
    #[error("{path}: cannot be decrypted")]
    Recover {
        /// The file or object.
        path: String,
        /// Why not.
        source: RecoverError,
    },
    /// Fewer Secrets came out than have to.
    #[error("only {found} Secrets were rendered, and at least {least} have to be")]
    TooFewSecrets {
        /// How many there are.
        found: usize,
        /// How many have to be.
        least: usize,
    },
    /// A Secret cannot be sealed.
    #[error("{place}: cannot be sealed")]
    Sealing {
        /// The object.
        place: String,
        /// Why not.
        source: SealingError,
    },
    /// A decrypted value would come out outside of a Secret.
    #[error(
        "{place}: {path} would hold a decrypted value of {source_path}; move it to a Secret, or let the policy allow it: {{kind: {kind}, path: {path}}}"
    )]
    Taint {
        /// The object.
        place: String,
        /// Its kind.
        kind: String,
        /// The place of the value.
        path: String,
        /// The file that the value is from.
        source_path: String,
    },
    /// A value is not text, where only text can stand.
    #[error("{place}: {path} cannot hold a decrypted value that is not text; use `data` of a Secret")]
    NotText {
        /// The object.
        place: String,
        /// The place of the value.
        path: String,
    },
    /// A SealedSecret cannot be opened, though a private key is at hand.
    #[error("{place}: cannot be unsealed: {reason}")]
    Unseal {
        /// The object.
        place: String,
        /// Why not.
        reason: String,
    },
    /// A file cannot be written with marks.
    #[error("{path}: cannot be rendered")]
    Write {
        /// The file.
        path: String,
        /// Why not.
        source: WriteError,
    },
}

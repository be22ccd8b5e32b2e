//! Why the page cannot do what it is asked for: a word for programs, a sentence for people, where, and what to do.
//!
//! No message holds a value.

use selkie::EncryptError;
use selkie::format::ParseError;
use selkie::keys::KeyParseError;
use selkie::sealed::{CertError, FlawKind, SealingError, SecretError, SecretFileError, UnknownScope};
use selkie::sops::{SealError, SelectorError};
use serde_json::{Value as Json, json};

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertError),
    /// The browser tells a time that is none.
    #[error("the clock of the browser is wrong")]
    Clock,
    /// A key is given twice.
    #[error("the key {0:?} is given twice")]
    DuplicateKey(
        /// The key.
        String,
    ),
    /// The document cannot be encrypted.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// The form has no value.
    #[error("the Secret has no values")]
    EmptyForm,
    /// There is no such format.
    #[error("there is no format {0:?}")]
    Format(
        /// What was given.
        String,
    ),
    /// What would be sealed could not be used.
    #[error("{}", flaw_text(.0))]
    Flaw(
        /// What is wrong.
        FlawKind,
    ),
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] SecretFileError),
    /// The form has no name.
    #[error("the Secret has no name")]
    MissingName,
    /// The form has no namespace, which its scope needs.
    #[error("the Secret has no namespace, to which this scope binds its values")]
    MissingNamespace,
    /// There is nobody to encrypt for.
    #[error("there is no recipient")]
    NoRecipient,
    /// There is no Secret in the manifest.
    #[error("there is no Secret in the manifest")]
    NoSecret,
    /// The document is not of its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// There is a private key where a public one is asked for.
    #[error("this is a private key; nobody needs it here, and nobody but its owner should have it")]
    PrivateKey(
        /// Where it is.
        Field,
    ),
    /// A line names no recipient.
    #[error("line {line}: {source}")]
    Recipient {
        /// The 1-based line.
        line: usize,
        /// Why not.
        source: KeyParseError,
    },
    /// The page cannot encrypt for such a recipient.
    #[error(
        "line {line}: the page can encrypt for recipients of age (age1…), not for keys of SSH or of plugins"
    )]
    RecipientKind {
        /// The 1-based line.
        line: usize,
    },
    /// There is no such scope.
    #[error(transparent)]
    Scope(#[from] UnknownScope),
    /// A Secret cannot be sealed.
    #[error("line {line}: {source}")]
    Seal {
        /// The 1-based line.
        line: usize,
        /// Why not.
        source: SealingError,
    },
    /// The rule is none.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// There are more bytes than a Secret can hold.
    #[error("the values are longer than 1 MiB, which no Secret may be")]
    TooLarge,
}

/// A field of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The certificate.
    Certificate,
    /// The format.
    Format,
    /// The manifest.
    Manifest,
    /// The name.
    Name,
    /// The namespace.
    Namespace,
    /// The recipients.
    Recipients,
    /// The rule.
    Rule,
    /// The scope.
    Scope,
    /// The text to encrypt.
    Text,
    /// The values.
    Values,
}

impl Problem {
    /// Returns the problem as the page takes it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "code": self.code(),
            "message": self.to_string(),
            "line": self.line(),
            "field": self.field().map(Field::name),
            "hint": self.hint(),
        })
    }

    /// Returns one word for the problem.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Certificate(CertError::Expired(_)) => "expired",
            Self::Certificate(_) => "certificate",
            Self::Clock => "clock",
            Self::DuplicateKey(_) => "duplicate-key",
            Self::Encrypt(EncryptError::Parse(_)) | Self::Parse(_) => "parse",
            Self::Encrypt(_) => "encrypt",
            Self::EmptyForm => "empty",
            Self::Format(_) => "format",
            Self::Flaw(flaw) => flaw.name(),
            Self::Manifest(_) => "manifest",
            Self::MissingName => "no-name",
            Self::MissingNamespace => "no-namespace",
            Self::NoRecipient => "no-recipient",
            Self::NoSecret => "no-secret",
            Self::PrivateKey(_) => "private-key",
            Self::Recipient { .. } | Self::RecipientKind { .. } => "recipient",
            Self::Scope(_) => "scope",
            Self::Seal { .. } => "seal",
            Self::Selector(_) => "rule",
            Self::TooLarge => "too-large",
        }
    }

    /// Returns the 1-based line of its field, if it is at one.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        match self {
            Self::Encrypt(EncryptError::Parse(error))
            | Self::Parse(error)
            | Self::Manifest(SecretFileError::Parse(error)) => Some(error.line),
            Self::Encrypt(EncryptError::Seal(
                SealError::AmbiguousComment { line } | SealError::Unsigned { line },
            ))
            | Self::Manifest(
                SecretFileError::Ambiguous { line, .. }
                | SecretFileError::Object { line, .. }
                | SecretFileError::Shape { line, .. },
            )
            | Self::Recipient { line, .. }
            | Self::RecipientKind { line }
            | Self::Seal { line, .. } => Some(*line),
            _ => None,
        }
    }

    /// Returns the field that has to be mended.
    #[must_use]
    pub const fn field(&self) -> Option<Field> {
        match self {
            Self::Certificate(_) => Some(Field::Certificate),
            Self::Clock => None,
            Self::DuplicateKey(_) | Self::EmptyForm | Self::TooLarge => Some(Field::Values),
            Self::Encrypt(EncryptError::Seal(
                SealError::NothingSelected { .. } | SealError::BrokenRule { .. },
            ))
            | Self::Selector(_) => Some(Field::Rule),
            Self::Encrypt(EncryptError::Wrap(_))
            | Self::NoRecipient
            | Self::Recipient { .. }
            | Self::RecipientKind { .. } => Some(Field::Recipients),
            Self::Encrypt(_) | Self::Parse(_) => Some(Field::Text),
            Self::Flaw(FlawKind::Name { field, .. }) if is_namespace(field) => Some(Field::Namespace),
            Self::Flaw(FlawKind::Name { .. }) | Self::MissingName => Some(Field::Name),
            Self::Flaw(FlawKind::NoNamespace) | Self::MissingNamespace => Some(Field::Namespace),
            Self::Flaw(_) => Some(Field::Values),
            Self::Format(_) => Some(Field::Format),
            Self::Manifest(_) | Self::NoSecret => Some(Field::Manifest),
            Self::PrivateKey(field) => Some(*field),
            Self::Scope(_) => Some(Field::Scope),
            Self::Seal { source: SealingError::MissingNamespace, .. } => Some(Field::Namespace),
            Self::Seal { source: SealingError::KeyTooSmall, .. } => Some(Field::Certificate),
            Self::Seal { .. } => Some(Field::Manifest),
        }
    }

    /// Returns what to do, if that is not plain from what is wrong.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Certificate(CertError::Expired(_)) => Some(
                "fetch the one in use with `kubectl seal cert --refresh` or `kubeseal --fetch-cert`, or tick the box below it",
            ),
            Self::Certificate(_) => Some(
                "paste what `kubectl seal cert` or `kubeseal --fetch-cert` prints, from BEGIN to END CERTIFICATE",
            ),
            Self::Encrypt(EncryptError::Seal(SealError::AlreadyEncrypted))
            | Self::Manifest(SecretFileError::Encrypted) => {
                Some("a file that is encrypted already is changed with `kubectl seal edit` or `sops edit`")
            }
            Self::Encrypt(EncryptError::Seal(SealError::NothingSelected { .. })) => {
                Some("name a key that is in the document, or take another rule")
            }
            Self::Manifest(SecretFileError::Ambiguous { .. }) => Some("put the value into quotes"),
            Self::Manifest(SecretFileError::Object { source: SecretError::Data { .. }, .. }) => {
                Some("values in clear stand in stringData, values in base64 in data")
            }
            Self::NoRecipient => Some("put one recipient on a line: `age-keygen -y keys.txt` prints yours"),
            Self::NoSecret => Some("the manifest needs an object with `kind: Secret` and `apiVersion: v1`"),
            Self::PrivateKey(Field::Certificate) => {
                Some("clear the field, and paste the certificate: `kubectl seal cert` prints it")
            }
            Self::PrivateKey(_) => {
                Some("clear the field, and paste the recipient: `age-keygen -y` prints it")
            }
            Self::RecipientKind { .. } => Some("`kubectl seal encrypt --age` can encrypt for them"),
            Self::Seal { source: SealingError::MissingName, .. } => Some("write a name under metadata"),
            Self::Seal { source: SealingError::MissingNamespace, .. } => {
                Some("write a namespace under metadata, or into the field for it")
            }
            _ => None,
        }
    }
}

impl From<Problem> for String {
    fn from(problem: Problem) -> Self {
        problem.to_json().to_string()
    }
}

impl Field {
    /// Returns what the page calls the field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Format => "format",
            Self::Manifest => "manifest",
            Self::Name => "name",
            Self::Namespace => "namespace",
            Self::Recipients => "recipients",
            Self::Rule => "rule",
            Self::Scope => "scope",
            Self::Text => "text",
            Self::Values => "values",
        }
    }
}

/// Says of a name in a form what is wrong with it, without the words for where it stands in a manifest.
fn flaw_text(flaw: &FlawKind) -> String {
    flaw.to_string().trim_start_matches("metadata.").to_owned()
}

const fn is_namespace(field: &str) -> bool {
    field.len() == "metadata.namespace".len()
}

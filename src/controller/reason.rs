//! Why an object is in the state that it is in: one word for status, event, metric and log.

use std::fmt;

/// What became of an object. Its name is the `reason` of the condition `Ready`, the label of metrics, and a field of
/// log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The object cannot be read: a field is not of its type.
    Invalid,
    /// The Secret is immutable, and is another one.
    Immutable,
    /// The MAC of the document does not match: it was changed by somebody without the key.
    MacMismatch,
    /// No key opens it.
    NoKey,
    /// The policy of the namespace does not allow it.
    NotAllowed,
    /// All is as it should be.
    Ready,
    /// The object cannot be read from the API server.
    Fetch,
    /// The state cannot be written to the status of the object.
    Status,
    /// Its owner wants it left alone for now.
    Suspended,
    /// A template cannot be rendered.
    Template,
    /// There is a Secret of that name which belongs to somebody else.
    Unmanaged,
    /// A value cannot be decrypted, although there may be a key.
    Unseal,
    /// The API server does not take the Secret.
    Update,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Invalid,
        Self::Immutable,
        Self::MacMismatch,
        Self::NoKey,
        Self::NotAllowed,
        Self::Ready,
        Self::Fetch,
        Self::Status,
        Self::Suspended,
        Self::Template,
        Self::Unmanaged,
        Self::Unseal,
        Self::Update,
    ];

    /// Returns the word, as conditions have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::Immutable => "Immutable",
            Self::MacMismatch => "MacMismatch",
            Self::NoKey => "NoKey",
            Self::NotAllowed => "NotAllowed",
            Self::Ready => "Ready",
            Self::Fetch => "FetchFailed",
            Self::Status => "StatusFailed",
            Self::Suspended => "Suspended",
            Self::Template => "TemplateFailed",
            Self::Unmanaged => "Unmanaged",
            Self::Unseal => "UnsealFailed",
            Self::Update => "UpdateFailed",
        }
    }

    /// Returns the label `reason` of `sealed_secrets_controller_unseal_errors_total`, as the controller of Sealed
    /// Secrets has it; `None` for what is no error.
    #[must_use]
    pub const fn error_label(self) -> Option<&'static str> {
        match self {
            Self::Ready | Self::Suspended => None,
            Self::Fetch => Some("fetch"),
            Self::Status => Some("status"),
            Self::Unmanaged => Some("unmanaged"),
            Self::Immutable | Self::Update => Some("update"),
            Self::Invalid
            | Self::MacMismatch
            | Self::NoKey
            | Self::NotAllowed
            | Self::Template
            | Self::Unseal => Some("unseal"),
        }
    }

    /// Returns the reason of the event, as the controller of Sealed Secrets has it.
    #[must_use]
    pub fn event(self) -> &'static str {
        match self.error_label() {
            None => "Unsealed",
            Some("unseal") => "ErrUnsealFailed",
            Some(_) => "ErrUpdateFailed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Why an object could not be reconciled.
///
/// Invariant: the message holds nothing of a plaintext, and says the same every time, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The word for it.
    pub reason: Reason,
    /// What a person reads.
    pub message: String,
}

impl Failure {
    /// Returns a failure.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Returns the text of the event, in the words of the controller of Sealed Secrets.
    #[must_use]
    pub fn event_text(&self) -> String {
        match self.reason.error_label() {
            Some("unseal") => format!("Failed to unseal: {}", self.message),
            _ => self.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let words: BTreeSet<_> = Reason::ALL.map(Reason::word).into();
        assert_eq!(words.len(), Reason::ALL.len());
        for word in words {
            // As metav1.Condition wants it.
            assert!(
                word.chars().all(char::is_alphanumeric) && word.starts_with(char::is_uppercase),
                "{word}"
            );
        }
    }

    #[test]
    fn events_and_labels_are_those_of_sealed_secrets() {
        let table: [(Reason, Option<&str>, &str, &str); 13] = [
            (Reason::Fetch, Some("fetch"), "ErrUpdateFailed", "m"),
            (Reason::Immutable, Some("update"), "ErrUpdateFailed", "m"),
            (Reason::Invalid, Some("unseal"), "ErrUnsealFailed", "Failed to unseal: m"),
            (Reason::MacMismatch, Some("unseal"), "ErrUnsealFailed", "Failed to unseal: m"),
            (Reason::NoKey, Some("unseal"), "ErrUnsealFailed", "Failed to unseal: m"),
            (Reason::NotAllowed, Some("unseal"), "ErrUnsealFailed", "Failed to unseal: m"),
            (Reason::Ready, None, "Unsealed", "m"),
            (Reason::Status, Some("status"), "ErrUpdateFailed", "m"),
            (Reason::Suspended, None, "Unsealed", "m"),
            (Reason::Template, Some("unseal"), "ErrUnsealFailed", "Failed to unseal: m"),
            (Reason::Unmanaged, Some("unmanaged"), "ErrUpdateFailed", "m"),
            (Reason::Unseal, Some("unseal"), "ErrUnsealFailed", "Failed to unseal: m"),
            (Reason::Update, Some("update"), "ErrUpdateFailed", "m"),
        ];
        for (reason, label, event, text) in table {
            assert_eq!((reason.error_label(), reason.event()), (label, event), "{reason}");
            assert_eq!(Failure::new(reason, "m").event_text(), text, "{reason}");
        }
    }
}

//! Master keys: what wraps a document's data key.
//!
//! A master key is data (its kind, its fields, and the wrapped data key); what wraps and unwraps is a
//! [`KeyService`]. Nothing here knows of files or of documents. To add a kind, write one file and one
//! line of [`KEY_KINDS`].

#[cfg(feature = "age")]
pub mod age;
mod kinds;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use rand_core::CryptoRngCore;
use serde_json::{Map, Value as Json};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::SecretBytes;

pub use kinds::KEY_KINDS;

/// The key of one document: 32 random bytes that encrypt its values with AES-256-GCM.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DataKey(Box<[u8; DataKey::LENGTH]>);

/// A kind of master key: its names, and how it is read and identified.
pub struct KeyKind {
    /// The name of the list in the metadata, and in a decryption order.
    pub name: &'static str,
    /// The flag of the command line, without dashes; `add-` and `rm-` stand before it where a key is
    /// added or removed.
    pub flag: &'static str,
    /// The one-letter flag.
    pub short: Option<char>,
    /// The variable of the environment that holds recipients.
    pub variable: &'static str,
    /// The field of a creation rule that lists keys of this kind.
    pub rule_field: &'static str,
    /// The field of a key group in a creation rule.
    pub group_field: &'static str,
    /// The fields that the metadata has for such a key, besides `enc` and `created_at`.
    pub fields: &'static [KeyField],
    /// Whether the metadata says when the data key was wrapped.
    pub has_created_at: bool,
    /// Reads one key as it is written on the command line or in a rule.
    pub parse: fn(&str) -> Result<Map<String, Json>, KeyParseError>,
    /// Reads one key as an object of a key group in a rule.
    pub parse_object: fn(&Map<String, Json>) -> Result<Map<String, Json>, KeyParseError>,
    /// Returns the text by which people tell one key from another.
    pub identify: fn(&Map<String, Json>) -> String,
}

/// A field of a key's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyField {
    /// The field's name.
    pub name: &'static str,
    /// Whether the field is left out when it is empty.
    pub omit_empty: bool,
}

/// A master key of a document, with the wrapped data key if there is one.
#[derive(Clone)]
pub struct MasterKey {
    kind: &'static KeyKind,
    fields: Map<String, Json>,
    wrapped: String,
    created_at: String,
}

/// Master keys each of which alone recovers the group's share of the data key.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct KeyGroup(pub Vec<MasterKey>);

/// A future that a key service returns.
pub type KeyFuture<'a, T> = Pin<Box<dyn Future<Output = Option<Result<T, KeyError>>> + Send + 'a>>;

/// Wraps and unwraps data keys, here or across a network.
///
/// A method returns `None` for a key that is not this service's business, so that a key that is and
/// fails keeps its cause.
pub trait KeyService: Send + Sync {
    /// Returns what the service is called in reports.
    fn name(&self) -> String;

    /// Wraps a data key, or a share of one, for `key`; returns the text for the metadata's `enc`.
    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String>;

    /// Unwraps what `key` holds.
    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes>;
}

/// Why a key could not wrap or unwrap. No variant holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// What is wrapped does not have the form of its kind.
    #[error("the wrapped data key is malformed: {0}")]
    Malformed(String),
    /// No identity at hand fits the key.
    #[error("no identity matched the key")]
    NoIdentity,
    /// What should do the work refused or failed.
    #[error("{0}")]
    Service(String),
    /// The key's name cannot be used.
    #[error(transparent)]
    Parse(#[from] KeyParseError),
}

/// Why a text does not name a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct KeyParseError {
    /// The text that was given.
    pub text: String,
    /// What it should have been.
    pub expected: String,
}

impl DataKey {
    /// The length of a data key, in bytes.
    pub const LENGTH: usize = 32;

    /// Draws a new key.
    pub fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        let mut key = Self(Box::new([0; Self::LENGTH]));
        rng.fill_bytes(&mut *key.0);
        key
    }

    /// Takes a recovered key, or returns `None` if it does not have the length of one.
    #[must_use]
    pub fn from_secret(secret: &SecretBytes) -> Option<Self> {
        let mut key = Self(Box::new([0; Self::LENGTH]));
        (secret.len() == Self::LENGTH).then(|| key.0.copy_from_slice(secret.expose_secret()))?;
        Some(key)
    }

    /// Returns the bytes. Call it as late as possible.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl MasterKey {
    /// Returns the keys that a text lists, separated by commas; empty items are passed over.
    ///
    /// # Errors
    /// If an item does not name a key of this kind.
    pub fn parse_list(kind: &'static KeyKind, text: &str) -> Result<Vec<Self>, KeyParseError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| (kind.parse)(item).map(|fields| Self::new(kind, fields))).collect()
    }

    /// Returns a key with these fields, which wraps nothing yet.
    #[must_use]
    pub const fn new(kind: &'static KeyKind, fields: Map<String, Json>) -> Self {
        Self { kind, fields, wrapped: String::new(), created_at: String::new() }
    }

    /// Returns the key that an entry of the metadata describes. Fields that the kind does not have are
    /// passed over.
    #[must_use]
    pub fn from_metadata(kind: &'static KeyKind, entry: &Map<String, Json>) -> Self {
        let text = |name: &str| entry.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let field =
            |field: &KeyField| entry.get(field.name).map(|value| (field.name.to_owned(), value.clone()));
        Self {
            kind,
            fields: kind.fields.iter().filter_map(field).collect(),
            wrapped: text("enc"),
            created_at: text("created_at"),
        }
    }

    /// Returns the entry of the metadata that describes the key, names in alphabetical order.
    #[must_use]
    pub fn to_metadata(&self) -> Map<String, Json> {
        let is_empty = |value: &Json| match value {
            Json::Null => true,
            Json::String(text) => text.is_empty(),
            Json::Object(map) => map.is_empty(),
            _ => false,
        };
        let mut entries: Vec<(String, Json)> = vec![("enc".into(), self.wrapped.clone().into())];
        if self.kind.has_created_at {
            entries.push(("created_at".into(), self.created_at.clone().into()));
        }
        for field in self.kind.fields {
            let value = self.fields.get(field.name).cloned().unwrap_or_else(|| "".into());
            if !(field.omit_empty && is_empty(&value)) {
                entries.push((field.name.into(), value));
            }
        }
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        entries.into_iter().collect()
    }

    /// Records a newly wrapped data key, and when that was (RFC 3339).
    pub fn set_wrapped(&mut self, wrapped: String, now: &str) {
        self.wrapped = wrapped;
        now.clone_into(&mut self.created_at);
    }

    /// Returns the kind of the key.
    #[must_use]
    pub const fn kind(&self) -> &'static KeyKind {
        self.kind
    }

    /// Returns a field as text, empty if there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// Returns all fields.
    #[must_use]
    pub const fn fields(&self) -> &Map<String, Json> {
        &self.fields
    }

    /// Returns the wrapped data key, as the metadata's `enc` has it.
    #[must_use]
    pub fn wrapped(&self) -> &str {
        &self.wrapped
    }

    /// Returns when the data key was wrapped, if the metadata says so.
    #[must_use]
    pub fn created_at(&self) -> Option<&str> {
        (self.kind.has_created_at && !self.created_at.is_empty()).then_some(&self.created_at)
    }
}

/// Two keys are equal if they name the same key, whatever they wrap.
impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.kind.name == other.kind.name && self.to_string() == other.to_string()
    }
}

impl Eq for MasterKey {}

impl fmt::Display for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&(self.kind.identify)(&self.fields))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MasterKey({}: {self})", self.kind.name)
    }
}

impl KeyKind {
    /// Returns the kind whose list in the metadata is called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<&'static Self> {
        KEY_KINDS.iter().copied().find(|kind| kind.name == name)
    }
}

impl fmt::Debug for KeyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyKind({})", self.name)
    }
}

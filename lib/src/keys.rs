//! Master keys: what wraps a document's data key.
//!
//! A master key is data (its kind, its fields, and the wrapped data key); what wraps and unwraps is a
//! [`KeyService`]. Nothing here knows of files or of documents. To add a kind, write one file and one
//! line of [`KEY_KINDS`].

pub mod age;
pub mod azure_kv;
#[cfg(feature = "endpoint")]
mod endpoint;
pub mod gcp_kms;
pub mod hc_vault;
pub mod hckms;
#[cfg(feature = "http")]
pub mod http;
mod kinds;
pub mod kms;
pub mod pgp;
mod remembering;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "rest")]
mod rest;
mod said;
mod service;
mod setup;
pub mod shell;
mod trust;

use std::fmt;

use rand_core::CryptoRngCore;
use serde_json::{Map, Value as Json};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::SecretBytes;

pub use kinds::KEY_KINDS;
pub use remembering::Remembering;
#[cfg(feature = "remote")]
pub use remote::Remote;
pub use said::said;
pub use service::{Cause, Effort, KeyError, KeyFuture, KeyService, ServiceError};
pub use setup::KeySetup;
pub use trust::Trust;

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
    /// Where keys of this kind stand among the keys of a rule that lists them by [`Self::rule_field`].
    pub rule_rank: u8,
    /// The field of a key group in a creation rule.
    pub group_field: &'static str,
    /// What else may be said of all keys of this kind at once.
    pub options: &'static [KeyOption],
    /// The fields that the metadata has for such a key, besides `enc` and `created_at`.
    pub fields: &'static [KeyField],
    /// The field that holds the address of the server that is asked: a document that anybody may have written names it,
    /// so that it may only be sent credentials if the user named it too.
    pub address_field: Option<&'static str>,
    /// Whether the metadata says when the data key was wrapped.
    pub has_created_at: bool,
    /// Reads one key as it is written on the command line or in a rule.
    pub parse: fn(&str) -> Result<KeyFields, KeyParseError>,
    /// Reads one key as an object of a key group in a rule.
    pub parse_object: fn(&KeyFields) -> Result<KeyFields, KeyParseError>,
    /// Returns the text by which people tell one key from another.
    pub identify: fn(&KeyFields) -> String,
    /// The key as a message of the gRPC protocol between key services.
    pub message: KeyMessage,
    /// Returns the keys that a sops before 3.3.0 may have wrapped for by mistake, in place of this one.
    pub mistakes: fn(&MasterKey) -> Vec<MasterKey>,
    /// Makes the service that wraps and unwraps with such keys. `None` if this build has none, or if it takes more
    /// than the setup of a run: identities, for age.
    pub connect: Option<fn(&KeySetup) -> Box<dyn KeyService>>,
}

/// How a key is written as a message of the gRPC protocol between key services: `Key` of `keyservice.proto` of
/// sops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMessage {
    /// The number of the kind among the variants of `Key.key_type`.
    pub tag: u32,
    /// The number of each field of the metadata in the message of the kind.
    pub fields: &'static [(&'static str, u32)],
}

/// The fields of a key, as its metadata has them, or of an object that names one.
pub type KeyFields = Map<String, Json>;

/// A setting that goes to every key of a kind that the command line, or a rule without key groups,
/// names.
pub struct KeyOption {
    /// The field of the metadata that it sets.
    pub field: &'static str,
    /// The flag of the command line, without dashes.
    pub flag: &'static str,
    /// The field of a creation rule, if there is one.
    pub rule_field: Option<&'static str>,
    /// Reads the setting as it is written on the command line or in a rule.
    pub parse: fn(&str) -> Result<Json, KeyParseError>,
}

/// A field of a key's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyField {
    /// The field's name.
    pub name: &'static str,
    /// Whether the field is an object that maps texts to texts, and not a text.
    pub is_map: bool,
    /// Whether the field is left out when it is empty.
    pub omit_empty: bool,
    /// Whether people may leave the field open: [`KeyService::resolve`] then fills it in.
    pub is_resolved: bool,
}

/// A master key of a document, with the wrapped data key if there is one.
#[derive(Clone)]
pub struct MasterKey {
    kind: &'static KeyKind,
    fields: Map<String, Json>,
    wrapped: String,
    created_at: String,
    is_old: bool,
}

/// Master keys each of which alone recovers the group's share of the data key.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct KeyGroup(pub Vec<MasterKey>);

/// Where identities were looked for, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityReport {
    /// Sources that could not be read, and identities that failed.
    pub problems: Vec<IdentityProblem>,
    /// Sources whose identities were tried.
    pub tried: Vec<String>,
    /// Sources in which there were no identities.
    pub empty: Vec<String>,
    /// Sources with identities that were not tried, since a person would have to be asked, or a program run.
    pub unasked: Vec<String>,
}

/// What went wrong with a source of identities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {problem}")]
pub struct IdentityProblem {
    /// What the source is called.
    pub location: String,
    /// What went wrong.
    pub problem: String,
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

    /// Returns the same key once more. Each wipes itself.
    pub(crate) fn duplicate(&self) -> Self {
        let mut key = Self(Box::new([0; Self::LENGTH]));
        key.0.copy_from_slice(&*self.0);
        key
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

    /// Returns the keys that an entry of a key group in a rule names: a text (or several, separated by
    /// commas), or an object.
    ///
    /// # Errors
    /// If the entry does not name a key of this kind.
    pub fn parse_entry(kind: &'static KeyKind, entry: &Json) -> Result<Vec<Self>, KeyParseError> {
        match entry {
            Json::Object(object) => Ok(vec![Self::new(kind, (kind.parse_object)(object)?)]),
            Json::String(text) => Self::parse_list(kind, text),
            _ => Err(KeyParseError::new(&entry.to_string(), "a text or an object")),
        }
    }

    /// Returns a key with these fields, which wraps nothing yet.
    #[must_use]
    pub const fn new(kind: &'static KeyKind, fields: Map<String, Json>) -> Self {
        Self { kind, fields, wrapped: String::new(), created_at: String::new(), is_old: false }
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
            is_old: false,
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

    /// Sets a field, as a [`KeyOption`] asks for it.
    pub fn set_field(&mut self, name: &str, value: Json) {
        self.fields.insert(name.to_owned(), value);
    }

    /// Records a newly wrapped data key, and when that was (RFC 3339).
    pub fn set_wrapped(&mut self, wrapped: String, now: &str) {
        self.wrapped = wrapped;
        now.clone_into(&mut self.created_at);
        self.is_old = false;
    }

    /// Returns the keys that sops may have wrapped the data key for by mistake, in place of this one: see
    /// [`KeyKind::mistakes`].
    #[must_use]
    pub fn mistakes(&self) -> Vec<Self> {
        (self.kind.mistakes)(self)
    }

    /// Records that a sops before 3.3.0 may have wrapped the data key: see [`Self::is_old`].
    pub const fn mark_as_old(&mut self) {
        self.is_old = true;
    }

    /// Returns whether a sops before 3.3.0 may have wrapped the data key, which did not always use the encryption
    /// context that the key names.
    #[must_use]
    pub const fn is_old(&self) -> bool {
        self.is_old
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

    /// Returns the address of the server that is asked, if the key names one.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        let address = self.field(self.kind.address_field?);
        (!address.is_empty()).then_some(address)
    }

    /// Returns all fields.
    #[must_use]
    pub const fn fields(&self) -> &Map<String, Json> {
        &self.fields
    }

    /// Returns whether `other` is the same key, with what this one leaves open.
    fn leaves_open(&self, other: &Self) -> bool {
        let is_open = |field: &KeyField| field.is_resolved && self.field(field.name).is_empty();
        let fields = self.kind.fields;
        let mut filled = self.clone();
        fields.iter().filter(|field| is_open(field)).for_each(|field| {
            filled.set_field(field.name, other.field(field.name).into());
        });
        fields.iter().any(is_open) && filled == *other
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

impl KeyGroup {
    /// Leaves only the first of keys that are equal.
    pub fn deduplicate(&mut self) {
        let mut unique: Vec<MasterKey> = Vec::with_capacity(self.0.len());
        for key in self.0.drain(..) {
            if !unique.contains(&key) {
                unique.push(key);
            }
        }
        self.0 = unique;
    }

    /// Takes from `known` what keys leave open, such as the version, if it has the same key otherwise: a rule that names
    /// no version means whichever one a document has.
    pub fn settle(&mut self, known: &Self) {
        for key in &mut self.0 {
            if let Some(known) = known.0.iter().find(|known| key.leaves_open(known)) {
                key.fields = known.fields.clone();
            }
        }
    }

    /// Brings the keys into the order that they have after the document is read again: that of
    /// [`KEY_KINDS`], and within a kind as they are.
    pub fn sort_by_kind(&mut self) {
        self.0.sort_by_key(|key| KEY_KINDS.iter().position(|kind| kind.name == key.kind.name));
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

impl KeyField {
    /// Returns a field that is written even if it is empty.
    const fn required(name: &'static str) -> Self {
        Self { name, is_map: false, omit_empty: false, is_resolved: false }
    }

    /// Returns a field that is left out if it is empty.
    const fn optional(name: &'static str) -> Self {
        Self { name, is_map: false, omit_empty: true, is_resolved: false }
    }

    /// Returns a field that maps texts to texts, and is left out if it is empty.
    const fn map(name: &'static str) -> Self {
        Self { name, is_map: true, omit_empty: true, is_resolved: false }
    }

    /// Returns a field that people may leave open, and that a service then fills in.
    const fn resolved(name: &'static str) -> Self {
        Self { name, is_map: false, omit_empty: false, is_resolved: true }
    }
}

impl KeyParseError {
    fn new(text: &str, expected: &str) -> Self {
        // Someone who mixes up the halves of a key must not find the private one in a log.
        let is_private = PRIVATE_MARKS.iter().any(|mark| text.to_ascii_uppercase().contains(mark));
        let text = if is_private { "(a private key)" } else { text };
        Self { text: text.to_owned(), expected: expected.to_owned() }
    }

    fn of_object(object: &Map<String, Json>, expected: &str) -> Self {
        Self::new(&Json::Object(object.clone()).to_string(), expected)
    }
}

/// What private keys hold, in upper case.
const PRIVATE_MARKS: [&str; 3] = ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY"];

/// Returns fields that hold these texts; empty ones are left out.
fn text_fields(fields: &[(&str, &str)]) -> Map<String, Json> {
    let present = fields.iter().filter(|(_, text)| !text.is_empty());
    present.map(|(name, text)| ((*name).to_owned(), (*text).into())).collect()
}

/// Returns a field as text, empty if there is none.
fn text_of<'a>(fields: &'a Map<String, Json>, name: &str) -> &'a str {
    fields.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// Returns an object's scalar as the text it was written with, empty if there is none.
fn scalar_text(object: &Map<String, Json>, name: &str, expected: &str) -> Result<String, KeyParseError> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(String::new()),
        Some(Json::String(text)) => Ok(text.clone()),
        Some(value @ (Json::Number(_) | Json::Bool(_))) => Ok(value.to_string()),
        Some(_) => Err(KeyParseError::of_object(object, expected)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(kind: &'static KeyKind, text: &str) -> Vec<MasterKey> {
        MasterKey::parse_list(kind, text).expect("the test names keys")
    }

    fn texts(group: &KeyGroup) -> Vec<String> {
        group.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn groups_keep_the_first_of_equal_keys() {
        let mut group = KeyGroup(
            [keys(&pgp::KIND, "A,B,A"), keys(&gcp_kms::KIND, "A,B"), keys(&pgp::KIND, "B,C")].concat(),
        );
        group.deduplicate();
        assert_eq!(texts(&group), ["A", "B", "A", "B", "C"]);
    }

    #[test]
    fn what_a_key_leaves_open_is_taken_from_the_same_key() {
        let settled = |open: &str, known: &str| {
            let mut group = KeyGroup(keys(&azure_kv::KIND, open));
            group.settle(&KeyGroup([keys(&pgp::KIND, "A"), keys(&azure_kv::KIND, known)].concat()));
            texts(&group).remove(0)
        };
        let (open, other) = ("https://v/keys/k", "https://v/keys/l/1");
        assert_eq!(settled(open, "https://v/keys/l/1,https://v/keys/k/2"), "https://v/keys/k/2");
        assert_eq!(settled(open, other), "https://v/keys/k/");
        assert_eq!(settled("https://v/keys/k/1", "https://v/keys/k/2"), "https://v/keys/k/1");
    }

    #[test]
    fn groups_are_sorted_by_kind_alone() {
        let mut group = KeyGroup([keys(&pgp::KIND, "C,A"), keys(&kms::KIND, "Z,B")].concat());
        group.sort_by_kind();
        assert_eq!(texts(&group), ["Z", "B", "C", "A"]);
    }

    #[test]
    fn entries_are_texts_or_objects() {
        let parse = |kind, entry: Json| MasterKey::parse_entry(kind, &entry);
        assert_eq!(parse(&pgp::KIND, json!("A, B")).expect("two fingerprints").len(), 2);
        assert_eq!(parse(&hckms::KIND, json!({"key_id": "r:1"})).expect("a key").len(), 1);
        parse(&pgp::KIND, json!({"fp": "A"})).expect_err("fingerprints are texts");
        parse(&pgp::KIND, json!(12)).expect_err("a number is no fingerprint");
    }

    #[test]
    fn equal_keys_of_different_kinds_differ() {
        assert_ne!(keys(&pgp::KIND, "A"), keys(&gcp_kms::KIND, "A"));
    }
}

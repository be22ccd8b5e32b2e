//! What is remembered of a file once it was looked at, for rules that judge all files together.

use std::ops::Range;

use super::config::Config;
use super::file::File;
use super::finding::Position;
use super::needles::Needles;
use super::object::{Object, objects};
use super::outline::Entry;
use super::placeholder::{is_encoded_placeholder, is_placeholder};

/// What is remembered of a file.
#[derive(Debug, Default)]
pub struct Facts {
    /// The file.
    pub path: String,
    /// The Secrets and SealedSecrets in it.
    pub objects: Vec<ObjectFact>,
}

/// A Secret or SealedSecret.
#[derive(Debug)]
pub struct ObjectFact {
    /// Whether it is a SealedSecret.
    pub is_sealed: bool,
    /// Its name.
    pub name: String,
    /// Its namespace, empty if it names none.
    pub namespace: String,
    /// Where it is.
    pub start: Position,
    /// Whether SOPS encrypted it.
    pub is_encrypted: bool,
    /// The first of its values that is in clear; nothing of a SealedSecret.
    pub clear: Option<ClearValue>,
}

/// Where a value is that is in clear.
#[derive(Clone, Debug)]
pub struct ClearValue {
    /// The bytes of the decoded text.
    pub span: Range<usize>,
    /// Where that starts.
    pub start: Position,
    /// Where it ends, exclusively.
    pub end: Position,
    /// Where it is in its object, as a JSON pointer.
    pub pointer: String,
}

impl Facts {
    /// Returns what to remember of a file.
    pub(super) fn of(file: &File<'_>, config: &Config) -> Self {
        // Most files only refer to Secrets: `secretKeyRef` and the like.
        let names_kind = || memchr::memmem::find(file.text().as_bytes(), b"Secret").is_some();
        if !file.needles().has(Needles::SECRET) || !file.is_structured() || !names_kind() {
            return Self { path: file.path().to_owned(), objects: Vec::new() };
        }
        let is_encrypted = file.needles().has(Needles::SOPS) && file.sops().is_some();
        let facts = objects(file.outline()).filter(|object| object.is_secret() || object.is_sealed_secret());
        let facts = facts.map(|object| ObjectFact {
            is_sealed: object.is_sealed_secret(),
            name: object.name().to_owned(),
            namespace: object.namespace().to_owned(),
            start: file.position(object.entry.span().start),
            is_encrypted,
            clear: clear_value(object, config).map(|entry| ClearValue {
                span: entry.span(),
                start: file.position(entry.span().start),
                end: file.position(entry.span().end),
                pointer: entry.pointer(Some(object.entry)),
            }),
        });
        Self { path: file.path().to_owned(), objects: facts.collect() }
    }
}

/// Returns the first value of a Secret that is in clear.
fn clear_value<'a>(object: Object<'a>, config: &Config) -> Option<Entry<'a>> {
    let is_clear = |entry: &Entry<'_>, is_encoded: bool| {
        let Some(text) = entry.text().filter(|_| !entry.is_null() && !entry.has_action()) else {
            return false;
        };
        let is_later = is_placeholder(text, config) || is_encoded && is_encoded_placeholder(text, config);
        !is_later
    };
    let fields = [("data", true), ("stringData", false)].into_iter().filter(|_| object.is_secret());
    let mut values = fields.filter_map(|(name, is_encoded)| Some((object.entry.get(name)?, is_encoded)));
    values.find_map(|(field, is_encoded)| field.walk().into_iter().find(|entry| is_clear(entry, is_encoded)))
}

//! The entries of a Secret, with marks.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::super::Document;
use super::super::super::marks::{MarkId, Piece};
use super::super::super::resolve::bytes_of;
use super::super::super::verdict::RenderError;
use super::super::{Context, stand_in};

/// The entries of a Secret, by key.
pub(super) type Entries = BTreeMap<String, Entry>;

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A text that is base64 once its marks are filled in.
    Base64(String),
    /// What the entry is in the cluster, but for its marks.
    Bytes(Vec<u8>),
}

impl Entry {
    /// Returns the marks, and whether there is nothing beside one of them.
    pub(super) fn marks(&self, context: &Context<'_>) -> (Vec<MarkId>, bool) {
        let text = match self {
            Self::Base64(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        };
        // Where marks were altered, that was told before.
        let pieces = context.marks.pieces(text).unwrap_or_default();
        let is_alone = pieces.len() == 1;
        let mark = |piece: Piece<'_>| match piece {
            Piece::Clear(_) => None,
            Piece::Mark(id) => Some(id),
        };
        (pieces.into_iter().filter_map(mark).collect(), is_alone)
    }
}

/// Returns the entries of a Secret; those of `stringData` win.
pub(super) fn of(context: &Context<'_>, document: &Document, secret: &Json) -> Result<Entries, RenderError> {
    let mut entries = Entries::new();
    for (field, is_base64) in [("data", true), ("stringData", false)] {
        for (key, value) in secret[field].as_object().into_iter().flatten() {
            let text = match value {
                Json::String(text) => text.as_str(),
                Json::Null => "",
                _ => {
                    let reason = format!(
                        "{field}.{key} is no text, which the API server and the controller refuse; put it in quotes"
                    );
                    return Err(stand_in::refused(document, &reason));
                }
            };
            let holds_marks = context
                .marks
                .pieces(text.as_bytes())
                .is_ok_and(|pieces| pieces.iter().any(|piece| matches!(piece, Piece::Mark(_))));
            let bytes = if is_base64 { bytes_of(&text.into(), true) } else { Some(text.into()) };
            let entry = match bytes {
                Some(bytes) if !(is_base64 && holds_marks) => Entry::Bytes(bytes.expose_secret().to_vec()),
                _ => Entry::Base64(text.to_owned()),
            };
            entries.insert(key.clone(), entry);
        }
    }
    Ok(entries)
}

/// Returns the first key whose entries differ.
pub(super) fn difference<'a>(left: &'a Entries, right: &'a Entries) -> Option<&'a str> {
    let keys = left.keys().chain(right.keys());
    keys.map(String::as_str).find(|&key| left.get(key) != right.get(key))
}

//! What is encrypted in objects: values of files that were verified, documents inside of values, SealedSecrets.

mod blob;
mod unseal;

pub(super) use blob::parse as parse_blob;

use serde_json::{Map, Value as Json};

use super::documents::is_object;
use super::marks::{self, MarkId};
use super::open::{DECRYPT, Sources, holds_encrypted, is_kind_for_the_cluster, object_opts_out};
use super::verdict::RenderError;
use super::{Document, Engine};
use crate::format::METADATA_KEY;
use crate::manifest::ObjectError;
use crate::sealed::SealedSecret;
use crate::secret::SecretBytes;
use crate::sops::encrypted_parts;

impl Engine<'_> {
    /// Puts marks in place of all that is encrypted in objects, and takes lists apart.
    pub(super) fn resolve(
        &self,
        documents: Vec<Document>,
        sources: &mut Sources,
    ) -> Result<Vec<Document>, RenderError> {
        let mut resolved = Vec::new();
        for document in documents {
            for mut document in items(document)? {
                self.resolve_object(&mut document, sources)?;
                resolved.push(document);
                self.limits.check_documents(resolved.len())?;
            }
        }
        self.limits.check_encrypted(sources.marks().iter().len())?;
        Ok(resolved)
    }

    fn resolve_object(&self, document: &mut Document, sources: &mut Sources) -> Result<(), RenderError> {
        let text = |field: &Json| field.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&document.object["apiVersion"]), text(&document.object["kind"]));
        if is_kind_for_the_cluster(&version, &kind) {
            return Ok(());
        }
        if object_opts_out(&document.object) {
            if version == "v1" && kind == "Secret" && is_encrypted(&document.object) {
                let reason = format!(
                    "opts out of decryption by {DECRYPT}, and an encrypted Secret is of no use in a cluster; take the annotation away"
                );
                return Err(RenderError::Mode { place: document.name(), reason });
            }
            return Ok(());
        }
        if SealedSecret::is_one(&document.object) {
            return self.unseal(document, sources);
        }
        let place = document.name();
        let (is_secret, is_config) =
            (version == "v1" && kind == "Secret", version == "v1" && kind == "ConfigMap");
        if is_secret || is_config {
            for (field, is_base64) in [("data", is_secret), ("stringData", false), ("binaryData", true)] {
                if let Some(entries) = document.object.get_mut(field).and_then(Json::as_object_mut) {
                    self.resolve_entries(&format!("{place}: {field}"), entries, is_base64, sources)?;
                }
            }
        }
        let mut path = String::new();
        self.resolve_value(&place, &mut path, "", &mut document.object, sources)
    }

    /// Puts marks in place of encrypted texts below a value.
    fn resolve_value(
        &self,
        place: &str,
        path: &mut String,
        last: &str,
        value: &mut Json,
        sources: &mut Sources,
    ) -> Result<(), RenderError> {
        let length = path.len();
        match value {
            Json::String(text) if holds_encrypted(text.as_bytes()) => {
                *text = match known(sources, place, path, last, text.as_bytes())? {
                    Some(id) => sources.marks().get(id).word().to_owned(),
                    None => self.resolve_text(place, path, text, sources)?,
                };
            }
            Json::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.resolve_value(place, path, last, item, sources)?;
                    path.truncate(length);
                }
            }
            Json::Object(entries) => {
                if entries.get(METADATA_KEY).is_some_and(is_metadata) {
                    entries.shift_remove(METADATA_KEY);
                }
                for (key, entry) in entries {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                    self.resolve_value(place, path, key, entry, sources)?;
                    path.truncate(length);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Resolves a text that no verified file has as it is: a document inside of a value, or nothing that may pass.
    fn resolve_text(
        &self,
        place: &str,
        path: &str,
        text: &str,
        sources: &mut Sources,
    ) -> Result<String, RenderError> {
        let key = path.rsplit(['.', '/']).next().unwrap_or_default();
        if let Some(id) = self.open_blob(&format!("{place}: {path}"), key, text.as_bytes(), sources)? {
            return Ok(sources.marks().get(id).word().to_owned());
        }
        let is_value = encrypted_parts(text).is_some();
        let reason = if is_value {
            "no file that was verified has this value; give the files that this was built of, or render them as a whole"
        } else {
            "it is not a document that can be decrypted by itself"
        };
        Err(RenderError::LeftEncrypted { place: place.to_owned(), path: path.to_owned(), reason })
    }

    /// Resolves the entries of a Secret or ConfigMap: documents, and dotenv files taken apart.
    fn resolve_entries(
        &self,
        place: &str,
        entries: &mut Map<String, Json>,
        is_base64: bool,
        sources: &mut Sources,
    ) -> Result<(), RenderError> {
        self.resolve_exploded(place, entries, is_base64, sources)?;
        for (key, entry) in entries {
            let Some(bytes) = bytes_of(entry, is_base64) else {
                self.refuse_broken(place, key, entry)?;
                continue;
            };
            if !holds_encrypted(bytes.expose_secret()) {
                continue;
            }
            let known = known(sources, place, key, key, bytes.expose_secret())?;
            let found = match known {
                Some(id) => Some(id),
                None => self.open_blob(&format!("{place}.{key}"), key, bytes.expose_secret(), sources)?,
            };
            match found {
                Some(id) => set_bytes(entry, sources.marks().get(id).word().as_bytes(), is_base64),
                None if is_base64 => {
                    let reason = "it is neither in a file that was verified nor a document that can be decrypted by itself";
                    let (place, path) = (place.to_owned(), key.clone());
                    return Err(RenderError::LeftEncrypted { place, path, reason });
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Refuses what is no base64 to the API server, and holds something encrypted nevertheless.
    fn refuse_broken(&self, place: &str, key: &str, entry: &Json) -> Result<(), RenderError> {
        let text: String = entry.as_str().unwrap_or_default().split_whitespace().collect();
        let holds = |bytes: SecretBytes| holds_encrypted(bytes.expose_secret());
        if !crate::sealed::decode_base64(text.as_bytes()).is_ok_and(holds) {
            return Ok(());
        }
        let reason = "it is encrypted, and no base64 that a cluster reads: there are blanks in it";
        Err(RenderError::LeftEncrypted { place: place.to_owned(), path: key.to_owned(), reason })
    }

    /// Takes the metadata out of a dotenv file whose lines became entries; its values are looked up like all others.
    fn resolve_exploded(
        &self,
        place: &str,
        entries: &mut Map<String, Json>,
        is_base64: bool,
        sources: &Sources,
    ) -> Result<(), RenderError> {
        let mac = entries.get("sops_mac").and_then(|mac| bytes_of(mac, is_base64));
        if !mac.is_some_and(|mac| holds_encrypted(mac.expose_secret())) {
            return Ok(());
        }
        entries.retain(|key, _| !key.starts_with("sops_"));
        for (key, entry) in &*entries {
            let Some(bytes) =
                bytes_of(entry, is_base64).filter(|bytes| holds_encrypted(bytes.expose_secret()))
            else {
                continue;
            };
            if known(sources, place, key, key, bytes.expose_secret())?.is_none() {
                let reason = "it is a line of a dotenv file whose MAC cannot be had any more; give the files that this was built of";
                let (place, path) = (place.to_owned(), key.clone());
                return Err(RenderError::LeftEncrypted { place, path, reason });
            }
        }
        Ok(())
    }
}

/// Returns the mark of an encrypted value of a verified file that stands under the key that it has there: SOPS encrypts a
/// value together with its place, and what is built of a file keeps the last key of it.
fn known(
    sources: &Sources,
    place: &str,
    path: &str,
    key: &str,
    text: &[u8],
) -> Result<Option<MarkId>, RenderError> {
    let Some(id) = str::from_utf8(text).ok().and_then(|text| sources.mark_of(text)) else { return Ok(None) };
    if sources.marks().get(id).key == key {
        return Ok(Some(id));
    }
    let reason = "its file has it under another key; render the files that this was built of as a whole, if it was moved";
    Err(RenderError::LeftEncrypted { place: place.to_owned(), path: path.to_owned(), reason })
}

/// Returns the objects of a list, of lists in it, too, or the object that is none. What items leave out, a list says.
///
/// # Errors
/// If something in a list is no object.
pub(super) fn items(document: Document) -> Result<Vec<Document>, RenderError> {
    let (mut open, mut objects) = (vec![document], Vec::new());
    while let Some(document) = open.pop() {
        let kind =
            document.object["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).map(str::to_owned);
        let Some(kind) = kind.filter(|_| document.object["items"].is_array()) else {
            objects.push(document);
            continue;
        };
        let (place, version) = (document.name(), document.object["apiVersion"].clone());
        let Document { mut object, path } = document;
        let Json::Array(items) = object["items"].take() else { continue };
        for (index, mut object) in items.into_iter().enumerate().rev() {
            if object.is_null() {
                continue;
            }
            let item = object.as_object_mut();
            if let Some(item) = item.filter(|_| !kind.is_empty()) {
                item.entry("apiVersion").or_insert_with(|| version.clone());
                item.entry("kind").or_insert_with(|| kind.as_str().into());
            }
            if !is_object(&object) {
                let place = format!("{place}: items[{index}]");
                return Err(RenderError::Object { place, source: ObjectError::Kind });
            }
            open.push(Document { object, path: path.clone() });
        }
    }
    Ok(objects)
}

/// Returns whether an entry called `sops` is metadata.
fn is_metadata(entry: &Json) -> bool {
    entry["mac"].as_str().is_some_and(|mac| holds_encrypted(mac.as_bytes()))
}

/// Returns whether a Secret is encrypted, as a whole or a value of it. A document of SOPS inside of a value may be meant
/// for whoever reads the Secret.
fn is_encrypted(secret: &Json) -> bool {
    let is_value = |entry: &Json, is_base64| {
        let bytes = bytes_of(entry, is_base64).unwrap_or_default();
        str::from_utf8(bytes.expose_secret()).is_ok_and(|text| encrypted_parts(text).is_some())
    };
    let has_value = |field: &str, is_base64| {
        let mut entries = secret[field].as_object().into_iter().flat_map(Map::values);
        entries.any(|entry| is_value(entry, is_base64))
    };
    secret.get(METADATA_KEY).is_some_and(is_metadata)
        || has_value("data", true)
        || has_value("data", false)
        || has_value("stringData", false)
}

/// Returns the bytes of an entry of a Secret or ConfigMap.
pub(super) fn bytes_of(entry: &Json, is_base64: bool) -> Option<SecretBytes> {
    let text = entry.as_str()?;
    if !is_base64 {
        return Some(text.into());
    }
    crate::sealed::decode_base64(text.as_bytes()).ok()
}

/// Sets an entry of a Secret or ConfigMap; text that is not UTF-8 is only set as base64.
pub(super) fn set_bytes(entry: &mut Json, bytes: &[u8], is_base64: bool) {
    *entry = if is_base64 {
        crate::sealed::encode_base64(bytes).into()
    } else {
        String::from_utf8_lossy(bytes).into_owned().into()
    };
}

/// Returns an error if a text of an object looks like a mark, or base64 of one: whoever wrote it may have computed one.
pub(super) fn refuse_marks_in(place: &str, object: &Json) -> Result<(), RenderError> {
    match object {
        Json::String(text) => {
            refuse_marks(place, text.as_bytes())?;
            let bytes = crate::sealed::decode_base64(text.as_bytes()).unwrap_or_default();
            refuse_marks(place, bytes.expose_secret())
        }
        Json::Array(items) => items.iter().try_for_each(|item| refuse_marks_in(place, item)),
        Json::Object(entries) => entries.iter().try_for_each(|(key, entry)| {
            refuse_marks(place, key.as_bytes())?;
            refuse_marks_in(place, entry)
        }),
        _ => Ok(()),
    }
}

/// Returns an error if a text that was read looks like a mark.
pub(super) fn refuse_marks(place: &str, text: &[u8]) -> Result<(), RenderError> {
    if marks::find(text).is_some() {
        Err(RenderError::ForeignMark { place: place.to_owned() })
    } else {
        Ok(())
    }
}

//! Values, in the place of their marks.

use serde_json::{Map, Value as Json};

use super::super::Document;
use super::super::marks::{Mark, MarkId, Piece, ValueKind};
use super::super::resolve::{bytes_of, set_bytes};
use super::super::verdict::RenderError;
use super::Context;
use super::taint::{is_base64, marked};
use crate::secret::SecretBytes;

/// Where a mark stands.
pub(super) struct Spot<'a> {
    /// The object.
    pub(super) document: &'a Document,
    /// The place in it.
    pub(super) path: &'a str,
    /// Whether nothing else stands there.
    pub(super) is_alone: bool,
    /// Whether the value has to be base64 itself: it was encrypted as such.
    pub(super) is_base64: bool,
}

/// Gives what comes in the place of a mark.
pub(super) type Filling<'f> = dyn Fn(&Spot<'_>, &Mark) -> Result<SecretBytes, RenderError> + 'f;

/// Returns a Secret with its values.
pub(super) fn secret(context: &Context<'_>, document: &Document) -> Result<Json, RenderError> {
    secret_with(context, document, &value)
}

/// Returns another object with its values.
pub(super) fn other(context: &Context<'_>, document: &Document) -> Result<Json, RenderError> {
    fill(context, document, &value)
}

/// Returns a Secret with what comes in the place of its marks, all of it in `data`: what is no text has no place in
/// `stringData`, and what an applier remembers of that never goes away again.
pub(super) fn secret_with(
    context: &Context<'_>,
    document: &Document,
    filling: &Filling<'_>,
) -> Result<Json, RenderError> {
    let mut object = fill(context, document, filling)?;
    // What is no map there the API server refuses, whatever becomes of it.
    if object["stringData"].is_object()
        && let Some(Json::Object(strings)) =
            object.as_object_mut().and_then(|object| object.shift_remove("stringData"))
    {
        let data = &mut object["data"];
        if !data.is_object() {
            *data = Json::Object(Map::new());
        }
        for (key, text) in strings {
            // What is no text here the API server refuses, whatever becomes of it.
            let Some(bytes) = bytes_of(&text, false) else {
                data[key] = text;
                continue;
            };
            set_bytes(&mut data[key], bytes.expose_secret(), true);
        }
    }
    Ok(object)
}

/// Returns an object with what comes in the place of its marks.
pub(super) fn fill(
    context: &Context<'_>,
    document: &Document,
    filling: &Filling<'_>,
) -> Result<Json, RenderError> {
    filled(context, document, &document.object, &mut String::new(), filling)
}

fn value(spot: &Spot<'_>, mark: &Mark) -> Result<SecretBytes, RenderError> {
    let value = mark.value.as_ref().ok_or_else(|| RenderError::Mode {
        place: spot.document.name(),
        reason: "holds values that were not decrypted, as no keys were asked for".to_owned(),
    })?;
    Ok(value.expose_secret().into())
}

fn filled(
    context: &Context<'_>,
    document: &Document,
    node: &Json,
    path: &mut String,
    filling: &Filling<'_>,
) -> Result<Json, RenderError> {
    let length = path.len();
    Ok(match node {
        Json::String(text) => filled_text(context, document, text, path, filling)?,
        Json::Array(items) => {
            let mut filled_items = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                filled_items.push(filled(context, document, item, path, filling)?);
                path.truncate(length);
            }
            filled_items.into()
        }
        Json::Object(entries) => {
            let mut filled_entries = Map::new();
            for (key, entry) in entries {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                filled_entries.insert(key.clone(), filled(context, document, entry, path, filling)?);
                path.truncate(length);
            }
            filled_entries.into()
        }
        other => other.clone(),
    })
}

fn filled_text(
    context: &Context<'_>,
    document: &Document,
    text: &str,
    path: &str,
    filling: &Filling<'_>,
) -> Result<Json, RenderError> {
    let Some((bytes, is_encoded)) = marked(context, document, text, path) else { return Ok(text.into()) };
    // Where they were altered, that was told before.
    let pieces = context.marks.pieces(bytes.expose_secret()).unwrap_or_default();
    let is_base64 = is_base64(&document.object, path) && !is_encoded;
    let spot = Spot { document, path, is_alone: pieces.len() == 1, is_base64 };
    let value = |id: MarkId| filling(&spot, context.marks.get(id));
    let is_entry =
        path.starts_with("data.") || path.starts_with("stringData.") || path.starts_with("binaryData.");
    if let [Piece::Mark(id)] = pieces[..]
        && !is_entry
        && let Some(typed) = typed(context.marks.get(id).kind, &value(id)?)
    {
        return Ok(typed);
    }
    let mut out = SecretBytes::new();
    for piece in pieces {
        match piece {
            Piece::Clear(clear) => out.extend_from_slice(clear),
            Piece::Mark(id) => out.extend_from_slice(value(id)?.expose_secret()),
        }
    }
    if is_encoded {
        return Ok(crate::sealed::encode_base64(out.expose_secret()).into());
    }
    match str::from_utf8(out.expose_secret()) {
        Ok(text) => Ok(text.into()),
        // A Secret has `data` for it.
        Err(_) => Err(RenderError::NotText { place: document.name(), path: path.to_owned() }),
    }
}

/// Returns a value of another type than text.
fn typed(kind: ValueKind, value: &SecretBytes) -> Option<Json> {
    let text = str::from_utf8(value.expose_secret()).ok()?;
    match kind {
        ValueKind::Bool => text.parse().ok().map(Json::Bool),
        ValueKind::Int => text.parse::<i64>().ok().map(Json::from),
        ValueKind::Float => text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Json::from),
        ValueKind::Bytes | ValueKind::Text => None,
    }
}

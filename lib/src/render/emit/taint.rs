//! Where decrypted values are.

use serde_json::Value as Json;

use super::super::Document;
use super::super::marks::{MarkId, Piece};
use super::super::resolve::bytes_of;
use super::super::verdict::RenderError;
use super::Context;
use crate::secret::SecretBytes;

/// A place where a decrypted value comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// The object, for people.
    pub object: String,
    /// The place in it, such as `spec.values.password` or `spec.list[0]`.
    pub path: String,
    /// The file that the value is from.
    pub source: String,
    /// The place of the value in it; empty if it is the file as a whole.
    pub source_place: String,
}

/// Returns whether an object is a Secret.
pub(in crate::render) fn is_secret(object: &Json) -> bool {
    object["apiVersion"] == "v1" && object["kind"] == "Secret"
}

/// Returns whether an entry at a path holds base64.
pub(super) fn is_base64(object: &Json, path: &str) -> bool {
    let field = path.split('.').next().unwrap_or_default();
    match field {
        "data" => is_secret(object),
        "binaryData" => object["apiVersion"] == "v1" && object["kind"] == "ConfigMap",
        _ => false,
    }
}

/// Returns the bytes in which a text of an object holds marks, and whether the text is base64 of them; `None` if it holds
/// none. A mark that is written in `data` as it is stands for base64, one that was encoded there, for bytes.
pub(super) fn marked(
    context: &Context<'_>,
    document: &Document,
    text: &str,
    path: &str,
) -> Option<(SecretBytes, bool)> {
    let has_marks = |bytes: &[u8]| {
        let pieces = context.marks.pieces(bytes).unwrap_or_default();
        pieces.iter().any(|piece| matches!(piece, Piece::Mark(_)))
    };
    if has_marks(text.as_bytes()) {
        return Some((text.into(), false));
    }
    let bytes = is_base64(&document.object, path).then(|| bytes_of(&text.into(), true))??;
    has_marks(bytes.expose_secret()).then_some((bytes, true))
}

/// Returns where an object holds marks, keys of maps included.
pub(super) fn of(context: &Context<'_>, document: &Document) -> Result<Vec<Taint>, RenderError> {
    let mut found = Vec::new();
    visit(context, document, &mut |path, ids| {
        let taint = |&id: &MarkId| {
            let mark = context.marks.get(id);
            Taint {
                object: document.name(),
                path: path.to_owned(),
                source: mark.source.clone(),
                source_place: mark.place.clone(),
            }
        };
        found.extend(ids.iter().map(taint));
    })?;
    Ok(found)
}

/// Calls `found` for every text of an object that holds marks, with its path.
pub(super) fn visit(
    context: &Context<'_>,
    document: &Document,
    found: &mut dyn FnMut(&str, &[MarkId]),
) -> Result<(), RenderError> {
    walk(context, document, &document.object, &mut String::new(), found)
}

/// Makes sure that decrypted values come out only where the rule allows it.
pub(super) fn check(context: &Context<'_>, document: &Document, taint: &[Taint]) -> Result<(), RenderError> {
    let kind = document.object["kind"].as_str().unwrap_or_default();
    let is_entry = |path: &str| path.starts_with("data.") || path.starts_with("stringData.");
    let is_allowed = |taint: &&Taint| {
        is_secret(&document.object) && is_entry(&taint.path) || context.rule.allows_taint(kind, &taint.path)
    };
    match taint.iter().find(|taint| !is_allowed(taint)) {
        None => Ok(()),
        Some(taint) => Err(RenderError::Taint {
            place: taint.object.clone(),
            kind: kind.to_owned(),
            path: taint.path.clone(),
            source_path: taint.source.clone(),
        }),
    }
}

/// Makes sure that it is known which object a document is, without keys, too.
pub(super) fn check_identity(context: &Context<'_>, document: &Document) -> Result<(), RenderError> {
    for field in ["apiVersion", "kind", "metadata.name", "metadata.namespace"] {
        let value = field.split('.').fold(&document.object, |value, name| &value[name]);
        let marks = marks_in(context, document, field, value.as_str().unwrap_or_default().as_bytes())?;
        let mark = marks.into_iter().map(|id| context.marks.get(id)).find(|mark| mark.value.is_none());
        if let Some(mark) = mark {
            return Err(RenderError::HiddenIdentity { path: mark.source.clone(), field: field.to_owned() });
        }
    }
    Ok(())
}

fn walk(
    context: &Context<'_>,
    document: &Document,
    value: &Json,
    path: &mut String,
    found: &mut dyn FnMut(&str, &[MarkId]),
) -> Result<(), RenderError> {
    let length = path.len();
    match value {
        Json::String(text) => {
            let mut ids = marks_in(context, document, path, text.as_bytes())?;
            if is_base64(&document.object, path)
                && let Some(bytes) = bytes_of(value, true)
            {
                ids.extend(marks_in(context, document, path, bytes.expose_secret())?);
            }
            if !ids.is_empty() {
                found(path, &ids);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(context, document, item, path, found)?;
                path.truncate(length);
            }
        }
        Json::Object(entries) => {
            for (key, entry) in entries {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                if !marks_in(context, document, path, key.as_bytes())?.is_empty() {
                    return Err(altered(document, path));
                }
                walk(context, document, entry, path, found)?;
                path.truncate(length);
            }
        }
        _ => {}
    }
    Ok(())
}

fn marks_in(
    context: &Context<'_>,
    document: &Document,
    path: &str,
    text: &[u8],
) -> Result<Vec<MarkId>, RenderError> {
    let pieces = context.marks.pieces(text).map_err(|_| altered(document, path))?;
    let id = |piece: Piece<'_>| match piece {
        Piece::Mark(id) => Some(id),
        Piece::Clear(_) => None,
    };
    Ok(pieces.into_iter().filter_map(id).collect())
}

fn altered(document: &Document, path: &str) -> RenderError {
    RenderError::ChangedMark {
        place: document.name(),
        path: path.to_owned(),
        hint: "let the value stand there as a whole",
    }
}

//! Lists, in pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};

use super::refusal::Refusal;
use super::resource::Resource;
use super::selector::Selection;
use super::store::Store;
use super::verbs::{Answer, Ask, metadata_of};

/// Lists objects.
///
/// # Errors
/// If the selectors are none, or the page before was too long ago.
pub fn list(store: &Store, ask: &Ask) -> Result<Answer, Refusal> {
    let selection = Selection::parse(&ask.target, &ask.query)?;
    let (revision, start) = match ask.query.get("continue").filter(|token| !token.is_empty()) {
        Some(token) => read(token)?,
        None => (store.revision(), None),
    };
    let Some(mut objects) = store.list(&selection, revision) else {
        let mut refusal = Refusal::expired(TOO_OLD);
        refusal.body["metadata"]["continue"] = json!(written(store.revision(), start.as_ref()));
        return Err(refusal);
    };
    if let Some(start) = &start {
        objects.retain(|(key, _)| (&key.namespace, &key.name) > (&start.0, &start.1));
    }
    let limit = ask.query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    // A list that may be of any time comes from memory, all at once.
    let limit = limit.filter(|_| ask.query.get("resourceVersion").is_none_or(|version| version != "0"));
    let count = objects.len();
    let page = count.min(limit.unwrap_or(count));
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if page < count {
        let last =
            objects.get(page.wrapping_sub(1)).map(|(key, _)| (key.namespace.clone(), key.name.clone()));
        metadata["continue"] = json!(written(revision, last.as_ref()));
        if selection.is_everything() {
            metadata["remainingItemCount"] = json!(count - page);
        }
    }
    let shape = |object: &Json| {
        if ask.only_metadata { metadata_of(object) } else { item(ask.target.resource, object) }
    };
    let items: Vec<Json> = objects.iter().take(page).map(|(_, object)| shape(object)).collect();
    let (kind, api_version) = match ask.only_metadata {
        true => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
        false => (format!("{}List", ask.target.resource.kind), ask.target.resource.api_version()),
    };
    let body = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items});
    Ok(Answer { code: 200, body })
}

/// An object as an item of a list: those of the API server's own kinds do not say of which kind they are.
fn item(resource: &Resource, object: &Json) -> Json {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut().filter(|_| !resource.custom) {
        fields.shift_remove("apiVersion");
        fields.shift_remove("kind");
    }
    object
}

/// Where the next page begins.
fn written(revision: u64, last: Option<&(String, String)>) -> String {
    URL_SAFE_NO_PAD.encode(json!([revision, last]).to_string())
}

/// Reads where a page begins.
fn read(token: &str) -> Result<(u64, Option<(String, String)>), Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let place = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    place.ok_or_else(|| Refusal::bad_request("continue key is not valid"))
}

/// What the API server says of a page that comes too late.
const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start \
    a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of \
    the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
    modified, or deleted between the time the first chunk was returned and now may show up in the list.";

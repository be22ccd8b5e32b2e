//! What the API server makes of an object before it takes it, and what it refuses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::refusal::{Cause, Refusal};
use super::resource::Resource;

/// Brings an object as it was sent to the form in which it is kept.
///
/// # Errors
/// If it cannot be decoded.
pub fn decode(resource: &Resource, object: &mut Json) -> Result<(), Refusal> {
    let Some(fields) = object.as_object_mut() else {
        return Err(Refusal::bad_request("the body is not an object"));
    };
    let expected = [("apiVersion", resource.api_version()), ("kind", resource.kind.to_owned())];
    for (name, value) in expected {
        let sent = fields.entry(name).or_insert_with(|| json!(value));
        if *sent != value {
            let text = "the API version in the data does not match the expected API version";
            return Err(Refusal::bad_request(format!("{text} ({sent} for {name})")));
        }
    }
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|_, value| !is_nothing(value));
    }
    if resource.kind == "Secret" {
        decode_secret(fields)?;
    }
    Ok(())
}

/// Checks an object as a whole.
///
/// # Errors
/// If it breaks a rule.
pub fn validate(resource: &Resource, object: &Json) -> Result<(), Refusal> {
    let mut causes = metadata_causes(&object["metadata"]);
    if resource.kind == "Secret" {
        causes.extend(secret_causes(object));
    }
    if resource.kind == "SealedSecret" {
        for required in ["/spec", "/spec/encryptedData"] {
            if object.pointer(required).is_none() {
                causes.push(Cause::required(&required[1..].replace('/', "."), ""));
                break;
            }
        }
    }
    refuse(resource, object, causes)
}

/// Checks a new object against the old one.
///
/// # Errors
/// If what must stay was changed.
pub fn validate_update(resource: &Resource, old: &Json, new: &Json) -> Result<(), Refusal> {
    let mut causes = Vec::new();
    for name in ["name", "namespace", "uid"] {
        if old["metadata"][name] != new["metadata"][name] {
            let path = format!("metadata.{name}");
            causes.push(Cause::invalid(&path, &new["metadata"][name], "field is immutable"));
        }
    }
    if !old["metadata"]["deletionTimestamp"].is_null() {
        let finalizers =
            |object: &Json| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let before = finalizers(old);
        if finalizers(new).iter().any(|finalizer| !before.contains(finalizer)) {
            let why = "no new finalizers can be added if the object is being deleted";
            causes.push(Cause::forbidden("metadata.finalizers", why));
        }
    }
    if resource.kind == "Secret" {
        if old["type"] != new["type"] {
            causes.push(Cause::invalid("type", &new["type"], "field is immutable"));
        }
        if old["immutable"] == true {
            let fields = [("immutable", new["immutable"] != true), ("data", old["data"] != new["data"])];
            for (field, _) in fields.into_iter().filter(|(_, is_changed)| *is_changed) {
                causes.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
            }
        }
    }
    refuse(resource, new, causes)
}

/// Returns the refusal if there are causes for it.
fn refuse(resource: &Resource, object: &Json, causes: Vec<Cause>) -> Result<(), Refusal> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid(resource, name, &causes)) }
}

/// Decodes what a Secret has besides its metadata.
fn decode_secret(fields: &mut Map<String, Json>) -> Result<(), Refusal> {
    fields.retain(|name, value| SECRET_FIELDS.contains(&name.as_str()) && !value.is_null());
    let broken = |what: &str| {
        let message = format!("Secret in version \"v1\" cannot be handled as a Secret: {what}");
        Err(Refusal::bad_request(message))
    };
    let texts = fields.shift_remove("stringData").unwrap_or_default();
    let data = fields.entry("data").or_insert_with(|| json!({}));
    let Some(data) = data.as_object_mut() else {
        return broken("json: cannot unmarshal into Go struct field Secret.data of type map[string][]uint8");
    };
    for value in data.values_mut().filter(|value| value.is_null()) {
        *value = json!("");
    }
    for (name, text) in texts.as_object().into_iter().flatten() {
        data.insert(name.clone(), json!(STANDARD.encode(text.as_str().unwrap_or_default())));
    }
    if data.values().any(|value| value.as_str().is_none_or(|text| STANDARD.decode(text).is_err())) {
        return broken("illegal base64 data at input byte 0");
    }
    if data.is_empty() {
        fields.shift_remove("data");
    }
    if fields.get("immutable").is_some_and(|value| !value.is_boolean()) {
        return broken("json: cannot unmarshal into Go struct field Secret.immutable of type bool");
    }
    let kind = fields.entry("type").or_insert_with(|| json!("Opaque"));
    if *kind == "" {
        *kind = json!("Opaque");
    }
    Ok(())
}

/// What is wrong with metadata.
fn metadata_causes(metadata: &Json) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = metadata["name"].as_str().unwrap_or_default();
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|part| part.starts_with(is_letter) && part.ends_with(is_letter))
        && name.chars().all(|letter| is_letter(letter) || letter == '-' || letter == '.');
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if !is_name {
        let rule =
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'";
        causes.push(Cause::invalid("metadata.name", &metadata["name"], rule));
    }
    for (_, value) in metadata["labels"].as_object().into_iter().flatten() {
        if !value.as_str().is_some_and(is_label) {
            let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'";
            causes.push(Cause::invalid("metadata.labels", value, rule));
        }
    }
    let owners = metadata["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences.{field}");
                causes.push(Cause::invalid(&path, &json!(""), "must not be empty"));
            }
        }
    }
    let controllers: Vec<_> = owners.iter().filter(|owner| owner["controller"] == true).collect();
    if let [first, second, ..] = controllers.as_slice() {
        let text = |owner: &Json| {
            let part = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", part("kind"), part("name"))
        };
        let rule = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            text(first),
            text(second)
        );
        causes.push(Cause::invalid("metadata.ownerReferences", &metadata["ownerReferences"], &rule));
    }
    causes
}

/// What is wrong with a Secret besides its metadata.
fn secret_causes(secret: &Json) -> Vec<Cause> {
    let mut causes = Vec::new();
    let empty = Map::new();
    let data = secret["data"].as_object().unwrap_or(&empty);
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    for name in data.keys() {
        if name.is_empty() || name.len() > 253 || !name.chars().all(is_letter) || name == "." || name == ".."
        {
            let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
            causes.push(Cause::invalid(&format!("data[{name}]"), &json!(name), rule));
        }
    }
    let size: usize = data.values().map(|value| value.as_str().map_or(0, |text| text.len() / 4 * 3)).sum();
    if size > 1024 * 1024 {
        let text = "Too long: must have at most 1048576 bytes";
        causes.push(Cause::invalid("data", &json!(""), text));
    }
    let required: &[&str] = match secret["type"].as_str().unwrap_or_default() {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for name in required.iter().filter(|name| !data.contains_key(**name)) {
        causes.push(Cause::required(&format!("data[{name}]"), ""));
    }
    if secret["type"] == "kubernetes.io/basic-auth"
        && !data.contains_key("username")
        && !data.contains_key("password")
    {
        causes.push(Cause::required("data[username]", ""));
        causes.push(Cause::required("data[password]", ""));
    }
    causes
}

/// Returns whether a label may have a value.
fn is_label(value: &str) -> bool {
    let ends = |letter: char| letter.is_ascii_alphanumeric();
    value.is_empty()
        || value.len() <= 63
            && value.starts_with(ends)
            && value.ends_with(ends)
            && value.chars().all(|letter| ends(letter) || "-_.".contains(letter))
}

/// Returns whether a field is as good as left out.
fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
        Json::String(text) => text.is_empty(),
        _ => false,
    }
}

/// The fields of a Secret.
const SECRET_FIELDS: [&str; 7] =
    ["apiVersion", "data", "immutable", "kind", "metadata", "stringData", "type"];

//! What has to be, told from the objects alone: written without a look at how the controller comes to its decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::pool::{KEYS, OWN, PLAIN, POOL, key_name};
use crate::api_server::{ApiServer, Key, Resource, Write};

/// The annotation of a Secret that may be taken over.
pub const MANAGED: &str = "sealedsecrets.bitnami.com/managed";
/// The annotation of a Secret that values may be put into.
pub const PATCH: &str = "sealedsecrets.bitnami.com/patch";

/// The Secret that a SealedSecret stands for.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    data: BTreeMap<String, Json>,
    labels: Json,
    kind: Json,
    immutable: bool,
}

/// Returns the resource of Secrets.
pub fn secrets() -> &'static Resource {
    Resource::find("", "secrets").expect("there are Secrets")
}

/// Returns the resource of SealedSecrets.
pub fn sealed_secrets() -> &'static Resource {
    Resource::find("bitnami.com", "sealedsecrets").expect("there are SealedSecrets")
}

/// Checks that all is as it should be now; says what is not.
pub fn check_state(server: &ApiServer) -> Result<(), String> {
    let keys: BTreeSet<usize> = (0..KEYS)
        .filter(|index| server.get(&Key::new(secrets(), OWN, &key_name(*index))).is_some())
        .collect();
    for (key, object) in server.all(sealed_secrets()) {
        let secret = server.get(&Key::new(secrets(), &key.namespace, &key.name));
        check_object(&key, &object, secret.as_deref(), &keys).map_err(|problem| {
            let secret = secret.map_or_else(|| "none".to_owned(), |secret| shown(&secret));
            format!(
                "{}/{}: {problem}\n  object: {}\n  Secret: {secret}",
                key.namespace,
                key.name,
                shown(&object)
            )
        })?;
    }
    Ok(())
}

/// Checks what the controller did all the time.
pub fn check_history(history: &[Write]) -> Result<(), String> {
    let mut wanted: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
    for write in history {
        let after = write.after.as_deref();
        if write.key.plural == "sealedsecrets"
            && let Some(after) = after
            && let Some(want) = want(&write.key, after, None)
        {
            wanted.entry(uid(after)).or_default().push(want);
        }
        if write.who.starts_with("replica") {
            check_write(write, &wanted).map_err(|problem| format!("{problem}: {}", told(write)))?;
        }
    }
    Ok(())
}

/// Tells of a write in a line.
pub fn told(write: &Write) -> String {
    let Write { at, who, agent, manager, method, content_type, key, status, code, .. } = write;
    let version = |object: &Option<Arc<Json>>| {
        object
            .as_ref()
            .map_or_else(|| "none".to_owned(), |object| object["metadata"]["resourceVersion"].to_string())
    };
    format!(
        "{at} {who} ({agent} {manager}) {method} {content_type} {} {}/{}{} -> {code}, {} -> {}",
        key.plural,
        key.namespace,
        key.name,
        if *status { "/status" } else { "" },
        version(&write.before),
        version(&write.after)
    )
}

fn check_object(
    key: &Key,
    object: &Json,
    secret: Option<&Json>,
    keys: &BTreeSet<usize>,
) -> Result<(), String> {
    let ready = condition(object, "Ready");
    let synced = condition(object, "Synced");
    let reason = ready["reason"].as_str().unwrap_or_default();
    if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        return Err("the status is of another generation".to_owned());
    }
    if ready["status"] != synced["status"] {
        return Err("the conditions contradict each other".to_owned());
    }
    let expect = |expected: &[&str]| {
        let is_ready = ready["status"] == "True";
        match is_ready == (expected == ["Ready"]) && expected.contains(&reason) {
            true => Ok(()),
            false => Err(format!("the reason is {reason:?}, not one of {expected:?}")),
        }
    };
    let Some(want) = want(key, object, Some(keys)) else {
        return expect(&["NoKey", "UnsealFailed", "TemplateFailed"]);
    };
    let Some(secret) = secret else { return Err("there is no Secret".to_owned()) };
    let (is_own, managed, patch) =
        (owner(secret) == Some(uid(object)), says(secret, MANAGED), says(secret, PATCH));
    if !is_own && !managed && !patch {
        return expect(&["Unmanaged"]);
    }
    let data = data(secret);
    let has_data = match patch {
        true => want.data.iter().all(|(name, value)| data.get(name) == Some(value)),
        false => want.data == data,
    };
    if !patch && secret["type"] != want.kind {
        return expect(&["UpdateFailed"]);
    }
    if secret["immutable"] == true && !has_data {
        return expect(&["Immutable"]);
    }
    if !has_data {
        return Err("the data is not that of the object".to_owned());
    }
    if !is_own && (!patch || managed) {
        return Err("the Secret was not taken over".to_owned());
    }
    // Whoever shares a Secret does not make it immutable.
    if want.immutable && !patch && secret["immutable"] != true {
        return Err("the Secret is not immutable".to_owned());
    }
    let labels = want.labels.as_object().into_iter().flatten();
    if labels.clone().any(|(name, value)| secret["metadata"]["labels"][name] != *value) {
        return Err("the labels are not those of the template".to_owned());
    }
    expect(&["Ready"])
}

fn check_write(write: &Write, wanted: &BTreeMap<String, Vec<Wanted>>) -> Result<(), String> {
    if write.key.plural != "secrets" {
        let text = write.body.to_string();
        if text.contains(PLAIN) || text.contains(STANDARD.encode(PLAIN).trim_end_matches('=')) {
            return Err("a plaintext was told".to_owned());
        }
        if write.key.plural == "sealedsecrets" && write.changed() {
            let (before, after) = (write.before.as_deref(), write.after.as_deref());
            if !write.status || before.map(|it| &it["spec"]) != after.map(|it| &it["spec"]) {
                return Err("something other than the status was written".to_owned());
            }
            let meant = &write.body["metadata"]["uid"];
            if after.is_some_and(|after| !meant.is_null() && after["metadata"]["uid"] != *meant) {
                return Err("the status of an object was written to another one".to_owned());
            }
        }
        return Ok(());
    }
    if write.key.namespace == OWN {
        return Err("a key Secret was written".to_owned());
    }
    if write.method == "DELETE" {
        return Err("a Secret was deleted".to_owned());
    }
    if !write.changed() {
        return Ok(());
    }
    let after = write.after.as_deref().ok_or("a Secret was deleted")?;
    let claimant = owner(after);
    let is_patch = write.before.as_deref().is_some_and(|before| says(before, PATCH));
    if let Some(before) = write.before.as_deref() {
        let is_own = claimant.is_some() && owner(before) == claimant;
        if !is_own && !says(before, MANAGED) && !is_patch {
            return Err("a Secret of somebody else was changed".to_owned());
        }
    }
    if is_patch {
        let (before, after) = (write.before.as_deref().map(data).unwrap_or_default(), data(after));
        return match before.keys().all(|name| after.contains_key(name)) {
            true => Ok(()),
            false => Err("a value was taken out of a Secret that is shared".to_owned()),
        };
    }
    let versions = claimant.and_then(|uid| wanted.get(&uid)).ok_or("the owner is no SealedSecret")?;
    let is_version = |want: &Wanted| want.data == data(after);
    if versions.iter().any(is_version) {
        Ok(())
    } else {
        Err("the data is of no version of the object".to_owned())
    }
}

/// Returns the Secret that a SealedSecret stands for; `None` if it cannot be opened, with these keys or with all.
fn want(key: &Key, object: &Json, keys: Option<&BTreeSet<usize>>) -> Option<Wanted> {
    let mut values = BTreeMap::new();
    for (name, item) in object["spec"]["encryptedData"].as_object()? {
        let origin = POOL.origin(item.as_str()?)?;
        let is_known = keys.is_none_or(|keys| keys.contains(&origin.key));
        if origin.place != (key.namespace.as_str(), key.name.as_str()) || !is_known {
            return None;
        }
        values.insert(name.clone(), origin.plain.clone());
    }
    let template = &object["spec"]["template"];
    for (name, text) in template["data"].as_object().into_iter().flatten() {
        // The only templates there are: one that works, and one that does not.
        let value = text.as_str()?.strip_suffix("{{ .password }}")?;
        let value = format!("{value}{}", values.get("password")?);
        values.insert(name.clone(), value);
    }
    let kind = &template["type"];
    Some(Wanted {
        data: values.into_iter().map(|(name, value)| (name, json!(STANDARD.encode(value)))).collect(),
        labels: template["metadata"]["labels"].clone(),
        kind: if kind.is_null() { json!("Opaque") } else { kind.clone() },
        immutable: template["immutable"] == true,
    })
}

fn data(secret: &Json) -> BTreeMap<String, Json> {
    let data = secret["data"].as_object().into_iter().flatten();
    data.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn owner(secret: &Json) -> Option<String> {
    let owners = secret["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    owner["uid"].as_str().map(str::to_owned)
}

fn says(secret: &Json, annotation: &str) -> bool {
    secret["metadata"]["annotations"][annotation] == "true"
}

fn uid(object: &Json) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn condition(object: &Json, kind: &str) -> Json {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
}

fn shown(object: &Json) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object.to_string()
}

//! The status of objects: conditions, and what tells after a restart that nothing has changed.

use serde_json::{Map, Value as Json, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::reason::{Failure, Reason};

/// The Secrets that an object was last reconciled to, and a digest of it all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// See [`digest`](super::digest).
    pub digest: String,
    /// The Secrets.
    pub secrets: Vec<Version>,
}

/// A version of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The name of the Secret.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
}

impl Applied {
    /// Reads what stands in the status of an object; `None` if nothing does.
    #[must_use]
    pub fn of(object: &Json) -> Option<Self> {
        let applied = &object["status"]["applied"];
        let text = |value: &Json, field: &str| value[field].as_str().map(str::to_owned);
        let secrets = applied["secrets"].as_array()?.iter().map(|secret| {
            Some(Version {
                name: text(secret, "name")?,
                uid: text(secret, "uid")?,
                resource_version: text(secret, "resourceVersion")?,
            })
        });
        Some(Self { digest: text(applied, "digest")?, secrets: secrets.collect::<Option<_>>()? })
    }

    fn to_json(&self) -> Json {
        let secrets = self.secrets.iter().map(|secret| {
            json!({"name": secret.name, "uid": secret.uid, "resourceVersion": secret.resource_version})
        });
        json!({"digest": self.digest, "secrets": secrets.collect::<Vec<_>>()})
    }
}

/// Returns the status that an object has to have; `None` if it says that already.
///
/// `special` are the fields of the kind of object, its conditions among them. Conditions of other controllers, and
/// fields that nobody here knows, stay.
#[must_use]
pub fn status(
    object: &Json,
    result: Result<(), &Failure>,
    applied: Option<&Applied>,
    special: Json,
    now: OffsetDateTime,
) -> Option<Json> {
    let present = &object["status"];
    let mut status = present.as_object().cloned().unwrap_or_default();
    let mut special = match special {
        Json::Object(fields) => fields,
        _ => Map::new(),
    };
    let mut wanted = vec![ready(result)];
    if let Some(Json::Array(more)) = special.remove("conditions") {
        wanted.extend(more);
    }
    let mut conditions = present["conditions"].as_array().cloned().unwrap_or_default();
    let mut has_changed = false;
    for condition in wanted {
        has_changed |= set_condition(&mut conditions, condition, now);
    }
    let mut set = |name: &str, value: Json| {
        if status.get(name).unwrap_or(&Json::Null) != &value {
            has_changed = true;
            if value.is_null() {
                status.shift_remove(name);
            } else {
                status.insert(name.to_owned(), value);
            }
        }
    };
    set("observedGeneration", object["metadata"]["generation"].clone());
    set("applied", applied.map_or(Json::Null, Applied::to_json));
    for (name, value) in special {
        set(&name, value);
    }
    status.insert("conditions".to_owned(), conditions.into());
    has_changed.then_some(Json::Object(status))
}

/// The condition that kstatus, and so Flux and Argo CD, know.
fn ready(result: Result<(), &Failure>) -> Json {
    match result {
        Ok(()) => json!({"type": "Ready", "status": "True", "reason": Reason::Ready.word(), "message": ""}),
        Err(failure) => json!({
            "type": "Ready", "status": "False",
            "reason": failure.reason.word(), "message": clipped(&failure.message),
        }),
    }
}

/// Puts a condition in the place of the one of its type. Returns whether it says something else.
fn set_condition(conditions: &mut Vec<Json>, wanted: Json, now: OffsetDateTime) -> bool {
    let now = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
    let mut wanted = wanted;
    let index = conditions.iter().position(|condition| condition["type"] == wanted["type"]);
    let present = index.map(|index| conditions[index].clone()).unwrap_or_default();
    let is_same = ["status", "reason", "message"].iter().all(|field| {
        let text = |condition: &Json| condition[field].as_str().unwrap_or_default().to_owned();
        text(&present) == text(&wanted)
    });
    if is_same && index.is_some() {
        return false;
    }
    let is_flipped = present["status"] != wanted["status"];
    let since = if is_flipped { now.as_str().into() } else { present["lastTransitionTime"].clone() };
    let since = if since.is_null() { now.as_str().into() } else { since };
    wanted["lastTransitionTime"] = since;
    wanted["lastUpdateTime"] = now.into();
    match index {
        Some(index) => conditions[index] = wanted,
        None => conditions.push(wanted),
    }
    true
}

/// Returns the beginning of a message, as long as conditions may have it.
fn clipped(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}

/// How many bytes a message of a condition may have, as in metav1.Condition.
const MAX_MESSAGE: usize = 32_768;

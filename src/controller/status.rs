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
    // Those of the kind first: columns of `kubectl get` show the first one.
    let mut wanted = match special.remove("conditions") {
        Some(Json::Array(conditions)) => conditions,
        _ => Vec::new(),
    };
    wanted.push(ready(result));
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
            "reason": failure.reason.word(), "message": failure.message,
        }),
    }
}

/// Puts a condition in the place of the one of its type. Returns whether it says something else.
fn set_condition(conditions: &mut Vec<Json>, wanted: Json, now: OffsetDateTime) -> bool {
    let now = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
    let mut wanted = wanted;
    if let Some(message) = wanted["message"].as_str().map(clipped) {
        wanted["message"] = message.into();
    }
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
fn clipped(message: &str) -> String {
    let mut end = MAX_MESSAGE.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

/// How many bytes a message of a condition may have, as in metav1.Condition.
const MAX_MESSAGE: usize = 32_768;

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    const FIRST: &str = "1970-01-01T00:00:00Z";
    const LATER: &str = "1970-01-01T01:00:00Z";

    fn object(status: Json) -> Json {
        json!({"metadata": {"name": "s", "generation": 3}, "status": status})
    }

    fn synced(result: Result<(), &Failure>) -> Json {
        match result {
            Ok(()) => json!({"conditions": [{"type": "Synced", "status": "True"}]}),
            Err(failure) => {
                json!({"conditions": [{"type": "Synced", "status": "False", "message": failure.message}]})
            }
        }
    }

    fn at(hours: i64, status: Json, result: Result<(), &Failure>, applied: Option<&Applied>) -> Option<Json> {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::hours(hours);
        super::status(&object(status), result, applied, synced(result), now)
    }

    fn failure(message: &str) -> Failure {
        Failure::new(Reason::NoKey, message)
    }

    fn applied() -> Applied {
        let secret = Version { name: "s".to_owned(), uid: "s1".to_owned(), resource_version: "7".to_owned() };
        Applied { digest: "1.k.d".to_owned(), secrets: vec![secret] }
    }

    #[test]
    fn a_first_status_has_what_upstream_writes_and_ready() {
        let status = at(0, Json::Null, Ok(()), Some(&applied())).expect("there was none");
        assert_eq!(
            status,
            json!({
                "observedGeneration": 3,
                "applied": {
                    "digest": "1.k.d",
                    "secrets": [{"name": "s", "uid": "s1", "resourceVersion": "7"}],
                },
                "conditions": [
                    {"type": "Synced", "status": "True", "lastTransitionTime": FIRST, "lastUpdateTime": FIRST},
                    {"type": "Ready", "status": "True", "reason": "Ready", "message": "",
                        "lastTransitionTime": FIRST, "lastUpdateTime": FIRST},
                ],
            })
        );
        assert_eq!(Applied::of(&object(status)), Some(applied()));
    }

    #[test]
    fn what_is_said_already_is_not_written() {
        let failure = failure("no key");
        for result in [Ok(()), Err(&failure)] {
            let applied = result.is_ok().then(applied);
            let status = at(0, Json::Null, result, applied.as_ref()).expect("there was none");
            assert_eq!(at(1, status, result, applied.as_ref()), None);
        }
    }

    #[test]
    fn upstreams_status_is_read_as_ours() {
        let upstream = json!({
            "observedGeneration": 3,
            "conditions": [{"type": "Synced", "status": "True",
                "lastTransitionTime": FIRST, "lastUpdateTime": FIRST}],
        });
        let status = at(1, upstream.clone(), Ok(()), None).expect("Ready is missing");
        assert_eq!(status["conditions"][0], upstream["conditions"][0]);
        assert_eq!(status["conditions"][1]["lastTransitionTime"], LATER);
    }

    #[test]
    fn the_time_of_transition_moves_only_when_the_state_does() {
        let status = at(0, Json::Null, Err(&failure("one")), None).expect("there was none");
        let times = |status: &Json| {
            let time = |index: usize, field: &str| status["conditions"][index][field].clone();
            [0, 1].map(|index| (time(index, "lastTransitionTime"), time(index, "lastUpdateTime")))
        };
        // Another message at the same generation is written, which upstream does not do.
        let status = at(1, status, Err(&failure("two")), None).expect("the message is another one");
        assert_eq!(times(&status), [(json!(FIRST), json!(LATER)), (json!(FIRST), json!(LATER))]);
        assert_eq!(status["conditions"][0]["message"], "two");
        let status = at(1, status, Ok(()), None).expect("the state is another one");
        assert_eq!(times(&status), [(json!(LATER), json!(LATER)), (json!(LATER), json!(LATER))]);
        assert_eq!(status["conditions"][0].get("message"), None);
    }

    #[test]
    fn another_generation_is_written_without_touching_conditions() {
        let mut status = at(0, Json::Null, Ok(()), None).expect("there was none");
        status["observedGeneration"] = 2.into();
        let after = at(1, status.clone(), Ok(()), None).expect("the generation is another one");
        assert_eq!(after["observedGeneration"], 3);
        assert_eq!(after["conditions"], status["conditions"]);
    }

    #[test]
    fn conditions_and_fields_of_others_stay() {
        let theirs = json!({"type": "Theirs", "status": "Unknown", "odd": [1]});
        let status = at(0, json!({"theirs": {"a": 1}, "conditions": [theirs, 5]}), Ok(()), None);
        let status = status.expect("ours are missing");
        assert_eq!(status["theirs"], json!({"a": 1}));
        assert_eq!((&status["conditions"][0], &status["conditions"][1]), (&theirs, &json!(5)));
        assert_eq!(status["conditions"].as_array().map(Vec::len), Some(4));
    }

    #[test]
    fn a_status_that_cannot_be_read_is_made_anew() {
        let wanted = at(0, Json::Null, Ok(()), None);
        for status in
            [json!("text"), json!([1]), json!({"conditions": {"a": 1}}), json!({"conditions": null})]
        {
            assert_eq!(at(0, status.clone(), Ok(()), None), wanted, "{status}");
        }
        for status in [
            json!({"applied": "text"}),
            json!({"applied": {"digest": "d", "secrets": {}}}),
            json!({"applied": {"digest": 5, "secrets": []}}),
            json!({"applied": {"digest": "d", "secrets": [{"name": "s", "uid": "u"}]}}),
        ] {
            assert_eq!(Applied::of(&object(status.clone())), None, "{status}");
        }
    }

    #[test]
    fn what_was_applied_counts_no_more_after_a_failure() {
        let status = at(0, Json::Null, Ok(()), Some(&applied())).expect("there was none");
        let status = at(1, status, Err(&failure("no key")), None).expect("the state is another one");
        assert_eq!((status.get("applied"), Applied::of(&object(status.clone()))), (None, None));
        assert_eq!(
            at(2, status.clone(), Ok(()), Some(&applied())).map(|status| status["applied"].is_object()),
            Some(true)
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters_and_stay_the_same() {
        let failure = failure(&format!("x{}", "ä".repeat(MAX_MESSAGE)));
        let status = at(0, Json::Null, Err(&failure), None).expect("there was none");
        for condition in status["conditions"].as_array().expect("a list") {
            assert_eq!(condition["message"].as_str().map(str::len), Some(MAX_MESSAGE - 1));
        }
        assert_eq!(at(1, status, Err(&failure), None), None);
    }

    #[test]
    fn fields_of_the_kind_are_set_and_taken_away() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let special = |value: Json| json!({"conditions": [], "lastDecrypted": value});
        let status = super::status(&object(Json::Null), Ok(()), None, special(json!(FIRST)), now);
        let status = status.expect("there was none");
        assert_eq!(status["lastDecrypted"], FIRST);
        let object = object(status);
        assert_eq!(super::status(&object, Ok(()), None, special(json!(FIRST)), now), None);
        let status =
            super::status(&object, Ok(()), None, special(Json::Null), now).expect("a field has to go");
        assert_eq!(status.get("lastDecrypted"), None);
    }
}

//! Encryption contexts as sops before 3.3.0 mixed them up.
//!
//! It kept the names of a context and gave all of them the same value: one of those that the context has, by
//! chance. What was wrapped so is unwrapped under such a context alone. Source: pull request 435 of sops.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::keys::MasterKey;

/// Returns a key with each of the contexts that sops may have wrapped it under in place of the one that it names;
/// none, unless it was wrapped before 3.3.0.
pub(super) fn mixed_up(key: &MasterKey) -> Vec<MasterKey> {
    let Some(context) = context(key).filter(|_| key.is_old()) else { return Vec::new() };
    let values = values(context);
    if values.len() < 2 {
        return Vec::new();
    }
    let under = |value: &str| {
        let context: Map<_, _> = context.keys().map(|name| (name.clone(), Json::from(value))).collect();
        let mut key = key.clone();
        key.set_field("context", context.into());
        key
    };
    values.into_iter().map(under).collect()
}

fn context(key: &MasterKey) -> Option<&Map<String, Json>> {
    key.fields().get("context")?.as_object()
}

fn values(context: &Map<String, Json>) -> BTreeSet<&str> {
    context.values().filter_map(Json::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::kms::KIND;

    fn key(context: Json) -> MasterKey {
        let entry = json!({"arn": "a", "context": context, "enc": "AQ=="});
        MasterKey::from_metadata(&KIND, entry.as_object().expect("an object"))
    }

    fn old(context: Json) -> MasterKey {
        let mut key = key(context);
        key.mark_as_old();
        key
    }

    #[test]
    fn each_value_may_be_that_of_all_names() {
        let keys = mixed_up(&old(json!({"a": "x", "b": "y", "c": "x"})));
        let contexts: Vec<_> = keys.iter().map(|key| key.fields()["context"].clone()).collect();
        assert_eq!(contexts, [json!({"a": "x", "b": "x", "c": "x"}), json!({"a": "y", "b": "y", "c": "y"})]);
        assert!(keys.iter().all(|key| key.wrapped() == "AQ=="));
    }

    #[test]
    fn only_old_keys_with_several_values_are_mixed_up() {
        let context = json!({"a": "x", "b": "y"});
        assert_eq!(mixed_up(&key(context.clone())), []);
        assert_eq!(mixed_up(&old(json!({"a": "x", "b": "x"}))), []);
        let mut again = old(context);
        again.set_wrapped("Ag==".to_owned(), "");
        assert_eq!(mixed_up(&again), []);
    }
}

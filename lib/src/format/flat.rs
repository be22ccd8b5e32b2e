//! Metadata as flat names, for formats without nesting: `age__list_0__map_recipient`.
//!
//! A step into a map is `__map_` and the key, a step into a list `__list_` and the index; the first key
//! stands bare. Empty maps and lists have no name, and vanish.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// Returns the flat names of metadata with their values as text, in order.
///
/// # Errors
/// If two values have the same name, which takes keys that no metadata has.
pub(super) fn flatten(metadata: &Map<String, Json>) -> Result<Vec<(String, String)>, &'static str> {
    let mut flat = Vec::new();
    for (key, value) in metadata {
        flatten_value(key.clone(), value, &mut flat);
    }
    let mut names: Vec<_> = flat.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) { Err(TWICE) } else { Ok(flat) }
}

fn flatten_value(name: String, value: &Json, flat: &mut Vec<(String, String)>) {
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten_value(format!("{name}{LIST}{index}"), item, flat);
            }
        }
        Json::Object(entries) => {
            for (key, item) in entries {
                flatten_value(format!("{name}{MAP}{key}"), item, flat);
            }
        }
        Json::String(text) => flat.push((name, text.clone())),
        Json::Null => {}
        Json::Bool(_) | Json::Number(_) => flat.push((name, value.to_string())),
    }
}

/// Returns metadata from its flat names; every value is a string.
///
/// # Errors
/// If a name is there twice, stands for a value as well as for a map or list, or a list has gaps.
pub(super) fn unflatten<'a>(
    flat: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<Map<String, Json>, &'static str> {
    let mut root = Level::default();
    for (name, value) in flat {
        root.place(name, value)?;
    }
    root.into_map()
}

/// A map, a list or a value: which of them, the names tell one by one.
#[derive(Default)]
struct Level {
    entries: BTreeMap<String, Self>,
    items: BTreeMap<usize, Self>,
    value: Option<String>,
}

/// A step on the way to a value.
enum Step<'a> {
    Index(usize),
    Key(&'a str),
}

impl Level {
    fn place(&mut self, name: &str, value: String) -> Result<(), &'static str> {
        let mut level = self;
        for (depth, step) in steps(name).enumerate() {
            if depth >= MAX_DEPTH {
                return Err("a name has too many parts");
            }
            level = match step? {
                Step::Index(index) => level.items.entry(index).or_default(),
                Step::Key(key) => level.entries.entry(key.to_owned()).or_default(),
            };
        }
        if level.value.replace(value).is_some() { Err(TWICE) } else { Ok(()) }
    }

    fn into_json(self) -> Result<Json, &'static str> {
        match self {
            Self { value: Some(value), entries, items } if entries.is_empty() && items.is_empty() => {
                Ok(Json::String(value))
            }
            Self { value: None, entries, items } if entries.is_empty() => {
                let is_complete = items.last_key_value().is_some_and(|(&last, _)| last == items.len() - 1);
                if !is_complete {
                    return Err("a list has gaps");
                }
                items.into_values().map(Self::into_json).collect()
            }
            level @ Self { value: None, .. } if level.items.is_empty() => level.into_map().map(Json::Object),
            _ => Err("a name stands for more than one kind of value"),
        }
    }

    fn into_map(self) -> Result<Map<String, Json>, &'static str> {
        self.entries.into_iter().map(|(key, level)| Ok((key, level.into_json()?))).collect()
    }
}

/// Splits a name into its steps.
fn steps(name: &str) -> impl Iterator<Item = Result<Step<'_>, &'static str>> {
    let mut rest = Some(name);
    let mut is_index = false;
    std::iter::from_fn(move || {
        let text = rest?;
        let next = [(MAP, false), (LIST, true)]
            .into_iter()
            .filter_map(|(separator, is_index)| Some((text.find(separator)?, separator, is_index)))
            .min();
        let part = next.map_or(text, |(end, ..)| &text[..end]);
        rest = next.map(|(end, separator, _)| &text[end + separator.len()..]);
        let was_index = std::mem::replace(&mut is_index, next.is_some_and(|(.., is_index)| is_index));
        Some(if was_index {
            part.parse().map(Step::Index).map_err(|_| "the index of a list is not a number")
        } else {
            Ok(Step::Key(part))
        })
    })
}

const LIST: &str = "__list_";
const MAP: &str = "__map_";
/// Real metadata has no more than seven.
const MAX_DEPTH: usize = 32;
const TWICE: &str = "a name is there twice";

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use serde_json::json;

    use super::*;

    fn map(json: Json) -> Map<String, Json> {
        let Json::Object(map) = json else { panic!("not a map") };
        map
    }

    fn pairs(flat: &[(String, String)]) -> Vec<(&str, String)> {
        flat.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
    }

    fn refused(names: &[&str]) -> &'static str {
        unflatten(names.iter().map(|&name| (name, String::new()))).expect_err("names that do not fit")
    }

    #[test]
    fn names_lead_through_maps_and_lists() {
        let metadata = map(json!({
            "key_groups": [{"age": [], "kms": [{"context": {"k1": "v"}}, {"arn": "x"}]}, {"age": [{"enc": "y"}]}],
            "shamir_threshold": 2, "mac_only_encrypted": true, "version": "3"
        }));
        let flat = flatten(&metadata).expect("metadata");
        let expected = [
            ("key_groups__list_0__map_kms__list_0__map_context__map_k1", "v".to_owned()),
            ("key_groups__list_0__map_kms__list_1__map_arn", "x".to_owned()),
            ("key_groups__list_1__map_age__list_0__map_enc", "y".to_owned()),
            ("shamir_threshold", "2".to_owned()),
            ("mac_only_encrypted", "true".to_owned()),
            ("version", "3".to_owned()),
        ];
        assert_eq!(pairs(&flat), expected);
        let again = unflatten(pairs(&flat).into_iter().rev()).expect("flat names");
        let expected = json!({
            "key_groups": [{"kms": [{"context": {"k1": "v"}}, {"arn": "x"}]}, {"age": [{"enc": "y"}]}],
            "shamir_threshold": "2", "mac_only_encrypted": "true", "version": "3"
        });
        assert_eq!(Json::Object(again), expected);
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert_eq!(refused(&["a", "a"]), TWICE);
        assert_eq!(refused(&["a", "a__map_b"]), "a name stands for more than one kind of value");
        assert_eq!(refused(&["a__list_0", "a__map_b"]), "a name stands for more than one kind of value");
        assert_eq!(refused(&["a__list_1"]), "a list has gaps");
        assert_eq!(refused(&["a__list_0", "a__list_18446744073709551615"]), "a list has gaps");
        assert_eq!(refused(&["a__list_x"]), "the index of a list is not a number");
        assert_eq!(refused(&[&"a__map_".repeat(100)]), "a name has too many parts");
    }

    #[test]
    fn values_that_take_the_same_name_are_refused() {
        let metadata = map(json!({"a": {"b": "x"}, "a__map_b": "y"}));
        assert_eq!(flatten(&metadata), Err(TWICE));
    }

    proptest! {
        #[test]
        fn any_names_are_read_or_refused(names in prop::collection::vec("(a|b|_|__map_|__list_|[01]){0,6}", 0..6)) {
            if let Ok(metadata) = unflatten(names.iter().map(|name| (name.as_str(), name.clone()))) {
                let flat = flatten(&metadata).expect("names of their own");
                prop_assert_eq!(flat.len(), names.len());
                prop_assert!(flat.iter().all(|(name, value)| name == value || value.contains("__list_0")));
            }
        }

        #[test]
        fn metadata_comes_back(metadata in metadata()) {
            let flat = flatten(&metadata).expect("metadata");
            prop_assert_eq!(unflatten(pairs(&flat)).expect("flat names"), metadata);
        }
    }

    fn metadata() -> impl Strategy<Value = Map<String, Json>> {
        let text = "[a-z\n=]{0,5}".prop_map(Json::from);
        let value = text.prop_recursive(3, 20, 4, |inner| {
            let entries = prop::collection::btree_map("[a-z]{1,3}(_[a-z]{1,3})?", inner.clone(), 1..4);
            prop_oneof![
                entries.prop_map(|entries| Json::Object(entries.into_iter().collect())),
                prop::collection::vec(inner, 1..4).prop_map(Json::Array),
            ]
        });
        prop::collection::btree_map("[a-z]{1,3}", value, 0..5).prop_map(|map| map.into_iter().collect())
    }
}

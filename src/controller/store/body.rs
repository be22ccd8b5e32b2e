//! Objects that wait with all that is in them, and the memory that they take.

use std::sync::Arc;

use serde_json::Value as Json;

/// An object that waits.
pub(super) struct Body {
    pub(super) object: Arc<Json>,
    weight: usize,
}

impl Body {
    pub(super) fn of(object: Json) -> Self {
        let weight = weight(&object);
        Self { object: Arc::new(object), weight }
    }

    /// Returns about how much memory an object takes, if there is one.
    pub(super) fn weight(body: Option<&Self>) -> usize {
        body.map_or(0, |body| body.weight)
    }
}

fn weight(value: &Json) -> usize {
    let within = match value {
        Json::Array(items) => items.iter().map(weight).sum(),
        Json::Object(fields) => fields.iter().map(|(name, value)| ENTRY + name.len() + weight(value)).sum(),
        Json::String(text) => text.len(),
        Json::Bool(_) | Json::Null | Json::Number(_) => 0,
    };
    size_of::<Json>() + within
}

/// How much memory all objects may take that wait. Others are read again when it is their turn.
pub(super) const MAX_BODIES: usize = 8 << 20;

/// What an entry of a map takes besides its name and its value.
const ENTRY: usize = 56;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_larger_weighs_more_and_never_less_than_its_texts() {
        let of = |length: usize| {
            Body::weight(Some(&Body::of(json!({"spec": {"a": ["x".repeat(length)], "b": null}}))))
        };
        assert_eq!(of(5000) - of(1000), 4000);
        assert!((1000..2000).contains(&of(1000)), "{}", of(1000));
        assert_eq!(Body::weight(None), 0);
    }
}

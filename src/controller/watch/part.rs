//! Reads JSON up to a depth, and skips what is deeper.
//!
//! An API server takes thousands of levels, the parser 128, and what is around an object counts, too. What is too deep
//! is skipped without recursion, so that the rest of the text can be read.
//!
//! Invariant: whether an object is too deep depends on the object alone, and not on whether it came in a list.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

/// How many levels of lists and maps an object may have.
pub const MAX_DEPTH: usize = 100;

/// Reads an object. Of one that is too deep the metadata and the status remain, and a `spec` that is a text, which none
/// of the kinds allows.
pub fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
    let part = Part { place: Place::Object, depth: 1 };
    Ok(part.deserialize(deserializer)?.unwrap_or_default())
}

/// Reads the metadata of an object, and nothing else.
pub fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
    let part = Part { place: Place::Envelope, depth: 1 };
    let mut object = part.deserialize(deserializer)?.unwrap_or_default();
    Ok(object.get_mut("metadata").map(Json::take).unwrap_or_default())
}

/// Returns whether this is an object that was too deep to be read.
#[must_use]
pub fn is_too_deep(object: &Json) -> bool {
    object["spec"].as_str().is_some_and(|spec| spec.starts_with(TOO_DEEP))
}

/// A part of an object; `None` if it is too deep.
#[derive(Clone, Copy)]
struct Part {
    place: Place,
    depth: usize,
}

/// Where a part is, which tells what becomes of what is around it if it is too deep.
#[derive(Clone, Copy)]
enum Place {
    /// An object of which only the metadata count.
    Envelope,
    /// What is too deep as a whole if any of it is.
    Inner,
    /// The metadata, whose fields can do without each other.
    Metadata,
    /// An object.
    Object,
    /// The status, whose fields can do without each other: what others say there is not to be harmed.
    Status,
}

impl Place {
    /// Returns the place of a field; `None` if it does not count.
    fn field(self, name: &str) -> Option<Self> {
        match (self, name) {
            (Self::Envelope | Self::Object, "metadata") => Some(Self::Metadata),
            (Self::Object, "status") => Some(Self::Status),
            // It mirrors the whole object, and is as deep.
            (Self::Envelope, _) | (Self::Metadata, "managedFields") => None,
            _ => Some(Self::Inner),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Option<Json>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Json>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Option<Json>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<Json>, E> {
        Ok(Some(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<Json>, E> {
        Ok(Some(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<Json>, E> {
        Ok(Some(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<Json>, E> {
        Ok(Some(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<Json>, E> {
        Ok(Some(value.into()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Option<Json>, E> {
        Ok(Some(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Json>, E> {
        Ok(Some(Json::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Json>, A::Error> {
        let part = Self { place: Place::Inner, depth: self.depth + 1 };
        let mut list = Vec::new();
        if self.depth <= MAX_DEPTH {
            loop {
                match items.next_element_seed(part)? {
                    Some(Some(item)) => list.push(item),
                    Some(None) => break,
                    None => return Ok(Some(Json::Array(list))),
                }
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<Json>, A::Error> {
        let mut fields = Map::new();
        let (mut is_whole, mut is_cut) = (self.depth <= MAX_DEPTH, false);
        while is_whole && let Some(name) = entries.next_key::<String>()? {
            let Some(place) = self.place.field(&name) else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            match (entries.next_value_seed(Self { place, depth: self.depth + 1 })?, self.place) {
                (Some(value), _) => drop(fields.insert(name, value)),
                (None, Place::Metadata | Place::Status) => {}
                (None, Place::Object) => is_cut = true,
                (None, Place::Envelope | Place::Inner) => is_whole = false,
            }
        }
        if !is_whole {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        }
        if is_cut {
            fields.insert("spec".to_owned(), mark(&fields));
        }
        Ok(Some(Json::Object(fields)))
    }
}

/// Returns what an object that is too deep has in place of its `spec`: something else as soon as it is changed.
fn mark(fields: &Map<String, Json>) -> Json {
    let generation = fields.get("metadata").map_or(&Json::Null, |metadata| &metadata["generation"]);
    format!("{TOO_DEEP}: generation {generation}").into()
}

const TOO_DEEP: &str = "too deep";

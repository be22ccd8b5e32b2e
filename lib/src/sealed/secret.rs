//! Secrets of Kubernetes in clear.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::base64::{self, Base64Error};
use super::object_meta::ObjectMeta;
use crate::secret::SecretBytes;

/// A Secret in clear: its values wipe themselves, and it cannot be printed.
#[derive(Default)]
pub struct Secret {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its `type`; the API server takes none for `Opaque`.
    pub type_: Option<String>,
    /// Whether it may be changed once it is there.
    pub immutable: Option<bool>,
    /// Its values.
    pub data: BTreeMap<String, SecretBytes>,
}

/// Why an object is not a Secret. No variant holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// A value of `data` is not base64.
    #[error("data[{key:?}] is not base64: {source}")]
    Data {
        /// The key of the value.
        key: String,
        /// Where it is wrong.
        source: Base64Error,
    },
    /// A field is of another type than it has to be.
    #[error("{path} is not {expected}")]
    Field {
        /// Where the field is.
        path: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// The object is of another kind.
    #[error("the object is a {0}, not a Secret")]
    Kind(String),
}

impl Secret {
    /// Returns whether an object says that it is a Secret of version 1.
    #[must_use]
    pub fn is_one(object: &Json) -> bool {
        object["apiVersion"] == "v1" && object["kind"] == "Secret"
    }

    /// Reads a Secret. Values of `stringData` win over those of `data`, and null is an empty value.
    ///
    /// # Errors
    /// If the object is not a Secret, or a field is not of its type.
    pub fn from_json(object: &Json) -> Result<Self, SecretError> {
        if !Self::is_one(object) {
            let kind = object["kind"].as_str().unwrap_or("thing without a kind");
            return Err(SecretError::Kind(kind.to_owned()));
        }
        Self::from_any_json(object)
    }

    /// Reads what has the fields of a Secret, whatever kind it says that it is.
    ///
    /// # Errors
    /// If a field is not of its type.
    pub fn from_any_json(object: &Json) -> Result<Self, SecretError> {
        let mut data = BTreeMap::new();
        for (key, value) in entries(object, "data")? {
            let text = text(value, || format!("data[{key:?}]"))?.unwrap_or_default();
            let bytes = base64::decode(text.as_bytes())
                .map_err(|source| SecretError::Data { key: key.clone(), source })?;
            data.insert(key.clone(), bytes);
        }
        for (key, value) in entries(object, "stringData")? {
            let text = text(value, || format!("stringData[{key:?}]"))?.unwrap_or_default();
            data.insert(key.clone(), text.into());
        }
        Ok(Self {
            metadata: ObjectMeta::parse(&object["metadata"])?,
            type_: text(&object["type"], || "type".to_owned())?.map(str::to_owned),
            immutable: truth(&object["immutable"], "immutable")?,
            data,
        })
    }

    /// Returns the Secret as an object of Kubernetes, its values as base64 in `data`. The result does not wipe
    /// itself.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut object = Map::new();
        object.insert("apiVersion".to_owned(), "v1".into());
        object.insert("kind".to_owned(), "Secret".into());
        object.insert("metadata".to_owned(), self.metadata.to_json());
        if let Some(type_) = self.type_.as_ref().filter(|type_| !type_.is_empty()) {
            object.insert("type".to_owned(), type_.as_str().into());
        }
        if let Some(immutable) = self.immutable {
            object.insert("immutable".to_owned(), immutable.into());
        }
        if !self.data.is_empty() {
            let value = |(key, value): (&String, &SecretBytes)| {
                (key.clone(), base64::encode(value.expose_secret()).into())
            };
            object.insert("data".to_owned(), self.data.iter().map(value).collect::<Map<_, _>>().into());
        }
        Json::Object(object)
    }

    /// Returns the Secret as an object for people: values that are text stand in `stringData`. The result does
    /// not wipe itself.
    #[must_use]
    pub fn to_readable_json(&self) -> Json {
        let mut object = self.to_json();
        let (mut data, mut string_data) = (Map::new(), Map::new());
        for (key, value) in &self.data {
            match str::from_utf8(value.expose_secret()).ok().filter(|text| is_readable(text)) {
                Some(text) => string_data.insert(key.clone(), text.into()),
                None => data.insert(key.clone(), base64::encode(value.expose_secret()).into()),
            };
        }
        let fields = object.as_object_mut().expect("an object was made");
        fields.shift_remove("data");
        for (name, values) in [("data", data), ("stringData", string_data)] {
            if !values.is_empty() {
                fields.insert(name.to_owned(), json!(values));
            }
        }
        object
    }
}

/// Returns whether a text can be shown and edited as it is.
fn is_readable(text: &str) -> bool {
    text.chars().all(|character| !character.is_control() || matches!(character, '\n' | '\t'))
}

/// Returns the entries of a map that may be missing or null.
pub(super) fn entries<'a>(
    object: &'a Json,
    field: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Json)>, SecretError> {
    match &object[field] {
        Json::Null => Ok(None.into_iter().flatten()),
        Json::Object(entries) => Ok(Some(entries.iter()).into_iter().flatten()),
        _ => Err(SecretError::Field { path: field.to_owned(), expected: "a map" }),
    }
}

/// Returns a text that may be missing or null.
pub(super) fn text(value: &Json, path: impl FnOnce() -> String) -> Result<Option<&str>, SecretError> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(text)),
        _ => Err(SecretError::Field { path: path(), expected: "a string" }),
    }
}

/// Returns a truth value that may be missing or null.
pub(super) fn truth(value: &Json, path: &str) -> Result<Option<bool>, SecretError> {
    match value {
        Json::Null => Ok(None),
        Json::Bool(truth) => Ok(Some(*truth)),
        _ => Err(SecretError::Field { path: path.to_owned(), expected: "true or false" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(object: Json) -> Result<Secret, SecretError> {
        Secret::from_any_json(&object)
    }

    #[test]
    fn texts_win_over_base64_of_the_same_key() {
        let secret =
            secret(json!({"data": {"a": "eA==", "b": null}, "stringData": {"a": "y"}})).expect("a Secret");
        assert_eq!(secret.data["a"].expose_secret(), b"y");
        assert!(secret.data["b"].is_empty());
    }

    #[test]
    fn values_of_other_types_are_refused_by_path() {
        let error = |object| secret(object).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error(json!({"data": {"a": 1}})), r#"data["a"] is not a string"#);
        assert_eq!(error(json!({"data": []})), "data is not a map");
        assert_eq!(
            error(json!({"data": {"a": "e A="}})),
            r#"data["a"] is not base64: illegal base64 data at input byte 1"#
        );
        assert_eq!(error(json!({"metadata": {"name": 1}})), "metadata.name is not a string");
    }

    #[test]
    fn what_people_can_read_is_shown_as_text() {
        let mut secret = secret(json!({"data": {"a": "eA==", "b": "AP8="}})).expect("a Secret");
        secret.metadata = ObjectMeta::named("ns", "n");
        let readable = secret.to_readable_json();
        assert_eq!(readable["stringData"], json!({"a": "x"}));
        assert_eq!(readable["data"], json!({"b": "AP8="}));
    }
}

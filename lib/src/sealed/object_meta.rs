//! The metadata of Kubernetes objects, as far as sealing looks at it; the rest is kept as it is.

use serde_json::{Map, Value as Json, json};

use super::secret::SecretError;

/// The `metadata` of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectMeta(Map<String, Json>);

impl ObjectMeta {
    /// Reads a `metadata` entry; null is an empty one.
    ///
    /// # Errors
    /// If the entry, or one that sealing looks at, is not of its type.
    pub fn parse(metadata: &Json) -> Result<Self, SecretError> {
        let fields = match metadata {
            Json::Null => Map::new(),
            Json::Object(fields) => fields.clone(),
            _ => return Err(SecretError::Field { path: "metadata".to_owned(), expected: "a map" }),
        };
        for name in ["name", "namespace", "generateName"] {
            if !matches!(fields.get(name), None | Some(Json::Null | Json::String(_))) {
                return Err(SecretError::Field { path: format!("metadata.{name}"), expected: "a string" });
            }
        }
        for name in ["annotations", "labels"] {
            match fields.get(name) {
                None | Some(Json::Null) => {}
                Some(Json::Object(entries)) => {
                    if let Some((key, _)) = entries.iter().find(|(_, value)| !value.is_string()) {
                        let path = format!("metadata.{name}[{key:?}]");
                        return Err(SecretError::Field { path, expected: "a string" });
                    }
                }
                Some(_) => {
                    return Err(SecretError::Field { path: format!("metadata.{name}"), expected: "a map" });
                }
            }
        }
        Ok(Self(fields))
    }

    /// Returns metadata with a name and a namespace; an empty one is left out.
    #[must_use]
    pub fn named(namespace: &str, name: &str) -> Self {
        let mut metadata = Self::default();
        metadata.set("name", name);
        metadata.set("namespace", namespace);
        metadata
    }

    /// Returns the name, empty if there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// Returns the namespace, empty if there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text("namespace")
    }

    /// Sets the name.
    pub fn set_name(&mut self, name: &str) {
        self.set("name", name);
    }

    /// Sets the namespace; an empty one takes the entry out.
    pub fn set_namespace(&mut self, namespace: &str) {
        self.set("namespace", namespace);
    }

    /// Returns an annotation.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("annotations")?.get(name)?.as_str()
    }

    /// Sets an annotation.
    pub fn set_annotation(&mut self, name: &str, value: &str) {
        self.entries("annotations").insert(name.to_owned(), value.into());
    }

    /// Returns a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0.get("labels")?.get(name)?.as_str()
    }

    /// Sets a label.
    pub fn set_label(&mut self, name: &str, value: &str) {
        self.entries("labels").insert(name.to_owned(), value.into());
    }

    /// Takes an annotation out, and the entry `annotations` with the last one.
    pub fn remove_annotation(&mut self, name: &str) {
        let Some(annotations) = self.0.get_mut("annotations").and_then(Json::as_object_mut) else { return };
        annotations.shift_remove(name);
        if annotations.is_empty() {
            self.0.shift_remove("annotations");
        }
    }

    /// Takes out what the API server sets, who owns the object, and the copies of it in clear that kubectl and
    /// kubecfg keep in annotations.
    pub fn strip(&mut self) {
        for name in SERVER_FIELDS {
            self.0.shift_remove(name);
        }
        for name in LAST_APPLIED {
            self.remove_annotation(name);
        }
    }

    /// Puts the entries of a map of texts over those that are there: `labels` or `annotations` of another
    /// object.
    pub fn overlay(&mut self, field: &str, other: &Self) {
        let Some(Json::Object(entries)) = other.0.get(field) else { return };
        for (key, value) in entries {
            self.entries(field).insert(key.clone(), value.clone());
        }
    }

    /// Sets any field as it is.
    pub fn set_field(&mut self, field: &str, value: Json) {
        self.0.insert(field.to_owned(), value);
    }

    /// Returns any field as it is.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    /// Returns the metadata as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::Object(self.0.clone())
    }

    fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Json::as_str).unwrap_or_default()
    }

    fn set(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            self.0.shift_remove(field);
        } else {
            self.0.insert(field.to_owned(), value.into());
        }
    }

    fn entries(&mut self, field: &str) -> &mut Map<String, Json> {
        let entries = self.0.entry(field).or_insert_with(|| json!({}));
        if !entries.is_object() {
            *entries = json!({});
        }
        entries.as_object_mut().expect("it was made an object above")
    }
}

/// What the API server, or a controller, sets: it says nothing of the Secret that is to be made.
const SERVER_FIELDS: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Annotations with a copy of the whole object, values included.
const LAST_APPLIED: [&str; 2] =
    ["kubecfg.ksonnet.io/last-applied-configuration", "kubectl.kubernetes.io/last-applied-configuration"];

//! Reading the objects that carry documents: what is not of its type is told by its place.

use std::collections::BTreeMap;

use kube::core::ApiResource;
use selkie::keys::said;
use selkie::sealed::{ObjectMeta, Secret};
use serde_json::{Map, Value as Json, json};

use crate::controller::reason::{Failure, Reason};

/// A map in an object, and where it is.
pub struct Field<'a> {
    fields: &'a Map<String, Json>,
    path: String,
}

/// Which object it is.
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    uid: String,
}

/// Returns which object it is.
///
/// # Errors
/// If it does not say so.
pub fn place(object: &Json) -> Result<Place, Failure> {
    let metadata = map(&object["metadata"], "metadata")?;
    let text = |name| metadata.required(name).map(str::to_owned);
    Ok(Place { name: text("name")?, namespace: text("namespace")?, uid: text("uid")? })
}

/// Returns the metadata of a Secret that an object owns.
#[must_use]
pub fn metadata(owner: &Place, resource: &ApiResource, name: &str) -> ObjectMeta {
    let metadata = json!({
        "name": name,
        "namespace": owner.namespace,
        "ownerReferences": [{
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "name": owner.name,
            "uid": owner.uid,
            "controller": true,
        }],
    });
    ObjectMeta::parse(&metadata).expect("all fields are of their types")
}

/// Returns a map that an object has to have.
///
/// # Errors
/// If it is missing, or something else.
pub fn map<'a>(value: &'a Json, path: &str) -> Result<Field<'a>, Failure> {
    match value {
        Json::Object(fields) => Ok(Field { fields, path: path.to_owned() }),
        Json::Null => Err(invalid(format!("{path} is missing"))),
        _ => Err(invalid(format!("{path} is not a map"))),
    }
}

/// Fails if a Secret is larger than the API server takes.
///
/// # Errors
/// If it is.
pub fn check_size(secret: &Secret) -> Result<(), Failure> {
    let size: usize = secret.data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_SIZE { Err(invalid("the Secret would be larger than 1 MiB")) } else { Ok(()) }
}

/// Returns what is said of an object that cannot be read.
#[must_use]
pub fn invalid(message: impl AsRef<str>) -> Failure {
    Failure::new(Reason::Invalid, said(message.as_ref()))
}

/// Returns what is said of an object that is to be left alone.
#[must_use]
pub fn suspended() -> Failure {
    Failure::new(Reason::Suspended, "Reconciliation is suspended")
}

impl<'a> Field<'a> {
    /// Returns a text that may be missing or empty, which is the same.
    ///
    /// # Errors
    /// If it is something else.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        match self.fields.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(invalid(format!("{}.{name} is not a text", self.path))),
        }
    }

    /// Returns a text that has to be there.
    ///
    /// # Errors
    /// If it is missing, or something else.
    pub fn required(&self, name: &str) -> Result<&'a str, Failure> {
        self.text(name)?.ok_or_else(|| invalid(format!("{}.{name} is missing", self.path)))
    }

    /// Returns a truth value that may be missing.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.fields.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(truth)) => Ok(Some(*truth)),
            Some(_) => Err(invalid(format!("{}.{name} is not true or false", self.path))),
        }
    }

    /// Returns a map that may be missing.
    ///
    /// # Errors
    /// If it is something else.
    pub fn map(&self, name: &str) -> Result<Option<Field<'a>>, Failure> {
        match self.fields.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => map(value, &format!("{}.{name}", self.path)).map(Some),
        }
    }

    /// Returns a map of texts that may be missing.
    ///
    /// # Errors
    /// If it is something else.
    pub fn texts(&self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let Some(map) = self.map(name)? else { return Ok(BTreeMap::new()) };
        let text = |(key, value): (&String, &Json)| match value {
            Json::String(text) => Ok((key.clone(), text.clone())),
            _ => Err(invalid(format!("{}[{key:?}] is not a text", map.path))),
        };
        map.fields.iter().map(text).collect()
    }
}

/// How large a Secret may be.
const MAX_SIZE: usize = 1 << 20;

//! Objects as a watch, a list or a read tells of them, each of which is read alone: one that cannot be read is an
//! object nevertheless, and does no harm to those beside it.
//!
//! Invariants: what the API server sends as an object is read without an error, however deep it is and whatever types
//! its fields have; of the record of who wrote what nothing is kept; what is shown of an object is its name.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope, NamespaceResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::part;

/// An object of a kind that Secrets are made from.
#[derive(Clone)]
pub struct Object {
    head: ObjectMeta,
    content: Json,
}

/// What is told of a Secret to those who ask for the metadata alone.
#[derive(Clone)]
pub struct SecretHead {
    head: ObjectMeta,
    metadata: Json,
}

impl Object {
    /// Returns the object as the API server has it, but for the record of who wrote what.
    #[must_use]
    pub fn into_json(self, resource: &ApiResource) -> Json {
        let mut content = self.content;
        // Items of a list need not say of which kind they are.
        if let Some(fields) = content.as_object_mut() {
            fields.insert("apiVersion".to_owned(), resource.api_version.as_str().into());
            fields.insert("kind".to_owned(), resource.kind.as_str().into());
        }
        content
    }
}

impl SecretHead {
    /// Returns its metadata, but for the record of who wrote what.
    #[must_use]
    pub const fn metadata(&self) -> &Json {
        &self.metadata
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content = part::object(deserializer)?;
        Ok(Self { head: head(&content["metadata"]), content })
    }
}

impl<'de> Deserialize<'de> for SecretHead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let metadata = part::metadata(deserializer)?;
        Ok(Self { head: head(&metadata), metadata })
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.head
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.head
    }
}

impl Resource for SecretHead {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }

    fn metadata_api() -> bool {
        true
    }

    fn meta(&self) -> &ObjectMeta {
        &self.head
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.head
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.head, formatter)
    }
}

impl fmt::Debug for SecretHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.head, formatter)
    }
}

fn show(head: &ObjectMeta, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    write!(formatter, "{}/{}", text(&head.namespace), text(&head.name))
}

/// Returns what a watch has to know of an object.
fn head(metadata: &Json) -> ObjectMeta {
    let text = |field: &str| metadata[field].as_str().map(str::to_owned);
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;

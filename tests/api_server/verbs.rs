//! What the API server does with a request, if nothing comes in its way.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::fields::{Managed, Manager};
use super::list::list;
use super::patch;
use super::refusal::Refusal;
use super::resource::{Key, Resource, Target};
use super::review::Reviews;
use super::rules::{decode, validate, validate_update};
use super::store::Store;

/// A request.
#[derive(Debug)]
pub struct Ask {
    /// The method.
    pub method: String,
    /// What it is about.
    pub target: Target,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// The body; null without one.
    pub body: Json,
    /// The type of the body.
    pub content_type: String,
    /// Whether nothing but metadata is asked for.
    pub only_metadata: bool,
    /// The name of the program that asks.
    pub agent: String,
    /// When it is, as objects have it.
    pub now: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The code of HTTP.
    pub code: u16,
    /// The body.
    pub body: Json,
}

impl Ask {
    /// Does what was asked.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn answer(&self, store: &mut Store, reviews: &Reviews) -> Result<Answer, Refusal> {
        let key = self.target.key();
        let mut answer = match (self.method.as_str(), key) {
            ("POST", None) if reviews.knows(self.target.resource) => {
                Answer { code: 201, body: reviews.answer(self.target.resource, self.body.clone()) }
            }
            ("GET", None) => return list(store, self),
            ("GET", Some(key)) => {
                let object = store.get(&key).ok_or_else(|| Refusal::not_found(self.resource(), &key.name))?;
                Answer { code: 200, body: (**object).clone() }
            }
            ("POST", None) => self.create(store)?,
            ("PUT", Some(key)) => self.put(store, key)?,
            ("PATCH", Some(key)) if self.content_type == "application/apply-patch+yaml" => {
                self.apply(store, key)?
            }
            ("PATCH", Some(key)) => self.patch(store, key)?,
            ("DELETE", Some(key)) if !self.target.status => return self.delete(store, key),
            _ => return Err(Refusal::method_not_allowed()),
        };
        if self.only_metadata {
            answer.body = metadata_of(&answer.body);
        }
        Ok(answer)
    }

    fn resource(&self) -> &'static Resource {
        self.target.resource
    }

    fn is_dry_run(&self) -> bool {
        self.query.get("dryRun").is_some_and(|value| value == "All")
    }

    /// Who writes.
    fn manager(&self, applies: bool) -> Manager {
        let named = self.query.get("fieldManager").filter(|name| !name.is_empty());
        let name = named.map_or_else(|| self.agent.split('/').next().unwrap_or_default(), String::as_str);
        let (api_version, status) = (self.resource().api_version(), self.target.status);
        Manager { name: name.to_owned(), applies, api_version, status }
    }

    fn create(&self, store: &mut Store) -> Result<Answer, Refusal> {
        let mut object = self.body.clone();
        decode(self.resource(), &mut object)?;
        if object["metadata"]["name"].is_null()
            && let Some(prefix) = object["metadata"]["generateName"].as_str()
        {
            let prefix: String = prefix.chars().take(58).collect();
            object["metadata"]["name"] = json!(format!("{prefix}{}", suffix(store.draw())));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = Key::new(self.resource(), self.target.namespace.as_deref().unwrap_or_default(), &name);
        if !object["metadata"]["resourceVersion"].is_null() {
            let mut refusal = Refusal::internal();
            refusal.body["message"] = json!("resourceVersion should not be set on objects to be created");
            return Err(refusal);
        }
        self.insert(store, key, object, Managed::default(), Some(self.manager(false)))
    }

    /// Makes an object.
    fn insert(
        &self,
        store: &mut Store,
        key: Key,
        mut object: Json,
        mut managed: Managed,
        manager: Option<Manager>,
    ) -> Result<Answer, Refusal> {
        decode(self.resource(), &mut object)?;
        self.check_place(store, &key, &object)?;
        validate(self.resource(), &object)?;
        if store.get(&key).is_some() {
            return Err(Refusal::already_exists(self.resource(), &key.name));
        }
        let custom = self.resource().custom;
        if let Some(fields) = object.as_object_mut().filter(|_| custom) {
            fields.shift_remove("status");
        }
        let metadata = &mut object["metadata"];
        if self.resource().namespaced {
            metadata["namespace"] = json!(key.namespace);
        }
        metadata["uid"] = json!(uid(store.draw()));
        metadata["creationTimestamp"] = json!(self.now);
        if let Some(metadata) = metadata.as_object_mut() {
            for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
                metadata.shift_remove(field);
            }
            metadata.shift_remove("resourceVersion");
            if custom {
                metadata.insert("generation".to_owned(), json!(1));
            }
        }
        if let Some(manager) = manager {
            managed.update(self.resource(), &manager, &Json::Null, &object, &self.now);
        }
        managed.write(&mut object);
        let body = if self.is_dry_run() { object } else { (*store.commit(key, Some(object))).clone() };
        Ok(Answer { code: 201, body })
    }

    fn put(&self, store: &mut Store, key: Key) -> Result<Answer, Refusal> {
        let mut object = self.body.clone();
        decode(self.resource(), &mut object)?;
        self.check_place(store, &key, &object)?;
        let sent_name = object["metadata"]["name"].as_str();
        if sent_name != Some(&key.name) {
            let sent = sent_name.unwrap_or_default();
            let text = "the name of the object does not match the name on the URL";
            return Err(Refusal::bad_request(format!("{text} ({sent:?}, {:?})", key.name)));
        }
        let old = store.get(&key).cloned();
        if let Some(old) = &old
            && let Some(sent) = object["metadata"]["uid"].as_str()
            && old["metadata"]["uid"] != sent
        {
            let resource = self.resource();
            let folder = if resource.custom { format!("{}/", resource.group) } else { String::new() };
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{folder}{}/{}/{}, ResourceVersion: 0, \
                 AdditionalErrorMsg: Precondition failed: UID in precondition: {sent}, UID in object meta: {}",
                resource.plural,
                key.namespace,
                key.name,
                old["metadata"]["uid"].as_str().unwrap_or_default()
            );
            return Err(Refusal::conflict(resource, &key.name, &why));
        }
        let Some(old) = old else {
            if self.resource().create_on_update && !self.target.status {
                return self.insert(store, key, object, Managed::default(), Some(self.manager(false)));
            }
            return Err(Refusal::not_found(self.resource(), &key.name));
        };
        if object["metadata"]["resourceVersion"].is_null() && !self.resource().unconditional {
            let why = super::refusal::Cause::invalid(
                "metadata.resourceVersion",
                &json!(0),
                "must be specified for an update",
            );
            return Err(Refusal::invalid(self.resource(), &key.name, &[why]));
        }
        let mut managed = Managed::of(&old);
        self.replace(store, key, &old, object, &mut managed, Some(self.manager(false)))
    }

    fn patch(&self, store: &mut Store, key: Key) -> Result<Answer, Refusal> {
        let old = store.get(&key).cloned().ok_or_else(|| Refusal::not_found(self.resource(), &key.name))?;
        let object = match self.content_type.as_str() {
            "application/json-patch+json" => {
                patch::apply(&old, &self.body).ok_or_else(Refusal::unprocessable)?
            }
            "application/merge-patch+json" => merged(&old, &self.body),
            "application/strategic-merge-patch+json" if !self.resource().custom => merged(&old, &self.body),
            _ => return Err(Refusal::unsupported("the body of the request was in an unknown format")),
        };
        let mut managed = Managed::of(&old);
        self.replace(store, key, &old, object, &mut managed, Some(self.manager(false)))
    }

    fn apply(&self, store: &mut Store, key: Key) -> Result<Answer, Refusal> {
        let manager = self.manager(true);
        if !self.query.contains_key("fieldManager") {
            let why = super::refusal::Cause::required("fieldManager", "is required for apply patch");
            return Err(Refusal::invalid(self.resource(), &key.name, &[why]));
        }
        let applied = &self.body;
        let is_of_kind = applied["apiVersion"] == json!(self.resource().api_version())
            && applied["kind"] == self.resource().kind;
        if !is_of_kind || !applied["metadata"]["managedFields"].is_null() || !applied["stringData"].is_null()
        {
            return Err(Refusal::bad_request(
                "the applied object is of another kind, or has fields that cannot be",
            ));
        }
        self.check_place(store, &key, applied)?;
        let old = store.get(&key).cloned();
        let force = self.query.get("force").is_some_and(|value| value == "true");
        let mut object = match &old {
            Some(old) => (**old).clone(),
            None => json!({
                "apiVersion": self.resource().api_version(), "kind": self.resource().kind,
                "metadata": {"name": key.name},
            }),
        };
        let mut managed = Managed::of(&object);
        for field in ["uid", "resourceVersion"] {
            if let Some(value) = applied["metadata"].get(field).filter(|value| !value.is_null()) {
                object["metadata"][field] = value.clone();
            }
        }
        if let (None, Some(uid)) = (&old, object["metadata"]["uid"].as_str()) {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Refusal::conflict(self.resource(), &key.name, &why));
        }
        managed.apply(self.resource(), &manager, &mut object, applied, force, &self.now)?;
        match old {
            Some(old) => self.replace(store, key, &old, object, &mut managed, None),
            // The API server looks at no `resourceVersion` of what it makes by applying.
            None if !self.target.status => self.insert(store, key, object, managed, None),
            None => Err(Refusal::not_found(self.resource(), &key.name)),
        }
    }

    /// Puts a new object in the place of an old one.
    fn replace(
        &self,
        store: &mut Store,
        key: Key,
        old: &Arc<Json>,
        mut new: Json,
        managed: &mut Managed,
        manager: Option<Manager>,
    ) -> Result<Answer, Refusal> {
        let resource = self.resource();
        let version = new["metadata"].get("resourceVersion").filter(|version| !version.is_null());
        if version.is_some_and(|version| *version != old["metadata"]["resourceVersion"]) {
            return Err(Refusal::outdated(resource, &key.name));
        }
        decode(resource, &mut new)?;
        for field in SYSTEM_FIELDS {
            let value = old["metadata"].get(field);
            let is_sent = field == "uid" && new["metadata"].get("uid").is_some_and(|uid| !uid.is_null());
            if let Some(metadata) = new["metadata"].as_object_mut().filter(|_| !is_sent) {
                metadata.shift_remove(field);
                if let Some(value) = value {
                    metadata.insert(field.to_owned(), value.clone());
                }
            }
        }
        if resource.custom {
            new = self.with_other_half(old, new);
        }
        validate(resource, &new)?;
        validate_update(resource, old, &new)?;
        if resource.custom && without(&new, &["metadata", "status"]) != without(old, &["metadata", "status"])
        {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or_default();
            new["metadata"]["generation"] = json!(generation + 1);
        }
        if let Some(manager) = manager {
            managed.update(resource, &manager, old, &new, &self.now);
        }
        managed.write(&mut new);
        if new == **old || self.is_dry_run() {
            return Ok(Answer { code: 200, body: new });
        }
        if !new["metadata"]["deletionTimestamp"].is_null() && new["metadata"]["finalizers"].is_null() {
            store.commit(key.clone(), Some(new));
            return Ok(Answer { code: 200, body: (*store.commit(key, None)).clone() });
        }
        Ok(Answer { code: 200, body: (*store.commit(key, Some(new))).clone() })
    }

    /// Takes from the old object what the endpoint does not write.
    fn with_other_half(&self, old: &Json, mut new: Json) -> Json {
        let (mut result, source) =
            if self.target.status { (old.clone(), &mut new) } else { (new, &mut old.clone()) };
        if let Some(fields) = result.as_object_mut() {
            fields.shift_remove("status");
            let status = source["status"].take();
            if !status.is_null() {
                fields.insert("status".to_owned(), status);
            }
        }
        result
    }

    fn delete(&self, store: &mut Store, key: Key) -> Result<Answer, Refusal> {
        let resource = self.resource();
        let old = store.get(&key).cloned().ok_or_else(|| Refusal::not_found(resource, &key.name))?;
        for (field, name) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let record = &old["metadata"][field];
            let wanted = &self.body["preconditions"][field];
            if let (Some(wanted), Some(record)) = (wanted.as_str(), record.as_str())
                && wanted != record
            {
                let end = if field == "uid" { "deleted and then recreated" } else { "modified" };
                let why = format!(
                    "the {name} in the precondition ({wanted}) does not match the {name} in record ({record}). \
                     The object might have been {end}"
                );
                return Err(Refusal::precondition(resource, &key.name, &why));
            }
        }
        if !old["metadata"]["finalizers"].is_null() {
            let mut object = (*old).clone();
            if object["metadata"]["deletionTimestamp"].is_null() && !self.is_dry_run() {
                object["metadata"]["deletionTimestamp"] = json!(self.now);
                object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                object = (*store.commit(key, Some(object))).clone();
            }
            return Ok(Answer { code: 200, body: object });
        }
        let details = json!({"name": key.name, "group": resource.group, "kind": resource.plural, "uid": old["metadata"]["uid"]});
        if !self.is_dry_run() {
            store.commit(key, None);
        }
        let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
        Ok(Answer { code: 200, body })
    }

    /// Checks the namespace of an object, and that it is there.
    fn check_place(&self, store: &Store, key: &Key, object: &Json) -> Result<(), Refusal> {
        if !self.resource().namespaced {
            return Ok(());
        }
        let sent = object["metadata"]["namespace"].as_str().unwrap_or_default();
        if !sent.is_empty() && sent != key.namespace {
            let text =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Refusal::bad_request(text));
        }
        let namespaces = Resource::find("", "namespaces");
        let place = namespaces.map(|resource| (resource, Key::new(resource, "", &key.namespace)));
        match place {
            Some((resource, place)) if store.get(&place).is_none() && store.get(key).is_none() => {
                Err(Refusal::not_found(resource, &key.namespace))
            }
            _ => Ok(()),
        }
    }
}

/// Returns an object of which only the metadata is told.
pub fn metadata_of(object: &Json) -> Json {
    let metadata = &object["metadata"];
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// Returns an object with a patch merged into it.
fn merged(old: &Json, patch: &Json) -> Json {
    let mut object = old.clone();
    patch::merge(&mut object, patch);
    object
}

/// Returns an object without some fields.
fn without(object: &Json, fields: &[&str]) -> Json {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.retain(|name, _| !fields.contains(&name.as_str()));
    }
    object
}

/// Returns the uid with a number.
fn uid(number: u64) -> String {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4000-8000-{number:012x}", mixed >> 32, mixed & 0xffff)
}

/// Returns the end of a generated name with a number.
fn suffix(number: u64) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
    let letter = |place: u32| {
        let index = usize::try_from(mixed / 27_u64.pow(place) % 27).unwrap_or_default();
        char::from(letters[index])
    };
    (0..5).map(letter).collect()
}

/// Fields of the metadata that no update changes.
const SYSTEM_FIELDS: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "resourceVersion",
    "selfLink",
    "uid",
];

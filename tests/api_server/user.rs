//! What tests do themselves: as a user with all rights, as the garbage collector, and as fate.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::fault::{Cut, Faults};
use super::history::Write;
use super::refusal::Refusal;
use super::resource::{Key, Resource, Target};
use super::verbs::Ask;
use super::{ApiServer, State};

/// The name of the user in the history.
pub const USER: &str = "user";

/// The name of the garbage collector in the history.
pub const COLLECTOR: &str = "garbage-collector";

impl ApiServer {
    /// Makes a namespace, unless there is one.
    pub fn make_namespace(&self, name: &str) {
        // All that can go wrong is that it is there.
        drop(self.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})));
    }

    /// Makes an object.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn create(&self, object: &Json) -> Result<Json, Refusal> {
        let (resource, namespace, _) = place(object)?;
        self.ask_as(USER, "POST", resource, &namespace, None, object, "application/json")
    }

    /// Puts an object in the place of the one of its name.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn replace(&self, object: &Json) -> Result<Json, Refusal> {
        let (resource, namespace, name) = place(object)?;
        self.ask_as(USER, "PUT", resource, &namespace, Some(&name), object, "application/json")
    }

    /// Merges a patch into an object.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn merge(&self, key: &Key, patch: &Json) -> Result<Json, Refusal> {
        let resource = of(key)?;
        let kind = "application/merge-patch+json";
        self.ask_as(USER, "PATCH", resource, &key.namespace, Some(&key.name), patch, kind)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn delete(&self, key: &Key) -> Result<(), Refusal> {
        self.delete_as(USER, key, &json!({}))
    }

    /// Returns an object.
    pub fn get(&self, key: &Key) -> Option<Arc<Json>> {
        self.state().store.get(key).cloned()
    }

    /// Returns all objects of a resource.
    pub fn all(&self, resource: &Resource) -> Vec<(Key, Arc<Json>)> {
        let state = self.state();
        let objects = state.store.objects().filter(|(key, _)| key.is_of(resource));
        objects.map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
    }

    /// Returns all writes that were tried.
    pub fn history(&self) -> Vec<Write> {
        self.state().history.clone()
    }

    /// Deletes what belongs to owners that are gone, as the cluster does after a while.
    pub fn collect_garbage(&self) {
        let objects: Vec<(Key, Arc<Json>)> = {
            let state = self.state();
            state.store.objects().map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
        };
        let lives =
            |owner: &Json| objects.iter().any(|(_, object)| object["metadata"]["uid"] == owner["uid"]);
        for (key, object) in &objects {
            let owners = object["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
            if !owners.is_empty() && !owners.iter().any(lives) {
                let preconditions = json!({"preconditions": {"uid": object["metadata"]["uid"]}});
                // If it is gone or another one by now, there is nothing to do.
                drop(self.delete_as(COLLECTOR, key, &preconditions));
            }
        }
    }

    /// Changes what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
        self.wake();
    }

    /// Ends all watches.
    pub fn cut_watches(&self, cut: Cut) {
        self.state().cuts.push(cut);
        self.wake();
    }

    /// Forgets all changes so far: watches and pages from before are too old.
    pub fn compact(&self) {
        self.state().store.compact();
    }

    /// Takes a resource away, as if there were no CustomResourceDefinition, or brings it back.
    pub fn serve_resource(&self, resource: &Resource, is_served: bool) {
        let name = (resource.group.to_owned(), resource.plural.to_owned());
        let mut state = self.state();
        state.missing.retain(|other| *other != name);
        if !is_served {
            state.missing.push(name);
        }
    }

    /// Makes somebody known by a token; `user` is what `status.user` tells of him.
    pub fn know_token(&self, token: &str, user: Json) {
        self.state().reviews.tokens.insert(token.to_owned(), user);
    }

    /// Forbids a verb on a resource to all processes, or allows it again.
    pub fn deny(&self, verb: &str, plural: &str, is_denied: bool) {
        let rule = (verb.to_owned(), plural.to_owned());
        let State { reviews, .. } = &mut *self.state();
        reviews.denied.retain(|other| *other != rule);
        if is_denied {
            reviews.denied.push(rule);
        }
    }

    fn delete_as(&self, who: &str, key: &Key, options: &Json) -> Result<(), Refusal> {
        let resource = of(key)?;
        self.ask_as(who, "DELETE", resource, &key.namespace, Some(&key.name), options, "application/json")?;
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a request")]
    fn ask_as(
        &self,
        who: &str,
        method: &str,
        resource: &'static Resource,
        namespace: &str,
        name: Option<&str>,
        body: &Json,
        content_type: &str,
    ) -> Result<Json, Refusal> {
        let namespace = resource.namespaced.then(|| namespace.to_owned());
        let ask = Ask {
            method: method.to_owned(),
            target: Target { resource, namespace, name: name.map(str::to_owned), status: false },
            query: BTreeMap::new(),
            body: body.clone(),
            content_type: content_type.to_owned(),
            only_metadata: false,
            agent: "kubectl/v1.33.0".to_owned(),
            now: self.timestamp(),
        };
        Ok(self.answer(who, &ask)?.body)
    }

    /// Has those who watch look around.
    fn wake(&self) {
        self.0.news.send_modify(|_| {});
    }
}

/// The resource of a place.
fn of(key: &Key) -> Result<&'static Resource, Refusal> {
    Resource::find(key.group, key.plural).ok_or_else(|| Refusal::bad_request("there is no such resource"))
}

/// The place of an object: resource, namespace, name.
fn place(object: &Json) -> Result<(&'static Resource, String, String), Refusal> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let resource = Resource::of_kind(&text(&object["apiVersion"]), &text(&object["kind"]));
    let resource = resource.ok_or_else(|| Refusal::bad_request("there is no such kind"))?;
    Ok((resource, text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"])))
}

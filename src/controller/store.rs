//! What is known of the objects of a kind and of the Secrets that are theirs.
//!
//! Of an object stay a hash and a few words; its ciphertexts only until it was worked on, and not too many of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::digest::{self, Object};
use super::key_set::DigestKey;
use super::queue::Key;
use super::reason::Reason;
use super::status::{Applied, Version};

/// What is known of the objects of a kind.
#[derive(Default)]
pub struct Store {
    objects: HashMap<Key, Known>,
    secrets: HashMap<Key, Seen>,
    /// Which object stands for a Secret, if the two have different names.
    claims: HashMap<Key, Key>,
    /// The Secrets that an object owns, by its uid: there is seldom more than one.
    owned: HashMap<String, Vec<Key>>,
    /// How much memory all bodies take.
    held: usize,
}

/// What is known of an object.
struct Known {
    uid: String,
    essence: [u8; 32],
    instance: String,
    body: Option<Body>,
    /// How it went the last time; `None` if it has to be worked on.
    settled: Option<Reason>,
    attempts: u32,
    secrets: Vec<Version>,
    /// The names of the Secrets that it stands for, as far as they are known.
    names: Vec<String>,
}

/// An object that waits.
struct Body {
    object: Arc<Json>,
    weight: usize,
}

/// What is known of a Secret: nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// The owner that controls it, if it is of the kind.
    pub owner: Option<SeenOwner>,
    /// Whether it has an annotation that lets somebody write it.
    pub is_open: bool,
}

/// The owner of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenOwner {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What there is to do with an object.
pub struct Work {
    /// The object, if it is at hand.
    pub body: Option<Arc<Json>>,
    /// How many attempts failed in a row.
    pub attempts: u32,
    /// The Secrets that it owns, as far as they were seen.
    pub owned: Vec<Version>,
    /// The names of Secrets that there are.
    pub present: HashSet<String>,
}

/// How the work on an object went.
pub struct Done {
    /// The uid of the object that was worked on.
    pub uid: String,
    /// What it was.
    pub essence: [u8; 32],
    /// How it went.
    pub reason: Reason,
    /// The Secrets as they are now.
    pub secrets: Vec<Version>,
    /// The names of the Secrets that it stands for.
    pub names: Vec<String>,
}

impl Store {
    /// Notes an object as it is now. Returns whether there is something to do.
    pub fn saw(&mut self, key: &Key, object: Json, essence: [u8; 32], digest_keys: &[DigestKey]) -> Saw {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let instance =
            object["metadata"]["labels"]["app.kubernetes.io/instance"].as_str().unwrap_or_default();
        let instance = instance.to_owned();
        if let Some(known) = self.objects.get_mut(key)
            && known.uid == uid
            && known.essence == essence
        {
            known.instance.clone_from(&instance);
            if known.settled.is_some() {
                return Saw::Nothing;
            }
        }
        let before = self.objects.remove(key);
        self.held -= before.as_ref().and_then(|known| known.body.as_ref()).map_or(0, |body| body.weight);
        let is_same = before.as_ref().is_some_and(|known| known.uid == uid && known.essence == essence);
        let applied = self.applied(key, &object, &uid, &essence, digest_keys);
        let mut known = Known {
            uid,
            essence,
            instance,
            body: None,
            settled: None,
            attempts: before.as_ref().filter(|_| is_same).map_or(0, |known| known.attempts),
            secrets: Vec::new(),
            names: before.map(|known| known.names).unwrap_or_default(),
        };
        let saw = if let Some(applied) = applied {
            self.claim(key, &mut known, applied.secrets.iter().map(|secret| secret.name.clone()).collect());
            known.settled = Some(Reason::Ready);
            known.secrets = applied.secrets;
            Saw::Settled
        } else {
            let weight = weight(&object);
            if self.held + weight <= MAX_HELD {
                self.held += weight;
                known.body = Some(Body { object: Arc::new(object), weight });
            }
            if is_same { Saw::Nothing } else { Saw::Work }
        };
        self.objects.insert(key.clone(), known);
        saw
    }

    /// Notes that an object is gone. Returns the Secrets that it owned.
    pub fn gone(&mut self, key: &Key) -> Vec<(Key, Version)> {
        let Some(known) = self.objects.remove(key) else { return Vec::new() };
        self.held -= known.body.as_ref().map_or(0, |body| body.weight);
        self.release(key, &known.names);
        let owned = self.owned.get(&known.uid).into_iter().flatten();
        owned.filter_map(|secret| Some((secret.clone(), self.version(secret)?))).collect()
    }

    /// Notes a Secret as it is now. Returns the objects for which that may mean something.
    pub fn saw_secret(&mut self, key: &Key, seen: Seen) -> Vec<Key> {
        self.forget_secret(key);
        let touched = self.touched(key, seen.owner.as_ref(), Some(&seen));
        let is_claimed = || self.objects.contains_key(key) || self.claims.contains_key(key);
        if seen.owner.is_some() || seen.is_open || is_claimed() {
            if let Some(owner) = &seen.owner {
                self.owned.entry(owner.uid.clone()).or_default().push(key.clone());
            }
            self.secrets.insert(key.clone(), seen);
        }
        touched
    }

    /// Notes that a Secret is gone. Returns the objects for which that may mean something.
    pub fn secret_gone(&mut self, key: &Key) -> Vec<Key> {
        let owner = self.forget_secret(key).and_then(|seen| seen.owner);
        self.touched(key, owner.as_ref(), None)
    }

    /// Returns the Secrets that were seen in some namespaces.
    pub fn secrets_in(&self, covers: impl Fn(&str) -> bool) -> HashSet<Key> {
        self.secrets.keys().filter(|key| covers(&key.namespace)).cloned().collect()
    }

    /// Returns the objects that are known in some namespaces.
    pub fn objects_in(&self, covers: impl Fn(&str) -> bool) -> HashSet<Key> {
        self.objects.keys().filter(|key| covers(&key.namespace)).cloned().collect()
    }

    /// Returns what there is to do with an object; `None` if that is nothing after all.
    pub fn work(&mut self, key: &Key) -> Option<Work> {
        let known = self.objects.get_mut(key)?;
        if known.settled == Some(Reason::Ready) {
            return None;
        }
        let body = known.body.take();
        self.held -= body.as_ref().map_or(0, |body| body.weight);
        let body = body.map(|body| body.object);
        let known = self.objects.get(key)?;
        let owned = self.owned.get(&known.uid).into_iter().flatten();
        let owned: Vec<_> = owned.filter_map(|secret| self.version(secret)).collect();
        let is_present = |name: &&String| {
            self.secrets.contains_key(&Key { namespace: key.namespace.clone(), name: (*name).clone() })
        };
        let present = known.names.iter().filter(is_present).cloned();
        let present = present.chain(owned.iter().map(|version| version.name.clone())).collect();
        Some(Work { body, attempts: known.attempts, owned, present })
    }

    /// Notes how the work on an object went. Returns how many attempts failed in a row; `None` if it is another object by
    /// now.
    pub fn done(&mut self, key: &Key, done: Done) -> Option<u32> {
        let is_current = |known: &Known| known.uid == done.uid && known.essence == done.essence;
        if !self.objects.get(key).is_some_and(is_current) {
            return None;
        }
        let mut known = self.objects.remove(key)?;
        self.claim(key, &mut known, done.names);
        self.held -= known.body.take().map_or(0, |body| body.weight);
        known.settled = Some(done.reason);
        known.secrets = done.secrets;
        known.attempts = if done.reason == Reason::Ready { 0 } else { known.attempts.saturating_add(1) };
        let attempts = known.attempts;
        self.objects.insert(key.clone(), known);
        // Of a Secret that changed since it was written, the event may have come before.
        if done.reason == Reason::Ready && self.has_drifted(key) {
            self.objects.get_mut(key)?.settled = None;
        }
        Some(attempts)
    }

    /// Notes that an object could not be read. Returns how many attempts failed in a row.
    pub fn unread(&mut self, key: &Key) -> Option<u32> {
        let known = self.objects.get_mut(key)?;
        known.settled = Some(Reason::Fetch);
        known.attempts = known.attempts.saturating_add(1);
        Some(known.attempts)
    }

    /// Makes an object one that has to be worked on.
    pub fn unsettle(&mut self, key: &Key) {
        if let Some(known) = self.objects.get_mut(key) {
            known.settled = None;
        }
    }

    /// Returns whether an object is as it should be, as far as is known.
    #[must_use]
    pub fn is_settled(&self, key: &Key) -> bool {
        self.objects.get(key).is_some_and(|known| known.settled == Some(Reason::Ready))
    }

    /// Returns the objects that are not as they should be, of some namespaces.
    pub fn unsettled(&self, covers: impl Fn(&str) -> bool) -> Vec<Key> {
        let is_unsettled =
            |(key, known): &(&Key, &Known)| known.settled != Some(Reason::Ready) && covers(&key.namespace);
        self.objects.iter().filter(is_unsettled).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the objects that failed for a reason.
    pub fn failed_for(&self, reason: Reason) -> Vec<Key> {
        let failed = self.objects.iter().filter(|(_, known)| known.settled == Some(reason));
        failed.map(|(key, _)| key.clone()).collect()
    }

    /// Returns the label `app.kubernetes.io/instance` of an object.
    #[must_use]
    pub fn instance(&self, key: &Key) -> &str {
        self.objects.get(key).map_or("", |known| &known.instance)
    }

    /// Returns how many objects are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Returns what the status says if it is true, and the object is as it should be.
    fn applied(
        &self,
        key: &Key,
        object: &Json,
        uid: &str,
        essence: &[u8; 32],
        digest_keys: &[DigestKey],
    ) -> Option<Applied> {
        let applied = Applied::of(object)?;
        let conditions = object["status"]["conditions"].as_array()?;
        let is_ready = conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True");
        let generation = &object["metadata"]["generation"];
        let facts = Object { uid, namespace: &key.namespace, name: &key.name, essence };
        let is_there = |version: &Version| {
            let secret = Key { namespace: key.namespace.clone(), name: version.name.clone() };
            self.version(&secret).as_ref() == Some(version)
        };
        let is_so = is_ready
            && object["status"]["observedGeneration"] == *generation
            && !applied.secrets.is_empty()
            && applied.secrets.iter().all(is_there)
            && digest::is_true(digest_keys, &facts, &applied);
        is_so.then_some(applied)
    }

    /// Returns the objects that a Secret, as it is now, may mean something for.
    fn touched(&mut self, secret: &Key, owner: Option<&SeenOwner>, seen: Option<&Seen>) -> Vec<Key> {
        let mut objects: Vec<Key> = self.claims.get(secret).cloned().into_iter().collect();
        let named = owner.map(|owner| Key { namespace: secret.namespace.clone(), name: owner.name.clone() });
        for key in named.into_iter().chain([secret.clone()]) {
            if !objects.contains(&key) {
                objects.push(key);
            }
        }
        objects.retain(|key| self.objects.get(key).is_some_and(|known| !known.has(secret, seen)));
        for key in &objects {
            self.unsettle(key);
        }
        objects
    }

    /// Notes the Secrets that an object stands for.
    fn claim(&mut self, key: &Key, known: &mut Known, names: Vec<String>) {
        self.release(key, &known.names);
        // A Secret of the same name is found without.
        for name in names.iter().filter(|name| **name != key.name) {
            self.claims.insert(Key { namespace: key.namespace.clone(), name: name.clone() }, key.clone());
        }
        known.names = names;
    }

    fn release(&mut self, key: &Key, names: &[String]) {
        for name in names {
            let secret = Key { namespace: key.namespace.clone(), name: name.clone() };
            if self.claims.get(&secret) == Some(key) {
                self.claims.remove(&secret);
            }
        }
    }

    fn has_drifted(&self, key: &Key) -> bool {
        let Some(known) = self.objects.get(key) else { return false };
        known.secrets.iter().any(|version| {
            let secret = Key { namespace: key.namespace.clone(), name: version.name.clone() };
            // One that was not seen yet is on its way.
            self.version(&secret).is_some_and(|seen| seen.is_newer_than(version))
        })
    }

    fn version(&self, secret: &Key) -> Option<Version> {
        let seen = self.secrets.get(secret)?;
        Some(Version {
            name: secret.name.clone(),
            uid: seen.uid.clone(),
            resource_version: seen.resource_version.clone(),
        })
    }

    fn forget_secret(&mut self, key: &Key) -> Option<Seen> {
        let seen = self.secrets.remove(key)?;
        if let Some(owner) = &seen.owner
            && let Some(owned) = self.owned.get_mut(&owner.uid)
        {
            owned.retain(|secret| secret != key);
            if owned.is_empty() {
                self.owned.remove(&owner.uid);
            }
        }
        Some(seen)
    }
}

impl Known {
    /// Returns whether it was reconciled to this version of a Secret.
    fn has(&self, secret: &Key, seen: Option<&Seen>) -> bool {
        let Some(seen) = seen else { return false };
        let is_it = |version: &Version| {
            version.name == secret.name
                && version.uid == seen.uid
                && version.resource_version == seen.resource_version
        };
        self.settled == Some(Reason::Ready) && self.secrets.iter().any(is_it)
    }
}

impl Version {
    /// Returns whether another one was made after it. Versions are numbers, if the API server is as all are.
    fn is_newer_than(&self, other: &Self) -> bool {
        if self.uid != other.uid {
            return true;
        }
        match (self.resource_version.parse::<u128>(), other.resource_version.parse::<u128>()) {
            (Ok(this), Ok(other)) => this > other,
            _ => self.resource_version != other.resource_version,
        }
    }
}

/// What an object that was seen means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saw {
    /// Nothing that is not known already.
    Nothing,
    /// It is as it should be: its status says so, and that is true.
    Settled,
    /// It has to be worked on.
    Work,
}

/// Returns about how much memory a value takes.
fn weight(value: &Json) -> usize {
    let within = match value {
        Json::Array(items) => items.iter().map(weight).sum(),
        Json::Object(fields) => fields.iter().map(|(name, value)| ENTRY + name.len() + weight(value)).sum(),
        Json::String(text) => text.len(),
        Json::Bool(_) | Json::Null | Json::Number(_) => 0,
    };
    size_of::<Json>() + within
}

/// How much memory objects may take while they wait. The others are read again.
const MAX_HELD: usize = 8 << 20;
/// What an entry of a map takes, beside its name and its value.
const ENTRY: usize = 56;

//! What is known of the objects of a kind and of the Secrets that are theirs.
//!
//! Of an object stay a hash and a few words; its ciphertexts only until it was worked on, and not too many of them.
//! Invariants: an event costs as much for one object among many as for the only one; whatever may have changed while
//! an object was worked on makes it one that has to be worked on again.

mod body;
mod facts;
mod id;
mod said;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::existing::Owner;
use super::key_set::DigestKey;
use super::queue::Key;
use super::reason::Reason;
use super::status::{Applied, Version};
use body::{Body, MAX_BODIES};
use facts::{Facts, Known, Stand};
use id::Id;
use said::Said;

/// What is known of the objects of a kind.
#[derive(Default)]
pub struct Store {
    objects: HashMap<Key, Known>,
    secrets: HashMap<Key, Facts>,
    /// By the name of a Secret the objects that stand for it. That of the same name is not among them.
    claims: Links,
    /// By the name of an owner its Secrets. That of the same name is not among them.
    owned: Links,
    /// How much memory all bodies take.
    bodies: usize,
}

/// Names, by a name of the same namespace.
type Links = HashMap<Key, BTreeSet<Box<str>>>;

/// What is known of a Secret: nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// The owner that controls it, if it is of the kind.
    pub owner: Option<Owner>,
    /// Whether it has an annotation that lets somebody write it.
    pub is_open: bool,
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
    /// Notes an object as it is now. Returns whether there is something to do. One that is stale stays settled until
    /// [`unsettle`](Self::unsettle) is called.
    pub fn saw(&mut self, key: &Key, object: Json, essence: [u8; 32], digest_keys: &[DigestKey]) -> Saw {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let instance =
            object["metadata"]["labels"]["app.kubernetes.io/instance"].as_str().unwrap_or_default();
        let is_same = self.objects.get(key).is_some_and(|known| known.is(uid, &essence));
        let said = Said::of(key, &object, uid, &essence, digest_keys);
        let mut settled = None;
        if is_same && let Some(known) = self.objects.get_mut(key) {
            settled = known.settled;
            if settled.is_some() && *known.instance != *instance {
                known.instance = instance.into();
            }
            if settled == Some(Reason::Ready) {
                let is_stale = said.contradicts(known);
                // Who works on it still may be done only then.
                known.said = is_stale.then(|| Box::new(said));
                return if is_stale { Saw::Stale } else { Saw::Nothing };
            }
        }
        let truth = said.truth();
        let is_there = truth.is_some_and(|applied| self.has_all_of(key, applied));
        if settled.is_some() && !is_there {
            // Another replica brought about what failed here, and its Secrets are on their way.
            return if truth.is_some() { Saw::Stale } else { Saw::Nothing };
        }
        let stands =
            truth.filter(|_| is_there).map(|applied| applied.secrets.iter().map(Stand::of).collect());
        let mut known = self.objects.remove(key).unwrap_or_default();
        self.bodies -= Body::weight(known.body.take().as_ref());
        if !is_same {
            // Who works on it already began before anything was known of it.
            (known.attempts, known.has_lost) = (0, true);
        }
        (known.uid, known.essence, known.instance) = (Id::of(uid), essence, instance.into());
        let saw = if let Some(stands) = stands {
            self.stand(key, &mut known, stands);
            (known.settled, known.attempts, known.said) = (Some(Reason::Ready), 0, None);
            Saw::Settled
        } else {
            (known.settled, known.said) = (None, is_same.then(|| Box::new(said)));
            let body = Body::of(object);
            let bodies = self.bodies + Body::weight(Some(&body));
            if bodies <= MAX_BODIES {
                (self.bodies, known.body) = (bodies, Some(body));
            }
            if is_same { Saw::Nothing } else { Saw::Work }
        };
        self.objects.insert(key.clone(), known);
        saw
    }

    /// Notes that an object is gone. Returns the Secrets that it owned.
    pub fn gone(&mut self, key: &Key) -> Vec<(Key, Version)> {
        let Some(mut known) = self.objects.remove(key) else { return Vec::new() };
        self.bodies -= Body::weight(known.body.as_ref());
        self.stand(key, &mut known, Box::default());
        let owned = self.owned_by(key, &known.uid).into_iter();
        owned.map(|version| (key.beside(&version.name), version)).collect()
    }

    /// Notes a Secret as it is now. Returns the objects for which that may mean something.
    pub fn saw_secret(&mut self, key: &Key, seen: Seen) -> Vec<Key> {
        let before = self.forget_secret(key);
        let after = Facts::of(&seen);
        let touched = self.touched(key, before.as_ref(), Some(&after));
        let is_of_interest = after.owner.is_some()
            || after.is_open
            || self.claims.contains_key(key)
            || self.objects.contains_key(key);
        if is_of_interest {
            if let Some((_, owner)) = &after.owner {
                link(&mut self.owned, key.beside(owner), &key.name);
            }
            self.secrets.insert(key.clone(), after);
        }
        touched
    }

    /// Notes that a Secret is gone. Returns the objects for which that may mean something.
    pub fn secret_gone(&mut self, key: &Key) -> Vec<Key> {
        let before = self.forget_secret(key);
        self.touched(key, before.as_ref(), None)
    }

    /// Notes that these are all the Secrets that there are in some namespaces. Returns the objects for which that may mean
    /// something.
    pub fn listed_secrets(&mut self, listed: &HashSet<Key>, covers: impl Fn(&str) -> bool) -> Vec<Key> {
        // What is being worked on may have written some that came and went before the list was made.
        let working = self.objects.iter_mut().filter(|(key, _)| covers(&key.namespace));
        working.for_each(|(_, known)| known.has_lost |= known.settled.is_none());
        let missing: Vec<_> =
            self.secrets_in(covers).into_iter().filter(|key| !listed.contains(key)).collect();
        missing.iter().flat_map(|secret| self.secret_gone(secret)).collect()
    }

    /// Returns the Secrets that there are, or should be, in some namespaces, as far as is known.
    fn secrets_in(&self, covers: impl Fn(&str) -> bool) -> HashSet<Key> {
        let seen = self.secrets.keys().filter(|key| covers(&key.namespace)).cloned();
        let objects = self.objects.iter().filter(|(key, _)| covers(&key.namespace));
        // One that came and went while nobody watched was never seen.
        let stands =
            objects.flat_map(|(key, known)| known.secrets.iter().map(|stand| key.beside(&stand.name)));
        seen.chain(stands).collect()
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
        // What happens from now on may come too late for it.
        (known.settled, known.has_news, known.has_lost, known.said) = (None, false, false, None);
        let (body, attempts) = (known.body.take(), known.attempts);
        self.bodies -= Body::weight(body.as_ref());
        let body = body.map(|body| body.object);
        let known = self.objects.get(key)?;
        let owned = self.owned_by(key, &known.uid);
        let names = known.secrets.iter().map(|stand| &*stand.name).chain([key.name.as_str()]);
        let is_present = |name: &&str| self.secrets.contains_key(&key.beside(name));
        let present = names.filter(is_present).chain(owned.iter().map(|version| version.name.as_str()));
        Some(Work { body, attempts, present: present.map(str::to_owned).collect(), owned })
    }

    /// Notes how the work on an object went. Returns how many attempts failed in a row; `None` if it is another object by
    /// now.
    pub fn done(&mut self, key: &Key, done: Done) -> Option<u32> {
        if !self.objects.get(key).is_some_and(|known| known.is(&done.uid, &done.essence)) {
            return None;
        }
        let mut known = self.objects.remove(key)?;
        self.bodies -= Body::weight(known.body.take().as_ref());
        let is_ready = done.reason == Reason::Ready;
        let version = |name: &str| done.secrets.iter().find(|version| version.name == *name);
        let stand = |name: String| {
            version(&name).map_or_else(|| Stand { name: name.as_str().into(), version: None }, Stand::of)
        };
        // What could not be opened stands for what it stood for.
        if is_ready || !done.names.is_empty() {
            let stands = done.names.into_iter().map(stand).collect();
            self.stand(key, &mut known, stands);
        }
        let said = known.said.take();
        known.attempts = if is_ready { 0 } else { known.attempts.saturating_add(1) };
        // The event of what changed since it was read or written may have come before.
        let is_due = match done.reason {
            // Somebody may have written another status behind ours.
            Reason::Ready => {
                self.has_drifted(key, &known) || said.is_some_and(|said| said.contradicts(&known))
            }
            Reason::Immutable | Reason::Unmanaged => known.has_news,
            _ => false,
        };
        known.settled = (!is_due).then_some(done.reason);
        let attempts = known.attempts;
        self.objects.insert(key.clone(), known);
        Some(attempts)
    }

    /// Returns whether an object has to be worked on, or is being worked on. Whoever is done with one has to ask: something
    /// may have changed in the meantime.
    #[must_use]
    pub fn is_due(&self, key: &Key) -> bool {
        self.objects.get(key).is_some_and(|known| known.settled.is_none())
    }

    /// Returns whether the last attempt at an object failed.
    #[must_use]
    pub fn has_failed(&self, key: &Key) -> bool {
        self.objects.get(key).is_some_and(|known| known.attempts > 0)
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

    /// Returns the objects that are not as they should be, of some namespaces.
    pub fn unsettled(&self, covers: impl Fn(&str) -> bool) -> Vec<Key> {
        let is_unsettled =
            |(key, known): &(&Key, &Known)| known.settled != Some(Reason::Ready) && covers(&key.namespace);
        self.objects.iter().filter(is_unsettled).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the objects that failed for a reason, and those that may be about to, as they are being worked on.
    pub fn failed_for(&self, reason: Reason) -> Vec<Key> {
        let failed = |(_, known): &(&Key, &Known)| known.settled.is_none_or(|settled| settled == reason);
        self.objects.iter().filter(failed).map(|(key, _)| key.clone()).collect()
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

    /// Returns whether all the Secrets that an object was reconciled to are there, as they were then.
    fn has_all_of(&self, key: &Key, applied: &Applied) -> bool {
        applied.secrets.iter().all(|version| {
            let facts = self.secrets.get(&key.beside(&version.name));
            facts.is_some_and(|facts| facts.is(&Stand::of(version)))
        })
    }

    /// Returns the objects that a change of a Secret may mean something for.
    fn touched(&mut self, secret: &Key, before: Option<&Facts>, after: Option<&Facts>) -> Vec<Key> {
        let owners = [before, after].into_iter().flatten().filter_map(|facts| facts.owner.as_ref());
        let claimants = self.claims.get(secret).into_iter().flatten();
        let names = owners.map(|(_, name)| &**name).chain(claimants.map(|name| &**name));
        let mut objects = vec![secret.clone()];
        for name in names {
            if !objects.iter().any(|key| key.name == *name) {
                objects.push(secret.beside(name));
            }
        }
        objects.retain(|key| {
            let Some(known) = self.objects.get_mut(key) else { return false };
            let is_touched = known.minds(secret, before, after);
            if is_touched {
                (known.settled, known.has_news) = (None, true);
                known.has_lost |= after.is_none();
            }
            is_touched
        });
        objects
    }

    /// Notes the Secrets that an object stands for.
    fn stand(&mut self, key: &Key, known: &mut Known, secrets: Box<[Stand]>) {
        for stand in known.secrets.iter().filter(|stand| *stand.name != *key.name) {
            unlink(&mut self.claims, &key.beside(&stand.name), &key.name);
        }
        for stand in &secrets {
            link(&mut self.claims, key.beside(&stand.name), &key.name);
        }
        known.secrets = secrets;
    }

    fn has_drifted(&self, key: &Key, known: &Known) -> bool {
        known.secrets.iter().any(|stand| match self.secrets.get(&key.beside(&stand.name)) {
            Some(seen) => seen.is_newer_than(stand),
            // If none was seen going, it is on its way.
            None => known.has_lost,
        })
    }

    /// Returns the Secrets that an object owns, as far as they were seen.
    fn owned_by(&self, object: &Key, uid: &Id) -> Vec<Version> {
        let others = self.owned.get(object).into_iter().flatten().map(|name| &**name);
        let version = |name: &str| {
            let facts = self.secrets.get(&object.beside(name))?;
            let is_owner = facts.owner.as_ref().is_some_and(|(owner, _)| owner == uid);
            is_owner.then(|| facts.version(name))
        };
        others.chain([object.name.as_str()]).filter_map(version).collect()
    }

    fn forget_secret(&mut self, key: &Key) -> Option<Facts> {
        let facts = self.secrets.remove(key)?;
        if let Some((_, owner)) = &facts.owner {
            unlink(&mut self.owned, &key.beside(owner), &key.name);
        }
        Some(facts)
    }
}

/// What an object that was seen means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saw {
    /// Nothing that is not known already.
    Nothing,
    /// It is as it should be: its status says so, and that is true.
    Settled,
    /// Its status does not say what is known of it. Where the status is written, it has to be looked at again, but not as
    /// often as somebody else may write it.
    Stale,
    /// It has to be worked on.
    Work,
}

fn link(links: &mut Links, from: Key, to: &str) {
    if *from.name != *to {
        links.entry(from).or_default().insert(to.into());
    }
}

fn unlink(links: &mut Links, from: &Key, to: &str) {
    if let Some(names) = links.get_mut(from) {
        names.remove(to);
        if names.is_empty() {
            links.remove(from);
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

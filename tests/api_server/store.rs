//! The objects, and what became of them.
//!
//! Invariant: every change has a revision of its own, one more than the one before.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::resource::Key;
use super::selector::Selection;

/// The objects of a cluster.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Json>>,
    changes: Vec<Change>,
    revision: u64,
    compacted: u64,
    drawn: u64,
}

/// A change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The revision that it made.
    pub revision: u64,
    /// Where the object is.
    pub key: Key,
    /// The object before; with the new revision if it is gone now.
    pub old: Option<Arc<Json>>,
    /// The object after.
    pub new: Option<Arc<Json>>,
}

impl Store {
    /// Puts an object in its place, or takes it away, and returns it.
    pub fn commit(&mut self, key: Key, new: Option<Json>) -> Arc<Json> {
        self.revision += 1;
        let version = json!(self.revision.to_string());
        let versioned = |mut object: Json| {
            object["metadata"]["resourceVersion"] = version.clone();
            Arc::new(object)
        };
        let is_gone = new.is_none();
        let new = new.map(versioned);
        let old = match &new {
            Some(new) => self.objects.insert(key.clone(), Arc::clone(new)),
            None => self.objects.remove(&key),
        };
        let old = old.map(|old| if is_gone { versioned((*old).clone()) } else { old });
        let result = new.clone().or_else(|| old.clone()).unwrap_or_default();
        self.changes.push(Change { revision: self.revision, key, old, new });
        result
    }

    /// Forgets how things came to be as they are.
    pub fn compact(&mut self) {
        self.compacted = self.revision;
        self.changes.clear();
    }

    /// Returns a number that was not there before.
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// Returns an object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Json>> {
        self.objects.get(key)
    }

    /// Returns the objects as of a revision; `None` if that is too long ago.
    pub fn list(&self, selection: &Selection, revision: u64) -> Option<Vec<(Key, Arc<Json>)>> {
        let changes = self.changes_since(revision)?;
        let mut objects: BTreeMap<&Key, &Arc<Json>> = self.objects.iter().collect();
        for change in changes.iter().rev() {
            match &change.old {
                Some(old) => objects.insert(&change.key, old),
                None => objects.remove(&change.key),
            };
        }
        let objects = objects.into_iter().filter(|(key, object)| selection.has(key, object));
        Some(objects.map(|(key, object)| (key.clone(), Arc::clone(object))).collect())
    }

    /// Returns all objects of now.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Arc<Json>)> {
        self.objects.iter()
    }

    /// Returns the changes after a revision; `None` if that is too long ago.
    pub fn changes_since(&self, revision: u64) -> Option<&[Change]> {
        if revision < self.compacted {
            return None;
        }
        let first = usize::try_from(revision - self.compacted).unwrap_or(usize::MAX);
        Some(self.changes.get(first..).unwrap_or_default())
    }

    /// Returns the revision of now.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the revision of which all before is forgotten.
    pub const fn compacted(&self) -> u64 {
        self.compacted
    }
}

//! What the status of an object says, and whether that is true.
//!
//! Invariant: a digest that no key of ours made says nothing.

use serde_json::Value as Json;

use super::facts::{Known, Stand};
use crate::controller::digest::{self, Object};
use crate::controller::key_set::DigestKey;
use crate::controller::queue::Key;
use crate::controller::status::Applied;

/// What the status of an object says.
pub(super) struct Said {
    /// Whether it is said of this generation that all is as it should be.
    is_ready: bool,
    /// What is said to have been applied; `None` if nothing is, as where the definition of Sealed Secrets does not know
    /// the field.
    applied: Option<Applied>,
    is_true: bool,
}

impl Said {
    pub(super) fn of(
        key: &Key,
        object: &Json,
        uid: &str,
        essence: &[u8; 32],
        digest_keys: &[DigestKey],
    ) -> Self {
        let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let facts = Object { uid, namespace: &key.namespace, name: &key.name, essence };
        let applied = Applied::of(object);
        Self {
            is_ready: conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
                && object["status"]["observedGeneration"] == object["metadata"]["generation"],
            is_true: applied.as_ref().is_some_and(|applied| digest::is_true(digest_keys, &facts, applied)),
            applied,
        }
    }

    /// Returns whether it is something else than what came of an object that is as it should be.
    pub(super) fn contradicts(&self, known: &Known) -> bool {
        let is_known = |applied: &Applied| {
            let mut stands = applied.secrets.iter().map(Stand::of);
            applied.secrets.len() == known.secrets.len() && stands.all(|stand| known.secrets.contains(&stand))
        };
        !self.is_ready || self.applied.as_ref().is_some_and(|applied| !(self.is_true && is_known(applied)))
    }

    /// Returns what was applied, if it is said and true.
    pub(super) fn truth(&self) -> Option<&Applied> {
        self.applied.as_ref().filter(|applied| self.is_ready && self.is_true && !applied.secrets.is_empty())
    }
}

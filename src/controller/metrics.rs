//! What Prometheus is told.

use super::reason::Reason;

/// The metrics of a controller.
#[derive(Default)]
pub struct Metrics {}

/// What was done to a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Written {
    /// It was taken over.
    Adopted,
    /// It was made.
    Created,
    /// It was deleted.
    Deleted,
    /// It was as it should be.
    Unchanged,
    /// It was changed.
    Updated,
}

impl Metrics {
    /// Returns metrics that say nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts an attempt at an object.
    pub fn attempt(&self, _kind: &str) {}

    /// Counts an attempt that failed.
    pub fn failed(&self, _kind: &str, _namespace: &str, _reason: Reason) {}

    /// Notes the state of an object; `instance` is its label `app.kubernetes.io/instance`.
    pub fn state(&self, _kind: &str, _namespace: &str, _name: &str, _instance: &str, _reason: Reason) {}

    /// Forgets an object that is gone.
    pub fn forget(&self, _kind: &str, _namespace: &str, _name: &str) {}

    /// Counts what was done to a Secret.
    pub fn wrote(&self, _kind: &str, _written: Written) {}

    /// Notes how many objects wait, and how many are known.
    pub fn queue(&self, _kind: &str, _waiting: usize, _known: usize) {}

    /// Counts objects that were left alone at the start, because nothing had changed since they were last reconciled.
    pub fn skipped(&self, _kind: &str) {}
}

//! What was written, by whom.

use std::sync::Arc;

use serde_json::Value as Json;

use super::resource::Key;

/// A request that may have changed something.
#[derive(Clone, Debug)]
pub struct Write {
    /// The process that made it.
    pub who: String,
    /// What it calls itself: `User-Agent`.
    pub agent: String,
    /// The field manager; empty without one.
    pub manager: String,
    /// When it took effect, as objects have it.
    pub at: String,
    /// The method.
    pub method: String,
    /// The type of the body, which tells one patch from another.
    pub content_type: String,
    /// What it was about.
    pub key: Key,
    /// Whether it was about the status.
    pub status: bool,
    /// What was sent.
    pub body: Json,
    /// The code of the answer.
    pub code: u16,
    /// The object before.
    pub before: Option<Arc<Json>>,
    /// The object after.
    pub after: Option<Arc<Json>>,
}

impl Write {
    /// Returns whether it changed something.
    pub fn changed(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
            (before, after) => before.is_some() || after.is_some(),
        }
    }
}

//! What all attempts share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cluster::Cluster;
use super::duty::Duties;
use super::events::Events;
use super::http::Readiness;
use super::key_set::Keys;
use super::keyring::Clock;
use super::metrics::Metrics;
use super::settings::Settings;

/// What all attempts share.
pub struct Context {
    /// The API server.
    pub cluster: Cluster,
    /// What the controller was told.
    pub settings: Arc<Settings>,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// What users are told.
    pub events: Events,
    /// Which part of the work is that of this replica.
    pub duties: Duties,
    /// The sealing keys.
    pub keys: Keys,
    /// The time.
    pub now: Clock,
    /// Numbers from 0 to 1, which spread what would come at the same time.
    pub chance: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// What probes are answered from.
    pub readiness: Readiness,
    /// Whether the API server has said that this controller must not apply.
    pub applying_is_forbidden: AtomicBool,
}

impl Context {
    /// Returns whether the objects of a namespace are the work of this replica, now.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        self.duties.borrow().covers(namespace)
    }

    /// Returns whether Secrets may be applied, as far as is known.
    #[must_use]
    pub fn may_apply(&self) -> bool {
        !self.applying_is_forbidden.load(Ordering::Relaxed)
    }

    /// Notes that Secrets must not be applied, and says so once.
    pub fn note_that_applying_is_forbidden(&self) {
        if !self.applying_is_forbidden.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "Secrets are updated, not applied, as the rules of this service account do not have the verb patch: \
                 apply deploy/controller.yaml to change that"
            );
        }
    }
}

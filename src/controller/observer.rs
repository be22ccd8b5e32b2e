//! What metrics and probes are told of the whole controller.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::duty::Duties;
use super::events::Events;
use super::http::Readiness;
use super::key_set::Keys;
use super::metrics::Metrics;

/// Tells metrics and probes what changes.
pub struct Observer {
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// What probes are answered from.
    pub readiness: Readiness,
    /// The sealing keys.
    pub keys: Keys,
    /// Which part of the work is that of this replica.
    pub duties: Duties,
    /// Whether all objects of a kind are known, for each kind.
    pub synced: Vec<watch::Receiver<bool>>,
    /// What users are told.
    pub events: Events,
}

impl Observer {
    /// Tells of changes, until it is dropped.
    pub async fn run(mut self) {
        let (mut dropped, mut generation) = (0, None);
        loop {
            {
                let keys = self.keys.borrow_and_update();
                if generation != Some(keys.generation) {
                    generation = Some(keys.generation);
                    self.metrics.keys(&keys);
                    self.readiness.set(KEYS, keys.certificate.is_some());
                }
            }
            {
                let duty = self.duties.borrow_and_update();
                self.metrics.leader(duty.leads());
                self.metrics.members(duty.share.members());
            }
            self.readiness.set(OBJECTS, self.synced.iter().all(|synced| *synced.borrow()));
            while dropped < self.events.dropped() {
                dropped += 1;
                self.metrics.event_dropped();
            }
            let unsynced = self.synced.iter_mut().find(|synced| !*synced.borrow());
            let is_synced = async {
                let is_told = match unsynced {
                    Some(synced) => synced.changed().await.is_ok(),
                    None => false,
                };
                if !is_told {
                    // All are synced, or one that has ended never will be.
                    std::future::pending::<()>().await;
                }
            };
            // What is waited for is either told, or not so urgent.
            let changed = async {
                tokio::select! {
                    changed = self.keys.changed() => changed,
                    changed = self.duties.changed() => changed,
                    () = is_synced => Ok(()),
                }
            };
            if matches!(timeout(LOOK, changed).await, Ok(Err(_))) {
                return;
            }
        }
    }
}

/// The condition that there is a key to seal for.
pub const KEYS: &str = "keys";
/// The condition that all objects are known.
pub const OBJECTS: &str = "objects";
/// How often to look what nobody tells.
const LOOK: Duration = Duration::from_secs(1);

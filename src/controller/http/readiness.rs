//! Whether the controller is ready, and whether it is alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A handle to say what is there, and to find out. All clones of one are the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What has to hold for the controller to be ready.
    conditions: BTreeMap<&'static str, bool>,
    /// When tasks last said that they run.
    beats: BTreeMap<&'static str, Instant>,
}

impl Readiness {
    /// Returns a handle to something that is ready as soon as all of these conditions hold; none does yet.
    #[must_use]
    pub fn new(conditions: &[&'static str]) -> Self {
        let conditions = conditions.iter().map(|&condition| (condition, false)).collect();
        Self(Arc::new(Mutex::new(State { conditions, beats: BTreeMap::new() })))
    }

    /// Says whether a condition holds.
    pub fn set(&self, condition: &'static str, holds: bool) {
        self.state().conditions.insert(condition, holds);
    }

    /// Returns the conditions that do not hold.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let state = self.state();
        state.conditions.iter().filter(|(_, holds)| !**holds).map(|(&condition, _)| condition).collect()
    }

    /// Says that a task runs. From the first time on it has to say so again and again, at least once a minute,
    /// or the controller counts as dead.
    pub fn beat(&self, task: &'static str) {
        self.state().beats.insert(task, Instant::now());
    }

    /// Says that a task has ended as it should.
    pub fn end(&self, task: &'static str) {
        self.state().beats.remove(task);
    }

    /// Returns the tasks that have not said for too long that they run.
    #[must_use]
    pub fn silent(&self) -> Vec<&'static str> {
        let (now, state) = (Instant::now(), self.state());
        let is_silent = |last: Instant| now.saturating_duration_since(last) > MAX_SILENCE;
        state.beats.iter().filter(|(_, last)| is_silent(**last)).map(|(&task, _)| task).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long a task that runs may say nothing.
const MAX_SILENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_have_to_hold() {
        let readiness = Readiness::new(&["keys", "watches"]);
        assert_eq!(readiness.missing(), ["keys", "watches"]);
        readiness.clone().set("keys", true);
        assert_eq!(readiness.missing(), ["watches"]);
        readiness.set("watches", true);
        assert!(readiness.missing().is_empty());
        readiness.set("keys", false);
        assert_eq!(readiness.missing(), ["keys"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fell_silent_is_told_unless_it_has_ended() {
        let readiness = Readiness::default();
        readiness.beat("queue");
        readiness.beat("watch");
        tokio::time::advance(MAX_SILENCE).await;
        assert!(readiness.silent().is_empty());
        readiness.beat("watch");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(readiness.silent(), ["queue"]);
        readiness.end("queue");
        assert!(readiness.silent().is_empty());
    }
}

//! What is remembered of events, so that what happens again and again is one event with a number.
//!
//! Invariants: nothing in here knows the API server or a clock; how much is remembered is bounded, and what was not
//! asked for longest is forgotten first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{About, Notice};

/// What was sent of late.
pub(super) struct Memory {
    sent: Recent<(About, &'static str, String), Sent>,
    budgets: Recent<About, Budget>,
}

/// What to do with an event that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send it as a new one that happened so many times.
    Create(i32),
    /// Say of an earlier one that it has happened so many times by now.
    Repeat {
        /// The name of the earlier one.
        name: String,
        /// How many times it has happened.
        count: i32,
    },
    /// Leave it: there were too many about the object.
    Skip,
}

impl Memory {
    /// Returns a memory of nothing.
    pub(super) fn new() -> Self {
        Self { sent: Recent::new(REMEMBERED), budgets: Recent::new(REMEMBERED) }
    }

    /// Decides what to do with an event.
    pub(super) fn next(&mut self, notice: &Notice, now: Instant) -> Step {
        let object = object(&notice.about);
        let fresh = || Sent { name: None, count: 0, at: now };
        let sent = self.sent.entry(key(notice), fresh);
        if now.duration_since(sent.at) >= SAME {
            *sent = fresh();
        }
        sent.count = sent.count.saturating_add(1);
        sent.at = now;
        if !self.budgets.entry(object, || Budget { left: BURST, at: now }).take(now) {
            return Step::Skip;
        }
        match &sent.name {
            Some(name) => Step::Repeat { name: name.clone(), count: sent.count },
            None => Step::Create(sent.count),
        }
    }

    /// Notes the name under which the API server has an event; `None` if it has none.
    pub(super) fn note(&mut self, notice: &Notice, name: Option<String>) {
        if let Some(sent) = self.sent.known(&key(notice)) {
            sent.name = name;
        }
    }
}

/// What makes two events the same.
fn key(notice: &Notice) -> (About, &'static str, String) {
    (object(&notice.about), notice.reason.event(), notice.message.clone())
}

/// The object without its version, which changes with each write.
fn object(about: &About) -> About {
    About { resource_version: String::new(), ..about.clone() }
}

/// An event that was sent, or was to be.
struct Sent {
    name: Option<String>,
    count: i32,
    at: Instant,
}

/// How many events there may be about an object.
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let grown = now.duration_since(self.at).as_secs_f64() / REFILL.as_secs_f64();
        self.left = (self.left + grown).min(BURST);
        self.at = now;
        let is_enough = self.left >= 1.0;
        if is_enough {
            self.left -= 1.0;
        }
        is_enough
    }
}

/// A map of bounded size that forgets what was not asked for longest.
struct Recent<K, V> {
    limit: usize,
    turn: u64,
    entries: HashMap<Arc<K>, (u64, V)>,
    turns: BTreeMap<u64, Arc<K>>,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    fn new(limit: usize) -> Self {
        Self { limit, turn: 0, entries: HashMap::new(), turns: BTreeMap::new() }
    }

    /// Returns the value of a key, which is made if there is none.
    fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.turn += 1;
        let key = match self.entries.get(&key).map(|(turn, _)| *turn) {
            Some(turn) => self.turns.remove(&turn).unwrap_or_else(|| Arc::new(key)),
            None => Arc::new(key),
        };
        let is_full = !self.entries.contains_key(&key) && self.entries.len() >= self.limit;
        if is_full && let Some((_, oldest)) = self.turns.pop_first() {
            self.entries.remove(&oldest);
        }
        self.turns.insert(self.turn, Arc::clone(&key));
        let (turn, value) = self.entries.entry(key).or_insert_with(|| (0, make()));
        *turn = self.turn;
        value
    }

    /// Returns the value of a key, if there is one.
    fn known(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }
}

/// How many events, and how many objects, are remembered.
const REMEMBERED: usize = 4096;

/// How long after it happened an event that happens again is the same one.
const SAME: Duration = Duration::from_secs(10 * 60);

/// How many events about an object there may be at once.
const BURST: f64 = 25.0;

/// How long it takes until there may be one more.
const REFILL: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::reason::Reason;

    fn notice(name: &str, version: &str, message: &str) -> Notice {
        let about = About {
            api_version: "bitnami.com/v1alpha1".into(),
            kind: "SealedSecret".into(),
            namespace: "team".into(),
            name: name.into(),
            uid: format!("uid of {name}"),
            resource_version: version.into(),
        };
        Notice { about, reason: Reason::Ready, message: message.into() }
    }

    fn repeat(name: &str, count: i32) -> Step {
        Step::Repeat { name: name.into(), count }
    }

    #[test]
    fn the_same_event_of_a_later_version_is_counted() {
        let (mut memory, now) = (Memory::new(), Instant::now());
        assert_eq!(memory.next(&notice("a", "1", "well"), now), Step::Create(1));
        memory.note(&notice("a", "1", "well"), Some("a.1".into()));
        assert_eq!(memory.next(&notice("a", "2", "well"), now), repeat("a.1", 2));
        assert_eq!(memory.next(&notice("a", "2", "other"), now), Step::Create(1));
        assert_eq!(memory.next(&notice("b", "2", "well"), now), Step::Create(1));
        assert_eq!(memory.next(&notice("a", "3", "well"), now + SAME / 2), repeat("a.1", 3));
        assert_eq!(memory.next(&notice("a", "3", "well"), now + SAME), repeat("a.1", 4));
        assert_eq!(memory.next(&notice("a", "3", "well"), now + SAME * 2), Step::Create(1));
    }

    #[test]
    fn an_event_that_the_server_lost_is_sent_anew() {
        let (mut memory, now) = (Memory::new(), Instant::now());
        assert_eq!(memory.next(&notice("a", "1", "well"), now), Step::Create(1));
        assert_eq!(memory.next(&notice("a", "1", "well"), now), Step::Create(2));
        memory.note(&notice("a", "1", "well"), Some("a.1".into()));
        memory.note(&notice("a", "1", "well"), None);
        assert_eq!(memory.next(&notice("a", "1", "well"), now), Step::Create(3));
    }

    #[test]
    fn one_object_cannot_flood_the_server() {
        let (mut memory, now) = (Memory::new(), Instant::now());
        for number in 0..25 {
            assert_eq!(memory.next(&notice("a", "1", &number.to_string()), now), Step::Create(1));
        }
        assert_eq!(memory.next(&notice("a", "1", "one more"), now), Step::Skip);
        assert_eq!(memory.next(&notice("b", "1", "another"), now), Step::Create(1));
        assert_eq!(memory.next(&notice("a", "1", "one more"), now + REFILL), Step::Create(2));
        assert_eq!(memory.next(&notice("a", "1", "one more"), now + REFILL), Step::Skip);
    }

    #[test]
    fn what_was_not_asked_for_longest_is_forgotten() {
        let mut recent = Recent::new(3);
        for key in [1, 2, 3, 1, 4] {
            recent.entry(key, || key * 10);
        }
        assert_eq!(recent.known(&1), Some(&mut 10));
        assert_eq!(recent.known(&2), None);
        assert_eq!(recent.known(&3), Some(&mut 30));
        assert_eq!((recent.entries.len(), recent.turns.len()), (3, 3));
    }
}

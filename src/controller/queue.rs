//! Which objects wait for being worked on.
//!
//! Invariants: an object is worked on once at a time; what is added while it is worked on is worked on again.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use tokio::time::Instant;

/// The name of an object of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Objects that wait, in the order in which they came.
#[derive(Default)]
pub struct Queue {
    waiting: VecDeque<Key>,
    is_waiting: HashSet<Key>,
    in_work: HashSet<Key>,
    again: HashSet<Key>,
    later: BTreeMap<(Instant, u64), Key>,
    due: HashMap<Key, (Instant, u64)>,
    number: u64,
}

impl Queue {
    /// Adds an object, to be worked on as soon as there is time.
    pub fn add(&mut self, key: Key) {
        self.forget_later(&key);
        if self.in_work.contains(&key) {
            self.again.insert(key);
        } else if self.is_waiting.insert(key.clone()) {
            self.waiting.push_back(key);
        }
    }

    /// Adds an object for some time to come, unless it is to be worked on before that.
    pub fn add_later(&mut self, key: Key, at: Instant) {
        let is_earlier = self.due.get(&key).is_some_and(|(due, _)| *due <= at);
        if is_earlier || self.is_waiting.contains(&key) || self.again.contains(&key) {
            return;
        }
        self.forget_later(&key);
        self.number += 1;
        self.due.insert(key.clone(), (at, self.number));
        self.later.insert((at, self.number), key);
    }

    /// Takes an object out, unless it is being worked on.
    pub fn remove(&mut self, key: &Key) {
        self.forget_later(key);
        self.again.remove(key);
        if self.is_waiting.remove(key) {
            self.waiting.retain(|waiting| waiting != key);
        }
    }

    /// Takes the next object to work on.
    pub fn next(&mut self, now: Instant) -> Option<Key> {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
        let key = self.waiting.pop_front()?;
        self.is_waiting.remove(&key);
        self.in_work.insert(key.clone());
        Some(key)
    }

    /// Notes that the work on an object is done.
    pub fn done(&mut self, key: &Key) {
        self.in_work.remove(key);
        if self.again.remove(key) {
            self.add(key.clone());
        }
    }

    /// Returns when the next object of those for later is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Returns how many objects wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    fn forget_later(&mut self, key: &Key) {
        if let Some(due) = self.due.remove(key) {
            self.later.remove(&due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn an_object_is_worked_on_once_at_a_time_and_again_if_it_changed() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(key("a"));
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(queue.next(now), Some(key("a")));
        queue.add(key("a"));
        assert_eq!((queue.next(now), queue.next(now)), (Some(key("b")), None));
        queue.done(&key("a"));
        queue.done(&key("b"));
        assert_eq!((queue.next(now), queue.next(now)), (Some(key("a")), None));
    }

    #[test]
    fn what_is_for_later_comes_when_it_is_due_or_when_it_changes() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        queue.add_later(key("a"), after(5));
        queue.add_later(key("b"), after(3));
        queue.add_later(key("b"), after(9));
        assert_eq!((queue.next(now), queue.next_due()), (None, Some(after(3))));
        queue.add(key("a"));
        assert_eq!(queue.next(now), Some(key("a")));
        queue.done(&key("a"));
        assert_eq!((queue.next(after(3)), queue.next_due()), (Some(key("b")), None));
    }

    #[test]
    fn what_is_removed_does_not_come() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(key("a"));
        queue.add_later(key("b"), now);
        queue.remove(&key("a"));
        queue.remove(&key("b"));
        assert_eq!((queue.next(now), queue.len()), (None, 0));
    }
}

//! Which objects wait for being worked on.
//!
//! Invariants: an object is worked on once at a time; what is added while it is worked on is worked on again.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// The name of an object of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Returns the name of another object of the same namespace.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self { namespace: self.namespace.clone(), name: name.to_owned() }
    }
}

/// Objects that wait, in the order in which they came.
#[derive(Default)]
pub struct Queue {
    /// Those that were taken out in the meantime are passed over.
    waiting: VecDeque<(u64, Key)>,
    is_waiting: HashMap<Key, u64>,
    in_work: HashSet<Key>,
    again: HashSet<Key>,
    later: BTreeMap<(Instant, u64), Key>,
    due: HashMap<Key, (Instant, u64)>,
    number: u64,
    /// When a Secret of an object last changed, and how many times without a longer pause.
    touches: HashMap<Key, (Instant, u32)>,
    touches_kept: usize,
}

impl Queue {
    /// Adds an object, to be worked on as soon as there is time.
    pub fn add(&mut self, key: Key) {
        self.forget_later(&key);
        if self.in_work.contains(&key) {
            self.again.insert(key);
        } else if !self.is_waiting.contains_key(&key) {
            self.number += 1;
            self.is_waiting.insert(key.clone(), self.number);
            self.waiting.push_back((self.number, key));
        }
    }

    /// Adds an object because a Secret of it has changed. If that happens all the time, as somebody else wants the Secret to
    /// be another one, it is added for later: nobody wins by being faster.
    ///
    /// While it is worked on, nothing is added: who ends the work has to ask whether there is more.
    pub fn add_touched(&mut self, key: Key, now: Instant) {
        if self.in_work.contains(&key) || self.is_waiting.contains_key(&key) {
            return;
        }
        if self.touches.len() > 2 * self.touches_kept + SLACK {
            self.touches.retain(|_, (last, _)| now.duration_since(*last) < CALM);
            self.touches_kept = self.touches.len();
        }
        let (last, count) = self.touches.entry(key.clone()).or_insert((now, 0));
        *count = if now.duration_since(*last) < CALM { *count + 1 } else { 1 };
        *last = now;
        match count.checked_sub(QUICK_TOUCHES + 1) {
            None => self.add(key),
            Some(beyond) => self.add_later(key, now + LONGEST.min(Duration::from_secs(1 << beyond.min(16)))),
        }
    }

    /// Adds an object for some time to come, unless it is to be worked on before that.
    pub fn add_later(&mut self, key: Key, at: Instant) {
        let is_earlier = self.due.get(&key).is_some_and(|(due, _)| *due <= at);
        if is_earlier || self.is_waiting.contains_key(&key) || self.again.contains(&key) {
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
        self.is_waiting.remove(key);
        // Now and then, so that taking one out of many costs no more than taking one out of few.
        if self.waiting.len() > 2 * self.is_waiting.len() + SLACK {
            self.waiting.retain(|(number, key)| self.is_waiting.get(key) == Some(number));
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
        while let Some((number, key)) = self.waiting.pop_front() {
            if self.is_waiting.get(&key) == Some(&number) {
                self.is_waiting.remove(&key);
                self.in_work.insert(key.clone());
                return Some(key);
            }
        }
        None
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
        self.is_waiting.len()
    }

    /// Returns whether an object is for later.
    #[cfg(test)]
    pub fn is_for_later(&self, key: &Key) -> bool {
        self.due.contains_key(key)
    }

    fn forget_later(&mut self, key: &Key) {
        if let Some(due) = self.due.remove(key) {
            self.later.remove(&due);
        }
    }
}

/// How many objects that are not needed any more are kept in any case.
const SLACK: usize = 64;
/// How many changes of Secrets are put right at once, without a pause between them.
const QUICK_TOUCHES: u32 = 10;
/// After what pause changes of Secrets are put right at once again.
const CALM: Duration = Duration::from_secs(600);
/// How long a change of a Secret waits at most.
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_is_removed_and_added_again_comes_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for name in ["a", "b"] {
            queue.add(key(name));
        }
        queue.remove(&key("a"));
        queue.add(key("a"));
        assert_eq!(queue.len(), 2);
        assert_eq!(
            [queue.next(now), queue.next(now), queue.next(now)],
            [Some(key("b")), Some(key("a")), None]
        );
    }

    #[test]
    fn what_is_removed_takes_no_place_for_ever() {
        let mut queue = Queue::default();
        for _ in 0..10_000 {
            queue.add(key("a"));
            queue.remove(&key("a"));
        }
        assert!(queue.waiting.len() <= SLACK + 1, "{}", queue.waiting.len());
    }

    #[test]
    fn what_is_due_while_it_is_worked_on_waits_for_the_end_of_that() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(key("a"));
        assert_eq!(queue.next(now), Some(key("a")));
        queue.add_later(key("a"), now);
        assert_eq!((queue.next(now), queue.next_due()), (None, None));
        queue.done(&key("a"));
        assert_eq!(queue.next(now), Some(key("a")));
        queue.done(&key("a"));
        assert_eq!((queue.next(now), queue.len()), (None, 0));
    }

    #[test]
    fn what_waits_already_is_not_added_for_later() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(key("a"));
        queue.add_later(key("a"), now + Duration::from_secs(5));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn the_sooner_time_counts() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        queue.add_later(key("a"), after(9));
        queue.add_later(key("a"), after(3));
        assert_eq!(queue.next_due(), Some(after(3)));
        assert_eq!((queue.next(after(3)), queue.next_due()), (Some(key("a")), None));
    }

    #[test]
    fn a_secret_that_others_want_to_be_another_one_is_put_right_more_and_more_slowly() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..24 {
            queue.add_touched(key("a"), now);
            let due = queue.next_due().unwrap_or(now);
            waits.push((due - now).as_secs());
            now = due;
            assert_eq!(queue.next(now), Some(key("a")));
            queue.done(&key("a"));
        }
        assert_eq!(waits[..13], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4]);
        assert_eq!(waits[20..], [300, 300, 300, 300]);
        // Others do not wait for it, and a pause ends it.
        queue.add_touched(key("b"), now);
        queue.add_touched(key("a"), now + CALM);
        assert_eq!(
            [queue.next(now), queue.next(now), queue.next(now)],
            [Some(key("b")), Some(key("a")), None]
        );
    }

    #[test]
    fn an_object_that_changes_does_not_wait_because_its_secrets_do() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for _ in 0..20 {
            queue.add_touched(key("a"), now);
            queue.next(now);
            queue.done(&key("a"));
        }
        assert_eq!(queue.next(now), None);
        queue.add(key("a"));
        assert_eq!((queue.next(now), queue.next_due()), (Some(key("a")), None));
        queue.add_touched(key("a"), now);
        queue.done(&key("a"));
        assert_eq!((queue.next(now), queue.next_due()), (None, None));
    }

    #[test]
    fn pauses_of_many_objects_are_forgotten() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..1000 {
            queue.add_touched(key(&number.to_string()), now);
        }
        for number in 1000..4000 {
            queue.add_touched(key(&number.to_string()), now + CALM);
        }
        assert!(!queue.touches.contains_key(&key("0")));
    }
}

//! What requests that are worked for at once share: places, and memory.
//!
//! Invariants: nobody has more than half of the places, unless there is one alone; who waits for memory never waits for
//! somebody who waits for memory too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, of which each caller has at most half.
pub struct Places {
    all: Arc<Semaphore>,
    own: Own,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Memory for what requests hold at once.
pub struct Budget {
    all: Arc<Semaphore>,
    own: Own,
    /// What one request takes when there is nothing left, so that it comes to its end, and gives back what it holds.
    last: Arc<Semaphore>,
}

/// Memory that a request holds, given back when it is dropped.
pub struct Held {
    budget: Arc<Budget>,
    own: Arc<Semaphore>,
    bytes: u64,
    taken: Option<OwnedSemaphorePermit>,
    of_own: Option<OwnedSemaphorePermit>,
    last: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// Returns as many places, of which all are free.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(count)), own: Own::new((count / 2).max(1)) }
    }

    /// Waits for a place. Who waits for one of their own holds none of the others.
    pub async fn acquire(&self, caller: &str) -> Place {
        let own = self.own.of(caller).acquire_owned().await.expect("nobody closes it");
        let all = Arc::clone(&self.all).acquire_owned().await.expect("nobody closes it");
        Place { _own: own, _all: all }
    }

    /// Returns a place, if one is free for the caller.
    pub fn try_acquire(&self, caller: &str) -> Option<Place> {
        let own = self.own.of(caller).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _own: own, _all: all })
    }
}

impl Budget {
    /// Returns memory of as many bytes, of which a caller has at most half without waiting, or `least`.
    #[must_use]
    pub fn new(bytes: u64, least: u64) -> Arc<Self> {
        let units = |bytes: u64| usize::try_from(units(bytes)).unwrap_or(usize::MAX).clamp(1, MOST);
        let all = Arc::new(Semaphore::new(units(bytes)));
        let own = Own::new(units((bytes / 2).max(least)));
        Arc::new(Self { all, own, last: Arc::new(Semaphore::new(1)) })
    }

    /// Returns memory for a caller, nothing at first.
    #[must_use]
    pub fn hold(self: &Arc<Self>, caller: &str) -> Held {
        let own = self.own.of(caller);
        Held { budget: Arc::clone(self), own, bytes: 0, taken: None, of_own: None, last: None }
    }
}

impl Held {
    /// Waits for more memory. If there is none left, one request gets what it asks for nevertheless, up to its own
    /// limits, and all others wait for it.
    pub async fn grow(&mut self, bytes: u64) {
        let more = self.more(bytes);
        if more == 0 || self.last.is_some() {
            return;
        }
        let taken = match Arc::clone(&self.budget.all).try_acquire_many_owned(more) {
            Ok(taken) => taken,
            Err(_) => tokio::select! {
                biased;
                taken = Arc::clone(&self.budget.all).acquire_many_owned(more) => {
                    taken.expect("nobody closes it")
                }
                last = Arc::clone(&self.budget.last).acquire_owned() => {
                    self.last = last.ok();
                    return;
                }
            },
        };
        merge(&mut self.taken, taken);
    }

    /// Returns whether there is more memory, which is held then. Never waits.
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        let more = self.more(bytes);
        let own = Arc::clone(&self.own).try_acquire_many_owned(more);
        let all = Arc::clone(&self.budget.all).try_acquire_many_owned(more);
        let (Ok(own), Ok(all)) = (own, all) else { return false };
        merge(&mut self.of_own, own);
        merge(&mut self.taken, all);
        true
    }

    /// Returns how much is to be taken for more bytes.
    fn more(&mut self, bytes: u64) -> u32 {
        let before = units(self.bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        let more = usize::try_from(units(self.bytes) - before).unwrap_or(MOST).min(MOST);
        u32::try_from(more).unwrap_or(u32::MAX)
    }
}

/// What each caller has for itself, as long as somebody holds some of it.
struct Own {
    each: usize,
    callers: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Own {
    fn new(each: usize) -> Self {
        Self { each, callers: Mutex::default() }
    }

    fn of(&self, caller: &str) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|_, semaphore| semaphore.strong_count() > 0);
        if let Some(semaphore) = callers.get(caller).and_then(Weak::upgrade) {
            return semaphore;
        }
        let semaphore = Arc::new(Semaphore::new(self.each));
        callers.insert(caller.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}

fn merge(permits: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match permits {
        Some(permits) => permits.merge(more),
        none => *none = Some(more),
    }
}

/// Returns how many units some bytes take.
const fn units(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT)
}

/// What memory is counted in, in bytes.
const UNIT: u64 = 1 << 10;

/// The most units that there are: 4 TiB.
const MOST: usize = u32::MAX as usize;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_has_more_than_half_of_the_places() {
        let places = Places::new(4);
        let own = [places.acquire("a").await, places.acquire("a").await];
        assert!(timeout(Duration::from_secs(1), places.acquire("a")).await.is_err());
        assert!(places.try_acquire("a").is_none());
        let other = [places.acquire("b").await, places.acquire("b").await];
        assert!(places.try_acquire("c").is_none(), "all are taken");
        drop(other);
        assert!(places.try_acquire("a").is_none(), "they have half");
        drop(own);
        assert!(places.try_acquire("a").is_some());
        let one = Places::new(1);
        drop(one.acquire("a").await);
        assert!(one.try_acquire("a").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_memory_gets_it_in_the_end() {
        let budget = Budget::new(10 << 10, 0);
        let (mut first, mut second, mut third) = (budget.hold("a"), budget.hold("b"), budget.hold("c"));
        first.grow(5 << 10).await;
        second.grow(5 << 10).await;
        // There is nothing left: one goes on, which another one waits for.
        first.grow(64 << 10).await;
        assert!(timeout(Duration::from_secs(1), third.grow(1)).await.is_err());
        let mut waiting = std::pin::pin!(second.grow(5 << 10));
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        drop(first);
        timeout(Duration::from_secs(1), waiting).await.expect("it is given back");
    }

    #[test]
    fn a_caller_holds_at_most_half_without_waiting() {
        let budget = Budget::new(8 << 10, 0);
        let (mut first, mut second, mut other) = (budget.hold("a"), budget.hold("a"), budget.hold("b"));
        assert!(first.try_grow(1) && first.try_grow(1023), "less than a unit is counted together");
        assert!(first.try_grow(2 << 10) && !second.try_grow(2 << 10));
        assert!(other.try_grow(4 << 10));
        drop(first);
        assert!(budget.hold("a").try_grow(4 << 10));
    }
}

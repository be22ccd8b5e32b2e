//! How many requests a caller may make: the generic cell rate algorithm, with the numbers and headers of the controller
//! of Sealed Secrets.
//!
//! Invariant: the memory for callers has a bound. Callers beyond it share one allowance.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// The allowances of all callers.
pub(super) struct RateLimit {
    /// How long it takes to earn a request.
    interval: Duration,
    /// How many requests a caller who was silent may make at once.
    limit: u32,
    /// Tells callers apart; nobody can foretell what is the same for it.
    hasher: RandomState,
    /// For every caller, when the whole allowance is there again.
    full: Mutex<HashMap<u64, Instant>>,
}

/// What a caller is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// How many requests there are at most.
    pub(super) limit: u32,
    /// How many of them are left.
    pub(super) remaining: u32,
    /// When all of them are there again.
    pub(super) reset: Duration,
    /// When the next one is there, if this one was one too many.
    pub(super) retry: Option<Duration>,
}

impl RateLimit {
    /// Returns a limit of `rate` requests a second, and `burst` more at once.
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / rate.max(1),
            limit: burst.saturating_add(1),
            hasher: RandomState::new(),
            full: Mutex::default(),
        }
    }

    /// Takes a request of a caller from what it may make.
    pub(super) fn take(&self, path: &str, caller: &[u8]) -> Allowance {
        let now = Instant::now();
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if full.len() >= MAX_CALLERS {
            full.retain(|_, full| *full > now);
        }
        let mut caller = self.hasher.hash_one((path, caller));
        if full.len() >= MAX_CALLERS && !full.contains_key(&caller) {
            caller = REST;
        }
        let before = full.get(&caller).copied().filter(|full| *full > now).unwrap_or(now);
        let after = before + self.interval;
        let tolerance = self.interval.saturating_mul(self.limit);
        // The time at which this very request would be one of the allowance.
        let retry = after.duration_since(now).checked_sub(tolerance).filter(|wait| !wait.is_zero());
        let reset = match retry {
            Some(_) => before - now,
            None => {
                full.insert(caller, after);
                after - now
            }
        };
        let remaining = tolerance.saturating_sub(reset).as_nanos() / self.interval.as_nanos().max(1);
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
        Allowance { limit: self.limit, remaining, reset, retry }
    }
}

impl Allowance {
    /// Writes it into the headers of an answer.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let mut set =
            |name, value: u64| headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        set("x-ratelimit-limit", self.limit.into());
        set("x-ratelimit-remaining", self.remaining.into());
        set("x-ratelimit-reset", whole_seconds(self.reset));
        if let Some(retry) = self.retry {
            set("retry-after", whole_seconds(retry));
        }
    }
}

/// Rounds up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// How many callers have an allowance of their own.
const MAX_CALLERS: usize = 4096;
/// Stands for all callers beyond them.
const REST: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(allowance: &Allowance) -> (u32, u32, u64, Option<u64>) {
        let retry = allowance.retry.map(whole_seconds);
        (allowance.limit, allowance.remaining, whole_seconds(allowance.reset), retry)
    }

    #[tokio::test(start_paused = true)]
    async fn three_requests_at_once_and_then_two_a_second() {
        let limit = RateLimit::new(2, 2);
        let take = || numbers(&limit.take("/v1/verify", b"10.0.0.1"));
        assert_eq!(take(), (3, 2, 1, None));
        assert_eq!(take(), (3, 1, 1, None));
        assert_eq!(take(), (3, 0, 2, None));
        assert_eq!(take(), (3, 0, 2, Some(1)));
        assert_eq!(take(), (3, 0, 2, Some(1)), "what was refused costs nothing");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(take(), (3, 0, 2, None));
        assert_eq!(take().3, Some(1));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(take(), (3, 2, 1, None));
    }

    #[tokio::test(start_paused = true)]
    async fn callers_and_paths_have_allowances_of_their_own() {
        let limit = RateLimit::new(2, 0);
        assert!(limit.take("/v1/verify", b"a").retry.is_none());
        assert!(limit.take("/v1/verify", b"b").retry.is_none());
        assert!(limit.take("/v1/rotate", b"a").retry.is_none());
        assert!(limit.take("/v1/verify", b"a").retry.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_beyond_the_bound_share_one_allowance() {
        let limit = RateLimit::new(2, 0);
        for caller in 0..MAX_CALLERS {
            assert!(limit.take("/", &caller.to_le_bytes()).retry.is_none());
        }
        assert!(limit.take("/", b"new").retry.is_none());
        assert!(limit.take("/", b"newer").retry.is_some());
        assert!(limit.full.lock().expect("nobody panicked").len() <= MAX_CALLERS + 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limit.take("/", b"newest").retry.is_none());
        assert_eq!(limit.full.lock().expect("nobody panicked").len(), 1, "who was silent is forgotten");
    }
}

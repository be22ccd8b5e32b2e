//! What a Lease says, and what it says next.
//!
//! Invariants: a write keeps what others have put into the Lease, and its version; the time of renewal grows with each
//! write, so that others see every one of them, even if the clock of this machine stands still or goes back.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// What to do with a Lease.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// Make it.
    Create(Lease),
    /// Write it, if it is still of the version that was read.
    Update(Lease),
}

/// A Lease, and when this replica saw it change.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    /// The Lease.
    pub(super) lease: Lease,
    /// When it was first seen as it is, or first seen to be gone.
    pub(super) at: Instant,
    /// Whether it is gone.
    pub(super) is_gone: bool,
}

impl Sighting {
    /// Returns a Lease that was seen now.
    pub(super) const fn new(lease: Lease, at: Instant) -> Self {
        Self { lease, at, is_gone: false }
    }

    /// Notes that it was seen.
    pub(super) fn see(&mut self, lease: Lease, at: Instant) {
        let is_same =
            !self.is_gone && self.lease.metadata.resource_version == lease.metadata.resource_version;
        if !is_same {
            *self = Self::new(lease, at);
        }
    }

    /// Notes that it was not there. It may have been renewed until just before.
    pub(super) fn miss(&mut self, at: Instant) {
        if !self.is_gone {
            self.is_gone = true;
            self.at = at;
        }
    }

    /// Returns whether its holder may be at work, if it looked like this when asked for at a time.
    pub(super) fn is_live(&self, asked: Instant, default: Duration) -> bool {
        holder(&self.lease).is_some() && !self.is_older(asked, self.duration(default))
    }

    /// Returns whether it had been as it was for some time.
    pub(super) fn is_older(&self, asked: Instant, age: Duration) -> bool {
        asked.checked_duration_since(self.at).is_some_and(|age_then| age_then >= age)
    }

    /// Returns for how long it counts.
    pub(super) fn duration(&self, default: Duration) -> Duration {
        let seconds = self.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(default, Duration::from_secs)
    }
}

/// Returns who holds a Lease.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Returns a Lease that somebody takes first.
pub(super) fn made(
    name: &str,
    labels: &[(&str, &str)],
    identity: &str,
    duration: Duration,
    wall: Timestamp,
) -> Lease {
    let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    let mut lease = taken(Lease { metadata, spec: None }, identity, duration, wall);
    lease.spec.get_or_insert_default().lease_transitions = Some(0);
    lease
}

/// Returns a Lease after somebody took or renewed it.
pub(super) fn taken(mut lease: Lease, identity: &str, duration: Duration, wall: Timestamp) -> Lease {
    let is_renewal = holder(&lease) == Some(identity);
    let spec = lease.spec.get_or_insert_default();
    let now = next_time(spec, wall);
    if !is_renewal {
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = Some(seconds(duration));
    spec.renew_time = Some(now);
    lease
}

/// Returns a Lease after its holder let go of it, as client-go does it.
pub(super) fn released(mut lease: Lease, wall: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    let now = next_time(spec, wall);
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.acquire_time = Some(now.clone());
    spec.renew_time = Some(now);
    lease
}

/// The time of the next write: that of this machine, if it is later than the last one.
fn next_time(spec: &LeaseSpec, wall: Timestamp) -> MicroTime {
    let next = spec.renew_time.as_ref().and_then(|last| last.0.checked_add(TICK).ok());
    MicroTime(next.map_or(wall, |next| next.max(wall)))
}

/// Whole seconds, rather too many than too few: others wait for so long.
fn seconds(duration: Duration) -> i32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole.max(1)).unwrap_or(i32::MAX)
}

/// The shortest time that a Lease can tell.
const TICK: SignedDuration = SignedDuration::from_micros(1);

#[cfg(test)]
mod tests {
    use super::*;

    const D: Duration = Duration::from_millis(14_500);

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn spec(lease: &Lease) -> (&str, i32, i64, i64, i32) {
        let spec = lease.spec.as_ref().expect("there is one");
        let second = |time: &Option<MicroTime>| time.as_ref().map_or(0, |time| time.0.as_second());
        (
            spec.holder_identity.as_deref().unwrap_or("-"),
            spec.lease_duration_seconds.unwrap_or(-1),
            second(&spec.acquire_time),
            second(&spec.renew_time),
            spec.lease_transitions.unwrap_or(-1),
        )
    }

    #[test]
    fn a_lease_tells_what_those_of_client_go_tell() {
        let lease = made("l", &[("a", "b")], "x", D, wall(100));
        assert_eq!(spec(&lease), ("x", 15, 100, 100, 0));
        let lease = taken(lease, "x", D, wall(102));
        assert_eq!(spec(&lease), ("x", 15, 100, 102, 0));
        let lease = taken(lease, "y", D, wall(120));
        assert_eq!(spec(&lease), ("y", 15, 120, 120, 1));
        let lease = released(lease, wall(130));
        assert_eq!(spec(&lease), ("", 1, 130, 130, 1));
        assert_eq!(holder(&lease), None);
        let lease = taken(lease, "y", D, wall(131));
        assert_eq!(spec(&lease), ("y", 15, 131, 131, 2));
    }

    #[test]
    fn every_renewal_is_a_change_even_if_the_clock_goes_back() {
        let first = made("l", &[], "x", D, wall(100));
        let second = taken(first.clone(), "x", D, wall(50));
        assert!(
            second.spec.as_ref().map(|spec| &spec.renew_time)
                > first.spec.as_ref().map(|spec| &spec.renew_time)
        );
    }

    #[test]
    fn what_others_put_into_a_lease_stays() {
        let mut lease = made("l", &[], "x", D, wall(100));
        lease.metadata.annotations = Some([("k".to_owned(), "v".to_owned())].into());
        lease.metadata.resource_version = Some("7".to_owned());
        let metadata = lease.metadata.clone();
        assert_eq!(taken(lease.clone(), "y", D, wall(101)).metadata, metadata);
        assert_eq!(released(lease, wall(101)).metadata, metadata);
    }
}

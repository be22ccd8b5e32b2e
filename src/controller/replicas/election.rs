//! Who leads: whoever holds the Lease. Invariants: see [`super`].

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::record::{Sighting, Write, holder, made, taken};
use crate::controller::settings::ReplicaSettings;

/// The election, as this replica sees it.
pub(super) struct Election {
    lease: String,
    identity: String,
    duration: Duration,
    seen: Option<Sighting>,
    asked: Option<Instant>,
    until: Option<Instant>,
}

impl Election {
    /// Returns an election of which nothing is known.
    pub(super) fn new(settings: &ReplicaSettings) -> Self {
        Self {
            lease: settings.lease.clone(),
            identity: settings.identity.clone(),
            duration: settings.duration,
            seen: None,
            asked: None,
            until: None,
        }
    }

    /// Notes how the Lease was when it was asked for.
    pub(super) fn observe(&mut self, lease: Option<Lease>, asked: Instant, answered: Instant) {
        self.asked = Some(asked);
        match (&mut self.seen, lease) {
            (Some(seen), Some(lease)) => seen.see(lease, answered),
            (Some(seen), None) => seen.miss(answered),
            (None, lease) => self.seen = lease.map(|lease| Sighting::new(lease, answered)),
        }
        if !self.is_holder() {
            self.until = None;
        }
    }

    /// Notes that a write of the Lease was accepted.
    pub(super) fn wrote(&mut self, lease: Lease, sent: Instant, answered: Instant) {
        self.seen = Some(Sighting::new(lease, answered));
        self.until = Some(sent + term(self.duration));
    }

    /// Returns the name of the Lease.
    pub(super) fn lease(&self) -> &str {
        &self.lease
    }

    /// Returns the name of this replica.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns what to write, if anything, by the clock on the wall of this machine.
    pub(super) fn action(&self, wall: Timestamp) -> Option<Write> {
        // Nothing is written that was not asked for before.
        let asked = self.asked?;
        let new = || made(&self.lease, &[], &self.identity, self.duration, wall);
        let Some(seen) = &self.seen else { return Some(Write::Create(new())) };
        if seen.is_live(asked, self.duration) && !self.is_holder() {
            return None;
        }
        Some(match seen.is_gone {
            true => Write::Create(new()),
            false => Write::Update(taken(seen.lease.clone(), &self.identity, self.duration, wall)),
        })
    }

    /// Returns until when this replica leads, if it does.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|&until| now < until)
    }

    fn is_holder(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| holder(&seen.lease) == Some(&self.identity))
    }
}

/// For how long after it was sent a renewal counts for whoever sent it: the rest is the margin.
pub(super) fn term(duration: Duration) -> Duration {
    duration - duration / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: Duration = Duration::from_secs(15);

    #[derive(Debug, PartialEq)]
    enum Told {
        Create,
        Nothing,
        Renew,
        TakeOver,
    }

    fn election() -> Election {
        Election::new(&ReplicaSettings {
            lease: "l".into(),
            identity: "me".into(),
            duration: D,
            renew: Duration::from_secs(2),
        })
    }

    fn wall() -> Timestamp {
        Timestamp::from_second(1_000_000).expect("a time")
    }

    fn lease(holder: &str, version: u64) -> Lease {
        let mut lease = made("l", &[], holder, D, wall());
        lease.metadata.resource_version = Some(version.to_string());
        lease
    }

    fn told(election: &Election, before: &str) -> Told {
        match election.action(wall()) {
            None => Told::Nothing,
            Some(Write::Create(_)) => Told::Create,
            Some(Write::Update(_)) if before == "me" => Told::Renew,
            Some(Write::Update(_)) => Told::TakeOver,
        }
    }

    #[test]
    fn what_is_done_follows_from_what_was_seen_and_when() {
        // Looks at the Lease, each with the second of the asking, the holder and the version; what is done after the last.
        type Look = (u64, Option<(&'static str, u64)>);
        let table: &[(&str, &[Look], Told)] = &[
            ("there is none", &[(0, None)], Told::Create),
            ("there is none and was none", &[(0, None), (2, None)], Told::Create),
            ("it is held", &[(0, Some(("you", 1)))], Told::Nothing),
            (
                "it is renewed",
                &[(0, Some(("you", 1))), (14, Some(("you", 2))), (28, Some(("you", 2)))],
                Told::Nothing,
            ),
            ("it is not renewed", &[(0, Some(("you", 1))), (14, Some(("you", 1)))], Told::Nothing),
            ("it has ended", &[(0, Some(("you", 1))), (16, Some(("you", 1)))], Told::TakeOver),
            ("it changed hands", &[(0, Some(("you", 1))), (16, Some(("other", 2)))], Told::Nothing),
            ("it is released", &[(0, Some(("you", 1))), (2, Some(("", 2)))], Told::TakeOver),
            ("it was deleted", &[(0, Some(("you", 1))), (10, None), (20, None)], Told::Nothing),
            ("it was deleted long ago", &[(0, Some(("you", 1))), (10, None), (26, None)], Told::Create),
            (
                "it was deleted and made",
                &[(0, Some(("you", 1))), (10, None), (26, Some(("you", 3)))],
                Told::Nothing,
            ),
            ("it was released and deleted", &[(0, Some(("", 1))), (2, None)], Told::Create),
            ("it is ours", &[(0, Some(("me", 1)))], Told::Renew),
            ("it is ours and old", &[(0, Some(("me", 1))), (60, Some(("me", 1)))], Told::Renew),
            ("ours was deleted", &[(0, Some(("me", 1))), (2, None)], Told::Create),
        ];
        for (name, looks, expected) in table {
            let (mut election, start, mut last) = (election(), Instant::now(), "");
            for (second, seen) in *looks {
                let asked = start + Duration::from_secs(*second);
                let seen = seen.map(|(holder, version)| {
                    last = holder;
                    lease(holder, version)
                });
                election.observe(seen, asked, asked + Duration::from_millis(300));
            }
            assert_eq!(told(&election, last), *expected, "{name}");
        }
    }

    #[test]
    fn a_leader_ends_before_another_can_begin_and_counts_from_when_it_sent() {
        let (mut election, start) = (election(), Instant::now());
        election.observe(None, start, start);
        let (sent, answered) = (start + Duration::from_secs(1), start + Duration::from_secs(4));
        election.wrote(lease("me", 1), sent, answered);
        assert_eq!(election.until(answered), Some(sent + Duration::from_secs(10)));
        assert_eq!(election.until(sent + Duration::from_secs(10)), None);
    }

    #[test]
    fn a_leader_that_sees_another_one_ends_at_once() {
        let (mut election, start) = (election(), Instant::now());
        election.observe(None, start, start);
        election.wrote(lease("me", 1), start, start);
        assert!(election.until(start).is_some());
        election.observe(Some(lease("you", 2)), start, start);
        assert_eq!(election.until(start), None);
    }
}

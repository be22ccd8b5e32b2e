//! Who the replicas are among which namespaces are shared: those that renew their own Leases. Invariants: see [`super`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::election::term;
use super::record::{Sighting, Write, holder, made, taken};
use crate::controller::duty::Share;
use crate::controller::settings::ReplicaSettings;

/// The members, as this replica sees them.
pub(super) struct Membership {
    group: String,
    lease: String,
    identity: String,
    duration: Duration,
    /// The Lease of this replica, as it was in the last list.
    own: Option<Lease>,
    renewals: Option<Renewals>,
    /// The Leases of the others, by name.
    others: BTreeMap<String, Sighting>,
    /// When the last list was asked for.
    asked: Option<Instant>,
    members: Arc<BTreeSet<String>>,
}

/// Renewals without a gap.
#[derive(Clone, Copy)]
struct Renewals {
    /// When the first was answered.
    since: Instant,
    /// When the last was sent.
    sent: Instant,
}

impl Membership {
    /// Returns a membership of which nothing is known.
    pub(super) fn new(settings: &ReplicaSettings) -> Self {
        Self {
            group: label_value(&settings.lease),
            lease: format!("{}-{}", settings.lease, settings.identity),
            identity: settings.identity.clone(),
            duration: settings.duration,
            own: None,
            renewals: None,
            others: BTreeMap::new(),
            asked: None,
            members: Arc::default(),
        }
    }

    /// Notes how the Leases were when they were asked for.
    pub(super) fn observe(&mut self, leases: Vec<Lease>, asked: Instant, answered: Instant) {
        self.asked = Some(asked);
        let mut seen: BTreeMap<_, _> =
            leases.into_iter().filter_map(|lease| Some((lease.metadata.name.clone()?, lease))).collect();
        self.own = seen.remove(&self.lease);
        if self.own.as_ref().and_then(holder) != Some(&self.identity) {
            // The others may take this replica for gone.
            self.renewals = None;
        }
        for (name, sighting) in &mut self.others {
            match seen.remove(name) {
                Some(lease) => sighting.see(lease, answered),
                None => sighting.miss(answered),
            }
        }
        self.others.extend(seen.into_iter().map(|(name, lease)| (name, Sighting::new(lease, answered))));
        let default = self.duration;
        self.others.retain(|_, other| !other.is_gone || other.is_live(asked, default));
        let members: BTreeSet<_> =
            self.live().filter_map(|other| holder(&other.lease)).map(str::to_owned).collect();
        self.members = Arc::new(members.into_iter().chain([self.identity.clone()]).collect());
    }

    /// Notes that a write of the Lease of this replica was accepted.
    pub(super) fn wrote(&mut self, lease: &Lease, sent: Instant, answered: Instant) {
        let is_first = self.own.replace(lease.clone()).is_none();
        let before = self.renewals.filter(|before| !is_first && answered < before.sent + term(self.duration));
        let since = before.map_or(answered, |before| before.since);
        self.renewals = Some(Renewals { since, sent });
    }

    /// Returns the name of the Lease of this replica.
    pub(super) fn lease(&self) -> &str {
        &self.lease
    }

    /// Returns what selects the Leases of all replicas.
    pub(super) fn selector(&self) -> String {
        format!("{LABEL}={}", self.group)
    }

    /// Returns what to write, by the clock on the wall of this machine.
    pub(super) fn action(&self, wall: Timestamp) -> Write {
        match &self.own {
            Some(own) => Write::Update(taken(own.clone(), &self.identity, self.duration, wall)),
            None => {
                let labels = [(LABEL, self.group.as_str())];
                Write::Create(made(&self.lease, &labels, &self.identity, self.duration, wall))
            }
        }
    }

    /// Returns the share of this replica, and until when it has it, if it has one.
    pub(super) fn share(&self, now: Instant) -> Option<(Share, Instant)> {
        let (renewals, asked) = (self.renewals?, self.asked?);
        let longest = self.live().map(|other| other.duration(self.duration)).max();
        let wait = longest.map_or(self.duration, |longest| longest.max(self.duration));
        let until = renewals.sent.min(asked) + term(self.duration);
        let is_in = now.checked_duration_since(renewals.since).is_some_and(|age| age >= wait);
        let share = Share::Of { identity: self.identity.clone(), members: Arc::clone(&self.members) };
        (is_in && now < until).then_some((share, until))
    }

    /// Returns the Leases of replicas that ended, or died long ago. Who is only slow makes itself another one.
    pub(super) fn stale(&self) -> impl Iterator<Item = &Lease> {
        let age = |other: &Sighting| match holder(&other.lease) {
            // Everybody shall have seen that it was released.
            None => self.duration,
            Some(_) => other.duration(self.duration).max(self.duration).saturating_mul(LONG),
        };
        let asked = self.asked;
        let is_stale = move |other: &&Sighting| asked.is_some_and(|asked| other.is_older(asked, age(other)));
        self.others.values().filter(|other| !other.is_gone).filter(is_stale).map(|other| &other.lease)
    }

    /// The others that may be at work.
    fn live(&self) -> impl Iterator<Item = &Sighting> {
        let (asked, default) = (self.asked, self.duration);
        self.others.values().filter(move |other| asked.is_some_and(|asked| other.is_live(asked, default)))
    }
}

/// The value of the label for the name of a Lease, which may be longer than a value.
fn label_value(lease: &str) -> String {
    let short: String = lease.chars().take(MAX_LABEL).collect();
    short.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric()).to_owned()
}

/// The label by which the Leases of all replicas are found.
const LABEL: &str = "selkie.dev/replica-of";

/// How many letters the value of a label may have.
const MAX_LABEL: usize = 63;

/// After how many times its duration the Lease of a dead replica is deleted.
const LONG: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const D: Duration = Duration::from_secs(15);

    fn settings(identity: &str) -> ReplicaSettings {
        ReplicaSettings {
            lease: "l".into(),
            identity: identity.into(),
            duration: D,
            renew: Duration::from_secs(2),
        }
    }

    fn wall() -> Timestamp {
        Timestamp::from_second(1_000_000).expect("a time")
    }

    fn lease(identity: &str, holder: &str, version: u64) -> Lease {
        let mut lease = made(&format!("l-{identity}"), &[], holder, D, wall());
        lease.metadata.resource_version = Some(version.to_string());
        lease
    }

    /// What a replica `a` sees, second by second, and what it takes for its share.
    struct Watch {
        membership: Membership,
        start: Instant,
    }

    impl Watch {
        fn new() -> Self {
            Self { membership: Membership::new(&settings("a")), start: Instant::now() }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        /// Looks, and renews with success.
        fn round(&mut self, second: u64, others: &[Lease]) {
            self.look(second, others);
            let (own, at) = (lease("a", "a", second + 100), self.at(second));
            self.membership.wrote(&own, at, at);
        }

        fn look(&mut self, second: u64, others: &[Lease]) {
            let own = self.membership.own.clone();
            let (all, at) = (others.iter().cloned().chain(own).collect(), self.at(second));
            self.membership.observe(all, at, at);
        }

        fn members(&self, second: u64) -> Option<Vec<String>> {
            match self.membership.share(self.at(second))?.0 {
                Share::Of { members, .. } => Some(members.iter().cloned().collect()),
                Share::All | Share::Nothing => None,
            }
        }
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_replica_that_comes_waits_until_all_others_must_know_of_it() {
        let mut watch = Watch::new();
        for second in 0..15 {
            watch.round(second, &[]);
            assert_eq!(watch.members(second), None, "{second}");
        }
        watch.round(15, &[]);
        assert_eq!(watch.members(15), names(&["a"]));
        // It waits for as long as the others may work with a list without it.
        let mut watch = Watch::new();
        let mut slow = lease("b", "b", 1);
        slow.spec.get_or_insert_default().lease_duration_seconds = Some(20);
        for second in 0..20 {
            watch.round(second, std::slice::from_ref(&slow));
            assert_eq!(watch.members(second), None, "{second}");
        }
    }

    #[test]
    fn a_share_ends_without_renewal_without_a_list_and_after_a_gap() {
        let mut watch = Watch::new();
        (0..=20).for_each(|second| watch.round(second, &[]));
        assert_eq!(watch.members(29), names(&["a"]));
        assert_eq!(watch.members(30), None);
        // Lists alone do not help.
        watch.look(28, &[]);
        assert_eq!(watch.members(30), None);
        // Back before the end, nothing has happened; after it, it comes anew.
        watch.round(29, &[]);
        assert_eq!(watch.members(30), names(&["a"]));
        watch.round(39, &[]);
        (39..54).for_each(|second| {
            watch.round(second, &[]);
            assert_eq!(watch.members(second), None, "{second}");
        });
        watch.round(54, &[]);
        assert_eq!(watch.members(54), names(&["a"]));
        // As when its Lease was deleted.
        watch.membership.observe(Vec::new(), watch.at(55), watch.at(55));
        assert_eq!(watch.members(55), None);
        let own = lease("a", "a", 500);
        watch.membership.wrote(&own, watch.at(55), watch.at(55));
        assert_eq!(watch.members(55), None);
    }

    #[test]
    fn others_are_members_until_they_are_silent_for_their_time_or_released() {
        let mut watch = Watch::new();
        let others = |b: u64, c: Lease| [lease("b", "b", b), c];
        (0..=20).for_each(|second| watch.round(second, &others(second, lease("c", "c", second))));
        assert_eq!(watch.members(20), names(&["a", "b", "c"]));
        (21..=34).for_each(|second| watch.round(second, &others(20, lease("c", "c", second))));
        assert_eq!(watch.members(34), names(&["a", "b", "c"]));
        watch.round(35, &others(20, lease("c", "", 99)));
        assert_eq!(watch.members(35), names(&["a"]));
        watch.round(36, &others(21, lease("c", "", 99)));
        assert_eq!(watch.members(36), names(&["a", "b"]));
    }

    #[test]
    fn a_lease_that_vanished_counts_for_its_time() {
        let mut watch = Watch::new();
        (0..=20).for_each(|second| watch.round(second, &[lease("b", "b", second)]));
        (21..=35).for_each(|second| {
            watch.round(second, &[]);
            assert_eq!(watch.members(second), names(&["a", "b"]), "{second}");
        });
        watch.round(36, &[]);
        assert_eq!(watch.members(36), names(&["a"]));
        assert!(watch.membership.others.is_empty());
    }

    #[test]
    fn leases_of_the_released_and_the_long_dead_are_stale() {
        let mut watch = Watch::new();
        let all = [lease("b", "b", 1), lease("c", "", 1)];
        let stale = |watch: &Watch| -> Vec<_> {
            watch.membership.stale().filter_map(|lease| lease.metadata.name.clone()).collect()
        };
        watch.round(0, &all);
        watch.round(14, &all);
        assert!(stale(&watch).is_empty());
        watch.round(15, &all);
        assert_eq!(stale(&watch), ["l-c"]);
        watch.round(149, &all[..1]);
        assert!(stale(&watch).is_empty());
        watch.round(150, &all[..1]);
        assert_eq!(stale(&watch), ["l-b"]);
    }

    #[test]
    fn the_label_of_a_long_name_is_a_label() {
        assert_eq!(label_value("sealed-secrets-controller"), "sealed-secrets-controller");
        assert_eq!(label_value(&format!("{}-b", "a".repeat(62))), "a".repeat(62));
    }
}

//! What to do about the sealing keys, given what is known of them.
//!
//! Invariants: what is not known is no reason to make a key; whoever does not lead makes none; a broken Secret is
//! passed over as if it were not there.

use std::cmp::Reverse;
use std::time::Duration;

use time::OffsetDateTime;

use crate::controller::key_set::{KeyFacts, KeyState};
use crate::controller::settings::{KeyOrder, KeySettings};

/// A key Secret as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What is known of its key.
    pub facts: KeyFacts,
    /// When the Secret was made.
    pub created: Option<OffsetDateTime>,
}

/// What is known at a time.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    /// The key Secrets; `None` if they could not be listed.
    pub secrets: Option<&'a [Seen]>,
    /// The time.
    pub now: OffsetDateTime,
    /// Whether this replica makes keys.
    pub is_leader: bool,
    /// Whether somebody wants a new key.
    pub is_demanded: bool,
    /// For how long all key Secrets have been gone that were there before.
    pub vanished_for: Option<Duration>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether to make a key.
    pub step: Step,
    /// Which of the Secrets have a key that opens values, the newest first.
    pub usable: Vec<usize>,
    /// Which of the Secrets has the key to seal for: the first of them, if it has a certificate.
    pub newest: Option<usize>,
}

/// Whether to make a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Now.
    Make(Cause),
    /// Not before some time, if nothing changes; `None` for never.
    Wait(Option<OffsetDateTime>),
}

/// Why a key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The newest key is from before the time from which on keys are trusted.
    Cutoff,
    /// Somebody wants it.
    Demanded,
    /// The certificate of the newest key is not valid any more, so that kubeseal refuses it.
    Expired,
    /// There is no key to seal for.
    Missing,
    /// The newest key is as old as keys should become.
    Renewal,
}

impl Cause {
    /// Returns the word, as log lines have it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Cutoff => "cutoff",
            Self::Demanded => "demanded",
            Self::Expired => "expired",
            Self::Missing => "missing",
            Self::Renewal => "renewal",
        }
    }
}

impl Seen {
    /// Returns since when the key counts as one, as the order has it.
    fn since(&self, order: KeyOrder) -> Option<OffsetDateTime> {
        match order {
            KeyOrder::CertNotBefore => self.facts.not_before,
            KeyOrder::SecretCreationTimestamp => self.created,
        }
    }

    fn is_active(&self) -> bool {
        self.facts.state == KeyState::Active
    }

    fn is_usable(&self) -> bool {
        self.facts.state != KeyState::Retired && self.facts.fingerprint.is_some()
    }
}

/// Returns what to do.
pub(super) fn plan(situation: &Situation<'_>, settings: &KeySettings) -> Plan {
    let Some(secrets) = situation.secrets else {
        return Plan { step: Step::Wait(None), usable: Vec::new(), newest: None };
    };
    let usable = usable(secrets, settings.order);
    let newest = usable.first().copied().filter(|&index| secrets[index].is_active());
    let step = match newest {
        _ if !situation.is_leader => Step::Wait(None),
        _ if situation.is_demanded => Step::Make(Cause::Demanded),
        Some(index) => renewal(&secrets[index], situation.now, settings),
        None => replacement(secrets, situation),
    };
    Plan { step, usable, newest }
}

/// Returns which Secrets have keys that open values, the newest first. Of equals the first stays the newest: the one
/// that was made first, or else the first by name.
fn usable(secrets: &[Seen], order: KeyOrder) -> Vec<usize> {
    let mut usable: Vec<_> = (0..secrets.len()).filter(|&index| secrets[index].is_usable()).collect();
    usable.sort_by_key(|&index| {
        let secret = &secrets[index];
        let rank = Reverse((secret.is_active(), secret.since(order)));
        (rank, secret.created, secret.facts.name.as_str())
    });
    usable
}

/// Returns when another key is due, while there is one to seal for.
fn renewal(newest: &Seen, now: OffsetDateTime, settings: &KeySettings) -> Step {
    let since = newest.since(settings.order);
    // A time that cannot be said is one that does not come.
    let later = |from: OffsetDateTime, wait: Duration| {
        time::Duration::try_from(wait).ok().and_then(|wait| from.checked_add(wait))
    };
    let renewed = settings.renew_period.and_then(|period| later(since?, period));
    // Whoever renews by hand also sees to this. Else nobody could seal until the period is over; yet a short lifetime
    // shall not flood the cluster with keys.
    let lapsed = settings.renew_period.and_then(|_| {
        let begun = newest.created.max(newest.facts.not_before)?;
        Some(newest.facts.not_after?.max(later(begun, SHORTEST_LIFE)?))
    });
    // One in the time to come is waited for: a key of before then would be renewed again and again.
    let cutoff = settings.cutoff.filter(|&cutoff| since.is_some_and(|since| since < cutoff));
    let dues = [(cutoff, Cause::Cutoff), (renewed, Cause::Renewal), (lapsed, Cause::Expired)];
    let first = dues.into_iter().filter_map(|(due, cause)| Some((due?, cause))).min_by_key(|(due, _)| *due);
    match first {
        Some((due, cause)) if due <= now => Step::Make(cause),
        first => Step::Wait(first.map(|(due, _)| due)),
    }
}

/// Returns when the first key is due, or another first one. If all Secrets are gone at once, somebody may be about to
/// bring them back.
fn replacement(secrets: &[Seen], situation: &Situation<'_>) -> Step {
    match situation.vanished_for.and_then(|gone| GRACE.checked_sub(gone)) {
        Some(rest) if secrets.is_empty() && !rest.is_zero() => Step::Wait(Some(situation.now + rest)),
        _ => Step::Make(Cause::Missing),
    }
}

/// For how long keys that were there and are gone can be brought back before there is a new one.
const GRACE: Duration = Duration::from_secs(30);
/// How old a key is at least when another takes its place because its certificate has ended.
const SHORTEST_LIFE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use selkie::sealed::KeySize;

    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    fn day(day: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::days(day)
    }

    fn settings() -> KeySettings {
        KeySettings {
            prefix: "sealed-secrets-key".to_owned(),
            size: KeySize::Rsa2048,
            lifetime: DAY * 3650,
            common_name: String::new(),
            renew_period: Some(DAY * 30),
            order: KeyOrder::CertNotBefore,
            cutoff: None,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// A key with a certificate from one day to another, in a Secret that was made on the first one.
    fn key(name: &str, from: i64, to: i64) -> Seen {
        let facts = KeyFacts {
            name: name.to_owned(),
            fingerprint: Some(format!("SHA256:{name}")),
            not_before: Some(day(from)),
            not_after: Some(day(to)),
            state: KeyState::Active,
        };
        Seen { facts, created: Some(day(from)) }
    }

    fn in_state(mut seen: Seen, state: KeyState) -> Seen {
        seen.facts.state = state;
        seen
    }

    fn unreadable(name: &str) -> Seen {
        let facts = KeyFacts {
            name: name.to_owned(),
            fingerprint: None,
            not_before: None,
            not_after: None,
            state: KeyState::Broken,
        };
        Seen { facts, created: Some(day(0)) }
    }

    fn leading(secrets: &[Seen], now: OffsetDateTime) -> Situation<'_> {
        Situation { secrets: Some(secrets), now, is_leader: true, is_demanded: false, vanished_for: None }
    }

    fn at(secrets: &[Seen], now: OffsetDateTime, settings: &KeySettings) -> Plan {
        plan(&leading(secrets, now), settings)
    }

    #[test]
    fn keys_are_made_when_they_are_due() {
        let old = [key("a", 0, 3650)];
        let both = [key("a", 0, 3650), key("b", 20, 3650)];
        let short = [key("a", 0, 10)];
        let retired = [in_state(key("a", 0, 3650), KeyState::Retired)];
        let broken = [unreadable("a")];
        let without_cert = [in_state(key("a", 0, 3650), KeyState::Broken)];
        let half_broken = [key("a", 0, 3650), unreadable("b")];
        let future = [key("a", 100, 3650)];
        let (wait, make) = (|on: i64| Step::Wait(Some(day(on))), Step::Make);
        let cases: [(&str, &[Seen], i64, Step); 14] = [
            ("the first start", &[], 0, make(Cause::Missing)),
            ("a young key", &old, 10, wait(30)),
            ("on the day", &old, 30, make(Cause::Renewal)),
            ("long after", &old, 1000, make(Cause::Renewal)),
            ("the newest counts", &both, 30, wait(50)),
            ("a certificate that ends early", &short, 5, wait(10)),
            ("one that has ended", &short, 10, make(Cause::Expired)),
            ("a retired key is none", &retired, 1, make(Cause::Missing)),
            ("a broken key is none", &broken, 1, make(Cause::Missing)),
            ("a key without certificate cannot be sealed for", &without_cert, 1, make(Cause::Missing)),
            ("a broken one beside it changes nothing", &half_broken, 1, wait(30)),
            ("and keeps nothing from being renewed", &half_broken, 30, make(Cause::Renewal)),
            ("a key of the time to come", &future, 10, wait(130)),
            ("which is renewed late", &future, 130, make(Cause::Renewal)),
        ];
        for (name, secrets, now, expected) in cases {
            assert_eq!(at(secrets, day(now), &settings()).step, expected, "{name}");
        }
    }

    #[test]
    fn without_a_period_no_key_is_renewed() {
        let settings = KeySettings { renew_period: None, ..settings() };
        assert_eq!(at(&[key("a", 0, 10)], day(1000), &settings).step, Step::Wait(None));
        assert_eq!(at(&[], day(1000), &settings).step, Step::Make(Cause::Missing));
    }

    #[test]
    fn keys_of_before_the_cutoff_are_renewed_once_it_has_come() {
        for renew_period in [None, Some(DAY * 30)] {
            let settings = KeySettings { renew_period, cutoff: Some(day(5)), ..settings() };
            assert_eq!(at(&[key("a", 4, 3650)], day(6), &settings).step, Step::Make(Cause::Cutoff));
            assert_eq!(at(&[key("a", 4, 3650)], day(4), &settings).step, Step::Wait(Some(day(5))));
            let renewed = [key("a", 4, 3650), key("b", 5, 3650)];
            let next = renew_period.map(|_| day(35));
            assert_eq!(at(&renewed, day(6), &settings).step, Step::Wait(next));
        }
    }

    #[test]
    fn short_certificates_do_not_flood_the_cluster_with_keys() {
        let mut seen = key("a", 0, 0);
        seen.facts.not_after = Some(day(0) + time::Duration::seconds(1));
        let hour = day(0) + time::Duration::hours(1);
        assert_eq!(
            at(&[seen], day(0) + time::Duration::seconds(2), &settings()).step,
            Step::Wait(Some(hour))
        );
    }

    #[test]
    fn times_beyond_all_calendars_do_not_come() {
        let settings = KeySettings { renew_period: Some(Duration::MAX), ..settings() };
        assert_eq!(at(&[key("a", 0, 3650)], day(1), &settings).step, Step::Wait(Some(day(3650))));
    }

    #[test]
    fn what_cannot_be_listed_is_no_reason_to_make_a_key() {
        for is_demanded in [false, true] {
            let situation = Situation { secrets: None, is_demanded, ..leading(&[], day(1000)) };
            assert_eq!(plan(&situation, &settings()).step, Step::Wait(None));
        }
    }

    #[test]
    fn only_the_leader_makes_keys_and_all_use_them() {
        let secrets = [key("a", 0, 10)];
        let situation = Situation { is_leader: false, is_demanded: true, ..leading(&secrets, day(100)) };
        let expected = Plan { step: Step::Wait(None), usable: vec![0], newest: Some(0) };
        assert_eq!(plan(&situation, &settings()), expected);
        assert_eq!(plan(&Situation { secrets: Some(&[]), ..situation }, &settings()).step, Step::Wait(None));
    }

    #[test]
    fn a_demand_makes_a_key_whatever_is_there() {
        let secrets = [key("a", 0, 3650)];
        let situation = Situation { is_demanded: true, ..leading(&secrets, day(1)) };
        assert_eq!(plan(&situation, &settings()).step, Step::Make(Cause::Demanded));
    }

    #[test]
    fn keys_that_vanished_all_at_once_can_be_brought_back() {
        let gone =
            |seconds| Situation { vanished_for: Some(Duration::from_secs(seconds)), ..leading(&[], day(1)) };
        let until = day(1) + time::Duration::seconds(20);
        assert_eq!(plan(&gone(10), &settings()).step, Step::Wait(Some(until)));
        assert_eq!(plan(&gone(30), &settings()).step, Step::Make(Cause::Missing));
        assert_eq!(plan(&gone(31), &settings()).step, Step::Make(Cause::Missing));
        // Whoever retires the rest of them means it.
        let retired = [in_state(key("a", 0, 3650), KeyState::Retired)];
        let situation = Situation { secrets: Some(&retired), ..gone(0) };
        assert_eq!(plan(&situation, &settings()).step, Step::Make(Cause::Missing));
    }

    #[test]
    fn the_newest_is_told_by_certificate_or_by_secret() {
        // Restored in another order than they were made.
        let (mut first, mut second) = (key("a", 1, 3650), key("b", 2, 3650));
        (first.created, second.created) = (Some(day(9)), Some(day(8)));
        let secrets = [first, second];
        let plan = |order| at(&secrets, day(9), &KeySettings { order, ..settings() });
        assert_eq!(plan(KeyOrder::CertNotBefore).usable, [1, 0]);
        assert_eq!(plan(KeyOrder::SecretCreationTimestamp).usable, [0, 1]);
        assert_eq!(plan(KeyOrder::SecretCreationTimestamp).step, Step::Wait(Some(day(39))));
    }

    #[test]
    fn of_equals_the_first_stays() {
        let (mut late, early) = (key("a", 1, 3650), key("b", 1, 3650));
        late.created = Some(day(2));
        let same = key("c", 1, 3650);
        assert_eq!(at(&[late, same, early], day(3), &settings()).usable, [2, 1, 0]);
    }

    #[test]
    fn all_keys_that_can_be_read_open_values_but_for_retired_ones() {
        let secrets = [
            in_state(key("a", 9, 3650), KeyState::Broken),
            in_state(key("b", 8, 3650), KeyState::Retired),
            unreadable("c"),
            key("d", 1, 3650),
        ];
        let plan = at(&secrets, day(9), &settings());
        assert_eq!((plan.usable, plan.newest), (vec![3, 0], Some(3)));
    }

    #[test]
    fn a_restored_key_that_is_there_already_makes_no_other_necessary() {
        let mut copy = key("restored", 10, 3650);
        copy.facts.fingerprint = Some("SHA256:a".to_owned());
        assert_eq!(at(&[key("a", 10, 3650), copy], day(11), &settings()).step, Step::Wait(Some(day(40))));
    }
}

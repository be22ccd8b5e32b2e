//! Getting a data key back from key groups: what costs least first, requests all at once, no question too many.

use std::collections::VecDeque;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::groups::{AT_ONCE, GroupReport, KeyFailure, RecoverError};
use crate::keys::{Cause, DataKey, Effort, KeyError, KeyGroup, KeyService, MasterKey};
use crate::secret::SecretBytes;
use crate::shamir::{self, ShamirError};

/// The order of decryption that names no kind: keys are tried by what they take alone.
pub const BY_EFFORT: &[&str] = &[];

/// Recovers a data key from `groups`. In each the kinds of `order` come first, one kind after the other; all else
/// is tried by what it takes.
pub(super) async fn recover(
    groups: &[KeyGroup],
    threshold: usize,
    services: &[&dyn KeyService],
    order: &[&str],
) -> Result<DataKey, RecoverError> {
    // Whether parts are shares depends on the number of groups alone, not on the threshold.
    let required = if groups.len() == 1 { 1 } else { threshold };
    let mut recovery = Recovery::new(groups, services, required, order);
    recovery.run().await;
    let Some(parts) = recovery.parts() else { return Err(recovery.failed(None)) };
    let secret = match parts.as_slice() {
        [secret] if groups.len() == 1 => Ok(DataKey::from_secret(secret)),
        parts => shamir::combine(parts).map(|secret| DataKey::from_secret(&secret)),
    };
    match secret {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(recovery.failed(Some(ShamirError::Secret))),
        Err(error) => Err(recovery.failed(Some(error))),
    }
}

/// The parts of a data key, as far as they are recovered.
struct Recovery<'a> {
    required: usize,
    groups: Vec<Group>,
    keys: Vec<Key<'a>>,
    attempts: Vec<Attempt<'a>>,
}

#[derive(Default)]
struct Group {
    part: Option<SecretBytes>,
}

struct Key<'a> {
    key: &'a MasterKey,
    group: usize,
    rank: Rank,
    causes: Vec<(String, KeyError)>,
}

/// A key that a service is to be asked for.
struct Attempt<'a> {
    key: usize,
    service: &'a dyn KeyService,
    /// Whether a person is to help.
    asking: bool,
    rank: Rank,
}

/// When a key is tried: by the place of its kind in the order, then by what it takes.
type Rank = (usize, Effort);
type Answer = Option<Result<SecretBytes, KeyError>>;

impl<'a> Recovery<'a> {
    fn new(groups: &'a [KeyGroup], services: &[&'a dyn KeyService], required: usize, order: &[&str]) -> Self {
        let (mut keys, mut attempts) = (Vec::new(), Vec::new());
        for (group, key) in
            groups.iter().enumerate().flat_map(|(at, group)| group.0.iter().map(move |key| (at, key)))
        {
            let place = order.iter().position(|&name| name == key.kind().name).unwrap_or(order.len());
            for &service in services {
                let (effort, key) = (service.effort(key), keys.len());
                attempts.push(Attempt { key, service, asking: false, rank: (place, effort) });
                if effort != Effort::Person {
                    attempts.push(Attempt { key, service, asking: true, rank: (place, Effort::Person) });
                }
            }
            let rank = services.iter().map(|service| service.effort(key)).min().unwrap_or(Effort::Free);
            keys.push(Key { key, group, rank: (place, rank), causes: Vec::new() });
        }
        // Stable: within a rank, the order is that of the document, and of the services.
        attempts.sort_by_key(|attempt| attempt.rank);
        Self { required, groups: groups.iter().map(|_| Group::default()).collect(), keys, attempts }
    }

    async fn run(&mut self) {
        let attempts = std::mem::take(&mut self.attempts);
        for stage in attempts.chunk_by(|left, right| left.rank == right.rank) {
            match stage[0].rank.1 {
                Effort::Remote | Effort::Elsewhere => self.all_at_once(stage).await,
                Effort::Free | Effort::Person => self.one_by_one(stage).await,
            }
        }
    }

    async fn one_by_one(&mut self, stage: &[Attempt<'a>]) {
        for attempt in stage {
            if self.needs(attempt.key) {
                let key = self.keys[attempt.key].key;
                let answer = match attempt.asking {
                    true => attempt.service.unwrap_asking(key).await,
                    false => unwrap(attempt.service, key).await,
                };
                self.take(attempt, answer);
            }
        }
    }

    async fn all_at_once(&mut self, stage: &[Attempt<'a>]) {
        let mut waiting: VecDeque<_> = stage.iter().collect();
        let mut requests = FuturesUnordered::new();
        while !self.is_complete() {
            while requests.len() < AT_ONCE
                && let Some(attempt) = waiting.pop_front()
            {
                if self.needs(attempt.key) {
                    let key = self.keys[attempt.key].key;
                    requests.push(async move { (attempt, unwrap(attempt.service, key).await) });
                }
            }
            let Some((attempt, answer)) = requests.next().await else { return };
            self.take(attempt, answer);
        }
    }

    /// Returns whether a part is missing that this key may recover.
    fn needs(&self, key: usize) -> bool {
        !self.is_complete() && self.groups[self.keys[key].group].part.is_none()
    }

    fn is_complete(&self) -> bool {
        self.recovered() >= self.required
    }

    fn recovered(&self) -> usize {
        self.groups.iter().filter(|group| group.part.is_some()).count()
    }

    fn take(&mut self, attempt: &Attempt<'a>, answer: Answer) {
        let key = &mut self.keys[attempt.key];
        match answer {
            Some(Ok(part)) => self.groups[key.group].part = Some(part),
            // Nothing came of asking: the first attempt said as much.
            Some(Err(KeyError::NoIdentity(_))) if attempt.asking => {}
            Some(Err(error)) => {
                let service = attempt.service.name();
                key.causes.retain(|(name, _)| !attempt.asking || *name != service);
                key.causes.push((service, error));
            }
            None => {}
        }
    }

    /// Returns the parts, if there are enough.
    fn parts(&mut self) -> Option<Vec<SecretBytes>> {
        let copy = |group: &Group| group.part.as_ref().map(|part| part.expose_secret().into());
        self.is_complete().then(|| self.groups.iter().filter_map(copy).take(self.required).collect())
    }

    fn failed(&self, combining: Option<ShamirError>) -> RecoverError {
        let report = |at: usize, group: &Group| {
            let recovered = group.part.is_some();
            let mut keys: Vec<_> = self.keys.iter().filter(|key| key.group == at).collect();
            keys.sort_by_key(|key| key.rank);
            // A key that nobody took for theirs is a failure, unless another one made it unnecessary.
            keys.retain(|key| !recovered || !key.causes.is_empty());
            let failures =
                keys.iter().map(|key| KeyFailure { key: key.key.clone(), causes: key.causes.clone() });
            GroupReport { recovered, failures: failures.collect() }
        };
        RecoverError {
            recovered: self.recovered(),
            required: self.required,
            groups: self.groups.iter().enumerate().map(|(at, group)| report(at, group)).collect(),
            combining,
        }
    }
}

/// Unwraps what a key holds, be it for another key that an old sops mistook for this one.
async fn unwrap(service: &dyn KeyService, key: &MasterKey) -> Answer {
    let answer = service.unwrap(key).await;
    // A service elsewhere does not tell causes apart.
    let may_be_a_mistake = matches!(&answer, Some(Err(KeyError::Service(error)))
        if matches!(error.cause, Cause::Ciphertext | Cause::Other));
    if may_be_a_mistake {
        for key in key.mistakes() {
            if let Some(Ok(part)) = service.unwrap(&key).await {
                return Some(Ok(part));
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use pollster::block_on;

    use super::*;
    use crate::keys::{KEY_KINDS, KeyFuture, ServiceError};

    /// A service that knows keys by their names, and writes down what it is asked.
    #[derive(Default)]
    struct Asked {
        effort: HashMap<&'static str, Effort>,
        known: Vec<&'static str>,
        log: Mutex<Vec<String>>,
    }

    impl Asked {
        fn note(&self, what: String) {
            self.log.lock().expect("no panic").push(what);
        }

        fn log(&self) -> String {
            self.log.lock().expect("no panic").join(" ")
        }
    }

    impl KeyService for Asked {
        fn name(&self) -> String {
            "asked".to_owned()
        }

        fn effort(&self, key: &MasterKey) -> Effort {
            self.effort.get(key.kind().name).copied().unwrap_or(Effort::Free)
        }

        fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
            Box::pin(std::future::ready(None))
        }

        fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            Box::pin(async move {
                self.note(format!("{key}?"));
                // What answers slowly has a name that ends so.
                let turns = if key.to_string().ends_with("slow") { 100 } else { 1 };
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                self.note(format!("{key}!"));
                let known = self.known.contains(&key.to_string().as_str());
                let denied = || ServiceError::new(Cause::Denied, "no").into();
                Some(if known { Ok([7; 32][..].into()) } else { Err(denied()) })
            })
        }

        fn unwrap_asking<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            Box::pin(async move {
                (key.to_string() == "ask").then(|| {
                    self.note(format!("{key}??"));
                    Err(ServiceError::new(Cause::Denied, "no again").into())
                })
            })
        }
    }

    /// A service to which all is wrapped under one encryption context.
    struct UnderContext(serde_json::Value, Cause);

    impl KeyService for UnderContext {
        fn name(&self) -> String {
            "under a context".to_owned()
        }

        fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
            Box::pin(std::future::ready(None))
        }

        fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            let Self(context, cause) = self;
            let is_right = key.fields().get("context") == Some(context);
            let refused = || ServiceError::new(*cause, "no").into();
            Box::pin(std::future::ready(Some(if is_right { Ok([7; 32][..].into()) } else { Err(refused()) })))
        }
    }

    fn group(keys: &[&str]) -> KeyGroup {
        let key = |text: &&str| {
            let (kind, name) = text.split_once(':').expect("a kind and a name");
            let kind = KEY_KINDS.iter().find(|known| known.name == kind).expect("a kind");
            MasterKey::from_metadata(
                kind,
                serde_json::json!({"recipient": name, "fp": name, "resource_id": name, "key_id": name})
                    .as_object()
                    .expect("an object"),
            )
        };
        KeyGroup(keys.iter().map(key).collect())
    }

    fn service(known: &[&'static str]) -> Asked {
        let effort =
            [("pgp", Effort::Person), ("gcp_kms", Effort::Remote), ("hckms", Effort::Elsewhere)].into();
        Asked { effort, known: known.to_vec(), ..Asked::default() }
    }

    fn run(service: &Asked, groups: &[KeyGroup], threshold: usize, order: &[&str]) -> Option<RecoverError> {
        block_on(recover(groups, threshold, &[service], order)).err()
    }

    #[test]
    fn what_costs_nothing_comes_first_and_people_last() {
        let groups = [group(&["pgp:p", "gcp_kms:g", "age:a"])];
        let service = service(&["p"]);
        assert_eq!(run(&service, &groups, 1, BY_EFFORT), None);
        assert_eq!(service.log(), "a? a! g? g! p? p!");
    }

    #[test]
    fn requests_are_under_way_together() {
        let groups = [group(&["gcp_kms:slow", "gcp_kms:g"])];
        let service = service(&["g"]);
        assert_eq!(run(&service, &groups, 1, BY_EFFORT), None);
        assert_eq!(service.log(), "slow? g? g!", "the slow one is not waited for");
    }

    #[test]
    fn key_services_elsewhere_are_asked_together_once_the_own_servers_failed() {
        let groups = [group(&["pgp:p", "hckms:h-slow", "hckms:h", "gcp_kms:g-slow", "age:a"])];
        let known = service(&["g-slow"]);
        assert_eq!(run(&known, &groups, 1, BY_EFFORT), None);
        assert_eq!(known.log(), "a? a! g-slow? g-slow!");
        let known = service(&["h"]);
        assert_eq!(run(&known, &groups, 1, BY_EFFORT), None);
        assert_eq!(known.log(), "a? a! g-slow? g-slow! h-slow? h? h!");
    }

    #[test]
    fn nobody_is_asked_once_enough_groups_are_there() {
        let groups = [group(&["pgp:p"]), group(&["age:a"]), group(&["gcp_kms:g"]), group(&["pgp:q"])];
        let service = service(&["a", "g", "p", "q"]);
        let error = run(&service, &groups, 2, BY_EFFORT).expect("the parts are no shares");
        assert_eq!(error.recovered, 2);
        assert_eq!(service.log(), "a? a! g? g!");
    }

    #[test]
    fn an_order_that_is_given_is_kept() {
        let groups = [group(&["age:a", "gcp_kms:g", "pgp:p"])];
        let service = service(&["a"]);
        assert_eq!(run(&service, &groups, 1, &["pgp", "gcp_kms"]), None);
        assert_eq!(service.log(), "p? p! g? g! a? a!");
    }

    #[test]
    fn every_failure_has_its_group_and_key() {
        let groups = [group(&["pgp:p", "age:a"]), group(&["gcp_kms:g", "gcp_kms:h"])];
        let service = service(&["h"]);
        let error = run(&service, &groups, 2, BY_EFFORT).expect("one group fails");
        let told = |report: &GroupReport| {
            let failures = report.failures.iter().map(|failure| {
                assert_eq!(failure.causes.len(), 1, "{failure:?}");
                failure.key.to_string()
            });
            (report.recovered, failures.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(
            error.groups.iter().map(told).collect::<Vec<_>>(),
            [(false, "a p".to_owned()), (true, "g".to_owned())]
        );
        assert_eq!((error.recovered, error.required), (1, 2));
    }

    #[test]
    fn a_person_helps_once_all_else_failed() {
        let groups = [group(&["age:ask", "gcp_kms:g"])];
        let helpless = service(&[]);
        let error = run(&helpless, &groups, 1, BY_EFFORT).expect("nobody knows the keys");
        assert_eq!(helpless.log(), "ask? ask! g? g! ask??");
        let causes: Vec<_> = error.groups[0].failures.iter().map(|failure| failure.causes.len()).collect();
        assert_eq!(causes, [1, 1], "a second answer takes the place of the first");
    }

    #[test]
    fn a_key_that_is_nobodys_fails_without_a_cause() {
        let error = block_on(recover(&[group(&["age:a"])], 1, &[], BY_EFFORT)).err().expect("nobody helps");
        assert_eq!(error.groups[0].failures[0].causes, []);
    }

    #[test]
    fn what_an_old_sops_wrapped_is_tried_under_the_contexts_that_it_mixed_up() {
        let entry = serde_json::json!({"arn": "a", "context": {"a": "x", "b": "y"}, "enc": "AQ=="});
        let kind = crate::keys::KeyKind::from_name("kms").expect("a kind");
        let new = MasterKey::from_metadata(kind, entry.as_object().expect("an object"));
        let mut old = new.clone();
        old.mark_as_old();
        let is_open = |key: &MasterKey, cause: Cause| {
            let service = UnderContext(serde_json::json!({"a": "y", "b": "y"}), cause);
            block_on(recover(&[KeyGroup(vec![key.clone()])], 1, &[&service], BY_EFFORT)).is_ok()
        };
        assert!(is_open(&old, Cause::Ciphertext) && is_open(&old, Cause::Other));
        assert!(!is_open(&old, Cause::Denied) && !is_open(&new, Cause::Ciphertext));
    }
}

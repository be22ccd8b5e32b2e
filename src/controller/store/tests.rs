//! What each event comes to, one after the other.

use serde_json::json;
use zeroize::Zeroizing;

use super::*;
use crate::controller::digest::{self, Object};

const NONE: [&str; 0] = [];

fn key(name: &str) -> Key {
    Key { namespace: "ns".to_owned(), name: name.to_owned() }
}

fn names(keys: &[Key]) -> Vec<&str> {
    keys.iter().map(|key| key.name.as_str()).collect()
}

fn digest_key(number: u8) -> DigestKey {
    DigestKey { fingerprint: format!("SHA256:{number}"), key: Zeroizing::new([number; 32]) }
}

fn version(name: &str, uid: &str, resource_version: u64) -> Version {
    Version { name: name.to_owned(), uid: uid.to_owned(), resource_version: resource_version.to_string() }
}

/// A Secret with an owner `(name, uid)` of the kind, or none.
fn seen(uid: &str, resource_version: u64, owner: Option<(&str, &str)>) -> Seen {
    let owner = owner.map(|(name, uid)| Owner {
        api_version: "bitnami.com/v1alpha1".to_owned(),
        kind: "SealedSecret".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        is_controller: true,
    });
    Seen { uid: uid.to_owned(), resource_version: resource_version.to_string(), owner, is_open: false }
}

fn open(uid: &str, resource_version: u64) -> Seen {
    Seen { is_open: true, ..seen(uid, resource_version, None) }
}

fn object(uid: &str) -> Json {
    json!({"metadata": {"uid": uid, "generation": 3}})
}

/// An object whose status says that it is ready, as the definition of Sealed Secrets lets it.
fn told() -> Json {
    let mut object = object("u1");
    object["status"] = json!({"observedGeneration": 3, "conditions": [{"type": "Ready", "status": "True"}]});
    object
}

impl Store {
    fn sees(&mut self, name: &str, uid: &str, essence: u8) -> Saw {
        self.saw(&key(name), object(uid), [essence; 32], &[])
    }

    /// Works on an object from beginning to end.
    fn works(&mut self, name: &str, uid: &str, reason: Reason, secrets: &[Version]) -> Option<u32> {
        assert!(self.work(&key(name)).is_some(), "there is nothing to do with {name}");
        self.ends(name, uid, reason, secrets)
    }

    fn ends(&mut self, name: &str, uid: &str, reason: Reason, secrets: &[Version]) -> Option<u32> {
        let names = secrets.iter().map(|version| version.name.clone()).collect();
        let done = Done { uid: uid.to_owned(), essence: [1; 32], reason, secrets: secrets.to_vec(), names };
        self.done(&key(name), done)
    }

    /// Fails for a Secret of somebody else.
    fn is_blocked(&mut self, name: &str, uid: &str, secret: &str) -> Option<u32> {
        let names = vec![secret.to_owned()];
        let (reason, secrets) = (Reason::Unmanaged, Vec::new());
        self.done(&key(name), Done { uid: uid.to_owned(), essence: [1; 32], reason, secrets, names })
    }

    fn sees_secret(&mut self, name: &str, seen: Seen) -> Vec<Key> {
        self.saw_secret(&key(name), seen)
    }
}

/// A store with an object `s` that is as it should be, and its Secret `s` of version 7.
fn settled() -> Store {
    let mut store = Store::default();
    assert_eq!(store.sees("s", "u1", 1), Saw::Work);
    assert_eq!(store.works("s", "u1", Reason::Ready, &[version("s", "s1", 7)]), Some(0));
    store.sees_secret("s", seen("s1", 7, Some(("s", "u1"))));
    assert!(!store.is_due(&key("s")));
    store
}

#[test]
fn a_new_object_is_worked_on_once() {
    let mut store = Store::default();
    assert_eq!(store.sees("s", "u1", 1), Saw::Work);
    assert_eq!(store.sees("s", "u1", 1), Saw::Nothing);
    let work = store.work(&key("s")).expect("it is new");
    assert_eq!((work.attempts, work.body.as_deref()), (0, Some(&object("u1"))));
    assert!(work.owned.is_empty() && work.present.is_empty());
    assert_eq!(store.ends("s", "u1", Reason::Ready, &[version("s", "s1", 7)]), Some(0));
    assert!(store.work(&key("s")).is_none());
    assert_eq!((store.saw(&key("s"), told(), [1; 32], &[]), store.len()), (Saw::Nothing, 1));
}

#[test]
fn an_object_that_is_another_one_is_worked_on() {
    for (uid, essence) in [("u1", 2), ("u2", 1)] {
        let mut store = settled();
        assert_eq!(store.sees("s", uid, essence), Saw::Work);
        assert!(store.work(&key("s")).is_some());
    }
}

#[test]
fn work_on_what_is_another_one_by_now_does_not_count() {
    let mut store = settled();
    store.sees("s", "u1", 2);
    assert!(store.work(&key("s")).is_some());
    store.sees("s", "u1", 3);
    assert_eq!(store.ends("s", "u1", Reason::Ready, &[version("s", "s1", 8)]), None);
    assert!(store.is_due(&key("s")));
}

#[test]
fn labels_of_an_object_that_is_settled_are_noted() {
    let mut store = settled();
    let mut labelled = told();
    labelled["metadata"]["labels"] = json!({"app.kubernetes.io/instance": "shop"});
    assert_eq!(store.saw(&key("s"), labelled, [1; 32], &[]), Saw::Nothing);
    assert_eq!((store.instance(&key("s")), store.instance(&key("t"))), ("shop", ""));
}

#[test]
fn attempts_count_until_one_is_fine_or_the_object_is_another_one() {
    let mut store = Store::default();
    store.sees("s", "u1", 1);
    for attempts in 1..=3 {
        assert_eq!(store.works("s", "u1", Reason::NoKey, &[]), Some(attempts));
        assert_eq!(store.sees("s", "u1", 1), Saw::Nothing);
    }
    assert_eq!(store.unread(&key("s")), Some(4));
    assert_eq!(store.work(&key("s")).map(|work| work.attempts), Some(4));
    assert_eq!(store.ends("s", "u1", Reason::Ready, &[version("s", "s1", 7)]), Some(0));
    assert_eq!((store.unread(&key("t")), store.ends("t", "u1", Reason::NoKey, &[])), (None, None));
    store.sees("s", "u1", 2);
    assert_eq!(store.work(&key("s")).map(|work| work.attempts), Some(0));
}

#[test]
fn a_change_of_a_secret_is_one_for_its_object() {
    let changes: [(&str, Option<Seen>); 4] = [
        ("another version", Some(seen("s1", 8, Some(("s", "u1"))))),
        ("another one", Some(seen("s2", 9, None))),
        ("without owner", Some(seen("s1", 8, None))),
        ("gone", None),
    ];
    for (change, seen) in changes {
        let mut store = settled();
        let touched = match seen {
            Some(seen) => store.sees_secret("s", seen),
            None => store.secret_gone(&key("s")),
        };
        assert_eq!(names(&touched), ["s"], "{change}");
        assert!(store.work(&key("s")).is_some(), "{change}");
    }
}

#[test]
fn what_is_known_of_a_secret_already_touches_nothing() {
    let mut store = settled();
    assert_eq!(names(&store.sees_secret("s", seen("s1", 7, Some(("s", "u1"))))), NONE);
    assert_eq!(names(&store.sees_secret("foreign", seen("f1", 9, None))), NONE);
    assert_eq!(names(&store.secret_gone(&key("foreign"))), NONE);
    assert!(!store.is_due(&key("s")));
}

#[test]
fn an_event_that_comes_while_the_object_is_worked_on_counts_if_it_tells_something_new() {
    // The Secret as it was before, as it was written, and as somebody changed it after that.
    for (resource_version, is_due) in [(6, false), (7, false), (8, true)] {
        let mut store = Store::default();
        store.sees("s", "u1", 1);
        assert!(store.work(&key("s")).is_some());
        assert_eq!(names(&store.sees_secret("s", seen("s1", resource_version, Some(("s", "u1"))))), ["s"]);
        assert_eq!(store.ends("s", "u1", Reason::Ready, &[version("s", "s1", 7)]), Some(0));
        assert_eq!(store.is_due(&key("s")), is_due, "{resource_version}");
        assert_eq!(store.work(&key("s")).is_some(), is_due, "{resource_version}");
    }
}

#[test]
fn the_event_of_a_secret_before_it_was_made_anew_is_old() {
    let mut store = settled();
    store.sees("s", "u1", 2);
    store.sees("s", "u1", 1);
    assert!(store.work(&key("s")).is_some());
    assert_eq!(store.ends("s", "u1", Reason::Ready, &[version("s", "s2", 9)]), Some(0));
    assert!(!store.is_due(&key("s")), "version 7 of s1 was seen before version 9 of s2 was made");
}

#[test]
fn versions_that_are_no_numbers_count_if_they_differ() {
    let mut store = Store::default();
    store.sees("s", "u1", 1);
    let odd = |text: &str| Version { resource_version: text.to_owned(), ..version("s", "s1", 0) };
    let seen = |text: &str| Seen { resource_version: text.to_owned(), ..seen("s1", 0, Some(("s", "u1"))) };
    assert!(store.work(&key("s")).is_some());
    store.sees_secret("s", seen("b"));
    store.ends("s", "u1", Reason::Ready, &[odd("a")]);
    assert!(store.is_due(&key("s")));
    store.works("s", "u1", Reason::Ready, &[odd("b")]);
    assert!(!store.is_due(&key("s")));
}

#[test]
fn a_secret_that_goes_while_its_object_is_worked_on_is_made_again() {
    let mut store = Store::default();
    store.sees("s", "u1", 1);
    assert!(store.work(&key("s")).is_some());
    store.sees_secret("s", seen("s1", 7, Some(("s", "u1"))));
    assert_eq!(names(&store.secret_gone(&key("s"))), ["s"]);
    store.ends("s", "u1", Reason::Ready, &[version("s", "s1", 7)]);
    assert!(store.work(&key("s")).is_some());
    store.ends("s", "u1", Reason::Ready, &[version("s", "s2", 9)]);
    assert!(!store.is_due(&key("s")), "what is made again is on its way");
}

#[test]
fn a_secret_that_came_and_went_while_nobody_watched_is_missed() {
    let mut store = Store::default();
    store.sees("s", "u1", 1);
    store.works("s", "u1", Reason::Ready, &[version("s", "s1", 7)]);
    let listed = |store: &mut Store, namespace: &str| {
        names(&store.listed_secrets(&HashSet::new(), |it| it == namespace)).len()
    };
    assert_eq!((listed(&mut store, "other"), listed(&mut store, "ns")), (0, 1));
    // It can happen while the object is worked on, too.
    assert!(store.work(&key("s")).is_some());
    listed(&mut store, "ns");
    store.ends("s", "u1", Reason::Ready, &[version("s", "s2", 9)]);
    assert!(store.is_due(&key("s")));
}

#[test]
fn a_secret_of_somebody_else_is_looked_at_again_when_its_rights_change() {
    let theirs = Some(("other", "u2"));
    let changes: [(&str, Option<Seen>, bool); 5] = [
        ("another version", Some(seen("s1", 8, theirs)), false),
        ("with the annotation", Some(Seen { is_open: true, ..seen("s1", 8, theirs) }), true),
        ("without owner", Some(seen("s1", 8, None)), true),
        ("another one", Some(seen("s2", 8, theirs)), true),
        ("gone", None, true),
    ];
    for (change, after, is_touched) in changes {
        let mut store = Store::default();
        store.sees("s", "u1", 1);
        store.sees_secret("s", seen("s1", 7, theirs));
        assert!(store.work(&key("s")).is_some_and(|work| work.present.contains("s")));
        assert_eq!(store.is_blocked("s", "u1", "s"), Some(1));
        let touched = match after {
            Some(seen) => store.sees_secret("s", seen),
            None => store.secret_gone(&key("s")),
        };
        assert_eq!(names(&touched), if is_touched { vec!["s"] } else { vec![] }, "{change}");
    }
}

#[test]
fn a_secret_of_somebody_else_that_was_seen_before_the_object_makes_room_or_lets_it_in() {
    let changes = [("gone", None, true), ("with the annotation", Some(open("f1", 8)), true)];
    for (change, after, is_touched) in changes {
        let mut store = Store::default();
        // Nothing of it is kept: there is no object that it could mean something for.
        store.sees_secret("s", seen("f1", 7, None));
        store.sees("s", "u1", 1);
        assert!(store.work(&key("s")).is_some());
        assert_eq!(store.is_blocked("s", "u1", "s"), Some(1));
        let touched = match after {
            Some(seen) => store.sees_secret("s", seen),
            None => store.secret_gone(&key("s")),
        };
        assert_eq!(names(&touched), if is_touched { vec!["s"] } else { vec![] }, "{change}");
        assert!(store.work(&key("s")).is_some(), "{change}");
    }
}

#[test]
fn what_does_not_open_is_not_tried_again_for_a_change_of_its_secret() {
    let closed = [
        Reason::Invalid,
        Reason::MacMismatch,
        Reason::NoKey,
        Reason::NotAllowed,
        Reason::Suspended,
        Reason::Template,
        Reason::Unseal,
    ];
    for reason in Reason::ALL {
        let mut store = settled();
        store.sees_secret("s", seen("s1", 8, Some(("s", "u1"))));
        store.works("s", "u1", reason, &[]);
        let touched = names(&store.sees_secret("s", seen("s2", 9, Some(("s", "u1"))))).len();
        assert_eq!(touched == 0, closed.contains(&reason), "{reason}");
    }
}

#[test]
fn a_new_key_is_one_for_what_failed_for_want_of_it_and_for_what_is_being_worked_on() {
    let mut store = settled();
    for (name, reason) in [("a", Reason::NoKey), ("b", Reason::Unseal), ("c", Reason::NoKey)] {
        store.sees(name, "u1", 1);
        store.works(name, "u1", reason, &[]);
    }
    // It may have begun with the keys of before.
    assert!(store.work(&key("c")).is_some());
    let mut failed = store.failed_for(Reason::NoKey);
    failed.sort();
    assert_eq!(names(&failed), ["a", "c"]);
}

#[test]
fn an_object_with_many_secrets_hears_of_each() {
    let mut store = Store::default();
    store.sees("o", "u1", 1);
    let both = [version("a", "a1", 7), version("b", "b1", 8)];
    store.works("o", "u1", Reason::Ready, &both);
    for (name, resource_version) in [("a", 7), ("b", 8)] {
        let (owner, uid) = (Some(("o", "u1")), format!("{name}1"));
        assert_eq!(names(&store.sees_secret(name, seen(&uid, resource_version, owner))), NONE);
    }
    assert_eq!(names(&store.sees_secret("b", seen("b1", 20, Some(("o", "u1"))))), ["o"]);
    store.works("o", "u1", Reason::Ready, &[version("a", "a1", 7), version("b", "b1", 21)]);
    assert_eq!(names(&store.sees_secret("b", seen("b1", 20, Some(("o", "u1"))))), NONE, "it is old");
    assert_eq!(names(&store.sees_secret("b", seen("b1", 21, Some(("o", "u1"))))), NONE);
    // A Secret that has the name of the object, and nothing to do with it.
    assert!(!store.is_due(&key("o")));
    assert_eq!(names(&store.sees_secret("o", seen("o1", 30, None))), NONE);
    // A Secret that it owns without standing for it may have to go.
    assert_eq!(names(&store.sees_secret("c", seen("c1", 31, Some(("o", "u1"))))), ["o"]);
    let work = store.work(&key("o")).expect("there is one too many");
    let mut owned: Vec<_> = work.owned.iter().map(|version| version.name.as_str()).collect();
    owned.sort_unstable();
    assert_eq!(owned, ["a", "b", "c"]);
    let both = [version("a", "a1", 7), version("b", "b1", 21)];
    assert_eq!(store.ends("o", "u1", Reason::Ready, &both), Some(0));
}

#[test]
fn a_secret_that_goes_with_the_owner_that_it_had_does_not_touch_the_next() {
    let mut store = settled();
    assert_eq!(store.sees("s", "u2", 1), Saw::Work);
    let work = store.work(&key("s")).expect("it is another one");
    assert!(work.owned.is_empty(), "the Secret is that of the one before");
    assert!(work.present.contains("s"));
    assert_eq!(store.is_blocked("s", "u2", "s"), Some(1));
    assert_eq!(names(&store.secret_gone(&key("s"))), ["s"], "its collection makes room");
}

#[test]
fn the_secrets_of_an_object_that_is_gone_are_told() {
    let mut store = settled();
    store.sees_secret("s", seen("s1", 8, Some(("s", "u1"))));
    store.sees_secret("more", seen("m1", 9, Some(("s", "u1"))));
    store.sees_secret("old", seen("o1", 9, Some(("s", "u0"))));
    let mut owned = store.gone(&key("s"));
    owned.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(owned, [(key("more"), version("more", "m1", 9)), (key("s"), version("s", "s1", 8))]);
    assert_eq!((store.gone(&key("s")).len(), store.len()), (0, 0));
    assert_eq!(names(&store.secret_gone(&key("s"))), NONE);
}

#[test]
fn a_secret_that_two_objects_stand_for_is_told_to_both_until_one_lets_go() {
    let mut store = Store::default();
    for (name, uid) in [("one", "u1"), ("two", "u2")] {
        store.sees(name, uid, 1);
    }
    store.works("one", "u1", Reason::Ready, &[version("x", "x1", 7)]);
    store.sees_secret("x", seen("x1", 7, Some(("one", "u1"))));
    assert!(store.work(&key("two")).is_some());
    store.is_blocked("two", "u2", "x");
    // The first stands for another Secret from now on.
    store.sees_secret("x", seen("x1", 8, Some(("one", "u1"))));
    store.works("one", "u1", Reason::Ready, &[version("y", "y1", 9)]);
    assert_eq!(names(&store.secret_gone(&key("x"))), ["two"]);
    store.works("two", "u2", Reason::Ready, &[version("x", "x2", 11)]);
    // Now it is the other way round: who goes lets go.
    store.gone(&key("one"));
    assert_eq!(names(&store.secret_gone(&key("x"))), ["two"]);
}

#[test]
fn a_secret_in_another_namespace_is_not_that_of_the_object() {
    let mut store = settled();
    let elsewhere = Key { namespace: "other".to_owned(), name: "s".to_owned() };
    assert_eq!(names(&store.saw_secret(&elsewhere, seen("e1", 9, Some(("s", "u1"))))), NONE);
    assert_eq!(store.gone(&key("s")), [(key("s"), version("s", "s1", 7))]);
}

#[test]
fn bodies_are_kept_for_some_until_they_are_worked_on() {
    let mut store = Store::default();
    let name = |number: usize| format!("s{number}");
    let large = |uid: &str| {
        let mut object = object(uid);
        object["spec"] = "x".repeat(1 << 16).into();
        object
    };
    let sees = |store: &mut Store, number, uid| store.saw(&key(&name(number)), large(uid), [1; 32], &[]);
    // As many as there is place for, and some more.
    let count = MAX_BODIES / Body::weight(Some(&Body::of(large("u1")))) + 10;
    for number in 0..count {
        assert_eq!(sees(&mut store, number, "u1"), Saw::Work);
        assert_eq!(sees(&mut store, number, "u1"), Saw::Nothing);
    }
    let held = |store: &Store| -> usize {
        store.objects.values().map(|known| Body::weight(known.body.as_ref())).sum()
    };
    assert_eq!(store.bodies, held(&store));
    assert!((MAX_BODIES - (1 << 17)..=MAX_BODIES).contains(&store.bodies), "{}", store.bodies);
    let work = store.work(&key(&name(count - 1))).expect("it is new");
    assert!(work.body.is_none());
    // Worked on, changed while it is worked on, gone: whatever happens, the sum is right.
    for number in 0..count {
        match number % 4 {
            0 => drop(store.work(&key(&name(number)))),
            1 => drop(store.gone(&key(&name(number)))),
            2 => {
                drop(store.work(&key(&name(number))));
                sees(&mut store, number, "u1");
                store.ends(&name(number), "u1", Reason::Ready, &[]);
            }
            _ => drop(sees(&mut store, number, "u2")),
        }
        assert_eq!(store.bodies, held(&store));
    }
    assert!(store.bodies < MAX_BODIES);
}

/// An object whose status says that it was reconciled to version 7 of its Secret.
fn reconciled(change: impl FnOnce(&mut Json), by: u8) -> Json {
    let essence = [1; 32];
    let facts = Object { uid: "u1", namespace: "ns", name: "s", essence: &essence };
    let applied = digest::applied(&digest_key(by), &facts, vec![version("s", "s1", 7)]);
    let mut object = object("u1");
    object["status"] = json!({
        "observedGeneration": 3,
        "conditions": [{"type": "Synced", "status": "True"}, {"type": "Ready", "status": "True"}],
        "applied": {
            "digest": applied.digest,
            "secrets": [{"name": "s", "uid": "s1", "resourceVersion": "7"}],
        },
    });
    change(&mut object);
    object
}

#[test]
fn after_a_restart_what_is_as_it_was_is_left_alone() {
    let keys = [digest_key(2), digest_key(1)];
    let secret = || Some(seen("s1", 7, Some(("s", "u1"))));
    let same = |_: &mut Json| {};
    let table: [(&str, Json, Option<Seen>, Saw); 13] = [
        ("the same", reconciled(same, 1), secret(), Saw::Settled),
        ("by the newer key", reconciled(same, 2), secret(), Saw::Settled),
        ("by a key that is gone", reconciled(same, 3), secret(), Saw::Work),
        ("no Secret", reconciled(same, 1), None, Saw::Work),
        ("another version", reconciled(same, 1), Some(seen("s1", 8, Some(("s", "u1")))), Saw::Work),
        ("another Secret", reconciled(same, 1), Some(seen("s2", 7, Some(("s", "u1")))), Saw::Work),
        ("a Secret that is open", reconciled(same, 1), Some(open("s1", 7)), Saw::Settled),
        ("no digest", reconciled(|it| it["status"]["applied"] = Json::Null, 1), secret(), Saw::Work),
        (
            "a digest of another version",
            reconciled(
                |it| {
                    let digest = it["status"]["applied"]["digest"].as_str().unwrap_or_default();
                    it["status"]["applied"]["digest"] = digest.replacen("1.", "2.", 1).into();
                },
                1,
            ),
            secret(),
            Saw::Work,
        ),
        (
            "a digest of nothing",
            reconciled(|it| it["status"]["applied"]["secrets"] = json!([]), 1),
            secret(),
            Saw::Work,
        ),
        (
            "another generation",
            reconciled(|it| it["metadata"]["generation"] = 4.into(), 1),
            secret(),
            Saw::Work,
        ),
        (
            "not ready",
            reconciled(|it| it["status"]["conditions"][1]["status"] = "False".into(), 1),
            secret(),
            Saw::Work,
        ),
        (
            "of an object that is another one",
            reconciled(|it| it["metadata"]["uid"] = "u2".into(), 1),
            secret(),
            Saw::Work,
        ),
    ];
    for (what, object, secret, saw) in table {
        let mut store = Store::default();
        if let Some(secret) = secret {
            store.sees_secret("s", secret);
        }
        assert_eq!(store.saw(&key("s"), object, [1; 32], &keys), saw, "{what}");
        assert_eq!(store.work(&key("s")).is_none(), saw == Saw::Settled, "{what}");
    }
    let mut store = Store::default();
    store.sees_secret("s", seen("s1", 7, Some(("s", "u1"))));
    assert_eq!(store.saw(&key("s"), reconciled(same, 1), [2; 32], &keys), Saw::Work, "another essence");
}

#[test]
fn what_was_left_alone_after_a_restart_is_looked_after() {
    let mut store = Store::default();
    store.sees_secret("s", seen("s1", 7, Some(("s", "u1"))));
    assert_eq!(store.saw(&key("s"), reconciled(|_| {}, 1), [1; 32], &[digest_key(1)]), Saw::Settled);
    assert_eq!(names(&store.sees_secret("s", seen("s1", 8, Some(("s", "u1"))))), ["s"]);
}

#[test]
fn a_replica_that_waits_learns_from_the_status_what_another_one_did() {
    let mut store = Store::default();
    let keys = [digest_key(1)];
    assert_eq!(store.saw(&key("s"), object("u1"), [1; 32], &keys), Saw::Work);
    assert_eq!(store.unsettled(|_| true), [key("s")]);
    store.sees_secret("s", seen("s1", 7, Some(("s", "u1"))));
    assert_eq!(store.saw(&key("s"), reconciled(|_| {}, 1), [1; 32], &keys), Saw::Settled);
    assert!(store.unsettled(|_| true).is_empty());
    // What goes wrong after that is what it has to do when its turn comes.
    store.secret_gone(&key("s"));
    assert_eq!(store.unsettled(|namespace| namespace == "ns"), [key("s")]);
    assert!(store.unsettled(|namespace| namespace == "other").is_empty());
}

#[test]
fn the_replica_that_works_hears_its_own_status() {
    let mut store = Store::default();
    let keys = [digest_key(1)];
    store.saw(&key("s"), object("u1"), [1; 32], &keys);
    assert!(store.work(&key("s")).is_some());
    store.sees_secret("s", seen("s1", 7, Some(("s", "u1"))));
    assert_eq!(store.saw(&key("s"), reconciled(|_| {}, 1), [1; 32], &keys), Saw::Settled);
    assert_eq!(store.ends("s", "u1", Reason::Ready, &[version("s", "s1", 7)]), Some(0));
    assert!(!store.is_due(&key("s")));
    // A status that says that it failed is no news for the one that wrote it.
    store.sees_secret("s", seen("s1", 8, Some(("s", "u1"))));
    store.works("s", "u1", Reason::NoKey, &[]);
    let failed = reconciled(|object| object["status"] = json!({"conditions": []}), 1);
    assert_eq!(store.saw(&key("s"), failed, [1; 32], &keys), Saw::Nothing);
    assert_eq!(store.failed_for(Reason::NoKey), [key("s")]);
}

#[test]
fn a_status_that_does_not_say_what_came_of_an_object_is_stale() {
    let keys = [digest_key(1)];
    let statuses: [(&str, Json, Saw); 8] = [
        ("ours", reconciled(|_| {}, 1), Saw::Nothing),
        ("without what was applied", told(), Saw::Nothing),
        ("none", object("u1"), Saw::Stale),
        ("failed", reconciled(|it| it["status"]["conditions"][1]["status"] = "False".into(), 1), Saw::Stale),
        (
            "of another generation",
            reconciled(|it| it["status"]["observedGeneration"] = 2.into(), 1),
            Saw::Stale,
        ),
        ("by a key of somebody else", reconciled(|_| {}, 9), Saw::Stale),
        (
            "of another version",
            reconciled(|it| it["status"]["applied"]["secrets"][0]["resourceVersion"] = "6".into(), 1),
            Saw::Stale,
        ),
        ("of no Secret", reconciled(|it| it["status"]["applied"]["secrets"] = json!([]), 1), Saw::Stale),
    ];
    for (what, object, saw) in statuses {
        let mut store = settled();
        assert_eq!(store.saw(&key("s"), object, [1; 32], &keys), saw, "{what}");
        // Whether it is looked at again is up to whoever knows whether the status is written.
        assert!(!store.is_due(&key("s")), "{what}");
        store.unsettle(&key("s"));
        assert!(store.work(&key("s")).is_some(), "{what}");
    }
}

#[test]
fn a_status_that_is_written_behind_ours_is_not_missed() {
    let keys = [digest_key(1)];
    let failed = || reconciled(|it| it["status"]["conditions"][1]["status"] = "False".into(), 1);
    // Whether our own is heard of first, and whether the Secret was heard of by then.
    for (is_told, is_seen) in [(false, false), (true, false), (true, true)] {
        let mut store = Store::default();
        store.sees("s", "u1", 1);
        assert!(store.work(&key("s")).is_some());
        if is_seen {
            store.sees_secret("s", seen("s1", 7, Some(("s", "u1"))));
        }
        if is_told {
            store.saw(&key("s"), reconciled(|_| {}, 1), [1; 32], &keys);
        }
        store.saw(&key("s"), failed(), [1; 32], &keys);
        store.ends("s", "u1", Reason::Ready, &[version("s", "s1", 7)]);
        assert!(store.is_due(&key("s")), "{is_told} {is_seen}");
        // That was it, if it is as it should be then.
        store.works("s", "u1", Reason::Ready, &[version("s", "s1", 7)]);
        assert!(!store.is_due(&key("s")), "{is_told} {is_seen}");
    }
}

#[test]
fn what_failed_here_is_as_it_should_be_when_another_replica_says_so() {
    let keys = [digest_key(1)];
    for (version, saw) in [(Some(7), Saw::Settled), (Some(6), Saw::Stale), (None, Saw::Stale)] {
        let mut store = Store::default();
        store.sees("s", "u1", 1);
        store.works("s", "u1", Reason::NoKey, &[]);
        if let Some(version) = version {
            store.sees_secret("s", seen("s1", version, Some(("s", "u1"))));
        }
        for object in [object("u1"), told(), reconciled(|_| {}, 9)] {
            assert_eq!(store.saw(&key("s"), object, [1; 32], &keys), Saw::Nothing);
        }
        assert_eq!(store.failed_for(Reason::NoKey), [key("s")]);
        assert_eq!(store.saw(&key("s"), reconciled(|_| {}, 1), [1; 32], &keys), saw);
        assert_eq!(store.work(&key("s")).is_none(), saw == Saw::Settled);
    }
}

//! Whatever happens in whatever order: in the end, everything is as it should be, or is tried again.
//!
//! A model of a cluster, of watches that lag behind, and of workers that overlap, around the true store and queue.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::controller::queue::Queue;
use crate::controller::retry;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    /// An object is made, or changed: which Secrets it stands for, and whether it can be opened.
    Write {
        object: usize,
        secrets: Vec<usize>,
        opens: bool,
    },
    /// An object is deleted; its Secrets are collected.
    Delete {
        object: usize,
    },
    /// Somebody makes a Secret, or changes what is in it.
    Edit {
        secret: usize,
    },
    /// Somebody puts the annotation on a Secret, or takes it off.
    Annotate {
        secret: usize,
        is_open: bool,
    },
    /// Somebody deletes a Secret.
    Take {
        secret: usize,
    },
    /// The next event of objects, or of Secrets, arrives.
    Hear {
        secrets: bool,
    },
    /// The watch of Secrets begins again: what was on its way is lost.
    Again,
    /// A key is added, which opens everything.
    Key,
    /// A worker begins with the next object, reads and writes, or is done.
    Begin,
    Act,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let (object, secret) = (0..OBJECTS.len(), 0..SECRETS.len());
    let secrets = proptest::collection::vec(secret.clone(), 1..3);
    prop_oneof![
        3 => (object.clone(), secrets, prop::bool::weighted(0.8))
            .prop_map(|(object, secrets, opens)| Step::Write { object, secrets, opens }),
        1 => object.prop_map(|object| Step::Delete { object }),
        2 => secret.clone().prop_map(|secret| Step::Edit { secret }),
        1 => (secret.clone(), any::<bool>())
            .prop_map(|(secret, is_open)| Step::Annotate { secret, is_open }),
        2 => secret.prop_map(|secret| Step::Take { secret }),
        8 => any::<bool>().prop_map(|secrets| Step::Hear { secrets }),
        1 => Just(Step::Again),
        1 => Just(Step::Key),
        4 => Just(Step::Begin),
        4 => Just(Step::Act),
        4 => Just(Step::End),
    ]
}

/// An object in the cluster.
#[derive(Clone)]
struct Thing {
    uid: u64,
    essence: u8,
    secrets: Vec<usize>,
    opens: bool,
}

/// A Secret in the cluster.
#[derive(Clone)]
struct Real {
    uid: u64,
    version: u64,
    owner: Option<(usize, u64)>,
    is_open: bool,
    /// The uid and essence of the object that it was made from; `None` for anything else.
    content: Option<(u64, u8)>,
}

/// An attempt that is under way.
struct Running {
    object: usize,
    result: Option<Done>,
}

struct World {
    clock: u64,
    has_key: bool,
    objects: BTreeMap<usize, Thing>,
    secrets: BTreeMap<usize, Real>,
    object_events: VecDeque<(usize, Option<Thing>)>,
    secret_events: VecDeque<(usize, Option<Real>)>,
    running: VecDeque<Running>,
    store: Store,
    queue: Queue,
    now: Instant,
}

impl World {
    fn new(now: Instant) -> Self {
        Self {
            clock: 0,
            has_key: false,
            objects: BTreeMap::new(),
            secrets: BTreeMap::new(),
            object_events: VecDeque::new(),
            secret_events: VecDeque::new(),
            running: VecDeque::new(),
            store: Store::default(),
            queue: Queue::default(),
            now,
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn step(&mut self, step: Step, now: Instant) {
        match step {
            Step::Write { object, mut secrets, opens } => {
                secrets.sort_unstable();
                secrets.dedup();
                let clock = self.tick();
                let uid = self.objects.get(&object).map_or(clock, |thing| thing.uid);
                let essence = u8::try_from(clock % 251).unwrap_or_default();
                let thing = Thing { uid, essence, secrets, opens };
                self.objects.insert(object, thing.clone());
                self.object_events.push_back((object, Some(thing)));
            }
            Step::Delete { object } => {
                let Some(thing) = self.objects.remove(&object) else { return };
                self.object_events.push_back((object, None));
                let is_owned = |real: &Real| real.owner.is_some_and(|(_, uid)| uid == thing.uid);
                let owned: Vec<_> = self
                    .secrets
                    .iter()
                    .filter(|(_, real)| is_owned(real))
                    .map(|(secret, _)| *secret)
                    .collect();
                for secret in owned {
                    self.take(secret);
                }
            }
            Step::Edit { secret } => {
                let clock = self.tick();
                let there = self.secrets.get(&secret).cloned();
                let real = there.unwrap_or(Real {
                    uid: clock,
                    version: 0,
                    owner: None,
                    is_open: false,
                    content: None,
                });
                self.put(secret, Real { content: None, ..real });
            }
            Step::Annotate { secret, is_open } => {
                if let Some(real) = self.secrets.get(&secret).cloned()
                    && real.is_open != is_open
                {
                    self.put(secret, Real { is_open, ..real });
                }
            }
            Step::Take { secret } => self.take(secret),
            Step::Hear { secrets: true } => self.hear_of_a_secret(),
            Step::Hear { secrets: false } => self.hear_of_an_object(),
            Step::Again => self.watch_again(),
            Step::Key => {
                self.has_key = true;
                let failed = self.store.failed_for(Reason::NoKey);
                self.requeue(failed);
            }
            Step::Begin => self.begin(now),
            Step::Act => self.act(),
            Step::End => self.end(now),
        }
    }

    fn put(&mut self, secret: usize, real: Real) -> u64 {
        let version = self.tick();
        let real = Real { version, ..real };
        self.secrets.insert(secret, real.clone());
        self.secret_events.push_back((secret, Some(real)));
        version
    }

    fn take(&mut self, secret: usize) {
        if self.secrets.remove(&secret).is_some() {
            self.tick();
            self.secret_events.push_back((secret, None));
        }
    }

    fn requeue(&mut self, keys: Vec<Key>) {
        for key in keys {
            self.store.unsettle(&key);
            self.queue.add(key);
        }
    }

    fn touch(&mut self, keys: Vec<Key>) {
        for key in keys {
            self.queue.add_touched(key, self.now);
        }
    }

    fn hear_of_an_object(&mut self) {
        let Some((object, thing)) = self.object_events.pop_front() else { return };
        let key = key(OBJECTS[object]);
        let Some(thing) = thing else {
            self.store.gone(&key);
            self.queue.remove(&key);
            return;
        };
        let body = json!({"metadata": {"uid": thing.uid.to_string()}});
        match self.store.saw(&key, body, [thing.essence; 32], &[]) {
            Saw::Nothing => {}
            Saw::Settled => panic!("there is no status that could say so"),
            Saw::Work => self.requeue(vec![key]),
        }
    }

    fn hear_of_a_secret(&mut self) {
        let Some((secret, real)) = self.secret_events.pop_front() else { return };
        let touched = match real {
            Some(real) => self.store.saw_secret(&key(SECRETS[secret]), seen(&real)),
            None => self.store.secret_gone(&key(SECRETS[secret])),
        };
        self.touch(touched);
    }

    fn watch_again(&mut self) {
        self.secret_events.clear();
        let mut listed = HashSet::new();
        for (secret, real) in self.secrets.clone() {
            listed.insert(key(SECRETS[secret]));
            let touched = self.store.saw_secret(&key(SECRETS[secret]), seen(&real));
            self.touch(touched);
        }
        let touched = self.store.listed_secrets(&listed, |_| true);
        self.touch(touched);
    }

    fn begin(&mut self, now: Instant) {
        let Some(key) = self.queue.next(now) else { return };
        if self.store.work(&key).is_none() {
            self.queue.done(&key);
            return;
        }
        let object = OBJECTS.iter().position(|name| *name == key.name).expect("there are no others");
        self.running.push_back(Running { object, result: None });
    }

    /// Reads the object, and brings its Secrets about.
    fn act(&mut self) {
        let Some(index) = self.running.iter().position(|running| running.result.is_none()) else { return };
        let object = self.running[index].object;
        let Some(thing) = self.objects.get(&object).cloned() else {
            // It is gone: the watch tells the rest.
            let running = self.running.remove(index).expect("it was found above");
            self.queue.done(&key(OBJECTS[running.object]));
            return;
        };
        let mut done = Done {
            uid: thing.uid.to_string(),
            essence: [thing.essence; 32],
            reason: Reason::Ready,
            secrets: Vec::new(),
            names: Vec::new(),
        };
        if thing.opens || self.has_key {
            done.names = thing.secrets.iter().map(|secret| SECRETS[*secret].to_owned()).collect();
            for secret in thing.secrets.clone() {
                match self.bring_about(object, &thing, secret) {
                    Some(version) => done.secrets.push(version),
                    None => {
                        done.reason = Reason::Unmanaged;
                        break;
                    }
                }
            }
        } else {
            done.reason = Reason::NoKey;
        }
        self.running[index].result = Some(done);
    }

    fn bring_about(&mut self, object: usize, thing: &Thing, secret: usize) -> Option<Version> {
        let wanted = Some((thing.uid, thing.essence));
        let there = self.secrets.get(&secret).cloned();
        let is_ours = |real: &Real| real.is_open || real.owner.is_some_and(|(_, uid)| uid == thing.uid);
        let real = match there {
            Some(real) if !is_ours(&real) => return None,
            Some(real) if real.content == wanted && real.owner == Some((object, thing.uid)) => real,
            there => {
                let uid = there.as_ref().map_or_else(|| self.tick(), |real| real.uid);
                let is_open = there.is_some_and(|real| real.is_open);
                let owner = Some((object, thing.uid));
                self.put(secret, Real { uid, version: 0, owner, is_open, content: wanted });
                self.secrets[&secret].clone()
            }
        };
        Some(Version {
            name: SECRETS[secret].to_owned(),
            uid: real.uid.to_string(),
            resource_version: real.version.to_string(),
        })
    }

    fn end(&mut self, now: Instant) {
        let Some(index) = self.running.iter().position(|running| running.result.is_some()) else { return };
        let running = self.running.remove(index).expect("it was found above");
        let key = key(OBJECTS[running.object]);
        let done = running.result.expect("it was found for that");
        let reason = done.reason;
        let attempts = self.store.done(&key, done);
        self.queue.done(&key);
        if attempts.and_then(|attempts| retry::delay(reason, attempts, 5, 0.0)).is_some() {
            self.queue.add_later(key.clone(), now + Duration::from_secs(1000));
        }
        if self.store.is_due(&key) {
            self.queue.add_touched(key, now);
        }
    }

    /// Lets everything arrive, and all work be done, but for what waits for its time.
    fn settle(&mut self, now: Instant) {
        for _ in 0..10_000 {
            let is_quiet = self.object_events.is_empty()
                && self.secret_events.is_empty()
                && self.running.is_empty()
                && self.queue.len() == 0;
            if is_quiet {
                return;
            }
            for step in [
                Step::Hear { secrets: true },
                Step::Hear { secrets: false },
                Step::Begin,
                Step::Act,
                Step::End,
            ] {
                self.step(step, now);
            }
        }
        panic!("it never ends");
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.store.len(), self.objects.len());
        for (object, thing) in &self.objects {
            let key = key(OBJECTS[*object]);
            let is_fine = thing.secrets.iter().all(|secret| {
                self.secrets.get(secret).is_some_and(|real| {
                    real.content == Some((thing.uid, thing.essence))
                        && real.owner == Some((*object, thing.uid))
                })
            });
            let settled = self.store.objects[&key].settled;
            let is_for_later = self.queue.is_for_later(&key);
            prop_assert!(settled != Some(Reason::Ready) || is_fine, "{} is not as it should be", key.name);
            prop_assert!(settled == Some(Reason::Ready) || is_for_later, "{} is forgotten", key.name);
            prop_assert!(settled != Some(Reason::NoKey) || !self.has_key, "{} could be opened", key.name);
        }
        let bodies = self.store.objects.values().filter_map(|known| known.body.as_deref());
        let bodies: usize = bodies.map(weight).sum();
        prop_assert_eq!(self.store.bodies, bodies);
        Ok(())
    }

    /// Makes sure that nothing stays in memory of what is gone.
    fn check_memory(&mut self, now: Instant) -> Result<(), TestCaseError> {
        for object in 0..OBJECTS.len() {
            self.step(Step::Delete { object }, now);
        }
        for secret in 0..SECRETS.len() {
            self.step(Step::Take { secret }, now);
        }
        self.settle(now);
        let store = &self.store;
        prop_assert!(store.objects.is_empty() && store.secrets.is_empty());
        prop_assert!(store.claims.is_empty() && store.owned.is_empty());
        prop_assert_eq!((store.bodies, self.queue.len()), (0, 0));
        Ok(())
    }
}

fn key(name: &str) -> Key {
    Key { namespace: "ns".to_owned(), name: name.to_owned() }
}

fn seen(real: &Real) -> Seen {
    let owner = real.owner.map(|(object, uid)| Owner {
        api_version: "example.com/v1".to_owned(),
        kind: "Thing".to_owned(),
        name: OBJECTS[object].to_owned(),
        uid: uid.to_string(),
        is_controller: true,
    });
    Seen {
        uid: real.uid.to_string(),
        resource_version: real.version.to_string(),
        owner,
        is_open: real.is_open,
    }
}

proptest! {
    #[test]
    fn in_the_end_everything_is_as_it_should_be_or_is_tried_again(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let now = Instant::now();
        let mut world = World::new(now);
        for step in steps {
            world.step(step, now);
        }
        world.settle(now);
        world.check()?;
        world.check_memory(now)?;
    }
}

/// Some Secrets have the name of an object, and some have not.
const OBJECTS: [&str; 3] = ["a", "b", "c"];
const SECRETS: [&str; 4] = ["a", "b", "x", "y"];

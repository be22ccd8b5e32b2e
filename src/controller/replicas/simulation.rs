//! Replicas whose clocks run unequally, which pause, die, leave and come back, with requests that are slow, lost, or
//! arrive long after they were given up: no two of them ever have the same work.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::Replica;
use super::memory::MemoryLeases;
use super::record::{Write, holder, released};
use crate::controller::settings::ReplicaSettings;

#[test]
fn no_two_replicas_ever_have_the_same_work() {
    let mut busy = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        world.run(200 * SECOND, true);
        busy += world.covered;
        // When nothing bad happens any more, everything is done again.
        let calm = world.now + 100 * SECOND;
        world.run(calm, false);
        let owned = NAMESPACES.iter().filter(|namespace| world.owners(namespace) == 1).count();
        assert_eq!((owned, world.leaders()), (NAMESPACES.len(), 1), "seed {seed}");
    }
    // Doing nothing would be safe, too.
    assert!(busy > SEEDS * 2000, "{busy}");
}

/// What is written by a replica: one of its two loops.
#[derive(Clone, Copy, Debug)]
enum Part {
    Election,
    Membership,
}

/// What happens next in a loop.
enum Step {
    /// It asks for Leases.
    Ask,
    /// The server reads them.
    Read(Instant),
    /// It hears of them.
    Hear(Instant, Vec<Lease>),
    /// The server writes.
    Write(Instant, Write),
    /// The server writes what nobody waits for any more.
    WriteLate(Write),
    /// It hears that it was written.
    Done(Instant, Lease),
}

struct Node {
    identity: String,
    rate: f64,
    replica: Replica,
    paused: u64,
    cut_off: u64,
}

struct World {
    random: ChaCha8Rng,
    leases: MemoryLeases,
    now: u64,
    base: Instant,
    nodes: BTreeMap<u64, Node>,
    queue: BTreeMap<(u64, u64), (u64, Part, Step)>,
    turns: u64,
    is_bad: bool,
    covered: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            leases: MemoryLeases::default(),
            now: 0,
            base: Instant::now(),
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            turns: 0,
            is_bad: true,
            covered: 0,
        };
        for number in 0..3 {
            world.start(format!("node-{number}"));
        }
        world
    }

    fn run(&mut self, end: u64, is_bad: bool) {
        self.is_bad = is_bad;
        while self.now < end {
            let next_check = (self.now / CHECK + 1) * CHECK;
            match self.queue.first_key_value() {
                Some((&(at, _), _)) if at <= next_check => {
                    let ((at, _), (node, part, step)) = self.queue.pop_first().expect("there is one");
                    self.now = at;
                    self.step(node, part, step);
                }
                _ => {
                    self.now = next_check;
                    if is_bad && self.chance(1.0 / 60.0) {
                        self.harm();
                    }
                }
            }
            self.check();
        }
    }

    fn check(&mut self) {
        assert!(self.leaders() <= 1, "two leaders at {}", self.now);
        for namespace in NAMESPACES {
            let owners = self.owners(namespace);
            assert!(owners <= 1, "{owners} owners of {namespace} at {}", self.now);
            self.covered += u64::from(owners == 1 && self.now.is_multiple_of(CHECK));
        }
    }

    fn owners(&self, namespace: &str) -> usize {
        let covers = |node: &&Node| {
            let (now, duty) = (self.local(node), node.replica.duty(self.local(node)));
            duty.until.is_some_and(|until| now < until) && duty.share.has(namespace)
        };
        self.nodes.values().filter(covers).count()
    }

    fn leaders(&self) -> usize {
        self.nodes.values().filter(|node| node.replica.duty(self.local(node)).is_leader).count()
    }

    fn local(&self, node: &Node) -> Instant {
        self.base + Duration::from_millis(self.now).mul_f64(node.rate)
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millisecond(i64::try_from(self.now).expect("it is small")).expect("a time")
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.random.gen_bool(chance)
    }

    fn start(&mut self, identity: String) {
        let settings = ReplicaSettings {
            lease: "main".into(),
            identity: identity.clone(),
            duration: Duration::from_millis(TERM),
            renew: Duration::from_millis(RENEW),
        };
        self.turns += 1;
        let (id, rate) = (self.turns, self.random.gen_range(0.9..1.1));
        let replica = Replica::new(&settings, true);
        self.nodes.insert(id, Node { identity, rate, replica, paused: 0, cut_off: 0 });
        for part in [Part::Election, Part::Membership] {
            self.after(0, id, part, Step::Ask);
        }
    }

    fn after(&mut self, wait: u64, node: u64, part: Part, step: Step) {
        self.turns += 1;
        self.queue.insert((self.now + wait, self.turns), (node, part, step));
    }

    /// How long a message is under way: not long, as a rule.
    fn way(&mut self) -> u64 {
        let most = if self.is_bad && self.chance(0.05) { TERM / 6 } else { 100 };
        self.random.gen_range(1..most)
    }

    fn is_lost(&mut self, node: u64) -> bool {
        let is_cut_off = self.nodes.get(&node).is_some_and(|node| self.now < node.cut_off);
        is_cut_off || self.is_bad && self.chance(0.05)
    }

    fn step(&mut self, id: u64, part: Part, step: Step) {
        let is_here = !matches!(step, Step::Read(_) | Step::Write(..) | Step::WriteLate(_));
        if is_here {
            let Some(node) = self.nodes.get(&id) else { return };
            if self.now < node.paused {
                return self.after(node.paused - self.now, id, part, step);
            }
        }
        let (way, is_lost) = (self.way(), self.is_lost(id));
        match step {
            Step::Ask if is_lost => self.after(TERM / 3, id, part, Step::Ask),
            Step::Ask => {
                let asked = self.local(&self.nodes[&id]);
                self.after(way, id, part, Step::Read(asked));
            }
            Step::Read(_) if is_lost => self.after(TERM / 3, id, part, Step::Ask),
            Step::Read(asked) => {
                let found = match part {
                    Part::Election => self.leases.read("main").into_iter().collect(),
                    Part::Membership => self.leases.all("selkie.dev/replica-of=main"),
                };
                self.after(way, id, part, Step::Hear(asked, found));
            }
            Step::Hear(asked, found) => match self.hear(id, part, asked, found) {
                Some(write) if is_lost => {
                    // It is on its way all the same, and may arrive when all have forgotten it.
                    let late = self.random.gen_range(0..3 * TERM);
                    self.after(late, id, part, Step::WriteLate(write));
                    self.after(TERM / 3, id, part, Step::Ask);
                }
                Some(write) => {
                    let sent = self.local(&self.nodes[&id]);
                    self.after(way, id, part, Step::Write(sent, write));
                }
                None => self.after(RENEW, id, part, Step::Ask),
            },
            Step::Write(sent, write) => match self.leases.apply(write) {
                Ok(lease) if !is_lost => self.after(way, id, part, Step::Done(sent, lease)),
                _ => self.after(TERM / 3, id, part, Step::Ask),
            },
            // Nobody hears how it went.
            Step::WriteLate(write) => drop(self.leases.apply(write)),
            Step::Done(sent, lease) => {
                let (base, now) = (self.base, self.now);
                let node = self.nodes.get_mut(&id).expect("it was looked for");
                let at = base + Duration::from_millis(now).mul_f64(node.rate);
                match (part, &mut node.replica.membership) {
                    (Part::Membership, Some(membership)) => membership.wrote(&lease, sent, at),
                    _ => node.replica.election.wrote(lease, sent, at),
                }
                self.after(RENEW, id, part, Step::Ask);
            }
        }
    }

    fn hear(&mut self, id: u64, part: Part, asked: Instant, found: Vec<Lease>) -> Option<Write> {
        let (base, now, wall) = (self.base, self.now, self.wall());
        let node = self.nodes.get_mut(&id)?;
        let at = base + Duration::from_millis(now).mul_f64(node.rate);
        match (part, &mut node.replica.membership) {
            (Part::Membership, Some(membership)) => {
                membership.observe(found, asked, at);
                Some(membership.action(wall))
            }
            _ => {
                node.replica.election.observe(found.into_iter().next(), asked, at);
                node.replica.election.action(wall)
            }
        }
    }

    /// Does something bad.
    fn harm(&mut self) {
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        let victim = ids[self.random.gen_range(0..ids.len())];
        let later = self.now + self.random.gen_range(0..3 * TERM);
        match self.random.gen_range(0..7) {
            0 if ids.len() > 1 => drop(self.nodes.remove(&victim)),
            1 if ids.len() > 1 => self.leave(victim),
            2 if ids.len() < 5 => {
                let name = format!("node-{}", self.turns);
                self.start(name);
            }
            3 => {
                // Its container is started anew: the name is the same.
                let node = self.nodes.remove(&victim).expect("it is one of them");
                self.start(node.identity);
            }
            4 => self.nodes.get_mut(&victim).expect("it is one of them").paused = later,
            5 => self.nodes.get_mut(&victim).expect("it is one of them").cut_off = later,
            6 => {
                let names: Vec<_> = self.leases.names().into_iter().filter(|name| name != "main").collect();
                if !names.is_empty() {
                    self.leases.remove(&names[self.random.gen_range(0..names.len())]);
                }
            }
            _ => {}
        }
    }

    fn leave(&mut self, id: u64) {
        let node = self.nodes.remove(&id).expect("it is one of them");
        for name in ["main".to_owned(), format!("main-{}", node.identity)] {
            match self.leases.read(&name) {
                Some(lease) if holder(&lease) == Some(&node.identity) => {
                    let write = Write::Update(released(lease, self.wall()));
                    self.leases.apply(write).expect("it is of the last version");
                }
                _ => {}
            }
        }
    }
}

const SEEDS: u64 = 40;

const SECOND: u64 = 1000;

/// How long a Lease lasts, in milliseconds.
const TERM: u64 = 15 * SECOND;

/// How often it is renewed.
const RENEW: u64 = 2 * SECOND;

/// How often it is looked whether all is well, besides after each step.
const CHECK: u64 = 250;

const NAMESPACES: [&str; 8] = ["a", "b", "team-1", "team-2", "team-3", "default", "kube-system", "x"];

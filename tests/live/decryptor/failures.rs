//! Whatever fails between the controller and the API server, and whenever the controller ends: all becomes as it should
//! be, as soon as it can.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;
use selkie::sealed::KeySize;
use serde_json::{Value as Json, json};

use super::keys::{OWN, SMALL, keys_of, restore};
use super::lab::{CONTROLLER, Deed, Lab};
use super::process::Process;
use super::space::Space;
use super::{is_so, same, test};
use crate::live::faults::{Fault, Proxy, Seen};
use crate::live::sealed_secrets::Pair;

pub fn tests() -> Vec<Trial> {
    vec![
        test("failures::requests_that_fail_in_every_way", &[], requests),
        test("failures::status_that_is_not_taken_at_first", &[], status_conflict),
        test("failures::watches_that_end", &[], watches),
        test("failures::server_that_is_away", &[], away),
        test("failures::killed_between_any_two_writes", &[], killed),
        test("failures::leader_that_is_killed", &[], leader_killed),
        test("failures::leader_that_ends", &[], leader_ends),
        test("failures::shard_that_is_killed", &[], shards),
        test("failures::caller_that_hangs_up", &[], hang_up),
        test("failures::what_is_under_way_is_finished", &[], drained),
    ]
}

/// A namespace whose controllers reach the API server through a proxy.
pub struct Distant<'a> {
    pub lab: &'a Lab,
    pub proxy: Proxy,
    pub space: Space<'a>,
    pub account: PathBuf,
    pub namespace: String,
}

impl<'a> Distant<'a> {
    /// Makes the namespace, with a key.
    pub fn new(lab: &'a Lab, namespace: &str) -> Result<Self, Failed> {
        let direct = lab.home(namespace)?;
        let proxy = Proxy::start(&lab.cluster, &direct)?;
        let account = lab.account_at(namespace, &format!("{namespace}-distant"), &proxy.url)?;
        let pair = Pair::of(KeySize::Rsa2048)?;
        restore(lab, namespace, "key", pair)?;
        let space = Space::new(lab, namespace, pair.certificate.clone());
        Ok(Self { lab, proxy, space, account, namespace: namespace.to_owned() })
    }

    /// Starts a controller, without waiting for it.
    pub fn spawn(&self, name: &str, flags: &[&str]) -> Result<Process, Failed> {
        let flags = [&OWN[..], &[SMALL], flags].concat();
        Process::spawn(self.lab, &self.namespace, name, &self.account, &flags, &[])
    }

    /// Starts a controller.
    pub fn start(&self, name: &str, flags: &[&str]) -> Result<Process, Failed> {
        let process = self.spawn(name, flags)?;
        process.wait_until_ready()?;
        Ok(process)
    }

    /// Makes objects with these names, each with its name in it.
    pub fn make(&self, names: &[String]) -> Result<(), Failed> {
        for name in names {
            self.space.create(&self.object(name, name)?)?;
        }
        Ok(())
    }

    fn object(&self, name: &str, value: &str) -> Result<Json, Failed> {
        let mut sealed = self.space.seal(name, json!({"stringData": {"a": value}}))?;
        sealed["metadata"]["labels"] = json!({"lab": "own"});
        Ok(sealed)
    }

    /// Waits until all of them are as they should be.
    pub fn all_ready(&self, names: &[String]) -> Result<(), Failed> {
        for name in names {
            self.space.ready(name)?;
            self.space.has(name, &[("a", name)])?;
        }
        Ok(())
    }
}

pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// Returns whether a request writes what is reconciled, and is not about Leases or events.
pub fn is_write(seen: &Seen) -> bool {
    !seen.is_reading() && !seen.target.contains("/leases") && !seen.target.contains("/events")
}

/// Demands that the faults of a trial did happen: without any, it would say nothing.
fn is_met(what: &str, count: &AtomicUsize, least: usize) -> Result<(), Failed> {
    let count = count.load(Ordering::Relaxed);
    is_so(&format!("{what} is met"), count >= least, &json!(count))
}

fn requests(lab: &Lab) -> Result<(), Failed> {
    let distant = Distant::new(lab, "fail-requests")?;
    let controller = distant.start("one", &[])?;
    let met = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&met);
    distant.proxy.rule(move |seen| {
        if seen.is_watch() {
            return Fault::None;
        }
        match count.fetch_add(1, Ordering::Relaxed) % 29 {
            0 => Fault::Answer(409),
            4 => Fault::Answer(429),
            8 => Fault::Answer(500),
            12 => Fault::CutBefore,
            16 => Fault::CutAfter,
            20 => Fault::Slow(Duration::from_millis(300)),
            24 => Fault::Answer(503),
            _ => Fault::None,
        }
    });
    let result = through_faults(&distant);
    result.map_err(|failed| {
        let log = controller.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(60).collect();
        format!("{}\n{}", failed.message().unwrap_or_default(), lines.join("\n"))
    })?;
    distant.proxy.rule(|_| Fault::None);
    is_met("every fault", &met, 25)?;
    same("how many keys", keys_of(lab, &distant.namespace)?.len(), 1)?;
    same("whether it lives", controller.ended()?, None)?;
    controller.end()
}

fn through_faults(distant: &Distant<'_>) -> Result<(), Failed> {
    let names = names("a", 12);
    distant.make(&names)?;
    distant.all_ready(&names)?;
    for name in &names[..4] {
        distant.space.patch_secret(name, json!({"data": {"a": STANDARD.encode("x")}}))?;
    }
    for name in &names[4..8] {
        distant.space.delete_secret(name)?;
    }
    distant.all_ready(&names)
}

/// What became of an object is told, even if somebody else writes the object at the same time.
fn status_conflict(lab: &Lab) -> Result<(), Failed> {
    let distant = Distant::new(lab, "fail-status")?;
    let controller = distant.start("one", &[])?;
    for (number, fault) in [Fault::Answer(409), Fault::Answer(500), Fault::CutAfter].into_iter().enumerate() {
        let met = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&met);
        distant.proxy.rule(move |seen| {
            let is_status = !seen.is_reading() && seen.target.contains("/status");
            if is_status && count.fetch_add(1, Ordering::Relaxed) < 2 { fault } else { Fault::None }
        });
        let names = names(&format!("a{number}"), 1);
        distant.make(&names)?;
        distant.all_ready(&names)?;
        distant.space.event(&names[0], "Unsealed")?;
        is_met("the fault", &met, 1)?;
    }
    controller.end()
}

fn watches(lab: &Lab) -> Result<(), Failed> {
    let distant = Distant::new(lab, "fail-watches")?;
    let controller = distant.start("one", &[])?;
    let first = names("a", 3);
    distant.make(&first)?;
    distant.all_ready(&first)?;
    // The versions that they would go on from are too old; all is listed again.
    for (number, fault) in [Fault::Answer(410), Fault::Answer(500), Fault::Expired].into_iter().enumerate() {
        let met = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&met);
        distant.proxy.rule(move |seen| {
            let is_first = seen.is_watch() && count.fetch_add(1, Ordering::Relaxed) < 2;
            if is_first { fault } else { Fault::None }
        });
        distant.proxy.cut();
        // What happens meanwhile is not told by any watch.
        distant.space.delete_secret(&first[0])?;
        distant.space.patch_secret(&first[1], json!({"data": {"b": STANDARD.encode("x")}}))?;
        distant.space.delete_sealed(&first[2])?;
        distant.space.delete_secret(&first[2])?;
        let more = names(&format!("b{number}"), 2);
        distant.make(&more)?;
        distant.all_ready(&first[..2])?;
        distant.all_ready(&more)?;
        is_met("the fault", &met, 1)?;
        same("the Secret of one that is gone", distant.space.find_secret(&first[2])?, None)?;
        distant.make(&first[2..])?;
        distant.all_ready(&first)?;
    }
    controller.end()
}

fn away(lab: &Lab) -> Result<(), Failed> {
    let distant = Distant::new(lab, "fail-away")?;
    // It is away before the controller starts, and later.
    distant.proxy.rule(|_| Fault::CutBefore);
    let controller = distant.spawn("one", &[])?;
    let names = names("a", 3);
    distant.make(&names[..2])?;
    lab.wait("it asks", || Ok((distant.proxy.count() > 3).then_some(())))?;
    same("whether it lives", controller.ended()?, None)?;
    is_so("it is not ready", controller.get("/readyz").is_ok_and(|(code, _)| code == 503), &Json::Null)?;
    is_so("it is alive", controller.get("/healthz").is_ok_and(|(code, _)| code == 200), &Json::Null)?;
    distant.proxy.rule(|_| Fault::None);
    distant.all_ready(&names[..2])?;
    controller.wait_until_ready()?;
    distant.proxy.rule(|_| Fault::CutBefore);
    distant.proxy.cut();
    distant.make(&names[2..])?;
    distant.space.delete_secret(&names[0])?;
    distant.proxy.take_seen();
    lab.wait("it asks", || Ok((distant.proxy.count() > 1).then_some(())))?;
    is_so("it is alive", controller.get("/healthz").is_ok_and(|(code, _)| code == 200), &Json::Null)?;
    is_so("it has a certificate", controller.certificate().is_ok(), &Json::Null)?;
    distant.proxy.rule(|_| Fault::None);
    distant.all_ready(&names)?;
    same("how many keys", keys_of(lab, &distant.namespace)?.len(), 1)?;
    controller.end()
}

/// The process ends behind the first, the second, the third write, and so on, as seen from the API server.
fn killed(lab: &Lab) -> Result<(), Failed> {
    let distant = Distant::new(lab, "fail-killed")?;
    let all = names("a", 12);
    distant.make(&all)?;
    for round in 0..6 {
        let count = Arc::new(AtomicUsize::new(0));
        let writes = Arc::clone(&count);
        distant.proxy.rule(move |seen| {
            if !is_write(seen) {
                return Fault::None;
            }
            match writes.fetch_add(1, Ordering::SeqCst).cmp(&round) {
                Less => Fault::None,
                // That one was done, and nobody heard of it.
                Equal if round % 2 == 0 => Fault::CutAfter,
                // However long the kill takes, there are some left for the next rounds.
                Equal | Greater => Fault::CutBefore,
            }
        });
        let controller = distant.spawn("one", &["--workers=2"])?;
        lab.wait("a write", || Ok((count.load(Ordering::SeqCst) > round).then_some(())))?;
        controller.kill()?;
    }
    distant.proxy.rule(|_| Fault::None);
    let controller = distant.start("one", &[])?;
    distant.all_ready(&all)?;
    same("how many keys", keys_of(lab, &distant.namespace)?.len(), 1)?;
    controller.end()
}

/// Returns who has the Lease.
fn holder(lab: &Lab, namespace: &str) -> Result<String, Failed> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{CONTROLLER}");
    let lease = lab.find(&path)?.unwrap_or_default();
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

const LEADER: [&str; 3] = ["--replicas=leader", "--lease-duration=4s", "--lease-renew=1s"];

fn leader_killed(lab: &Lab) -> Result<(), Failed> {
    replaced(lab, "fail-leader", &|leader| leader.kill(), Duration::from_secs(4 + 1 + 5))
}

/// Who ends lets go of the Lease, so that nobody waits for it to end.
fn leader_ends(lab: &Lab) -> Result<(), Failed> {
    let end = |leader: &Process| {
        leader.end()?;
        let log = leader.log()?;
        is_so("it says so", log.contains("ending: what is under way is finished"), &json!(log))
    };
    replaced(lab, "fail-end", &end, Duration::from_secs(6))
}

fn replaced(
    lab: &Lab,
    namespace: &str,
    end: &dyn Fn(&Process) -> Result<(), Failed>,
    limit: Duration,
) -> Result<(), Failed> {
    let distant = Distant::new(lab, namespace)?;
    let first = distant.start("first", &LEADER)?;
    lab.wait("a leader", || Ok((holder(lab, namespace)? == "first").then_some(())))?;
    let second = distant.start("second", &LEADER)?;
    let names = names("a", 4);
    distant.make(&names[..1])?;
    distant.all_ready(&names[..1])?;
    for (replica, leads) in [(&first, 1.0), (&second, 0.0)] {
        same("the certificate", replica.certificate()?, Pair::of(KeySize::Rsa2048)?.certificate.clone())?;
        lab.wait("the metric", || Ok((replica.metric("selkie_is_leader")? == leads).then_some(())))?;
    }
    end(&first)?;
    let begin = Instant::now();
    distant.make(&names[1..])?;
    distant.space.delete_secret(&names[0])?;
    distant.all_ready(&names)?;
    let took = begin.elapsed();
    same("the leader", holder(lab, namespace)?, "second".to_owned())?;
    is_so("it took over in time", took < limit, &json!(took.as_secs_f64()))?;
    same("how many keys", keys_of(lab, namespace)?.len(), 1)?;
    second.end()?;
    same("nobody leads", holder(lab, namespace)?, String::new())
}

fn shards(lab: &Lab) -> Result<(), Failed> {
    let namespace = "fail-shards";
    let distant = Distant::new(lab, namespace)?;
    // What the chart adds for replicas of this kind.
    let replicas: Vec<_> = (0..3).map(|number| format!("{CONTROLLER}-{number}")).collect();
    let metadata = json!({"name": "shards", "namespace": namespace});
    let leases: Vec<_> = replicas.iter().map(|name| format!("{CONTROLLER}-{name}")).collect();
    let rules = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": leases, "verbs": ["delete", "get", "update"]},
    ]);
    let items = json!([
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "shards"},
         "subjects": [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": namespace}]},
    ]);
    lab.cluster.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    let teams: Vec<_> = (0..9).map(|number| format!("fail-team-{number}")).collect();
    let mut spaces = BTreeMap::new();
    for team in &teams {
        lab.make_namespace(team)?;
        spaces.insert(team.clone(), Space::new(lab, team, Pair::of(KeySize::Rsa2048)?.certificate.clone()));
    }
    let additional = format!("--additional-namespaces={}", teams.join(","));
    let flags = ["--replicas=sharded", "--lease-duration=4s", "--lease-renew=1s", &additional];
    let mut members = Vec::new();
    for name in &replicas {
        members.push(distant.spawn(name, &flags)?);
    }
    let make = |name: &str| -> Result<(), Failed> {
        for space in spaces.values() {
            let mut sealed = space.seal(name, json!({"stringData": {"a": name}}))?;
            sealed["metadata"]["labels"] = json!({"lab": "own"});
            space.create(&sealed)?;
        }
        Ok(())
    };
    let ready = |name: &str| spaces.values().try_for_each(|space| space.ready(name).map(|_| ()));
    make("before")?;
    ready("before")?;
    for member in &members {
        member.wait_until_ready()?;
        lab.wait("they know of each other", || Ok((member.metric("selkie_members")? == 3.0).then_some(())))?;
    }
    make("together")?;
    ready("together")?;
    let shares: Vec<_> =
        members.iter().map(|member| member.metric("selkie_attempts_total")).collect::<Result<_, Failed>>()?;
    is_so("more than one works", shares.iter().filter(|share| **share > 0.0).count() > 1, &json!(shares))?;
    // The one who does most: others have to take over.
    let busiest = (0..shares.len()).max_by(|one, other| shares[*one].total_cmp(&shares[*other]));
    members.remove(busiest.ok_or("there is none")?).kill()?;
    make("after")?;
    ready("after")?;
    members.into_iter().try_for_each(|member| member.end())
}

/// Somebody who asks half of a question, and goes.
fn hang_up(lab: &Lab) -> Result<(), Failed> {
    let controller = lab.common()?;
    for port in [controller.port, controller.port + 1] {
        for part in [
            "",
            "GET /hea",
            "GET /healthz HTTP/1.1\r\nHost: a\r\n",
            "POST /v1/verify HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
        ] {
            let mut stream = TcpStream::connect((lab.cluster.inside.as_str(), port))?;
            stream.write_all(part.as_bytes())?;
            drop(stream);
            let mut stream = TcpStream::connect((lab.cluster.inside.as_str(), port))?;
            stream.write_all(part.as_bytes())?;
            // This one stays open, and says nothing more.
            std::mem::forget(stream);
        }
    }
    same("the probe", controller.get("/healthz")?, (200, "ok\n".to_owned()))?;
    same("the probe", super::process::ask(&lab.cluster.inside, controller.port + 1, "/readyz")?.0, 200)
}

fn drained(lab: &Lab) -> Result<(), Failed> {
    let namespace = "fail-drained";
    let distant = Distant::new(lab, namespace)?;
    let controller = distant.start("one", &LEADER)?;
    lab.wait("a leader", || Ok((holder(lab, namespace)? == "one").then_some(())))?;
    distant.proxy.rule(|seen| if is_write(seen) { Fault::Slow(Duration::from_secs(1)) } else { Fault::None });
    distant.proxy.take_seen();
    let names = names("a", 1);
    distant.make(&names)?;
    lab.wait("a write", || Ok(distant.proxy.take_seen().iter().any(is_write).then_some(())))?;
    controller.signal(Signal::TERM)?;
    // It is there for callers until the end.
    same("the probe", controller.get("/healthz")?.0, 200)?;
    controller.end()?;
    let object = distant.space.sealed(&names[0])?;
    same("what is said", &super::space::condition(&object, "Ready")["status"], &json!("True"))?;
    let secret = distant.space.secret(&names[0])?;
    same(
        "what is said",
        &object["status"]["applied"]["secrets"][0]["resourceVersion"],
        &secret["metadata"]["resourceVersion"],
    )?;
    same("nobody leads", holder(lab, namespace)?, String::new())?;
    let path = format!("/api/v1/namespaces/{namespace}/events");
    let events = lab.act(&path, Deed::Get)?["items"].as_array().map_or(0, Vec::len);
    is_so("the event was sent", events > 0, &json!(events))
}

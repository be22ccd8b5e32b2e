//! Replicas: which of them does what, as they agree on it by Leases.
//!
//! How it works: every replica asks for the Leases and renews its own every few seconds. All decisions are in
//! [`election`] and [`membership`], which know neither the API server nor a clock; this file does what they say.
//!
//! # Why no two replicas do the same
//!
//! Clocks of different machines are never compared. Each replica measures with its own clock how long ago something was
//! *sent* or *seen* by itself; all that is assumed is that clocks run about equally fast, and that the API server reads
//! what was written before. `d` is the duration of a Lease, `m` a third of it, the margin.
//!
//! **Leader.** A leader that sent a renewal at `s`, and heard that it was accepted, leads until `s + d - m`, not longer.
//! Another one takes over when it has asked for the Lease and it was the same as `d` before: every renewal that the old
//! one knows of was sent before that, so the old one has ended since `m`. That `m` is what clocks may differ by over `d`,
//! and the time that a write has to arrive that was begun in the last moment. Writes of Leases name the version that was
//! read, so of two that take over at once one fails. A Lease that was deleted by hand counts, for whoever knew it, as one
//! that is not renewed. (A replica that starts in that moment cannot know of it, and leads at once; the old one ends with
//! its next look at the Lease.)
//!
//! **Shards.** Every namespace belongs to the member of most weight ([`Share::has`](super::duty::Share::has)). Two
//! replicas that both know of each other as members never agree on a namespace being theirs. So what has to be shown is:
//! while B works with a list of members without A, A does not work. It is so by three rules:
//!
//! 1. B works only until `l + d - m`, where `l` is when it *asked* for the list that it works with, and until
//!    `s + d - m`, where `s` is when it sent the last renewal of its own Lease that was accepted.
//! 2. A works only when it has been renewing its Lease without a gap (so that rule 1 for `s` held all the time) for
//!    at least `d`, the longest of all that live, since it heard that the first renewal was accepted. A Lease that had
//!    to be made anew is a gap.
//! 3. B takes a Lease for that of a dead one only if it asked for the list `d` (as that Lease has it) after it saw the
//!    Lease change, or vanish; or if it is released, which A does after it has ended.
//!
//! If the first renewal of A was accepted after B asked for its list, then B has ended before A begins, by rules 1 and 2.
//! If it was accepted before, then the list shows the Lease of A, and B leaves it out only by rule 3: then A was not
//! heard of for `d`, so A has ended by rule 1, and begins again only as in the first case.
//!
//! A dead replica is missed after `d` and two looks at the list, less than `2 d`. A replica that comes takes its
//! namespaces from the others when these see it, and begins when it has waited for `d`: nobody works on them for so long.
//!
//! What this does not protect from: machines whose clock stops along with all else and goes on later, as those of some
//! suspended virtual machines do.

mod election;
mod membership;
#[cfg(test)]
mod memory;
mod record;
#[cfg(test)]
mod simulation;
mod store;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use self::election::Election;
use self::membership::Membership;
use self::record::Write;
use self::store::{ClusterLeases, LeaseError, Leases};
use super::duty::{Duty, Share};
use super::settings::{ReplicaSettings, Replicas};

/// Tells this replica its duty, until `shutdown` ends; then the others are told that it is free.
///
/// Whoever has `duty` must have ended its work by then: another replica begins with it at once. So `shutdown` is not the
/// signal to end, but the end of what the signal began. A receiver wakes when the work is another one; that it goes on
/// for longer is written silently.
///
/// What the role of the controller needs for `coordination.k8s.io/leases` in its own namespace: get, create, update; for
/// shards list and delete, too.
pub async fn run(
    client: Client,
    namespace: String,
    replicas: Replicas,
    duty: watch::Sender<Duty>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (settings, is_sharded) = match replicas {
        Replicas::Single => {
            duty.send_replace(Duty::alone());
            return shutdown.await;
        }
        Replicas::Leader(settings) => (settings, false),
        Replicas::Sharded(settings) => (settings, true),
    };
    let leases = ClusterLeases::new(client, namespace, settings.duration / 3);
    let replica = Replica::new(&settings, is_sharded);
    replica.work(&leases, pause(&settings), &mut random, &duty, shutdown).await;
}

/// How long to wait between two looks. It has to be well below the duration, or a single failure would end the duty.
fn pause(settings: &ReplicaSettings) -> Duration {
    settings.renew.min(settings.duration / 4)
}

/// This replica, with what it knows of the others.
struct Replica {
    election: Election,
    membership: Option<Membership>,
    /// What is wrong, as it was said last: the same is not said again every few seconds.
    problem: Option<String>,
}

impl Replica {
    fn new(settings: &ReplicaSettings, is_sharded: bool) -> Self {
        let membership = is_sharded.then(|| Membership::new(settings));
        Self { election: Election::new(settings), membership, problem: None }
    }

    /// Looks and renews until the end, and lets go of what it has.
    async fn work<L: Leases>(
        mut self,
        leases: &L,
        pause: Duration,
        random: &mut (impl FnMut() -> u8 + Send),
        duty: &watch::Sender<Duty>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = self.round(leases) => {}
            }
            publish(duty, self.duty(Instant::now()));
            // Replicas that started together shall not ask together for ever.
            let jitter = pause / 5 * u32::from(random()) / u32::from(u8::MAX);
            tokio::select! {
                () = &mut shutdown => break,
                () = sleep(pause - jitter) => {}
            }
        }
        publish(duty, Duty::none());
        if timeout(RELEASE, self.release(leases)).await.is_err() {
            tracing::warn!(
                "the Leases of this replica were not released in time: the others will wait for their end"
            );
        }
    }

    /// Has one look at the Leases, and does what follows from it.
    async fn round<L: Leases>(&mut self, leases: &L) {
        let membership = async {
            match &mut self.membership {
                Some(membership) => renew_membership(membership, leases).await,
                None => Ok(()),
            }
        };
        let (elected, member) = tokio::join!(elect(&mut self.election, leases), membership);
        let swept = match &self.membership {
            Some(membership) if self.election.until(Instant::now()).is_some() => {
                sweep(membership, leases).await
            }
            _ => Ok(()),
        };
        let failure = [elected, member, swept].into_iter().filter_map(Result::err);
        // Somebody else was quicker, which the next look shows.
        self.report(failure.filter(|error| !matches!(error, LeaseError::Conflict)).last());
    }

    fn report(&mut self, failure: Option<LeaseError>) {
        let problem = failure.map(|error| match &error {
            LeaseError::Server { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        });
        if problem != self.problem {
            match &problem {
                Some(problem) => tracing::warn!(%problem, "replicas cannot agree on who does what"),
                None => tracing::info!("replicas can agree again on who does what"),
            }
            self.problem = problem;
        }
    }

    /// Returns what this replica has to do.
    fn duty(&self, now: Instant) -> Duty {
        let leads = self.election.until(now);
        let (share, until) = match &self.membership {
            Some(membership) => membership.share(now).unzip(),
            None => (leads.map(|_| Share::All), leads),
        };
        Duty {
            is_leader: leads.is_some(),
            share: share.unwrap_or(Share::Nothing),
            // When the first of the two ends, the next look tells what is left.
            until: leads.into_iter().chain(until).min(),
        }
    }

    /// Tells the others that they need not wait.
    async fn release<L: Leases>(&self, leases: &L) {
        let own = self.membership.as_ref().map(Membership::lease);
        for name in own.into_iter().chain([self.election.lease()]) {
            // The version may be old: a renewal may have been under way.
            for _ in 0..RELEASES {
                match release(leases, name, self.election.identity()).await {
                    Err(LeaseError::Conflict) => {}
                    Err(error) => {
                        tracing::warn!(lease = name, %error, "a Lease was not released: the others wait for its end");
                        break;
                    }
                    Ok(()) => break,
                }
            }
        }
    }
}

/// Takes part in the election.
async fn elect<L: Leases>(election: &mut Election, leases: &L) -> Result<(), LeaseError> {
    let asked = Instant::now();
    let lease = leases.get(election.lease()).await?;
    election.observe(lease, asked, Instant::now());
    if let Some(write) = election.action(Timestamp::now()) {
        let sent = Instant::now();
        let lease = store::write(leases, write).await?;
        election.wrote(lease, sent, Instant::now());
    }
    Ok(())
}

/// Looks who the members are, and stays one of them.
async fn renew_membership<L: Leases>(membership: &mut Membership, leases: &L) -> Result<(), LeaseError> {
    let asked = Instant::now();
    let all = leases.list(membership.selector()).await?;
    membership.observe(all, asked, Instant::now());
    let write = membership.action(Timestamp::now());
    let sent = Instant::now();
    let lease = store::write(leases, write).await?;
    membership.wrote(&lease, sent, Instant::now());
    Ok(())
}

/// Deletes the Leases of replicas that will not come back.
async fn sweep<L: Leases>(membership: &Membership, leases: &L) -> Result<(), LeaseError> {
    for lease in membership.stale().take(SWEEP) {
        match leases.delete(lease).await {
            // It has changed, or is gone.
            Err(LeaseError::Conflict) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Releases a Lease if this replica holds it.
async fn release<L: Leases>(leases: &L, name: &str, identity: &str) -> Result<(), LeaseError> {
    match leases.get(name).await? {
        Some(lease) if record::holder(&lease) == Some(identity) => {
            let write = Write::Update(record::released(lease, Timestamp::now()));
            store::write(leases, write).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// Publishes a duty. Receivers wake only if there is another work to do.
fn publish(sender: &watch::Sender<Duty>, duty: Duty) {
    sender.send_if_modified(|old| {
        let is_other = (old.is_leader, &old.share) != (duty.is_leader, &duty.share);
        let is_back = !old.is_current() && duty.is_current();
        if is_other {
            let members = match &duty.share {
                Share::Of { members, .. } => members.len(),
                Share::All => 1,
                Share::Nothing => 0,
            };
            tracing::info!(is_leader = duty.is_leader, members, "this replica has another duty");
        }
        *old = duty;
        is_other || is_back
    });
}

/// Returns a number by chance. Nothing bad happens if it is always the same.
fn random() -> u8 {
    let mut byte = [0];
    match getrandom::getrandom(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => 0,
    }
}

/// How long it may take at the end to release Leases.
const RELEASE: Duration = Duration::from_secs(5);

/// How often it is tried to release a Lease.
const RELEASES: usize = 3;

/// How many Leases of others are deleted at once.
const SWEEP: usize = 5;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::memory::MemoryLeases;
    use super::*;

    /// A replica that runs.
    struct Running {
        task: JoinHandle<()>,
        end: oneshot::Sender<()>,
        duty: watch::Receiver<Duty>,
    }

    impl Running {
        fn start(identity: &str, is_sharded: bool, leases: &Arc<MemoryLeases>) -> Self {
            let settings =
                ReplicaSettings { lease: "l".into(), identity: identity.into(), duration: D, renew: D / 8 };
            let (sender, duty) = watch::channel(Duty::none());
            let (end, ended) = oneshot::channel();
            let leases = Arc::clone(leases);
            let task = tokio::spawn(async move {
                let replica = Replica::new(&settings, is_sharded);
                let ended = async { ended.await.expect("it is told") };
                replica.work(&*leases, pause(&settings), &mut || 128, &sender, ended).await;
            });
            Self { task, end, duty }
        }

        async fn end(self) {
            self.end.send(()).expect("it runs");
            self.task.await.expect("it does not panic");
        }

        fn has(&self, namespace: &str) -> bool {
            self.duty.borrow().covers(namespace)
        }

        fn leads(&self) -> bool {
            self.duty.borrow().leads()
        }
    }

    /// Waits, and looks that no two replicas do the same, until something is so; returns how long that took.
    async fn until(replicas: &[&Running], is_so: impl Fn() -> bool) -> Duration {
        let start = Instant::now();
        while !is_so() {
            sleep(Duration::from_millis(100)).await;
            assert!(replicas.iter().filter(|replica| replica.leads()).count() <= 1);
            for namespace in NAMESPACES {
                assert!(owners(replicas, namespace) <= 1, "{namespace}");
            }
            assert!(start.elapsed() < D * 10, "it never happens");
        }
        start.elapsed()
    }

    fn owners(replicas: &[&Running], namespace: &str) -> usize {
        replicas.iter().filter(|replica| replica.has(namespace)).count()
    }

    fn is_all_done(replicas: &[&Running]) -> bool {
        NAMESPACES.iter().all(|namespace| owners(replicas, namespace) == 1)
    }

    const D: Duration = Duration::from_secs(16);
    const NAMESPACES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    #[tokio::test(start_paused = true)]
    async fn one_leads_at_once_and_the_next_when_it_is_told_or_the_time_is_up() {
        let leases = Arc::new(MemoryLeases::default());
        let first = Running::start("a", false, &leases);
        assert!(until(&[&first], || first.leads()).await < Duration::from_secs(1));
        let second = Running::start("b", false, &leases);
        sleep(D * 4).await;
        assert!(first.has("x") && !second.has("x"));
        first.end().await;
        assert!(until(&[&second], || second.leads()).await < D / 4);
        let third = Running::start("c", false, &leases);
        sleep(D).await;
        second.task.abort();
        let waited = until(&[&second, &third], || third.leads()).await;
        assert!(waited > D / 2 && waited < D * 2, "{waited:?}");
        assert_eq!(record::holder(&leases.read("l").expect("a Lease")), Some("c"));
    }

    #[tokio::test(start_paused = true)]
    async fn without_permission_there_is_no_duty_and_it_is_tried_again() {
        let leases = Arc::new(MemoryLeases::default());
        let replica = Running::start("a", false, &leases);
        until(&[&replica], || replica.leads()).await;
        leases.forbid(true);
        sleep(D).await;
        assert_eq!(*replica.duty.borrow(), Duty::none());
        leases.forbid(false);
        assert!(until(&[&replica], || replica.leads()).await < D / 4);
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_share_the_work_and_take_over_that_of_the_dead_and_of_those_that_end() {
        let leases = Arc::new(MemoryLeases::default());
        let [a, b, c] = ["a", "b", "c"].map(|identity| Running::start(identity, true, &leases));
        let waited = until(&[&a, &b, &c], || is_all_done(&[&a, &b, &c])).await;
        assert!(waited >= D && waited < D + D / 4, "{waited:?}");
        sleep(D).await;
        assert!([&a, &b, &c].iter().any(|replica| replica.leads()));
        // One dies.
        a.task.abort();
        let waited = until(&[&a, &b, &c], || is_all_done(&[&b, &c])).await;
        assert!(waited < D * 2, "{waited:?}");
        // One comes.
        let d = Running::start("d", true, &leases);
        sleep(D / 2).await;
        let waited = until(&[&b, &c, &d], || is_all_done(&[&b, &c, &d])).await;
        assert!(waited < D, "{waited:?}");
        // One ends.
        b.end().await;
        let waited = until(&[&c, &d], || is_all_done(&[&c, &d])).await;
        assert!(waited < D / 4, "{waited:?}");
        // What they left is cleaned up.
        sleep(D * 12).await;
        assert_eq!(leases.names(), ["l", "l-c", "l-d"]);
        c.end().await;
        d.end().await;
        assert!(
            leases.names().iter().all(|name| leases.read(name).is_some_and(|l| record::holder(&l).is_none()))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn receivers_wake_only_for_another_work() {
        let leases = Arc::new(MemoryLeases::default());
        let mut replica = Running::start("a", false, &leases);
        replica.duty.changed().await.expect("it runs");
        assert!(replica.duty.borrow_and_update().leads());
        let before = replica.duty.borrow().until;
        sleep(D * 3).await;
        assert!(!replica.duty.has_changed().expect("it runs"));
        assert!(replica.duty.borrow().until > before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_replica_does_all_from_the_start() {
        let (sender, duty) = watch::channel(Duty::none());
        let client = Client::new(
            tower::service_fn(|_: http::Request<kube::client::Body>| {
                std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
            }),
            "default",
        );
        let shutdown = sleep(Duration::from_secs(1));
        run(client, "selkie".into(), Replicas::Single, sender, shutdown).await;
        assert_eq!(*duty.borrow(), Duty::alone());
    }
}

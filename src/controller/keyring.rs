//! The sealing keys of the cluster: found, watched, made, and renewed.
//!
//! Invariants: what to do is decided by [`plan`] alone. A list that failed changes nothing. Keys are made by the
//! leader, and only after it has looked once more. A key whose Secret was deleted or retired is given up, but for the
//! last ones, which open values until there is another; one whose Secret is broken opens values until it is gone.
//! Nothing is sealed for a key that is not in the cluster. Secrets are never changed or deleted.

mod cluster;
mod found;
mod make;
mod plan;

use std::future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use selkie::sealed::{Key, KeyRegistry, SealingKey, SmallKeys};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::duty::Duties;
use super::key_set::{KeyFacts, KeySet, KeyState, Keys};
use super::settings::KeySettings;
use cluster::{ClusterError, KeySecrets, Versions};
use found::Found;
use make::NewKey;
use plan::{Cause, Plan, Seen, Situation, Step, plan};

/// What tells the time.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Who sees to the sealing keys.
pub struct Keyring {
    secrets: KeySecrets,
    settings: KeySettings,
    duties: Duties,
    demand: Arc<Notify>,
    clock: Clock,
    keys: watch::Sender<Arc<KeySet>>,
    /// What was seen when they were last listed; `None` if it is not known.
    seen: Option<Vec<Seen>>,
    versions: Option<Versions>,
    /// When to list again.
    look_at: Instant,
    failed_looks: u32,
    /// Since when there is none of the Secrets whose keys are still in use.
    vanished_at: Option<Instant>,
    is_demanded: bool,
    /// The fingerprint of a key of which it is not known whether it was written.
    uncertain: Option<String>,
    /// When to make another key at the soonest, and how many were made, or not, without any rest.
    make_at: Instant,
    makes: u32,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    /// The Secret was not written.
    #[error("the Secret cannot be written: {0}")]
    Cluster(#[from] ClusterError),
    /// It could not be computed.
    #[error(transparent)]
    Key(#[from] selkie::sealed::SealingKeyError),
    /// The work ended in the middle.
    #[error("the work was given up")]
    Stopped,
}

impl Keyring {
    /// Returns the keyring of a namespace, and where its keys are found. Until [`run`](Self::run) has listed them for
    /// the first time, there are none, and the generation is 0.
    #[must_use]
    pub fn new(
        client: kube::Client,
        namespace: &str,
        settings: KeySettings,
        duties: Duties,
        clock: Clock,
    ) -> (Self, Keys) {
        let (keys, receiver) = watch::channel(Arc::default());
        let now = Instant::now();
        let keyring = Self {
            secrets: KeySecrets::new(client, namespace, &settings.prefix),
            settings,
            duties,
            demand: Arc::default(),
            clock,
            keys,
            seen: None,
            versions: None,
            look_at: now,
            failed_looks: 0,
            vanished_at: None,
            is_demanded: false,
            uncertain: None,
            make_at: now,
            makes: 0,
        };
        (keyring, receiver)
    }

    /// Returns what to notify for a new key to be made at once. A replica that does not lead only says so.
    #[must_use]
    pub fn demand(&self) -> Arc<Notify> {
        Arc::clone(&self.demand)
    }

    /// Sees to the keys, for ever: it ends when it is dropped.
    pub async fn run(mut self) {
        let mut changes = pin!(self.secrets.changes());
        let demand = self.demand();
        loop {
            if Instant::now() >= self.look_at {
                self.look().await;
            }
            let wake = self.act().await;
            tokio::select! {
                Some(()) = changes.next() => {
                    settle(&mut changes).await;
                    self.look_at = Instant::now();
                }
                () = changed(&mut self.duties) => {}
                () = demand.notified() => {
                    self.is_demanded = true;
                    // Whoever asks does not want to wait.
                    self.make_at = Instant::now();
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Lists the Secrets, and publishes their keys if something changed.
    async fn look(&mut self) {
        let secrets = match self.secrets.list().await {
            Ok(secrets) => secrets,
            Err(error) => return self.looked_in_vain(&error),
        };
        (self.look_at, self.failed_looks) = (Instant::now() + LOOK_PERIOD, 0);
        let versions = cluster::versions(&secrets);
        if self.seen.is_some() && self.versions.as_ref() == Some(&versions) {
            secrets.into_iter().for_each(cluster::wipe);
            return;
        }
        // Large keys take their time.
        let found = spawn_blocking(|| secrets.into_iter().map(Found::new).collect()).await;
        match found {
            Ok(found) => self.publish(found, versions),
            // It panicked, or the runtime ends.
            Err(_) => self.looked_in_vain(&ClusterError::Answer),
        }
    }

    fn looked_in_vain(&mut self, error: &ClusterError) {
        tracing::warn!(%error, "sealing keys cannot be listed: those that are known stay in use");
        self.seen = None;
        self.look_at = Instant::now() + back_off(LOOK_WAIT, self.failed_looks, LONGEST_LOOK_WAIT);
        self.failed_looks = self.failed_looks.saturating_add(1);
    }

    fn publish(&mut self, found: Vec<Found>, versions: Versions) {
        let seen: Vec<_> = found.iter().map(|found| found.seen.clone()).collect();
        let before = Arc::clone(&self.keys.borrow());
        let is_gone = seen.is_empty() && !before.registry.keys().is_empty();
        self.vanished_at = is_gone.then(|| self.vanished_at.unwrap_or_else(Instant::now));
        if seen
            .iter()
            .any(|seen| seen.facts.fingerprint.is_some() && seen.facts.fingerprint == self.uncertain)
        {
            // It was written although nobody said so.
            (self.uncertain, self.is_demanded) = (None, false);
        }
        let plan = self.plan(Some(&seen));
        tell(&found, &before.facts);
        let set = key_set(found, &plan, &before);
        (self.seen, self.versions) = (Some(seen), Some(versions));
        if before.generation == 0 || !is_same(&before, &set) {
            self.keys.send_replace(Arc::new(set));
        }
    }

    fn plan(&self, secrets: Option<&[Seen]>) -> Plan {
        let situation = Situation {
            secrets,
            now: (self.clock)(),
            is_leader: self.duties.borrow().leads(),
            is_demanded: self.is_demanded,
            vanished_for: self.vanished_at.map(|instant| instant.elapsed()),
        };
        plan(&situation, &self.settings)
    }

    /// Makes a key if one is due, and returns when to look at the clock again, which may be set at any time.
    async fn act(&mut self) -> Instant {
        let latest = (Instant::now() + LONGEST_WAIT).min(self.look_at);
        if self.is_demanded && !self.duties.borrow().leads() {
            tracing::warn!("a sealing key was asked for, which is up to the replica that leads");
            self.is_demanded = false;
        }
        match self.plan(self.seen.as_deref()).step {
            Step::Wait(until) => {
                self.makes = if self.seen.is_some() { 0 } else { self.makes };
                let wait = until.and_then(|until| Duration::try_from(until - (self.clock)()).ok());
                wait.and_then(|wait| Instant::now().checked_add(wait)).map_or(latest, |due| due.min(latest))
            }
            Step::Make(_) if Instant::now() < self.make_at => self.make_at.min(latest),
            Step::Make(cause) => {
                self.make(cause).await;
                // Whatever came of it is seen at once.
                Instant::now()
            }
        }
    }

    /// Makes a key, unless it turns out that there is no need to.
    async fn make(&mut self, cause: Cause) {
        self.look().await;
        if self.plan(self.seen.as_deref()).step != Step::Make(cause) {
            return;
        }
        let result = self.make_now(cause).await;
        // One key should do: if it does not, the next one will not either, and keys stay for ever.
        let (wait, longest) = match &result {
            Ok(_) => (MADE_WAIT, LONGEST_MADE_WAIT),
            Err(_) => (MAKE_WAIT, LONGEST_MAKE_WAIT),
        };
        self.make_at = Instant::now() + back_off(wait, self.makes, longest);
        self.makes = self.makes.saturating_add(1);
        if let Err(error) = result {
            tracing::error!(%error, cause = cause.word(), "no sealing key could be made: it will be tried again");
        }
    }

    async fn make_now(&mut self, cause: Cause) -> Result<(), MakeError> {
        let (settings, clock) = (self.settings.clone(), Arc::clone(&self.clock));
        let new = spawn_blocking(move || NewKey::generate(&settings, || clock()));
        let new = new.await.map_err(|_| MakeError::Stopped)??;
        // That took a while, in which keys may have been restored, or made by another replica.
        self.look().await;
        if self.plan(self.seen.as_deref()).step != Step::Make(cause) {
            return Ok(());
        }
        self.look_at = Instant::now();
        self.uncertain = Some(new.fingerprint());
        let name = self.secrets.create(new.to_secret(&self.settings)).await?;
        (self.uncertain, self.is_demanded) = (None, false);
        tracing::info!(name, cause = cause.word(), fingerprint = new.fingerprint(), "New key written");
        tracing::info!(certificate = new.certificate(), "Certificate generated");
        Ok(())
    }
}

/// Returns the keys of Secrets, in the order of the plan.
fn key_set(found: Vec<Found>, plan: &Plan, before: &KeySet) -> KeySet {
    let mut set = KeySet { generation: before.generation + 1, ..KeySet::default() };
    let is_lost = |name: &str| {
        let mut others = found.iter().map(|found| &found.seen.facts);
        found.is_empty() || others.any(|facts| facts.name == name && facts.is_lost())
    };
    let lost = before.registry.keys().iter().filter(|key| is_lost(&key.name));
    let lost: Vec<_> = lost.filter_map(copy).collect();
    set.facts = found.iter().map(|found| found.seen.facts.clone()).collect();
    set.facts.sort_by(|one, other| one.name.cmp(&other.name));
    if set.facts.iter().any(KeyFacts::is_lost) {
        set.registry.mark_incomplete();
    }
    let mut found: Vec<_> = found.into_iter().map(Some).collect();
    for &index in &plan.usable {
        let Some(found) = found[index].take() else { continue };
        if plan.newest == Some(index) {
            set.certificate = found.certificate;
        }
        add(&mut set.registry, found.keys);
    }
    // Behind all others: they open values, and nothing is sealed for them.
    add(&mut set.registry, lost);
    set
}

fn add(registry: &mut KeyRegistry, keys: Vec<Key>) {
    keys.into_iter().for_each(|key| registry.add(key));
}

/// Returns another copy of a key that was in use; `None` does not happen, as it was read once.
fn copy(key: &Key) -> Option<Key> {
    let mut copy = Key::new(SealingKey::parse(&key.key.to_pem(), SmallKeys::Refuse).ok()?, key.name.clone());
    (copy.not_before, copy.not_after) = (key.not_before, key.not_after);
    Some(copy)
}

impl KeyFacts {
    /// Returns whether there is no key to be read.
    fn is_lost(&self) -> bool {
        self.state == KeyState::Broken && self.fingerprint.is_none()
    }
}

/// Returns whether a set says the same as another one.
fn is_same(one: &KeySet, other: &KeySet) -> bool {
    let fingerprints = |set: &KeySet| -> Vec<_> {
        set.registry.keys().iter().map(|key| key.fingerprint().to_owned()).collect()
    };
    one.facts == other.facts
        && one.certificate == other.certificate
        && fingerprints(one) == fingerprints(other)
}

/// Says what is new about key Secrets.
fn tell(found: &[Found], before: &[KeyFacts]) {
    for Found { seen: Seen { facts, .. }, problem, .. } in found {
        if before.contains(facts) {
            continue;
        }
        let (name, fingerprint) = (&facts.name, facts.fingerprint.as_deref());
        match (facts.state, problem) {
            (KeyState::Active, None) => {
                tracing::info!(secretname = name, fingerprint, "registered private key");
            }
            (KeyState::Active, Some(problem)) => {
                tracing::warn!(secretname = name, fingerprint, problem, "registered private key");
            }
            (KeyState::Broken, problem) => {
                let problem = problem.as_deref();
                tracing::error!(secretname = name, fingerprint, problem, "a key Secret cannot be read");
            }
            (KeyState::Retired, _) => {
                tracing::info!(
                    secretname = name,
                    fingerprint,
                    "a sealing key is not used, as its label says"
                );
            }
        }
    }
    for facts in before {
        if found.iter().all(|found| found.seen.facts.name != facts.name) {
            let (name, fingerprint) = (&facts.name, facts.fingerprint.as_deref());
            tracing::warn!(secretname = name, fingerprint, "a key Secret is gone");
        }
    }
}

/// Waits until no more changes come, so that a whole backup is read at once.
async fn settle(changes: &mut (impl Stream<Item = ()> + Unpin)) {
    let until = Instant::now() + SETTLE;
    // It ends by the time alone, as the stream has no end.
    while let Ok(Some(())) = timeout_at(until, changes.next()).await {}
}

/// Waits for another duty; for ever if there will be none.
async fn changed(duties: &mut Duties) {
    if duties.changed().await.is_err() {
        future::pending::<()>().await;
    }
}

/// Returns how long to wait after a number of attempts.
fn back_off(first: Duration, attempts: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(attempts)).min(longest)
}

/// How often Secrets are listed although no change was heard of.
const LOOK_PERIOD: Duration = Duration::from_secs(600);
/// How soon they are listed again after that failed, at first.
const LOOK_WAIT: Duration = Duration::from_secs(1);
/// How soon they are listed again after that failed, at last.
const LONGEST_LOOK_WAIT: Duration = Duration::from_secs(60);
/// How soon another key is made if one was not enough, at first.
const MADE_WAIT: Duration = Duration::from_secs(60);
/// How soon another key is made if many were not enough.
const LONGEST_MADE_WAIT: Duration = Duration::from_secs(86400);
/// How soon it is tried again to make a key, at first.
const MAKE_WAIT: Duration = Duration::from_secs(1);
/// How soon it is tried again to make a key, at last.
const LONGEST_MAKE_WAIT: Duration = Duration::from_secs(300);
/// How long a change may go on.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a wait is at most, as clocks may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;

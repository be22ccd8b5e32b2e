//! The keys that the objects of a namespace may be opened with.
//!
//! Invariants: what a namespace hands in is used for its own objects alone, and so is what a server answered for them;
//! a change of files is taken over as a whole, and a bad one leaves the old ones in use; nothing is kept for longer
//! than a few minutes after its last use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use selkie::keys::{KeyService, Remembering, Remote};
use selkie::sops::{BY_EFFORT, Envelope, Metadata};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::aside::aside;
use super::guard::Guarded;
use super::key_secret::KeySecrets;
use super::loaded::{Files, Loaded};
use super::policy::{Credentials, Rule};
use super::{SopsError, SopsSettings, failure};
use crate::controller::reason::{Failure, Reason};

/// The keys that the objects of a namespace may be opened with.
pub struct SopsKeys {
    settings: SopsSettings,
    remote: Arc<Remote>,
    variable: fn(&str) -> Option<String>,
    loaded: RwLock<(u64, Arc<Loaded>)>,
    secrets: Box<dyn KeySecrets>,
    fetched: Mutex<HashMap<SecretName, Fetched>>,
    openers: Mutex<HashMap<(String, Option<String>), Arc<Opener>>>,
    /// The key Secrets without which an object could not be opened, what they were then, and when that was.
    missed: Mutex<HashMap<SecretName, (Option<String>, Instant)>>,
    changes: watch::Sender<u64>,
}

/// Namespace and name.
type SecretName = (String, String);

/// A key Secret that was read.
#[derive(Clone)]
struct Fetched {
    generation: u64,
    at: Instant,
    version: String,
    services: Arc<[Arc<dyn KeyService>]>,
}

/// What opens the documents of a namespace with a key Secret, or without one.
struct Opener {
    generation: u64,
    /// The version of the key Secret.
    version: Option<String>,
    made: Instant,
    rule: Arc<Rule>,
    services: Vec<Remembering>,
}

impl SopsKeys {
    /// Returns the keys that settings name, with those of Secrets.
    ///
    /// # Errors
    /// If a file cannot be read, or does not hold what it should.
    pub fn new(
        settings: &SopsSettings,
        secrets: Box<dyn KeySecrets>,
        variable: fn(&str) -> Option<String>,
    ) -> Result<Self, SopsError> {
        let remote = Arc::default();
        let loaded = Files::read(settings)?.load(&remote, variable)?;
        Ok(Self {
            settings: settings.clone(),
            remote,
            variable,
            loaded: RwLock::new((0, Arc::new(loaded))),
            secrets,
            fetched: Mutex::default(),
            openers: Mutex::default(),
            missed: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// Returns what changes whenever there may be keys, or rights to use them, that were not there before.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns the rule for a namespace.
    ///
    /// # Errors
    /// If there is none.
    pub fn rule(&self, namespace: &str) -> Result<Arc<Rule>, Failure> {
        rule_of(&self.loaded().1, namespace)
    }

    /// Recovers the data key of a document with the keys of a namespace: those of a Secret in it, and those that the
    /// policy allows it to use.
    ///
    /// # Errors
    /// If no key opens it.
    pub async fn recover(
        &self,
        namespace: &str,
        secret: Option<&str>,
        metadata: Metadata,
    ) -> Result<Envelope, Failure> {
        if metadata.groups.iter().map(|group| group.0.len()).sum::<usize>() > MOST_KEYS {
            return Err(Failure::new(
                Reason::Invalid,
                format!("the document has more than {MOST_KEYS} keys"),
            ));
        }
        let opener = self.opener(namespace, secret).await?;
        let services: Vec<_> = opener.services.iter().map(|service| service as &dyn KeyService).collect();
        let envelope = Envelope::recover(metadata, &services, BY_EFFORT).await;
        envelope.map_err(|error| {
            // The next attempt asks anew: failures are remembered, too.
            self.forget(namespace, secret);
            if let Some(name) = secret {
                self.note_missed(namespace, name, opener.version.clone());
            }
            failure::of_recovery(&error, &opener.rule)
        })
    }

    /// Looks whether files changed, and takes them over; and whether key Secrets are there that were missed.
    ///
    /// # Errors
    /// If a file cannot be read, or does not hold what it should: all stays as it was.
    pub async fn refresh(&self) -> Result<(), SopsError> {
        let outcome = self.refresh_files().await;
        self.prune();
        self.look_for_missed().await;
        outcome
    }

    async fn refresh_files(&self) -> Result<(), SopsError> {
        let (generation, loaded) = self.loaded();
        let settings = self.settings.clone();
        let files = tokio::task::spawn_blocking(move || Files::read(&settings)).await;
        // A task that was ended was so because all is.
        let Ok(files) = files else { return Ok(()) };
        let files = files?;
        if !files.are_those_of(&loaded) {
            let loaded = Arc::new(files.load(&self.remote, self.variable)?);
            *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = (generation + 1, loaded);
            self.changes.send_modify(|changes| *changes += 1);
        }
        Ok(())
    }

    /// Looks whether key Secrets that were missed are there by now, or are others.
    async fn look_for_missed(&self) {
        lock(&self.missed).retain(|_, (_, since)| since.elapsed() < MISSED);
        let missed: Vec<_> =
            lock(&self.missed).iter().map(|(name, (version, _))| (name.clone(), version.clone())).collect();
        let look = |(name, version): (SecretName, Option<String>)| async move {
            let found = timeout(PATIENCE, self.secrets.get(&name.0, &name.1)).await;
            // One that cannot be read is looked for again.
            let is_changed = matches!(&found, Ok(Ok(found)) if found.as_ref().map(|found| &found.version) != version.as_ref());
            is_changed.then_some(name)
        };
        let changed: Vec<_> = join_all(missed.into_iter().map(look)).await.into_iter().flatten().collect();
        for name in &changed {
            lock(&self.fetched).remove(name);
            lock(&self.missed).remove(name);
        }
        if !changed.is_empty() {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Notes that a key Secret, as it is, does not help.
    fn note_missed(&self, namespace: &str, name: &str, version: Option<String>) {
        let mut missed = lock(&self.missed);
        if missed.len() < MOST_MISSED {
            missed.insert((namespace.to_owned(), name.to_owned()), (version, Instant::now()));
        }
    }

    async fn opener(&self, namespace: &str, secret: Option<&str>) -> Result<Arc<Opener>, Failure> {
        let (generation, loaded) = self.loaded();
        let rule = rule_of(&loaded, namespace)?;
        let fetched = match secret {
            None => None,
            Some(name) if !rule.allows_secret(name) => {
                let message = format!("the policy does not allow the key Secret {name:?} in this namespace");
                return Err(Failure::new(Reason::NotAllowed, message));
            }
            Some(name) => Some(self.fetch(namespace, name, generation, &loaded).await?),
        };
        let version = fetched.as_ref().map(|fetched| fetched.version.clone());
        let name = (namespace.to_owned(), secret.map(str::to_owned));
        let mut openers = lock(&self.openers);
        openers.retain(|_, opener| opener.is_of(generation));
        if let Some(opener) = openers.get(&name).filter(|opener| opener.version == version) {
            return Ok(Arc::clone(opener));
        }
        let of_secret = fetched.iter().flat_map(|fetched| fetched.services.iter());
        let opener = Arc::new(Opener::new(generation, version, &rule, of_secret, &loaded));
        openers.insert(name, Arc::clone(&opener));
        Ok(opener)
    }

    /// Returns the services of a key Secret, which is read again unless that was a moment ago.
    async fn fetch(
        &self,
        namespace: &str,
        name: &str,
        generation: u64,
        loaded: &Loaded,
    ) -> Result<Fetched, Failure> {
        let key = (namespace.to_owned(), name.to_owned());
        let known = {
            let mut fetched = lock(&self.fetched);
            fetched.retain(|_, fetched| fetched.is_of(generation));
            fetched.get(&key).cloned()
        };
        if let Some(known) = known.as_ref().filter(|known| known.at.elapsed() < FRESH) {
            return Ok(known.clone());
        }
        let found = self.secrets.get(namespace, name).await?;
        let Some(secret) = found else {
            lock(&self.fetched).remove(&key);
            self.note_missed(namespace, name, None);
            return Err(Failure::new(
                Reason::NoKey,
                format!("there is no key Secret {name:?} in this namespace"),
            ));
        };
        let version = secret.version.clone();
        let services = match known.filter(|known| known.version == version) {
            Some(known) => known.services,
            None => {
                let own_name = name.to_owned();
                aside(move |_| secret.keys(&own_name))
                    .await
                    .inspect_err(|_| self.note_missed(namespace, name, Some(version.clone())))?
                    .into_services(&loaded.around)
                    .into_iter()
                    .map(Arc::from)
                    .collect()
            }
        };
        let new = Fetched { generation, at: Instant::now(), version, services };
        lock(&self.fetched).insert(key, new.clone());
        Ok(new)
    }

    /// Forgets what is too old, or was made of other files.
    fn prune(&self) {
        let (generation, _) = self.loaded();
        lock(&self.fetched).retain(|_, fetched| fetched.is_of(generation));
        lock(&self.openers).retain(|_, opener| opener.is_of(generation));
    }

    fn forget(&self, namespace: &str, secret: Option<&str>) {
        lock(&self.openers).remove(&(namespace.to_owned(), secret.map(str::to_owned)));
    }

    fn loaded(&self) -> (u64, Arc<Loaded>) {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        (loaded.0, Arc::clone(&loaded.1))
    }
}

impl Fetched {
    fn is_of(&self, generation: u64) -> bool {
        self.generation == generation && self.at.elapsed() < REMEMBERED
    }
}

impl Opener {
    fn is_of(&self, generation: u64) -> bool {
        self.generation == generation && self.made.elapsed() < REMEMBERED
    }

    /// Returns what opens with the services of a Secret, then with those of files, then with what the controller has,
    /// then with key services elsewhere: those that the rule names, and no other one.
    fn new<'a>(
        generation: u64,
        version: Option<String>,
        rule: &Arc<Rule>,
        of_secret: impl Iterator<Item = &'a Arc<dyn KeyService>>,
        loaded: &'a Loaded,
    ) -> Self {
        let of_files = loaded.files.iter().filter(|(path, _)| rule.allows_file(path));
        let of_files = of_files.flat_map(|(_, services)| services);
        let ambient = loaded.ambient.iter().filter(|(kind, _)| rule.allows_ambient(kind));
        let elsewhere = loaded.key_services.iter().filter(|(address, _)| rule.allows_key_service(address));
        let of_controller =
            of_files.chain(ambient.map(|(_, service)| service)).chain(elsewhere.map(|(_, service)| service));
        let of_namespace = of_secret.map(|service| (service, Credentials::OfNamespace));
        let all = of_namespace.chain(of_controller.map(|service| (service, Credentials::OfController)));
        let guarded = all.map(|(service, credentials)| {
            Remembering::new(Box::new(Guarded::new(Arc::clone(service), Arc::clone(rule), credentials)))
        });
        Self {
            generation,
            version,
            made: Instant::now(),
            rule: Arc::clone(rule),
            services: guarded.collect(),
        }
    }
}

fn rule_of(loaded: &Loaded, namespace: &str) -> Result<Arc<Rule>, Failure> {
    loaded.policy.rule(namespace).cloned().ok_or_else(|| {
        Failure::new(Reason::NotAllowed, format!("no rule of the policy is for the namespace {namespace:?}"))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For how long a key Secret that was read counts as the one that is there.
const FRESH: Duration = Duration::from_secs(15);

/// For how long what servers answered is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);

/// For how long a key Secret is looked for that was missed. Objects that still need it then were tried again since.
const MISSED: Duration = Duration::from_secs(1200);

/// How many key Secrets are looked for at most; beyond, objects wait for their next attempt.
const MOST_MISSED: usize = 50;

/// How long the answer about one of them is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many keys a document may have: each may be a request, or some work.
const MOST_KEYS: usize = 100;

#[cfg(test)]
mod tests;

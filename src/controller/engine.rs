//! Keeps all objects of a kind as they should be: one loop that knows, many attempts at once that do.

mod collection;
mod lists;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use kube::Client;
use kube::runtime::watcher::{self, Event};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};

use self::collection::collect;
use self::lists::{Listed, Lists};
use super::context::Context;
use super::digest;
use super::events::About;
use super::queue::{Key, Queue};
use super::reason::Reason;
use super::reconcile::{Attempt, Outcome, UNSEALED, attempt};
use super::retry;
use super::source::Source;
use super::store::{Saw, Store};
use super::watch::{self as watches, Object, SecretHead};

/// Keeps all objects of a kind as they should be.
pub struct Engine {
    context: Arc<Context>,
    source: Arc<dyn Source>,
    kind: String,
    /// What probes know it as.
    task: &'static str,
    store: Store,
    queue: Queue,
    attempts: JoinSet<Attempt>,
    /// How many attempts there may be at once, with those of other kinds.
    permits: Arc<Semaphore>,
    objects: Lists,
    secrets: Lists,
    synced: watch::Sender<bool>,
}

/// What is to be told when it changed, from outside of the API server.
pub struct Signals {
    /// Objects that failed for want of a key are tried again.
    pub keys: BoxStream<'static, ()>,
    /// It is time to end.
    pub shutdown: watch::Receiver<bool>,
}

impl Engine {
    /// Returns an engine for a kind of objects, as probes know it, and what tells whether it knows all of them.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        source: Arc<dyn Source>,
        task: &'static str,
        permits: Arc<Semaphore>,
    ) -> (Self, watch::Receiver<bool>) {
        let (synced, is_synced) = watch::channel(false);
        let count = watches::count(&context.settings.namespaces);
        let kind = source.label().to_owned();
        let engine = Self {
            context,
            source,
            kind,
            task,
            store: Store::default(),
            queue: Queue::default(),
            attempts: JoinSet::new(),
            permits,
            objects: Lists::new(count),
            secrets: Lists::new(count),
            synced,
        };
        (engine, is_synced)
    }

    /// Works until it is time to end, then finishes what is under way.
    pub async fn run(mut self, client: Client, mut signals: Signals) {
        let settings = Arc::clone(&self.context.settings);
        let resource = self.source.resource().clone();
        let mut secrets = if settings.skip_recreate {
            futures_util::stream::pending().boxed()
        } else {
            watches::secrets(&client, &settings.namespaces)
        };
        let mut objects =
            watches::objects(&client, &resource, &settings.namespaces, &settings.label_selector);
        let mut duties = self.context.duties.clone();
        let mut beat = interval(BEAT);
        loop {
            self.context.readiness.beat(self.task);
            self.start_attempts();
            // What is known of Secrets tells which objects are as they should be.
            let knows_secrets = settings.skip_recreate || self.secrets.is_through();
            // What is due already waits for a place, not for a time.
            let due = self.queue.next_due().filter(|due| *due > Instant::now());
            let wants_place = self.queue.len() > 0 || (due.is_none() && self.queue.next_due().is_some());
            tokio::select! {
                biased;
                () = ended(&mut signals.shutdown) => break,
                // What ends an attempt makes room for the next one.
                Some(attempt) = self.attempts.join_next(), if !self.attempts.is_empty() => {
                    if let Ok(attempt) = attempt { self.ended(attempt) }
                }
                Some((number, event)) = secrets.next() => self.secret_event(number, event),
                Some(()) = signals.keys.next() => {
                    let reasons = self.source.mended_by_keys();
                    self.requeue(reasons.iter().flat_map(|reason| self.store.failed_for(*reason)).collect());
                }
                Ok(()) = duties.changed() => {
                    let duty = duties.borrow_and_update().clone();
                    self.requeue(self.store.unsettled(|namespace| duty.covers(namespace)));
                }
                Some((number, event)) = objects.next(), if knows_secrets => self.object_event(number, event),
                _ = beat.tick() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                // Another kind may hold the places.
                () = Self::place(&self.permits), if wants_place => {}
            }
            self.context.metrics.queue(&self.kind, self.queue.len(), self.store.len());
        }
        self.context.readiness.end(self.task);
        // What is under way is finished; who cannot do so in time is cut off, as if the machine had failed.
        let drain = async { while self.attempts.join_next().await.is_some() {} };
        if timeout(DRAIN, drain).await.is_err() {
            tracing::warn!(kind = self.kind, "some attempts did not end in time");
        }
    }

    async fn place(permits: &Semaphore) {
        // It is given back at once: the next turn of the loop takes it.
        let _ = permits.acquire().await;
        tokio::task::yield_now().await;
    }

    /// Starts as many attempts as may be under way at once.
    fn start_attempts(&mut self) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
            let Some(key) = self.queue.next(Instant::now()) else { return };
            let duty = self.context.duties.borrow().clone();
            if !duty.covers(&key.namespace) {
                self.queue.done(&key);
                // What belongs to another replica is looked at when it becomes ours; that our Lease has to be renewed
                // first is only a matter of time.
                if duty.share.has(&key.namespace) {
                    self.queue.add_later(key, Instant::now() + RENEWAL);
                }
                continue;
            }
            let Some(work) = self.store.work(&key) else {
                self.queue.done(&key);
                continue;
            };
            let attempt = attempt(Arc::clone(&self.context), Arc::clone(&self.source), key.clone(), work);
            self.attempts.spawn(async move {
                let attempt = AssertUnwindSafe(attempt).catch_unwind().await;
                drop(permit);
                // What was shared with it is in order: locks are not held over a call of foreign code.
                attempt.unwrap_or_else(|_| {
                    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
                    tracing::error!(namespace, name, "an attempt stopped in the middle, and is made again");
                    Attempt { key, outcome: Outcome::Unread { retry_after: None } }
                })
            });
        }
    }

    fn ended(&mut self, attempt: Attempt) {
        let Attempt { key, outcome } = attempt;
        let (reason, attempts, wait) = match outcome {
            Outcome::Done { done, retry_after } => {
                let reason = done.reason;
                self.context.metrics.state(
                    &self.kind,
                    &key.namespace,
                    &key.name,
                    self.store.instance(&key),
                    reason,
                );
                (reason, self.store.done(&key, done), retry_after)
            }
            Outcome::Unread { retry_after } => (Reason::Fetch, self.store.unread(&key), retry_after),
            // There may be another object of that name by now.
            Outcome::Collected => return,
            Outcome::Gone => {
                // The watch tells the rest.
                return self.queue.done(&key);
            }
            Outcome::NotOurs => {
                self.store.unsettle(&key);
                self.queue.add(key.clone());
                (Reason::Ready, None, None)
            }
        };
        self.queue.done(&key);
        let quick = self.context.settings.quick_retries;
        let wait = attempts
            .and_then(|attempts| retry::delay(reason, attempts, quick, (self.context.chance)()))
            .map(|own| {
                // Never sooner than the server wants.
                wait.map_or(own, |wait| wait.max(own))
            });
        let now = Instant::now();
        if self.store.is_due(&key) {
            self.queue.add_touched(key, now);
        } else if let Some(wait) = wait {
            self.queue.add_later(key, now + wait);
        }
    }

    fn object_event(&mut self, number: usize, event: Result<Event<Object>, watcher::Error>) {
        match self.objects.next(number, event, watches::key) {
            Listed::Changed(key, object) => self.saw(key, object),
            Listed::Gone(key) => self.gone(&key),
            Listed::Through(listed) => {
                let namespaces = &self.context.settings.namespaces;
                let known = self.store.objects_in(|namespace| watches::is_of(namespaces, number, namespace));
                for key in known.difference(&listed) {
                    self.gone(key);
                }
            }
            Listed::Ended(why) => {
                tracing::info!(kind = self.kind, why, "the watch ended, and is begun again")
            }
            Listed::Failed(error) => {
                tracing::warn!(kind = self.kind, %error, "the watch failed, and is begun again");
            }
            Listed::Nothing => {}
        }
        if self.objects.is_through() && !*self.synced.borrow() {
            self.synced.send_replace(true);
        }
    }

    fn secret_event(&mut self, number: usize, event: Result<Event<SecretHead>, watcher::Error>) {
        let touched = match self.secrets.next(number, event, watches::key) {
            Listed::Changed(key, secret) => {
                let seen = watches::seen(&secret, &*self.source);
                self.store.saw_secret(&key, seen)
            }
            Listed::Gone(key) => self.store.secret_gone(&key),
            Listed::Through(listed) => {
                let namespaces = &self.context.settings.namespaces;
                self.store.listed_secrets(&listed, |namespace| watches::is_of(namespaces, number, namespace))
            }
            Listed::Ended(why) => {
                tracing::info!(kind = self.kind, why, "the watch of Secrets ended, and is begun again");
                return;
            }
            Listed::Failed(error) => {
                tracing::warn!(kind = self.kind, %error, "the watch of Secrets failed, and is begun again");
                return;
            }
            Listed::Nothing => return,
        };
        let now = Instant::now();
        for key in touched {
            self.queue.add_touched(key, now);
        }
    }

    fn saw(&mut self, key: Key, object: Object) {
        let object = object.into_json(self.source.resource());
        if !object["metadata"]["deletionTimestamp"].is_null() {
            // Its Secret goes with it: making that anew would be in vain.
            self.queue.remove(&key);
            return;
        }
        let essence = digest::essence(&self.source.essence(&object));
        let failed = self.store.has_failed(&key).then(|| About::of(self.source.resource(), &object));
        let saw = {
            let keys = self.context.keys.borrow();
            self.store.saw(&key, object, essence, keys.digest_keys())
        };
        if matches!(saw, Saw::Stale | Saw::Work) && !self.context.covers(&key.namespace) {
            // What came of it here, some time ago, is not so any more, and up to another replica.
            self.context.metrics.forget(&self.kind, &key.namespace, &key.name);
        }
        match saw {
            Saw::Nothing => {}
            Saw::Stale if self.context.settings.update_status => {
                self.store.unsettle(&key);
                self.queue.add_touched(key, Instant::now());
            }
            // It says what somebody else wrote.
            Saw::Stale => {}
            Saw::Settled => {
                self.queue.remove(&key);
                if let Some(about) = failed.filter(|_| self.context.covers(&key.namespace)) {
                    // It was brought about, and only the answer got lost.
                    self.context.events.send(about, Reason::Ready, UNSEALED);
                }
                if !*self.synced.borrow() {
                    self.context.metrics.skipped(&self.kind);
                }
                let instance = self.store.instance(&key);
                self.context.metrics.state(&self.kind, &key.namespace, &key.name, instance, Reason::Ready);
            }
            Saw::Work => self.queue.add(key),
        }
    }

    fn gone(&mut self, key: &Key) {
        let owned = self.store.gone(key);
        self.queue.remove(key);
        self.context.metrics.forget(&self.kind, &key.namespace, &key.name);
        if self.context.settings.old_gc && !owned.is_empty() {
            let collected = collect(Arc::clone(&self.context), Arc::clone(&self.source), key.clone(), owned);
            let permits = Arc::clone(&self.permits);
            self.attempts.spawn(async move {
                // All of a namespace may be gone at once. Nobody closes the places.
                let _permit = permits.acquire_owned().await;
                collected.await
            });
        }
    }

    fn requeue(&mut self, keys: Vec<Key>) {
        for key in keys {
            self.store.unsettle(&key);
            self.queue.add(key);
        }
    }
}

async fn ended(shutdown: &mut watch::Receiver<bool>) {
    // Who drops the sender wants an end, too.
    let _ = shutdown.wait_for(|is_over| *is_over).await;
}

/// How often probes are told that all is well.
const BEAT: Duration = Duration::from_secs(10);
/// How soon to look again whether a Lease was renewed.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long attempts may take after it is time to end.
const DRAIN: Duration = Duration::from_secs(12);

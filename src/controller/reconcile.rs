//! One attempt at an object: open, plan, write, and say how it went.
//!
//! Invariant: before every write it is made sure that the object is still the work of this replica.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use selkie::sealed::Secret;
use serde_json::Value as Json;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::cluster::{CallError, Cluster};
use super::context::Context;
use super::digest::{self, Object};
use super::events::About;
use super::metrics::Written;
use super::plan::{Claim, Plan, plan, reserved};
use super::queue::Key;
use super::reason::{Failure, Reason};
use super::source::Source;
use super::status::{Applied, Version, status};
use super::store::{Done, Work};
use super::watch::{MAX_DEPTH, is_too_deep};

/// How an attempt went.
pub struct Attempt {
    /// The object.
    pub key: Key,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an object.
pub enum Outcome {
    /// Its Secrets were collected, as it is gone.
    Collected,
    /// It was worked on.
    Done {
        /// How it went.
        done: Done,
        /// When the API server wants to be asked again, if it does not have the time.
        retry_after: Option<Duration>,
    },
    /// There is no such object any more, or it is about to be deleted.
    Gone,
    /// It is the work of another replica by now.
    NotOurs,
    /// It could not be read.
    Unread {
        /// When the API server wants to be asked again, if it does not have the time.
        retry_after: Option<Duration>,
    },
}

/// Works on an object once.
pub async fn attempt(context: Arc<Context>, source: Arc<dyn Source>, key: Key, work: Work) -> Attempt {
    let kind = source.label().to_owned();
    let span = tracing::info_span!("reconcile", %kind, namespace = %key.namespace, name = %key.name, attempts = work.attempts);
    let begin = tokio::time::Instant::now();
    let secrets = context.cluster.hiding_metadata(source.hides_metadata());
    let outcome = Reconciliation { context: &context, source: &*source, secrets, kind: &kind, key: &key }
        .run(work)
        .instrument(span)
        .await;
    context.metrics.reconciled(&kind, begin.elapsed());
    let reason = match &outcome {
        Outcome::Done { done, .. } => Some(done.reason),
        Outcome::Unread { .. } => Some(Reason::Fetch),
        Outcome::Collected | Outcome::Gone | Outcome::NotOurs => None,
    };
    if let Some(reason) = reason {
        context.metrics.ended(&source.resource().group, reason);
    }
    Attempt { key, outcome }
}

struct Reconciliation<'a> {
    context: &'a Context,
    source: &'a dyn Source,
    /// The API server, for Secrets.
    secrets: Cluster,
    /// What metrics and logs call the kind.
    kind: &'a str,
    key: &'a Key,
}

/// What became of the Secrets of an object.
#[derive(Default)]
struct Progress {
    versions: Vec<Version>,
    names: Vec<String>,
    has_written: bool,
    /// Whether it was told before that this object failed.
    has_failed: bool,
    retry_after: Option<Duration>,
}

impl Reconciliation<'_> {
    async fn run(&self, work: Work) -> Outcome {
        self.context.metrics.attempt(self.kind);
        let object = match work.body.clone() {
            Some(object) => object,
            None => match self.cluster().object(self.source.resource(), self.key).await {
                Ok(object) => Arc::new(object),
                Err(CallError::NotFound(_)) => return Outcome::Gone,
                Err(error) => return self.not_fetched(&error),
            },
        };
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return Outcome::Gone;
        }
        let mut progress = Progress { has_failed: work.attempts > 0, ..Progress::default() };
        let result = match self.secrets(&object, &work, &mut progress).await {
            Ok(()) => Ok(()),
            Err(Stop::Failed(failure)) => Err(failure),
            Err(Stop::NotOurs) => return Outcome::NotOurs,
        };
        self.finish(&object, result, progress).await
    }

    fn cluster(&self) -> &Cluster {
        &self.context.cluster
    }

    /// Brings the Secrets of an object about.
    async fn secrets(&self, object: &Json, work: &Work, progress: &mut Progress) -> Result<(), Stop> {
        if is_too_deep(object) {
            let message = format!("it has more than {MAX_DEPTH} levels of lists and maps");
            return Err(Failure::new(Reason::Invalid, message).into());
        }
        let open = self.source.open(object).instrument(tracing::info_span!("open"));
        let desired = timeout(OPEN, open).await.map_err(|_| {
            Failure::new(Reason::Unseal, format!("it was not opened within {} s", OPEN.as_secs()))
        })??;
        progress.names = desired.secrets.iter().map(|secret| secret.metadata.name().to_owned()).collect();
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        for secret in &desired.secrets {
            let claim = Claim {
                uid,
                kind: &self.source.resource().kind,
                managed: self.source.managed(),
                patch: self.source.patch(),
                adopt: desired.adopt,
                may_apply: self.context.may_apply(),
                hides_metadata: self.source.hides_metadata(),
                reserved: self.reserved(),
            };
            let write = self.secret(&claim, secret, &work.present, progress);
            let version = write.instrument(tracing::info_span!("write")).await?;
            progress.versions.push(version);
        }
        if desired.prune {
            self.prune(&work.owned, progress).await?;
        }
        Ok(())
    }

    /// Brings one Secret about.
    async fn secret(
        &self,
        claim: &Claim<'_>,
        desired: &Secret,
        present: &HashSet<String>,
        progress: &mut Progress,
    ) -> Result<Version, Stop> {
        let (namespace, name) = (self.key.namespace.as_str(), desired.metadata.name());
        let (mut claim, mut last) = (*claim, None);
        // Most Secrets are new: asking for them first would be a request for nothing.
        let mut existing =
            if present.contains(name) { self.read(namespace, name, progress).await? } else { None };
        for _ in 0..MAX_ROUNDS {
            self.fence()?;
            let (written, result) = match plan(&claim, desired, existing.as_ref()) {
                Plan::Create(secret) => {
                    (Written::Created, self.secrets.create(namespace, name, &secret).await)
                }
                Plan::Apply(change) => {
                    let result = self.secrets.apply(namespace, name, &change).await;
                    if result.as_ref().is_err_and(CallError::is_for_want_of_patch) {
                        // The rules for the controller of Sealed Secrets allow to update, not to patch.
                        self.context.note_that_applying_is_forbidden();
                        claim.may_apply = false;
                        last = result.err();
                        continue;
                    }
                    (if change.is_adoption { Written::Adopted } else { Written::Updated }, result)
                }
                Plan::Replace(change) => {
                    let written = if change.is_adoption { Written::Adopted } else { Written::Updated };
                    (written, self.secrets.replace(namespace, name, &change).await)
                }
                Plan::Nothing => {
                    self.context.metrics.wrote(self.kind, Written::Unchanged);
                    return existing.as_ref().map(version).ok_or_else(|| self.gone(name).into());
                }
                Plan::Refuse(failure) => return Err(failure.into()),
            };
            match result {
                Ok(version) => {
                    self.context.metrics.wrote(self.kind, written);
                    progress.has_written = true;
                    return Ok(version);
                }
                Err(
                    error @ (CallError::AlreadyExists(_) | CallError::Conflict(_) | CallError::NotFound(_)),
                ) => {
                    existing = self.read(namespace, name, progress).await?;
                    last = Some(error);
                }
                Err(error) => return Err(self.failed(&error, progress)),
            }
        }
        let last =
            last.map_or_else(|| self.gone(name), |error| Failure::new(Reason::Update, error.to_string()));
        Err(last.into())
    }

    async fn read(
        &self,
        namespace: &str,
        name: &str,
        progress: &mut Progress,
    ) -> Result<Option<super::existing::Existing>, Stop> {
        self.secrets.secret(namespace, name).await.map_err(|error| self.failed(&error, progress))
    }

    /// Deletes Secrets that the object owns and does not stand for any more.
    async fn prune(&self, owned: &[Version], progress: &mut Progress) -> Result<(), Stop> {
        for version in owned {
            if progress.names.contains(&version.name) {
                continue;
            }
            let Some(version) = self.prunable(version, progress).await? else { continue };
            self.fence()?;
            match self.secrets.delete(&self.key.namespace, &version).await {
                Ok(true) => self.context.metrics.wrote(self.kind, Written::Deleted),
                Ok(false) => {}
                Err(error) => return Err(self.failed(&error, progress)),
            }
        }
        Ok(())
    }

    /// Returns the version of a Secret that may be deleted; `None` if it is another one by now. Where sealing keys are, it
    /// is looked at first: what was seen of it does not tell whether it is one.
    async fn prunable(&self, seen: &Version, progress: &mut Progress) -> Result<Option<Version>, Stop> {
        let name = self.reserved();
        if name.is_none() {
            return Ok(Some(seen.clone()));
        }
        let existing = self.read(&self.key.namespace, &seen.name, progress).await?;
        let Some(existing) = existing.filter(|existing| existing.uid == seen.uid) else { return Ok(None) };
        match reserved(name, self.kind, self.source.hides_metadata(), &existing.secret.metadata) {
            Some(failure) => Err(failure.into()),
            // If it is not the version that was seen, its owner may be another one.
            None => Ok((version(&existing) == *seen).then(|| seen.clone())),
        }
    }

    /// Returns the name of the sealing key of before 0.9, if the object is beside the sealing keys.
    fn reserved(&self) -> Option<&str> {
        let settings = &self.context.settings;
        (self.key.namespace == settings.namespace).then_some(settings.keys.prefix.as_str())
    }

    fn fence(&self) -> Result<(), Stop> {
        if self.context.covers(&self.key.namespace) { Ok(()) } else { Err(Stop::NotOurs) }
    }

    fn failed(&self, error: &CallError, progress: &mut Progress) -> Stop {
        if let CallError::Unavailable { retry_after, .. } = error {
            progress.retry_after = *retry_after;
        }
        Failure::new(Reason::Update, error.to_string()).into()
    }

    fn gone(&self, name: &str) -> Failure {
        let name = if self.source.hides_metadata() { String::new() } else { format!(" {name:?}") };
        Failure::new(Reason::Update, format!("the Secret{name} is changed by somebody else all the time"))
    }

    fn not_fetched(&self, error: &CallError) -> Outcome {
        let failure = Failure::new(Reason::Fetch, error.to_string());
        self.tell_log(&Err(failure.clone()), false);
        self.context.metrics.failed(self.kind, &self.key.namespace, failure.reason);
        let retry_after = match error {
            CallError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        };
        Outcome::Unread { retry_after }
    }

    /// Says how it went: in the status, as an event, in the log and in metrics.
    async fn finish(&self, object: &Json, result: Result<(), Failure>, progress: Progress) -> Outcome {
        let essence = digest::essence(&self.source.essence(object));
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let applied = result.is_ok().then(|| self.applied(uid, &essence, &progress.versions)).flatten();
        let was_ready = is_ready(object);
        let told = self.write_status(object, result.as_ref(), applied.as_ref());
        let told = told.instrument(tracing::info_span!("status"));
        let (result, retry_after) = match told.await {
            Ok(()) => (result, progress.retry_after),
            Err(Stop::NotOurs) => return Outcome::NotOurs,
            // What went wrong before counts more.
            Err(Stop::Failed(failure)) => (result.and(Err(failure)), progress.retry_after),
        };
        self.tell_log(&result, progress.has_written);
        let metrics = &self.context.metrics;
        let reason = match &result {
            Ok(()) => {
                if progress.has_written || progress.has_failed || !was_ready {
                    self.context.events.send(
                        About::of(self.source.resource(), object),
                        Reason::Ready,
                        UNSEALED,
                    );
                }
                Reason::Ready
            }
            Err(failure) => {
                if failure.reason.error_label().is_some() {
                    metrics.failed(self.kind, &self.key.namespace, failure.reason);
                    self.context.events.send(
                        About::of(self.source.resource(), object),
                        failure.reason,
                        &failure.event_text(),
                    );
                }
                failure.reason
            }
        };
        let done =
            Done { uid: uid.to_owned(), essence, reason, secrets: progress.versions, names: progress.names };
        Outcome::Done { done, retry_after }
    }

    fn applied(&self, uid: &str, essence: &[u8; 32], versions: &[Version]) -> Option<Applied> {
        let keys = self.context.keys.borrow();
        let object = Object { uid, namespace: &self.key.namespace, name: &self.key.name, essence };
        keys.digest_keys().first().map(|key| digest::applied(key, &object, versions.to_vec()))
    }

    async fn write_status(
        &self,
        object: &Json,
        result: Result<&(), &Failure>,
        applied: Option<&Applied>,
    ) -> Result<(), Stop> {
        if !self.context.settings.update_status {
            return Ok(());
        }
        let result = result.map(|_| ());
        let mut object = object.clone();
        let mut last = None;
        for _ in 0..MAX_ROUNDS {
            let special = self.source.status(&object, result);
            let Some(status) = status(&object, result, applied, special, (self.context.now)()) else {
                return Ok(());
            };
            self.fence()?;
            match self.cluster().write_status(self.source.resource(), &object, status).await {
                Ok(()) => return Ok(()),
                // It is gone: there is nobody left to tell.
                Err(CallError::NotFound(_)) => return Ok(()),
                Err(error @ CallError::Conflict(_)) => last = Some(error),
                Err(error) => return Err(Failure::new(Reason::Status, error.to_string()).into()),
            }
            // Something else was written: what it was worked on by stays what it is told about.
            match self.cluster().object(self.source.resource(), self.key).await {
                // Whoever works on what it is now tells of it.
                Ok(now) if is_another(&now, &object) => return Ok(()),
                Ok(mut now) => {
                    object["status"] = now["status"].take();
                    object["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].take();
                }
                Err(CallError::NotFound(_)) => return Ok(()),
                Err(error) => return Err(Failure::new(Reason::Status, error.to_string()).into()),
            }
        }
        let message = last.map_or_else(String::new, |error| error.to_string());
        Err(Failure::new(Reason::Status, message).into())
    }

    fn tell_log(&self, result: &Result<(), Failure>, has_written: bool) {
        let (namespace, name) = (&self.key.namespace, &self.key.name);
        match result {
            Ok(()) if has_written => tracing::info!(kind = self.kind, namespace, name, "unsealed"),
            Ok(()) => tracing::debug!(kind = self.kind, namespace, name, "unchanged"),
            Err(failure) if failure.reason.error_label().is_none() => {
                tracing::info!(
                    kind = self.kind,
                    namespace,
                    name,
                    reason = failure.reason.word(),
                    "left alone"
                );
            }
            Err(failure) => tracing::error!(
                kind = self.kind, namespace, name, reason = failure.reason.word(), error = %failure,
                "cannot be reconciled"
            ),
        }
    }
}

/// Why an attempt goes no further.
enum Stop {
    Failed(Failure),
    NotOurs,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Returns whether an object is not the one, or not what, it was.
fn is_another(now: &Json, before: &Json) -> bool {
    ["uid", "generation"].iter().any(|field| now["metadata"][field] != before["metadata"][field])
}

fn is_ready(object: &Json) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn version(existing: &super::existing::Existing) -> Version {
    Version {
        name: existing.secret.metadata.name().to_owned(),
        uid: existing.uid.clone(),
        resource_version: existing.resource_version.clone(),
    }
}

/// How long opening an object may take, with the answers of servers that it waits for.
const OPEN: Duration = Duration::from_secs(60);
/// The words of the controller of Sealed Secrets.
pub const UNSEALED: &str = "SealedSecret unsealed successfully";
/// How many times a Secret is read again that others write at the same time.
const MAX_ROUNDS: usize = 4;

#[cfg(test)]
mod tests;

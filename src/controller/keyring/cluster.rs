//! The key Secrets in the cluster: list, watch, and create.
//!
//! Invariants: nothing outside of the controller's own namespace is asked for; watched is metadata alone; no error
//! quotes an answer, which may hold keys.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, PartialObjectMeta, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use selkie::sealed::KEY_LABEL;
use zeroize::Zeroize;

/// The key Secrets of a namespace: those with the label, and the one of before 0.9.
pub(super) struct KeySecrets {
    secrets: Api<Secret>,
    metadata: Api<PartialObjectMeta<Secret>>,
    /// The name of the Secret of before 0.9.
    legacy: String,
}

/// What tells whether Secrets are still the same: names and versions.
pub(super) type Versions = Vec<(Option<String>, Option<String>)>;

/// Why the API server did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClusterError {
    /// The answer is none that it gives.
    #[error("the answer of the API server cannot be read")]
    Answer,
    /// It does not want to.
    #[error("the API server refuses: {reason} (status {code})")]
    Refused {
        /// The status of HTTP.
        code: u16,
        /// The word for it.
        reason: String,
    },
    /// It does not answer in time.
    #[error("the API server does not answer in time")]
    Timeout,
    /// It cannot be reached.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
}

impl KeySecrets {
    /// Returns the key Secrets of a namespace.
    pub(super) fn new(client: kube::Client, namespace: &str, legacy: &str) -> Self {
        let metadata = Api::namespaced(client.clone(), namespace);
        Self { secrets: Api::namespaced(client, namespace), metadata, legacy: legacy.to_owned() }
    }

    /// Returns all of them as they are now: not from a cache, and all or none.
    pub(super) async fn list(&self) -> Result<Vec<Secret>, ClusterError> {
        let labelled = ListParams::default().labels(KEY_LABEL);
        let mut secrets = in_time(self.secrets.list(&labelled)).await?.items;
        let legacy = in_time(self.secrets.get_opt(&self.legacy)).await?;
        if let Some(legacy) = legacy {
            if secrets.iter().any(|secret| secret.metadata.name == legacy.metadata.name) {
                wipe(legacy);
            } else {
                secrets.push(legacy);
            }
        }
        Ok(secrets)
    }

    /// Writes a new one, and returns its name.
    pub(super) async fn create(&self, secret: Secret) -> Result<String, ClusterError> {
        let created = in_time(self.secrets.create(&PostParams::default(), &secret)).await;
        wipe(secret);
        let mut created = created?;
        let name = created.metadata.name.take().unwrap_or_default();
        wipe(created);
        Ok(name)
    }

    /// Says whenever one of them was added, changed, relabelled or deleted, and whenever that may have been missed.
    pub(super) fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        let labelled = watcher::Config::default().labels(KEY_LABEL);
        let legacy = watcher::Config::default().fields(&format!("metadata.name={}", self.legacy));
        let changes = |config| {
            let events = watcher(self.metadata.clone(), config).default_backoff();
            events.filter_map(|event| std::future::ready(is_change(event).then_some(())))
        };
        stream::select(Box::pin(changes(labelled)), Box::pin(changes(legacy)))
    }
}

/// Returns what tells later whether Secrets are still the same.
pub(super) fn versions(secrets: &[Secret]) -> Versions {
    let metadata = secrets.iter().map(|secret| &secret.metadata);
    metadata.map(|metadata| (metadata.name.clone(), metadata.resource_version.clone())).collect()
}

/// Wipes the values of a Secret.
pub(super) fn wipe(mut secret: Secret) {
    secret.data.iter_mut().flatten().for_each(|(_, value)| value.0.zeroize());
}

fn is_change(event: Result<Event<PartialObjectMeta<Secret>>, watcher::Error>) -> bool {
    match event {
        Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => true,
        Ok(Event::Init | Event::InitApply(_)) => false,
        Err(error) => {
            let error = ClusterError::from(error);
            tracing::warn!(%error, "sealing keys cannot be watched: they are looked for from time to time");
            false
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ClusterError> {
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(ClusterError::from),
        Err(_) => Err(ClusterError::Timeout),
    }
}

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            // The message may quote what was sent.
            kube::Error::Api(status) => Self::refused(&status),
            kube::Error::HyperError(error) => Self::Unreachable(chain(&error)),
            kube::Error::Service(error) => Self::Unreachable(chain(&*error)),
            _ => Self::Answer,
        }
    }
}

impl From<watcher::Error> for ClusterError {
    fn from(error: watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchFailed(error)
            | watcher::Error::WatchStartFailed(error) => error.into(),
            watcher::Error::WatchError(status) => Self::refused(&status),
            watcher::Error::NoResourceVersion => Self::Answer,
        }
    }
}

impl ClusterError {
    fn refused(status: &kube::core::Status) -> Self {
        Self::Refused { code: status.code, reason: status.reason.clone() }
    }
}

/// Returns an error of a connection with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes.map(|error| error.to_string()).collect();
    causes.join(": ")
}

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

//! Resources that carry documents of SOPS, and the keys that open them.
//!
//! ```text
//! object ─► own, isindir ─► keys (policy, files, key Secrets) ─► document, MAC verified ─► Secrets
//! ```
//!
//! Invariant: a namespace has no key and no credentials but those in it, and those that the policy gives it.

mod aside;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod deferred;
mod failure;
mod guard;
mod isindir;
mod key_secret;
mod keys;
#[cfg(test)]
mod kit;
mod loaded;
mod object;
mod own;
#[cfg(test)]
mod page;
mod policy;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::isindir::IsindirSecrets;
use self::key_secret::OfCluster;
use self::keys::SopsKeys;
use self::own::SopsSecrets;
use super::source::Source;
use crate::keys::{KeyFileError, variable};

pub use isindir::{ADOPTION, GROUP as ISINDIR_GROUP, KEY_SECRET};
pub use policy::PolicyError;

/// Which resources of SOPS are reconciled, and with which keys.
#[derive(Clone, Debug, Default)]
pub struct SopsSettings {
    /// Whether `SopsSecret`s of `selkie.dev` are reconciled.
    pub own: bool,
    /// Whether `SopsSecret`s of `isindir.github.com` are reconciled.
    pub isindir: bool,
    /// Whether a `SopsSecret` of `isindir.github.com` that does not say `enforceOwnership` takes over Secrets of others.
    pub isindir_enforce_ownership: bool,
    /// Files and folders with keys that the policy hands out to namespaces: without a policy there can be none.
    pub key_paths: Vec<PathBuf>,
    /// The file that says which namespace may use which keys; without one, each namespace has the keys of its own
    /// Secrets, and nothing else.
    pub policy: Option<PathBuf>,
}

/// The sources of Secrets that documents of SOPS are, with the keys that they share.
pub struct SopsSources {
    keys: Arc<SopsKeys>,
    sources: Vec<Arc<dyn Source>>,
}

/// Why the keys for documents of SOPS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SopsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// There are keys, and nothing says who may use them.
    #[error(
        "keys for SOPS were given without a policy: as a document is not bound to a namespace, a policy has to say \
         which namespaces may use them"
    )]
    KeysWithoutPolicy,
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(PolicyError),
}

impl SopsSources {
    /// Returns the sources that settings ask for. Key Secrets are read with `client`.
    ///
    /// # Errors
    /// If the files with keys or the policy cannot be used.
    pub fn new(settings: &SopsSettings, client: Client) -> Result<Self, SopsError> {
        let keys = Arc::new(SopsKeys::new(settings, Box::new(OfCluster(client)), variable)?);
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        if settings.own {
            sources.push(Arc::new(SopsSecrets::new(Arc::clone(&keys))));
        }
        if settings.isindir {
            sources
                .push(Arc::new(IsindirSecrets::new(Arc::clone(&keys), settings.isindir_enforce_ownership)));
        }
        Ok(Self { keys, sources })
    }

    /// Returns the sources.
    #[must_use]
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        self.sources.clone()
    }

    /// Returns what changes whenever there may be keys, or rights to use them, that were not there before: then what
    /// failed for want of one is worth another attempt.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.keys.changes()
    }

    /// Follows the files with keys and the policy, and the key Secrets that were missed, as long as it is polled. A
    /// file that cannot be used is told of in the log, once, and changes nothing.
    pub fn follow(&self) -> impl Future<Output = ()> + Send + 'static {
        let keys = Arc::clone(&self.keys);
        async move {
            let mut told = String::new();
            let mut interval = interval(POLL);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                let problem = keys.refresh().await.err().map(|error| words(&error)).unwrap_or_default();
                if !problem.is_empty() && problem != told {
                    tracing::error!(problem, "the keys for SOPS stay as they were");
                }
                told = problem;
            }
        }
    }
}

/// Returns what an error says, and its causes as far as they are ours: none of them quotes a file.
fn words(error: &SopsError) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// How often files are looked at.
const POLL: Duration = Duration::from_secs(10);

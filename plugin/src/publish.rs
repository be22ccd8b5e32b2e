//! Publishing documents: where they go, what goes there, and under which name.
//!
//! To add a kind of place, write one file with a [`Destination`] and one line of `DESTINATIONS`. Invariants: a place
//! gets a document only after its MAC was checked; a place that keeps documents gets encrypted ones alone.

mod content;
#[cfg(feature = "gcp")]
mod gcs;
mod name;
#[cfg(feature = "aws")]
mod s3;
#[cfg(any(feature = "aws", feature = "gcp"))]
mod told;
#[cfg(feature = "vault")]
mod vault;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use selkie::format::{ParseError, WriteError};
use selkie::keys::{Cause, KeyError, KeySetup, ServiceError};
use selkie::secret::SecretBytes;
use selkie::sops::config::Target;
use selkie::sops::{OpenError, SealError, WrapError};

use crate::parallel::Waiting;
use crate::report::escape;

pub use content::{Content, Form, Style, recreated};
pub use name::destination_name;

/// A place that documents are published to.
pub trait Destination: Send + Sync {
    /// Returns what the place takes.
    fn takes(&self) -> Takes;

    /// Returns the address of what is published under a name, as people know it.
    fn address(&self, name: &str) -> String;

    /// Makes sure that something could be sent under a name, as far as that is known without sending anything.
    ///
    /// # Errors
    /// If nothing would be sent.
    fn check(&self, name: &str) -> Result<(), ServiceError> {
        let _ = name;
        Ok(())
    }

    /// Publishes under a name: all of it, or nothing.
    fn put<'a>(&'a self, name: &'a str, content: &'a SecretBytes) -> PutFuture<'a>;
}

/// What publishes, once it is awaited.
pub type PutFuture<'a> = Pin<Box<dyn Future<Output = Result<Arrival, KeyError>> + Send + 'a>>;

/// What a place takes.
#[cfg_attr(not(feature = "vault"), expect(dead_code, reason = "Vault alone makes use of all"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The encrypted document.
    Document,
    /// What the document says, decrypted: a JSON object.
    Values,
}

/// What became of something that was published.
#[cfg_attr(not(feature = "vault"), expect(dead_code, reason = "Vault alone makes use of all"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is there now.
    Put,
    /// It is there now, and whether it was before could not be seen, for this reason.
    PutUnseen(String),
    /// It was there before.
    Unchanged,
}

/// The places of a run: one for each target of the rules.
pub struct Destinations {
    setup: KeySetup,
    connected: Mutex<Vec<(Target, Arc<dyn Destination>)>>,
}

/// A document that was checked and can be published.
pub struct Publication {
    /// Where it goes.
    pub destination: Arc<dyn Destination>,
    /// What it is called there.
    pub name: String,
    /// What goes there.
    pub content: Content,
}

/// Why a document is not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Another document goes to the same place.
    #[error("{} goes to {address} as well", .other.display())]
    Collision {
        /// The address.
        address: String,
        /// The file of the other document.
        other: PathBuf,
    },
    /// There is no configuration.
    #[error("no {} was found", crate::config_file::FILE_NAME)]
    NoConfig,
    /// Nothing is left of a name without its extension.
    #[error("nothing is left of the name {0:?} without its extension")]
    NoName(String),
    /// No rule of the configuration covers the file.
    #[error("no destination rule of {} matches {file}", .config.display())]
    NoRule {
        /// The configuration.
        config: PathBuf,
        /// The path that rules were matched with.
        file: String,
    },
    /// The rule for the file names no place.
    #[error("destination rule {position} of {} names no destination", .config.display())]
    Nowhere {
        /// The configuration.
        config: PathBuf,
        /// The 1-based position of the rule.
        position: usize,
    },
    /// The document cannot be decrypted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The decrypted document does not read back.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The document cannot be encrypted for the keys of the rule.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The place did not take the document.
    #[error("cannot publish to {}: {error}", escape(.address))]
    Service {
        /// The address.
        address: String,
        /// Why not.
        error: ServiceError,
    },
    /// The document says something that is no JSON object.
    #[error("what the file says cannot be one JSON object, as Vault keeps it: {0}")]
    Values(WriteError),
    /// A new data key cannot be wrapped for the keys of the rule.
    #[error(transparent)]
    Wrap(#[from] WrapError),
}

impl PublishError {
    /// Returns what the user can do about it, if there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Collision { .. } => "leave the extensions, or give the rules different prefixes",
            Self::NoName(_) => "leave the extensions, or rename the file",
            Self::NoConfig | Self::NoRule { .. } | Self::Nowhere { .. } => {
                "name a place in `destination_rules` of the configuration: s3_bucket, gcs_bucket or vault_path"
            }
            Self::Service { error, .. } => return error.remedy.clone(),
            Self::Values(_) => "publish the file to S3 or GCS, where it stays as it is",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Destinations {
    /// Returns the places of a run, to none of which there is a connection yet.
    #[must_use]
    pub fn new(setup: KeySetup) -> Self {
        Self { setup, connected: Mutex::default() }
    }

    /// Returns the place that a rule names, or `None` if it names none. Nothing is sent.
    ///
    /// # Errors
    /// If it lacks a setting without which nothing can be sent.
    pub fn get(&self, target: &Target) -> Result<Option<Arc<dyn Destination>>, PublishError> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = connected.iter().find(|(known, _)| known == target) {
            return Ok(Some(Arc::clone(known)));
        }
        if *target == Target::Nowhere {
            return Ok(None);
        }
        let destination = DESTINATIONS.iter().find_map(|connect| connect(target, &self.setup));
        let destination = destination.unwrap_or_else(|| Err(ServiceError::new(Cause::Other, UNKNOWN)));
        let destination =
            destination.map_err(|error| PublishError::Service { address: name_of(target), error })?;
        connected.push((target.clone(), Arc::clone(&destination)));
        Ok(Some(destination))
    }
}

impl Publication {
    /// Returns where the document goes.
    #[must_use]
    pub fn address(&self) -> String {
        self.destination.address(&self.name)
    }

    /// Makes sure that the document could be sent, as far as that is known without sending anything.
    ///
    /// # Errors
    /// If it would not be sent.
    pub fn check(self) -> Result<Self, PublishError> {
        match self.destination.check(&self.name) {
            Ok(()) => Ok(self),
            Err(error) => Err(PublishError::Service { address: self.address(), error }),
        }
    }

    /// Publishes the document.
    ///
    /// # Errors
    /// If the place does not take it; nothing of it is there then.
    pub fn put(&self) -> Result<Arrival, PublishError> {
        let _waiting = Waiting::new();
        pollster::block_on(self.destination.put(&self.name, &self.content.bytes)).map_err(|error| {
            let error = match error {
                KeyError::Service(error) => error,
                other => ServiceError::new(Cause::Other, other.to_string()),
            };
            PublishError::Service { address: self.address(), error }
        })
    }
}

/// Returns the first of documents, given with their files in order, that goes where an earlier one goes.
#[must_use]
pub fn collisions<'a>(
    publications: impl IntoIterator<Item = (PathBuf, &'a Publication)>,
) -> Vec<(PathBuf, PublishError)> {
    let mut seen: std::collections::HashMap<String, PathBuf> = std::collections::HashMap::new();
    let mut collisions = Vec::new();
    for (path, publication) in publications {
        let address = publication.address();
        match seen.get(&address) {
            Some(other) => {
                let other = other.clone();
                collisions.push((path, PublishError::Collision { address, other }));
            }
            None => {
                seen.insert(address, path);
            }
        }
    }
    collisions
}

/// Returns the place that a target names, if it is of the kind; its settings may be missing.
type Connect = fn(&Target, &KeySetup) -> Option<Result<Arc<dyn Destination>, ServiceError>>;

/// Every kind of place.
const DESTINATIONS: &[Connect] = &[
    #[cfg(feature = "gcp")]
    gcs::connect,
    #[cfg(feature = "aws")]
    s3::connect,
    #[cfg(feature = "vault")]
    vault::connect,
];

const UNKNOWN: &str = "this build was made without the feature for such places";

/// Returns the name of a place, for one that there is no connection to.
fn name_of(target: &Target) -> String {
    match target {
        Target::Gcs { bucket, .. } => format!("gcs://{bucket}"),
        Target::Nowhere => String::new(),
        Target::S3 { bucket, .. } => format!("s3://{bucket}"),
        Target::Vault { path, .. } => format!("Vault ({path})"),
    }
}

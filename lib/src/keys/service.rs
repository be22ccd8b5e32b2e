//! What wraps and unwraps data keys, and why that can fail.

use std::future::Future;
use std::pin::Pin;

use super::{IdentityReport, KeyParseError, MasterKey};
use crate::secret::SecretBytes;

/// A future that a key service returns.
pub type KeyFuture<'a, T> = Pin<Box<dyn Future<Output = Option<Result<T, KeyError>>> + Send + 'a>>;

/// Wraps and unwraps data keys, here or across a network.
///
/// A method returns `None` for a key that is not this service's business, so that a key that is and
/// fails keeps its cause.
pub trait KeyService: Send + Sync {
    /// Returns what the service is called in reports.
    fn name(&self) -> String;

    /// Returns what it takes to unwrap what `key` holds: what takes less is tried first. To say that a key is not its
    /// business, is free.
    fn effort(&self, key: &MasterKey) -> Effort {
        let _ = key;
        Effort::Free
    }

    /// Returns `key` with what its name leaves open, before something is wrapped for it: the newest version of a key
    /// that is named without one. `None` if nothing is left open, or the key is not this service's business.
    fn resolve<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, MasterKey> {
        let _ = key;
        Box::pin(std::future::ready(None))
    }

    /// Wraps a data key, or a share of one, for `key`; returns the text for the metadata's `enc`.
    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String>;

    /// Unwraps what `key` holds. Where the effort is less than [`Effort::Person`], nobody is asked for anything.
    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes>;

    /// Unwraps what `key` holds with the help of a person, once all else failed. `None` if nobody could help.
    fn unwrap_asking<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        let _ = key;
        Box::pin(std::future::ready(None))
    }
}

/// What it takes to use a key, in the order in which keys are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// A computation on this machine.
    Free,
    /// An answer from elsewhere: many can be waited for at once.
    Remote,
    /// An answer from another key service, which may ask a person there: many can be waited for at once, but only when
    /// the keys of this machine have failed that need nobody.
    Elsewhere,
    /// A person who may be asked for a passphrase or a touch: one question at a time.
    Person,
}

/// Why a key could not wrap or unwrap. No variant holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// An identity fits the key, or may fit it, and could not be used.
    #[error("an identity could not be used")]
    IdentityFailed(Box<IdentityReport>),
    /// What is wrapped does not have the form of its kind.
    #[error("the wrapped data key is malformed: {0}")]
    Malformed(String),
    /// No identity at hand fits the key.
    #[error("no identity matched the key")]
    NoIdentity(Box<IdentityReport>),
    /// The key's name cannot be used.
    #[error(transparent)]
    Parse(#[from] KeyParseError),
    /// What should do the work refused or failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why a program, a server or a device did not wrap or unwrap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ServiceError {
    /// What kind of failure it is.
    pub cause: Cause,
    /// What happened, for people.
    pub detail: String,
    /// What people can do about it: a sentence, or a command.
    pub remedy: Option<String>,
}

/// Kinds of failures of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// There are no credentials, or they are not valid, or no longer.
    Credentials,
    /// The credentials are valid, and do not permit this.
    Denied,
    /// The service does not know the key, or it cannot be used: disabled, of another region, deleted.
    Key,
    /// What is wrapped was not wrapped with this key, or was changed since.
    Ciphertext,
    /// The answer is not what the protocol says, or too long.
    Answer,
    /// There was no answer in time.
    Timeout,
    /// The address is not one that credentials may be sent to.
    Untrusted,
    /// There is nobody at the address, or the program is not there.
    Unreachable,
    /// Anything else.
    Other,
}

impl ServiceError {
    /// Returns an error without a remedy.
    #[must_use]
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into(), remedy: None }
    }

    /// Says what people can do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl KeyError {
    /// Returns what people can do about it, if the service knows.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::Service(error) => error.remedy.as_deref(),
            _ => None,
        }
    }
}

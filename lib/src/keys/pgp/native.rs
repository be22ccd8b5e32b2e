//! OpenPGP without any program: keys out of exported files, for machines without `gpg` and for servers.

mod exported;
mod message;
mod named;
mod packets;
mod selection;

use std::time::{SystemTime, UNIX_EPOCH};

use ::pgp::composed::{SignedPublicKey, SignedSecretKey};
use ::pgp::types::KeyDetails;

use super::fingerprint::Fingerprint;
use super::service::Holder;
use crate::keys::{Cause, Effort, KeyError, KeyFuture, MasterKey, ServiceError};
use crate::secret::SecretBytes;
pub(super) use named::Named;

/// Keys out of exported files (`gpg --export`, `gpg --export-secret-keys`), public and secret ones.
///
/// Secret keys are wiped when this is dropped, as far as the crate that reads them does so.
pub struct PgpKeys {
    certificates: Vec<SignedPublicKey>,
    secrets: Vec<SignedSecretKey>,
    problems: Vec<String>,
    clock: fn() -> SystemTime,
}

/// Why what should hold exported keys adds none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PgpKeyError {
    /// There is no key in it.
    #[error("there is no OpenPGP key in it")]
    Empty,
    /// A secret key stays locked.
    #[error("the secret key {0} is protected by a passphrase, which is not given")]
    Locked(String),
    /// A key cannot be read.
    #[error("a key in it cannot be read: {0}")]
    Malformed(String),
    /// The passphrase is not that of a secret key.
    #[error("the passphrase that is given is not that of the secret key {0}")]
    Passphrase(String),
    /// It is too long.
    #[error("it is longer than {} MiB", exported::MAX_LENGTH >> 20)]
    TooLong,
}

impl PgpKeys {
    /// Returns no keys.
    #[must_use]
    pub fn new() -> Self {
        Self { certificates: Vec::new(), secrets: Vec::new(), problems: Vec::new(), clock: SystemTime::now }
    }

    /// Says what time it is, for keys that expire.
    #[must_use]
    pub const fn with_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.clock = clock;
        self
    }

    /// Adds the keys of an exported file: armored or not, one or several, public or secret. The passphrase is that of
    /// the secret ones.
    ///
    /// # Errors
    /// If there is no key in it, or one that cannot be read or unlocked. All others are added nevertheless.
    pub fn add(
        &mut self,
        exported: &SecretBytes,
        passphrase: Option<&SecretBytes>,
    ) -> Result<(), PgpKeyError> {
        let (keys, mut problem) = exported::read(exported)?;
        if keys.is_empty() {
            return Err(problem.unwrap_or(PgpKeyError::Empty));
        }
        for key in keys {
            match key {
                exported::Key::Public(key) => self.add_certificate(*key),
                exported::Key::Secret(mut key) => {
                    self.add_certificate(key.to_public_key());
                    problem = problem.or(exported::unlock(&mut key, passphrase).err());
                    self.secrets.push(*key);
                }
            }
        }
        problem.map_or(Ok(()), Err)
    }

    fn add_certificate(&mut self, certificate: SignedPublicKey) {
        let same = |known: &&mut SignedPublicKey| known.fingerprint() == certificate.fingerprint();
        match self.certificates.iter_mut().find(same) {
            Some(known) => selection::merge(known, certificate),
            None => self.certificates.push(certificate),
        }
    }

    /// Wraps a data key for the key with a fingerprint; `None` if it is not among these.
    fn wrap_for(&self, fingerprint: &str, secret: &SecretBytes) -> Option<Result<String, KeyError>> {
        let wanted = match Fingerprint::parse(fingerprint) {
            Ok(wanted) => wanted,
            Err(error) => return Some(Err(error.into())),
        };
        let certificate =
            self.certificates.iter().find(|certificate| selection::is_named(certificate, &wanted))?;
        let chosen = match selection::choose(certificate, &wanted, self.now()) {
            Ok(chosen) => chosen,
            Err(unusable) => {
                let error = ServiceError::new(Cause::Key, unusable.to_string());
                return Some(Err(error.with_remedy(REMEDY).into()));
            }
        };
        Some(message::seal(&chosen, secret).map_err(Into::into))
    }

    /// Returns the time in seconds since 1970.
    fn now(&self) -> u64 {
        (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

impl Default for PgpKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl Holder for PgpKeys {
    fn effort(&self, key: &MasterKey) -> Option<Effort> {
        message::is_for(key.wrapped(), &self.secrets).then_some(Effort::Free)
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move { self.wrap_for(key.field("fp"), secret) })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move { message::open(key.wrapped(), &self.secrets) })
    }

    fn problems(&self) -> &[String] {
        &self.problems
    }
}

const REMEDY: &str = "export the key anew into the file, or name another key";

//! The key service of OpenPGP: keys that were handed in first, then whatever `gpg` has.

#[cfg(feature = "gpg")]
use super::gpg::Gpg;
#[cfg(feature = "pgp-native")]
use super::native::PgpKeys;
use crate::keys::{Cause, Effort, KeyError, KeyFuture, KeyService, KeySetup, MasterKey, ServiceError};
use crate::secret::SecretBytes;

/// Wraps data keys for OpenPGP keys, and unwraps them.
///
/// Keys that were handed in are used without any program, and first; for all others there is `gpg`.
#[derive(Default)]
pub struct PgpService {
    holders: Vec<Box<dyn Holder>>,
}

/// What may have a key.
pub(super) trait Holder: Send + Sync {
    /// Returns what it takes to unwrap what a key holds, or `None` if this is for another holder.
    fn effort(&self, key: &MasterKey) -> Option<Effort>;

    /// Wraps a data key; `None` if another holder may have the key.
    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String>;

    /// Unwraps what a key holds; `None` if another holder may have the key.
    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes>;

    /// Returns why keys are missing that should be there.
    fn problems(&self) -> &[String] {
        &[]
    }

    /// Returns what keeps a key from being used, and what people can do about it, if that is known.
    fn lack(&self, key: &MasterKey, purpose: Purpose) -> Option<Lack> {
        let _ = (key, purpose);
        None
    }
}

/// What a key is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Wrap,
    Unwrap,
}

/// What keeps a key from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    /// What it is, if the problems do not say so.
    pub what: Option<String>,
    /// What people can do about it.
    pub remedy: Option<String>,
}

impl PgpService {
    /// Returns a service that has no keys and runs no program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a service with the keys that the environment names, and with `gpg`.
    ///
    /// `SELKIE_PGP_KEY_FILE` names files with exported keys, separated as in `PATH`; `SELKIE_PGP_KEY` holds armored
    /// keys; `SELKIE_PGP_PASSPHRASE_FILE` names a file with the passphrase of the secret ones. `SOPS_GPG_EXEC` names
    /// the program to run in place of `gpg`.
    #[must_use]
    pub fn from_setup(setup: &KeySetup) -> Self {
        let service = Self::new();
        #[cfg(feature = "pgp-native")]
        let service = service.with(super::native::Named::new(setup));
        #[cfg(feature = "gpg")]
        let service = service.with(Gpg::from_setup(setup));
        service
    }

    /// Adds keys that are used without any program.
    #[cfg(feature = "pgp-native")]
    #[must_use]
    pub fn with_keys(self, keys: PgpKeys) -> Self {
        self.with(keys)
    }

    /// Adds what the program has.
    #[cfg(feature = "gpg")]
    #[must_use]
    pub fn with_gpg(self, gpg: Gpg) -> Self {
        self.with(gpg)
    }

    fn with(mut self, holder: impl Holder + 'static) -> Self {
        self.holders.push(Box::new(holder));
        self
    }

    async fn wrap_for(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        for holder in &self.holders {
            if let Some(answer) = holder.wrap(key, secret).await {
                return answer.map_err(|error| self.explain(key, Purpose::Wrap, error));
            }
        }
        Err(self.explain(key, Purpose::Wrap, nobody("the key is not among those that were given")))
    }

    async fn unwrap_of(&self, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        for holder in &self.holders {
            if let Some(answer) = holder.unwrap(key).await {
                return answer.map_err(|error| self.explain(key, Purpose::Unwrap, error));
            }
        }
        Err(self.explain(key, Purpose::Unwrap, nobody("none of the secret keys that were given fits")))
    }

    /// Adds why a key is missing, and what can be done about that, to an error that may come from it.
    fn explain(&self, key: &MasterKey, purpose: Purpose, error: KeyError) -> KeyError {
        match error {
            KeyError::Service(mut error) if MISSING.contains(&error.cause) => {
                for holder in &self.holders {
                    let lack = holder.lack(key, purpose);
                    let what = lack.as_ref().and_then(|lack| lack.what.as_ref());
                    for problem in what.into_iter().chain(holder.problems()) {
                        error.detail = format!("{}; {problem}", error.detail);
                    }
                    let remedy = lack.and_then(|lack| lack.remedy);
                    error.remedy = match (remedy, error.remedy) {
                        // Who names files need not have the program.
                        (Some(remedy), Some(other)) if error.cause != Cause::Unreachable => {
                            Some(format!("{remedy}; or {other}"))
                        }
                        (Some(remedy), _) => Some(remedy),
                        (None, other) => other,
                    };
                }
                error.into()
            }
            error => error,
        }
    }
}

impl KeyService for PgpService {
    fn name(&self) -> String {
        "pgp".to_owned()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        if !is_ours(key) {
            return Effort::Free;
        }
        self.holders.iter().find_map(|holder| holder.effort(key)).unwrap_or(Effort::Free)
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move { if is_ours(key) { Some(self.wrap_for(key, secret).await) } else { None } })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move { if is_ours(key) { Some(self.unwrap_of(key).await) } else { None } })
    }
}

fn is_ours(key: &MasterKey) -> bool {
    key.kind().name == super::KIND.name
}

fn nobody(what: &str) -> KeyError {
    ServiceError::new(Cause::Credentials, what).into()
}

/// What a missing key looks like.
const MISSING: [Cause; 3] = [Cause::Credentials, Cause::Key, Cause::Unreachable];

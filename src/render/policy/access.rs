//! With which keys and credentials something is decrypted, and the key services for that.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use selkie::keys::{KeyService, Remembering};
use selkie::render::PolicyRule;
use selkie::sealed::{Backup, BackupError, KeyRegistry, SmallKeys};
use selkie::secret::SecretBytes;

use crate::keys::{self, KeyFileError};

/// What unwraps data keys.
pub type Services = Vec<Box<dyn KeyService>>;

/// With which keys and credentials something is decrypted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// With the keys of these paths, and all that the process itself has.
    Everything(Vec<PathBuf>),
    /// With this, and nothing else.
    Granted {
        /// Paths of files and folders with keys.
        keys: Vec<PathBuf>,
        /// The servers that may be sent credentials.
        addresses: Vec<String>,
        /// The kinds of keys for which the credentials of the process itself are used.
        ambient: Vec<&'static str>,
    },
}

/// Key services, with what they unwrapped, by what they were made with, and private keys by their files.
#[derive(Default)]
pub struct AccessCache {
    services: Cache<Access, Services>,
    sealing: Cache<Vec<String>, KeyRegistry>,
}

/// What was made, and when.
type Cache<K, V> = Mutex<HashMap<K, (Instant, Arc<V>)>>;

/// Why private keys for SealedSecrets cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealingKeysError {
    /// It is no backup.
    #[error("{path}: cannot be used as a backup of private keys", path = .0.display())]
    Backup(PathBuf, #[source] BackupError),
    /// It cannot be read.
    #[error("{path}: cannot be read", path = .0.display())]
    Io(PathBuf, #[source] std::io::Error),
}

impl Access {
    /// Returns what a rule of a policy grants.
    #[must_use]
    pub fn of_rule(rule: &PolicyRule) -> Self {
        Self::Granted {
            keys: rule.keys.iter().map(PathBuf::from).collect(),
            addresses: rule.rule.addresses.clone().unwrap_or_default(),
            ambient: rule.ambient.clone(),
        }
    }

    fn services(&self) -> Result<Services, KeyFileError> {
        let services = match self {
            Self::Everything(paths) => keys::services(paths),
            Self::Granted { keys, addresses, ambient } => keys::granted(keys, addresses, ambient),
        };
        let remembering = |service| Box::new(Remembering::new(service)) as Box<dyn KeyService>;
        Ok(services?.into_iter().map(remembering).collect())
    }
}

impl AccessCache {
    /// Returns the services, at most `age` old.
    ///
    /// # Errors
    /// If the keys cannot be read.
    pub fn services(&self, access: &Access, age: Duration) -> Result<Arc<Services>, KeyFileError> {
        cached(&self.services, access, age, || access.services())
    }

    /// Returns the private keys of some files, at most `age` old; `None` if there are no files.
    ///
    /// # Errors
    /// If a file cannot be read, or is no backup.
    pub fn sealing_keys(
        &self,
        paths: &[String],
        age: Duration,
    ) -> Result<Option<Arc<KeyRegistry>>, SealingKeysError> {
        if paths.is_empty() {
            return Ok(None);
        }
        let read = || sealing_keys(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        cached(&self.sealing, &paths.to_vec(), age, read).map(Some)
    }
}

/// Reads private keys for SealedSecrets.
///
/// # Errors
/// If a file cannot be read, or is no backup.
pub fn sealing_keys(paths: &[PathBuf]) -> Result<KeyRegistry, SealingKeysError> {
    let mut keys = KeyRegistry::new();
    for path in paths {
        let text = std::fs::read(path).map_err(|error| SealingKeysError::Io(path.clone(), error))?;
        let backup = Backup::parse(SecretBytes::from(text), SmallKeys::Refuse)
            .map_err(|error| SealingKeysError::Backup(path.clone(), error))?;
        for key in backup.keys {
            let name = key.secret.metadata.name().to_owned();
            keys.add(key.secret.into_key(name));
        }
    }
    Ok(keys)
}

fn cached<K: Clone + Eq + std::hash::Hash, V, E>(
    cache: &Cache<K, V>,
    key: &K,
    age: Duration,
    make: impl FnOnce() -> Result<V, E>,
) -> Result<Arc<V>, E> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.retain(|_, (since, _)| since.elapsed() < age);
    if let Some((_, made)) = cache.get(key) {
        return Ok(Arc::clone(made));
    }
    let made = Arc::new(make()?);
    cache.insert(key.clone(), (Instant::now(), Arc::clone(&made)));
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_kept_by_what_they_were_made_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("token");
        std::fs::create_dir(&key).expect("a folder");
        std::fs::write(key.join("sops.vault-token"), "s.token").expect("a file");
        let granted = |addresses: &[&str]| Access::Granted {
            keys: vec![key.clone()],
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
            ambient: Vec::new(),
        };
        let (cache, age) = (AccessCache::default(), Duration::from_secs(60));
        let services = |access: &Access, age| cache.services(access, age).expect("services");
        let first = services(&granted(&[]), age);
        assert!(Arc::ptr_eq(&first, &services(&granted(&[]), age)));
        assert!(!Arc::ptr_eq(&first, &services(&granted(&["https://a"]), age)));
        assert!(!Arc::ptr_eq(&first, &services(&granted(&[]), Duration::ZERO)), "they are too old");
        std::fs::remove_dir_all(&key).expect("it was there");
        assert!(cache.services(&granted(&[]), Duration::ZERO).is_err());
    }

    #[test]
    fn nothing_of_the_process_is_used_unless_it_is_granted() {
        let nothing = Access::Granted { keys: Vec::new(), addresses: Vec::new(), ambient: Vec::new() };
        assert!(nothing.services().expect("none").is_empty());
        let own = Access::Granted { keys: Vec::new(), addresses: Vec::new(), ambient: vec!["age"] };
        assert!(own.services().expect("services").len() <= 1);
    }
}

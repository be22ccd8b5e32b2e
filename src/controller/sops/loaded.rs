//! The keys and the policy that come from files: read as a whole, and taken as a whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie::keys::{KeyService, Remote, Trust};
use selkie::secret::SecretBytes;
use sha2::{Digest, Sha256};

use super::policy::{Policy, PolicyError};
use super::{SopsError, SopsSettings};
use crate::keys::{self, KeyEntries, Surroundings};

/// What was read from files, not looked into yet.
pub struct Files {
    keys: Vec<(PathBuf, SecretBytes)>,
    policy: Option<(PathBuf, SecretBytes)>,
    digest: [u8; 32],
}

/// Keys and policy as of some time.
pub struct Loaded {
    /// Who may use what.
    pub policy: Policy,
    /// The key files, each with its services.
    pub files: Vec<(PathBuf, Vec<Arc<dyn KeyService>>)>,
    /// The services that use the credentials of this process, each with its kind of keys.
    pub ambient: Vec<(&'static str, Arc<dyn KeyService>)>,
    /// What services for further credentials need.
    pub around: Surroundings,
    digest: [u8; 32],
}

impl Files {
    /// Reads all files that settings name.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn read(settings: &SopsSettings) -> Result<Self, SopsError> {
        let mut digest = Sha256::new();
        let mut note = |file: &Path, text: &SecretBytes| {
            let name = file.as_os_str().as_encoded_bytes();
            for part in [name, text.expose_secret()] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        };
        let mut keys = Vec::new();
        for path in &settings.key_paths {
            for file in keys::key_files(path)? {
                let text = keys::read(&file)?;
                note(&file, &text);
                keys.push((file, text));
            }
        }
        let policy = match &settings.policy {
            None if !keys.is_empty() => return Err(SopsError::KeysWithoutPolicy),
            None => None,
            Some(path) => {
                let text = keys::read(path)?;
                note(path, &text);
                Some((path.clone(), text))
            }
        };
        Ok(Self { keys, policy, digest: digest.finalize().into() })
    }

    /// Returns whether they are what was loaded.
    #[must_use]
    pub fn are_those_of(&self, loaded: &Loaded) -> bool {
        self.digest == loaded.digest
    }

    /// Returns the keys and the policy that they hold.
    ///
    /// # Errors
    /// If one of them does not hold what it should.
    pub fn load(
        self,
        remote: &Arc<Remote>,
        variable: fn(&str) -> Option<String>,
    ) -> Result<Loaded, SopsError> {
        let policy = self.policy.map(|(path, text)| Policy::parse(&path, text.expose_secret()));
        let policy = policy.transpose()?.unwrap_or_else(Policy::of_own_secrets);
        let trust = Trust::Listed(policy.addresses());
        let around = Surroundings { trust, remote: Arc::clone(remote), variable };
        let mut files = Vec::new();
        for (path, text) in self.keys {
            let mut entries = KeyEntries::default();
            keys::add_file(&mut entries, &path, &text)?;
            files.push((path, entries.into_services(&around).into_iter().map(Arc::from).collect()));
        }
        let ambient = keys::ambient(&around).into_iter().map(|(kind, service)| (kind, Arc::from(service)));
        Ok(Loaded { policy, files, ambient: ambient.collect(), around, digest: self.digest })
    }
}

impl From<PolicyError> for SopsError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

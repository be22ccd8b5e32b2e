//! The keys and the policy that come from files: read as a whole, and taken as a whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie::keys::{KeyService, KeySetup, Remote, Trust};
use selkie::keyservice::{Address, RemoteKeyService};
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
    /// The key services that the policy names, by their addresses. None of them was asked yet.
    pub key_services: Vec<(Address, Arc<dyn KeyService>)>,
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
        let key_services = key_services(&policy, remote);
        Ok(Loaded { policy, files, ambient: ambient.collect(), key_services, around, digest: self.digest })
    }
}

/// Returns the key services that a policy names. Each answers within the limit of `remote`, or counts as one that does
/// not.
fn key_services(policy: &Policy, remote: &Arc<Remote>) -> Vec<(Address, Arc<dyn KeyService>)> {
    let mut setup = KeySetup::new(|_| None)
        .with_warnings(|text| tracing::warn!(warning = text, "a key service is asked across the network"));
    setup.remote = Arc::clone(remote);
    let service = |address: Address| -> (Address, Arc<dyn KeyService>) {
        let service = Arc::new(RemoteKeyService::new(address.clone(), &setup));
        (address, service)
    };
    policy.key_services().into_iter().map(service).collect()
}

#[cfg(test)]
impl Loaded {
    /// Returns a policy, with a service as the only key file `/keys/shared`, and as what the controller has for AWS.
    pub fn of_service(policy: Policy, service: Arc<dyn KeyService>) -> Self {
        let trust = Trust::Listed(policy.addresses());
        let around = Surroundings { trust, remote: Arc::default(), variable: |_| None };
        let files = vec![(PathBuf::from("/keys/shared"), vec![Arc::clone(&service)])];
        Self {
            policy,
            files,
            ambient: vec![("kms", service)],
            key_services: Vec::new(),
            around,
            digest: [0; 32],
        }
    }
}

impl From<PolicyError> for SopsError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

//! Key Secrets: the Secrets in which the controller keeps its keys.

use std::collections::BTreeMap;

use super::cert::SealingCert;
use super::key::SealingKey;
use super::object_meta::ObjectMeta;
use super::registry::Key;
use super::secret::Secret;
use super::{ACTIVE, KEY_LABEL};

/// A key as the controller keeps it.
pub struct KeySecret {
    /// The metadata of the Secret; empty for a key that comes from elsewhere.
    pub metadata: ObjectMeta,
    /// The key.
    pub key: SealingKey,
    /// The certificate of the key, if it is known.
    pub cert: Option<SealingCert>,
}

impl KeySecret {
    /// Returns a key in use, as a Secret of the controller's namespace.
    #[must_use]
    pub fn new(key: SealingKey, cert: SealingCert, namespace: &str, name: &str) -> Self {
        let mut metadata = ObjectMeta::named(namespace, name);
        metadata.set_label(KEY_LABEL, ACTIVE);
        Self { metadata, key, cert: Some(cert) }
    }

    /// Marks the key as one that is not used any more.
    pub fn retire(&mut self) {
        self.metadata.set_label(KEY_LABEL, "compromised");
    }

    /// Returns whether the key is marked as one that is not used any more. Keys from before 0.9 have no label, and
    /// are in use.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.metadata.label(KEY_LABEL).is_some_and(|value| value != ACTIVE)
    }

    /// Returns the key for a registry, where it comes from `name`.
    #[must_use]
    pub fn into_key(self, name: impl Into<String>) -> Key {
        let is_retired = self.is_retired();
        let validity = self.cert.and_then(|cert| cert.validity());
        let mut key = Key::new(self.key, name);
        key.not_before = validity.map(|validity| validity.not_before);
        key.not_after = validity.map(|validity| validity.not_after);
        key.is_retired = is_retired;
        key
    }

    /// Returns the Secret as the controller writes it. One without a certificate is nothing that it can read.
    #[must_use]
    pub fn to_secret(&self) -> Secret {
        let cert = self.cert.as_ref().map(|cert| (CERT.to_owned(), cert.to_pem().into()));
        let data = BTreeMap::from_iter(cert.into_iter().chain([(KEY.to_owned(), self.key.to_pem())]));
        Secret { metadata: self.metadata.clone(), type_: Some(TYPE.to_owned()), immutable: None, data }
    }
}

/// The entry of a key Secret that holds the certificate.
pub(super) const CERT: &str = "tls.crt";
/// The entry of a key Secret that holds the key.
pub(super) const KEY: &str = "tls.key";
/// The type of key Secrets.
const TYPE: &str = "kubernetes.io/tls";

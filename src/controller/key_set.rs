//! The sealing keys that are in use at a time.
//!
//! Invariants: a set does not change; private keys are in the registry alone, and what is derived from them wipes
//! itself.

use std::sync::{Arc, OnceLock};

use hmac::{Hmac, Mac};
use selkie::sealed::{Key, KeyRegistry};
use sha2::Sha256;
use time::OffsetDateTime;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// The sealing keys as of some time. A change makes a new one; whoever works with the old one ends with it.
#[derive(Default)]
pub struct KeySet {
    /// The keys, the newest first.
    pub registry: KeyRegistry,
    /// The certificate of the newest one, as PEM; `None` as long as there is none.
    pub certificate: Option<String>,
    /// How many sets were there before.
    pub generation: u64,
    /// What is known of each key Secret, by name.
    pub facts: Vec<KeyFacts>,
    /// Derived when they are first asked for.
    pub(super) digests: OnceLock<Vec<DigestKey>>,
}

/// What is known of a key Secret without its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// The name of the Secret.
    pub name: String,
    /// The fingerprint of the key, as OpenSSH shows it; `None` if it cannot be read.
    pub fingerprint: Option<String>,
    /// From when on the certificate is valid, if that can be read.
    pub not_before: Option<OffsetDateTime>,
    /// Until when the certificate is valid, if that can be read.
    pub not_after: Option<OffsetDateTime>,
    /// What the key is used for.
    pub state: KeyState,
}

/// What the key of a Secret is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// It opens values, and may be the one to seal for.
    Active,
    /// The key or its certificate cannot be read. If it is the certificate alone, the key opens values.
    Broken,
    /// Its owner said by its label that it is not used any more.
    Retired,
}

/// The key of digests that belongs to a sealing key: whoever has the one has the other.
pub struct DigestKey {
    /// The fingerprint of the sealing key.
    pub fingerprint: String,
    /// The key for HMAC.
    pub key: Zeroizing<[u8; 32]>,
}

/// Where to find the keys of the moment, and to hear of new ones.
pub type Keys = watch::Receiver<Arc<KeySet>>;

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Broken, Self::Retired];

    /// Returns the word, as labels of metrics have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Broken => "broken",
            Self::Retired => "retired",
        }
    }
}

impl KeySet {
    /// Returns the key that values are sealed for. It is not always that of the latest certificate:
    /// [`KeyOrder`](super::settings::KeyOrder) says which it is.
    #[must_use]
    pub fn newest(&self) -> Option<&Key> {
        self.certificate.as_ref().and(self.registry.keys().first())
    }

    /// Returns the keys of digests of all keys, the newest first. They are derived once.
    pub fn digest_keys(&self) -> &[DigestKey] {
        self.digests.get_or_init(|| self.registry.keys().iter().map(DigestKey::new).collect())
    }
}

impl DigestKey {
    /// Derives the key of digests of a sealing key.
    fn new(key: &Key) -> Self {
        let private = key.key.to_pem();
        let mut mac =
            Hmac::<Sha256>::new_from_slice(private.expose_secret()).expect("HMAC takes keys of any length");
        mac.update(DIGEST_CONTEXT);
        let mut derived = Zeroizing::new([0; 32]);
        derived.copy_from_slice(&mac.finalize().into_bytes());
        Self { fingerprint: key.fingerprint().to_owned(), key: derived }
    }
}

/// What keys of digests are derived for. Another text makes other keys, so that all objects are reconciled anew.
const DIGEST_CONTEXT: &[u8] = b"selkie.dev: digests of objects that were reconciled, 1";

#[cfg(test)]
mod tests {
    use selkie::sealed::{KeySize, SealingKey, SmallKeys};

    use super::*;

    #[test]
    fn a_key_of_digests_is_the_same_whenever_its_sealing_key_is_read() {
        let keys = [(); 2].map(|()| SealingKey::generate(KeySize::Rsa2048).expect("a key"));
        let pems = keys.map(|key| key.to_pem());
        let set = |order: [usize; 2]| {
            let mut set = KeySet::default();
            for index in order {
                let key = SealingKey::parse(&pems[index], SmallKeys::Refuse).expect("a key");
                set.registry.add(Key::new(key, index.to_string()));
            }
            set
        };
        let (one, other) = (set([0, 1]), set([1, 0]));
        assert_ne!(one.digest_keys()[0].key, one.digest_keys()[1].key);
        for key in one.digest_keys() {
            let again = other.digest_keys().iter().find(|again| again.fingerprint == key.fingerprint);
            assert_eq!(again.expect("it is there").key, key.key);
        }
        assert_eq!(one.digest_keys()[0].fingerprint, one.registry.keys()[0].fingerprint());
        assert!(KeySet::default().digest_keys().is_empty());
    }
}

//! The private keys at hand, and which of them opens what.

use std::sync::atomic::{AtomicUsize, Ordering};

use time::OffsetDateTime;

use super::item::{Item, ItemError, KeyCause};
use super::key::SealingKey;
use crate::secret::SecretBytes;

/// Private keys in the order in which they were added. Opening tries the key first that opened the last item:
/// most items of a repository were sealed with the same one, and a wrong key costs as much as the right one.
#[derive(Default)]
pub struct KeyRegistry {
    keys: Vec<Key>,
    /// The position of the key that last opened something.
    recent: AtomicUsize,
}

/// A private key, and what is known of it.
pub struct Key {
    /// The key.
    pub key: SealingKey,
    /// Where it comes from: a file, or a Secret of the cluster.
    pub name: String,
    /// From when on its certificate is valid, which tells the newest key; `None` if there is no certificate.
    pub not_before: Option<OffsetDateTime>,
    /// Until when its certificate is valid; `None` if there is no certificate.
    pub not_after: Option<OffsetDateTime>,
    /// Whether the controller opens values with it but its owner wants it gone.
    pub is_retired: bool,
    fingerprint: String,
}

/// An opened item.
pub struct OpenedItem {
    /// The value.
    pub value: SecretBytes,
    /// The position of the key that opened it, in [`KeyRegistry::keys`].
    pub key: usize,
}

impl Key {
    /// Returns a key that comes from `name`.
    #[must_use]
    pub fn new(key: SealingKey, name: impl Into<String>) -> Self {
        let fingerprint = key.fingerprint();
        Self { key, name: name.into(), not_before: None, not_after: None, is_retired: false, fingerprint }
    }

    /// Returns the fingerprint of the public half, as OpenSSH shows it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl KeyRegistry {
    /// Returns a registry without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key; one that is there already stays as it is.
    pub fn add(&mut self, key: Key) {
        if !self.keys.iter().any(|known| known.fingerprint == key.fingerprint) {
            self.keys.push(key);
        }
    }

    /// Returns the keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the newest key: that with the latest certificate, of equals the first.
    #[must_use]
    pub fn newest(&self) -> Option<&Key> {
        self.keys.iter().reduce(|newest, key| if key.not_before > newest.not_before { key } else { newest })
    }

    /// Opens an item that was sealed together with a label.
    ///
    /// # Errors
    /// If it is no item, or no key opens it.
    pub fn open(&self, item: &str, label: &str) -> Result<OpenedItem, ItemError> {
        let item = Item::parse(item)?;
        let mut causes = vec![KeyCause::Unfit; self.keys.len()];
        for index in self.order() {
            let key = &self.keys[index].key;
            match item.open(key.private(), key.public().size(), label) {
                Ok(value) => {
                    // A hint only: whatever other threads make of it, every key is tried.
                    self.recent.store(index, Ordering::Relaxed);
                    return Ok(OpenedItem { value, key: index });
                }
                Err(cause) => causes[index] = cause,
            }
        }
        Err(ItemError::Locked(causes))
    }

    /// Returns the positions of all keys, in the order in which they are tried.
    fn order(&self) -> impl Iterator<Item = usize> {
        let recent = self.recent.load(Ordering::Relaxed);
        let first = (recent < self.keys.len()).then_some(recent);
        first.into_iter().chain((0..self.keys.len()).filter(move |&index| index != recent))
    }
}

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
    is_incomplete: bool,
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

    /// Adds a key. One that is there already stays where it is and keeps its name; what else is known of it
    /// counts from both: it is retired if one says so.
    pub fn add(&mut self, key: Key) {
        match self.keys.iter_mut().find(|known| known.fingerprint == key.fingerprint) {
            Some(known) => {
                known.not_before = known.not_before.or(key.not_before);
                known.not_after = known.not_after.or(key.not_after);
                known.is_retired |= key.is_retired;
            }
            None => self.keys.push(key),
        }
    }

    /// Remembers that there is a key that cannot be read, which may be the newest one.
    pub fn mark_incomplete(&mut self) {
        self.is_incomplete = true;
    }

    /// Returns whether there is a key that cannot be read, so that the newest may be none of these.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Returns the keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the newest key, which is the one to seal for: that with the latest certificate, of equals the first.
    /// Retired keys are none, unless there are no others.
    #[must_use]
    pub fn newest(&self) -> Option<&Key> {
        let rank = |key: &Key| (!key.is_retired, key.not_before);
        self.keys.iter().reduce(|newest, key| if rank(key) > rank(newest) { key } else { newest })
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

#[cfg(all(test, feature = "aws-lc"))]
mod tests {
    use time::Duration;

    use super::*;
    use crate::sealed::{KeySize, SmallKeys};

    /// Returns the same key again and again.
    fn key(pem: &SecretBytes, name: &str, day: Option<i64>, is_retired: bool) -> Key {
        let mut key = Key::new(SealingKey::parse(pem, SmallKeys::Refuse).expect("a key"), name);
        key.not_before = day.map(|day| OffsetDateTime::UNIX_EPOCH + Duration::days(day));
        key.is_retired = is_retired;
        key
    }

    fn pem() -> SecretBytes {
        SealingKey::generate(KeySize::Rsa2048).expect("a new key").to_pem()
    }

    #[test]
    fn what_is_known_of_a_key_counts_wherever_it_is_said() {
        let (mut keys, pem) = (KeyRegistry::new(), pem());
        keys.add(key(&pem, "first", None, false));
        keys.add(key(&pem, "second", Some(1), true));
        let [only] = keys.keys() else { panic!("{} keys", keys.keys().len()) };
        assert_eq!((only.name.as_str(), only.is_retired), ("first", true));
        assert!(only.not_before.is_some());
    }

    #[test]
    fn a_retired_key_is_not_the_newest() {
        let (mut keys, retired) = (KeyRegistry::new(), pem());
        keys.add(key(&retired, "retired", Some(9), true));
        assert_eq!(keys.newest().map(|key| key.name.as_str()), Some("retired"));
        keys.add(key(&pem(), "unknown", None, false));
        assert_eq!(keys.newest().map(|key| key.name.as_str()), Some("unknown"));
        keys.add(key(&pem(), "newest", Some(2), false));
        keys.add(key(&pem(), "equal", Some(2), false));
        assert_eq!(keys.newest().map(|key| key.name.as_str()), Some("newest"));
    }
}

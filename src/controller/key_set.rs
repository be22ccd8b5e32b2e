//! The sealing keys that are in use at a time.

use std::sync::Arc;

use selkie::sealed::KeyRegistry;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// The sealing keys as of some time. A change makes a new one; whoever works with the old one ends with it.
#[derive(Default)]
pub struct KeySet {
    /// The keys.
    pub registry: KeyRegistry,
    /// The certificate of the newest one, as PEM; `None` as long as there is none.
    pub certificate: Option<String>,
    /// How many sets were there before.
    pub generation: u64,
    /// Keys for the digests of what was reconciled, one for each sealing key, that of the newest first.
    pub digest_keys: Vec<DigestKey>,
}

/// A key for digests, made of a sealing key.
pub struct DigestKey {
    /// The fingerprint of the sealing key.
    pub fingerprint: String,
    /// The key.
    pub key: Zeroizing<[u8; 32]>,
}

/// Where to find the keys of the moment, and to hear of new ones.
pub type Keys = watch::Receiver<Arc<KeySet>>;

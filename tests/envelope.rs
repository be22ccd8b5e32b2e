//! Envelopes under a data key that both sides know, so that no test waits for a master key.

use std::error::Error;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use selkie::format::Format;
use selkie::keys::{KeyFuture, KeyGroup, KeyKind, KeyService, MasterKey};
use selkie::secret::SecretBytes;
use selkie::sops::{Envelope, MacCheck, Metadata, OpenError, Opened, RecoverError, Selector};
use serde_json::{Map, Value as Json};

/// The data key of all made-up documents.
pub const DATA_KEY: [u8; 32] = *b"an octopus knows eight passwords";

/// When they were changed.
pub const NOW: &str = "2026-01-02T03:04:05Z";

/// Returns the envelope for documents to encrypt by `rules`, which are fields of the metadata.
pub fn envelope(rules: &Map<String, Json>, seed: u64) -> Result<Envelope, Box<dyn Error>> {
    let kind = KeyKind::from_name("age").ok_or("age is a kind of keys")?;
    let keys = MasterKey::parse_list(kind, "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun")?;
    let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
    metadata.selector = Selector::from_fields(|field| rules.get(field)?.as_str())?.unwrap_or_default();
    metadata.mac_only_encrypted = rules.contains_key("mac_only_encrypted");
    let wrapped = pollster::block_on(Envelope::create(metadata, &[&Fixed(DATA_KEY)], NOW, &mut rng(seed)))?;
    // A new data key was drawn for it; the service puts the known one in its place.
    Ok(recover(wrapped.metadata().clone(), DATA_KEY)?)
}

/// Decrypts a document with a data key.
pub fn open(format: Format, text: &[u8], key: [u8; 32]) -> Result<Opened, OpenFailure> {
    let tree = format.read(text).map_err(|error| OpenFailure::Other(error.to_string()))?;
    let metadata =
        Metadata::from_entry(tree.metadata()).map_err(|error| OpenFailure::Other(error.to_string()))?;
    let envelope = recover(metadata, key).map_err(|error| OpenFailure::Other(error.to_string()))?;
    Ok(envelope.open(format, tree, MacCheck::Require)?)
}

/// Returns the envelope of a document whose data key is `key`.
pub fn recover(metadata: Metadata, key: [u8; 32]) -> Result<Envelope, RecoverError> {
    pollster::block_on(Envelope::recover(metadata, &[&Fixed(key)], &[]))
}

/// Returns the random numbers of a seed.
pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Why a document was not decrypted.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    /// Its values or its MAC are not what they should be.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It did not come to that.
    #[error("{0}")]
    Other(String),
}

/// A key service that always comes to the same data key.
struct Fixed([u8; 32]);

impl KeyService for Fixed {
    fn name(&self) -> String {
        "fixed".to_owned()
    }

    fn wrap<'a>(&'a self, _key: &'a MasterKey, _secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async { Some(Ok("wrapped".to_owned())) })
    }

    fn unwrap<'a>(&'a self, _key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async { Some(Ok(SecretBytes::from(&self.0[..]))) })
    }
}

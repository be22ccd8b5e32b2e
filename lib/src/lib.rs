//! Encrypts and decrypts [SOPS](https://getsops.io) documents, byte for byte, for GitOps tools to embed.
//!
//! An encrypted document is an ordinary YAML, JSON, dotenv or INI file whose values are encrypted one by
//! one, so that it can be reviewed and diffed; its keys, comments and layout stay as they are. Files
//! written here open in sops, and the other way round.
//!
//!
//! # Layers
//! [`mod@format`] maps text to a [`tree`] and edits text in place. [`keys`] wraps data keys. [`sops`] encrypts
//! trees under a data key. None of them reads an environment, a file, a clock or a network: callers hand
//! in bytes, identities, randomness and the time.

pub mod format;
pub mod keys;
pub mod manifest;
pub mod secret;
pub mod shamir;
pub mod sops;
pub mod tree;

use rand_core::CryptoRngCore;

use crate::format::{Format, ParseError};
use crate::keys::KeyService;
use crate::secret::SecretBytes;
use crate::sops::{
    DEFAULT_DECRYPTION_ORDER, Envelope, MacCheck, Metadata, MetadataError, OpenError, RecoverError,
    SealError, Stash, WrapError,
};

/// Why a document could not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// Its metadata cannot be used, or it is not encrypted.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Its values or its MAC cannot be decrypted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is not of its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// No key at hand recovers its data key.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// Why a document could not be encrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// It is not of its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Its values cannot be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A master key cannot wrap the data key.
    #[error(transparent)]
    Wrap(#[from] WrapError),
}

/// Decrypts a document in place: what was not encrypted stays byte for byte, the metadata is taken out.
///
/// # Errors
/// If the document is not encrypted, no service recovers its data key, or it was changed without it.
pub fn decrypt(
    source: impl Into<SecretBytes>,
    format: Format,
    services: &[&dyn KeyService],
) -> Result<SecretBytes, DecryptError> {
    let tree = format.read(source)?;
    let metadata = Metadata::from_entry(tree.metadata())?;
    let envelope = pollster::block_on(Envelope::recover(metadata, services, DEFAULT_DECRYPTION_ORDER))?;
    Ok(envelope.open(format, tree, MacCheck::Require)?.plaintext()?)
}

/// Encrypts a document in place, for the groups of `metadata` and by its rule. `now` is RFC 3339.
///
/// # Errors
/// If the document is encrypted already, a master key fails, or the rule selects nothing.
pub fn encrypt(
    source: impl Into<SecretBytes>,
    format: Format,
    metadata: Metadata,
    services: &[&dyn KeyService],
    now: &str,
    rng: &mut dyn CryptoRngCore,
) -> Result<SecretBytes, EncryptError> {
    let tree = format.read(source)?;
    let envelope = pollster::block_on(Envelope::create(metadata, services, now, rng))?;
    Ok(envelope.seal(format, tree, Stash::new(), now, rng)?.in_place()?)
}

//! Encrypts and decrypts [SOPS](https://getsops.io) documents, byte for byte, and seals and unseals
//! [Sealed Secrets](https://github.com/bitnami-labs/sealed-secrets), for GitOps tools to embed.
//!
//! An encrypted document of SOPS is an ordinary YAML, JSON, dotenv or INI file whose values are encrypted one by
//! one, so that it can be reviewed and diffed; its keys, comments and layout stay as they are. Files
//! written here open in sops, and the other way round. A SealedSecret is a Secret of Kubernetes that the
//! controller of one cluster alone can open: see [`sealed`].
//!
//! # Example
//! ```no_run
//! # #[cfg(feature = "age")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use selkie::format::Format;
//! use selkie::keys::age::{AgeService, Identities};
//!
//! let identities = Identities::parse("keys.txt", &std::fs::read("keys.txt")?.into())?;
//! let age = AgeService::new(identities);
//! let plain = selkie::decrypt(std::fs::read("secrets.yaml")?, Format::Yaml, &[&age])?;
//! println!("{} bytes", plain.expose_secret().len());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "age"))]
//! # fn main() {}
//! ```
//!
//! # The five flows
//! Each has an example where it begins:
//!
//! | to | call | what comes of it |
//! |---|---|---|
//! | encrypt a document in place | [`encrypt()`] | a document for every key of its rule, all else byte for byte |
//! | decrypt a document | [`decrypt()`] | the document as it was, once its MAC was checked |
//! | seal a Secret for a cluster | [`sealed::SealedSecret::seal`] | a SealedSecret, which keys of [`sealed::KeyRegistry`] open |
//! | render what a sync engine applies | [`render::Engine`] | objects, decrypted or sealed again |
//! | check what Git is about to take | [`check::Checker`] | findings without any value |
//!
//! [`merge`] makes one version of three, as Git asks for it.
//!
//! # Layers
//! [`mod@format`] maps text to a [`tree`] and edits text in place. [`keys`] wraps data keys. [`sops`] encrypts
//! trees under a data key. [`sealed`] encrypts Secrets to a controller, and renders their templates with
//! [`mod@template`]. [`scheme`] is one face for both. None of them reads an environment, a file, a clock or a
//! network: callers hand in bytes, identities, randomness and the time. What crosses a network are the services of
//! kinds of keys that are elsewhere, and `keyservice`, which uses keys in another process.

pub mod check;
pub mod format;
pub mod hash_chain;
pub mod keys;
#[cfg(feature = "keyservice")]
pub mod keyservice;
pub mod kubeseal;
pub mod manifest;
pub mod masked;
pub mod merge;
pub mod render;
pub mod scheme;
pub mod sealed;
pub mod secret;
pub mod shamir;
pub mod sops;
pub mod template;
pub mod tree;

use rand_core::CryptoRngCore;

use crate::format::{Format, ParseError};
use crate::keys::KeyService;
use crate::secret::SecretBytes;
use crate::sops::{
    BY_EFFORT, Envelope, MacCheck, Metadata, MetadataError, OpenError, RecoverError, SealError, Stash,
    WrapError,
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
/// - [`DecryptError::Parse`] if the source is not of its format,
/// - [`DecryptError::Metadata`] if it is not encrypted, or its metadata cannot be used,
/// - [`DecryptError::Recover`] if no service recovers its data key,
/// - [`DecryptError::Open`] if it was changed by somebody who did not have the data key.
///
/// # Examples
/// ```
/// # #[cfg(feature = "age")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use selkie::DecryptError;
/// use selkie::format::Format;
/// use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
/// # use selkie::keys::{KeyGroup, MasterKey, age};
/// # use selkie::sops::Metadata;
///
/// let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
/// let service = AgeService::new(Identities::parse("a new key", &identity.secret)?);
/// # let keys = KeyGroup(MasterKey::parse_list(&age::KIND, &identity.recipient)?);
/// # let (metadata, now) = (Metadata::new(vec![keys]), "2026-01-02T03:04:05Z");
/// # let rng = &mut rand::rngs::OsRng;
/// # let encrypted =
/// #     selkie::encrypt("password: seal # of the sea\n", Format::Yaml, metadata, &[&service], now, rng)?;
/// // `encrypted` is a document for `identity.recipient`.
/// let plain = selkie::decrypt(encrypted, Format::Yaml, &[&service])?;
/// assert_eq!(plain.expose_secret(), b"password: seal # of the sea\n");
///
/// let error = selkie::decrypt("password: seal\n", Format::Yaml, &[&service]).err();
/// assert!(matches!(error, Some(DecryptError::Metadata(_))));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "age"))]
/// # fn main() {}
/// ```
pub fn decrypt(
    source: impl Into<SecretBytes>,
    format: Format,
    services: &[&dyn KeyService],
) -> Result<SecretBytes, DecryptError> {
    let tree = format.read(source)?;
    let metadata = Metadata::from_entry(tree.metadata())?;
    let envelope = pollster::block_on(Envelope::recover(metadata, services, BY_EFFORT))?;
    Ok(envelope.open(format, tree, MacCheck::Require)?.plaintext()?)
}

/// Encrypts a document in place, for the groups of `metadata` and by its rule. `now` is RFC 3339.
///
/// # Errors
/// - [`EncryptError::Parse`] if the source is not of its format,
/// - [`EncryptError::Wrap`] if a master key cannot wrap the data key, or there is none,
/// - [`EncryptError::Seal`] if the document is encrypted already, or the rule selects nothing.
///
/// # Examples
/// ```
/// # #[cfg(feature = "age")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use selkie::format::Format;
/// use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
/// use selkie::keys::{KeyGroup, MasterKey, age};
/// use selkie::sops::{Metadata, Selector};
///
/// let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
/// // Encrypting needs no identity.
/// let service = AgeService::new(Identities::new());
///
/// let keys = MasterKey::parse_list(&age::KIND, &identity.recipient)?;
/// let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
/// metadata.selector = Selector::EncryptedSuffix("_secret".to_owned());
///
/// let (source, now) = ("user: selkie\npassword_secret: seal\n", "2026-01-02T03:04:05Z");
/// let encrypted =
///     selkie::encrypt(source, Format::Yaml, metadata, &[&service], now, &mut rand::rngs::OsRng)?;
/// let text = str::from_utf8(encrypted.expose_secret())?;
/// assert!(text.starts_with("user: selkie\npassword_secret: ENC[AES256_GCM,data:"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "age"))]
/// # fn main() {}
/// ```
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

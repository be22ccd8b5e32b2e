//! Items: single values, each encrypted under a session key of its own.
//!
//! An item is base64 of a big endian 16-bit length, that many bytes of RSA-OAEP (SHA-256, with the label of the
//! scope) around the session key, and AES-GCM under that key with a nonce of zeros and without additional data.
//! The nonce is safe only because no session key is used twice.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AesGcm, Nonce};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::base64::{self, Base64Error};
use super::rsa::{MessageTooLong, PrivateKey, PublicKey};
use crate::secret::SecretBytes;

/// Why an item cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// It is not base64.
    #[error(transparent)]
    Base64(#[from] Base64Error),
    /// No key opens it.
    #[error("no key could decrypt secret")]
    Locked(
        /// Why not, for every key in the order of the registry.
        Vec<KeyCause>,
    ),
    /// It is shorter than it says, or than any item is.
    // The reference calls whatever it cannot open by this name.
    #[error("no key could decrypt secret")]
    Short,
}

/// Why a key does not open an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyCause {
    /// The session key is recovered, but the value is not what was encrypted under it.
    #[error("the value was changed after it was sealed")]
    Changed,
    /// What is recovered is no key of AES.
    #[error("the session key has a length that AES does not know")]
    SessionKey,
    /// The item was sealed for a key of another size.
    #[error("it was sealed for a key of {0} bits")]
    Size(
        /// The size in bits.
        usize,
    ),
    /// The item was sealed for another key, or for another name, namespace or scope.
    #[error("it was sealed for another key, or for another name, namespace or scope")]
    Unfit,
}

/// An item, split into its parts.
pub(super) struct Item {
    bytes: SecretBytes,
    /// Where the session key ends.
    middle: usize,
}

impl Item {
    /// Splits an item.
    pub(super) fn parse(text: &str) -> Result<Self, ItemError> {
        let bytes = base64::decode(text.as_bytes())?;
        let Some((length, rest)) = bytes.expose_secret().split_first_chunk::<2>() else {
            return Err(ItemError::Short);
        };
        let middle = 2 + usize::from(u16::from_be_bytes(*length));
        if rest.len() + 2 < middle {
            return Err(ItemError::Short);
        }
        Ok(Self { bytes, middle })
    }

    /// Returns the size of the key that the item was sealed for, in bits.
    pub(super) fn key_bits(&self) -> usize {
        (self.middle - 2) * 8
    }

    /// Opens the item with a key whose public half is of `size` bytes.
    pub(super) fn open(&self, key: &PrivateKey, size: usize, label: &str) -> Result<SecretBytes, KeyCause> {
        let (head, sealed) = self.bytes.expose_secret().split_at(self.middle);
        let wrapped = &head[2..];
        if wrapped.len() > size {
            return Err(KeyCause::Size(self.key_bits()));
        }
        let session = key.decrypt(wrapped, label).map_err(|_| {
            if wrapped.len() == size { KeyCause::Unfit } else { KeyCause::Size(self.key_bits()) }
        })?;
        open(session.expose_secret(), sealed)
    }
}

/// Returns the size of the key that an item was sealed for, in bits, which is all that it tells without one.
///
/// # Errors
/// If it is no item.
pub fn key_bits(item: &str) -> Result<usize, ItemError> {
    let item = Item::parse(item)?;
    let rest = item.bytes.len() - item.middle;
    if rest < TAG_LENGTH || item.middle == 2 { Err(ItemError::Short) } else { Ok(item.key_bits()) }
}

/// Seals a value under a new session key.
///
/// # Errors
/// If the key is too small for a session key.
pub(super) fn seal(
    key: &PublicKey,
    label: &str,
    value: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<String, MessageTooLong> {
    let mut session = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *session);
    let wrapped = key.encrypt(&*session, label, rng)?;
    let cipher = AesGcm::<Aes256, U12>::new((&*session).into());
    let sealed = cipher.encrypt(&NONCE.into(), value).expect("AES-GCM takes any value that fits in memory");
    let mut item = Vec::with_capacity(2 + wrapped.len() + sealed.len());
    let length = u16::try_from(wrapped.len()).map_err(|_| MessageTooLong)?;
    item.extend_from_slice(&length.to_be_bytes());
    item.extend_from_slice(&wrapped);
    item.extend_from_slice(&sealed);
    Ok(base64::encode(&item))
}

fn open(session: &[u8], sealed: &[u8]) -> Result<SecretBytes, KeyCause> {
    fn decrypt<C: Aead<NonceSize = U12> + KeyInit>(
        session: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyCause> {
        let cipher = C::new_from_slice(session).map_err(|_| KeyCause::SessionKey)?;
        cipher.decrypt(&Nonce::from(NONCE), sealed).map_err(|_| KeyCause::Changed)
    }
    let value = match session.len() {
        16 => decrypt::<AesGcm<Aes128, U12>>(session, sealed),
        24 => decrypt::<AesGcm<Aes192, U12>>(session, sealed),
        _ => decrypt::<AesGcm<Aes256, U12>>(session, sealed),
    };
    value.map(SecretBytes::from)
}

/// How long the tag of AES-GCM is, in bytes.
const TAG_LENGTH: usize = 16;
const NONCE: [u8; 12] = [0; 12];

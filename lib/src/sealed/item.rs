//! Items: single values, each encrypted under a session key of its own.
//!
//! An item is base64 of a big endian 16-bit length, that many bytes of RSA-OAEP (SHA-256, with the label of the
//! scope) around the session key, and AES-GCM under that key with a nonce of zeros and without additional data.
//! The nonce is safe only because no session key is used twice: each is drawn, or derived from the value itself.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AesGcm, Nonce};
use hkdf::Hkdf;
use rand_core::CryptoRngCore;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::base64::{self, Base64Error};
use super::rsa::{MessageTooLong, PrivateKey, PublicKey, SEED_LENGTH};
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
    assemble(&wrapped, &session, value)
}

/// Seals a value so that the same always gives the same item: the session key and the seed of OAEP are derived by
/// HKDF-SHA256 from a secret over the key, the label, the place and the value.
///
/// The session key is used once as ever: any other value has another one. `place` must tell apart what a label does
/// not, such as the entries of a Secret.
///
/// # Errors
/// If the key is too small for a session key.
pub(super) fn seal_repeatably(
    key: &PublicKey,
    label: &str,
    place: &[&str],
    value: &[u8],
    secret: &[u8; 32],
) -> Result<String, MessageTooLong> {
    let fingerprint = key.fingerprint();
    let parts = [fingerprint.as_bytes(), label.as_bytes()].into_iter();
    let parts: Vec<&[u8]> = parts.chain(place.iter().map(|part| part.as_bytes())).chain([value]).collect();
    // With its length, no part can be taken for the beginning of the next.
    let lengths: Vec<_> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
    let lengths = lengths.iter().map(<[u8; 8]>::as_slice);
    let info: Vec<&[u8]> = [REPEATABLE]
        .into_iter()
        .chain(lengths.zip(parts).flat_map(|(length, part)| [length, part]))
        .collect();
    let mut derived = Zeroizing::new([0; 32 + SEED_LENGTH]);
    let hkdf = Hkdf::<Sha256>::new(None, secret);
    hkdf.expand_multi_info(&info, &mut *derived).expect("HKDF has 64 bytes");
    let (session, seed) = derived.split_first_chunk::<32>().expect("it has 64 bytes");
    let seed = seed.first_chunk().expect("it has 32 bytes left");
    let wrapped = key.encrypt_seeded(session, label, seed)?;
    assemble(&wrapped, session, value)
}

/// Returns the item of a value under a session key that is wrapped already.
fn assemble(wrapped: &[u8], session: &[u8; 32], value: &[u8]) -> Result<String, MessageTooLong> {
    let cipher = AesGcm::<Aes256, U12>::new(session.into());
    let sealed = cipher.encrypt(&NONCE.into(), value).expect("AES-GCM takes any value that fits in memory");
    let mut item = Vec::with_capacity(2 + wrapped.len() + sealed.len());
    let length = u16::try_from(wrapped.len()).map_err(|_| MessageTooLong)?;
    item.extend_from_slice(&length.to_be_bytes());
    item.extend_from_slice(wrapped);
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
/// What keys of repeatable items are derived for.
const REPEATABLE: &[u8] = b"selkie reseal";

#[cfg(all(test, feature = "aws-lc"))]
mod tests {
    use crate::sealed::{Key, KeyRegistry, SealingCert, SealingKey, SmallKeys};

    fn pair(cert: &[u8], key: &str) -> (SealingCert, KeyRegistry) {
        let mut keys = KeyRegistry::new();
        let key = SealingKey::parse(&key.into(), SmallKeys::Refuse).expect("a key");
        keys.add(Key::new(key, "test"));
        (SealingCert::parse(cert).expect("a certificate"), keys)
    }

    fn first() -> (SealingCert, KeyRegistry) {
        pair(
            include_bytes!("../../../testdata/sealed-secrets/new-cert.pem"),
            include_str!("../../../testdata/sealed-secrets/new-key.pem"),
        )
    }

    #[test]
    fn the_same_gives_the_same_and_all_else_another() {
        let (cert, keys) = first();
        let (other, _) = pair(
            include_bytes!("../../../testdata/sealed-secrets/cert.pem"),
            include_str!("../../../testdata/sealed-secrets/key-pkcs1.pem"),
        );
        let seal = |cert: &SealingCert, label: &str, place: &[&str], value: &str, secret: u8| {
            cert.seal_repeatably(&value.into(), label, place, &[secret; 32]).expect("sealed")
        };
        let item = seal(&cert, "shop/db", &["shop", "db", "password"], "hunter2", 7);
        assert_eq!(seal(&cert, "shop/db", &["shop", "db", "password"], "hunter2", 7), item);
        assert_eq!(keys.open(&item, "shop/db").expect("opens").value.expose_secret(), b"hunter2");
        assert!(keys.open(&item, "shop/other").is_err(), "the label counts");
        let others = [
            seal(&other, "shop/db", &["shop", "db", "password"], "hunter2", 7),
            seal(&cert, "shop", &["shop", "db", "password"], "hunter2", 7),
            seal(&cert, "shop/db", &["shop", "db", "passwor"], "dhunter2", 7),
            seal(&cert, "shop/db", &["shop", "dbp", "assword"], "hunter2", 7),
            seal(&cert, "shop/db", &["shop", "db", "password"], "hunter3", 7),
            seal(&cert, "shop/db", &["shop", "db", "password"], "hunter2", 8),
        ];
        // The first block of each is the session key, wrapped.
        let mut heads: Vec<_> = others.iter().chain([&item]).map(|item| &item[..100]).collect();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), 7);
        let mut tails: Vec<_> = others.iter().chain([&item]).map(|item| &item[item.len() - 24..]).collect();
        tails.sort_unstable();
        tails.dedup();
        assert_eq!(tails.len(), 7);
    }

    #[test]
    fn items_are_those_of_another_implementation() {
        // Made by `testdata/render/reseal/reseal.py`, which has nothing of this program.
        let (cert, _) = first();
        let item = cert.seal_repeatably(&"hunter2".into(), "shop/db", &["shop", "db", "password"], &[7; 32]);
        let expected = include_str!("../../../testdata/render/reseal/item.txt");
        assert_eq!(item.expect("sealed"), expected.trim_end());
    }
}

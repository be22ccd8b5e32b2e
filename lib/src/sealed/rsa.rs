//! RSA-OAEP with SHA-256, behind one border: `rsa` reads keys and encrypts where nothing faster does,
//! `aws-lc-rs` does everything that touches a private key, in constant time, and public operations if it takes
//! the key.
//!
//! Private operations of `rsa` are not constant in time (RUSTSEC-2023-0071). They are the slow path, for keys
//! that aws-lc-rs does not take, and only if the caller asks for it.

use std::num::NonZeroU32;

use rand_core::{CryptoRng, CryptoRngCore, RngCore};
use rsa::pkcs1::der::Decode;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Oaep, RsaPrivateKey, RsaPublicKey};
use sha2::{Digest, Sha256};

use super::base64;
use super::key::{SealingKeyError, SmallKeys};
use crate::secret::SecretBytes;

/// The public half of a key.
pub(super) struct PublicKey {
    key: RsaPublicKey,
    #[cfg(feature = "aws-lc")]
    fast: Option<aws_lc_rs::rsa::OaepPublicEncryptingKey>,
}

/// The private half of a key.
pub(super) enum PrivateKey {
    #[cfg(feature = "aws-lc")]
    ConstantTime(aws_lc_rs::rsa::OaepPrivateDecryptingKey),
    Slow(Box<RsaPrivateKey>),
}

/// The message does not fit the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message too long for RSA key size")]
pub(super) struct MessageTooLong;

/// What was encrypted was not encrypted to this key, or together with another label.
pub(super) struct NotDecryptable;

impl PublicKey {
    /// Reads the DER of a PKCS#1 public key.
    pub(super) fn from_pkcs1(der: &[u8]) -> Option<Self> {
        let parts = rsa::pkcs1::RsaPublicKey::from_der(der).ok()?;
        Self::new(parts.modulus.as_bytes(), parts.public_exponent.as_bytes())
    }

    /// Returns the key with a modulus and an exponent, each as big endian bytes.
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (n, e) = (BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent));
        let key = RsaPublicKey::new_with_max_size(n, e, MAX_BITS).ok()?;
        Some(Self {
            #[cfg(feature = "aws-lc")]
            fast: fast_public(&key),
            key,
        })
    }

    /// Returns the size of the modulus in bits.
    pub(super) fn bits(&self) -> usize {
        self.key.n().bits()
    }

    /// Returns the size of what is encrypted to the key, in bytes.
    pub(super) fn size(&self) -> usize {
        self.key.size()
    }

    /// Returns the DER of the key as PKCS#1.
    #[cfg(feature = "aws-lc")]
    pub(super) fn to_pkcs1(&self) -> Vec<u8> {
        use rsa::pkcs1::EncodeRsaPublicKey;
        self.key.to_pkcs1_der().expect("DER takes two numbers of this size").into_vec()
    }

    /// Returns the key as PEM.
    pub(super) fn to_pem(&self) -> String {
        use rsa::pkcs8::EncodePublicKey;
        self.key.to_public_key_pem(rsa::pkcs8::LineEnding::LF).expect("DER takes two numbers of this size")
    }

    /// Returns the fingerprint that OpenSSH shows of the key: `SHA256:` and base64 without padding.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for part in [b"ssh-rsa".to_vec(), mpint(self.key.e()), mpint(self.key.n())] {
            hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(part);
        }
        format!("SHA256:{}", base64::encode(&hash.finalize()).trim_end_matches('='))
    }

    /// Encrypts a message together with a label.
    pub(super) fn encrypt(
        &self,
        message: &[u8],
        label: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, MessageTooLong> {
        #[cfg(feature = "aws-lc")]
        if let Some(fast) = &self.fast {
            let mut out = vec![0; fast.ciphertext_size()];
            let algorithm = &aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256;
            let length = fast.encrypt(algorithm, message, &mut out, Some(label.as_bytes()));
            let length = length.map_err(|_| MessageTooLong)?.len();
            out.truncate(length);
            return Ok(out);
        }
        let mut rng = rng;
        self.key.encrypt(&mut rng, oaep(label), message).map_err(|_| MessageTooLong)
    }

    /// Encrypts a message together with a label, with a seed that is given in place of a drawn one: the same seed
    /// gives the same ciphertext. Only who makes the seed of the message may call it.
    // aws-lc draws seeds of its own, so that this is the work of `rsa`.
    pub(super) fn encrypt_seeded(
        &self,
        message: &[u8],
        label: &str,
        seed: &[u8; SEED_LENGTH],
    ) -> Result<Vec<u8>, MessageTooLong> {
        let mut seed = Seed { bytes: seed, used: 0 };
        self.key.encrypt(&mut seed, oaep(label), message).map_err(|_| MessageTooLong)
    }
}

/// A seed, in the place of a source of randomness.
struct Seed<'a> {
    bytes: &'a [u8; SEED_LENGTH],
    used: usize,
}

impl RngCore for Seed<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        let filled = self.try_fill_bytes(destination);
        filled.expect("OAEP draws as many bytes as its hash has, once");
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), rand_core::Error> {
        let end = self.used + destination.len();
        let bytes = self.bytes.get(self.used..end);
        let code = NonZeroU32::new(rand_core::Error::CUSTOM_START).expect("it is not zero");
        destination.copy_from_slice(bytes.ok_or(rand_core::Error::from(code))?);
        self.used = end;
        Ok(())
    }
}

// It was derived from a secret.
impl CryptoRng for Seed<'_> {}

impl Clone for PublicKey {
    fn clone(&self) -> Self {
        Self {
            #[cfg(feature = "aws-lc")]
            fast: fast_public(&self.key),
            key: self.key.clone(),
        }
    }
}

impl PrivateKey {
    /// Reads the DER of a PKCS#1 private key.
    pub(super) fn from_pkcs1(der: &SecretBytes, small: SmallKeys) -> Result<Self, SealingKeyError> {
        #[cfg(feature = "aws-lc")]
        if let Ok(key) = aws_lc_rs::rsa::PrivateDecryptingKey::from_pkcs8(pkcs8(der)?.expose_secret())
            && let Ok(key) = aws_lc_rs::rsa::OaepPrivateDecryptingKey::new(key)
        {
            return Ok(Self::ConstantTime(key));
        }
        let key = <RsaPrivateKey as rsa::pkcs1::DecodeRsaPrivateKey>::from_pkcs1_der(der.expose_secret());
        let key = key.map_err(|_| SealingKeyError::Malformed)?;
        match (small, key.n().bits()) {
            (SmallKeys::Allow, _) => Ok(Self::Slow(Box::new(key))),
            // Of this size it was refused for another reason.
            #[cfg(feature = "aws-lc")]
            (SmallKeys::Refuse, 2048..=8192) => Err(SealingKeyError::Malformed),
            (SmallKeys::Refuse, bits) => Err(SealingKeyError::Size(bits)),
        }
    }

    /// Decrypts a message that was encrypted together with a label.
    pub(super) fn decrypt(&self, ciphertext: &[u8], label: &str) -> Result<SecretBytes, NotDecryptable> {
        match self {
            #[cfg(feature = "aws-lc")]
            Self::ConstantTime(key) => {
                let ciphertext = padded(ciphertext, key.key_size_bytes()).ok_or(NotDecryptable)?;
                let mut out = vec![0; key.min_output_size()];
                let algorithm = &aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256;
                let length = key.decrypt(algorithm, &ciphertext, &mut out, Some(label.as_bytes()));
                let length = length.map(|message| message.len());
                let mut message = SecretBytes::from(out);
                message.truncate(length.map_err(|_| NotDecryptable)?);
                Ok(message)
            }
            Self::Slow(key) => {
                let ciphertext = padded(ciphertext, key.size()).ok_or(NotDecryptable)?;
                let mut rng = blinding(key, &ciphertext);
                let message = key.decrypt_blinded(&mut rng, oaep(label), &ciphertext);
                message.map(SecretBytes::from).map_err(|_| NotDecryptable)
            }
        }
    }
}

/// Returns a new private key as the DER of PKCS#1.
#[cfg(feature = "aws-lc")]
pub(super) fn generate(size: super::key::KeySize) -> Result<SecretBytes, SealingKeyError> {
    use super::key::KeySize;
    use aws_lc_rs::encoding::AsDer;

    let size = match size {
        KeySize::Rsa2048 => aws_lc_rs::rsa::KeySize::Rsa2048,
        KeySize::Rsa3072 => aws_lc_rs::rsa::KeySize::Rsa3072,
        KeySize::Rsa4096 => aws_lc_rs::rsa::KeySize::Rsa4096,
        KeySize::Rsa8192 => aws_lc_rs::rsa::KeySize::Rsa8192,
    };
    let key =
        aws_lc_rs::rsa::PrivateDecryptingKey::generate(size).map_err(|_| SealingKeyError::Generation)?;
    let der = key.as_der().map_err(|_| SealingKeyError::Generation)?;
    let parsed =
        rsa::pkcs8::PrivateKeyInfo::try_from(der.as_ref()).map_err(|_| SealingKeyError::Generation)?;
    Ok(SecretBytes::from(parsed.private_key))
}

/// Signs a message with RSA PKCS#1 1.5 and SHA-256.
#[cfg(feature = "aws-lc")]
pub(super) fn sign(pkcs1: &SecretBytes, message: &[u8]) -> Result<Vec<u8>, SealingKeyError> {
    let key =
        aws_lc_rs::rsa::KeyPair::from_der(pkcs1.expose_secret()).map_err(|_| SealingKeyError::Malformed)?;
    let mut signature = vec![0; key.public_modulus_len()];
    let rng = aws_lc_rs::rand::SystemRandom::new();
    key.sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &rng, message, &mut signature)
        .map_err(|_| SealingKeyError::Generation)?;
    Ok(signature)
}

/// Returns a PKCS#1 private key as PKCS#8.
#[cfg(feature = "aws-lc")]
fn pkcs8(pkcs1: &SecretBytes) -> Result<SecretBytes, SealingKeyError> {
    use rsa::pkcs8::der::Encode;

    let info = rsa::pkcs8::PrivateKeyInfo::new(rsa::pkcs1::ALGORITHM_ID, pkcs1.expose_secret());
    info.to_der().map(SecretBytes::from).map_err(|_| SealingKeyError::Malformed)
}

#[cfg(feature = "aws-lc")]
fn fast_public(key: &RsaPublicKey) -> Option<aws_lc_rs::rsa::OaepPublicEncryptingKey> {
    use rsa::pkcs8::EncodePublicKey;

    let der = key.to_public_key_der().ok()?;
    // A key that it does not take is encrypted to by `rsa`.
    let key = aws_lc_rs::rsa::PublicEncryptingKey::from_der(der.as_bytes()).ok()?;
    aws_lc_rs::rsa::OaepPublicEncryptingKey::new(key).ok()
}

fn oaep(label: &str) -> Oaep {
    // Without a label is the same as with an empty one.
    Oaep::new_with_label::<Sha256, _>(label)
}

/// Returns a ciphertext with the leading zeros that somebody may have left out; `None` if it is too long.
fn padded(ciphertext: &[u8], size: usize) -> Option<Vec<u8>> {
    let missing = size.checked_sub(ciphertext.len())?;
    let mut padded = vec![0; missing];
    padded.extend_from_slice(ciphertext);
    Some(padded)
}

/// Returns numbers that blind a private operation: nobody without the key can foretell them.
fn blinding(key: &RsaPrivateKey, ciphertext: &[u8]) -> rand_chacha::ChaCha20Rng {
    use rand_core::SeedableRng;
    use rsa::traits::PrivateKeyParts;

    let secret = zeroize::Zeroizing::new(key.d().to_bytes_be());
    let seed = Sha256::new().chain_update(&secret[..]).chain_update(ciphertext).finalize();
    rand_chacha::ChaCha20Rng::from_seed(seed.into())
}

/// A number as OpenSSH writes it: big endian, with a zero in front if it would be negative.
fn mpint(number: &BigUint) -> Vec<u8> {
    let mut bytes = number.to_bytes_be();
    if bytes.first().is_some_and(|&byte| byte >= 0x80) {
        bytes.insert(0, 0);
    }
    bytes
}

/// How many bytes the seed of OAEP with SHA-256 has.
pub(super) const SEED_LENGTH: usize = 32;
/// The largest modulus that is read, in bits.
const MAX_BITS: usize = 16384;

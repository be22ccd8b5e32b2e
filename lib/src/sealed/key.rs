//! Sealing keys: the private halves, with which values are opened.

use rsa::pkcs1::der::Decode;

use super::pem_block::{self, PemBlock};
use super::rsa::{PrivateKey, PublicKey};
use crate::secret::SecretBytes;

/// A private key of a controller.
pub struct SealingKey {
    public: PublicKey,
    private: PrivateKey,
    pkcs1: SecretBytes,
}

/// What to do about keys that no constant-time implementation takes: those below 2048 or above 8192 bits, and
/// all of them without the feature `aws-lc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmallKeys {
    /// Use them, in time that tells of the key: for a person at work, never for a server.
    Allow,
    /// Refuse them.
    #[default]
    Refuse,
}

/// The size of a new key in bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySize {
    /// 2048 bits.
    Rsa2048,
    /// 3072 bits.
    Rsa3072,
    /// 4096 bits, as the controller makes them.
    #[default]
    Rsa4096,
    /// 8192 bits.
    Rsa8192,
}

/// Why a private key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealingKeyError {
    /// The key is encrypted itself.
    #[error("the private key is encrypted with a passphrase")]
    Encrypted,
    /// A new key could not be made.
    #[error("a key could not be made")]
    Generation,
    /// The PEM or the DER in it is broken.
    #[error("the private key is malformed")]
    Malformed,
    /// There is no private key in the PEM.
    #[error("there is no private key in PEM")]
    Missing,
    /// The key is for another algorithm.
    #[error("the private key is not an RSA key")]
    NotRsa,
    /// No constant-time implementation takes keys of this size.
    #[error("a key of {0} bits cannot be used in constant time")]
    Size(
        /// The size of the modulus in bits.
        usize,
    ),
    /// A certificate cannot say when it would end, or begin.
    #[error("no certificate can be valid for so long: its last year is 9999")]
    Validity,
}

impl KeySize {
    /// Every size, the smallest first.
    pub const ALL: [Self; 4] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::Rsa8192];

    /// Returns the size in bits.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
            Self::Rsa8192 => 8192,
        }
    }
}

impl SealingKey {
    /// Reads the first private key of a PEM text: `RSA PRIVATE KEY` (PKCS#1) or `PRIVATE KEY` (PKCS#8).
    ///
    /// # Errors
    /// If there is none, or it is not an RSA key that `small` lets pass.
    pub fn parse(pem: &SecretBytes, small: SmallKeys) -> Result<Self, SealingKeyError> {
        let blocks = pem_block::blocks(pem.expose_secret());
        let block = blocks.into_iter().find(Self::is_in).ok_or(SealingKeyError::Missing)?;
        Self::from_block(block, small)
    }

    /// Returns whether a block says that it holds a private key.
    pub(super) fn is_in(block: &PemBlock) -> bool {
        block.tag.ends_with("PRIVATE KEY")
    }

    /// Reads the key of a block.
    pub(super) fn from_block(block: PemBlock, small: SmallKeys) -> Result<Self, SealingKeyError> {
        let is_encrypted = block.is_encrypted || block.tag.starts_with("ENCRYPTED");
        let der = || block.content.ok_or(SealingKeyError::Malformed);
        match block.tag.as_str() {
            _ if is_encrypted => Err(SealingKeyError::Encrypted),
            "RSA PRIVATE KEY" => Self::from_pkcs1(der()?, small),
            "PRIVATE KEY" => Self::from_pkcs1(unwrapped(&der()?)?, small),
            _ => Err(SealingKeyError::NotRsa),
        }
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// If the system has no randomness.
    #[cfg(feature = "aws-lc")]
    pub fn generate(size: KeySize) -> Result<Self, SealingKeyError> {
        Self::from_pkcs1(super::rsa::generate(size)?, SmallKeys::Refuse)
    }

    fn from_pkcs1(der: SecretBytes, small: SmallKeys) -> Result<Self, SealingKeyError> {
        let parts = rsa::pkcs1::RsaPrivateKey::from_der(der.expose_secret());
        let parts = parts.map_err(|_| SealingKeyError::Malformed)?;
        let public = PublicKey::new(parts.modulus.as_bytes(), parts.public_exponent.as_bytes());
        let public = public.ok_or(SealingKeyError::Malformed)?;
        let private = PrivateKey::from_pkcs1(&der, small)?;
        Ok(Self { public, private, pkcs1: der })
    }

    /// Returns the key as the controller keeps it: PEM of PKCS#1.
    #[must_use]
    pub fn to_pem(&self) -> SecretBytes {
        let pem = pem::Pem::new("RSA PRIVATE KEY", self.pkcs1.expose_secret());
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        SecretBytes::from(pem::encode_config(&pem, config))
    }

    /// Returns the fingerprint of the public half, as OpenSSH shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.public.fingerprint()
    }

    /// Returns the size of the key in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.public.bits()
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn private(&self) -> &PrivateKey {
        &self.private
    }

    #[cfg(feature = "aws-lc")]
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SealingKeyError> {
        super::rsa::sign(&self.pkcs1, message)
    }
}

/// Returns the PKCS#1 key in a PKCS#8 one.
fn unwrapped(der: &SecretBytes) -> Result<SecretBytes, SealingKeyError> {
    let info = rsa::pkcs8::PrivateKeyInfo::try_from(der.expose_secret());
    let info = info.map_err(|_| SealingKeyError::Malformed)?;
    if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
        return Err(SealingKeyError::NotRsa);
    }
    Ok(SecretBytes::from(info.private_key))
}

#[cfg(all(test, feature = "aws-lc"))]
mod tests {
    use rand::rngs::OsRng;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::sealed::{CertError, ItemError, Key, KeyCause, KeyRegistry, SealingCert, SealingScope};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn pair(size: KeySize) -> (SealingKey, SealingCert) {
        let key = SealingKey::generate(size).expect("a new key");
        let cert = SealingCert::generate(&key, "selkie", NOW, Duration::days(36500), &mut OsRng);
        (key, cert.expect("a certificate"))
    }

    fn seal(cert: &SealingCert, value: &[u8]) -> String {
        cert.seal_value(&value.into(), SealingScope::Strict, "ns", "n", &mut OsRng)
            .expect("the key is large enough")
    }

    #[test]
    fn new_keys_open_what_their_certificates_sealed() {
        let (key, cert) = pair(KeySize::Rsa2048);
        assert_eq!((key.bits(), cert.bits()), (2048, 2048));
        let validity = cert.validity().expect("it is a certificate");
        assert_eq!(validity.not_after - validity.not_before, Duration::days(36500));
        let again = SealingCert::parse(cert.to_pem().as_bytes()).expect("a certificate");
        assert_eq!(again.fingerprint(), key.fingerprint());
        let key = SealingKey::parse(&key.to_pem(), SmallKeys::Refuse).expect("a key");
        let mut keys = KeyRegistry::new();
        keys.add(Key::new(key, "new"));
        for value in [&b""[..], b"\0\xff", &[b'x'; 100_000]] {
            let opened = keys.open(&seal(&cert, value), "ns/n").expect("it was sealed for the key");
            assert_eq!(opened.value.expose_secret(), value);
        }
    }

    #[test]
    fn the_public_half_of_a_key_seals_without_a_certificate() {
        let (key, cert) = pair(KeySize::Rsa2048);
        let bare = SealingCert::of_key(&key);
        assert_eq!((bare.validity(), bare.fingerprint()), (None, cert.fingerprint()));
        assert_eq!(bare.check_expiry(NOW + Duration::days(1_000_000)), Ok(()));
        assert_eq!(SealingCert::parse(bare.to_pem().as_bytes()).err(), Some(CertError::PublicKey));
        let mut keys = KeyRegistry::new();
        keys.add(Key::new(key, ""));
        assert!(keys.open(&seal(&bare, b"x"), "ns/n").is_ok());
    }

    #[test]
    fn every_key_says_why_it_does_not_fit() {
        let (key, cert) = pair(KeySize::Rsa2048);
        let (other, _) = pair(KeySize::Rsa2048);
        let (large, _) = pair(KeySize::Rsa3072);
        let mut keys = KeyRegistry::new();
        [large, other, key].into_iter().for_each(|key| keys.add(Key::new(key, "")));
        let item = seal(&cert, b"x");
        assert_eq!(keys.open(&item, "ns/n").map(|opened| opened.key), Ok(2));
        let causes = |item: &str, label: &str| match keys.open(item, label) {
            Err(ItemError::Locked(causes)) => causes,
            _ => panic!("a key opened it, or it is no item"),
        };
        // A shorter number is as good as one with zeros in front, so that it was tried.
        assert_eq!(causes(&item, "ns/other"), [KeyCause::Size(2048), KeyCause::Unfit, KeyCause::Unfit]);
        let mut changed =
            super::super::base64::decode(item.as_bytes()).expect("base64").expose_secret().to_vec();
        *changed.last_mut().expect("it is not empty") ^= 1;
        let changed = super::super::base64::encode(&changed);
        assert_eq!(causes(&changed, "ns/n"), [KeyCause::Size(2048), KeyCause::Unfit, KeyCause::Changed]);
    }

    #[test]
    fn small_keys_are_used_only_if_the_caller_wants_it() {
        let small = rsa::RsaPrivateKey::new(&mut OsRng, 1024).expect("a key");
        let pem = rsa::pkcs1::EncodeRsaPrivateKey::to_pkcs1_pem(&small, rsa::pkcs8::LineEnding::LF);
        let pem = SecretBytes::from(pem.expect("PEM").as_str());
        assert_eq!(SealingKey::parse(&pem, SmallKeys::Refuse).err(), Some(SealingKeyError::Size(1024)));
        let key = SealingKey::parse(&pem, SmallKeys::Allow).expect("it is allowed");
        let item = crate::sealed::item::seal(key.public(), "", b"x", &mut OsRng).expect("it fits");
        let mut keys = KeyRegistry::new();
        keys.add(Key::new(key, "small"));
        assert_eq!(
            keys.open(&item, "").map(|opened| opened.value.expose_secret().to_vec()),
            Ok(b"x".to_vec())
        );
    }

    #[test]
    fn what_is_no_key_is_told_by_what_it_is() {
        let error = |pem: &str| SealingKey::parse(&pem.into(), SmallKeys::Refuse).err();
        let block = |tag: &str| format!("-----BEGIN {tag}-----\nAAAA\n-----END {tag}-----\n");
        assert_eq!(error(""), Some(SealingKeyError::Missing));
        assert_eq!(error(&block("CERTIFICATE")), Some(SealingKeyError::Missing));
        assert_eq!(error(&block("ENCRYPTED PRIVATE KEY")), Some(SealingKeyError::Encrypted));
        assert_eq!(error(&block("EC PRIVATE KEY")), Some(SealingKeyError::NotRsa));
        assert_eq!(error(&block("RSA PRIVATE KEY")), Some(SealingKeyError::Malformed));
    }
}

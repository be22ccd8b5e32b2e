//! Digests of sealed values: what tells later that a value is the one that an item was made of, without the
//! private key.
//!
//! Invariant: without its [`DigestKey`], a digest tells nothing of the value. With the key, guesses of a value
//! can be tried: keys and digests belong on the machine of their owner alone.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The key of digests.
pub struct DigestKey(Zeroizing<[u8; 32]>);

/// A value, and the item that it was sealed as.
#[derive(Clone, Copy)]
pub struct SealedValue<'a> {
    /// What the item is bound to: see [`SealedSecret::label`](super::SealedSecret::label).
    pub label: &'a str,
    /// The key of the value in its Secret.
    pub key: &'a str,
    /// The value.
    pub value: &'a [u8],
    /// The item.
    pub item: &'a str,
    /// The fingerprint of the certificate.
    pub fingerprint: &'a str,
}

/// A digest of a sealed value. Digests are compared in constant time.
#[derive(Clone, Copy)]
pub struct Digest([u8; Digest::LENGTH]);

impl DigestKey {
    /// Returns a key that is made of random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Returns the digest of a sealed value.
    #[must_use]
    pub fn digest(&self, sealed: &SealedValue<'_>) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes keys of any length");
        let item = <Sha256 as sha2::Digest>::digest(sealed.item.as_bytes());
        let parts = [
            sealed.label.as_bytes(),
            sealed.key.as_bytes(),
            sealed.value,
            &item,
            sealed.fingerprint.as_bytes(),
        ];
        for part in parts {
            // With its length, no part can be taken for the beginning of the next.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Digest(mac.finalize().into_bytes().into())
    }

    /// Returns whether two keys are the same, in time that does not tell where they differ.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }

    /// Returns the bytes of the key. Call it as late as possible.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Digest {
    /// How many bytes a digest has.
    pub const LENGTH: usize = 32;

    /// Returns the digest with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED: SealedValue<'_> =
        SealedValue { label: "ns/n", key: "k", value: b"v", item: "AgB", fingerprint: "SHA256:x" };

    #[test]
    fn every_part_counts() {
        let key = DigestKey::new(&[1; 32]);
        let digest = key.digest(&SEALED);
        assert!(digest == key.digest(&SEALED) && digest != DigestKey::new(&[2; 32]).digest(&SEALED));
        let others = [
            SealedValue { label: "ns/nk", key: "", ..SEALED },
            SealedValue { key: "kv", value: b"", ..SEALED },
            SealedValue { value: b"w", ..SEALED },
            SealedValue { item: "AgC", ..SEALED },
            SealedValue { fingerprint: "SHA256:y", ..SEALED },
        ];
        assert!(others.iter().all(|other| key.digest(other) != digest));
    }
}

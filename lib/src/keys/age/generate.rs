//! New identities.

use ::age::x25519;
use bech32::{Bech32, Hrp};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::hybrid::{self, HybridIdentity};
use crate::secret::SecretBytes;

/// A new identity and its recipient.
pub struct NewIdentity {
    /// The identity as it is written in a file, without a line's end.
    pub secret: SecretBytes,
    /// The recipient that belongs to it.
    pub recipient: String,
}

/// Kinds of identities that can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityKind {
    /// Safe against quantum computers too; age reads it since version 1.3, and sops since 3.12.
    Hybrid,
    /// What every version of age reads.
    #[default]
    X25519,
}

/// Draws a new identity.
///
/// # Panics
/// Never: 32 bytes are always a key, and a [`SecretBytes`] takes any text.
#[must_use]
pub fn generate(kind: IdentityKind, rng: &mut dyn CryptoRngCore) -> NewIdentity {
    let mut key = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *key);
    let prefix = match kind {
        IdentityKind::Hybrid => hybrid::IDENTITY_PREFIX,
        IdentityKind::X25519 => X25519_PREFIX,
    };
    let mut secret = SecretBytes::with_capacity(128);
    bech32::encode_upper_to_fmt::<Bech32, _>(&mut secret, prefix, &*key)
        .expect("the text is shorter than Bech32 allows, and writing to a secret cannot fail");
    let text = str::from_utf8(secret.expose_secret()).expect("Bech32 is ASCII");
    let recipient = match kind {
        IdentityKind::Hybrid => HybridIdentity::parse(text).map(|key| key.to_recipient().to_string()),
        IdentityKind::X25519 => text.parse().map(|key: x25519::Identity| key.to_public().to_string()),
    }
    .expect("32 bytes are an identity");
    NewIdentity { secret, recipient }
}

const X25519_PREFIX: Hrp = Hrp::parse_unchecked("AGE-SECRET-KEY-");

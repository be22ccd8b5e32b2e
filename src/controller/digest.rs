//! What tells after a restart that nothing has changed since an object was reconciled: a digest of it, and of the
//! versions of its Secrets, under a key that is made of a sealing key.
//!
//! Invariants: who can write the status of an object, but has no sealing key, cannot make a digest that counts; the
//! digest tells nothing of a plaintext, as none is in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::key_set::DigestKey;
use super::status::{Applied, Version};

/// Returns what the status of an object shall say of it.
#[must_use]
pub fn applied(key: &DigestKey, object: &Object<'_>, mut secrets: Vec<Version>) -> Applied {
    secrets.sort();
    let digest = format!("{VERSION}.{}.{}", id(key), URL_SAFE_NO_PAD.encode(mac(key, object, &secrets)));
    Applied { digest, secrets }
}

/// Returns whether the status tells the truth of an object: a key that is known made its digest, of this object and
/// these versions of Secrets.
#[must_use]
pub fn is_true(keys: &[DigestKey], object: &Object<'_>, applied: &Applied) -> bool {
    let mut parts = applied.digest.splitn(3, '.');
    let (Some(VERSION), Some(of_key), Some(digest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some(key) = keys.iter().find(|key| id(key) == of_key) else { return false };
    let Ok(digest) = URL_SAFE_NO_PAD.decode(digest) else { return false };
    hmac(key, object, &applied.secrets).verify_slice(&digest).is_ok()
}

/// What a digest is made of, besides versions of Secrets.
pub struct Object<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// A hash of what else counts: see [`Source::essence`](super::source::Source::essence).
    pub essence: &'a [u8; 32],
}

/// Returns a hash of what tells which Secrets an object stands for.
#[must_use]
pub fn essence(value: &Json) -> [u8; 32] {
    // Maps are in the order in which the API server returns them, which sorts them.
    Sha256::digest(value.to_string()).into()
}

fn mac(key: &DigestKey, object: &Object<'_>, secrets: &[Version]) -> [u8; 32] {
    hmac(key, object, secrets).finalize().into_bytes().into()
}

fn hmac(key: &DigestKey, object: &Object<'_>, secrets: &[Version]) -> Hmac<Sha256> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(&*key.key).expect("HMAC takes keys of any length");
    let mut add = |part: &[u8]| {
        // With its length, no part can be taken for the beginning of the next.
        hmac.update(&(part.len() as u64).to_be_bytes());
        hmac.update(part);
    };
    for part in [VERSION, object.uid, object.namespace, object.name] {
        add(part.as_bytes());
    }
    add(object.essence);
    for secret in secrets {
        for part in [&secret.name, &secret.uid, &secret.resource_version] {
            add(part.as_bytes());
        }
    }
    hmac
}

/// Returns which key made a digest: the beginning of a hash of its fingerprint.
fn id(key: &DigestKey) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(&key.fingerprint)[..9])
}

/// Another one whenever the same object could become another Secret with a later release.
const VERSION: &str = "1";

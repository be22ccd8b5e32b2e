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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;

    fn key(number: u8) -> DigestKey {
        DigestKey { fingerprint: format!("SHA256:{number}"), key: Zeroizing::new([number; 32]) }
    }

    fn version(name: &str, uid: &str, resource_version: &str) -> Version {
        Version { name: name.to_owned(), uid: uid.to_owned(), resource_version: resource_version.to_owned() }
    }

    fn object<'a>(parts: [&'a str; 3], essence: &'a [u8; 32]) -> Object<'a> {
        let [uid, namespace, name] = parts;
        Object { uid, namespace, name, essence }
    }

    fn versions() -> Vec<Version> {
        vec![version("t", "t1", "9"), version("s", "s1", "7")]
    }

    #[test]
    fn a_digest_counts_with_the_key_that_made_it_wherever_it_stands() {
        let (essence, parts) = ([5; 32], ["u1", "ns", "s"]);
        let made = applied(&key(1), &object(parts, &essence), versions());
        assert_eq!(made.secrets, [version("s", "s1", "7"), version("t", "t1", "9")]);
        assert!(is_true(&[key(1)], &object(parts, &essence), &made));
        assert!(is_true(&[key(3), key(2), key(1)], &object(parts, &essence), &made), "an older key");
        assert!(!is_true(&[key(2)], &object(parts, &essence), &made), "another key");
        assert!(!is_true(&[], &object(parts, &essence), &made), "no key");
    }

    #[test]
    fn every_part_counts() {
        let (essence, parts) = ([5; 32], ["u1", "ns", "s"]);
        let made = applied(&key(1), &object(parts, &essence), versions());
        let is_true =
            |parts, essence: &[u8; 32], made: &Applied| is_true(&[key(1)], &object(parts, essence), made);
        for other in [["u2", "ns", "s"], ["u1", "ns2", "s"], ["u1", "ns", "s2"], ["u1n", "s", "s"]] {
            assert!(!is_true(other, &essence, &made), "{other:?}");
        }
        assert!(!is_true(parts, &[6; 32], &made));
        let others = [
            vec![],
            vec![version("s", "s1", "7")],
            vec![version("s", "s1", "8"), version("t", "t1", "9")],
            vec![version("s", "s2", "7"), version("t", "t1", "9")],
            vec![version("r", "s1", "7"), version("t", "t1", "9")],
            vec![version("ss", "1", "7"), version("t", "t1", "9")],
            vec![version("t", "t1", "9"), version("s", "s1", "7")],
        ];
        for secrets in others {
            let forged = Applied { digest: made.digest.clone(), secrets };
            assert!(!is_true(parts, &essence, &forged), "{forged:?}");
        }
    }

    #[test]
    fn forged_digests_do_not_count() {
        let (essence, parts) = ([5; 32], ["u1", "ns", "s"]);
        let made = applied(&key(1), &object(parts, &essence), versions());
        let split: Vec<&str> = made.digest.splitn(3, '.').collect();
        let [version, id, digest] = split[..] else { panic!("{}", made.digest) };
        let forged = [
            String::new(),
            "1".to_owned(),
            "1.".to_owned(),
            "..".to_owned(),
            format!("{version}.{id}"),
            format!("{version}.{id}."),
            format!("2.{id}.{digest}"),
            format!("{version}.{}.{digest}", super::id(&key(2))),
            format!("{version}.{id}.{}", &digest[1..]),
            format!("{version}.{id}.{}", &digest[..digest.len() - 4]),
            format!("{version}.{id}.{digest}.x"),
            format!("{version}.{id}.not base64!"),
            format!("{version}.{id}.{}", URL_SAFE_NO_PAD.encode([0; 32])),
            format!(" {}", made.digest),
        ];
        for digest in forged {
            let forged = Applied { digest: digest.clone(), secrets: made.secrets.clone() };
            assert!(!is_true(&[key(1), key(2)], &object(parts, &essence), &forged), "{digest:?}");
        }
    }

    #[test]
    fn a_digest_does_not_tell_its_key() {
        let made = applied(&key(1), &object(["u1", "ns", "s"], &[5; 32]), versions());
        assert!(!made.digest.contains("SHA256"), "{}", made.digest);
        assert_eq!(made.digest.len(), "1..".len() + 12 + 43);
    }

    #[test]
    fn the_essence_is_that_of_the_value() {
        assert_eq!(essence(&json!({"a": [1, null]})), essence(&json!({"a": [1, null]})));
        for other in [json!({"a": [1]}), json!({"a": ["1", null]}), json!({"b": [1, null]}), Json::Null] {
            assert_ne!(essence(&json!({"a": [1, null]})), essence(&other), "{other}");
        }
    }
}

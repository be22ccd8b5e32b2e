//! Exported keys, as files hold them: armored or not, one after the other.

use ::pgp::composed::{PublicOrSecret, SignedPublicKey, SignedSecretKey};
use ::pgp::crypto::public_key::PublicKeyAlgorithm;
use ::pgp::types::{KeyDetails, Password, S2kParams, SecretParams, StringToKey};

use super::PgpKeyError;
use crate::secret::SecretBytes;

/// A key of a file.
pub enum Key {
    Public(Box<SignedPublicKey>),
    Secret(Box<SignedSecretKey>),
}

/// Returns the keys of a file, and what is wrong with the first one that cannot be read.
pub fn read(exported: &SecretBytes) -> Result<(Vec<Key>, Option<PgpKeyError>), PgpKeyError> {
    if exported.len() > MAX_LENGTH {
        return Err(PgpKeyError::TooLong);
    }
    let bytes = exported.expose_secret();
    let (mut keys, mut problem) = (Vec::new(), None);
    let mut take = |parsed: ::pgp::errors::Result<PublicOrSecret>| match parsed {
        Ok(PublicOrSecret::Public(key)) => keys.push(Key::Public(Box::new(key))),
        Ok(PublicOrSecret::Secret(key)) => keys.push(Key::Secret(Box::new(key))),
        Err(error) => {
            problem.get_or_insert_with(|| malformed(&error));
        }
    };
    let blocks = blocks(bytes);
    // The first byte of a packet is none of a text.
    if blocks.is_empty() && bytes.first().is_some_and(|first| first & 0x80 != 0) {
        match PublicOrSecret::from_bytes_many(bytes) {
            Ok(parsed) => parsed.take(MAX_KEYS).for_each(&mut take),
            Err(error) => take(Err(error)),
        }
    }
    for block in blocks {
        match PublicOrSecret::from_armor_many_buf(block) {
            Ok((parsed, _)) => parsed.take(MAX_KEYS).for_each(&mut take),
            Err(error) => take(Err(error)),
        }
    }
    Ok((keys, problem))
}

/// Takes the passphrase off those parts of a key that can decrypt. Parts that are not there, as on a card, stay away.
pub fn unlock(key: &mut SignedSecretKey, passphrase: Option<&SecretBytes>) -> Result<(), PgpKeyError> {
    let password = passphrase.map(|passphrase| Password::from(passphrase.expose_secret()));
    let mut result = Ok(());
    let mut failed = |fingerprint: String| {
        result = Err(match passphrase {
            None => PgpKeyError::Locked(fingerprint),
            Some(_) => PgpKeyError::Passphrase(fingerprint),
        });
    };
    let primary = &mut key.primary_key;
    if is_locked(primary.secret_params(), primary.algorithm())
        && password.as_ref().is_none_or(|password| primary.remove_password(password).is_err())
        // It mostly only signs, and is not missed.
        && key.secret_subkeys.is_empty()
    {
        failed(name(primary));
    }
    for subkey in key.secret_subkeys.iter_mut().map(|subkey| &mut subkey.key) {
        if is_locked(subkey.secret_params(), subkey.algorithm())
            && password.as_ref().is_none_or(|password| subkey.remove_password(password).is_err())
        {
            failed(name(subkey));
        }
    }
    result
}

/// Returns whether a part of a key that can decrypt has a passphrase still.
pub fn is_any_locked(key: &SignedSecretKey) -> bool {
    let primary = &key.primary_key;
    is_locked(primary.secret_params(), primary.algorithm())
        || key
            .secret_subkeys
            .iter()
            .any(|subkey| is_locked(subkey.key.secret_params(), subkey.key.algorithm()))
}

/// Returns the fingerprint of a key, as people and gpg write it.
pub fn name(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

/// Returns whether a secret key is there, can decrypt, and has a passphrase.
fn is_locked(parameters: &SecretParams, algorithm: PublicKeyAlgorithm) -> bool {
    let SecretParams::Encrypted(encrypted) = parameters else { return false };
    // How gpg marks secret keys that it did not export, or that are on a card.
    let is_away = match encrypted.string_to_key_params() {
        S2kParams::Cfb { s2k, .. } | S2kParams::MalleableCfb { s2k, .. } | S2kParams::Aead { s2k, .. } => {
            matches!(s2k, StringToKey::Private { .. })
        }
        _ => false,
    };
    !is_away && algorithm.can_encrypt()
}

/// Returns the armored blocks with keys in a text.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let find = |text: &[u8], from: usize| memchr::memmem::find(bytes.get(from..)?, text).map(|at| from + at);
    let (mut blocks, mut at) = (Vec::new(), 0);
    while let Some(begin) = find(b"-----BEGIN PGP ", at) {
        let Some(end) = find(b"-----END PGP ", begin) else {
            blocks.push(&bytes[begin..]);
            break;
        };
        let line_end = find(b"\n", end).unwrap_or(bytes.len());
        let block = &bytes[begin..line_end];
        if [&b"-----BEGIN PGP PUBLIC KEY"[..], b"-----BEGIN PGP PRIVATE KEY"]
            .iter()
            .any(|head| block.starts_with(head))
        {
            blocks.push(block);
        }
        at = line_end;
    }
    blocks
}

fn malformed(error: &::pgp::errors::Error) -> PgpKeyError {
    PgpKeyError::Malformed(super::message::describe(error))
}

/// How long an exported file may be, in bytes: a key with thousands of signatures takes some MiB.
pub const MAX_LENGTH: usize = 16 << 20;

/// How many keys a block may hold.
const MAX_KEYS: usize = 10_000;

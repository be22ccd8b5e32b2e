//! OpenPGP messages that hold a data key.

use std::io::Read;

use ::pgp::composed::{
    ArmorOptions, DecryptionOptions, Edata, Esk, Message, MessageBuilder, SignedSecretKey, TheRing,
};
use ::pgp::errors::Error;
use ::pgp::packet::PublicKeyEncryptedSessionKey;
use ::pgp::types::{KeyDetails, SecretParams, Seipdv1ReadMode};
use rand_core::OsRng;
use zeroize::Zeroizing;

use super::selection::{Chosen, Part};
use crate::keys::{Cause, KeyError, ServiceError};
use crate::secret::SecretBytes;

/// Returns an armored message with a secret, for one part of a key.
///
/// It is protected against changes as all versions of gpg and sops know it (SEIPD 1), and is not compressed.
pub fn seal(chosen: &Chosen<'_>, secret: &SecretBytes) -> Result<String, ServiceError> {
    let failed = |error: Error| {
        ServiceError::new(Cause::Key, format!("the key cannot be encrypted to: {}", describe(&error)))
    };
    let message = MessageBuilder::from_bytes("", secret.expose_secret().to_vec());
    let mut message = message.seipd_v1(OsRng, chosen.cipher);
    match chosen.part {
        Part::Primary(key) => message.encrypt_to_key(OsRng, key).map_err(failed)?,
        Part::Subkey(key) => message.encrypt_to_key(OsRng, key).map_err(failed)?,
    };
    let armored = message.to_armored_string(OsRng, ArmorOptions::default()).map_err(failed)?;
    Ok(armored.trim().to_owned())
}

/// Returns whether a message names one of these keys as its recipient, and the key is there to be used.
pub fn is_for(text: &str, keys: &[SignedSecretKey]) -> bool {
    if keys.is_empty() {
        return false;
    }
    let Ok(Message::Encrypted { esk, .. }) = read(text) else { return false };
    recipients(&esk).any(|recipient| !is_hidden(recipient) && keys.iter().any(|key| can_open(key, recipient)))
}

/// Opens a message; `None` if it is not for one of these keys.
pub fn open(text: &str, keys: &[SignedSecretKey]) -> Option<Result<SecretBytes, KeyError>> {
    if keys.is_empty() {
        return None;
    }
    let message = match read(text) {
        Ok(message) => message,
        Err(error) => return Some(Err(error)),
    };
    let Message::Encrypted { esk, edata, .. } = &message else {
        return Some(Err(KeyError::Malformed("it is not encrypted".to_owned())));
    };
    let fitting: Vec<_> =
        keys.iter().filter(|key| recipients(esk).any(|recipient| can_open(key, recipient))).collect();
    if fitting.is_empty() {
        return None;
    }
    let is_guess = !is_for(text, keys);
    if matches!(edata, Edata::SymEncryptedData { .. }) {
        let why = "it is not protected against changes (it has no MDC)";
        return Some(Err(KeyError::Malformed(why.to_owned())));
    }
    match decrypt(message, fitting) {
        // What hides its recipient may be for anybody.
        Err(_) if is_guess => None,
        opened => Some(opened),
    }
}

/// Returns what a library says of an error, short and on one line.
pub fn describe(error: &Error) -> String {
    let text: String = error
        .to_string()
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    text.chars().take(MAX_DESCRIPTION).collect()
}

fn read(text: &str) -> Result<Message<'_>, KeyError> {
    let text = text.trim();
    if text.len() > MAX_WRAPPED_LENGTH {
        return Err(KeyError::Malformed(format!("it is longer than {MAX_WRAPPED_LENGTH} bytes")));
    }
    let (message, _) = Message::from_armor(text.as_bytes()).map_err(|error| {
        KeyError::Malformed(format!("it is not an armored OpenPGP message: {}", describe(&error)))
    })?;
    match &message {
        Message::Encrypted { esk, .. } if esk.len() > MAX_RECIPIENTS => {
            Err(KeyError::Malformed(format!("it has more than {MAX_RECIPIENTS} recipients")))
        }
        _ => Ok(message),
    }
}

fn decrypt(message: Message<'_>, keys: Vec<&SignedSecretKey>) -> Result<SecretBytes, KeyError> {
    let options = DecryptionOptions::new()
        .enable_gnupg_aead()
        .set_seipdv1_read_mode(Seipdv1ReadMode::CheckFirst { max_message_size: MAX_WRAPPED_LENGTH });
    let ring = TheRing { secret_keys: keys, decrypt_options: options, ..TheRing::default() };
    // What goes wrong with the key and what goes wrong with the text must look the same.
    let changed =
        || ServiceError::new(Cause::Ciphertext, "the message was changed, or was not made with this key");
    let (mut message, _) = message.decrypt_the_ring(ring, true).map_err(|_| changed())?;
    for _ in 0..MAX_LAYERS {
        if !message.is_compressed() {
            break;
        }
        message = message.decompress().map_err(|error| {
            let what = format!(
                "the message is compressed in a way that this build cannot undo: {}",
                describe(&error)
            );
            ServiceError::new(Cause::Ciphertext, what)
                .with_remedy("unset SELKIE_PGP_KEY_FILE and SELKIE_PGP_KEY, so that gpg opens it")
        })?;
    }
    if message.is_compressed() || message.is_encrypted() {
        return Err(KeyError::Malformed("there is another message in it".to_owned()));
    }
    let mut secret = SecretBytes::with_capacity(MAX_SECRET_LENGTH + 1);
    let mut chunk = Zeroizing::new([0; 256]);
    // However much it unpacks to, no more than may be a data key is read.
    loop {
        let length = message.read(&mut *chunk).map_err(|_| changed())?;
        if length == 0 {
            break;
        }
        if secret.len() + length > MAX_SECRET_LENGTH {
            return Err(KeyError::Malformed("it holds more than a data key".to_owned()));
        }
        secret.extend_from_slice(&chunk[..length]);
    }
    if secret.is_empty() { Err(KeyError::Malformed("it holds nothing".to_owned())) } else { Ok(secret) }
}

fn recipients(esk: &[Esk]) -> impl Iterator<Item = &PublicKeyEncryptedSessionKey> {
    esk.iter().filter_map(|esk| match esk {
        Esk::PublicKeyEncryptedSessionKey(recipient) => Some(recipient),
        Esk::SymKeyEncryptedSessionKey(_) => None,
    })
}

fn is_hidden(recipient: &PublicKeyEncryptedSessionKey) -> bool {
    match recipient.id() {
        Ok(id) => id.is_wildcard(),
        Err(_) => recipient.fingerprint().is_ok_and(|fingerprint| fingerprint.is_none()),
    }
}

fn can_open(key: &SignedSecretKey, recipient: &PublicKeyEncryptedSessionKey) -> bool {
    let primary = &key.primary_key;
    fits(recipient, primary.public_key(), primary.secret_params())
        || key
            .secret_subkeys
            .iter()
            .any(|subkey| fits(recipient, subkey.key.public_key(), subkey.key.secret_params()))
}

fn fits(recipient: &PublicKeyEncryptedSessionKey, part: &impl KeyDetails, secret: &SecretParams) -> bool {
    part.algorithm().can_encrypt() && !secret.is_encrypted() && recipient.match_identity(part)
}

/// Far more than a message to [`MAX_RECIPIENTS`] takes.
const MAX_WRAPPED_LENGTH: usize = 1 << 18;
/// Each one that hides its key is tried with every key.
const MAX_RECIPIENTS: usize = 64;
/// A message within a compressed one is as deep as it gets.
const MAX_LAYERS: usize = 2;
/// Far more than a data key, or a share of one, takes.
const MAX_SECRET_LENGTH: usize = 1 << 10;
const MAX_DESCRIPTION: usize = 200;

//! OpenPGP messages that hold a data key.

use std::io::Read;

use ::pgp::armor::Dearmor;
use ::pgp::composed::{
    ArmorOptions, DecryptionOptions, Edata, Esk, Message, MessageBuilder, PlainSessionKey, SignedSecretKey,
};
use ::pgp::crypto::public_key::PublicKeyAlgorithm;
use ::pgp::errors::Error;
use ::pgp::packet::PublicKeyEncryptedSessionKey;
use ::pgp::types::{DecryptionKey, EskType, Password, PkeskVersion, SecretParams, Seipdv1ReadMode};
use rand_core::OsRng;
use zeroize::Zeroizing;

use super::packets;
use super::selection::{Chosen, Part};
use crate::keys::{Cause, KeyError, ServiceError, said};
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
    !keys.is_empty() && Sealed::read(text).is_ok_and(|sealed| sealed.names(keys))
}

/// Opens a message; `None` if it is not for one of these keys.
pub fn open(text: &str, keys: &[SignedSecretKey]) -> Option<Result<SecretBytes, KeyError>> {
    if keys.is_empty() {
        return None;
    }
    let sealed = match Sealed::read(text) {
        Ok(sealed) => sealed,
        Err(error) => return Some(Err(error)),
    };
    let session_keys = sealed.session_keys(keys)?;
    match sealed.open(&session_keys) {
        // What hides its recipient may be for anybody.
        Err(_) if !sealed.names(keys) => None,
        opened => Some(opened),
    }
}

/// Returns what a library says of an error, short and on one line.
pub fn describe(error: &Error) -> String {
    said(&error.to_string())
}

/// A message that is not opened yet.
struct Sealed {
    packets: Vec<u8>,
    recipients: Vec<PublicKeyEncryptedSessionKey>,
}

impl Sealed {
    fn read(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.len() > MAX_WRAPPED_LENGTH {
            return Err(KeyError::Malformed(format!("it is longer than {MAX_WRAPPED_LENGTH} bytes")));
        }
        if !text.starts_with("-----BEGIN PGP MESSAGE-----") {
            return Err(KeyError::Malformed("it is not an armored OpenPGP message".to_owned()));
        }
        let mut packets = Vec::new();
        Dearmor::new(text.as_bytes())
            .read_to_end(&mut packets)
            .map_err(|error| KeyError::Malformed(format!("its armor is malformed: {error}")))?;
        let packets = packets::whole(&packets).into_owned();
        let recipients = match parse(&packets)? {
            (esk, Edata::SymEncryptedData { .. }) if !esk.is_empty() => {
                let why = "it is not protected against changes (it has no MDC)";
                return Err(KeyError::Malformed(why.to_owned()));
            }
            (esk, _) if esk.len() > MAX_RECIPIENTS => {
                return Err(KeyError::Malformed(format!("it has more than {MAX_RECIPIENTS} recipients")));
            }
            (esk, _) => esk.into_iter().filter_map(|esk| match esk {
                Esk::PublicKeyEncryptedSessionKey(recipient) => Some(recipient),
                Esk::SymKeyEncryptedSessionKey(_) => None,
            }),
        };
        Ok(Self { recipients: recipients.collect(), packets })
    }

    /// Returns whether a key that can be used is named as a recipient.
    fn names(&self, keys: &[SignedSecretKey]) -> bool {
        let mut named = self.recipients.iter().filter(|recipient| !is_hidden(recipient));
        named.any(|recipient| keys.iter().any(|key| !parts(key, recipient).is_empty()))
    }

    /// Returns what the message may be encrypted with, or `None` if no key fits.
    fn session_keys(&self, keys: &[SignedSecretKey]) -> Option<Vec<PlainSessionKey>> {
        let (mut session_keys, mut fits) = (Vec::new(), false);
        for recipient in &self.recipients {
            let typ = if recipient.version() == PkeskVersion::V6 { EskType::V6 } else { EskType::V3_4 };
            for part in keys.iter().flat_map(|key| parts(key, recipient)) {
                fits = true;
                let Ok(values) = recipient.values() else { continue };
                // One that does not open is that of another key whose ID is the same, or hidden.
                if let Ok(Ok(key)) = part.decrypt(&Password::empty(), values, typ) {
                    session_keys.push(key);
                }
            }
        }
        fits.then_some(session_keys)
    }

    fn open(&self, session_keys: &[PlainSessionKey]) -> Result<SecretBytes, KeyError> {
        // What goes wrong with the key and what goes wrong with the text must look the same.
        let opened = session_keys.iter().find_map(|key| self.decrypt(key));
        let plain = opened.ok_or_else(changed)?;
        let plain = Zeroizing::new(packets::whole(plain.expose_secret()).into_owned());
        read_secret(&plain)
    }

    /// Returns the packets in the message, once all of it is seen to be unchanged.
    fn decrypt(&self, key: &PlainSessionKey) -> Option<SecretBytes> {
        let options = DecryptionOptions::new()
            .enable_gnupg_aead()
            .set_seipdv1_read_mode(Seipdv1ReadMode::CheckFirst { max_message_size: MAX_WRAPPED_LENGTH });
        let (_, mut edata) = parse(&self.packets).ok()?;
        edata.decrypt_with_options(key, options).ok()?;
        // No message is longer than what it is encrypted to.
        let mut plain = SecretBytes::with_capacity(self.packets.len());
        read_to_end(&mut edata, &mut plain, self.packets.len()).ok()??;
        Some(plain)
    }
}

fn parse(packets: &[u8]) -> Result<(Vec<Esk>, Edata<'_>), KeyError> {
    match Message::from_bytes(packets) {
        Ok(Message::Encrypted { esk, edata, .. }) => Ok((esk, edata)),
        Ok(_) => Err(KeyError::Malformed("it is not encrypted".to_owned())),
        Err(error) => Err(KeyError::Malformed(describe(&error))),
    }
}

fn read_secret(packets: &[u8]) -> Result<SecretBytes, KeyError> {
    let mut message = Message::from_bytes(packets).map_err(|_| changed())?;
    for _ in 0..MAX_LAYERS {
        if message.is_compressed() {
            let unknown = |error| KeyError::Malformed(format!("it cannot be unpacked: {}", describe(&error)));
            message = message.decompress().map_err(unknown)?;
        }
    }
    if message.is_compressed() || message.is_encrypted() {
        return Err(KeyError::Malformed("there is another message in it".to_owned()));
    }
    let mut secret = SecretBytes::with_capacity(MAX_SECRET_LENGTH);
    // However much it unpacks to, no more than may be a data key is kept.
    match read_to_end(&mut message, &mut secret, MAX_SECRET_LENGTH) {
        Err(_) => Err(changed()),
        Ok(None) => Err(KeyError::Malformed("it holds more than a data key".to_owned())),
        Ok(Some(())) if secret.is_empty() => Err(KeyError::Malformed("it holds nothing".to_owned())),
        Ok(Some(())) => Ok(secret),
    }
}

/// Reads all that is there, or returns `None` if it is more than `limit`.
fn read_to_end(reader: &mut impl Read, into: &mut SecretBytes, limit: usize) -> std::io::Result<Option<()>> {
    let mut chunk = Zeroizing::new([0; 1024]);
    loop {
        match reader.read(&mut *chunk)? {
            0 => return Ok(Some(())),
            length if into.len() + length > limit => return Ok(None),
            length => into.extend_from_slice(&chunk[..length]),
        }
    }
}

fn is_hidden(recipient: &PublicKeyEncryptedSessionKey) -> bool {
    match recipient.id() {
        Ok(id) => id.is_wildcard(),
        Err(_) => recipient.fingerprint().is_ok_and(|fingerprint| fingerprint.is_none()),
    }
}

/// Returns the parts of a key that may be the recipient, and can be used.
fn parts<'a>(
    key: &'a SignedSecretKey,
    recipient: &PublicKeyEncryptedSessionKey,
) -> Vec<&'a dyn DecryptionKey> {
    let fits = |part: &dyn DecryptionKey, secret: &SecretParams, is_meant: bool| {
        // Elgamal is for gpg: the crate cannot decrypt with it.
        let is_known = part.algorithm().can_encrypt()
            && !matches!(part.algorithm(), PublicKeyAlgorithm::Elgamal | PublicKeyAlgorithm::ElgamalEncrypt);
        is_meant && is_known && !secret.is_encrypted()
    };
    let mut parts: Vec<&dyn DecryptionKey> = Vec::new();
    let primary = &key.primary_key;
    if fits(primary, primary.secret_params(), recipient.match_identity(primary)) {
        parts.push(primary);
    }
    for subkey in key.secret_subkeys.iter().map(|subkey| &subkey.key) {
        if fits(subkey, subkey.secret_params(), recipient.match_identity(subkey)) {
            parts.push(subkey);
        }
    }
    parts
}

fn changed() -> KeyError {
    ServiceError::new(Cause::Ciphertext, "the message was changed, or was not made with this key").into()
}

/// Far more than a message to [`MAX_RECIPIENTS`] takes.
const MAX_WRAPPED_LENGTH: usize = 1 << 18;
/// Each one that hides its key is tried with every key.
const MAX_RECIPIENTS: usize = 64;
/// A message within a compressed one is as deep as it gets.
const MAX_LAYERS: usize = 2;
/// Far more than a data key, or a share of one, takes.
const MAX_SECRET_LENGTH: usize = 1 << 10;

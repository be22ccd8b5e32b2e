//! Which part of a key encrypts: as gpg chooses it, from what the key's own signatures say.

use std::fmt;

use ::pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use ::pgp::crypto::public_key::PublicKeyAlgorithm;
use ::pgp::crypto::sym::SymmetricKeyAlgorithm;
use ::pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData};
use ::pgp::types::{KeyDetails, KeyVersion, Tag};

use super::exported::name;
use crate::keys::pgp::fingerprint::Fingerprint;

/// The part of a key to encrypt to, and how.
#[derive(Debug)]
pub struct Chosen<'a> {
    pub part: Part<'a>,
    pub cipher: SymmetricKeyAlgorithm,
}

/// A part of a key.
#[derive(Debug)]
pub enum Part<'a> {
    Primary(&'a PublicKey),
    Subkey(&'a PublicSubkey),
}

/// Why a key cannot be encrypted to.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable {
    fingerprint: String,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It, or all of its subkeys, only sign, or are of kinds that this build does not know.
    NotForEncryption,
    Old,
    /// No valid signature of its own binds it.
    Unsigned,
    Expired,
    Revoked,
}

/// Returns whether a text names a key, by the fingerprint of any part of it.
pub fn is_named(certificate: &SignedPublicKey, wanted: &Fingerprint) -> bool {
    wanted.is_of(&name(certificate))
        || certificate.public_subkeys.iter().any(|subkey| wanted.is_of(&name(&subkey.key)))
}

/// Returns the part of a key to encrypt to: the newest one that may, as gpg does; with a `!` the one that is named.
pub fn choose<'a>(
    certificate: &'a SignedPublicKey,
    wanted: &Fingerprint,
    now: u64,
) -> Result<Chosen<'a>, Unusable> {
    let unusable = |why| Unusable { fingerprint: name(certificate), why };
    let primary = &certificate.primary_key;
    let own = own_signature(certificate, now).map_err(unusable)?;
    let cipher = cipher(own);
    let is_wanted = |fingerprint: &str| !wanted.is_exact() || wanted.is_of(fingerprint);
    let mut best: Option<&PublicSubkey> = None;
    let mut worst = Why::NotForEncryption;
    for subkey in certificate.public_subkeys.iter().filter(|subkey| is_wanted(&name(&subkey.key))) {
        match check_subkey(primary, subkey, now) {
            Ok(()) if best.is_none_or(|best| best.created_at() < subkey.key.created_at()) => {
                best = Some(&subkey.key);
            }
            Ok(()) => {}
            // What once encrypted says more than what never did.
            Err(why) if why as u8 >= worst as u8 => worst = why,
            Err(_) => {}
        }
    }
    if let Some(subkey) = best {
        return Ok(Chosen { part: Part::Subkey(subkey), cipher });
    }
    if is_wanted(&name(certificate))
        && may_encrypt(own, primary.algorithm(), certificate.public_subkeys.is_empty())
    {
        return Ok(Chosen { part: Part::Primary(primary), cipher });
    }
    Err(unusable(worst))
}

/// Adds what another export of the same key knows more.
pub fn merge(known: &mut SignedPublicKey, other: SignedPublicKey) {
    known.details.revocation_signatures.extend(other.details.revocation_signatures);
    known.details.direct_signatures.extend(other.details.direct_signatures);
    for user in other.details.users {
        match known.details.users.iter_mut().find(|same| same.id == user.id) {
            Some(same) => same.signatures.extend(user.signatures),
            None => known.details.users.push(user),
        }
    }
    for subkey in other.public_subkeys {
        let same = |same: &&mut SignedPublicSubKey| same.key.fingerprint() == subkey.key.fingerprint();
        match known.public_subkeys.iter_mut().find(same) {
            Some(same) => same.signatures.extend(subkey.signatures),
            None => known.public_subkeys.push(subkey),
        }
    }
}

/// Returns the newest of the signatures with which a key speaks of itself, if the key is valid.
fn own_signature(certificate: &SignedPublicKey, now: u64) -> Result<&Signature, Why> {
    let primary = &certificate.primary_key;
    if matches!(primary.version(), KeyVersion::V2 | KeyVersion::V3) {
        return Err(Why::Old);
    }
    let details = &certificate.details;
    if details.revocation_signatures.iter().any(|signature| signature.verify_key(primary).is_ok()) {
        return Err(Why::Revoked);
    }
    let direct = details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key)
            && is_in_force(signature, now)
            && signature.verify_key(primary).is_ok()
    });
    let of_users = details.users.iter().filter_map(|user| {
        let own = user.signatures.iter().filter(|signature| {
            is_in_force(signature, now)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        });
        newest(own).filter(|signature| signature.typ() != Some(SignatureType::CertRevocation))
    });
    let own = newest(direct.chain(of_users)).ok_or(Why::Unsigned)?;
    if is_expired(primary, own, now) { Err(Why::Expired) } else { Ok(own) }
}

fn check_subkey(primary: &PublicKey, subkey: &SignedPublicSubKey, now: u64) -> Result<(), Why> {
    let of_type = |wanted: SignatureType| {
        subkey.signatures.iter().filter(move |signature| {
            signature.typ() == Some(wanted) && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
        })
    };
    let bindings = of_type(SignatureType::SubkeyBinding).filter(|signature| is_in_force(signature, now));
    let binding = newest(bindings).ok_or(Why::Unsigned)?;
    if !may_encrypt(binding, subkey.key.algorithm(), true) {
        return Err(Why::NotForEncryption);
    }
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return Err(Why::Revoked);
    }
    if is_expired(&subkey.key, binding, now) { Err(Why::Expired) } else { Ok(()) }
}

/// Returns whether a key may encrypt. `if_unsaid` is for keys from before there were flags.
fn may_encrypt(signature: &Signature, algorithm: PublicKeyAlgorithm, if_unsaid: bool) -> bool {
    let flags = signature.key_flags();
    let has_flags = signature.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
    });
    let is_allowed = if has_flags { flags.encrypt_comms() || flags.encrypt_storage() } else { if_unsaid };
    algorithm.can_encrypt() && is_allowed
}

/// Returns whether a signature is made already, and still counts.
fn is_in_force(signature: &Signature, now: u64) -> bool {
    let Some(created) = signature.created().map(|time| u64::from(time.as_secs())) else { return false };
    let lasts = signature.signature_expiration_time().map_or(0, |time| u64::from(time.as_secs()));
    created <= now && (lasts == 0 || created + lasts > now)
}

fn is_expired(key: &impl KeyDetails, signature: &Signature, now: u64) -> bool {
    let lasts = signature.key_expiration_time().map_or(0, |time| u64::from(time.as_secs()));
    lasts != 0 && u64::from(key.created_at().as_secs()) + lasts <= now
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created().map(|time| time.as_secs()))
}

/// Returns the strongest of the ciphers that the owner of a key says they can read.
fn cipher(signature: &Signature) -> SymmetricKeyAlgorithm {
    let known = signature.preferred_symmetric_algs();
    let strongest =
        [SymmetricKeyAlgorithm::AES256, SymmetricKeyAlgorithm::AES192, SymmetricKeyAlgorithm::AES128];
    strongest.into_iter().find(|cipher| known.contains(cipher)).unwrap_or(SymmetricKeyAlgorithm::AES128)
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fingerprint, why } = self;
        match why {
            Why::NotForEncryption => {
                write!(formatter, "no part of the key {fingerprint} that is meant encrypts")
            }
            Why::Old => write!(formatter, "the key {fingerprint} is of a version that is not safe any more"),
            Why::Unsigned => write!(formatter, "the key {fingerprint} has no valid signature of its own"),
            Why::Expired => write!(formatter, "the key {fingerprint} has expired"),
            Why::Revoked => write!(formatter, "the key {fingerprint} is revoked"),
        }
    }
}

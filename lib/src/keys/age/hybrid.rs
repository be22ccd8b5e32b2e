//! The post-quantum hybrid of age: recipients `age1pq1…` and identities `AGE-SECRET-KEY-PQ-1…`, whose
//! stanza is called `mlkem768x25519`.
//!
//! A file key is sealed with HPKE (RFC 9180: base mode, HKDF-SHA256, ChaCha20-Poly1305) under the KEM
//! MLKEM768-X25519 of draft-ietf-hpke-pq, also known as X-Wing. See <https://c2sp.org/age>.

use std::collections::HashSet;
use std::fmt;
use std::io;

use ::age::secrecy::ExposeSecret;
use ::age::{DecryptError, EncryptError};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::{bech32_decode, bech32_encode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bech32::Hrp;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::SharedSecret;
use hpke::{Deserializable, HpkeError, OpModeR, OpModeS, Serializable};
use ml_kem::array::typenum::{Sum, U32, Unsigned};
use ml_kem::kem::{Decapsulate, Encapsulate};
use ml_kem::{Ciphertext, EncodedSizeUser, KemCore, MlKem768};
use rand_core::{CryptoRng, OsRng, RngCore};
use sha3::digest::{ExtendableOutput, FixedOutput, OutputSizeUser, Update, XofReader};
use sha3::{Sha3_256, Shake256};
use x25519_dalek::{PublicKey as CurvePoint, SharedSecret as CurveSecret, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::SecretBytes;

/// What a file key can be wrapped for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct HybridRecipient(PublicKey);

/// What unwraps a file key.
pub(super) struct HybridIdentity(PrivateKey);

impl HybridRecipient {
    /// Reads `age1pq1…`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = decode(text, RECIPIENT_PREFIX)?;
        let key = PublicKey::from_bytes(bytes.expose_secret()).map_err(|_| "not a public key")?;
        Ok(Self(key))
    }
}

impl fmt::Display for HybridRecipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&bech32_encode(RECIPIENT_PREFIX, &self.0.to_bytes()))
    }
}

impl ::age::Recipient for HybridRecipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let (encapsulated, body) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem, _>(
            &OpModeS::Base,
            &self.0,
            LABEL,
            file_key.expose_secret(),
            &[],
            &mut OsRng,
        )
        .map_err(|error| EncryptError::Io(io::Error::other(error.to_string())))?;
        let arguments = vec![BASE64_STANDARD_NO_PAD.encode(encapsulated.to_bytes())];
        let labels = HashSet::from(["postquantum".to_owned()]);
        Ok((vec![Stanza { tag: STANZA_TAG.to_owned(), args: arguments, body }], labels))
    }
}

impl HybridIdentity {
    /// Reads `AGE-SECRET-KEY-PQ-1…`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let seed = decode(text, IDENTITY_PREFIX)?;
        PrivateKey::from_bytes(seed.expose_secret()).map(Self).map_err(|_| "not a private key")
    }

    /// Returns what to encrypt for.
    pub(super) fn to_recipient(&self) -> HybridRecipient {
        HybridRecipient(self.0.to_public())
    }
}

impl ::age::Identity for HybridIdentity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != STANZA_TAG {
            return None;
        }
        let encapsulated = match stanza.args.as_slice() {
            [argument] => BASE64_STANDARD_NO_PAD.decode(argument).ok(),
            _ => None,
        };
        let encapsulated = encapsulated.and_then(|bytes| EncappedKey::from_bytes(&bytes).ok());
        let (Some(encapsulated), true) = (encapsulated, stanza.body.len() == WRAPPED_FILE_KEY_LENGTH) else {
            return Some(Err(DecryptError::InvalidHeader));
        };
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.0,
            &encapsulated,
            LABEL,
            &stanza.body,
            &[],
        );
        match opened.map(Zeroizing::new) {
            Ok(bytes) => Some(FileKey::try_init_with_mut(|file_key| {
                let is_whole = bytes.len() == file_key.len();
                is_whole.then(|| file_key.copy_from_slice(&bytes)).ok_or(DecryptError::InvalidHeader)
            })),
            // The KEM rejects implicitly: a stanza for another key is only found out here.
            Err(HpkeError::OpenError) => None,
            Err(_) => Some(Err(DecryptError::InvalidHeader)),
        }
    }
}

fn decode(text: &str, prefix: Hrp) -> Result<SecretBytes, &'static str> {
    bech32_decode(
        text,
        |_| "not Bech32",
        // Prefixes compare without regard to case, but age writes each in one case only.
        |found| if found.as_str() == prefix.as_str() { Ok(()) } else { Err("another kind of key") },
        |_, bytes| {
            let mut decoded = SecretBytes::with_capacity(PublicKey::LENGTH);
            bytes.for_each(|byte| decoded.push(byte));
            Ok(decoded)
        },
    )
}

/// MLKEM768-X25519 as a KEM of HPKE.
struct Kem;

#[derive(Clone, PartialEq, Eq, Debug)]
struct PublicKey {
    lattice: LatticePublicKey,
    curve: CurvePoint,
}

#[derive(Clone)]
struct PrivateKey {
    seed: Zeroizing<[u8; SEED_LENGTH]>,
    lattice: <MlKem768 as KemCore>::DecapsulationKey,
    curve: StaticSecret,
}

#[derive(Clone)]
struct EncappedKey {
    lattice: Ciphertext<MlKem768>,
    curve: CurvePoint,
}

impl hpke::Kem for Kem {
    type PublicKey = PublicKey;
    type PrivateKey = PrivateKey;
    type EncappedKey = EncappedKey;
    type NSecret = <Sha3_256 as OutputSizeUser>::OutputSize;

    const KEM_ID: u16 = 0x647a;

    fn sk_to_pk(key: &PrivateKey) -> PublicKey {
        key.to_public()
    }

    fn derive_keypair(material: &[u8]) -> (PrivateKey, PublicKey) {
        let mut seed = Zeroizing::new([0; SEED_LENGTH]);
        let mut hash = Shake256::default();
        hash.update(material);
        hash.update(b"HPKE-v1KEM\x64\x7a\x00\x0dDeriveKeyPair\x00\x20");
        hash.finalize_xof().read(&mut *seed);
        let key = PrivateKey::from_seed(seed);
        let public = key.to_public();
        (key, public)
    }

    fn encap<R: CryptoRng + RngCore>(
        recipient: &PublicKey,
        sender: Option<(&PrivateKey, &PublicKey)>,
        rng: &mut R,
    ) -> Result<(SharedSecret<Self>, EncappedKey), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let (lattice, mut lattice_secret) =
            recipient.lattice.0.encapsulate(rng).map_err(|()| HpkeError::EncapError)?;
        let ephemeral = StaticSecret::random_from_rng(rng);
        let curve = CurvePoint::from(&ephemeral);
        let curve_secret = ephemeral.diffie_hellman(&recipient.curve);
        if !curve_secret.was_contributory() {
            return Err(HpkeError::EncapError);
        }
        let shared = combine(&lattice_secret, &curve_secret, &curve, &recipient.curve);
        lattice_secret.zeroize();
        Ok((shared, EncappedKey { lattice, curve }))
    }

    fn decap(
        key: &PrivateKey,
        sender: Option<&PublicKey>,
        encapsulated: &EncappedKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        let curve_secret = key.curve.diffie_hellman(&encapsulated.curve);
        if !curve_secret.was_contributory() {
            return Err(HpkeError::DecapError);
        }
        let mut lattice_secret =
            key.lattice.decapsulate(&encapsulated.lattice).map_err(|()| HpkeError::DecapError)?;
        let shared =
            combine(&lattice_secret, &curve_secret, &encapsulated.curve, &CurvePoint::from(&key.curve));
        lattice_secret.zeroize();
        Ok(shared)
    }
}

fn combine(
    lattice: &[u8],
    curve: &CurveSecret,
    ephemeral: &CurvePoint,
    recipient: &CurvePoint,
) -> SharedSecret<Kem> {
    let mut hash = Sha3_256::default();
    hash.update(lattice);
    hash.update(curve.as_bytes());
    hash.update(ephemeral.as_bytes());
    hash.update(recipient.as_bytes());
    hash.update(br"\.//^\");
    SharedSecret(hash.finalize_fixed())
}

/// A key of ML-KEM; wrapped, since it has no `Eq`.
#[derive(Clone, PartialEq, Debug)]
struct LatticePublicKey(LatticeKey);

type LatticeKey = <MlKem768 as KemCore>::EncapsulationKey;

impl Eq for LatticePublicKey {}

impl PublicKey {
    const LENGTH: usize = <Self as Serializable>::OutputSize::USIZE;
}

impl Serializable for PublicKey {
    type OutputSize = Sum<<LatticeKey as EncodedSizeUser>::EncodedSize, U32>;

    fn write_exact(&self, buffer: &mut [u8]) {
        let lattice = self.lattice.0.as_bytes();
        let (first, rest) = buffer.split_at_mut(lattice.len());
        first.copy_from_slice(&lattice);
        rest.copy_from_slice(self.curve.as_bytes());
    }
}

impl Deserializable for PublicKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let (lattice, curve) = split_at_curve_point::<Self>(bytes)?;
        let encoded = lattice.try_into().map_err(|_| HpkeError::ValidationError)?;
        let key = LatticeKey::from_bytes(&encoded);
        // FIPS 203, section 7.2: what is read must be in reduced form.
        if key.as_bytes() != encoded {
            return Err(HpkeError::ValidationError);
        }
        // A point of low order would make the curve's share of the secret zero.
        if !StaticSecret::from([1; 32]).diffie_hellman(&curve).was_contributory() {
            return Err(HpkeError::ValidationError);
        }
        Ok(Self { lattice: LatticePublicKey(key), curve })
    }
}

impl PrivateKey {
    fn from_seed(seed: Zeroizing<[u8; SEED_LENGTH]>) -> Self {
        let mut expanded = Zeroizing::new([0; 96]);
        let mut hash = Shake256::default();
        hash.update(&*seed);
        hash.finalize_xof().read(&mut *expanded);
        let part = |index: usize| {
            let mut part = [0; 32];
            part.copy_from_slice(&expanded[index * 32..][..32]);
            part
        };
        let (mut d, mut z) = (part(0).into(), part(1).into());
        let (lattice, _) = MlKem768::generate_deterministic(&d, &z);
        d.zeroize();
        z.zeroize();
        Self { seed, lattice, curve: StaticSecret::from(part(2)) }
    }

    fn to_public(&self) -> PublicKey {
        PublicKey {
            lattice: LatticePublicKey(self.lattice.encapsulation_key().clone()),
            curve: CurvePoint::from(&self.curve),
        }
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.seed.ct_eq(&*other.seed).into()
    }
}

impl Eq for PrivateKey {}

impl Serializable for PrivateKey {
    type OutputSize = U32;

    fn write_exact(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&*self.seed);
    }
}

impl Deserializable for PrivateKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let mut seed = Zeroizing::new([0; SEED_LENGTH]);
        if bytes.len() != seed.len() {
            return Err(HpkeError::IncorrectInputLength(seed.len(), bytes.len()));
        }
        seed.copy_from_slice(bytes);
        Ok(Self::from_seed(seed))
    }
}

impl Serializable for EncappedKey {
    type OutputSize = Sum<<MlKem768 as KemCore>::CiphertextSize, U32>;

    fn write_exact(&self, buffer: &mut [u8]) {
        let (first, rest) = buffer.split_at_mut(self.lattice.len());
        first.copy_from_slice(&self.lattice);
        rest.copy_from_slice(self.curve.as_bytes());
    }
}

impl Deserializable for EncappedKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let (lattice, curve) = split_at_curve_point::<Self>(bytes)?;
        Ok(Self { lattice: lattice.try_into().map_err(|_| HpkeError::ValidationError)?, curve })
    }
}

/// Cuts the point of the curve off the end of a serialised `T`.
fn split_at_curve_point<T: Serializable>(bytes: &[u8]) -> Result<(&[u8], CurvePoint), HpkeError> {
    let length = T::OutputSize::USIZE;
    match bytes.split_last_chunk::<32>() {
        Some((rest, point)) if bytes.len() == length => Ok((rest, CurvePoint::from(*point))),
        _ => Err(HpkeError::IncorrectInputLength(length, bytes.len())),
    }
}

const STANZA_TAG: &str = "mlkem768x25519";
const LABEL: &[u8] = b"age-encryption.org/mlkem768x25519";
pub(super) const IDENTITY_PREFIX: Hrp = Hrp::parse_unchecked("AGE-SECRET-KEY-PQ-");
const RECIPIENT_PREFIX: Hrp = Hrp::parse_unchecked("age1pq");
const SEED_LENGTH: usize = 32;
const WRAPPED_FILE_KEY_LENGTH: usize = FILE_KEY_BYTES + 16;

#[cfg(test)]
mod tests {
    use ::age::{Identity as _, Recipient as _};
    use hpke::Kem as _;
    use serde_json::Value as Json;

    use super::*;

    fn vector(field: &str) -> Vec<u8> {
        let text = include_str!("../../../../testdata/age/hpke-mlkem768x25519.json");
        let json: Json = serde_json::from_str(text).expect("the vector is JSON");
        let hex = json.pointer(field).and_then(Json::as_str).expect("the vector has the field");
        let digits = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("hex is ASCII"));
        digits.map(|pair| u8::from_str_radix(pair, 16).expect("these are hex digits")).collect()
    }

    fn recipient() -> PublicKey {
        PublicKey::from_bytes(&vector("/pkRm")).expect("the key is valid")
    }

    #[test]
    fn kem_gives_what_the_draft_says() {
        let (key, public) = Kem::derive_keypair(&vector("/ikmR"));
        assert_eq!(*key.seed, *vector("/skRm"));
        assert_eq!(*public.to_bytes(), *vector("/pkRm"));
        let encapsulated = EncappedKey::from_bytes(&vector("/enc")).expect("the length is right");
        assert_eq!(*encapsulated.to_bytes(), *vector("/enc"));
        let Ok(shared) = Kem::decap(&key, None, &encapsulated) else { panic!("the KEM refuses") };
        assert_eq!(*shared.0, *vector("/shared_secret"));
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &key,
            &encapsulated,
            &vector("/info"),
            &vector("/encryption/ct"),
            &vector("/encryption/aad"),
        );
        assert_eq!(opened, Ok(vector("/encryption/pt")));
    }

    #[test]
    fn what_is_encapsulated_comes_out() {
        let (key, public) = Kem::derive_keypair(b"any bytes");
        let Ok((sent, encapsulated)) = Kem::encap(&public, None, &mut OsRng) else { panic!("it refuses") };
        let Ok(received) = Kem::decap(&key, None, &encapsulated) else { panic!("it refuses") };
        assert_eq!(sent.0, received.0);
    }

    #[test]
    fn keys_in_unreduced_form_are_refused() {
        let mut bytes = vector("/pkRm");
        // The first coefficient becomes 0xfff, which is beyond the modulus 3329.
        bytes[0] = 0xff;
        bytes[1] |= 0x0f;
        assert_eq!(PublicKey::from_bytes(&bytes), Err(HpkeError::ValidationError));
    }

    #[test]
    fn points_of_low_order_are_refused() {
        let mut bytes = vector("/pkRm");
        bytes[1184..].fill(0);
        assert_eq!(PublicKey::from_bytes(&bytes), Err(HpkeError::ValidationError));
        let mut bytes = vector("/enc");
        bytes[1088..].fill(0);
        let encapsulated = EncappedKey::from_bytes(&bytes).expect("the length is right");
        let (key, _) = Kem::derive_keypair(b"any bytes");
        assert_eq!(Kem::decap(&key, None, &encapsulated).err(), Some(HpkeError::DecapError));
    }

    #[test]
    fn lengths_are_checked() {
        let length = PublicKey::LENGTH;
        let bytes = vector("/pkRm");
        let expected = Err(HpkeError::IncorrectInputLength(length, length - 1));
        assert_eq!(PublicKey::from_bytes(&bytes[1..]), expected);
        assert!(EncappedKey::from_bytes(&vector("/enc")[1..]).is_err());
        assert!(PrivateKey::from_bytes(&[0; 31]).is_err());
    }

    #[test]
    fn stanzas_of_another_form_are_malformed() {
        let (key, public) = Kem::derive_keypair(b"any bytes");
        let identity = HybridIdentity(key);
        let file_key = FileKey::new(Box::new([7; FILE_KEY_BYTES]));
        let (stanzas, _) = HybridRecipient(public).wrap_file_key(&file_key).expect("the key is valid");
        let change = |change: fn(&mut Stanza)| {
            let Stanza { tag, args, body } = &stanzas[0];
            let mut stanza = Stanza { tag: tag.clone(), args: args.clone(), body: body.clone() };
            change(&mut stanza);
            identity.unwrap_stanza(&stanza)
        };
        let is_malformed = |result| matches!(result, Some(Err(DecryptError::InvalidHeader)));
        assert!(change(|_| ()).is_some_and(|result| result.is_ok()));
        assert!(change(|stanza| "X25519".clone_into(&mut stanza.tag)).is_none());
        assert!(is_malformed(change(|stanza| stanza.args.push("x".into()))));
        assert!(is_malformed(change(|stanza| stanza.args.clear())));
        assert!(is_malformed(change(|stanza| stanza.args[0].truncate(100))));
        assert!(is_malformed(change(|stanza| stanza.body.truncate(31))));
        assert!(change(|stanza| stanza.body[0] ^= 1).is_none());
    }

    #[test]
    fn texts_come_back_and_others_are_refused() {
        let text = HybridRecipient(recipient()).to_string();
        let parsed = HybridRecipient::parse(&text).expect("this is a recipient");
        assert_eq!(parsed.to_string(), text);
        for (text, problem) in [
            (text.to_uppercase(), "another kind of key"),
            (text.replacen("age1pq1", "age1pr1", 1), "not Bech32"),
            (text[..100].to_owned(), "not Bech32"),
        ] {
            assert_eq!(HybridRecipient::parse(&text).err(), Some(problem));
        }
    }
}

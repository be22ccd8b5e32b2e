//! One value, encrypted: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.
//!
//! AES-256-GCM with a 32-byte nonce; the path of the value is its additional data. The type is not
//! authenticated: see `audit` for what a strict reader can still notice.

use aes_gcm::AesGcm;
use aes_gcm::aead::consts::{U12, U16, U32};
use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::format::{canonical_timestamp, go_fixed};
use crate::keys::DataKey;
use crate::secret::SecretBytes;
use crate::tree::{Tree, Value};

/// Encrypts and decrypts the values of one document.
pub(crate) struct Cipher {
    gcm: AesGcm<Aes256, U32>,
    key: DataKey,
}

/// What an encrypted value was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ValueType {
    Bool,
    Comment,
    Float,
    Int,
    Str,
    Time,
}

/// The parts of an encrypted value, still encoded.
#[derive(Clone, Copy)]
pub(crate) struct Encrypted<'a> {
    data: &'a str,
    iv: &'a str,
    tag: &'a str,
    type_name: &'a str,
}

/// Why a value could not be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CipherError {
    /// The key or the path is not the one it was encrypted with, or the bytes were changed.
    #[error("message authentication failed")]
    Authentication,
    /// A part is not base64, or not of a possible length.
    #[error("the encrypted value is damaged")]
    Encoding,
    /// There is no `ENC[…]` where one is expected.
    #[error("the value is not encrypted, though the rule of the file selects it")]
    NotEncrypted,
    /// The plaintext is not of the type that the value claims.
    #[error("the decrypted value is not of the type that it claims")]
    Type,
    /// The type is none that SOPS has.
    #[error("the encrypted value has an unknown type")]
    UnknownType,
}

impl Cipher {
    pub(crate) fn new(key: &DataKey) -> Self {
        let key = key.duplicate();
        Self { gcm: AesGcm::new(GenericArray::from_slice(key.expose_secret())), key }
    }

    /// Appends `plaintext` as an encrypted value to `out`.
    pub(crate) fn encrypt(
        &self,
        plaintext: &[u8],
        value_type: ValueType,
        aad: &str,
        iv: &[u8; IV_LENGTH],
        out: &mut String,
    ) {
        let mut buffer = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .gcm
            .encrypt_in_place_detached(GenericArray::from_slice(iv), aad.as_bytes(), &mut buffer)
            .expect("AES-GCM encrypts anything shorter than 64 GiB");
        out.push_str(PREFIX);
        STANDARD.encode_string(&*buffer, out);
        out.push_str(IV);
        STANDARD.encode_string(iv, out);
        out.push_str(TAG);
        STANDARD.encode_string(tag, out);
        out.push_str(TYPE);
        out.push_str(value_type.name());
        out.push(']');
    }

    /// Returns a nonce that hangs on what is encrypted, so that the same is encrypted to the same again.
    pub(crate) fn nonce_for(&self, aad: &str, plaintext: &[u8]) -> [u8; IV_LENGTH] {
        let mut hash = Sha256::new_with_prefix(self.key.expose_secret());
        hash.update((aad.len() as u64).to_le_bytes());
        hash.update(aad);
        hash.update(plaintext);
        // Hashed again, it cannot be continued to the nonce of a longer text.
        Sha256::digest(hash.finalize()).into()
    }

    /// Decrypts a value.
    pub(crate) fn decrypt(
        &self,
        encrypted: Encrypted<'_>,
        aad: &str,
    ) -> Result<(ValueType, SecretBytes), CipherError> {
        let value_type = ValueType::from_name(encrypted.type_name).ok_or(CipherError::UnknownType)?;
        let decode = |part: &str| STANDARD.decode(part).map_err(|_| CipherError::Encoding);
        let mut buffer = Zeroizing::new(decode(encrypted.data)?);
        let (iv, tag) = (decode(encrypted.iv)?, decode(encrypted.tag)?);
        if tag.len() != TAG_LENGTH {
            return Err(CipherError::Encoding);
        }
        let tag = GenericArray::from_slice(&tag);
        let key = GenericArray::from_slice(self.key.expose_secret());
        let aad = aad.as_bytes();
        let opened = match iv.len() {
            IV_LENGTH => {
                self.gcm.decrypt_in_place_detached(GenericArray::from_slice(&iv), aad, &mut buffer, tag)
            }
            // Nothing writes such values today; SOPS reads them, as it takes the length from the value.
            12 => AesGcm::<Aes256, U12>::new(key).decrypt_in_place_detached(
                GenericArray::from_slice(&iv),
                aad,
                &mut buffer,
                tag,
            ),
            16 => AesGcm::<Aes256, U16>::new(key).decrypt_in_place_detached(
                GenericArray::from_slice(&iv),
                aad,
                &mut buffer,
                tag,
            ),
            _ => return Err(CipherError::Encoding),
        };
        opened.map_err(|_| CipherError::Authentication)?;
        Ok((value_type, SecretBytes::from(std::mem::take(&mut *buffer))))
    }
}

impl<'a> Encrypted<'a> {
    /// Takes an encrypted value apart, or returns `None` if the text is not one.
    ///
    /// As in SOPS, the text must begin with the value, and what follows its last `]` is passed over.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text.strip_prefix(PREFIX.as_bytes())?).ok()?;
        let (rest, _) = text.rsplit_once(']')?;
        let (rest, type_name) = rsplit_field(rest, TYPE)?;
        let (rest, tag) = rsplit_field(rest, TAG)?;
        let (data, iv) = rsplit_field(rest, IV)?;
        let parts = [data, iv, tag, type_name];
        parts.iter().all(|part| !part.is_empty()).then_some(Self { data, iv, tag, type_name })
    }
}

/// Returns the name of the type of an encrypted value, and how many bytes its plaintext has; `None` if the text is no
/// encrypted value.
pub(crate) fn encrypted_parts(text: &str) -> Option<(&str, usize)> {
    let encrypted = Encrypted::parse(text.as_bytes())?;
    let padding = encrypted.data.bytes().rev().take_while(|&byte| byte == b'=').count();
    Some((encrypted.type_name, (encrypted.data.len() / 4 * 3).saturating_sub(padding)))
}

/// Returns whether a text is an encrypted value of which all parts have their form, so that a key could open it.
pub(crate) fn is_well_formed(text: &[u8]) -> bool {
    // As in SOPS, a base64 text may have line breaks.
    let decode = |part: &str| STANDARD.decode(part.replace(['\r', '\n'], "")).map(|bytes| bytes.len()).ok();
    let is_whole = |encrypted: &Encrypted<'_>| {
        decode(encrypted.data).is_some()
            && matches!(decode(encrypted.iv), Some(IV_LENGTH | 12 | 16))
            && decode(encrypted.tag) == Some(TAG_LENGTH)
            && ValueType::from_name(encrypted.type_name).is_some()
    };
    Encrypted::parse(text).is_some_and(|encrypted| is_whole(&encrypted))
}

/// Divides a text at the last place where a field starts, which is at a comma.
fn rsplit_field<'a>(text: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    let mut end = text.len();
    loop {
        let comma = text[..end].rfind(',')?;
        if let Some(field) = text[comma..].strip_prefix(start) {
            return Some((&text[..comma], field));
        }
        end = comma;
    }
}

impl ValueType {
    /// Returns the type of a scalar, or `None` for what is never encrypted.
    pub(crate) const fn of(value: Value) -> Option<Self> {
        match value {
            Value::Bool(_) => Some(Self::Bool),
            Value::Comment(_) => Some(Self::Comment),
            Value::Float(_) => Some(Self::Float),
            Value::Int(_) => Some(Self::Int),
            Value::Str(_) => Some(Self::Str),
            Value::Time(_) => Some(Self::Time),
            Value::List | Value::Map | Value::Null | Value::Unsigned(_) => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Comment => "comment",
            Self::Float => "float",
            Self::Int => "int",
            Self::Str => "str",
            Self::Time => "time",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "comment" => Self::Comment,
            "float" => Self::Float,
            "int" => Self::Int,
            // Files of old versions of SOPS have `bytes`.
            "bytes" | "str" => Self::Str,
            "time" => Self::Time,
            _ => return None,
        })
    }

    /// Reads a plaintext as a value, keeping text in `tree`.
    pub(crate) fn read(self, plaintext: &SecretBytes, tree: &mut Tree) -> Result<Value, CipherError> {
        let bytes = plaintext.expose_secret();
        let text = || std::str::from_utf8(bytes).map_err(|_| CipherError::Type);
        Ok(match self {
            Self::Bool => Value::Bool(read_bool(text()?).ok_or(CipherError::Type)?),
            Self::Comment => Value::Comment(tree.intern(bytes)),
            Self::Float => Value::Float(read_float(text()?).ok_or(CipherError::Type)?),
            Self::Int => Value::Int(text()?.parse().map_err(|_| CipherError::Type)?),
            Self::Str => Value::Str(tree.intern(bytes)),
            Self::Time => {
                let time = canonical_timestamp(text()?).ok_or(CipherError::Type)?;
                Value::Time(tree.intern(time.as_bytes()))
            }
        })
    }
}

/// Appends the bytes of a value that SOPS encrypts and hashes; nothing for maps, lists and null.
pub(crate) fn append_plaintext(tree: &Tree, value: Value, out: &mut SecretBytes) {
    match value {
        Value::Bool(value) => out.push_str(if value { "True" } else { "False" }),
        Value::Comment(text) | Value::Str(text) | Value::Time(text) => {
            out.extend_from_slice(tree.bytes(text))
        }
        Value::Float(value) => out.push_str(&Zeroizing::new(go_fixed(value))),
        Value::Int(value) => out.push_str(&Zeroizing::new(value.to_string())),
        Value::List | Value::Map | Value::Null => {}
        Value::Unsigned(value) => out.push_str(&Zeroizing::new(value.to_string())),
    }
}

/// As Go's `strconv.ParseBool`.
fn read_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// As Go's `strconv.ParseFloat`, without hexadecimal numbers, which SOPS never writes.
fn read_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// The length of a nonce, in bytes.
pub(crate) const IV_LENGTH: usize = 32;
const TAG_LENGTH: usize = 16;
const PREFIX: &str = "ENC[AES256_GCM,data:";
const IV: &str = ",iv:";
const TAG: &str = ",tag:";
const TYPE: &str = ",type:";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn cipher() -> Cipher {
        // The known-answer vector made by sops 3.11.0.
        let key = [
            0xb5, 0xaa, 0xef, 0x68, 0xe3, 0x31, 0xe6, 0x47, 0x60, 0xa7, 0x30, 0x1f, 0xe1, 0x35, 0x75, 0xa0,
            0xf5, 0x4f, 0x65, 0xe1, 0x75, 0x74, 0xfe, 0x1f, 0x39, 0x0d, 0x11, 0x4b, 0x4b, 0x22, 0x75, 0x6e,
        ];
        Cipher::new(&DataKey::from_secret(&SecretBytes::from(&key[..])).expect("32 bytes"))
    }

    const HELLO: &str = "ENC[AES256_GCM,data:o+DNXwQ=,iv:9PrNUO8dbmrLQQZdaBxGEdjRtdqAKN0BjQZq5oc63nQ=,\
                         tag:Q2HEML9jMuqgPChXbqCd2w==,type:str]";

    fn decrypt(text: &str, aad: &str) -> Result<(ValueType, Vec<u8>), CipherError> {
        let encrypted = Encrypted::parse(text.as_bytes()).ok_or(CipherError::NotEncrypted)?;
        cipher().decrypt(encrypted, aad).map(|(kind, secret)| (kind, secret.expose_secret().to_vec()))
    }

    #[test]
    fn a_value_of_sops_opens_and_is_made_again_with_its_iv() {
        assert_eq!(decrypt(HELLO, "s:"), Ok((ValueType::Str, b"hello".to_vec())));
        let iv = STANDARD.decode("9PrNUO8dbmrLQQZdaBxGEdjRtdqAKN0BjQZq5oc63nQ=").expect("base64");
        let mut again = String::new();
        cipher().encrypt(b"hello", ValueType::Str, "s:", &iv.try_into().expect("32 bytes"), &mut again);
        assert_eq!(again, HELLO);
    }

    #[test]
    fn each_failure_says_what_failed() {
        assert_eq!(decrypt(HELLO, "t:"), Err(CipherError::Authentication));
        assert_eq!(decrypt(&HELLO.replace("o+D", "p+D"), "s:"), Err(CipherError::Authentication));
        assert_eq!(decrypt(&HELLO.replace("o+D", "?+D"), "s:"), Err(CipherError::Encoding));
        assert_eq!(decrypt(&HELLO.replace("w==", "=="), "s:"), Err(CipherError::Encoding));
        assert_eq!(decrypt(&HELLO.replace("type:str", "type:date"), "s:"), Err(CipherError::UnknownType));
        assert_eq!(decrypt("hello", "s:"), Err(CipherError::NotEncrypted));
    }

    #[test]
    fn what_follows_the_value_is_passed_over() {
        assert_eq!(decrypt(&format!("{HELLO} and more"), "s:"), Ok((ValueType::Str, b"hello".to_vec())));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut hostile = PREFIX.as_bytes().to_vec();
            hostile.extend(text);
            if let Some(encrypted) = Encrypted::parse(&hostile) {
                assert!(cipher().decrypt(encrypted, "").is_err());
            }
        }
    }
}

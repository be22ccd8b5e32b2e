//! Dummies, in the place of marks.
//!
//! Invariants: nothing of a value comes out but its type and its length; an object with dummies has the keys and the types
//! that it has with values.

mod pair;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::super::Document;
use super::super::marks::{Mark, ValueKind};
use super::super::verdict::RenderError;
use super::Context;
use super::plain::{self, Spot};
use super::taint::is_secret;
use crate::secret::SecretBytes;

/// What stands for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dummy {
    /// Something of the same type and length.
    Fake,
    /// A word that says that something was left out.
    Redact,
}

/// What an entry of a Secret has to be, as its key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A certificate in PEM.
    Certificate,
    /// Logins to registries, by address.
    DockerConfig,
    /// Logins to registries, below `auths`.
    DockerConfigJson,
    /// JSON of any kind.
    Json,
    /// A private key in PEM.
    Key,
}

/// Returns an object with dummies.
pub(super) fn object(context: &Context<'_>, document: &Document, dummy: Dummy) -> Result<Json, RenderError> {
    let filling = |spot: &Spot<'_>, mark: &Mark| Ok(dummy.of(spot, mark));
    if is_secret(&document.object) {
        plain::secret_with(context, document, &filling)
    } else {
        plain::fill(context, document, &filling)
    }
}

impl Dummy {
    /// Returns what stands for a mark.
    fn of(self, spot: &Spot<'_>, mark: &Mark) -> SecretBytes {
        let shape = entry_key(spot.path).filter(|_| spot.is_alone).and_then(Shape::of_key);
        let length = if spot.is_base64 { mark.length / 4 * 3 } else { mark.length };
        let text = match (self, shape) {
            // The API server reads these.
            (Self::Redact, Some(shape @ (Shape::DockerConfig | Shape::DockerConfigJson))) => {
                shape.dummy(&spot.document.name(), REDACTED)
            }
            (Self::Redact, _) => redacted(mark.kind).to_owned(),
            (Self::Fake, Some(shape)) => shape.dummy(&spot.document.name(), &letters(mark.word(), length)),
            (Self::Fake, None) => fake(mark.kind, mark.word(), length),
        };
        if spot.is_base64 { crate::sealed::encode_base64(text.as_bytes()).into() } else { text.into() }
    }
}

impl Shape {
    fn of_key(key: &str) -> Option<Self> {
        let endings = [
            (".dockerconfigjson", Self::DockerConfigJson),
            (".dockercfg", Self::DockerConfig),
            (".json", Self::Json),
            (".crt", Self::Certificate),
            (".key", Self::Key),
        ];
        endings.into_iter().find(|(ending, _)| key.ends_with(ending)).map(|(_, shape)| shape)
    }

    /// Returns something of this shape. Certificates and keys of the same object fit each other.
    fn dummy(self, object: &str, word: &str) -> String {
        let logins = || {
            let auth = crate::sealed::encode_base64(format!("{USER}:{word}").as_bytes());
            json!({REGISTRY: {"username": USER, "password": word, "auth": auth}})
        };
        match self {
            Self::Certificate => pair::certificate(object),
            Self::DockerConfig => logins().to_string(),
            Self::DockerConfigJson => json!({"auths": logins()}).to_string(),
            Self::Json => json!({"fake": word}).to_string(),
            Self::Key => pair::key(object),
        }
    }
}

/// Returns the key of an entry of a Secret or ConfigMap.
fn entry_key(path: &str) -> Option<&str> {
    ["data.", "stringData.", "binaryData."].into_iter().find_map(|field| path.strip_prefix(field))
}

const fn redacted(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Bool => "false",
        ValueKind::Float | ValueKind::Int => "0",
        ValueKind::Bytes | ValueKind::Text => REDACTED,
    }
}

/// Returns something of a kind, of about the same length, always the same for the same mark.
fn fake(kind: ValueKind, word: &str, length: usize) -> String {
    match kind {
        ValueKind::Bool => (bytes(word).next().unwrap_or_default() < 128).to_string(),
        ValueKind::Bytes | ValueKind::Text => letters(word, length),
        ValueKind::Float => format!("{}.{}", digits(word, length.saturating_sub(2)), digits(word, 1)),
        ValueKind::Int => digits(word, length),
    }
}

/// Returns letters and digits, of which the first is a letter.
fn letters(word: &str, length: usize) -> String {
    let letter = |(index, byte): (usize, u8)| {
        let choice = if index == 0 { LETTERS } else { ALPHABET.len() };
        char::from(ALPHABET[usize::from(byte) % choice])
    };
    bytes(word).take(length).enumerate().map(letter).collect()
}

/// Returns digits without a zero in front, at least one, and no more than every integer of that length is a 64-bit one.
fn digits(word: &str, length: usize) -> String {
    let digit =
        |(index, byte): (usize, u8)| char::from(if index == 0 { b'1' + byte % 9 } else { b'0' + byte % 10 });
    bytes(word).take(length.clamp(1, MOST_DIGITS)).enumerate().map(digit).collect()
}

/// Returns bytes that hang on a word, without end.
fn bytes(word: &str) -> impl Iterator<Item = u8> + use<> {
    let word = word.to_owned();
    (0_u64..)
        .flat_map(move |block| Sha256::new().chain_update(block.to_be_bytes()).chain_update(&word).finalize())
}

const REDACTED: &str = "REDACTED";
const REGISTRY: &str = "registry.invalid";
const USER: &str = "nobody";
const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// How many of the alphabet are letters.
const LETTERS: usize = 52;
const MOST_DIGITS: usize = 18;

#[cfg(test)]
mod tests;

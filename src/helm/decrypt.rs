//! What an address or a file stands for, decrypted.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use selkie::DecryptError;
use selkie::format::Format;
use selkie::keys::{KeyService, Trust};
use selkie::secret::SecretBytes;
use selkie::tree::MetadataEntry;

use super::address::{Address, AddressError, Key, KeyKind, Target};
use super::files::{Allowed, FileError};
use super::kubernetes::{self, NetworkError};
use crate::keys::{self, KeyEntries, KeyEntryError, KeyFileError, Surroundings, variable};

/// How values are decrypted.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Read age identities from this file, or keys and credentials from this folder by the names that Flux gives them
    #[arg(
        long = "keys",
        visible_alias = "age-key-file",
        value_name = "PATH",
        env = "SOPS_AGE_KEY_FILE",
        value_delimiter = ','
    )]
    pub keys: Vec<PathBuf>,
    /// Let files pass that are not encrypted
    #[arg(
        long,
        env = "SELKIE_HELM_ALLOW_PLAIN",
        value_parser = clap::builder::FalseyValueParser::new(),
        action = clap::ArgAction::SetTrue
    )]
    pub allow_plain: bool,
}

/// Why something is not decrypted. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptingError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// It cannot be decrypted.
    #[error("{0}: cannot be decrypted")]
    Decrypt(String, #[source] DecryptError),
    /// A file is not read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key is none.
    #[error("{0}: cannot be used as a key")]
    Key(String, #[source] KeyEntryError),
    /// Keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// There is no such file.
    #[error("{0}: there is no such file; with a question mark before it, that would be no error")]
    Missing(String),
    /// Something on the network cannot be had.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// It is encrypted, and does not say how.
    #[error(
        "{0}: holds encrypted values, but nothing that tells how to decrypt them, as `sops` does; encrypt it again, as a whole"
    )]
    NoMetadata(String),
    /// It is not encrypted.
    #[error(
        "{0}: is not encrypted; encrypt it with `kubectl seal encrypt`, name it without secrets://, or let it pass: --allow-plain, SELKIE_HELM_ALLOW_PLAIN=true"
    )]
    Plain(String),
}

/// Decrypts what an address stands for; nothing if it is not there and may be missing.
///
/// # Errors
/// If it may not be read, cannot be decrypted, or is not encrypted.
pub fn address(text: &str, settings: &Settings) -> Result<SecretBytes, DecryptingError> {
    let address = Address::parse(text)?;
    let allowed = Allowed::of_environment(variable)?;
    let (name, content) = match &address.target {
        Target::File(path) => (path.clone(), allowed.read(path)?),
        Target::Literal(document) => ("the literal".to_owned(), Some(literal(document))),
        Target::Url(url) => {
            (url.split('?').next().unwrap_or_default().to_owned(), kubernetes::file_of_server(url)?)
        }
    };
    let Some(content) = content else {
        return if address.is_optional {
            Ok(SecretBytes::new())
        } else {
            Err(DecryptingError::Missing(name))
        };
    };
    let Some(format) = encrypted_format(&name, &content) else {
        return if holds_encrypted(&content) {
            Err(DecryptingError::NoMetadata(name))
        } else if settings.allow_plain {
            Ok(content)
        } else {
            Err(DecryptingError::Plain(name))
        };
    };
    let mut services = Vec::new();
    if let Some(key) = &address.key {
        services.extend(key_services(key, &allowed)?);
    }
    services.extend(keys::services(&settings.keys)?);
    document(&name, content, format, &services)
}

/// Decrypts a file if it is encrypted; `None` if it is not.
///
/// # Errors
/// If it is encrypted and cannot be decrypted.
pub fn file(
    name: &str,
    content: SecretBytes,
    settings: &Settings,
) -> Result<Option<SecretBytes>, DecryptingError> {
    let Some(format) = encrypted_format(name, &content) else { return Ok(None) };
    document(name, content, format, &keys::services(&settings.keys)?).map(Some)
}

/// Returns whether a file is encrypted.
#[must_use]
pub fn is_encrypted(name: &str, content: &SecretBytes) -> bool {
    encrypted_format(name, content).is_some()
}

fn document(
    name: &str,
    content: SecretBytes,
    format: Format,
    services: &[Box<dyn KeyService>],
) -> Result<SecretBytes, DecryptingError> {
    let services: Vec<&dyn KeyService> = services.iter().map(AsRef::as_ref).collect();
    selkie::decrypt(content, format, &services)
        .map_err(|error| DecryptingError::Decrypt(name.to_owned(), error))
}

/// Returns the format in which a document is encrypted: that of its name, or else one that it can be read as.
fn encrypted_format(name: &str, content: &SecretBytes) -> Option<Format> {
    if !holds_encrypted(content) {
        return None;
    }
    let is_encrypted = |format: &Format| {
        let tree = format.read(SecretBytes::from(content.expose_secret()));
        tree.is_ok_and(|tree| *tree.metadata() != MetadataEntry::Absent)
    };
    // A file as a whole is JSON to those who look at its name.
    let is_whole = Format::Binary.read(SecretBytes::from(content.expose_secret())).is_ok_and(|tree| {
        let keys = tree.documents().iter().flat_map(|&root| tree.items(root));
        let mut names = keys.filter_map(|id| tree.key(id)).filter(|key| *key != b"sops");
        *tree.metadata() != MetadataEntry::Absent && names.next() == Some(b"data") && names.next().is_none()
    });
    if is_whole {
        return Some(Format::Binary);
    }
    let by_name = Format::from_file_name(name);
    [by_name, Format::Yaml, Format::Json, Format::Dotenv, Format::Ini].into_iter().find(is_encrypted)
}

fn holds_encrypted(content: &SecretBytes) -> bool {
    content.expose_secret().windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED)
}

/// Returns the document that an address holds, as it is or in base64.
fn literal(text: &str) -> SecretBytes {
    match BASE64_STANDARD.decode(text) {
        Ok(document) => document.into(),
        Err(_) => text.into(),
    }
}

/// Returns what unwraps data keys with a key that an address names.
fn key_services(key: &Key, allowed: &Allowed) -> Result<Vec<Box<dyn KeyService>>, DecryptingError> {
    let (kind, place, text) = match key {
        Key::File(kind, path) => (*kind, path.clone(), allowed.read_key(path)?),
        Key::Kubernetes { kind, namespace, secret, entry } => {
            let text = kubernetes::entry_of_secret(namespace.as_deref(), secret, entry, variable)?;
            (*kind, format!("{secret}#{entry}"), text)
        }
    };
    let name = match kind {
        KeyKind::Age => "key.agekey",
        KeyKind::Pgp => "key.asc",
    };
    let mut entries = KeyEntries::default();
    entries.add(name, &place, &text).map_err(|error| DecryptingError::Key(place, error))?;
    let around =
        Surroundings { trust: Trust::Listed(Vec::new()), remote: Arc::default(), variable: |_| None };
    Ok(entries.into_services(&around))
}

/// How every encrypted value starts.
const ENCRYPTED: &[u8] = b"ENC[AES256_GCM,";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_say_how_it_was_encrypted_is_refused() {
        let document = "a: ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]\n";
        for allow_plain in [false, true] {
            let settings = Settings { keys: Vec::new(), allow_plain };
            let error = address(&format!("secrets+literal://{document}"), &settings).err();
            assert!(matches!(error, Some(DecryptingError::NoMetadata(_))), "{error:?}");
            let plain = address("secrets+literal://a: b", &settings);
            assert_eq!(plain.is_ok(), allow_plain);
        }
    }
}

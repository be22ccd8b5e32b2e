//! Recipients: for whom a data key is wrapped.

use std::io::Write;
use std::iter;
use std::sync::Arc;

use ::age::armor::{ArmoredWriter, Format};
use ::age::{Encryptor, tag, tagpq, x25519};

use super::hybrid::HybridRecipient;
use super::prompt::Prompt;
use crate::secret::SecretBytes;

/// For whom a data key is wrapped. Its text form is kept by the key that names it.
pub(super) enum Recipient {
    Hybrid(Box<HybridRecipient>),
    #[cfg(feature = "age-plugin")]
    Plugin(::age::plugin::Recipient),
    #[cfg(feature = "age-ssh")]
    Ssh(Box<::age::ssh::Recipient>),
    Tag(Box<tag::Recipient>),
    TagHybrid(Box<tagpq::Recipient>),
    X25519(x25519::Recipient),
}

/// Why a text is no recipient that this build can use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RecipientError {
    /// The text is no recipient.
    Malformed(String),
    /// The text may be one, but this build has no support for its kind.
    #[cfg_attr(
        all(feature = "age-plugin", feature = "age-ssh"),
        expect(dead_code, reason = "all are supported")
    )]
    Unsupported(&'static str),
}

impl Recipient {
    pub(super) fn parse(text: &str) -> Result<Self, RecipientError> {
        let malformed = |problem: &str| RecipientError::Malformed(problem.to_owned());
        // The data part of Bech32 has no `1`: with a second one, the first is part of the name.
        let is_plugin = text.starts_with("age1") && text.matches('1').count() > 1;
        if text.starts_with("age1pq1") {
            HybridRecipient::parse(text).map(Box::new).map(Self::Hybrid).map_err(malformed)
        } else if text.starts_with("age1tag1") {
            text.parse().map(Box::new).map(Self::Tag).map_err(malformed)
        } else if text.starts_with("age1tagpq1") {
            text.parse().map(Box::new).map(Self::TagHybrid).map_err(malformed)
        } else if is_plugin {
            parse_plugin(text)
        } else if text.starts_with("age1") {
            text.parse().map(Self::X25519).map_err(malformed)
        } else if text.starts_with("ssh-") {
            parse_ssh(text)
        } else {
            Err(malformed("it begins neither with `age1` nor with `ssh-`"))
        }
    }

    /// Returns an armored age file with the secret, for this recipient alone.
    pub(super) fn wrap(&self, secret: &SecretBytes, prompt: &Arc<dyn Prompt>) -> Result<String, String> {
        match self {
            Self::Hybrid(recipient) => encrypt(&**recipient, secret),
            #[cfg(feature = "age-plugin")]
            Self::Plugin(recipient) => super::plugin::encrypt(recipient, secret, prompt),
            #[cfg(feature = "age-ssh")]
            Self::Ssh(recipient) => encrypt(&**recipient, secret),
            Self::Tag(recipient) => encrypt(&**recipient, secret),
            Self::TagHybrid(recipient) => encrypt(&**recipient, secret),
            Self::X25519(recipient) => encrypt(recipient, secret),
        }
        .inspect(|_| {
            // Only plugins ask.
            let _ = prompt;
        })
    }
}

/// Returns an armored age file.
pub(super) fn encrypt(recipient: &dyn ::age::Recipient, secret: &SecretBytes) -> Result<String, String> {
    let encryptor =
        Encryptor::with_recipients(iter::once(recipient)).map_err(|error| super::plain(&error))?;
    let write = || {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut stream = encryptor.wrap_output(armor)?;
        stream.write_all(secret.expose_secret())?;
        stream.finish()?.finish()
    };
    let armored = write().map_err(|error: std::io::Error| error.to_string())?;
    String::from_utf8(armored).map_err(|error| error.to_string())
}

#[cfg(feature = "age-plugin")]
fn parse_plugin(text: &str) -> Result<Recipient, RecipientError> {
    text.parse().map(Recipient::Plugin).map_err(|problem: &str| RecipientError::Malformed(problem.to_owned()))
}

#[cfg(not(feature = "age-plugin"))]
fn parse_plugin(_text: &str) -> Result<Recipient, RecipientError> {
    Err(RecipientError::Unsupported("age plugins"))
}

#[cfg(feature = "age-ssh")]
fn parse_ssh(text: &str) -> Result<Recipient, RecipientError> {
    use ::age::ssh::ParseRecipientKeyError as Error;
    text.parse().map(Box::new).map(Recipient::Ssh).map_err(|error| {
        RecipientError::Malformed(match error {
            Error::RsaModulusTooLarge => "the RSA key is too large".to_owned(),
            Error::RsaModulusTooSmall => "the RSA key is shorter than 2048 bits".to_owned(),
            Error::Unsupported(kind) => format!("age cannot use SSH keys of the kind {kind:?}"),
            _ => "it is not an SSH public key".to_owned(),
        })
    })
}

#[cfg(not(feature = "age-ssh"))]
fn parse_ssh(_text: &str) -> Result<Recipient, RecipientError> {
    Err(RecipientError::Unsupported("SSH keys"))
}

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

#[cfg(all(test, feature = "age-plugin", feature = "age-ssh"))]
mod tests {
    use super::super::prompt::NoPrompt;
    use super::*;

    fn problem(text: &str) -> String {
        match Recipient::parse(text) {
            Err(RecipientError::Malformed(problem)) => problem,
            Err(RecipientError::Unsupported(what)) => panic!("{what} are supported"),
            Ok(_) => panic!("{text:?} is taken for a recipient"),
        }
    }

    #[test]
    fn prefix_tells_the_kind() {
        assert!(matches!(Recipient::parse("age1echo1dpjkcmr0hn040u"), Ok(Recipient::Plugin(_))));
        let x25519 = "age1egyfwa5mcfs0ezk70qxamkgtyue827nz86r9z33a93wwzgeaqygq0q0dhc";
        assert!(matches!(Recipient::parse(x25519), Ok(Recipient::X25519(_))));
        let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIShvUXuMz5t2mHfZJ0lvA7mt41j1KJ+EBatvlaaE8U2 me@here";
        assert!(matches!(Recipient::parse(ssh), Ok(Recipient::Ssh(_))));
    }

    #[test]
    fn malformed_recipients_are_refused_with_a_reason() {
        assert_eq!(problem("AGE1X"), "it begins neither with `age1` nor with `ssh-`");
        assert_eq!(problem("age1egyfwa5mcfs0ezk70"), "invalid Bech32 encoding");
        assert_eq!(problem("age1pq1qqqq"), "not Bech32");
        assert_eq!(problem("age1tag1qqqq"), "invalid Bech32 encoding");
        assert_eq!(problem("age1tagpq1qqqq"), "invalid Bech32 encoding");
        assert_eq!(problem("age1echo1qqqq"), "invalid Bech32 encoding");
        assert_eq!(problem("ssh-ed25519 AAAA"), "it is not an SSH public key");
        assert_eq!(problem("ssh-dss AAAAB3NzaC1kc3M="), "age cannot use SSH keys of the kind \"ssh-dss\"");
    }

    #[test]
    fn missing_plugin_is_named() {
        let recipient = Recipient::parse("age1echo1dpjkcmr0hn040u").expect("the form is right");
        let prompt: Arc<dyn Prompt> = Arc::new(NoPrompt);
        assert_eq!(
            recipient.wrap(&SecretBytes::from("secret"), &prompt),
            Err("the program age-plugin-echo is not on the search path".to_owned())
        );
    }
}

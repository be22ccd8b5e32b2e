//! age keys, by their recipient.

#[cfg(feature = "age")]
mod generate;
#[cfg(feature = "age")]
mod hybrid;
#[cfg(feature = "age")]
mod identities;
#[cfg(feature = "age")]
mod identity;
#[cfg(feature = "age")]
mod passphrase;
#[cfg(feature = "age-plugin")]
mod plugin;
#[cfg(feature = "age")]
mod prompt;
#[cfg(feature = "age")]
mod recipient;
#[cfg(feature = "age")]
mod service;
#[cfg(feature = "age-ssh")]
mod ssh;

use super::{KeyField, KeyFields, KeyKind, KeyMessage, KeyParseError, text_fields, text_of};
#[cfg(feature = "age")]
use crate::secret::SecretBytes;

#[cfg(feature = "age")]
pub use generate::{IdentityKind, NewIdentity, generate};
#[cfg(feature = "age")]
pub use identities::{Identities, IdentitySource};
#[cfg(feature = "age")]
pub use identity::{IdentityLayout, IdentityParseError};
#[cfg(feature = "age")]
pub use prompt::{NoPrompt, PassphrasePurpose, PassphraseRequest, Prompt, PromptError};
#[cfg(feature = "age")]
pub use service::AgeService;

/// age keys.
pub static KIND: KeyKind = KeyKind {
    name: "age",
    flag: "age",
    short: Some('a'),
    variable: "SOPS_AGE_RECIPIENTS",
    rule_field: "age",
    rule_rank: 0,
    group_field: "age",
    options: &[],
    fields: &[KeyField::required("recipient")],
    address_field: None,
    has_created_at: false,
    parse,
    parse_object: |object| Err(KeyParseError::of_object(object, EXPECTED)),
    identify,
    message: KeyMessage { tag: 6, fields: &[("recipient", 1)] },
    mistakes: |_| Vec::new(),
    connect: None,
};

fn parse(text: &str) -> Result<KeyFields, KeyParseError> {
    let text = text.trim();
    match problem_of_recipient(text) {
        None => Ok(text_fields(&[("recipient", text)])),
        Some(problem) => Err(KeyParseError::new(text, &format!("{EXPECTED}: {problem}"))),
    }
}

/// Says why a text is no recipient. One that only another build could use is one.
#[cfg(feature = "age")]
fn problem_of_recipient(text: &str) -> Option<String> {
    match recipient::Recipient::parse(text) {
        Ok(_) | Err(recipient::RecipientError::Unsupported(_)) => None,
        Err(recipient::RecipientError::Malformed(problem)) => Some(problem),
    }
}

#[cfg(not(feature = "age"))]
fn problem_of_recipient(text: &str) -> Option<String> {
    let is_one = text.starts_with("age1") || text.starts_with("ssh-");
    (!is_one).then(|| "it begins neither with `age1` nor with `ssh-`".to_owned())
}

fn identify(fields: &KeyFields) -> String {
    text_of(fields, "recipient").to_owned()
}

/// Returns a passphrase as the age library takes it, or `None` if it is not a text.
#[cfg(feature = "age")]
fn secret_string(secret: &SecretBytes) -> Option<::age::secrecy::SecretString> {
    str::from_utf8(secret.expose_secret()).ok().map(::age::secrecy::SecretString::from)
}

/// Says in one line why an age file cannot be opened.
#[cfg(feature = "age")]
fn problem_of(error: &::age::DecryptError) -> String {
    use ::age::DecryptError as Error;
    match error {
        Error::DecryptionFailed => "decryption failed".to_owned(),
        Error::ExcessiveWork { .. } => "its passphrase takes too much work to check".to_owned(),
        Error::InvalidHeader => "its header is malformed".to_owned(),
        Error::InvalidMac => "its header was changed".to_owned(),
        Error::Io(error) => format!("it cannot be read: {}", plain(error)),
        Error::UnknownFormat => "it is not an age file".to_owned(),
        error => plain(error),
    }
}

/// Returns a message of the age library on one line, without its marks for mixed writing directions.
#[cfg(feature = "age")]
fn plain(error: &dyn std::error::Error) -> String {
    let message = error.to_string().replace(['\u{2068}', '\u{2069}'], "");
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

const EXPECTED: &str = "an age recipient (`age1…`, `ssh-ed25519 …` or `ssh-rsa …`)";

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::keys::MasterKey;

    #[test]
    fn an_identity_is_no_recipient_and_is_not_quoted() {
        assert_eq!(parse("AGE-SECRET-KEY-1").expect_err("this is an identity").text, "(a private key)");
    }

    #[test]
    fn entry_of_the_metadata_has_no_date() {
        let entry = json!({"enc": "-----BEGIN AGE ENCRYPTED FILE-----\n", "recipient": "age1x"});
        let key = MasterKey::from_metadata(&KIND, entry.as_object().expect("an object"));
        assert_eq!(Json::from(key.to_metadata()), entry);
        assert_eq!(key.created_at(), None);
    }
}

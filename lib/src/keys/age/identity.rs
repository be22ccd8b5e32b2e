//! Single identities, and the texts that hold them.

use std::sync::Arc;

use ::age::{Identity as _, x25519};
use age_core::format::{FileKey, Stanza};

use super::hybrid::HybridIdentity;
use super::passphrase::ProtectedFile;
use super::problem_of;
use super::prompt::Prompt;
use crate::secret::SecretBytes;

/// What unwraps a file key.
pub(super) enum Identity {
    Hybrid(Box<HybridIdentity>),
    #[cfg(feature = "age-plugin")]
    Plugin(::age::plugin::Identity),
    Protected(Box<ProtectedFile>),
    #[cfg(feature = "age-ssh")]
    Ssh(Box<super::ssh::SshIdentity>),
    X25519(x25519::Identity),
}

/// How identities are written in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityLayout {
    /// One to a line, as in a file that age writes.
    Lines,
    /// Any number to a line, with white space between them.
    Words,
}

/// Why a text holds no identities that can be used. It never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityParseError {
    /// An age file of identities cannot be read.
    #[error("the encrypted identity file cannot be used: {0}")]
    EncryptedFile(String),
    /// A line is not an identity.
    #[error("line {line} is not an age identity: {problem}")]
    Line {
        /// The number of the line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The text is not UTF-8.
    #[error("it is not a text")]
    NotText,
    /// A private key of SSH cannot be used.
    #[error("the SSH key cannot be used: {0}")]
    Ssh(String),
    /// The text is longer than any list of identities.
    #[error("it is longer than 16 MiB")]
    TooLong,
}

impl Identity {
    /// Returns whether trying the identity may ask a person, or start a program.
    pub(super) fn needs_prompt(&self) -> bool {
        match self {
            Self::Hybrid(_) | Self::X25519(_) => false,
            #[cfg(feature = "age-plugin")]
            Self::Plugin(_) => true,
            Self::Protected(file) => file.needs_prompt(),
            #[cfg(feature = "age-ssh")]
            Self::Ssh(key) => key.needs_prompt(),
        }
    }

    /// Returns whether it is known before anybody is asked that the identity fits.
    pub(super) const fn is_certain(&self) -> bool {
        match self {
            #[cfg(feature = "age-ssh")]
            Self::Ssh(_) => true,
            _ => false,
        }
    }

    /// Unwraps the file key; `None` if no stanza is for this identity.
    pub(super) fn unwrap_stanzas(
        &self,
        stanzas: &[Stanza],
        prompt: &Arc<dyn Prompt>,
    ) -> Option<Result<FileKey, String>> {
        match self {
            Self::Hybrid(identity) => {
                Some(identity.unwrap_stanzas(stanzas)?.map_err(|error| problem_of(&error)))
            }
            #[cfg(feature = "age-plugin")]
            Self::Plugin(identity) => super::plugin::unwrap_stanzas(identity, stanzas, prompt),
            Self::Protected(file) => file.with_identities(&**prompt, |identities| {
                identities.iter().find_map(|identity| identity.unwrap_stanzas(stanzas, prompt))
            }),
            #[cfg(feature = "age-ssh")]
            Self::Ssh(key) => key.unwrap_stanzas(stanzas, &**prompt),
            Self::X25519(identity) => {
                Some(identity.unwrap_stanzas(stanzas)?.map_err(|error| problem_of(&error)))
            }
        }
    }

    /// Returns the recipient, if it can be told without asking anybody.
    pub(super) fn recipient(&self) -> Option<String> {
        match self {
            Self::Hybrid(identity) => Some(identity.to_recipient().to_string()),
            #[cfg(feature = "age-plugin")]
            Self::Plugin(_) => None,
            Self::Protected(_) => None,
            #[cfg(feature = "age-ssh")]
            Self::Ssh(key) => Some(key.recipient().to_string()),
            Self::X25519(identity) => Some(identity.to_public().to_string()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("AGE-PLUGIN-") {
            parse_plugin(text)
        } else if text.starts_with("AGE-SECRET-KEY-PQ-1") {
            HybridIdentity::parse(text).map(Box::new).map(Self::Hybrid).map_err(str::to_owned)
        } else if text.starts_with("AGE-SECRET-KEY-1") {
            text.parse().map(Self::X25519).map_err(|problem: &str| problem.to_owned())
        } else if text.starts_with("age1") || text.starts_with("ssh-") {
            Err("it is a recipient, the public half of a key".to_owned())
        } else {
            Err("it begins neither with `AGE-SECRET-KEY-` nor with `AGE-PLUGIN-`".to_owned())
        }
    }
}

/// Reads whatever may hold identities: a list of them, a file of them that a passphrase protects, or a
/// private key of SSH.
pub(super) fn parse(
    name: &str,
    text: &SecretBytes,
    layout: IdentityLayout,
) -> Result<Vec<Identity>, IdentityParseError> {
    let bytes = text.expose_secret();
    if bytes.len() > MAX_LENGTH {
        return Err(IdentityParseError::TooLong);
    }
    if ProtectedFile::is_one(bytes) {
        let file = ProtectedFile::parse(name, bytes).map_err(IdentityParseError::EncryptedFile)?;
        return Ok(vec![Identity::Protected(Box::new(file))]);
    }
    if bytes.starts_with(b"-----BEGIN ") {
        return parse_ssh(name, str::from_utf8(bytes).map_err(|_| IdentityParseError::NotText)?);
    }
    match layout {
        IdentityLayout::Lines => parse_lines(name, text),
        IdentityLayout::Words => parse_items(text, str::split_whitespace),
    }
}

/// Reads one identity to a line.
pub(super) fn parse_lines(_name: &str, text: &SecretBytes) -> Result<Vec<Identity>, IdentityParseError> {
    parse_items(text, std::iter::once)
}

/// Reads the items of every line that is neither empty nor a comment.
///
/// As in sops, nothing else is passed over: a blank before an identity, or a text behind it, is an
/// error of the whole list.
fn parse_items<'a, I: Iterator<Item = &'a str>>(
    text: &'a SecretBytes,
    items: impl Fn(&'a str) -> I,
) -> Result<Vec<Identity>, IdentityParseError> {
    let text = str::from_utf8(text.expose_secret()).map_err(|_| IdentityParseError::NotText)?;
    let mut identities = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for item in items(line) {
            let identity = Identity::parse(item)
                .map_err(|problem| IdentityParseError::Line { line: index + 1, problem })?;
            identities.push(identity);
        }
    }
    Ok(identities)
}

#[cfg(feature = "age-plugin")]
fn parse_plugin(text: &str) -> Result<Identity, String> {
    text.parse().map(Identity::Plugin).map_err(|problem: &str| problem.to_owned())
}

#[cfg(not(feature = "age-plugin"))]
fn parse_plugin(_text: &str) -> Result<Identity, String> {
    Err("this build has no support for age plugins".to_owned())
}

#[cfg(feature = "age-ssh")]
fn parse_ssh(name: &str, text: &str) -> Result<Vec<Identity>, IdentityParseError> {
    let key = super::ssh::SshIdentity::parse(name, text).map_err(IdentityParseError::Ssh)?;
    Ok(vec![Identity::Ssh(Box::new(key))])
}

#[cfg(not(feature = "age-ssh"))]
fn parse_ssh(_name: &str, _text: &str) -> Result<Vec<Identity>, IdentityParseError> {
    Err(IdentityParseError::Ssh("this build has no support for SSH keys".to_owned()))
}

/// What age takes at most as a file of identities.
pub(super) const MAX_LENGTH: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::super::{IdentityKind, generate};
    use super::*;

    fn new_identity() -> String {
        let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        str::from_utf8(identity.secret.expose_secret()).expect("identities are text").to_owned()
    }

    fn read(text: &str, layout: IdentityLayout) -> Result<usize, IdentityParseError> {
        parse("keys", &SecretBytes::from(text), layout).map(|identities| identities.len())
    }

    fn line_of(result: Result<usize, IdentityParseError>) -> usize {
        match result {
            Err(IdentityParseError::Line { line, .. }) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn comments_and_empty_lines_are_passed_over() {
        let (one, two) = (new_identity(), new_identity());
        let text = format!("# created\r\n\r\n{one}\r\n#{two}\n{two}");
        assert_eq!(read(&text, IdentityLayout::Lines), Ok(2));
        assert_eq!(read("", IdentityLayout::Lines), Ok(0));
    }

    #[test]
    fn lines_hold_nothing_beside_an_identity() {
        let one = new_identity();
        for text in [format!(" {one}"), format!("{one} "), format!("{one} # mine"), " ".to_owned()] {
            assert_eq!(line_of(read(&format!("#\n{text}\n"), IdentityLayout::Lines)), 2);
        }
    }

    #[test]
    fn words_stand_anywhere_in_a_line() {
        let one = new_identity();
        let text = format!("  {one}\t{one}\n# {one}\n \n{one}");
        assert_eq!(read(&text, IdentityLayout::Words), Ok(3));
        assert_eq!(line_of(read(&format!("{one}\n{one} x"), IdentityLayout::Words)), 2);
    }

    #[test]
    fn errors_never_quote_the_text() {
        let one = new_identity();
        for text in
            [one[1..].to_owned(), one.to_lowercase(), format!("{one}{one}"), one.replacen('1', "2", 1)]
        {
            let error = read(&text, IdentityLayout::Lines).expect_err("this is no identity").to_string();
            assert!(!error.contains(&one[20..30]) && !error.contains(&one[20..30].to_lowercase()), "{error}");
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused() {
        let refused = |bytes: &[u8]| parse("", &SecretBytes::from(bytes), IdentityLayout::Lines).err();
        assert_eq!(refused(b"# \xff"), Some(IdentityParseError::NotText));
        assert_eq!(refused(&vec![b'#'; MAX_LENGTH + 1]), Some(IdentityParseError::TooLong));
        assert_eq!(refused(&vec![b'#'; MAX_LENGTH]), None);
    }

    #[cfg(feature = "age-plugin")]
    #[test]
    fn identities_of_plugins_are_read() {
        assert_eq!(read("AGE-PLUGIN-ECHO-1DPJKCMR0R8MTUP", IdentityLayout::Lines), Ok(1));
        assert_eq!(line_of(read("AGE-PLUGIN-ECHO-1DPJ", IdentityLayout::Lines)), 1);
    }

    #[cfg(feature = "age-ssh")]
    #[test]
    fn ssh_keys_of_other_forms_are_refused_with_a_hint() {
        let refused = |kind: &str| {
            let text = format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
            read(&text, IdentityLayout::Lines).expect_err("it is no key").to_string()
        };
        assert!(refused("PRIVATE KEY").contains("ssh-keygen -p -f FILE"));
        assert!(refused("EC PRIVATE KEY").contains("ssh-ed25519, ssh-rsa"));
    }
}

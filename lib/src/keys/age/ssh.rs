//! Private keys of SSH as identities.

use std::sync::Mutex;

use ::age::Identity as _;
use ::age::ssh::{EncryptedKey, Identity as AgeSshIdentity, Recipient, UnsupportedKey};
use age_core::format::{FileKey, Stanza};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

use super::prompt::{PassphrasePurpose, PassphraseRequest, Prompt, ask_until_open};
use super::{problem_of, secret_string};

/// A private key of SSH, with or without a passphrase.
pub(super) struct SshIdentity {
    name: String,
    recipient: Recipient,
    state: Mutex<State>,
}

enum State {
    Open(Box<AgeSshIdentity>),
    Protected(Box<EncryptedKey>),
    /// The passphrase could not be had; nobody is asked a second time.
    Refused(String),
}

impl SshIdentity {
    /// Reads a key in the form of OpenSSH, or an RSA key in PEM. `name` is shown when its passphrase is
    /// asked for.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let start = text.find("-----BEGIN ").unwrap_or_default();
        let key = AgeSshIdentity::from_buffer(&text.as_bytes()[start..], None)
            .map_err(|_| unreadable(&text[start..]).to_owned())?;
        let unsupported = |problem: &str| Err(problem.to_owned());
        let state = match &key {
            AgeSshIdentity::Unsupported(UnsupportedKey::EncryptedPem) => return unsupported(LEGACY),
            AgeSshIdentity::Unsupported(UnsupportedKey::EncryptedSsh(cipher)) => {
                return Err(format!("the SSH key is encrypted with {cipher}, which is not supported"));
            }
            AgeSshIdentity::Unsupported(UnsupportedKey::Hardware(_)) => {
                return unsupported("age cannot use SSH keys that are kept in hardware");
            }
            AgeSshIdentity::Unsupported(_) => return unsupported(KINDS),
            AgeSshIdentity::Encrypted(key) => State::Protected(Box::new(key.clone())),
            AgeSshIdentity::Unencrypted(_) => State::Open(Box::new(key.clone())),
        };
        let recipient = Recipient::try_from(key).map_err(|_| KINDS.to_owned())?;
        Ok(Self { name: name.to_owned(), recipient, state: Mutex::new(state) })
    }

    /// Returns the public key.
    pub(super) const fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Returns whether a person may have to be asked.
    pub(super) fn needs_prompt(&self) -> bool {
        self.state.lock().is_ok_and(|state| matches!(*state, State::Protected(_)))
    }

    /// Unwraps the file key if a stanza is for this key; only then the passphrase is asked for.
    pub(super) fn unwrap_stanzas(
        &self,
        stanzas: &[Stanza],
        prompt: &dyn Prompt,
    ) -> Option<Result<FileKey, String>> {
        let stanza = stanzas.iter().find(|stanza| self.is_for_us(stanza))?;
        let Ok(mut state) = self.state.lock() else {
            return Some(Err("another thread failed with this key".to_owned()));
        };
        if let State::Protected(key) = &*state {
            *state = match self.open(key, prompt) {
                Ok(identity) => State::Open(Box::new(identity)),
                Err(problem) => State::Refused(problem),
            };
        }
        match &*state {
            State::Open(identity) => {
                Some(identity.unwrap_stanza(stanza)?.map_err(|error| problem_of(&error)))
            }
            State::Refused(problem) => Some(Err(problem.clone())),
            State::Protected(_) => None,
        }
    }

    fn open(&self, key: &EncryptedKey, prompt: &dyn Prompt) -> Result<AgeSshIdentity, String> {
        let purpose = PassphrasePurpose::SshKey;
        let request = PassphraseRequest { purpose, name: &self.name, cache_id: None, attempt: 1 };
        ask_until_open(prompt, request, |passphrase| {
            let passphrase = secret_string(passphrase)?;
            key.decrypt(passphrase).ok().map(|key| Ok(AgeSshIdentity::from(key)))
        })
    }

    /// Tells by the first four bytes of the digest of the public key, which the stanza names.
    fn is_for_us(&self, stanza: &Stanza) -> bool {
        let (kind, key) = match &self.recipient {
            Recipient::SshEd25519(key, _) => ("ssh-ed25519", key),
            Recipient::SshRsa(key, _) => ("ssh-rsa", key),
        };
        let digest = Sha256::digest(key);
        stanza.tag == kind && stanza.args.first() == Some(&BASE64_STANDARD_NO_PAD.encode(&digest[..4]))
    }
}

/// Says why a text is not a key that can be read.
fn unreadable(text: &str) -> &'static str {
    if text.starts_with("-----BEGIN PRIVATE KEY") || text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY") {
        "the key is in the form PKCS#8; `ssh-keygen -p -f FILE` rewrites it in the form of OpenSSH"
    } else if text.starts_with("-----BEGIN ") {
        KINDS
    } else {
        "there is no private key of SSH in it"
    }
}

const KINDS: &str = "it is not an SSH key of a kind that age can use (ssh-ed25519, ssh-rsa)";
const LEGACY: &str =
    "the key is in the old encrypted form; `ssh-keygen -p -f FILE` rewrites it in the form of OpenSSH";

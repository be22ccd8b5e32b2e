//! Files of identities that are themselves age files, encrypted with a passphrase.

use std::io::Read;
use std::iter;
use std::sync::Mutex;

use ::age::armor::ArmoredReader;
use ::age::{DecryptError, Decryptor, scrypt};
use sha2::{Digest, Sha256};

use super::identity::{Identity, MAX_LENGTH, parse_lines};
use super::prompt::{PassphrasePurpose, PassphraseRequest, Prompt, ask_until_open};
use super::{problem_of, secret_string};
use crate::secret::SecretBytes;

/// A file of identities that a passphrase opens.
pub(super) struct ProtectedFile {
    name: String,
    contents: Vec<u8>,
    cache_id: String,
    state: Mutex<State>,
}

enum State {
    Closed,
    Open(Vec<Identity>),
    /// The passphrase could not be had; nobody is asked a second time.
    Refused(String),
}

impl ProtectedFile {
    /// Returns whether the bytes are an age file, armored or not.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(b"age-encryption") || bytes.starts_with(b"-----BEGIN AGE")
    }

    /// Takes the bytes of an age file. `name` is shown when the passphrase is asked for.
    pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let mut contents = Vec::new();
        let mut reader = ArmoredReader::new(bytes.trim_ascii_end());
        reader.read_to_end(&mut contents).map_err(|error| format!("the armor is malformed: {error}"))?;
        let decryptor = Decryptor::new_buffered(&contents[..]).map_err(|error| problem_of(&error))?;
        if !decryptor.is_scrypt() {
            return Err("the identity file is encrypted, but not with a passphrase".to_owned());
        }
        // What sops calls the passphrase in gpg-agent, so that both find it there.
        let cache_id = format!("SopsAge{}", base32(&Sha256::digest(&contents)[..25]));
        Ok(Self { name: name.to_owned(), contents, cache_id, state: Mutex::new(State::Closed) })
    }

    /// Returns whether a person may have to be asked.
    pub(super) fn needs_prompt(&self) -> bool {
        self.state.lock().is_ok_and(|state| matches!(*state, State::Closed))
    }

    /// Passes the identities to `use_them`, after the passphrase was asked for if need be.
    pub(super) fn with_identities<T>(
        &self,
        prompt: &dyn Prompt,
        use_them: impl FnOnce(&[Identity]) -> Option<Result<T, String>>,
    ) -> Option<Result<T, String>> {
        let Ok(mut state) = self.state.lock() else {
            return Some(Err("another thread failed with this file".to_owned()));
        };
        if matches!(*state, State::Closed) {
            *state = match self.open(prompt) {
                Ok(identities) => State::Open(identities),
                Err(problem) => State::Refused(problem),
            };
        }
        match &*state {
            State::Open(identities) => use_them(identities),
            State::Refused(problem) => Some(Err(problem.clone())),
            State::Closed => None,
        }
    }

    fn open(&self, prompt: &dyn Prompt) -> Result<Vec<Identity>, String> {
        let purpose = PassphrasePurpose::IdentityFile;
        let cache_id = Some(self.cache_id.as_str());
        let request = PassphraseRequest { purpose, name: &self.name, cache_id, attempt: 1 };
        let text = ask_until_open(prompt, request, |passphrase| self.decrypt(passphrase))?;
        parse_lines(&self.name, &text).map_err(|error| error.to_string())
    }

    /// Returns the plaintext, or `None` if the passphrase is wrong.
    fn decrypt(&self, passphrase: &SecretBytes) -> Option<Result<SecretBytes, String>> {
        let mut identity = scrypt::Identity::new(secret_string(passphrase)?);
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        let reader = Decryptor::new_buffered(&self.contents[..])
            .and_then(|decryptor| decryptor.decrypt(iter::once(&identity as &dyn ::age::Identity)));
        match reader {
            Ok(reader) => Some(read_secret(reader, MAX_LENGTH)),
            Err(DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed) => None,
            Err(error) => Some(Err(problem_of(&error))),
        }
    }
}

/// Reads a secret of at most `limit` bytes.
pub(super) fn read_secret(mut reader: impl Read, limit: usize) -> Result<SecretBytes, String> {
    let mut secret = SecretBytes::new();
    let mut buffer = zeroize::Zeroizing::new([0; 4096]);
    loop {
        match reader.read(&mut *buffer) {
            Ok(0) => return Ok(secret),
            Ok(count) if secret.len() + count > limit => return Err("it is too long".to_owned()),
            Ok(count) => secret.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(format!("it is cut off or was changed: {error}")),
        }
    }
}

/// Encodes whole groups of five bytes as RFC 4648 has it.
fn base32(bytes: &[u8]) -> String {
    let digit = |group: &[u8], index: usize| {
        let number = group.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let value = usize::try_from(number >> (35 - 5 * index) & 31).unwrap_or_default();
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[value])
    };
    bytes.chunks_exact(5).flat_map(|group| (0..8).map(move |index| digit(group, index))).collect()
}

/// The highest work factor (its binary logarithm) that age itself takes; it means 4 GiB of memory, but
/// the file is the user's own.
const MAX_WORK_FACTOR: u8 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_the_standard() {
        assert_eq!(base32(b"fooba"), "MZXW6YTB");
        assert_eq!(base32(b"\xff\x00\xff\x00\xff"), "74AP6AH7");
    }
}

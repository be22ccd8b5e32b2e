//! What encrypted values looked like before an edit, so that an unchanged value keeps its ciphertext.
//!
//! SOPS remembers one nonce for each (additional data, plaintext), so that equal items of a list end up
//! with equal ciphertexts. This stash remembers every ciphertext and hands them out in order: a document
//! that did not change is written as it was.

use std::collections::{HashMap, HashSet, VecDeque};

use sha2::{Digest, Sha256};

use super::cipher::ValueType;

/// Ciphertexts of one document by what they hold.
#[derive(Default)]
pub struct Stash {
    known: HashMap<Fingerprint, VecDeque<String>>,
    of_document: bool,
}

pub(super) type Fingerprint = [u8; 32];

impl Stash {
    /// Returns a stash that knows nothing, so that every value is encrypted anew.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the stash of a document that was encrypted before, even if nothing in it was.
    pub(crate) fn of_document() -> Self {
        Self { of_document: true, ..Self::default() }
    }

    /// Returns whether what is sealed with the stash was not encrypted before.
    pub(crate) fn is_of_new_document(&self) -> bool {
        !self.of_document
    }

    /// Returns whether the stash knows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(crate) fn insert(&mut self, aad: &str, value_type: ValueType, plaintext: &[u8], encrypted: String) {
        self.known.entry(fingerprint(aad, value_type, plaintext)).or_default().push_back(encrypted);
    }

    /// Takes in what another document with the same data key has, behind what is here. A ciphertext that both have
    /// counts once.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (value, encrypted) in other.known {
            let known = self.known.entry(value).or_default();
            let own: HashSet<String> = known.iter().cloned().collect();
            known.extend(encrypted.into_iter().filter(|encrypted| !own.contains(encrypted)));
        }
        self.of_document |= other.of_document;
    }

    /// Takes the oldest ciphertext of a value.
    pub(crate) fn take(&mut self, aad: &str, value_type: ValueType, plaintext: &[u8]) -> Option<String> {
        if self.known.is_empty() {
            return None;
        }
        self.known.get_mut(&fingerprint(aad, value_type, plaintext))?.pop_front()
    }
}

/// Returns what tells a value in its place from others, and gives nothing of it away.
pub(super) fn fingerprint(aad: &str, value_type: ValueType, plaintext: &[u8]) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update((aad.len() as u64).to_le_bytes());
    hash.update(aad);
    hash.update([value_type as u8]);
    hash.update(plaintext);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_get_back_their_own_ciphertexts_in_order() {
        let mut stash = Stash::new();
        stash.insert("l:", ValueType::Str, b"x", "first".into());
        stash.insert("l:", ValueType::Str, b"x", "second".into());
        assert_eq!(stash.take("l:", ValueType::Str, b"x").as_deref(), Some("first"));
        assert_eq!(stash.take("l:", ValueType::Str, b"x").as_deref(), Some("second"));
        assert_eq!(stash.take("l:", ValueType::Str, b"x"), None);
    }

    #[test]
    fn a_ciphertext_of_two_documents_counts_once() {
        let (mut ours, mut theirs) = (Stash::new(), Stash::of_document());
        ours.insert("l:", ValueType::Str, b"x", "both".into());
        theirs.insert("l:", ValueType::Str, b"x", "both".into());
        theirs.insert("l:", ValueType::Str, b"x", "theirs".into());
        ours.absorb(theirs);
        assert!(!ours.is_of_new_document());
        assert_eq!(ours.take("l:", ValueType::Str, b"x").as_deref(), Some("both"));
        assert_eq!(ours.take("l:", ValueType::Str, b"x").as_deref(), Some("theirs"));
        assert_eq!(ours.take("l:", ValueType::Str, b"x"), None);
    }

    #[test]
    fn type_and_path_tell_values_apart() {
        let mut stash = Stash::new();
        stash.insert("a:", ValueType::Int, b"1", "int".into());
        assert_eq!(stash.take("a:", ValueType::Str, b"1"), None);
        assert_eq!(stash.take("b:", ValueType::Int, b"1"), None);
        assert_eq!(stash.take("a:", ValueType::Int, b"1").as_deref(), Some("int"));
    }
}

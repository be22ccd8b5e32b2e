//! The message authentication code over all values of a document: SHA-512 of their plaintexts in order.

use sha2::{Digest, Sha512};

/// Hashes the values of a document.
pub(crate) struct Mac {
    hash: Sha512,
    only_encrypted: bool,
}

impl Mac {
    pub(crate) fn new(only_encrypted: bool) -> Self {
        let mut hash = Sha512::new();
        if only_encrypted {
            hash.update(ONLY_ENCRYPTED);
        }
        Self { hash, only_encrypted }
    }

    /// Takes in a value that is no comment.
    pub(crate) fn update(&mut self, plaintext: &[u8], encrypted: bool) {
        if encrypted || !self.only_encrypted {
            self.hash.update(plaintext);
        }
    }

    /// Returns the code as SOPS writes it, in upper-case hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
    }
}

/// SHA-256 of `sops`: keeps the code of a document with `mac_only_encrypted` apart from that of one without.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b,
    0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_an_encrypted_only_code_is_the_hash_of_the_name() {
        assert_eq!(ONLY_ENCRYPTED[..], sha2::Sha256::digest("sops")[..]);
    }

    #[test]
    fn the_code_is_that_of_sops() {
        let mut mac = Mac::new(false);
        for value in ["hello", "7", "1.5", "a", "True", "2024-01-01T00:00:00Z"] {
            mac.update(value.as_bytes(), true);
        }
        assert_eq!(
            mac.finish(),
            "8E337CD9101ABD4995E3D7A2180A61FCA7A0D22A87956CFC06BAC4C5B25B5188\
             017C334CEDBD9B8297583DFE57C57F86ABC3BB598F25280F9F2DFC15B95D0E3F"
        );
    }

    #[test]
    fn clear_values_are_left_out_on_request() {
        let code = |value: &[u8]| {
            let mut mac = Mac::new(true);
            mac.update(value, false);
            mac.finish()
        };
        assert_eq!(code(b"a"), code(b"b"));
    }
}

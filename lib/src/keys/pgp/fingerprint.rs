//! What names an OpenPGP key in a document: its fingerprint, or its long ID.

use crate::keys::KeyParseError;

/// The fingerprint of an OpenPGP key or subkey, or its long ID, in upper case.
///
/// A long ID is the last 16 digits of the fingerprint; since version 5 of keys, the first ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    digits: String,
    is_exact: bool,
}

impl Fingerprint {
    /// Reads what a document names a key by.
    ///
    /// It becomes an argument of a program: nothing passes that could be an option. sops passes anything on, and gpg
    /// refuses all that is not a fingerprint or the long ID of a key, names and addresses included.
    pub fn parse(text: &str) -> Result<Self, KeyParseError> {
        let (digits, is_exact) = text.strip_suffix('!').map_or((text, false), |digits| (digits, true));
        let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).unwrap_or(digits);
        if !LENGTHS.contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyParseError::new(text, "the fingerprint of an OpenPGP key, of 40 digits"));
        }
        Ok(Self { digits: digits.to_ascii_uppercase(), is_exact })
    }

    /// Returns whether the key with this very fingerprint is meant, and no subkey in its place.
    #[cfg(feature = "pgp-native")]
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Returns whether this is the fingerprint (as digits in upper case) of a key.
    #[cfg(feature = "pgp-native")]
    pub fn is_of(&self, fingerprint: &str) -> bool {
        match fingerprint.len() {
            _ if self.is_whole() => fingerprint == self.digits,
            OF_VERSION_5 => fingerprint.starts_with(&self.digits),
            _ => fingerprint.ends_with(&self.digits),
        }
    }

    /// Returns whether this is a whole fingerprint, which no other key has.
    #[cfg(feature = "pgp-native")]
    pub const fn is_whole(&self) -> bool {
        self.digits.len() > LONG_ID
    }

    /// Returns the fingerprint as gpg takes it.
    #[cfg(feature = "gpg")]
    pub fn to_argument(&self) -> String {
        format!("{}{}", self.digits, self.mark())
    }

    /// Returns the long ID of the key as gpg takes it.
    #[cfg(feature = "gpg")]
    pub fn to_long_id(&self) -> String {
        // sops always takes the end.
        let id = match self.digits.len() {
            OF_VERSION_5 => &self.digits[..LONG_ID],
            length => &self.digits[length - LONG_ID..],
        };
        format!("{id}{}", self.mark())
    }

    #[cfg(feature = "gpg")]
    const fn mark(&self) -> &'static str {
        if self.is_exact { "!" } else { "" }
    }
}

/// The length of a long ID, in digits.
const LONG_ID: usize = 16;

/// The length of a fingerprint since version 5, in digits.
const OF_VERSION_5: usize = 64;

/// The lengths of long IDs, and of fingerprints of keys of version 3, 4, and 5 or 6.
const LENGTHS: [usize; 4] = [LONG_ID, 32, 40, OF_VERSION_5];

#[cfg(all(test, feature = "gpg"))]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_become_arguments() {
        let arguments = |text: &str| {
            let fingerprint = Fingerprint::parse(text).expect("this is a fingerprint");
            (fingerprint.to_argument(), fingerprint.to_long_id())
        };
        let expect = |left: &str, right: &str| (left.to_owned(), right.to_owned());
        let whole = "743FBB898B33E931C8E7D611BFAD9279BC182E42";
        assert_eq!(arguments(whole), expect(whole, "BFAD9279BC182E42"));
        assert_eq!(arguments(&whole.to_lowercase()), expect(whole, "BFAD9279BC182E42"));
        assert_eq!(arguments(&format!("0x{whole}!")), expect(&format!("{whole}!"), "BFAD9279BC182E42!"));
        assert_eq!(arguments("BFAD9279BC182E42"), expect("BFAD9279BC182E42", "BFAD9279BC182E42"));
        let newer = format!("0123456789ABCDEF{}", "7".repeat(48));
        assert_eq!(arguments(&newer), expect(&newer, "0123456789ABCDEF"));
    }

    #[test]
    fn what_could_be_an_option_or_a_search_is_refused() {
        for text in [
            "",
            "!",
            "--output=x",
            "-o",
            "BC182E42",
            "someone@example.com",
            "<someone@example.com>",
            "=Some One",
            "743FBB898B33E931C8E7D611BFAD9279BC182E4",
            "743FBB898B33E931C8E7D611BFAD9279BC182E42!!",
            "743FBB898B33E931C8E7D611BFAD9279BC182E4\n",
            "--8B33E931C8E7D611BFAD9279BC182E42BFAD92",
        ] {
            let error = Fingerprint::parse(text).expect_err("this is no fingerprint");
            assert_eq!(error.text, text);
        }
    }

    #[cfg(feature = "pgp-native")]
    #[test]
    fn a_long_id_is_where_the_version_of_the_key_has_it() {
        let is_of = |text: &str, fingerprint: &str| {
            Fingerprint::parse(text).expect("this is a fingerprint").is_of(fingerprint)
        };
        let whole = "743FBB898B33E931C8E7D611BFAD9279BC182E42";
        let newer = format!("0123456789ABCDEF{}", "7".repeat(48));
        assert!(is_of(whole, whole) && is_of("bfad9279bc182e42", whole) && !is_of("743FBB898B33E931", whole));
        assert!(is_of(&newer, &newer) && is_of("0123456789ABCDEF", &newer));
        assert!(!is_of(&"7".repeat(16), &newer));
        assert!(!is_of(&whole[8..], whole), "as long as a fingerprint of version 3");
    }
}

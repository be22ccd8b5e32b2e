//! Which values of a document are encrypted.

use std::collections::HashMap;

use super::pattern::{Pattern, PatternError};

/// The rule by which the values of a document are chosen.
///
/// A path rule looks at each key on the way to the value; a comment rule at the comments directly above
/// or beside the value and what holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Values for which a comment matches are encrypted.
    EncryptedCommentRegex(Pattern),
    /// Values on whose path a key matches are encrypted.
    EncryptedRegex(Pattern),
    /// Values on whose path a key ends so are encrypted.
    EncryptedSuffix(String),
    /// Values for which no comment matches are encrypted.
    UnencryptedCommentRegex(Pattern),
    /// Values on whose path no key matches are encrypted.
    UnencryptedRegex(Pattern),
    /// Values on whose path no key ends so are encrypted.
    UnencryptedSuffix(String),
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// Two rules are given where one is possible.
    #[error("{0} and {1} cannot be used together")]
    Conflict(&'static str, &'static str),
    /// A pattern does not compile.
    #[error("{field}: {source}")]
    Pattern {
        /// The name of the rule.
        field: &'static str,
        /// What is wrong with the pattern.
        source: PatternError,
    },
}

/// The suffix of values left in clear where no rule says otherwise.
pub const DEFAULT_UNENCRYPTED_SUFFIX: &str = "_unencrypted";

impl Selector {
    /// The names of the six rules, in the metadata, in `.sops.yaml` and (with dashes) as flags.
    pub const FIELDS: [&'static str; 6] = [
        "unencrypted_suffix",
        "encrypted_suffix",
        "unencrypted_regex",
        "encrypted_regex",
        "unencrypted_comment_regex",
        "encrypted_comment_regex",
    ];

    /// Reads the rule that `value_of` gives for one of [`Self::FIELDS`]; `None` if it gives none.
    ///
    /// # Errors
    /// If there are two, or a pattern does not compile.
    pub fn from_fields<'a>(
        value_of: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Result<Option<Self>, SelectorError> {
        let selector = Self::lenient_from_fields(value_of)?;
        match selector.as_ref().and_then(|selector| Some((selector, selector.pattern()?))) {
            Some((selector, pattern)) if pattern.is_broken() => {
                let field = selector.field();
                let source = Pattern::parse(pattern.as_str()).err();
                source.map_or(Ok(None), |source| Err(SelectorError::Pattern { field, source }))
            }
            _ => Ok(selector),
        }
    }

    /// Reads the rule of an encrypted document, where a pattern that does not compile matches nothing.
    pub(crate) fn lenient_from_fields<'a>(
        value_of: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Result<Option<Self>, SelectorError> {
        let given = |field| value_of(field).filter(|text| !text.is_empty()).map(|text| (field, text));
        let mut fields = Self::FIELDS.into_iter().filter_map(given);
        let Some((field, text)) = fields.next() else { return Ok(None) };
        match fields.next() {
            Some((other, _)) => Err(SelectorError::Conflict(field, other)),
            None => Ok(Some(Self::from_field(field, text))),
        }
    }

    fn from_field(field: &'static str, text: &str) -> Self {
        match field {
            "encrypted_comment_regex" => Self::EncryptedCommentRegex(Pattern::lenient(text)),
            "encrypted_regex" => Self::EncryptedRegex(Pattern::lenient(text)),
            "encrypted_suffix" => Self::EncryptedSuffix(text.to_owned()),
            "unencrypted_comment_regex" => Self::UnencryptedCommentRegex(Pattern::lenient(text)),
            "unencrypted_regex" => Self::UnencryptedRegex(Pattern::lenient(text)),
            _ => Self::UnencryptedSuffix(text.to_owned()),
        }
    }

    /// Returns the name of the rule in the metadata.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::EncryptedCommentRegex(_) => "encrypted_comment_regex",
            Self::EncryptedRegex(_) => "encrypted_regex",
            Self::EncryptedSuffix(_) => "encrypted_suffix",
            Self::UnencryptedCommentRegex(_) => "unencrypted_comment_regex",
            Self::UnencryptedRegex(_) => "unencrypted_regex",
            Self::UnencryptedSuffix(_) => "unencrypted_suffix",
        }
    }

    /// Returns the suffix or pattern.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::EncryptedSuffix(suffix) | Self::UnencryptedSuffix(suffix) => suffix,
            _ => self.pattern().map_or("", Pattern::as_str),
        }
    }

    /// Returns whether the rule has a pattern that does not compile, as a document may that sops encrypted:
    /// the pattern then matches nothing. Such a document can be read, and is not encrypted again.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.pattern().is_some_and(Pattern::is_broken)
    }

    const fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::EncryptedCommentRegex(pattern)
            | Self::EncryptedRegex(pattern)
            | Self::UnencryptedCommentRegex(pattern)
            | Self::UnencryptedRegex(pattern) => Some(pattern),
            Self::EncryptedSuffix(_) | Self::UnencryptedSuffix(_) => None,
        }
    }

    /// Returns whether a value is encrypted of which a key or comment matches (`true`) or none does.
    #[must_use]
    pub const fn selects(&self, matched: bool) -> bool {
        match self {
            Self::EncryptedCommentRegex(_) | Self::EncryptedRegex(_) | Self::EncryptedSuffix(_) => matched,
            Self::UnencryptedCommentRegex(_) | Self::UnencryptedRegex(_) | Self::UnencryptedSuffix(_) => {
                !matched
            }
        }
    }

    /// Returns whether the rule looks at comments instead of keys.
    #[must_use]
    pub const fn looks_at_comments(&self) -> bool {
        matches!(self, Self::EncryptedCommentRegex(_) | Self::UnencryptedCommentRegex(_))
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self::UnencryptedSuffix(DEFAULT_UNENCRYPTED_SUFFIX.to_owned())
    }
}

/// Answers whether a key or comment matches a rule; asks the pattern once for every text.
pub(crate) struct Matcher<'a> {
    selector: &'a Selector,
    known: HashMap<Vec<u8>, bool>,
}

impl<'a> Matcher<'a> {
    pub(crate) fn new(selector: &'a Selector) -> Self {
        Self { selector, known: HashMap::new() }
    }

    pub(crate) fn key_matches(&mut self, key: &[u8]) -> bool {
        match self.selector {
            Selector::EncryptedSuffix(suffix) | Selector::UnencryptedSuffix(suffix) => {
                key.ends_with(suffix.as_bytes())
            }
            Selector::EncryptedRegex(pattern) | Selector::UnencryptedRegex(pattern) => {
                self.known.get(key).copied().unwrap_or_else(|| {
                    let matched = pattern.is_match(&String::from_utf8_lossy(key));
                    if self.known.len() < MAX_KNOWN {
                        self.known.insert(key.to_vec(), matched);
                    }
                    matched
                })
            }
            Selector::EncryptedCommentRegex(_) | Selector::UnencryptedCommentRegex(_) => false,
        }
    }

    pub(crate) fn comment_matches(&self, comment: &[u8]) -> bool {
        match self.selector {
            Selector::EncryptedCommentRegex(pattern) | Selector::UnencryptedCommentRegex(pattern) => {
                pattern.is_match(&String::from_utf8_lossy(comment))
            }
            _ => false,
        }
    }
}

/// Beyond so many different keys a pattern is asked again.
const MAX_KNOWN: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rules_conflict_and_none_is_none() {
        let both = |field| matches!(field, "encrypted_regex" | "unencrypted_suffix").then_some("x");
        let conflict = SelectorError::Conflict("unencrypted_suffix", "encrypted_regex");
        assert_eq!(Selector::from_fields(both), Err(conflict));
        assert_eq!(Selector::from_fields(|_| None), Ok(None));
        assert_eq!(Selector::from_fields(|_| Some("")), Ok(None));
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_an_error() {
        let error = Selector::from_fields(|field| (field == "encrypted_regex").then_some("^(?!a)"));
        assert!(matches!(error, Err(SelectorError::Pattern { field: "encrypted_regex", .. })));
    }
}

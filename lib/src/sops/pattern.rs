//! Regular expressions that mean what they mean to SOPS, which uses Go's RE2 syntax.
//!
//! The `regex` crate shares RE2's limits (no look-around, no back-references), but reads a few things
//! otherwise: its classes `\d`, `\w`, `\s` and `\b` are Unicode, and its character classes know set
//! operations. A pattern is rewritten before it is compiled, so that both mean the same.

use regex::Regex;

/// A compiled pattern, with the text it was written as.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// `None` if the pattern does not compile.
    regex: Option<Regex>,
}

/// Why a pattern does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} does not compile: {reason}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it, in one line.
    pub reason: String,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If it does not compile. SOPS takes such a pattern for one that never matches, and writes every
    /// value in clear.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let compiled = Regex::new(&from_re2(text));
        let regex =
            compiled.map_err(|error| PatternError { pattern: text.to_owned(), reason: reason(&error) })?;
        Ok(Self { text: text.to_owned(), regex: Some(regex) })
    }

    /// Compiles a pattern as sops does: one that does not compile matches nothing. For reading only.
    pub(crate) fn lenient(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self { text: text.to_owned(), regex: None })
    }

    /// Returns whether the pattern does not compile, so that it matches nothing.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.regex.is_none()
    }

    /// Returns whether the pattern matches anywhere in `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// Returns the last line of the crate's report, which is the one that says what is wrong.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn from_re2(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    // Inside `[…]`: `Some(true)` before its first item, where `]` is literal.
    let mut class: Option<bool> = None;
    while let Some(char) = chars.next() {
        let first = class == Some(true);
        match (char, class.is_some()) {
            ('\\', in_class) => {
                let Some(escaped) = chars.next() else {
                    out.push('\\');
                    break;
                };
                if escaped == 'Q' && !in_class {
                    push_quoted(&mut chars, &mut out);
                } else if is_octal(escaped, chars.peek()) {
                    push_octal(escaped, &mut chars, &mut out);
                } else {
                    push_escape(escaped, in_class, &mut out);
                }
            }
            ('[', false) => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                class = Some(true);
                continue;
            }
            (']', true) if !first => {
                out.push(']');
                class = None;
            }
            (']', true) => out.push_str("\\]"),
            ('[', true) if chars.peek() == Some(&':') => {
                out.push('[');
                for char in chars.by_ref() {
                    out.push(char);
                    if char == ']' {
                        break;
                    }
                }
            }
            // Literal in RE2; the crate would nest a class or combine sets.
            ('[' | '&' | '~', true) => {
                out.push('\\');
                out.push(char);
            }
            ('-', true) if out.ends_with('-') => out.push_str("\\-"),
            _ => out.push(char),
        }
        if class.is_some() {
            class = Some(false);
        }
    }
    out
}

fn push_escape(escaped: char, in_class: bool, out: &mut String) {
    let set = match escaped {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => "\\t\\n\\x0C\\r ",
        'D' => "^0-9",
        'W' => "^0-9A-Za-z_",
        'S' => "^\\t\\n\\x0C\\r ",
        'b' if !in_class => return out.push_str("(?-u:\\b)"),
        'B' if !in_class => return out.push_str("(?-u:\\B)"),
        // Literal in RE2; the crate takes them for the start and the end of a word.
        '<' | '>' => return out.push(escaped),
        _ => {
            out.push('\\');
            return out.push(escaped);
        }
    };
    out.push('[');
    out.push_str(set);
    out.push(']');
}

/// Returns whether a digit behind a backslash starts an octal number: another one that follows tells it from
/// a back-reference.
fn is_octal(digit: char, next: Option<&char>) -> bool {
    digit == '0' || matches!((digit, next), ('1'..='7', Some('0'..='7')))
}

/// Writes the character of an octal number of up to three digits.
fn push_octal(first: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut number = first.to_digit(8).unwrap_or_default();
    for _ in 0..2 {
        let Some(digit) = chars.peek().and_then(|char| char.to_digit(8)) else { break };
        number = number * 8 + digit;
        chars.next();
    }
    out.push_str(&format!("\\x{{{number:X}}}"));
}

/// Copies a `\Q…\E` run literally.
fn push_quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut literal = String::new();
    while let Some(char) = chars.next() {
        if char == '\\' && chars.next_if_eq(&'E').is_some() {
            break;
        }
        literal.push(char);
    }
    out.push_str(&regex::escape(&literal));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).is_match(text)
    }

    #[test]
    fn classes_are_those_of_re2() {
        assert!(matches(r"^\d+$", "42"));
        assert!(!matches(r"^\d$", "\u{0664}"));
        assert!(!matches(r"^\w$", "é"));
        assert!(matches(r"^\W$", "é"));
        assert!(matches(r"^[\w-]+$", "a-b_c"));
        assert!(matches(r"^[[a&&b]+$", "[a&b"));
        assert!(matches(r"^[]a]+$", "]a"));
        assert!(matches(r"^[[:alpha:]]+$", "abc"));
        assert!(matches(r"^\Qa.b\E$", "a.b"));
        assert!(!matches(r"^\Qa.b\E$", "axb"));
        assert!(matches(r"^a\<b\>$", "a<b>"));
        assert!(matches(r"^\101\x42\x{43}$", "ABC"));
        assert!(matches(r"a\Bb", "ab"));
    }

    #[test]
    fn a_pattern_is_not_anchored() {
        assert!(matches("ret", "secrets"));
        assert!(matches("", "anything"));
    }

    #[test]
    fn a_pattern_that_re2_has_not_is_refused() {
        let error = Pattern::parse("^(?!metadata)").expect_err("look-around");
        assert_eq!(error.reason, "look-around, including look-ahead and look-behind, is not supported");
    }
}

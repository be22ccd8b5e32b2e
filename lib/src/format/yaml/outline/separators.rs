//! U+2028 and U+2029, which end a line to sops, as to YAML 1.1, but not to YAML 1.2.
//!
//! go-yaml writes them as they are. They are read where both see one text, and what sops makes of the blanks
//! around them is done; anywhere else they must be written as escapes.

use crate::format::{ParseError, ParseErrorKind};

/// What to say of a separator that divides a source for sops.
pub(super) const ESCAPE: &str = "a Unicode line separator must be written as an escape here";

/// Returns how many separators a text has.
pub(super) fn count(text: &str) -> usize {
    // Nearly all texts have none, and a single byte is fast to look for.
    if text.as_bytes().contains(&FIRST_BYTE) { text.matches(SEPARATORS).count() } else { 0 }
}

/// Returns the error for a separator that is in no scalar.
pub(super) fn misplaced(source: &str) -> ParseError {
    let before = source.split(SEPARATORS).next().unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    ParseError { line, kind: ParseErrorKind::Syntax(ESCAPE.to_owned()) }
}

/// Returns the text of a quoted token as sops reads it: without blanks around separators. `None` if more than
/// separators divides it, or an escape may stand for one.
pub(super) fn join_quoted(token: &str, text: &str) -> Option<String> {
    if token.contains(['\n', '\r', '\\']) {
        return None;
    }
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(SEPARATORS) {
        let (before, behind) = rest.split_at(at);
        joined.push_str(before.trim_end_matches(BLANKS));
        let mut behind = behind.chars();
        joined.extend(behind.next());
        rest = behind.as_str().trim_start_matches(BLANKS);
    }
    joined.push_str(rest);
    Some(joined)
}

/// Returns the text of a literal block scalar as sops reads it: without the indentation behind separators.
/// `None` if there is none, or a separator ends the text, where it may be cut off.
pub(super) fn join_literal(text: &str, indent: usize) -> Option<String> {
    if text.trim_end_matches(['\n', '\r']).ends_with(SEPARATORS) {
        return None;
    }
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(SEPARATORS) {
        let (before, behind) = rest.split_at(at);
        joined.push_str(before);
        let mut behind = behind.chars();
        joined.extend(behind.next());
        rest = behind.as_str();
        let spaces = rest.bytes().take(indent).take_while(|&byte| byte == b' ').count();
        rest = &rest[spaces..];
        if spaces < indent && !rest.starts_with(SEPARATORS) && !rest.starts_with('\n') {
            return None;
        }
    }
    joined.push_str(rest);
    Some(joined)
}

const BLANKS: [char; 2] = [' ', '\t'];
/// How UTF-8 begins every separator.
const FIRST_BYTE: u8 = 0xe2;
const SEPARATORS: [char; 2] = ['\u{2028}', '\u{2029}'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_separators_go_as_in_sops() {
        assert_eq!(join_quoted("'x \u{2028}  y'", "x \u{2028}  y").as_deref(), Some("x\u{2028}y"));
        assert_eq!(join_literal("x\u{2029}  y\n z", 2).as_deref(), Some("x\u{2029}y\n z"));
        assert_eq!(join_literal("x\u{2029}   y", 2).as_deref(), Some("x\u{2029} y"));
    }

    #[test]
    fn what_sops_divides_otherwise_is_not_joined() {
        assert_eq!(join_quoted("'x\u{2028}\n y'", "x\u{2028} y"), None);
        assert_eq!(join_quoted("\"\\L\u{2028}\"", "\u{2028}\u{2028}"), None);
        assert_eq!(join_literal("x\u{2028}y", 2), None);
        assert_eq!(join_literal("x\u{2028}\n", 2), None);
    }
}

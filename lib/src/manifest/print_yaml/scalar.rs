//! How a string is written: the style that go-yaml v2 picks for it, and its escapes.

use crate::format::yaml::resolve::{Scalar, resolve_v2};
use crate::format::yaml::style;

pub(super) use crate::format::yaml::style::escape;

/// How a string is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    DoubleQuoted,
    Literal,
    Plain,
    SingleQuoted,
}

/// What a string holds that keeps it from being written in some style.
#[derive(Default)]
pub(super) struct Holds {
    /// A line break.
    pub line_break: bool,
    /// What means something else where a plain scalar could stand in a block.
    indicator: bool,
    /// A blank or a line break at one end.
    loose_end: bool,
    /// A blank at the end.
    trailing_space: bool,
    /// A blank behind a line break.
    break_space: bool,
    /// A blank before a line break, or a character that must be escaped.
    special: bool,
}

/// Returns the style of a string.
///
/// `on_one_line` is whether it must be, as a key without `?`; `is_key` whether it is any key.
pub(super) fn choose(text: &str, on_one_line: bool, is_key: bool) -> Style {
    let holds = Holds::of(text);
    if text.contains('\n') {
        let is_literal = !on_one_line && !holds.trailing_space && !holds.special;
        return if is_literal { Style::Literal } else { Style::DoubleQuoted };
    }
    let is_plain = !holds.indicator && !holds.loose_end && !holds.special;
    match stays_string(text, is_key) {
        true if is_plain => Style::Plain,
        true if !holds.break_space && !holds.special => Style::SingleQuoted,
        _ => Style::DoubleQuoted,
    }
}

/// Returns whether a character does not stand for itself in double quotes.
pub(super) fn is_escaped(char: char) -> bool {
    !style::is_printable(char) || style::is_line_separator(char) || matches!(char, '\n' | '"' | '\\')
}

/// Returns whether a string is one without quotes to readers of YAML 1.1.
fn stays_string(text: &str, is_key: bool) -> bool {
    resolve_v2(text) == Scalar::Text && !style::is_sexagesimal(text) && !(is_key && text == "<<")
}

impl Holds {
    pub(super) fn of(text: &str) -> Self {
        let is_marker = text.starts_with("---") || text.starts_with("...");
        let mut holds = Self { indicator: is_marker, ..Self::default() };
        let mut previous = None;
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let next = chars.peek().copied();
            holds.indicator |= is_indicator(char, previous, next);
            match char {
                ' ' => {
                    holds.trailing_space = next.is_none();
                    holds.loose_end |= previous.is_none() || next.is_none();
                    holds.break_space |= previous == Some('\n');
                }
                '\n' => {
                    holds.line_break = true;
                    holds.loose_end |= previous.is_none() || next.is_none();
                    holds.special |= previous == Some(' ');
                }
                _ => {
                    // YAML 1.1 ends a line with these, too.
                    holds.line_break |= matches!(char, '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
                    holds.special |= !style::is_printable(char) || style::is_line_separator(char);
                }
            }
            previous = Some(char);
        }
        holds
    }
}

/// Returns whether a character between two others means something else than itself.
fn is_indicator(char: char, previous: Option<char>, next: Option<char>) -> bool {
    let ends_word = matches!(next, None | Some(' ' | '\t'));
    match (char, previous) {
        (
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
            None,
        ) => true,
        ('?' | '-', None) | (':', _) => ends_word,
        ('#', Some(' ' | '\t' | '\n')) => true,
        _ => false,
    }
}

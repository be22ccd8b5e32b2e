//! How a scalar is written in YAML: the style that go-yaml v3 picks for a string as sops sets it up, and
//! the text of every kind of scalar.
//!
//! Invariant: what is written reads back as the same value, both to go-yaml v3 and by YAML 1.2. Where
//! go-yaml writes what it cannot read again, other quotes are taken.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::resolve::{Scalar, resolve_plain};
use crate::format::go_general;
use crate::secret::SecretBytes;
use crate::tree::{Style, Tree, Value};

/// Where a scalar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// In indented lines, as a value or item.
    Block,
    /// Between brackets, as a value, item or key.
    Flow,
}

/// Which styles can hold a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holds {
    /// No quotes in indented lines, if the text then still stands for a string.
    pub(super) block_plain: bool,
    /// No quotes between brackets, if the text then still stands for a string.
    pub(super) flow_plain: bool,
    /// Single quotes.
    pub(super) single: bool,
    /// A block scalar: go-yaml would choose one. Others may be read, see [`Holds::literal`].
    pub(super) block: bool,
    /// A block scalar, if lines may end in spaces.
    pub(super) literal: bool,
}

impl Holds {
    /// Finds out what is in the way of each style.
    pub(super) fn of(text: &str) -> Self {
        let marks = Marks::of(text);
        let one_line = !marks.line_break && !marks.special;
        let ends_clean = !text.starts_with([' ', '\n']) && !text.ends_with([' ', '\n']);
        let plain = one_line && !marks.tab && ends_clean && !text.is_empty();
        let literal = !marks.special && !text.starts_with('\t') && !text.is_empty();
        Self {
            block_plain: plain && !marks.block_indicator,
            flow_plain: plain && !marks.block_indicator && !marks.flow_indicator,
            single: one_line && !marks.tab,
            block: literal && !marks.space_before_break && !text.ends_with(' '),
            literal,
        }
    }
}

/// What occurs in a string.
#[derive(Default)]
struct Marks {
    block_indicator: bool,
    flow_indicator: bool,
    line_break: bool,
    space_before_break: bool,
    special: bool,
    tab: bool,
}

impl Marks {
    fn of(text: &str) -> Self {
        let is_marker = text.starts_with("---") || text.starts_with("...");
        let mut marks = Self { block_indicator: is_marker, ..Self::default() };
        let bytes = text.as_bytes();
        let mut next = 0;
        while let Some(&byte) = bytes.get(next) {
            // Most characters of most texts, ciphertexts above all, are in the way of no style.
            if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'.') {
                next += 1;
                continue;
            }
            let previous = next.checked_sub(1).map(|before| char::from(bytes[before]));
            let Some(char) = text[next..].chars().next() else { break };
            next += char.len_utf8();
            let ends_word = bytes.get(next).is_none_or(|next| matches!(next, b' ' | b'\t'));
            marks.indicator(char, previous, ends_word);
            match char {
                '\n' => {
                    marks.line_break = true;
                    marks.space_before_break |= previous == Some(' ');
                }
                '\t' => marks.tab = true,
                _ => marks.special |= !is_printable(char) || is_line_separator(char),
            }
        }
        marks
    }

    fn indicator(&mut self, char: char, previous: Option<char>, ends_word: bool) {
        match (char, previous) {
            (
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`',
                None,
            ) => self.block_indicator = true,
            ('?' | ':', _) => {
                self.flow_indicator = true;
                self.block_indicator |= ends_word && (char == ':' || previous.is_none());
            }
            ('-', None) => self.block_indicator |= ends_word,
            (',' | '[' | ']' | '{' | '}', Some(_)) => self.flow_indicator = true,
            ('#', Some(' ' | '\t' | '\n')) => self.block_indicator = true,
            _ => {}
        }
    }
}

/// Returns the style that go-yaml picks for a string.
pub(super) fn choose(text: &str, context: Context) -> Style {
    let holds = Holds::of(text);
    match context {
        Context::Block if text.contains('\n') && holds.block => Style::Literal,
        _ if text.contains('\n') || !stays_string(text) => Style::DoubleQuoted,
        Context::Block if holds.block_plain => Style::Plain,
        Context::Flow if holds.flow_plain => Style::Plain,
        _ if holds.single => Style::SingleQuoted,
        _ => Style::DoubleQuoted,
    }
}

/// Returns whether a string is still one without quotes, here and to readers of YAML 1.1.
pub(super) fn stays_string(text: &str) -> bool {
    // Only these can begin anything but a string.
    let may_resolve = |first: u8| first.is_ascii_digit() || b"+-.~<yYnNtTfFoO".contains(&first);
    match text.as_bytes().first() {
        None => false,
        Some(&first) if !may_resolve(first) => true,
        _ => {
            text != "<<" && !is_old_bool(text) && !is_sexagesimal(text) && resolve_plain(text) == Scalar::Text
        }
    }
}

/// The words that YAML 1.1 has for true and false and that go-yaml reads as strings.
fn is_old_bool(text: &str) -> bool {
    let words =
        ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"];
    words.contains(&text)
}

/// Returns whether YAML 1.1 reads a number with base 60, such as `12:30:45.5`.
pub(crate) fn is_sexagesimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some((first, rest)) = text.split_once(':') else { return false };
    let (rest, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let is_group = |group: &str| match group.as_bytes() {
        [ones] => ones.is_ascii_digit(),
        [b'0'..=b'5', ones] => ones.is_ascii_digit(),
        _ => false,
    };
    first.starts_with(|first: char| first.is_ascii_digit())
        && digits(first)
        && digits(fraction)
        && rest.split(':').all(is_group)
}

/// Returns whether go-yaml writes a character as it is.
pub(crate) fn is_printable(char: char) -> bool {
    matches!(char, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && char != '\u{feff}'
}

/// Line breaks to YAML 1.1, but not to YAML 1.2: only escapes mean the same to both.
pub(crate) fn is_line_separator(char: char) -> bool {
    matches!(char, '\u{2028}' | '\u{2029}')
}

/// Appends a string in single quotes.
pub(super) fn single_quoted(text: &str, out: &mut SecretBytes) {
    out.push(b'\'');
    for (index, part) in text.split('\'').enumerate() {
        out.push_str(if index == 0 { "" } else { "''" });
        out.push_str(part);
    }
    out.push(b'\'');
}

/// Appends a string in double quotes.
pub(super) fn double_quoted(text: &str, out: &mut SecretBytes) {
    out.push(b'"');
    // go-yaml takes a byte order mark at the beginning for one at every place, and escapes all.
    let all = text.starts_with('\u{feff}');
    let mut start = 0;
    for (index, char) in text.char_indices() {
        if all || !is_printable(char) || is_line_separator(char) || matches!(char, '\n' | '"' | '\\') {
            out.push_str(&text[start..index]);
            escape(char, out);
            start = index + char.len_utf8();
        }
    }
    out.push_str(&text[start..]);
    out.push(b'"');
}

pub(crate) fn escape(char: char, out: &mut SecretBytes) {
    let short = match char {
        '\0' => '0',
        '\x07' => 'a',
        '\x08' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\x0b' => 'v',
        '\x0c' => 'f',
        '\r' => 'r',
        '\x1b' => 'e',
        '"' | '\\' => char,
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let code = u32::from(char);
            let written = match code {
                0..=0xff => write!(out, "\\x{code:02X}"),
                0x100..=0xffff => write!(out, "\\u{code:04X}"),
                _ => write!(out, "\\U{code:08X}"),
            };
            return written.expect("memory takes everything");
        }
    };
    out.push(b'\\');
    let mut buffer = [0; 4];
    out.push_str(short.encode_utf8(&mut buffer));
}

/// Appends a string on one line, in quotes if need be. Only a style for one line is taken.
pub(super) fn quoted(text: &str, style: Style, out: &mut SecretBytes) {
    match style {
        Style::Plain => out.push_str(text),
        Style::SingleQuoted => single_quoted(text, out),
        _ => double_quoted(text, out),
    }
}

/// Returns the text of a scalar that is not a string, as go-yaml writes it without quotes.
pub(super) fn plain_scalar(tree: &Tree, value: Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Float(value) if value.is_nan() => ".nan".to_owned(),
        Value::Float(f64::INFINITY) => ".inf".to_owned(),
        Value::Float(f64::NEG_INFINITY) => "-.inf".to_owned(),
        // sops writes, and reads, an integer, which has another hash.
        Value::Float(value) if value == 0.0 && value.is_sign_negative() => "-0.0".to_owned(),
        Value::Float(value) => go_general(value, -4, 6),
        Value::Int(value) => value.to_string(),
        Value::Unsigned(value) => value.to_string(),
        Value::Time(text) => String::from_utf8_lossy(tree.bytes(text)).into_owned(),
        Value::Comment(_) | Value::List | Value::Map | Value::Null | Value::Str(_) => "null".to_owned(),
    }
}

/// Returns bytes that are not UTF-8 as base64, in lines if there are many.
pub(super) fn binary(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    if encoded.len() < BINARY_LINE {
        return encoded;
    }
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / BINARY_LINE + 1);
    for (index, char) in encoded.char_indices() {
        if index > 0 && index % BINARY_LINE == 0 {
            lines.push('\n');
        }
        lines.push(char);
    }
    lines.push('\n');
    lines
}

/// How many digits of base64 stand on a line.
const BINARY_LINE: usize = 70;

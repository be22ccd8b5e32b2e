//! Text in quotes as Go writes and reads it.

use crate::secret::SecretBytes;
use crate::template::rune;

/// Writes text in double quotes; `only_ascii` is `%+q`.
pub fn quote(out: &mut SecretBytes, bytes: &[u8], only_ascii: bool) {
    out.push(b'"');
    for (at, character, width) in rune::runes(bytes) {
        if rune::is_invalid((character, width)) {
            out.push_str(&format!("\\x{:02x}", bytes[at]));
        } else {
            escape(out, character, '"', only_ascii);
        }
    }
    out.push(b'"');
}

/// Writes a character in single quotes.
pub fn quote_rune(out: &mut SecretBytes, character: char, only_ascii: bool) {
    out.push(b'\'');
    escape(out, character, '\'', only_ascii);
    out.push(b'\'');
}

/// Returns text in double quotes, for an error about what stands in the source.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = SecretBytes::new();
    quote(&mut out, bytes, false);
    String::from_utf8_lossy(out.expose_secret()).into_owned()
}

/// Returns text in double quotes as the errors of Go's `time` have it: bytes that are not ASCII are escaped.
pub fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=0x7F => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// Returns whether text can stand between backquotes.
pub fn can_backquote(bytes: &[u8]) -> bool {
    rune::runes(bytes).all(|(_, character, width)| match character {
        '\u{FEFF}' | '`' | '\u{7F}' => false,
        _ if rune::is_invalid((character, width)) => false,
        '\t' => true,
        other => other >= ' ',
    })
}

fn escape(out: &mut SecretBytes, character: char, quote: char, only_ascii: bool) {
    match character {
        '\\' => out.push_str("\\\\"),
        _ if character == quote => {
            out.push(b'\\');
            rune::push(out, quote);
        }
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0C' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0B' => out.push_str("\\v"),
        _ if rune::is_printable(character) && (character.is_ascii() || !only_ascii) => {
            rune::push(out, character);
        }
        '\0'..' ' | '\x7F' => out.push_str(&format!("\\x{:02x}", u32::from(character))),
        '\0'..='\u{FFFF}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
        _ => out.push_str(&format!("\\U{:08x}", u32::from(character))),
    }
}

/// Reads text in double quotes or backquotes; `None` is Go's "invalid syntax".
pub fn unquote(text: &str) -> Option<SecretBytes> {
    let quote = text.chars().next()?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' {
        return Some(inner.replace('\r', "").into());
    }
    let mut out = SecretBytes::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (unit, tail) = unquote_char(rest, quote)?;
        match unit {
            Unit::Byte(byte) => out.push(byte),
            Unit::Char(character) => rune::push(&mut out, character),
        }
        rest = tail;
    }
    Some(out)
}

/// What an escape stands for.
pub enum Unit {
    Byte(u8),
    Char(char),
}

/// Reads a character or an escape.
pub fn unquote_char(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first == quote || first == '\n' {
        return None;
    }
    if first != '\\' {
        return Some((Unit::Char(first), characters.as_str()));
    }
    let kind = characters.next()?;
    let rest = characters.as_str();
    let simple = |character| Some((Unit::Char(character), rest));
    match kind {
        'a' => simple('\x07'),
        'b' => simple('\x08'),
        'f' => simple('\x0C'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0B'),
        '\\' => simple('\\'),
        '\'' | '"' => (kind == quote).then_some(kind).and_then(simple),
        'x' => number(rest, 2, 16).map(|(value, rest)| (Unit::Byte(value as u8), rest)),
        'u' => number(rest, 4, 16).and_then(|(value, rest)| Some((Unit::Char(char::from_u32(value)?), rest))),
        'U' => number(rest, 8, 16).and_then(|(value, rest)| Some((Unit::Char(char::from_u32(value)?), rest))),
        '0'..='7' => {
            let (value, rest) = number(&text[1..], 3, 8)?;
            Some((Unit::Byte(u8::try_from(value).ok()?), rest))
        }
        _ => None,
    }
}

fn number(text: &str, length: usize, radix: u32) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(length)?;
    let is_number = digits.chars().all(|digit| digit.is_digit(radix));
    Some((is_number.then(|| u32::from_str_radix(digits, radix).ok()).flatten()?, rest))
}

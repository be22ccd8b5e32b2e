//! Where values between quotes are in files that are no YAML.
//!
//! A quote opens a value only right behind `=` or, where lines are settings, `:`, and only if another one ends it: an
//! apostrophe in a sentence opens nothing. In a script of a shell, it does so everywhere. A comment has no values.

use std::ops::Range;

/// Returns the bytes between quotes, in order. The work grows with the text.
pub(super) fn quoted(name: &str, text: &str, openers: &[&str]) -> Vec<Range<usize>> {
    let kind = Kind::of(name);
    // A shell takes the others for options and for the end of a command.
    let openers = if matches!(kind, Kind::Commands | Kind::Shell) { &["#"] } else { openers };
    let bytes = text.as_bytes();
    let (mut found, mut never) = (Vec::new(), Vec::new());
    // Whether a value may begin here, and what is before.
    let (mut begins, mut before) = (false, b'\n');
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if before.is_ascii_whitespace()
            && openers.iter().any(|opener| bytes[at..].starts_with(opener.as_bytes()))
        {
            at = memchr::memchr2(b'\n', b'\r', &bytes[at..]).map_or(bytes.len(), |length| at + length);
            (begins, before) = (false, b'\n');
            continue;
        }
        if (begins || kind == Kind::Shell) && kind.has(byte) {
            let is_triple = kind != Kind::Shell && bytes[at..].starts_with(&[byte; 3]);
            let quote = if is_triple { &bytes[at..at + 3] } else { &bytes[at..=at] };
            let has_escapes = kind != Kind::Shell || byte != b'\'';
            let end = if never.contains(&quote) {
                None
            } else {
                close(bytes, at + quote.len(), quote, has_escapes)
            };
            if let Some(end) = end {
                found.push(at..end);
                (at, begins, before) = (end, false, byte);
                continue;
            }
            if !never.contains(&quote) {
                never.push(quote);
            }
        }
        if byte == b'\\' && kind == Kind::Shell {
            // A quote behind it is none.
            (at, before) = (at + 2, byte);
            continue;
        }
        begins = match byte {
            b'=' => true,
            b':' => kind == Kind::Settings,
            b' ' | b'\t' => begins,
            _ => false,
        };
        before = byte;
        at += 1;
    }
    found
}

/// Returns where a quote ends that was opened before.
fn close(bytes: &[u8], from: usize, quote: &[u8], has_escapes: bool) -> Option<usize> {
    let mut at = from;
    while let Some(next) = memchr::memchr2(b'\\', quote[0], bytes.get(at..)?) {
        at += next;
        if bytes[at] == b'\\' {
            at += 1 + usize::from(has_escapes);
        } else if bytes[at..].starts_with(quote) {
            return Some(at + quote.len());
        } else {
            at += 1;
        }
    }
    None
}

/// What a file is, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Something in which `'` ends in its line, or is no quote.
    Code,
    /// What has commands of a shell in it, and more.
    Commands,
    /// Lines with a name and a value.
    Settings,
    /// A script of a shell.
    Shell,
    /// A text for people.
    Text,
}

impl Kind {
    fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if ends(&[".md", ".markdown", ".html", ".xml", ".txt"]) {
            Self::Text
        } else if name.starts_with(".env") || name == "env" || ends(SETTINGS) {
            Self::Settings
        } else if ends(SHELLS) {
            Self::Shell
        } else if !name.contains('.') {
            Self::Commands
        } else {
            Self::Code
        }
    }

    fn has(self, byte: u8) -> bool {
        match self {
            Self::Code => matches!(byte, b'"' | b'`'),
            Self::Commands | Self::Settings | Self::Shell => matches!(byte, b'"' | b'`' | b'\''),
            Self::Text => false,
        }
    }
}

/// How names of files end that have a name and a value in each line.
const SETTINGS: &[&str] = &[".env", ".ini", ".cfg", ".conf", ".properties", ".toml", ".tfvars"];

/// How names of scripts of shells end.
const SHELLS: &[&str] = &[".sh", ".bash", ".zsh", ".ksh"];

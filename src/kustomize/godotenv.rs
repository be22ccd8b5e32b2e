//! Values of dotenv files as godotenv reads them, which KSOPS does: quotes and comments are taken off, escapes mean what
//! they stand for. Variables, which godotenv replaces and so changes passwords with a `$`, stay as they are.

use selkie::secret::SecretBytes;

/// Returns the key of a line.
pub(super) fn key(key: &str) -> &str {
    key.trim().strip_prefix("export ").unwrap_or(key).trim()
}

/// Returns the value of a line.
pub(super) fn value(written: &[u8]) -> SecretBytes {
    let text = written.trim_ascii();
    let quote = text.first().copied().filter(|first| matches!(first, b'"' | b'\''));
    match quote.and_then(|quote| Some((quote, closing(text, quote)?))) {
        Some((b'"', end)) => unescaped(&text[1..end]),
        Some((_, end)) => text[1..end].into(),
        None => without_dollar_escapes(without_comment(text)),
    }
}

/// Returns where the quote ends that a text starts with.
fn closing(text: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            byte if byte == quote => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn without_comment(text: &[u8]) -> &[u8] {
    let comment = (1..text.len()).find(|&at| text[at] == b'#' && text[at - 1].is_ascii_whitespace());
    text[..comment.unwrap_or(text.len())].trim_ascii_end()
}

fn unescaped(text: &[u8]) -> SecretBytes {
    let mut value = SecretBytes::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        let next = if byte == b'\\' { bytes.next() } else { None };
        value.push(match next {
            None => byte,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(other) => other,
        });
    }
    value
}

fn without_dollar_escapes(text: &[u8]) -> SecretBytes {
    let mut value = SecretBytes::with_capacity(text.len());
    for (at, &byte) in text.iter().enumerate() {
        if !(byte == b'\\' && text.get(at + 1) == Some(&b'$')) {
            value.push(byte);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_godotenv_reads_without_variables() {
        for (written, expected) in [
            ("a", "a"),
            (" a b ", "a b"),
            ("\"a b\"", "a b"),
            ("'a b'", "a b"),
            (r#""a\nb\"c\\""#, "a\nb\"c\\"),
            (r"'a\nb'", r"a\nb"),
            ("a # comment", "a"),
            ("a#b", "a#b"),
            ("\"a # b\" # c", "a # b"),
            ("$HOME${x}", "$HOME${x}"),
            ("\"$HOME\"", "$HOME"),
            (r"a\$b", "a$b"),
            (r#""a\$b""#, "a$b"),
            ("", ""),
            ("\"", "\""),
        ] {
            assert_eq!(value(written.as_bytes()).expose_secret(), expected.as_bytes(), "{written}");
        }
        assert_eq!((key("export A"), key(" A "), key("exported")), ("A", "A", "exported"));
    }
}

//! How texts are spelled such that they are read as themselves.
//!
//! What sops would write is tried first. Where it would be read as something else, other quotes are tried,
//! and what no quotes can hold is refused.

use super::scan::{BACKQUOTE, Piece, TRIPLE, pieces, value};
use super::unsupported;
use crate::format::WriteError;
use crate::secret::SecretBytes;

/// Where a value is written.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    /// The quotes to try first; empty for none.
    pub quote: &'static str,
    /// Whether a comment follows on the line.
    pub is_commented: bool,
}

/// Appends a value in the quotes that it had, if they can hold it, or in others.
///
/// # Errors
/// If none can.
pub(super) fn append_value(text: &[u8], position: Position, out: &mut SecretBytes) -> Result<(), WriteError> {
    let text = std::str::from_utf8(text).map_err(|_| unsupported(ENCODING))?;
    let start = out.len();
    // Most values need no quotes, and a look tells.
    let is_plain = !text.contains(['\n', '`', '#', ';', '\\', '"', '\'']) && text.trim() == text;
    if is_plain && position.quote.is_empty() {
        out.push_str(text);
        return Ok(());
    }
    let behind = if position.is_commented { " ;\n" } else { "\n" };
    let had = (!position.quote.is_empty()).then_some(position.quote);
    for quote in had.into_iter().chain([usual_quote(text), "", BACKQUOTE, TRIPLE, "\"", "'"]) {
        [quote, text, quote, behind].into_iter().for_each(|part| out.push_str(part));
        let written = std::str::from_utf8(&out.expose_secret()[start..]).expect("parts of texts are one");
        let is_faithful = value(written, 0).is_ok_and(|value| {
            value.end == written.len()
                && value.inline.is_some() == position.is_commented
                && value.text(written) == text.as_bytes()
        });
        if is_faithful {
            out.truncate(out.len() - behind.len());
            return Ok(());
        }
        out.truncate(start);
    }
    Err(unsupported("a text that would be read as another in all quotes there are"))
}

/// Returns a key in the quotes that it needs.
///
/// # Errors
/// If it would be read as another in all there are.
pub(super) fn quoted_key(key: &[u8]) -> Result<String, WriteError> {
    let key = std::str::from_utf8(key).map_err(|_| unsupported(ENCODING))?;
    let usual = match key {
        _ if key.contains(['"', '=', ':']) => BACKQUOTE,
        _ if key.contains('`') => TRIPLE,
        _ => "",
    };
    let candidates = [usual, "", BACKQUOTE, TRIPLE, "\""].into_iter();
    let mut candidates = candidates.map(|quote| [quote, key, quote].concat());
    let faithful = candidates.find(|written| {
        let line = [written, "=\n"].concat();
        matches!(
            pieces(&line).as_deref(),
            Ok([Piece::Entry(entry)]) if entry.number.is_none() && line[entry.key.clone()] == *key
        )
    });
    faithful.ok_or_else(|| unsupported("a key that would be read as another in all quotes there are"))
}

/// Checks the name of a section.
///
/// # Errors
/// If it would be read as another.
pub(super) fn section_name(name: &[u8]) -> Result<&str, WriteError> {
    let name = std::str::from_utf8(name).map_err(|_| unsupported(ENCODING))?;
    if name.is_empty() || name.contains('\n') {
        return Err(unsupported("a section whose name is empty or has a line break"));
    }
    Ok(name)
}

/// Returns the quotes that sops puts around a value.
fn usual_quote(text: &str) -> &'static str {
    if text.contains(['\n', '`']) {
        TRIPLE
    } else if text.contains(['#', ';']) {
        BACKQUOTE
    } else if text.trim() != text {
        "\""
    } else {
        ""
    }
}

const ENCODING: &str = "a text that is not UTF-8";

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str, quote: &'static str, is_commented: bool) -> Option<String> {
        let mut out = SecretBytes::from("k = ");
        append_value(text.as_bytes(), Position { quote, is_commented }, &mut out).ok()?;
        Some(String::from_utf8_lossy(&out.expose_secret()[4..]).into_owned())
    }

    #[test]
    fn a_value_has_the_quotes_that_it_needs() {
        for (text, written) in [
            ("", ""),
            ("a b", "a b"),
            ("a;b", "`a;b`"),
            (" a", "\" a\""),
            ("a\nb", "\"\"\"a\nb\"\"\""),
            ("a`b", "\"\"\"a`b\"\"\""),
            ("a\"b", "a\"b"),
            ("\"a\"", "`\"a\"`"),
            ("'a'", "`'a'`"),
            ("a\\", "`a\\`"),
            (" a\"b", "` a\"b`"),
            ("\"\"\"", "`\"\"\"`"),
            ("a\"\"\"\nb", "`a\"\"\"\nb`"),
            ("a\r", "\"a\r\""),
        ] {
            assert_eq!(spelled(text, "", false).as_deref(), Some(written));
        }
        assert_eq!(spelled("`\"\"\"\n", "", false), None);
    }

    #[test]
    fn quotes_stay_if_they_can() {
        assert_eq!(spelled("x", "'", false).as_deref(), Some("'x'"));
        assert_eq!(spelled("it's", "'", true).as_deref(), Some("it's"));
        assert_eq!(spelled("x;y", "\"", false).as_deref(), Some("`x;y`"));
        assert_eq!(spelled("=`", "", true).as_deref(), Some("=`"));
        assert_eq!(spelled("x;y", "", true), None);
    }

    #[test]
    fn a_key_has_the_quotes_that_it_needs() {
        for (key, written) in [
            ("a b", Some("a b")),
            ("a=b", Some("`a=b`")),
            ("a\"", Some("`a\"`")),
            ("a`b", Some("\"\"\"a`b\"\"\"")),
            ("#1", Some("`#1`")),
            ("[x", Some("`[x`")),
            ("=`", Some("\"\"\"=`\"\"\"")),
            ("-", None),
            (" a", None),
            ("", None),
        ] {
            assert_eq!(quoted_key(key.as_bytes()).ok().as_deref(), written, "{key}");
        }
    }
}

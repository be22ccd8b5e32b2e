//! What findings tell of names and keys: they may hold secrets, too.

use std::borrow::Cow;
use std::ops::Range;

use crate::check::rules::provider_token;

/// Returns a text that may be shown: without tokens and keys, without what stands before the host of an address, and
/// without what actions of templates say. `line` takes the place of what is cut out of pointers, so that they differ.
pub(super) fn shown(text: String, line: Option<usize>) -> String {
    let mut cuts: Vec<_> =
        provider_token::find(text.as_bytes()).0.into_iter().map(|(span, _)| span).collect();
    cuts.extend(keys(&text));
    cuts.extend(users(&text));
    cuts.extend(actions(&text));
    if cuts.is_empty() {
        return text;
    }
    cuts.sort_by_key(|cut| (cut.start, cut.end));
    let mark = line.map_or(Cow::Borrowed("…"), |line| Cow::Owned(format!("…{line}")));
    let (mut short, mut from) = (String::with_capacity(text.len()), 0);
    for cut in cuts {
        if cut.start >= from {
            short.push_str(text.get(from..cut.start).unwrap_or_default());
            short.push_str(&mark);
        }
        from = from.max(cut.end);
    }
    short.push_str(text.get(from..).unwrap_or_default());
    short
}

/// Returns where private keys are, each to the end of its word or of the text.
fn keys(text: &str) -> Vec<Range<usize>> {
    let marks = ["AGE-SECRET-KEY-", "PRIVATE KEY-----"];
    let first = marks.iter().filter_map(|mark| text.find(mark)).min();
    first.map(|start| start..text.len()).into_iter().collect()
}

/// Returns where the names and passwords of users are in addresses.
fn users(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // In pointers, `/` is written `~1`.
    for mark in ["://", ":~1~1"] {
        let mut from = 0;
        while let Some(start) = text[from..].find(mark).map(|at| from + at + mark.len()) {
            let is_end = |letter: char| {
                letter.is_whitespace()
                    || matches!(letter, '"' | '`' | '\'')
                    || (letter == '/' && mark != "://")
            };
            let end = text[start..].find(is_end).map_or(text.len(), |length| start + length);
            if let Some(length) = text[start..end].rfind('@') {
                found.push(start..start + length);
            }
            from = end;
        }
    }
    found
}

/// Returns where actions of templates are, without their braces.
fn actions(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(start) = text[from..].find("{{").map(|at| from + at + 2) {
        let end = text[start..].find("}}").map_or(text.len(), |length| start + length);
        if start < end && &text[start..end] != "…" {
            found.push(start..end);
        }
        from = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_names_are_not_shown() {
        let token = concat!("gh", "p_", "0123456789abcdefghijABCDEFGHIJ1n4Hu7");
        for (text, wanted) in [
            ("/auths/https:~1~1bot:hunter2@r.example.org/auth", "/auths/https:~1~1…7@r.example.org/auth"),
            ("/auths/https:~1~1bot:a~1b@r/auth", "/auths/https:~1~1…7@r/auth"),
            ("/data/{{ \"hunter2\" }}", "/data/{{…7}}"),
            ("/data/{{ \"hunter2", "/data/{{…7"),
            ("/data/AGE-SECRET-KEY-1ABC", "/data/…7"),
            ("/data/a~1b", "/data/a~1b"),
            ("/data/a@b", "/data/a@b"),
        ] {
            assert_eq!(shown(text.to_owned(), Some(7)), wanted);
        }
        let message = shown("\"https://u:hunter2@h/x\" of data, see https://h/x".to_owned(), None);
        assert_eq!(message, "\"https://…@h/x\" of data, see https://h/x");
        let hidden = shown(format!("/data/{token}/x"), None);
        assert!(provider_token::find(token.as_bytes()).0.is_empty() || !hidden.contains(token), "{hidden}");
    }

    #[test]
    fn long_texts_take_linear_time() {
        for text in ["://", "://@", "{{", "{{}}", ":~1~1@/"] {
            let _ = shown(text.repeat(100_000), Some(1));
        }
    }
}

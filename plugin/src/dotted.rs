//! Paths as people write them: `data.password`, `data["tls.crt"]` or `data.tls\.crt`, `items[0].name`. What
//! starts with a bracket is a path of sops, `["data"]["password"]`, as it is.
//!
//! Invariant: what is shown reads back as the same path.

use selkie::tree::{PathError, Step, TreePath};

use crate::failure::Failure;

/// Reads a path.
///
/// # Errors
/// If the text is not one.
pub fn parse(text: &str) -> Result<TreePath, Failure> {
    let malformed = |source| Failure::Path { text: text.to_owned(), source };
    if text.starts_with('[') {
        return TreePath::parse(text).map_err(malformed);
    }
    parse_dotted(text.strip_prefix('.').unwrap_or(text)).map_err(malformed)
}

/// Returns a path as people write it.
#[must_use]
pub fn show(path: &TreePath) -> String {
    let mut shown = String::new();
    for step in path.steps() {
        match step {
            Step::Index(index) => shown.push_str(&format!("[{index}]")),
            Step::Key(key) if is_simple(key) => {
                if !shown.is_empty() {
                    shown.push('.');
                }
                shown.push_str(key);
            }
            // A bracket in front makes it a path of sops, which has no dots.
            Step::Key(_) if shown.is_empty() => return path.to_string(),
            Step::Key(key) => shown.push_str(&format!("[\"{key}\"]")),
        }
    }
    let starts_as_it_reads = matches!(path.steps().first(), None | Some(Step::Key(_)));
    if starts_as_it_reads { shown } else { path.to_string() }
}

fn parse_dotted(text: &str) -> Result<TreePath, PathError> {
    let mut path = TreePath::new();
    let mut rest = text;
    while !rest.is_empty() {
        if rest.starts_with('[') {
            let end = closing(rest).ok_or_else(|| PathError::Bracket(rest.to_owned()))?;
            let inner = TreePath::parse(&rest[..end])?;
            inner.steps().iter().for_each(|step| path.push(step.clone()));
            rest = &rest[end..];
        } else {
            let (key, end) = simple_key(rest);
            if end == 0 {
                return Err(PathError::Component(rest.to_owned()));
            }
            path.push(Step::Key(key));
            rest = &rest[end..];
        }
        rest = match rest.strip_prefix('.') {
            Some("") => return Err(PathError::Component(".".to_owned())),
            Some(behind) => behind,
            None => rest,
        };
    }
    Ok(path)
}

/// Returns the key that a text starts with, and where it ends: before a dot or a bracket, unless a backslash
/// stands in front of that.
fn simple_key(text: &str) -> (String, usize) {
    let mut key = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '.' | '[' => return (key, at),
            '\\' => {
                let escaped = characters.next_if(|(_, next)| ['.', '[', '\\'].contains(next));
                key.push(escaped.map_or('\\', |(_, next)| next));
            }
            other => key.push(other),
        }
    }
    (key, text.len())
}

/// Returns where the bracket that a text starts with ends.
fn closing(text: &str) -> Option<usize> {
    let quote = text[1..].chars().next().filter(|char| ['"', '\''].contains(char));
    match quote {
        None => text.find(']').map(|at| at + 1),
        Some(quote) => {
            let end = format!("{quote}]");
            text[2..].find(&end).map(|at| at + 2 + end.len())
        }
    }
}

fn is_simple(key: &str) -> bool {
    !key.is_empty() && !key.contains(['.', '[', ']', '"', '\'', '\\']) && !key.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sops(text: &str) -> String {
        parse(text).expect(text).to_string()
    }

    #[test]
    fn paths_of_people_and_of_sops_are_read() {
        assert_eq!(sops("data.password"), r#"["data"]["password"]"#);
        assert_eq!(sops(".data"), r#"["data"]"#);
        assert_eq!(sops(r#"data["tls.crt"]"#), r#"["data"]["tls.crt"]"#);
        assert_eq!(sops("data['tls.crt'].x"), r#"["data"]["tls.crt"]["x"]"#);
        assert_eq!(sops("items[0].name"), r#"["items"][0]["name"]"#);
        assert_eq!(sops(r"data.tls\.crt"), r#"["data"]["tls.crt"]"#);
        assert_eq!(sops(r"\[a\\.b\c"), r#"["[a\"]["b\c"]"#);
        assert_eq!(sops("a[0][1]"), r#"["a"][0][1]"#);
        assert_eq!(sops(r#"["a"]["b.c"]"#), r#"["a"]["b.c"]"#);
        assert_eq!(sops(""), "");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["a.", "a..b", "a[", "a[b]", "a[\"b]", "[a"] {
            assert!(matches!(parse(text), Err(Failure::Path { .. })), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(steps in prop::collection::vec(prop_oneof![
            r"[a-z_./ \\]{1,4}".prop_map(Step::Key),
            (0usize..20).prop_map(Step::Index),
        ], 0..5)) {
            let path: TreePath = steps.into_iter().collect();
            prop_assert_eq!(parse(&show(&path)).expect("it is a path"), path);
        }
    }
}

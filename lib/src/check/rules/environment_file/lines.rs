//! Lines that give names values: `NAME=value` of environments, properties and INI files, `name: value`, `"name": "value",`.

use std::ops::Range;

/// A line that gives a name a value.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::check::rules) struct Assignment<'a> {
    /// The name.
    pub name: &'a str,
    /// The value, without quotes and comments.
    pub value: &'a str,
    /// Where the value is.
    pub span: Range<usize>,
    /// Whether it is in quotes.
    pub is_quoted: bool,
}

/// Returns the lines of a text that give names values.
pub(in crate::check::rules) fn assignments(text: &str) -> impl Iterator<Item = Assignment<'_>> {
    let mut at = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        assignment(line.trim_end(), start)
    })
}

/// Returns what a line gives a value; `start` is where the line is.
fn assignment(line: &str, start: usize) -> Option<Assignment<'_>> {
    let mut rest = line.trim_start();
    if rest.starts_with(['#', ';', '!']) || (rest.starts_with("//") && !rest.contains("/:_")) {
        return None;
    }
    for word in ["export ", "set ", "- "] {
        rest = rest.strip_prefix(word).map_or(rest, str::trim_start);
    }
    let (name, rest) = match rest.chars().next()? {
        quote @ ('"' | '\'') => {
            let (name, rest) = rest[1..].split_once(quote)?;
            (name, rest.trim_start().strip_prefix(['=', ':'])?)
        }
        // The names of npm are those of places, with a colon: `//registry.example.org/:_authToken=…`.
        '/' => rest.split_once('=')?,
        _ => rest.split_once(['=', ':'])?,
    };
    let name = name.trim();
    let is_name = |letter: char| letter.is_alphanumeric() || "_.-/:[]".contains(letter);
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let rest = rest.trim_start();
    let at = start + (line.len() - rest.len());
    if let Some(quote) = rest.chars().next().filter(|letter| matches!(letter, '"' | '\'')) {
        let inner = &rest[1..];
        let end = closing(inner, quote).unwrap_or(inner.len());
        let span = at + 1..at + 1 + end;
        return Some(Assignment { name, value: &inner[..end], span, is_quoted: true });
    }
    let comment = [" #", "\t#", " ;"].iter().filter_map(|mark| rest.find(mark)).min();
    let value = rest[..comment.unwrap_or(rest.len())].trim_end().trim_end_matches(',');
    Some(Assignment { name, value, span: at..at + value.len(), is_quoted: false })
}

/// Returns where a text in quotes ends.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let ends = letter == quote && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped && quote == '"';
        ends.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_give_names_values() {
        let text = "# A=b\nexport A='b # c' # d\nB = c # d\n  \"d\": \"e\\\"f\",\n[section]\ng: h\r\n\
                    //reg.example.org/:_authToken=t\nif [ \"$X\" = y ]; then\ne=\n";
        let found: Vec<_> =
            assignments(text).map(|found| (found.name, found.value, &text[found.span])).collect();
        let wanted = [
            ("A", "b # c", "b # c"),
            ("B", "c", "c"),
            ("d", "e\\\"f", "e\\\"f"),
            ("g", "h", "h"),
            ("//reg.example.org/:_authToken", "t", "t"),
            ("e", "", ""),
        ];
        assert_eq!(found, wanted);
    }
}

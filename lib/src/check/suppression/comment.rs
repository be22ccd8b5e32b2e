//! Where a file has comments that begin with `seal:allow`.
//!
//! What stands between quotes over several lines is a value, too: see `quotes`.
//!
//! In YAML, the parser says what is a comment: what only looks like one in a block of lines or between quotes is a
//! value. JSON has none. In other files, a comment stands behind a sign of comments that begins the line, or follows a
//! blank with all quotes closed before it.

mod quotes;

use std::ops::Range;

use granit_parser::{Event, Parser};
use memchr::memmem;

use super::directive::MARK;
use crate::check::file::File;
use crate::check::template;

/// A comment that allows something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comment {
    /// What it says, from its mark on.
    pub text: Range<usize>,
    /// Where it ends, with the sign of its end.
    pub end: usize,
    /// Whether it has its lines for itself.
    pub is_alone: bool,
}

/// Where the keys of values are.
#[derive(Default)]
pub(super) struct KeyLines {
    /// The scalars, in order.
    scalars: Vec<Scalar>,
}

/// A scalar of a document.
pub(super) struct Scalar {
    /// Its bytes, with its key.
    written: Range<usize>,
    /// Its bytes without.
    value: Range<usize>,
    /// The byte where its key begins.
    pub key: usize,
}

impl Scalar {
    /// Returns whether some bytes are all of its value, blanks and signs around it aside.
    pub(super) fn is_covered_by(&self, text: &str, span: &Range<usize>) -> bool {
        let is_free = |bytes: Range<usize>| {
            let says = |letter: char| letter.is_alphanumeric();
            bytes.is_empty() || text.get(bytes).is_some_and(|text| !text.contains(says))
        };
        is_free(self.value.start..span.start) && is_free(span.end..self.value.end)
    }
}

/// Returns the comments that begin with the mark, in order.
pub(super) fn comments(file: &File<'_>) -> Vec<Comment> {
    let text = file.text();
    if memmem::find(text.as_bytes(), MARK.as_bytes()).is_none() {
        return Vec::new();
    }
    if !file.is_structured() {
        return other(file.name(), text);
    }
    if text.trim_start().starts_with(['{', '[']) && !text.trim_start().starts_with("{{") {
        return Vec::new();
    }
    yaml(file)
}

/// Returns where the keys of a file's values are.
pub(super) fn key_lines(file: &File<'_>) -> KeyLines {
    if !file.is_structured() {
        return KeyLines::default();
    }
    let mut scalars: Vec<_> = file
        .outline()
        .nodes()
        .filter(|entry| entry.text().is_some())
        .map(|entry| {
            let (written, key) = (entry.written_span(), entry.key_span());
            // What an alias stands for is elsewhere.
            let value = if entry.is_alias() { key.end..written.end } else { entry.span() };
            Scalar { written, value, key: key.start }
        })
        .collect();
    scalars.sort_by_key(|scalar| scalar.written.start);
    KeyLines { scalars }
}

impl KeyLines {
    /// Returns the value that a byte is in, or in the key of.
    pub(super) fn around(&self, at: usize) -> Option<&Scalar> {
        let before = self.scalars.partition_point(|scalar| scalar.written.start <= at).checked_sub(1)?;
        Some(&self.scalars[before]).filter(|scalar| at < scalar.written.end)
    }
}

fn yaml(file: &File<'_>) -> Vec<Comment> {
    let text = file.text();
    let masked = template::mask(text);
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for document in file.outline().documents() {
        if document.error.is_some() {
            unread.push(document.span.clone());
        }
        let source = masked.text.get(document.span.clone()).unwrap_or_default();
        if document.error.is_none() && source.contains(MARK) {
            found.extend(of_document(text, source, document.span.start));
        }
    }
    // `{{/* … */}}` of templates, but for those in a value, and where nobody knows what a value is.
    let keys = key_lines(file);
    for action in &masked.actions {
        let Some(opener) = text[action.clone()].find("/*").filter(|at| *at <= 4) else { continue };
        let inner = action.start + opener + 2..action.end;
        let inner = inner.start..text[inner.clone()].rfind("*/").map_or(inner.end, |at| inner.start + at);
        let blanks = text[inner.clone()].len() - text[inner.clone()].trim_start().len();
        let begins = text[inner.start + blanks..inner.end].starts_with(MARK);
        let behind = unread.partition_point(|span| span.start <= action.start);
        let is_unread = behind.checked_sub(1).is_some_and(|at| action.start < unread[at].end);
        if begins && !is_unread && keys.around(action.start).is_none() {
            let is_alone = is_alone(text, action);
            found.push(Comment { text: inner.start + blanks..inner.end, end: action.end, is_alone });
        }
    }
    found.sort_by_key(|comment| comment.text.start);
    found
}

/// Returns the comments of a document that can be read; nothing if the parser thinks otherwise.
fn of_document(text: &str, source: &str, base: usize) -> Vec<Comment> {
    let options = granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        emit_comments: true,
    };
    let mut found = Vec::new();
    for event in Parser::new_from_str_with_options(source, options) {
        let Ok((event, span)) = event else { return Vec::new() };
        let Event::Comment(said, _) = event else { continue };
        let (Some(start), Some(end)) = (span.start.byte_offset(), span.end.byte_offset()) else { continue };
        let blanks = said.len() - said.trim_start().len();
        if said.trim_start().starts_with(MARK) {
            let whole = base + start..base + end;
            let is_alone = is_alone(text, &whole);
            found.push(Comment { text: whole.start + 1 + blanks..whole.end, end: whole.end, is_alone });
        }
    }
    found
}

fn other(name: &str, text: &str) -> Vec<Comment> {
    let openers = openers(name);
    let quoted = quotes::quoted(name, text, openers);
    // Where the value ends that a byte is in.
    let quoted_until = |at: usize| {
        let before = quoted.partition_point(|span| span.start <= at).checked_sub(1)?;
        Some(quoted[before].end).filter(|end| at < *end)
    };
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive(['\n', '\r']) {
        let value = quoted_until(start).map_or(0, |end| end - start);
        if let Some(comment) = of_line(line, value, openers)
            && quoted_until(start + comment.text.start).is_none()
        {
            let text = start + comment.text.start..start + comment.text.end;
            found.push(Comment { text, end: start + comment.end, is_alone: comment.is_alone });
        }
        start += line.len();
    }
    found
}

/// Returns the comment of a line; `value` is how many bytes of it end a value that begins before it.
fn of_line(line: &str, value: usize, openers: &[&str]) -> Option<Comment> {
    let (mut quotes, mut counted) = ([0_usize; 3], value);
    for at in memmem::find_iter(line.as_bytes(), MARK.as_bytes()) {
        let before = line[..at].trim_end();
        let Some(opener) = openers.iter().find(|opener| before.ends_with(**opener)) else { continue };
        let before = &before[..before.len() - opener.len()];
        // Each byte is counted once, however many marks there are.
        for byte in before.as_bytes().get(counted..).unwrap_or_default() {
            if let Some(quote) = b"\"'`".iter().position(|quote| quote == byte) {
                quotes[quote] += 1;
            }
        }
        counted = counted.max(before.len());
        let is_alone = matches!(before.trim(), "" | "{{" | "{{-");
        let is_open = quotes.iter().any(|count| count % 2 == 1);
        if !is_alone && (is_open || !before.ends_with(char::is_whitespace)) {
            continue;
        }
        let rest = line[at..].trim_end();
        let closer = match *opener {
            "/*" => rest.find("*/"),
            "<!--" => rest.find("-->"),
            _ => None,
        };
        let end = at + rest.len();
        return Some(Comment { text: at..closer.map_or(end, |closer| at + closer), end, is_alone });
    }
    None
}

/// Returns whether nothing else stands in the lines of some bytes.
fn is_alone(text: &str, bytes: &Range<usize>) -> bool {
    let line_start = text[..bytes.start].rfind(['\n', '\r']).map_or(0, |at| at + 1);
    let line_end = text[bytes.end..].find(['\n', '\r']).map_or(text.len(), |at| bytes.end + at);
    text[line_start..bytes.start].trim().is_empty() && text[bytes.end..line_end].trim().is_empty()
}

/// Returns the signs of comments in a file that is called so.
fn openers(name: &str) -> &'static [&'static str] {
    let name = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if name.starts_with(".env") || ends(&[".env", ".ini", ".cfg", ".conf", ".properties", ".toml", ".tfvars"])
    {
        return &["#", ";"];
    }
    if ends(&[".md", ".markdown", ".html", ".xml"]) {
        // Blocks of code in Markdown are often of a shell.
        return &["<!--", "#"];
    }
    &["#", "//", "--", ";", "<!--", "/*"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Content, Mode};

    fn found(path: &str, text: &str) -> Vec<String> {
        let content = Content::Text(text.into());
        let file = File::new(path, text.as_bytes(), &content, Mode::File);
        let show = |comment: Comment| {
            let alone = if comment.is_alone { " alone" } else { "" };
            format!("{} {}{alone}", file.line_of(comment.text.start), &text[comment.text])
        };
        comments(&file).into_iter().map(show).collect()
    }

    #[test]
    fn yaml_has_comments_where_its_parser_sees_them() {
        let text = "# seal:allow A\na: b # seal:allow B\nc: |\n  x\n  # seal:allow no\n# seal:allow C\nd: 'y\n  # seal:allow no'\n\
                    e: x# seal:allow no\nf: >-\n  z\n  # seal:allow no\n  # seal:allow D\ng: [ # seal:allow E\n]\n---\n# seal:allow F\nh: i\n";
        let wanted = [
            "1 seal:allow A alone",
            "2 seal:allow B",
            "6 seal:allow C alone",
            "14 seal:allow E",
            "17 seal:allow F alone",
        ];
        assert_eq!(found("a.yaml", text), wanted);
        assert_eq!(found("a.yml", &text.replace('\n', "\r\n")).len(), 5);
    }

    #[test]
    fn templates_have_comments_of_their_own() {
        let text = "{{- /* seal:allow A */}}\na: {{ .b }} # seal:allow B\nc: |\n  x\n  {{/* seal:allow no */}}\n\
                    d: e {{/* seal:allow no */}}\n# seal:allow C\n";
        let wanted = ["1 seal:allow A  alone", "2 seal:allow B", "7 seal:allow C alone"];
        assert_eq!(found("a.yaml", text), wanted);
        assert!(found("a.yaml", "a: [\n{{/* seal:allow no */}}\nb").is_empty());
    }

    #[test]
    fn json_and_documents_that_cannot_be_read_have_none() {
        assert!(found("a.json", "{\"a\": \"# seal:allow no\"}\n").is_empty());
        assert!(found("a.json", "{\n# seal:allow no\n\"a\": 1}\n").is_empty());
        assert!(found("a.yaml", "a: [\n# seal:allow no\n").is_empty());
    }

    #[test]
    fn values_of_several_lines_have_none() {
        let text = "A='it' # seal:allow A\nDB=\"a\n# seal:allow no\npostgres://x\"\n# don't=\"\nB=don't\n# seal:allow B\nC='open\n# seal:allow C\n";
        for path in ["a.env", ".env.production"] {
            let wanted = ["1 seal:allow A", "7 seal:allow B alone", "9 seal:allow C alone"];
            assert_eq!(found(path, text), wanted, "{path}");
        }
        assert_eq!(
            found("a.toml", "a = '''\n# seal:allow no'''\nb = 'x' # seal:allow B\n"),
            ["3 seal:allow B"]
        );
        assert_eq!(
            found("a.js", "x = `\n// seal:allow no\n`; // seal:allow A\ny = '\n// seal:allow B\n"),
            ["3 seal:allow A", "5 seal:allow B alone"]
        );
        let text = "psql \"a\n# seal:allow no\nb\" '\\'\necho '\n# seal:allow no' \\\"\n# seal:allow B\n";
        assert_eq!(found("a.sh", text), ["6 seal:allow B alone"]);
        let many = "A=\"\nB='\n".repeat(50_000) + "# seal:allow A\n";
        assert!(found("a.env", &many).len() < 2);
    }

    #[test]
    fn a_carriage_return_ends_a_line() {
        assert_eq!(found("a.env", "A=b # seal:allow A\rB=c # seal:allow B\r").len(), 2);
        assert_eq!(found("a.yaml", "a: b # seal:allow A\rc: d\r"), ["1 seal:allow A"]);
    }

    #[test]
    fn other_files_have_them_behind_their_signs() {
        assert_eq!(
            found("a.env", "A=b # seal:allow A\nB=\"x # seal:allow no\"\nC=x#seal:allow no\n"),
            ["1 seal:allow A"]
        );
        assert_eq!(found("a.env", "; seal:allow A\nA=http // seal:allow no\n"), ["1 seal:allow A alone"]);
        assert_eq!(
            found("a.go", "x := 1 // seal:allow A\n\t// seal:allow B\n"),
            ["1 seal:allow A", "2 seal:allow B alone"]
        );
        assert_eq!(found("a.sql", "-- seal:allow A\n"), ["1 seal:allow A alone"]);
        assert_eq!(found("a.md", "<!-- seal:allow A -->\n"), ["1 seal:allow A  alone"]);
        assert_eq!(found("_a.tpl", "{{- /* seal:allow A */ -}}\n"), ["1 seal:allow A  alone"]);
        assert_eq!(found("a.sh", "echo 'x' # not seal:allow\n"), Vec::<String>::new());
    }
}

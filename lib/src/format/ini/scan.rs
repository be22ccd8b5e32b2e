//! The syntax of INI, as go-ini has it with the options that sops sets: which bytes are a section's name, a
//! key, a value or a comment.
//!
//! What go-ini drops without a word is refused, with its line: in a document that is encrypted in place it
//! would stay in clear.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::super::ParseErrorKind;
use crate::secret::SecretBytes;

/// One or more lines that mean one thing.
pub(super) enum Piece {
    /// Lines of comments and blank lines between them, from the first marker to the end of the last line.
    Comments(Range<usize>),
    /// A key and its value.
    Entry(Entry),
    /// The start of a section.
    Header(Header),
}

/// The start of a section.
pub(super) struct Header {
    /// Where the opening bracket is.
    pub start: usize,
    /// What is between the brackets.
    pub name: Range<usize>,
    /// The comment behind the name.
    pub inline: Option<Range<usize>>,
    /// One past the line.
    pub end: usize,
}

/// A key and its value.
pub(super) struct Entry {
    /// Where the key is, with its quotes.
    pub start: usize,
    /// The key, without its quotes.
    pub key: Range<usize>,
    /// How many `-` there were in the section, if the key is one; such keys are numbered.
    pub number: Option<usize>,
    /// Where the delimiter is.
    pub delimiter: usize,
    /// Whether the key is given several times in a row.
    pub is_repeated: bool,
    /// The value.
    pub value: Value,
}

/// What stands behind a delimiter.
pub(super) struct Value {
    /// Where the value is, with its quotes. If the key is given several times in a row, from the first value
    /// to the last.
    pub token: Range<usize>,
    /// What the value says.
    pub text: Text,
    /// The quotes, if there are some.
    pub quote: &'static str,
    /// The comment behind the value.
    pub inline: Option<Range<usize>>,
    /// One past the last line that belongs to the value.
    pub end: usize,
}

/// A text, in the source or put together from it.
pub(super) enum Text {
    Joined(SecretBytes),
    Verbatim(Range<usize>),
}

/// What is wrong, and where.
pub(super) struct Problem {
    pub at: usize,
    pub kind: ParseErrorKind,
}

impl Entry {
    /// Returns the key as sops has it.
    pub(super) fn name<'a>(&self, source: &'a str) -> Cow<'a, str> {
        match self.number {
            Some(number) => Cow::Owned(format!("#{number}")),
            None => Cow::Borrowed(&source[self.key.clone()]),
        }
    }
}

impl Value {
    /// Returns what the value says.
    pub(super) fn text<'a>(&'a self, source: &'a str) -> &'a [u8] {
        match &self.text {
            Text::Joined(text) => text.expose_secret(),
            Text::Verbatim(range) => &source.as_bytes()[range.clone()],
        }
    }
}

/// Divides a source.
///
/// # Errors
/// If it is not INI, or has something that sops would drop.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece>, Problem> {
    let mut pieces = Vec::new();
    let mut keys = HashSet::new();
    let mut numbered = 0;
    let mut position = first_byte(source);
    while let Some(start) = next_content(source, position) {
        match source.as_bytes()[start] {
            b'#' | b';' => {
                position = line_end(source, start);
                match pieces.last_mut() {
                    Some(Piece::Comments(block)) => block.end = position,
                    _ => pieces.push(Piece::Comments(start..position)),
                }
            }
            b'[' => {
                let header = header(source, start)?;
                position = header.end;
                keys.clear();
                numbered = 0;
                pieces.push(Piece::Header(header));
            }
            _ => {
                let mut entry = entry(source, start)?;
                if &source[entry.key.clone()] == NUMBERED {
                    numbered += 1;
                    entry.number = Some(numbered);
                }
                // The comment above the first of several values would be lost.
                let is_commented = entry.is_repeated && matches!(pieces.last(), Some(Piece::Comments(_)));
                if !keys.insert(entry.name(source)) || is_commented {
                    return Err(duplicate(source, &entry));
                }
                position = entry.value.end;
                pieces.push(Piece::Entry(entry));
            }
        }
    }
    Ok(pieces)
}

/// Reads the key at `start`, and the value of it that counts: the last one, if the key is given several times
/// in a row.
pub(super) fn entry(source: &str, start: usize) -> Result<Entry, Problem> {
    let mut entry = single_entry(source, start)?;
    while let Some(next) = next_content(source, entry.value.end) {
        let is_same = !matches!(source.as_bytes()[next], b'#' | b';' | b'[')
            && &source[entry.key.clone()] != NUMBERED
            && key(source, next).is_ok_and(|(other, _)| source[other] == source[entry.key.clone()]);
        if !is_same {
            break;
        }
        let last = single_entry(source, next)?;
        // The value before goes with the last one: encrypted with it, or in clear with it. An empty text is
        // never encrypted, and a comment may be where the value is not.
        if last.value.text(source).is_empty() || entry.value.inline.is_some() {
            return Err(duplicate(source, &last));
        }
        let token = entry.value.token.start..last.value.token.end;
        entry.is_repeated = true;
        entry.value = Value { token, quote: "", ..last.value };
    }
    Ok(entry)
}

/// Reads what stands behind a delimiter, over as many lines as it takes.
pub(super) fn value(source: &str, start: usize) -> Result<Value, Problem> {
    let end = line_end(source, start);
    let line = source[start..end].trim_start();
    let first = end - line.len();
    if line.is_empty() {
        // A space behind the delimiter belongs to it.
        let at = start + usize::from(source[start..end].starts_with(' '));
        return Ok(Value { token: at..at, text: Text::Verbatim(at..at), quote: "", inline: None, end });
    }
    if line == TRIPLE {
        // A value to go-ini, but only as long as nothing is put behind it.
        return Err(syntax(first, OPEN_AT_END));
    }
    if line.starts_with(TRIPLE) {
        return quoted(source, first, TRIPLE);
    }
    if line.starts_with(BACKQUOTE) {
        return quoted(source, first, BACKQUOTE);
    }
    let line = line.trim_end();
    if line.ends_with('\\') {
        return Ok(continued(source, first));
    }
    let comment = line.find(['#', ';']);
    let inline = comment.map(|at| first + at..first + line.len());
    let text = line[..comment.unwrap_or(line.len())].trim_end();
    let mut token = first..first + text.len();
    if text.is_empty() {
        let at = start + usize::from(source[start..end].starts_with(' '));
        token = at..at;
    }
    let quote = ["'", "\""].into_iter().find(|quote| is_surrounded(text, quote)).unwrap_or_default();
    let text = token.start + quote.len()..token.end - quote.len();
    Ok(Value { token, text: Text::Verbatim(text), quote, inline, end })
}

/// Returns where the line of a byte ends, behind its line break.
pub(super) fn line_end(source: &str, position: usize) -> usize {
    source[position..].find('\n').map_or(source.len(), |at| position + at + 1)
}

/// Returns where the line of a byte starts.
pub(super) fn line_start(source: &str, position: usize) -> usize {
    source[..position].rfind('\n').map_or(first_byte(source), |at| at + 1)
}

/// Returns how many bytes of a comment are its marker, which sops strips.
pub(super) fn marker_length(comment: &str) -> usize {
    let marker = if comment.starts_with('#') { '#' } else { ';' };
    comment.len() - comment.trim_start_matches([marker, ' ']).len()
}

/// Returns where the text starts, behind a byte order mark.
pub(super) fn first_byte(source: &str) -> usize {
    if source.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 }
}

/// Returns the next byte that is no white space.
fn next_content(source: &str, position: usize) -> Option<usize> {
    let rest = source[position..].trim_start();
    (!rest.is_empty()).then(|| source.len() - rest.len())
}

fn header(source: &str, start: usize) -> Result<Header, Problem> {
    let end = line_end(source, start);
    let line = &source[start..end];
    let close = line.rfind(']').ok_or_else(|| syntax(start, "a section's name without \"]\""))?;
    if close == 1 {
        return Err(syntax(start, "a section without a name"));
    }
    let name = start + 1..start + close;
    let inline = comment_behind(source, start + close + 1, end)?;
    Ok(Header { start, name, inline, end })
}

fn single_entry(source: &str, start: usize) -> Result<Entry, Problem> {
    let (key, delimiter) = key(source, start)?;
    let value = value(source, delimiter + 1)?;
    Ok(Entry { start, key, number: None, delimiter, is_repeated: false, value })
}

/// Reads a key; returns it and where its delimiter is.
fn key(source: &str, start: usize) -> Result<(Range<usize>, usize), Problem> {
    let line = &source[start..line_end(source, start)];
    let quote = match line.as_bytes() {
        [b'"', b'"', b'"', ..] if line.len() > 2 * TRIPLE.len() => TRIPLE,
        [b'"', ..] => "\"",
        [b'`', ..] => BACKQUOTE,
        _ => "",
    };
    let close = match quote {
        "" => 0,
        quote => {
            let close = line[quote.len()..].find(quote);
            close.ok_or_else(|| syntax(start, "a key without its closing quote"))? + quote.len()
        }
    };
    let sign = line[close + quote.len()..].find(DELIMITERS).map(|at| at + close + quote.len());
    let sign = sign.ok_or_else(|| syntax(start, "a line without \"=\" or \":\""))?;
    if !quote.is_empty() && !line[close + quote.len()..sign].trim().is_empty() {
        return Err(syntax(start, "text behind the quotes of a key, which SOPS would drop"));
    }
    let name = if quote.is_empty() { &line[..sign] } else { &line[quote.len()..close] };
    let first = start + quote.len() + (name.len() - name.trim_start().len());
    let name = name.trim();
    if name.is_empty() {
        return Err(syntax(start, "a value without a key"));
    }
    Ok((first..first + name.len(), start + sign))
}

fn quoted(source: &str, start: usize, quote: &'static str) -> Result<Value, Problem> {
    let inside = start + quote.len();
    let mut from = inside;
    loop {
        let end = line_end(source, from);
        let Some(close) = source[from..end].rfind(quote).map(|at| from + at) else {
            if end == source.len() {
                return Err(syntax(start, "a value without its closing quote"));
            }
            from = end;
            continue;
        };
        let token = start..close + quote.len();
        let is_one_line = from == inside;
        let inline = comment_behind(source, token.end, end)?;
        // Behind quotes on one line go-ini sees no comment; and a backslash behind others is no end of the
        // value to some versions of it.
        if let Some(inline) = &inline
            && (is_one_line || source[inline.clone()].ends_with('\\'))
        {
            return Err(syntax(inline.start, BEHIND_QUOTES));
        }
        let text = Text::Verbatim(inside..close);
        return Ok(Value { token, text, quote: if is_one_line { quote } else { "" }, inline, end });
    }
}

/// Returns the comment behind a closing bracket or quote, if there is one.
fn comment_behind(source: &str, start: usize, end: usize) -> Result<Option<Range<usize>>, Problem> {
    let rest = source[start..end].trim_start();
    let first = end - rest.len();
    match rest.as_bytes() {
        [] => Ok(None),
        [b'#' | b';', ..] => Ok(Some(first..first + rest.trim_end().len())),
        _ => Err(syntax(first, BEHIND_QUOTES)),
    }
}

/// Reads a value whose lines end in backslashes.
fn continued(source: &str, start: usize) -> Value {
    let mut end = line_end(source, start);
    let line = source[start..end].trim_end();
    let mut token = start..start + line.len();
    let mut text = SecretBytes::from(&line[..line.len() - 1]);
    loop {
        let next = end;
        end = line_end(source, next);
        let line = source[next..end].trim();
        if line.is_empty() {
            break;
        }
        token.end = next + source[next..end].trim_end().len();
        text.push_str(line);
        if !line.ends_with('\\') {
            break;
        }
        text.truncate(text.len() - 1);
    }
    Value { token, text: Text::Joined(text), quote: "", inline: None, end }
}

/// Returns whether a text is in quotes of which it has no others.
fn is_surrounded(text: &str, quote: &str) -> bool {
    text.len() >= 2 && text.starts_with(quote) && text[1..].find(quote) == Some(text.len() - 2)
}

fn duplicate(source: &str, entry: &Entry) -> Problem {
    Problem { at: entry.start, kind: ParseErrorKind::DuplicateKey(entry.name(source).into_owned()) }
}

fn syntax(at: usize, what: &str) -> Problem {
    Problem { at, kind: ParseErrorKind::Syntax(what.to_owned()) }
}

pub(super) const BACKQUOTE: &str = "`";
pub(super) const TRIPLE: &str = "\"\"\"";
const BEHIND_QUOTES: &str = "text behind a closing quote or bracket, which SOPS would drop";
const DELIMITERS: [char; 2] = ['=', ':'];
const OPEN_AT_END: &str = "quotes that open at the end of the text";
/// The key that stands for the number of the keys like it.
const NUMBERED: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(source: &str) -> (String, Option<&str>) {
        let value = value(source, 0).ok().expect(source);
        let text = String::from_utf8_lossy(value.text(source)).into_owned();
        (text, value.inline.map(|inline| &source[inline]))
    }

    fn refused(source: &str) -> (usize, String) {
        let Problem { at, kind } = pieces(source).err().expect(source);
        (at, kind.to_string())
    }

    #[test]
    fn a_value_loses_its_quotes_and_its_comment() {
        for (source, text, inline) in [
            ("", "", None),
            ("  \n", "", None),
            (" a b \r\n", "a b", None),
            ("a;b # c \n", "a", Some(";b # c")),
            (" #c", "", Some("#c")),
            ("'a' ; c", "a", Some("; c")),
            ("\"a\"\n", "a", None),
            ("\"a;b\"\n", "\"a", Some(";b\"")),
            ("\"a\" b \"c\"", "\"a\" b \"c\"", None),
            ("'it''s'", "'it''s'", None),
            ("'", "'", None),
            ("`a;b`\n", "a;b", None),
            ("`a`b`\n", "a`b", None),
            ("\"\"\"a\"\"\" \n", "a", None),
            ("\"\"\"\"\"\"", "", None),
            ("\"\"\" a\r\n\n b\"\"\"  ; c\n", " a\r\n\n b", Some("; c")),
            ("`a\nb`", "a\nb", None),
            ("a \\\n  b ; c\nd", "a b ; c", None),
            ("a\\\n\nb", "a", None),
            ("a\\\n b \\ \n c", "ab c", None),
            ("a ; c\\\nb", "a ; cb", None),
            ("\\", "", None),
        ] {
            assert_eq!(scanned(source), (text.to_owned(), inline), "{source:?}");
        }
    }

    #[test]
    fn a_key_loses_its_quotes() {
        for (source, name) in [
            ("a b = x", "a b"),
            ("a ; b : x", "a ; b"),
            ("\" a=b\" = x", "a=b"),
            ("`a\"b`:x", "a\"b"),
            ("\"\"\"a`b\"\"\"=x", "a`b"),
            ("'a' = x", "'a'"),
            ("- = x", "#1"),
            ("`-` = x", "#1"),
        ] {
            let pieces = pieces(source).ok().expect(source);
            let [Piece::Entry(entry)] = &pieces[..] else { panic!("{source} is no entry") };
            assert_eq!(entry.name(source), name);
        }
    }

    #[test]
    fn what_go_ini_drops_is_refused() {
        for (source, at, part) in [
            ("a=1\nb=2\na=3\n", 8, "\"a\" is given twice"),
            ("a=1\na=\n", 4, "\"a\" is given twice"),
            ("a=1 ; x\na=2\n", 8, "\"a\" is given twice"),
            ("; x\na=1\na=2\n", 4, "\"a\" is given twice"),
            ("-=1\n`#1`=2\n", 4, "\"#1\" is given twice"),
            ("[s] x\n", 4, "drop"),
            ("[s] x ; y\n", 4, "drop"),
            ("a=`b` c\n", 6, "drop"),
            ("a=`b` ; c\n", 6, "drop"),
            ("a=\"\"\"b\nc\"\"\" d ; e\n", 12, "drop"),
            ("a=\"\"\"b\nc\"\"\" ; \\\n", 12, "drop"),
            ("\"a\" b = c\n", 0, "drop"),
            ("a=\"\"\"", 2, "at the end"),
        ] {
            let (found, error) = refused(source);
            assert!(error.contains(part) && found == at, "{source:?}: {found}: {error}");
        }
        let allowed = ["a=1\n\na=2 ; x\n[s]\na=3\n[s]\na=4", "-=1\n-=1\n", "a=1\na=2\na=3"];
        assert!(allowed.into_iter().all(|source| pieces(source).is_ok()));
    }

    #[test]
    fn what_is_no_ini_is_refused() {
        let cases = [
            ("a", "a line without \"=\" or \":\""),
            ("=a", "a value without a key"),
            ("\"\"=a", "a value without a key"),
            ("\"a=b", "a key without its closing quote"),
            ("[s", "a section's name without \"]\""),
            ("[]", "a section without a name"),
            ("a=`b\n", "a value without its closing quote"),
            ("a=\"\"\"\nb\n", "a value without its closing quote"),
            ("`a`b", "a line without \"=\" or \":\""),
            ("\u{1}", "a line without \"=\" or \":\""),
        ];
        for (source, what) in cases {
            assert_eq!(refused(source).1, what, "{source:?}");
        }
    }
}

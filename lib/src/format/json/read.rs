//! JSON text to a tree.

use zeroize::Zeroizing;

use super::MAX_DEPTH;
use crate::format::{METADATA_KEY, ParseError, ParseErrorKind, nested_metadata};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Span, Style, Text, Tree, Value};

pub(super) fn read(source: SecretBytes) -> Result<Tree, ParseError> {
    if let Err(error) = std::str::from_utf8(source.expose_secret()) {
        let line = line_at(source.expose_secret(), error.valid_up_to());
        return Err(ParseError { line, kind: ParseErrorKind::Encoding });
    }
    let mut reader = Reader { tree: Tree::new(source), position: 0, open: Vec::new() };
    reader.read_document().and_then(|()| mark_metadata(&mut reader.tree)).map_err(|kind| {
        let line = line_at(reader.tree.source(), reader.position);
        ParseError { line, kind }
    })?;
    Ok(reader.tree)
}

struct Reader {
    tree: Tree,
    /// Where reading goes on.
    position: usize,
    /// The maps and lists that are not closed yet.
    open: Vec<NodeId>,
}

/// A string's text and the places of its quotes.
struct Quoted {
    text: Text,
    span: Span,
}

impl Reader {
    fn read_document(&mut self) -> Result<(), ParseErrorKind> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => {}
            None => return Err(ParseErrorKind::Empty),
            Some(b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                return Err(ParseErrorKind::NotAMap);
            }
            Some(_) => return Err(syntax("expected \"{\"")),
        }
        let root = self.tree.open_document(Span::new(self.position, self.position + 1), Style::Flow);
        self.enter(root)?;
        // Here the reader is behind an opening bracket or a comma.
        while let Some(&container) = self.open.last() {
            let is_map = self.tree.node(container).value == Value::Map;
            let is_first = self.tree.node(container).span.end as usize == self.position;
            self.skip_space();
            if !(is_first && self.peek() == Some(closing(is_map))) {
                let key = if is_map { Some(self.read_key()?) } else { None };
                if self.read_value(key)? {
                    continue;
                }
            }
            self.leave()?;
        }
        self.skip_space();
        if self.peek().is_some() { Err(syntax("text behind the end of the document")) } else { Ok(()) }
    }

    /// Goes past the end of a value: over closing brackets up to behind the next comma.
    fn leave(&mut self) -> Result<(), ParseErrorKind> {
        while let Some(&container) = self.open.last() {
            let is_map = self.tree.node(container).value == Value::Map;
            self.skip_space();
            match self.next()? {
                b',' => return Ok(()),
                byte if byte == closing(is_map) => {
                    self.tree.close(container);
                    self.tree.node_mut(container).span.end = Span::new(0, self.position).end;
                    self.open.pop();
                }
                _ if is_map => return Err(syntax("expected \",\" or \"}\"")),
                _ => return Err(syntax("expected \",\" or \"]\"")),
            }
        }
        Ok(())
    }

    fn read_key(&mut self) -> Result<Quoted, ParseErrorKind> {
        if self.next()? != b'"' {
            return Err(syntax("expected a key in double quotes"));
        }
        let key = self.read_string()?;
        self.skip_space();
        if self.next()? != b':' {
            return Err(syntax("expected \":\" behind a key"));
        }
        self.skip_space();
        Ok(key)
    }

    /// Reads a scalar, or what opens a map or list; returns whether it opened one.
    fn read_value(&mut self, key: Option<Quoted>) -> Result<bool, ParseErrorKind> {
        let start = self.position;
        let (value, style) = match self.next()? {
            b'{' => (Value::Map, Style::Flow),
            b'[' => (Value::List, Style::Flow),
            b'"' => (Value::Str(self.read_string()?.text), Style::DoubleQuoted),
            b'-' | b'0'..=b'9' => (self.read_number(start)?, Style::Plain),
            b't' => (self.read_word(start, "true", Value::Bool(true))?, Style::Plain),
            b'f' => (self.read_word(start, "false", Value::Bool(false))?, Style::Plain),
            b'n' => (self.read_word(start, "null", Value::Null)?, Style::Plain),
            _ => return Err(syntax("expected a value")),
        };
        let span = Span::new(start, self.position);
        let mut node = Node::new(value, key.as_ref().map(|key| key.text), span, style);
        node.key_start = key.map_or(span.start, |key| key.span.start);
        let id = self.tree.push(node);
        let opens = matches!(value, Value::List | Value::Map);
        if opens {
            self.enter(id)?;
        }
        Ok(opens)
    }

    fn enter(&mut self, container: NodeId) -> Result<(), ParseErrorKind> {
        self.position = self.tree.node(container).span.end as usize;
        self.open.push(container);
        if self.open.len() > MAX_DEPTH { Err(ParseErrorKind::Nesting) } else { Ok(()) }
    }

    /// Reads a string whose opening quote is behind the reader.
    fn read_string(&mut self) -> Result<Quoted, ParseErrorKind> {
        let start = self.position;
        let rest = &self.tree.source()[start..];
        let mut length = 0;
        let mut escaped = false;
        loop {
            match rest.get(length) {
                None => return Err(self.ends()),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    length += 2;
                }
                Some(0..0x20) => {
                    self.position += length;
                    return Err(syntax("a control character in a string must be escaped"));
                }
                Some(_) => length += 1,
            }
        }
        let inner = Span::new(start, start + length);
        self.position = start + length + 1;
        let text = if escaped {
            let text = unescape(&rest[..length])?;
            self.tree.intern(&text)
        } else {
            inner.text()
        };
        Ok(Quoted { text, span: Span::new(start - 1, self.position) })
    }

    fn read_number(&mut self, start: usize) -> Result<Value, ParseErrorKind> {
        let rest = &self.tree.source()[start..];
        let length = number_length(rest).ok_or_else(|| syntax("a malformed number"))?;
        let text = std::str::from_utf8(&rest[..length]).expect("digits are ASCII");
        self.position = start + length;
        if let Ok(value) = text.parse() {
            return Ok(Value::Int(value));
        }
        let value: f64 = text.parse().map_err(|_| ParseErrorKind::Number)?;
        if value.is_finite() { Ok(Value::Float(value)) } else { Err(ParseErrorKind::Number) }
    }

    fn read_word(&mut self, start: usize, word: &str, value: Value) -> Result<Value, ParseErrorKind> {
        if !self.tree.source()[start..].starts_with(word.as_bytes()) {
            return Err(syntax("expected a value"));
        }
        self.position = start + word.len();
        Ok(value)
    }

    fn skip_space(&mut self) {
        let rest = &self.tree.source()[self.position..];
        self.position += rest.iter().take_while(|byte| is_space(**byte)).count();
    }

    fn peek(&self) -> Option<u8> {
        self.tree.source().get(self.position).copied()
    }

    fn next(&mut self) -> Result<u8, ParseErrorKind> {
        let byte = self.peek().ok_or_else(|| self.ends())?;
        self.position += 1;
        Ok(byte)
    }

    fn ends(&self) -> ParseErrorKind {
        syntax("the text ends in the middle of the document")
    }
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn closing(is_map: bool) -> u8 {
    if is_map { b'}' } else { b']' }
}

/// Returns how many bytes the number at the start of `text` has.
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = usize::from(text.first() == Some(&b'-'));
    let integer = digits(length);
    if integer == 0 || integer > 1 && text[length] == b'0' {
        return None;
    }
    length += integer;
    if text.get(length) == Some(&b'.') {
        let fraction = digits(length + 1);
        length += (fraction > 0).then_some(fraction + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(length) {
        let sign = usize::from(matches!(text.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        length += (exponent > 0).then_some(exponent + sign + 1)?;
    }
    Some(length)
}

/// Returns what the inside of a string with escapes means.
fn unescape(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, ParseErrorKind> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some(backslash) = rest.iter().position(|&byte| byte == b'\\') {
        out.extend_from_slice(&rest[..backslash]);
        let escape = &rest[backslash + 1..];
        rest = escape.get(1..).unwrap_or_default();
        match escape.first() {
            Some(&byte @ (b'"' | b'\\' | b'/')) => out.push(byte),
            Some(b'b') => out.push(0x08),
            Some(b'f') => out.push(0x0c),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'u') => {
                let (character, length) = unicode_escape(rest)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[length..];
            }
            _ => return Err(syntax("an unknown escape in a string")),
        }
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// Returns the character of a `\u` escape, and how many bytes behind the `u` it takes: four, or ten if a
/// second escape is the other half of it.
fn unicode_escape(text: &[u8]) -> Result<(char, usize), ParseErrorKind> {
    let unit = |from: usize| {
        let digits = text.get(from..from + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = unit(0).ok_or_else(|| syntax("a \\u escape without four digits"))?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 4));
    }
    let second = if text[4..].starts_with(b"\\u") { unit(6) } else { None };
    // SOPS puts U+FFFD in the place of half a character; the text would be lost.
    let half = || syntax("a \\u escape that is half a character");
    let second = second.filter(|unit| first < 0xdc00 && (0xdc00..0xe000).contains(unit)).ok_or_else(half)?;
    let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Ok((char::from_u32(code).ok_or_else(half)?, 10))
}

/// Finds the `sops` entry and marks it.
fn mark_metadata(tree: &mut Tree) -> Result<(), ParseErrorKind> {
    let Some(&root) = tree.documents().first() else { return Ok(()) };
    let entries: Vec<_> =
        tree.children(root).filter(|&id| tree.key(id) == Some(METADATA_KEY.as_bytes())).collect();
    if entries.len() > 1 {
        return Err(ParseErrorKind::Metadata("it is there twice"));
    }
    if entries.first().is_some_and(|&entry| is_deep(tree, entry)) {
        return Err(ParseErrorKind::Metadata("it is nested too deeply"));
    }
    let metadata = nested_metadata(tree);
    tree.set_metadata(metadata);
    entries.into_iter().for_each(|entry| tree.mark_metadata(entry));
    Ok(())
}

/// Returns whether metadata is nested deeper than any ever is; JSON values are handled by recursion.
fn is_deep(tree: &Tree, entry: NodeId) -> bool {
    let mut ends: Vec<usize> = Vec::new();
    (entry.index()..tree.node(entry).end as usize).filter_map(|index| tree.id(index)).any(|id| {
        while ends.pop_if(|end| *end <= id.index()).is_some() {}
        ends.push(tree.node(id).end as usize);
        ends.len() > MAX_METADATA_DEPTH
    })
}

fn line_at(source: &[u8], position: usize) -> usize {
    source[..position.min(source.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

fn syntax(message: &str) -> ParseErrorKind {
    ParseErrorKind::Syntax(message.to_owned())
}

const MAX_METADATA_DEPTH: usize = 64;

//! JSON, with a place for each value: several documents one after the other, equal keys, escapes of surrogates, tabs.
//! The loose dialect has comments, trailing commas, single quotes and words without quotes, too.
//!
//! Bounds: nesting is counted, nothing recurses, and each byte is looked at once.

use std::ops::Range;

use super::{NodeKind, PLAIN, Reader, Unread, Value};

/// What is taken for JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// What people write for programs that take more: comments, trailing commas, words without quotes.
    Loose,
    /// What RFC 8259 has, and tabs in texts.
    Strict,
}

/// Reads a text as JSON: any number of maps and lists.
pub(super) fn read(reader: &mut Reader<'_, '_>, text: &str, dialect: Dialect) -> Result<(), Unread> {
    let base = reader.base;
    let mut json = Json { reader, text, bytes: text.as_bytes(), at: 0, dialect, open: Vec::new() };
    if json.read().is_none() {
        return Err(Unread { at: base + json.at.min(text.len()), what: "it is neither valid JSON nor YAML" });
    }
    json.reader.limit()
}

struct Json<'j, 'r, 'a> {
    reader: &'j mut Reader<'r, 'a>,
    text: &'j str,
    bytes: &'j [u8],
    at: usize,
    dialect: Dialect,
    /// The brackets that end what is open.
    open: Vec<u8>,
}

/// What has to come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A comma, or the end of what is open.
    Comma,
    /// What a comma is behind of: an item, or a key.
    Item,
    /// The same, or the end of what is open.
    ItemOrEnd,
    /// The value of a key.
    Value,
}

impl Json<'_, '_, '_> {
    /// Returns nothing if it is no JSON; `at` is where then.
    fn read(&mut self) -> Option<()> {
        let mut next = Next::Item;
        loop {
            self.skip()?;
            let Some(&byte) = self.bytes.get(self.at) else {
                return self.open.is_empty().then_some(());
            };
            let Some(&end) = self.open.last() else {
                next = self.open(byte)?;
                continue;
            };
            next = match next {
                Next::Comma if byte == end => self.close(),
                Next::ItemOrEnd if byte == end => self.close(),
                Next::Comma if byte == b',' => {
                    self.at += 1;
                    if self.dialect == Dialect::Loose { Next::ItemOrEnd } else { Next::Item }
                }
                Next::Comma => return None,
                Next::Item | Next::ItemOrEnd if end == b'}' => {
                    self.key(byte)?;
                    Next::Value
                }
                Next::Item | Next::ItemOrEnd | Next::Value => self.value(byte)?,
            };
            self.reader.limit().ok()?;
        }
    }

    fn value(&mut self, byte: u8) -> Option<Next> {
        if byte == b'{' || byte == b'[' {
            return self.open(byte);
        }
        self.scalar(byte)?;
        Some(Next::Comma)
    }

    fn key(&mut self, byte: u8) -> Option<()> {
        if self.dialect == Dialect::Strict && byte != b'"' {
            return None;
        }
        self.scalar(byte)?;
        self.skip()?;
        (self.bytes.get(self.at) == Some(&b':')).then(|| self.at += 1)
    }

    fn open(&mut self, byte: u8) -> Option<Next> {
        let (kind, end) = match byte {
            b'{' => (NodeKind::Map, b'}'),
            b'[' => (NodeKind::List, b']'),
            _ => return None,
        };
        if self.open.len() >= MAX_NESTING {
            return None;
        }
        self.open.push(end);
        self.reader.start(kind, &(self.at..self.at + 1), 0);
        self.at += 1;
        Some(Next::ItemOrEnd)
    }

    fn close(&mut self) -> Next {
        self.open.pop();
        self.reader.close(&(self.at..self.at + 1));
        self.at += 1;
        Next::Comma
    }

    fn scalar(&mut self, byte: u8) -> Option<()> {
        let is_quote = byte == b'"' || (byte == b'\'' && self.dialect == Dialect::Loose);
        let start = self.at;
        let (kind, value) = if is_quote { (QUOTED, self.quoted(byte)?) } else { (PLAIN, self.word()?) };
        self.reader.scalar(kind, value, &(start..self.at), 0);
        Some(())
    }

    fn word(&mut self) -> Option<Value> {
        let start = self.at;
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"{}[],:\"'".contains(byte);
        let length = self.bytes[start..].iter().position(is_end).unwrap_or(self.bytes.len() - start);
        let word = &self.text[start..start + length];
        let is_number = || {
            word.strip_prefix('-').unwrap_or(word).starts_with(|letter: char| letter.is_ascii_digit())
                && word.parse::<f64>().is_ok()
        };
        let is_strict = || matches!(word, "true" | "false" | "null") || is_number();
        if word.is_empty() || (self.dialect == Dialect::Strict && !is_strict()) {
            return None;
        }
        self.at += length;
        Some(self.place(start..self.at))
    }

    fn place(&self, range: Range<usize>) -> Value {
        let base = self.reader.base;
        Value { start: base + range.start, end: base + range.end, is_decoded: false }
    }

    fn quoted(&mut self, quote: u8) -> Option<Value> {
        let start = self.at + 1;
        let length = memchr::memchr3(quote, b'\\', b'\n', &self.bytes[start..])?;
        self.at = start + length;
        if self.bytes[self.at] == quote {
            self.at += 1;
            return Some(self.place(start..self.at - 1));
        }
        self.decoded(start, quote)
    }

    /// Decodes a text of which the part until `at` says what it means.
    fn decoded(&mut self, start: usize, quote: u8) -> Option<Value> {
        let first = self.reader.outline.decoded.len();
        let mut from = start;
        loop {
            self.push(from..self.at);
            match *self.bytes.get(self.at)? {
                byte if byte == quote => break,
                b'\\' => self.escape()?,
                _ if self.dialect == Dialect::Strict => return None,
                _ => {
                    self.reader.outline.decoded.push_str("\n");
                    self.at += 1;
                }
            }
            from = self.at;
            let rest = self.bytes.get(from..)?;
            self.at = from + memchr::memchr3(quote, b'\\', b'\n', rest)?;
        }
        self.at += 1;
        Some(Value { start: first, end: self.reader.outline.decoded.len(), is_decoded: true })
    }

    fn push(&mut self, range: Range<usize>) {
        self.reader.outline.decoded.push_str(&self.text[range]);
    }

    fn escape(&mut self) -> Option<()> {
        let letter = *self.bytes.get(self.at + 1)?;
        self.at += 2;
        let letter = match letter {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.code()?,
            b'"' | b'\\' | b'/' => char::from(letter),
            b'\n' | b'\'' if self.dialect == Dialect::Loose => char::from(letter),
            _ => return None,
        };
        self.reader.outline.decoded.push_str(letter.encode_utf8(&mut [0; 4]));
        Some(())
    }

    /// Returns the letter of the digits behind `\u`; half a pair stands for a letter that cannot be.
    fn code(&mut self) -> Option<char> {
        let high = self.unit()?;
        if !(0xd800..0xdc00).contains(&high) || self.text.get(self.at..self.at + 2) != Some("\\u") {
            return Some(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let behind = self.at;
        self.at += 2;
        let low = self.unit()?;
        if (0xdc00..0xe000).contains(&low) {
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            return Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.at = behind;
        Some(char::REPLACEMENT_CHARACTER)
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    /// Goes on to what is neither space nor comment.
    fn skip(&mut self) -> Option<()> {
        loop {
            let rest = &self.bytes[self.at..];
            self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let rest = &self.bytes[self.at..];
            let is_comment = rest.starts_with(b"//") || rest.starts_with(b"#");
            if self.dialect == Dialect::Strict || !(is_comment || rest.starts_with(b"/*")) {
                return Some(());
            }
            let end: &[u8] = if is_comment { b"\n" } else { b"*/" };
            let length = memchr::memmem::find(rest, end).map(|at| at + end.len());
            self.at += if is_comment { length.unwrap_or(rest.len()) } else { length? };
        }
    }
}

const QUOTED: NodeKind = NodeKind::Scalar { is_quoted: true, is_binary: false };

/// How deep maps and lists are nested at most.
const MAX_NESTING: usize = 1000;

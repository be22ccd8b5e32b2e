//! The nodes of a YAML source in order, with their exact places and meanings, before comments are
//! attached and aliases are expanded.
//!
//! Invariant: every start of a map or list is matched by its end.

use std::borrow::Cow;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as EventSpan, StructureStyle, Tag};
use zeroize::Zeroize;

use super::resolve::{Scalar, is_binary, resolve, resolve_plain};
use super::tokens::{NO_ITEM, Place, Scanned, TokenKind, Tokens};
use crate::format::{ParseError, ParseErrorKind};
use crate::secret::SecretBytes;
use crate::tree::{Span, Style, Text, Value};

/// The nodes of a source.
pub(super) struct Outline {
    /// The nodes, and the ends of what has children.
    pub items: Vec<Item>,
    /// Texts that are not written in the source as they are meant. Their places count from its end.
    pub decoded: SecretBytes,
    /// The tokens and comments.
    pub scanned: Scanned,
}

/// A node, or the end of one.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub kind: ItemKind,
    /// What a scalar holds.
    pub value: Value,
    pub style: Style,
    /// The bytes that stand for the node, as the tree defines them.
    pub span: Span,
    /// Where the entry starts: the key with its properties, its `?`, or the `-` of an item.
    pub entry: u32,
    /// The anchor of a node, or the one that an alias names; 0 for none.
    pub anchor: u32,
    /// The position of the end of this start.
    pub end: u32,
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    Alias,
    Document,
    End,
    List,
    Map,
    Scalar,
}

/// What is open while events come in.
struct Frame {
    item: u32,
    is_flow: bool,
    /// Whether a node that comes next is a key.
    awaits_key: bool,
    is_map: bool,
}

struct Reader<'a> {
    source: &'a str,
    tokens: Tokens<'a>,
    items: Vec<Item>,
    decoded: SecretBytes,
    frames: Vec<Frame>,
    document: u32,
}

/// The places of a node's anchor and tag.
#[derive(Default)]
struct Properties {
    anchor: Option<(u32, Span)>,
    tag: Option<Span>,
}

/// Reads the nodes of a source.
///
/// # Errors
/// If the source is not YAML, or a scalar is not what its tag says.
pub(super) fn outline(source: &str) -> Result<Outline, ParseError> {
    let mut reader = Reader {
        source,
        tokens: Tokens::new(source.as_bytes()),
        items: Vec::new(),
        decoded: SecretBytes::new(),
        frames: Vec::new(),
        document: 0,
    };
    let mut parser = Parser::new_from_str_with_options(source, options()).peekable();
    while let Some(event) = parser.next() {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        let mut properties =
            Properties { tag: span.tag_span().map(|tag| place_of(&tag)), ..Properties::default() };
        let anchor = parser.next_if(|next| matches!(next, Ok((Event::Anchor(..), _))));
        if let Some(Ok((Event::Anchor(id, _), span))) = anchor {
            properties.anchor = Some((id as u32, place_of(&span)));
        }
        reader.take(event, span, &properties)?;
    }
    Ok(Outline { items: reader.items, decoded: reader.decoded, scanned: reader.tokens.finish() })
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: EventSpan, properties: &Properties) -> Result<(), ParseError> {
        let place = place_of(&span);
        match event {
            Event::DocumentStart(is_explicit, version) => {
                let is_unreadable = version.is_some_and(|version| (version.major, version.minor) != (1, 1));
                if is_unreadable {
                    return Err(syntax(span.start.line(), "sops reads only %YAML 1.1"));
                }
                if !is_explicit && !self.items.is_empty() {
                    return Err(syntax(span.start.line(), "a further document must start with ---"));
                }
                self.take_document_start(place, is_explicit);
            }
            Event::DocumentEnd => self.take_document_end(place),
            Event::MappingStart(style, _, _) => {
                self.take_start(ItemKind::Map, style, place, properties, &span)?
            }
            Event::SequenceStart(style, _, _) => {
                self.take_start(ItemKind::List, style, place, properties, &span)?;
            }
            Event::MappingEnd | Event::SequenceEnd => self.take_end(place, &span),
            Event::Alias(id) => self.take_alias(id as u32, place, &span),
            Event::Scalar(text, style, _, tag) => {
                self.take_scalar(text, style, tag.as_deref(), &span, properties)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_document_start(&mut self, place: Span, is_explicit: bool) {
        if is_explicit {
            self.tokens.skip_until(place.start as usize);
            self.tokens.take_marker(TokenKind::DocumentStart);
        }
        self.document = self.items.len() as u32;
        self.push(ItemKind::Document, Value::Null, Style::Plain, place, place.start, 0);
    }

    fn take_document_end(&mut self, place: Span) {
        self.tokens.skip_blank();
        let at = self.tokens.at();
        if !place.is_empty() && self.tokens.at() <= place.start as usize {
            self.tokens.skip_until(place.start as usize);
            self.tokens.take_marker(TokenKind::DocumentEnd);
        }
        self.items[self.document as usize].end = self.items.len() as u32;
        self.push(ItemKind::End, Value::Null, Style::Plain, Span::new(at, at), at as u32, 0);
    }

    fn take_start(
        &mut self,
        kind: ItemKind,
        style: StructureStyle,
        place: Span,
        properties: &Properties,
        span: &EventSpan,
    ) -> Result<(), ParseError> {
        if self.frames.last().is_some_and(|frame| frame.is_map && frame.awaits_key) {
            return Err(syntax(span.start.line(), "a map or list cannot be a key"));
        }
        let item = self.items.len() as u32;
        let entry = self.take_entry(Some(place.start));
        self.take_properties(properties, item, span.start.line())?;
        let is_flow = style == StructureStyle::Flow;
        let bracket = if kind == ItemKind::Map { b'{' } else { b'[' };
        let mut start = UNKNOWN;
        if is_flow {
            self.tokens.skip_until(place.start as usize);
            start = place.start;
            if self.source.as_bytes().get(place.start as usize) == Some(&bracket) && !place.is_empty() {
                self.tokens.take_token(TokenKind::FlowStart, item, place_at(&span.end));
            }
        }
        let start = properties.tag.map_or(start, |tag| tag.start);
        let style = if is_flow { Style::Flow } else { Style::Block };
        let anchor = properties.anchor.map_or(0, |anchor| anchor.0);
        let span = Span { start, end: start };
        self.push(kind, Value::Null, style, span, entry.unwrap_or(start), anchor);
        let is_map = kind == ItemKind::Map;
        self.frames.push(Frame { item, is_flow, awaits_key: is_map, is_map });
        Ok(())
    }

    fn take_end(&mut self, place: Span, span: &EventSpan) {
        let Some(frame) = self.frames.pop() else { return };
        let end = self.items.len() as u32;
        if frame.is_flow && !place.is_empty() {
            self.tokens.skip_until(place.start as usize);
            self.tokens.take_token(TokenKind::FlowEnd, end, place_at(&span.end));
        }
        let start = &mut self.items[frame.item as usize];
        start.end = end;
        if frame.is_flow {
            start.span.end = place.end;
        }
        let style = start.style;
        self.push(ItemKind::End, Value::Null, style, place, place.start, 0);
        self.items[end as usize].end = frame.item;
        self.toggle();
    }

    fn take_alias(&mut self, id: u32, place: Span, span: &EventSpan) {
        let entry = self.take_entry(Some(place.start));
        let item = self.items.len() as u32;
        self.tokens.skip_until(place.start as usize);
        self.tokens.take_token(TokenKind::Alias, item, place_at(&span.end));
        self.push(ItemKind::Alias, Value::Null, Style::Plain, place, entry.unwrap_or(place.start), id);
        self.toggle();
    }

    fn take_scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &EventSpan,
        properties: &Properties,
    ) -> Result<(), ParseError> {
        let place = place_of(span);
        let is_empty = style == ScalarStyle::Plain && place.is_empty();
        let entry = self.take_entry((!is_empty).then_some(place.start));
        let item = self.items.len() as u32;
        self.take_properties(properties, item, span.start.line())?;
        if style == ScalarStyle::Plain && !is_empty {
            self.check_plain(place, span.start.line())?;
        }
        let written = match style {
            _ if is_empty => Span::new(self.tokens.token_end(), self.tokens.token_end()),
            ScalarStyle::Literal | ScalarStyle::Folded => self.take_block_scalar(item, span),
            ScalarStyle::Plain => {
                self.tokens.skip_until(place.start as usize);
                self.tokens.take_plain(item, place_at(&span.end));
                place
            }
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                self.tokens.skip_until(place.start as usize);
                self.tokens.take_token(TokenKind::Scalar, item, place_at(&span.end));
                place
            }
        };
        let written = Span { start: properties.tag.map_or(written.start, |tag| tag.start), ..written };
        let value = self
            .value(text, style, tag, is_empty)
            .ok_or_else(|| syntax(span.start.line(), "a scalar is not of the type that its tag names"))?;
        let anchor = properties.anchor.map_or(0, |anchor| anchor.0);
        self.push(ItemKind::Scalar, value, style_of(style), written, entry.unwrap_or(written.start), anchor);
        self.toggle();
        Ok(())
    }

    /// Takes the indicators that lead to the next node, and returns where its entry starts, if it is an
    /// item of a block list or a key. `node` is where the node is written.
    fn take_entry(&mut self, node: Option<u32>) -> Option<u32> {
        let frame = self.frames.last()?;
        let item = frame.item;
        match (frame.is_map, frame.is_flow, frame.awaits_key) {
            (false, false, _) => self.tokens.take(b'-', TokenKind::Entry, item, node).map(|at| at as u32),
            (false, true, _) => {
                self.tokens.take(b',', TokenKind::Comma, NO_ITEM, node);
                None
            }
            (true, is_flow, true) => {
                if is_flow {
                    self.tokens.take(b',', TokenKind::Comma, NO_ITEM, node);
                }
                let question = self.tokens.take(b'?', TokenKind::Key, item, node);
                if question.is_none() && node.is_some() {
                    self.tokens.open_entry(item);
                }
                Some(question.unwrap_or(self.tokens.at()) as u32)
            }
            (true, _, false) => {
                self.tokens.take(b':', TokenKind::Value, NO_ITEM, node);
                None
            }
        }
    }

    fn take_properties(&mut self, properties: &Properties, item: u32, line: usize) -> Result<(), ParseError> {
        let behind = properties.tag.and_then(|tag| self.source.as_bytes().get(tag.end as usize));
        if matches!(behind, Some(b',' | b'[' | b']')) {
            return Err(syntax(line, "sops takes what follows for a part of the tag: put a space behind it"));
        }
        let mut places: Vec<Span> = Vec::new();
        places.extend(properties.anchor.map(|anchor| anchor.1));
        places.extend(properties.tag);
        places.sort_unstable();
        for place in places {
            self.tokens.skip_until(place.start as usize);
            self.tokens.take_property(item);
        }
        Ok(())
    }

    /// Refuses text in brackets that sops divides into other tokens than YAML 1.2 does.
    fn check_plain(&self, place: Span, line: usize) -> Result<(), ParseError> {
        if !self.frames.last().is_some_and(|frame| frame.is_flow) {
            return Ok(());
        }
        let source = self.source.as_bytes();
        let behind = &source[place.end as usize..];
        if source[place.start as usize] == b'?' {
            return Err(syntax(line, "sops takes a ? in brackets for an indicator: put the text in quotes"));
        }
        if matches!(behind, [b':', b',' | b'[' | b']' | b'{' | b'}', ..]) {
            return Err(syntax(line, "sops takes the : for a part of the text: put a space behind it"));
        }
        Ok(())
    }

    /// Takes a block scalar, and returns its place from the header to its last line.
    fn take_block_scalar(&mut self, item: u32, span: &EventSpan) -> Span {
        self.tokens.skip_until(span.end.byte_offset().unwrap_or_default());
        let header = self.tokens.at();
        let source = self.source.as_bytes();
        let end = block_scalar_end(source, header, span);
        self.tokens.take_block_scalar(item, place_at(&span.end));
        Span::new(header, end)
    }

    fn value(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        is_empty: bool,
    ) -> Option<Value> {
        let text = if is_empty { Cow::Borrowed("") } else { text };
        let full = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
        let scalar = match full.as_deref() {
            None if style == ScalarStyle::Plain => resolve_plain(&text),
            None => Scalar::Text,
            Some("!") if style != ScalarStyle::Plain => Scalar::Text,
            Some(tag) if is_binary(tag) => return self.binary(&text),
            tag => resolve(tag, &text)?,
        };
        Some(match scalar {
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Float(value) => Value::Float(value),
            Scalar::Int(value) => Value::Int(value),
            Scalar::Null => Value::Null,
            Scalar::Text => Value::Str(self.text(text)),
            Scalar::Time(time) => Value::Time(self.intern(time.as_bytes())),
            Scalar::Unsigned(value) => Value::Unsigned(value),
        })
    }

    fn binary(&mut self, text: &str) -> Option<Value> {
        use base64::Engine as _;

        let mut encoded: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(&encoded);
        encoded.zeroize();
        let decoded = SecretBytes::from(decoded.ok()?);
        Some(Value::Str(self.intern(decoded.expose_secret())))
    }

    fn text(&mut self, text: Cow<'_, str>) -> Text {
        match text {
            Cow::Borrowed(part) => {
                let start = (part.as_ptr() as usize).wrapping_sub(self.source.as_ptr() as usize);
                match self.source.as_bytes().get(start..start.wrapping_add(part.len())) {
                    Some(_) => Span::new(start, start + part.len()).text(),
                    None => self.intern(part.as_bytes()),
                }
            }
            Cow::Owned(mut owned) => {
                let text = self.intern(owned.as_bytes());
                owned.zeroize();
                text
            }
        }
    }

    fn intern(&mut self, bytes: &[u8]) -> Text {
        let start = self.source.len() + self.decoded.len();
        self.decoded.extend_from_slice(bytes);
        Span::new(start, start + bytes.len()).text()
    }

    fn push(&mut self, kind: ItemKind, value: Value, style: Style, span: Span, entry: u32, anchor: u32) {
        self.items.push(Item { kind, value, style, span, entry, anchor, end: 0 });
    }

    /// Notes that a node of the open map is complete.
    fn toggle(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.awaits_key = frame.is_map && !frame.awaits_key;
        }
    }
}

/// Returns where the last line that belongs to a block scalar ends, without its line break.
///
/// Empty lines at the end belong to it only if the header says so.
fn block_scalar_end(source: &[u8], header: usize, span: &EventSpan) -> usize {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let end = place_of(span).end as usize;
    let text = source.get(header..end).unwrap_or_default();
    let indicators = text.iter().take_while(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
    let header_length = text.iter().position(|byte| is_break(byte)).unwrap_or(text.len());
    let keeps_empty_lines = text[..indicators].contains(&b'+');
    let mut body = &text[header_length..];
    while let Some(line_break) = body.iter().rposition(|byte| is_break(byte)) {
        let line = &body[line_break + 1..];
        let is_blank = line.iter().all(|byte| matches!(byte, b' ' | b'\t'));
        if !is_blank || line.len() > span.indent.unwrap_or(usize::MAX) {
            return header + header_length + body.len();
        }
        body = body[..line_break].strip_suffix(b"\r").unwrap_or(&body[..line_break]);
        if keeps_empty_lines && !body.is_empty() {
            return header + header_length + body.len();
        }
    }
    header + indicators
}

fn options() -> granit_parser::Options {
    granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        emit_anchor_events: true,
        emit_comments: false,
        max_buffered_comment_events: usize::MAX,
        simple_key_max_lookahead: 1024,
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
    }
}

fn scan_error(error: &ScanError) -> ParseError {
    use granit_parser::ErrorKind;

    let kind = match error.kind() {
        ErrorKind::RecursionLimitExceeded => ParseErrorKind::Nesting,
        // The parser's own text cites the character.
        ErrorKind::UnexpectedCharacter { .. } => ParseErrorKind::Syntax("unexpected character".to_owned()),
        kind => ParseErrorKind::Syntax(kind.to_string()),
    };
    ParseError { line: error.marker().line(), kind }
}

fn syntax(line: usize, what: &str) -> ParseError {
    ParseError { line, kind: ParseErrorKind::Syntax(what.to_owned()) }
}

fn place_of(span: &EventSpan) -> Span {
    let at = |marker: &Marker| marker.byte_offset().expect("a parser of a string knows byte offsets");
    Span::new(at(&span.start), at(&span.end))
}

fn place_at(marker: &Marker) -> Place {
    let at = marker.byte_offset().expect("a parser of a string knows byte offsets");
    Place { at, line: marker.line() as u32 - 1, column: marker.col() as u32 }
}

const fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}

/// How deep maps and lists may be nested, as in go-yaml.
const MAX_NESTING: usize = 10_000;

/// The start of a block that has no entry yet.
const UNKNOWN: u32 = u32::MAX;

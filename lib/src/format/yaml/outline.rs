//! The nodes of a YAML source in order, with their exact places and meanings, before comments are
//! attached and aliases are expanded.
//!
//! Invariant: every start of a document, map or list is matched by its end.

mod scalar;
mod separators;

use std::borrow::Cow;

use granit_parser::{
    ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Span as EventSpan, StructureStyle, Tag,
};

use super::tokens::{MANY, NO_ITEM, Place, Scanned, TokenKind, Tokens};
use crate::format::{ParseError, ParseErrorKind};
use crate::secret::SecretBytes;
use crate::tree::{Span, Style, Value};

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
    /// The bytes that stand for the node, as the tree defines them; those of a block are not known yet.
    pub span: Span,
    /// Where the entry starts: the key with its properties, its `?`, or the `-` of an item.
    pub entry: u32,
    /// The anchor of a node, or the one that an alias names; 0 for none.
    pub anchor: u32,
    /// The position of the end that belongs to a start.
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

/// Goes along with the events of a parser.
struct Reader<'a> {
    source: &'a str,
    tokens: Tokens<'a>,
    items: Vec<Item>,
    decoded: SecretBytes,
    frames: Vec<Frame>,
    /// The position of the document that is open.
    document: u32,
    /// How many line separators of Unicode are not in a scalar so far.
    separators: usize,
}

/// A map or list that is open.
struct Frame {
    item: u32,
    is_flow: bool,
    is_map: bool,
    /// Whether a node that comes next is a key.
    awaits_key: bool,
    /// Whether a `?` announced the key.
    has_question: bool,
}

/// What an event says of a node.
#[derive(Clone, Copy)]
struct Written {
    /// Where the node is written: a flow collection's bracket, nothing for a block.
    place: Span,
    /// Where it ends.
    end: Place,
    line: usize,
    tag: Option<Span>,
    anchor: u32,
}

/// Reads the nodes of a source.
///
/// # Errors
/// If the source is not YAML, is YAML that sops reads otherwise, or a scalar is not what its tag says.
pub(super) fn outline(source: &str) -> Result<Outline, ParseError> {
    let mut reader = Reader {
        source,
        tokens: Tokens::new(source.as_bytes()),
        items: Vec::with_capacity((source.len() / 16).min(MANY)),
        decoded: SecretBytes::new(),
        frames: Vec::new(),
        document: 0,
        separators: separators::count(source),
    };
    for event in Parser::new_from_str_with_options(source, options()) {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        reader.take(event, &span)?;
    }
    if reader.separators > 0 {
        return Err(separators::misplaced(source));
    }
    Ok(Outline { items: reader.items, decoded: reader.decoded, scanned: reader.tokens.finish() })
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: &EventSpan) -> Result<(), ParseError> {
        let node = Written::new(&event, span);
        match event {
            Event::Alias(_) => self.take_alias(node),
            Event::DocumentEnd => {
                self.take_document_end(node);
                Ok(())
            }
            Event::DocumentStart(is_explicit, version) => {
                if version.is_some_and(|version| (version.major, version.minor) != (1, 1)) {
                    return Err(syntax(node.line, "sops reads only %YAML 1.1"));
                }
                self.take_document_start(node, is_explicit)
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.take_end(node);
                Ok(())
            }
            Event::MappingStart(style, ..) => self.take_start(ItemKind::Map, style, node),
            Event::Scalar(text, style, _, tag) => self.take_scalar(text, style, tag.as_deref(), span, node),
            Event::SequenceStart(style, ..) => self.take_start(ItemKind::List, style, node),
            _ => Ok(()),
        }
    }

    fn take_document_start(&mut self, node: Written, is_explicit: bool) -> Result<(), ParseError> {
        if is_explicit {
            self.tokens.skip_until(node.place.start as usize);
            self.tokens.take_marker(TokenKind::DocumentStart);
        } else if !self.items.is_empty() {
            return Err(syntax(node.line, "sops reads a further document only behind ---"));
        }
        self.document = self.items.len() as u32;
        self.push(Item::new(ItemKind::Document, node.place));
        Ok(())
    }

    fn take_document_end(&mut self, node: Written) {
        self.tokens.skip_blank();
        let at = self.tokens.at();
        if !node.place.is_empty() {
            self.tokens.skip_until(node.place.start as usize);
            self.tokens.take_marker(TokenKind::DocumentEnd);
        }
        self.items[self.document as usize].end = self.items.len() as u32;
        self.push(Item::new(ItemKind::End, Span::new(at, at)));
    }

    fn take_start(&mut self, kind: ItemKind, style: StructureStyle, node: Written) -> Result<(), ParseError> {
        if self.frames.last().is_some_and(|frame| frame.is_map && frame.awaits_key) {
            return Err(syntax(node.line, "a map or list cannot be a key"));
        }
        let item = self.items.len() as u32;
        let is_flow = style == StructureStyle::Flow;
        let entry = self.take_entry(is_flow.then_some(node.place.start), node.line)?;
        self.take_properties(&node)?;
        let mut start = UNKNOWN;
        if is_flow {
            self.tokens.skip_until(node.place.start as usize);
            start = node.place.start;
            // The map of `[a: b]` has no bracket.
            if matches!(self.source.as_bytes().get(start as usize..node.end.at), Some(b"[" | b"{")) {
                self.tokens.take_token(TokenKind::FlowStart, item, node.end);
            }
        }
        let start = node.tag.map_or(start, |tag| tag.start);
        self.push(Item {
            style: if is_flow { Style::Flow } else { Style::Block },
            entry: entry.unwrap_or(start),
            anchor: node.anchor,
            ..Item::new(kind, Span { start, end: start })
        });
        let is_map = kind == ItemKind::Map;
        self.frames.push(Frame { item, is_flow, is_map, awaits_key: is_map, has_question: false });
        Ok(())
    }

    fn take_end(&mut self, node: Written) {
        let Some(frame) = self.frames.pop() else { return };
        let end = self.items.len() as u32;
        if frame.is_flow && !node.place.is_empty() {
            self.tokens.skip_until(node.place.start as usize);
            self.tokens.take_token(TokenKind::FlowEnd, end, node.end);
        }
        let start = &mut self.items[frame.item as usize];
        start.end = end;
        if frame.is_flow {
            start.span.end = node.place.end;
        }
        self.push(Item::new(ItemKind::End, node.place));
        self.complete();
    }

    fn take_alias(&mut self, node: Written) -> Result<(), ParseError> {
        let entry = self.take_entry(Some(node.place.start), node.line)?;
        let item = self.items.len() as u32;
        self.tokens.skip_until(node.place.start as usize);
        self.tokens.take_token(TokenKind::Alias, item, node.end);
        self.push(Item {
            entry: entry.unwrap_or(node.place.start),
            anchor: node.anchor,
            ..Item::new(ItemKind::Alias, node.place)
        });
        self.check_name(node.place, node.line)?;
        self.complete();
        Ok(())
    }

    fn take_scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &EventSpan,
        node: Written,
    ) -> Result<(), ParseError> {
        let is_empty = style == ScalarStyle::Plain && node.place.is_empty();
        let entry = self.take_entry((!is_empty).then_some(node.place.start), node.line)?;
        self.take_properties(&node)?;
        let mut place = match style {
            _ if is_empty => Span::new(self.tokens.token_end(), self.tokens.token_end()),
            ScalarStyle::Literal | ScalarStyle::Folded => self.take_block_scalar(span, node),
            ScalarStyle::Plain => self.take_plain(node)?,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                self.tokens.skip_until(node.place.start as usize);
                self.tokens.take_token(TokenKind::Scalar, self.items.len() as u32, node.end);
                node.place
            }
        };
        if let Some(tag) = node.tag {
            place.start = tag.start;
        }
        let text = if is_empty { Cow::Borrowed("") } else { text };
        let text = self.take_separators(text, style, place, span.indent, node.line)?;
        let value = self
            .value(text, style, tag)
            .ok_or_else(|| syntax(node.line, "a scalar is not of the type that its tag names"))?;
        self.push(Item {
            value,
            style: style_of(style),
            entry: entry.unwrap_or(place.start),
            anchor: node.anchor,
            ..Item::new(ItemKind::Scalar, place)
        });
        self.complete();
        Ok(())
    }

    /// Reads a text as sops does, to which U+2028 and U+2029 end a line.
    fn take_separators<'t>(
        &mut self,
        text: Cow<'t, str>,
        style: ScalarStyle,
        place: Span,
        indent: Option<usize>,
        line: usize,
    ) -> Result<Cow<'t, str>, ParseError> {
        if self.separators == 0 {
            return Ok(text);
        }
        let token = &self.source[place.start as usize..place.end as usize];
        let count = separators::count(token);
        if count == 0 {
            return Ok(text);
        }
        self.separators -= count;
        let joined = match style {
            // A key stands on one line.
            _ if self.frames.last().is_some_and(|frame| frame.is_map && frame.awaits_key) => None,
            ScalarStyle::DoubleQuoted | ScalarStyle::SingleQuoted => separators::join_quoted(token, &text),
            ScalarStyle::Literal => indent.and_then(|indent| separators::join_literal(&text, indent)),
            ScalarStyle::Folded | ScalarStyle::Plain => None,
        };
        let joined = joined.ok_or_else(|| syntax(line, separators::ESCAPE))?;
        Ok(Cow::Owned(joined))
    }

    fn take_plain(&mut self, node: Written) -> Result<Span, ParseError> {
        if self.frames.last().is_some_and(|frame| frame.is_flow) {
            scalar::check_plain_in_flow(self.source.as_bytes(), node.place)
                .map_err(|what| syntax(node.line, what))?;
        }
        self.tokens.skip_until(node.place.start as usize);
        self.tokens.take_plain(self.items.len() as u32, node.end);
        Ok(node.place)
    }

    /// Takes a block scalar, and returns its place from the header to its last line.
    fn take_block_scalar(&mut self, span: &EventSpan, node: Written) -> Span {
        self.tokens.skip_until(node.end.at);
        let header = self.tokens.at();
        let text = self.source.as_bytes().get(header..node.end.at).unwrap_or_default();
        let length = scalar::length_of_block_scalar(text, span.indent);
        self.tokens.take_block_scalar(self.items.len() as u32, node.end);
        Span::new(header, header + length)
    }

    /// Takes the indicators that lead to the next node, and returns where its entry starts, if it is an
    /// item of a block list or a key. `node` is where the node is written, if it is.
    fn take_entry(&mut self, node: Option<u32>, line: usize) -> Result<Option<u32>, ParseError> {
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        let map = frame.item;
        if frame.is_map && !frame.awaits_key {
            let key_end = self.tokens.token_end();
            let colon = self.tokens.take(b':', TokenKind::Value, NO_ITEM, node);
            let between = colon.and_then(|colon| self.source.get(key_end..colon)).unwrap_or_default();
            if frame.is_flow && !frame.has_question && between.contains(['\n', '\r']) {
                return Err(syntax(line, "sops wants the : on the line of its key"));
            }
            return Ok(None);
        }
        if frame.is_flow {
            self.tokens.take(b',', TokenKind::Comma, NO_ITEM, node);
        }
        if !frame.is_map {
            let dash = if frame.is_flow { None } else { self.tokens.take(b'-', TokenKind::Entry, map, node) };
            return Ok(dash.map(|at| at as u32));
        }
        let question = self.tokens.take(b'?', TokenKind::Key, map, node);
        frame.has_question = question.is_some();
        if question.is_none() && node.is_some() {
            self.tokens.open_entry(map);
        }
        Ok(Some(question.unwrap_or(self.tokens.at()) as u32))
    }

    fn take_properties(&mut self, node: &Written) -> Result<(), ParseError> {
        let behind = node.tag.and_then(|tag| self.source.as_bytes().get(tag.end as usize));
        if matches!(behind, Some(b',' | b'[' | b']')) {
            let what = "sops takes what follows for a part of the tag: put a space behind it";
            return Err(syntax(node.line, what));
        }
        for _ in 0..usize::from(node.tag.is_some()) + usize::from(node.anchor != 0) {
            let property = self.tokens.take_property();
            self.check_name(property, node.line)?;
        }
        Ok(())
    }

    /// Checks that sops takes all of the name of an anchor or alias for it.
    fn check_name(&self, property: Span, line: usize) -> Result<(), ParseError> {
        let text = &self.source.as_bytes()[property.start as usize..property.end as usize];
        let Some((b'&' | b'*', name)) = text.split_first() else { return Ok(()) };
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let what = "sops takes a part of the name for a value: name anchors by letters, digits, _ and -";
        if name.iter().all(is_allowed) { Ok(()) } else { Err(syntax(line, what)) }
    }

    /// Notes that a node of the open map is complete.
    fn complete(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.awaits_key = frame.is_map && !frame.awaits_key;
        }
    }

    fn push(&mut self, item: Item) {
        self.items.push(item);
    }
}

impl Item {
    const fn new(kind: ItemKind, span: Span) -> Self {
        let value = Value::Null;
        Self { kind, value, style: Style::Plain, span, entry: span.start, anchor: 0, end: 0 }
    }
}

impl Written {
    fn new(event: &Event<'_>, span: &EventSpan) -> Self {
        let anchor = match event {
            Event::Alias(anchor)
            | Event::MappingStart(_, anchor, _)
            | Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(_, anchor, _) => *anchor as u32,
            _ => 0,
        };
        let end = place_of(&span.end);
        Self {
            place: Span::new(place_of(&span.start).at, end.at),
            end,
            line: span.start.line(),
            tag: span.tag_span().map(|tag| Span::new(place_of(&tag.start).at, place_of(&tag.end).at)),
            anchor,
        }
    }
}

fn options() -> Options {
    granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        // The tokens have them.
        emit_comments: false,
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
    }
}

fn scan_error(error: &ScanError) -> ParseError {
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

fn place_of(marker: &Marker) -> Place {
    let at = marker.byte_offset().expect("a parser of a string knows byte offsets");
    Place { at, line: marker.line().saturating_sub(1) as u32, column: marker.col() as u32 }
}

const fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Folded => Style::Folded,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
    }
}

/// How deep maps and lists may be nested, as in go-yaml.
const MAX_NESTING: usize = 10_000;

/// The start of a block that has no entry yet.
const UNKNOWN: u32 = u32::MAX;

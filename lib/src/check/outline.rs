//! What the documents of a YAML or JSON file say, and where: a reader for judging, not for decrypting.
//!
//! It takes what a cluster or a tool might take: any value at the top, keys that are given twice, documents of which
//! some cannot be read, templates of Helm. It resolves no types: `1` and `"1"` are both texts.
//!
//! Bounds: nesting, the number of nodes, and how many nodes aliases and merges stand for.

mod chunks;
mod entry;
mod json;
mod places;
mod restored;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span as EventSpan};

use super::template;
use crate::secret::SecretBytes;

pub use entry::{Entries, Entry};
pub use places::Places;

/// The documents of a file.
pub struct Outline<'a> {
    text: &'a str,
    /// Where actions of templates are.
    actions: Vec<Range<usize>>,
    documents: Vec<Document>,
    nodes: Vec<Node>,
    /// Texts that are not written as they are meant.
    decoded: SecretBytes,
    /// How many steps may still be taken through aliases and merges.
    budget: Cell<usize>,
}

/// A document of a file.
pub struct Document {
    /// Its bytes, without the `---` before it.
    pub span: Range<usize>,
    /// Its root; nothing if it is empty or cannot be read.
    root: Option<usize>,
    /// Why it cannot be read.
    pub error: Option<Unread>,
}

/// Why a document cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The byte of the text at which reading stopped.
    pub at: usize,
    /// Why.
    pub what: &'static str,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Items.
    List,
    /// Keys and values; a key may occur twice.
    Map,
    /// A text as it is meant, whatever type it has.
    Scalar {
        /// Whether it is in quotes, or a block of lines.
        is_quoted: bool,
        /// Whether its tag says that it is base64 of something.
        is_binary: bool,
    },
}

struct Node {
    kind: NodeKind,
    /// The node that this one, an alias, stands for.
    target: Option<usize>,
    key: Option<(Value, Range<usize>)>,
    value: Value,
    /// The bytes of the value in the text, without its key.
    span: Range<usize>,
    parent: Option<usize>,
    /// Its position in the list that it is in.
    position: usize,
    /// How many nodes are directly below it.
    items: usize,
    /// One past the last node below it.
    end: usize,
}

/// A text: a place in the source, or in what was decoded.
#[derive(Clone, Copy, Default)]
struct Value {
    start: usize,
    end: usize,
    is_decoded: bool,
}

impl<'a> Outline<'a> {
    /// Reads a text. What cannot be read is told by its document; the others are not touched by it.
    #[must_use]
    pub fn read(text: &'a str) -> Self {
        let masked = if text.contains("{{") {
            template::mask(text)
        } else {
            template::Masked { text: Cow::Borrowed(text), actions: Vec::new() }
        };
        let mut outline = Self {
            text,
            actions: masked.actions,
            documents: Vec::new(),
            nodes: Vec::new(),
            decoded: SecretBytes::new(),
            budget: Cell::new(MAX_VISITS),
        };
        for span in chunks::chunks(&masked.text) {
            outline.take(&masked.text[span.clone()], span);
        }
        outline
    }

    /// Reads what lies between two marks of documents: one, or in JSON any number of them.
    fn take(&mut self, text: &str, span: Range<usize>) {
        let first = self.nodes.len();
        let mut result = Err(Unread { at: span.start, what: "" });
        let is_json = text.trim_start().starts_with(['{', '[']);
        if is_json {
            result = self.attempt(&span, |reader| json::read(reader, text, json::Dialect::Strict));
        }
        if result.is_err() {
            result = self.attempt(&span, |reader| reader.read(text));
        }
        if is_json && result.is_err() {
            let loose = self.attempt(&span, |reader| json::read(reader, text, json::Dialect::Loose));
            result = loose.or(result);
        }
        match result {
            Err(error) => self.documents.push(Document { span, root: None, error: Some(error) }),
            Ok(()) => {
                let mut next = first;
                let mut start = span.start;
                while let Some(node) = self.nodes.get(next) {
                    let (root, after) = (Some(next), node.end);
                    let end = self.nodes.get(after).map_or(span.end, |node| node.span.start);
                    self.documents.push(Document { span: start..end, root, error: None });
                    (next, start) = (after, end);
                }
            }
        }
    }

    fn attempt(
        &mut self,
        span: &Range<usize>,
        read: impl FnOnce(&mut Reader<'_, 'a>) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        let first = self.nodes.len();
        let (open, anchors) = (Vec::new(), HashMap::new());
        let mut reader = Reader { outline: self, open, anchors, key: None, base: span.start };
        let result = read(&mut reader);
        if result.is_err() {
            self.nodes.truncate(first);
        }
        result
    }

    /// Returns the documents that are not empty.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// Returns the root of a document, if it can be read.
    #[must_use]
    pub fn root(&self, document: &Document) -> Option<Entry<'_>> {
        document.root.map(|node| Entry::new(self, node))
    }

    /// Returns the roots of all documents that can be read.
    pub fn roots(&self) -> impl Iterator<Item = Entry<'_>> {
        self.documents.iter().filter_map(|document| self.root(document))
    }

    /// Returns all nodes that are written down, in order: not what aliases stand for.
    pub fn nodes(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.nodes.len()).map(|node| Entry::new(self, node))
    }

    /// Returns whether no template makes a part of it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.actions.is_empty()
    }

    /// Returns whether aliases and merges stand for more nodes than were looked at.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.budget.get() == 0
    }

    fn bytes(&self, value: Value) -> &str {
        if !value.is_decoded {
            return self.text.get(value.start..value.end).unwrap_or_default();
        }
        let decoded = self.decoded.expose_secret().get(value.start..value.end).unwrap_or_default();
        str::from_utf8(decoded).unwrap_or_default()
    }

    /// Takes some of the steps that aliases and merges may cost.
    pub(super) fn spend(&self, steps: usize) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(steps));
        left >= steps
    }

    fn has_action(&self, span: &Range<usize>) -> bool {
        !self.actions_in(span).is_empty()
    }

    /// Returns the actions that have a part of some bytes.
    fn actions_in(&self, span: &Range<usize>) -> &[Range<usize>] {
        let first = self.actions.partition_point(|action| action.end <= span.start);
        let last = self.actions.partition_point(|action| action.start < span.end);
        self.actions.get(first..last).unwrap_or_default()
    }
}

struct Reader<'r, 'a> {
    outline: &'r mut Outline<'a>,
    open: Vec<usize>,
    anchors: HashMap<usize, usize>,
    key: Option<(Value, Range<usize>)>,
    /// Where the document starts in the text.
    base: usize,
}

impl Reader<'_, '_> {
    fn read(&mut self, text: &str) -> Result<(), Unread> {
        let options = granit_parser::options! {
            block_scalar_eof_without_line_feed: true,
            emit_comments: false,
            flow_nesting_limit: MAX_NESTING,
            block_nesting_limit: MAX_NESTING,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| {
                let at = error.marker().byte_offset().unwrap_or_default().min(text.len());
                Unread { at: self.base + at, what: "it is not valid YAML" }
            })?;
            self.take(event, &range_of(&span), text);
            self.limit()?;
        }
        Ok(())
    }

    fn limit(&self) -> Result<(), Unread> {
        if self.outline.nodes.len() > MAX_NODES {
            return Err(Unread { at: self.base, what: "it has more values than are looked at" });
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: &Range<usize>, text: &str) {
        match event {
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied();
                let kind = target.map_or(PLAIN, |target| self.outline.nodes[target].kind);
                self.push(kind, Value::default(), span, 0);
                if let Some(node) = self.outline.nodes.last_mut() {
                    // What is open contains the alias: it would contain itself.
                    node.target = target.filter(|target| !self.open.contains(target));
                }
            }
            Event::MappingEnd | Event::SequenceEnd => self.close(span),
            Event::MappingStart(_, anchor, _) => self.start(NodeKind::Map, span, anchor),
            Event::SequenceStart(_, anchor, _) => self.start(NodeKind::List, span, anchor),
            Event::Scalar(value, style, anchor, tag) => {
                let is_quoted = style != ScalarStyle::Plain;
                let is_binary = tag.is_some_and(|tag| tag.suffix().ends_with("binary"));
                // The parser says `~` where nothing is written.
                let value = if !is_quoted && span.is_empty() { "" } else { &value };
                let value = self.value(value, span, text);
                self.scalar(NodeKind::Scalar { is_quoted, is_binary }, value, span, anchor);
            }
            _ => {}
        }
    }

    /// Returns where a text is: in the source, if it is written there as it is meant.
    fn value(&mut self, value: &str, span: &Range<usize>, text: &str) -> Value {
        let written = [span.clone(), span.start + 1..span.end.saturating_sub(1)];
        let place = written.into_iter().find(|range| text.get(range.clone()) == Some(value));
        if let Some(place) = place {
            return Value { start: self.base + place.start, end: self.base + place.end, is_decoded: false };
        }
        let start = self.outline.decoded.len();
        let place = self.base + span.start..self.base + span.end;
        let actions = self.outline.actions_in(&place);
        if actions.is_empty() {
            self.outline.decoded.push_str(value);
        } else {
            let masked = text.get(span.clone()).unwrap_or_default();
            let written = self.outline.text.get(place.clone()).unwrap_or_default();
            let actions = actions.iter().filter(|action| action.start >= place.start);
            let actions = actions.map(|action| action.start - place.start..action.end - place.start);
            let value = restored::restored(value, masked, written, actions);
            self.outline.decoded.push_str(&value);
        }
        Value { start, end: self.outline.decoded.len(), is_decoded: true }
    }

    fn scalar(&mut self, kind: NodeKind, value: Value, span: &Range<usize>, anchor: usize) {
        if self.awaits_key() {
            self.key = Some((value, self.base + span.start..self.base + span.end));
            return;
        }
        self.push(kind, value, span, anchor);
    }

    fn start(&mut self, kind: NodeKind, span: &Range<usize>, anchor: usize) {
        if self.awaits_key() {
            // No manifest has such a key; what is below it is a value without one.
            self.key = Some((Value::default(), self.base + span.start..self.base + span.start));
        }
        self.push(kind, Value::default(), span, anchor);
        self.open.push(self.outline.nodes.len() - 1);
    }

    fn close(&mut self, span: &Range<usize>) {
        let Some(node) = self.open.pop() else { return };
        let end = self.outline.nodes.len();
        let last = self.outline.nodes[node + 1..].last().map_or(0, |node| node.span.end);
        let node = &mut self.outline.nodes[node];
        node.end = end;
        node.span.end = if span.is_empty() { last.max(node.span.start) } else { self.base + span.end };
    }

    fn awaits_key(&self) -> bool {
        let parent = self.open.last().map(|&node| self.outline.nodes[node].kind);
        parent == Some(NodeKind::Map) && self.key.is_none()
    }

    fn push(&mut self, kind: NodeKind, value: Value, span: &Range<usize>, anchor: usize) {
        let index = self.outline.nodes.len();
        if anchor > 0 {
            self.anchors.insert(anchor, index);
        }
        let parent = self.open.last().copied();
        let position = parent.map_or(0, |parent| {
            let items = &mut self.outline.nodes[parent].items;
            *items += 1;
            *items - 1
        });
        self.outline.nodes.push(Node {
            kind,
            target: None,
            key: self.key.take(),
            value,
            span: self.base + span.start..self.base + span.end,
            parent,
            position,
            items: 0,
            end: index + 1,
        });
    }
}

/// Returns what a text begins with, of at most so many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}

fn range_of(span: &EventSpan) -> Range<usize> {
    let at = |marker: &granit_parser::Marker| marker.byte_offset().unwrap_or_default();
    at(&span.start)..at(&span.end)
}

const PLAIN: NodeKind = NodeKind::Scalar { is_quoted: false, is_binary: false };

/// How deep maps and lists are nested at most.
const MAX_NESTING: usize = 200;

/// How many values a file has at most.
const MAX_NODES: usize = 4_000_000;

/// How many steps aliases and merges of a file cost at most.
const MAX_VISITS: usize = 20_000_000;

/// How many steps it costs to visit a value through an alias.
pub(super) const VISIT: usize = 20;

#[cfg(test)]
mod tests;

//! What a document says, whatever format it is written in: maps, lists, scalars and comments, in
//! document order.
//!
//! A tree is a flat list of nodes in pre-order, so that a walk is a loop and deep nesting costs no
//! stack. Texts are places in the source or in a side buffer; both wipe themselves.
//!
//! Invariants: `nodes[i].end` is one past the last node below `i`; the root of every document is a
//! map; a node has a key exactly if its parent is a map and it is not a comment.

mod difference;
mod finder;
mod line_index;
mod path;
mod same;

pub use difference::{Difference, differences};
pub use finder::Finder;
pub(crate) use line_index::LineIndex;
pub use path::{PathError, Step, TreePath};
pub(crate) use same::{same_value, same_values, values};

use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::secret::SecretBytes;

/// A document, or several, as nodes.
pub struct Tree {
    source: SecretBytes,
    decoded: SecretBytes,
    nodes: Vec<Node>,
    documents: Vec<NodeId>,
    metadata: MetadataEntry,
    /// Where lines end, once somebody asked for a line.
    lines: OnceLock<LineIndex>,
}

/// The `sops` entry of a document, as its format finds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum MetadataEntry {
    /// There is none: the document is not encrypted.
    #[default]
    Absent,
    /// There is one, but it is not a mapping.
    NotAMapping,
    /// The entry of the first document.
    Present(serde_json::Map<String, Json>),
}

/// Names a node of one tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// One element of a tree.
#[derive(Clone, Copy)]
pub struct Node {
    /// What the node holds.
    pub value: Value,
    /// The node's key, if its parent is a map and it is not a comment.
    pub key: Option<Text>,
    /// The bytes of the source that an edit of this node replaces: tag, quotes and block header
    /// belong to it, an anchor and a key do not. A comment's span starts at its marker. Empty for a
    /// node that is not written down (an implicit null, a copy below an alias).
    pub span: Span,
    /// Where the key is written in the source, with its quotes; the start of `span` if there is none.
    pub key_start: u32,
    /// One past the last node below this one, as an index.
    pub end: u32,
    /// How the node is written.
    pub style: Style,
    /// Why the node is in the tree.
    pub origin: Origin,
}

/// What a node holds.
#[derive(Clone, Copy, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A comment, without its marker.
    Comment(Text),
    /// A 64-bit floating point number.
    Float(f64),
    /// A 64-bit integer.
    Int(i64),
    /// Items in order.
    List,
    /// Keys and values in order; a key may occur twice.
    Map,
    /// Nothing.
    Null,
    /// A string; arbitrary bytes in a binary document, else UTF-8.
    Str(Text),
    /// A point in time, as RFC 3339 text in the form that SOPS hashes.
    Time(Text),
    /// An integer above `i64::MAX`, which SOPS cannot hold: it may be read, never encrypted.
    Unsigned(u64),
}

/// How a node is written in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A map or list in indented lines.
    Block,
    /// A scalar in double quotes.
    DoubleQuoted,
    /// A map or list in brackets.
    Flow,
    /// A block scalar that folds its lines.
    Folded,
    /// A comment behind a value on its line.
    Inline,
    /// A block scalar that keeps its lines.
    Literal,
    /// A scalar without quotes, or a comment on a line of its own.
    Plain,
    /// A scalar in single quotes.
    SingleQuoted,
    /// A comment that sops passes over: it says nothing to a rule.
    Unseen,
}

/// Why a node is in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The root of what an alias stands for; its span is the alias.
    Alias,
    /// Below an alias: it has no place of its own in the source.
    Copy,
    /// Part of the `sops` entry: not content.
    Metadata,
    /// Written where its span says.
    Source,
}

/// A place in a tree's source, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A text of one tree; read it with [`Tree::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    start: u32,
    length: u32,
}

impl Tree {
    /// Returns a tree without documents over `source`, for a format's reader to fill.
    ///
    /// # Panics
    /// If the source is longer than [`MAX_SOURCE`]: check first.
    #[must_use]
    pub fn new(source: SecretBytes) -> Self {
        assert!(source.len() <= MAX_SOURCE, "the caller checked the size of the source");
        Self {
            source,
            decoded: SecretBytes::new(),
            nodes: Vec::new(),
            documents: Vec::new(),
            metadata: MetadataEntry::Absent,
            lines: OnceLock::new(),
        }
    }

    /// Starts a document: pushes its root, an open map.
    pub fn open_document(&mut self, span: Span, style: Style) -> NodeId {
        let root = self.push(Node::new(Value::Map, None, span, style));
        self.documents.push(root);
        root
    }

    /// Appends a node, without children so far.
    pub fn push(&mut self, mut node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("a source of 4 GiB has fewer nodes"));
        node.end = id.0 + 1;
        self.nodes.push(node);
        id
    }

    /// Ends a map or list: every node pushed since `id` is below it.
    pub fn close(&mut self, id: NodeId) {
        let end = u32::try_from(self.nodes.len()).expect("a source of 4 GiB has fewer nodes");
        self.nodes[id.index()].end = end;
    }

    /// Keeps a text that is not written in the source as it is meant.
    pub fn intern(&mut self, bytes: &[u8]) -> Text {
        let start = self.source.len() + self.decoded.len();
        self.decoded.extend_from_slice(bytes);
        Text {
            start: u32::try_from(start).expect("decoded text is bounded by the source"),
            length: u32::try_from(bytes.len()).expect("decoded text is bounded by the source"),
        }
    }

    /// Marks a node and all below it as metadata.
    pub fn mark_metadata(&mut self, id: NodeId) {
        let end = self.node(id).end as usize;
        self.nodes[id.index()..end].iter_mut().for_each(|node| node.origin = Origin::Metadata);
    }

    /// Records the `sops` entry that the reader found.
    pub fn set_metadata(&mut self, metadata: MetadataEntry) {
        self.metadata = metadata;
    }

    /// Replaces what a scalar or comment holds.
    pub fn set_value(&mut self, id: NodeId, value: Value) {
        self.nodes[id.index()].value = value;
    }

    /// Returns a node to change.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// Returns the bytes that the tree was read from.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        self.source.expose_secret()
    }

    /// Returns the bytes that the tree was read from, and wipes the rest.
    #[must_use]
    pub fn into_source(self) -> SecretBytes {
        self.source
    }

    /// Returns the `sops` entry.
    #[must_use]
    pub fn metadata(&self) -> &MetadataEntry {
        &self.metadata
    }

    /// Returns the roots of the documents.
    #[must_use]
    pub fn documents(&self) -> &[NodeId] {
        &self.documents
    }

    /// Returns the 0-based position of the document that a node is in.
    #[must_use]
    pub fn document_of(&self, id: NodeId) -> usize {
        self.documents.partition_point(|&root| root <= id).saturating_sub(1)
    }

    /// Returns a node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Returns all nodes in document order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
    }

    /// Returns the node at a position among all nodes.
    #[must_use]
    pub fn id(&self, index: usize) -> Option<NodeId> {
        (index < self.nodes.len()).then_some(NodeId(index as u32))
    }

    /// Returns the map or list that a node is in; `None` for the root of a document.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        let before = self.nodes().take(id.index()).rev();
        let mut around = before.filter(|(_, node)| node.end as usize > id.index());
        around.next().map(|(id, _)| id)
    }

    /// Returns the nodes directly below `id`, comments and metadata included.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.node(id).end;
        let mut next = id.0 + 1;
        std::iter::from_fn(move || {
            (next < end).then(|| {
                let child = NodeId(next);
                next = self.node(child).end;
                child
            })
        })
    }

    /// Returns the values directly below `id`: neither comments nor metadata.
    pub fn items(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.children(id).filter(|&child| {
            let node = self.node(child);
            node.origin != Origin::Metadata && !matches!(node.value, Value::Comment(_))
        })
    }

    /// Returns the first value below `root` at `path`.
    #[must_use]
    pub fn get(&self, root: NodeId, path: &TreePath) -> Option<NodeId> {
        path.steps().iter().try_fold(root, |node, step| match (step, self.node(node).value) {
            (Step::Key(key), Value::Map) => {
                self.items(node).find(|&item| self.key(item) == Some(key.as_bytes()))
            }
            (Step::Index(index), Value::List) => self.items(node).nth(*index),
            _ => None,
        })
    }

    /// Returns a map as a document of its own over the same source. The node at a position in it is the one that is as
    /// much further in this tree as `map` is.
    ///
    /// # Panics
    /// If the node is not a map.
    #[must_use]
    pub(crate) fn subtree(&self, map: NodeId) -> Self {
        assert!(self.node(map).value == Value::Map, "a document is a map");
        let mut tree = Self::new(SecretBytes::from(self.source()));
        tree.decoded = SecretBytes::from(self.decoded.expose_secret());
        let shifted = |node: &Node| Node { end: node.end - map.0, ..*node };
        tree.nodes = self.nodes[map.index()..self.node(map).end as usize].iter().map(shifted).collect();
        tree.nodes[0].key = None;
        tree.documents.push(NodeId(0));
        tree
    }

    /// Returns the bytes of a text.
    #[must_use]
    pub fn bytes(&self, text: Text) -> &[u8] {
        let start = text.start as usize;
        let length = text.length as usize;
        match start.checked_sub(self.source.len()) {
            None => &self.source.expose_secret()[start..start + length],
            Some(start) => &self.decoded.expose_secret()[start..start + length],
        }
    }

    /// Returns a node's key.
    #[must_use]
    pub fn key(&self, id: NodeId) -> Option<&[u8]> {
        self.node(id).key.map(|key| self.bytes(key))
    }

    /// Returns the bytes of the source in `span`.
    #[must_use]
    pub fn slice(&self, span: Span) -> &[u8] {
        &self.source.expose_secret()[span.start as usize..span.end as usize]
    }

    /// Returns the 1-based line of a byte of the source.
    #[must_use]
    pub fn line(&self, offset: u32) -> usize {
        self.lines.get_or_init(|| LineIndex::new(self)).line(offset)
    }

    /// Returns the value at `id` as JSON, without comments and metadata.
    ///
    /// Of equal keys the last one stays, bytes that are no UTF-8 are replaced, and numbers that JSON
    /// does not have become null. Below 128 levels there is an ellipsis, as what works on JSON recurses. The
    /// result does not wipe itself: use it for metadata, for reports, and for callers that ask for it.
    #[must_use]
    pub fn to_json(&self, id: NodeId) -> Json {
        self.json_of(id, 0, |child| self.node(child).origin != Origin::Metadata)
    }

    /// Returns an entry of metadata as JSON, whether it is marked as metadata already or not.
    pub(crate) fn metadata_json(&self, id: NodeId) -> Json {
        self.json_of(id, 0, |_| true)
    }

    fn json_of(&self, id: NodeId, depth: usize, wanted: impl Fn(NodeId) -> bool + Copy) -> Json {
        let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let is_value = |&child: &NodeId| !matches!(self.node(child).value, Value::Comment(_));
        let items = || self.children(id).filter(is_value).filter(move |&child| wanted(child));
        match self.node(id).value {
            Value::Bool(value) => value.into(),
            Value::Comment(_) | Value::Null => Json::Null,
            Value::Float(value) => value.into(),
            Value::Int(value) => value.into(),
            Value::Unsigned(value) => value.into(),
            Value::Str(text) | Value::Time(text) => lossy(self.bytes(text)).into(),
            Value::List | Value::Map if depth >= MAX_JSON_DEPTH => "…".into(),
            Value::List => items().map(|item| self.json_of(item, depth + 1, wanted)).collect(),
            Value::Map => {
                let entry = |item| {
                    let key = lossy(self.key(item).unwrap_or_default());
                    (key, self.json_of(item, depth + 1, wanted))
                };
                Json::Object(items().map(entry).collect())
            }
        }
    }

    /// Appends a JSON value as nodes, under `key` if the parent is a map.
    pub fn push_json(&mut self, key: Option<&str>, json: &Json) -> NodeId {
        let key = key.map(|key| self.intern(key.as_bytes()));
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => number.as_i64().map(Value::Int).unwrap_or_else(|| {
                number.as_u64().map_or(Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Unsigned)
            }),
            Json::String(text) => Value::Str(self.intern(text.as_bytes())),
            Json::Array(_) => Value::List,
            Json::Object(_) => Value::Map,
        };
        let style = if matches!(value, Value::List | Value::Map) { Style::Block } else { Style::Plain };
        let id = self.push(Node::new(value, key, Span::default(), style));
        match json {
            Json::Array(items) => items.iter().for_each(|item| {
                self.push_json(None, item);
            }),
            Json::Object(entries) => {
                entries.iter().for_each(|(key, value)| {
                    self.push_json(Some(key), value);
                });
            }
            _ => {}
        }
        self.close(id);
        id
    }
}

impl Node {
    /// Returns a node without children, written in the source.
    #[must_use]
    pub const fn new(value: Value, key: Option<Text>, span: Span, style: Style) -> Self {
        Self { value, key, span, key_start: span.start, end: 0, style, origin: Origin::Source }
    }
}

impl NodeId {
    /// Returns the position of the node among all nodes of its tree.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Span {
    /// Returns the span from `start` to `end`, in bytes; both at most [`MAX_SOURCE`].
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// Returns how many bytes the span covers.
    #[must_use]
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Returns whether the span covers nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the text that stands verbatim in the source at this place.
    #[must_use]
    pub const fn text(self) -> Text {
        Text { start: self.start, length: self.end - self.start }
    }
}

/// How deep JSON is nested at most.
const MAX_JSON_DEPTH: usize = 128;

/// The longest source that is read, in bytes.
pub const MAX_SOURCE: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_went_in() {
        let json = serde_json::json!({"a": [1, -2.5, {"b": null}], "c": "text", "d": true, "e": u64::MAX});
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.push_json(None, &json);
        assert_eq!(tree.to_json(root), json);
    }

    #[test]
    fn children_are_the_nodes_directly_below() {
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.push_json(None, &serde_json::json!({"a": [1, [2, 3]], "b": {}}));
        let keys: Vec<_> = tree.children(root).map(|id| tree.key(id)).collect();
        assert_eq!(keys, [Some(&b"a"[..]), Some(b"b")]);
    }

    #[test]
    fn a_path_leads_through_maps_and_lists() {
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.push_json(None, &serde_json::json!({"a": [1, {"b": 7}]}));
        let path = TreePath::parse(r#"["a"][1]["b"]"#).expect("a valid path");
        let found = tree.get(root, &path).expect("the path exists");
        assert!(tree.node(found).value == Value::Int(7));
        assert!(tree.get(root, &TreePath::parse(r#"["a"]["b"]"#).expect("a valid path")).is_none());
    }
}

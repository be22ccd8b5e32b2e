//! The tree of a YAML source, from its outline and the comments of its nodes.
//!
//! Comments become nodes where sops puts them: in the container and the order of its tree. Those that
//! sops drops are kept in the nearest container, so that none stays in clear unseen.

mod aliases;
mod keys;

use std::collections::HashMap;
use std::mem::{replace, take};
use std::ops::Range;

use super::comments::Comments;
use super::outline::{Item, ItemKind};
use super::tokens::Line;
use crate::format::{METADATA_KEY, ParseError, ParseErrorKind};
use crate::tree::{Node, NodeId, Span, Style, Text, Tree, Value};

/// Fills a tree whose decoded texts are in place.
///
/// # Errors
/// If SOPS cannot hold what the outline says.
pub(super) fn build(
    tree: Tree,
    items: &[Item],
    comments: &Comments,
    lines: &[Line],
) -> Result<Tree, ParseError> {
    let mut builder = Builder {
        tree,
        comments,
        lines,
        frames: Vec::new(),
        anchors: HashMap::new(),
        copies_left: FREE_COPIES + items.len(),
        keys: Vec::new(),
    };
    for (position, item) in items.iter().enumerate() {
        builder.take(position as u32, item)?;
    }
    // What is left belongs to the last document.
    if let Some(&root) = builder.tree.documents().last() {
        builder.put(comments.rest(), Style::Unseen);
        builder.tree.close(root);
    }
    Ok(builder.tree)
}

struct Builder<'a> {
    tree: Tree,
    comments: &'a Comments,
    lines: &'a [Line],
    frames: Vec<Frame>,
    anchors: HashMap<u32, Anchored>,
    copies_left: usize,
    /// Room for the keys of a map.
    keys: Vec<(Text, u32)>,
}

/// What an anchor names.
#[derive(Clone, Copy)]
enum Anchored {
    /// A map or list that is complete.
    Closed(NodeId),
    /// A map or list that is not complete.
    Open,
    /// A scalar or a key.
    Scalar(Value, Style),
}

/// A document, map or list that is open.
struct Frame {
    kind: ItemKind,
    is_flow: bool,
    anchor: u32,
    in_metadata: bool,
    /// `None` for a document without content so far.
    node: Option<NodeId>,
    has_entries: bool,
    /// The key whose value comes next, and where its entry starts.
    key: Option<(Text, u32)>,
    /// The comments that were noted below that key.
    key_foot: Range<u32>,
    /// The comments below the last entry, which others further down may push out; those above the first
    /// entry of a document.
    foot: Range<u32>,
    /// Where the last entry ends.
    end: u32,
}

impl Builder<'_> {
    fn take(&mut self, position: u32, item: &Item) -> Result<(), ParseError> {
        let Some(frame) = self.frames.last() else {
            self.start_document(position);
            return Ok(());
        };
        let is_key = frame.kind == ItemKind::Map && frame.key.is_none();
        match (item.kind, frame.kind) {
            (ItemKind::End, ItemKind::Document) => self.end_document(position, item),
            (ItemKind::End, _) => self.end(position)?,
            (_, ItemKind::Document) => self.take_root(position, item)?,
            (ItemKind::List | ItemKind::Map, _) => self.start(position, item)?,
            (_, _) if is_key => self.take_key(position, item)?,
            (_, _) => self.take_value(position, item)?,
        }
        Ok(())
    }

    fn start_document(&mut self, position: u32) {
        let foot = self.comments.of(position).head;
        self.frames.push(Frame { foot, ..Frame::new(ItemKind::Document) });
    }

    fn end_document(&mut self, position: u32, item: &Item) {
        let Some(frame) = self.frames.pop() else { return };
        let root = frame.node.unwrap_or_else(|| self.open_root(item.span, Style::Block, frame.foot));
        let note = self.comments.of(position);
        self.put_all([note.head, note.line, note.foot]);
        self.tree.close(root);
    }

    fn take_root(&mut self, position: u32, item: &Item) -> Result<(), ParseError> {
        let is_null = item.kind == ItemKind::Scalar && item.value == Value::Null;
        if item.kind != ItemKind::Map && !is_null {
            return Err(self.error(item.span.start.min(item.entry), ParseErrorKind::NotAMap));
        }
        if is_null && item.span.is_empty() {
            // The root is opened where the document ends.
            return Ok(());
        }
        let header = self.frames.last_mut().map(|document| take(&mut document.foot)).unwrap_or_default();
        let root = self.open_root(item.span, item.style, header);
        if let Some(document) = self.frames.last_mut() {
            document.node = Some(root);
        }
        let note = self.comments.of(position);
        let behind_end = if is_null { 0..0 } else { self.comments.of(item.end).line };
        self.put_all([note.head, behind_end, note.line, note.foot]);
        if !is_null {
            self.open(root, item, false)?;
        }
        Ok(())
    }

    fn open_root(&mut self, span: Span, style: Style, header: Range<u32>) -> NodeId {
        let root = self.tree.open_document(span, style);
        self.put(header, Style::Plain);
        root
    }

    /// Takes the start of a map or list.
    fn start(&mut self, position: u32, item: &Item) -> Result<(), ParseError> {
        let (note, behind_end) = (self.comments.of(position), self.comments.of(item.end).line);
        let value = if item.kind == ItemKind::Map { Value::Map } else { Value::List };
        let key = self.frames.last().and_then(|frame| frame.key);
        let node = if key.is_some() {
            let node = self.push(value, key, item);
            self.put_all([note.head, behind_end]);
            node
        } else {
            self.put(note.head, Style::Plain);
            self.put(behind_end, Style::Inline);
            self.push(value, key, item)
        };
        // go-yaml drops these.
        self.put(note.line, Style::Unseen);
        self.put(note.foot, Style::Unseen);
        let starts_metadata = self.frames.len() == 2 && key.is_some_and(|key| self.is_metadata(key.0));
        self.open(node, item, starts_metadata)
    }

    fn open(&mut self, node: NodeId, item: &Item, starts_metadata: bool) -> Result<(), ParseError> {
        let in_metadata = starts_metadata || self.frames.last().is_some_and(|frame| frame.in_metadata);
        if in_metadata && self.frames.len() > MAX_METADATA_NESTING {
            return Err(self.error(item.entry, METADATA_NESTING));
        }
        if item.anchor != 0 {
            self.anchors.insert(item.anchor, Anchored::Open);
        }
        self.frames.push(Frame {
            is_flow: item.style == Style::Flow,
            anchor: item.anchor,
            in_metadata,
            node: Some(node),
            ..Frame::new(item.kind)
        });
        Ok(())
    }

    /// Takes the end of a map or list.
    fn end(&mut self, position: u32) -> Result<(), ParseError> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let Some(node) = frame.node else { return Ok(()) };
        let mut note = self.comments.of(position);
        let is_block = frame.kind == ItemKind::Map && !frame.is_flow && frame.has_entries;
        let stays_inside = is_block
            || self.frames.last().is_none_or(|parent| match parent.kind {
                ItemKind::Map => !parent.key_foot.is_empty(),
                kind => kind == ItemKind::Document,
            });
        let inside = if stays_inside { take(&mut note.foot) } else { 0..0 };
        self.put_all([frame.foot, inside, note.head]);
        self.tree.close(node);
        if !frame.is_flow {
            let target = self.tree.node_mut(node);
            target.span = Span { start: target.span.start.min(frame.end), end: frame.end };
            target.key_start = target.key_start.min(target.span.start);
        }
        if frame.kind == ItemKind::Map {
            self.check_keys(node)?;
        }
        if frame.anchor != 0 {
            self.anchors.insert(frame.anchor, Anchored::Closed(node));
        }
        self.complete(node, note.foot);
        Ok(())
    }

    fn take_key(&mut self, position: u32, item: &Item) -> Result<(), ParseError> {
        let value = match (item.kind, self.anchors.get(&item.anchor)) {
            (ItemKind::Alias, Some(Anchored::Scalar(value, _))) => *value,
            (ItemKind::Alias, _) => Value::Map,
            _ => item.value,
        };
        let Value::Str(text) = value else {
            return Err(self.error(item.span.start, ParseErrorKind::NonStringKey));
        };
        if item.kind == ItemKind::Scalar && item.anchor != 0 {
            self.anchors.insert(item.anchor, Anchored::Scalar(value, item.style));
        }
        let note = self.comments.of(position);
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        frame.key = Some((text, item.entry));
        let mut foot = take(&mut frame.foot);
        let mut pushed_out = 0..0;
        if !frame.is_flow && frame.has_entries && !note.foot.is_empty() {
            // It stands before the key, hence below the entry above.
            pushed_out = replace(&mut foot, note.foot);
        } else {
            frame.key_foot = note.foot;
        }
        self.note_entry(item.entry);
        self.put_all([pushed_out, foot, note.head, note.line]);
        Ok(())
    }

    /// Takes a scalar or an alias that is no key.
    fn take_value(&mut self, position: u32, item: &Item) -> Result<(), ParseError> {
        let note = self.comments.of(position);
        self.put(note.head, Style::Plain);
        self.put(note.line, Style::Inline);
        let key = self.frames.last().and_then(|frame| frame.key);
        let node = if item.kind == ItemKind::Alias {
            self.push_alias(key, item)?
        } else {
            if item.anchor != 0 {
                self.anchors.insert(item.anchor, Anchored::Scalar(item.value, item.style));
            }
            self.push(item.value, key, item)
        };
        self.complete(node, note.foot);
        Ok(())
    }

    fn push(&mut self, value: Value, key: Option<(Text, u32)>, item: &Item) -> NodeId {
        let mut node = Node::new(value, key.map(|key| key.0), item.span, item.style);
        node.key_start = key.map_or(item.entry, |key| key.1);
        self.tree.push(node)
    }

    /// Notes that an entry of the open map or list is complete; `foot` stands below its value.
    fn complete(&mut self, node: NodeId, foot: Range<u32>) {
        let Node { span, key_start, .. } = *self.tree.node(node);
        let is_in_root = self.frames.len() == 2;
        let Some(frame) = self.frames.last_mut() else { return };
        frame.end = span.end;
        let Some((key, _)) = frame.key.take() else {
            self.note_entry(key_start);
            self.put(foot, Style::Plain);
            return;
        };
        // A key without a foot of its own takes over that of its value.
        let key_foot = take(&mut frame.key_foot);
        let (below, last) = if key_foot.is_empty() { (key_foot, foot) } else { (foot, key_foot) };
        frame.foot = last;
        if is_in_root && self.is_metadata(key) {
            self.tree.mark_metadata(node);
        }
        self.put(below, Style::Plain);
    }

    /// Notes where an entry starts; the first one is the start of a block.
    fn note_entry(&mut self, start: u32) {
        let Some(frame) = self.frames.last_mut() else { return };
        frame.has_entries = true;
        if let Some(node) = frame.node {
            let span = &mut self.tree.node_mut(node).span;
            span.start = span.start.min(start);
        }
    }

    fn put_all<const N: usize>(&mut self, ranges: [Range<u32>; N]) {
        ranges.into_iter().for_each(|range| self.put(range, Style::Plain));
    }

    /// Appends comments.
    fn put(&mut self, range: Range<u32>, style: Style) {
        for &line in self.comments.lines(range) {
            let span = self.lines[line as usize].span;
            let text = Span { start: span.start + 1, end: span.end }.text();
            self.tree.push(Node::new(Value::Comment(text), None, span, style));
        }
    }

    fn is_metadata(&self, key: Text) -> bool {
        self.tree.bytes(key) == METADATA_KEY.as_bytes()
    }

    fn error(&self, at: u32, kind: ParseErrorKind) -> ParseError {
        ParseError { line: self.tree.line(at), kind }
    }
}

impl Frame {
    const fn new(kind: ItemKind) -> Self {
        Self {
            kind,
            is_flow: false,
            anchor: 0,
            in_metadata: false,
            node: None,
            has_entries: false,
            key: None,
            key_foot: 0..0,
            foot: 0..0,
            end: 0,
        }
    }
}

/// How many values aliases may stand for besides one for every value that is written down: as many as
/// go-yaml allows in a small document.
const FREE_COPIES: usize = 400_000;

/// How deep metadata may be nested: what reads it recurses.
const MAX_METADATA_NESTING: usize = 64;

const METADATA_NESTING: ParseErrorKind = ParseErrorKind::Metadata("it is nested too deeply");

//! The tree of a YAML source, from its outline and the comments of its nodes.
//!
//! Comments become nodes where sops puts them: in the container and the order of its tree. Those that
//! sops drops are kept in the nearest container, so that none stays in clear unseen.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::comments::Comments;
use super::outline::{Item, ItemKind};
use super::tokens::Line;
use crate::format::{METADATA_KEY, ParseError, ParseErrorKind};
use crate::tree::{Node, NodeId, Origin, Span, Style, Text, Tree, Value};

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
    let last = items.len().saturating_sub(1);
    for (position, item) in items.iter().enumerate() {
        builder.take(position as u32, item, position == last)?;
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
    /// `None` for a document without content so far.
    node: Option<NodeId>,
    kind: ItemKind,
    is_flow: bool,
    anchor: u32,
    /// The key whose value comes next.
    key: Option<(Text, u32)>,
    has_entries: bool,
    /// Where the last entry ends.
    end: u32,
    /// The comments below the last key that were noted with it.
    own_foot: Range<u32>,
    /// The comments below the last entry, which a comment further down may push out.
    foot: Range<u32>,
    in_metadata: bool,
}

impl Builder<'_> {
    fn take(&mut self, position: u32, item: &Item, is_last: bool) -> Result<(), ParseError> {
        let is_key =
            self.frames.last().is_some_and(|frame| frame.kind == ItemKind::Map && frame.key.is_none());
        match item.kind {
            ItemKind::Document => self.start_document(position),
            ItemKind::End if self.frames.len() == 1 => self.end_document(position, item, is_last),
            ItemKind::End => self.end(position)?,
            ItemKind::List | ItemKind::Map => self.start(position, item)?,
            ItemKind::Alias | ItemKind::Scalar if is_key => self.take_key(position, item)?,
            ItemKind::Alias | ItemKind::Scalar => self.take_value(position, item)?,
        }
        Ok(())
    }

    fn start_document(&mut self, position: u32) {
        let mut frame = Frame::new(None, ItemKind::Document, false);
        // They go into the root, which does not exist yet.
        frame.foot = self.comments.of(position).head;
        self.frames.push(frame);
    }

    fn end_document(&mut self, position: u32, item: &Item, is_last: bool) {
        let Some(frame) = self.frames.pop() else { return };
        let root = match frame.node {
            Some(root) => root,
            None => self.open_root(item.span, Style::Block, frame.foot),
        };
        let note = self.comments.of(position);
        for range in [note.head, note.line, note.foot] {
            self.put(range, Style::Plain);
        }
        if is_last {
            self.put(self.comments.rest(), Style::Plain);
        }
        self.tree.close(root);
    }

    fn open_root(&mut self, span: Span, style: Style, header: Range<u32>) -> NodeId {
        let root = self.tree.open_document(span, style);
        if let Some(document) = self.frames.last_mut() {
            document.node = Some(root);
        }
        self.put(header, Style::Plain);
        root
    }

    fn start(&mut self, position: u32, item: &Item) -> Result<(), ParseError> {
        let (note, end) = (self.comments.of(position), self.comments.of(item.end));
        let value = if item.kind == ItemKind::Map { Value::Map } else { Value::List };
        let Some(parent) = self.frames.last() else { return Ok(()) };
        let starts_metadata =
            self.frames.len() == 2 && parent.key.is_some_and(|key| self.is_metadata_key(key.0));
        let in_metadata = parent.in_metadata || starts_metadata;
        let parent = self.frames.last_mut().expect("just found");
        let node = match parent.kind {
            ItemKind::Document if item.kind == ItemKind::Map => {
                let header = std::mem::take(&mut parent.foot);
                let root = self.open_root(item.span, item.style, header);
                self.put(note.head, Style::Plain);
                self.put(end.line, Style::Plain);
                root
            }
            ItemKind::Document => return Err(self.error(item.span.start, ParseErrorKind::NotAMap)),
            ItemKind::Map => {
                let (key, entry) = parent.key.expect("the map has a key that awaits its value");
                let mut node = Node::new(value, Some(key), item.span, item.style);
                node.key_start = entry;
                let node = self.tree.push(node);
                self.put(note.head, Style::Plain);
                self.put(end.line, Style::Plain);
                node
            }
            _ => {
                self.put(note.head, Style::Plain);
                self.put(end.line, Style::Inline);
                let mut node = Node::new(value, None, item.span, item.style);
                node.key_start = item.entry;
                self.tree.push(node)
            }
        };
        self.put(note.line, Style::Plain);
        self.put(note.foot, Style::Plain);
        if item.anchor != 0 {
            self.anchors.insert(item.anchor, Anchored::Open);
        }
        let mut frame = Frame::new(Some(node), item.kind, item.style == Style::Flow);
        frame.anchor = item.anchor;
        frame.in_metadata = in_metadata;
        if in_metadata && self.frames.len() > MAX_METADATA_NESTING {
            return Err(self.error(item.entry, ParseErrorKind::Metadata("it is nested too deeply")));
        }
        self.frames.push(frame);
        Ok(())
    }

    fn end(&mut self, position: u32) -> Result<(), ParseError> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let Some(node) = frame.node else { return Ok(()) };
        let note = self.comments.of(position);
        let is_block_map = frame.kind == ItemKind::Map && !frame.is_flow;
        self.put(frame.foot, Style::Plain);
        let mut foot = note.foot;
        if is_block_map && frame.has_entries {
            self.put(std::mem::take(&mut foot), Style::Plain);
        }
        self.put(note.head, Style::Plain);
        let parent = self.frames.last_mut().expect("a map or list is in a document");
        let stays_inside = match parent.kind {
            ItemKind::Map => !parent.own_foot.is_empty(),
            ItemKind::List => false,
            _ => true,
        };
        if stays_inside {
            self.put(std::mem::take(&mut foot), Style::Plain);
        }
        let target = self.tree.node_mut(node);
        if !frame.is_flow {
            target.span.end = frame.end;
            target.span.start = target.span.start.min(frame.end);
            target.key_start = target.key_start.min(target.span.start);
        }
        self.tree.close(node);
        if frame.kind == ItemKind::Map {
            self.check_keys(node)?;
        }
        if frame.anchor != 0 {
            self.anchors.insert(frame.anchor, Anchored::Closed(node));
        }
        self.complete(node, foot);
        Ok(())
    }

    fn take_key(&mut self, position: u32, item: &Item) -> Result<(), ParseError> {
        let key = match item.kind {
            ItemKind::Alias => match self.anchors.get(&item.anchor) {
                Some(Anchored::Scalar(value, _)) => *value,
                _ => Value::Map,
            },
            _ => item.value,
        };
        let text = match key {
            Value::Str(text) => text,
            Value::Map => {
                let kind = ParseErrorKind::Syntax("a map or list cannot be a key".to_owned());
                return Err(self.error(item.span.start, kind));
            }
            _ => return Err(self.error(item.span.start, ParseErrorKind::NonStringKey)),
        };
        if item.kind == ItemKind::Scalar && item.anchor != 0 {
            self.anchors.insert(item.anchor, Anchored::Scalar(key, item.style));
        }
        let note = self.comments.of(position);
        let frame = self.frames.last_mut().expect("a key is in a map");
        frame.key = Some((text, item.entry));
        let mut foot = std::mem::take(&mut frame.foot);
        let is_first = !frame.has_entries;
        frame.has_entries = true;
        // Below the key above, not below this one: it stands before.
        let mut pushed_out = 0..0;
        if !frame.is_flow && !is_first && !note.foot.is_empty() {
            pushed_out = std::mem::replace(&mut foot, note.foot);
        } else {
            frame.own_foot = note.foot;
        }
        if let Some(node) = frame.node {
            let span = &mut self.tree.node_mut(node).span;
            span.start = span.start.min(item.entry);
        }
        for range in [pushed_out, foot, note.head, note.line] {
            self.put(range, Style::Plain);
        }
        Ok(())
    }

    fn take_value(&mut self, position: u32, item: &Item) -> Result<(), ParseError> {
        let note = self.comments.of(position);
        let Some(parent) = self.frames.last_mut() else { return Ok(()) };
        if parent.kind == ItemKind::Document {
            if item.kind == ItemKind::Alias || item.value != Value::Null {
                return Err(self.error(item.span.start, ParseErrorKind::NotAMap));
            }
            if item.span.is_empty() {
                // The root is opened where the document ends.
                return Ok(());
            }
            let header = std::mem::take(&mut parent.foot);
            self.open_root(item.span, item.style, header);
            for range in [note.head, note.line, note.foot] {
                self.put(range, Style::Plain);
            }
            return Ok(());
        }
        let (key, entry) = match parent.key {
            Some((key, entry)) => (Some(key), entry),
            None => (None, item.entry),
        };
        self.put(note.head, Style::Plain);
        self.put(note.line, Style::Inline);
        let node = match item.kind {
            ItemKind::Alias => self.copy(item, key, entry)?,
            _ => {
                let mut node = Node::new(item.value, key, item.span, item.style);
                node.key_start = entry;
                if item.anchor != 0 {
                    self.anchors.insert(item.anchor, Anchored::Scalar(item.value, item.style));
                }
                self.tree.push(node)
            }
        };
        self.complete(node, note.foot);
        Ok(())
    }

    /// Notes that an entry of the open map or list is complete.
    fn complete(&mut self, node: NodeId, foot: Range<u32>) {
        let Span { end, .. } = self.tree.node(node).span;
        let entry = self.tree.node(node).key_start;
        let Some(parent) = self.frames.last_mut() else { return };
        parent.end = end;
        match parent.kind {
            ItemKind::Map => {
                let key = parent.key.take();
                let own = std::mem::take(&mut parent.own_foot);
                let (below_value, below_key) = if own.is_empty() { (own, foot) } else { (foot, own) };
                parent.foot = below_key;
                let is_metadata =
                    self.frames.len() == 2 && key.is_some_and(|key| self.is_metadata_key(key.0));
                if is_metadata {
                    self.tree.mark_metadata(node);
                }
                self.put(below_value, Style::Plain);
            }
            ItemKind::List => {
                parent.has_entries = true;
                if let Some(list) = parent.node {
                    let span = &mut self.tree.node_mut(list).span;
                    span.start = span.start.min(entry);
                }
                self.put(foot, Style::Plain);
            }
            _ => {}
        }
    }

    /// Expands an alias: copies what it names, without comments.
    fn copy(&mut self, alias: &Item, key: Option<Text>, entry: u32) -> Result<NodeId, ParseError> {
        let place =
            |node: Node| Node { key, span: alias.span, key_start: entry, origin: Origin::Alias, ..node };
        let target = match self.anchors.get(&alias.anchor) {
            Some(Anchored::Scalar(value, style)) => {
                return Ok(self.tree.push(place(Node::new(*value, None, alias.span, *style))));
            }
            Some(Anchored::Closed(node)) => *node,
            _ => {
                let kind = ParseErrorKind::Syntax("an alias stands for a value that contains it".to_owned());
                return Err(self.error(alias.span.start, kind));
            }
        };
        let root = self.tree.push(place(*self.tree.node(target)));
        let end = Span { start: alias.span.end, end: alias.span.end };
        let in_metadata = self.frames.iter().any(|frame| frame.in_metadata);
        let first = target.index() + 1;
        let last = self.tree.node(target).end as usize;
        let mut open: Vec<(usize, NodeId)> = vec![(usize::MAX, root)];
        for index in first..last {
            let node = *self.tree.node(self.tree.id(index).expect("the node is below another"));
            while let Some((_, done)) = open.pop_if(|(end, _)| *end <= index) {
                self.tree.close(done);
            }
            if matches!(node.value, Value::Comment(_)) {
                continue;
            }
            self.copies_left = self
                .copies_left
                .checked_sub(1)
                .ok_or_else(|| self.error(alias.span.start, ParseErrorKind::AliasBomb))?;
            let copy = Node { span: end, key_start: end.start, origin: Origin::Copy, ..node };
            let copy = self.tree.push(copy);
            if matches!(node.value, Value::List | Value::Map) {
                open.push((node.end as usize, copy));
            }
            if in_metadata && open.len() > MAX_METADATA_NESTING {
                return Err(self.error(alias.span.start, ParseErrorKind::Metadata("it is nested too deeply")));
            }
        }
        for (_, done) in open.into_iter().rev() {
            self.tree.close(done);
        }
        Ok(root)
    }

    /// Checks that no key of a map occurs twice.
    fn check_keys(&mut self, map: NodeId) -> Result<(), ParseError> {
        self.keys.clear();
        for child in self.tree.children(map) {
            let node = self.tree.node(child);
            self.keys.extend(node.key.map(|key| (key, node.key_start)));
        }
        let bytes = |key: &(Text, u32)| self.tree.bytes(key.0);
        let duplicate = if self.keys.len() <= FEW_KEYS {
            let is_known = |index: usize| {
                self.keys[..index].iter().any(|other| bytes(other) == bytes(&self.keys[index]))
            };
            (1..self.keys.len()).find(|&index| is_known(index))
        } else {
            let mut seen = HashSet::with_capacity(self.keys.len());
            self.keys.iter().position(|key| !seen.insert(bytes(key)))
        };
        let Some(duplicate) = duplicate.map(|index| self.keys[index]) else { return Ok(()) };
        let key = String::from_utf8_lossy(self.tree.bytes(duplicate.0)).into_owned();
        Err(self.error(duplicate.1, ParseErrorKind::DuplicateKey(key)))
    }

    /// Appends comments.
    fn put(&mut self, range: Range<u32>, style: Style) {
        for &line in self.comments.lines(range) {
            let span = self.lines[line as usize].span;
            let text = Span { start: span.start + 1, end: span.end }.text();
            self.tree.push(Node::new(Value::Comment(text), None, span, style));
        }
    }

    fn is_metadata_key(&self, key: Text) -> bool {
        self.tree.bytes(key) == METADATA_KEY.as_bytes()
    }

    fn error(&self, at: u32, kind: ParseErrorKind) -> ParseError {
        ParseError { line: self.tree.line(at), kind }
    }
}

impl Frame {
    const fn new(node: Option<NodeId>, kind: ItemKind, is_flow: bool) -> Self {
        Self {
            node,
            kind,
            is_flow,
            anchor: 0,
            key: None,
            has_entries: false,
            end: 0,
            own_foot: 0..0,
            foot: 0..0,
            in_metadata: false,
        }
    }
}

/// How many values aliases may stand for besides one for every value that is written down: as many as
/// go-yaml allows in a small document.
const FREE_COPIES: usize = 400_000;

/// As many keys are compared pair by pair.
const FEW_KEYS: usize = 12;

/// How deep metadata may be nested: what reads it recurses.
const MAX_METADATA_NESTING: usize = 64;

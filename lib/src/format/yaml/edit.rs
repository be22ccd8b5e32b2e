//! Changes to YAML text in place: every byte that no change names stays.

mod anchors;
mod change;
mod entry;
mod lines;
mod place;
mod scalar;
mod structure;

use std::cell::OnceCell;
use std::collections::HashMap;

use super::write::flow::{flow, key_text};
use crate::format::splice::Splice;
use crate::format::{MetadataEdit, Rewrite, WriteError};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Span, Style, Tree, Value};

use anchors::aliases;
use entry::Entries;
use scalar::{Parent, Scalars};

pub(super) use change::{put, remove};

/// Returns the source of a tree with values, comments and metadata changed in their places.
pub(super) fn rewrite(tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
    let lines = lines::Lines::new(tree.source());
    let line_break = lines.line_break();
    let mut changes =
        Changes { tree, scalars: Scalars::new(tree), lines, line_break, splice: Splice::default() };
    changes.nodes(rewrite)?;
    let mut splice = changes.splice;
    match rewrite.metadata {
        MetadataEdit::Keep => {}
        MetadataEdit::Put(metadata) => Entries::new(tree).put(metadata, &mut splice)?,
        MetadataEdit::Remove => Entries::new(tree).remove(&mut splice),
    }
    Ok(splice.apply(tree.source()))
}

struct Changes<'a> {
    tree: &'a Tree,
    scalars: Scalars<'a>,
    lines: lines::Lines<'a>,
    line_break: &'static str,
    splice: Splice,
}

/// A map or list that the walk is in.
struct Frame {
    end: usize,
    id: NodeId,
    parent: Parent,
    /// The item that goes on being one if all others become comments; asked for only then.
    bare: OnceCell<Option<NodeId>>,
}

impl Changes<'_> {
    /// Walks over the tree to the nodes that change.
    fn nodes(&mut self, rewrite: &Rewrite<'_>) -> Result<(), WriteError> {
        let mut changed = rewrite.changed.iter().copied().peekable();
        let mut verbatim = rewrite.verbatim.iter().copied().peekable();
        let mut frames: Vec<Frame> = Vec::new();
        let aliases = if rewrite.changed.is_empty() { HashMap::new() } else { aliases(self.tree) };
        for (id, node) in self.tree.nodes() {
            while frames.pop_if(|frame| frame.end <= id.index()).is_some() {}
            let parent = frames.last().map_or(ROOT, |frame| frame.parent);
            let exact = verbatim.next_if(|(wanted, _)| *wanted == id);
            let is_changed = changed.next_if(|wanted| *wanted == id).is_some();
            if !rewrite.changed.is_empty() {
                self.key(id);
            }
            match (exact, node.origin) {
                (Some((_, text)), _) => self.exact(id, text),
                (None, Origin::Copy) => {}
                (None, Origin::Alias) => {
                    let target = aliases.get(&id).copied();
                    let is_touched = |node: NodeId| touches(rewrite.changed, self.tree, node);
                    if is_touched(id) || target.map_or(!rewrite.changed.is_empty(), is_touched) {
                        self.expand(id, parent);
                    }
                }
                (None, _) if is_changed => self.change(id, parent, frames.last())?,
                _ => {}
            }
            if matches!(node.value, Value::List | Value::Map) {
                let parent =
                    Parent { is_flow: node.style == Style::Flow, is_list: node.value == Value::List };
                frames.push(Frame { end: node.end as usize, id, parent, bare: OnceCell::new() });
            }
        }
        Ok(())
    }

    /// Writes what an alias stands for in the place of a key: what bears its name may change.
    fn key(&mut self, id: NodeId) {
        let node = self.tree.node(id);
        let Some(key) = self.tree.key(id).filter(|_| node.origin != Origin::Copy) else { return };
        let source = &self.tree.source()[node.key_start as usize..];
        let name = source.strip_prefix(b"?").map_or(source, <[u8]>::trim_ascii_start);
        if name.starts_with(b"*") {
            let start = self.tree.source().len() - name.len();
            let token = Span::new(start, start + anchors::name_length(name));
            self.splice.replace_with(token, |out| key_text(key, out));
        }
    }

    fn change(&mut self, id: NodeId, parent: Parent, frame: Option<&Frame>) -> Result<(), WriteError> {
        let node = self.tree.node(id);
        match node.value {
            Value::Comment(text) => {
                let text = self.tree.bytes(text);
                let is_comment = matches!(node.style, Style::Inline | Style::Plain | Style::Unseen)
                    && self.tree.slice(node.span).starts_with(b"#");
                match is_comment {
                    true => self.comment(id, text),
                    false => self.item_to_comment(id, text, parent, frame),
                }
            }
            _ => {
                self.scalars.set(id, parent, &mut self.splice);
                Ok(())
            }
        }
    }

    /// Puts a text in the place of a node's span as it is.
    fn exact(&mut self, id: NodeId, text: &[u8]) {
        let node = self.tree.node(id);
        let (start, mut end) = (node.span.start as usize, node.span.end as usize);
        let mut text = text;
        // Empty lines below a block scalar are not touched when it changes.
        if matches!(node.style, Style::Literal | Style::Folded) {
            end = start + trimmed(self.tree.slice(node.span)).len();
            text = trimmed(text);
        }
        self.splice.replace(Span::new(start, end), text);
    }

    /// Writes what an alias stands for in its place.
    fn expand(&mut self, root: NodeId, parent: Parent) {
        let node = self.tree.node(root);
        if !matches!(node.value, Value::List | Value::Map) {
            self.scalars.set(root, parent, &mut self.splice);
            return;
        }
        self.splice.replace_with(node.span, |out| {
            flow(self.tree, root, out);
        });
    }

    /// Writes another text into a comment.
    fn comment(&mut self, id: NodeId, text: &[u8]) -> Result<(), WriteError> {
        check_comment(text)?;
        let span = self.tree.node(id).span;
        self.splice.replace(Span { start: span.start + 1, end: span.end }, text);
        Ok(())
    }

    /// Writes a comment in the place of an item of a list, dash and all.
    fn item_to_comment(
        &mut self,
        id: NodeId,
        text: &[u8],
        parent: Parent,
        frame: Option<&Frame>,
    ) -> Result<(), WriteError> {
        check_comment(text)?;
        let node = self.tree.node(id);
        let Some(frame) = frame.filter(|frame| frame.parent.is_list) else {
            return Err(WriteError::Unsupported {
                format: "yaml",
                what: "a comment in the place of a value",
            });
        };
        let (start, end) = (node.key_start as usize, node.span.end as usize);
        let (lines, line_break) = (self.lines, self.line_break);
        let column = lines.column(start);
        let rest = lines.end(end);
        if parent.is_flow {
            let (start, end) = match entry::in_brackets(self.tree.source(), start, end) {
                (from, to) if from < start => (from + 1, to),
                other => other,
            };
            self.splice.replace_with(Span::new(start, end), |out| {
                out.push_str(if start > 0 && self.tree.source()[start - 1] == b',' { " #" } else { "#" });
                out.extend_from_slice(text);
                out.push_str(line_break);
                (0..column).for_each(|_| out.push(b' '));
            });
            return Ok(());
        }
        // A list of nothing but comments is still a list.
        let is_bare = *frame.bare.get_or_init(|| bare_item(self.tree, frame.id)) == Some(id);
        let is_last_on_line = lines.is_blank(end, rest);
        let hangs = self.tree.node(frame.id).key.is_some()
            && lines.column(self.tree.node(frame.id).key_start as usize) >= column;
        self.splice.replace_with(Span::new(start, end), |out| {
            if is_bare {
                out.push_str(if hangs { " [] " } else { "[] " });
            }
            out.push(b'#');
            out.extend_from_slice(text);
            if !is_last_on_line {
                out.push_str(line_break);
                (0..column).for_each(|_| out.push(b' '));
            }
        });
        if !is_last_on_line {
            let comment = end
                + self.tree.source()[end..rest].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.splice.delete(Span::new(end, comment));
        }
        Ok(())
    }
}

/// Where nothing stands around a document.
const ROOT: Parent = Parent { is_flow: false, is_list: false };

/// Returns whether one of some nodes, which are in order, is `node` or below it.
fn touches(changed: &[NodeId], tree: &Tree, node: NodeId) -> bool {
    let first = changed.partition_point(|&changed| changed < node);
    changed.get(first).is_some_and(|changed| changed.index() < tree.node(node).end as usize)
}

/// Returns the first item of a list that is left without items, as all of them turned out to be comments.
fn bare_item(tree: &Tree, list: NodeId) -> Option<NodeId> {
    let first = || tree.children(list).find(|&child| !is_written_comment(tree, child));
    if tree.items(list).next().is_none() { first() } else { None }
}

fn is_written_comment(tree: &Tree, id: NodeId) -> bool {
    tree.slice(tree.node(id).span).starts_with(b"#")
}

/// Returns a text without line breaks at its end.
fn trimmed(text: &[u8]) -> &[u8] {
    let length = text.iter().rposition(|byte| !lines::is_break(byte)).map_or(0, |last| last + 1);
    &text[..length]
}

/// A comment ends with its line.
fn check_comment(text: &[u8]) -> Result<(), WriteError> {
    let is_allowed =
        |char: char| !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}') || char == '\t';
    match std::str::from_utf8(text) {
        Ok(text) if text.chars().all(is_allowed) => Ok(()),
        _ => Err(WriteError::Unsupported { format: "yaml", what: "a comment of several lines" }),
    }
}

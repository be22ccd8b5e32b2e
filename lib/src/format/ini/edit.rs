//! Changes to the text of INI in place.
//!
//! A blank line stands between a document and its metadata. It comes and goes with the metadata, and ends a
//! value whose last line asks for another.

use serde_json::Value as Json;

use super::quote::{Position, quoted_key};
use super::scan::{Entry, Value as Scanned, entry, line_end, line_start, marker_length};
use super::write::{OUTSIDE, append_entries, append_metadata, append_scalar, append_section};
use super::{COLLECTION, NAME, NULL, unsupported};
use crate::format::splice::Splice;
use crate::format::{METADATA_KEY, MetadataEdit, Place, Rewrite, WriteError, has_key, only_document};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Origin, Span, Tree, Value};

pub(super) fn rewrite(tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
    let mut editor = Editor::new(tree, *rewrite)?;
    let mut nodes: Vec<_> =
        rewrite.verbatim.iter().map(|&(id, _)| id).chain(rewrite.changed.iter().copied()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for id in nodes {
        match tree.node(id).value {
            Value::Comment(_) => editor.comment(id)?,
            _ => editor.value(id)?,
        }
    }
    editor.metadata()?;
    Ok(editor.splice.apply_to_lines(tree.source()))
}

pub(super) fn put(tree: &Tree, place: Place<'_>, value: &Json) -> Result<SecretBytes, WriteError> {
    let mut editor = Editor::new(tree, Rewrite::default())?;
    let mut scratch = Tree::new(SecretBytes::new());
    let key = if let Place::Entry(_, key) = place { Some(key) } else { None };
    let value = scratch.push_json(key, value);
    if scratch.nodes().any(|(_, node)| node.value == Value::Null) {
        return Err(unsupported(NULL));
    }
    let is_map = |id: NodeId| tree.node(id).value == Value::Map;
    match (place, scratch.node(value).value) {
        (Place::Node(id), Value::Map) if id != editor.root && is_map(id) => {
            editor.replace_entries(id, &scratch, value)?;
        }
        (Place::Node(id), Value::Map | Value::List) if !is_map(id) => return Err(unsupported(COLLECTION)),
        (Place::Node(id), _) if !is_map(id) => editor.put_value(id, &scratch, value)?,
        (Place::Entry(map, _), Value::Map) if map == editor.root => editor.add_section(&scratch, value)?,
        (Place::Entry(map, _), Value::Map | Value::List) if map != editor.root => {
            return Err(unsupported(COLLECTION));
        }
        (Place::Entry(map, key), _) if map != editor.root && is_map(map) => {
            editor.add_entry(map, key, &scratch, value)?;
        }
        _ => return Err(unsupported(OUTSIDE)),
    }
    Ok(editor.splice.apply_to_lines(tree.source()))
}

pub(super) fn remove(tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
    let mut editor = Editor::new(tree, Rewrite::default())?;
    match tree.node(node).value {
        Value::Map if node == editor.root => return Err(unsupported("a document without its top")),
        Value::Map => editor.remove_section(node)?,
        Value::Comment(_) => return Err(unsupported("a comment taken out by itself")),
        _ => {
            let entry = editor.entry(tree.node(node))?;
            editor.splice.delete(editor.lines(entry.start, entry.value.end));
        }
    }
    Ok(editor.splice.apply_to_lines(tree.source()))
}

/// Gathers changes to a source.
struct Editor<'a> {
    tree: &'a Tree,
    root: NodeId,
    source: &'a str,
    line_break: &'static str,
    rewrite: Rewrite<'a>,
    splice: Splice,
}

impl<'a> Editor<'a> {
    fn new(tree: &'a Tree, rewrite: Rewrite<'a>) -> Result<Self, WriteError> {
        let root = only_document(tree, NAME)?;
        let source = std::str::from_utf8(tree.source()).map_err(|_| unsupported("bytes that are no text"))?;
        let is_windows = source.find('\n').is_some_and(|at| source[..at].ends_with('\r'));
        let line_break = if is_windows { "\r\n" } else { "\n" };
        Ok(Self { tree, root, source, line_break, rewrite, splice: Splice::default() })
    }

    /// Writes a value in its place. The comment beside it may be part of its span, and then stays if it does
    /// not change as well.
    fn value(&mut self, id: NodeId) -> Result<(), WriteError> {
        let node = *self.tree.node(id);
        if let Some(bytes) = self.verbatim(id) {
            self.splice.replace(node.span, bytes);
            return Ok(());
        }
        let scanned = self.entry(&node)?.value;
        let comment_moves = self.tree.id(id.index() + 1).is_some_and(|next| self.is_rewritten(next));
        self.replace_value(&node, &scanned, comment_moves, self.tree, node.value)
    }

    fn replace_value(
        &mut self,
        node: &Node,
        scanned: &Scanned,
        comment_moves: bool,
        tree: &Tree,
        value: Value,
    ) -> Result<(), WriteError> {
        let behind = self.behind(node, scanned);
        let goes = comment_moves && !behind.is_empty();
        let position = Position { quote: scanned.quote, is_commented: scanned.inline.is_some() && !goes };
        let behind = if goes { "" } else { behind };
        self.splice.replace_with(node.span, |out| {
            append_scalar(tree, value, position, out)?;
            out.push_str(behind);
            Ok(())
        })
    }

    /// Writes a comment in its place.
    fn comment(&mut self, id: NodeId) -> Result<(), WriteError> {
        let node = *self.tree.node(id);
        // A comment has its section in front of it, or a key.
        let Some(before) = id.index().checked_sub(1).and_then(|index| self.tree.id(index)) else {
            return Ok(());
        };
        let owner = *self.tree.node(before);
        let is_above = node.span.start < owner.key_start;
        if is_above && owner.key.is_some() && owner.value != Value::Map && !self.is_rewritten(before) {
            // What was beside the value is part of the comment now.
            let scanned = self.entry(&owner)?.value;
            let end = owner.span.end;
            self.splice.delete(Span { start: end - self.behind(&owner, &scanned).len() as u32, end });
        }
        if let Some(bytes) = self.verbatim(id) {
            self.splice.replace(node.span, bytes);
            return Ok(());
        }
        let Value::Comment(text) = node.value else { return Ok(()) };
        let text = std::str::from_utf8(self.tree.bytes(text))
            .map_err(|_| unsupported("a comment that is no text"))?;
        let start = node.span.start as usize;
        if owner.value == Value::Map && node.span.start < owner.span.end {
            let (marker, rest) = self.section_comment(&node, before);
            let rest = rest.to_owned();
            self.splice.replace_with(node.span, |out| {
                append_comment(text, marker, out);
                out.push_str(&rest);
            });
            return Ok(());
        }
        let is_beside = !self.source[line_start(self.source, start)..start].trim().is_empty();
        if is_beside && text.contains('\n') {
            return Err(unsupported("a comment of several lines beside a value"));
        }
        let marker = marker(&self.source[start..node.span.end as usize]);
        self.splice.replace_with(node.span, |out| append_comment(text, marker, out));
        Ok(())
    }

    /// Returns the marker of a section's comment, and what stands between the comment and the end of the
    /// section's name.
    fn section_comment(&self, comment: &Node, section: NodeId) -> (&'a str, String) {
        let header = self.tree.node(section).span.start as usize;
        let name =
            &self.source[header..header + self.tree.key(section).unwrap_or_default().len() + "[]".len()];
        let start = comment.span.start as usize;
        if start == header {
            return (MARKER, [self.line_break, name].concat());
        }
        let block = self.source[start..header].trim_end();
        (marker(block), [&self.source[start + block.len()..header], name].concat())
    }

    /// Puts the metadata in its place, or takes it out.
    fn metadata(&mut self) -> Result<(), WriteError> {
        let old = self.metadata_section();
        match (self.rewrite.metadata, old) {
            (MetadataEdit::Keep, _) | (MetadataEdit::Remove, None) => {}
            (MetadataEdit::Remove, Some(span)) => {
                let span = self.with_blank_line(self.lines(span.start as usize, span.end as usize));
                self.splice.delete(span);
            }
            (MetadataEdit::Put(_), _) if has_key(self.tree, self.root, METADATA_KEY) => {
                return Err(WriteError::ReservedKey(METADATA_KEY.to_owned()));
            }
            (MetadataEdit::Put(metadata), old) => {
                let mut lines = SecretBytes::new();
                if old.is_none() && !self.source.is_empty() {
                    lines.push(b'\n');
                }
                append_metadata(metadata, &mut lines)?;
                let end = self.end_of_lines();
                let span = old.map_or(end, |span| self.lines(span.start as usize, span.end as usize));
                let line_break = self.line_break;
                self.splice.replace_with(span, |out| append_lines(lines.expose_secret(), line_break, out));
            }
        }
        Ok(())
    }

    fn put_value(&mut self, id: NodeId, values: &Tree, value: NodeId) -> Result<(), WriteError> {
        let node = *self.tree.node(id);
        let scanned = self.entry(&node)?.value;
        self.replace_value(&node, &scanned, false, values, values.node(value).value)
    }

    fn replace_entries(&mut self, section: NodeId, values: &Tree, map: NodeId) -> Result<(), WriteError> {
        let mut lines = SecretBytes::new();
        append_entries(values, map, &mut lines)?;
        let span = self.tree.node(section).span;
        let start = if self.is_written(section) {
            line_end(self.source, span.start as usize)
        } else {
            line_start(self.source, span.start as usize)
        };
        let span = if span.is_empty() {
            Span::new(start, start)
        } else {
            Span { start: start as u32, ..self.lines(start, span.end as usize) }
        };
        self.splice.replace(span, lines.expose_secret());
        Ok(())
    }

    /// Adds a section behind the others.
    fn add_section(&mut self, values: &Tree, section: NodeId) -> Result<(), WriteError> {
        let mut lines = SecretBytes::new();
        append_section(values, section, &mut lines)?;
        let Some(metadata) = self.metadata_section() else {
            let separator = if self.source.is_empty() { "" } else { self.line_break };
            let end = self.end_of_lines();
            self.splice.replace_with(end, |out| {
                out.push_str(separator);
                out.extend_from_slice(lines.expose_secret());
            });
            return Ok(());
        };
        lines.push(b'\n');
        let start = line_start(self.source, metadata.start as usize);
        self.splice.replace(Span::new(start, start), lines.expose_secret());
        Ok(())
    }

    /// Adds a key behind the others of a section, written as the last of them.
    fn add_entry(
        &mut self,
        section: NodeId,
        key: &str,
        values: &Tree,
        value: NodeId,
    ) -> Result<(), WriteError> {
        let key = quoted_key(key.as_bytes())?;
        let mut line = SecretBytes::new();
        let last = self.tree.items(section).last().map(|id| self.entry(self.tree.node(id))).transpose()?;
        match &last {
            None => line.push_str(&format!("{key} = ")),
            Some(last) => {
                if self.is_open(last) {
                    line.push_str(self.line_break);
                }
                line.push_str(&self.spelled_as(&key, last));
            }
        }
        append_scalar(values, values.node(value).value, Position::default(), &mut line)?;
        line.push_str(self.line_break);
        let span = self.tree.node(section).span;
        let end = if span.is_empty() {
            // The keys in front of all sections.
            if span.end as usize != self.source.len() {
                line.push_str(self.line_break);
            }
            span
        } else {
            let end = self.lines(span.start as usize, span.end as usize).end;
            Span { start: end, end }
        };
        self.splice.replace(end, line.expose_secret());
        Ok(())
    }

    fn remove_section(&mut self, section: NodeId) -> Result<(), WriteError> {
        let span = self.tree.node(section).span;
        if span.is_empty() {
            return Err(unsupported("a document without a section DEFAULT"));
        }
        let first = self.tree.children(section).next().map(|id| self.tree.node(id));
        let comment =
            first.filter(|node| matches!(node.value, Value::Comment(_)) && node.span.start < span.start);
        let start = comment.map_or(span.start, |node| node.span.start);
        let mut lines = self.lines(start as usize, span.end as usize);
        let rest = self.source.get(lines.end as usize..).unwrap_or_default();
        let content = rest.trim_start();
        if content.is_empty() {
            lines = self.with_blank_line(lines);
        } else if self.is_written(section) {
            lines.end = line_start(self.source, self.source.len() - content.len()) as u32;
        }
        self.splice.delete(lines);
        Ok(())
    }

    /// Returns a key with its delimiter, in the column and with the spaces of another.
    fn spelled_as(&self, key: &str, other: &Entry) -> String {
        let indent = &self.source[line_start(self.source, other.start)..other.start];
        let name = self.source[other.start..other.delimiter].trim_end();
        let column = other.delimiter - other.start;
        let has_space = name.len() < column;
        let padding = if has_space { column.saturating_sub(key.len()).max(1) } else { 0 };
        let sign = &self.source[other.delimiter..=other.delimiter];
        let behind = &self.source[other.delimiter + 1..other.value.token.start];
        [indent, key, &" ".repeat(padding), sign, behind].concat()
    }

    /// Returns whether a value would go on in a line put behind it.
    fn is_open(&self, entry: &Entry) -> bool {
        let token = &entry.value.token;
        let is_continued = entry.value.quote.is_empty() && self.source[token.clone()].ends_with('\\');
        is_continued && self.source[token.end..entry.value.end].matches('\n').count() < 2
    }

    /// Returns the comment beside a value, if it is part of the value's span, with the space in front of it.
    fn behind(&self, node: &Node, scanned: &Scanned) -> &'a str {
        self.source.get(scanned.token.end..node.span.end as usize).unwrap_or_default()
    }

    fn entry(&self, node: &Node) -> Result<Entry, WriteError> {
        entry(self.source, node.key_start as usize).map_err(|_| unsupported("a value without a key"))
    }

    fn verbatim(&self, id: NodeId) -> Option<&'a [u8]> {
        let verbatim = self.rewrite.verbatim;
        verbatim.binary_search_by_key(&id, |&(id, _)| id).ok().map(|index| verbatim[index].1)
    }

    /// Returns whether a node is a comment or value that is written anew.
    fn is_rewritten(&self, id: NodeId) -> bool {
        self.verbatim(id).is_some() || self.rewrite.changed.binary_search(&id).is_ok()
    }

    /// Returns whether a section has a header.
    fn is_written(&self, section: NodeId) -> bool {
        self.tree.slice(self.tree.node(section).span).starts_with(b"[")
    }

    fn metadata_section(&self) -> Option<Span> {
        let node = |id| self.tree.node(id);
        let sections = self.tree.children(self.root).map(node);
        sections.filter(|node| node.origin == Origin::Metadata).map(|node| node.span).next()
    }

    /// Returns the lines from `start` to `end`, the last one with an end even if it has none.
    fn lines(&self, start: usize, end: usize) -> Span {
        let end = if end == self.source.len() { self.end_of_lines().end as usize } else { end };
        Span::new(line_start(self.source, start), end)
    }

    /// Returns where a line behind all others goes.
    fn end_of_lines(&self) -> Span {
        let end = self.source.len() + usize::from(!self.source.is_empty() && !self.source.ends_with('\n'));
        Span::new(end, end)
    }

    /// Returns lines with the blank line in front of them, if there is one.
    fn with_blank_line(&self, lines: Span) -> Span {
        let before = &self.source[..lines.start as usize];
        let blank = ["\r\n", "\n"].into_iter().find(|blank| before.ends_with(blank)).unwrap_or_default();
        let rest = &before[..before.len() - blank.len()];
        let is_blank = !blank.is_empty() && (rest.is_empty() || rest.ends_with('\n'));
        if is_blank { Span { start: rest.len() as u32, ..lines } } else { lines }
    }
}

/// Appends a comment behind the marker that it had; its other lines get one where they have none.
fn append_comment(text: &str, marker: &str, out: &mut SecretBytes) {
    // A first line that is empty was given a space when it was read.
    let (marker, text) = match text.strip_prefix(' ') {
        Some(rest) if rest.starts_with('\n') => (marker.trim_end(), rest),
        _ => (marker, text),
    };
    out.push_str(marker);
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push(b'\n');
            out.push_str(if line.starts_with(['#', ';']) { "" } else { MARKER });
        }
        out.push_str(line);
    }
}

fn append_lines(lines: &[u8], line_break: &str, out: &mut SecretBytes) {
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        out.push_str(line_break);
    }
}

/// Returns the marker of a comment.
fn marker(comment: &str) -> &str {
    &comment[..marker_length(comment)]
}

const MARKER: &str = "; ";

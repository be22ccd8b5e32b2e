//! The `sops` entry of a document: put in such that taking it out gives back the bytes before.

use serde_json::{Map, Value as Json};

use super::lines::{Lines, indent_of};
use crate::format::splice::Splice;
use crate::format::yaml::write::{flow, json_tree, write_json};
use crate::format::{METADATA_KEY, WriteError};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Origin, Span, Style, Tree, Value};

/// The documents of a tree, to put metadata in or take it out.
pub(super) struct Entries<'a> {
    tree: &'a Tree,
    lines: Lines<'a>,
    line_break: &'static str,
}

impl<'a> Entries<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        let lines = Lines::new(tree.source());
        Self { tree, lines, line_break: lines.line_break() }
    }

    /// Puts the metadata into every document, in the place of what it has.
    pub(super) fn put(&self, metadata: &Map<String, Json>, splice: &mut Splice) -> Result<(), WriteError> {
        let value = Json::Object(metadata.clone());
        let indent = indent_of(self.tree);
        for &root in self.tree.documents() {
            let mut entries = self.entries(root);
            let node = self.tree.node(root);
            let first = entries.next();
            match (first, node.style) {
                (Some(entry), Style::Flow) => {
                    splice.replace_with(Span::new(entry.start, entry.end), |out| flow_entry(&value, out));
                }
                (Some(entry), _) => self.replace(&entry, &value, indent, splice)?,
                (None, Style::Flow) => self.insert_in_brackets(root, &value, splice),
                // A null that is written down: nothing else can stand beside it.
                (None, Style::Plain) => {
                    splice.replace_with(node.span, |out| {
                        out.push(b'{');
                        flow_entry(&value, out);
                        out.push(b'}');
                    });
                }
                (None, _) => {
                    let text = self.lines_of(&value, self.column(root), indent)?;
                    self.insert(root, &text, splice);
                }
            }
            let others: Vec<_> = entries.collect();
            others.iter().for_each(|entry| self.remove_entry(root, entry, splice));
        }
        Ok(())
    }

    /// Takes the metadata out of every document.
    pub(super) fn remove(&self, splice: &mut Splice) {
        for (index, &root) in self.tree.documents().iter().enumerate() {
            let entries: Vec<_> = self.entries(root).collect();
            for entry in &entries {
                self.remove_entry(root, entry, splice);
            }
            let node = self.tree.node(root);
            let is_bare = self.tree.items(root).next().is_none() && node.style != Style::Flow;
            if let Some(entry) = entries.first().filter(|entry| is_bare && !self.is_started(index, entry)) {
                // Without a line that starts it there would be no document.
                splice.replace_with(Span::new(entry.line, entry.line), |out| {
                    out.push_str("{}");
                    out.push_str(if entry.ends_source { "" } else { self.line_break });
                });
            }
        }
    }

    /// Returns whether a line before the entry starts its document.
    fn is_started(&self, index: usize, entry: &Entry) -> bool {
        let mut line = self.lines.start(0);
        // Every further document has such a line.
        while index == 0 && line < entry.line {
            if self.lines.is_marker(line) {
                return true;
            }
            line = self.lines.next(line);
        }
        index > 0
    }

    /// Returns the `sops` entries of a document.
    fn entries(&self, root: NodeId) -> impl Iterator<Item = Entry> + '_ {
        let is_metadata = |id: &NodeId| self.tree.key(*id) == Some(METADATA_KEY.as_bytes());
        self.tree.children(root).filter(is_metadata).map(|id| self.entry(id))
    }

    fn entry(&self, id: NodeId) -> Entry {
        let start = self.tree.node(id).key_start as usize;
        let end = end_of(self.tree, id).max(start);
        let line = self.lines.start(start);
        let is_alone = self.lines.is_blank(line, start);
        let next = self.lines.next(end);
        let ends_source = next == self.lines.end(end);
        Entry { start, end, line: if is_alone { line } else { start }, next, is_alone, ends_source }
    }

    /// Puts metadata in the place of an entry in lines of its own.
    fn replace(
        &self,
        entry: &Entry,
        value: &Json,
        indent: usize,
        splice: &mut Splice,
    ) -> Result<(), WriteError> {
        if !entry.is_alone {
            splice.replace_with(Span::new(entry.start, entry.end), |out| flow_entry(value, out));
            return Ok(());
        }
        let text = self.lines_of(value, self.lines.column(entry.start), indent)?;
        splice.replace_with(Span::new(entry.line, entry.next), |out| {
            out.extend_from_slice(if entry.ends_source {
                without_break(&text)
            } else {
                text.expose_secret()
            });
        });
        Ok(())
    }

    /// Returns how far the entries of a document are indented.
    fn column(&self, root: NodeId) -> usize {
        let first = self.tree.items(root).next();
        first.map_or(0, |first| self.lines.column(self.tree.node(first).key_start as usize))
    }

    /// Puts the lines of an entry behind the last line of a document, below an empty line if that is a
    /// comment: else the comment would be that of the entry.
    pub(super) fn insert(&self, root: NodeId, text: &SecretBytes, splice: &mut Splice) {
        let at = self.lines.next_marker(last_value(self.tree, root));
        if at < self.tree.source().len() || self.lines.ends_with_break() {
            splice.replace_with(Span::new(at, at), |out| {
                out.push_str(if self.is_below_comment(root, at) { self.line_break } else { "" });
                out.extend_from_slice(text.expose_secret());
            });
            return;
        }
        // A line break at the end would become part of an open block scalar: there the entry goes before
        // the last entry.
        if let Some(last) = self.tree.items(root).last().filter(|_| self.is_open(root)) {
            let line = self.lines.start(self.tree.node(last).key_start as usize);
            splice.replace(Span::new(line, line), text.expose_secret());
            return;
        }
        // Where there is no line break at the end, there will be none.
        splice.replace_with(Span::new(at, at), |out| {
            out.push_str(self.line_break);
            out.extend_from_slice(without_break(text));
        });
    }

    /// Returns whether a document ends with a block scalar that a line break would change.
    fn is_open(&self, root: NodeId) -> bool {
        let range = root.index()..self.tree.node(root).end as usize;
        let nodes = range.rev().filter_map(|index| self.tree.id(index)).map(|id| self.tree.node(id));
        let last = nodes.max_by_key(|node| (node.span.end, node.span.start));
        last.is_some_and(|node| {
            let token = self.tree.slice(node.span);
            let header = token.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
            matches!(node.style, Style::Literal | Style::Folded) && !header.contains(&b'-')
        })
    }

    /// Puts metadata before the first entry of a map in brackets: comments behind its entries stay theirs.
    fn insert_in_brackets(&self, root: NodeId, value: &Json, splice: &mut Splice) {
        let node = self.tree.node(root);
        match self.tree.items(root).next() {
            Some(first) => {
                let at = self.tree.node(first).key_start as usize;
                splice.replace_with(Span::new(at, at), |out| {
                    flow_entry(value, out);
                    out.push_str(", ");
                });
            }
            None => {
                let at = (node.span.end as usize).saturating_sub(1);
                splice.replace_with(Span::new(at, at), |out| flow_entry(value, out));
            }
        }
    }

    fn remove_entry(&self, root: NodeId, entry: &Entry, splice: &mut Splice) {
        if self.tree.node(root).style == Style::Flow {
            let (start, end) = in_brackets(self.tree.source(), entry.start, entry.end);
            splice.delete(Span::new(start, end));
            return;
        }
        let above = self.lines.break_before(entry.line);
        let is_set_off = self.lines.start(above) == above && self.is_below_comment(root, above);
        let line = if is_set_off { above } else { entry.line };
        let goes_with_break = entry.ends_source && !self.ends_with_lines(root);
        let start = if goes_with_break { self.lines.break_before(line) } else { line };
        splice.delete(Span::new(start, entry.next));
    }

    /// Returns whether the last value of a document is a text in lines that ends with a line break.
    fn ends_with_lines(&self, root: NodeId) -> bool {
        let last = content(self.tree, root).max_by_key(|node| (node.span.end, node.span.start));
        last.is_some_and(|node| match node.value {
            Value::Str(text) if !matches!(node.style, Style::DoubleQuoted | Style::SingleQuoted) => {
                self.tree.bytes(text).ends_with(b"\n")
            }
            _ => false,
        })
    }

    /// Returns whether the line above the one that begins at `line` is a comment behind a document's values,
    /// and that of a map or list below the top.
    fn is_below_comment(&self, root: NodeId, line: usize) -> bool {
        let above = self.lines.start(self.lines.break_before(line));
        let text = self.tree.source()[above..line].trim_ascii_start();
        let is_at_top = |id: NodeId| {
            let node = self.tree.node(id);
            matches!(node.value, Value::Comment(_)) && (above..line).contains(&(node.span.start as usize))
        };
        text.starts_with(b"#")
            && above >= last_value(self.tree, root)
            && !self.tree.children(root).any(is_at_top)
    }

    /// Returns the metadata in lines that begin at `column`.
    fn lines_of(&self, value: &Json, column: usize, indent: usize) -> Result<SecretBytes, WriteError> {
        let text = write_json(Some(METADATA_KEY), value, column, indent)?;
        Ok(with_breaks(text, self.line_break))
    }
}

/// Where an entry in lines of its own is written.
struct Entry {
    start: usize,
    end: usize,
    /// Where its first line begins.
    line: usize,
    /// Where the line behind its last one begins.
    next: usize,
    /// Whether nothing stands before it on its first line.
    is_alone: bool,
    /// Whether the source ends with it, without a line break.
    ends_source: bool,
}

/// Returns where a node and all below it end in the source.
pub(super) fn end_of(tree: &Tree, id: NodeId) -> usize {
    let range = id.index()..tree.node(id).end as usize;
    let ends = range.filter_map(|index| tree.id(index)).map(|id| tree.node(id).span.end);
    ends.max().unwrap_or_default() as usize
}

/// Returns where the last value of a document ends in the source, or where an empty document is. Comments may
/// stand before it, or behind the line that ends it.
fn last_value(tree: &Tree, root: NodeId) -> usize {
    let ends = content(tree, root).map(|node| node.span.end);
    ends.max().unwrap_or(tree.node(root).span.start) as usize
}

/// Returns the values of a document, without its metadata.
fn content(tree: &Tree, root: NodeId) -> impl Iterator<Item = &Node> {
    let range = root.index() + 1..tree.node(root).end as usize;
    let nodes = range.filter_map(|index| tree.id(index)).map(|id| tree.node(id));
    nodes.filter(|node| node.origin != Origin::Metadata && !matches!(node.value, Value::Comment(_)))
}

/// Returns the piece of a map or list in brackets to take out with the item from `start` to `end`: a comma
/// goes with it.
pub(super) fn in_brackets(source: &[u8], start: usize, end: usize) -> (usize, usize) {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    let blanks = |at: usize| source[at..].iter().take_while(|byte| is_blank(byte)).count();
    let comma = end + blanks(end);
    if source.get(comma) == Some(&b',') {
        let behind = comma + 1;
        return (start, behind + blanks(behind));
    }
    let before = source[..start].iter().rposition(|byte| !is_blank(byte));
    match before {
        Some(at) if source[at] == b',' => (at, end),
        _ => (start, end),
    }
}

/// Returns lines with the line break of a document.
pub(super) fn with_breaks(text: SecretBytes, line_break: &str) -> SecretBytes {
    if line_break == "\n" {
        return text;
    }
    let mut out = SecretBytes::with_capacity(text.len() + text.len() / 16);
    for line in text.expose_secret().split_inclusive(|&byte| byte == b'\n') {
        out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        out.push_str(if line.ends_with(b"\n") { line_break } else { "" });
    }
    out
}

pub(super) fn without_break(text: &SecretBytes) -> &[u8] {
    let bytes = text.expose_secret();
    let length = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    &bytes[..length]
}

fn flow_entry(value: &Json, out: &mut SecretBytes) {
    let (tree, root) = json_tree(None, value);
    flow::flow_key(METADATA_KEY.as_bytes(), false, out);
    if let Some(value) = tree.items(root).next() {
        debug_assert!(tree.node(value).value == Value::Map, "metadata is a map");
        flow::flow(&tree, value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::yaml::read::read;

    fn with_metadata(source: &str) -> String {
        let tree = read(source.into()).expect(source);
        let metadata = [("mac".to_owned(), Json::from("x"))].into_iter().collect();
        let mut splice = Splice::default();
        Entries::new(&tree).put(&metadata, &mut splice).expect("metadata is written");
        String::from_utf8_lossy(splice.apply(tree.source()).expose_secret()).into_owned()
    }

    fn without_metadata(source: &str) -> String {
        let tree = read(source.into()).expect(source);
        let mut splice = Splice::default();
        Entries::new(&tree).remove(&mut splice);
        String::from_utf8_lossy(splice.apply(tree.source()).expose_secret()).into_owned()
    }

    #[test]
    fn metadata_goes_in_and_out_without_a_trace() {
        let cases = [
            ("a: 1\n", "a: 1\nsops:\n    mac: x\n"),
            ("a: 1\r\n", "a: 1\r\nsops:\r\n    mac: x\r\n"),
            ("a: 1", "a: 1\nsops:\n    mac: x"),
            ("a:\n  b: 1\n", "a:\n  b: 1\nsops:\n  mac: x\n"),
            ("a: 1 # c\n", "a: 1 # c\nsops:\n    mac: x\n"),
            ("a: 1\n\n\n", "a: 1\n\n\nsops:\n    mac: x\n"),
            ("{a: 1}\n", "{sops: {mac: x}, a: 1}\n"),
            ("{}\n", "{sops: {mac: x}}\n"),
            ("---\na: 1\n...\n---\n", "---\na: 1\nsops:\n    mac: x\n...\n---\nsops:\n    mac: x\n"),
            // The last comment stays that of the list above.
            ("l:\n- x\n# c\n", "l:\n- x\n# c\n\nsops:\n    mac: x\n"),
            ("l:\n- x\n# c", "l:\n- x\n# c\nsops:\n    mac: x"),
            ("m:\n  x: 1\n# c\n", "m:\n  x: 1\n# c\nsops:\n  mac: x\n"),
            ("l: |+\n  # x\n", "l: |+\n  # x\nsops:\n    mac: x\n"),
        ];
        for (source, expected) in cases {
            assert_eq!(with_metadata(source), expected);
            assert_eq!(without_metadata(expected), source);
        }
    }
}

//! Changes to the text of INI in place.
//!
//! A blank line stands between a document and its metadata. It comes and goes with the metadata, and ends a
//! value whose last line asks for another.

use serde_json::Value as Json;

use super::quote::{Position, quoted_key};
use super::scan::{Entry, Value as Scanned, entry, line_end, line_start, marker_length, pieces};
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
    editor.finish()
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
    editor.finish()
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
        let source = std::str::from_utf8(tree.source()).map_err(|_| unsupported(NO_TEXT))?;
        let is_windows = source.find('\n').is_some_and(|at| source[..at].ends_with('\r'));
        let line_break = if is_windows { "\r\n" } else { "\n" };
        Ok(Self { tree, root, source, line_break, rewrite, splice: Splice::default() })
    }

    /// Returns the source with the changes made, unless they move a comment above a key that is given twice.
    fn finish(self) -> Result<SecretBytes, WriteError> {
        let changed = self.splice.apply_to_lines(self.tree.source());
        let text = std::str::from_utf8(changed.expose_secret()).map_err(|_| unsupported(NO_TEXT))?;
        pieces(text).map_err(|_| unsupported("such a change beside a key that is given twice"))?;
        Ok(changed)
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
        let text = std::str::from_utf8(self.tree.bytes(text)).map_err(|_| unsupported(NO_TEXT))?;
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
const NO_TEXT: &str = "a text that is not UTF-8";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::Format;

    fn read(source: &str) -> Tree {
        Format::Ini.read(source).expect(source)
    }

    fn text(bytes: &SecretBytes) -> String {
        String::from_utf8(bytes.expose_secret().to_vec()).expect("UTF-8")
    }

    fn find(tree: &Tree, section: &str, key: &str) -> NodeId {
        let below = |id: NodeId, key: &str| {
            tree.items(id).find(|&id| tree.key(id) == Some(key.as_bytes())).expect("it is there")
        };
        let section = below(tree.documents()[0], section);
        if key.is_empty() { section } else { below(section, key) }
    }

    #[test]
    fn a_value_changes_without_its_comments() {
        let source = "; above\na = x  ; beside\nb = 'y' ; beside";
        let mut tree = read(source);
        let (a, b) = (find(&tree, "DEFAULT", "a"), find(&tree, "DEFAULT", "b"));
        let value = Value::Str(tree.intern(b"ENC[1]"));
        tree.set_value(a, value);
        tree.set_value(b, value);
        let written = rewrite(&tree, &Rewrite { changed: &[a, b], ..Rewrite::default() }).expect("ini");
        assert_eq!(text(&written), "; above\na = ENC[1]  ; beside\nb = 'ENC[1]' ; beside");
        let comment = tree.id(a.index() + 1).expect("a comment");
        let value = Value::Comment(tree.intern(b"ENC[2]"));
        tree.set_value(comment, value);
        let written = rewrite(&tree, &Rewrite { changed: &[comment], ..Rewrite::default() }).expect("ini");
        assert_eq!(text(&written), "; ENC[2]\na = x\nb = 'y' ; beside");
    }

    #[test]
    fn a_comment_keeps_its_marker_and_gets_more() {
        let mut tree = read("##  ENC[1]\na = x ;ENC[2]\n");
        let root = tree.documents()[0];
        let section = tree.items(root).next().expect("a section");
        let comment = tree.children(section).nth(1).expect("a comment");
        let value = Value::Comment(tree.intern(b"one\ntwo\n# three"));
        tree.set_value(comment, value);
        let written = rewrite(&tree, &Rewrite { changed: &[comment], ..Rewrite::default() }).expect("ini");
        assert_eq!(text(&written), "##  one\n; two\n# three\na = x\n");
        let mut tree = read("a = x ;ENC[2]\n");
        let comment = tree.id(tree.nodes().len() - 1).expect("a comment");
        let value = Value::Comment(tree.intern(b"one\ntwo"));
        tree.set_value(comment, value);
        let written = rewrite(&tree, &Rewrite { changed: &[comment], ..Rewrite::default() });
        assert!(matches!(written, Err(WriteError::Unsupported { .. })));
    }

    #[test]
    fn a_value_is_put_where_it_belongs() {
        let source = "[s]\nlong   = 1 ; c\n\n[t]\n  k:2\n\n[sops]\nmac = x\n";
        let tree = read(source);
        let root = tree.documents()[0];
        let with = |from: &str, to: &str| source.replace(from, to);
        let put = |place, value: Json| put(&tree, place, &value).map(|written| text(&written));
        let node = |section, key| Place::Node(find(&tree, section, key));
        let entry = |section, key| Place::Entry(find(&tree, section, ""), key);
        assert_eq!(
            put(node("s", "long"), json!("a;b")),
            Err(unsupported("a text that would be read as another in all quotes there are"))
        );
        assert_eq!(put(node("s", "long"), json!("a b")), Ok(with("1 ; c", "a b ; c")));
        assert_eq!(put(node("t", "k"), json!(5)), Ok(with("k:2", "k:5")));
        assert_eq!(put(entry("s", "n"), json!(" ")), Ok(with("; c\n", "; c\nn      = \" \"\n")));
        assert_eq!(put(entry("t", "n"), json!("x")), Ok(with("k:2\n", "k:2\n  n:x\n")));
        assert_eq!(put(entry("DEFAULT", "n"), json!("x")), Ok(format!("n = x\n\n{source}")));
        assert_eq!(
            put(Place::Entry(root, "u"), json!({"a": "x", "bc": 1})),
            Ok(with("[sops]", "[u]\na  = x\nbc = 1\n\n[sops]"))
        );
        assert_eq!(put(node("t", ""), json!({"a": "x"})), Ok(with("  k:2\n", "a = x\n")));
        for (place, value) in [
            (node("s", "long"), json!([])),
            (node("s", "long"), json!({})),
            (node("s", "long"), json!(null)),
            (node("s", ""), json!("x")),
            (Place::Node(root), json!({})),
            (Place::Entry(root, "u"), json!("x")),
            (Place::Entry(root, "u"), json!({"a": null})),
            (Place::Append(root), json!("x")),
            (entry("s", "n"), json!({})),
            (entry("s", "-"), json!("x")),
        ] {
            assert!(matches!(put(place, value), Err(WriteError::Unsupported { .. })));
        }
    }

    #[test]
    fn an_open_line_swallows_no_key() {
        for source in ["a = x \\", "a = x \\\n", "a = x \\\n\n"] {
            let tree = read(source);
            let changed =
                put(&tree, Place::Entry(find(&tree, "DEFAULT", ""), "b"), &json!("y")).expect("ini");
            let tree = read(&text(&changed));
            assert_eq!(tree.to_json(find(&tree, "DEFAULT", "")), json!({"a": "x ", "b": "y"}));
        }
    }

    #[test]
    fn a_value_is_taken_out_with_its_lines() {
        let source = "; c\n[s]\nk = 1 ; d\nl = \"\"\"x\ny\"\"\"\n\n; e\n[t]\n\n[u]\nm = 1";
        let tree = read(source);
        let remove = |section, key| remove(&tree, find(&tree, section, key)).map(|written| text(&written));
        assert_eq!(remove("s", "k"), Ok(source.replace("k = 1 ; d\n", "")));
        assert_eq!(remove("s", "l"), Ok(source.replace("l = \"\"\"x\ny\"\"\"\n", "")));
        assert_eq!(remove("s", "").as_deref(), Ok("; e\n[t]\n\n[u]\nm = 1"));
        assert_eq!(remove("t", ""), Ok(source.replace("; e\n[t]\n\n", "")));
        assert_eq!(remove("u", ""), Ok(source.replace("\n\n[u]\nm = 1", "")));
        assert!(matches!(remove("DEFAULT", ""), Err(WriteError::Unsupported { .. })));
    }
}

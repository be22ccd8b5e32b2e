//! Values and sections put into INI, and taken out.

use serde_json::Value as Json;

use super::{Editor, NO_TEXT, append_lines};
use crate::format::ini::quote::{Position, quoted_key};
use crate::format::ini::scan::{Entry, line_end, line_start, pieces};
use crate::format::ini::write::{OUTSIDE, append_entries, append_scalar, append_section};
use crate::format::ini::{COLLECTION, NULL, unsupported};
use crate::format::{Place, Rewrite, WriteError};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Span, Tree, Value};

pub(in crate::format::ini) fn put(
    tree: &Tree,
    place: Place<'_>,
    value: &Json,
) -> Result<SecretBytes, WriteError> {
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

pub(in crate::format::ini) fn remove(tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
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

impl Editor<'_> {
    /// Returns the source with the changes made, unless they move a comment above a key that is given twice.
    fn finish(self) -> Result<SecretBytes, WriteError> {
        let changed = self.splice.apply_to_lines(self.tree.source());
        let text = std::str::from_utf8(changed.expose_secret()).map_err(|_| unsupported(NO_TEXT))?;
        pieces(text).map_err(|_| unsupported("such a change beside a key that is given twice"))?;
        Ok(changed)
    }

    fn put_value(&mut self, id: NodeId, values: &Tree, value: NodeId) -> Result<(), WriteError> {
        let node = *self.tree.node(id);
        let scanned = self.entry(&node)?.value;
        self.replace_value(&node, &scanned, false, values, values.node(value).value)
    }

    fn replace_entries(&mut self, section: NodeId, values: &Tree, map: NodeId) -> Result<(), WriteError> {
        let mut lines = SecretBytes::new();
        append_entries(values, map, &mut lines)?;
        let lines = self.broken_as_here(values, lines);
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
        let mut lines = self.broken_as_here(values, lines);
        let Some(metadata) = self.metadata_section() else {
            let separator = if self.source.is_empty() { "" } else { self.line_break };
            let end = self.end_of_lines();
            self.splice.replace_with(end, |out| {
                out.push_str(separator);
                out.extend_from_slice(lines.expose_secret());
            });
            return Ok(());
        };
        lines.push_str(self.line_break);
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

    /// Returns new lines with the line breaks of the document, unless a value has some of its own.
    fn broken_as_here(&self, values: &Tree, lines: SecretBytes) -> SecretBytes {
        let has_own = |value| matches!(value, Value::Str(text) if values.bytes(text).contains(&b'\n'));
        if values.nodes().any(|(_, node)| has_own(node.value)) {
            return lines;
        }
        let mut broken = SecretBytes::new();
        append_lines(lines.expose_secret(), self.line_break, &mut broken);
        broken
    }

    /// Returns whether a value would go on in a line put behind it.
    fn is_open(&self, entry: &Entry) -> bool {
        let token = &entry.value.token;
        let is_continued = entry.value.quote.is_empty() && self.source[token.clone()].ends_with('\\');
        is_continued && self.source[token.end..entry.value.end].matches('\n').count() < 2
    }

    /// Returns whether a section has a header.
    fn is_written(&self, section: NodeId) -> bool {
        self.tree.slice(self.tree.node(section).span).starts_with(b"[")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::ini::edit::tests::{find, read};
    use crate::format::test_kit::text;

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
    fn new_lines_end_as_the_others_do() {
        let source = "[s]\r\nk = v\r\n";
        for (source, expected) in [
            (source.to_owned(), format!("{source}\r\n[u]\r\na = x\r\n")),
            (
                format!("{source}\r\n[sops]\r\nmac = x\r\n"),
                format!("{source}\r\n[u]\r\na = x\r\n\r\n[sops]\r\nmac = x\r\n"),
            ),
        ] {
            let tree = read(&source);
            let place = Place::Entry(tree.documents()[0], "u");
            let written = put(&tree, place, &json!({"a": "x"})).map(|written| text(&written));
            assert_eq!(written, Ok(expected));
        }
        let tree = read(source);
        let place = Place::Node(find(&tree, "s", ""));
        let written = put(&tree, place, &json!({"a": "x"})).map(|written| text(&written));
        assert_eq!(written.as_deref(), Ok("[s]\r\na = x\r\n"));
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

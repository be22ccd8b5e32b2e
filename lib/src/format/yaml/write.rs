//! A tree as YAML, in the style of sops.
//!
//! Where sops loses or misplaces a comment, or writes what it cannot read again, this does not follow
//! it; everything else is the same text. Nesting costs no stack.

pub(super) mod flow;
mod printer;

use serde_json::{Map, Value as Json};

use super::style::plain_scalar;
use crate::format::{METADATA_KEY, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Origin, Style, Tree, Value};

use printer::Printer;

/// Writes a tree of any format anew, with `metadata` at the end of every document.
pub(super) fn write(
    tree: &Tree,
    metadata: Option<&Map<String, Json>>,
    options: &WriteOptions,
) -> Result<SecretBytes, WriteError> {
    let mut printer = Printer::new(indent(options)?);
    let metadata = metadata.map(metadata_tree);
    for (index, &root) in tree.documents().iter().enumerate() {
        if metadata.is_some() {
            check_reserved(tree, root)?;
        }
        if index > 0 {
            printer.marker("---");
        }
        Writer::new(tree, &mut printer).document(root, metadata.as_ref())?;
        printer.end_line();
    }
    Ok(printer.finish())
}

/// Writes one value alone, as `sops --extract` prints it: a string as it is, a map as a document.
pub(super) fn write_value(
    tree: &Tree,
    node: NodeId,
    options: &WriteOptions,
) -> Result<SecretBytes, WriteError> {
    match tree.node(node).value {
        Value::Str(text) | Value::Comment(text) => Ok(SecretBytes::from(tree.bytes(text))),
        value @ (Value::List | Value::Map) => {
            // sops hands its setting only to what prints documents.
            let indent = if value == Value::Map { indent(options)? } else { DEFAULT_INDENT };
            let mut printer = Printer::new(indent);
            Writer::new(tree, &mut printer).document(node, None)?;
            printer.end_line();
            Ok(printer.finish())
        }
        value => Ok(SecretBytes::from(plain_scalar(tree, value) + "\n")),
    }
}

/// Writes `value` under `key`, or as it is, in lines that begin at `column`, the first one too.
pub(super) fn write_json(
    key: Option<&str>,
    value: &Json,
    column: usize,
    indent: usize,
) -> Result<SecretBytes, WriteError> {
    let (tree, root) = json_tree(key, value);
    let mut printer = Printer::new(indent);
    Writer::new(&tree, &mut printer).nested(root, column)?;
    printer.end_line();
    Ok(printer.finish())
}

/// Writes the entries of a map or list in lines that begin at `column`, the first one too.
pub(super) fn write_entries(value: &Json, column: usize, indent: usize) -> Result<SecretBytes, WriteError> {
    let mut tree = Tree::new(SecretBytes::new());
    let root = tree.push_json(None, value);
    let mut printer = Printer::new(indent);
    Writer::new(&tree, &mut printer).nested(root, column)?;
    printer.end_line();
    Ok(printer.finish())
}

/// Returns the spaces for a level, as go-yaml takes them.
fn indent(options: &WriteOptions) -> Result<usize, WriteError> {
    match options.indent.unwrap_or(0) {
        indent if indent < 0 => Err(WriteError::Indent(indent)),
        0 => Ok(DEFAULT_INDENT),
        indent @ 2..=9 => Ok(indent as usize),
        _ => Ok(2),
    }
}

/// What sops takes if it is told nothing.
pub(super) const DEFAULT_INDENT: usize = 4;

fn check_reserved(tree: &Tree, root: NodeId) -> Result<(), WriteError> {
    let is_reserved = |id| tree.key(id) == Some(METADATA_KEY.as_bytes());
    match tree.items(root).any(is_reserved) {
        true => Err(WriteError::ReservedKey(METADATA_KEY.to_owned())),
        false => Ok(()),
    }
}

/// Returns a tree with the metadata as the one entry of its map, and that map.
fn metadata_tree(metadata: &Map<String, Json>) -> (Tree, NodeId) {
    json_tree(Some(METADATA_KEY), &Json::Object(metadata.clone()))
}

/// Returns a tree with a map or list around a value, and that map or list.
pub(super) fn json_tree(key: Option<&str>, value: &Json) -> (Tree, NodeId) {
    let mut tree = Tree::new(SecretBytes::new());
    let around = if key.is_some() { Value::Map } else { Value::List };
    let root = tree.push(Node::new(around, None, crate::tree::Span::default(), Style::Block));
    tree.push_json(key, value);
    tree.close(root);
    (tree, root)
}

/// Walks over the nodes of a map or list, in order.
struct Writer<'a, 'p> {
    tree: &'a Tree,
    printer: &'p mut Printer,
    frames: Vec<Frame<'a>>,
}

/// A map or list that is being written, and the comments in it that wait for the next item.
struct Frame<'a> {
    end: usize,
    indent: usize,
    is_list: bool,
    above: Vec<&'a str>,
    beside: Vec<&'a str>,
}

impl<'a, 'p> Writer<'a, 'p> {
    fn new(tree: &'a Tree, printer: &'p mut Printer) -> Self {
        Self { tree, printer, frames: Vec::new() }
    }

    /// Writes a document, or a list in the place of one, with the metadata as its last entry.
    fn document(&mut self, root: NodeId, metadata: Option<&'a (Tree, NodeId)>) -> Result<(), WriteError> {
        if metadata.is_none() && self.tree.items(root).next().is_none() {
            for comment in self.comments(root.index() + 1, self.tree.node(root).end as usize)? {
                self.printer.comment(comment, 0);
            }
            self.printer.start_line(0);
            let is_list = self.tree.node(root).value == Value::List;
            self.printer.word(if is_list { "[]" } else { "{}" });
            return Ok(());
        }
        self.push_frame(root, 0);
        let end = self.tree.node(root).end as usize;
        self.entries(root.index() + 1, end, 1)?;
        if let Some((tree, root)) = metadata {
            // What waits for an entry stands above the metadata.
            let frame = self.frame();
            frame.above.append(&mut frame.beside);
            self.tree = tree;
            self.entries(root.index() + 1, tree.node(*root).end as usize, 1)?;
        }
        self.close_frames_before(usize::MAX, 0);
        Ok(())
    }

    /// Writes the entries of a map or list in lines that begin at `column`.
    fn nested(&mut self, root: NodeId, column: usize) -> Result<(), WriteError> {
        self.push_frame(root, column);
        self.entries(root.index() + 1, self.tree.node(root).end as usize, 1)?;
        self.close_frames_before(usize::MAX, 0);
        Ok(())
    }

    /// Writes the nodes from `next` to `end`; the outermost `keep` frames stay open.
    fn entries(&mut self, mut next: usize, end: usize, keep: usize) -> Result<(), WriteError> {
        while next < end {
            let id = self.tree.id(next).expect("a node before the end of its parent exists");
            let node = self.tree.node(id);
            self.close_frames_before(next, keep);
            if node.origin == Origin::Metadata {
                next = node.end as usize;
                continue;
            }
            next += 1;
            match node.value {
                Value::Comment(text) => {
                    let comment = comment_text(self.tree.bytes(text))?;
                    let frame = self.frame();
                    let is_beside = node.style == Style::Inline;
                    if is_beside { frame.beside.push(comment) } else { frame.above.push(comment) }
                }
                _ => next = self.item(id, next)?,
            }
        }
        self.close_frames_before(end, keep);
        Ok(())
    }

    /// Writes one value with its key or dash; returns the index of the node to go on with.
    fn item(&mut self, id: NodeId, next: usize) -> Result<usize, WriteError> {
        let node = *self.tree.node(id);
        let holds_nodes = matches!(node.value, Value::List | Value::Map);
        let is_open = holds_nodes && self.tree.items(id).next().is_some();
        let frame = self.frames.last_mut().expect("an item is in a frame");
        let (indent, is_list) = (frame.indent, frame.is_list);
        let mut above = std::mem::take(&mut frame.above);
        let mut beside = std::mem::take(&mut frame.beside);
        // Beside a map or list stands its first line; below a block scalar's header stands its text.
        let keep = if is_open { 0 } else { beside.len().min(1) };
        above.extend(beside.drain(keep..));
        for comment in above {
            self.printer.comment(comment, indent);
        }
        // go-yaml writes the comments at the beginning of a list's item above its dash.
        let next = if is_list && holds_nodes {
            self.leading_comments(next, node.end as usize, indent)?
        } else {
            next
        };
        self.lead_in(id, indent, is_list)?;
        if !is_open {
            self.closed_value(id, next, &beside, indent, is_list)?;
            return Ok(node.end as usize);
        }
        let below = self.printer.nested_indent(indent, is_list);
        self.push_frame(id, below);
        Ok(next)
    }

    /// Writes a key with its colon, or a dash.
    fn lead_in(&mut self, id: NodeId, indent: usize, is_list: bool) -> Result<(), WriteError> {
        self.printer.start_line(indent);
        if is_list {
            self.printer.indicator("-");
            return Ok(());
        }
        match self.tree.key(id).unwrap_or_default() {
            // sops has go-yaml say so; but what cannot be merged, go-yaml refuses.
            b"<<" if is_mergeable(self.tree, id) => self.printer.word("!!merge <<:"),
            key => self.printer.key(key, indent),
        }
        Ok(())
    }

    /// Writes a scalar, or a map or list without items but with comments from node `next` on, with the
    /// comment beside it.
    fn closed_value(
        &mut self,
        id: NodeId,
        next: usize,
        beside: &[&str],
        indent: usize,
        is_list: bool,
    ) -> Result<(), WriteError> {
        let node = self.tree.node(id);
        let brackets = match node.value {
            Value::List => "[]",
            Value::Map => "{}",
            Value::Str(text) => {
                self.printer.string(self.tree.bytes(text), beside.first().copied(), indent, is_list);
                return Ok(());
            }
            value => {
                self.printer.word(&plain_scalar(self.tree, value));
                self.printer.beside(beside.first().copied());
                return Ok(());
            }
        };
        match (self.comments(next, node.end as usize)?.as_slice(), beside.first()) {
            ([], beside) => {
                self.printer.word(brackets);
                self.printer.beside(beside.copied());
            }
            // Here it reads back as being in the brackets.
            ([inside], None) => {
                self.printer.word(brackets);
                self.printer.beside(Some(inside));
            }
            (inside, beside) => {
                self.printer.word(&brackets[..1]);
                let below = self.printer.nested_indent(indent, is_list);
                for comment in inside {
                    self.printer.comment(comment, below);
                }
                self.printer.start_line(indent);
                self.printer.word(&brackets[1..]);
                self.printer.beside(beside.copied());
            }
        }
        Ok(())
    }

    /// Writes the comments from node `next` on above the dash at `indent`; returns the node behind them.
    fn leading_comments(&mut self, next: usize, end: usize, indent: usize) -> Result<usize, WriteError> {
        for index in next..end {
            let node = self.tree.id(index).map(|id| self.tree.node(id));
            match node.map(|node| (node.value, node.style)) {
                Some((Value::Comment(text), style)) if style != Style::Inline => {
                    self.printer.comment(comment_text(self.tree.bytes(text))?, indent);
                }
                _ => return Ok(index),
            }
        }
        Ok(end)
    }

    /// Returns the comments among the nodes from `next` to `end`.
    fn comments(&self, next: usize, end: usize) -> Result<Vec<&'a str>, WriteError> {
        let nodes = (next..end).filter_map(|index| self.tree.id(index)).map(|id| self.tree.node(id));
        let text = |node: &Node| match node.value {
            Value::Comment(text) => Some(comment_text(self.tree.bytes(text))),
            _ => None,
        };
        nodes.filter_map(text).collect()
    }

    fn push_frame(&mut self, id: NodeId, indent: usize) {
        let node = self.tree.node(id);
        self.frames.push(Frame {
            end: node.end as usize,
            indent,
            is_list: node.value == Value::List,
            above: Vec::new(),
            beside: Vec::new(),
        });
    }

    fn frame(&mut self) -> &mut Frame<'a> {
        self.frames.last_mut().expect("a node is in a frame")
    }

    /// Ends the maps and lists that end before node `next`, but for the outermost `keep`.
    fn close_frames_before(&mut self, next: usize, keep: usize) {
        while self.frames.len() > keep && self.frames.last().is_some_and(|frame| frame.end <= next) {
            self.close_frame();
        }
    }

    /// Ends a map or list: comments without an item stand at its end.
    fn close_frame(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        for comment in frame.above.into_iter().chain(frame.beside) {
            self.printer.comment(comment, frame.indent);
        }
    }
}

/// Returns whether a value is a map, or a list of maps.
fn is_mergeable(tree: &Tree, id: NodeId) -> bool {
    let is_map = |id: NodeId| tree.node(id).value == Value::Map;
    is_map(id) || tree.node(id).value == Value::List && tree.items(id).all(is_map)
}

/// Returns the text of a comment, if YAML can hold it.
fn comment_text(bytes: &[u8]) -> Result<&str, WriteError> {
    let is_allowed = |char: char| !char.is_control() || matches!(char, '\t' | '\n' | '\r' | '\u{85}');
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_allowed) => Ok(text),
        _ => Err(WriteError::Unsupported { format: "yaml", what: "a comment with control characters" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Span;
    use serde_json::json;

    /// A tree with one document, and comments in it where a key begins with `#`.
    fn tree(json: &Json) -> Tree {
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.open_document(Span::default(), Style::Block);
        for (key, value) in json.as_object().expect("a document is an object") {
            match key.strip_prefix('#') {
                Some(comment) => {
                    let text = tree.intern(comment.as_bytes());
                    tree.push(Node::new(Value::Comment(text), None, Span::default(), Style::Plain));
                }
                None => {
                    tree.push_json(Some(key), value);
                }
            }
        }
        tree.close(root);
        tree
    }

    fn written(json: &Json, indent: Option<i32>) -> String {
        let written = write(&tree(json), None, &WriteOptions { indent }).expect("YAML holds JSON");
        String::from_utf8(written.expose_secret().to_vec()).expect("YAML is text")
    }

    #[test]
    fn strings_are_quoted_as_sops_quotes_them() {
        let json = include_str!("../../../../testdata/sops/strings/plain.json");
        let expected = include_str!("../../../../testdata/sops/strings-yaml/decrypted-3.13.3.yaml");
        let json: Json = serde_json::from_str(json).expect("valid JSON");
        let ours = written(&json, None);
        let theirs = entries(expected);
        for (ours, (key, value)) in entries(&ours).into_iter().zip(json.as_object().expect("an object")) {
            let text = value.as_str().expect("all are strings");
            let theirs = theirs.iter().find(|entry| entry.starts_with(key.as_str()));
            let expected = match (text, theirs) {
                // A merge key to other readers.
                ("<<", _) => format!("{key}: \"<<\"\n"),
                // A line break to some readers and not to others.
                ("\u{2028}ls", _) => format!("{key}: \"\\Lls\"\n"),
                (_, Some(theirs)) => theirs.clone(),
                // sops writes null.
                (_, None) => format!("{key}: {}\n", json!(text)),
            };
            assert_eq!(ours, expected);
        }
    }

    /// Divides a document into its entries.
    fn entries(text: &str) -> Vec<String> {
        let mut entries: Vec<String> = Vec::new();
        for line in text.split_inclusive('\n') {
            match entries.last_mut() {
                Some(entry) if !line.starts_with('k') => entry.push_str(line),
                _ => entries.push(line.to_owned()),
            }
        }
        entries
    }

    #[test]
    fn metadata_is_the_last_entry_of_every_document() {
        let mut tree = tree(&json!({"a": 1, "# below": null}));
        let second = tree.open_document(Span::default(), Style::Block);
        tree.close(second);
        let metadata = json!({"age": [{"enc": "x\ny\n"}], "version": "3"});
        let written = write(&tree, metadata.as_object(), &WriteOptions::default()).expect("YAML holds it");
        let block = "sops:\n    age:\n        - enc: |\n            x\n            y\n    version: \"3\"\n";
        let expected = format!("a: 1\n# below\n{block}---\n{block}");
        assert_eq!(written.expose_secret(), expected.as_bytes());
    }

    #[test]
    fn an_entry_with_the_name_of_the_metadata_is_refused() {
        let written = write(&tree(&json!({"sops": 1})), Some(&Map::new()), &WriteOptions::default());
        assert_eq!(written.err(), Some(WriteError::ReservedKey("sops".to_owned())));
    }

    #[test]
    fn the_indent_is_what_go_yaml_makes_of_it() {
        let json = json!({"a": {"b": [{"c": 1, "d": [2]}]}});
        let written_with = |indent| written(&json, Some(indent));
        assert_eq!(written_with(0), "a:\n    b:\n        - c: 1\n          d:\n            - 2\n");
        assert_eq!(written_with(3), "a:\n   b:\n      - c: 1\n        d:\n         - 2\n");
        assert_eq!(written_with(1), "a:\n  b:\n    - c: 1\n      d:\n        - 2\n");
        assert_eq!(written_with(10), written_with(2));
        let refused = write(&tree(&json), None, &WriteOptions { indent: Some(-1) });
        assert_eq!(refused.err(), Some(WriteError::Indent(-1)));
    }

    #[test]
    fn comments_stay_in_order() {
        let json = json!({"# top": null, "a": 1, "# foot": null, "#": null});
        assert_eq!(written(&json, None), "# top\na: 1\n# foot\n#\n");
        assert_eq!(written(&json!({"# only": null}), None), "# only\n{}\n");
    }

    #[test]
    fn a_value_alone_is_written_without_its_key() {
        let tree = tree(&json!({"s": "a: b\n", "n": 1.5, "l": [{"x": true}, []], "m": {"z": null}}));
        let value = |key: &str| {
            let root = tree.documents()[0];
            let id = tree.items(root).find(|&id| tree.key(id) == Some(key.as_bytes())).expect("an entry");
            let written = write_value(&tree, id, &WriteOptions::default()).expect("YAML holds it");
            String::from_utf8(written.expose_secret().to_vec()).expect("YAML is text")
        };
        assert_eq!(value("s"), "a: b\n");
        assert_eq!(value("n"), "1.5\n");
        assert_eq!(value("l"), "- x: true\n- []\n");
        assert_eq!(value("m"), "z: null\n");
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.open_document(Span::default(), Style::Block);
        let key = tree.intern(b"a");
        let depth = 10_000;
        let lists: Vec<_> = (0..depth)
            .map(|level| {
                tree.push(Node::new(Value::List, (level == 0).then_some(key), Span::default(), Style::Block))
            })
            .collect();
        lists.into_iter().rev().for_each(|id| tree.close(id));
        tree.close(root);
        let written = write(&tree, None, &WriteOptions::default()).expect("YAML holds it");
        assert!(written.expose_secret().ends_with(b"- - []\n"));
    }
}

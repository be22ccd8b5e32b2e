//! The nodes of a YAML document, in the order in which they are written.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{ScalarStyle, Tag};

use super::YamlError;
use crate::format::yaml::resolve;

/// The nodes of a document; the first is its root.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// The maps and lists that are open.
    open: Vec<usize>,
    anchors: HashMap<usize, usize>,
}

/// A node, and where it is written.
pub(super) struct Node {
    pub kind: NodeKind,
    pub line: usize,
    /// How many bytes of text stand in it and below it.
    pub text: usize,
}

/// What a node is.
pub(super) enum NodeKind {
    /// The node that an anchor names.
    Alias(usize),
    /// Items.
    List(Vec<usize>),
    /// Keys and values, in turn.
    Map(Vec<usize>),
    Scalar(Scalar),
}

/// A scalar as it is written.
pub(super) struct Scalar {
    pub text: String,
    /// Its full tag, if it has one.
    pub tag: Option<String>,
    pub is_plain: bool,
}

impl Scalar {
    pub(super) fn new(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, is_empty: bool) -> Self {
        let is_plain = style == ScalarStyle::Plain;
        // The parser says `~` where nothing is written.
        let text = if is_plain && is_empty { String::new() } else { text.into_owned() };
        let tag = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
        Self { text, tag: tag.map(short_tag), is_plain }
    }

    /// Returns whether this is the key that merges maps.
    pub(super) fn is_merge(&self) -> bool {
        let is_implicit = match self.tag.as_deref() {
            None => self.is_plain,
            Some(tag) => tag == "!" || tag == "!!merge",
        };
        self.text == "<<" && is_implicit
    }
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), open: Vec::new(), anchors: HashMap::new() }
    }

    pub(super) fn root(&self) -> Option<&Node> {
        self.nodes.first()
    }

    pub(super) fn get(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    pub(super) fn scalar(&mut self, scalar: Scalar, anchor: usize, line: usize) {
        let text = scalar.text.len();
        self.push(NodeKind::Scalar(scalar), anchor, line, text);
    }

    pub(super) fn alias(&mut self, anchor: usize, line: usize) -> Result<(), YamlError> {
        let target = self.anchors.get(&anchor).copied();
        // What is open contains the alias: it would contain itself.
        let target = target.filter(|target| !self.open.contains(target)).ok_or(YamlError::Aliases)?;
        self.push(NodeKind::Alias(target), 0, line, 0);
        Ok(())
    }

    pub(super) fn open(&mut self, is_map: bool, anchor: usize, line: usize) -> Result<(), YamlError> {
        if self.open.len() >= super::MAX_NESTING {
            return Err(YamlError::Nesting);
        }
        let kind = if is_map { NodeKind::Map(Vec::new()) } else { NodeKind::List(Vec::new()) };
        let index = self.push(kind, anchor, line, 0);
        self.open.push(index);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        let Some(closed) = self.open.pop() else { return };
        let text = self.nodes[closed].text;
        if let Some(&outer) = self.open.last() {
            self.nodes[outer].text += text;
        }
    }

    fn push(&mut self, kind: NodeKind, anchor: usize, line: usize, text: usize) -> usize {
        let index = self.nodes.len();
        if let Some(&outer) = self.open.last() {
            let outer = &mut self.nodes[outer];
            outer.text += text;
            if let NodeKind::List(children) | NodeKind::Map(children) = &mut outer.kind {
                children.push(index);
            }
        }
        if anchor > 0 {
            self.anchors.insert(anchor, index);
        }
        self.nodes.push(Node { kind, line, text });
        index
    }
}

/// Returns a tag with `!!` for the namespace of YAML's own types.
fn short_tag(tag: String) -> String {
    match tag.strip_prefix(resolve::CORE_TAG) {
        Some(name) => format!("!!{name}"),
        None => tag,
    }
}

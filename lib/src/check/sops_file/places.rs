//! Where values of a tree are: for people as pointers, for SOPS as additional data.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::ops::Range;

use super::SopsValue;
use crate::check::file::File;
use crate::check::finding::Finding;
use crate::check::rule::Rule;
use crate::tree::{NodeId, Origin, Tree, Value};

/// Tells where values are, if it is asked for them in their order.
pub(in crate::check) struct Places<'a> {
    tree: &'a Tree,
    next: usize,
    /// The end of every map and list that the pointer is in, how long the pointer is there, and how many items it had.
    open: Vec<(usize, usize, usize)>,
    pointer: String,
    /// The position of the document that was spoken of last, and what it is called.
    label: Option<(usize, String)>,
}

/// Returns the places of a tree, from its start on.
pub(in crate::check) const fn places_of(tree: &Tree) -> Places<'_> {
    Places { tree, next: 0, open: Vec::new(), pointer: String::new(), label: None }
}

impl Places<'_> {
    /// Returns a finding about a value that is behind all that were asked for before.
    pub(in crate::check) fn finding(
        &mut self,
        rule: &'static Rule,
        file: &File<'_>,
        value: &SopsValue,
        message: impl Into<String>,
    ) -> Finding {
        let label = match &self.label {
            Some((document, label)) if *document == value.document => label.clone(),
            _ => self.label.insert((value.document, label(self.tree, value.document))).1.clone(),
        };
        let pointer = self.pointer(value.id);
        Finding::new(rule, file, value.span.clone(), message).at(label, pointer)
    }

    /// Returns the pointer to a value that is behind all that were asked for before; nothing if it is very long.
    pub(in crate::check) fn pointer(&mut self, id: NodeId) -> String {
        while self.next < id.index() {
            self.pass();
        }
        self.leave();
        let length = self.pointer.len();
        if !matches!(self.tree.node(id).value, Value::Comment(_)) {
            self.step(id);
        }
        let pointer = if self.pointer.len() > MAX_POINTER { String::new() } else { self.pointer.clone() };
        self.pointer.truncate(length);
        pointer
    }

    fn pass(&mut self) {
        self.leave();
        let Some(id) = self.tree.id(self.next) else { return };
        self.next += 1;
        let node = self.tree.node(id);
        if node.origin == Origin::Metadata || matches!(node.value, Value::Comment(_)) {
            return;
        }
        let length = self.pointer.len();
        if matches!(node.value, Value::List | Value::Map) {
            self.step(id);
        }
        if let Some((_, _, items)) = self.open.last_mut() {
            *items += 1;
        }
        if matches!(node.value, Value::List | Value::Map) {
            self.open.push((node.end as usize, length, 0));
        }
    }

    fn leave(&mut self) {
        while let Some((_, length, _)) = self.open.pop_if(|(end, ..)| *end <= self.next) {
            self.pointer.truncate(length);
        }
    }

    fn step(&mut self, id: NodeId) {
        let Some((_, _, items)) = self.open.last() else { return };
        self.pointer.push('/');
        match self.tree.key(id) {
            Some(key) => {
                let key = String::from_utf8_lossy(key);
                self.pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            None => self.pointer.push_str(&items.to_string()),
        }
    }
}

/// Where a node is.
#[derive(Clone)]
pub(super) struct NodePlace {
    /// Stands for its additional data.
    pub(super) place: u64,
    /// Where it is written: what is below an alias, there.
    pub(super) span: Range<usize>,
    /// The node whose key is the nearest: it, or one around it.
    pub(super) keyed: NodeId,
}

/// Returns where all nodes are.
pub(super) fn node_places(tree: &Tree) -> Vec<NodePlace> {
    let mut open: Vec<(usize, DefaultHasher, NodeId)> = Vec::new();
    let mut alias = 0..0;
    let place = |(id, node): (NodeId, &crate::tree::Node)| {
        while open.pop_if(|(end, ..)| *end <= id.index()).is_some() {}
        let around = open.last().map(|(_, hasher, keyed)| (hasher.clone(), *keyed));
        let (mut hasher, mut keyed) = around.unwrap_or_else(|| (DefaultHasher::new(), id));
        if let Some(key) = tree.key(id) {
            keyed = id;
            hasher.write(key);
            hasher.write(b":");
        }
        let mut span = node.span.start as usize..node.span.end as usize;
        match node.origin {
            Origin::Alias => alias = span.clone(),
            Origin::Copy => span = alias.clone(),
            Origin::Metadata | Origin::Source if span.is_empty() => {
                span = node.key_start as usize..node.key_start.max(node.span.end) as usize;
            }
            Origin::Metadata | Origin::Source => {}
        }
        let place = hasher.finish();
        if matches!(node.value, Value::List | Value::Map) {
            open.push((node.end as usize, hasher, keyed));
        }
        NodePlace { place, span, keyed }
    };
    tree.nodes().map(place).collect()
}

/// Returns the maps `data` and `stringData` of all Secrets of Kubernetes, those in lists included, in order.
pub(in crate::check) fn secret_data(tree: &Tree) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut next: Vec<_> = tree.documents().to_vec();
    next.reverse();
    while let Some(object) = next.pop() {
        let Some(kind) = get(tree, object, "kind").map(|id| text_of(tree, id)) else { continue };
        let version = get(tree, object, "apiVersion").map(|id| text_of(tree, id));
        if kind == "Secret" && version.is_none_or(|version| version == "v1" || !is_name(&version)) {
            let is_map = |id: &NodeId| tree.node(*id).value == Value::Map;
            let is_data = |id: &NodeId| matches!(tree.key(*id), Some(b"data" | b"stringData")) && is_map(id);
            found.extend(tree.items(object).filter(is_data));
        } else if kind.ends_with("List") {
            let items = get(tree, object, "items").filter(|&id| tree.node(id).value == Value::List);
            let at = next.len();
            let items = items.into_iter().flat_map(|items| tree.items(items));
            next.extend(items.filter(|&id| tree.node(id).value == Value::Map));
            next[at..].reverse();
        }
    }
    found
}

/// Returns what findings call a document: `Kind/namespace/name`.
fn label(tree: &Tree, document: usize) -> String {
    let Some(&root) = tree.documents().get(document) else { return String::new() };
    let name_at = |map, key| get(tree, map, key).map(|id| text_of(tree, id)).filter(|name| is_name(name));
    let Some(kind) = name_at(root, "kind") else { return String::new() };
    let metadata = get(tree, root, "metadata").filter(|&id| tree.node(id).value == Value::Map);
    let part = |key| metadata.and_then(|map| name_at(map, key));
    let parts = [Some(kind), part("namespace"), part("name")];
    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
}

fn get(tree: &Tree, map: NodeId, name: &str) -> Option<NodeId> {
    tree.items(map).find(|&id| tree.key(id) == Some(name.as_bytes()))
}

fn text_of(tree: &Tree, id: NodeId) -> String {
    match tree.node(id).value {
        Value::Str(text) => String::from_utf8_lossy(tree.bytes(text)).into_owned(),
        _ => String::new(),
    }
}

/// Returns whether a text is a name: what is encrypted, or empty, is none.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['[', ',', '\n'])
}

/// How long a pointer is at most that is shown: those of all values of a document may be far longer than it is.
const MAX_POINTER: usize = 1024;

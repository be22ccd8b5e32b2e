//! The values of a document with their places, and which of them a rule selects.

use super::cipher::Encrypted;
use super::selector::Selector;
use super::walk::Walk;
use crate::format::Format;
use crate::tree::{NodeId, Origin, Step, Tree, TreePath, Value};

/// A value of a document that is neither a map nor a list, nor a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafPlace {
    /// The value; [`Places`] tells where it is.
    pub id: NodeId,
    /// Whether the rule says that the value is encrypted.
    pub selected: bool,
    /// What is written there.
    pub state: LeafState,
}

/// What is written in the place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafState {
    /// The value itself.
    Clear,
    /// Null or an empty text, which SOPS never encrypts.
    Empty,
    /// An encrypted value.
    Encrypted,
}

/// Returns all values of a document, encrypted or not, in its order.
#[must_use]
pub fn leaves(format: Format, tree: &Tree, selector: &Selector) -> Vec<LeafPlace> {
    let mut walk = Walk::new(selector, format.store().is_single_value());
    let mut leaves = Vec::new();
    while let Some(leaf) = walk.next(tree) {
        let value = tree.node(leaf.id).value;
        if !matches!(value, Value::Comment(_)) {
            leaves.push(LeafPlace { id: leaf.id, selected: leaf.selected, state: state_of(tree, value) });
        }
    }
    leaves
}

/// Returns all comments of a document in its order, and whether the rule says that each is encrypted.
#[must_use]
pub fn comments(format: Format, tree: &Tree, selector: &Selector) -> Vec<(NodeId, bool)> {
    let mut walk = Walk::new(selector, format.store().is_single_value());
    let mut comments = Vec::new();
    while let Some(leaf) = walk.next(tree) {
        if matches!(tree.node(leaf.id).value, Value::Comment(_)) {
            comments.push((leaf.id, leaf.selected));
        }
    }
    comments
}

/// Returns the path of a value in its document.
pub(super) fn path_of(tree: &Tree, id: NodeId) -> TreePath {
    Places::new(tree).advance(id).1
}

fn state_of(tree: &Tree, value: Value) -> LeafState {
    match value {
        Value::Null => LeafState::Empty,
        Value::Str(text) if tree.bytes(text).is_empty() => LeafState::Empty,
        Value::Str(text) if Encrypted::parse(tree.bytes(text)).is_some() => LeafState::Encrypted,
        _ => LeafState::Clear,
    }
}

/// Follows the nodes of a tree in order, and knows the path of each.
///
/// Ask for the path of what is shown: all paths of a document may be far longer than it is.
pub struct Places<'a> {
    tree: &'a Tree,
    next: usize,
    documents: usize,
    path: TreePath,
    /// The end of every map and list that the path is in, and how many items it has so far.
    open: Vec<(usize, usize)>,
}

impl<'a> Places<'a> {
    /// Returns the places of a tree, from its start on.
    #[must_use]
    pub const fn new(tree: &'a Tree) -> Self {
        Self { tree, next: 0, documents: 0, path: TreePath::new(), open: Vec::new() }
    }

    /// Returns the 0-based position of the document and the path of a value behind all that were asked for
    /// before.
    pub fn advance(&mut self, id: NodeId) -> (usize, TreePath) {
        while self.next < id.index() {
            self.pass();
        }
        self.leave();
        let mut path = self.path.clone();
        path.push(self.step(id));
        (self.documents.saturating_sub(1), path)
    }

    /// Passes over the next node, into it if it is a map or list.
    fn pass(&mut self) {
        self.leave();
        let Some(id) = self.tree.id(self.next) else { return };
        let node = self.tree.node(id);
        self.next += 1;
        if node.origin == Origin::Metadata || matches!(node.value, Value::Comment(_)) {
            return;
        }
        let step = (!self.open.is_empty()).then(|| self.step(id));
        if let Some((_, items)) = self.open.last_mut() {
            *items += 1;
        }
        if matches!(node.value, Value::List | Value::Map) {
            match step {
                Some(step) => self.path.push(step),
                None => self.documents += 1,
            }
            self.open.push((node.end as usize, 0));
        }
    }

    fn leave(&mut self) {
        while self.open.pop_if(|(end, _)| *end <= self.next).is_some() {
            self.path.pop();
        }
    }

    fn step(&self, id: NodeId) -> Step {
        match self.tree.key(id) {
            Some(key) => Step::Key(String::from_utf8_lossy(key).into_owned()),
            None => Step::Index(self.open.last().map_or(0, |&(_, items)| items)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secret::SecretBytes;
    use crate::tree::{Node, Span, Style};

    #[test]
    fn every_value_has_its_place() {
        let mut tree = Tree::new(SecretBytes::new());
        let encrypted = "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]";
        for document in [json!({"a": [1, [2], {"b": encrypted}], "x": {}}), json!({"c": null})] {
            let root = tree.open_document(Span::default(), Style::Block);
            let note = tree.intern(b" note");
            tree.push(Node::new(Value::Comment(note), None, Span::default(), Style::Plain));
            for (key, value) in document.as_object().expect("a map") {
                tree.push_json(Some(key), value);
            }
            let metadata = tree.push_json(Some("sops"), &json!({"mac": "x"}));
            tree.mark_metadata(metadata);
            tree.close(root);
        }
        let rule = Selector::EncryptedSuffix("b".to_owned());
        let mut places = Places::new(&tree);
        let found: Vec<_> = leaves(Format::Yaml, &tree, &rule)
            .into_iter()
            .map(|leaf| {
                let (document, path) = places.advance(leaf.id);
                (document, path.to_string(), leaf.selected, leaf.state)
            })
            .collect();
        assert_eq!(
            found,
            [
                (0, r#"["a"][0]"#.to_owned(), false, LeafState::Clear),
                (0, r#"["a"][1][0]"#.to_owned(), false, LeafState::Clear),
                (0, r#"["a"][2]["b"]"#.to_owned(), true, LeafState::Encrypted),
                (1, r#"["c"]"#.to_owned(), false, LeafState::Empty),
            ]
        );
        let selected =
            |rule| comments(Format::Yaml, &tree, rule).iter().map(|(_, is)| *is).collect::<Vec<_>>();
        assert_eq!(selected(&rule), [false, false]);
        assert_eq!(selected(&Selector::default()), [true, true]);
    }
}

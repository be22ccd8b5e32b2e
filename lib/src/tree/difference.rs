//! What differs between two trees, by path.
//!
//! Comments, layout and the order of keys are not compared.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::{NodeId, Step, Tree, TreePath, Value};

/// A value that one of two trees does not have, or has otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The 0-based position of the document.
    pub document: usize,
    /// Where the value is: in the right tree, or in the left one if the right one does not have it.
    pub path: TreePath,
    /// The value of the left tree, unless it was added.
    pub left: Option<NodeId>,
    /// The value of the right tree, unless it was removed.
    pub right: Option<NodeId>,
}

/// Returns what differs between two trees, scalar by scalar, in the order of the right one.
#[must_use]
pub fn differences(left: &Tree, right: &Tree) -> Vec<Difference> {
    let keys = RandomState::new();
    let (left, right) = (Side::new(left, &keys), Side::new(right, &keys));
    let mut comparison = Comparison {
        left,
        right,
        document: 0,
        path: TreePath::default(),
        work: Vec::new(),
        found: Vec::new(),
    };
    let (left, right) = (comparison.left.tree.documents(), comparison.right.tree.documents());
    for document in 0..left.len().max(right.len()) {
        comparison.document = document;
        comparison.work.push(Work::Pair(left.get(document).copied(), right.get(document).copied()));
        comparison.run();
    }
    comparison.found
}

struct Comparison<'a> {
    left: Side<'a>,
    right: Side<'a>,
    document: usize,
    path: TreePath,
    /// What is to be done, the next one last: documents may be nested deeper than the stack is high.
    work: Vec<Work>,
    found: Vec<Difference>,
}

/// One of two trees.
struct Side<'a> {
    tree: &'a Tree,
    /// A hash of every node and what is below it. Two nodes are equal if theirs are.
    hashes: Vec<u64>,
}

enum Work {
    Enter(Step),
    Leave,
    Pair(Option<NodeId>, Option<NodeId>),
}

impl<'a> Side<'a> {
    fn new(tree: &'a Tree, keys: &RandomState) -> Self {
        let mut hashes = vec![0; tree.nodes().len()];
        for (id, node) in tree.nodes().rev() {
            let mut hash = keys.build_hasher();
            std::mem::discriminant(&node.value).hash(&mut hash);
            match node.value {
                Value::Bool(value) => value.hash(&mut hash),
                Value::Float(value) => value.to_bits().hash(&mut hash),
                Value::Int(value) => value.hash(&mut hash),
                Value::Unsigned(value) => value.hash(&mut hash),
                Value::Comment(text) | Value::Str(text) | Value::Time(text) => {
                    tree.bytes(text).hash(&mut hash)
                }
                Value::Null => {}
                Value::List | Value::Map => {
                    for item in tree.items(id) {
                        (tree.key(item), hashes[item.index()]).hash(&mut hash);
                    }
                }
            }
            hashes[id.index()] = hash.finish();
        }
        Self { tree, hashes }
    }

    fn hash(&self, id: NodeId) -> u64 {
        self.hashes[id.index()]
    }

    fn items(&self, id: Option<NodeId>) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        let items: Vec<_> = id.into_iter().flat_map(|id| self.tree.items(id)).collect();
        items.into_iter()
    }
}

impl Comparison<'_> {
    fn run(&mut self) {
        while let Some(work) = self.work.pop() {
            match work {
                Work::Enter(step) => self.path.push(step),
                Work::Leave => {
                    self.path.pop();
                }
                Work::Pair(left, right) => self.pair(left, right),
            }
        }
    }

    fn pair(&mut self, left: Option<NodeId>, right: Option<NodeId>) {
        let value = |side: &Side<'_>, id: Option<NodeId>| id.map(|id| side.tree.node(id).value);
        match (value(&self.left, left), value(&self.right, right)) {
            _ if self.are_equal(left, right) => {}
            (Some(Value::Map) | None, Some(Value::Map)) | (Some(Value::Map), None)
                if self.has_items(left, right) =>
            {
                self.maps(left, right);
            }
            (Some(Value::List) | None, Some(Value::List)) | (Some(Value::List), None)
                if self.has_items(left, right) =>
            {
                self.lists(left, right);
            }
            _ => {
                let (document, path) = (self.document, self.path.clone());
                self.found.push(Difference { document, path, left, right });
            }
        }
    }

    /// A map or list that appears or vanishes empty is a difference by itself.
    fn has_items(&self, left: Option<NodeId>, right: Option<NodeId>) -> bool {
        let filled = |side: &Side<'_>, id: Option<NodeId>| side.items(id).next().is_some();
        left.is_some() && right.is_some() || filled(&self.left, left) || filled(&self.right, right)
    }

    fn maps(&mut self, left: Option<NodeId>, right: Option<NodeId>) {
        let mut of_key: HashMap<&[u8], VecDeque<NodeId>> = HashMap::new();
        for id in self.left.items(left) {
            of_key.entry(self.left.tree.key(id).unwrap_or_default()).or_default().push_back(id);
        }
        let mut pairs: Vec<(Option<NodeId>, Option<NodeId>)> = Vec::new();
        for id in self.right.items(right) {
            let key = self.right.tree.key(id).unwrap_or_default();
            pairs.push((of_key.get_mut(key).and_then(VecDeque::pop_front), Some(id)));
        }
        let mut gone: Vec<NodeId> = of_key.into_values().flatten().collect();
        gone.sort_unstable();
        pairs.extend(gone.into_iter().map(|id| (Some(id), None)));
        for (left, right) in pairs.into_iter().rev() {
            let key = match right {
                Some(id) => self.right.tree.key(id),
                None => left.and_then(|id| self.left.tree.key(id)),
            };
            let key = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
            self.below(Step::Key(key), left, right);
        }
    }

    /// Items at the start and at the end that are equal are passed over; the rest is compared by position.
    fn lists(&mut self, left: Option<NodeId>, right: Option<NodeId>) {
        let mut left: VecDeque<NodeId> = self.left.items(left).collect();
        let mut right: VecDeque<NodeId> = self.right.items(right).collect();
        let mut next = 0;
        while let (Some(&first), Some(&other)) = (left.front(), right.front())
            && self.are_equal(Some(first), Some(other))
        {
            left.pop_front();
            right.pop_front();
            next += 1;
        }
        while let (Some(&last), Some(&other)) = (left.back(), right.back())
            && self.are_equal(Some(last), Some(other))
        {
            left.pop_back();
            right.pop_back();
        }
        for position in (0..left.len().max(right.len())).rev() {
            let step = Step::Index(next + position);
            self.below(step, left.get(position).copied(), right.get(position).copied());
        }
    }

    /// Compares two values further down, before what was asked for earlier.
    fn below(&mut self, step: Step, left: Option<NodeId>, right: Option<NodeId>) {
        self.work.extend([Work::Leave, Work::Pair(left, right), Work::Enter(step)]);
    }

    fn are_equal(&self, left: Option<NodeId>, right: Option<NodeId>) -> bool {
        left.map(|id| self.left.hash(id)) == right.map(|id| self.right.hash(id))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::secret::SecretBytes;
    use crate::tree::{Span, Style};

    fn tree(json: &Json) -> Tree {
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.open_document(Span::default(), Style::Block);
        for (key, value) in json.as_object().expect("a map") {
            tree.push_json(Some(key), value);
        }
        tree.close(root);
        tree
    }

    fn compare(left: &Json, right: &Json) -> Vec<String> {
        let sign = |difference: &Difference| match (difference.left, difference.right) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        let found = differences(&tree(left), &tree(right));
        found.iter().map(|difference| format!("{}{}", sign(difference), difference.path)).collect()
    }

    #[test]
    fn equal_trees_do_not_differ_whatever_the_order_of_keys() {
        let (left, right) =
            (json!({"a": [1, {"b": "c"}], "d": null}), json!({"d": null, "a": [1, {"b": "c"}]}));
        assert_eq!(compare(&left, &right), [""; 0]);
    }

    #[test]
    fn every_scalar_that_differs_is_named() {
        let left = json!({"a": {"b": 1, "c": "x"}, "gone": {"d": true}, "e": []});
        let right = json!({"a": {"b": 2, "c": "x", "n": {"o": 1}}, "e": {}});
        assert_eq!(
            compare(&left, &right),
            [r#"~["a"]["b"]"#, r#"+["a"]["n"]["o"]"#, r#"~["e"]"#, r#"-["gone"]["d"]"#]
        );
    }

    #[test]
    fn a_type_is_part_of_a_value() {
        assert_eq!(compare(&json!({"a": 1}), &json!({"a": "1"})), [r#"~["a"]"#]);
        assert_eq!(compare(&json!({"a": 1}), &json!({"a": 1.0})), [r#"~["a"]"#]);
    }

    #[test]
    fn an_item_put_in_leaves_the_others_alone() {
        assert_eq!(compare(&json!({"l": [1, 2, 3]}), &json!({"l": [1, 9, 2, 3]})), [r#"+["l"][1]"#]);
        assert_eq!(compare(&json!({"l": [1, 2, 3]}), &json!({"l": [2, 3]})), [r#"-["l"][0]"#]);
        assert_eq!(
            compare(&json!({"l": [1, {"a": 2}]}), &json!({"l": [1, {"a": 3}]})),
            [r#"~["l"][1]["a"]"#]
        );
    }

    #[test]
    fn empty_maps_are_values() {
        assert_eq!(compare(&json!({}), &json!({"a": {}, "b": []})), [r#"+["a"]"#, r#"+["b"]"#]);
    }
}

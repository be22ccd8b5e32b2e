//! What differs between two trees, by path.
//!
//! Comments, layout and the order of keys are not compared.

use std::collections::{HashMap, VecDeque};

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
    let mut comparison =
        Comparison { left, right, document: 0, path: TreePath::default(), found: Vec::new() };
    let count = left.documents().len().max(right.documents().len());
    for document in 0..count {
        comparison.document = document;
        comparison.pair(left.documents().get(document).copied(), right.documents().get(document).copied());
    }
    comparison.found
}

struct Comparison<'a> {
    left: &'a Tree,
    right: &'a Tree,
    document: usize,
    path: TreePath,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn pair(&mut self, left: Option<NodeId>, right: Option<NodeId>) {
        let value = |tree: &Tree, id: Option<NodeId>| id.map(|id| tree.node(id).value);
        match (value(self.left, left), value(self.right, right)) {
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
            _ if !self.are_equal(left, right) => {
                let (document, path) = (self.document, self.path.clone());
                self.found.push(Difference { document, path, left, right });
            }
            _ => {}
        }
    }

    /// A map or list that appears or vanishes empty is a difference by itself.
    fn has_items(&self, left: Option<NodeId>, right: Option<NodeId>) -> bool {
        let filled = |tree: &Tree, id: NodeId| tree.items(id).next().is_some();
        match (left, right) {
            (Some(_), Some(_)) => true,
            (left, right) => {
                left.is_some_and(|id| filled(self.left, id)) || right.is_some_and(|id| filled(self.right, id))
            }
        }
    }

    fn maps(&mut self, left: Option<NodeId>, right: Option<NodeId>) {
        let mut of_key: HashMap<&[u8], VecDeque<NodeId>> = HashMap::new();
        for id in left.into_iter().flat_map(|id| self.left.items(id)) {
            of_key.entry(self.left.key(id).unwrap_or_default()).or_default().push_back(id);
        }
        let mut pairs: Vec<(Option<NodeId>, Option<NodeId>)> = Vec::new();
        for id in right.into_iter().flat_map(|id| self.right.items(id)) {
            let twin = of_key.get_mut(self.right.key(id).unwrap_or_default()).and_then(VecDeque::pop_front);
            pairs.push((twin, Some(id)));
        }
        let mut gone: Vec<NodeId> = of_key.into_values().flatten().collect();
        gone.sort_unstable();
        pairs.extend(gone.into_iter().map(|id| (Some(id), None)));
        for (left, right) in pairs {
            let key = match right {
                Some(id) => self.right.key(id),
                None => left.and_then(|id| self.left.key(id)),
            };
            self.path.push(Step::Key(String::from_utf8_lossy(key.unwrap_or_default()).into_owned()));
            self.pair(left, right);
            self.path.pop();
        }
    }

    /// Items at the start and at the end that are equal are passed over; the rest is compared by position.
    fn lists(&mut self, left: Option<NodeId>, right: Option<NodeId>) {
        let mut left: VecDeque<NodeId> = left.into_iter().flat_map(|id| self.left.items(id)).collect();
        let right: Vec<NodeId> = right.into_iter().flat_map(|id| self.right.items(id)).collect();
        let mut right: VecDeque<(usize, NodeId)> = right.into_iter().enumerate().collect();
        let mut next = 0;
        while let (Some(&first), Some(&(_, other))) = (left.front(), right.front())
            && self.are_equal(Some(first), Some(other))
        {
            left.pop_front();
            right.pop_front();
            next += 1;
        }
        while let (Some(&last), Some(&(_, other))) = (left.back(), right.back())
            && self.are_equal(Some(last), Some(other))
        {
            left.pop_back();
            right.pop_back();
        }
        for position in 0..left.len().max(right.len()) {
            self.path.push(Step::Index(next + position));
            self.pair(left.get(position).copied(), right.get(position).map(|&(_, id)| id));
            self.path.pop();
        }
    }

    fn are_equal(&self, left: Option<NodeId>, right: Option<NodeId>) -> bool {
        let (Some(left), Some(right)) = (left, right) else { return left.is_none() && right.is_none() };
        match (self.left.node(left).value, self.right.node(right).value) {
            (Value::Str(one), Value::Str(other)) | (Value::Time(one), Value::Time(other)) => {
                self.left.bytes(one) == self.right.bytes(other)
            }
            (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
            (Value::List, Value::List) => {
                self.items_are_equal(left, right, |one, other| self.are_equal(Some(one), Some(other)))
            }
            (Value::Map, Value::Map) => self.items_are_equal(left, right, |one, other| {
                self.left.key(one) == self.right.key(other) && self.are_equal(Some(one), Some(other))
            }),
            (one, other) => one == other,
        }
    }

    fn items_are_equal(&self, left: NodeId, right: NodeId, equal: impl Fn(NodeId, NodeId) -> bool) -> bool {
        let mut others = self.right.items(right);
        let all = self.left.items(left).all(|one| others.next().is_some_and(|other| equal(one, other)));
        all && others.next().is_none()
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

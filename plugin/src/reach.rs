//! How far a path leads into a document, and what is made where it leads no further.

use selkie::tree::{NodeId, Step, Tree, TreePath};
use serde_json::{Map, Value as Json};

/// How far a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach<'a> {
    /// The last node on the way.
    pub node: NodeId,
    /// The steps that lead no further from there; none if the node is at the path.
    pub rest: &'a [Step],
}

/// Goes along a path in a document, as far as it leads.
#[must_use]
pub fn reach<'a>(tree: &Tree, root: NodeId, path: &'a TreePath) -> Reach<'a> {
    let mut node = root;
    for (at, step) in path.steps().iter().enumerate() {
        match tree.get(node, &TreePath::from_iter([step.clone()])) {
            Some(below) => node = below,
            None => return Reach { node, rest: &path.steps()[at..] },
        }
    }
    Reach { node, rest: &[] }
}

/// Goes along a path in the first document, as sops does; `None` if there is no document.
#[must_use]
pub fn reach_in_first<'a>(tree: &Tree, path: &'a TreePath) -> Option<Reach<'a>> {
    tree.documents().first().map(|&root| reach(tree, root, path))
}

/// Returns a value below new maps and lists, whatever its position in a list is to be.
#[must_use]
pub fn nest(steps: &[Step], value: &Json) -> Json {
    steps.iter().rev().fold(value.clone(), |value, step| match step {
        Step::Index(_) => Json::Array(vec![value]),
        Step::Key(key) => Json::Object(Map::from_iter([(key.clone(), value)])),
    })
}

#[cfg(test)]
mod tests {
    use selkie::format::Format;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_of_a_path_is_made() {
        let tree = Format::Json.read(r#"{"a": {"b": 1}}"#).expect("the text is JSON");
        let end = |text| {
            let path = TreePath::parse(text).expect("a path");
            let Reach { node, rest } = reach(&tree, tree.documents()[0], &path);
            (tree.to_json(node), nest(rest, &json!(2)))
        };
        assert_eq!(end(r#"["a"]["b"]"#), (json!(1), json!(2)));
        assert_eq!(end(r#"["a"]["c"][0]"#), (json!({"b": 1}), json!({"c": [2]})));
        assert_eq!(end(r#"["a"]["b"]["c"]"#), (json!(1), json!({"c": 2})));
    }
}

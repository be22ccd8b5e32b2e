//! Values by path, for who looks up many in one tree.

use std::collections::HashMap;

use super::{NodeId, Step, Tree, TreePath, Value};

/// Finds values by path: once made, in the time that the path is long, however many values there are.
pub struct Finder<'a> {
    tree: &'a Tree,
    below: HashMap<(NodeId, Place<'a>), NodeId>,
}

/// Where a value is in its map or list.
#[derive(PartialEq, Eq, Hash)]
enum Place<'a> {
    Index(usize),
    Key(&'a [u8]),
}

impl<'a> Finder<'a> {
    /// Reads a tree once.
    #[must_use]
    pub fn new(tree: &'a Tree) -> Self {
        let mut below = HashMap::with_capacity(tree.nodes().len());
        for (id, node) in tree.nodes() {
            if !matches!(node.value, Value::List | Value::Map) {
                continue;
            }
            for (position, item) in tree.items(id).enumerate() {
                let place = tree.key(item).map_or(Place::Index(position), Place::Key);
                below.entry((id, place)).or_insert(item);
            }
        }
        Self { tree, below }
    }

    /// Returns the first value at a path of a document, as [`Tree::get`] does. The 0-based position of the document
    /// counts from the first.
    #[must_use]
    pub fn find(&self, document: usize, path: &TreePath) -> Option<NodeId> {
        let root = *self.tree.documents().get(document)?;
        path.steps().iter().try_fold(root, |node, step| {
            let place = match step {
                Step::Index(index) => Place::Index(*index),
                Step::Key(key) => Place::Key(key.as_bytes()),
            };
            self.below.get(&(node, place)).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::format::Format;
    use crate::secret::SecretBytes;
    use crate::tree::{Span, Style};

    use super::*;

    #[test]
    fn what_is_found_is_what_a_walk_finds() {
        let text = "a: &x {b: [1, {c: 2}]}\nd:\n- e\n# f\n- g\n---\na: {}\n";
        let tree = Format::Yaml.read(SecretBytes::from(text)).expect("YAML");
        let finder = Finder::new(&tree);
        for (document, path, is_there) in [
            (0, "", true),
            (0, r#"["a"]["b"]"#, true),
            (0, r#"["a"]["b"][1]["c"]"#, true),
            (0, r#"["d"][1]"#, true),
            (0, r#"["d"][2]"#, false),
            (0, r#"["d"]["0"]"#, false),
            (0, r#"["a"][0]"#, false),
            (1, r#"["a"]"#, true),
            (1, r#"["d"]"#, false),
            (2, "", false),
        ] {
            let path = TreePath::parse(path).expect("a path");
            let found = finder.find(document, &path);
            assert_eq!(found.is_some(), is_there, "{document} {path}");
            let walked = tree.documents().get(document).and_then(|&root| tree.get(root, &path));
            assert_eq!(found, walked, "{document} {path}");
        }
    }

    #[test]
    fn of_equal_keys_the_first_is_found() {
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.open_document(Span::default(), Style::Block);
        let first = tree.push_json(Some("a"), &1.into());
        tree.push_json(Some("a"), &2.into());
        tree.close(root);
        let path = TreePath::parse(r#"["a"]"#).expect("a path");
        assert_eq!(Finder::new(&tree).find(0, &path), Some(first));
        assert_eq!(tree.get(root, &path), Some(first));
    }
}

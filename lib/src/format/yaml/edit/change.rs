//! Values put in, replaced by others of any kind, and taken out.
//!
//! Invariant: the text that comes out was read again, and says what was asked for and nothing else.

use serde_json::Value as Json;

use super::anchors::aliases;
use super::structure::Structure;
use crate::format::splice::Splice;
use crate::format::yaml::read::read;
use crate::format::yaml::write::flow::flow;
use crate::format::{Place, WriteError};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Tree, Value, same_value, values};

/// Returns the source of a tree with a value put in or replaced.
pub(in crate::format::yaml) fn put(
    tree: &Tree,
    place: Place<'_>,
    value: &Json,
) -> Result<SecretBytes, WriteError> {
    let (node, key) = match place {
        Place::Append(list) if tree.node(list).value == Value::List => (list, None),
        Place::Entry(map, key) if tree.node(map).value == Value::Map => (map, Some(key)),
        Place::Node(node) => {
            if tree.documents().contains(&node) && !value.is_object() {
                return Err(unsupported("anything but a map at the top"));
            }
            return change(tree, node, &What::Replace(value));
        }
        Place::Append(_) | Place::Entry(..) => return Err(unsupported("a value below a scalar")),
    };
    change(tree, node, &What::Insert(key, value))
}

/// Returns the source of a tree without a node and its key.
pub(in crate::format::yaml) fn remove(tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
    if tree.documents().contains(&node) {
        return Err(unsupported("a document without its top"));
    }
    change(tree, node, &What::Remove)
}

/// What is done at a node.
enum What<'a> {
    /// A value becomes the last of a map, under a key, or of a list.
    Insert(Option<&'a str>, &'a Json),
    /// The node goes, and its key.
    Remove,
    /// The node holds another value.
    Replace(&'a Json),
}

fn change(tree: &Tree, node: NodeId, what: &What<'_>) -> Result<SecretBytes, WriteError> {
    if let Some(expanded) = expanded(tree, node, what) {
        let position = values(tree).position(|(id, _)| id == node);
        let expanded = read(expanded).map_err(|_| ALIASES)?;
        let same = position.and_then(|position| values(&expanded).nth(position));
        return change(&expanded, same.ok_or(ALIASES)?.0, what);
    }
    // Empty lines below would become part of some texts in lines; on one line they cannot.
    for is_inline in [false, true] {
        let structure = Structure::new(tree, is_inline);
        let mut splice = Splice::default();
        match what {
            What::Insert(key, value) => structure.insert(node, *key, value, &mut splice)?,
            What::Remove => structure.remove(node, &mut splice)?,
            What::Replace(value) => structure.replace(node, value, &mut splice)?,
        }
        let changed = splice.apply(tree.source());
        let copy = SecretBytes::from(changed.expose_secret());
        if read(copy).is_ok_and(|after| says(&after, tree, node, what)) {
            return Ok(changed);
        }
    }
    Err(unsupported("this change without being written anew; make it by hand"))
}

/// Returns the source with those aliases written out whose meaning the change would touch, and the one that
/// the change is in; `None` if there are none.
fn expanded(tree: &Tree, node: NodeId, what: &What<'_>) -> Option<SecretBytes> {
    let is_insert = matches!(what, What::Insert(..));
    let is_in =
        |inner: NodeId, outer: NodeId| outer <= inner && inner.index() < tree.node(outer).end as usize;
    let targets = aliases(tree);
    let mut splice = Splice::default();
    let mut is_touched = false;
    let roots = tree.nodes().filter(|(_, other)| other.origin == Origin::Alias).map(|(id, _)| id);
    for alias in roots {
        let holds_change = if alias == node { is_insert } else { is_in(node, alias) };
        let goes_with_it = !is_insert && is_in(alias, node);
        let changes = targets
            .get(&alias)
            .is_none_or(|&target| is_in(node, target) || !is_insert && is_in(target, node));
        if holds_change || changes && !goes_with_it {
            is_touched = true;
            let span = tree.node(alias).span;
            splice.replace_with(span, |out| flow(tree, alias, out));
        }
    }
    is_touched.then(|| splice.apply(tree.source()))
}

/// Returns whether a tree says what `before` says with the change.
fn says(after: &Tree, before: &Tree, node: NodeId, what: &What<'_>) -> bool {
    let mut given = Tree::new(SecretBytes::new());
    let end = before.node(node).end as usize;
    let mut depth_of_node = 0;
    let (mut first, mut rest): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (id, depth) in values(before) {
        if id == node {
            depth_of_node = depth;
        }
        let stays = id < node || id.index() >= end || matches!(what, What::Insert(..));
        match (stays, id.index() >= end) {
            (false, _) => {}
            (true, false) => first.push((before, id, depth, before.key(id))),
            (true, true) => rest.push((before, id, depth, before.key(id))),
        }
    }
    let (key, depth, value) = match what {
        What::Insert(key, value) => (key.map(str::as_bytes), depth_of_node, Some(*value)),
        What::Remove => (None, 0, None),
        What::Replace(value) => (before.key(node), depth_of_node - 1, Some(*value)),
    };
    if let Some(value) = value {
        given.push_json(None, value);
    }
    let given_values = values(&given)
        .map(|(id, below)| (&given, id, depth + below, if below == 1 { key } else { given.key(id) }));
    let mut found = values(after);
    let mut expected = first.into_iter().chain(given_values).chain(rest);
    let same = expected.all(|(tree, id, depth, key)| {
        found.next().is_some_and(|(other, other_depth)| {
            depth == other_depth && key == after.key(other) && same_value(tree, id, after, other)
        })
    });
    same && found.next().is_none()
}

const fn unsupported(what: &'static str) -> WriteError {
    WriteError::Unsupported { format: "yaml", what }
}

const ALIASES: WriteError = unsupported("this value without its aliases; write them out by hand");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::TreePath;

    fn tree(source: &str) -> Tree {
        read(source.into()).unwrap_or_else(|error| panic!("{source:?}: {error}"))
    }

    fn text(bytes: &SecretBytes) -> String {
        String::from_utf8_lossy(bytes.expose_secret()).into_owned()
    }

    /// Puts a value where a path leads, the last step of which need not exist.
    fn set(source: &str, path: &str, value: &Json) -> String {
        let tree = tree(source);
        let root = tree.documents()[0];
        let path = TreePath::parse(path).expect("a path");
        let (last, steps) = path.steps().split_last().expect("a step");
        let place = match (tree.get(root, &path), last) {
            (Some(node), _) => Place::Node(node),
            (None, step) => {
                let container = tree.get(root, &steps.iter().cloned().collect()).expect("a container");
                match step {
                    crate::tree::Step::Key(key) => Place::Entry(container, key),
                    crate::tree::Step::Index(_) => Place::Append(container),
                }
            }
        };
        text(&put(&tree, place, value).unwrap_or_else(|error| panic!("{source:?}: {error}")))
    }

    fn unset(source: &str, path: &str) -> String {
        let tree = tree(source);
        let node = tree.get(tree.documents()[0], &TreePath::parse(path).expect("a path")).expect("a node");
        text(&remove(&tree, node).unwrap_or_else(|error| panic!("{source:?}: {error}")))
    }

    #[test]
    fn a_scalar_takes_the_place_of_a_scalar_in_its_style() {
        let source = "a: 'x'   # c\nb: \"y\"\nc: |\n  l\nd: 1\ne:\n";
        let expected = "a: 'z'   # c\nb: \"y\"\nc: |\n  l\nd: 1\ne:\n";
        assert_eq!(set(source, "['a']", &json!("z")), expected);
        assert_eq!(set(source, "['c']", &json!("l\nm\n")), source.replace("  l\n", "  l\n  m\n"));
        assert_eq!(set(source, "['d']", &json!("2")), source.replace("d: 1", "d: \"2\""));
        assert_eq!(set(source, "['d']", &json!(2)), source.replace("d: 1", "d: 2"));
        assert_eq!(set(source, "['b']", &json!(2)), source.replace("\"y\"", "2"));
        assert_eq!(set(source, "['e']", &json!(true)), source.replace("e:", "e: true"));
    }

    #[test]
    fn entries_go_below_the_last_one_of_a_block() {
        assert_eq!(set("a: 1 # c\n# d\n", "['b']", &json!("x")), "a: 1 # c\nb: x\n# d\n");
        assert_eq!(set("a:\n  b: 1\n\nc: 2\n", "['a']['x']", &json!(3)), "a:\n  b: 1\n  x: 3\n\nc: 2\n");
        assert_eq!(set("a:\n- 1\nc: 2\n", "['a'][9]", &json!({"x": [3]})), "a:\n- 1\n- x:\n    - 3\nc: 2\n");
    }

    #[test]
    fn what_is_taken_out_takes_only_its_own_line_along() {
        let source = "# top\na: 1 # c\n\n# over b\nb:\n  - x # x\n  - y: 1\n    z: 2\nc: {d: 1, e: [2, 3]}\n";
        let cases = [
            ("['a']", "a: 1 # c\n", ""),
            ("['b'][0]", "  - x # x\n", ""),
            ("['b'][1]", "  - y: 1\n    z: 2\n", ""),
            ("['b'][1]['y']", "  - y: 1\n    z: 2\n", "  - z: 2\n"),
            ("['b'][1]['z']", "    z: 2\n", ""),
            ("['c']['d']", "{d: 1, e", "{e"),
            ("['c']['e'][1]", "[2, 3]", "[2]"),
            ("['c']['e']", ", e: [2, 3]", ""),
        ];
        for (path, before, after) in cases {
            assert_eq!(unset(source, path), source.replace(before, after), "{path}");
        }
        assert_eq!(unset("a:\n  b: 1\nc: 2\n", "['a']['b']"), "a: {}\nc: 2\n");
        assert_eq!(unset("a: # c\n- 1\n", "['a'][0]"), "a: [] # c\n");
        assert_eq!(unset("a: 1\n", "['a']"), "{}\n");
        assert_eq!(unset("a: 1\nb: 2", "['b']"), "a: 1");
    }

    #[test]
    fn aliases_do_not_follow_a_change() {
        let source = "base: &b\n  x: 1\ncopy: *b\n";
        assert_eq!(set(source, "['base']['z']", &json!(2)), "base: &b\n  x: 1\n  z: 2\ncopy: {x: 1}\n");
        assert_eq!(set(source, "['copy']['z']", &json!(2)), "base: &b\n  x: 1\ncopy: {x: 1, z: 2}\n");
        assert_eq!(set(source, "['copy']", &json!(2)), "base: &b\n  x: 1\ncopy: 2\n");
        assert_eq!(unset(source, "['base']"), "copy: {x: 1}\n");
    }

    /// Every value of every document gives way to every kind of value, and every map and list grows.
    #[test]
    fn everything_can_be_put_everywhere() {
        let given = [
            json!("s"),
            json!("a: b"),
            json!("l\nm\n"),
            json!("\n"),
            json!(-7),
            json!(null),
            json!({}),
            json!([]),
            json!({"k": "v"}),
            json!({"k": {"d": [1, {"e": "f", "g": []}]}}),
            json!([1, [2, {"h": null}], "x\n"]),
        ];
        for source in DOCUMENTS {
            for source in [(*source).to_owned(), source.replace('\n', "\r\n"), source.trim_end().to_owned()] {
                let tree = tree(&source);
                for (id, _) in values(&tree) {
                    let is_document = tree.documents().contains(&id);
                    let name = text(&SecretBytes::from(tree.slice(tree.node(id).span)));
                    for value in &given {
                        let replaced = put(&tree, Place::Node(id), value);
                        let is_refused = is_document && !value.is_object();
                        assert!(
                            replaced.is_err() == is_refused,
                            "{source:?}: {value} in the place of {name:?}"
                        );
                        let place = match tree.node(id).value {
                            Value::List => Place::Append(id),
                            Value::Map => Place::Entry(id, "new"),
                            _ => continue,
                        };
                        let grown = put(&tree, place, value).map(|grown| text(&grown));
                        let grown = grown.unwrap_or_else(|_| panic!("{source:?}: {value} put into {name:?}"));
                        assert!(
                            comments(&source).all(|comment| grown.contains(comment)),
                            "{source:?}: {grown:?}"
                        );
                    }
                    assert!(remove(&tree, id).is_err() == is_document, "{source:?}: without {name:?}");
                }
            }
        }
    }

    fn comments(source: &str) -> impl Iterator<Item = &str> {
        source.lines().filter_map(|line| line.split_once(" #").map(|(_, comment)| comment))
    }

    const DOCUMENTS: &[&str] = &[
        "a: 1\n",
        "# h\n\n# a\na: 1 # i\nb: # j\n  # c\n  - x # y\n  - k: v\n    # f\n  - - l\n    - m\n# g\n",
        "a:\n  b:\n    c:\n\n  d: ''\n# e\n\nf:\n- 1\n-\n- {}\n",
        "a: |\n  x\n\nb: >- # f\n  y\n  z\nc:\n  - |+\n    k\n\n  - m\n",
        "a: {b: [1, 2, {c: d}], 'e': \"f\"}\nl: [\n  1, # one\n  2\n]\nm: {}\nn: []\n",
        "a: {\n  b: 1,\n  c: 2,\n}\n",
        "{\"a\": 1, \"b\": {\"c\": [true]}}\n",
        "{}\n",
        "--- {a: 1}\n---\nb: 1\n...\n---\n",
        "---\n# only\n---\nnull\n---\na: !!str 1\nb: !t {c: 1}\nd: !u\n  e: 1\n",
        "a: &x 1\nb: *x\nc: &y\n  d: 2\n  e: &z [3]\nf: *y\ng:\n  - *z\n  - *y\nh:\n  <<: *y\n  i: 4\n",
        "? a\n: b\n? 'c d'\n: - 1\n  - 2\n\"e: f\": g\n&k h: i\n",
        "\u{feff}\u{e9}: \u{1f600}\n\u{e8}: [\u{e9}]\n",
    ];
}

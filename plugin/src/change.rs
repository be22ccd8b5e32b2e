//! Finding and changing one value of a plain document in place.
//!
//! A file may hold several documents. A path means the one that has it; where several could be meant, the
//! user says which.

use std::num::NonZeroUsize;

use selkie::format::{Format, METADATA_KEY, Place, WriteError};
use selkie::secret::SecretBytes;
use selkie::sops::{Places, Selector, leaves};
use selkie::tree::{NodeId, Origin, Step, Tree, TreePath, Value};
use serde_json::Value as Json;

use crate::dotted;
use crate::failure::Failure;
use crate::reach::{Reach, nest, reach};

/// Which document of a file is meant.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct DocumentFlag {
    /// Take this document of a file that has several: 1 is the first
    #[arg(long, value_name = "N")]
    document: Option<NonZeroUsize>,
}

impl DocumentFlag {
    /// Returns the root of the document that has a path.
    ///
    /// # Errors
    /// If none has it, or several have.
    pub fn having(self, tree: &Tree, path: &TreePath) -> Result<NodeId, Failure> {
        let candidates = self.candidates(tree)?;
        let having: Vec<_> = candidates.into_iter().filter(|&root| tree.get(root, path).is_some()).collect();
        match having[..] {
            [] => Err(Failure::NotFound(path.clone())),
            [root] => Ok(root),
            _ => Err(several(tree, &having, path)),
        }
    }

    /// Returns the root of the document to put a value into: the one that has most of the path.
    ///
    /// # Errors
    /// If it could be any of several.
    pub fn taking(self, tree: &Tree, path: &TreePath) -> Result<NodeId, Failure> {
        let mut candidates = self.candidates(tree)?;
        if candidates.len() > 1 {
            candidates.retain(|&root| tree.node(root).value != Value::Null);
        }
        let deepest = candidates.iter().map(|&root| depth(tree, root, path)).max().unwrap_or_default();
        let having: Vec<_> =
            candidates.into_iter().filter(|&root| depth(tree, root, path) == deepest).collect();
        match (&having[..], deepest) {
            ([], _) => Err(Failure::NotFound(path.clone())),
            ([root], _) => Ok(*root),
            (_, 0) => Err(Failure::Document(format!(
                "none of the {} documents has the start of {}",
                tree.documents().len(),
                dotted::show(path)
            ))),
            (_, deepest) => {
                let shared = path.steps()[..deepest].iter().cloned().collect();
                Err(several(tree, &having, &shared))
            }
        }
    }

    fn candidates(self, tree: &Tree) -> Result<Vec<NodeId>, Failure> {
        let Some(number) = self.document else { return Ok(tree.documents().to_vec()) };
        let missing = || Failure::Document(format!("the file has no document {number}"));
        tree.documents().get(number.get() - 1).map(|&root| vec![root]).ok_or_else(missing)
    }
}

/// Returns the text of a document with `value` at `path`; maps on the way are made.
///
/// # Errors
/// If the path leads where no value can be.
pub fn set(
    format: Format,
    tree: &Tree,
    root: NodeId,
    path: &TreePath,
    value: &Json,
) -> Result<SecretBytes, Failure> {
    let Reach { node, rest } = reach(tree, root, path);
    let Some((step, below)) = rest.split_first() else {
        if path.steps().is_empty() {
            return Err(whole());
        }
        return Ok(format.store().put(tree, Place::Node(node), value)?);
    };
    let is_hole = |step: &Step| matches!(step, Step::Index(1..));
    let place = match (step, tree.node(node).value) {
        _ if below.iter().any(is_hole) => return Err(impossible(path, "a list would have a hole")),
        (Step::Key(key), Value::Map) => Place::Entry(node, key),
        (Step::Index(index), Value::List) if *index == tree.items(node).count() => Place::Append(node),
        (Step::Index(_), Value::List) => return Err(impossible(path, "the list is shorter")),
        (Step::Index(_), Value::Map) => return Err(impossible(path, "a map has keys, not positions")),
        (Step::Key(_), Value::List) => return Err(impossible(path, "a list has positions, not keys")),
        (step, Value::Null) if is_hole(step) => return Err(impossible(path, "a list would have a hole")),
        // An empty place takes whatever is put into it.
        (_, Value::Null) => {
            return Ok(format.store().put(tree, Place::Node(node), &nest(rest, value))?);
        }
        _ => return Err(impossible(path, "there is a single value on the way")),
    };
    Ok(format.store().put(tree, place, &nest(below, value))?)
}

/// Returns the text of a document without the value at `path`.
///
/// # Errors
/// If there is none.
pub fn unset(format: Format, tree: &Tree, root: NodeId, path: &TreePath) -> Result<SecretBytes, Failure> {
    let found = tree.get(root, path).ok_or_else(|| Failure::NotFound(path.clone()))?;
    if found == root {
        return Err(whole());
    }
    Ok(format.store().remove(tree, found)?)
}

/// Returns the paths of the aliases of a document that a change wrote out: they keep the value they stood for.
/// One that the changed path leads through is none: it was to be changed.
#[must_use]
pub fn written_out(before: &Tree, after: &Tree, changed: &TreePath) -> Vec<TreePath> {
    let mut places = Places::new(before);
    let aliases = before.nodes().filter(|(_, node)| node.origin == Origin::Alias).map(|(id, _)| id);
    let was_written_out = |(document, path): (usize, TreePath)| {
        let node = after.get(*after.documents().get(document)?, &path)?;
        let is_meant = changed.steps().starts_with(path.steps());
        (after.node(node).origin == Origin::Source && !is_meant).then_some(path)
    };
    aliases.map(|id| places.advance(id)).filter_map(was_written_out).collect()
}

/// Makes sure that a path does not lead into what is reserved for the metadata.
///
/// # Errors
/// If it does.
pub fn refuse_reserved(format: Format, path: &TreePath) -> Result<(), WriteError> {
    // The metadata of dotenv is flat, and so are the names it takes.
    let is_reserved = |step: &Step| matches!(step, Step::Key(key) if key == METADATA_KEY);
    if format != Format::Dotenv && path.steps().first().is_some_and(is_reserved) {
        return Err(WriteError::ReservedKey(METADATA_KEY.to_owned()));
    }
    Ok(())
}

/// Makes sure that what is below a path is encrypted, or would be, by a rule.
///
/// # Errors
/// If the rule leaves it in clear.
pub fn refuse_clear(
    format: Format,
    tree: &Tree,
    selector: &Selector,
    root: NodeId,
    path: &TreePath,
) -> Result<(), Failure> {
    let Reach { node: top, rest: [] } = reach(tree, root, path) else { return Ok(()) };
    let is_below = |id: NodeId| top <= id && id.index() < tree.node(top).end as usize;
    let leaves = leaves(format, tree, selector);
    let in_clear = leaves.iter().find(|leaf| is_below(leaf.id) && !leaf.selected);
    match in_clear {
        None => Ok(()),
        Some(leaf) => Err(Failure::InClear {
            path: Places::new(tree).advance(leaf.id).1,
            field: selector.field(),
            text: selector.text().to_owned(),
        }),
    }
}

/// Returns how many steps of a path a document has.
fn depth(tree: &Tree, root: NodeId, path: &TreePath) -> usize {
    path.steps().len() - reach(tree, root, path).rest.len()
}

fn several(tree: &Tree, roots: &[NodeId], path: &TreePath) -> Failure {
    let numbers: Vec<_> = roots.iter().map(|&root| (tree.document_of(root) + 1).to_string()).collect();
    let what = if path.steps().is_empty() { "a top".to_owned() } else { dotted::show(path) };
    Failure::Document(format!("documents {} of the file have {what}", numbers.join(", ")))
}

fn whole() -> Failure {
    Failure::Value("the path is empty, and means the whole document".to_owned())
}

fn impossible(path: &TreePath, why: &'static str) -> Failure {
    Failure::Place { path: path.clone(), why }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(text: &str, path: &str, value: &Json) -> Result<String, Failure> {
        let tree = Format::Json.read(text).expect("the text is JSON");
        let path = dotted::parse(path).expect("a path");
        let changed = set(Format::Json, &tree, tree.documents()[0], &path, value)?;
        Ok(String::from_utf8_lossy(changed.expose_secret()).into_owned())
    }

    #[test]
    fn a_value_is_replaced_where_it_stands() {
        assert_eq!(
            changed(r#"{"a": {"b": 1}, "c": 2}"#, "a.b", &json!("x")).expect("it can be set"),
            r#"{"a": {"b": "x"}, "c": 2}"#
        );
    }

    #[test]
    fn maps_on_the_way_are_made() {
        let text = changed(r#"{"a": 1}"#, "b.c[0].d", &json!(true)).expect("it can be set");
        let tree = Format::Json.read(text.as_str()).expect("the text is JSON");
        assert_eq!(tree.to_json(tree.documents()[0]), json!({"a": 1, "b": {"c": [{"d": true}]}}));
    }

    #[test]
    fn lists_grow_by_one() {
        let text = changed(r#"{"a": [1]}"#, "a[1]", &json!(2)).expect("it can be set");
        let tree = Format::Json.read(text.as_str()).expect("the text is JSON");
        assert_eq!(tree.to_json(tree.documents()[0]), json!({"a": [1, 2]}));
    }

    #[test]
    fn places_that_do_not_fit_are_refused() {
        let why = |path| match changed(r#"{"a": [1], "b": 1}"#, path, &json!(2)) {
            Err(Failure::Place { why, .. }) => why,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(why("a[7]"), "the list is shorter");
        assert_eq!(why("a.x"), "a list has positions, not keys");
        assert_eq!(why("b.x"), "there is a single value on the way");
        assert_eq!(why("x[1]"), "a list would have a hole");
        assert_eq!(why("[0]"), "a map has keys, not positions");
    }

    #[test]
    fn whole_document_is_neither_set_nor_removed() {
        let expected = "the path is empty, and means the whole document";
        let set = changed(r#"{"a": 1}"#, "", &json!(2)).expect_err("it cannot be set");
        assert_eq!(set.to_string(), expected);
        let tree = Format::Json.read(r#"{"a": 1}"#).expect("the text is JSON");
        let unset = unset(Format::Json, &tree, tree.documents()[0], &TreePath::new());
        assert_eq!(unset.map(|_| ()).expect_err("it cannot be removed").to_string(), expected);
    }

    #[test]
    fn what_is_not_there_cannot_be_removed() {
        let tree = Format::Json.read(r#"{"a": 1, "b": 2}"#).expect("the text is JSON");
        let path = |text| dotted::parse(text).expect("a path");
        let root = tree.documents()[0];
        let removed = unset(Format::Json, &tree, root, &path("a")).expect("it can be removed");
        let again = Format::Json.read(removed).expect("the text is JSON");
        assert_eq!(again.to_json(again.documents()[0]), json!({"b": 2}));
        assert!(matches!(unset(Format::Json, &tree, root, &path("c")), Err(Failure::NotFound(_))));
    }

    #[test]
    fn path_means_the_document_that_has_it() {
        let text = "kind: ConfigMap\ndata: {}\n---\nkind: Secret\ndata: {a: x}\nstringData: {b: x}\n";
        let tree = Format::Yaml.read(text).expect("the text is YAML");
        let document = |root: Result<NodeId, Failure>| match root {
            Ok(root) => Ok(tree.document_of(root) + 1),
            Err(Failure::Document(why)) => Err(why),
            Err(other) => Err(other.to_string()),
        };
        let of = |number| DocumentFlag { document: NonZeroUsize::new(number) };
        let path = |text| dotted::parse(text).expect("a path");
        let any = DocumentFlag::default();
        assert_eq!(document(any.having(&tree, &path("data.a"))), Ok(2));
        assert_eq!(
            document(any.having(&tree, &path("kind"))),
            Err("documents 1, 2 of the file have kind".into())
        );
        assert_eq!(document(any.having(&tree, &path("x"))), Err("there is no x in the file".into()));
        assert_eq!(document(of(1).having(&tree, &path("kind"))), Ok(1));
        assert_eq!(document(of(3).having(&tree, &path("kind"))), Err("the file has no document 3".into()));
        assert_eq!(document(any.taking(&tree, &path("stringData.new"))), Ok(2));
        assert_eq!(document(any.taking(&tree, &path("data.a.new"))), Ok(2));
        assert_eq!(
            document(any.taking(&tree, &path("data.new"))),
            Err("documents 1, 2 of the file have data".into())
        );
        assert_eq!(
            document(any.taking(&tree, &path("new"))),
            Err("none of the 2 documents has the start of new".into())
        );
        assert_eq!(document(of(1).taking(&tree, &path("new"))), Ok(1));
    }
}

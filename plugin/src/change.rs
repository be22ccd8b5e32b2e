//! Changing one value of a plain document in place.

use selkie::format::{Format, Place};
use selkie::secret::SecretBytes;
use selkie::sops::{Places, Selector, leaves};
use selkie::tree::{NodeId, Step, Tree, TreePath, Value};
use serde_json::Value as Json;

use crate::failure::Failure;
use crate::reach::{Reach, nest, reach};

/// Returns the text of a document with `value` at `path`; maps on the way are made.
///
/// # Errors
/// If the path leads where no value can be.
pub fn set(format: Format, tree: &Tree, path: &TreePath, value: &Json) -> Result<SecretBytes, Failure> {
    let Reach { node, rest } = reach(tree, path).ok_or_else(|| Failure::NotFound(path.clone()))?;
    let Some((step, below)) = rest.split_first() else {
        if path.steps().is_empty() {
            return Err(impossible(path, "it is the whole document"));
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
pub fn unset(format: Format, tree: &Tree, path: &TreePath) -> Result<SecretBytes, Failure> {
    match reach(tree, path) {
        Some(Reach { rest: [], .. }) if path.steps().is_empty() => {
            Err(impossible(path, "it is the whole document"))
        }
        Some(Reach { node, rest: [] }) => Ok(format.store().remove(tree, node)?),
        _ => Err(Failure::NotFound(path.clone())),
    }
}

/// Makes sure that what is below a path is encrypted, or would be, by a rule.
///
/// # Errors
/// If the rule leaves it in clear.
pub fn refuse_clear(
    format: Format,
    tree: &Tree,
    selector: &Selector,
    path: &TreePath,
) -> Result<(), Failure> {
    let Some(Reach { node: top, rest: [] }) = reach(tree, path) else { return Ok(()) };
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

fn impossible(path: &TreePath, why: &'static str) -> Failure {
    Failure::Place { path: path.clone(), why }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dotted;

    fn changed(text: &str, path: &str, value: &Json) -> Result<String, Failure> {
        let tree = Format::Json.read(text).expect("the text is JSON");
        let path = dotted::parse(path).expect("a path");
        let changed = set(Format::Json, &tree, &path, value)?;
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
        assert_eq!(why(""), "it is the whole document");
    }

    #[test]
    fn what_is_not_there_cannot_be_removed() {
        let tree = Format::Json.read(r#"{"a": 1, "b": 2}"#).expect("the text is JSON");
        let path = |text| dotted::parse(text).expect("a path");
        let removed = unset(Format::Json, &tree, &path("a")).expect("it can be removed");
        let again = Format::Json.read(removed).expect("the text is JSON");
        assert_eq!(again.to_json(again.documents()[0]), json!({"b": 2}));
        assert!(matches!(unset(Format::Json, &tree, &path("c")), Err(Failure::NotFound(_))));
    }
}

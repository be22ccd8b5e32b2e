//! Values that came out of a SealedSecret and are about to be written in clear: a slip in an editor, such as in
//! the name of a kind or of a map, must not put them into Git.

use std::collections::HashMap;

use super::base64;
use super::file::objects;
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree, Value};

/// Something in a text that would be in clear.
pub(super) struct Leak {
    /// The 1-based line.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Returns the first thing in `after`, which is about to be written, that would be in clear and was not before.
/// `opened` are the values of `before`, and `is_opened` tells its nodes that hold them.
pub(super) fn leak<'a>(
    before: &Tree,
    is_opened: impl Fn(NodeId) -> bool,
    opened: impl Iterator<Item = &'a SecretBytes> + Clone,
    after: &Tree,
) -> Option<Leak> {
    unsealed_object(before, after).or_else(|| opened_value(before, is_opened, opened, after))
}

/// Returns the first map of values that nobody would seal: what is called `stringData`, in whatever letters, and
/// the `data` of a Secret.
fn unsealed_object(before: &Tree, after: &Tree) -> Option<Leak> {
    let old: Vec<_> = values_in_clear(before).map(|node| before.to_json(node)).collect();
    let node = values_in_clear(after).find(|&node| !old.contains(&after.to_json(node)))?;
    let line = after.line(after.node(node).key_start);
    Some(Leak {
        line,
        what: "this would be in clear: only stringData below spec of a SealedSecret is sealed",
    })
}

/// Returns the maps of values in clear of a file.
fn values_in_clear(tree: &Tree) -> impl Iterator<Item = NodeId> + '_ {
    let is_filled = |node: NodeId| tree.node(node).value == Value::Map && tree.items(node).next().is_some();
    let is_called = |node: NodeId, name: &str| {
        tree.key(node).is_some_and(|key| key.eq_ignore_ascii_case(name.as_bytes()))
    };
    let texts =
        tree.nodes().map(|(id, _)| id).filter(move |&id| is_called(id, "stringData") && is_filled(id));
    let is_secret = |object: &NodeId| {
        let is_kind = |&item: &NodeId| tree.key(item) == Some(b"kind");
        let kind = tree.items(*object).find(is_kind).map(|item| tree.node(item).value);
        matches!(kind, Some(Value::Str(kind)) if tree.bytes(kind) == b"Secret")
    };
    let secrets = objects(tree).into_iter().filter(is_secret);
    let data = secrets.filter_map(move |object| {
        tree.items(object).find(|&item| is_called(item, "data") && is_filled(item))
    });
    texts.chain(data.collect::<Vec<_>>())
}

/// Returns the first place of an opened value where it was not before.
fn opened_value<'a>(
    before: &Tree,
    is_opened: impl Fn(NodeId) -> bool,
    opened: impl Iterator<Item = &'a SecretBytes> + Clone,
    after: &Tree,
) -> Option<Leak> {
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    for value in opened.filter(|value| value.len() >= SHORTEST) {
        known.entry(value.expose_secret().to_vec()).or_default();
        known.entry(base64::encode(value.expose_secret()).into_bytes()).or_default();
    }
    for (_, text) in texts(before).filter(|(node, _)| !is_opened(*node)) {
        if let Some(count) = known.get_mut(text) {
            *count += 1;
        }
    }
    for (node, text) in texts(after) {
        let what = "a value of a SealedSecret would be in clear here";
        match known.get_mut(text) {
            Some(0) => return Some(Leak { line: after.line(after.node(node).key_start), what }),
            Some(count) => *count -= 1,
            None => {}
        }
    }
    None
}

/// Returns the texts of a tree, comments among them.
fn texts(tree: &Tree) -> impl Iterator<Item = (NodeId, &[u8])> {
    tree.nodes().filter_map(|(id, node)| match node.value {
        Value::Str(text) => Some((id, tree.bytes(text))),
        Value::Comment(text) => Some((id, tree.bytes(text).trim_ascii())),
        _ => None,
    })
}

/// Shorter values, in bytes, are often words that stand elsewhere in a file for another reason.
const SHORTEST: usize = 4;

//! What the MAC of SOPS does not see, and a strict reader can still notice.
//!
//! The MAC covers the values in order, without their keys, types and structure; the additional data covers
//! the path, with keys joined by colons. See `docs/compatibility.md`.

use super::cipher::Encrypted;
use super::leaves::Places;
use super::metadata::Metadata;
use super::opened::Opened;
use super::walk::Walk;
use crate::format::Format;
use crate::tree::{LineIndex, NodeId, Origin, Tree, TreePath, Value, same_value};

/// A reason to doubt a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// What is doubtful.
    pub kind: DoubtKind,
    /// Where, in the first document that has it.
    pub path: TreePath,
    /// The 1-based line.
    pub line: usize,
}

/// What is doubtful about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DoubtKind {
    /// A key holds a colon: `a:b` and `b` below `a` are the same to the additional data.
    AmbiguousKey,
    /// The rule's pattern does not compile, so that it matches nothing.
    BrokenRule,
    /// The document has the MAC of an earlier one, but differs from it here: it was changed without the key.
    ChangedWithoutKey,
    /// The rule selects the value, yet it is in clear.
    InClear,
    /// The plaintext is not how its type is written: the type may have been changed.
    NonCanonical,
}

impl DoubtKind {
    /// Returns the word that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AmbiguousKey => "ambiguous-key",
            Self::BrokenRule => "broken-rule",
            Self::ChangedWithoutKey => "changed-without-key",
            Self::InClear => "in-clear",
            Self::NonCanonical => "non-canonical",
        }
    }
}

/// Returns what can be doubted about an encrypted document without its key.
#[must_use]
pub fn inspect(format: Format, tree: &Tree, metadata: &Metadata) -> Vec<Doubt> {
    let has_colon = |id: NodeId| {
        tree.node(id).origin != Origin::Metadata && tree.key(id).is_some_and(|key| key.contains(&b':'))
    };
    let ambiguous = tree.nodes().map(|(id, _)| id).filter(|&id| has_colon(id));
    let mut found: Vec<_> = ambiguous.map(|id| (id, DoubtKind::AmbiguousKey)).collect();
    let mut walk = Walk::new(&metadata.selector, format.store().is_single_value());
    while let Some(leaf) = walk.next(tree) {
        let in_clear = match tree.node(leaf.id).value {
            Value::Comment(_) | Value::Null => false,
            Value::Str(text) => {
                let bytes = tree.bytes(text);
                !bytes.is_empty() && Encrypted::parse(bytes).is_none()
            }
            _ => true,
        };
        if leaf.selected && in_clear {
            found.push((leaf.id, DoubtKind::InClear));
        }
    }
    let rule = Doubt { kind: DoubtKind::BrokenRule, path: TreePath::new(), line: 1 };
    let broken = metadata.selector.is_broken().then_some(rule);
    broken.into_iter().chain(doubts(tree, found)).collect()
}

/// Returns the line of the first value that is encrypted, in a document that may have no metadata.
#[must_use]
pub fn first_encrypted(tree: &Tree) -> Option<usize> {
    let is_encrypted = |id: NodeId| match tree.node(id).value {
        Value::Str(text) => {
            tree.node(id).origin != Origin::Metadata && Encrypted::parse(tree.bytes(text)).is_some()
        }
        _ => false,
    };
    let first = tree.nodes().map(|(id, _)| id).find(|&id| is_encrypted(id));
    first.map(|id| tree.line(tree.node(id).span.start))
}

/// Returns what can be doubted about a decrypted document, beyond what [`inspect`] finds.
#[must_use]
pub fn inspect_opened(opened: &Opened) -> Vec<Doubt> {
    let found = opened.non_canonical().iter().map(|&id| (id, DoubtKind::NonCanonical));
    doubts(opened.tree(), found.collect())
}

/// Returns the first difference between two encrypted documents that have the same MAC and time: whoever
/// made it did not have the key. Comments, which no MAC covers, are not compared.
#[must_use]
pub fn changed_without_key(old: (&Tree, &Metadata), new: (&Tree, &Metadata)) -> Option<Doubt> {
    let (old, new) = if old.1.mac == new.1.mac && old.1.last_modified == new.1.last_modified {
        (old.0, new.0)
    } else {
        return None;
    };
    let is_value = |tree: &Tree, id: NodeId| {
        let node = tree.node(id);
        node.origin != Origin::Metadata && !matches!(node.value, Value::Comment(_))
    };
    let mut old_values = old.nodes().map(|(id, _)| id).filter(|&id| is_value(old, id));
    let mut new_values = new.nodes().map(|(id, _)| id).filter(|&id| is_value(new, id));
    loop {
        match (old_values.next(), new_values.next()) {
            (None, None) => return None,
            (Some(left), Some(right)) => {
                let same_key = old.key(left) == new.key(right);
                if !same_key || !same_value(old, left, new, right) {
                    return doubts(new, vec![(right, DoubtKind::ChangedWithoutKey)]).pop();
                }
            }
            (_, right) => {
                let last = new.nodes().next_back().map(|(id, _)| id);
                let found = right.or(last).map(|id| (id, DoubtKind::ChangedWithoutKey));
                return doubts(new, found.into_iter().collect()).pop();
            }
        }
    }
}

/// Returns doubts about nodes of a tree, in order, with their places.
fn doubts(tree: &Tree, mut found: Vec<(NodeId, DoubtKind)>) -> Vec<Doubt> {
    found.sort_by_key(|(id, _)| *id);
    let (lines, mut places) = (LineIndex::new(tree), Places::new(tree));
    let doubt = |(id, kind): (NodeId, DoubtKind)| {
        let node = tree.node(id);
        Doubt { kind, path: places.advance(id).1, line: lines.line(node.key_start.max(node.span.start)) }
    };
    found.into_iter().map(doubt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyGroup;
    use crate::secret::SecretBytes;
    use crate::tree::{Span, Style};
    use serde_json::{Value as Json, json};

    const ENCRYPTED: &str = "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]";

    fn tree(entries: &[(&str, Json)]) -> Tree {
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.open_document(Span::default(), Style::Block);
        for (key, value) in entries {
            tree.push_json(Some(key), value);
        }
        tree.close(root);
        tree
    }

    fn metadata() -> Metadata {
        Metadata::new(vec![KeyGroup::default()])
    }

    #[test]
    fn clear_values_and_ambiguous_keys_are_found_with_their_path() {
        let tree =
            tree(&[("a", json!([ENCRYPTED, {"b": "clear"}])), ("c:d", json!(ENCRYPTED)), ("e", json!(null))]);
        let found: Vec<_> = inspect(Format::Yaml, &tree, &metadata())
            .into_iter()
            .map(|doubt| (doubt.kind, doubt.path.to_string()))
            .collect();
        assert_eq!(
            found,
            [
                (DoubtKind::InClear, r#"["a"][1]["b"]"#.to_owned()),
                (DoubtKind::AmbiguousKey, r#"["c:d"]"#.to_owned())
            ]
        );
    }

    #[test]
    fn a_renamed_clear_key_under_the_same_mac_is_found() {
        let old = tree(&[("a_unencrypted", json!("x")), ("b", json!(ENCRYPTED))]);
        let new = tree(&[("z_unencrypted", json!("x")), ("b", json!(ENCRYPTED))]);
        let mut metadata = metadata();
        metadata.mac = "mac".to_owned();
        let doubt = changed_without_key((&old, &metadata), (&new, &metadata)).expect("a difference");
        assert_eq!(doubt.path.to_string(), r#"["z_unencrypted"]"#);
        assert_eq!(changed_without_key((&old, &metadata), (&old, &metadata)), None);
        let mut later = metadata.clone();
        later.mac = "other".to_owned();
        assert_eq!(changed_without_key((&old, &metadata), (&new, &later)), None);
    }
}

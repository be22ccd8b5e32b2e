//! What an encrypted document says in clear, to notice a value that was encrypted and is no more.
//!
//! Invariant: nothing of a value is kept but a hash of it together with its place.

use std::collections::HashSet;

use super::cipher::{ValueType, append_plaintext};
use super::selector::Selector;
use super::stash::{Fingerprint, fingerprint};
use super::walk::Walk;
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree, Value};

/// The values and comments that a document has in clear.
pub(crate) struct InClear(HashSet<Fingerprint>);

impl InClear {
    /// Returns what a decrypted document has that is not among `decrypted`, the nodes that were encrypted in order.
    pub(super) fn of(tree: &Tree, selector: &Selector, decrypted: impl Iterator<Item = NodeId>) -> Self {
        let mut found = HashSet::new();
        let all = |_, value| {
            found.insert(value);
            false
        };
        find(tree, selector, decrypted, all);
        Self(found)
    }

    /// Returns the first value or comment of a document that is in clear there, and in none of these documents.
    pub(super) fn first_beyond(
        known: &[Self],
        tree: &Tree,
        selector: &Selector,
        decrypted: impl Iterator<Item = NodeId>,
    ) -> Option<NodeId> {
        let is_new = |_, value| known.iter().all(|known| !known.0.contains(&value));
        find(tree, selector, decrypted, is_new)
    }
}

/// Returns the first node in clear that `is_wanted`. Null and empty texts are the same, encrypted or not.
fn find(
    tree: &Tree,
    selector: &Selector,
    decrypted: impl Iterator<Item = NodeId>,
    mut is_wanted: impl FnMut(NodeId, Fingerprint) -> bool,
) -> Option<NodeId> {
    let mut walk = Walk::new(selector, false);
    let mut decrypted = decrypted.peekable();
    let mut plaintext = SecretBytes::new();
    while let Some(leaf) = walk.next(tree) {
        if decrypted.next_if_eq(&leaf.id).is_some() {
            continue;
        }
        let value = tree.node(leaf.id).value;
        plaintext.truncate(0);
        append_plaintext(tree, value, &mut plaintext);
        let Some(value_type) = ValueType::of(value).filter(|_| !plaintext.is_empty()) else { continue };
        // A comment says the same wherever it stands.
        let place = if matches!(value, Value::Comment(_)) { "" } else { walk.aad() };
        if is_wanted(leaf.id, fingerprint(place, value_type, plaintext.expose_secret())) {
            return Some(leaf.id);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use crate::format::Format;
    use crate::sops::{BY_EFFORT, Envelope, MacCheck, Metadata, Opened, Selector, Vault, group, seal};

    fn opened(text: &str, suffix: &str) -> Opened {
        let mut metadata = Metadata::new(vec![group(&["a"])]);
        metadata.selector = Selector::UnencryptedSuffix(suffix.to_owned());
        let tree = Format::Yaml.read(seal(text, Format::Yaml, metadata)).expect("a document");
        let metadata = Metadata::from_entry(tree.metadata()).expect("metadata");
        let envelope = block_on(Envelope::recover(metadata, &[&Vault(&["a"])], BY_EFFORT)).expect("a key");
        envelope.open(Format::Yaml, tree, MacCheck::Require).expect("opens")
    }

    fn line_beyond(known: &Opened, text: &str, suffix: &str) -> Option<usize> {
        let opened = opened(text, suffix);
        let node = opened.first_newly_clear(&[known.in_clear()])?;
        Some(opened.tree().line(opened.tree().node(node).span.start))
    }

    #[test]
    fn what_was_encrypted_or_stood_elsewhere_is_noticed() {
        let known = opened("a: secret\nb_c: clear\nl_c: [1, 2]\n", "_c");
        assert_eq!(line_beyond(&known, "l_c: [2]\nb_c: clear\na: other\n", "_c"), None);
        assert_eq!(line_beyond(&known, "b_c: clear\nz: 1\na: secret\n", "a"), Some(3));
        assert_eq!(line_beyond(&known, "z: 1\nb_c: secret\n", "_c"), Some(2));
        assert_eq!(line_beyond(&known, "z: 1\nx_c: clear\n", "_c"), Some(2));
        assert_eq!(line_beyond(&known, "z: 1\nl_c: ['2']\n", "_c"), Some(2), "another type");
        assert_eq!(line_beyond(&known, "z: 1\nb_c: ''\nx_c: null\n", "_c"), None);
    }
}

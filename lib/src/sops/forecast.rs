//! What encrypting a document would do, told without a key.

use super::cipher::Encrypted;
use super::sealed::SealError;
use super::selector::Selector;
use super::walk::Walk;
use crate::format::{Format, METADATA_KEY, WriteError};
use crate::tree::{LineIndex, MetadataEntry, Origin, Tree, Value};

/// What encrypting a document would do, beyond what [`leaves`](super::leaves) tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The lines of the comments that would be encrypted.
    pub comments: Vec<usize>,
    /// Why the document would not be encrypted.
    pub refusal: Option<SealError>,
}

impl Forecast {
    /// Returns what encrypting a document by a rule would do.
    #[must_use]
    pub fn of(format: Format, tree: &Tree, selector: &Selector) -> Self {
        let (mut comments, mut unsigned) = (Vec::new(), None);
        let (mut is_any_encrypted, mut is_any_in_clear) = (false, false);
        let lines = LineIndex::new(tree);
        let mut walk = Walk::new(selector, format.store().is_single_value());
        while let Some(leaf) = walk.next(tree) {
            let line = || lines.line(tree.node(leaf.id).span.start);
            let is_empty = match tree.node(leaf.id).value {
                Value::Comment(text) => {
                    let text = tree.bytes(text);
                    if leaf.selected && !text.is_empty() && Encrypted::parse(text).is_none() {
                        comments.push(line());
                    }
                    continue;
                }
                Value::Null => true,
                Value::Str(text) => tree.bytes(text).is_empty(),
                Value::Unsigned(_) => {
                    unsigned = unsigned.or_else(|| Some(line()));
                    false
                }
                _ => false,
            };
            is_any_encrypted |= leaf.selected && !is_empty;
            is_any_in_clear |= !leaf.selected && !is_empty;
        }
        let refusal = if *tree.metadata() != MetadataEntry::Absent {
            Some(SealError::AlreadyEncrypted)
        } else if tree.nodes().any(|(_, node)| node.origin == Origin::Metadata) {
            Some(SealError::Write(WriteError::ReservedKey(METADATA_KEY.to_owned())))
        } else if selector.is_broken() {
            Some(SealError::BrokenRule { field: selector.field(), text: selector.text().to_owned() })
        } else if let Some(line) = unsigned {
            Some(SealError::Unsigned { line })
        } else if !is_any_encrypted && comments.is_empty() && is_any_in_clear {
            Some(SealError::NothingSelected { field: selector.field(), text: selector.text().to_owned() })
        } else {
            None
        };
        Self { comments, refusal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(text: &str, suffix: &str) -> Forecast {
        let tree = Format::Yaml.read(text).expect("the text is YAML");
        Forecast::of(Format::Yaml, &tree, &Selector::EncryptedSuffix(suffix.to_owned()))
    }

    #[test]
    fn comments_below_what_is_selected_are_told() {
        let found = forecast("# top\na:\n  # inner\n  b: 1\n", "a");
        assert_eq!(found, Forecast { comments: vec![3], refusal: None });
    }

    #[test]
    fn refusals_are_those_of_encrypting() {
        let refusal = |text| forecast(text, "x").refusal;
        assert!(matches!(refusal("a: 1\n"), Some(SealError::NothingSelected { .. })));
        assert_eq!(refusal("a:\n"), None);
        assert_eq!(refusal("x: 1\n"), None);
        assert_eq!(refusal("x: 18446744073709551615\n"), Some(SealError::Unsigned { line: 1 }));
        assert_eq!(refusal("x: 1\nsops: {mac: a}\n"), Some(SealError::AlreadyEncrypted));
    }
}

//! How values were spelled, where their plaintext does not tell: `0x1F` is encrypted as `31`.
//!
//! Kept, encrypted, in a field of the metadata that SOPS passes over. A spelling is used only if the
//! document then still says the same.

use serde_json::Value as Json;

use super::cipher::{Cipher, Encrypted, IV_LENGTH, ValueType};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Tree};

/// Spellings of nodes, by their position among the nodes of the content.
pub(crate) struct Layout(Vec<(usize, SecretBytes)>);

impl Layout {
    /// Returns the spellings of `original` that `restored`, the same document decrypted from its encrypted
    /// form, does not have; `None` if the two do not have the same nodes.
    pub(crate) fn difference(original: &Tree, restored: &Tree) -> Option<Self> {
        let (left, right) = (content(original), content(restored));
        let (mut left, mut right) = (left.enumerate(), right);
        let mut spellings = Vec::new();
        loop {
            match (left.next(), right.next()) {
                (None, None) => return Some(Self(spellings)),
                (Some((index, left)), Some(right)) => {
                    let (left, right) = (original.node(left), restored.node(right));
                    if left.key.is_some() != right.key.is_some() {
                        return None;
                    }
                    let is_token =
                        left.origin != Origin::Copy && is_token(left) || left.origin == Origin::Alias;
                    let token = original.slice(left.span);
                    if is_token && token != restored.slice(right.span) {
                        spellings.push((index, SecretBytes::from(token)));
                    }
                }
                _ => return None,
            }
        }
    }

    /// Encrypts the spellings for the metadata, or returns `None` if there are none.
    pub(crate) fn encrypt(&self, cipher: &Cipher, iv: &[u8; IV_LENGTH]) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let pair = |(index, token): &(usize, SecretBytes)| {
            Json::from(vec![Json::from(*index), String::from_utf8_lossy(token.expose_secret()).into()])
        };
        let json = SecretBytes::from(self.0.iter().map(pair).collect::<Json>().to_string());
        let mut encrypted = String::new();
        cipher.encrypt(json.expose_secret(), ValueType::Str, AAD, iv, &mut encrypted);
        Some(encrypted)
    }

    /// Reads the spellings of a document. What cannot be read is as if there were none: they are a
    /// convenience, and other writers may have left them behind.
    pub(crate) fn decrypt(text: &str, cipher: &Cipher) -> Option<Self> {
        let (_, json) = cipher.decrypt(Encrypted::parse(text.as_bytes())?, AAD).ok()?;
        let pairs: Vec<(usize, String)> = serde_json::from_slice(json.expose_secret()).ok()?;
        Some(Self(pairs.into_iter().map(|(index, token)| (index, token.into())).collect()))
    }

    /// Returns the spellings of the nodes of a tree.
    pub(crate) fn tokens<'a>(&'a self, tree: &Tree) -> Vec<(NodeId, &'a [u8])> {
        let mut spellings = self.0.iter().peekable();
        let token = |(index, id)| {
            spellings.next_if(|(wanted, _)| *wanted == index).map(|(_, token)| (id, token.expose_secret()))
        };
        content(tree).enumerate().filter_map(token).collect()
    }
}

/// Returns the nodes of the content, without metadata.
fn content(tree: &Tree) -> impl Iterator<Item = NodeId> + '_ {
    tree.nodes().filter(|(_, node)| node.origin != Origin::Metadata).map(|(id, _)| id)
}

fn is_token(node: &crate::tree::Node) -> bool {
    !matches!(node.value, crate::tree::Value::List | crate::tree::Value::Map)
}

const AAD: &str = "selkie_layout:";

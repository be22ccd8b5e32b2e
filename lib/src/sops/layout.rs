//! How values were spelled, where their plaintext does not tell: `0x1F` is encrypted as `31`.
//!
//! Kept, encrypted, in a field of the metadata that SOPS passes over. A spelling is used only if the
//! document then still says the same. What spellings of values cannot tell, such as an alias in the place of
//! a key, is a patch for the one text that it was made for.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::cipher::{Cipher, Encrypted, IV_LENGTH, ValueType};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Origin, Tree, Value};

/// Spellings of nodes, by their position among the nodes of the content, and what they leave to mend.
#[derive(Default)]
pub(crate) struct Layout {
    spellings: Vec<(usize, SecretBytes)>,
    patch: Option<Patch>,
}

/// A piece of one text, and what stands there instead.
struct Patch {
    /// The SHA-256 of the text, in hexadecimal digits.
    digest: String,
    start: usize,
    end: usize,
    text: SecretBytes,
}

/// The fields of a patch, in order.
type PatchFields = (String, usize, usize, String);

impl Layout {
    /// Returns the spellings of `original` that `restored`, the same document decrypted from its encrypted
    /// form, does not have; none if the two do not have the same nodes.
    pub(crate) fn difference(original: &Tree, restored: &Tree) -> Self {
        Self { spellings: spellings(original, restored).unwrap_or_default(), patch: None }
    }

    /// Adds what makes `restored`, the document with its spellings, the original.
    pub(crate) fn mend(&mut self, original: &[u8], restored: &[u8]) {
        let is_inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
        let mut start = original.iter().zip(restored).take_while(|(left, right)| left == right).count();
        while is_inside(original.get(start)) || is_inside(restored.get(start)) {
            start -= 1;
        }
        let (left, right) = (original[start..].iter().rev(), restored[start..].iter().rev());
        let mut behind = left.zip(right).take_while(|(left, right)| left == right).count();
        while is_inside(original.get(original.len() - behind)) {
            behind -= 1;
        }
        let text = SecretBytes::from(&original[start..original.len() - behind]);
        let end = restored.len() - behind;
        self.patch = Some(Patch { digest: digest(restored), start, end, text });
    }

    /// Returns whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.spellings.is_empty() && self.patch.is_none()
    }

    /// Encrypts the layout for the metadata.
    pub(crate) fn encrypt(&self, cipher: &Cipher, iv: &[u8; IV_LENGTH]) -> String {
        let spellings: Vec<_> = self.spellings.iter().map(|(index, token)| (index, text_of(token))).collect();
        let patch = self.patch.as_ref();
        let patch = patch.map(|patch| (&patch.digest, patch.start, patch.end, text_of(&patch.text)));
        let json = serde_json::to_vec(&(spellings, patch)).expect("lists of numbers and texts are JSON");
        let json = SecretBytes::from(json);
        let mut encrypted = String::new();
        cipher.encrypt(json.expose_secret(), ValueType::Str, AAD, iv, &mut encrypted);
        encrypted
    }

    /// Reads the layout of a document. What cannot be read is as if there were none: it is a convenience,
    /// and other writers may have left it behind.
    pub(crate) fn decrypt(text: &str, cipher: &Cipher) -> Option<Self> {
        let (_, json) = cipher.decrypt(Encrypted::parse(text.as_bytes())?, AAD).ok()?;
        let (spellings, patch): (Vec<(usize, String)>, Option<PatchFields>) =
            serde_json::from_slice(json.expose_secret()).ok()?;
        let spellings = spellings.into_iter().map(|(index, token)| (index, token.into())).collect();
        let patch = patch.map(|(digest, start, end, text)| Patch { digest, start, end, text: text.into() });
        Some(Self { spellings, patch })
    }

    /// Returns `restored`, the document with its spellings, as the original was, if it still is what it was
    /// then.
    pub(crate) fn mended(&self, restored: SecretBytes) -> SecretBytes {
        let bytes = restored.expose_secret();
        let fits = |patch: &&Patch| {
            let is_inside = patch.start <= patch.end && patch.end <= bytes.len();
            is_inside && patch.digest == digest(bytes)
        };
        let Some(patch) = self.patch.as_ref().filter(fits) else { return restored };
        let mut mended = SecretBytes::with_capacity(bytes.len() + patch.text.len());
        mended.extend_from_slice(&bytes[..patch.start]);
        mended.extend_from_slice(patch.text.expose_secret());
        mended.extend_from_slice(&bytes[patch.end..]);
        mended
    }

    /// Returns the spellings of the nodes of a tree.
    pub(crate) fn tokens<'a>(&'a self, tree: &Tree) -> Vec<(NodeId, &'a [u8])> {
        let mut spellings = self.spellings.iter().peekable();
        let token = |(index, id)| {
            spellings.next_if(|(wanted, _)| *wanted == index).map(|(_, token)| (id, token.expose_secret()))
        };
        content(tree).enumerate().filter_map(token).collect()
    }
}

/// Returns the tokens of `original` that `restored` does not have, or `None` if they do not have the same
/// nodes.
fn spellings(original: &Tree, restored: &Tree) -> Option<Vec<(usize, SecretBytes)>> {
    let (mut left, mut right) = (content(original).enumerate(), content(restored));
    let mut spellings = Vec::new();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Some(spellings),
            (Some((index, left)), Some(right)) => {
                let (left, right) = (original.node(left), restored.node(right));
                if left.key.is_some() != right.key.is_some() {
                    return None;
                }
                let is_token = left.origin != Origin::Copy && is_token(left) || left.origin == Origin::Alias;
                let token = original.slice(left.span);
                if is_token && token != restored.slice(right.span) {
                    spellings.push((index, SecretBytes::from(token)));
                }
            }
            _ => return None,
        }
    }
}

/// Returns the nodes of the content, without metadata. Comments in what an alias stands for are not written
/// where it is written out.
fn content(tree: &Tree) -> impl Iterator<Item = NodeId> + '_ {
    let is_content = |node: &Node| {
        let is_copied_comment = node.origin == Origin::Copy && matches!(node.value, Value::Comment(_));
        node.origin != Origin::Metadata && !is_copied_comment
    };
    tree.nodes().filter(move |(_, node)| is_content(node)).map(|(id, _)| id)
}

fn text_of(token: &SecretBytes) -> Cow<'_, str> {
    String::from_utf8_lossy(token.expose_secret())
}

fn digest(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

const fn is_token(node: &Node) -> bool {
    !matches!(node.value, Value::List | Value::Map)
}

const AAD: &str = "selkie_layout:";

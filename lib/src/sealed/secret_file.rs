//! Files with Secrets in clear: found among the objects of a file, and replaced by SealedSecrets in place.
//!
//! Invariants: what is not a Secret stays byte for byte; nothing is taken for a text that a plain
//! `kubectl apply` of the file would have taken for something else; what is returned was read back.

mod place;
mod reading;
mod remains;

use super::file::objects;
use super::secret::{Secret, SecretError};
use super::{SealedSecret, SealedSecretError};
use crate::format::{Format, ParseError};
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, NodeId, Origin, Tree, Value};

use reading::{is_secret, merges, name_of, same_object};

/// A file with objects of Kubernetes, among them Secrets in clear.
pub struct SecretFile {
    format: Format,
    tree: Tree,
    secrets: Vec<SecretObject>,
}

/// A Secret of a file.
pub struct SecretObject {
    /// The Secret.
    pub secret: Secret,
    /// The 1-based line at which it begins.
    pub line: usize,
    node: NodeId,
}

/// A value that stands in clear outside of the Secret that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// The 1-based line at which it stands.
    pub line: usize,
    /// The name of the Secret.
    pub name: String,
    /// The key of the value.
    pub key: String,
}

/// Why the Secrets of a file cannot be read or sealed. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// Something without quotes is another text, or none, to `kubectl apply`.
    #[error("line {line}: {path} is not a text to kubectl as it is written")]
    Ambiguous {
        /// The line.
        line: usize,
        /// Where it stands in the Secret.
        path: String,
    },
    /// The file is encrypted by SOPS.
    #[error("the file is encrypted by SOPS")]
    Encrypted,
    /// An object is no Secret that can be read.
    #[error("line {line}: {source}")]
    Object {
        /// The line of the object.
        line: usize,
        /// What is wrong with it.
        source: SecretError,
    },
    /// The text is not of its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A Secret is written in a way in which it cannot be replaced.
    #[error("line {line}: {what}")]
    Shape {
        /// The line of the object.
        line: usize,
        /// What is in the way.
        what: &'static str,
    },
    /// The result does not say what it has to.
    #[error("the result does not read back as what was sealed")]
    Unfaithful,
    /// An object of the result cannot be read.
    #[error("the result does not read back as what was sealed")]
    Unreadable(#[source] SealedSecretError),
}

impl SecretFile {
    /// Reads a file; one without a Secret has none to seal.
    ///
    /// # Errors
    /// If the file is encrypted, or a Secret cannot be read without a doubt.
    pub fn new(format: Format, tree: Tree) -> Result<Self, SecretFileError> {
        let has_metadata =
            |root: &NodeId| tree.children(*root).any(|id| tree.node(id).origin == Origin::Metadata);
        if *tree.metadata() != MetadataEntry::Absent || tree.documents().iter().any(has_metadata) {
            return Err(SecretFileError::Encrypted);
        }
        let mut lines = Lines::default();
        let mut secrets = Vec::new();
        for node in objects(&tree) {
            let line = lines.of(&tree, node);
            // Of what is merged, nobody here could say whether it makes a Secret of the object.
            if merges(format, &tree, node) && (is_secret(&tree, node) || !has_own_kind(&tree, node)) {
                return Err(SecretFileError::Shape { line, what: MERGED });
            }
            if is_secret(&tree, node) {
                let secret = reading::secret(format, &tree, node, line)?;
                secrets.push(SecretObject { secret, line, node });
            }
        }
        refuse_typed_lists(&tree)?;
        Ok(Self { format, tree, secrets })
    }

    /// Returns the Secrets, in the order of the file.
    #[must_use]
    pub fn secrets(&self) -> &[SecretObject] {
        &self.secrets
    }

    /// Returns the Secrets alone, in the order of the file.
    #[must_use]
    pub fn into_secrets(self) -> Vec<Secret> {
        self.secrets.into_iter().map(|object| object.secret).collect()
    }

    /// Returns the 1-based lines of Secrets that stand inside of other objects than lists: they cannot be sealed
    /// there, and stay in clear.
    #[must_use]
    pub fn hidden(&self) -> Vec<usize> {
        let is_known = |id: NodeId| self.secrets.binary_search_by_key(&id, |object| object.node).is_ok();
        let holds_values = |id: NodeId| {
            let mut keys = self.tree.items(id).map(|item| self.tree.key(item));
            keys.any(|key| matches!(key, Some(b"data" | b"stringData")))
        };
        let maps = self.tree.nodes().filter(|(_, node)| node.value == Value::Map).map(|(id, _)| id);
        let hidden = maps.filter(|&id| is_secret(&self.tree, id) && holds_values(id) && !is_known(id));
        hidden.map(|id| self.tree.line(self.tree.node(id).span.start)).collect()
    }

    /// Returns the format of the file.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns the file as it was read.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns how many comments stand inside of Secrets: they are left out with the rest of the Secret.
    #[must_use]
    pub fn comments(&self) -> usize {
        let of = |object: &SecretObject| {
            let end = self.tree.node(object.node).end as usize;
            let below = (object.node.index() + 1..end).filter_map(|index| self.tree.id(index));
            let place = place::of(self.format, &self.tree, object.node);
            let is_inside =
                |start: usize| place.as_ref().is_some_and(|place| (place.start..place.end).contains(&start));
            let comments = below.map(|id| self.tree.node(id));
            let comments = comments.filter(|node| matches!(node.value, Value::Comment(_)));
            comments.filter(|node| is_inside(node.span.start as usize)).count()
        };
        self.secrets.iter().map(of).sum()
    }

    /// Returns the file with every Secret replaced by the SealedSecret at its position.
    ///
    /// # Errors
    /// If a Secret cannot be replaced where it stands, or the result is not what it has to be.
    ///
    /// # Panics
    /// If there are fewer or more SealedSecrets than Secrets.
    pub fn replace(&self, sealed: &[SealedSecret]) -> Result<SecretBytes, SecretFileError> {
        assert_eq!(sealed.len(), self.secrets.len(), "the caller sealed every Secret");
        let mut out = SecretBytes::with_capacity(self.tree.source().len());
        let mut position = 0;
        for (object, sealed) in self.secrets.iter().zip(sealed) {
            let place = place::of(self.format, &self.tree, object.node)
                .ok_or(SecretFileError::Shape { line: object.line, what: MISPLACED })?;
            if place.start < position {
                return Err(SecretFileError::Shape { line: object.line, what: MISPLACED });
            }
            out.extend_from_slice(&self.tree.source()[position..place.start]);
            place.write(sealed, &mut out);
            position = place.end;
        }
        out.extend_from_slice(&self.tree.source()[position..]);
        self.check(&out, sealed)?;
        Ok(out)
    }

    /// Returns where values of the Secrets stand in clear in a text, as they are or as base64. Short ones, and
    /// those that are part of the name of their Secret, say nothing if they are found.
    #[must_use]
    pub fn remains(&self, text: &[u8]) -> Vec<Remains> {
        remains::find(&self.secrets, text)
    }

    /// Reads the result back: each object has to be what it was, or the SealedSecret.
    fn check(&self, text: &SecretBytes, sealed: &[SealedSecret]) -> Result<(), SecretFileError> {
        let result = self.format.read(SecretBytes::from(text.expose_secret()))?;
        let (before, after) = (objects(&self.tree), objects(&result));
        if before.len() != after.len() || self.tree.documents().len() != result.documents().len() {
            return Err(SecretFileError::Unfaithful);
        }
        let mut replaced = self.secrets.iter().zip(sealed).peekable();
        for (old, new) in before.into_iter().zip(after) {
            let is_as_it_should = match replaced.next_if(|(object, _)| object.node == old) {
                Some((_, sealed)) => {
                    let read = SealedSecret::from_json(&result.to_json(new));
                    read.map_err(SecretFileError::Unreadable)?.to_json() == sealed.to_json()
                }
                None => same_object(&self.tree, old, &result, new),
            };
            if !is_as_it_should || is_secret(&result, new) {
                return Err(SecretFileError::Unfaithful);
            }
        }
        Ok(())
    }
}

fn has_own_kind(tree: &Tree, node: NodeId) -> bool {
    tree.items(node).any(|id| tree.key(id) == Some(b"kind"))
}

/// A list that says that all its items are Secrets cannot hold SealedSecrets.
fn refuse_typed_lists(tree: &Tree) -> Result<(), SecretFileError> {
    for &root in tree.documents() {
        if name_of(tree, root, "kind") == Some(b"SecretList") {
            let line = tree.line(tree.node(root).span.start);
            return Err(SecretFileError::Shape { line, what: TYPED_LIST });
        }
    }
    Ok(())
}

/// Lines of nodes that are asked for in the order of the file.
#[derive(Default)]
struct Lines {
    offset: usize,
    line: usize,
}

impl Lines {
    fn of(&mut self, tree: &Tree, node: NodeId) -> usize {
        let first = tree.items(node).next().unwrap_or(node);
        let wanted = (tree.node(first).key_start as usize).min(tree.source().len());
        // A copy below an alias stands before what was asked for last.
        let start = if wanted < self.offset { 0 } else { self.offset };
        let before = if start == 0 { 0 } else { self.line };
        self.line = before + tree.source()[start..wanted].iter().filter(|&&byte| byte == b'\n').count();
        self.offset = wanted;
        self.line + 1
    }
}

const MERGED: &str =
    "the object merges another map (<<), of which nobody can say what becomes of it; write it out";
const MISPLACED: &str =
    "the Secret is written in a way in which it cannot be replaced; write it as a block of its own";
const TYPED_LIST: &str = "a SecretList cannot hold SealedSecrets; make it a List";

#[cfg(all(test, feature = "aws-lc"))]
mod tests;

//! Files with Secrets in clear: found among the objects of a file, and replaced by SealedSecrets in place.
//!
//! Invariants: what is not a Secret stays byte for byte; nothing is taken for a text that a plain
//! `kubectl apply` of the file would have taken for something else; what is returned was read back.

mod reading;
mod remains;

use std::collections::BTreeSet;

use super::file::objects;
use super::place::{self, Comments, Place};
use super::secret::{Secret, SecretError};
use super::{SealedSecret, SealedSecretError};
use crate::format::{Format, ParseError};
use crate::manifest::{ObjectKind, arrange};
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, NodeId, Origin, Tree, Value};

use reading::merges;
pub(super) use reading::{is_secret, name_of, same_object};

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
        refuse_nested(&tree, &secrets)?;
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
            let place = secret_place(self.format, &self.tree, object.node);
            place.map_or(0, |place| comments_in(&self.tree, object.node, &place).count())
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
            let place = secret_place(self.format, &self.tree, object.node)
                .ok_or(SecretFileError::Shape { line: object.line, what: MISPLACED })?;
            if place.start < position {
                return Err(SecretFileError::Shape { line: object.line, what: MISPLACED });
            }
            out.extend_from_slice(&self.tree.source()[position..place.start]);
            place.write(&arrange(&sealed.to_json(), ObjectKind::SealedSecret), &mut out);
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
        remains::find(&self.secrets, self.format, text)
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
    let is_typed_list = |&id: &NodeId| {
        let version = name_of(tree, id, "apiVersion");
        name_of(tree, id, "kind") == Some(b"SecretList")
            && version.is_none_or(|version| version == b"v1")
            && has_entry(tree, id, &[b"items"])
    };
    refuse_any(tree, is_typed_list, TYPED_LIST)
}

/// A Secret inside of another object than a list cannot be sealed there, and would stay in clear.
fn refuse_nested(tree: &Tree, secrets: &[SecretObject]) -> Result<(), SecretFileError> {
    let is_known = |id: NodeId| secrets.binary_search_by_key(&id, |object| object.node).is_ok();
    let is_nested =
        |&id: &NodeId| is_secret(tree, id) && has_entry(tree, id, &[b"data", b"stringData"]) && !is_known(id);
    refuse_any(tree, is_nested, NESTED)
}

fn refuse_any(
    tree: &Tree,
    is_refused: impl Fn(&NodeId) -> bool,
    what: &'static str,
) -> Result<(), SecretFileError> {
    let mut maps = tree.nodes().filter(|(_, node)| node.value == Value::Map).map(|(id, _)| id);
    match maps.find(is_refused) {
        Some(id) => {
            let line = Lines::default().of(tree, id);
            Err(SecretFileError::Shape { line, what })
        }
        None => Ok(()),
    }
}

fn has_entry(tree: &Tree, map: NodeId, names: &[&[u8]]) -> bool {
    tree.items(map).any(|item| tree.key(item).is_some_and(|key| names.contains(&key)))
}

/// Returns the nodes below `data` and `stringData` of all Secrets among the objects of a file, encrypted by SOPS or
/// not, comments among them.
#[must_use]
pub fn secret_values(tree: &Tree) -> BTreeSet<NodeId> {
    objects(tree).into_iter().flat_map(|object| values_in(tree, object)).collect()
}

/// Returns the nodes that [`SecretFile::replace`] takes away as secret: of the values of Secrets and of the
/// comments inside of them, those that stand in what is replaced. The file may be encrypted by SOPS.
#[must_use]
pub fn replaced_nodes(format: Format, tree: &Tree) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    for object in objects(tree).into_iter().filter(|&object| is_secret(tree, object)) {
        let Some(place) = secret_place(format, tree, object) else { continue };
        found.extend(comments_in(tree, object, &place));
        let is_value = |&id: &NodeId| !matches!(tree.node(id).value, Value::Comment(_));
        let is_inside = |&id: &NodeId| {
            let span = tree.node(id).span;
            place.start <= span.start as usize && span.end as usize <= place.end
        };
        found.extend(values_in(tree, object).filter(is_value).filter(is_inside));
    }
    found
}

fn values_in(tree: &Tree, object: NodeId) -> impl Iterator<Item = NodeId> + '_ {
    let is_data = |item: &NodeId| matches!(tree.key(*item), Some(b"data" | b"stringData"));
    let values = tree.items(object).filter(is_data).filter(move |_| is_secret(tree, object));
    values.flat_map(|values| {
        (values.index()..tree.node(values).end as usize).filter_map(|index| tree.id(index))
    })
}

/// Returns the comments that are part of an object and stand in its place.
fn comments_in<'t>(tree: &'t Tree, object: NodeId, place: &Place) -> impl Iterator<Item = NodeId> + 't {
    let range = place.start..place.end;
    let below = (object.index() + 1..tree.node(object).end as usize).filter_map(|index| tree.id(index));
    below.filter(move |&id| {
        let node = tree.node(id);
        matches!(node.value, Value::Comment(_)) && range.contains(&(node.span.start as usize))
    })
}

fn secret_place(format: Format, tree: &Tree, node: NodeId) -> Option<Place> {
    place::of(format, tree, node, Comments::All)
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
const NESTED: &str = "a Secret inside of another object cannot be sealed there; make it a document of its own, or an item of a List";
const TYPED_LIST: &str = "a SecretList cannot hold SealedSecrets; make it a List";

#[cfg(all(test, feature = "aws-lc"))]
mod tests;

//! YAML with maps at the top of its documents, as go-yaml v3 understands it and sops reads it.
//!
//! Invariant: what this reads and sops reads too means the same to both, down to the comments.

mod build;
mod comments;
mod edit;
mod outline;
mod read;
pub(crate) mod resolve;
pub(crate) mod style;
mod tokens;
mod write;

use serde_json::{Map, Value as Json};

use super::{Format, ParseError, Place, Rewrite, Store, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree};

/// The YAML format.
pub struct Yaml;

impl Store for Yaml {
    fn format(&self) -> Format {
        Format::Yaml
    }

    fn name(&self) -> &'static str {
        "yaml"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[".yaml", ".yml"]
    }

    fn read(&self, source: SecretBytes) -> Result<Tree, ParseError> {
        read::read(source)
    }

    fn write(
        &self,
        tree: &Tree,
        metadata: Option<&Map<String, Json>>,
        options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        write::write(tree, metadata, options)
    }

    fn write_value(
        &self,
        tree: &Tree,
        node: NodeId,
        options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        write::write_value(tree, node, options)
    }

    fn rewrite(&self, tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
        edit::rewrite(tree, rewrite)
    }

    fn put(&self, tree: &Tree, place: Place<'_>, value: &Json) -> Result<SecretBytes, WriteError> {
        edit::put(tree, place, value)
    }

    fn remove(&self, tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
        edit::remove(tree, node)
    }
}

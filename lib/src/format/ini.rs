//! INI, as sops reads it with go-ini: sections of `key = value`, all values texts. Metadata is a section of
//! its own, under flat names.
//!
//! What go-ini drops when it reads would be lost, or would stay in clear in a document that is encrypted in
//! place. A value that the next line replaces goes with that line's value; comments at the end are kept; the
//! rest is refused with its line: a key that is given twice in places apart, and text behind a closing quote
//! or bracket.

mod edit;
mod quote;
mod read;
mod scan;
mod write;

use serde_json::{Map, Value as Json};

use super::{Format, ParseError, Place, Rewrite, Store, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree};

/// The INI format.
pub struct Ini;

impl Store for Ini {
    fn format(&self) -> Format {
        Format::Ini
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[".ini"]
    }

    fn read(&self, source: SecretBytes) -> Result<Tree, ParseError> {
        read::read(source)
    }

    fn write(
        &self,
        tree: &Tree,
        metadata: Option<&Map<String, Json>>,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        write::write(tree, metadata)
    }

    fn write_value(
        &self,
        tree: &Tree,
        node: NodeId,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        write::write_value(tree, node)
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

const COLLECTION: &str = "a map or list below a section";
const NAME: &str = "ini";
const NULL: &str = "null in an encrypted document";

fn unsupported(what: &'static str) -> WriteError {
    WriteError::Unsupported { format: NAME, what }
}

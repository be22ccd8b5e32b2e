//! The binary format.

use serde_json::{Map, Value as Json};

use super::{Format, ParseError, ParseErrorKind, Place, Rewrite, Store, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree};

/// The binary format.
pub struct Binary;

const UNSUPPORTED: WriteError = WriteError::Unsupported { format: "binary", what: "anything yet" };

impl Store for Binary {
    fn format(&self) -> Format {
        Format::Binary
    }

    fn name(&self) -> &'static str {
        "binary"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[]
    }

    fn read(&self, _source: SecretBytes) -> Result<Tree, ParseError> {
        Err(ParseError { line: 1, kind: ParseErrorKind::Empty })
    }

    fn write(
        &self,
        _tree: &Tree,
        _metadata: Option<&Map<String, Json>>,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        Err(UNSUPPORTED)
    }

    fn write_value(
        &self,
        _tree: &Tree,
        _node: NodeId,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        Err(UNSUPPORTED)
    }

    fn rewrite(&self, _tree: &Tree, _rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
        Err(UNSUPPORTED)
    }

    fn put(&self, _tree: &Tree, _place: Place<'_>, _value: &Json) -> Result<SecretBytes, WriteError> {
        Err(UNSUPPORTED)
    }

    fn remove(&self, _tree: &Tree, _node: NodeId) -> Result<SecretBytes, WriteError> {
        Err(UNSUPPORTED)
    }
}

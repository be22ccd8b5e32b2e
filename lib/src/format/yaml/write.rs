//! A tree as YAML, in the style of sops.

use serde_json::{Map, Value as Json};

use crate::format::{WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree};

pub(super) fn write(
    _tree: &Tree,
    _metadata: Option<&Map<String, Json>>,
    _options: &WriteOptions,
) -> Result<SecretBytes, WriteError> {
    Err(WriteError::Unsupported { format: "yaml", what: "anything yet" })
}

pub(super) fn write_value(
    _tree: &Tree,
    _node: NodeId,
    _options: &WriteOptions,
) -> Result<SecretBytes, WriteError> {
    Err(WriteError::Unsupported { format: "yaml", what: "anything yet" })
}

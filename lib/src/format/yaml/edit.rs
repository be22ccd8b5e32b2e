//! Changes to YAML text in place.

use serde_json::Value as Json;

use crate::format::{Place, Rewrite, WriteError};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree};

pub(super) fn rewrite(_tree: &Tree, _rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
    Err(WriteError::Unsupported { format: "yaml", what: "anything yet" })
}

pub(super) fn put(_tree: &Tree, _place: Place<'_>, _value: &Json) -> Result<SecretBytes, WriteError> {
    Err(WriteError::Unsupported { format: "yaml", what: "anything yet" })
}

pub(super) fn remove(_tree: &Tree, _node: NodeId) -> Result<SecretBytes, WriteError> {
    Err(WriteError::Unsupported { format: "yaml", what: "anything yet" })
}

//! Which part of a document a YAML comment belongs to, as go-yaml sees it.

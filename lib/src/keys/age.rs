//! age keys.

//! The table of key kinds.

use super::KeyKind;

/// Every kind of master key, in the order in which a group holds them.
pub static KEY_KINDS: &[&KeyKind] = &[];

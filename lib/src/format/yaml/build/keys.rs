//! Keys that occur twice in a map: sops refuses them in the first document, this in every one.

use std::collections::HashSet;

use super::Builder;
use crate::format::{ParseError, ParseErrorKind};
use crate::tree::NodeId;

impl Builder<'_> {
    /// Checks that no key of a map occurs twice.
    pub(super) fn check_keys(&mut self, map: NodeId) -> Result<(), ParseError> {
        self.keys.clear();
        for child in self.tree.children(map) {
            let node = self.tree.node(child);
            self.keys.extend(node.key.map(|key| (key, node.key_start)));
        }
        let bytes = |index: usize| self.tree.bytes(self.keys[index].0);
        let mut positions = 0..self.keys.len();
        let duplicate = if self.keys.len() <= FEW {
            positions.find(|&index| (0..index).any(|other| bytes(other) == bytes(index)))
        } else {
            let mut seen = HashSet::with_capacity(self.keys.len());
            positions.find(|&index| !seen.insert(bytes(index)))
        };
        let Some(index) = duplicate else { return Ok(()) };
        let key = String::from_utf8_lossy(bytes(index)).into_owned();
        Err(self.error(self.keys[index].1, ParseErrorKind::DuplicateKey(key)))
    }
}

/// As many keys are compared pair by pair.
const FEW: usize = 12;

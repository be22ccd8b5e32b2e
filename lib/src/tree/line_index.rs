//! The lines of a source by offset, for who asks for many.

use super::Tree;

/// Where the lines of a source end.
pub(crate) struct LineIndex(Vec<u32>);

impl LineIndex {
    /// Reads the source of a tree once.
    pub(crate) fn new(tree: &Tree) -> Self {
        let bytes = tree.source().iter().zip(0..);
        Self(bytes.filter(|(byte, _)| **byte == b'\n').map(|(_, at)| at).collect())
    }

    /// Returns the 1-based line of a byte of the source.
    pub(crate) fn line(&self, offset: u32) -> usize {
        self.0.partition_point(|&end| end < offset) + 1
    }
}

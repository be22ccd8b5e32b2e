//! Metadata as flat names, for formats without nesting.

//! A lab with files, Git and our programs alone.

use super::{Kind, Lab};

/// The kind of a page that says nothing.
pub const KIND: Kind =
    Kind { name: "files", is_live: false, is_possible: || true, start: |_| Ok(Box::new(Files)) };

struct Files;

impl Lab for Files {}

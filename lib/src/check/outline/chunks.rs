//! Where the documents of a text are, without reading them: one that cannot be read must not hide the others.

use std::ops::Range;

/// Returns the documents of a text: what lies between lines of `---` and `...`, which stand in no scalar.
pub(super) fn chunks(text: &str) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut at) = (0, 0);
    // Whether nothing but directives, comments and blanks stands before this line in its document.
    let mut is_head = true;
    for line in text.split_inclusive('\n') {
        let is_marker = |marker: &str| {
            line.strip_prefix(marker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        if is_marker("---") {
            chunks.push(start..at);
            // What stands behind the dashes is part of the document.
            start = at + 3;
            is_head = false;
        } else if is_marker("...") {
            chunks.push(start..at);
            start = at + line.len();
            is_head = true;
        } else if is_head {
            if line.starts_with('%') {
                start = at + line.len();
            }
            is_head = line.starts_with(['%', '#']) || line.trim().is_empty();
        }
        at += line.len();
    }
    chunks.push(start..text.len());
    chunks
}

//! Merging texts line by line, more freely than Git does: what comes of it is compared with the merge by path.
//!
//! Lines that both sides changed side by side are no conflict here, nor is what both put in at one place.

use std::collections::HashMap;

use super::align::align;
use super::hunks::{By, hunks};
use crate::secret::SecretBytes;

/// What came of a merge of texts.
pub(super) struct Texts {
    /// The text, every conflict decided for our side.
    pub(super) ours: SecretBytes,
    /// The text, every conflict decided for their side.
    pub(super) theirs: SecretBytes,
    /// Whether there is no conflict.
    pub(super) is_clean: bool,
}

/// Merges texts. `is_layout` tells whether a line holds no value; where both sides changed such lines, all stay. What both
/// sides put in at one place is put in one after the other where `is_free`, and else is a conflict.
pub(super) fn merge_lines(
    base: Option<&[u8]>,
    ours: &[u8],
    theirs: &[u8],
    is_free: bool,
    is_layout: impl Fn(&[u8]) -> bool,
) -> Texts {
    let mut names = HashMap::new();
    let base = base.map(|base| Lines::new(base, &mut names));
    let (ours, theirs) = (Lines::new(ours, &mut names), Lines::new(theirs, &mut names));
    let base_ids = base.as_ref().map(|base| &base.ids[..]).unwrap_or_default();
    let mut merged = Merged::default();
    for hunk in hunks(base_ids, &ours.ids, &theirs.ids, false) {
        let (our, their) = (hunk.ours.clone(), hunk.theirs.clone());
        match hunk.by {
            By::Nobody | By::Ours => merged.push(&ours.lines[our]),
            By::Theirs => merged.push(&theirs.lines[their]),
            By::Both if ours.ids[our.clone()] == theirs.ids[their.clone()] => merged.push(&ours.lines[our]),
            By::Both => {
                let before = base.as_ref().map(|base| &base.lines[hunk.base.clone()]).unwrap_or_default();
                let (our_lines, their_lines) = (&ours.lines[our.clone()], &theirs.lines[their.clone()]);
                let mut all = before.iter().chain(our_lines).chain(their_lines);
                if is_free && hunk.base.is_empty() || all.all(|line| is_layout(line)) {
                    merged.union(our_lines, &ours.ids[our], their_lines, &theirs.ids[their]);
                } else {
                    merged.conflict(our_lines, their_lines);
                }
            }
        }
    }
    let ends = ends_with_break(base.as_ref().is_none_or(|base| base.ends), ours.ends, theirs.ends);
    merged.finish(ends)
}

/// Returns whether a text ends with a line break of which three versions do or do not.
pub(super) fn ends_with_break(base: bool, ours: bool, theirs: bool) -> bool {
    if ours == base { theirs } else { ours }
}

/// A text in lines without their ends.
struct Lines<'a> {
    lines: Vec<&'a [u8]>,
    /// Equal lines have equal names.
    ids: Vec<u64>,
    /// Whether the last line has an end.
    ends: bool,
}

impl<'a> Lines<'a> {
    fn new(text: &'a [u8], names: &mut HashMap<&'a [u8], u64>) -> Self {
        let lines: Vec<_> = text
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
            .collect();
        let mut name = |line| {
            let next = names.len() as u64;
            *names.entry(line).or_insert(next)
        };
        let ids = lines.iter().map(|&line| name(line)).collect();
        Self { lines, ids, ends: text.last().is_none_or(|&byte| byte == b'\n') }
    }
}

struct Merged {
    ours: SecretBytes,
    theirs: SecretBytes,
    is_clean: bool,
}

impl Default for Merged {
    fn default() -> Self {
        Self { ours: SecretBytes::new(), theirs: SecretBytes::new(), is_clean: true }
    }
}

impl Merged {
    fn push(&mut self, lines: &[&[u8]]) {
        append(&mut self.ours, lines);
        append(&mut self.theirs, lines);
    }

    fn conflict(&mut self, ours: &[&[u8]], theirs: &[&[u8]]) {
        append(&mut self.ours, ours);
        append(&mut self.theirs, theirs);
        self.is_clean = false;
    }

    /// Appends the lines of both sides, those that are the same once. Empty lines are those of what they stand by.
    fn union(&mut self, ours: &[&[u8]], our_ids: &[u64], theirs: &[&[u8]], their_ids: &[u64]) {
        let same = align(our_ids, their_ids);
        let is_apart =
            ours.iter().zip(&same).all(|(line, same)| same.is_none() || line.trim_ascii().is_empty());
        if is_apart {
            self.push(ours);
            self.push(theirs);
            return;
        }
        let mut next = 0;
        for (line, other) in ours.iter().zip(same) {
            if let Some(other) = other {
                self.push(&theirs[next..other]);
                next = other + 1;
            }
            self.push(&[line]);
        }
        self.push(&theirs[next..]);
    }

    fn finish(mut self, ends: bool) -> Texts {
        for text in [&mut self.ours, &mut self.theirs] {
            text.truncate(text.len() - usize::from(!ends && !text.is_empty()));
        }
        Texts { ours: self.ours, theirs: self.theirs, is_clean: self.is_clean }
    }
}

fn append(text: &mut SecretBytes, lines: &[&[u8]]) {
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, ours: &str, theirs: &str) -> (String, String, bool) {
        let text = |bytes: &SecretBytes| String::from_utf8_lossy(bytes.expose_secret()).into_owned();
        let is_layout = |line: &[u8]| line.is_empty() || line.starts_with(b"#");
        let texts = merge_lines(Some(base.as_bytes()), ours.as_bytes(), theirs.as_bytes(), true, is_layout);
        (text(&texts.ours), text(&texts.theirs), texts.is_clean)
    }

    fn clean(base: &str, ours: &str, theirs: &str) -> String {
        let (ours, theirs, is_clean) = merged(base, ours, theirs);
        assert!(is_clean);
        assert_eq!(ours, theirs);
        ours
    }

    #[test]
    fn changes_of_both_are_taken() {
        assert_eq!(clean("a\nb\n", "a\nB\n", "A\nb\n"), "A\nB\n");
        assert_eq!(clean("a\n", "a\nx\n", "a\ny\n"), "a\nx\ny\n");
        assert_eq!(clean("a\n", "a\n# c\nx\n", "a\n# c\nx\n"), "a\n# c\nx\n");
    }

    #[test]
    fn lines_without_values_stay() {
        assert_eq!(clean("# a\nx\n", "# b\nx\n", "# c\nx\n"), "# b\n# c\nx\n");
    }

    #[test]
    fn a_missing_end_of_the_last_line_is_merged_too() {
        assert_eq!(clean("a\nb", "a\nb", "a\nb\nc"), "a\nb\nc");
        assert_eq!(clean("a\nb\n", "A\nb\n", "a\nb"), "A\nb");
    }

    #[test]
    fn a_line_that_both_changed_is_a_conflict() {
        assert_eq!(merged("a\nb\n", "x\nb\n", "y\nb\n"), ("x\nb\n".into(), "y\nb\n".into(), false));
    }
}

//! What two sides changed in one sequence: pieces that nobody changed, that one side changed, and that both did.

use std::ops::Range;

use super::align::align;

/// A piece of a sequence in its three versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) base: Range<usize>,
    pub(super) ours: Range<usize>,
    pub(super) theirs: Range<usize>,
    pub(super) by: By,
}

/// Who changed a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Both,
    Nobody,
    Ours,
    Theirs,
}

/// Returns the pieces of a sequence, in order. Where `is_strict`, items that both sides put in side by side are one piece.
pub(super) fn hunks(base: &[u64], ours: &[u64], theirs: &[u64], is_strict: bool) -> Vec<Hunk> {
    let (our_edits, their_edits) = (edits(base, ours), edits(base, theirs));
    let mut merge = Merge { found: Vec::new(), base: 0, ours: 0, theirs: 0 };
    let (mut our_rest, mut their_rest) = (&our_edits[..], &their_edits[..]);
    loop {
        match (our_rest.split_first(), their_rest.split_first()) {
            (None, None) => break,
            (Some((edit, rest)), other)
                if other.is_none_or(|(other, _)| edit.is_before(other, is_strict)) =>
            {
                merge.one(edit, By::Ours);
                our_rest = rest;
            }
            (other, Some((edit, rest)))
                if other.is_none_or(|(other, _)| edit.is_before(other, is_strict)) =>
            {
                merge.one(edit, By::Theirs);
                their_rest = rest;
            }
            _ => {
                let (our_count, their_count) = overlap(our_rest, their_rest, is_strict);
                merge.both(&our_rest[..our_count], &their_rest[..their_count]);
                our_rest = &our_rest[our_count..];
                their_rest = &their_rest[their_count..];
            }
        }
    }
    merge.skip_to(base.len());
    merge.found
}

/// Items of the base that give way to items of a side.
#[derive(Debug)]
struct Edit {
    base: Range<usize>,
    side: Range<usize>,
}

impl Edit {
    fn grows(&self) -> bool {
        self.side.len() > self.base.len()
    }

    fn overlaps(&self, other: &Self, is_strict: bool) -> bool {
        let (mine, theirs) = (&self.base, &other.base);
        let touches = mine.end == theirs.start || theirs.end == mine.start;
        mine.start < theirs.end && theirs.start < mine.end
            || mine.is_empty() && mine == theirs
            || is_strict && touches && self.grows() && other.grows()
    }

    fn is_before(&self, other: &Self, is_strict: bool) -> bool {
        !self.overlaps(other, is_strict)
            && (self.base.start, self.base.end) <= (other.base.start, other.base.end)
    }
}

/// Returns how many edits at the start of both belong together.
fn overlap(ours: &[Edit], theirs: &[Edit], is_strict: bool) -> (usize, usize) {
    let (mut our_count, mut their_count) = (1, 1);
    loop {
        let (our_last, their_last) = (&ours[our_count - 1], &theirs[their_count - 1]);
        if ours.get(our_count).is_some_and(|edit| edit.overlaps(their_last, is_strict)) {
            our_count += 1;
        } else if theirs.get(their_count).is_some_and(|edit| edit.overlaps(our_last, is_strict)) {
            their_count += 1;
        } else {
            return (our_count, their_count);
        }
    }
}

/// Returns what a side changed.
fn edits(base: &[u64], side: &[u64]) -> Vec<Edit> {
    let mut found = Vec::new();
    let (mut at, mut next) = (0, 0);
    let ends = std::iter::once((base.len(), Some(side.len())));
    for (position, other) in align(base, side).into_iter().enumerate().chain(ends) {
        let Some(other) = other else { continue };
        if position > at || other > next {
            found.push(Edit { base: at..position, side: next..other });
        }
        (at, next) = (position + 1, other + 1);
    }
    found
}

struct Merge {
    found: Vec<Hunk>,
    base: usize,
    ours: usize,
    theirs: usize,
}

impl Merge {
    /// Goes on to an item of the base that nobody changed anything before.
    fn skip_to(&mut self, base: usize) {
        let length = base - self.base;
        if length > 0 {
            self.push(length, length, length, By::Nobody);
        }
    }

    fn one(&mut self, edit: &Edit, by: By) {
        self.skip_to(edit.base.start);
        let (base, side) = (edit.base.len(), edit.side.len());
        match by {
            By::Ours => self.push(base, side, base, by),
            _ => self.push(base, base, side, by),
        }
    }

    fn both(&mut self, ours: &[Edit], theirs: &[Edit]) {
        let (Some(our_first), Some(their_first)) = (ours.first(), theirs.first()) else { return };
        let (Some(our_last), Some(their_last)) = (ours.last(), theirs.last()) else { return };
        let start = our_first.base.start.min(their_first.base.start);
        let end = our_last.base.end.max(their_last.base.end);
        self.skip_to(start);
        let length = |first: &Edit, last: &Edit| {
            first.base.start - start + (last.side.end - first.side.start) + (end - last.base.end)
        };
        self.push(end - start, length(our_first, our_last), length(their_first, their_last), By::Both);
    }

    fn push(&mut self, base: usize, ours: usize, theirs: usize, by: By) {
        self.found.push(Hunk {
            base: self.base..self.base + base,
            ours: self.ours..self.ours + ours,
            theirs: self.theirs..self.theirs + theirs,
            by,
        });
        self.base += base;
        self.ours += ours;
        self.theirs += theirs;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    fn who(base: &[u64], ours: &[u64], theirs: &[u64], is_strict: bool) -> Vec<By> {
        hunks(base, ours, theirs, is_strict).into_iter().map(|hunk| hunk.by).collect()
    }

    #[test]
    fn changes_side_by_side_are_apart() {
        assert_eq!(who(&[1, 2], &[8, 2], &[1, 9], false), [By::Ours, By::Theirs]);
        assert_eq!(who(&[1, 2, 3], &[8, 2, 3], &[1, 2, 9], true), [By::Ours, By::Nobody, By::Theirs]);
    }

    #[test]
    fn what_both_put_in_at_one_place_is_of_both() {
        assert_eq!(who(&[1], &[1, 8], &[1, 9], false), [By::Nobody, By::Both]);
        assert_eq!(who(&[1], &[7, 8], &[1, 9], true), [By::Both]);
        assert_eq!(who(&[1], &[7, 8], &[1, 9], false), [By::Ours, By::Theirs]);
    }

    proptest! {
        #[test]
        fn pieces_follow_each_other(
            base in prop::collection::vec(0..6_u64, 0..12), ours in prop::collection::vec(0..6_u64, 0..12),
            theirs in prop::collection::vec(0..6_u64, 0..12), is_strict in any::<bool>()
        ) {
            let (mut at, mut our, mut their) = (0, 0, 0);
            for hunk in hunks(&base, &ours, &theirs, is_strict) {
                prop_assert_eq!((hunk.base.start, hunk.ours.start, hunk.theirs.start), (at, our, their));
                (at, our, their) = (hunk.base.end, hunk.ours.end, hunk.theirs.end);
                if matches!(hunk.by, By::Nobody | By::Theirs) {
                    prop_assert_eq!(&base[hunk.base.clone()], &ours[hunk.ours]);
                }
                if matches!(hunk.by, By::Nobody | By::Ours) {
                    prop_assert_eq!(&base[hunk.base], &theirs[hunk.theirs]);
                }
            }
            prop_assert_eq!((at, our, their), (base.len(), ours.len(), theirs.len()));
        }
    }
}

//! Which items of two sequences are the same, in an order that both have.
//!
//! Invariant: the cost is that of sorting, whatever the sequences are. The longest common sequence is found where it is
//! cheap to find; elsewhere items that are there once lead the way.

use std::collections::HashMap;

/// Returns for each item of `left` the position of the one in `right` that it is; the positions rise.
pub(in crate::merge) fn align(left: &[u64], right: &[u64]) -> Vec<Option<usize>> {
    let mut alignment = Alignment { left, right, found: vec![None; left.len()], work: Vec::new() };
    alignment.work.push(Region { left: (0, left.len()), right: (0, right.len()), depth: 0 });
    while let Some(region) = alignment.work.pop() {
        alignment.region(region);
    }
    alignment.found
}

struct Alignment<'a> {
    left: &'a [u64],
    right: &'a [u64],
    found: Vec<Option<usize>>,
    work: Vec<Region>,
}

/// A piece of each sequence.
struct Region {
    left: (usize, usize),
    right: (usize, usize),
    /// How many regions this one is a part of.
    depth: usize,
}

impl Alignment<'_> {
    fn region(&mut self, mut region: Region) {
        self.trim(&mut region);
        let (left, right) = (region.left.1 - region.left.0, region.right.1 - region.right.0);
        if left == 0 || right == 0 {
            return;
        }
        if left.saturating_mul(right) <= MAX_TABLE {
            self.longest(&region);
            return;
        }
        let is_deep = region.depth >= MAX_DEPTH;
        let mut anchors = if is_deep { Vec::new() } else { self.unique(&region) };
        let is_last = anchors.is_empty();
        if is_last {
            anchors = self.by_count(&region);
        }
        let (mut left, mut right) = (region.left.0, region.right.0);
        for (at, other) in anchors {
            self.found[at] = Some(other);
            if !is_last {
                self.work.push(Region { left: (left, at), right: (right, other), depth: region.depth + 1 });
            }
            (left, right) = (at + 1, other + 1);
        }
        if !is_last {
            let depth = region.depth + 1;
            self.work.push(Region { left: (left, region.left.1), right: (right, region.right.1), depth });
        }
    }

    /// Passes over what is the same at both ends.
    fn trim(&mut self, region: &mut Region) {
        let Region { left, right, .. } = region;
        while left.0 < left.1 && right.0 < right.1 && self.left[left.0] == self.right[right.0] {
            self.found[left.0] = Some(right.0);
            *left = (left.0 + 1, left.1);
            *right = (right.0 + 1, right.1);
        }
        while left.0 < left.1 && right.0 < right.1 && self.left[left.1 - 1] == self.right[right.1 - 1] {
            self.found[left.1 - 1] = Some(right.1 - 1);
            *left = (left.0, left.1 - 1);
            *right = (right.0, right.1 - 1);
        }
    }

    /// Finds the longest common sequence of a small region by a table.
    fn longest(&mut self, region: &Region) {
        let (left, right) =
            (&self.left[region.left.0..region.left.1], &self.right[region.right.0..region.right.1]);
        let width = right.len() + 1;
        let mut table = vec![0_u16; (left.len() + 1) * width];
        for row in (0..left.len()).rev() {
            for column in (0..right.len()).rev() {
                table[row * width + column] = match left[row] == right[column] {
                    true => table[(row + 1) * width + column + 1] + 1,
                    false => table[(row + 1) * width + column].max(table[row * width + column + 1]),
                };
            }
        }
        let (mut row, mut column) = (0, 0);
        while row < left.len() && column < right.len() {
            if left[row] == right[column] {
                self.found[region.left.0 + row] = Some(region.right.0 + column);
                (row, column) = (row + 1, column + 1);
            } else if table[(row + 1) * width + column] >= table[row * width + column + 1] {
                row += 1;
            } else {
                column += 1;
            }
        }
    }

    /// Returns a rising sequence of pairs of items that both pieces have once.
    fn unique(&self, region: &Region) -> Vec<(usize, usize)> {
        let mut places: HashMap<u64, (usize, usize, usize, usize)> = HashMap::new();
        for at in region.left.0..region.left.1 {
            let place = places.entry(self.left[at]).or_default();
            (place.0, place.1) = (place.0 + 1, at);
        }
        for at in region.right.0..region.right.1 {
            if let Some(place) = places.get_mut(&self.right[at]) {
                (place.2, place.3) = (place.2 + 1, at);
            }
        }
        let once = places.into_values().filter(|place| place.0 == 1 && place.2 == 1);
        let mut pairs: Vec<_> = once.map(|(_, left, _, right)| (left, right)).collect();
        pairs.sort_unstable();
        rising(&pairs)
    }

    /// Returns a rising sequence of pairs of items that are equal, the first with the first, the second with the second.
    fn by_count(&self, region: &Region) -> Vec<(usize, usize)> {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        let mut places: HashMap<(u64, usize), usize> = HashMap::new();
        for at in region.right.0..region.right.1 {
            let count = counts.entry(self.right[at]).or_default();
            places.insert((self.right[at], *count), at);
            *count += 1;
        }
        counts.clear();
        let mut pairs = Vec::new();
        for at in region.left.0..region.left.1 {
            let count = counts.entry(self.left[at]).or_default();
            pairs.extend(places.get(&(self.left[at], *count)).map(|&other| (at, other)));
            *count += 1;
        }
        rising(&pairs)
    }
}

/// Returns the longest sequence of pairs, which rise on the left, that rises on the right too.
fn rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // The pair that the best sequence of each length ends with, and the one before each pair.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (at, pair) in pairs.iter().enumerate() {
        let length = ends.partition_point(|&end| pairs[end].1 < pair.1);
        before.push(length.checked_sub(1).map(|length| ends[length]));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut next = ends.last().copied();
    let mut found = Vec::with_capacity(ends.len());
    while let Some(at) = next {
        found.push(pairs[at]);
        next = before[at];
    }
    found.reverse();
    found
}

/// How many regions within another are looked at for items that are there once.
const MAX_DEPTH: usize = 24;

/// How many cells a table has at most.
const MAX_TABLE: usize = 1 << 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn what_is_put_in_or_taken_out_leaves_the_rest_together() {
        assert_eq!(align(&[1, 2, 3], &[1, 9, 2, 3]), [Some(0), Some(2), Some(3)]);
        assert_eq!(align(&[1, 2, 3], &[2]), [None, Some(0), None]);
        assert_eq!(align(&[1, 1, 2], &[1, 2]), [Some(0), None, Some(1)]);
        assert_eq!(align(&[], &[1]), []);
    }

    #[test]
    fn long_sequences_are_aligned_by_what_is_there_once() {
        let left: Vec<u64> = (0..10_000).collect();
        let mut right: Vec<u64> =
            left.iter().map(|item| if item % 3 == 0 { item + 100_000 } else { *item }).collect();
        right.insert(5_000, 7);
        let found = align(&left, &right);
        assert_eq!(found.iter().flatten().count(), 6_666);
    }

    proptest! {
        #[test]
        fn pairs_are_equal_and_rise(
            left in prop::collection::vec(0..9_u64, 0..200), right in prop::collection::vec(0..9_u64, 0..200)
        ) {
            let found = align(&left, &right);
            prop_assert_eq!(found.len(), left.len());
            let mut next = 0;
            for (at, other) in found.iter().enumerate() {
                let Some(other) = *other else { continue };
                prop_assert!(other >= next);
                prop_assert_eq!(left[at], right[other]);
                next = other + 1;
            }
        }
    }
}

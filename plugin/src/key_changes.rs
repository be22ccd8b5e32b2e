//! What becomes of the keys of a document when its groups change.

use selkie::keys::KeyGroup;
use selkie::sops::Metadata;

use crate::report::{BAD, GOOD, Report, escape};

/// What becomes of the keys of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// The keys of each group, in order: those that stay, those that are added, those that are removed.
    pub groups: Vec<Vec<(Change, String)>>,
    /// How many groups were needed, and how many will be.
    pub needed: (usize, usize),
}

/// What becomes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is there before and after.
    Kept,
    /// It is gone.
    Removed,
}

impl KeyChanges {
    /// Compares the keys of a document with others, group by group: neither the order of keys in a group counts, nor
    /// how often one is named. Keys are tried by what they take, and one that is named twice opens no more.
    #[must_use]
    pub fn between(metadata: &Metadata, groups: &[KeyGroup], threshold: usize) -> Self {
        let empty = KeyGroup::default();
        let count = metadata.groups.len().max(groups.len());
        let group = |index: usize| {
            let old = metadata.groups.get(index).unwrap_or(&empty);
            let new = groups.get(index).unwrap_or(&empty);
            let name = |key: &selkie::keys::MasterKey| format!("{} {key}", key.kind().name);
            let mut changes = Vec::new();
            for key in &new.0 {
                let change = if old.0.contains(key) { Change::Kept } else { Change::Added };
                changes.push((change, name(key)));
            }
            let gone = old.0.iter().filter(|key| !new.0.contains(key));
            changes.extend(gone.map(|key| (Change::Removed, name(key))));
            changes
        };
        let needed = (needed(&metadata.groups, metadata.shamir_threshold), needed(groups, threshold));
        Self { groups: (0..count).map(group).collect(), needed }
    }

    /// Returns whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_kept = |(change, _): &(Change, String)| *change == Change::Kept;
        self.needed.0 == self.needed.1 && self.groups.iter().flatten().all(is_kept)
    }

    /// Returns whether somebody loses a key.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.groups.iter().flatten().any(|(change, _)| *change == Change::Removed)
    }

    /// Returns whether more groups are needed than before.
    #[must_use]
    pub const fn raises(&self) -> bool {
        self.needed.1 > self.needed.0
    }

    /// Returns whether the file may be kept from somebody who could read it: a key is gone, or another number of groups is
    /// needed.
    #[must_use]
    pub fn narrows(&self) -> bool {
        self.removes() || self.needed.0 != self.needed.1
    }

    /// Returns the changes as people read them, each on a line of its own.
    #[must_use]
    pub fn describe(&self, report: &Report<'_>) -> String {
        let mut lines = Vec::new();
        let (old, new) = self.needed;
        if old != new {
            lines.push(format!("  groups needed: {new} instead of {old}"));
        }
        for (index, group) in self.groups.iter().enumerate() {
            if self.groups.len() > 1 {
                lines.push(format!("  group {}", index + 1));
            }
            lines.extend(group.iter().map(|(change, key)| match change {
                Change::Added => report.paint(GOOD, format!("  + {}", escape(key))),
                Change::Kept => format!("    {}", escape(key)),
                Change::Removed => report.paint(BAD, format!("  - {}", escape(key))),
            }));
        }
        lines.join("\n")
    }
}

/// Returns how many groups are needed; a threshold of 0 stands for all.
const fn needed(groups: &[KeyGroup], threshold: usize) -> usize {
    match (groups.len(), threshold) {
        (1, _) => 1,
        (groups, 0) => groups,
        (_, threshold) => threshold,
    }
}

#[cfg(test)]
mod tests {
    use selkie::keys::{KEY_KINDS, KeyKind, MasterKey};

    use super::*;

    fn group(keys: &str) -> KeyGroup {
        let pgp: &'static KeyKind = KEY_KINDS.iter().find(|kind| kind.name == "pgp").expect("a kind");
        KeyGroup(MasterKey::parse_list(pgp, keys).expect("keys"))
    }

    #[test]
    fn groups_are_compared_by_position() {
        let metadata = Metadata::new(vec![group("A,B"), group("C")]);
        let changes = KeyChanges::between(&metadata, &[group("B,D")], 0);
        let named = |change, key: &str| (change, format!("pgp {key}"));
        assert_eq!(
            changes.groups,
            [
                vec![named(Change::Kept, "B"), named(Change::Added, "D"), named(Change::Removed, "A")],
                vec![named(Change::Removed, "C")]
            ]
        );
        assert!(changes.removes() && !changes.is_empty());
    }

    #[test]
    fn the_same_keys_in_another_order_or_twice_are_no_change() {
        let metadata = Metadata::new(vec![group("A,B")]);
        assert!(KeyChanges::between(&metadata, &[group("B,A")], 0).is_empty());
        assert!(KeyChanges::between(&metadata, &[group("A,B,A")], 1).is_empty());
    }

    #[test]
    fn all_groups_are_as_many_as_there_are() {
        let mut metadata = Metadata::new(vec![group("A"), group("B")]);
        metadata.shamir_threshold = 2;
        let groups = metadata.groups.clone();
        assert!(KeyChanges::between(&metadata, &groups, 0).is_empty());
        assert_eq!(KeyChanges::between(&metadata, &groups, 1).needed, (2, 1));
    }

    #[test]
    fn more_groups_to_need_narrow_and_more_keys_do_not() {
        let metadata = Metadata::new(vec![group("A")]);
        assert!(!KeyChanges::between(&metadata, &[group("A,B")], 0).narrows());
        assert!(KeyChanges::between(&metadata, &[group("A"), group("B")], 0).narrows());
        assert!(!KeyChanges::between(&metadata, &[group("A"), group("B")], 1).narrows());
        assert!(KeyChanges::between(&metadata, &[group("B")], 0).narrows());
    }
}

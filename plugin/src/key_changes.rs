//! What becomes of the keys of a document when its groups change.

use selkie::keys::KeyGroup;
use selkie::sops::Metadata;

use crate::report::{BAD, GOOD, Report, escape};

/// What becomes of the keys of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// The keys of each group, in order: those that stay, those that are added, those that are removed.
    pub groups: Vec<Vec<(Change, String)>>,
    /// How many groups were needed, and how many will be; 0 stands for all.
    pub threshold: (usize, usize),
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
    /// Compares the keys of a document with others, group by group.
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
        Self { groups: (0..count).map(group).collect(), threshold: (metadata.shamir_threshold, threshold) }
    }

    /// Returns whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_kept = |(change, _): &(Change, String)| *change == Change::Kept;
        self.threshold.0 == self.threshold.1 && self.groups.iter().flatten().all(is_kept)
    }

    /// Returns whether somebody loses a key.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.groups.iter().flatten().any(|(change, _)| *change == Change::Removed)
    }

    /// Returns the changes as people read them, each on a line of its own.
    #[must_use]
    pub fn describe(&self, report: &Report<'_>) -> String {
        let mut lines = Vec::new();
        if self.threshold.0 != self.threshold.1 {
            let name = |threshold| if threshold == 0 { "all".to_owned() } else { format!("{threshold}") };
            lines.push(format!(
                "  groups needed: {} instead of {}",
                name(self.threshold.1),
                name(self.threshold.0)
            ));
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
    fn the_same_keys_in_another_order_are_no_change() {
        let metadata = Metadata::new(vec![group("A,B")]);
        assert!(KeyChanges::between(&metadata, &[group("B,A")], 0).is_empty());
        assert!(!KeyChanges::between(&metadata, &[group("B,A")], 1).is_empty());
    }
}

//! Who can read a merged document, and under which data key.
//!
//! Invariants: what either side removed is not in the result. Who was removed together with a new data key does not
//! know the data key of the result.

use super::metadata::choose;
use crate::keys::{KeyGroup, MasterKey};
use crate::sops::Metadata;

/// The data key that a merged document has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataKeyOf {
    /// Neither that of our side nor that of theirs.
    Neither,
    /// That of our side.
    Ours,
    /// That of their side.
    Theirs,
}

/// Which versions have the same data key.
#[derive(Clone, Copy, Debug)]
pub(super) struct SameKeys {
    /// The base and our side.
    pub base_and_ours: bool,
    /// The base and their side.
    pub base_and_theirs: bool,
    /// Both sides.
    pub sides: bool,
}

/// Chooses the data key. Without a base there is nobody who was removed.
pub(super) fn data_key(
    base: Option<&Metadata>,
    ours: &Metadata,
    theirs: &Metadata,
    same: SameKeys,
) -> DataKeyOf {
    let Some(base) = base.filter(|_| !same.sides) else { return DataKeyOf::Ours };
    match (same.base_and_ours, same.base_and_theirs) {
        (true, _) => DataKeyOf::Theirs,
        (_, true) => DataKeyOf::Ours,
        // Both have a new one. Who was removed from one side may have got that of the other.
        _ if !knows_more(base, theirs, ours) => DataKeyOf::Ours,
        _ if !knows_more(base, ours, theirs) => DataKeyOf::Theirs,
        _ => DataKeyOf::Neither,
    }
}

/// Merges the groups; `None` if that cannot be done without asking: without a base, nobody can tell who was added from
/// who was removed. What keys hold is that of any side.
pub(super) fn groups(base: Option<&Metadata>, ours: &Metadata, theirs: &Metadata) -> Option<Vec<KeyGroup>> {
    let groups = |metadata| Groups(metadata);
    if let Ok(Groups(new)) = choose(base.map(groups), groups(ours), groups(theirs)) {
        return Some(new.groups.clone());
    }
    let (base, count) = (base?, ours.groups.len());
    if theirs.groups.len() != count || base.groups.len() != count {
        return None;
    }
    let merged = (0..count).map(|at| group(&base.groups[at], &ours.groups[at], &theirs.groups[at]));
    let merged: Vec<_> = merged.collect();
    merged.iter().all(|group| !group.0.is_empty()).then_some(merged)
}

/// Lets every key of merged groups hold the data key of the result, as far as a version knows what that is; other keys
/// hold nothing. `holders` are the sides that have that data key, the one before the other.
pub(super) fn take_wrapped(
    groups: &mut Vec<KeyGroup>,
    threshold: usize,
    base: Option<&Metadata>,
    holders: &[&Metadata],
) {
    if groups.len() > 1 {
        // Shares that were split apart from each other do not fit together: all are of one side, or new.
        let mut needed = holders.iter().filter(|side| side.required_groups() == threshold);
        match needed.find(|side| is_same(&side.groups, groups)) {
            Some(side) => groups.clone_from(&side.groups),
            None => groups.iter_mut().flat_map(|group| &mut group.0).for_each(forget),
        }
        return;
    }
    for key in groups.iter_mut().flat_map(|group| &mut group.0) {
        let known: Vec<_> = holders.iter().filter_map(|side| find(side, key)).collect();
        let before = base.and_then(|base| find(base, key)).map(MasterKey::to_metadata);
        let is_new = |known: &&&MasterKey| Some(known.to_metadata()) != before;
        match known.iter().find(is_new).or_else(|| known.first()) {
            Some(&known) => *key = known.clone(),
            None => forget(key),
        }
    }
}

/// Returns whether two documents have the same keys in the same groups, in whatever order.
pub(super) fn is_same(left: &[KeyGroup], right: &[KeyGroup]) -> bool {
    let is_within = |left: &KeyGroup, right: &KeyGroup| left.0.iter().all(|key| right.0.contains(key));
    let is_pair = |(left, right): (&KeyGroup, &KeyGroup)| is_within(left, right) && is_within(right, left);
    left.len() == right.len() && left.iter().zip(right).all(is_pair)
}

/// Groups, equal if they have the same keys.
struct Groups<'a>(&'a Metadata);

impl PartialEq for Groups<'_> {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.0.groups, &other.0.groups)
    }
}

/// Returns whether somebody whom one side removed is still there in the other.
fn knows_more(base: &Metadata, removing: &Metadata, keeping: &Metadata) -> bool {
    let removed = base.groups.iter().flat_map(|group| &group.0).filter(|key| find(removing, key).is_none());
    removed.into_iter().any(|key| find(keeping, key).is_some())
}

fn group(base: &KeyGroup, ours: &KeyGroup, theirs: &KeyGroup) -> KeyGroup {
    let is_gone = |key: &&MasterKey| base.0.contains(key) && !theirs.0.contains(key);
    let is_new = |key: &&MasterKey| !base.0.contains(key) && !ours.0.contains(key);
    let kept = ours.0.iter().filter(|key| !is_gone(key));
    let mut merged = KeyGroup(kept.chain(theirs.0.iter().filter(is_new)).cloned().collect());
    merged.sort_by_kind();
    merged
}

fn find<'a>(metadata: &'a Metadata, key: &MasterKey) -> Option<&'a MasterKey> {
    metadata.groups.iter().flat_map(|group| &group.0).find(|known| *known == key)
}

fn forget(key: &mut MasterKey) {
    *key = MasterKey::new(key.kind(), key.fields().clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sops::group;

    fn document(groups: &[&str]) -> Metadata {
        let keys = |keys: &&str| group(&keys.split_whitespace().collect::<Vec<_>>());
        Metadata::new(groups.iter().map(keys).collect())
    }

    fn merged(base: Option<&[&str]>, ours: &[&str], theirs: &[&str]) -> Option<String> {
        let base = base.map(document);
        let groups = groups(base.as_ref(), &document(ours), &document(theirs))?;
        let names = |group: &KeyGroup| group.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Some(groups.iter().map(names).collect::<Vec<_>>().join(" | "))
    }

    #[test]
    fn what_a_side_added_is_there_and_what_a_side_removed_is_not() {
        for (base, ours, theirs, wanted) in [
            ("a b", "a b", "a b", "a b"),
            ("a b", "a b c", "a b", "a b c"),
            ("a b", "a b", "a b c", "a b c"),
            ("a b", "a b c", "a b d", "a b c d"),
            ("a b", "a b c", "a b c", "a b c"),
            ("a b", "a", "a b", "a"),
            ("a b", "a b", "a", "a"),
            ("a b", "a", "a", "a"),
            ("a b c", "a b", "b c", "b"),
            ("a b", "a c", "a b d", "a c d"),
            ("a b", "a b c", "a", "a c"),
            ("a", "b", "a c", "b c"),
        ] {
            assert_eq!(
                merged(Some(&[base]), &[ours], &[theirs]).as_deref(),
                Some(wanted),
                "{base} {ours} {theirs}"
            );
        }
        assert_eq!(merged(None, &["a b"], &["b a"]).as_deref(), Some("a b"));
        assert_eq!(merged(None, &["a b"], &["b c"]), None, "nobody knows whether a was removed or added");
    }

    #[test]
    fn nobody_left_is_a_conflict() {
        assert_eq!(merged(Some(&["a b"]), &["a"], &["b"]), None);
    }

    #[test]
    fn groups_are_merged_one_by_one_if_there_are_as_many() {
        let base: &[&str] = &["a", "b"];
        assert_eq!(merged(Some(base), &["a c", "b"], &["a", "b d"]).as_deref(), Some("a c | b d"));
        assert_eq!(merged(Some(base), &["a", "b", "c"], &["a", "b"]).as_deref(), Some("a | b | c"));
        assert_eq!(merged(Some(base), &["a", "b"], &["a"]).as_deref(), Some("a"));
        assert_eq!(merged(Some(base), &["a", "b", "c"], &["a d", "b"]), None);
        assert_eq!(merged(None, &["a", "b"], &["a", "c"]), None);
    }

    #[test]
    fn the_data_key_is_one_that_nobody_knows_who_was_removed_with_a_new_one() {
        let chosen =
            |base: &str, ours: &str, theirs: &str, [base_and_ours, base_and_theirs, sides]: [bool; 3]| {
                let same = SameKeys { base_and_ours, base_and_theirs, sides };
                data_key(Some(&document(&[base])), &document(&[ours]), &document(&[theirs]), same)
            };
        let (all, ours, theirs, none) = ([true; 3], [true, false, false], [false, true, false], [false; 3]);
        assert_eq!(chosen("a b", "a", "a b", all), DataKeyOf::Ours);
        assert_eq!(chosen("a b", "a b", "a", ours), DataKeyOf::Theirs, "only theirs is new");
        assert_eq!(chosen("a b", "a", "a b", theirs), DataKeyOf::Ours, "only ours is new");
        assert_eq!(
            chosen("a b", "a", "a b", [false, false, true]),
            DataKeyOf::Ours,
            "both have the same new one"
        );
        assert_eq!(chosen("a b", "a b", "a b", none), DataKeyOf::Ours);
        assert_eq!(chosen("a b", "a", "a", none), DataKeyOf::Ours);
        assert_eq!(chosen("a b", "a", "a b", none), DataKeyOf::Ours);
        assert_eq!(chosen("a b", "a b", "a", none), DataKeyOf::Theirs, "b got the new one of ours");
        assert_eq!(chosen("a b c", "a b", "a c", none), DataKeyOf::Neither);
        let same = SameKeys { base_and_ours: false, base_and_theirs: false, sides: false };
        assert_eq!(data_key(None, &document(&["a"]), &document(&["b"]), same), DataKeyOf::Ours);
    }

    #[test]
    fn keys_hold_what_the_newest_version_with_the_data_key_has() {
        let holding = |keys: &[(&str, &str)]| {
            let mut metadata = document(&[&keys.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(" ")]);
            for (key, (_, wrapped)) in metadata.groups[0].0.iter_mut().zip(keys) {
                key.set_wrapped((*wrapped).to_owned(), "");
            }
            metadata
        };
        let base = holding(&[("a", "1"), ("b", "2")]);
        let ours = holding(&[("a", "1"), ("b", "3")]);
        let theirs = holding(&[("a", "4"), ("b", "2"), ("c", "5")]);
        let wrapped = |holders: &[&Metadata]| {
            let mut groups = document(&["a b c"]).groups;
            take_wrapped(&mut groups, 1, Some(&base), holders);
            groups[0].0.iter().map(|key| key.wrapped().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(wrapped(&[&ours, &theirs]), ["4", "3", "5"]);
        assert_eq!(wrapped(&[&ours]), ["1", "3", ""]);
        assert_eq!(wrapped(&[]), ["", "", ""]);
    }

    #[test]
    fn shares_of_two_splits_are_not_mixed() {
        let (mut ours, mut theirs) = (document(&["a", "b"]), document(&["a", "b c"]));
        for (metadata, wrapped) in [(&mut ours, "ours"), (&mut theirs, "theirs")] {
            let keys = metadata.groups.iter_mut().flat_map(|group| &mut group.0);
            keys.for_each(|key| key.set_wrapped(wrapped.to_owned(), ""));
        }
        let wrapped = |wanted: &[&str], threshold| {
            let mut groups = document(wanted).groups;
            take_wrapped(&mut groups, threshold, None, &[&ours, &theirs]);
            groups.iter().flat_map(|group| &group.0).map(|key| key.wrapped().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(wrapped(&["a", "b"], 2), ["ours", "ours"]);
        assert_eq!(wrapped(&["a", "b c"], 2), ["theirs", "theirs", "theirs"]);
        assert_eq!(wrapped(&["a", "b c"], 1), ["", "", ""], "another threshold is another split");
        assert_eq!(wrapped(&["a d", "b"], 2), ["", "", ""]);
    }
}

//! Merging what the metadata of a document says besides its keys: the rule, the scope of the MAC, and fields of newer
//! versions.
//!
//! Invariant: what neither side says is not in the result. Where both sides say something new, each version of the
//! result has its own side's word.

use std::collections::BTreeSet;

use super::super::{Conflict, ConflictKind};
use crate::format::METADATA_KEY;
use crate::sops::Metadata;
use crate::tree::{Step, TreePath};

/// Merged metadata, its groups still those of our side.
pub(super) struct MergedMetadata {
    /// Every conflict decided for our side.
    pub ours: Metadata,
    /// Every conflict decided for their side.
    pub theirs: Metadata,
    /// The conflicts.
    pub conflicts: Vec<Conflict>,
}

/// Merges metadata but for its keys and what is new with every writing.
pub(super) fn merge(base: Option<&Metadata>, ours: &Metadata, theirs: &Metadata) -> MergedMetadata {
    let mut merged = MergedMetadata { ours: ours.clone(), theirs: ours.clone(), conflicts: Vec::new() };
    let version = newer(&ours.version, &theirs.version);
    for side in [&mut merged.ours, &mut merged.theirs] {
        version.clone_into(&mut side.version);
    }
    let rule = choose(base.map(|base| &base.selector), &ours.selector, &theirs.selector);
    let rule = merged.decide(rule, ours.selector.field());
    (merged.ours.selector, merged.theirs.selector) = (rule.0.clone(), rule.1.clone());
    let scope = choose(
        base.map(|base| &base.mac_only_encrypted),
        &ours.mac_only_encrypted,
        &theirs.mac_only_encrypted,
    );
    let scope = merged.decide(scope, "mac_only_encrypted");
    (merged.ours.mac_only_encrypted, merged.theirs.mac_only_encrypted) = (*scope.0, *scope.1);
    merged.merge_unknown(base, ours, theirs);
    merged
}

/// Returns the conflict that both sides changed a field of the metadata, each otherwise.
pub(super) fn conflict(field: &str) -> Conflict {
    let steps = [METADATA_KEY, field].map(|step| Step::Key(step.to_owned()));
    Conflict { document: 0, path: TreePath::from_iter(steps), kind: ConflictKind::Metadata }
}

/// Returns what of three is new; both sides if that differs.
pub(super) fn choose<T: PartialEq>(base: Option<T>, ours: T, theirs: T) -> Result<T, (T, T)> {
    if ours == theirs || base.as_ref() == Some(&theirs) {
        Ok(ours)
    } else if base.as_ref() == Some(&ours) {
        Ok(theirs)
    } else {
        Err((ours, theirs))
    }
}

/// Returns the older of two versions.
pub(super) fn older<'a>(left: &'a str, right: &'a str) -> &'a str {
    if parts(left) <= parts(right) { left } else { right }
}

impl MergedMetadata {
    fn merge_unknown(&mut self, base: Option<&Metadata>, ours: &Metadata, theirs: &Metadata) {
        let names: BTreeSet<&String> = ours.unknown.keys().chain(theirs.unknown.keys()).collect();
        for name in names {
            let field = choose(
                base.map(|base| base.unknown.get(name)),
                ours.unknown.get(name),
                theirs.unknown.get(name),
            );
            let (left, right) = self.decide(field, name);
            for (side, value) in [(&mut self.ours, left), (&mut self.theirs, right)] {
                match value {
                    Some(value) => side.unknown.insert(name.clone(), value.clone()),
                    None => side.unknown.shift_remove(name),
                };
            }
        }
    }

    /// Returns what each version of the result says, and notes if that differs.
    fn decide<T: Copy>(&mut self, choice: Result<T, (T, T)>, field: &str) -> (T, T) {
        choice.map_or_else(
            |sides| {
                self.conflicts.push(conflict(field));
                sides
            },
            |both| (both, both),
        )
    }
}

/// Returns the newer of two versions.
fn newer<'a>(left: &'a str, right: &'a str) -> &'a str {
    if parts(left) >= parts(right) { left } else { right }
}

/// Returns the numbers of a version; what is no number is 0.
fn parts(version: &str) -> Vec<u64> {
    let numbers = version.trim_start_matches('v').split(['.', '-', '+']).take(3);
    numbers.map(|number| number.parse().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::sops::{Selector, group};

    fn with(edit: impl FnOnce(&mut Metadata)) -> Metadata {
        let mut metadata = Metadata::new(vec![group(&["a"])]);
        edit(&mut metadata);
        metadata
    }

    fn suffix(text: &str) -> Metadata {
        with(|metadata| metadata.selector = Selector::EncryptedSuffix(text.to_owned()))
    }

    fn paths(merged: &MergedMetadata) -> Vec<String> {
        merged.conflicts.iter().map(|conflict| conflict.path.to_string()).collect()
    }

    #[test]
    fn a_rule_that_one_side_changed_is_taken_over() {
        for (ours, theirs, wanted) in [("x", "b", "x"), ("b", "x", "x"), ("x", "x", "x"), ("b", "b", "b")] {
            let merged = merge(Some(&suffix("b")), &suffix(ours), &suffix(theirs));
            assert_eq!((merged.ours.selector.text(), merged.theirs.selector.text()), (wanted, wanted));
            assert_eq!(merged.conflicts, []);
        }
    }

    #[test]
    fn two_new_rules_are_a_conflict_and_each_version_has_its_own() {
        for base in [Some(suffix("b")), None] {
            let merged = merge(base.as_ref(), &suffix("x"), &suffix("y"));
            assert_eq!((merged.ours.selector.text(), merged.theirs.selector.text()), ("x", "y"));
            assert_eq!(paths(&merged), [r#"["sops"]["encrypted_suffix"]"#]);
        }
    }

    #[test]
    fn fields_of_newer_versions_are_merged_one_by_one() {
        let unknown = |fields: Json| {
            with(|metadata| metadata.unknown = fields.as_object().cloned().unwrap_or_default())
        };
        let base = unknown(json!({"kept": 1, "gone": 2, "both": 3}));
        let ours = unknown(json!({"kept": 1, "both": 4, "new": 5}));
        let theirs = unknown(json!({"kept": 1, "gone": 2, "both": 6, "also": {"new": 7}}));
        let merged = merge(Some(&base), &ours, &theirs);
        let all = json!({"kept": 1, "both": 4, "new": 5, "also": {"new": 7}});
        assert_eq!(Json::Object(merged.ours.unknown.clone()), all);
        assert_eq!(merged.theirs.unknown["both"], 6);
        assert_eq!(paths(&merged), [r#"["sops"]["both"]"#]);
    }

    #[test]
    fn the_newer_version_is_the_one_with_the_greater_numbers() {
        assert_eq!(newer("3.9.4", "3.13.0"), "3.13.0");
        assert_eq!(newer("3.13.0", "3.9.4"), "3.13.0");
        assert_eq!(older("3.2.0", "3.13.0"), "3.2.0");
        assert_eq!(newer("dev", "3.1.0"), "3.1.0");
    }
}

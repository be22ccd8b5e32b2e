//! Merging the versions of a file with SealedSecrets.
//!
//! Sealed values are merged as texts, which needs no key. A value is sealed for a name, a namespace and a scope, and
//! only an object with these can have it opened: where the result would have a value in an object that it was not sealed
//! for, the whole file is a conflict, and its versions are those of the sides. So is the whole Secret in `spec.data`, as
//! kubeseal wrote it long ago.
//!
//! Invariant: every sealed value of a result without conflicts stands in one of the sides, in an object with the same
//! name and namespace, whatever the scope, and with the same scope.

mod values;

use std::collections::BTreeSet;

use self::values::{Sealed, misplaced};
use super::plain::{self, Merged, PlainMergeError};
use super::sops::{MergeError, MergedFile, Side};
use super::{Conflict, ConflictKind, Sides};
use crate::DecryptError;
use crate::format::Format;
use crate::sealed::{KeyRegistry, holds_sealed_secrets};
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, Tree, TreePath};

/// Tells whether two ciphertexts of one value hold the same; `None` if nobody can tell, as the private key is not at hand.
pub trait SameValue {
    /// Compares them, each with the name, namespace and scope of its SealedSecret.
    fn same(&self, ours: &SealedValue<'_>, theirs: &SealedValue<'_>) -> Option<bool>;
}

/// A sealed value with what it was sealed for.
#[derive(Clone, Copy, Debug)]
pub struct SealedValue<'a> {
    /// The SealedSecret of the file.
    pub object: &'a crate::sealed::SealedSecret,
    /// The key of the value.
    pub key: &'a str,
}

/// Merges versions of a file that holds SealedSecrets, and anything else beside them.
///
/// A value that one side changed is taken over as it is, if it is still sealed for the name, namespace and scope that
/// the result has. No private key is needed; with one, the same value sealed twice is no conflict.
///
/// # Errors
/// - [`MergeError::Open`] if a version is not of its format,
/// - [`MergeError::Encrypted`] if a version is a document of SOPS,
/// - [`MergeError::Object`] if a SealedSecret of a version cannot be read,
/// - [`MergeError::Plain`] if the versions cannot be merged.
pub fn merge(
    format: Format,
    sides: Sides<SecretBytes>,
    keys: &dyn SameValue,
) -> Result<MergedFile, MergeError> {
    // Git has an empty file for one that is not there.
    let sides = Sides { base: sides.base.filter(|base| !base.is_empty()), ..sides };
    if let Some((text, _)) = sides.unchanged() {
        return Ok(MergedFile::clean(text));
    }
    let base = sides.base.map(|base| read(format, base, Side::Base)).transpose()?;
    let ours = read(format, sides.ours, Side::Ours)?;
    let theirs = read(format, sides.theirs, Side::Theirs)?;
    let merged = merge_trees(format, Sides { base: base.as_ref(), ours: &ours, theirs: &theirs }, keys)?;
    Ok(MergedFile { ours: merged.ours, theirs: merged.theirs, conflicts: merged.conflicts })
}

/// Merges plaintexts of a document of SOPS, which may hold SealedSecrets, too.
pub(super) fn merge_opened(format: Format, sides: Sides<&Tree>) -> Result<Merged, MergeError> {
    if [sides.ours, sides.theirs].into_iter().any(holds_sealed_secrets) {
        merge_trees(format, sides, &KeyRegistry::new())
    } else {
        Ok(plain::merge(format, sides)?)
    }
}

/// Compares what private keys open, in a time that does not hang on the values.
impl SameValue for KeyRegistry {
    fn same(&self, ours: &SealedValue<'_>, theirs: &SealedValue<'_>) -> Option<bool> {
        let open = |value: &SealedValue<'_>| {
            let item = value.object.encrypted_data.get(value.key)?;
            // Who cannot open it cannot tell, whatever the reason.
            self.open(item, &value.object.label()).ok()
        };
        Some(open(ours)?.value.is_same(&open(theirs)?.value))
    }
}

fn read(format: Format, source: SecretBytes, side: Side) -> Result<Tree, MergeError> {
    let tree = format.read(source);
    let tree = tree.map_err(|error| MergeError::Open { side, error: DecryptError::Parse(error) })?;
    match tree.metadata() {
        MetadataEntry::Absent => Ok(tree),
        MetadataEntry::NotAMapping | MetadataEntry::Present(_) => Err(MergeError::Encrypted { side }),
    }
}

fn merge_trees(format: Format, sides: Sides<&Tree>, keys: &dyn SameValue) -> Result<Merged, MergeError> {
    let base = sides.base.map(|base| Sealed::read(base, Side::Base)).transpose()?;
    let ours = Sealed::read(sides.ours, Side::Ours)?;
    let theirs = Sealed::read(sides.theirs, Side::Theirs)?;
    let settled = theirs.with_equal_values_of(&ours, base.as_ref(), format, sides.theirs, keys);
    let settled = settled.map(|text| format.read(text)).transpose().map_err(|_| PlainMergeError::Loss)?;
    let merged = plain::merge(format, Sides { theirs: settled.as_ref().unwrap_or(sides.theirs), ..sides })?;
    let mut lost = BTreeSet::new();
    for text in [&merged.ours, &merged.theirs] {
        let tree = format.read(SecretBytes::from(text.expose_secret())).map_err(|_| PlainMergeError::Loss)?;
        let places = misplaced(&tree, &Sealed::read(&tree, Side::Ours)?, [&ours, &theirs]);
        lost.extend(places);
    }
    Ok(if lost.is_empty() { merged } else { apart(sides, merged.conflicts, lost) })
}

/// Returns the sides as they are, with what is no clean merge, and the values that were sealed for something else.
fn apart(sides: Sides<&Tree>, mut conflicts: Vec<Conflict>, lost: BTreeSet<(usize, TreePath)>) -> Merged {
    conflicts.retain(|conflict| !lost.contains(&(conflict.document, conflict.path.clone())));
    let kind = ConflictKind::SealedForOther;
    conflicts.extend(lost.into_iter().map(|(document, path)| Conflict { document, path, kind }));
    let copy = |side: &Tree| SecretBytes::from(side.source());
    Merged { ours: copy(sides.ours), theirs: copy(sides.theirs), conflicts }
}

#[cfg(test)]
mod tests;

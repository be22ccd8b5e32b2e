//! Which versions of documents have the same data key, and when each data key was first seen, told from what is
//! written in clear in them.
//!
//! As for [access](super::access), versions have the same data key if they have anything in common that was encrypted
//! under it, or for a key; directly, or by way of other versions. So a copy has the data key of its original, and a
//! document that was moved that which it had in its old place.

use std::collections::HashMap;

use super::access::Encryption;

/// The data keys of versions, and when each was first seen.
#[derive(Clone, Debug)]
pub struct DataKeys<Moment> {
    /// Which version each version was found to have its data key in common with; itself if it stands for all of them.
    parents: Vec<usize>,
    /// When the data key of a version that stands for others was first seen.
    first: Vec<Moment>,
    /// A version that has what was encrypted.
    holders: HashMap<u64, usize>,
}

impl<Moment: Copy + Ord> DataKeys<Moment> {
    /// Returns no data keys.
    #[must_use]
    pub fn new() -> Self {
        Self { parents: Vec::new(), first: Vec::new(), holders: HashMap::new() }
    }

    /// Adds a version that was there at a moment.
    pub fn add(&mut self, version: &Encryption, moment: Moment) {
        let own = self.parents.len();
        self.parents.push(own);
        self.first.push(moment);
        for trace in version.traces() {
            let holder = *self.holders.entry(*trace).or_insert(own);
            self.join(holder, own);
        }
    }

    /// Returns when the data key of a version was first seen, if it was.
    #[must_use]
    pub fn first_seen(&self, version: &Encryption) -> Option<Moment> {
        let holders = version.traces().iter().filter_map(|trace| self.holders.get(trace));
        holders.map(|holder| self.first[self.standing_for(*holder)]).min()
    }

    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.standing_for(left), self.standing_for(right));
        // The older stands for the younger: later versions are found in few steps.
        let (old, young) = (left.min(right), left.max(right));
        self.parents[young] = old;
        self.first[old] = self.first[old].min(self.first[young]);
    }

    fn standing_for(&self, mut version: usize) -> usize {
        while self.parents[version] != version {
            version = self.parents[version];
        }
        version
    }
}

impl<Moment: Copy + Ord> Default for DataKeys<Moment> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyGroup;
    use crate::sops::Metadata;

    /// A version in which these were encrypted.
    fn version(values: &[&str]) -> Encryption {
        let text: String = values.iter().map(|value| format!("ENC[AES256_GCM,data:{value}]\n")).collect();
        Encryption::of(text.as_bytes(), &Metadata::new(vec![KeyGroup::default()]))
    }

    fn seen(versions: &[&[&str]]) -> DataKeys<usize> {
        let mut keys = DataKeys::new();
        versions.iter().enumerate().for_each(|(at, values)| keys.add(&version(values), at));
        keys
    }

    #[test]
    fn a_data_key_is_as_old_as_the_first_version_that_has_anything_in_common() {
        let keys = seen(&[&["a", "b"], &["b", "c"], &["x"], &["x", "y"]]);
        assert_eq!(keys.first_seen(&version(&["c"])), Some(0));
        assert_eq!(keys.first_seen(&version(&["y", "z"])), Some(2));
        assert_eq!(keys.first_seen(&version(&["new"])), None);
    }

    #[test]
    fn what_links_two_versions_may_come_after_them() {
        let keys = seen(&[&["a"], &["b"], &["c"], &["c", "b"], &["b", "a"]]);
        assert_eq!(keys.first_seen(&version(&["c"])), Some(0));
        let keys = seen(&[&["a"], &["b"]]);
        assert_eq!(keys.first_seen(&version(&["b", "a"])), Some(0));
    }

    #[test]
    fn the_first_moment_counts_however_versions_come() {
        let mut keys = DataKeys::new();
        keys.add(&version(&["a"]), 7);
        keys.add(&version(&["a", "b"]), 3);
        keys.add(&version(&["b"]), 5);
        assert_eq!(keys.first_seen(&version(&["b"])), Some(3));
    }

    #[test]
    fn versions_without_anything_encrypted_have_nothing_in_common() {
        let keys = seen(&[&[], &[]]);
        assert_eq!(keys.first_seen(&version(&[])), None);
    }
}

//! What comes of a merge: the merged plaintexts, encrypted under the data key that the result has.
//!
//! Invariant: what is handed out was decrypted again, and has nothing in clear that neither side has in clear.

use rand_core::CryptoRngCore;

use super::super::{Conflict, ConflictKind, Sides, plain, sealed};
use super::metadata::{self, MergedMetadata};
use super::recipients::{self, DataKeyOf, SameKeys};
use super::version::{Version, Versions};
use super::{MergeError, MergedFile};
use crate::format::Format;
use crate::keys::{KeyGroup, KeyService};
use crate::secret::SecretBytes;
use crate::sops::{Envelope, MacCheck, Metadata, Opened, Places, SealError, Stash, WrapError};
use crate::tree::TreePath;

/// A merge of versions that were opened.
pub(super) struct Merging {
    format: Format,
    versions: Versions,
    data_key: DataKeyOf,
}

/// A version of the result.
struct Sealed {
    text: SecretBytes,
    opened: Opened,
}

impl Merging {
    /// Prepares a merge.
    pub(super) fn new(format: Format, versions: Versions) -> Self {
        let (ours, theirs) = (&versions.ours, &versions.theirs);
        let base = versions.encrypted_base();
        let has_base_key =
            |side: &Version| base.is_some_and(|base| base.envelope.has_same_key(&side.envelope));
        let same = SameKeys {
            base_and_ours: has_base_key(ours),
            base_and_theirs: has_base_key(theirs),
            sides: ours.envelope.has_same_key(&theirs.envelope),
        };
        let data_key =
            recipients::data_key(base.map(Version::metadata), ours.metadata(), theirs.metadata(), same);
        Self { format, versions, data_key }
    }

    /// Merges.
    pub(super) fn run(
        self,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<MergedFile, MergeError> {
        let (groups, threshold) = match self.groups() {
            Ok(groups) => groups,
            Err(conflict) => return Ok(self.apart(conflict)),
        };
        let plain = self.plaintexts()?;
        let Versions { ours, theirs, .. } = &self.versions;
        let base = self.base_metadata();
        let mut metadata = metadata::merge(base, ours.metadata(), theirs.metadata());
        let mut conflicts = std::mem::take(&mut metadata.conflicts);
        conflicts.extend(plain.conflicts);
        if conflicts.is_empty()
            && let Some(side) = self.same_side(&plain.ours, &metadata.ours, &groups, threshold)
        {
            return Ok(MergedFile::clean(&side.source));
        }
        let MergedMetadata { ours: for_ours, theirs: mut for_theirs, .. } = metadata;
        let envelope = self.envelope(for_ours, groups, threshold, services, now, rng)?;
        let sealed = self.seal(&envelope, &plain.ours, self.stash([ours, theirs]), now, rng)?;
        if let Some(conflict) = self.newly_clear(&sealed) {
            return Ok(self.apart(conflict));
        }
        if conflicts.is_empty() {
            return Ok(MergedFile::clean(&sealed.text));
        }
        for_theirs.take_keys_of(envelope.metadata());
        let envelope = envelope.with_metadata(for_theirs);
        // What is new in both is encrypted once.
        let mut stash = sealed.opened.stash();
        stash.absorb(self.stash([theirs, ours]));
        let other = self.seal(&envelope, &plain.theirs, stash, now, rng)?;
        if let Some(conflict) = self.newly_clear(&other) {
            return Ok(self.apart(conflict));
        }
        Ok(MergedFile { ours: sealed.text, theirs: other.text, conflicts })
    }

    /// Merges the plaintexts.
    fn plaintexts(&self) -> Result<plain::Merged, MergeError> {
        let sides = Sides {
            base: self.versions.base_plaintext(),
            ours: &self.versions.ours.plaintext,
            theirs: &self.versions.theirs.plaintext,
        };
        sealed::merge_opened(self.format, sides)
    }

    /// Merges the groups and their threshold.
    fn groups(&self) -> Result<(Vec<KeyGroup>, usize), Conflict> {
        let (ours, theirs) = (self.versions.ours.metadata(), self.versions.theirs.metadata());
        let base = self.base_metadata();
        let groups =
            recipients::groups(base, ours, theirs).ok_or_else(|| metadata::conflict("key_groups"))?;
        let threshold = metadata::choose(
            base.map(Metadata::required_groups),
            ours.required_groups(),
            theirs.required_groups(),
        );
        match threshold {
            _ if groups.len() == 1 => Ok((groups, 1)),
            Ok(threshold) if threshold <= groups.len() => Ok((groups, threshold)),
            _ => Err(metadata::conflict("shamir_threshold")),
        }
    }

    /// Returns the envelope of the result.
    fn envelope(
        &self,
        mut metadata: Metadata,
        mut groups: Vec<KeyGroup>,
        threshold: usize,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Envelope, WrapError> {
        let Versions { ours, theirs, .. } = &self.versions;
        let holders: Vec<_> = self.holders([ours, theirs]).map(Version::metadata).collect();
        recipients::take_wrapped(&mut groups, threshold, self.base_metadata(), &holders);
        metadata.shamir_threshold = if groups.len() == 1 { 0 } else { threshold };
        metadata.groups = groups;
        let side = match self.data_key {
            DataKeyOf::Neither => {
                return pollster::block_on(Envelope::create(metadata, services, now, rng));
            }
            DataKeyOf::Ours => ours,
            DataKeyOf::Theirs => theirs,
        };
        if metadata.has_mixed_up_contexts() {
            // A new version would say that these keys hold what they do under the contexts that they name.
            metadata::older(&ours.metadata().version, &theirs.metadata().version)
                .clone_into(&mut metadata.version);
        }
        let groups = metadata.groups.clone();
        let is_whole = groups.iter().flat_map(|group| &group.0).all(|key| !key.wrapped().is_empty());
        let mut envelope = side.envelope.with_metadata(metadata);
        if !is_whole {
            pollster::block_on(envelope.wrap_missing(groups, threshold, services, now, rng))?;
        }
        Ok(envelope)
    }

    /// Encrypts a plaintext, and decrypts it again.
    fn seal(
        &self,
        envelope: &Envelope,
        plaintext: &SecretBytes,
        stash: Stash,
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Sealed, SealError> {
        let format = self.format;
        let read = |text: &SecretBytes| format.read(SecretBytes::from(text.expose_secret()));
        let text = envelope.seal(format, read(plaintext)?, stash, now, rng)?.in_place()?;
        let tree = read(&text)?;
        let metadata = Metadata::from_entry(tree.metadata()).map_err(SealError::Metadata)?;
        let opened = envelope.with_metadata(metadata).open(format, tree, MacCheck::Require)?;
        Ok(Sealed { text, opened })
    }

    /// Returns a conflict if something is in clear that no side has in clear.
    fn newly_clear(&self, sealed: &Sealed) -> Option<Conflict> {
        let known = [&self.versions.ours, &self.versions.theirs].map(|side| side.opened.in_clear());
        let node = sealed.opened.first_newly_clear(&known)?;
        let tree = sealed.opened.tree();
        let place = |node| Places::new(tree).advance(node);
        let is_comment = matches!(tree.node(node).value, crate::tree::Value::Comment(_));
        let (document, path) =
            if is_comment { (tree.document_of(node), TreePath::new()) } else { place(node) };
        Some(Conflict { document, path, kind: ConflictKind::Metadata })
    }

    /// Returns the side that says all that the result says, and can be read by the same recipients.
    fn same_side(
        &self,
        plaintext: &SecretBytes,
        metadata: &Metadata,
        groups: &[KeyGroup],
        threshold: usize,
    ) -> Option<&Version> {
        let Versions { ours, theirs, .. } = &self.versions;
        self.holders([ours, theirs]).find(|side| {
            let own = side.metadata();
            side.plaintext.source() == plaintext.expose_secret()
                && own.selector == metadata.selector
                && own.mac_only_encrypted == metadata.mac_only_encrypted
                && own.unknown == metadata.unknown
                && (own.required_groups() == threshold || groups.len() == 1)
                && recipients::is_same(&own.groups, groups)
        })
    }

    /// Returns the ciphertexts of the sides that have the data key of the result, those of the first one before others.
    fn stash(&self, sides: [&Version; 2]) -> Stash {
        let mut stash = Stash::of_document();
        self.holders(sides).for_each(|side| stash.absorb(side.opened.stash()));
        stash
    }

    /// Returns those of the sides that have the data key of the result.
    fn holders<'a>(&self, sides: [&'a Version; 2]) -> impl Iterator<Item = &'a Version> + use<'a> {
        let envelope = match self.data_key {
            DataKeyOf::Neither => None,
            DataKeyOf::Ours => Some(&self.versions.ours.envelope),
            DataKeyOf::Theirs => Some(&self.versions.theirs.envelope),
        };
        let has_key =
            |side: &&Version| envelope.is_some_and(|envelope| envelope.has_same_key(&side.envelope));
        let holders: Vec<_> = sides.into_iter().filter(has_key).collect();
        holders.into_iter()
    }

    fn base_metadata(&self) -> Option<&Metadata> {
        self.versions.encrypted_base().map(Version::metadata)
    }

    /// Returns the sides as they are: nothing of one may get into the other.
    fn apart(self, conflict: Conflict) -> MergedFile {
        let Versions { ours, theirs, .. } = self.versions;
        MergedFile { ours: ours.source, theirs: theirs.source, conflicts: vec![conflict] }
    }
}

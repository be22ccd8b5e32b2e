//! The versions of a document that are merged: read, opened, their MACs checked, and in clear.
//!
//! Invariant: nothing that a version says is there before its MAC has been checked.

use super::super::Sides;
use super::{MergeError, Side};
use crate::DecryptError;
use crate::format::Format;
use crate::keys::KeyService;
use crate::secret::SecretBytes;
use crate::sops::{BY_EFFORT, Envelope, MacCheck, Metadata, MetadataError, Opened, RecoverError};
use crate::tree::{MetadataEntry, Tree};

/// A version that was opened.
pub(super) struct Version {
    /// The version as it is in Git.
    pub source: SecretBytes,
    /// Its data key with its metadata.
    pub envelope: Envelope,
    /// What it says.
    pub opened: Opened,
    /// Its text in clear.
    pub plaintext: Tree,
}

/// What both sides come from.
pub(super) enum Base {
    /// Nothing: both added the file.
    Absent,
    /// A version in clear, which both sides encrypted.
    Clear(Tree),
    /// A version that is encrypted.
    Encrypted(Box<Version>),
}

/// The versions of a document.
pub(super) struct Versions {
    /// What both come from.
    pub base: Base,
    /// The version that is merged into.
    pub ours: Version,
    /// The version whose changes are taken over.
    pub theirs: Version,
}

impl Versions {
    /// Opens all versions. One whose own keys do not help is opened with the data key of another one that has the same.
    pub(super) fn open(
        format: Format,
        sides: Sides<SecretBytes>,
        services: &[&dyn KeyService],
    ) -> Result<Self, MergeError> {
        let read = |side, source| Read::new(format, source, side);
        let mut found = vec![read(Side::Ours, sides.ours)?, read(Side::Theirs, sides.theirs)?];
        for read in &found {
            read.require_encrypted()?;
        }
        let base = sides.base.map(|base| read(Side::Base, base)).transpose()?;
        let (encrypted, clear) = match base {
            None => (None, None),
            Some(base) if base.is_clear() => (None, Some(base)),
            Some(base) => (Some(base), None),
        };
        found.extend(encrypted);
        let mut opened = open_all(format, found, services)?.into_iter();
        let (Some(ours), Some(theirs)) = (opened.next(), opened.next()) else {
            unreachable!("both sides were opened");
        };
        let base = match (opened.next(), clear) {
            (Some(base), _) => Base::Encrypted(Box::new(base)),
            (None, Some(clear)) => Base::Clear(clear.tree),
            (None, None) => Base::Absent,
        };
        Ok(Self { base, ours, theirs })
    }

    /// Returns what both sides come from, in clear.
    pub(super) fn base_plaintext(&self) -> Option<&Tree> {
        match &self.base {
            Base::Absent => None,
            Base::Clear(tree) => Some(tree),
            Base::Encrypted(version) => Some(&version.plaintext),
        }
    }

    /// Returns the version that both sides come from, if it is encrypted.
    pub(super) fn encrypted_base(&self) -> Option<&Version> {
        match &self.base {
            Base::Encrypted(version) => Some(version),
            Base::Absent | Base::Clear(_) => None,
        }
    }
}

impl Version {
    /// Returns the metadata.
    pub(super) const fn metadata(&self) -> &Metadata {
        self.envelope.metadata()
    }
}

/// Makes sure that a version is encrypted, without opening it.
pub(super) fn require_encrypted(format: Format, source: &SecretBytes, side: Side) -> Result<(), MergeError> {
    Read::new(format, SecretBytes::from(source.expose_secret()), side)?.require_encrypted()
}

/// A version that was read.
struct Read {
    side: Side,
    source: SecretBytes,
    tree: Tree,
}

impl Read {
    fn new(format: Format, source: SecretBytes, side: Side) -> Result<Self, MergeError> {
        let tree = format.read(SecretBytes::from(source.expose_secret()));
        Ok(Self { side, source, tree: tree.map_err(|error| failed(side, error))? })
    }

    fn is_clear(&self) -> bool {
        *self.tree.metadata() == MetadataEntry::Absent
    }

    fn require_encrypted(&self) -> Result<(), MergeError> {
        match self.metadata() {
            Ok(_) => Ok(()),
            Err(MetadataError::Missing) => Err(MergeError::NotEncrypted { side: self.side }),
            Err(error) => Err(failed(self.side, error)),
        }
    }

    fn metadata(&self) -> Result<Metadata, MetadataError> {
        let mut metadata = Metadata::from_entry(self.tree.metadata())?;
        metadata.keep_unknown(self.tree.metadata());
        Ok(metadata)
    }

    fn open(self, format: Format, envelope: Envelope) -> Result<Version, MergeError> {
        let side = self.side;
        let opened = envelope.open(format, self.tree, MacCheck::Require);
        let opened = opened.map_err(|error| failed(side, error))?;
        let plaintext = opened.plaintext().map_err(|error| failed(side, error))?;
        let plaintext = format.read(plaintext).map_err(|error| failed(side, error))?;
        Ok(Version { source: self.source, envelope, opened, plaintext })
    }
}

fn open_all(
    format: Format,
    found: Vec<Read>,
    services: &[&dyn KeyService],
) -> Result<Vec<Version>, MergeError> {
    let mut envelopes: Vec<Result<Envelope, (Metadata, RecoverError)>> = Vec::new();
    for read in &found {
        let metadata = read.metadata().map_err(|error| failed(read.side, error))?;
        envelopes.push(match with_key_of(&envelopes, &metadata) {
            Some(envelope) => Ok(envelope),
            None => {
                let recovered = Envelope::recover(metadata.clone(), services, BY_EFFORT);
                pollster::block_on(recovered).map_err(|error| (metadata, error))
            }
        });
    }
    let mut all = Vec::new();
    for (at, read) in found.iter().enumerate() {
        all.push(match &envelopes[at] {
            Ok(envelope) => envelope.with_metadata(envelope.metadata().clone()),
            Err((metadata, error)) => {
                with_key_of(&envelopes, metadata).ok_or_else(|| failed(read.side, error.clone()))?
            }
        });
    }
    found.into_iter().zip(all).map(|(read, envelope)| read.open(format, envelope)).collect()
}

/// Returns an envelope with the data key of a version that has the same as the one with this metadata.
fn with_key_of<E>(known: &[Result<Envelope, E>], metadata: &Metadata) -> Option<Envelope> {
    let mut known = known.iter().filter_map(|envelope| envelope.as_ref().ok());
    known.find(|envelope| envelope.fits(metadata)).map(|envelope| envelope.with_metadata(metadata.clone()))
}

fn failed(side: Side, error: impl Into<DecryptError>) -> MergeError {
    MergeError::Open { side, error: error.into() }
}

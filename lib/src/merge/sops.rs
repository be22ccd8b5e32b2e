//! Merging the versions of a SOPS document: their plaintexts, and their metadata.
//!
//! # Who can read the result
//! A recipient that either side removed is not in the result, one that either side added is. What follows holds for the
//! recipients of one group, and of groups if all versions have as many; if not, or if nobody would be left in a group,
//! the recipients are a conflict, as are two new thresholds.
//!
//! | our side | their side | data key of the result | recipients |
//! |---|---|---|---|
//! | kept the data key | kept it | the same | merged |
//! | has a new one | kept it | ours | merged; for those that theirs added it is wrapped |
//! | kept it | has a new one | theirs | merged; for those that ours added it is wrapped |
//! | has a new one | has the same new one | that | merged |
//! | has a new one | has another, and removed nobody who is a recipient of ours | ours | merged; wrapped for those of theirs |
//! | has a new one | has another, and removed recipients of ours; ours removed none of theirs | theirs | merged; wrapped for those of ours |
//! | has a new one | has another; both removed recipients of the other | a new one | merged; wrapped for all |
//! | added the file | added it, with another data key | ours | the same in both, else a conflict |
//!
//! So whoever a side removed together with a new data key does not know that of the result. Whoever a side removed without
//! one knows it as before. Keys that held the data key of the result in a side keep what they hold, so that no service is
//! asked; shares of several groups fit together only as one side has them, and else are split anew. A service that is
//! needed and cannot be reached is an error: nothing was merged then, and the merge can be made again.
//!
//! # What is encrypted
//! By the rule that one side changed, or both have. Two new rules are a conflict. Nothing is in clear in the result
//! that is not in clear, in the same place, in one of the sides: where the merged rule would do that, for a value that the
//! other side encrypted, the whole file is a conflict, and its versions are those of the sides.
//!
//! Values keep the ciphertext that they have in a side with the data key of the result.

mod metadata;
mod recipients;
mod result;
mod version;

use rand_core::CryptoRngCore;

use self::result::Merging;
use self::version::{Versions, require_encrypted};
use super::plain::PlainMergeError;
use super::{Conflict, Sides};
use crate::DecryptError;
use crate::format::Format;
use crate::keys::KeyService;
use crate::sealed::SealedSecretError;
use crate::secret::SecretBytes;
use crate::sops::{SealError, WrapError};

/// What came of a merge of encrypted files: whole files, with their metadata and a MAC.
pub struct MergedFile {
    /// The file, every conflict decided for our side.
    pub ours: SecretBytes,
    /// The file, every conflict decided for their side. The same text if there is no conflict.
    pub theirs: SecretBytes,
    /// The conflicts, in the order of our side.
    pub conflicts: Vec<Conflict>,
}

/// Which version of a file it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What both come from.
    Base,
    /// The version that is merged into.
    Ours,
    /// The version whose changes are taken over.
    Theirs,
}

/// Why versions of a file could not be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A version is a document of SOPS, of which nothing can be merged without opening it.
    #[error("the version of {side} is encrypted by SOPS as a whole")]
    Encrypted {
        /// The version.
        side: Side,
    },
    /// A version is not encrypted: a merge would write what is secret in clear.
    #[error("the version of {side} is not encrypted, so that a merge would write secrets in clear")]
    NotEncrypted {
        /// The version.
        side: Side,
    },
    /// A SealedSecret of a version cannot be read.
    #[error("the version of {side} has a SealedSecret that cannot be read: line {line}: {error}")]
    Object {
        /// The version.
        side: Side,
        /// The line of the object.
        line: usize,
        /// Why not.
        error: SealedSecretError,
    },
    /// A version cannot be opened.
    #[error("the version of {side} cannot be opened: {error}")]
    Open {
        /// The version.
        side: Side,
        /// Why not.
        error: DecryptError,
    },
    /// The plaintexts cannot be merged.
    #[error(transparent)]
    Plain(#[from] PlainMergeError),
    /// What came of it cannot be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The data key cannot be wrapped for the keys of the other side.
    #[error(transparent)]
    Wrap(#[from] WrapError),
}

impl std::fmt::Display for Side {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Base => "the common ancestor",
            Self::Ours => "our side",
            Self::Theirs => "their side",
        })
    }
}

/// Merges versions of a SOPS document. `now` is RFC 3339. A version of the sides that is not encrypted is an error.
///
/// If one side is the base byte for byte, the result is the other one, and no key is needed.
///
/// # Errors
/// - [`MergeError::NotEncrypted`] if a side is in clear,
/// - [`MergeError::Open`] if a version cannot be opened or its MAC is wrong,
/// - [`MergeError::Plain`] if the plaintexts cannot be merged,
/// - [`MergeError::Seal`] and [`MergeError::Wrap`] if what comes of the merge cannot be encrypted.
pub fn merge(
    format: Format,
    sides: Sides<SecretBytes>,
    services: &[&dyn KeyService],
    now: &str,
    rng: &mut dyn CryptoRngCore,
) -> Result<MergedFile, MergeError> {
    // Git has an empty file for one that is not there.
    let sides = Sides { base: sides.base.filter(|base| !base.is_empty()), ..sides };
    match sides.unchanged() {
        Some((text, side)) => {
            require_encrypted(format, text, side)?;
            Ok(MergedFile::clean(text))
        }
        None => Merging::new(format, Versions::open(format, sides, services)?).run(services, now, rng),
    }
}

impl MergedFile {
    /// Returns a file without conflicts.
    pub(super) fn clean(text: &SecretBytes) -> Self {
        let copy = || SecretBytes::from(text.expose_secret());
        Self { ours: copy(), theirs: copy(), conflicts: Vec::new() }
    }
}

impl Sides<SecretBytes> {
    /// Returns the side that is the result whatever it says, as the other one is as it was, or both are the same.
    pub(super) fn unchanged(&self) -> Option<(&SecretBytes, Side)> {
        let is_base = |side| self.base.as_ref().is_some_and(|base| base.is_same(side));
        if self.ours.is_same(&self.theirs) || is_base(&self.theirs) {
            Some((&self.ours, Side::Ours))
        } else {
            is_base(&self.ours).then_some((&self.theirs, Side::Theirs))
        }
    }
}

#[cfg(test)]
mod tests;

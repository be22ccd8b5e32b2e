//! A document's data key with its metadata: made for new documents, recovered for encrypted ones.

use rand_core::CryptoRngCore;

use super::cipher::Cipher;
use super::groups::{self, RecoverError, WrapError};
use super::metadata::Metadata;
use super::opened::{OpenError, Opened};
use super::sealed::{SealError, Sealed};
use super::stash::Stash;
use crate::format::Format;
use crate::keys::{DataKey, KeyGroup, KeyService};
use crate::tree::Tree;

/// A document's data key with its metadata.
pub struct Envelope {
    metadata: Metadata,
    data_key: DataKey,
}

/// What to do with a document's MAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacCheck {
    /// Read the document even if its MAC is missing or wrong.
    Ignore,
    /// Refuse the document if its MAC is missing or wrong.
    #[default]
    Require,
}

impl Envelope {
    /// Draws a new data key and wraps it for the groups of `metadata`. `now` is RFC 3339.
    ///
    /// # Errors
    /// If there is no key, the threshold does not fit, or a key fails.
    pub async fn create(
        mut metadata: Metadata,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, WrapError> {
        let data_key = DataKey::generate(rng);
        groups::wrap(&data_key, &mut metadata.groups, metadata.shamir_threshold, services, now, rng).await?;
        Ok(Self { metadata, data_key })
    }

    /// Recovers the data key of an encrypted document; in each group the kinds of `order` are tried first.
    ///
    /// # Errors
    /// If too few groups recover their part; the error tells what became of each key.
    pub async fn recover(
        metadata: Metadata,
        services: &[&dyn KeyService],
        order: &[&str],
    ) -> Result<Self, RecoverError> {
        let required = metadata.required_groups();
        let data_key = groups::recover(&metadata.groups, required, services, order).await?;
        Ok(Self { metadata, data_key })
    }

    /// Wraps the same data key for other groups. Whoever knew it still does: see [`Self::renew`].
    ///
    /// # Errors
    /// If a group is empty, the threshold does not fit, or a key fails; the envelope is then unchanged.
    pub async fn rewrap(
        &mut self,
        mut groups: Vec<KeyGroup>,
        threshold: usize,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), WrapError> {
        groups::wrap(&self.data_key, &mut groups, threshold, services, now, rng).await?;
        self.metadata.groups = groups;
        self.metadata.shamir_threshold = threshold;
        Ok(())
    }

    /// Returns an envelope with a new data key for the same groups. Values must be sealed anew, without
    /// a stash.
    ///
    /// # Errors
    /// If a key fails.
    pub async fn renew(
        &self,
        services: &[&dyn KeyService],
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, WrapError> {
        Self::create(self.metadata.clone(), services, now, rng).await
    }

    /// Decrypts a document and checks its MAC.
    ///
    /// # Errors
    /// If a value or the MAC cannot be decrypted, or the MAC is not that of the values.
    pub fn open(&self, format: Format, tree: Tree, check: MacCheck) -> Result<Opened, OpenError> {
        Opened::open(self.metadata.clone(), &self.cipher(), format, tree, check)
    }

    /// Encrypts a plain document. Values that `stash` knows keep their ciphertext. `now` is RFC 3339 and
    /// becomes the document's last modification.
    ///
    /// # Errors
    /// If the document is encrypted already, holds what SOPS cannot, or the rule selects none of its values
    /// while the stash is empty.
    pub fn seal(
        &self,
        format: Format,
        tree: Tree,
        stash: Stash,
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Sealed<'_>, SealError> {
        Sealed::seal(self, format, tree, stash, now, rng)
    }

    /// Returns the metadata.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the metadata to change: what it says takes effect with the next document sealed.
    pub const fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    pub(crate) fn cipher(&self) -> Cipher {
        Cipher::new(&self.data_key)
    }
}

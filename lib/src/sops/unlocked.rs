//! SOPS documents as one of the schemes: a decrypted document with what encrypts it again.

use std::collections::BTreeSet;

use rand_core::CryptoRngCore;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::audit::{Doubt, inspect, inspect_opened};
use super::envelope::Envelope;
use super::metadata::Metadata;
use super::opened::{OpenError, Opened};
use super::recovery::BY_EFFORT;
use super::sealed::SealError;
use crate::format::{Format, METADATA_KEY, MetadataEdit, Rewrite, WriteError};
use crate::scheme::{KeySource, Keys, OpenDocument, Scheme, SchemeError};
use crate::sealed::SealingCert;
use crate::secret::SecretBytes;
use crate::template::Surroundings;
use crate::tree::{MetadataEntry, NodeId, Tree};

/// The scheme of SOPS: values encrypted one by one under a data key, with a MAC over all of them.
pub struct Sops;

/// A document that was decrypted, with the envelope to encrypt it again.
pub struct Unlocked {
    /// The data key and the metadata.
    pub envelope: Envelope,
    /// The decrypted document.
    pub opened: Opened,
}

/// A document that was encrypted again.
pub struct Resealed {
    /// The encrypted document.
    pub text: SecretBytes,
    /// How many values and comments are encrypted.
    pub encrypted: usize,
    /// How many of them kept their ciphertext.
    pub reused: usize,
}

impl Scheme for Sops {
    fn name(&self) -> &'static str {
        "SOPS"
    }

    fn key_source(&self) -> KeySource {
        KeySource::KeyServices
    }

    fn may_be_in(&self, text: &[u8]) -> bool {
        // No document without an encrypted MAC is encrypted.
        text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED)
    }

    fn is_in(&self, tree: &Tree) -> bool {
        *tree.metadata() != MetadataEntry::Absent
    }

    fn open<'a>(
        &self,
        format: Format,
        tree: Tree,
        keys: &Keys<'a>,
    ) -> Result<Box<dyn OpenDocument + 'a>, SchemeError> {
        let metadata = Metadata::from_entry(tree.metadata())?;
        let envelope = Envelope::recover(metadata, keys.services, BY_EFFORT);
        let envelope = pollster::block_on(envelope)?;
        let opened = envelope.open(format, tree, keys.mac)?;
        Ok(Box::new(Unlocked { envelope, opened }))
    }
}

impl Unlocked {
    /// Encrypts a plaintext of the document; values that did not change keep their ciphertext. `now` is RFC 3339.
    ///
    /// # Errors
    /// If the text is not of its format, or cannot be encrypted.
    pub fn reseal(
        &self,
        plaintext: &SecretBytes,
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Resealed, SchemeError> {
        let format = self.opened.format();
        let tree = format.read(SecretBytes::from(plaintext.expose_secret()))?;
        if Sops.is_in(&tree) {
            return Err(SealError::Write(WriteError::ReservedKey(METADATA_KEY.to_owned())).into());
        }
        let sealed = self.envelope.seal(format, tree, self.opened.stash(), now, rng)?;
        let (encrypted, reused) = (sealed.encrypted_count(), sealed.reused_count());
        Ok(Resealed { text: sealed.in_place()?, encrypted, reused })
    }

    /// Encrypts a plaintext of the document, unless it says what the document says already.
    ///
    /// # Errors
    /// If the text is not of its format, or cannot be encrypted.
    pub fn reseal_if_changed(
        &self,
        plaintext: &SecretBytes,
        now: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Option<Resealed>, SchemeError> {
        if self.opened.plaintext()?.expose_secret() == plaintext.expose_secret() {
            return Ok(None);
        }
        let resealed = self.reseal(plaintext, now, rng)?;
        Ok((!self.differs_in_metadata_alone(&resealed)?).then_some(resealed))
    }

    /// Returns whether time, MAC and the like are all that is new in an encrypted document. How values
    /// are spelled is kept in the metadata, so a document with spellings is never taken for the same.
    fn differs_in_metadata_alone(&self, resealed: &Resealed) -> Result<bool, SchemeError> {
        if resealed.encrypted != resealed.reused {
            return Ok(false);
        }
        let format = self.opened.format();
        let old = format.read(SecretBytes::from(self.opened.tree().source()))?;
        let new = format.read(SecretBytes::from(resealed.text.expose_secret()))?;
        let has_spellings = |tree: &Tree| match tree.metadata() {
            MetadataEntry::Present(entry) => entry.contains_key("selkie_layout"),
            _ => false,
        };
        let same_content = without_metadata(format, &old).map_err(OpenError::Write)?.expose_secret()
            == without_metadata(format, &new).map_err(OpenError::Write)?.expose_secret();
        Ok(same_content && !has_spellings(&old) && !has_spellings(&new))
    }
}

impl OpenDocument for Unlocked {
    fn tree(&self) -> &Tree {
        self.opened.tree()
    }

    fn decrypted(&self) -> BTreeSet<NodeId> {
        self.opened.decrypted().collect()
    }

    fn plaintext(&self) -> Result<SecretBytes, SchemeError> {
        Ok(self.opened.plaintext()?)
    }

    fn seal(
        &self,
        plaintext: &SecretBytes,
        _cert: Option<&SealingCert>,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Option<SecretBytes>, SchemeError> {
        let resealed = self.reseal_if_changed(plaintext, &text_of(surroundings.now), surroundings.rng)?;
        Ok(resealed.map(|resealed| resealed.text))
    }

    fn make_whole(&self, surroundings: &mut Surroundings<'_>) -> Result<Option<SecretBytes>, SchemeError> {
        let resealed = self.reseal(&self.plaintext()?, &text_of(surroundings.now), surroundings.rng)?;
        Ok(Some(resealed.text))
    }

    fn unreadable_comments(&self) -> usize {
        self.opened.unreadable_comments()
    }

    fn doubts(&self) -> Vec<Doubt> {
        let format = self.opened.format();
        // It was read before, so that it can be read.
        let tree = format.read(SecretBytes::from(self.opened.tree().source()));
        let mut doubts = tree.map(|tree| inspect(format, &tree, self.opened.metadata())).unwrap_or_default();
        doubts.extend(inspect_opened(&self.opened));
        doubts
    }

    fn metadata(&self) -> Option<&Metadata> {
        Some(self.envelope.metadata())
    }
}

/// Returns a document without its metadata: what two versions have in common but for time, MAC and keys.
///
/// # Errors
/// If the metadata cannot be taken out.
pub fn without_metadata(format: Format, tree: &Tree) -> Result<SecretBytes, WriteError> {
    let rewrite = Rewrite { metadata: MetadataEdit::Remove, ..Rewrite::default() };
    format.store().rewrite(tree, &rewrite)
}

/// Returns a time as SOPS writes it: RFC 3339 in UTC, whole seconds.
fn text_of(moment: OffsetDateTime) -> String {
    let moment = moment.to_offset(time::UtcOffset::UTC).truncate_to_second();
    moment.format(&Rfc3339).expect("the year of a clock has four digits")
}

/// How every encrypted value starts.
const ENCRYPTED: &[u8] = b"ENC[AES256_GCM,";

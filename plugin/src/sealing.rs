//! Opening documents with the keys at hand, and sealing them again.

use rand::rngs::OsRng;
use selkie::format::{Format, METADATA_KEY, MetadataEdit, Rewrite, WriteError};
use selkie::secret::SecretBytes;
use selkie::sops::{DEFAULT_DECRYPTION_ORDER, Envelope, MacCheck, Metadata, Opened, SealError, Stash};
use selkie::tree::{MetadataEntry, Tree};

use crate::context::Context;
use crate::document::is_encrypted;
use crate::failure::Failure;

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

impl Unlocked {
    /// Encrypts a plaintext of the document; values that did not change keep their ciphertext.
    ///
    /// # Errors
    /// If the text is not of its format, or cannot be encrypted.
    pub fn seal(&self, context: &Context<'_>, plaintext: &SecretBytes) -> Result<Resealed, Failure> {
        let format = self.opened.format();
        let tree = format.read(SecretBytes::from(plaintext.expose_secret()))?;
        refuse_reserved(&tree)?;
        let stash = self.opened.stash();
        let sealed = self.envelope.seal(format, tree, stash, &context.session.now(), &mut OsRng)?;
        let (encrypted, reused) = (sealed.encrypted_count(), sealed.reused_count());
        Ok(Resealed { text: sealed.in_place()?, encrypted, reused })
    }

    /// Encrypts a plaintext of the document, unless it says what the document says already.
    ///
    /// # Errors
    /// If the text is not of its format, or cannot be encrypted.
    pub fn seal_if_changed(
        &self,
        context: &Context<'_>,
        plaintext: &SecretBytes,
    ) -> Result<Option<Resealed>, Failure> {
        if self.opened.plaintext()?.expose_secret() == plaintext.expose_secret() {
            return Ok(None);
        }
        let resealed = self.seal(context, plaintext)?;
        Ok((!self.differs_in_metadata_alone(&resealed)?).then_some(resealed))
    }

    /// Returns whether time, MAC and the like are all that is new in an encrypted document. How values
    /// are spelled is kept in the metadata, so a document with spellings is never taken for the same.
    fn differs_in_metadata_alone(&self, resealed: &Resealed) -> Result<bool, Failure> {
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
        let same_content = without_metadata(format, &old)?.expose_secret()
            == without_metadata(format, &new)?.expose_secret();
        Ok(same_content && !has_spellings(&old) && !has_spellings(&new))
    }
}

/// Decrypts a tree.
///
/// # Errors
/// If it is not encrypted, no key at hand fits, or it was changed without one.
pub fn unlock(
    context: &Context<'_>,
    format: Format,
    tree: Tree,
    check: MacCheck,
) -> Result<Unlocked, Failure> {
    let metadata = Metadata::from_entry(tree.metadata())?;
    let envelope = recover(context, metadata)?;
    let opened = envelope.open(format, tree, check)?;
    Ok(Unlocked { envelope, opened })
}

/// Recovers the data key that metadata holds.
///
/// # Errors
/// If no key at hand fits.
pub fn recover(context: &Context<'_>, metadata: Metadata) -> Result<Envelope, Failure> {
    context.warn_of_exposed_identities();
    let services = context.services()?;
    Ok(pollster::block_on(Envelope::recover(metadata, &services, DEFAULT_DECRYPTION_ORDER))?)
}

/// Encrypts a plain document with a new data key.
///
/// # Errors
/// If a key cannot wrap the data key, or the document cannot be encrypted.
pub fn seal_anew(
    context: &Context<'_>,
    metadata: Metadata,
    format: Format,
    tree: Tree,
    output: Format,
) -> Result<(SecretBytes, usize), Failure> {
    let now = context.session.now();
    let services = context.services()?;
    let envelope = pollster::block_on(Envelope::create(metadata, &services, &now, &mut OsRng))?;
    let sealed = envelope.seal(format, tree, Stash::new(), &now, &mut OsRng)?;
    let count = sealed.encrypted_count();
    if output == format {
        return Ok((sealed.in_place()?, count));
    }
    let written = sealed.write(output, &context.write_options(output)?);
    let written = written.map_err(|error| match error {
        SealError::Write(error) => Failure::Conversion(error),
        error => error.into(),
    });
    Ok((written?, count))
}

/// Returns an encrypted document with other metadata, and nothing else changed.
///
/// # Errors
/// If the metadata cannot be written, or the document does not read back.
pub fn with_metadata(format: Format, tree: &Tree, metadata: &Metadata) -> Result<SecretBytes, Failure> {
    Ok(metadata.replace_in(format, tree)?)
}

/// Returns a document without its metadata: what the two have in common but for time, MAC and keys.
///
/// # Errors
/// If the metadata cannot be taken out.
pub fn without_metadata(format: Format, tree: &Tree) -> Result<SecretBytes, Failure> {
    let rewrite = Rewrite { metadata: MetadataEdit::Remove, ..Rewrite::default() };
    Ok(format.store().rewrite(tree, &rewrite)?)
}

/// Makes sure that nothing in a plain document takes the place of the metadata.
///
/// # Errors
/// If it is encrypted already, or has a key that is reserved.
pub fn refuse_encrypted(tree: &Tree) -> Result<(), Failure> {
    match Metadata::from_entry(tree.metadata()) {
        Ok(_) => Err(Failure::AlreadyEncrypted),
        Err(_) => refuse_reserved(tree),
    }
}

fn refuse_reserved(tree: &Tree) -> Result<(), Failure> {
    if is_encrypted(tree) {
        return Err(Failure::Write(WriteError::ReservedKey(METADATA_KEY.to_owned())));
    }
    Ok(())
}

//! Opening documents with the keys at hand, and sealing them again.

use rand::rngs::OsRng;
use selkie::format::{Format, METADATA_KEY, WriteError};
use selkie::keys::{Effort, KeyService};
use selkie::scheme::Scheme;
use selkie::sealed::SealedSecrets;
use selkie::secret::SecretBytes;
use selkie::sops::{BY_EFFORT, Envelope, MacCheck, Metadata, MetadataError, SealError, Stash, Unlocked};
use selkie::tree::Tree;

use crate::context::Context;
use crate::document::is_encrypted;
use crate::failure::Failure;
use crate::key_services::AtHand;

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
    let metadata = metadata_of(&tree)?;
    let envelope = recover(context, metadata)?;
    let opened = envelope.open(format, tree, check)?;
    Ok(Unlocked { envelope, opened })
}

/// Opens a document as [`unlock()`] does, with what this machine has alone: no server is asked. `None` if one would
/// have to be.
///
/// # Errors
/// If it is not encrypted, no key fits, or it was changed without one.
pub fn unlock_at_hand(
    context: &Context<'_>,
    format: Format,
    tree: Tree,
) -> Result<Option<Unlocked>, Failure> {
    let metadata = metadata_of(&tree)?;
    context.warn_of_exposed_identities();
    let services = context.services()?;
    let is_remote = |key| services.iter().any(|service| service.effort(key) == Effort::Remote);
    let has_remote = metadata.groups.iter().flat_map(|group| &group.0).any(is_remote);
    let at_hand: Vec<_> = services.iter().map(|&service| AtHand(service)).collect();
    let at_hand: Vec<_> = at_hand.iter().map(|service| service as &dyn KeyService).collect();
    let envelope = match pollster::block_on(Envelope::recover(metadata, &at_hand, BY_EFFORT)) {
        Err(_) if has_remote => return Ok(None),
        recovered => recovered?,
    };
    let opened = envelope.open(format, tree, MacCheck::Require)?;
    Ok(Some(Unlocked { envelope, opened }))
}

/// Returns the metadata of a document of SOPS.
///
/// # Errors
/// If it has none that can be used.
pub fn metadata_of(tree: &Tree) -> Result<Metadata, Failure> {
    Metadata::from_entry(tree.metadata()).map_err(|error| match error {
        MetadataError::Missing if SealedSecrets.is_in(tree) => Failure::SealedSecret,
        error => error.into(),
    })
}

/// Recovers the data key that metadata holds.
///
/// # Errors
/// If no key at hand fits.
pub fn recover(context: &Context<'_>, metadata: Metadata) -> Result<Envelope, Failure> {
    context.warn_of_exposed_identities();
    let services = context.services()?;
    Ok(pollster::block_on(Envelope::recover(metadata, &services, BY_EFFORT))?)
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

//! Opening documents with the keys at hand, and sealing them again: the one place where that is done, so that nothing
//! goes past the audit log.

use std::path::Path;

use rand::rngs::OsRng;
use selkie::format::{Format, METADATA_KEY, WriteError};
use selkie::keys::{Effort, KeyError, KeyService};
use selkie::scheme::Scheme;
use selkie::sealed::SealedSecrets;
use selkie::secret::SecretBytes;
use selkie::sops::{
    BY_EFFORT, Envelope, MacCheck, Metadata, MetadataError, RecoverError, Resealed, SealError, Sealed, Stash,
    Unlocked,
};
use selkie::tree::Tree;

use crate::audit::Deed;
use crate::context::Context;
use crate::document::is_encrypted;
use crate::failure::Failure;
use crate::key_services::AtHand;

/// Decrypts a tree; `file` is where it comes from, if that is not stdin.
///
/// # Errors
/// If it is not encrypted, no key at hand fits, or it was changed without one.
#[expect(clippy::disallowed_methods, reason = "the log is written here")]
pub fn unlock(
    context: &Context<'_>,
    file: Option<&Path>,
    format: Format,
    tree: Tree,
    check: MacCheck,
) -> Result<Unlocked, Failure> {
    let metadata = metadata_of(&tree)?;
    let envelope = recover(context, metadata)?;
    context.record(Deed::Decrypt, file)?;
    let opened = envelope.open(format, tree, check)?;
    Ok(Unlocked { envelope, opened })
}

/// Opens a document as [`unlock()`] does, with what this machine has alone: no person, server, device or other program is
/// asked. `None` if one would have to be.
///
/// # Errors
/// If it is not encrypted, no key fits, or it was changed without one.
#[expect(clippy::disallowed_methods, reason = "the log is written here")]
pub fn unlock_at_hand(
    context: &Context<'_>,
    file: Option<&Path>,
    format: Format,
    tree: Tree,
) -> Result<Option<Unlocked>, Failure> {
    let metadata = metadata_of(&tree)?;
    context.warn_of_exposed_identities();
    let services = context.services()?;
    let is_left_out = |key| services.iter().any(|service| service.effort(key) > Effort::Free);
    let is_unsure = metadata.groups.iter().flat_map(|group| &group.0).any(is_left_out);
    let at_hand: Vec<_> = services.iter().map(|&service| AtHand(service)).collect();
    let at_hand: Vec<_> = at_hand.iter().map(|service| service as &dyn KeyService).collect();
    let envelope = match pollster::block_on(Envelope::recover(metadata, &at_hand, BY_EFFORT)) {
        Err(error) if is_unsure || may_open_asking(&error) => return Ok(None),
        recovered => recovered?,
    };
    context.record(Deed::Decrypt, file)?;
    let opened = envelope.open(format, tree, MacCheck::Require)?;
    Ok(Some(Unlocked { envelope, opened }))
}

/// Returns whether identities were passed over since a person would have to be asked.
fn may_open_asking(error: &RecoverError) -> bool {
    let causes = error.groups.iter().flat_map(|group| &group.failures).flat_map(|failure| &failure.causes);
    causes.into_iter().any(|(_, cause)| match cause {
        KeyError::IdentityFailed(report) | KeyError::NoIdentity(report) => !report.unasked.is_empty(),
        _ => false,
    })
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

/// Wraps the data key of an envelope for other groups.
///
/// # Errors
/// If a key cannot wrap it.
#[expect(clippy::disallowed_methods, reason = "the log is written here")]
pub fn rewrap(
    context: &Context<'_>,
    file: Option<&Path>,
    envelope: &mut Envelope,
    wanted: Metadata,
) -> Result<(), Failure> {
    let (now, services) = (context.session.now(), context.services()?);
    let (groups, threshold) = (wanted.groups, wanted.shamir_threshold);
    context.record(Deed::Rewrap, file)?;
    Ok(pollster::block_on(envelope.rewrap(groups, threshold, &services, &now, &mut OsRng))?)
}

/// Encrypts a plain document under the data key of an envelope.
///
/// # Errors
/// If it cannot be encrypted.
#[expect(clippy::disallowed_methods, reason = "the log is written here")]
pub fn seal<'a>(
    context: &Context<'_>,
    file: Option<&Path>,
    envelope: &'a Envelope,
    (format, tree): (Format, Tree),
    stash: Stash,
) -> Result<Sealed<'a>, Failure> {
    context.record(Deed::Encrypt, file)?;
    Ok(envelope.seal(format, tree, stash, &context.session.now(), &mut OsRng)?)
}

/// Encrypts a changed plaintext of a document, unless it says what the document says already.
///
/// # Errors
/// If it is not of its format, or cannot be encrypted.
#[expect(clippy::disallowed_methods, reason = "the log is written here")]
pub fn reseal(
    context: &Context<'_>,
    file: Option<&Path>,
    unlocked: &Unlocked,
    plaintext: &SecretBytes,
) -> Result<Option<Resealed>, Failure> {
    let resealed = unlocked.reseal_if_changed(plaintext, &context.session.now(), &mut OsRng)?;
    if resealed.is_some() {
        context.record(Deed::Encrypt, file)?;
    }
    Ok(resealed)
}

/// Encrypts a plain document with a new data key; `file` is where it comes from.
///
/// # Errors
/// If a key cannot wrap the data key, or the document cannot be encrypted.
pub fn seal_anew(
    context: &Context<'_>,
    file: Option<&Path>,
    metadata: Metadata,
    (format, tree): (Format, Tree),
    output: Format,
) -> Result<(SecretBytes, usize), Failure> {
    let now = context.session.now();
    let services = context.services()?;
    let envelope = pollster::block_on(Envelope::create(metadata, &services, &now, &mut OsRng))?;
    let sealed = seal(context, file, &envelope, (format, tree), Stash::new())?;
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

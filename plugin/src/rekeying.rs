//! Giving encrypted documents other keys: around the data key that they have, or around a new one where somebody is
//! to lose access.
//!
//! Whoever knew a data key goes on knowing it. So a document whose keys become fewer gets a new one, and all values
//! are encrypted anew, unless the user wants it as sops does it.

use rand::rngs::OsRng;
use selkie::format::Format;
use selkie::secret::SecretBytes;
use selkie::sops::{Envelope, LeafState, MacCheck, Metadata, Stash, Unlocked, leaves};
use selkie::tree::Tree;

use crate::context::Context;
use crate::failure::Failure;
use crate::key_changes::KeyChanges;
use crate::report::count;
use crate::sealing;

/// What becomes of the data key when keys change.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct DataKeyFlag {
    /// Keep the data key, as sops does: whoever loses a key still knows it
    #[arg(long)]
    keep_data_key: bool,
}

/// Whether the user may shut themselves out.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct LockOutFlag {
    /// Do so even if your own keys could not read a file any more
    #[arg(long)]
    lock_out: bool,
}

/// What becomes of a document's data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKeyFate {
    /// It stays, and with it every ciphertext of a value that stays encrypted.
    Kept,
    /// There is a new one, and every value is encrypted anew.
    Renewed,
}

/// A document with other keys.
pub struct Rekeyed {
    /// What it says, encrypted.
    pub text: SecretBytes,
    /// How many values and comments were encrypted anew.
    pub anew: usize,
}

impl LockOutFlag {
    /// Returns the flag as if it was given.
    #[must_use]
    pub const fn given() -> Self {
        Self { lock_out: true }
    }
}

impl DataKeyFlag {
    /// Returns what these changes make of the data key.
    #[must_use]
    pub fn fate(self, changes: &KeyChanges) -> DataKeyFate {
        if changes.narrows() && !self.keep_data_key { DataKeyFate::Renewed } else { DataKeyFate::Kept }
    }
}

impl DataKeyFate {
    /// Returns what there is to say about a document that is about to change; nothing if nothing is new.
    #[must_use]
    pub fn describe(self, format: Format, tree: &Tree, metadata: &Metadata) -> Option<String> {
        let values = leaves(format, tree, &metadata.selector);
        let encrypted = values.iter().filter(|leaf| leaf.state == LeafState::Encrypted).count();
        (self == Self::Renewed).then(|| format!("new data key, {} encrypted anew", count(encrypted, "value")))
    }
}

impl Rekeyed {
    /// Returns what there is to say when it is done.
    #[must_use]
    pub fn detail(&self, fate: DataKeyFate) -> String {
        match (fate, self.anew) {
            (DataKeyFate::Kept, 0) => String::new(),
            (DataKeyFate::Kept, anew) => format!("{} encrypted anew", count(anew, "value")),
            (DataKeyFate::Renewed, anew) => {
                format!("new data key, {} encrypted anew", count(anew, "value"))
            }
        }
    }
}

/// Returns an encrypted document with the groups, the threshold and the choice of values that `wanted` has.
///
/// # Errors
/// If no key at hand fits, the document was changed without one, a key cannot wrap the data key, or the user's own
/// keys could not read the result.
pub fn rekey(
    context: &Context<'_>,
    (format, tree): (Format, Tree),
    wanted: Metadata,
    fate: DataKeyFate,
    lock_out: LockOutFlag,
) -> Result<Rekeyed, Failure> {
    let old = sealing::metadata_of(&tree)?;
    let changes = KeyChanges::between(&old, &wanted.groups, wanted.shamir_threshold);
    let guard = |envelope: &Envelope| {
        // Whoever could read the file is to read it still.
        let is_lost = changes.narrows() && !lock_out.lock_out;
        match is_lost && sealing::recover(context, envelope.metadata().clone()).is_err() {
            true => Err(Failure::LockedOut),
            false => Ok(()),
        }
    };
    if fate == DataKeyFate::Kept && selects_alike(&old, &wanted) {
        let mut envelope = sealing::recover(context, old)?;
        rewrap(context, &mut envelope, wanted)?;
        guard(&envelope)?;
        let text = sealing::with_metadata(format, &tree, envelope.metadata())?;
        return Ok(Rekeyed { text, anew: 0 });
    }
    let unlocked = sealing::unlock(context, format, tree, MacCheck::Require)?;
    let plain = format.read(unlocked.opened.plaintext()?)?;
    let (envelope, stash) = envelope_for(context, unlocked, wanted, fate)?;
    guard(&envelope)?;
    let sealed = envelope.seal(format, plain, stash, &context.session.now(), &mut OsRng)?;
    let anew = sealed.encrypted_count() - sealed.reused_count();
    Ok(Rekeyed { text: sealed.in_place()?, anew })
}

fn envelope_for(
    context: &Context<'_>,
    unlocked: Unlocked,
    wanted: Metadata,
    fate: DataKeyFate,
) -> Result<(Envelope, Stash), Failure> {
    if fate == DataKeyFate::Renewed {
        let (now, services) = (context.session.now(), context.services()?);
        let envelope = pollster::block_on(Envelope::create(wanted, &services, &now, &mut OsRng))?;
        return Ok((envelope, Stash::new()));
    }
    let (stash, mut envelope) = (unlocked.opened.stash(), unlocked.envelope);
    envelope.metadata_mut().selector = wanted.selector.clone();
    envelope.metadata_mut().mac_only_encrypted = wanted.mac_only_encrypted;
    rewrap(context, &mut envelope, wanted)?;
    Ok((envelope, stash))
}

fn rewrap(context: &Context<'_>, envelope: &mut Envelope, wanted: Metadata) -> Result<(), Failure> {
    let (now, services) = (context.session.now(), context.services()?);
    let (groups, threshold) = (wanted.groups, wanted.shamir_threshold);
    Ok(pollster::block_on(envelope.rewrap(groups, threshold, &services, &now, &mut OsRng))?)
}

fn selects_alike(old: &Metadata, new: &Metadata) -> bool {
    old.selector == new.selector && old.mac_only_encrypted == new.mac_only_encrypted
}

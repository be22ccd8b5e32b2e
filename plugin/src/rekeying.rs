//! Giving encrypted documents other keys: around the data key that they have, or around a new one where somebody is
//! to lose access.
//!
//! Whoever knew a data key goes on knowing it. So a document whose keys become fewer gets a new one, and all values
//! are encrypted anew, unless the user wants it as sops does it.

use std::path::Path;

use rand::rngs::OsRng;
use selkie::format::Format;
use selkie::keys::KeyError;
use selkie::secret::SecretBytes;
use selkie::sops::{Envelope, LeafState, MacCheck, Metadata, RecoverError, Stash, Unlocked, leaves};
use selkie::tree::Tree;

use crate::audit::Deed;
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
    file: Option<&Path>,
    (format, tree): (Format, Tree),
    wanted: Metadata,
    fate: DataKeyFate,
    lock_out: LockOutFlag,
) -> Result<Rekeyed, Failure> {
    let old = sealing::metadata_of(&tree)?;
    let changes = KeyChanges::between(&old, &wanted.groups, wanted.shamir_threshold);
    let guard = |envelope: &Envelope| {
        // Whoever could read the file is to read it still.
        if !changes.narrows() || lock_out.lock_out {
            return Ok(());
        }
        match sealing::recover(context, envelope.metadata().clone()) {
            Err(Failure::Recover(error)) => Err(locked_out(error)),
            recovered => recovered.map(drop),
        }
    };
    if fate == DataKeyFate::Kept && selects_alike(&old, &wanted) {
        let mut envelope = sealing::recover(context, old)?;
        sealing::rewrap(context, file, &mut envelope, wanted)?;
        guard(&envelope)?;
        let text = sealing::with_metadata(format, &tree, envelope.metadata())?;
        return Ok(Rekeyed { text, anew: 0 });
    }
    if fate == DataKeyFate::Renewed {
        context.record(Deed::Rotate, file)?;
    }
    let unlocked = sealing::unlock(context, file, format, tree, MacCheck::Require)?;
    let plain = format.read(unlocked.opened.plaintext()?)?;
    let (envelope, stash) = envelope_for(context, file, unlocked, wanted, fate)?;
    guard(&envelope)?;
    let sealed = sealing::seal(context, file, &envelope, (format, plain), stash)?;
    let anew = sealed.encrypted_count() - sealed.reused_count();
    Ok(Rekeyed { text: sealed.in_place()?, anew })
}

fn envelope_for(
    context: &Context<'_>,
    file: Option<&Path>,
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
    sealing::rewrap(context, file, &mut envelope, wanted)?;
    Ok((envelope, stash))
}

/// Returns what it means that the user's keys do not open what a document would become: none of them fits, or one that
/// may fit could not be tried.
fn locked_out(error: Box<RecoverError>) -> Failure {
    let failures = error.groups.iter().flat_map(|group| &group.failures);
    let mut causes = failures.flat_map(|failure| &failure.causes);
    let is_told = causes.all(|(_, cause)| matches!(cause, KeyError::NoIdentity(_)));
    if is_told { Failure::LockedOut } else { Failure::LockOutUnknown(error) }
}

fn selects_alike(old: &Metadata, new: &Metadata) -> bool {
    old.selector == new.selector && old.mac_only_encrypted == new.mac_only_encrypted
}

#[cfg(test)]
mod tests {
    use selkie::keys::{Cause, MasterKey, ServiceError, pgp};
    use selkie::sops::{GroupReport, KeyFailure};

    use super::*;

    fn after(causes: &[KeyError]) -> Failure {
        let key = MasterKey::parse_list(&pgp::KIND, "A").expect("a key").remove(0);
        let causes = causes.iter().map(|cause| ("a service".to_owned(), cause.clone())).collect();
        let groups = vec![GroupReport { recovered: false, failures: vec![KeyFailure { key, causes }] }];
        locked_out(Box::new(RecoverError { recovered: 0, required: 1, groups, combining: None }))
    }

    #[test]
    fn who_could_not_be_asked_is_no_proof_of_a_lock_out() {
        let service = |cause| KeyError::from(ServiceError::new(cause, "that is why").with_remedy("do this"));
        let no_identity = KeyError::NoIdentity(Box::default());
        for causes in [vec![], vec![no_identity.clone()]] {
            assert!(matches!(after(&causes), Failure::LockedOut), "{causes:?}");
        }
        for cause in [Cause::Timeout, Cause::Unreachable, Cause::Credentials, Cause::Denied] {
            let failure = after(&[no_identity.clone(), service(cause)]);
            assert!(matches!(failure, Failure::LockOutUnknown(_)), "{cause:?}");
            assert_eq!(
                failure.causes().first().map(String::as_str),
                Some("A: no identity matched the key; that is why")
            );
            let hint = crate::hint::hint(&failure).expect("a hint");
            assert!(hint.contains("do this") && hint.contains("--lock-out"), "{hint}");
        }
        assert!(matches!(after(&[KeyError::IdentityFailed(Box::default())]), Failure::LockOutUnknown(_)));
    }
}

//! Encrypting what is in clear in an encrypted file, under the data key that it has.
//!
//! Its MAC does not fit any more, and without one nobody knows whether its ciphertexts belong together. So they are
//! taken only if the MAC fits without the values in clear, as where a key was added; or if all of them are those of the
//! last commit, whose MAC fits.

use std::collections::{BTreeSet, HashSet};

use rand::rngs::OsRng;
use selkie::check::Fix;
use selkie::format::{Format, Rewrite};
use selkie::keys::{KeyError, KeyService};
use selkie::secret::SecretBytes;
use selkie::sops::{
    BY_EFFORT, Envelope, LeafState, MacCheck, Metadata, OpenError, RecoverError, Selector, Unlocked, leaves,
};
use selkie::tree::{NodeId, Tree, Value};

use super::{Mender, Source, Wish, strip, with};

impl Mender<'_> {
    /// Encrypts the values in clear that the rule of an encrypted file selects, and takes annotations out of it.
    pub(super) fn mend_rest(
        &self,
        source: &Source<'_>,
        format: Format,
        tree: &Tree,
        wishes: &[Wish],
    ) -> Result<SecretBytes, String> {
        let metadata = Metadata::from_entry(tree.metadata()).map_err(|error| error.to_string())?;
        let wants_strip = wishes.iter().any(|wish| wish.fix == Fix::Strip);
        let annotations = if wants_strip { strip::places(tree, wishes)? } else { Vec::new() };
        let clear = in_clear(format, tree, &metadata.selector);
        let blank = without(format, source.text, &clear)?;
        let now = self.timestamp()?;
        with(self.keys, false, |services| {
            let unlocked = unlock(source, format, &blank, &metadata, services)?;
            let plaintext = unlocked.opened.plaintext().map_err(|error| error.to_string())?;
            let plaintext = put_back(format, tree, &plaintext, &metadata.selector)?;
            let plaintext = strip::strip(format, plaintext, &annotations)?;
            let resealed =
                unlocked.reseal(&plaintext, &now, &mut OsRng).map_err(|error| error.to_string())?;
            Ok(resealed.text)
        })
    }
}

/// Returns the values that are selected and in clear.
fn in_clear(format: Format, tree: &Tree, selector: &Selector) -> Vec<NodeId> {
    let is_clear = |leaf: &selkie::sops::LeafPlace| leaf.selected && leaf.state == LeafState::Clear;
    leaves(format, tree, selector).iter().filter(|leaf| is_clear(leaf)).map(|leaf| leaf.id).collect()
}

/// Returns a text with an empty text in the place of some values: the MAC covers nothing of one.
fn without(format: Format, text: &SecretBytes, clear: &[NodeId]) -> Result<SecretBytes, String> {
    let mut tree = read(format, text)?;
    let empty = tree.intern(b"");
    clear.iter().for_each(|&id| tree.set_value(id, Value::Str(empty)));
    format
        .store()
        .rewrite(&tree, &Rewrite { changed: clear, ..Rewrite::default() })
        .map_err(|error| error.to_string())
}

/// Decrypts a file whose values in clear were taken out, if its ciphertexts belong together.
fn unlock(
    source: &Source<'_>,
    format: Format,
    blank: &SecretBytes,
    metadata: &Metadata,
    services: &[&dyn KeyService],
) -> Result<Unlocked, String> {
    let envelope = recover(metadata.clone(), services)?;
    let opened = match envelope.open(format, read(format, blank)?, MacCheck::Require) {
        Err(OpenError::MacMismatch) if is_of_commit(source, format, blank, services) => {
            envelope.open(format, read(format, blank)?, MacCheck::Ignore)
        }
        opened => opened,
    };
    let opened = opened.map_err(|error| match error {
        OpenError::MacMismatch => {
            "its MAC does not fit, and its encrypted values are not those of the last commit: \
                                   nobody knows whether they belong together"
                .to_owned()
        }
        error => error.to_string(),
    })?;
    Ok(Unlocked { envelope, opened })
}

/// Returns whether every encrypted value is one of the last commit, whose MAC fits.
fn is_of_commit(
    source: &Source<'_>,
    format: Format,
    blank: &SecretBytes,
    services: &[&dyn KeyService],
) -> bool {
    let Some(committed) = source.committed else { return false };
    let (Ok(old), Ok(new)) = (read(format, committed), read(format, blank)) else { return false };
    let Ok(metadata) = Metadata::from_entry(old.metadata()) else { return false };
    let known: HashSet<_> = encrypted(format, &old, &metadata.selector).collect();
    let is_known = Metadata::from_entry(new.metadata())
        .is_ok_and(|metadata| encrypted(format, &new, &metadata.selector).all(|text| known.contains(text)));
    drop(known);
    is_known
        && recover(metadata, services)
            .is_ok_and(|envelope| envelope.open(format, old, MacCheck::Require).is_ok())
}

fn encrypted<'t>(
    format: Format,
    tree: &'t Tree,
    selector: &Selector,
) -> impl Iterator<Item = &'t [u8]> + use<'t> {
    let leaves = leaves(format, tree, selector).into_iter().filter(|leaf| leaf.state == LeafState::Encrypted);
    leaves.filter_map(|leaf| text_of(tree, leaf.id))
}

/// Puts the values in clear back into the decrypted text, as they are written.
fn put_back(
    format: Format,
    written: &Tree,
    plaintext: &SecretBytes,
    selector: &Selector,
) -> Result<SecretBytes, String> {
    let tree = read(format, plaintext)?;
    let (from, to) = (leaves(format, written, selector), leaves(format, &tree, selector));
    if from.len() != to.len() {
        return Err("it cannot be decrypted without the values that are in clear".to_owned());
    }
    let pairs: Vec<_> = from
        .iter()
        .zip(&to)
        .filter(|(from, _)| from.selected && from.state == LeafState::Clear)
        .map(|(from, to)| (from.id, to.id))
        .collect();
    let verbatim: Vec<_> =
        pairs.iter().map(|&(from, to)| (to, written.slice(written.node(from).span))).collect();
    let result = format.store().rewrite(&tree, &Rewrite { verbatim: &verbatim, ..Rewrite::default() });
    let result = result.map_err(|error| error.to_string())?;
    let read = read(format, &result)?;
    let again = leaves(format, &read, selector);
    let is_same = |(from, again): (&selkie::sops::LeafPlace, &selkie::sops::LeafPlace)| {
        !(from.selected && from.state == LeafState::Clear) || same(written, from.id, &read, again.id)
    };
    if again.len() != from.len() || !from.iter().zip(&again).all(is_same) {
        return Err(
            "a value in clear is written in a way in which it cannot be encrypted in its place".to_owned()
        );
    }
    Ok(result)
}

fn same(left: &Tree, left_id: NodeId, right: &Tree, right_id: NodeId) -> bool {
    match (text_of(left, left_id), text_of(right, right_id)) {
        (Some(left), Some(right)) => left == right,
        (None, None) => left.node(left_id).value == right.node(right_id).value,
        _ => false,
    }
}

fn text_of(tree: &Tree, id: NodeId) -> Option<&[u8]> {
    match tree.node(id).value {
        Value::Str(text) | Value::Time(text) => Some(tree.bytes(text)),
        _ => None,
    }
}

fn recover(metadata: Metadata, services: &[&dyn KeyService]) -> Result<Envelope, String> {
    let recovered = pollster::block_on(Envelope::recover(metadata, services, BY_EFFORT));
    recovered.map_err(|error| {
        let unasked = unasked(&error);
        let unasked = if unasked.is_empty() {
            String::new()
        } else {
            format!("; a passphrase protects {}, and is not asked for here", unasked.join(", "))
        };
        format!("its data key is needed, and no key at hand opens it: {error}{unasked}")
    })
}

/// Returns the sources of identities that were passed over as a person would have to be asked.
fn unasked(error: &RecoverError) -> Vec<String> {
    let causes = error.groups.iter().flat_map(|group| &group.failures).flat_map(|failure| &failure.causes);
    let reports = causes.filter_map(|(_, error)| match error {
        KeyError::IdentityFailed(report) | KeyError::NoIdentity(report) => Some(report),
        _ => None,
    });
    let found: BTreeSet<_> = reports.flat_map(|report| report.unasked.iter().cloned()).collect();
    found.into_iter().collect()
}

fn read(format: Format, text: &SecretBytes) -> Result<Tree, String> {
    format.read(SecretBytes::from(text.expose_secret())).map_err(|error| error.to_string())
}

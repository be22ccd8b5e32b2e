//! OpenPGP keys: what real sops and real gpg make of ours, and we of theirs.

mod faces;
mod failures;
mod home;
mod messages;
mod old;

use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::peer::Peer;
use home::Home;

/// Returns the tests that need gpg.
pub fn tests() -> Vec<Trial> {
    [faces::tests(), failures::tests(), messages::tests(), old::tests()].into_iter().flatten().collect()
}

/// Returns a test with a new place for keys.
fn test(name: &str, run: impl FnOnce(&Home) -> Result<(), Failed> + Send + 'static) -> Trial {
    Peer::Gpg.test(format!("pgp::{name}"), move |gpg| run(&Home::new(&gpg)?))
}

/// Returns a test with a new place for keys, and another peer.
fn test_with(
    peer: Peer,
    name: &str,
    run: impl FnOnce(&Home, &Path) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let gpg = Peer::Gpg.path();
    let is_absent = gpg.is_none() || peer.path().is_none();
    let trial = peer
        .test(format!("pgp::{name}"), move |peer| run(&Home::new(&gpg.ok_or("gpg is not there")?)?, &peer));
    trial.with_ignored_flag(is_absent)
}

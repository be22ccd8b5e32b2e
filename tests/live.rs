//! Comparisons with the real tools.

mod apply_loop;
pub mod argocd;
mod audit;
mod aws;
mod browser;
mod checks;
mod clouds;
pub mod cluster;
mod cluster_access;
pub mod controller;
mod decryptor;
mod deploy;
mod emit;
mod faults;
pub mod flux;
mod flux_compat;
mod gomanifest;
mod gotemplate;
mod gotree;
mod helm;
mod keys;
mod keyservice;
mod kubeseal_face;
mod kustomize;
mod merges;
pub mod moto;
mod packages;
mod pgp;
mod programs;
mod properties;
mod publish;
mod recovery;
mod sealed_secrets;
mod sealing_keys;
mod suite;
pub mod sync_engine;
pub mod vault;

pub use properties::{number_of_documents, runner};

use std::process::Command;

use libtest_mimic::Trial;

use crate::peer::{Peer, output};
use crate::{documentation, git_states, kubeseal_cli, sealed, sops_cli};

/// Returns all tests that need a peer.
pub fn tests() -> Vec<Trial> {
    let mut tests = vec![version(Peer::Sops311, "sops 3.11.0"), version(Peer::Sops313, "sops 3.13.3")];
    tests.extend(argocd::tests());
    tests.extend(apply_loop::tests());
    tests.extend(audit::tests());
    tests.extend(aws::tests());
    tests.extend(browser::tests());
    tests.extend(merges::tests());
    tests.extend(packages::tests());
    tests.extend(recovery::tests());
    tests.extend(checks::tests());
    tests.extend(clouds::tests());
    tests.extend(cluster_access::tests());
    tests.extend(decryptor::tests());
    tests.extend(deploy::tests());
    tests.extend(emit::tests());
    tests.extend(flux::tests());
    tests.extend(flux_compat::tests());
    tests.extend(gomanifest::tests());
    tests.extend(gotemplate::tests());
    tests.extend(helm::tests());
    tests.extend(keys::tests());
    tests.extend(keyservice::tests());
    tests.extend(kubeseal_face::tests());
    tests.extend(kustomize::tests());
    tests.extend(pgp::tests());
    tests.extend(programs::tests());
    tests.extend(properties::tests());
    tests.extend(publish::tests());
    tests.extend(sealed_secrets::tests());
    tests.extend(sealing_keys::tests());
    tests.extend(suite::tests());
    tests.extend(sync_engine::tests());
    tests.extend(vault::tests());
    tests.extend(documentation::live_tests());
    tests.extend(git_states::live_tests());
    tests.extend(kubeseal_cli::live_tests());
    tests.extend(sealed::live_tests());
    tests.extend(sops_cli::live_tests());
    tests
}

/// Ends what the tests share.
pub fn end() {
    cluster::end();
    decryptor::end();
    sync_engine::end();
    vault::end();
}

/// A comparison with another version than the one that is meant would prove little.
fn version(sops: Peer, expected: &'static str) -> Trial {
    sops.test("is_the_version_that_it_should_be", move |program| {
        let version = output(Command::new(program).args(["--version", "--disable-version-check"]))?;
        let version = String::from_utf8(version)?;
        let first = version.lines().next().unwrap_or_default();
        (first == expected).then_some(()).ok_or_else(|| format!("it says {first:?}").into())
    })
}

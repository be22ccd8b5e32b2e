//! Argo CD itself: what its programs do with manifests that a plugin makes.
//!
//! Its Redis, repo-server and application-controller run once for all trials. First of all they show what a search for a
//! plaintext is worth: with the usual plugin, it is found. Then our own plugin is looked at, in each of its modes.

mod controls;
mod faces;
mod lab;
mod redis;
mod repository;

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use super::cluster;
use super::sync_engine::is_so;
use crate::peer::{Peer, output};

pub use lab::Lab;

/// Returns the tests that need Argo CD.
pub fn tests() -> Vec<Trial> {
    let version = |program: PathBuf| is_the_version(&program);
    let mut tests = vec![Peer::Argocd.test("is_the_version_that_it_should_be", version)];
    tests.extend(controls::tests());
    tests.extend(faces::tests());
    tests
}

/// Returns a test with Argo CD, which is ignored unless all that it takes is there.
pub fn test(
    name: &str,
    also: &[Peer],
    run: impl FnOnce(&'static Lab) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let is_possible = cluster::is_possible(&NEEDED) && cluster::is_possible(also);
    Trial::test(format!("live::argocd::{name}"), || run(Lab::get()?)).with_ignored_flag(!is_possible)
}

fn is_the_version(program: &Path) -> Result<(), Failed> {
    let version = output(Command::new(program).args(["version", "--client", "--short"]))?;
    let version = String::from_utf8(version)?;
    // Behind it is the commit, which is not known of a module.
    is_so("it is the version", version.starts_with("argocd: v3.2.6+"), version)
}

const NEEDED: [Peer; 4] = [Peer::Argocd, Peer::ArgocdManifests, Peer::Git, Peer::Redis];

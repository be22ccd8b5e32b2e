//! Flux's kustomize-controller itself: it applies what we encrypted.
//!
//! It runs once for all trials. Sources are folders of these trials: no source-controller takes part.

mod lab;
mod server;
mod tree;

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use selkie::keys::age::IdentityKind;

use super::cluster;
use super::sync_engine::{Canary, is_so, same};
use crate::peer::{Peer, output};
use tree::Keys;

pub use lab::{Kustomization, Lab};

/// Returns the tests that need Flux.
pub fn tests() -> Vec<Trial> {
    vec![
        Peer::Kustomize.test("is_the_version_that_it_should_be", |program| is_the_version(&program)),
        test("opens_what_we_encrypted_for_age", &[], |lab| {
            opens_ours(lab, "flux-age", &Keys::age(IdentityKind::X25519))
        }),
        test("opens_what_we_encrypted_for_age_after_quantum_computers", &[], |lab| {
            opens_ours(lab, "flux-hybrid", &Keys::age(IdentityKind::Hybrid))
        }),
        test("opens_what_we_encrypted_for_openpgp", &[Peer::Gpg], |lab| {
            let folder = lab.new_folder("flux-pgp-keys")?;
            opens_ours(lab, "flux-rsa", &Keys::pgp("rsa.case", &folder)?)?;
            opens_ours(lab, "flux-curve", &Keys::pgp("cv25519.case", &folder)?)
        }),
        test("refuses_a_changed_ciphertext", &[], refuses_a_change),
    ]
}

/// Returns a test with Flux, which is ignored unless all that it takes is there.
pub fn test(
    name: &str,
    also: &[Peer],
    run: impl FnOnce(&'static Lab) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let is_possible = cluster::is_possible(&NEEDED) && cluster::is_possible(also);
    Trial::test(format!("live::flux::{name}"), || run(Lab::get()?)).with_ignored_flag(!is_possible)
}

fn is_the_version(kustomize: &Path) -> Result<(), Failed> {
    let version = String::from_utf8(output(Command::new(kustomize).arg("version"))?)?;
    same("the version", version.trim(), "v5.8.2")
}

/// Every value arrives, and what is the same is left alone.
fn opens_ours(lab: &Lab, name: &str, keys: &Keys) -> Result<(), Failed> {
    let (folder, bin) = (lab.new_folder(name)?, lab.new_folder(&format!("{name}-bin"))?);
    let (first, second) = (Canary::new(), Canary::new());
    tree::write(keys, &bin, &folder, &first.text)?;
    keys.hand_in(lab, name)?;
    let revision = lab.publish(name, &folder)?;
    lab.apply(&Kustomization { name, source: name, path: "./", keys: Some(name) })?;
    lab.ready(name, &revision)?;
    tree::has_arrived(lab.ground, name, &first.text)?;
    let before = tree::versions(lab.ground, name)?;
    is_so("all are there", before.len() == 6, format!("{before:?}"))?;
    lab.reconcile(name)?;
    same("what is there", tree::versions(lab.ground, name)?, before.clone())?;
    // The same files, as another revision.
    let revision = lab.publish(name, &folder)?;
    lab.ready(name, &revision)?;
    same("what is there", tree::versions(lab.ground, name)?, before)?;
    tree::write(keys, &bin, &folder, &second.text)?;
    let revision = lab.publish(name, &folder)?;
    lab.ready(name, &revision)?;
    tree::has_arrived(lab.ground, name, &second.text)?;
    let logs = lab.logs()?;
    is_so("it logs", !logs.is_empty(), "")?;
    same("logs with the plaintext", first.names(&logs), Vec::new())
}

/// A value that was changed does not open, and what was there stays. That values were left out or moved, only the MAC
/// tells, which this controller does not look at: the control of what is said of our own engine.
fn refuses_a_change(lab: &Lab) -> Result<(), Failed> {
    let name = "flux-changed";
    let (folder, bin) = (lab.new_folder(name)?, lab.new_folder("flux-changed-bin")?);
    let keys = Keys::age(IdentityKind::X25519);
    tree::write(&keys, &bin, &folder, "first")?;
    keys.hand_in(lab, name)?;
    let revision = lab.publish(name, &folder)?;
    lab.apply(&Kustomization { name, source: name, path: "./", keys: Some(name) })?;
    lab.ready(name, &revision)?;
    let file = folder.join("secret.yaml");
    let good = fs::read_to_string(&file)?;
    let (before, after) = good.split_once("value: ENC[AES256_GCM,data:").ok_or("it is encrypted")?;
    let (first, rest) = after.split_at(1);
    let other = if first == "A" { "B" } else { "A" };
    fs::write(&file, format!("{before}value: ENC[AES256_GCM,data:{other}{rest}"))?;
    let revision = lab.publish(name, &folder)?;
    let message = lab.refused(name, &revision)?;
    same("the reason", lab.condition(name, "Ready")?["reason"].as_str(), Some("BuildFailed"))?;
    is_so("it is said", message.contains("yaml") && message.contains("decrypt"), &message)?;
    is_so("without the value", !message.contains("first-"), &message)?;
    tree::has_arrived(lab.ground, name, "first")?;
    let moved = good.replace("tier: one", "tier: two");
    is_so("something is changed", moved != good, &good)?;
    fs::write(&file, moved)?;
    let revision = lab.publish(name, &folder)?;
    lab.ready(name, &revision)?;
    let secret = lab.ground.object(&format!("/api/v1/namespaces/{name}/secrets/yaml"))?;
    same("what nobody signed", secret["metadata"]["labels"]["tier"].as_str(), Some("two"))?;
    lab.delete(name)
}

const NEEDED: [Peer; 2] = [Peer::FluxCrds, Peer::FluxKustomizeController];

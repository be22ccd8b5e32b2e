//! Our controller where that of Sealed Secrets was: with its definition of SealedSecrets and its rights, which allow to
//! update, and not to patch; and with an API server that fails for real.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use super::keys::{SMALL, keys_of};
use super::lab::Lab;
use super::process::Process;
use super::space::{Space, condition, plain};
use super::{is_so, same, test_alone};
use crate::live::cluster::API_SERVER;
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    vec![test_alone("upstream::definition_and_rights_of_upstream", &[Peer::SealedSecretsCrd], run)]
}

fn run() -> Result<(), Failed> {
    let definition = fs::read_to_string(Peer::SealedSecretsCrd.path().ok_or("there is no CRD")?)?;
    let rights = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/sealed-secrets/rbac.yaml");
    let lab = Lab::with(&[definition, fs::read_to_string(rights)?], &["bitnami.com/v1alpha1/sealedsecrets"])?;
    let result = rights_of_upstream(&lab).and_then(|()| server_fails(&lab));
    lab.cluster.end();
    result
}

fn start(lab: &Lab) -> Result<Process, Failed> {
    let account = lab.account("kube-system")?;
    Process::start(lab, "kube-system", "one", &account, &["--kubeclient-qps=-1", SMALL])
}

fn rights_of_upstream(lab: &Lab) -> Result<(), Failed> {
    let controller = start(lab)?;
    lab.make_namespace("shop")?;
    let space = Space::new(lab, "shop", controller.certificate()?);
    space.make("a", json!({"metadata": {"labels": {"l": "1"}}, "stringData": {"a": "1", "b": "2"}}))?;
    space.ready("a")?;
    space.has("a", &[("a", "1"), ("b", "2")])?;
    space.change(&space.seal("a", json!({"metadata": {"labels": {"m": "1"}}, "stringData": {"a": "2"}}))?)?;
    let secret = space.has("a", &[("a", "2")])?;
    same("the labels", &secret["metadata"]["labels"], &json!({"m": "1"}))?;
    space.ready("a")?;
    space.patch_secret("a", json!({"data": {"a": STANDARD.encode("x")}}))?;
    space.has("a", &[("a", "2")])?;
    space.create_secret("b", json!({"stringData": {"old": "1"}}))?;
    space.make("b", json!({"stringData": {"a": "1"}}))?;
    space.failed("b", "Unmanaged")?;
    space.patch_secret(
        "b",
        json!({"metadata": {"annotations": {"sealedsecrets.bitnami.com/managed": "true"}}}),
    )?;
    space.ready("b")?;
    space.has("b", &[("a", "1")])?;
    space.event("b", "Unsealed")?;
    // What its columns show is the state, whichever condition comes first.
    let shown =
        output(&mut lab.cluster.kubectl(["get", "sealedsecrets", "--namespace=shop", "--no-headers"])?)?;
    let shown = String::from_utf8(shown)?;
    let are_true = shown.lines().filter(|line| line.contains("True")).count() == 2;
    is_so("both are true", are_true && shown.lines().count() == 2, &json!(shown))?;
    let object = space.sealed("a")?;
    same("Synced", &condition(&object, "Synced")["status"], &json!("True"))?;
    let before = [space.secret("a")?, space.secret("b")?].map(plain);
    let versions = |space: &Space<'_>| -> Result<Vec<Json>, Failed> {
        ["a", "b"].iter().map(|name| Ok(space.secret(name)?["metadata"]["resourceVersion"].clone())).collect()
    };
    let told = versions(&space)?;
    controller.end()?;
    let controller = start(lab)?;
    lab.wait("both are looked at", || {
        let done = controller.metric("selkie_skipped_total")? + controller.metric("selkie_attempts_total")?;
        Ok((done >= 2.0).then_some(()))
    })?;
    space.make("c", json!({"stringData": {"a": "1"}}))?;
    space.ready("c")?;
    same("the versions", versions(&space)?, told)?;
    same("the Secrets", [space.secret("a")?, space.secret("b")?].map(plain), before)?;
    same("how many keys", keys_of(lab, "kube-system")?.len(), 1)?;
    controller.end()
}

fn server_fails(lab: &Lab) -> Result<(), Failed> {
    let controller = start(lab)?;
    let space = Space::new(lab, "shop", controller.certificate()?);
    // It hangs, and goes on.
    let pid = lab.cluster.pid_of(API_SERVER)?;
    let signal = |signal| -> Result<(), Failed> {
        Ok(kill_process(Pid::from_raw(pid).ok_or("it has a number")?, signal)?)
    };
    signal(Signal::STOP)?;
    same("the probe", controller.get("/healthz")?.0, 200)?;
    same("the certificate", controller.get("/v1/cert.pem")?.0, 200)?;
    signal(Signal::CONT)?;
    space.make("d", json!({"stringData": {"a": "1"}}))?;
    space.ready("d")?;
    // It ends in the middle of everything, and another one starts.
    lab.cluster.restart()?;
    same("the probe", controller.get("/healthz")?.0, 200)?;
    lab.wait("the API server", || Ok(space.sealed("d").ok()))?;
    space.delete_secret("a")?;
    space.patch_secret("b", json!({"data": {"a": STANDARD.encode("x")}}))?;
    space.make("e", json!({"stringData": {"a": "1"}}))?;
    for (name, values) in [("a", [("a", "2")]), ("b", [("a", "1")]), ("e", [("a", "1")])] {
        space.has(name, &values)?;
        space.ready(name)?;
    }
    same("how many keys", keys_of(lab, "kube-system")?.len(), 1)?;
    same("whether it lives", controller.ended()?, None)?;
    controller.end()
}

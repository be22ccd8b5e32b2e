//! Our kubeseal, with the real controller of a real cluster.

use libtest_mimic::{Failed, Trial};
use selkie::manifest::read_object;
use serde_json::Value as Json;

use super::cluster::{self, Cluster};
use super::controller;
use crate::kubeseal_cli::{Ran, ours};

pub fn tests() -> Vec<Trial> {
    vec![cluster::test("our_kubeseal_asks_the_controller", &controller::NEEDED, |cluster| {
        controller::start(cluster)?;
        asks_the_controller(cluster)
    })]
}

fn asks_the_controller(cluster: &Cluster) -> Result<(), Failed> {
    // Everyone may, if known to the cluster.
    let config = cluster.account("default", "sealer", &[])?;
    let run =
        |arguments: &str, stdin: &str| ours(&format!("--kubeconfig {} {arguments}", config.display()), stdin);
    let cert = succeeded(run("--fetch-cert", "")?)?;
    if !cert.starts_with("-----BEGIN CERTIFICATE-----\n") {
        return Err(cert.into());
    }
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {b: c}}\nstringData: {d: e}\n";
    let sealed = succeeded(run("-n shop -o yaml", secret)?)?;
    let sealed = format!("{sealed}    data:\n      f: '{{{{ .d }}}}'\n");
    succeeded(run("--validate", &sealed)?)?;
    let moved = sealed.replace("namespace: shop", "namespace: other");
    let refused = run("--validate", &moved)?;
    if (refused.exit, refused.stderr.as_str()) != (1, "error: unable to decrypt sealed secret: a\n") {
        return Err(format!("{}: {}", refused.exit, refused.stderr).into());
    }
    let again = succeeded(run("--re-encrypt -o yaml", &sealed)?)?;
    succeeded(run("--validate", &again)?)?;
    let (mut before, mut after) = (read_object(sealed.as_bytes())?, read_object(again.as_bytes())?);
    let item = |object: &mut Json| object["spec"]["encryptedData"]["d"].take();
    let (old, new) = (item(&mut before), item(&mut after));
    // All but the value is as it was.
    let is_right = old != new && new.is_string() && before == after;
    is_right.then_some(()).ok_or_else(|| format!("{before}\n{after}").into())
}

fn succeeded(ran: Ran) -> Result<String, Failed> {
    if ran.exit == 0 { Ok(ran.stdout) } else { Err(format!("exit {}: {}", ran.exit, ran.stderr).into()) }
}

//! What `deploy/` ships, in a real API server.
//!
//! Nothing runs there, so that the rest is what the API server says: whether it takes the objects, whether it warns, and
//! what the definitions of resources let through.

mod access;
mod chart;
mod definitions;
mod manifests;

use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::Value as Json;

use super::cluster::Cluster;
use crate::peer::{output, piped};

pub fn tests() -> Vec<Trial> {
    let mut tests = access::tests();
    tests.extend(chart::tests());
    tests.extend(definitions::tests());
    tests.extend(manifests::tests());
    tests
}

/// What a command said, however it ended.
struct Said {
    is_good: bool,
    output: String,
    errors: String,
}

/// Runs a command to its end.
fn said(command: &mut Command) -> Result<Said, Failed> {
    let output = command.output()?;
    Ok(Said {
        is_good: output.status.success(),
        output: String::from_utf8(output.stdout)?,
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Applies manifests without keeping them, and fails if the API server refuses one or warns of one.
fn try_apply(cluster: &Cluster, manifests: &str) -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), manifests)?;
    let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
    let said = said(cluster.kubectl(apply)?.arg("--filename").arg(file.path()))?;
    if !said.is_good || said.errors.contains("arning") {
        return Err(said.errors.into());
    }
    Ok(())
}

/// Makes a namespace in which nothing may run that is not restricted, and in which every attempt is told.
fn restricted_namespace(cluster: &Cluster, name: &str) -> Result<(), Failed> {
    let level = "restricted";
    cluster.apply(
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {
            "pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/warn": level}}})
        .to_string(),
    )
}

/// Tries a Pod as a Deployment or the like would make it, which is where a namespace refuses what is not restricted.
fn try_pod(cluster: &Cluster, namespace: &str, workload: &Json) -> Result<(), Failed> {
    let mut pod = workload["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "one".into();
    pod["metadata"]["namespace"] = namespace.into();
    // No controller is there that would make the account of a namespace.
    let account = pod["spec"]["serviceAccountName"].clone();
    cluster.apply(
        serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": namespace}})
        .to_string(),
    )?;
    try_apply(cluster, &pod.to_string())
}

/// Deletes an object of the whole cluster.
fn delete(cluster: &Cluster, kind: &str, name: &str) -> Result<(), Failed> {
    output(&mut cluster.kubectl(["delete", kind, name, "--ignore-not-found"])?).map(|_| ())
}

/// Creates objects, and returns what the API server has of them, without keeping any.
fn try_create(cluster: &Cluster, objects: &[Json]) -> Result<Said, Failed> {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), list)?;
    let create = ["create", "--dry-run=server", "--validate=ignore", "--output=json"];
    said(cluster.kubectl(create)?.arg("--filename").arg(file.path()))
}

/// Applies objects as a status, server-side.
fn apply_status(cluster: &Cluster, object: &Json) -> Result<Json, Failed> {
    let apply = ["apply", "--server-side", "--subresource=status", "--output=json", "--filename=-"];
    Ok(serde_json::from_slice(&piped(&mut cluster.kubectl(apply)?, object.to_string().as_bytes())?)?)
}

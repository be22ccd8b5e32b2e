//! What `deploy/` ships, as far as it can be judged without a cluster: see `live/deploy.rs` for the rest.

mod access;
mod argocd;
mod metrics;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use selkie::manifest::read_objects;
use serde_json::Value as Json;

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        Trial::test("deploy::every_file_can_be_read", every_file_can_be_read),
        Trial::test("deploy::copies_are_copies", copies_are_copies),
        Trial::test("deploy::definitions_stay_when_a_release_goes", definitions_stay),
    ];
    tests.extend(access::tests());
    tests.extend(argocd::tests());
    tests.extend(metrics::tests());
    tests.extend(workload::tests());
    tests
}

/// Returns the folder, or what is below it.
pub fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// Returns the text of a file.
pub fn text(path: &str) -> Result<String, Failed> {
    fs::read_to_string(folder(path)).map_err(|error| format!("{path}: {error}").into())
}

/// Returns the objects of a file.
pub fn objects(path: &str) -> Result<Vec<Json>, Failed> {
    read_objects(text(path)?.as_bytes()).map_err(|error| format!("{path}: {error}").into())
}

/// Returns the object of a kind and name in a file.
pub fn object(path: &str, kind: &str, name: &str) -> Result<Json, Failed> {
    let is_it = |object: &Json| object["kind"] == kind && object["metadata"]["name"] == name;
    objects(path)?.into_iter().find(is_it).ok_or_else(|| format!("{path} has no {kind} {name}").into())
}

/// Returns the paths of all files, below the folder.
fn files() -> Result<Vec<PathBuf>, Failed> {
    let (mut files, mut folders) = (Vec::new(), vec![folder("")]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn every_file_can_be_read() -> Result<(), Failed> {
    let mut count = 0;
    for path in files()? {
        let name = path.strip_prefix(folder(""))?.to_str().ok_or("it is a text")?.to_owned();
        let extension = path.extension().and_then(|extension| extension.to_str());
        // A template is read once it is rendered.
        let is_template = name.contains("/templates/") || name.starts_with("packages/");
        if is_template || !matches!(extension, Some("json" | "yaml")) {
            continue;
        }
        for object in objects(&name)? {
            count += 1;
            // Patches are lists, and what belongs to Helm and Grafana has kinds of its own.
            let is_of_helm = CHART.contains(&name.as_str()) || name.starts_with("helm-plugins/");
            let is_manifest = object.is_object() && !name.ends_with(".json") && !is_of_helm;
            if is_manifest && (!object["apiVersion"].is_string() || !object["kind"].is_string()) {
                return Err(format!("{name} holds an object without a kind").into());
            }
        }
    }
    if count > 30 { Ok(()) } else { Err(format!("there are {count} documents").into()) }
}

/// What a chart holds has to be below it, and what `kubectl apply -f` takes in one file.
fn copies_are_copies() -> Result<(), Failed> {
    for name in DEFINITIONS {
        same(&format!("crds/{name}.yaml"), &format!("chart/selkie/files/crds/{name}.yaml"))?;
    }
    same("monitoring/dashboard.json", "chart/selkie/files/dashboard.json")?;
    same("monitoring/prometheus-rules.yaml", "chart/selkie/files/prometheus-rules.yaml")?;
    if !text("controller.yaml")?.contains(&text("crds/sealedsecrets.bitnami.com.yaml")?) {
        return Err("controller.yaml has another definition of SealedSecrets".into());
    }
    let in_controller = object("namespaced/own.yaml", "Role", "secrets-unsealer")?;
    let elsewhere = object("namespaced/namespace/role.yaml", "Role", "secrets-unsealer")?;
    let cluster_wide = object("controller.yaml", "ClusterRole", "secrets-unsealer")?;
    if in_controller["rules"] != elsewhere["rules"] || cluster_wide["rules"] != elsewhere["rules"] {
        return Err("what the controller may do in one namespace is not what it may do in all".into());
    }
    Ok(())
}

fn same(one: &str, other: &str) -> Result<(), Failed> {
    if text(one)? == text(other)? { Ok(()) } else { Err(format!("{one} and {other} differ").into()) }
}

fn definitions_stay() -> Result<(), Failed> {
    for name in DEFINITIONS {
        let object = object(&format!("crds/{name}.yaml"), "CustomResourceDefinition", name)?;
        if object["metadata"]["annotations"]["helm.sh/resource-policy"] != "keep" {
            return Err(format!("Helm would delete {name}").into());
        }
    }
    Ok(())
}

const DEFINITIONS: [&str; 3] =
    ["sealedsecrets.bitnami.com", "sopssecrets.isindir.github.com", "sopssecrets.selkie.dev"];

const CHART: [&str; 2] = ["chart/selkie/Chart.yaml", "chart/selkie/values.yaml"];

//! The plain manifests, and the parts of Kustomize.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use selkie::manifest::read_objects;
use serde_json::{Value as Json, json};

use super::super::cluster::{self, Cluster};
use super::{restricted_namespace, said, try_apply, try_pod};
use crate::deploy;
use crate::peer::output;

pub fn tests() -> Vec<Trial> {
    vec![
        cluster::test("deploy::manifests_are_taken_as_they_are", &[], as_they_are),
        cluster::test("deploy::manifests_are_restricted", &[], are_restricted),
        cluster::test("deploy::parts_fit_together", &[], parts),
        cluster::test("deploy::nobody_else_writes_secrets_of_sealed_secrets", &[], admission),
    ]
}

fn as_they_are(cluster: &Cluster) -> Result<(), Failed> {
    try_apply(cluster, &deploy::text("controller.yaml")?)
}

fn are_restricted(cluster: &Cluster) -> Result<(), Failed> {
    let namespace = "deploy-restricted";
    restricted_namespace(cluster, namespace)?;
    let text = kustomize(namespace, "resources: [DEPLOY]", &[])?;
    let objects = build(cluster, &text)?;
    try_apply(cluster, &objects)?;
    try_pod(cluster, namespace, &workload(&objects)?)
}

/// All of them together, with two namespaces, built as the comments of the parts say.
fn parts(cluster: &Cluster) -> Result<(), Failed> {
    let (namespace, team) = ("deploy-parts", "deploy-team");
    restricted_namespace(cluster, namespace)?;
    cluster.make_namespace(team)?;
    let text = "resources: [DEPLOY, team]\n\
                components: [DEPLOY/namespaced, DEPLOY/sops, DEPLOY/sops/shared-keys, DEPLOY/monitoring]\n\
                patches:\n\
                - target: {kind: Deployment, name: sealed-secrets-controller}\n\
                  \x20 patch: |\n\
                  \x20   - {op: add, path: /spec/template/spec/containers/0/args/-, value: '--additional-namespaces=deploy-team'}\n";
    let folder = kustomize("", text, &[(team, "resources: [DEPLOY/namespaced/namespace]")])?;
    let built = build(cluster, &folder)?;
    let objects = read_objects(built.as_bytes()).map_err(|error| error.to_string())?;
    let kinds = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
    for (kind, expected) in [
        ("ClusterRole", 0),
        ("ClusterRoleBinding", 0),
        ("CustomResourceDefinition", 3),
        ("PodMonitor", 1),
        ("PrometheusRule", 1),
    ] {
        if kinds(kind) != expected {
            return Err(format!("there are {} of {kind}, not {expected}", kinds(kind)).into());
        }
    }
    let is_unsealer =
        |object: &&Json| object["kind"] == "Role" && object["metadata"]["name"] == "secrets-unsealer";
    // In the namespace of the controller, and in that of the team.
    let unsealers: Vec<_> = objects.iter().filter(is_unsealer).collect();
    if unsealers.len() != 2 {
        return Err(format!("there are {} roles to unseal", unsealers.len()).into());
    }
    for object in unsealers {
        let rules = object["rules"].to_string();
        if !rules.contains("sopssecrets/status") || !rules.contains("\"delete\"") {
            return Err(format!("a role lacks what SopsSecrets take: {object}").into());
        }
    }
    // There is no operator of Prometheus in this cluster.
    let known: Vec<_> =
        objects.iter().filter(|object| object["apiVersion"] != "monitoring.coreos.com/v1").collect();
    try_apply(cluster, &json!({"apiVersion": "v1", "kind": "List", "items": known}).to_string())?;
    try_pod(cluster, namespace, &workload(&built)?)
}

/// Writes a kustomization of a user, beside folders of namespaces; `DEPLOY` is where ours are.
pub fn kustomize(namespace: &str, text: &str, teams: &[(&str, &str)]) -> Result<tempfile::TempDir, Failed> {
    let folder = tempfile::tempdir()?;
    let write = |path: &Path, namespace: &str, text: &str| -> Result<(), Failed> {
        fs::create_dir_all(path)?;
        let up = "../".repeat(fs::canonicalize(path)?.components().count() - 1);
        let ours = deploy::folder("");
        let ours = format!("{up}{}", ours.display().to_string().trim_matches('/'));
        let namespace =
            if namespace.is_empty() { String::new() } else { format!("namespace: {namespace}\n") };
        Ok(fs::write(path.join("kustomization.yaml"), namespace + &text.replace("DEPLOY", &ours))?)
    };
    write(folder.path(), namespace, text)?;
    for (team, text) in teams {
        write(&folder.path().join("team"), team, text)?;
    }
    Ok(folder)
}

/// Returns the objects of a kustomization.
pub fn build(cluster: &Cluster, folder: &tempfile::TempDir) -> Result<String, Failed> {
    Ok(String::from_utf8(output(cluster.kubectl(["kustomize"])?.arg(folder.path()))?)?)
}

fn workload(manifests: &str) -> Result<Json, Failed> {
    let objects = read_objects(manifests.as_bytes()).map_err(|error| error.to_string())?;
    let workload = objects.into_iter().find(|object| object["kind"] == "Deployment");
    workload.ok_or_else(|| "there is no Deployment".into())
}

/// The sample of a policy, for one namespace.
fn admission(cluster: &Cluster) -> Result<(), Failed> {
    let namespace = "deploy-admission";
    cluster.make_namespace(namespace)?;
    let mut policy = deploy::objects("admission/secrets-of-sealed-secrets.yaml")?;
    for object in &mut policy {
        if object["kind"] == "ValidatingAdmissionPolicyBinding" {
            object["spec"]["matchResources"] =
                json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
        }
    }
    cluster.apply(json!({"apiVersion": "v1", "kind": "List", "items": policy}).to_string())?;
    let attempt = |owner: &str, user: &[&str]| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one", "namespace": namespace,
            "ownerReferences": [{"apiVersion": "bitnami.com/v1alpha1", "kind": owner, "name": "one", "uid": "u", "controller": true}]}});
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), secret.to_string())?;
        let create = ["create", "--dry-run=server", "--filename"];
        said(cluster.kubectl(create)?.arg(file.path()).args(user))
    };
    // It counts a little after it was made.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = attempt("SealedSecret", &[])?;
        if !said.is_good {
            if said.errors.contains("controlled by a SealedSecret") {
                break;
            }
            return Err(said.errors.into());
        }
        if Instant::now() > deadline {
            return Err("anybody may write such a Secret".into());
        }
        thread::sleep(Duration::from_millis(200));
    }
    let controller =
        ["--as=system:serviceaccount:kube-system:sealed-secrets-controller", "--as-group=system:masters"];
    let emergency = ["--as=somebody", "--as-group=system:masters", "--as-group=secrets-emergency"];
    for (owner, user) in [("Other", &[][..]), ("SealedSecret", &controller), ("SealedSecret", &emergency)] {
        let said = attempt(owner, user)?;
        if !said.is_good {
            return Err(format!("{owner} by {user:?}: {}", said.errors).into());
        }
    }
    super::delete(cluster, "validatingadmissionpolicybinding", "secrets-of-sealed-secrets")?;
    super::delete(cluster, "validatingadmissionpolicy", "secrets-of-sealed-secrets")
}

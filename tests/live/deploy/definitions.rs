//! What the definitions of resources let through, under another group, so that other tests keep theirs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::super::cluster::{self, Cluster};
use super::{apply_status, try_create};
use crate::deploy;
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    vec![
        cluster::test(
            "deploy::sealed_secrets_are_kept_as_upstream_keeps_them",
            &[Peer::SealedSecretsCrd],
            sealed,
        ),
        cluster::test("deploy::templates_may_be_null_and_the_status_is_kept", &[], nulls_and_status),
        cluster::test("deploy::sops_secrets_hold_one_document", &[], sops_secrets),
        cluster::test("deploy::sops_secrets_of_others_keep_what_sops_wrote", &[], others),
    ]
}

/// Defines a resource under another group, and waits until it is served.
fn define(cluster: &Cluster, text: &str, (group, other): (&str, &str), plural: &str) -> Result<(), Failed> {
    cluster.apply(text.replace(group, other))?;
    let name = format!("crd/{plural}.{other}");
    output(&mut cluster.kubectl(["wait", "--for=condition=Established", "--timeout=60s", &name])?)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let resource = format!("{plural}.{other}");
    while !super::said(&mut cluster.kubectl(["get", &resource])?)?.is_good {
        if Instant::now() > deadline {
            return Err(format!("{resource} is not served").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Every case that the library is tested with is taken and stored alike, or refused alike.
fn sealed(cluster: &Cluster) -> Result<(), Failed> {
    let upstream = fs::read_to_string(Peer::SealedSecretsCrd.path().ok_or("there is no CRD")?)?;
    let ours = deploy::text("crds/sealedsecrets.bitnami.com.yaml")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sealed-secrets/unseal-cases.jsonl");
    let mut cases = Vec::new();
    for line in fs::read_to_string(path)?.lines() {
        let case: Json = serde_json::from_str(line)?;
        if case["sealedSecret"].is_object() {
            cases.push(case["sealedSecret"].clone());
        }
    }
    cases.extend(odd_specs().into_iter().map(|spec| json!({"kind": "SealedSecret", "spec": spec})));
    let mut results = Vec::new();
    for (text, group) in [(upstream, "upstream.example"), (ours, "ours.example")] {
        define(cluster, &text, ("bitnami.com", group), "sealedsecrets")?;
        results.push(stored(cluster, group, &cases)?);
    }
    let (ours, upstream) = (results.pop().ok_or("ours")?, results.pop().ok_or("upstream's")?);
    if upstream.len() < 80 || upstream.len() == cases.len() {
        return Err(format!("upstream's takes {} of {} cases", upstream.len(), cases.len()).into());
    }
    for (number, case) in cases.iter().enumerate() {
        let name = format!("case-{number}");
        let (ours, upstream) = (ours.get(&name), upstream.get(&name));
        if ours != upstream {
            return Err(format!("{case}: ours {ours:?}, upstream's {upstream:?}").into());
        }
    }
    Ok(())
}

/// Returns what is stored of each case that is taken.
fn stored(cluster: &Cluster, group: &str, cases: &[Json]) -> Result<BTreeMap<String, Json>, Failed> {
    let objects = cases.iter().enumerate().map(|(number, case)| {
        let mut object = case.clone();
        object["apiVersion"] = format!("{group}/v1alpha1").into();
        object["metadata"] = json!({"name": format!("case-{number}"), "namespace": "default"});
        object
    });
    let objects: Vec<Json> = objects.collect();
    let said = try_create(cluster, &objects)?;
    let mut stored = BTreeMap::new();
    for object in serde_json::Deserializer::from_str(&said.output).into_iter::<Json>() {
        let object = object?;
        let items = object["items"].as_array().cloned().unwrap_or_else(|| vec![object]);
        for item in items {
            stored.insert(
                item["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                item["spec"].clone(),
            );
        }
    }
    Ok(stored)
}

/// What no tool writes, and a person may.
fn odd_specs() -> Vec<Json> {
    vec![
        json!({}),
        json!(null),
        json!({"encryptedData": null}),
        json!({"encryptedData": "text"}),
        json!({"encryptedData": {"a": 1, "b": null, "c": [], "d": "x"}}),
        json!({"encryptedData": {}, "data": "not base64!"}),
        json!({"encryptedData": {}, "data": "YQ=="}),
        json!({"encryptedData": {}, "unknown": true}),
        json!({"encryptedData": {}, "template": {"data": null, "metadata": null}}),
        json!({"encryptedData": {}, "template": {"data": {"a": 1}}}),
        json!({"encryptedData": {}, "template": {"data": {"a": "x"}, "unknown": 1}}),
        json!({"encryptedData": {}, "template": {"immutable": "true"}}),
        json!({"encryptedData": {}, "template": {"metadata": {"labels": {"a": 1}}}}),
        json!({"encryptedData": {}, "template": {"metadata": {"creationTimestamp": null, "ownerReferences": [{"a": 1}]}}}),
        json!({"encryptedData": {}, "template": {"type": 5}}),
    ]
}

fn nulls_and_status(cluster: &Cluster) -> Result<(), Failed> {
    let group = "nulls.example";
    define(
        cluster,
        &deploy::text("crds/sealedsecrets.bitnami.com.yaml")?,
        ("bitnami.com", group),
        "sealedsecrets",
    )?;
    let metadata = json!({"name": "one", "namespace": "default"});
    let spec = json!({"encryptedData": {"a": "x"}, "template": {"data": {"a": null, "b": "{{ .a }}"}}});
    let object = json!({"apiVersion": format!("{group}/v1alpha1"), "kind": "SealedSecret", "metadata": metadata, "spec": spec});
    let kept =
        super::said(cluster.kubectl(["create", "--output=json", "--filename"])?.arg(write(&object)?.path()))?;
    let kept: Json = serde_json::from_str(&kept.output).map_err(|_| kept.errors)?;
    if kept["spec"] != spec {
        return Err(format!("it keeps {}", kept["spec"]).into());
    }
    let time = "2026-01-02T03:04:05Z";
    let condition = |kind: &str| {
        json!({"type": kind, "status": "False", "reason": "NoKey", "message": "no key", "observedGeneration": 1,
               "lastTransitionTime": time, "lastUpdateTime": time})
    };
    let status = json!({
        "observedGeneration": 1,
        "conditions": [condition("Synced"), condition("Ready")],
        "applied": {"digest": "abc", "secrets": [{"name": "one", "uid": "u", "resourceVersion": "5"}]},
    });
    let mut object = object;
    object["status"] = status.clone();
    let kept = apply_status(cluster, &object)?;
    if kept["status"] != status || kept["spec"] != spec {
        return Err(format!("it keeps {}", kept["status"]).into());
    }
    let columns =
        cluster.kubectl(["get", &format!("sealedsecrets.{group}"), "--namespace=default"])?.output()?;
    let columns = String::from_utf8(columns.stdout)?;
    let words: Vec<_> = columns.split_whitespace().take(5).collect();
    if words != ["NAME", "STATUS", "SYNCED", "READY", "AGE"] || !columns.contains("no key") {
        return Err(format!("kubectl shows {columns}").into());
    }
    Ok(())
}

fn write(object: &Json) -> Result<tempfile::NamedTempFile, Failed> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), object.to_string())?;
    Ok(file)
}

fn sops_secrets(cluster: &Cluster) -> Result<(), Failed> {
    let group = "sops.example";
    define(
        cluster,
        &deploy::text("crds/sopssecrets.selkie.dev.yaml")?,
        ("selkie.dev", group),
        "sopssecrets",
    )?;
    let good = [
        json!({"document": "a: b\n"}),
        json!({"documentBase64": "YTogYgo=", "format": "binary"}),
        json!({"document": "a: b\n", "format": "yaml", "suspend": true, "keys": {"secretRef": {"name": "keys"}},
               "target": {"name": "n", "type": "Opaque", "immutable": true, "labels": {"a": "b"},
                          "annotations": {"a": "b"}, "layout": "file", "key": "config.yaml"}}),
    ];
    let bad = [
        (json!({}), "exactly one"),
        (json!({"document": "a", "documentBase64": "YQ=="}), "exactly one"),
        (json!({"document": "a", "format": "toml"}), "Unsupported value"),
        (json!({"document": 1}), "must be of type string"),
        (json!({"document": "a", "target": {"layout": "tree"}}), "Unsupported value"),
        (json!({"document": "a", "target": {"layout": "keys", "key": "b"}}), "the layout file"),
        (json!({"document": "a", "target": {"key": "b/c"}}), "should match"),
        (json!({"document": "a", "keys": {"secretRef": {}}}), "Required value"),
    ];
    let object = |spec: &Json| {
        json!({"apiVersion": format!("{group}/v1alpha1"), "kind": "SopsSecret",
               "metadata": {"name": "one", "namespace": "default"}, "spec": spec})
    };
    for spec in good {
        let said = try_create(cluster, &[object(&spec)])?;
        if !said.is_good || !said.output.contains("document") {
            return Err(format!("{spec}: {}", said.errors).into());
        }
    }
    for (spec, expected) in bad {
        let said = try_create(cluster, &[object(&spec)])?;
        if said.is_good || !said.errors.contains(expected) {
            return Err(format!("{spec}: {}", said.errors).into());
        }
    }
    Ok(())
}

fn others(cluster: &Cluster) -> Result<(), Failed> {
    let group = "isindir.example";
    let text = deploy::text("crds/sopssecrets.isindir.github.com.yaml")?;
    define(cluster, &text, ("isindir.github.com", group), "sopssecrets")?;
    let spec = json!({"secretTemplates": [{"name": "ENC[AES256_GCM,data:x]", "stringData": {"a": "ENC[…]"}, "type": "Opaque"}],
                      "enforceOwnership": true, "suspend": false});
    let sops = json!({
        "age": [{"recipient": "age1x", "enc": "x"}], "kms": [{"arn": "a", "context": {"a": "b"}}], "hckms": [{"key_id": "k"}],
        "key_groups": [{"age": []}], "shamir_threshold": 2, "lastmodified": "2026-01-02T03:04:05Z", "mac": "ENC[…]",
        "unencrypted_regex": "^x", "unencrypted_suffix": "_x", "encrypted_comment_regex": "x", "version": "3.13.3",
    });
    let object = json!({"apiVersion": format!("{group}/v1alpha3"), "kind": "SopsSecret",
                        "metadata": {"name": "one", "namespace": "default"}, "spec": spec, "sops": sops});
    let said = try_create(cluster, std::slice::from_ref(&object))?;
    let kept: Json = serde_json::from_str(&said.output).map_err(|_| said.errors)?;
    let kept = kept["items"].get(0).unwrap_or(&kept);
    if kept["spec"] != spec || kept["sops"] != sops {
        return Err(format!("it keeps {kept}").into());
    }
    let mut none = object;
    none["spec"]["secretTemplates"] = json!([]);
    let said = try_create(cluster, &[none])?;
    if said.is_good || !said.errors.contains("secretTemplates") {
        return Err(format!("an object without templates: {}", said.errors).into());
    }
    Ok(())
}

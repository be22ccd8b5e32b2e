//! SealedSecrets become Secrets, and nothing else is touched.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use rand_core::OsRng;
use selkie::sealed::{KeySize, SealingCert, SealingScope};
use serde_json::{Value as Json, json};

use super::lab::{Deed, Lab};
use super::space::{condition, plain, values};
use super::{is_so, same, test};
use crate::live::sealed_secrets::Pair;

pub fn tests() -> Vec<Trial> {
    vec![
        test("objects::every_scope", &[], every_scope),
        test("objects::templates_types_and_all_values", &[], templates),
        test("objects::changes_are_followed", &[], changes),
        test("objects::bound_values_open_nowhere_else", &[], bound),
        test("objects::annotation_alone_is_a_change", &[], annotation),
        test("objects::adoption_takes_an_annotation", &[], adoption),
        test("objects::values_are_put_into_a_secret", &[], patch),
        test("objects::immutable_stays", &[], immutable),
        test("objects::type_stays", &[], type_change),
        test("objects::secret_without_owner", &[], without_owner),
        test("objects::bad_beside_good", &[], bad_beside_good),
        test("objects::data_of_old", &[], data_of_old),
    ]
}

fn every_scope(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-scopes")?;
    for scope in SealingScope::ALL {
        let annotations: BTreeMap<_, _> = scope.annotation().map(|name| (name, "true")).into_iter().collect();
        let sealed = space.seal(
            scope.name(),
            json!({"metadata": {"annotations": annotations}, "stringData": {"password": "hunter2"}}),
        )?;
        let made = space.create(&sealed)?;
        let object = space.ready(scope.name())?;
        let secret = plain(space.has(scope.name(), &[("password", "hunter2")])?);
        let mut expected = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"password": "aHVudGVyMg=="},
            "metadata": {"name": scope.name(), "namespace": space.name, "ownerReferences": [{
                "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "name": scope.name(),
                "uid": made["metadata"]["uid"], "controller": true,
            }]},
        });
        if !annotations.is_empty() {
            expected["metadata"]["annotations"] = json!(annotations);
        }
        same(scope.name(), secret, expected)?;
        same(
            "the event",
            space.event(scope.name(), "Unsealed")?.as_str(),
            "SealedSecret unsealed successfully",
        )?;
        let status = &object["status"];
        is_so("what was applied is told", status["applied"]["digest"].is_string(), status)?;
        same(
            "the versions",
            &status["applied"]["secrets"][0]["resourceVersion"],
            &space.secret(scope.name())?["metadata"]["resourceVersion"],
        )?;
    }
    // Whoever reads the first condition, as the printer columns of upstream do, reads the state, too.
    let object = space.sealed("strict")?;
    same("the first condition", &object["status"]["conditions"][0]["status"], &json!("True"))
}

fn templates(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-templates")?;
    let binary: Vec<u8> = (0..=255).collect();
    let mut sealed = space.seal("full", json!({
        "metadata": {"labels": {"app": "shop"}, "annotations": {"note": "a \u{1f9ad}"}},
        "type": "kubernetes.io/basic-auth",
        "immutable": true,
        "data": {"password": STANDARD.encode("p:ss"), "binary": STANDARD.encode(&binary), "empty": "", "both": STANDARD.encode("item")},
    }))?;
    sealed["spec"]["template"]["data"] = json!({"url": "https://u:{{ .password }}@{{ .host | default \"h\" }}/", "username": "{{ upper \"me\" }}", "both": "template", "empty": null});
    space.create(&sealed)?;
    space.ready("full")?;
    let secret = space.secret("full")?;
    let expected: BTreeMap<String, Vec<u8>> = [
        ("password", b"p:ss".to_vec()),
        ("binary", binary),
        ("both", b"item".to_vec()),
        ("url", b"https://u:p:ss@h/".to_vec()),
        ("username", b"ME".to_vec()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    same("the values", values(&secret)?, expected)?;
    same("the type", &secret["type"], &json!("kubernetes.io/basic-auth"))?;
    same("immutable", &secret["immutable"], &json!(true))?;
    same("the labels", &secret["metadata"]["labels"], &json!({"app": "shop"}))?;
    same("the annotations", &secret["metadata"]["annotations"], &json!({"note": "a \u{1f9ad}"}))?;
    space.make("empty", json!({"data": {"nothing": ""}}))?;
    space.has("empty", &[("nothing", "")])?;
    // A template that fails says where, and nothing of the values.
    let mut sealed = space.seal("failing", json!({"stringData": {"password": "hunter2"}}))?;
    sealed["spec"]["template"]["data"] = json!({"url": "{{ fail .password }}"});
    space.create(&sealed)?;
    let message = space.failed("failing", "TemplateFailed")?;
    is_so(
        "the key is told, and no value",
        message.contains("url") && !message.contains("hunter2"),
        &json!(message),
    )?;
    space.event("failing", "ErrUnsealFailed")?;
    same("the Secret", space.find_secret("failing")?, None)
}

fn changes(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-changes")?;
    space
        .make("a", json!({"metadata": {"labels": {"old": "1"}}, "stringData": {"keep": "1", "drop": "2"}}))?;
    space.ready("a")?;
    let before = space.has("a", &[("keep", "1"), ("drop", "2")])?;
    let changed = space.change(&space.seal(
        "a",
        json!({"metadata": {"labels": {"new": "1"}}, "stringData": {"keep": "9", "add": "3"}}),
    )?)?;
    let after = space.has("a", &[("keep", "9"), ("add", "3")])?;
    let object = space.ready("a")?;
    same("the generation", &object["status"]["observedGeneration"], &changed["metadata"]["generation"])?;
    same("it is the same Secret", &after["metadata"]["uid"], &before["metadata"]["uid"])?;
    same("the labels", &after["metadata"]["labels"], &json!({"new": "1"}))?;
    // A label of the SealedSecret itself is nothing to write for.
    let version = space.secret("a")?["metadata"]["resourceVersion"].clone();
    space.patch_sealed("a", json!({"metadata": {"labels": {"team": "x"}}}))?;
    space.make("later", json!({"stringData": {"a": "b"}}))?;
    space.ready("later")?;
    same("the version", &space.secret("a")?["metadata"]["resourceVersion"], &version)
}

fn bound(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-bound")?;
    let sealed = space.make("one", json!({"stringData": {"a": "1", "b": "2"}}))?;
    space.ready("one")?;
    let renamed = json!({"apiVersion": sealed["apiVersion"], "kind": sealed["kind"], "spec": sealed["spec"],
        "metadata": {"name": "other"}});
    space.create(&renamed)?;
    let words = "no key could decrypt secret (a, b)";
    same("another name", space.failed("other", "NoKey")?.as_str(), words)?;
    same("the event", space.event("other", "ErrUnsealFailed")?, format!("Failed to unseal: {words}"))?;
    same("another name", space.find_secret("other")?, None)?;
    space.has("one", &[("a", "1"), ("b", "2")])?;
    // Sealed for the namespace, and taken for one of the whole cluster.
    let mut sealed = space.seal("wide", json!({
        "metadata": {"annotations": {"sealedsecrets.bitnami.com/namespace-wide": "true"}}, "stringData": {"a": "1"}}))?;
    sealed["metadata"]["annotations"] = json!({"sealedsecrets.bitnami.com/cluster-wide": "true"});
    space.create(&sealed)?;
    same("another scope", space.failed("wide", "NoKey")?.as_str(), "no key could decrypt secret (a)")?;
    // And for somebody else.
    let sealed = space.seal_for(
        &Pair::of(KeySize::Rsa2048)?.certificate,
        "foreign",
        json!({"stringData": {"a": "1"}}),
    )?;
    space.create(&sealed)?;
    same("another key", space.failed("foreign", "NoKey")?.as_str(), "no key could decrypt secret (a)")?;
    same("another key", space.find_secret("foreign")?, None)
}

fn annotation(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-annotation")?;
    let name = "sealedsecrets.bitnami.com/cluster-wide";
    let mut sealed =
        space.seal("late", json!({"metadata": {"annotations": {name: "true"}}, "stringData": {"a": "1"}}))?;
    sealed["metadata"].as_object_mut().ok_or("there are metadata")?.shift_remove("annotations");
    let made = space.create(&sealed)?;
    space.failed("late", "NoKey")?;
    let changed = space.patch_sealed("late", json!({"metadata": {"annotations": {name: "true"}}}))?;
    same("the generation", &changed["metadata"]["generation"], &made["metadata"]["generation"])?;
    space.ready("late")?;
    space.has("late", &[("a", "1")]).map(|_| ())
}

fn adoption(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-adoption")?;
    let foreign = |name: &str| {
        space.create_secret(
            name,
            json!({"metadata": {"labels": {"whose": "mine"}}, "stringData": {"old": "1"}}),
        )
    };
    let words = |name: &str| {
        format!("failed update: Resource {name:?} already exists and is not managed by SealedSecret")
    };
    let before = foreign("taken")?;
    space.make("taken", json!({"stringData": {"new": "2"}}))?;
    same("the message", space.failed("taken", "Unmanaged")?, words("taken"))?;
    same("the event", space.event("taken", "ErrUpdateFailed")?, words("taken"))?;
    same(
        "the Secret",
        &space.secret("taken")?["metadata"]["resourceVersion"],
        &before["metadata"]["resourceVersion"],
    )?;
    space.patch_secret(
        "taken",
        json!({"metadata": {"annotations": {"sealedsecrets.bitnami.com/managed": "true"}}}),
    )?;
    let object = space.ready("taken")?;
    let after = space.has("taken", &[("new", "2")])?;
    same("the Secret", &after["metadata"]["uid"], &before["metadata"]["uid"])?;
    same("the owner", &after["metadata"]["ownerReferences"][0]["uid"], &object["metadata"]["uid"])?;
    // Without the annotation, whoever is in the way has to go.
    foreign("waiting")?;
    space.make("waiting", json!({"stringData": {"new": "2"}}))?;
    space.failed("waiting", "Unmanaged")?;
    space.delete_secret("waiting")?;
    space.ready("waiting")?;
    space.has("waiting", &[("new", "2")]).map(|_| ())
}

fn patch(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-patch")?;
    let patch = "sealedsecrets.bitnami.com/patch";
    space.create_secret("shared", json!({"metadata": {"annotations": {patch: "true"}, "labels": {"whose": "mine"}}, "stringData": {"theirs": "1", "both": "1"}}))?;
    space.make(
        "shared",
        json!({"metadata": {"labels": {"more": "1"}}, "stringData": {"ours": "2", "both": "2"}}),
    )?;
    space.ready("shared")?;
    let secret = space.has("shared", &[("theirs", "1"), ("ours", "2"), ("both", "2")])?;
    same("the owners", &secret["metadata"]["ownerReferences"], &Json::Null)?;
    same("the labels", &secret["metadata"]["labels"], &json!({"more": "1", "whose": "mine"}))?;
    // Both: it becomes ours, and what is theirs stays.
    space.create_secret("owned", json!({"metadata": {"annotations": {patch: "true", "sealedsecrets.bitnami.com/managed": "true"}}, "stringData": {"theirs": "1"}}))?;
    let made = space.make("owned", json!({"stringData": {"ours": "2"}}))?;
    space.ready("owned")?;
    let secret = space.has("owned", &[("theirs", "1"), ("ours", "2")])?;
    same("the owner", &secret["metadata"]["ownerReferences"][0]["uid"], &made["metadata"]["uid"])
}

fn immutable(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-immutable")?;
    space.make("fixed", json!({"immutable": true, "stringData": {"a": "1"}}))?;
    space.ready("fixed")?;
    let before = space.has("fixed", &[("a", "1")])?;
    space.change(&space.seal("fixed", json!({"immutable": true, "stringData": {"a": "2"}}))?)?;
    let message = space.failed("fixed", "Immutable")?;
    is_so("it is told", message.starts_with("the target Secret is immutable."), &json!(message))?;
    space.event("fixed", "ErrUpdateFailed")?;
    same("the Secret", space.secret("fixed")?, before)?;
    space.delete_secret("fixed")?;
    space.ready("fixed")?;
    space.has("fixed", &[("a", "2")]).map(|_| ())
}

fn type_change(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-type")?;
    space.make("typed", json!({"stringData": {"username": "1", "password": "2"}}))?;
    space.ready("typed")?;
    space.change(&space.seal(
        "typed",
        json!({"type": "kubernetes.io/basic-auth", "stringData": {"username": "1", "password": "2"}}),
    )?)?;
    let message = space.failed("typed", "UpdateFailed")?;
    is_so(
        "it is told",
        message.contains("\"Opaque\"") && message.contains("kubernetes.io/basic-auth"),
        &json!(message),
    )?;
    same("the type", &space.secret("typed")?["type"], &json!("Opaque"))?;
    space.delete_secret("typed")?;
    space.ready("typed")?;
    same("the type", &space.secret("typed")?["type"], &json!("kubernetes.io/basic-auth"))
}

fn without_owner(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-owner")?;
    let skip = "sealedsecrets.bitnami.com/skip-set-owner-references";
    space.make("free", json!({"metadata": {"annotations": {skip: "true"}}, "stringData": {"a": "1"}}))?;
    space.ready("free")?;
    let secret = space.has("free", &[("a", "1")])?;
    same("the owners", &secret["metadata"]["ownerReferences"], &Json::Null)?;
    // It is healed as others are, and goes on when the object changes.
    space.patch_secret("free", json!({"data": {"a": STANDARD.encode("x")}}))?;
    space.has("free", &[("a", "1")])?;
    space.change(
        &space
            .seal("free", json!({"metadata": {"annotations": {skip: "true"}}, "stringData": {"a": "2"}}))?,
    )?;
    space.has("free", &[("a", "2")])?;
    space.delete_secret("free")?;
    space.has("free", &[("a", "2")]).map(|_| ())
}

/// What is broken is told in its own status, and stops nobody.
fn bad_beside_good(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-bad")?;
    let object = |name: &str, spec: Json| json!({"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": name}, "spec": spec});
    space.create(&object("broken", json!({"encryptedData": {"a": "?", "b": "AAA="}})))?;
    space.create(&object("empty", json!({"encryptedData": {}})))?;
    space.make("good", json!({"stringData": {"a": "1"}}))?;
    space.ready("good")?;
    let message = space.failed("broken", "NoKey").or_else(|_| space.failed("broken", "UnsealFailed"))?;
    is_so(
        "both are told, in order",
        message.starts_with("illegal base64 data at input byte 0 (a)\n") && message.ends_with("(b)"),
        &json!(message),
    )?;
    space.ready("empty")?;
    space.has("empty", &[])?;
    // Odd ones that the definition lets through, and others that it does not.
    let mut taken = 0;
    for (number, spec) in [
        json!({"encryptedData": {"a": 5}}),
        json!({"encryptedData": "text"}),
        json!({"encryptedData": {"a": {"b": "c"}}}),
        json!({"encryptedData": {"a": "x"}, "template": {"metadata": {"labels": {"a": "\u{1f9ad}"}, "finalizers": ["x"], "generateName": "g", "uid": "u"}}}),
        json!({"encryptedData": {"a": "x"}, "data": ""}),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("odd-{number}");
        let path = format!("/apis/bitnami.com/v1alpha1/namespaces/{}/sealedsecrets", space.name);
        if lab.ask(&path, &Deed::Create(&object(&name, spec))).is_err() {
            continue;
        }
        taken += 1;
        lab.wait(&name, || Ok((condition(&space.sealed(&name)?, "Synced")["status"] == "False").then_some(())))?;
        same("the Secret", space.find_secret(&name)?, None)?;
    }
    is_so("some odd ones are taken", taken > 0, &json!(taken))?;
    // What the API server does not take is told, and tried again.
    let sealed = space
        .seal("refused", json!({"metadata": {"labels": {"a": "not a label!"}}, "stringData": {"a": "1"}}))?;
    space.create(&sealed)?;
    let message = space.failed("refused", "UpdateFailed")?;
    is_so("it is told", message.contains("Invalid: metadata.labels"), &json!(message))?;
    space.make("after", json!({"stringData": {"a": "1"}}))?;
    space.ready("after").map(|_| ())
}

fn data_of_old(lab: &Lab) -> Result<(), Failed> {
    let space = lab.space("obj-old")?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other", "namespace": "other", "labels": {"a": "b"}},
        "type": "Opaque", "data": {"password": STANDARD.encode("hunter2")}});
    let certificate = SealingCert::parse(lab.common()?.certificate()?.as_bytes())?;
    let data = certificate.seal_value(
        &secret.to_string().into(),
        SealingScope::Strict,
        &space.name,
        "old",
        &mut OsRng,
    )?;
    space.create(
        &json!({"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "old"},
        "spec": {"data": data, "encryptedData": {}}}),
    )?;
    let object = space.ready("old")?;
    let secret = space.has("old", &[("password", "hunter2")])?;
    same("the labels", &secret["metadata"]["labels"], &json!({"a": "b"}))?;
    same("the owner", &secret["metadata"]["ownerReferences"][0]["uid"], &object["metadata"]["uid"])
}

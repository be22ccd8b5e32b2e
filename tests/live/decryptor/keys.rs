//! Sealing keys: made, renewed, restored, retired and broken.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use selkie::sealed::{KeySize, SealingCert};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::lab::{Deed, Lab};
use super::process::Process;
use super::space::{Space, values};
use super::{is_so, same, test};
use crate::live::sealed_secrets::Pair;

pub fn tests() -> Vec<Trial> {
    vec![
        test("keys::first_key_is_as_upstream_makes_it", &[], first),
        test("keys::are_renewed", &[], renewal),
        test("keys::restored_ones_are_used_at_once", &[], restored),
        test("keys::retired_and_broken_ones_are_not", &[], retired),
        test("keys::cutoff_makes_one_more", &[], cutoff),
    ]
}

/// A namespace with a controller of its own, which works there alone.
struct Home<'a> {
    space: Space<'a>,
    controller: Process,
}

impl<'a> Home<'a> {
    fn start(lab: &'a Lab, name: &str, account: &Path, flags: &[&str]) -> Result<Self, Failed> {
        let flags = [&OWN[..], flags].concat();
        let controller = Process::start(lab, name, "one", account, &flags)?;
        let space = Space::new(lab, name, controller.certificate()?);
        Ok(Self { space, controller })
    }

    fn make(&self, name: &str) -> Result<(), Failed> {
        self.make_for(&self.controller.certificate()?, name)
    }

    fn make_for(&self, certificate: &str, name: &str) -> Result<(), Failed> {
        let mut sealed = self.space.seal_for(certificate, name, json!({"stringData": {"a": name}}))?;
        sealed["metadata"]["labels"] = json!({"lab": "own"});
        self.space.create(&sealed).map(|_| ())
    }
}

fn first(lab: &Lab) -> Result<(), Failed> {
    let account = lab.home("keys-first")?;
    let flags = [
        "--privatekey-annotations=note=x",
        "--privatekey-labels=team=a,sealedsecrets.bitnami.com/sealed-secrets-key=no",
    ];
    let home = Home::start(lab, "keys-first", &account, &flags)?;
    let keys = keys_of(lab, "keys-first")?;
    same("how many", keys.len(), 1)?;
    let key = &keys[0];
    let name = key["metadata"]["name"].as_str().unwrap_or_default();
    is_so("the name", name.len() == PREFIX.len() + 5 && name.starts_with(PREFIX), &json!(name))?;
    same("the type", &key["type"], &json!("kubernetes.io/tls"))?;
    same("the labels", &key["metadata"]["labels"], &json!({"team": "a", LABEL: "active"}))?;
    same("the annotations", &key["metadata"]["annotations"], &json!({"note": "x"}))?;
    same("the owners", &key["metadata"]["ownerReferences"], &Json::Null)?;
    same("immutable", &key["immutable"], &Json::Null)?;
    let values = values(key)?;
    same("the values", values.keys().map(String::as_str).collect::<Vec<_>>(), vec!["tls.crt", "tls.key"])?;
    is_so(
        "the form of the key",
        values["tls.key"].starts_with(b"-----BEGIN RSA PRIVATE KEY-----"),
        &Json::Null,
    )?;
    let certificate = home.controller.certificate()?;
    same("the certificate", certificate.as_bytes(), &values["tls.crt"])?;
    same("the size", SealingCert::parse(certificate.as_bytes())?.bits(), 4096)?;
    let log = home.controller.log()?;
    let private = String::from_utf8_lossy(&values["tls.key"]).lines().nth(1).unwrap_or_default().to_owned();
    is_so("the key is not logged", !log.contains(&private), &json!(log))?;
    is_so(
        "the new key is told",
        log.contains("New key written") && log.contains("registered private key"),
        &json!(log),
    )?;
    home.make("a")?;
    home.space.ready("a")?;
    home.space.has("a", &[("a", "a")])?;
    // After a restart it is the same key, and no other one.
    home.controller.end()?;
    let home = Home::start(lab, "keys-first", &account, &flags)?;
    same("the certificate", home.controller.certificate()?, certificate.clone())?;
    same("how many", keys_of(lab, "keys-first")?.len(), 1)?;
    // A signal makes one more.
    home.controller.signal(rustix::process::Signal::USR1)?;
    lab.wait("another key", || Ok((home.controller.certificate()? != certificate).then_some(())))?;
    same("how many", keys_of(lab, "keys-first")?.len(), 2)?;
    home.controller.end()
}

fn renewal(lab: &Lab) -> Result<(), Failed> {
    let account = lab.home("keys-renewal")?;
    let old = Pair::of(KeySize::Rsa2048)?;
    restore(lab, "keys-renewal", "restored", old)?;
    // Soon after the start. One key has to do for a while then, however short the period is.
    let age = now() - certificate_start(&old.certificate)?;
    let flag = format!("--key-renew-period={}s", age.whole_seconds() + 8);
    let home = Home::start(lab, "keys-renewal", &account, &[SMALL, &flag])?;
    same("the certificate", home.controller.certificate()?, old.certificate.clone())?;
    home.make_for(&old.certificate, "old")?;
    home.space.ready("old")?;
    let new = lab.wait("another key", || {
        Ok(Some(home.controller.certificate()?).filter(|it| *it != old.certificate))
    })?;
    home.make_for(&old.certificate, "old-later")?;
    home.make_for(&new, "new")?;
    for name in ["old-later", "new"] {
        home.space.ready(name)?;
    }
    same("how many", keys_of(lab, "keys-renewal")?.len(), 2)?;
    home.controller.end()
}

/// Whoever restores a backup gets the keys back, and no other ones.
fn restored(lab: &Lab) -> Result<(), Failed> {
    let account = lab.home("keys-restored")?;
    let (first, second) = (Pair::of(KeySize::Rsa2048)?, Pair::another()?);
    restore(lab, "keys-restored", "first", first)?;
    let home = Home::start(lab, "keys-restored", &account, &[SMALL])?;
    same("the certificate", home.controller.certificate()?, first.certificate.clone())?;
    home.make_for(&second.certificate, "early")?;
    same("the message", home.space.failed("early", "NoKey")?.as_str(), "no key could decrypt secret (a)")?;
    restore(lab, "keys-restored", "second", second)?;
    // It is tried again as soon as there is another key.
    home.space.ready("early")?;
    home.space.has("early", &[("a", "early")])?;
    home.make_for(&first.certificate, "later")?;
    home.space.ready("later")?;
    same("how many", keys_of(lab, "keys-restored")?.len(), 2)?;
    same("the metric", home.controller.metric("selkie_keyset_generation")? >= 2.0, true)?;
    // All of them are gone for a moment, as when somebody restores a backup with `kubectl replace --force`.
    for name in ["first", "second"] {
        lab.act(&format!("/api/v1/namespaces/keys-restored/secrets/{name}"), Deed::Delete)?;
    }
    lab.wait("they are missed", || {
        Ok(home.controller.log()?.contains("a key Secret is gone").then_some(()))
    })?;
    home.make_for(&first.certificate, "meanwhile")?;
    home.space.ready("meanwhile")?;
    for (name, pair) in [("first", first), ("second", second)] {
        restore(lab, "keys-restored", name, pair)?;
    }
    home.make_for(&second.certificate, "afterwards")?;
    home.space.ready("afterwards")?;
    lab.wait("the certificate is back", || {
        Ok(home
            .controller
            .certificate()
            .ok()
            .filter(|it| [&first.certificate, &second.certificate].contains(&it)))
    })?;
    same("how many", keys_of(lab, "keys-restored")?.len(), 2)?;
    home.controller.end()
}

fn retired(lab: &Lab) -> Result<(), Failed> {
    let account = lab.home("keys-retired")?;
    let (first, second) = (Pair::of(KeySize::Rsa2048)?, Pair::another()?);
    restore(lab, "keys-retired", "first", first)?;
    restore(lab, "keys-retired", "second", second)?;
    let broken = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "broken", "labels": {LABEL: "active"}},
        "data": {"tls.crt": STANDARD.encode("x"), "tls.key": STANDARD.encode("hush-hush")}});
    lab.act("/api/v1/namespaces/keys-retired/secrets", Deed::Create(&broken))?;
    let home = Home::start(lab, "keys-retired", &account, &[SMALL])?;
    for (pair, name) in [(first, "a"), (second, "b")] {
        home.make_for(&pair.certificate, name)?;
        home.space.ready(name)?;
    }
    let broken = lab.wait("the broken key is counted", || {
        Ok(Some(home.controller.metric("selkie_key_secrets_broken")?).filter(|count| *count > 0.0))
    })?;
    same("broken keys", broken, 1.0)?;
    let log = home.controller.log()?;
    is_so(
        "it is told, but not what is in it",
        log.contains("a key Secret cannot be read") && !log.contains("hush"),
        &json!(log),
    )?;
    let label = json!({"metadata": {"labels": {LABEL: "compromised"}}});
    lab.act("/api/v1/namespaces/keys-retired/secrets/second", Deed::Patch(&label))?;
    lab.wait("it is retired", || Ok(home.controller.log()?.contains("as its label says").then_some(())))?;
    home.make_for(&second.certificate, "c")?;
    same("the message", home.space.failed("c", "NoKey")?.as_str(), "no key could decrypt secret (a)")?;
    same("the certificate", home.controller.certificate()?, first.certificate.clone())?;
    // What was made before stays.
    home.space.has("b", &[("a", "b")])?;
    // And back.
    lab.act(
        "/api/v1/namespaces/keys-retired/secrets/second",
        Deed::Patch(&json!({"metadata": {"labels": {LABEL: "active"}}})),
    )?;
    home.space.ready("c")?;
    same("how many", keys_of(lab, "keys-retired")?.len(), 3)?;
    home.controller.end()
}

fn cutoff(lab: &Lab) -> Result<(), Failed> {
    let account = lab.home("keys-cutoff")?;
    let old = Pair::of(KeySize::Rsa2048)?;
    restore(lab, "keys-cutoff", "old", old)?;
    // Certificates count seconds.
    lab.wait("a second", || Ok((certificate_start(&old.certificate)? < now()).then_some(())))?;
    let flag = format!("--key-cutoff-time={}", now().format(&Rfc2822)?);
    let home = Home::start(lab, "keys-cutoff", &account, &[SMALL, &flag])?;
    let new = lab.wait("another key", || {
        Ok(Some(home.controller.certificate()?).filter(|it| *it != old.certificate))
    })?;
    home.make_for(&old.certificate, "before")?;
    home.make_for(&new, "after")?;
    for name in ["before", "after"] {
        home.space.ready(name)?;
    }
    home.controller.end()?;
    let home = Home::start(lab, "keys-cutoff", &account, &[SMALL, &flag])?;
    same("the certificate", home.controller.certificate()?, new)?;
    same("how many", keys_of(lab, "keys-cutoff")?.len(), 2)?;
    home.controller.end()
}

/// Returns the key Secrets of a namespace.
pub fn keys_of(lab: &Lab, namespace: &str) -> Result<Vec<Json>, Failed> {
    let path = format!("/api/v1/namespaces/{namespace}/secrets?labelSelector={}", LABEL.replace('/', "%2F"));
    Ok(lab.act(&path, Deed::Get)?["items"].as_array().cloned().unwrap_or_default())
}

/// Puts a key back, as `kubectl apply` does with a backup.
pub fn restore(lab: &Lab, namespace: &str, name: &str, pair: &Pair) -> Result<(), Failed> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: "active"}},
        "data": {"tls.crt": STANDARD.encode(&pair.certificate), "tls.key": STANDARD.encode(pair.key.expose_secret())}});
    lab.cluster.apply(secret.to_string())
}

fn certificate_start(pem: &str) -> Result<OffsetDateTime, Failed> {
    let validity = SealingCert::parse(pem.as_bytes())?.validity().ok_or("it has an end")?;
    Ok(validity.not_before)
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or_else(|_| OffsetDateTime::now_utc())
}

/// What a controller is told that works in its own namespace alone.
pub const OWN: [&str; 4] =
    ["--all-namespaces=false", "--kubeclient-qps=-1", "--rate-limit=1000", "--rate-limit-burst=1000"];
/// What makes keys fast.
pub const SMALL: &str = "--key-size=2048";
/// The label of key Secrets.
pub const LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";
const PREFIX: &str = "sealed-secrets-key";

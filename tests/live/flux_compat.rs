//! One tree through Flux's kustomize-controller and through our own post-build mode: the same values arrive.
//!
//! The tree is that of `testdata/render/flux`, in the shape of the trees that Flux's own tests use.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::flux::{self, Kustomization, Lab};
use super::sync_engine::{Controller, is_so, same, tool, wait};
use crate::peer::{Peer, output};

/// Returns the tests that need kustomize, or Flux.
pub fn tests() -> Vec<Trial> {
    vec![
        Peer::Kustomize.test("what_it_builds_is_taken_with_its_files", |kustomize| is_taken(&kustomize)),
        Peer::Kustomize
            .test("what_was_changed_before_it_built_is_refused", |kustomize| is_refused(&kustomize)),
        flux::test("and_our_post_build_mode_bring_the_same", &[Peer::Kustomize, Peer::Gpg], brings_the_same),
        flux::test("applies_what_we_deferred", &[], applies_deferred),
    ]
}

/// Everything is decrypted, as a policy allows, and without it what would be in a ConfigMap is refused.
fn is_taken(kustomize: &Path) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let source = copy_tree(folder.path())?;
    let built = output(Command::new(kustomize).arg("build").arg(&source))?;
    let policy = folder.path().join("policy.yaml");
    fs::write(&policy, format!("rules: [{{match: {{}}, preset: flux, keys: [{}]}}]\n", keys().display()))?;
    let rendered = render(&[("--policy", &policy)], &source, &built)?;
    let text = text_of(&rendered)?;
    for value in ["value-whole", "value-nested", "key: value-env"] {
        is_so("it is there", text.contains(value), value)?;
    }
    for value in ["value-age", "value-age-pq", "value-pgp", "value-component", "value-file\n", "value-merge1"]
    {
        is_so("it is there", text.contains(&STANDARD.encode(value)), value)?;
    }
    is_so("nothing is encrypted", !text.contains("ENC[") && !text.contains("sops_"), &text)?;
    let refused = render(&[("--keys", &keys())], &source, &built)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    is_so("it is refused", !refused.status.success() && refused.stdout.is_empty(), &said)?;
    is_so("it is said why", said.contains("ConfigMap") && said.contains("let the policy allow it"), &said)?;
    fs::write(&policy, "rules: [{match: {projects: [a]}, preset: flux}]\n")?;
    let refused = render(&[("--policy", &policy)], &source, &built)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    is_so("it is refused", !refused.status.success() && refused.stdout.is_empty(), &said)?;
    is_so("it is said why", said.contains("no rule of the policy"), &said)
}

/// What nobody with a key wrote does not come out, though kustomize builds it.
fn is_refused(kustomize: &Path) -> Result<(), Failed> {
    for (file, from, to) in [
        ("algorithms/age.yaml", "name: age", "name: other"),
        ("envs/env.env", "\nspaced=", "\nother="),
        ("releases/whole.yaml", "interval: 1h", "interval: 2h"),
    ] {
        let folder = tempfile::tempdir()?;
        let source = copy_tree(folder.path())?;
        let text = fs::read_to_string(source.join(file))?;
        fs::write(source.join(file), text.replacen(from, to, 1))?;
        let built = output(Command::new(kustomize).arg("build").arg(&source))?;
        let refused = render(&[("--keys", &keys())], &source, &built)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        is_so("it is refused", !refused.status.success() && refused.stdout.is_empty(), &said)?;
        is_so("it is said where", said.contains(file) && !said.contains("value-"), &said)?;
    }
    Ok(())
}

/// Flux decrypts the tree, and applies what we made of it after a build: the same objects are there.
fn brings_the_same(lab: &Lab) -> Result<(), Failed> {
    let (theirs, ours) = ("flux-compat-theirs", "flux-compat-ours");
    let source = copy_tree(&lab.new_folder(theirs)?)?;
    // Of these no definition is there.
    let file = source.join("kustomization.yaml");
    fs::write(&file, fs::read_to_string(&file)?.replace(", releases", ""))?;
    let names = ["age.agekey", "age-pq.agekey", "pgp.asc"];
    let secrets: Result<Vec<_>, _> = names.iter().map(|name| fs::read(keys().join(name))).collect();
    let secrets = secrets?;
    let entries: Vec<_> =
        names.iter().zip(&secrets).map(|(name, secret)| (*name, secret.as_slice())).collect();
    lab.make_keys(theirs, &entries)?;
    let revision = lab.publish(theirs, &source)?;
    lab.apply(&Kustomization { name: theirs, source: theirs, path: "./", keys: Some(theirs) })?;
    lab.ready(theirs, &revision)?;

    let kustomize = super::sync_engine::path_of(Peer::Kustomize)?;
    let built = output(Command::new(kustomize).arg("build").arg(&source))?;
    let rendered =
        render(&[("--keys", &keys()), ("--allow-taint", Path::new("ConfigMap"))], &source, &built)?;
    let folder = lab.new_folder(ours)?;
    fs::write(folder.join("all.yaml"), text_of(&rendered)?)?;
    let revision = lab.publish(ours, &folder)?;
    lab.apply(&Kustomization { name: ours, source: ours, path: "./", keys: None })?;
    lab.ready(ours, &revision)?;

    for kind in ["secrets", "configmaps"] {
        let (theirs, ours) = (data(lab, theirs, kind)?, data(lab, ours, kind)?);
        is_so("there are some", theirs.len() > 1, format!("{kind}: {theirs:?}"))?;
        same(kind, ours, theirs)?;
    }
    Ok(())
}

/// Flux applies SopsSecrets that carry what was encrypted, and our controller opens them: no plaintext is in between.
fn applies_deferred(lab: &Lab) -> Result<(), Failed> {
    let name = "flux-compat-deferred";
    Controller::get()?;
    let folder = lab.new_folder(name)?;
    let source = folder.join("source");
    fs::create_dir_all(&source)?;
    fs::copy(tree().join("algorithms/age.yaml"), source.join("age.yaml"))?;
    let deferred = ours().args(["--mode", "defer", "--key-secret", "own"]).arg(&source).output()?;
    let text = text_of(&deferred)?;
    is_so("it is carried", text.contains("kind: SopsSecret") && text.contains("ENC["), &text)?;
    let published = folder.join("published");
    fs::create_dir_all(&published)?;
    fs::write(published.join("all.yaml"), text)?;
    lab.ground.cluster.make_namespace(name)?;
    let key = STANDARD.encode(fs::read(keys().join("age.agekey"))?);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own", "namespace": name},
        "data": {"own.agekey": key},
    });
    lab.ground.cluster.apply(secret.to_string())?;
    let revision = lab.publish(name, &published)?;
    lab.apply(&Kustomization { name, source: name, path: "./", keys: None })?;
    lab.ready(name, &revision)?;
    let value = wait("the Secret is there", || {
        let path = format!("/api/v1/namespaces/{name}/secrets/age");
        let secret = lab.ground.find(&path)?.ok_or_else(|| "none".to_owned());
        Ok(secret.and_then(|secret| {
            secret["data"]["key"].as_str().map(str::to_owned).ok_or_else(|| "no key".to_owned())
        }))
    })?;
    same("the value", value, STANDARD.encode("value-age"))
}

/// Returns what is in the objects of a kind, but for what is there of itself.
fn data(lab: &Lab, namespace: &str, kind: &str) -> Result<BTreeMap<String, Json>, Failed> {
    let list = lab.ground.object(&format!("/api/v1/namespaces/{namespace}/{kind}"))?;
    let items = list["items"].as_array().ok_or("there is a list")?;
    let mut found = BTreeMap::new();
    for item in items {
        let name = item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if !name.starts_with("sops-") {
            continue;
        }
        let mut data = item["data"].clone();
        // Flux writes it anew, with a line break that is not in it: what it says is the same.
        if let Some(entry) = data.get_mut(".dockerconfigjson") {
            let text = STANDARD.decode(entry.as_str().unwrap_or_default())?;
            *entry = serde_json::from_slice(&text)?;
        }
        found.insert(name, data);
    }
    Ok(found)
}

/// Renders what was built of a folder.
fn render(flags: &[(&str, &Path)], source: &Path, built: &[u8]) -> Result<Output, Failed> {
    let mut command = ours();
    for (flag, value) in flags {
        command.arg(flag).arg(value);
    }
    command.arg("--source").arg(source).arg("-");
    let mut input = tempfile::tempfile()?;
    input.write_all(built)?;
    input.rewind()?;
    Ok(command.stdin(Stdio::from(input)).output()?)
}

fn ours() -> Command {
    let mut command = tool(env!("CARGO_BIN_EXE_selkie-decryptor"));
    command.arg("render");
    command
}

fn text_of(output: &Output) -> Result<String, Failed> {
    let said = String::from_utf8_lossy(&output.stderr);
    is_so("it is rendered", output.status.success(), said)?;
    Ok(String::from_utf8(output.stdout.clone())?)
}

/// Copies the tree into a folder.
fn copy_tree(folder: &Path) -> Result<PathBuf, Failed> {
    output(tool("cp").arg("-r").arg(tree()).arg(folder))?;
    Ok(folder.join("source"))
}

fn tree() -> PathBuf {
    testdata().join("source")
}

fn keys() -> PathBuf {
    testdata().join("keys")
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/render/flux")
}

//! Tests: what kustomize makes of encrypted files is taken, with all values, and what was done to it since is refused.
//!
//! The trees are those of `testdata/render/flux`, encrypted by sops and built by kustomize.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{entry, preset};
use crate::keys::KeyService;
use crate::keys::age::{AgeService, Identities};
use crate::keys::pgp::{PgpKeys, PgpService};
use crate::render::policy::Rule;
use crate::render::{EmitMode, Engine, Files, Limits, Memory, RenderError, by_name, emit};
use crate::sealed::encode_base64;
use crate::secret::SecretBytes;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/render/flux")
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the files below `source`.
fn tree() -> Memory {
    fn walk(files: &mut Memory, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            let inside = format!("{prefix}{name}");
            if path.is_dir() {
                walk(files, &path, &format!("{inside}/"));
            } else {
                files.insert(&inside, fs::read(&path).expect("a file")).expect("a path");
            }
        }
    }
    let mut files = Memory::default();
    walk(&mut files, &folder().join("source"), "");
    files
}

fn services() -> Vec<Box<dyn KeyService>> {
    let mut identities = Identities::new();
    for name in ["keys/age.agekey", "keys/age-pq.agekey"] {
        let layout = crate::keys::age::IdentityLayout::Lines;
        identities.add(name, &read(name).as_str().into(), layout).expect("identities");
    }
    let mut keys = PgpKeys::new();
    keys.add(&read("keys/pgp.asc").as_str().into(), None).expect("a key");
    vec![Box::new(AgeService::new(identities)), Box::new(PgpService::new().with_keys(keys))]
}

/// Renders a stream that was built of some files.
fn render(rule: &Rule, files: &dyn Files, stream: &str) -> Result<Vec<Json>, RenderError> {
    let services = services();
    let services: Vec<&dyn KeyService> = services.iter().map(AsRef::as_ref).collect();
    let limits = Limits::default();
    let engine = Engine { services: Some(&services), sealing_keys: None, rule, limits: &limits };
    let mut sources = engine.open(files, &by_name(files))?;
    let documents = engine.stream(&SecretBytes::from(stream), &mut sources)?;
    Ok(emit(rule, &limits, &sources, &documents, &EmitMode::Plain)?.objects)
}

fn find<'a>(objects: &'a [Json], kind: &str, name: &str) -> &'a Json {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{kind} {name}"))
}

/// Makes sure that all values are there, under names that end so.
fn has_all(objects: &[Json], suffix: &str) {
    for (name, key, value) in [
        ("algo-age", "key", "value-age"),
        ("algo-age", "another", "other-age"),
        ("algo-age-pq", "key", "value-age-pq"),
        ("algo-pgp", "key", "value-pgp"),
        ("component", "key", "value-component"),
        ("envs-secret", "key", "value-env"),
        ("envs-secret", "spaced", "a = b"),
        ("files-secret", "key", "value-file\n"),
        ("inside-secret", "key", "value-inside\n"),
        ("patches-secret", "key", "value-merge1"),
        ("patches-secret", "merge2", "value-merge2"),
        ("global", "key", "value-global"),
    ] {
        let secret = find(objects, "Secret", &format!("sops-{name}{suffix}"));
        assert_eq!(entry(secret, key), value, "{key} of {name}");
    }
    let docker = entry(find(objects, "Secret", &format!("sops-inside-secret{suffix}")), ".dockerconfigjson");
    let docker: Json = serde_json::from_str(&docker).expect("JSON, as sops has laid it out");
    assert_eq!(docker, json!({"auths": {"registry.example": {"auth": "value-docker"}}}));
    let config = |name: &str| find(objects, "ConfigMap", &format!("sops-{name}{suffix}"))["data"].clone();
    assert_eq!(config("envs-configmap"), json!({"key": "value-env", "spaced": "a = b"}));
    assert_eq!(config("files-configmap"), json!({"key": "value-file\n"}));
    let values = |name: &str| {
        find(objects, "HelmRelease", &format!("sops-release-{name}{suffix}"))["spec"]["values"].clone()
    };
    assert_eq!(values("nested"), json!({"password": "value-nested", "port": 8080}));
    assert_eq!(
        values("whole"),
        json!({"replicas": 3, "password": "value-whole", "list": ["value-first", true]})
    );
    let all = json!(objects).to_string();
    assert!(!all.contains("ENC[") && !all.contains("sops_") && !all.contains("selkiex"), "{all}");
}

/// Returns the encrypted value behind a text.
fn leaf_after<'a>(text: &'a str, before: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before}"));
    let start = rest.find("ENC[").expect("a value");
    let end = rest[start..].find(']').expect("its end");
    &rest[start..=start + end]
}

#[test]
fn what_kustomize_does_to_files_is_taken() {
    has_all(&render(&preset(), &tree(), &read("built/plain.yaml")).expect("it is taken"), "");
    let objects = render(&preset(), &tree(), &read("built/overlay.yaml")).expect("it is taken");
    has_all(&objects, "-v2");
    let secret = find(&objects, "Secret", "sops-algo-age-v2");
    assert_eq!(secret["metadata"]["namespace"], "shop");
    assert_eq!(secret["metadata"]["labels"]["app.example/team"], "shop");
    assert!(secret["metadata"]["annotations"]["config.kubernetes.io/origin"].is_string());
}

#[test]
fn values_come_out_of_secrets_only_where_that_is_allowed() {
    let stream = read("built/plain.yaml");
    let secrets: Vec<_> =
        stream.split("\n---\n").filter(|object| object.contains("\nkind: Secret\n")).collect();
    let objects = render(&Rule::default(), &tree(), &secrets.join("\n---\n")).expect("Secrets");
    assert_eq!(objects.len(), secrets.len());
    let refused = render(&Rule::default(), &tree(), &stream).expect_err("ConfigMaps");
    assert!(matches!(&refused, RenderError::Taint { kind, .. } if kind == "ConfigMap"), "{refused:?}");
}

#[test]
fn what_was_done_to_a_stream_since_is_refused() {
    let stream = read("built/plain.yaml");
    let age = leaf_after(&read("source/algorithms/age.yaml"), "\n    key:").to_owned();
    assert!(stream.contains(&age), "the stream has it as it is");
    // What was there before somebody changed the password, in the same place for the same key.
    let (head, rest) = age.split_at("ENC[AES256_GCM,data:".len());
    let first = if rest.starts_with('A') { "B" } else { "A" };
    let old = format!("{head}{first}{}", &rest[1..]);
    for (changed, what) in [
        (stream.replace(&age, &old), "another ciphertext"),
        (stream.replace(&age, &age[..age.len() - 12]), "a part of one"),
        (stream.replace(&age, &format!("x{age}")), "more than one"),
        (
            stream.replace("key: YmFzZQ==", &format!("key: {}", encode_base64(old.as_bytes()))),
            "one in base64",
        ),
    ] {
        assert_ne!(changed, stream, "{what}");
        let refused = render(&preset(), &tree(), &changed).expect_err(what);
        assert!(matches!(refused, RenderError::LeftEncrypted { .. }), "{what}: {refused:?}");
        assert!(!format!("{refused:?}").contains("ENC["), "{what}: {refused:?}");
    }
    // A value in another Secret may be the work of what built it, and in anything else it is told.
    let deployment =
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{key: '{age}'}}\n");
    let refused = render(&Rule::default(), &tree(), &deployment).expect_err("outside of a Secret");
    assert!(matches!(refused, RenderError::Taint { .. }), "{refused:?}");
    let annotated = stream.replacen(
        "  name: sops-algo-age\n",
        &format!("  name: sops-algo-age\n  annotations: {{key: '{age}'}}\n"),
        1,
    );
    let refused = render(&Rule::default(), &tree(), annotated.split("\n---\n").nth(2).expect("a Secret"));
    assert!(matches!(refused, Err(RenderError::Taint { .. })), "{:?}", refused.err());
}

#[test]
fn a_stream_needs_the_files_that_it_was_built_of() {
    let stream = read("built/plain.yaml");
    let refused = render(&preset(), &Memory::default(), &stream).expect_err("no files");
    assert!(matches!(refused, RenderError::LeftEncrypted { .. } | RenderError::Mac { .. }), "{refused:?}");
    for path in ["algorithms/age.yaml", "envs/env.env", "patches/merge1.yaml", "component/env.env"] {
        let mut files = Memory::default();
        let all = tree();
        for other in all.paths().iter().filter(|other| *other != path) {
            files.insert(other, all.read(other).expect("a file")).expect("a path");
        }
        let refused = render(&preset(), &files, &stream).expect_err(path);
        assert!(
            matches!(refused, RenderError::LeftEncrypted { .. } | RenderError::Mac { .. }),
            "{path}: {refused:?}"
        );
    }
}

#[test]
fn files_that_were_changed_are_refused_before_the_stream_is_looked_at() {
    let stream = read("built/plain.yaml");
    for (path, from, to) in [
        ("algorithms/age.yaml", "name: age", "name: other"),
        ("algorithms/pgp.yaml", "Secret", "ConfigMap"),
        ("envs/env.env", "\nspaced=", "\nother="),
        ("patches/merge2.yaml", "name: secret", "name: global"),
        ("releases/whole.yaml", "interval: 1h", "interval: 2h"),
    ] {
        let mut files = tree();
        let text = read(&format!("source/{path}"));
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{path}");
        files.insert(path, changed.as_str()).expect("a path");
        let refused = render(&preset(), &files, &stream).expect_err(path);
        let is_told = matches!(&refused, RenderError::Mac { .. } | RenderError::Open { .. });
        assert!(is_told, "{path}: {refused:?}");
    }
}

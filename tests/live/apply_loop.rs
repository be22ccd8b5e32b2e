//! The example `apply_loop`, against a real API server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::cluster::{self, Cluster};
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    vec![cluster::test("the_example_applies_a_folder", &[Peer::Sops313], applies)]
}

fn applies(cluster: &Cluster) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(path, text)
    };
    write("key.txt", IDENTITY)?;
    write("tree/namespace.yaml", &namespace().to_string())?;
    write("tree/config.yaml", &object("ConfigMap", &json!({"a": "1"})).to_string())?;
    write("tree/secret.yaml", SECRET)?;
    encrypt(folder.path())?;
    let run = || example(cluster, folder.path());
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let first = run()?;
    let created = "Namespace apply-loop: created\nConfigMap a: created\nSecret a: created\n";
    same(&said(&first), created, &first)?;
    let value = ["get", "secret", "a", "--namespace=apply-loop", "--output=jsonpath={.data.password}"];
    let value = output(&mut cluster.kubectl(value)?)?;
    same(&String::from_utf8_lossy(&value), "aHVudGVyMg==", &first)?;
    let second = run()?;
    same(&said(&second), "", &second)?;
    write("tree/config.yaml", &object("ConfigMap", &json!({"a": "2"})).to_string())?;
    let third = run()?;
    same(&said(&third), "ConfigMap a: changed\n", &third)?;
    // Of what somebody changed nothing is applied, and nothing beside it.
    write("tree/config.yaml", &object("ConfigMap", &json!({"a": "3"})).to_string())?;
    let encrypted = fs::read_to_string(folder.path().join("tree/secret.yaml"))?;
    write("tree/secret.yaml", &encrypted.replace("name: a", "name: b"))?;
    let fourth = run()?;
    same(&said(&fourth), "", &fourth)?;
    if fourth.status.success() || !String::from_utf8_lossy(&fourth.stderr).contains("MAC") {
        return Err(format!("a changed file is applied: {fourth:?}").into());
    }
    Ok(())
}

fn same(found: &str, expected: &str, output: &Output) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}: {output:?}").into()) }
}

/// Encrypts the Secret with the real sops.
fn encrypt(folder: &Path) -> Result<(), Failed> {
    let sops = Peer::Sops313.path().ok_or("there is no sops")?;
    let recipient = IDENTITY
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .ok_or("the key tells its recipient")?;
    let mut command = Command::new(sops);
    command.env_clear().env("HOME", folder).arg("encrypt").args(["--age", recipient]);
    command.args(["--encrypted-regex", "^stringData$", "--in-place"]);
    output(command.arg(folder.join("tree/secret.yaml"))).map(|_| ())
}

fn example(cluster: &Cluster, folder: &Path) -> Result<Output, Failed> {
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_selkie-decryptor"));
    program.set_file_name("examples");
    program.push("apply_loop");
    if !program.exists() {
        return Err("the example is not built: cargo build --example apply_loop".into());
    }
    let mut command = Command::new(program);
    command.env_clear().env("HOME", folder).env("KUBECONFIG", cluster.kubeconfig());
    Ok(command.arg(folder.join("tree")).arg(folder.join("key.txt")).output()?)
}

/// It has a label, as the API server writes down that nobody applied anything of an object only when that happens again.
fn namespace() -> Json {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apply-loop", "labels": {"app": "apply-loop"}}})
}

fn object(kind: &str, data: &Json) -> Json {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "apply-loop"}, "data": data})
}

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  namespace: apply-loop\nstringData:\n  password: hunter2\n";

/// Made for tests and used nowhere else.
const IDENTITY: &str = include_str!("../../testdata/sops/keys.txt");

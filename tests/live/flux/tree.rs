//! A tree with everything that Flux decrypts, encrypted by us.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Failed;
use selkie::keys::age::{IdentityKind, generate};

use super::lab::Lab;
use crate::live::sync_engine::{Ground, ours, same};
use crate::peer::output;

/// Keys to encrypt for.
pub struct Keys {
    /// What names them to our command line.
    arguments: [String; 2],
    /// Variables that it needs.
    variables: Vec<(&'static str, PathBuf)>,
    /// The name of the secret key in a Secret of keys.
    name: &'static str,
    secret: Vec<u8>,
}

impl Keys {
    /// Draws a key of age.
    pub fn age(kind: IdentityKind) -> Self {
        let age = generate(kind, &mut rand_core::OsRng);
        Self {
            arguments: ["--age".to_owned(), age.recipient],
            variables: Vec::new(),
            name: "own.agekey",
            secret: age.secret.expose_secret().to_vec(),
        }
    }

    /// Takes the key of a case of OpenPGP; its file is written into a folder.
    pub fn pgp(case: &str, folder: &Path) -> Result<Self, Failed> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/pgp").join(case);
        let text = fs::read_to_string(path)?;
        let (head, rest) = text.split_once("--- keys\n").ok_or("a case has keys")?;
        let (key, _) = rest.split_once("--- message\n").ok_or("a case has a message")?;
        let fingerprint = head.lines().find_map(|line| line.strip_prefix("fingerprint: "));
        let file = folder.join("secret.asc");
        fs::write(&file, key)?;
        Ok(Self {
            arguments: ["--pgp".to_owned(), fingerprint.ok_or("a case has a fingerprint")?.to_owned()],
            variables: vec![("SELKIE_PGP_KEY_FILE", file)],
            name: "own.asc",
            secret: key.as_bytes().to_vec(),
        })
    }

    /// Brings the secret key to the cluster, under a name.
    pub fn hand_in(&self, lab: &Lab, name: &str) -> Result<(), Failed> {
        lab.make_keys(name, &[(self.name, &self.secret)])
    }

    /// Encrypts files of a folder in place, with our command line; of manifests the values only.
    pub fn encrypt(&self, bin: &Path, folder: &Path, files: &[&str]) -> Result<(), Failed> {
        for file in files {
            let mut command = self.command(bin)?;
            if file.ends_with(".yaml") || file.ends_with(".json") {
                command.args(["--encrypted-regex", "^(data|stringData)$"]);
            }
            output(command.arg("--in-place").arg(file).current_dir(folder))?;
        }
        Ok(())
    }

    fn command(&self, bin: &Path) -> Result<Command, Failed> {
        let mut command = ours(bin, "kubectl-seal")?;
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.arg("encrypt").args(&self.arguments);
        Ok(command)
    }
}

/// Writes a tree into a folder, encrypted, with values that begin so.
pub fn write(keys: &Keys, bin: &Path, folder: &Path, value: &str) -> Result<(), Failed> {
    let put = |name: &str, content: &[u8]| fs::write(folder.join(name), content);
    put("secret.yaml", secret_of("yaml", &format!("stringData:\n  value: {value}-yaml\n")).as_bytes())?;
    let data = STANDARD.encode(format!("{value}-json"));
    let object = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{{\"name\":\"json\"}},\"data\":{{\"value\":\"{data}\"}}}}"
    );
    put("secret.json", object.as_bytes())?;
    put("app.env", format!("# a comment\nFIRST={value}-env\nSECOND=a=b c\n").as_bytes())?;
    put("file.bin", &binary(value))?;
    put("settings.ini", format!("[first]\nvalue = {value}-ini\n").as_bytes())?;
    put("patch.yaml", secret_of("patched", &format!("stringData:\n  value: {value}-patch\n")).as_bytes())?;
    put("blob", format!("value: {value}-blob\nlist:\n    - 1\n").as_bytes())?;
    keys.encrypt(
        bin,
        folder,
        &["secret.yaml", "secret.json", "app.env", "file.bin", "settings.ini", "patch.yaml"],
    )?;
    // A file that is encrypted, within a Secret that is not.
    let mut encrypt = keys.command(bin)?;
    encrypt.args(["--input-type", "yaml", "--output-type", "yaml", "blob"]);
    let blob = STANDARD.encode(output(encrypt.current_dir(folder))?);
    fs::remove_file(folder.join("blob"))?;
    put("blob.yaml", secret_of("blob", &format!("data:\n  blob.yaml: {blob}\n")).as_bytes())?;
    put(
        "patched.yaml",
        secret_of("patched", "stringData:\n  value: of the base\n  other: stays\n").as_bytes(),
    )?;
    put("kustomization.yaml", KUSTOMIZATION.as_bytes())?;
    Ok(())
}

/// Fails unless every value of a tree is in a namespace.
pub fn has_arrived(ground: &Ground, namespace: &str, value: &str) -> Result<(), Failed> {
    let expected = [
        ("yaml", "value", format!("{value}-yaml")),
        ("json", "value", format!("{value}-json")),
        ("environment", "FIRST", format!("{value}-env")),
        ("environment", "SECOND", "a=b c".to_owned()),
        ("files", "settings.ini", format!("[first]\nvalue = {value}-ini\n")),
        ("patched", "value", format!("{value}-patch")),
        ("patched", "other", "stays".to_owned()),
        ("blob", "blob.yaml", format!("value: {value}-blob\nlist:\n    - 1\n")),
    ];
    for (name, key, value) in expected {
        same(&format!("{key} of {name}"), ground.secret_value(namespace, name, key)?, value)?;
    }
    let file = ground.object(&format!("/api/v1/namespaces/{namespace}/secrets/files"))?;
    same("file.bin", file["data"]["file.bin"].as_str(), Some(STANDARD.encode(binary(value)).as_str()))
}

/// Returns the versions of all Secrets of a namespace, which change whenever one of them does.
pub fn versions(ground: &Ground, namespace: &str) -> Result<Vec<String>, Failed> {
    let secrets = ground.object(&format!("/api/v1/namespaces/{namespace}/secrets"))?;
    let items = secrets["items"].as_array().ok_or("there is a list")?;
    Ok(items
        .iter()
        .map(|item| format!("{} {}", item["metadata"]["name"], item["metadata"]["resourceVersion"]))
        .collect())
}

fn secret_of(name: &str, rest: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  labels: {{tier: one}}\n{rest}")
}

/// Bytes that are no text.
fn binary(value: &str) -> Vec<u8> {
    [&[0, 255, 10, 13, 200], value.as_bytes()].concat()
}

const KUSTOMIZATION: &str = "\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [secret.yaml, secret.json, blob.yaml, patched.yaml]
patches: [{path: patch.yaml}]
generatorOptions: {disableNameSuffixHash: true}
secretGenerator:
  - name: environment
    envs: [app.env]
  - name: files
    files: [file.bin, settings.ini]
";

//! SopsSecrets of both kinds, encrypted by the real sops.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::keys::{OWN, SMALL};
use super::lab::{CONTROLLER, Deed, Lab};
use super::process::Process;
use super::space::{Space, condition, merge};
use super::{is_so, same, test};
use crate::deploy;
use crate::peer::{Peer, piped};

pub fn tests() -> Vec<Trial> {
    vec![test("sops::both_kinds", &[Peer::Sops313], both_kinds)]
}

/// A namespace with SopsSecrets, and another one that may use no keys.
struct Place<'a> {
    space: Space<'a>,
    lab: &'a Lab,
    sops: PathBuf,
}

fn both_kinds(lab: &Lab) -> Result<(), Failed> {
    let (namespace, denied) = ("sops-allowed", "sops-denied");
    let account = lab.home(namespace)?;
    lab.make_namespace(denied)?;
    grant(lab, namespace)?;
    let policy =
        lab.write("policy.yaml", "rules:\n- namespaces: [sops-allowed]\n  keySecrets: ['sops-*']\n")?;
    let policy = format!("--sops-policy={}", policy.display());
    let additional = format!("--additional-namespaces={denied}");
    let flags = [&OWN[..], &[SMALL, "--sops", "--sops-isindir", &policy, &additional]].concat();
    let controller = Process::start(lab, namespace, "one", &account, &flags)?;
    let place = Place {
        space: Space::new(lab, namespace, String::new()),
        lab,
        sops: Peer::Sops313.path().ok_or("there is no sops")?,
    };
    place.documents(denied)?;
    place.objects()?;
    controller.end()?;
    let log = controller.log()?;
    is_so(
        "no value and no key is logged",
        !log.contains("hunter2") && !log.contains(&identity(0)?),
        &json!(log),
    )
}

impl Place<'_> {
    fn documents(&self, denied: &str) -> Result<(), Failed> {
        let space = &self.space;
        let plain = "password: hunter2\nport: 5432\nnote_unencrypted: open\n";
        let document = self.encrypt(plain, 0, &[])?;
        let object = |name: &str, document: &str| {
            json!({"apiVersion": OURS, "kind": "SopsSecret", "metadata": {"name": name, "namespace": space.name},
            "spec": {"document": document, "keys": {"secretRef": {"name": "sops-keys"}}}})
        };
        // The key comes later, and is looked for.
        self.create(&object("db", &document))?;
        let message = self.state(OURS, "db", "False")?;
        is_so("the key is missed", message.contains("sops-keys"), &json!(message))?;
        let key = format!("# made for tests\n{}\n", identity(0)?);
        space.create_secret("sops-keys", json!({"stringData": {"one.agekey": key}}))?;
        self.state(OURS, "db", "Ready")?;
        let secret =
            space.has("db", &[("password", "hunter2"), ("port", "5432"), ("note_unencrypted", "open")])?;
        same("the owner", &secret["metadata"]["ownerReferences"][0]["kind"], &json!("SopsSecret"))?;
        // Changed by somebody without the key.
        self.create(&object(
            "tampered",
            &document.replace("note_unencrypted: open", "note_unencrypted: shut"),
        ))?;
        self.state(OURS, "tampered", "MacMismatch")?;
        let line = document.lines().find(|line| line.starts_with("port:")).unwrap_or_default();
        self.create(&object("shortened", &document.replace(&format!("{line}\n"), "")))?;
        self.state(OURS, "shortened", "MacMismatch")?;
        // For somebody else.
        self.create(&object("foreign", &self.encrypt(plain, 1, &[])?))?;
        let message = self.state(OURS, "foreign", "NoKey")?;
        is_so("the key is named", message.contains(&recipient(1)?), &json!(message))?;
        for name in ["tampered", "shortened", "foreign"] {
            same(name, space.find_secret(name)?, None)?;
        }
        // Where the policy lets nobody use a key.
        let mut elsewhere = object("db", &document);
        elsewhere["metadata"]["namespace"] = denied.into();
        let path = format!("/apis/{OURS}/namespaces/{denied}/sopssecrets");
        self.lab.act(&path, Deed::Create(&elsewhere))?;
        self.lab.wait("it is not allowed", || {
            let object = self.lab.act(&format!("{path}/db"), Deed::Get)?;
            Ok((condition(&object, "Ready")["reason"] == "NotAllowed").then_some(()))
        })?;
        // Left alone for as long as its owner wants, and healed afterwards.
        self.patch(OURS, "db", json!({"spec": {"suspend": true}}))?;
        self.state(OURS, "db", "Suspended")?;
        space.delete_secret("db")?;
        self.create(&object("later", &document))?;
        self.state(OURS, "later", "Ready")?;
        same("the Secret", space.find_secret("db")?, None)?;
        self.patch(OURS, "db", json!({"spec": {"suspend": false}}))?;
        self.state(OURS, "db", "Ready")?;
        space.has("db", &[("password", "hunter2"), ("port", "5432"), ("note_unencrypted", "open")])?;
        // Another name: the old Secret goes.
        self.patch(OURS, "db", json!({"spec": {"target": {"name": "renamed"}}}))?;
        space.has("renamed", &[("password", "hunter2"), ("port", "5432"), ("note_unencrypted", "open")])?;
        self.lab.wait("the old one goes", || Ok(space.find_secret("db")?.is_none().then_some(())))
    }

    fn objects(&self) -> Result<(), Failed> {
        let space = &self.space;
        let object = |name: &str, templates: Json| {
            json!({"apiVersion": THEIRS, "kind": "SopsSecret",
                "metadata": {"name": name, "namespace": space.name, "annotations": {"selkie.dev/key-secret": "sops-keys"}},
                "spec": {"secretTemplates": templates}})
        };
        let both = json!([
            {"name": "first", "labels": {"a": "b"}, "stringData": {"password": "hunter2"}},
            {"name": "second", "type": "Opaque", "data": {"b": "eA=="}},
        ]);
        let one = json!([{"name": "first", "stringData": {"password": "hunter3"}}]);
        let encrypt = |object: &Json, recipient: usize| -> Result<Json, Failed> {
            let flags = ["--encrypted-suffix=Templates", "--input-type=json", "--output-type=json"];
            Ok(serde_json::from_str(&self.encrypt(&object.to_string(), recipient, &flags)?)?)
        };
        self.create(&encrypt(&object("many", both), 0)?)?;
        self.state(THEIRS, "many", "Ready")?;
        same("what is said", self.object(THEIRS, "many")?["status"]["message"].clone(), json!("Healthy"))?;
        let first = space.has("first", &[("password", "hunter2")])?;
        same("the labels", &first["metadata"]["labels"], &json!({"a": "b"}))?;
        space.has("second", &[("b", "x")])?;
        // One fewer: that Secret goes, and the other one changes.
        let mut changed = encrypt(&object("many", one), 0)?;
        changed["metadata"]["resourceVersion"] =
            self.object(THEIRS, "many")?["metadata"]["resourceVersion"].clone();
        self.lab.act(&self.path(THEIRS, "many"), Deed::Put(&changed))?;
        space.has("first", &[("password", "hunter3")])?;
        self.lab.wait("the second goes", || Ok(space.find_secret("second")?.is_none().then_some(())))?;
        self.state(THEIRS, "many", "Ready")?;
        let templates = json!([{"name": "third", "stringData": {"password": "hunter2"}}]);
        self.create(&encrypt(&object("foreign", templates.clone()), 1)?)?;
        self.state(THEIRS, "foreign", "NoKey")?;
        same(
            "what is said",
            self.object(THEIRS, "foreign")?["status"]["message"].clone(),
            json!("Decryption error"),
        )?;
        let mut tampered = encrypt(&object("tampered", templates), 0)?;
        tampered["metadata"]["labels"] = json!({"not": "signed"});
        merge(&mut tampered, json!({"spec": {"enforceOwnership": true}}));
        self.create(&tampered)?;
        self.state(THEIRS, "tampered", "MacMismatch")?;
        same("the Secret", space.find_secret("third")?, None)
    }

    fn encrypt(&self, plain: &str, number: usize, flags: &[&str]) -> Result<String, Failed> {
        let mut command = Command::new(&self.sops);
        command.env_clear().args(["encrypt", "--age", &recipient(number)?]);
        let flags = if flags.is_empty() { &["--input-type=yaml", "--output-type=yaml"][..] } else { flags };
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), plain)?;
        command.args(flags).arg(file.path());
        Ok(String::from_utf8(piped(&mut command, b"")?)?)
    }

    fn path(&self, version: &str, name: &str) -> String {
        format!("/apis/{version}/namespaces/{}/sopssecrets/{name}", self.space.name)
    }

    fn create(&self, object: &Json) -> Result<Json, Failed> {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let path = self.path(version, "");
        self.lab.act(path.trim_end_matches('/'), Deed::Create(object))
    }

    fn object(&self, version: &str, name: &str) -> Result<Json, Failed> {
        self.lab.act(&self.path(version, name), Deed::Get)
    }

    fn patch(&self, version: &str, name: &str, patch: Json) -> Result<(), Failed> {
        self.lab.act(&self.path(version, name), Deed::Patch(&patch)).map(|_| ())
    }

    /// Waits until an object says this of its generation, as a reason or a status, and returns the message.
    fn state(&self, version: &str, name: &str, word: &str) -> Result<String, Failed> {
        let mut last = Json::Null;
        let message = self.lab.wait(name, || {
            let object = self.object(version, name)?;
            let ready = condition(&object, "Ready");
            last = object["status"].clone();
            let is_so = object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && (ready["reason"] == word || ready["status"] == word);
            Ok(is_so.then(|| ready["message"].as_str().unwrap_or_default().to_owned()))
        });
        message.map_err(|failed| {
            format!("{}: {word} is right, but it is {last}", failed.message().unwrap_or_default()).into()
        })
    }
}

/// Grants what `deploy/sops` adds to the rights of the controller.
fn grant(lab: &Lab, namespace: &str) -> Result<(), Failed> {
    let patches = deploy::objects("sops/rules.yaml")?;
    let patches = patches.iter().flat_map(|document| document.as_array().into_iter().flatten());
    let rules: Vec<_> = patches.map(|patch| patch["value"].clone()).collect();
    same("how many rules", rules.len(), 3)?;
    let name = format!("sops-{namespace}");
    let rbac = "rbac.authorization.k8s.io";
    let items = json!([
        {"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
         "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
         "subjects": [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": namespace}]},
    ]);
    lab.cluster.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

fn line(file: &str, prefix: &str, number: usize) -> Result<String, Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sops-cli").join(file);
    let text = fs::read_to_string(path)?;
    let line = text.lines().filter(|line| line.starts_with(prefix)).nth(number);
    Ok(line.ok_or("there is no such line")?.to_owned())
}

fn identity(number: usize) -> Result<String, Failed> {
    line("identities.txt", "AGE-SECRET-KEY-", number)
}

fn recipient(number: usize) -> Result<String, Failed> {
    line("recipients.txt", "age1", number)
}

const OURS: &str = "selkie.dev/v1alpha1";
const THEIRS: &str = "isindir.github.com/v1alpha3";

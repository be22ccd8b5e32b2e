//! A repository with encrypted Secrets, an Application of it, and our plugin that renders it.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Failed;
use rand_core::RngCore as _;
use selkie::keys::age::{IdentityKind, generate};
use serde_json::{Value as Json, json};

use super::super::lab::{Application, Lab};
use super::super::repository::Repository;
use crate::live::sync_engine::{Canary, Controller, Program, is_so, ours, path_of, wait};
use crate::peer::{Peer, output, piped};

/// A repository with a key of its own, in whose folder `shop` is what an Application of the same name brings to the
/// namespace of that name.
pub struct Shop {
    pub lab: &'static Lab,
    pub name: &'static str,
    pub repository: Repository,
    /// What decrypts and seals, outside of the repository.
    pub folder: PathBuf,
    recipient: String,
}

/// How our plugin runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// As a command of `argocd-cmp-server`.
    Command,
    /// As a server of its own.
    Native,
}

/// What comes out for decrypted values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Defer,
    Fake,
    Plain,
    Redact,
    Reseal,
}

impl Mode {
    /// Returns the name of the mode.
    pub fn name(self) -> &'static str {
        match self {
            Self::Defer => "defer",
            Self::Fake => "fake",
            Self::Plain => "plain",
            Self::Redact => "redact",
            Self::Reseal => "reseal",
        }
    }
}

impl Shop {
    /// Makes an empty one.
    pub fn new(lab: &'static Lab, name: &'static str) -> Result<Self, Failed> {
        let folder = lab.ground.folder(&format!("shops/{name}"))?;
        fs::create_dir(folder.join("keys"))?;
        let age = generate(IdentityKind::X25519, &mut rand_core::OsRng);
        fs::write(folder.join("keys/own.agekey"), age.secret.expose_secret())?;
        let mut randomness = [0; 32];
        rand_core::OsRng.fill_bytes(&mut randomness);
        fs::write(folder.join("reseal.key"), randomness)?;
        lab.ground.cluster.make_namespace(name)?;
        let keys = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEYS, "namespace": name},
            "stringData": {"own.agekey": String::from_utf8_lossy(age.secret.expose_secret())},
        });
        lab.ground.cluster.apply(keys.to_string())?;
        lab.make_project(name)?;
        let repository = lab.repository(name)?;
        Ok(Self { lab, name, repository, folder, recipient: age.recipient })
    }

    /// Writes a file encrypted for the key; if it is there already, only what is new in it changes.
    pub fn encrypt(&self, path: &str, text: &str, flags: &[&str]) -> Result<(), Failed> {
        let target = self.repository.folder().join(path);
        fs::create_dir_all(target.parent().ok_or("a file is in a folder")?)?;
        let mut command = self.seal()?;
        command.args(["encrypt", "--age", &self.recipient, "--filename", path, "--output"]).arg(target);
        piped(command.args(flags), text.as_bytes()).map(|_| ())
    }

    /// Returns `kubectl seal`, which knows the key.
    pub fn seal(&self) -> Result<std::process::Command, Failed> {
        let mut command = ours(&self.folder, "kubectl-seal")?;
        command.env("SOPS_AGE_KEY_FILE", self.folder.join("keys/own.agekey"));
        command.current_dir(self.repository.folder());
        Ok(command)
    }

    /// Writes a Secret in YAML, one in JSON and one with an encrypted file in it, all with this text; and what is not
    /// encrypted.
    pub fn write(&self, canary: &Canary) -> Result<(), Failed> {
        let text = &canary.text;
        self.encrypt("shop/secret.yaml", &yaml_secret("in-yaml", text), &VALUES)?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "in-json"},
            "data": {"password": STANDARD.encode(text)},
        });
        self.encrypt("shop/secret.json", &format!("{secret:#}"), &VALUES)?;
        let mut encrypt = self.seal()?;
        encrypt.args(["encrypt", "--age", &self.recipient, "--filename", "config.yaml"]);
        let document = piped(&mut encrypt, format!("password: {text}\n").as_bytes())?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "blob"},
            "data": {"config.yaml": STANDARD.encode(document)},
        });
        self.repository.write("shop/blob.json", secret.to_string())?;
        self.repository.write("shop/plain.yaml", PLAIN)
    }

    /// Starts our plugin, called like the shop, with all that the mode takes.
    pub fn start(&self, face: Face, mode: Mode) -> Result<Program, Failed> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut flags = vec!["--mode".to_owned(), mode.name().to_owned()];
        match mode {
            Mode::Defer => flags.extend(["--key-secret".to_owned(), KEYS.to_owned()]),
            Mode::Fake | Mode::Redact => {}
            Mode::Plain => flags.extend(["--keys".to_owned(), file("keys")]),
            Mode::Reseal => {
                let cert = Controller::get()?.certificate.display().to_string();
                flags.extend(["--keys".to_owned(), file("keys"), "--cert".to_owned(), cert]);
                flags.extend(["--reseal-key".to_owned(), file("reseal.key")]);
            }
        }
        self.start_with(face, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same with these flags.
    pub fn start_with(&self, face: Face, flags: &[&str]) -> Result<Program, Failed> {
        let programs = programs()?;
        let flags = [&programs.iter().map(String::as_str).collect::<Vec<_>>(), flags].concat();
        match face {
            Face::Native => self.serve(&flags),
            Face::Command => self.command(&flags),
        }
    }

    fn serve(&self, flags: &[&str]) -> Result<Program, Failed> {
        let sockets = self.lab.sockets.display().to_string();
        let own = ["argocd", "serve", "--socket-dir", &sockets, "--name", self.name];
        let arguments: Vec<_> = own.iter().chain(flags).copied().collect();
        self.lab.own_plugin(self.name, Path::new(DECRYPTOR), arguments, &LOUD)
    }

    /// Starts the plugin server of Argo CD with what we say it is to be told.
    fn command(&self, flags: &[&str]) -> Result<Program, Failed> {
        let mut printed = ours(&self.folder, "selkie-decryptor")?;
        let link = self.folder.join("selkie-decryptor");
        fs::remove_file(&link)?;
        std::os::unix::fs::symlink(DECRYPTOR, &link)?;
        printed.args(["argocd", "plugin", "--name", self.name, "--"]).args(flags);
        let config = String::from_utf8(output(&mut printed)?)?;
        let path = format!("{}:/usr/bin:/bin", self.folder.display());
        let variables = [&LOUD[..], &[("PATH", path.as_str())]].concat();
        self.lab.plugin_of(self.name, &config, &variables)
    }

    /// Returns the Application.
    pub fn application(&self) -> Application<'_> {
        Application {
            name: self.name,
            project: self.name,
            repository: &self.repository,
            path: "shop",
            plugin: Some(self.name),
            env: &[],
            parameters: Json::Null,
        }
    }

    /// Commits, and waits until the Application is there.
    pub fn bring(&self) -> Result<String, Failed> {
        let revision = self.repository.commit()?;
        self.lab.refresh(self.name, false)?;
        self.lab.synced(self.name, &revision)?;
        Ok(revision)
    }

    /// Waits until a value of a Secret is this.
    pub fn holds(&self, secret: &str, key: &str, text: &str) -> Result<(), Failed> {
        let path = format!("/api/v1/namespaces/{}/secrets/{secret}", self.name);
        wait(&format!("{} holds {secret}", self.name), || {
            let found = self.lab.ground.find(&path)?;
            let value = found.as_ref().and_then(|secret| secret["data"][key].as_str());
            let value = value.map(|value| STANDARD.decode(value)).transpose()?;
            let is_there = value.as_deref() == Some(text.as_bytes());
            Ok(is_there.then_some(()).ok_or_else(|| format!("another value: {found:?}")))
        })
    }

    /// Waits until all Secrets of [`write`](Self::write) hold the text.
    pub fn holds_all(&self, canary: &Canary) -> Result<(), Failed> {
        self.holds("in-yaml", "password", &canary.text)?;
        self.holds("in-json", "password", &canary.text)?;
        self.holds("blob", "config.yaml", &format!("password: {}\n", canary.text))?;
        let plain = format!("/api/v1/namespaces/{}/configmaps/plain", self.name);
        let color = self.lab.ground.object(&plain)?["data"]["color"].take();
        is_so("what is not encrypted is there", color == "blue", color)
    }

    /// Returns what changes with every write in the namespace, and with every synchronization.
    pub fn traces(&self) -> Result<Vec<String>, Failed> {
        let mut all = Vec::new();
        for group in GROUPS {
            all.extend(self.list(group)?.iter().map(|item| {
                let metadata = &item["metadata"];
                format!("{group} {} {}", metadata["name"], metadata["resourceVersion"])
            }));
        }
        let application = self.lab.application(self.name)?;
        let status = &application["status"];
        all.push(format!("{}", status["operationState"]["finishedAt"]));
        all.push(format!("{}", status["history"].as_array().map_or(0, Vec::len)));
        Ok(all)
    }

    /// Returns all objects of a kind in the namespace, none if there is no such kind.
    pub fn list(&self, group: &str) -> Result<Vec<Json>, Failed> {
        let (version, kind) = group.rsplit_once('/').ok_or("a kind has a version")?;
        let list = self.lab.ground.find(&format!("/{version}/namespaces/{}/{kind}", self.name))?;
        Ok(list.and_then(|list| list["items"].as_array().cloned()).unwrap_or_default())
    }

    /// Deletes Secrets whose SealedSecret is gone, as the controllers of a whole cluster do.
    pub fn collect(&self) -> Result<(), Failed> {
        let owners = self.list("apis/bitnami.com/v1alpha1/sealedsecrets")?;
        for secret in self.list("api/v1/secrets")? {
            let owner = &secret["metadata"]["ownerReferences"][0]["uid"];
            if !owner.is_null() && owners.iter().all(|one| one["metadata"]["uid"] != *owner) {
                let name = secret["metadata"]["name"].as_str().unwrap_or_default();
                self.lab.ground.delete(&format!("/api/v1/namespaces/{}/secrets/{name}", self.name))?;
            }
        }
        Ok(())
    }

    /// Makes sure that nothing of what is observed holds a text: logs but these, events, the Application.
    pub fn is_nowhere(&self, canary: &Canary, but: &[&str]) -> Result<(), Failed> {
        self.in_no_log(canary, but)?;
        for (what, told) in [
            ("the Application", self.lab.application(self.name)?),
            ("events", self.lab.ground.object("/api/v1/events")?),
            ("events", self.lab.ground.object("/apis/events.k8s.io/v1/events")?),
        ] {
            is_so("it tells nothing", !canary.is_in(told.to_string()), what)?;
        }
        Ok(())
    }

    /// Makes sure that no log holds a text, but these.
    pub fn in_no_log(&self, canary: &Canary, but: &[&str]) -> Result<(), Failed> {
        let logs = self.lab.ground.logs("")?;
        let log = format!("argocd-cmp-{}.log", self.name);
        is_so("the plugin logs", logs.get(&log).is_some_and(|log| !log.is_empty()), &log)?;
        let mut found = canary.names(&logs);
        found.retain(|name| !but.contains(name));
        is_so("no log holds the plaintext", found.is_empty(), format!("{found:?}"))
    }

    /// Returns the keys of Redis at which a text is found.
    pub fn in_redis(&self, canary: &Canary) -> Result<Vec<String>, Failed> {
        let held = self.lab.redis()?;
        let is_ours = |key: &String| key.starts_with("mfst|") && key.contains(self.name);
        is_so("Redis holds the manifests", held.keys().any(is_ours), format!("{:?}", held.keys()))?;
        Ok(canary.names(&held).into_iter().map(str::to_owned).collect())
    }
}

/// Returns a Secret in YAML.
pub fn yaml_secret(name: &str, text: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: {name}\nstringData:\n    password: {text}\n    user: shop\n"
    )
}

/// Returns flags with the programs that build, those that are there.
fn programs() -> Result<Vec<String>, Failed> {
    let mut flags = Vec::new();
    for (peer, flag) in [(Peer::Kustomize, "--kustomize-program"), (Peer::Helm4, "--helm-program")] {
        if peer.path().is_some() {
            flags.extend([flag.to_owned(), path_of(peer)?.display().to_string()]);
        }
    }
    Ok(flags)
}

/// The flags that encrypt the values of a Secret.
pub const VALUES: [&str; 2] = ["--encrypted-regex", "^(data|stringData)$"];

const DECRYPTOR: &str = env!("CARGO_BIN_EXE_selkie-decryptor");
const GROUPS: [&str; 5] = [
    "api/v1/secrets",
    "api/v1/configmaps",
    "api/v1/serviceaccounts",
    "apis/bitnami.com/v1alpha1/sealedsecrets",
    "apis/selkie.dev/v1alpha1/sopssecrets",
];
/// The Secret with the key, for SopsSecrets.
const KEYS: &str = "sops-keys";
/// It tells all that it tells.
const LOUD: [(&str, &str); 2] = [("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")];
const PLAIN: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: plain}
data: {color: blue}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop}
";

//! A folder with a key, files encrypted for it, and programs that stand in for others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Failed;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
use selkie::keys::{KeyGroup, MasterKey, age};
use selkie::manifest::read_objects;
use selkie::sops::{Metadata, Selector};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::envelope::NOW;
use crate::peer::Peer;

/// A folder to work in.
pub struct Place {
    folder: TempDir,
    recipient: String,
    service: AgeService,
}

impl Place {
    pub fn new() -> Result<Self, Failed> {
        let key = generate(IdentityKind::X25519, &mut rand_core::OsRng);
        let folder = tempfile::tempdir()?;
        for name in ["files", "home", "memory", "plugins", "programs"] {
            fs::create_dir(folder.path().join(name))?;
        }
        fs::write(folder.path().join("keys.txt"), key.secret.expose_secret())?;
        let service = AgeService::new(Identities::parse("keys", &key.secret)?);
        Ok(Self { folder, recipient: key.recipient, service })
    }

    /// Returns a path beside the files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) -> Result<(), Failed> {
        let path = self.path("files").join(path);
        fs::create_dir_all(path.parent().ok_or("a file is in a folder")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Writes a file, encrypted; of a manifest the values only.
    pub fn encrypt(&self, path: &str, text: &str) -> Result<(), Failed> {
        self.write(path, &self.encrypted(Format::from_file_name(path), text)?)
    }

    /// Returns a document, encrypted.
    pub fn encrypted(&self, format: Format, text: &str) -> Result<String, Failed> {
        let mut metadata = Metadata::new(vec![KeyGroup(MasterKey::parse_list(&age::KIND, &self.recipient)?)]);
        if text.contains("apiVersion") {
            let rule = |field: &str| (field == "encrypted_regex").then_some("^(data|stringData)$");
            metadata.selector = Selector::from_fields(rule)?.ok_or("there is a rule")?;
        }
        let mut rng = rand_core::OsRng;
        let encrypted = selkie::encrypt(text, format, metadata, &[&self.service], NOW, &mut rng)?;
        Ok(String::from_utf8(encrypted.expose_secret().to_vec())?)
    }

    /// Writes a script that stands in for a program.
    pub fn stand_in(&self, name: &str, script: &str) -> Result<PathBuf, Failed> {
        let path = self.path("programs").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// Returns a command that runs with nothing around it but this place.
    pub fn command(&self, program: &Path) -> Result<Command, Failed> {
        let mut command = Command::new(program);
        let programs =
            std::env::join_paths([self.path("programs").as_path(), "/usr/bin".as_ref(), "/bin".as_ref()])?;
        command
            .env_clear()
            .env("PATH", programs)
            .env("HOME", self.path("home"))
            .current_dir(self.path("files"));
        command.env("XDG_RUNTIME_DIR", self.path("memory")).env("SOPS_AGE_KEY_FILE", self.path("keys.txt"));
        command.env("KUSTOMIZE_PLUGIN_HOME", self.path("plugins")).stdin(Stdio::null());
        Ok(command)
    }

    /// Returns our program.
    pub fn ours(&self) -> Result<Command, Failed> {
        self.command(Path::new(OURS))
    }

    /// Renders a folder of the files with a program for Kustomize.
    pub fn render(&self, program: &Path, folder: &str, more: &[&str]) -> Result<Output, Failed> {
        let mut command = self.ours()?;
        command.args(["render", "--kustomize", "--root", ".", "--kustomize-program"]).arg(program);
        let output = command.args(more).arg(folder).output()?;
        let left = fs::read_dir(self.path("memory"))?.count();
        if left > 0 { Err("something is left of what was laid out".into()) } else { Ok(output) }
    }

    /// Builds a folder of the files with Kustomize itself, and more arguments.
    pub fn build(&self, program: &Path, folder: &str, more: &[&str]) -> Result<Output, Failed> {
        let is_kubectl = program.ends_with("kubectl");
        let mut command = self.command(program)?;
        command.arg(if is_kubectl { "kustomize" } else { "build" }).args(more);
        Ok(command.arg(folder).output()?)
    }
}

/// What builds kustomizations.
pub const BUILDERS: [Peer; 2] = [Peer::Kubectl, Peer::Kustomize];

/// Our program.
pub const OURS: &str = env!("CARGO_BIN_EXE_selkie-decryptor");

/// Returns the objects that a program printed.
pub fn objects(output: &Output) -> Result<Vec<Json>, Failed> {
    if !output.status.success() {
        return Err(said(output).into());
    }
    Ok(read_objects(&output.stdout)?)
}

/// Returns how a program ended, and what it said of it.
pub fn said(output: &Output) -> String {
    format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))
}

/// Makes sure that a program failed, said something, and nothing of what is secret.
pub fn fails(output: &Output, expected: &str, secret: &str) -> Result<(), Failed> {
    let all = format!("{}{}", said(output), String::from_utf8_lossy(&output.stdout));
    if output.status.success() || !all.contains(expected) {
        return Err(format!("{expected:?} is expected: {all}").into());
    }
    if all.contains(secret) { Err("it says what is secret".into()) } else { Ok(()) }
}

/// Returns the one object with such a kind, whose name begins so.
pub fn find<'o>(objects: &'o [Json], kind: &str, name: &str) -> Result<&'o Json, Failed> {
    let is_it = |object: &&Json| {
        object["kind"] == kind
            && object["metadata"]["name"].as_str().is_some_and(|found| found.starts_with(name))
    };
    let mut found = objects.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object),
        _ => Err(format!("there is not one {kind} {name}").into()),
    }
}

/// Returns an entry of a Secret.
pub fn entry(secret: &Json, key: &str) -> Result<String, Failed> {
    let text = secret["data"][key].as_str().ok_or_else(|| format!("there is no {key}"))?;
    Ok(String::from_utf8(STANDARD.decode(text)?)?)
}

/// Fails unless two texts are the same.
pub fn same(what: &str, found: &str, expected: &str) -> Result<(), Failed> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, where {expected:?} is right").into())
    }
}

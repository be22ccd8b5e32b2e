//! A chart, once as its author sees it, and once with files of it encrypted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Failed;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, KIND, generate};
use selkie::keys::{KeyGroup, MasterKey};
use selkie::manifest::read_objects;
use selkie::sops::{Metadata, Selector};
use serde_json::{Map, Value as Json};
use tempfile::TempDir;

use crate::envelope::{NOW, rng};
use crate::peer::output;

/// A trial with some Helm, and its name.
pub type Test = (&'static str, fn(&Path) -> Result<(), Failed>);

/// A place for a chart, and a key.
pub struct Kit {
    /// The folder around all.
    pub around: TempDir,
    helm: PathBuf,
    recipient: String,
}

impl Kit {
    /// Returns an empty chart called `demo`.
    pub fn new(helm: &Path) -> Result<Self, Failed> {
        let identity = generate(IdentityKind::X25519, &mut rng(7));
        let around = tempfile::tempdir()?;
        fs::create_dir(around.path().join("tmp"))?;
        fs::write(around.path().join("key.txt"), identity.secret.expose_secret())?;
        let kit = Self { around, helm: helm.to_owned(), recipient: identity.recipient };
        kit.both("Chart.yaml", "apiVersion: v2\nname: demo\nversion: 0.1.0\n")?;
        Ok(kit)
    }

    /// Returns a path.
    pub fn path(&self, name: &str) -> PathBuf {
        self.around.path().join(name)
    }

    /// Writes a file of the chart that is not encrypted.
    pub fn both(&self, path: &str, text: &str) -> Result<(), Failed> {
        self.put(&format!("plain/{path}"), text.as_bytes())?;
        self.put(&format!("demo/{path}"), text.as_bytes())
    }

    /// Writes a file of the chart that is encrypted.
    pub fn encrypted(&self, path: &str, text: &str) -> Result<(), Failed> {
        self.put(&format!("plain/{path}"), text.as_bytes())?;
        self.put(&format!("demo/{path}"), &self.sealed(path, text)?)
    }

    /// Writes a file.
    pub fn put(&self, path: &str, text: &[u8]) -> Result<(), Failed> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().ok_or("a file is in a folder")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Encrypts a text.
    pub fn sealed(&self, path: &str, text: &str) -> Result<Vec<u8>, Failed> {
        self.sealed_for(path, text, &self.recipient)
    }

    /// Encrypts a text for somebody.
    pub fn sealed_for(&self, path: &str, text: &str, recipient: &str) -> Result<Vec<u8>, Failed> {
        let metadata = Metadata::new(vec![KeyGroup(MasterKey::parse_list(&KIND, recipient)?)]);
        self.sealed_by(path, text, metadata)
    }

    /// Encrypts those values of a text whose keys an expression fits.
    pub fn sealed_rule(&self, path: &str, text: &str, keys: &str) -> Result<Vec<u8>, Failed> {
        let mut metadata = Metadata::new(vec![KeyGroup(MasterKey::parse_list(&KIND, &self.recipient)?)]);
        metadata.selector =
            Selector::from_fields(|field| (field == "encrypted_regex").then_some(keys))?.unwrap_or_default();
        self.sealed_by(path, text, metadata)
    }

    fn sealed_by(&self, path: &str, text: &str, metadata: Metadata) -> Result<Vec<u8>, Failed> {
        let service = AgeService::new(Identities::new());
        let seed = text.len() as u64;
        let format = Format::from_file_name(path);
        let sealed = selkie::encrypt(text, format, metadata, &[&service], NOW, &mut rng(seed))?;
        Ok(sealed.expose_secret().to_vec())
    }

    /// Returns our program.
    pub fn ours(&self) -> Command {
        let mut command = self.clean(Path::new(env!("CARGO_BIN_EXE_selkie-decryptor")));
        command.env("SOPS_AGE_KEY_FILE", self.path("key.txt"));
        command
    }

    /// Returns Helm.
    pub fn helm(&self) -> Command {
        self.clean(&self.helm)
    }

    /// Returns the path of Helm.
    pub fn helm_path(&self) -> &Path {
        &self.helm
    }

    /// Renders the encrypted chart with us.
    pub fn render(&self, arguments: &[&str]) -> Result<Output, Failed> {
        self.render_with(&self.helm, arguments)
    }

    /// Renders the encrypted chart with us and some other Helm.
    pub fn render_with(&self, helm: &Path, arguments: &[&str]) -> Result<Output, Failed> {
        let mut command = self.ours();
        command.args(["render", "--helm", "--release", "shop", "--namespace", "sea", "--helm-program"]);
        Ok(command.arg(helm).args(arguments).arg(self.path("demo")).output()?)
    }

    /// Renders the chart with Helm as its author sees it.
    pub fn expected(&self, arguments: &[&str]) -> Result<Vec<Json>, Failed> {
        let mut command = self.helm();
        command.current_dir(self.path("plain"));
        command.args(["template", "shop", ".", "--namespace", "sea"]).args(arguments);
        objects(&output(&mut command)?)
    }

    /// Makes sure that a chart is rendered by us as by Helm with decrypted files.
    pub fn is_rendered_alike(&self, values: &[&str]) -> Result<(), Failed> {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for value in values {
            ours.extend(["--values", value]);
            theirs.extend(["-f", value]);
        }
        let rendered = self.render(&ours)?;
        let told = String::from_utf8_lossy(&rendered.stderr).into_owned();
        if !rendered.status.success() {
            return Err(format!("it is not rendered: {told}").into());
        }
        same(&objects(&rendered.stdout)?, &self.expected(&theirs)?)
    }

    fn clean(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.path("demo")).env("HOME", self.around.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TMPDIR", self.path("tmp"));
        command
    }
}

/// Makes sure that objects are the same, but for check sums, and that none hangs on a mark.
pub fn same(ours: &[Json], theirs: &[Json]) -> Result<(), Failed> {
    if ours.len() != theirs.len() {
        return Err(format!("{} objects instead of {}", ours.len(), theirs.len()).into());
    }
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (ours, theirs) = (usual(ours), usual(theirs));
        if ours != theirs {
            return Err(format!("{ours:#} instead of {theirs:#}").into());
        }
    }
    Ok(())
}

/// Returns an object with all of a Secret in `data`, and with all check sums alike.
fn usual(object: &Json) -> Json {
    use base64::Engine;

    let mut object = object.clone();
    let strings = object.as_object_mut().and_then(|object| object.shift_remove("stringData"));
    if let Some(Json::Object(strings)) = strings {
        if !object["data"].is_object() {
            object["data"] = Json::Object(Map::new());
        }
        for (key, text) in strings {
            let text = text.as_str().map_or_else(|| text.to_string(), ToOwned::to_owned);
            object["data"][key] = base64::prelude::BASE64_STANDARD.encode(text).into();
        }
    }
    for pointer in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
        let annotations = object.pointer_mut(pointer).and_then(Json::as_object_mut);
        for (key, value) in annotations.into_iter().flatten() {
            if key.starts_with("checksum/") {
                *value = value.as_str().map_or(0, str::len).into();
            }
        }
    }
    object
}

/// Reads a stream.
pub fn objects(stream: &[u8]) -> Result<Vec<Json>, Failed> {
    Ok(read_objects(stream)?)
}

//! The Secret that a decrypted document becomes.

use std::collections::BTreeMap;

use selkie::format::{Format, WriteOptions, append_scalar_text};
use selkie::sealed::{ObjectMeta, Secret};
use selkie::secret::SecretBytes;
use selkie::sops::Opened;
use selkie::tree::{Step, Tree, TreePath, Value};

use crate::controller::reason::Failure;
use crate::controller::sops::object::{self, Field, invalid};

/// What `spec.target` says.
pub struct Target {
    /// The name of the Secret.
    pub name: String,
    type_: Option<String>,
    immutable: Option<bool>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    layout: Option<Layout>,
    key: Option<String>,
}

/// How a document becomes entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// It becomes one entry as a whole.
    File,
    /// Its values at the top become one each.
    Keys,
}

impl Target {
    /// Reads `spec.target`.
    ///
    /// # Errors
    /// If a field is not of its type.
    pub fn parse(target: Option<Field<'_>>, name: &str) -> Result<Self, Failure> {
        let empty = Self {
            name: name.to_owned(),
            type_: None,
            immutable: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            layout: None,
            key: None,
        };
        let Some(target) = target else { return Ok(empty) };
        let layout = match target.text("layout")? {
            None => None,
            Some("file") => Some(Layout::File),
            Some("keys") => Some(Layout::Keys),
            Some(_) => return Err(invalid("spec.target.layout is not one of keys, file")),
        };
        Ok(Self {
            name: target.text("name")?.unwrap_or(name).to_owned(),
            type_: target.text("type")?.map(str::to_owned),
            immutable: target.flag("immutable")?,
            labels: target.texts("labels")?,
            annotations: target.texts("annotations")?,
            layout,
            key: target.text("key")?.map(str::to_owned),
        })
    }

    /// Returns the Secret that a document becomes.
    ///
    /// # Errors
    /// If the document is not of a form that can become one.
    pub fn secret(&self, opened: &Opened, metadata: ObjectMeta) -> Result<Secret, Failure> {
        let mut secret = self.of_document(opened, metadata)?;
        for (name, value) in &self.labels {
            secret.metadata.set_label(name, value);
        }
        for (name, value) in &self.annotations {
            secret.metadata.set_annotation(name, value);
        }
        secret.type_ = self.type_.clone().or(secret.type_);
        secret.immutable = self.immutable.or(secret.immutable);
        object::check_size(&secret)?;
        Ok(secret)
    }

    fn of_document(&self, opened: &Opened, metadata: ObjectMeta) -> Result<Secret, Failure> {
        let tree = opened.tree();
        let is_file = matches!(opened.format(), Format::Binary | Format::Ini);
        let layout = self.layout.unwrap_or(if is_file { Layout::File } else { Layout::Keys });
        if layout == Layout::File {
            let key = self.key.clone();
            let key = key
                .ok_or_else(|| invalid("spec.target.key has to name the entry that the document becomes"))?;
            let data = [(checked(key)?, as_file(opened)?)].into();
            return Ok(Secret { metadata, data, ..Secret::default() });
        }
        if self.key.is_some() {
            return Err(invalid("spec.target.key is for the layout file alone"));
        }
        if tree.documents().len() != 1 {
            return Err(invalid("the document is several documents: a Secret is made of one"));
        }
        if self.layout.is_none()
            && let Some(secret) = manifest(tree, &metadata)?
        {
            return Ok(secret);
        }
        Ok(Secret { metadata, data: entries(tree)?, ..Secret::default() })
    }
}

/// Returns the whole document as `sops -d` prints it.
fn as_file(opened: &Opened) -> Result<SecretBytes, Failure> {
    let written = opened.write(opened.format(), &WriteOptions::default());
    written.map_err(|error| invalid(format!("the decrypted document cannot be written: {error}")))
}

/// Returns the Secret that a document is itself, if it is one.
fn manifest(tree: &Tree, metadata: &ObjectMeta) -> Result<Option<Secret>, Failure> {
    let json = tree.to_json(tree.documents()[0]);
    if !Secret::is_one(&json) {
        return Ok(None);
    }
    let failed = |error: selkie::sealed::SecretError| {
        invalid(format!("the Secret in the document cannot be used: {error}"))
    };
    let mut secret = Secret::from_json(&json).map_err(failed)?;
    let mut own = std::mem::replace(&mut secret.metadata, metadata.clone());
    // What they are is not told: all of the document may have been encrypted.
    for (value, expected, message) in [
        (
            own.name(),
            metadata.name(),
            "the Secret in the document has another name than spec.target.name says",
        ),
        (own.namespace(), metadata.namespace(), "the Secret in the document is for another namespace"),
    ] {
        if !value.is_empty() && value != expected {
            return Err(invalid(message));
        }
    }
    // Copies of Secrets in annotations, above all.
    own.strip();
    for field in ["labels", "annotations"] {
        secret.metadata.overlay(field, &own);
    }
    Ok(Some(secret))
}

/// Returns the values at the top of a document.
fn entries(tree: &Tree) -> Result<BTreeMap<String, SecretBytes>, Failure> {
    let mut entries = BTreeMap::new();
    for item in tree.items(tree.documents()[0]) {
        let key = String::from_utf8_lossy(tree.key(item).unwrap_or_default()).into_owned();
        let mut value = SecretBytes::new();
        match tree.node(item).value {
            Value::Null => {}
            other if append_scalar_text(tree, other, &mut value) => {}
            other => {
                let what = if matches!(other, Value::List) { "a list" } else { "a map" };
                let path = TreePath::from_iter([Step::Key(key)]);
                return Err(invalid(format!(
                    "{path} is {what}: only single values become entries; see spec.target.layout"
                )));
            }
        }
        entries.insert(checked(key)?, value);
    }
    Ok(entries)
}

/// Returns a name if an entry of a Secret can have it.
fn checked(key: String) -> Result<String, Failure> {
    let is_name = (1..=253).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && key != "."
        && !key.starts_with("..");
    if is_name {
        Ok(key)
    } else {
        Err(invalid(format!("{key:?} is not a name that an entry of a Secret can have")))
    }
}

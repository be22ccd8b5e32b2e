//! One encrypted document under marks.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::super::identity::is_identity;
use super::super::marks::{Mark, PREFIX, ValueKind};
use super::super::verdict::{MacVerdict, RenderError};
use super::super::{Engine, Role};
use super::{Unnamed, public_key};
use crate::format::{Format, MetadataEdit, Rewrite, append_scalar_text};
use crate::manifest::read_manifests;
use crate::secret::SecretBytes;
use crate::sops::{LeafState, Metadata, Places, encrypted_parts, leaves};
use crate::tree::{MetadataEntry, NodeId, Origin, Step, Text, Tree, TreePath, Value};

impl Engine<'_> {
    /// Opens a document that has metadata.
    pub(super) fn open_document(&self, path: &str, tree: Tree, role: Role) -> Result<Unnamed, RenderError> {
        let format = role.format();
        let Some(envelope) = self.recover(path, tree.metadata())? else {
            return without_keys(path, tree, role);
        };
        let source = SecretBytes::from(tree.source());
        let again = || format.read(source).expect("it was read before");
        let (opened, verdict) = self.verify(path, &envelope, format, tree, again)?;
        let plaintext = opened.plaintext();
        let plaintext = plaintext.map_err(|source| RenderError::Open { path: path.to_owned(), source })?;
        let key = envelope.derive(MARK_KEY);
        let mut warnings = Vec::new();
        if verdict != MacVerdict::Ok {
            warnings.push("the MAC is not that of the file, which the policy lets pass".to_owned());
        }
        let (tree, decrypted) = opened.into_parts();
        let mut writer = Writer::new(path, role, tree);
        writer.decrypted(&key, &decrypted);
        let whole = |plaintext: &SecretBytes| {
            Mark::new(&*key, path, "", ValueKind::Bytes, Some(plaintext.expose_secret().into()))
        };
        let whole = matches!(role, Role::Whole(_)).then(|| whole(&plaintext));
        let (leaves, marked) = writer.finish(whole.as_ref())?;
        let plaintext = Some(plaintext);
        Ok(Unnamed { verdict, marked, plaintext, leaves, whole, hidden: Vec::new(), warnings })
    }
}

/// Puts marks in place of values whose keys nobody asks for.
fn without_keys(path: &str, tree: Tree, role: Role) -> Result<Unnamed, RenderError> {
    let format = role.format();
    let metadata = Metadata::from_entry(tree.metadata());
    let metadata = metadata.map_err(|source| RenderError::Metadata { path: path.to_owned(), source })?;
    let encrypted: Vec<_> = leaves(format, &tree, &metadata.selector)
        .into_iter()
        .filter(|leaf| leaf.state == LeafState::Encrypted)
        .map(|leaf| leaf.id)
        .collect();
    let is_comment = |id: NodeId| is_encrypted_comment(&tree, tree.node(id).value);
    let comments = tree.nodes().map(|(id, _)| id).filter(|&id| is_comment(id));
    let mut ids: Vec<_> = encrypted.into_iter().chain(comments).collect();
    ids.sort_unstable();
    let whole = matches!(role, Role::Whole(_)).then(|| {
        let mut mark = Mark::new(&public_key(tree.source()), path, "", ValueKind::Bytes, None);
        let clear = crate::sops::without_metadata(format, &tree);
        mark.length = clear.map_or(0, |text| text.len());
        mark
    });
    let mut writer = Writer::new(path, role, tree);
    writer.encrypted(&ids);
    let hidden = writer.take_hidden();
    let (leaves, marked) = writer.finish(whole.as_ref())?;
    let verdict = MacVerdict::Deferred;
    Ok(Unnamed { verdict, marked, plaintext: None, leaves, whole, hidden, warnings: Vec::new() })
}

/// Returns whether what is encrypted is opened by a controller in the cluster: the manifest is carried on as it is.
pub(in crate::render) fn is_for_the_cluster(tree: &Tree) -> bool {
    let mut documents = tree.documents().iter();
    !tree.documents().is_empty() && documents.all(|&root| is_root_for_the_cluster(tree, root))
}

/// Returns whether the document at a root is opened by a controller in the cluster.
pub(super) fn is_root_for_the_cluster(tree: &Tree, root: NodeId) -> bool {
    let text = |name| text_at(tree, root, name).unwrap_or_default();
    is_kind_for_the_cluster(text("apiVersion"), text("kind"))
}

/// Returns the text of an entry of a map.
fn text_at<'t>(tree: &'t Tree, map: NodeId, name: &str) -> Option<&'t str> {
    let entry = tree.items(map).find(|&id| tree.key(id) == Some(name.as_bytes()))?;
    match tree.node(entry).value {
        Value::Str(text) => str::from_utf8(tree.bytes(text)).ok(),
        _ => None,
    }
}

/// Returns whether objects of a kind carry encrypted values to a controller in the cluster.
pub(in crate::render) fn is_kind_for_the_cluster(version: &str, kind: &str) -> bool {
    let group = version.split_once('/').map(|(group, _)| group);
    matches!(kind, "GlobalSopsSecret" | "SopsSecret") && group.is_some_and(|group| OPERATORS.contains(&group))
}

/// Returns whether the documents of a file opt out of decryption, as Flux lets them: they are carried on as they are.
///
/// # Errors
/// If only some do: one MAC covers all of them.
pub(super) fn opts_out(path: &str, tree: &Tree) -> Result<bool, RenderError> {
    let entry = |map, name: &str| tree.items(map).find(|&id| tree.key(id) == Some(name.as_bytes()));
    let opts_out = |&root: &NodeId| {
        let annotations = entry(root, "metadata").and_then(|metadata| entry(metadata, "annotations"));
        let annotation = annotations.and_then(|annotations| entry(annotations, DECRYPT));
        annotation.is_some_and(|annotation| match tree.node(annotation).value {
            Value::Str(text) => tree.bytes(text).eq_ignore_ascii_case(DISABLED.as_bytes()),
            _ => false,
        })
    };
    match tree.documents().iter().filter(|root| opts_out(root)).count() {
        0 => Ok(false),
        count if count == tree.documents().len() => Ok(true),
        // Where no MAC covers them, each is looked at by itself.
        _ if *tree.metadata() == MetadataEntry::Absent => Ok(false),
        _ => Err(RenderError::Mode {
            place: path.to_owned(),
            reason: format!(
                "some of its documents opt out of decryption by {DECRYPT}, and one MAC covers all of them; put those in a file of their own"
            ),
        }),
    }
}

/// Returns whether an object opts out of decryption.
pub(in crate::render) fn object_opts_out(object: &Json) -> bool {
    let annotation = object["metadata"]["annotations"][DECRYPT].as_str();
    annotation.is_some_and(|annotation| annotation.eq_ignore_ascii_case(DISABLED))
}

/// Puts marks in place of the values of a document, or of maps in it.
pub(super) struct Writer<'a> {
    path: &'a str,
    format: Format,
    /// Whether values that tell which object this is are revealed.
    reveals: bool,
    tree: Tree,
    changed: Vec<NodeId>,
    marks: Vec<(String, Mark)>,
    hidden: Vec<String>,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(path: &'a str, role: Role, tree: Tree) -> Self {
        let (format, reveals) = (role.format(), matches!(role, Role::Leaves(_)));
        Self { path, format, reveals, tree, changed: Vec::new(), marks: Vec::new(), hidden: Vec::new() }
    }

    /// Takes the values that a map in the tree, `before` nodes behind its start, has when it is decrypted.
    pub(super) fn take_values(
        &mut self,
        of: &Tree,
        decrypted: &[(NodeId, Text)],
        before: usize,
    ) -> Vec<(NodeId, Text)> {
        let mut taken = Vec::new();
        for &(id, encrypted) in decrypted {
            let Some(own) = self.tree.id(id.index() + before) else { continue };
            let mut copied = |text: Text| self.tree.intern(of.bytes(text));
            let value = match of.node(id).value {
                Value::Comment(text) => Value::Comment(copied(text)),
                Value::Str(text) => Value::Str(copied(text)),
                Value::Time(text) => Value::Time(copied(text)),
                other => other,
            };
            let encrypted = copied(encrypted);
            self.tree.set_value(own, value);
            taken.push((own, encrypted));
        }
        taken
    }

    /// Puts marks in place of values that were decrypted, in their order.
    pub(super) fn decrypted(&mut self, key: &[u8; 32], decrypted: &[(NodeId, Text)]) {
        let ids: Vec<_> = decrypted.iter().map(|&(id, _)| id).collect();
        for (&(id, encrypted), place) in decrypted.iter().zip(self.places(&ids)) {
            let value = self.tree.node(id).value;
            self.changed.push(id);
            if matches!(value, Value::Comment(_)) {
                self.hide_comment(id);
                continue;
            }
            let encrypted = text_of(&self.tree, encrypted);
            let plain = plain_text(&self.tree, self.format, value);
            let mark = Mark::new(key, self.path, &name_of(&place), kind_of(value), Some(plain));
            let mark = mark.under(last_key(&place.1));
            if !self.is_identity(&place) {
                self.put(id, mark.word());
            }
            self.marks.push((encrypted, mark));
        }
    }

    /// Puts marks in place of values that stay encrypted, in their order.
    pub(super) fn encrypted(&mut self, ids: &[NodeId]) {
        for (&id, place) in ids.iter().zip(self.places(ids)) {
            let (Value::Comment(text) | Value::Str(text)) = self.tree.node(id).value else { continue };
            self.changed.push(id);
            if matches!(self.tree.node(id).value, Value::Comment(_)) {
                self.hide_comment(id);
                continue;
            }
            let encrypted = text_of(&self.tree, text);
            let (type_name, length) = encrypted_parts(&encrypted).unwrap_or(("str", 0));
            let kind = match type_name {
                "bool" => ValueKind::Bool,
                "float" => ValueKind::Float,
                "int" => ValueKind::Int,
                _ => ValueKind::Text,
            };
            let key = public_key(encrypted.as_bytes());
            let mut mark = Mark::new(&key, self.path, &name_of(&place), kind, None).under(last_key(&place.1));
            mark.length = length;
            if self.is_identity(&place) {
                self.hidden.push(name_of(&place));
            }
            self.put(id, mark.word());
            self.marks.push((encrypted, mark));
        }
    }

    /// Returns the fields that tell which object it is and stay encrypted.
    pub(super) fn take_hidden(&mut self) -> Vec<String> {
        std::mem::take(&mut self.hidden)
    }

    /// What a decrypted comment says is nobody's business.
    fn hide_comment(&mut self, id: NodeId) {
        let text = self.tree.intern(b" (encrypted)");
        self.tree.set_value(id, Value::Comment(text));
    }

    fn put(&mut self, id: NodeId, word: &str) {
        let text = self.tree.intern(word.as_bytes());
        self.tree.set_value(id, Value::Str(text));
    }

    fn places(&self, ids: &[NodeId]) -> Vec<(usize, TreePath)> {
        let mut places = Places::new(&self.tree);
        ids.iter().map(|&id| places.advance(id)).collect()
    }

    /// Returns whether the value tells which object this is: it is in a manifest, which has a version and a kind.
    fn is_identity(&self, (document, path): &(usize, TreePath)) -> bool {
        let is_object = |&root: &NodeId| {
            ["apiVersion", "kind"]
                .iter()
                .all(|name| text_at(&self.tree, root, name).is_some_and(|text| !text.is_empty()))
        };
        self.reveals
            && matches!(self.format, Format::Json | Format::Yaml)
            && is_identity(path)
            && self.tree.documents().get(*document).is_some_and(is_object)
    }

    /// Returns the values with their marks, and the document with marks.
    pub(super) fn finish(
        mut self,
        whole: Option<&Mark>,
    ) -> Result<(Vec<(String, Mark)>, SecretBytes), RenderError> {
        if let Some(whole) = whole {
            return Ok((self.marks, whole.word().into()));
        }
        self.changed.retain(|&id| self.tree.node(id).origin != Origin::Copy);
        let rewrite = Rewrite { changed: &self.changed, verbatim: &[], metadata: MetadataEdit::Remove };
        let marked = self.format.store().rewrite(&self.tree, &rewrite);
        let failed = |source| RenderError::Write { path: self.path.to_owned(), source };
        let marked = marked.map_err(failed)?;
        self.check_readers(&marked)?;
        Ok((self.marks, marked))
    }

    /// Makes sure that whoever reads manifests finds every value that the MAC was checked with: of a key that is given
    /// twice, or merged, readers take one or the other, and a MAC does not cover what has no value.
    fn check_readers(&self, marked: &SecretBytes) -> Result<(), RenderError> {
        if !matches!(self.format, Format::Json | Format::Yaml) {
            return Ok(());
        }
        let failed = |source| RenderError::Object { place: self.path.to_owned(), source };
        let objects = read_manifests(marked.expose_secret()).map_err(failed)?;
        let mut found = HashSet::new();
        objects.iter().for_each(|object| texts(object, &mut found));
        let put = |id: &NodeId| match self.tree.node(*id).value {
            Value::Str(text) => {
                str::from_utf8(self.tree.bytes(text)).ok().filter(|text| text.starts_with(PREFIX))
            }
            _ => None,
        };
        match self.changed.iter().find(|id| put(id).is_some_and(|word| !found.contains(word))) {
            None => Ok(()),
            Some(&id) => Err(RenderError::LeftEncrypted {
                place: self.path.to_owned(),
                path: Places::new(&self.tree).advance(id).1.to_string(),
                reason: "another entry takes its place where manifests are read: a key is given twice, or merged by `<<`",
            }),
        }
    }
}

/// Collects all texts of an object.
fn texts<'o>(object: &'o Json, found: &mut HashSet<&'o str>) {
    match object {
        Json::String(text) => {
            found.insert(text);
        }
        Json::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Json::Object(entries) => entries.values().for_each(|entry| texts(entry, found)),
        _ => {}
    }
}

/// Returns the last key on the way to a value.
fn last_key(path: &TreePath) -> &str {
    let mut keys = path.steps().iter().rev().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    keys.next().unwrap_or_default()
}

/// Returns how the place of a value is called.
fn name_of((document, path): &(usize, TreePath)) -> String {
    if *document == 0 { path.to_string() } else { format!("{document}:{path}") }
}

fn text_of(tree: &Tree, text: Text) -> String {
    String::from_utf8_lossy(tree.bytes(text)).into_owned()
}

const fn kind_of(value: Value) -> ValueKind {
    match value {
        Value::Bool(_) => ValueKind::Bool,
        Value::Float(_) => ValueKind::Float,
        Value::Int(_) => ValueKind::Int,
        _ => ValueKind::Text,
    }
}

/// Returns a value as whoever reads the decrypted document as text has it.
fn plain_text(tree: &Tree, format: Format, value: Value) -> SecretBytes {
    let mut text = SecretBytes::new();
    if format != Format::Dotenv {
        append_scalar_text(tree, value, &mut text);
        return text;
    }
    // Those who read dotenv files know no escapes: a line break stays what it is written as.
    let mut unescaped = SecretBytes::new();
    append_scalar_text(tree, value, &mut unescaped);
    for &byte in unescaped.expose_secret() {
        if byte == b'\n' { text.push_str("\\n") } else { text.push(byte) }
    }
    text
}

pub(super) fn is_encrypted_comment(tree: &Tree, value: Value) -> bool {
    matches!(value, Value::Comment(text) if encrypted_parts(&text_of(tree, text)).is_some())
}

/// The annotation by which an object opts out of decryption.
pub(in crate::render) const DECRYPT: &str = "kustomize.toolkit.fluxcd.io/decrypt";
const DISABLED: &str = "disabled";

/// The groups of controllers that open what SOPS encrypted.
const OPERATORS: [&str; 4] =
    ["addons.projectcapsule.dev", "craftypath.github.io", "isindir.github.com", "selkie.dev"];

/// What the key of marks is derived for.
pub(in crate::render) const MARK_KEY: &str = "selkie marks";

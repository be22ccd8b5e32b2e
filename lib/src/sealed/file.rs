//! Files with SealedSecrets: found among the objects of a file, sealed again and opened in place.
//!
//! In clear, the entry `encryptedData` of a SealedSecret is called `stringData`: the object says what its values
//! are, and no cluster takes it.
//!
//! Invariant: what is not a value of a SealedSecret, or that name, stays byte for byte.

use std::collections::{BTreeMap, HashMap};

use rand_core::CryptoRngCore;
use serde_json::Value as Json;
use subtle::ConstantTimeEq;

use super::base64;
use super::cert::SealingCert;
use super::item::{ItemError, key_bits};
use super::leak::{Leak, leak};
use super::registry::KeyRegistry;
use super::sealed_secret::{Resealed, SealedSecret, SealedSecretError, SealingError};
use crate::format::{Format, ParseError, Rewrite, WriteError};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Span, Text, Tree, Value};

/// A file with objects of Kubernetes, among them SealedSecrets.
pub struct SealedFile {
    format: Format,
    tree: Tree,
    objects: Vec<SealedObject>,
}

/// A SealedSecret of a file.
pub struct SealedObject {
    /// The object.
    pub sealed: SealedSecret,
    /// The 1-based line at which it begins.
    pub line: usize,
    node: NodeId,
    /// The values of `encryptedData`.
    items: BTreeMap<String, NodeId>,
}

/// A file whose SealedSecrets are open.
pub struct OpenedFile {
    format: Format,
    /// The file, with the values in clear.
    tree: Tree,
    objects: Vec<SealedObject>,
    /// The values that were opened, in the order of the file, with their sealed texts.
    opened: Vec<(NodeId, Text)>,
    /// The values by label and key, as they were sealed.
    known: HashMap<(String, String), Vec<Known>>,
}

/// A value, as it was sealed.
struct Known {
    value: SecretBytes,
    /// What stands in the file, with its quotes.
    written: String,
}

/// Why a file with SealedSecrets cannot be read, opened or sealed. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedFileError {
    /// A SealedSecret has sealed values, and values in clear.
    #[error("line {line}: {name} has both encryptedData and stringData")]
    Both {
        /// The line of the object.
        line: usize,
        /// The name of the object.
        name: String,
    },
    /// A value cannot be opened.
    #[error("line {line}: {key} of {name}: {source}")]
    Item {
        /// The line of the value.
        line: usize,
        /// The name of the object.
        name: String,
        /// The key of the value.
        key: String,
        /// Why not.
        source: ItemError,
    },
    /// There is no SealedSecret in the file.
    #[error("there is no SealedSecret")]
    Missing,
    /// An object is not one that can be read.
    #[error("line {line}: {source}")]
    Object {
        /// The line of the object.
        line: usize,
        /// What is wrong with it.
        source: SealedSecretError,
    },
    /// The text is not of its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Something that was sealed, or looks like it should be, would be written in clear.
    #[error("line {line}: {what}")]
    Leak {
        /// The line of the text.
        line: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A value cannot be sealed.
    #[error("line {line}: {name}: {source}")]
    Seal {
        /// The line of the object.
        line: usize,
        /// The name of the object.
        name: String,
        /// Why not.
        source: SealingError,
    },
    /// The values of an object are not written as a map of texts.
    #[error("line {line}: {name}: {what}")]
    Shape {
        /// The line of the object.
        line: usize,
        /// The name of the object.
        name: String,
        /// What is not as it should be.
        what: &'static str,
    },
    /// The result cannot be written in place.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Returns whether a tree has a SealedSecret among its objects.
#[must_use]
pub fn holds_sealed_secrets(tree: &Tree) -> bool {
    objects(tree).into_iter().any(|node| is_sealed_secret(tree, node))
}

/// Returns the objects of a file: its documents, and in the place of a list of objects what is in it.
#[must_use]
pub fn objects(tree: &Tree) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut open: Vec<NodeId> = tree.documents().iter().rev().copied().collect();
    while let Some(node) = open.pop() {
        let is_list = text(tree, node, "kind").is_some_and(|kind| kind.ends_with(b"List"));
        match entry(tree, node, "items").filter(|&items| is_list && tree.node(items).value == Value::List) {
            Some(items) => {
                let items: Vec<_> =
                    tree.items(items).filter(|&item| tree.node(item).value == Value::Map).collect();
                open.extend(items.into_iter().rev());
            }
            None => found.push(node),
        }
    }
    found
}

impl SealedFile {
    /// Reads a file; one without a SealedSecret has none to work on.
    ///
    /// # Errors
    /// If an object that says it is a SealedSecret cannot be read as one.
    pub fn new(format: Format, tree: Tree) -> Result<Self, SealedFileError> {
        let nodes = objects(&tree).into_iter().filter(|&node| is_sealed_secret(&tree, node));
        let objects = nodes.map(|node| SealedObject::read(&tree, node)).collect::<Result<_, _>>()?;
        Ok(Self { format, tree, objects })
    }

    /// Returns the SealedSecrets, in the order of the file.
    #[must_use]
    pub fn objects(&self) -> &[SealedObject] {
        &self.objects
    }

    /// Returns the file as it was read.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the 1-based line of an item.
    #[must_use]
    pub fn line_of(&self, object: &SealedObject, key: &str) -> usize {
        object.items.get(key).map_or(object.line, |&node| line(&self.tree, node))
    }

    /// Returns the file with every item sealed again that was not sealed for `cert`, and what became of the
    /// items of each object. With `always`, those too that were.
    ///
    /// # Errors
    /// If the key of the certificate is too small, or an item cannot be written in place. Items that no key
    /// opens stay as they are, and are told in the result.
    pub fn reseal(
        self,
        keys: &KeyRegistry,
        cert: &SealingCert,
        always: bool,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(SecretBytes, Vec<Resealed>), SealedFileError> {
        let (mut all, mut results) = (Vec::new(), Vec::new());
        for object in &self.objects {
            let mut sealed = object.sealed.clone();
            let resealed = sealed.reseal(keys, cert, always, rng);
            results.push(resealed.map_err(|source| object.error(source))?);
            all.push(sealed);
        }
        Ok((self.replace_items(&all)?, results))
    }

    /// Returns the file with other items: of each object at its position, those that `sealed` has. Nothing else of
    /// that is looked at.
    ///
    /// # Errors
    /// If an item cannot be written in place.
    pub fn replace_items(mut self, sealed: &[SealedSecret]) -> Result<SecretBytes, SealedFileError> {
        let mut changed = Vec::new();
        for (object, sealed) in self.objects.iter().zip(sealed) {
            for (key, node) in &object.items {
                let new =
                    sealed.encrypted_data.get(key).filter(|new| object.sealed.encrypted_data[key] != **new);
                if let Some(new) = new {
                    let item = self.tree.intern(new.as_bytes());
                    self.tree.set_value(*node, Value::Str(item));
                    changed.push(*node);
                }
            }
        }
        changed.sort_unstable();
        Ok(rewrite(self.format, &self.tree, &changed)?)
    }

    /// Opens every item.
    ///
    /// # Errors
    /// If there is no SealedSecret, or no key opens an item.
    pub fn open(mut self, keys: &KeyRegistry) -> Result<OpenedFile, SealedFileError> {
        if self.objects.is_empty() {
            return Err(SealedFileError::Missing);
        }
        let (mut opened, mut known) = (Vec::new(), HashMap::<_, Vec<_>>::new());
        for object in &self.objects {
            let label = object.sealed.label();
            for (key, node) in &object.items {
                let Value::Str(item) = self.tree.node(*node).value else {
                    return Err(object.shape(EVERY_ITEM_A_TEXT));
                };
                let text = String::from_utf8_lossy(self.tree.bytes(item)).into_owned();
                let value = keys.open(&text, &label).map_err(|source| SealedFileError::Item {
                    line: line(&self.tree, *node),
                    name: object.sealed.metadata.name().to_owned(),
                    key: key.clone(),
                    source,
                })?;
                let clear = self.tree.intern(value.value.expose_secret());
                self.tree.set_value(*node, Value::Str(clear));
                opened.push((*node, item));
                let written = written(&self.tree, self.format, *node, text);
                known
                    .entry((label.clone(), key.clone()))
                    .or_default()
                    .push(Known { value: value.value, written });
            }
        }
        opened.sort_unstable_by_key(|(node, _)| *node);
        Ok(OpenedFile { format: self.format, tree: self.tree, objects: self.objects, opened, known })
    }
}

impl OpenedFile {
    /// Returns the format of the file.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns what the file says, with the values in clear, under the names that they have in the file.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the nodes of the values that were sealed.
    pub fn decrypted(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.opened.iter().map(|(node, _)| *node)
    }

    /// Returns the file in clear: `encryptedData` is called `stringData` there. Bytes that are no text are
    /// `!!binary` in YAML, and in JSON a map with the one entry `$binary`, which is base64.
    ///
    /// # Errors
    /// If a value cannot be written in place.
    pub fn plaintext(&self) -> Result<SecretBytes, SealedFileError> {
        let (mut texts, mut bytes) = (Vec::new(), Vec::new());
        for node in self.decrypted() {
            let Value::Str(value) = self.tree.node(node).value else { continue };
            let value = self.tree.bytes(value);
            if self.format == Format::Json && str::from_utf8(value).is_err() {
                let written = format!("{{\"{BINARY}\": \"{}\"}}", base64::encode(value));
                bytes.push((node, SecretBytes::from(written)));
            } else {
                texts.push(node);
            }
        }
        let verbatim: Vec<_> = bytes.iter().map(|(node, text)| (*node, text.expose_secret())).collect();
        let rewrite = Rewrite { changed: &texts, verbatim: &verbatim, ..Rewrite::default() };
        let text = self.format.store().rewrite(&self.tree, &rewrite)?;
        renamed(self.format, text, SEALED_NAME, CLEAR_NAME)
    }

    /// Seals a text in clear: a value that has its old key, under its old label, keeps its sealed text.
    ///
    /// # Errors
    /// If the text is not of its format, an object is not a SealedSecret in clear, or a value cannot be sealed.
    pub fn seal(
        &self,
        plaintext: SecretBytes,
        cert: &SealingCert,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<SecretBytes, SealedFileError> {
        let mut file = SealedFile::new(self.format, self.format.read(plaintext)?)?;
        for object in &file.objects {
            object.refuse_clear_items(&file.tree)?;
        }
        let (mut changed, mut verbatim) = (Vec::new(), Vec::new());
        for object in &file.objects {
            let Some(values) = object.values_in_clear(&file.tree)? else { continue };
            let label = object.sealed.label();
            for node in file.tree.items(values).collect::<Vec<_>>() {
                let key = String::from_utf8_lossy(file.tree.key(node).unwrap_or_default()).into_owned();
                let value = clear_value(&file.tree, node).ok_or_else(|| object.shape(EVERY_VALUE_A_TEXT))?;
                let written = match self.known(&label, &key, value.expose_secret()) {
                    Some(known) => known.to_owned(),
                    None => {
                        let sealed =
                            cert.seal_labelled(&value, &label, rng).map_err(|source| object.error(source))?;
                        plainly(self.format, sealed)
                    }
                };
                let place = file.tree.node(node);
                if place.origin == Origin::Source && !place.span.is_empty() {
                    verbatim.push((node, written));
                } else {
                    // What is not written down, such as null, or stands for something else.
                    let sealed = file.tree.intern(written.trim_matches('"').as_bytes());
                    file.tree.set_value(node, Value::Str(sealed));
                    changed.push(node);
                }
            }
        }
        changed.sort_unstable();
        verbatim.sort_unstable();
        let verbatim: Vec<_> = verbatim.iter().map(|(node, text)| (*node, text.as_bytes())).collect();
        let rewrite = Rewrite { changed: &changed, verbatim: &verbatim, ..Rewrite::default() };
        let text = self.format.store().rewrite(&file.tree, &rewrite)?;
        let text = renamed(self.format, text, CLEAR_NAME, SEALED_NAME)?;
        self.refuse_leak(&text)?;
        Ok(text)
    }

    /// Makes sure that nothing is about to be written in clear that was sealed, or should be.
    fn refuse_leak(&self, text: &SecretBytes) -> Result<(), SealedFileError> {
        let after = self.format.read(SecretBytes::from(text.expose_secret()))?;
        let is_opened = |node| self.opened.binary_search_by_key(&node, |(opened, _)| *opened).is_ok();
        let values = self.known.values().flatten().map(|known| &known.value);
        match leak(&self.tree, is_opened, values, &after) {
            None => Ok(()),
            Some(Leak { line, what }) => Err(SealedFileError::Leak { line, what }),
        }
    }

    /// Returns how a value was written that was there before.
    fn known(&self, label: &str, key: &str, value: &[u8]) -> Option<&str> {
        let known = self.known.get(&(label.to_owned(), key.to_owned()))?;
        let same = |known: &&Known| known.value.expose_secret().ct_eq(value).into();
        known.iter().find(same).map(|known| known.written.as_str())
    }

    /// Returns the SealedSecrets, in the order of the file.
    #[must_use]
    pub fn objects(&self) -> &[SealedObject] {
        &self.objects
    }
}

impl SealedObject {
    fn read(tree: &Tree, node: NodeId) -> Result<Self, SealedFileError> {
        let line = line(tree, node);
        // Only what is sealed, and what is not secret, is looked at as JSON.
        let object = json_without_values(tree, node);
        let sealed =
            SealedSecret::from_json(&object).map_err(|source| SealedFileError::Object { line, source })?;
        let spec = entry(tree, node, "spec");
        let values = spec.and_then(|spec| entry(tree, spec, SEALED_NAME));
        let values = values.filter(|&values| tree.node(values).value == Value::Map);
        let items = values
            .into_iter()
            .flat_map(|values| tree.items(values))
            .map(|item| (String::from_utf8_lossy(tree.key(item).unwrap_or_default()).into_owned(), item));
        Ok(Self { items: items.collect(), sealed, line, node })
    }

    /// Makes sure that what is called sealed is sealed.
    fn refuse_clear_items(&self, tree: &Tree) -> Result<(), SealedFileError> {
        let is_clear = |(key, _): &(&String, &NodeId)| {
            let item = self.sealed.encrypted_data.get(*key).map(String::as_str).unwrap_or_default();
            key_bits(item).is_err()
        };
        match self.items.iter().find(is_clear) {
            None => Ok(()),
            Some((_, &node)) => Err(SealedFileError::Leak { line: line(tree, node), what: NOT_SEALED }),
        }
    }

    /// Returns the map of the values that are in clear; nothing if there is none.
    fn values_in_clear(&self, tree: &Tree) -> Result<Option<NodeId>, SealedFileError> {
        let spec = entry(tree, self.node, "spec");
        let Some(values) = spec.and_then(|spec| entry(tree, spec, CLEAR_NAME)) else { return Ok(None) };
        if !self.sealed.encrypted_data.is_empty() {
            let name = self.sealed.metadata.name().to_owned();
            return Err(SealedFileError::Both { line: self.line, name });
        }
        if tree.node(values).value != Value::Map {
            return Err(self.shape(EVERY_VALUE_A_TEXT));
        }
        let is_bound = self.sealed.scope() != super::SealingScope::ClusterWide;
        if is_bound && self.sealed.metadata.namespace().is_empty() {
            return Err(self.error(SealingError::MissingNamespace));
        }
        Ok(Some(values))
    }

    /// Returns where the object is in the tree of its file.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    fn error(&self, source: SealingError) -> SealedFileError {
        SealedFileError::Seal { line: self.line, name: self.sealed.metadata.name().to_owned(), source }
    }

    fn shape(&self, what: &'static str) -> SealedFileError {
        SealedFileError::Shape { line: self.line, name: self.sealed.metadata.name().to_owned(), what }
    }
}

/// Returns an object as JSON, without what it has in clear under `stringData`.
fn json_without_values(tree: &Tree, node: NodeId) -> Json {
    let mut object = tree.to_json(node);
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.shift_remove(CLEAR_NAME);
    }
    object
}

/// Returns how a sealed value stands in a file: as it is written, if that is on one line.
fn written(tree: &Tree, format: Format, node: NodeId, sealed: String) -> String {
    let place = tree.node(node);
    let text = str::from_utf8(tree.slice(place.span)).unwrap_or_default();
    let is_as_it_is = place.origin == Origin::Source && text.contains(&sealed) && !text.contains('\n');
    if is_as_it_is { text.to_owned() } else { plainly(format, sealed) }
}

/// Returns how a sealed value is written: base64 needs no quotes in YAML.
fn plainly(format: Format, sealed: String) -> String {
    if format == Format::Json { format!("\"{sealed}\"") } else { sealed }
}

/// Returns the bytes that a scalar in clear stands for; a number or the like is what it is written as.
fn clear_value(tree: &Tree, node: NodeId) -> Option<SecretBytes> {
    match tree.node(node).value {
        Value::Str(text) => Some(tree.bytes(text).into()),
        Value::Null => Some(SecretBytes::new()),
        Value::Map => {
            let mut entries = tree.items(node);
            match (entries.next(), entries.next()) {
                (Some(only), None) if tree.key(only) == Some(BINARY.as_bytes()) => {
                    base64::decode(text(tree, node, BINARY)?).ok()
                }
                _ => None,
            }
        }
        Value::List | Value::Comment(_) => None,
        _ => Some(tree.slice(tree.node(node).span).into()),
    }
}

fn rewrite(format: Format, tree: &Tree, changed: &[NodeId]) -> Result<SecretBytes, WriteError> {
    format.store().rewrite(tree, &Rewrite { changed, ..Rewrite::default() })
}

/// Returns a text with an entry of the `spec` of every SealedSecret called by another name.
fn renamed(format: Format, text: SecretBytes, from: &str, to: &str) -> Result<SecretBytes, SealedFileError> {
    let tree = format.read(text)?;
    let mut places = Vec::new();
    for node in objects(&tree).into_iter().filter(|&node| is_sealed_secret(&tree, node)) {
        let Some(values) = entry(&tree, node, "spec").and_then(|spec| entry(&tree, spec, from)) else {
            continue;
        };
        let start = tree.node(values).key_start;
        let written = &tree.source()[start as usize..];
        let quotes = u32::from(written.starts_with(b"\"") || written.starts_with(b"'"));
        let span = Span { start: start + quotes, end: start + quotes + from.len() as u32 };
        if tree.node(values).origin != Origin::Source || tree.slice(span) != from.as_bytes() {
            let line = line(&tree, node);
            let name = String::from_utf8_lossy(text_of_name(&tree, node)).into_owned();
            return Err(SealedFileError::Shape {
                line,
                name,
                what: "the name of its values is not written plainly",
            });
        }
        places.push(span);
    }
    let mut out = SecretBytes::with_capacity(tree.source().len());
    let mut position = 0;
    for span in places {
        out.extend_from_slice(&tree.source()[position..span.start as usize]);
        out.push_str(to);
        position = span.end as usize;
    }
    out.extend_from_slice(&tree.source()[position..]);
    Ok(out)
}

fn text_of_name(tree: &Tree, node: NodeId) -> &[u8] {
    entry(tree, node, "metadata").and_then(|metadata| text(tree, metadata, "name")).unwrap_or_default()
}

/// Returns whether an object says that it is a SealedSecret, of whatever version.
#[must_use]
pub fn is_sealed_secret(tree: &Tree, node: NodeId) -> bool {
    let version = text(tree, node, "apiVersion").unwrap_or_default();
    let is_ours = version.split(|&byte| byte == b'/').next() == Some(super::GROUP.as_bytes());
    is_ours && text(tree, node, "kind") == Some(super::KIND.as_bytes())
}

/// Returns the entry of a map with a name; of several the last, which is the one that counts.
fn entry(tree: &Tree, map: NodeId, name: &str) -> Option<NodeId> {
    let is_map = tree.node(map).value == Value::Map;
    tree.items(map).filter(|&id| is_map && tree.key(id) == Some(name.as_bytes())).last()
}

fn text<'a>(tree: &'a Tree, map: NodeId, name: &str) -> Option<&'a [u8]> {
    match tree.node(entry(tree, map, name)?).value {
        Value::Str(text) => Some(tree.bytes(text)),
        _ => None,
    }
}

fn line(tree: &Tree, node: NodeId) -> usize {
    tree.line(tree.node(node).key_start)
}

/// The entry with the values of a SealedSecret.
const SEALED_NAME: &str = "encryptedData";
/// The one entry of a map that stands for bytes in JSON.
const BINARY: &str = "$binary";
/// What it is called while the values are in clear.
const CLEAR_NAME: &str = "stringData";
const NOT_SEALED: &str = "a value below encryptedData is not sealed: values in clear belong below stringData";
const EVERY_ITEM_A_TEXT: &str = "every entry of encryptedData has to be a text";
const EVERY_VALUE_A_TEXT: &str = "every entry of stringData has to be a text";

#[cfg(all(test, feature = "aws-lc"))]
mod tests {
    use rand::rngs::OsRng;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::sealed::{Key, KeySize, SealingKey, SealingScope};

    fn pair() -> (KeyRegistry, SealingCert) {
        let key = SealingKey::generate(KeySize::Rsa2048).expect("a new key");
        let cert = SealingCert::generate(&key, "", OffsetDateTime::UNIX_EPOCH, Duration::days(1), &mut OsRng);
        let mut keys = KeyRegistry::new();
        keys.add(Key::new(key, "new"));
        (keys, cert.expect("a certificate"))
    }

    fn open(text: &str, keys: &KeyRegistry) -> Result<OpenedFile, SealedFileError> {
        SealedFile::new(Format::Yaml, Format::Yaml.read(text)?)?.open(keys)
    }

    fn show(text: &SecretBytes) -> &str {
        str::from_utf8(text.expose_secret()).expect("it is text")
    }

    /// A file with a value of each kind, sealed for `cert`.
    fn file(cert: &SealingCert) -> String {
        let seal = |value: &[u8]| {
            cert.seal_value(&value.into(), SealingScope::Strict, "ns", "n", &mut OsRng).expect("it fits")
        };
        format!(
            "# head\nkind: ConfigMap # other\ndata: {{a: b}}\n---\napiVersion: v1\nkind: List\nitems:\n- kind: \
             SealedSecret\n  apiVersion: bitnami.com/v1alpha1\n  metadata: {{name: n, namespace: ns}}\n  spec:\n    \
             # kept\n    encryptedData:\n      a: {} # why\n      lines: \"{}\"\n      bytes: \"{}\"\n",
            seal(b"x"),
            seal(b"one\ntwo\n"),
            seal(b"\xff\0")
        )
    }

    #[test]
    fn opening_changes_values_and_their_name_alone() {
        let (keys, cert) = pair();
        let opened = open(&file(&cert), &keys).expect("the key fits");
        let plaintext = opened.plaintext().expect("it can be written");
        let expected = "# head\nkind: ConfigMap # other\ndata: {a: b}\n---\napiVersion: v1\nkind: List\nitems:\n- kind: \
                        SealedSecret\n  apiVersion: bitnami.com/v1alpha1\n  metadata: {name: n, namespace: ns}\n  spec:\n    \
                        # kept\n    stringData:\n      a: x # why\n      lines: \"one\\ntwo\\n\"\n      bytes: !!binary \"/wA=\"\n";
        assert_eq!(show(&plaintext), expected);
    }

    #[test]
    fn sealing_again_keeps_what_did_not_change() {
        let (keys, cert) = pair();
        let text = file(&cert);
        let opened = open(&text, &keys).expect("the key fits");
        let plaintext = opened.plaintext().expect("it can be written");
        let again =
            opened.seal(plaintext.expose_secret().into(), &cert, &mut OsRng).expect("it can be sealed");
        assert_eq!(show(&again), text);
        let changed = show(&plaintext).replace("a: x", "a: z").replace("namespace: ns", "namespace: ns2");
        let moved = opened.seal(changed.into(), &cert, &mut OsRng).expect("it can be sealed");
        let reopened = open(show(&moved), &keys).expect("it is sealed for the new namespace");
        assert!(show(&reopened.plaintext().expect("it can be written")).contains("a: z # why"));
    }

    #[test]
    fn slips_that_would_leave_values_in_clear_are_refused() {
        let (keys, cert) = pair();
        let item = |value: &str| {
            cert.seal_value(&value.into(), SealingScope::Strict, "ns", "n", &mut OsRng).expect("it fits")
        };
        let text = format!(
            "kind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {{name: n, namespace: ns}}\nspec:\n  \
             encryptedData:\n    long: {}\n    short: {}\n",
            item("valONE11"),
            item("x")
        );
        let opened = open(&text, &keys).expect("the key fits");
        let plaintext = opened.plaintext().expect("it can be written");
        let slips = [
            ("stringData:", "encryptedData:"),
            ("stringData:", "stringdata:"),
            ("stringData:", "values:"),
            ("kind: SealedSecret", "kind: SealdSecret"),
            ("kind: SealedSecret", "kind: Secret"),
            ("bitnami.com/v1alpha1", "v1"),
            ("kind: SealedSecret\n", ""),
            ("spec:", "xspec:"),
            ("long: valONE11", "long: valTWO22 # valONE11"),
            ("spec:", "spec:\n  template: {data: {x: valONE11}}"),
            ("spec:", "data: {x: dmFsT05FMTE=}\nspec:"),
        ];
        for (from, to) in slips {
            let slip = show(&plaintext).replacen(from, to, 1);
            assert_ne!(slip, show(&plaintext));
            let error = opened.seal(slip.into(), &cert, &mut OsRng).err();
            assert!(matches!(error, Some(SealedFileError::Leak { .. })), "{from} → {to}: {error:?}");
        }
        let secret = "---\nkind: Secret\napiVersion: v1\nmetadata: {name: o}\ndata: {a: eA==}\n";
        let with_secret = format!("{}{secret}", show(&plaintext));
        let error = opened.seal(with_secret.into(), &cert, &mut OsRng).err();
        assert!(matches!(error, Some(SealedFileError::Leak { .. })), "{error:?}");
        // What was in clear before is no news, and what is taken out is not missed.
        let opened = open(&format!("{text}{secret}"), &keys).expect("the key fits");
        let plaintext = opened.plaintext().expect("it can be written");
        let shorter = show(&plaintext).replace("    long: valONE11\n", "");
        assert!(opened.seal(shorter.into(), &cert, &mut OsRng).is_ok());
    }

    #[test]
    fn bytes_in_json_are_a_map_while_they_are_in_clear() {
        let (keys, cert) = pair();
        let item = cert
            .seal_value(&b"\xff\0"[..].into(), SealingScope::Strict, "ns", "n", &mut OsRng)
            .expect("it fits");
        let text = format!(
            "{{\"kind\": \"SealedSecret\", \"apiVersion\": \"bitnami.com/v1alpha1\", \"metadata\": {{\"name\": \"n\", \
             \"namespace\": \"ns\"}}, \"spec\": {{\"encryptedData\": {{\"a\": \"{item}\"}}}}}}\n"
        );
        let tree = Format::Json.read(text.as_str()).expect("JSON");
        let opened =
            SealedFile::new(Format::Json, tree).and_then(|file| file.open(&keys)).expect("the key fits");
        let plaintext = opened.plaintext().expect("it can be written");
        assert!(
            show(&plaintext).contains(r#""stringData": {"a": {"$binary": "/wA="}}"#),
            "{}",
            show(&plaintext)
        );
        let again = opened.seal(plaintext, &cert, &mut OsRng).expect("it can be sealed");
        assert_eq!(show(&again), text);
    }

    #[test]
    fn resealing_changes_only_what_was_sealed_for_another_key() {
        let (mut keys, old) = pair();
        let (new_keys, new) = pair();
        let text = file(&old);
        let read = |text: &str| {
            SealedFile::new(Format::Yaml, Format::Yaml.read(text).expect("YAML")).expect("SealedSecrets")
        };
        let (same, results) = read(&text).reseal(&keys, &old, false, &mut OsRng).expect("it can be written");
        assert_eq!((show(&same), results[0].kept.len()), (text.as_str(), 3));
        let (moved, results) = read(&text).reseal(&keys, &new, false, &mut OsRng).expect("it can be written");
        assert_eq!(results[0].changed, ["a", "bytes", "lines"]);
        assert!(open(show(&moved), &new_keys).is_ok());
        assert_eq!(text.lines().count(), show(&moved).lines().count());
        keys = new_keys;
        let (stays, results) = read(&text).reseal(&keys, &new, false, &mut OsRng).expect("it can be written");
        assert_eq!((show(&stays), results[0].failed.len()), (text.as_str(), 3));
    }

    #[test]
    fn values_in_clear_beside_sealed_ones_are_refused() {
        let (keys, cert) = pair();
        let text = file(&cert);
        let opened = open(&text, &keys).expect("the key fits");
        let both = format!("{text}    stringData: {{b: c}}\n");
        let error = opened.seal(both.into(), &cert, &mut OsRng).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("line 8: n has both encryptedData and stringData"));
    }
}

//! What SOPS knows of a file without its key.
//!
//! A file is one of SOPS if the metadata of SOPS stands where sops puts it: as a map `sops` at the top of YAML or JSON,
//! as lines `sops_…` of dotenv, as a section of INI. The word alone says nothing.
//!
//! Documents of one file may have metadata of their own, as where several files were put into one: each is judged by
//! its own rule, and one that has none by none.

#[cfg(test)]
mod golden;
mod marks;
mod places;

use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::file::File;
use super::needles::Needles;
use crate::format::{Format, METADATA_KEY, ParseError};
use crate::secret::SecretBytes;
use crate::sops::{
    LeafPlace, LeafState, Metadata, MetadataError, Selector, comments, is_well_formed, leaves,
};
use crate::tree::{MetadataEntry, NodeId, Origin, Tree, Value};

use places::NodePlace;

pub(super) use marks::metadata_line;
pub(super) use places::{places_of, secret_data};

/// A file that has SOPS metadata, or says that it has.
pub struct SopsFile {
    /// The format that its name stands for, or its content where that says otherwise.
    pub format: Format,
    /// What it says; not where it cannot be read.
    pub tree: Result<Tree, ParseError>,
    /// What is known of it; the error of metadata that cannot be used, or `None` where it cannot be read.
    pub metadata: Option<Result<Metadata, MetadataError>>,
    /// The metadata that each document is judged by.
    documents: Vec<Option<Arc<Result<Metadata, MetadataError>>>>,
    values: Vec<SopsValue>,
    comments: Vec<SopsValue>,
}

/// A value or a comment of a document that has metadata.
#[derive(Clone)]
pub(super) struct SopsValue {
    /// Its node.
    pub(super) id: NodeId,
    /// The position of its document.
    pub(super) document: usize,
    /// Whether the rule of the document says that it is encrypted.
    pub(super) selected: bool,
    /// What is written there.
    pub(super) state: LeafState,
    /// Stands for its additional data: the keys above it.
    pub(super) place: u64,
    /// Where it is written.
    pub(super) span: Range<usize>,
    /// The node with the nearest key.
    keyed: NodeId,
}

impl SopsValue {
    /// Returns its key, or that of the list that it is in.
    pub(super) fn key_in<'t>(&self, tree: &'t Tree) -> &'t str {
        // A key that is no text has no name that means anything.
        str::from_utf8(tree.key(self.keyed).unwrap_or_default()).unwrap_or_default()
    }
}

impl SopsFile {
    /// Reads a file; nothing if it says nothing of SOPS.
    pub(super) fn read(file: &File<'_>) -> Option<Self> {
        if !file.needles().has(Needles::SOPS) || !file.is_text() {
            return None;
        }
        let format = marks::format_of(file)?;
        let tree = format.read(SecretBytes::from(file.text().as_bytes()));
        let mut read = Self {
            format,
            tree,
            metadata: None,
            documents: Vec::new(),
            values: Vec::new(),
            comments: Vec::new(),
        };
        read.judge();
        Some(read)
    }

    /// Returns what the file says, if it can be read.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref().ok()
    }

    /// Returns for each document whether there is metadata to judge it by.
    pub(super) fn judged_documents(&self) -> impl ExactSizeIterator<Item = bool> + '_ {
        self.documents.iter().map(Option::is_some)
    }

    /// Returns whether documents have more different rules than are looked at.
    pub(super) fn has_too_many_rules(&self) -> bool {
        let selectors = self.selectors();
        let is_known = |metadata: &Metadata| selectors.iter().any(|known| is_same(known, &metadata.selector));
        self.usable().any(|metadata| !is_known(metadata))
    }

    /// Returns all values of documents that have metadata, in order.
    pub(super) fn values(&self) -> &[SopsValue] {
        &self.values
    }

    /// Returns all comments of documents that have metadata, in order; their state is never that of an empty value.
    pub(super) fn comments(&self) -> &[SopsValue] {
        &self.comments
    }

    /// Returns the metadata that holds for the whole file; nothing where documents have MACs of their own.
    pub(super) fn only_metadata(&self) -> Option<&Metadata> {
        let mut all = self.documents.iter().map(|metadata| metadata.as_deref()?.as_ref().ok());
        let first = all.next()??;
        all.all(|metadata| metadata.is_some_and(|metadata| metadata.mac == first.mac)).then_some(first)
    }

    /// Returns the bytes of a value, as they are meant, or as they are written where it is no text.
    pub(super) fn bytes(&self, value: &SopsValue) -> &[u8] {
        self.tree().map_or(&[], |tree| bytes_of(tree, value.id))
    }

    /// Returns the key of a value, or that of the list that it is in.
    pub(super) fn key(&self, value: &SopsValue) -> &str {
        self.tree().map_or("", |tree| value.key_in(tree))
    }

    /// Returns whether a value is a text.
    pub(super) fn is_text(&self, value: &SopsValue) -> bool {
        self.tree().is_some_and(|tree| matches!(tree.node(value.id).value, Value::Str(_)))
    }

    /// Returns the rule of the document that a value is in.
    pub(super) fn selector(&self, value: &SopsValue) -> Option<&Selector> {
        Some(&self.documents.get(value.document)?.as_deref()?.as_ref().ok()?.selector)
    }

    /// Returns the values that are below a map.
    pub(super) fn values_below(&self, map: NodeId) -> &[SopsValue] {
        let end = self.tree().map_or(0, |tree| tree.node(map).end as usize);
        let start = self.values.partition_point(|value| value.id <= map);
        let end = self.values.partition_point(|value| value.id.index() < end);
        self.values.get(start..end).unwrap_or_default()
    }

    fn judge(&mut self) {
        let Ok(tree) = &self.tree else { return };
        let entry = |(index, root): (usize, &NodeId)| match (index, tree.metadata()) {
            (0, entry) if *entry != MetadataEntry::Absent => Some(Metadata::from_entry(entry)),
            _ => {
                let json = later_entry(tree, *root)?;
                let entry = json.as_object().ok_or(MetadataError::NotAMapping);
                Some(entry.and_then(Metadata::from_json))
            }
        };
        let documents = tree.documents().iter().enumerate().map(entry);
        self.documents = documents.map(|metadata| metadata.map(Arc::new)).collect();
        let first = self.documents.iter().flatten().next().cloned();
        self.metadata = Some(first.as_deref().cloned().unwrap_or(Err(MetadataError::Missing)));
        // sops judges all documents by the metadata of the first. What is an object of Kubernetes may be one that
        // somebody deploys as it is.
        for (document, root) in self.documents.iter_mut().zip(tree.documents()) {
            let is_judged = match document.as_deref() {
                None => tree.items(*root).any(|item| tree.key(item) == Some(b"kind")),
                Some(metadata) => metadata.is_ok(),
            };
            if !is_judged {
                document.clone_from(&first);
            }
        }
        let nodes = places::node_places(tree);
        let value = |id, selected, state| value_of(tree, &nodes, id, selected, state);
        let selectors = self.selectors();
        for (position, selector) in selectors.iter().enumerate() {
            let is_its = |id: &NodeId| {
                let metadata = self.documents.get(tree.document_of(*id)).and_then(Option::as_deref);
                let metadata = metadata.and_then(|metadata| metadata.as_ref().ok());
                metadata.is_some_and(|metadata| {
                    selectors.iter().position(|known| is_same(known, &metadata.selector)) == Some(position)
                })
            };
            let found = leaves(self.format, tree, selector).into_iter().filter(|leaf| is_its(&leaf.id));
            self.values.extend(found.map(|leaf| value(leaf.id, leaf.selected, leaf.state)));
            let found = comments(self.format, tree, selector).into_iter().filter(|(id, _)| is_its(id));
            self.comments.extend(found.map(|(id, selected)| {
                let text = bytes_of(tree, id).trim_ascii();
                let is_encrypted = is_well_formed(text) && text.ends_with(b"]");
                value(id, selected, if is_encrypted { LeafState::Encrypted } else { LeafState::Clear })
            }));
        }
        self.values.sort_by_key(|value| value.id);
        self.comments.sort_by_key(|value| value.id);
    }

    fn usable(&self) -> impl Iterator<Item = &Metadata> {
        self.documents.iter().flatten().filter_map(|metadata| metadata.as_ref().as_ref().ok())
    }

    /// Returns the different rules of the documents, not more than are looked at.
    fn selectors(&self) -> Vec<Selector> {
        let mut found: Vec<Selector> = Vec::new();
        for metadata in self.usable() {
            let is_known = found.iter().any(|known| is_same(known, &metadata.selector));
            if !is_known && found.len() < MAX_SELECTORS {
                found.push(metadata.selector.clone());
            }
        }
        found
    }
}

/// Returns values of a document that may have no metadata, with their places.
pub(super) fn keys_of(tree: &Tree, values: impl Iterator<Item = LeafPlace>) -> Vec<SopsValue> {
    let nodes = places::node_places(tree);
    values.map(|leaf| value_of(tree, &nodes, leaf.id, leaf.selected, leaf.state)).collect()
}

fn value_of(tree: &Tree, nodes: &[NodePlace], id: NodeId, selected: bool, state: LeafState) -> SopsValue {
    let NodePlace { place, span, keyed } = nodes[id.index()].clone();
    SopsValue { id, document: tree.document_of(id), selected, state, place, span, keyed }
}

/// Returns the bytes of a value or comment, as they are meant, or as they are written where it is no text.
pub(super) fn bytes_of(tree: &Tree, id: NodeId) -> &[u8] {
    match tree.node(id).value {
        Value::Comment(text) | Value::Str(text) | Value::Time(text) => tree.bytes(text),
        _ => tree.slice(tree.node(id).span),
    }
}

/// Returns whether a value is base64 of a file that SOPS encrypted, as Flux takes them in the data of a Secret.
pub(super) fn is_encoded_file(text: &str) -> bool {
    let decoded = SecretBytes::from(STANDARD.decode(text.trim()).unwrap_or_default());
    [PREFIX, b"sops"].iter().all(|mark| memchr::memmem::find(decoded.expose_secret(), mark).is_some())
}

/// Returns the metadata of a document that is not the first.
fn later_entry(tree: &Tree, root: NodeId) -> Option<serde_json::Value> {
    let is_entry = |id: &NodeId| {
        tree.key(*id) == Some(METADATA_KEY.as_bytes()) && tree.node(*id).origin == Origin::Metadata
    };
    tree.children(root).find(is_entry).map(|id| tree.metadata_json(id))
}

fn is_same(left: &Selector, right: &Selector) -> bool {
    left.field() == right.field() && left.text() == right.text()
}

/// How encrypted values and comments begin.
pub(super) const PREFIX: &[u8] = b"ENC[AES256_GCM,";

/// How many different rules the documents of a file have at most; nobody has more than two or three.
const MAX_SELECTORS: usize = 16;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::{Mode, decode};
    use crate::sops::{group, seal};

    /// Who can read what [`encrypted`] returns.
    pub(in crate::check) const RECIPIENT: &str =
        "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";

    /// Returns a document, encrypted by a rule, which is `field=text`, or the default.
    pub(in crate::check) fn encrypted(format: Format, source: &str, rule: &str) -> String {
        let mut metadata = Metadata::new(vec![group(&[RECIPIENT])]);
        if let Some((field, text)) = rule.split_once('=') {
            let selector = Selector::from_fields(|known| (known == field).then_some(text));
            metadata.selector = selector.expect("a valid rule").expect("a rule");
        }
        let sealed = seal(source, format, metadata);
        String::from_utf8(sealed.expose_secret().to_vec()).expect("text")
    }

    fn format_of(path: &str, text: &str) -> Option<Format> {
        let content = decode(text.as_bytes());
        File::new(path, text.as_bytes(), &content, Mode::File).sops().map(|sops| sops.format)
    }

    #[test]
    fn files_of_sops_are_known_in_every_format() {
        let yaml = encrypted(Format::Yaml, "a: b\n", "");
        let json = encrypted(Format::Json, "{\"a\": \"b\"}\n", "");
        let binary = encrypted(Format::Binary, "anything", "");
        let dotenv = encrypted(Format::Dotenv, "A=b\n", "");
        let ini = encrypted(Format::Ini, "[a]\nb = c\n", "");
        for (path, text, format) in [
            ("a.yaml", &yaml, Format::Yaml),
            ("a.yml", &yaml, Format::Yaml),
            ("a.yaml.enc", &yaml, Format::Yaml),
            ("a.json", &json, Format::Json),
            ("a.json.enc", &json, Format::Json),
            ("a.bin", &binary, Format::Binary),
            ("a", &binary, Format::Binary),
            ("a.env", &dotenv, Format::Dotenv),
            (".env", &dotenv, Format::Dotenv),
            ("environment", &dotenv, Format::Dotenv),
            ("a.ini", &ini, Format::Ini),
        ] {
            assert_eq!(format_of(path, text), Some(format), "{path}");
        }
        let utf16: Vec<u8> =
            "\u{feff}".encode_utf16().chain(yaml.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let content = decode(&utf16);
        let file = File::new("a.yaml", &utf16, &content, Mode::File);
        assert!(file.sops().is_some_and(|sops| !sops.values().is_empty()));
    }

    #[test]
    fn the_word_alone_is_no_metadata() {
        for (path, text) in [
            (
                ".sops.yaml",
                "creation_rules:\n- age: age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8\n",
            ),
            ("a.yaml", "kind: ConfigMap\ndata: {note: 'sops: yes, mac: ENC[AES256_GCM,data:x]'}\n"),
            ("a.yaml", "kind: Kustomization\nspec: {decryption: {provider: sops}}\n"),
            ("a.yaml", "kind: HelmRelease\nspec:\n  values:\n    sops:\n      mac: x\n      version: 3\n"),
            ("a.yaml", "kind: SopsSecret\nspec: {secretTemplates: []}\n"),
            ("values.yaml", "sops:\n  enabled: true\n  version: 3.9.0\n"),
            ("values.yaml", "sops: true\n"),
            ("README.md", "# Encrypt\n\n```yaml\nsops:\n    mac: ENC[AES256_GCM,data:x]\n```\n"),
            ("versions.env", "sops_version=3.9.0\n"),
            ("Makefile", "sops_version=3.9.0\n"),
            ("a.ini", "[tools]\nsops = 3.9\n"),
            ("a.json", "{\"tools\": {\"sops\": {\"mac\": \"x\"}}}"),
        ] {
            assert_eq!(format_of(path, text), None, "{path} {text}");
        }
    }

    #[test]
    fn broken_files_say_that_they_are_of_sops() {
        let yaml = encrypted(Format::Yaml, "a: b\nc: d\n", "");
        for text in [
            yaml.replacen("a:", "<<<<<<< ours\na:", 1),
            yaml.replacen("c:", "a:", 1),
            format!("sops: none\n{}", yaml.replace("sops:", "spos:")),
        ] {
            assert_eq!(format_of("a.yaml", &text), Some(Format::Yaml), "{text}");
        }
        let json = encrypted(Format::Json, "{\"a\": \"b\"}\n", "");
        assert_eq!(format_of("a.json", &json.replacen("\"a\"", "<<<<<<< x\n\"a\"", 1)), Some(Format::Json));
    }
}

//! Formats: text to a tree, a tree to text, and changes to a text in place.
//!
//! A format knows nothing of encryption or keys. It finds the `sops` entry, hands it over as JSON, and
//! puts it back where SOPS expects it.
//!
//! Invariants: `rewrite` without changes returns the source byte for byte, and with changes alters only
//! the bytes of the nodes that changed and of the `sops` entries. To add a format, write one file and
//! one line of [`STORES`].

mod binary;
mod dotenv;
mod flat;
mod ini;
mod json;
mod number;
mod scalar;
mod splice;
#[cfg(test)]
mod test_kit;
mod timestamp;
pub(crate) mod yaml;

use serde_json::{Map, Value as Json};

use crate::secret::SecretBytes;
use crate::tree::{MAX_SOURCE, MetadataEntry, NodeId, Tree};

pub use number::{go_fixed, go_general, go_general_single};
pub use scalar::append_scalar_text;
pub use timestamp::{canonical_timestamp, parse_timestamp};

/// The name of the entry that holds the metadata.
pub const METADATA_KEY: &str = "sops";

/// Every format, in alphabetical order.
pub static STORES: &[&dyn Store] =
    &[&binary::Binary, &dotenv::Dotenv, &ini::Ini, &json::JsonStore, &yaml::Yaml];

/// A format that documents are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Arbitrary bytes, as one string.
    Binary,
    /// `KEY=value` lines.
    Dotenv,
    /// Sections of `key = value` lines.
    Ini,
    /// RFC 8259, with an object at the top.
    Json,
    /// YAML with maps at the top of its documents.
    Yaml,
}

/// How to read, write and change text of one format.
pub trait Store: Send + Sync {
    /// Returns which format this is.
    fn format(&self) -> Format;

    /// Returns the name that the command line uses.
    fn name(&self) -> &'static str;

    /// Returns the ends of file names that stand for this format, each with its dot.
    fn extensions(&self) -> &'static [&'static str];

    /// Returns whether a document is a single value, to which no selector applies.
    fn is_single_value(&self) -> bool {
        false
    }

    /// Reads a source. The nodes of the `sops` entry are marked, and the entry is kept as JSON.
    ///
    /// # Errors
    /// If the source is not of this format, or is beyond a limit.
    fn read(&self, source: SecretBytes) -> Result<Tree, ParseError>;

    /// Writes a tree of any format anew, in the style of sops, with `metadata` in its place.
    ///
    /// # Errors
    /// If the format cannot hold what the tree says.
    fn write(
        &self,
        tree: &Tree,
        metadata: Option<&Map<String, Json>>,
        options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError>;

    /// Writes one value alone, as `sops --extract` prints it.
    ///
    /// # Errors
    /// If the format cannot write the value alone.
    fn write_value(
        &self,
        tree: &Tree,
        node: NodeId,
        options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError>;

    /// Returns the source of `tree` with the changes made in place.
    ///
    /// # Errors
    /// If a change cannot be written down.
    fn rewrite(&self, tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError>;

    /// Returns the source of `tree` with `value` put at an existing node, or at a new one.
    ///
    /// # Errors
    /// If the place cannot hold the value.
    fn put(&self, tree: &Tree, place: Place<'_>, value: &Json) -> Result<SecretBytes, WriteError>;

    /// Returns the source of `tree` without a node, its key, and nothing else.
    ///
    /// # Errors
    /// If the node cannot be taken out.
    fn remove(&self, tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError>;
}

/// Changes to make to a source in place.
#[derive(Clone, Copy, Default)]
pub struct Rewrite<'a> {
    /// The nodes whose value was set since the tree was read, in order, each once.
    pub changed: &'a [NodeId],
    /// Bytes to write in place of a node's span as they are, in order of nodes; they win over `changed`.
    pub verbatim: &'a [(NodeId, &'a [u8])],
    /// What becomes of the `sops` entries.
    pub metadata: MetadataEdit<'a>,
}

/// What becomes of the `sops` entries of a document.
#[derive(Clone, Copy, Default)]
pub enum MetadataEdit<'a> {
    /// They stay as they are.
    #[default]
    Keep,
    /// Every document gets this entry in place of its own.
    Put(&'a Map<String, Json>),
    /// They are taken out.
    Remove,
}

/// Where a value goes.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// Behind the last item of this list.
    Append(NodeId),
    /// Behind the last entry of this map, under a key that it does not have.
    Entry(NodeId, &'a str),
    /// In place of this value.
    Node(NodeId),
}

/// How to write a document anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// Spaces for a level; -1 stands for a tab in JSON, `None` for the format's default.
    pub indent: Option<i32>,
}

/// Why a source could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct ParseError {
    /// The 1-based line at which reading stopped.
    pub line: usize,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

/// What is wrong with a source. No variant holds a value of the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Aliases stand for more nodes than any honest document has.
    #[error("aliases expand to too many values")]
    AliasBomb,
    /// A key stands twice in one map.
    #[error("the key {0:?} is given twice")]
    DuplicateKey(String),
    /// There is no document at all.
    #[error("there is no document in the input")]
    Empty,
    /// The bytes are not UTF-8.
    #[error("the text is not valid UTF-8")]
    Encoding,
    /// The `sops` entry breaks the rules of its format.
    #[error("the sops entry is malformed: {0}")]
    Metadata(&'static str),
    /// Maps and lists are nested deeper than is read.
    #[error("values are nested too deeply")]
    Nesting,
    /// A key is not a string.
    #[error("a key is not a string, which SOPS cannot encrypt")]
    NonStringKey,
    /// The top of the document is not a map.
    #[error("the top of the document is not a map")]
    NotAMap,
    /// A number does not fit any type.
    #[error("a number is out of range")]
    Number,
    /// There is nothing but comments, which would belong to nothing.
    #[error("there are only comments in the input")]
    OnlyComments,
    /// The text breaks the rules of its format; the text says which, without citing a value.
    #[error("{0}")]
    Syntax(String),
    /// The source is longer than [`MAX_SOURCE`].
    #[error("the input is too large")]
    TooLarge,
}

/// Why a document could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The indent is not one that the format has.
    #[error("an indent of {0} is not possible in this format")]
    Indent(i32),
    /// A user's key takes the name of the metadata.
    #[error("the document has an entry called {0:?}, which is the name of the metadata")]
    ReservedKey(String),
    /// The format cannot hold such a value.
    #[error("{format} cannot hold {what}")]
    Unsupported {
        /// The name of the format.
        format: &'static str,
        /// The kind of value.
        what: &'static str,
    },
}

impl Format {
    /// Returns the format whose command line name is `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        STORES.iter().find(|store| store.name() == name).map(|store| store.format())
    }

    /// Returns the format that the end of a file's name stands for; binary if it stands for none.
    #[must_use]
    pub fn from_file_name(name: &str) -> Self {
        let fits = |store: &&&dyn Store| store.extensions().iter().any(|end| name.ends_with(end));
        STORES.iter().find(fits).map_or(Self::Binary, |store| store.format())
    }

    /// Returns how to read and write the format.
    #[must_use]
    pub fn store(self) -> &'static dyn Store {
        *STORES.iter().find(|store| store.format() == self).expect("every format has a store")
    }

    /// Reads a source of this format.
    ///
    /// # Errors
    /// If the source is not of this format, or is beyond a limit.
    pub fn read(self, source: impl Into<SecretBytes>) -> Result<Tree, ParseError> {
        let source = source.into();
        if source.len() > MAX_SOURCE {
            return Err(ParseError { line: 1, kind: ParseErrorKind::TooLarge });
        }
        self.store().read(source)
    }
}

/// Returns the `sops` entry below the first document's root, for formats in which it is a map.
fn nested_metadata(tree: &Tree) -> MetadataEntry {
    let Some(&root) = tree.documents().first() else { return MetadataEntry::Absent };
    let entry = tree.children(root).find(|&id| tree.key(id) == Some(METADATA_KEY.as_bytes()));
    match entry.map(|id| tree.metadata_json(id)) {
        None => MetadataEntry::Absent,
        Some(Json::Object(entry)) => MetadataEntry::Present(entry),
        Some(_) => MetadataEntry::NotAMapping,
    }
}

/// Returns the root of a tree's one document, for formats that have no more.
fn only_document(tree: &Tree, format: &'static str) -> Result<NodeId, WriteError> {
    match tree.documents() {
        [root] => Ok(*root),
        _ => Err(WriteError::Unsupported { format, what: "anything but one document" }),
    }
}

/// Returns whether the content has an entry with this key directly below `root`.
fn has_key(tree: &Tree, root: NodeId, key: &str) -> bool {
    tree.items(root).any(|id| tree.key(id) == Some(key.as_bytes()))
}

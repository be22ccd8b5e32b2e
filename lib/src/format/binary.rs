//! Arbitrary bytes: one string under the key `data`. Encrypted, they are a JSON document with that key and
//! the metadata.
//!
//! A source that is a JSON object with the metadata of SOPS is read as such; any other source is bytes.

use serde_json::{Map, Value as Json};

use super::json::JsonStore;
use super::splice::Splice;
use super::{
    Format, MetadataEdit, ParseError, Place, Rewrite, Store, WriteError, WriteOptions, only_document,
};
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, Node, NodeId, Span, Style, Tree, Value};

/// The binary format.
pub struct Binary;

impl Store for Binary {
    fn format(&self) -> Format {
        Format::Binary
    }

    fn name(&self) -> &'static str {
        NAME
    }

    /// Whatever is no other format is binary.
    fn extensions(&self) -> &'static [&'static str] {
        &[]
    }

    fn is_single_value(&self) -> bool {
        true
    }

    fn read(&self, source: SecretBytes) -> Result<Tree, ParseError> {
        if let Some(envelope) = read_envelope(&source) {
            return Ok(envelope);
        }
        let span = Span::new(0, source.len());
        let mut tree = Tree::new(source);
        let root = tree.open_document(span, Style::Block);
        let key = tree.intern(DATA.as_bytes());
        tree.push(Node::new(Value::Str(span.text()), Some(key), span, Style::Plain));
        tree.close(root);
        Ok(tree)
    }

    fn write(
        &self,
        tree: &Tree,
        metadata: Option<&Map<String, Json>>,
        options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        match metadata {
            Some(_) => JsonStore.write(tree, metadata, options),
            None => Ok(data(tree)?.into()),
        }
    }

    fn write_value(
        &self,
        tree: &Tree,
        node: NodeId,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        match tree.node(node).value {
            Value::Str(text) => Ok(tree.bytes(text).into()),
            Value::Map => Ok(data_in(tree, node)?.into()),
            _ => Err(unsupported("anything but a string as a value alone")),
        }
    }

    fn rewrite(&self, tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
        match rewrite.metadata {
            MetadataEdit::Remove => self.unwrap(tree, rewrite),
            MetadataEdit::Put(metadata) if !is_envelope(tree) => {
                self.write(tree, Some(metadata), &WriteOptions::default())
            }
            MetadataEdit::Keep | MetadataEdit::Put(_) if is_envelope(tree) => {
                JsonStore.rewrite(tree, rewrite)
            }
            MetadataEdit::Keep | MetadataEdit::Put(_) => self.unwrap(tree, rewrite),
        }
    }

    fn put(&self, tree: &Tree, place: Place<'_>, value: &Json) -> Result<SecretBytes, WriteError> {
        if is_envelope(tree) {
            return JsonStore.put(tree, place, value);
        }
        match (place, value) {
            (Place::Node(node), Json::String(text)) if !tree.documents().contains(&node) => {
                Ok(text.as_str().into())
            }
            _ => Err(unsupported("anything but one string")),
        }
    }

    fn remove(&self, tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
        if is_envelope(tree) {
            JsonStore.remove(tree, node)
        } else {
            Err(unsupported("a document without its data"))
        }
    }
}

impl Binary {
    /// Returns the bytes of a document without metadata.
    fn unwrap(&self, tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
        if is_envelope(tree) {
            return Ok(data(tree)?.into());
        }
        let mut splice = Splice::default();
        match (rewrite.verbatim, rewrite.changed) {
            (&[(node, bytes), ..], _) => splice.replace(tree.node(node).span, bytes),
            ([], &[node, ..]) => splice.replace(tree.node(node).span, data(tree)?),
            ([], []) => {}
        }
        Ok(splice.apply(tree.source()))
    }
}

/// Reads an encrypted document, or returns `None` if the source is anything else.
fn read_envelope(source: &SecretBytes) -> Option<Tree> {
    let bytes = source.expose_secret();
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') || !bytes.windows(MARK.len()).any(|window| window == MARK) {
        return None;
    }
    // What is no JSON is bytes like any other.
    let tree = JsonStore.read(SecretBytes::from(bytes)).ok()?;
    is_envelope(&tree).then_some(tree)
}

/// Returns whether a document has what the metadata of every encrypted document has.
fn is_envelope(tree: &Tree) -> bool {
    matches!(tree.metadata(), MetadataEntry::Present(metadata) if metadata.contains_key("lastmodified"))
}

/// Returns the bytes that a document stands for.
fn data(tree: &Tree) -> Result<&[u8], WriteError> {
    data_in(tree, only_document(tree, NAME)?)
}

fn data_in(tree: &Tree, map: NodeId) -> Result<&[u8], WriteError> {
    let data = tree.items(map).find(|&id| tree.key(id) == Some(DATA.as_bytes()));
    match data.map(|id| tree.node(id).value) {
        Some(Value::Str(text)) => Ok(tree.bytes(text)),
        _ => Err(unsupported("a document without a string called `data`; name the output format")),
    }
}

const DATA: &str = "data";
/// How the metadata of an encrypted document is written.
const MARK: &[u8] = b"\"sops\"";
const NAME: &str = "binary";

fn unsupported(what: &'static str) -> WriteError {
    WriteError::Unsupported { format: NAME, what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::json;

    use super::*;

    fn read(source: &[u8]) -> Tree {
        Binary.read(source.into()).expect("any bytes")
    }

    fn metadata() -> Map<String, Json> {
        let Json::Object(metadata) = json!({"lastmodified": "now", "mac": "x"}) else { panic!("not a map") };
        metadata
    }

    /// Returns what an encrypted document says.
    fn encrypted(source: &[u8], text: &str) -> SecretBytes {
        let mut tree = read(source);
        let node = tree.items(tree.documents()[0]).next().expect("the data");
        let text = tree.intern(text.as_bytes());
        tree.set_value(node, Value::Str(text));
        let metadata = metadata();
        let rewrite = Rewrite { changed: &[node], verbatim: &[], metadata: MetadataEdit::Put(&metadata) };
        Binary.rewrite(&tree, &rewrite).expect("JSON")
    }

    #[test]
    fn bytes_become_json_and_bytes_again() {
        let written = encrypted(b"\xff\0", "ENC[1]");
        let expected = "{\n\t\"data\": \"ENC[1]\",\n\t\"sops\": {\n\t\t\"lastmodified\": \"now\",\n\t\t\"mac\": \"x\"\n\t}\n}\n";
        assert_eq!(written.expose_secret(), expected.as_bytes());

        let mut tree = read(written.expose_secret());
        assert_eq!(*tree.metadata(), MetadataEntry::Present(metadata()));
        let node = tree.items(tree.documents()[0]).next().expect("the data");
        assert_eq!(tree.key(node), Some(&b"data"[..]));
        let plain = tree.intern(b"\xff\0");
        tree.set_value(node, Value::Str(plain));
        let rewrite = Rewrite { changed: &[node], verbatim: &[], metadata: MetadataEdit::Remove };
        assert_eq!(Binary.rewrite(&tree, &rewrite).expect("bytes").expose_secret(), b"\xff\0");
        let written = Binary.write(&tree, None, &WriteOptions::default());
        assert_eq!(written.expect("bytes").expose_secret(), b"\xff\0");
    }

    #[test]
    fn json_without_metadata_is_bytes() {
        for source in [
            r#"{"data": "x"}"#,
            r#"{"data": "x", "sops": {}}"#,
            r#"{"data": "x", "sops": {"lastmodified": "now"}} trailing"#,
            r#"{"data": "x", "a": {"sops": {"lastmodified": "now"}}}"#,
            r#"["sops"]"#,
        ] {
            let tree = read(source.as_bytes());
            assert_eq!(*tree.metadata(), MetadataEntry::Absent, "{source}");
            assert_eq!(data(&tree), Ok(source.as_bytes()));
        }
    }

    #[test]
    fn metadata_of_an_encrypted_document_is_replaced() {
        let tree = read(encrypted(b"", "ENC[1]").expose_secret());
        let mut other = metadata();
        other.insert("version".into(), "3".into());
        let rewrite = Rewrite { metadata: MetadataEdit::Put(&other), ..Rewrite::default() };
        let written = Binary.rewrite(&tree, &rewrite).expect("JSON");
        assert_eq!(*read(written.expose_secret()).metadata(), MetadataEntry::Present(other));
    }

    #[test]
    fn only_a_document_with_data_becomes_bytes() {
        let write = |source: &str| {
            let tree = JsonStore.read(source.into()).expect(source);
            Binary.write(&tree, None, &WriteOptions::default())
        };
        assert_eq!(write(r#"{"data": "a\nb"}"#).expect("bytes").expose_secret(), b"a\nb");
        for source in ["{}", r#"{"data": 1}"#, r#"{"a": "x"}"#] {
            assert!(
                matches!(write(source), Err(WriteError::Unsupported { format: "binary", .. })),
                "{source}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(source in any::<Vec<u8>>()) {
            let tree = read(&source);
            let same = Binary.rewrite(&tree, &Rewrite::default()).expect("bytes");
            prop_assert_eq!(same.expose_secret(), &source[..]);
            let mut tree = read(encrypted(&source, "ENC[1]").expose_secret());
            let node = tree.items(tree.documents()[0]).next().expect("the data");
            let plain = tree.intern(&source);
            tree.set_value(node, Value::Str(plain));
            let rewrite = Rewrite { changed: &[node], verbatim: &[], metadata: MetadataEdit::Remove };
            let plain = Binary.rewrite(&tree, &rewrite).expect("bytes");
            prop_assert_eq!(plain.expose_secret(), &source[..]);
        }
    }
}

//! INI, as sops reads it with go-ini: sections of `key = value`, all values texts. Metadata is a section of
//! its own, under flat names.
//!
//! What go-ini drops when it reads would be lost, or would stay in clear in a document that is encrypted in
//! place. A value that the next line replaces goes with that line's value; comments at the end are kept; the
//! rest is refused with its line: a key that is given twice in places apart, and text behind a closing quote
//! or bracket.

mod edit;
mod quote;
mod read;
mod scan;
mod write;

use serde_json::{Map, Value as Json};

use super::{Format, ParseError, Place, Rewrite, Store, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree};

/// The INI format.
pub struct Ini;

impl Store for Ini {
    fn format(&self) -> Format {
        Format::Ini
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[".ini"]
    }

    fn read(&self, source: SecretBytes) -> Result<Tree, ParseError> {
        read::read(source)
    }

    fn write(
        &self,
        tree: &Tree,
        metadata: Option<&Map<String, Json>>,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        write::write(tree, metadata)
    }

    fn write_value(
        &self,
        tree: &Tree,
        node: NodeId,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        write::write_value(tree, node)
    }

    fn rewrite(&self, tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
        edit::rewrite(tree, rewrite)
    }

    fn put(&self, tree: &Tree, place: Place<'_>, value: &Json) -> Result<SecretBytes, WriteError> {
        edit::put(tree, place, value)
    }

    fn remove(&self, tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
        edit::remove(tree, node)
    }
}

const COLLECTION: &str = "a map or list below a section";
const NAME: &str = "ini";
const NULL: &str = "null in an encrypted document";

fn unsupported(what: &'static str) -> WriteError {
    WriteError::Unsupported { format: NAME, what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::json;

    use super::*;
    use crate::format::MetadataEdit;
    use crate::format::test_kit::{metadata, text};
    use crate::tree::{MetadataEntry, Span, Style, Value};

    fn read(source: &str) -> Tree {
        Ini.read(source.into()).expect(source)
    }

    fn edit(source: &str, metadata: MetadataEdit<'_>) -> String {
        let rewrite = Rewrite { metadata, ..Rewrite::default() };
        text(&Ini.rewrite(&read(source), &rewrite).expect(source))
    }

    fn scalars(tree: &Tree) -> Vec<NodeId> {
        tree.nodes().filter(|(_, node)| node.value != Value::Map).map(|(id, _)| id).collect()
    }

    /// Returns a document with every value and comment replaced by a ciphertext, and with metadata.
    fn encrypted(source: &str) -> String {
        let mut tree = read(source);
        let nodes = scalars(&tree);
        let is_full = |id: &NodeId| match tree.node(*id).value {
            Value::Str(text) | Value::Comment(text) => !tree.bytes(text).is_empty(),
            _ => false,
        };
        let nodes: Vec<_> = nodes.into_iter().filter(is_full).collect();
        for &id in &nodes {
            let cipher = tree.intern(b"ENC[1]");
            let is_comment = matches!(tree.node(id).value, Value::Comment(_));
            tree.set_value(id, if is_comment { Value::Comment(cipher) } else { Value::Str(cipher) });
        }
        let rewrite = Rewrite { changed: &nodes, verbatim: &[], metadata: MetadataEdit::Put(&metadata()) };
        text(&Ini.rewrite(&tree, &rewrite).expect(source))
    }

    /// Returns an encrypted document with the values and the spellings of `source`.
    fn decrypted(encrypted: &str, source: &str) -> String {
        let (tree, plain) = (read(encrypted), read(source));
        let spelled: Vec<_> =
            scalars(&plain).into_iter().map(|id| plain.slice(plain.node(id).span)).collect();
        let nodes = tree.nodes().filter(|(_, node)| node.origin != crate::tree::Origin::Metadata);
        let nodes = nodes.filter(|(_, node)| node.value != Value::Map).map(|(id, _)| id);
        let verbatim: Vec<_> = nodes.zip(spelled).collect();
        let rewrite = Rewrite { changed: &[], verbatim: &verbatim, metadata: MetadataEdit::Remove };
        text(&Ini.rewrite(&tree, &rewrite).expect(encrypted))
    }

    #[test]
    fn metadata_goes_in_and_out_without_a_trace() {
        for source in [
            "",
            "\n",
            "a=1",
            "a=1\n",
            "a=1\n\n",
            "; x",
            "; x\n\n",
            "[s]",
            "[s]\r\na = 1\r\n",
            "a=1\r",
            "a = x \\",
            "a = x \\\n",
            "a = x \\\n\n",
            "\u{feff}",
            "\u{feff}a=1",
            "a=\"\"\"x\ny\"\"\"",
            "\u{a0}\n",
        ] {
            let encrypted = edit(source, MetadataEdit::Put(&metadata()));
            assert_eq!(*read(&encrypted).metadata(), MetadataEntry::Present(metadata()), "{source:?}");
            assert_eq!(edit(&encrypted, MetadataEdit::Remove), source);
        }
        let section = "[sops]\nage__list_0__map_enc = a\\nb\nmac                  = ENC[x]\n";
        assert_eq!(
            edit("a=1\n\n[sops]\n; old\nmac=x\n\n[b]\n", MetadataEdit::Put(&metadata())),
            format!("a=1\n\n{section}\n[b]\n")
        );
        assert_eq!(
            edit("a=1\r\n", MetadataEdit::Put(&metadata())),
            format!("a=1\n\n{section}").replace('\n', "\r\n")
        );
        let rewrite = Rewrite { metadata: MetadataEdit::Put(&metadata()), ..Rewrite::default() };
        let raw = "[sops]\nage__list_0__map_enc = \"\"\"a\nb\"\"\"\nmac: ENC[x]\n";
        assert_eq!(*read(raw).metadata(), MetadataEntry::Present(metadata()));
        assert_eq!(text(&Ini.rewrite(&read(raw), &rewrite).expect("ini")), section);
    }

    #[test]
    fn nothing_stays_in_clear() {
        let source = "\u{feff}; one\n# two\n a = 'x' ; beside\n\n; block\n[s] ; beside\nb = `k` \nc = x \\\n  y\nd = 1\nd = 2\n\
                      ; above\ne = \"v\" # beside\nf:\"\"\"l1\nl2\"\"\";tight\n; end";
        let expected = "\u{feff}; ENC[1]\n a = 'ENC[1]'\n\n; ENC[1]\n[s]\nb = `ENC[1]` \nc = ENC[1]\nd = ENC[1]\n\
                        ; ENC[1]\ne = \"ENC[1]\"\nf:ENC[1];ENC[1]\n; ENC[1]\n\n[sops]\n\
                        age__list_0__map_enc = a\\nb\nmac                  = ENC[x]";
        assert_eq!(encrypted(source), expected);
        assert_eq!(decrypted(expected, source), source);
    }

    #[test]
    fn scalars_of_other_formats_become_text() {
        let write = |source: &str, metadata: Option<&Map<String, Json>>| {
            let tree = Format::Json.read(source).expect(source);
            Ini.write(&tree, metadata, &WriteOptions::default()).map(|written| text(&written))
        };
        let source = r#"{"s": {"a": 1, "b": 1.0, "longer": true, "d": "x\ny", "e": null, "f": "a;b", "g": " "}, "t": {}}"#;
        assert_eq!(
            write(source, None).as_deref(),
            Ok("[s]\na      = 1\nb      = 1.0\nlonger = true\nd      = \"\"\"x\ny\"\"\"\ne      = <nil>\n\
                f      = `a;b`\ng      = \" \"\n\n[t]\n")
        );
        let metadata = metadata();
        let refused = |source, metadata| {
            matches!(write(source, metadata), Err(WriteError::Unsupported { format: "ini", .. }))
        };
        assert!(refused(source, Some(&metadata)));
        for source in [
            r#"{"a": "x"}"#,
            r#"{"a": []}"#,
            r#"{"a": {"b": []}}"#,
            r#"{"a": {"b": {}}}"#,
            r#"{"": {}}"#,
            r#"{"a\n": {}}"#,
            r#"{"a": {"": "x"}}"#,
            r#"{"a": {" b": "x"}}"#,
            r#"{"a": {"-": "x"}}"#,
            r#"{"a": {"b\nc": "x"}}"#,
        ] {
            assert!(refused(source, None), "{source}");
        }
        let written = write(r#"{"sops_": {}, "t": {}}"#, Some(&metadata)).expect("INI");
        assert_eq!(*read(&written).metadata(), MetadataEntry::Present(metadata.clone()));
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.open_document(Span::default(), Style::Block);
        tree.push_json(Some("sops"), &json!({}));
        tree.close(root);
        let reserved = Ini.write(&tree, Some(&metadata), &WriteOptions::default()).err();
        assert_eq!(reserved, Some(WriteError::ReservedKey("sops".into())));
    }

    proptest! {
        #[test]
        fn reading_never_panics(source in any::<Vec<u8>>()) {
            // Whether it is read does not matter here.
            let _ = Ini.read(source.into());
        }

        #[test]
        fn any_document_can_be_encrypted_and_brought_back(
            source in "\u{feff}?(([ab] ?[=:] ?|\\[[ab]\\] ?|[;#-] ?|\"\"\"|[`\"'\\\\xü ])[;#x\"'`\\\\= ]{0,4}\r?\n){0,6}(a=x)?"
        ) {
            if Ini.read(source.as_str().into()).is_err() {
                return Ok(());
            }
            prop_assert_eq!(edit(&source, MetadataEdit::Keep), source.clone());
            let encrypted = encrypted(&source);
            prop_assert_eq!(decrypted(&encrypted, &source), source);
        }

        #[test]
        fn a_value_is_put_and_taken_out(
            source in "(([ab] ?[=:] ?|\\[[ab]\\] ?|[;#-] ?)[;#x\"'`\\\\= ]{0,3}\r?\n){0,5}(a=x)?",
            index in 0..8_usize, value in "[x;#`\"'\\\\= \n]{0,4}"
        ) {
            let Ok(tree) = Ini.read(source.as_str().into()) else { return Ok(()) };
            let json = |tree: &Tree| -> Vec<(String, Json)> {
                let sections = tree.items(tree.documents()[0]);
                sections.map(|id| (String::from_utf8_lossy(tree.key(id).expect("a key")).into_owned(), tree.to_json(id))).collect()
            };
            let root = tree.documents()[0];
            for (position, section) in tree.items(root).enumerate() {
                let mut expected = json(&tree);
                if let Ok(changed) = Ini.put(&tree, Place::Entry(section, "new"), &json!(value)) {
                    expected[position].1["new"] = value.clone().into();
                    prop_assert_eq!(json(&read(&text(&changed))), expected);
                }
                for id in tree.items(section).skip(index).take(1) {
                    let key = String::from_utf8_lossy(tree.key(id).expect("a key")).into_owned();
                    let mut expected = json(&tree);
                    if let Ok(changed) = Ini.put(&tree, Place::Node(id), &json!(value)) {
                        expected[position].1[&key] = value.clone().into();
                        prop_assert_eq!(json(&read(&text(&changed))), expected);
                    }
                    let mut expected = json(&tree);
                    if let (false, Ok(changed)) = (key.starts_with('#'), Ini.remove(&tree, id)) {
                        expected[position].1.as_object_mut().expect("a section").remove(&key);
                        prop_assert_eq!(json(&read(&text(&changed))), expected);
                    }
                }
                if let (true, Ok(changed)) = (position > 0, Ini.remove(&tree, section)) {
                    let mut expected = json(&tree);
                    expected.remove(position);
                    prop_assert_eq!(json(&read(&text(&changed))), expected);
                }
                let mut expected = json(&tree);
                let entries = json!({ "k": value });
                if let Ok(changed) = Ini.put(&tree, Place::Node(section), &entries) {
                    expected[position].1 = entries.clone();
                    prop_assert_eq!(json(&read(&text(&changed))), expected);
                }
            }
            let mut expected = json(&tree);
            if let Ok(changed) = Ini.put(&tree, Place::Entry(root, "new"), &json!({ "k": value })) {
                expected.push(("new".to_owned(), json!({ "k": value })));
                prop_assert_eq!(json(&read(&text(&changed))), expected);
            }
        }
    }
}

//! JSON with an object at the top, as sops reads it: order and equal keys are kept.
//!
//! Unlike sops, which takes a text that ends after any colon for complete and does not look behind the
//! end of the object, this reads whole documents only.

mod edit;
mod read;
mod write;

use serde_json::{Map, Value as Json};

use super::{Format, ParseError, Place, Rewrite, Store, WriteError, WriteOptions};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree};

/// The JSON format.
pub struct JsonStore;

impl Store for JsonStore {
    fn format(&self) -> Format {
        Format::Json
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[".json"]
    }

    fn read(&self, source: SecretBytes) -> Result<Tree, ParseError> {
        read::read(source)
    }

    fn write(
        &self,
        tree: &Tree,
        metadata: Option<&Map<String, Json>>,
        options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        write::write(tree, metadata, options)
    }

    fn write_value(
        &self,
        tree: &Tree,
        node: NodeId,
        options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        write::write_value(tree, node, options)
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

const NAME: &str = "json";

/// As in Go: deeper maps and lists are refused.
const MAX_DEPTH: usize = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use serde_json::json;

    use super::*;
    use crate::format::test_kit::{metadata, text};
    use crate::format::{MetadataEdit, ParseErrorKind};
    use crate::tree::{MetadataEntry, Origin, Style, TreePath, Value};

    fn read(source: &str) -> Tree {
        JsonStore.read(source.into()).expect(source)
    }

    fn kind(source: &[u8]) -> ParseErrorKind {
        JsonStore.read(source.into()).err().expect("a document that cannot be read").kind
    }

    fn find(tree: &Tree, path: &str) -> NodeId {
        tree.get(tree.documents()[0], &TreePath::parse(path).expect(path)).expect(path)
    }

    fn edit(source: &str, metadata: MetadataEdit<'_>) -> String {
        let rewrite = Rewrite { metadata, ..Rewrite::default() };
        text(&JsonStore.rewrite(&read(source), &rewrite).expect(source))
    }

    fn write(tree: &Tree) -> String {
        text(&JsonStore.write(tree, None, &WriteOptions::default()).expect("JSON"))
    }

    #[test]
    fn every_node_knows_its_place() {
        let source = r#" {"a" : [1, {"b\u0020": -2.5e3}], "c":"x\ny" } "#;
        let tree = read(source);
        let slices: Vec<_> = tree
            .nodes()
            .map(|(_, node)| {
                let key_start = node.key_start as usize;
                (
                    std::str::from_utf8(tree.slice(node.span)).expect("UTF-8"),
                    &source[key_start..key_start + 2],
                )
            })
            .collect();
        assert_eq!(
            slices,
            [
                (source.trim(), "{\""),
                (r#"[1, {"b\u0020": -2.5e3}]"#, "\"a"),
                ("1", "1,"),
                (r#"{"b\u0020": -2.5e3}"#, "{\""),
                ("-2.5e3", "\"b"),
                (r#""x\ny""#, "\"c"),
            ]
        );
        assert_eq!(tree.key(find(&tree, r#"["a"][1]["b "]"#)), Some(&b"b "[..]));
        let string = tree.node(find(&tree, r#"["c"]"#));
        assert_eq!(string.style, Style::DoubleQuoted);
        let Value::Str(string) = string.value else { panic!("not a string") };
        assert_eq!(tree.bytes(string), b"x\ny");
    }

    #[test]
    fn numbers_are_integers_where_they_fit() {
        let cases = [
            ("0", Value::Int(0)),
            ("-0", Value::Int(0)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("-9223372036854775808", Value::Int(i64::MIN)),
            ("9223372036854775808", Value::Float(9_223_372_036_854_775_808.0)),
            ("1.0", Value::Float(1.0)),
            ("1e2", Value::Float(100.0)),
            ("1E-400", Value::Float(0.0)),
        ];
        for (number, value) in cases {
            let tree = read(&format!("{{\"a\":{number}}}"));
            assert!(tree.node(find(&tree, r#"["a"]"#)).value == value, "{number}");
        }
        assert_eq!(kind(br#"{"a":1e400}"#), ParseErrorKind::Number);
    }

    #[test]
    fn escapes_stand_for_characters() {
        let tree = read(r#"{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#);
        assert_eq!(tree.to_json(tree.documents()[0]), json!({"a": "\"\\/\u{8}\u{c}\n\r\té😀"}));
    }

    #[test]
    fn equal_keys_stay() {
        let tree = read(r#"{"a": 1, "a": 2}"#);
        assert_eq!(write(&tree), "{\n\t\"a\": 1,\n\t\"a\": 2\n}\n");
    }

    #[test]
    fn what_is_not_a_whole_document_is_refused() {
        let syntax = [
            r#"{"a":"#,
            r#"{"a""#,
            r#"{"a":1"#,
            r#"{"a":1,"#,
            r#"{"a":1,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1} {}"#,
            r#"{"a":1}x"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":+1}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{"a":tru}"#,
            r#"{"a":nul"#,
            r#"{a:1}"#,
            r#"{"a" 1}"#,
            r#"{"a":[1}"#,
            r#"{"a":"x"#,
            r#"{"a":"\"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\ud800\u0041"}"#,
            r#"{"a":"\udc00\ud800"}"#,
            "{\"a\":\"\n\"}",
            "\u{feff}{}",
            "}",
        ];
        for source in syntax {
            assert!(matches!(kind(source.as_bytes()), ParseErrorKind::Syntax(_)), "{source}");
        }
        assert_eq!(kind(b" \n"), ParseErrorKind::Empty);
        for source in ["[]", "1", "\"a\"", "null"] {
            assert_eq!(kind(source.as_bytes()), ParseErrorKind::NotAMap, "{source}");
        }
        assert_eq!(kind(b"{\"a\":\"\xff\"}"), ParseErrorKind::Encoding);
    }

    #[test]
    fn an_error_tells_its_line() {
        let error = JsonStore.read("{\n\"a\": 1,\n\"b\": x}".into()).err();
        assert_eq!(error.map(|error| error.line), Some(3));
    }

    #[test]
    fn nesting_is_limited_as_in_go() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(read(&nested(10_000)).nodes().len(), 10_000);
        assert_eq!(kind(nested(10_001).as_bytes()), ParseErrorKind::Nesting);
    }

    #[test]
    fn the_sops_entry_is_metadata() {
        let tree = read(r#"{"a": 1, "sops": {"mac": "x", "age": []}}"#);
        let Json::Object(expected) = json!({"mac": "x", "age": []}) else { panic!("not an object") };
        assert_eq!(*tree.metadata(), MetadataEntry::Present(expected));
        let marked = tree.nodes().filter(|(_, node)| node.origin == Origin::Metadata).count();
        assert_eq!(marked, 3);
        assert_eq!(*read(r#"{"sops": 1}"#).metadata(), MetadataEntry::NotAMapping);
        assert_eq!(*read(r#"{"a": {"sops": {}}}"#).metadata(), MetadataEntry::Absent);
    }

    #[test]
    fn a_value_is_written_without_metadata() {
        let tree = read(r#"{"a": 1, "sops": {"mac": "x", "age": []}}"#);
        let written = JsonStore.write_value(&tree, tree.documents()[0], &WriteOptions::default());
        assert_eq!(written.expect("JSON").expose_secret(), b"{\n\t\"a\": 1\n}\n");
    }

    #[test]
    fn malformed_metadata_is_refused() {
        assert!(matches!(kind(br#"{"sops": {}, "sops": {}}"#), ParseErrorKind::Metadata(_)));
        let deep = format!("{{\"sops\": {}{}}}", "[".repeat(65), "]".repeat(65));
        assert!(matches!(kind(deep.as_bytes()), ParseErrorKind::Metadata(_)));
    }

    #[test]
    fn writing_looks_as_in_go() {
        let tree = read(
            r#"{"a":{},"b":[],"c":[1,{"d":null}],"<&>":"<&>\u2028é\u007f\u0001\b","f":[1.0,1e21,1.5e-7,1e-6,-0.0]}"#,
        );
        let expected = concat!(
            "{\n\t\"a\": {},\n\t\"b\": [],\n\t\"c\": [\n\t\t1,\n\t\t{\n\t\t\t\"d\": null\n\t\t}\n\t],\n",
            "\t\"\\u003c\\u0026\\u003e\": \"\\u003c\\u0026\\u003e\\u2028é\u{7f}\\u0001\\b\",\n",
            "\t\"f\": [\n\t\t1,\n\t\t1e+21,\n\t\t1.5e-7,\n\t\t0.000001,\n\t\t-0.0\n\t]\n}\n",
        );
        assert_eq!(write(&tree), expected);
    }

    #[test]
    fn the_indent_is_as_asked() {
        let tree = read(r#"{"a":[1]}"#);
        let write = |indent| JsonStore.write(&tree, None, &WriteOptions { indent: Some(indent) });
        assert_eq!(text(&write(2).expect("JSON")), "{\n  \"a\": [\n    1\n  ]\n}\n");
        assert_eq!(text(&write(0).expect("JSON")), "{\n\"a\": [\n1\n]\n}\n");
        assert_eq!(text(&write(-1).expect("JSON")), "{\n\t\"a\": [\n\t\t1\n\t]\n}\n");
        assert_eq!(write(-2).err(), Some(WriteError::Indent(-2)));
    }

    #[test]
    fn metadata_is_written_last_and_its_key_is_reserved() {
        let options = WriteOptions { indent: Some(1) };
        let written = JsonStore.write(&read(r#"{"a":1}"#), Some(&metadata()), &options).expect("JSON");
        let expected = concat!(
            "{\n \"a\": 1,\n \"sops\": {\n  \"age\": [\n   {\n    \"enc\": \"a\\nb\"\n   }\n  ],\n",
            "  \"mac\": \"ENC[x]\"\n }\n}\n"
        );
        assert_eq!(text(&written), expected);
        assert_eq!(read(expected).metadata(), &MetadataEntry::Present(metadata()));
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.open_document(crate::tree::Span::default(), Style::Block);
        tree.push_json(Some("sops"), &Json::Null);
        tree.close(root);
        let refused = JsonStore.write(&tree, Some(&metadata()), &options).err();
        assert_eq!(refused, Some(WriteError::ReservedKey("sops".into())));
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        let written = |value: Value, bytes: &[u8]| {
            let mut tree = Tree::new(SecretBytes::new());
            let root = tree.open_document(crate::tree::Span::default(), Style::Block);
            let item = tree.push_json(Some("a"), &Json::Null);
            let text = tree.intern(bytes);
            tree.set_value(item, if value == Value::Null { Value::Str(text) } else { value });
            tree.close(root);
            JsonStore.write(&tree, None, &WriteOptions::default()).err()
        };
        let refused = |what| Some(WriteError::Unsupported { format: "json", what });
        assert_eq!(written(Value::Float(f64::NAN), b""), refused("a number that is not finite"));
        assert_eq!(written(Value::Null, b"\xff"), refused("a text that is not UTF-8"));
    }

    #[test]
    fn a_value_alone_is_what_sops_extracts() {
        let tree = read(r#"{"a": "x\ny", "b": [1, "x"], "c": {"d": 1.0}, "e": true}"#);
        let value =
            |path| JsonStore.write_value(&tree, find(&tree, path), &WriteOptions::default()).expect(path);
        assert_eq!(text(&value(r#"["a"]"#)), "x\ny");
        assert_eq!(text(&value(r#"["b"]"#)), "[\n\t1,\n\t\"x\"\n]");
        assert_eq!(text(&value(r#"["b"][1]"#)), "x");
        assert_eq!(text(&value(r#"["c"]"#)), "{\n\t\"d\": 1\n}\n");
        assert_eq!(text(&value(r#"["e"]"#)), "true");
    }

    #[test]
    fn metadata_goes_in_and_out_without_a_trace() {
        for source in [
            "{}",
            "{}\n",
            "{ }",
            "{\n}\n",
            " { \r\n } ",
            r#"{"a":1}"#,
            r#"{"a": 1 }"#,
            r#"{ "a" : {"b": []} }"#,
            "{\n  \"a\": 1,\n  \"b\": [\n    1\n  ]\n}\n",
            "\n\n  {\r\n\t  \"a\": 1\r\n\n  }\r\n\r\n",
            "{\n\"a\": {}\n\n}",
            "{\"a\": 1,\n \"b\": 2}",
        ] {
            let encrypted = edit(source, MetadataEdit::Put(&metadata()));
            assert_eq!(read(&encrypted).metadata(), &MetadataEntry::Present(metadata()), "{source}");
            assert_eq!(edit(&encrypted, MetadataEdit::Remove), source);
        }
    }

    #[test]
    fn metadata_is_put_in_the_shape_of_the_source() {
        assert_eq!(
            edit("{\r\n  \"a\": 1\r\n}", MetadataEdit::Put(&metadata())),
            concat!(
                "{\r\n  \"a\": 1,\r\n  \"sops\": {\r\n    \"age\": [\r\n      {\r\n        \"enc\": \"a\\nb\"\r\n",
                "      }\r\n    ],\r\n    \"mac\": \"ENC[x]\"\r\n  }\r\n}"
            )
        );
        assert_eq!(
            edit(r#"{"a":1}"#, MetadataEdit::Put(&metadata())),
            r#"{"a":1,"sops":{"age":[{"enc":"a\nb"}],"mac":"ENC[x]"}}"#
        );
        assert_eq!(
            edit(r#"{"a": 1}"#, MetadataEdit::Put(&metadata())),
            r#"{"a": 1, "sops": {"age": [{"enc": "a\nb"}], "mac": "ENC[x]"}}"#
        );
        let mut empty = metadata();
        empty.clear();
        assert_eq!(edit("{}\n", MetadataEdit::Put(&empty)), "{\n\t\"sops\": {}\n}\n");
    }

    #[test]
    fn metadata_is_replaced_where_it_stands() {
        let mut other = metadata();
        other.remove("age");
        assert_eq!(
            edit("{\n  \"sops\": {\"mac\": 1},\n  \"a\": 1\n}", MetadataEdit::Put(&other)),
            "{\n  \"sops\": {\n    \"mac\": \"ENC[x]\"\n  },\n  \"a\": 1\n}"
        );
        assert_eq!(
            edit("{\n  \"sops\": {\"mac\": 1},\n  \"a\": 1\n}", MetadataEdit::Remove),
            "{\n  \"a\": 1\n}"
        );
        assert_eq!(edit("{\n\t\"sops\": {\"mac\": 1}\n}\n", MetadataEdit::Remove), "{}\n");
    }

    #[test]
    fn only_changed_values_change() {
        let source = "{ \"a\" :  \"x\", \"b\":[ 1 ,2]\n}";
        let mut tree = read(source);
        let (a, b) = (find(&tree, r#"["a"]"#), find(&tree, r#"["b"][1]"#));
        let text_of = tree.intern(b"ENC[<\">]");
        tree.set_value(a, Value::Str(text_of));
        tree.set_value(b, Value::Float(2.5));
        let rewritten = |rewrite: Rewrite<'_>| text(&JsonStore.rewrite(&tree, &rewrite).expect("JSON"));
        assert_eq!(
            rewritten(Rewrite { changed: &[a, b], ..Rewrite::default() }),
            "{ \"a\" :  \"ENC[<\\\">]\", \"b\":[ 1 ,2.5]\n}"
        );
        assert_eq!(
            rewritten(Rewrite { changed: &[a, b], verbatim: &[(b, b"2.50")], ..Rewrite::default() }),
            "{ \"a\" :  \"ENC[<\\\">]\", \"b\":[ 1 ,2.50]\n}"
        );
        assert_eq!(rewritten(Rewrite::default()), source);
    }

    #[test]
    fn items_that_are_comments_are_taken_out() {
        for (source, expected) in [
            (r#"{"a": ["~x", 1]}"#, r#"{"a": [1]}"#),
            (r#"{"a": [1, "~x"]}"#, r#"{"a": [1]}"#),
            (r#"{"a": ["~x", "~y", 1, "~z", 2, "~x"]}"#, r#"{"a": [1, 2]}"#),
            (r#"{"a": [ "~x", "~y" ]}"#, r#"{"a": []}"#),
            (r#"{"a": [["~x"], 1], "b": ["~"]}"#, r#"{"a": [[], 1], "b": []}"#),
        ] {
            let mut tree = read(source);
            let comments: Vec<_> = tree
                .nodes()
                .filter_map(|(id, node)| match node.value {
                    Value::Str(text) if tree.bytes(text).starts_with(b"~") => Some((id, text)),
                    _ => None,
                })
                .collect();
            for &(id, text) in &comments {
                tree.set_value(id, Value::Comment(text));
            }
            let changed: Vec<_> = comments.into_iter().map(|(id, _)| id).collect();
            let rewrite = Rewrite { changed: &changed, ..Rewrite::default() };
            assert_eq!(text(&JsonStore.rewrite(&tree, &rewrite).expect(source)), expected);
            let written = write(&tree);
            assert_eq!(
                read(&written).to_json(tree.documents()[0]),
                read(expected).to_json(tree.documents()[0])
            );
        }
    }

    #[test]
    fn a_value_is_put_where_it_belongs() {
        let put = |source: &str, place: fn(&Tree) -> Place<'static>, value: Json| {
            let tree = read(source);
            text(&JsonStore.put(&tree, place(&tree), &value).expect(source))
        };
        let source = "{\n  \"a\": [1, 2],\n  \"b\": {},\n  \"sops\": {}\n}\n";
        assert_eq!(
            put(source, |tree| Place::Append(find(tree, r#"["a"]"#)), json!({"x": [3]})),
            "{\n  \"a\": [1, 2, {\"x\": [3]}],\n  \"b\": {},\n  \"sops\": {}\n}\n"
        );
        assert_eq!(
            put(source, |tree| Place::Entry(find(tree, r#"["b"]"#), "c"), json!([3])),
            "{\n  \"a\": [1, 2],\n  \"b\": {\n    \"c\": [\n      3\n    ]\n  },\n  \"sops\": {}\n}\n"
        );
        assert_eq!(
            put(source, |tree| Place::Entry(tree.documents()[0], "c<"), json!("<")),
            "{\n  \"a\": [1, 2],\n  \"b\": {},\n  \"c<\": \"<\",\n  \"sops\": {}\n}\n"
        );
        assert_eq!(
            put(source, |tree| Place::Node(find(tree, r#"["b"]"#)), json!({"x": 1})),
            "{\n  \"a\": [1, 2],\n  \"b\": {\n    \"x\": 1\n  },\n  \"sops\": {}\n}\n"
        );
        assert_eq!(
            put("{\"sops\":{}}", |tree| Place::Entry(tree.documents()[0], "c"), json!(null)),
            "{\"c\":null,\"sops\":{}}"
        );
        let tree = read(source);
        let refused = JsonStore.put(&tree, Place::Node(tree.documents()[0]), &json!(1)).err();
        assert!(matches!(refused, Some(WriteError::Unsupported { .. })));
    }

    #[test]
    fn a_value_is_taken_out_with_its_key() {
        let remove = |source: &str, path: &str| {
            let tree = read(source);
            text(&JsonStore.remove(&tree, find(&tree, path)).expect(source))
        };
        let source = "{\n  \"a\": [1, 2],\n  \"b\": {\"c\": 1}\n}\n";
        assert_eq!(remove(source, r#"["a"]"#), "{\n  \"b\": {\"c\": 1}\n}\n");
        assert_eq!(remove(source, r#"["a"][0]"#), "{\n  \"a\": [2],\n  \"b\": {\"c\": 1}\n}\n");
        assert_eq!(remove(source, r#"["a"][1]"#), "{\n  \"a\": [1],\n  \"b\": {\"c\": 1}\n}\n");
        assert_eq!(remove(source, r#"["b"]"#), "{\n  \"a\": [1, 2]\n}\n");
        assert_eq!(remove(source, r#"["b"]["c"]"#), "{\n  \"a\": [1, 2],\n  \"b\": {}\n}\n");
    }

    /// A map as JSON text, with white space at every place that may have some.
    fn document() -> impl Strategy<Value = String> {
        let space = || prop::sample::select(vec!["", " ", "\n  ", "\r\n\t", "\n\n    "]);
        let string = || prop_oneof!["\"[a-z<é]{0,3}\"", "\"(\\\\n|\\\\u00e9|/){1,2}\""];
        let scalar = prop_oneof![
            string(),
            "(0|-?[1-9][0-9]{0,20})(\\.[0-9]{1,3})?(e-?[0-9]{1,2})?",
            prop::sample::select(vec![
                "true".to_owned(),
                "false".into(),
                "null".into(),
                "{}".into(),
                "[]".into()
            ])
        ];
        let value = scalar.prop_recursive(4, 30, 5, move |inner| {
            let entries = prop::collection::vec((string(), space(), inner.clone(), space()), 0..5);
            let items = prop::collection::vec((space(), inner), 0..5);
            prop_oneof![
                entries.prop_map(|entries| join('{', '}', entries.into_iter().map(entry))),
                items.prop_map(|items| join('[', ']', items.into_iter().map(|(s, v)| format!("{s}{v}{s}")))),
            ]
        });
        let entries = prop::collection::vec((string(), space(), value, space()), 0..5);
        (space(), entries, space())
            .prop_map(|(s, entries, t)| format!("{s}{}{t}", join('{', '}', entries.into_iter().map(entry))))
    }

    fn entry((key, left, value, right): (String, &str, String, &str)) -> String {
        format!("{left}{key}{right}:{right}{value}{left}")
    }

    fn join(open: char, close: char, parts: impl Iterator<Item = String>) -> String {
        format!("{open}{}{close}", parts.collect::<Vec<_>>().join(","))
    }

    proptest! {
        #[test]
        fn reading_never_panics(source in any::<Vec<u8>>()) {
            let _ = JsonStore.read(source.into());
        }

        #[test]
        fn parts_of_documents_are_read_only_if_they_are_whole(source in document(), end in 0..200_usize) {
            let source = source.get(..end).unwrap_or(&source);
            let other = serde_json::from_str::<Map<String, Json>>(source);
            prop_assert_eq!(JsonStore.read(source.into()).is_ok(), other.is_ok());
        }

        #[test]
        fn a_document_means_the_same_written_anew(source in document()) {
            let tree = read(&source);
            let again = read(&write(&tree));
            prop_assert_eq!(write(&again), write(&tree));
            prop_assert_eq!(tree.nodes().len(), again.nodes().len());
        }

        #[test]
        fn nothing_changes_without_a_change(source in document()) {
            prop_assert_eq!(edit(&source, MetadataEdit::Keep), source);
        }

        #[test]
        fn any_document_takes_and_loses_metadata(source in document()) {
            let encrypted = edit(&source, MetadataEdit::Put(&metadata()));
            prop_assert!(*read(&encrypted).metadata() == MetadataEntry::Present(metadata()));
            prop_assert_eq!(edit(&encrypted, MetadataEdit::Remove), source);
        }

        #[test]
        fn every_value_can_be_encrypted_and_brought_back(source in document()) {
            let mut tree = read(&source);
            let scalars: Vec<_> = tree
                .nodes()
                .filter(|(_, node)| !matches!(node.value, Value::List | Value::Map | Value::Null))
                .map(|(id, _)| id)
                .collect();
            let tokens: Vec<_> = scalars.iter().map(|&id| tree.slice(tree.node(id).span).to_vec()).collect();
            for (index, &id) in scalars.iter().enumerate() {
                let encrypted = tree.intern(format!("ENC[{index}]").as_bytes());
                tree.set_value(id, Value::Str(encrypted));
            }
            let metadata = metadata();
            let rewrite = Rewrite { changed: &scalars, verbatim: &[], metadata: MetadataEdit::Put(&metadata) };
            let encrypted = JsonStore.rewrite(&tree, &rewrite).expect("JSON");
            let encrypted = read(&text(&encrypted));
            for (index, &id) in scalars.iter().enumerate() {
                let token = format!("\"ENC[{index}]\"");
                prop_assert_eq!(encrypted.slice(encrypted.node(id).span), token.as_bytes());
            }
            let verbatim: Vec<_> = scalars.iter().zip(&tokens).map(|(&id, token)| (id, &token[..])).collect();
            let rewrite = Rewrite { changed: &scalars, verbatim: &verbatim, metadata: MetadataEdit::Remove };
            prop_assert_eq!(text(&JsonStore.rewrite(&encrypted, &rewrite).expect("JSON")), source);
        }

        #[test]
        fn what_is_put_in_is_taken_out_without_a_trace(source in document(), at in any::<prop::sample::Index>()) {
            let tree = read(&source);
            let containers: Vec<_> =
                tree.nodes().filter(|(_, node)| matches!(node.value, Value::List | Value::Map)).collect();
            let (container, node) = containers[at.index(containers.len())];
            let is_map = node.value == Value::Map;
            let place = if is_map { Place::Entry(container, "new") } else { Place::Append(container) };
            let grown = JsonStore.put(&tree, place, &json!([{"x": 1}])).expect("JSON");
            let grown = read(&text(&grown));
            let added = grown.children(container).last().expect("a value was added");
            prop_assert_eq!(grown.to_json(added), json!([{"x": 1}]));
            prop_assert_eq!(text(&JsonStore.remove(&grown, added).expect("JSON")), source);
        }
    }
}

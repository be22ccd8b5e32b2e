//! dotenv, as sops reads it: everything behind the first `=` of a line is the value, quotes, spaces and a
//! carriage return included, and `\n` in it stands for a line break. Metadata is lines of its own, under
//! flat names with a prefix.
//!
//! A backslash in front of an `n` cannot be written: it comes back as a line break.

use serde_json::{Map, Value as Json};

use super::flat::{flatten, unflatten};
use super::scalar::append_scalar_text;
use super::splice::Splice;
use super::{
    Format, MetadataEdit, ParseError, ParseErrorKind, Place, Rewrite, Store, WriteError, WriteOptions,
    only_document,
};
use crate::secret::SecretBytes;
use crate::tree::{MetadataEntry, Node, NodeId, Origin, Span, Style, Tree, Value};

/// The dotenv format.
pub struct Dotenv;

impl Store for Dotenv {
    fn format(&self) -> Format {
        Format::Dotenv
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[".env"]
    }

    fn read(&self, source: SecretBytes) -> Result<Tree, ParseError> {
        let mut tree = Tree::new(source);
        let end = tree.source().len();
        let root = tree.open_document(Span::new(0, end), Style::Block);
        let mut start = 0;
        let mut line = 1;
        while start < end {
            let rest = &tree.source()[start..];
            let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            read_line(&mut tree, start, start + length).map_err(|kind| ParseError { line, kind })?;
            start += length + 1;
            line += 1;
        }
        tree.close(root);
        find_metadata(&mut tree, root)?;
        Ok(tree)
    }

    fn write(
        &self,
        tree: &Tree,
        metadata: Option<&Map<String, Json>>,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        let root = only_document(tree, NAME)?;
        if metadata.is_some() {
            refuse_reserved_keys(tree, root)?;
            refuse_null(tree, root)?;
        }
        let mut out = SecretBytes::new();
        append_entries(tree, root, &mut out)?;
        if let Some(metadata) = metadata {
            append_metadata(metadata, &mut out)?;
        }
        Ok(out)
    }

    fn write_value(
        &self,
        tree: &Tree,
        node: NodeId,
        _options: &WriteOptions,
    ) -> Result<SecretBytes, WriteError> {
        let mut out = SecretBytes::new();
        match tree.node(node).value {
            Value::Str(text) => out.extend_from_slice(tree.bytes(text)),
            Value::Map => append_entries(tree, node, &mut out)?,
            _ => return Err(unsupported("anything but a string as a value alone")),
        }
        Ok(out)
    }

    fn rewrite(&self, tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
        let root = only_document(tree, NAME)?;
        let mut splice = Splice::default();
        // Of two changes of one node the first counts.
        for &(id, bytes) in rewrite.verbatim {
            splice.replace(tree.node(id).span, bytes);
        }
        for &id in rewrite.changed {
            if rewrite.verbatim.binary_search_by_key(&id, |&(id, _)| id).is_err() {
                let node = tree.node(id);
                splice.replace_with(node.span, |out| append_value(tree, node.value, out))?;
            }
        }
        match rewrite.metadata {
            MetadataEdit::Keep | MetadataEdit::Remove => {}
            MetadataEdit::Put(metadata) => {
                refuse_reserved_keys(tree, root)?;
                let old = metadata_nodes(tree, root).next().map(|id| tree.node(id).key_start);
                let start = old.unwrap_or(end_of_lines(tree));
                splice.replace_with(Span { start, end: start }, |out| append_metadata(metadata, out))?;
            }
        }
        if !matches!(rewrite.metadata, MetadataEdit::Keep) {
            metadata_nodes(tree, root).for_each(|id| splice.delete(line_span(tree, id)));
        }
        Ok(splice.apply_to_lines(tree.source()))
    }

    fn put(&self, tree: &Tree, place: Place<'_>, value: &Json) -> Result<SecretBytes, WriteError> {
        let root = only_document(tree, NAME)?;
        let mut scratch = Tree::new(SecretBytes::new());
        let mut splice = Splice::default();
        match place {
            Place::Node(id) if id != root => {
                let value = scratch.push_json(None, value);
                let value = scratch.node(value).value;
                if value == Value::Null {
                    return Err(unsupported(NULL));
                }
                splice.replace_with(tree.node(id).span, |out| append_value(&scratch, value, out))?;
            }
            Place::Entry(map, key) if map == root => {
                let entry = scratch.push_json(Some(key), value);
                if scratch.node(entry).value == Value::Null {
                    return Err(unsupported(NULL));
                }
                let is_content = |&id: &NodeId| tree.node(id).origin != Origin::Metadata;
                let last = tree.children(root).filter(is_content).last();
                let start = last.map_or(0, |id| line_span(tree, id).end);
                splice.replace_with(Span { start, end: start }, |out| {
                    append_entry(&scratch, entry, out)?;
                    out.push(b'\n');
                    Ok(())
                })?;
            }
            _ => return Err(unsupported(COLLECTION)),
        }
        Ok(splice.apply_to_lines(tree.source()))
    }

    fn remove(&self, tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
        if node == only_document(tree, NAME)? {
            return Err(unsupported("a document without its top"));
        }
        let mut splice = Splice::default();
        splice.delete(line_span(tree, node));
        Ok(splice.apply_to_lines(tree.source()))
    }
}

/// Reads one line: a comment, a key and its value, or nothing.
fn read_line(tree: &mut Tree, start: usize, end: usize) -> Result<(), ParseErrorKind> {
    let line = &tree.source()[start..end];
    if line.is_empty() {
        return Ok(());
    }
    if line[0] == b'#' {
        let value = Value::Comment(Span::new(start + 1, end).text());
        tree.push(Node::new(value, None, Span::new(start, end), Style::Plain));
        return Ok(());
    }
    let Some(sign) = line.iter().position(|&byte| byte == b'=') else {
        return Err(ParseErrorKind::Syntax("a line without \"=\"".to_owned()));
    };
    let (key, value) = (Span::new(start, start + sign), Span::new(start + sign + 1, end));
    std::str::from_utf8(&line[..sign]).map_err(|_| ParseErrorKind::Encoding)?;
    let unescaped = replace(&line[sign + 1..], b"\\n", b"\n");
    let text = unescaped.map_or(value.text(), |text| tree.intern(text.expose_secret()));
    let mut node = Node::new(Value::Str(text), Some(key.text()), value, Style::Plain);
    node.key_start = key.start;
    tree.push(node);
    Ok(())
}

/// Returns `text` with each `from` replaced, or `None` if there is none.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Option<SecretBytes> {
    let mut replaced = SecretBytes::new();
    let mut rest = text;
    while let Some(position) = rest.windows(from.len()).position(|window| window == from) {
        replaced.extend_from_slice(&rest[..position]);
        replaced.extend_from_slice(to);
        rest = &rest[position + from.len()..];
    }
    replaced.extend_from_slice(rest);
    (rest.len() < text.len()).then_some(replaced)
}

fn find_metadata(tree: &mut Tree, root: NodeId) -> Result<(), ParseError> {
    let nodes: Vec<_> = tree.children(root).filter(|&id| has_prefix(tree, id)).collect();
    let Some(&first) = nodes.first() else { return Ok(()) };
    let line = tree.line(tree.node(first).key_start);
    let mut pairs = Vec::with_capacity(nodes.len());
    for &id in &nodes {
        let (key, Value::Str(value)) = (tree.key(id).unwrap_or_default(), tree.node(id).value) else {
            continue;
        };
        let text = |bytes| {
            std::str::from_utf8(bytes).map_err(|_| ParseError { line, kind: ParseErrorKind::Encoding })
        };
        pairs.push((text(&key[PREFIX.len()..])?, text(tree.bytes(value))?.to_owned()));
    }
    let metadata =
        unflatten(pairs).map_err(|error| ParseError { line, kind: ParseErrorKind::Metadata(error) })?;
    tree.set_metadata(MetadataEntry::Present(metadata));
    nodes.into_iter().for_each(|id| tree.mark_metadata(id));
    Ok(())
}

fn has_prefix(tree: &Tree, id: NodeId) -> bool {
    tree.key(id).is_some_and(|key| key.starts_with(PREFIX.as_bytes()))
}

/// Appends the lines of a map, each with its end.
fn append_entries(tree: &Tree, map: NodeId, out: &mut SecretBytes) -> Result<(), WriteError> {
    for id in tree.children(map).filter(|&id| tree.node(id).origin != Origin::Metadata) {
        append_entry(tree, id, out)?;
        out.push(b'\n');
    }
    Ok(())
}

/// Appends the line of a comment or a value, without its end.
fn append_entry(tree: &Tree, id: NodeId, out: &mut SecretBytes) -> Result<(), WriteError> {
    if let Some(key) = tree.key(id) {
        append_key(key, out)?;
    }
    append_value(tree, tree.node(id).value, out)
}

/// Appends a key and its sign. A key that would be read as something else is refused.
fn append_key(key: &[u8], out: &mut SecretBytes) -> Result<(), WriteError> {
    if key.starts_with(b"#") || key.iter().any(|byte| matches!(byte, b'=' | b'\n')) {
        return Err(unsupported("a key with \"=\", a line break, or \"#\" at its start"));
    }
    out.extend_from_slice(key);
    out.push(b'=');
    Ok(())
}

/// Appends a value, or a comment with its marker.
fn append_value(tree: &Tree, value: Value, out: &mut SecretBytes) -> Result<(), WriteError> {
    match value {
        Value::Comment(text) if tree.bytes(text).contains(&b'\n') => {
            return Err(unsupported("a comment of several lines"));
        }
        Value::Comment(text) => {
            out.push(b'#');
            out.extend_from_slice(tree.bytes(text));
        }
        Value::List | Value::Map => return Err(unsupported(COLLECTION)),
        Value::Str(text) => append_text(tree.bytes(text), out),
        value => {
            append_scalar_text(tree, value, out);
        }
    }
    Ok(())
}

fn append_text(text: &[u8], out: &mut SecretBytes) {
    match replace(text, b"\n", b"\\n") {
        Some(escaped) => out.extend_from_slice(escaped.expose_secret()),
        None => out.extend_from_slice(text),
    }
}

/// Appends the lines of metadata, each with its end.
fn append_metadata(metadata: &Map<String, Json>, out: &mut SecretBytes) -> Result<(), WriteError> {
    let flat = flatten(metadata).map_err(|_| unsupported("metadata with names that collide"))?;
    for (name, value) in flat {
        out.push_str(PREFIX);
        append_key(name.as_bytes(), out)?;
        append_text(value.as_bytes(), out);
        out.push(b'\n');
    }
    Ok(())
}

fn refuse_reserved_keys(tree: &Tree, root: NodeId) -> Result<(), WriteError> {
    let reserved = tree.items(root).find(|&id| has_prefix(tree, id)).and_then(|id| tree.key(id));
    reserved.map_or(Ok(()), |key| Err(WriteError::ReservedKey(String::from_utf8_lossy(key).into_owned())))
}

/// In an encrypted document, a null would come back as a text that is not encrypted.
fn refuse_null(tree: &Tree, root: NodeId) -> Result<(), WriteError> {
    let has_null = tree.items(root).any(|id| tree.node(id).value == Value::Null);
    if has_null { Err(unsupported(NULL)) } else { Ok(()) }
}

/// Returns where a line behind all others goes.
fn end_of_lines(tree: &Tree) -> u32 {
    let last = tree.source().last().is_some_and(|&byte| byte != b'\n');
    Span::new(0, tree.source().len() + usize::from(last)).end
}

fn metadata_nodes(tree: &Tree, root: NodeId) -> impl Iterator<Item = NodeId> + '_ {
    tree.children(root).filter(|&id| tree.node(id).origin == Origin::Metadata)
}

/// Returns where the line of a node stands, with its end.
fn line_span(tree: &Tree, id: NodeId) -> Span {
    let node = tree.node(id);
    Span { start: node.key_start, end: node.span.end + 1 }
}

const COLLECTION: &str = "a map or list";
const NAME: &str = "dotenv";
const NULL: &str = "null in an encrypted document";
/// What the keys of metadata start with.
const PREFIX: &str = "sops_";

fn unsupported(what: &'static str) -> WriteError {
    WriteError::Unsupported { format: NAME, what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use serde_json::json;

    use super::*;
    use crate::format::Format;
    use crate::format::test_kit::{metadata, text};

    fn read(source: &str) -> Tree {
        Dotenv.read(source.into()).expect(source)
    }

    fn edit(source: &str, metadata: MetadataEdit<'_>) -> String {
        let rewrite = Rewrite { metadata, ..Rewrite::default() };
        text(&Dotenv.rewrite(&read(source), &rewrite).expect(source))
    }

    fn write(
        format: Format,
        source: &str,
        metadata: Option<&Map<String, Json>>,
    ) -> Result<String, WriteError> {
        let tree = format.read(source).expect(source);
        Dotenv.write(&tree, metadata, &WriteOptions::default()).map(|written| text(&written))
    }

    #[test]
    fn a_line_is_a_key_and_all_that_follows() {
        let tree = read("A=1\n\n# note \r\nexport B = \"x\" # y\r\nC=a\\nb\n=d\nE=");
        let lines: Vec<_> = tree
            .children(tree.documents()[0])
            .map(|id| {
                let (Value::Str(value) | Value::Comment(value)) = tree.node(id).value else {
                    panic!("no text")
                };
                let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
                (tree.key(id).map(lossy), lossy(tree.bytes(value)), lossy(tree.slice(tree.node(id).span)))
            })
            .collect();
        let line = |key: Option<&str>, value: &str, token: &str| {
            (key.map(str::to_owned), value.to_owned(), token.to_owned())
        };
        assert_eq!(
            lines,
            [
                line(Some("A"), "1", "1"),
                line(None, " note \r", "# note \r"),
                line(Some("export B "), " \"x\" # y\r", " \"x\" # y\r"),
                line(Some("C"), "a\nb", "a\\nb"),
                line(Some(""), "d", "d"),
                line(Some("E"), "", ""),
            ]
        );
    }

    #[test]
    fn a_line_without_a_sign_is_refused() {
        for source in ["A", "A=1\nB\n", "A=1\r\n\r\n", " # x"] {
            let error = Dotenv.read(source.into()).err().expect(source);
            assert!(matches!(error.kind, ParseErrorKind::Syntax(_)), "{source}");
        }
        assert_eq!(Dotenv.read("A=1\n\nB".into()).err().map(|error| error.line), Some(3));
        let error = Dotenv.read(b"\xff=1"[..].into()).err();
        assert_eq!(error.map(|error| error.kind), Some(ParseErrorKind::Encoding));
    }

    #[test]
    fn metadata_is_lines_with_a_prefix() {
        let tree = read("A=1\nsops_age__list_0__map_enc=a\\nb\nB=2\nsops_mac=ENC[x]\n");
        assert_eq!(*tree.metadata(), MetadataEntry::Present(metadata()));
        let keys: Vec<_> = tree.items(tree.documents()[0]).filter_map(|id| tree.key(id)).collect();
        assert_eq!(keys, [b"A", b"B"]);
        let error = Dotenv.read("A=1\nsops_a__list_1=x".into()).err().expect("a gap");
        assert_eq!(error, ParseError { line: 2, kind: ParseErrorKind::Metadata("a list has gaps") });
    }

    #[test]
    fn metadata_goes_in_and_out_without_a_trace() {
        for source in ["", "\n", "A=1", "A=1\n", "A=1\n\n", "#x", "\n\nA=\\n\n# y\nB=", "A=1\r\nB=\r"] {
            let encrypted = edit(source, MetadataEdit::Put(&metadata()));
            assert_eq!(*read(&encrypted).metadata(), MetadataEntry::Present(metadata()), "{source:?}");
            assert_eq!(edit(&encrypted, MetadataEdit::Remove), source);
        }
        assert_eq!(
            edit("A=1\nsops_x=1\n\nB=2\nsops_y=2", MetadataEdit::Put(&metadata())),
            "A=1\nsops_age__list_0__map_enc=a\\nb\nsops_mac=ENC[x]\n\nB=2"
        );
    }

    #[test]
    fn only_changed_values_change() {
        let mut tree = read("\nA=\"x\" \r\n#  note\nB=y");
        let nodes: Vec<_> = tree.children(tree.documents()[0]).collect();
        let (value, comment) = (tree.intern(b"ENC[1\n]"), tree.intern(b"ENC[2]"));
        tree.set_value(nodes[0], Value::Str(value));
        tree.set_value(nodes[1], Value::Comment(comment));
        tree.set_value(nodes[2], Value::Float(1.0));
        let rewritten = |rewrite: Rewrite<'_>| text(&Dotenv.rewrite(&tree, &rewrite).expect("dotenv"));
        let rewrite = Rewrite { changed: &nodes, ..Rewrite::default() };
        assert_eq!(rewritten(rewrite), "\nA=ENC[1\\n]\n#ENC[2]\nB=1.0");
        let verbatim: &[(NodeId, &[u8])] = &[(nodes[1], b"# x\r")];
        assert_eq!(rewritten(Rewrite { verbatim, ..rewrite }), "\nA=ENC[1\\n]\n# x\r\nB=1.0");
    }

    #[test]
    fn a_value_is_put_and_taken_out_with_its_line() {
        let source = "A=1\n\nB=2\nsops_mac=x";
        let tree = read(source);
        let root = tree.documents()[0];
        let put = |place, value: Json| Dotenv.put(&tree, place, &value).map(|written| text(&written));
        let b = tree.items(root).nth(1).expect("B");
        assert_eq!(
            put(Place::Entry(root, "C"), json!("x\ny")).as_deref(),
            Ok("A=1\n\nB=2\nC=x\\ny\nsops_mac=x")
        );
        assert_eq!(put(Place::Node(b), json!(5)).as_deref(), Ok("A=1\n\nB=5\nsops_mac=x"));
        for value in [json!([]), json!({}), json!(null)] {
            assert!(matches!(put(Place::Node(b), value), Err(WriteError::Unsupported { .. })));
        }
        assert!(matches!(put(Place::Entry(root, "a=b"), json!("x")), Err(WriteError::Unsupported { .. })));
        assert_eq!(text(&Dotenv.remove(&tree, b).expect("dotenv")), "A=1\n\nsops_mac=x");
        let tree = read("A=1\nB=2");
        let b = tree.items(tree.documents()[0]).nth(1).expect("B");
        assert_eq!(text(&Dotenv.remove(&tree, b).expect("dotenv")), "A=1");
    }

    #[test]
    fn scalars_of_other_formats_become_text() {
        let source = r#"{"a": 1, "b": 1.0, "c": true, "d": "x\ny", "e": null}"#;
        assert_eq!(
            write(Format::Json, source, None).as_deref(),
            Ok("a=1\nb=1.0\nc=true\nd=x\\ny\ne=<nil>\n")
        );
    }

    #[test]
    fn what_does_not_come_back_is_refused() {
        let refused = |source, metadata: Option<&Map<String, Json>>| {
            matches!(
                write(Format::Json, source, metadata),
                Err(WriteError::Unsupported { format: "dotenv", .. })
            )
        };
        assert!(refused(r#"{"a": null}"#, Some(&metadata())));
        for source in [r#"{"a": []}"#, r#"{"a": {}}"#, r#"{"a=b": ""}"#, r#"{"a\nb": ""}"#, r##"{"#a": ""}"##]
        {
            assert!(refused(source, None), "{source}");
        }
        let reserved = write(Format::Json, r#"{"sops_a": "x"}"#, Some(&metadata()));
        assert_eq!(reserved, Err(WriteError::ReservedKey("sops_a".into())));
    }

    #[test]
    fn only_a_string_is_a_value_alone() {
        let tree = read("A=x\\ny\n");
        let value = tree.items(tree.documents()[0]).next().expect("A");
        let alone =
            |id| Dotenv.write_value(&tree, id, &WriteOptions::default()).map(|written| text(&written));
        assert_eq!(alone(value).as_deref(), Ok("x\ny"));
        assert_eq!(alone(tree.documents()[0]).as_deref(), Ok("A=x\\ny\n"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(source in any::<Vec<u8>>()) {
            let _ = Dotenv.read(source.into());
        }

        #[test]
        fn any_document_can_be_encrypted_and_brought_back(
            source in "((#[^\n]{0,3}|[a-z ]{0,3}=([a-z]|\\\\n|\\\\|\r|=|ü){0,4})?\n){0,5}([a-z]=x?)?"
        ) {
            prop_assert_eq!(edit(&source, MetadataEdit::Keep), source.clone());
            let mut tree = read(&source);
            let nodes: Vec<_> = tree.children(tree.documents()[0]).collect();
            let plain: Vec<_> = nodes.iter().map(|&id| tree.node(id).value).collect();
            for &id in &nodes {
                let encrypted = tree.intern(b"ENC[1]");
                let is_comment = matches!(tree.node(id).value, Value::Comment(_));
                tree.set_value(id, if is_comment { Value::Comment(encrypted) } else { Value::Str(encrypted) });
            }
            let metadata = metadata();
            let rewrite = Rewrite { changed: &nodes, verbatim: &[], metadata: MetadataEdit::Put(&metadata) };
            let mut encrypted = read(&text(&Dotenv.rewrite(&tree, &rewrite).expect("dotenv")));
            prop_assert!(*encrypted.metadata() == MetadataEntry::Present(metadata.clone()));
            for (&id, value) in nodes.iter().zip(plain) {
                let (Value::Str(text) | Value::Comment(text)) = value else { panic!("no text") };
                let text = encrypted.intern(tree.bytes(text));
                let is_comment = matches!(value, Value::Comment(_));
                encrypted.set_value(id, if is_comment { Value::Comment(text) } else { Value::Str(text) });
            }
            let rewrite = Rewrite { changed: &nodes, verbatim: &[], metadata: MetadataEdit::Remove };
            prop_assert_eq!(text(&Dotenv.rewrite(&encrypted, &rewrite).expect("dotenv")), source);
        }
    }
}

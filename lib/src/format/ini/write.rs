//! INI written anew, in the style of sops: the delimiters of a section in one column, a blank line between
//! sections, comments above what they belong to.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::quote::{Position, append_value, quoted_key, section_name};
use super::read::DEFAULT;
use super::{COLLECTION, NAME, NULL, unsupported};
use crate::format::flat::flatten;
use crate::format::scalar::append_scalar_text;
use crate::format::{METADATA_KEY, WriteError, has_key, only_document};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Origin, Span, Style, Tree, Value};

/// Writes a tree, with `metadata` as the last section.
///
/// # Errors
/// If INI cannot hold what the tree says.
pub(super) fn write(tree: &Tree, metadata: Option<&Map<String, Json>>) -> Result<SecretBytes, WriteError> {
    let root = only_document(tree, NAME)?;
    if metadata.is_some() {
        if has_key(tree, root, METADATA_KEY) {
            return Err(WriteError::ReservedKey(METADATA_KEY.to_owned()));
        }
        refuse_null(tree)?;
    }
    let mut out = SecretBytes::new();
    let mut comments = Vec::new();
    let mut writer = Writer { tree, is_encrypted: metadata.is_some(), is_last: false };
    let mut is_first = true;
    let last = tree.items(root).last();
    for id in tree.children(root).filter(|&id| is_content(tree, id)) {
        match tree.node(id).value {
            Value::Comment(_) => comments.push(id),
            Value::Map => {
                let is_bare = is_first && tree.key(id) == Some(DEFAULT.as_bytes());
                is_first = false;
                writer.is_last = last == Some(id);
                separate(&mut out);
                writer.section(id, is_bare, &mut comments, &mut out)?;
            }
            _ => return Err(unsupported(OUTSIDE)),
        }
    }
    // A comment that nothing follows, encrypted for another place, nobody could read.
    if metadata.is_none() {
        comments.iter().for_each(|&id| append_comment(tree, id, true, &mut out));
    }
    if let Some(metadata) = metadata {
        separate(&mut out);
        append_metadata(metadata, &mut out)?;
    }
    Ok(out)
}

/// Writes one value alone: a text as it is, a map as its lines, anything else as JSON.
///
/// # Errors
/// If INI cannot hold the map.
pub(super) fn write_value(tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
    let mut out = SecretBytes::new();
    match tree.node(node).value {
        Value::Str(text) => out.extend_from_slice(tree.bytes(text)),
        Value::Map if tree.documents().contains(&node) => return write(tree, None),
        Value::Map => append_entries(tree, node, &mut out)?,
        _ => out.push_str(&tree.to_json(node).to_string()),
    }
    Ok(out)
}

/// Appends a map as a section with its name.
///
/// # Errors
/// If INI cannot hold the map.
pub(super) fn append_section(tree: &Tree, section: NodeId, out: &mut SecretBytes) -> Result<(), WriteError> {
    Writer { tree, is_encrypted: false, is_last: true }.section(section, false, &mut Vec::new(), out)
}

/// Appends the lines of a map.
///
/// # Errors
/// If INI cannot hold the map.
pub(super) fn append_entries(tree: &Tree, section: NodeId, out: &mut SecretBytes) -> Result<(), WriteError> {
    Writer { tree, is_encrypted: false, is_last: true }.section(section, true, &mut Vec::new(), out)
}

/// Appends the section of metadata.
///
/// # Errors
/// If its names collide.
pub(super) fn append_metadata(metadata: &Map<String, Json>, out: &mut SecretBytes) -> Result<(), WriteError> {
    let flat = flatten(metadata).map_err(|_| unsupported("metadata with names that collide"))?;
    let mut tree = Tree::new(SecretBytes::new());
    let name = tree.intern(METADATA_KEY.as_bytes());
    let section = tree.push(Node::new(Value::Map, Some(name), Span::default(), Style::Block));
    for (name, value) in flat {
        let name = tree.intern(name.as_bytes());
        let value = Value::Str(tree.intern(value.replace('\n', "\\n").as_bytes()));
        tree.push(Node::new(value, Some(name), Span::default(), Style::Plain));
    }
    tree.close(section);
    append_section(&tree, section, out)
}

/// Appends a scalar in the quotes that it had, if they can hold it, or in others.
///
/// # Errors
/// If the value is none, or no quotes can hold it.
pub(super) fn append_scalar(
    tree: &Tree,
    value: Value,
    position: Position,
    out: &mut SecretBytes,
) -> Result<(), WriteError> {
    if let Value::Str(text) = value {
        return append_value(tree.bytes(text), position, out);
    }
    let mut text = SecretBytes::new();
    if !append_scalar_text(tree, value, &mut text) {
        return Err(unsupported(COLLECTION));
    }
    append_value(text.expose_secret(), position, out)
}

/// Writes the sections of a tree.
struct Writer<'a> {
    tree: &'a Tree,
    is_encrypted: bool,
    /// Whether the section is the last one.
    is_last: bool,
}

/// A key, its name in quotes, and the comments above it.
struct Entry {
    id: NodeId,
    key: String,
    comments: Vec<NodeId>,
}

impl Writer<'_> {
    /// Appends a section, the comments that stand outside of it in front.
    fn section(
        &self,
        section: NodeId,
        is_bare: bool,
        outer: &mut Vec<NodeId>,
        out: &mut SecretBytes,
    ) -> Result<(), WriteError> {
        let tree = self.tree;
        let mut children = tree.children(section).filter(|&id| is_content(tree, id)).peekable();
        let own = children.next_if(|&id| matches!(tree.node(id).value, Value::Comment(_)));
        let (entries, rest) = self.entries(children)?;
        if self.is_encrypted {
            // Encrypted for the place where they were, nobody could read them here.
            outer.clear();
        }
        outer.drain(..).chain(own).for_each(|id| append_comment(tree, id, true, out));
        if !is_bare {
            out.push_str(&format!("[{}]\n", section_name(tree.key(section).unwrap_or_default())?));
        }
        let width = entries.iter().map(|entry| entry.key.len()).max().unwrap_or_default();
        for entry in &entries {
            entry.comments.iter().for_each(|&id| append_comment(tree, id, false, out));
            out.push_str(&format!("{:width$} = ", entry.key, width = width - padding(&entry.key)));
            append_scalar(tree, tree.node(entry.id).value, Position::default(), out)?;
            out.push(b'\n');
        }
        rest.iter().for_each(|&id| append_comment(tree, id, false, out));
        Ok(())
    }

    /// Returns the keys with their comments, and the comments that are left. The first comment behind a key is
    /// its own; the others stand above what follows.
    fn entries(
        &self,
        children: impl Iterator<Item = NodeId>,
    ) -> Result<(Vec<Entry>, Vec<NodeId>), WriteError> {
        let tree = self.tree;
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys = HashSet::new();
        let mut has_own = true;
        let mut waiting = Vec::new();
        for id in children {
            if let Value::Comment(_) = tree.node(id).value {
                match entries.last_mut() {
                    Some(entry) if !has_own => entry.comments.push(id),
                    _ => waiting.push(id),
                }
                has_own = true;
                continue;
            }
            let key = tree.key(id).unwrap_or_default();
            if !keys.insert(key) {
                return Err(unsupported("a key that is given twice in a section"));
            }
            entries.push(Entry { id, key: quoted_key(key)?, comments: std::mem::take(&mut waiting) });
            has_own = false;
        }
        if self.is_encrypted {
            // Of several encrypted comments in a row, only one could be read again.
            let lists = entries.iter_mut().map(|entry| &mut entry.comments).chain([&mut waiting]);
            lists.for_each(|list| drop(list.drain(..list.len().saturating_sub(1))));
            // And none that stands above another section.
            waiting.retain(|_| self.is_last);
        }
        Ok((entries, waiting))
    }
}

/// Appends a comment, each of its lines with a marker.
fn append_comment(tree: &Tree, id: NodeId, is_section: bool, out: &mut SecretBytes) {
    let Value::Comment(text) = tree.node(id).value else { return };
    let text = String::from_utf8_lossy(tree.bytes(text));
    if text.is_empty() {
        return;
    }
    for line in text.split('\n') {
        match line.as_bytes() {
            [marker @ (b'#' | b';'), ..] => {
                out.extend_from_slice(&[*marker, b' ']);
                out.push_str(line[1..].trim());
            }
            _ => {
                out.push_str("; ");
                out.push_str(if is_section { line } else { line.trim() });
            }
        }
        out.push(b'\n');
    }
}

/// Appends a blank line, if there is something in front of it.
fn separate(out: &mut SecretBytes) {
    if !out.is_empty() {
        out.push(b'\n');
    }
}

/// Returns by how many bytes a text is longer than it has characters: columns are counted in bytes.
fn padding(text: &str) -> usize {
    text.len() - text.chars().count()
}

fn is_content(tree: &Tree, id: NodeId) -> bool {
    tree.node(id).origin != Origin::Metadata
}

/// In an encrypted document, a null would come back as a text that is not encrypted.
fn refuse_null(tree: &Tree) -> Result<(), WriteError> {
    let has_null = tree.nodes().any(|(id, node)| is_content(tree, id) && node.value == Value::Null);
    if has_null { Err(unsupported(NULL)) } else { Ok(()) }
}

/// Why a value at the top is refused.
pub(super) const OUTSIDE: &str = "a value outside of a section";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    fn anew(source: &str) -> String {
        let tree = Format::Ini.read(source).expect(source);
        let written = write(&tree, None).expect(source);
        String::from_utf8(written.expose_secret().to_vec()).expect("UTF-8")
    }

    #[test]
    fn delimiters_stand_in_a_column() {
        assert_eq!(
            anew("a=1\nlonger:2\n[s]\n`x=y`=1\n[t]\n[s]\nü=\nab='x;'"),
            "a      = 1\nlonger = 2\n\n[s]\n`x=y` = 1\n\n[t]\n\n[s]\nü = \n; '\nab = 'x\n"
        );
        assert_eq!(anew(""), "");
        assert_eq!(anew("[s]\n[DEFAULT]\na=1"), "[s]\n\n[DEFAULT]\na = 1\n");
    }

    #[test]
    fn comments_stand_above() {
        assert_eq!(
            anew("#a\n[s] ; b\nk = 1 ;c\n;d\n#  e\nl = 2\n; end\n"),
            "; a\n; b\n[s]\n; c\nk = 1\n; d\n# e\nl = 2\n; end\n"
        );
    }

    #[test]
    fn comments_of_other_formats_stand_above_what_follows() {
        let source = "# top\ns:\n  # a\n  # b\n  k: v\n  # c\n  # d\n  l: w\n";
        let tree = Format::Yaml.read(source).expect("YAML");
        let written = |metadata| write(&tree, metadata).expect("ini").expose_secret().to_vec();
        assert_eq!(
            String::from_utf8_lossy(&written(None)),
            ";  top\n;  a\n[s]\n; b\n; c\nk = v\n; d\nl = w\n"
        );
        // One of several encrypted comments in a row can be read again.
        let metadata = Map::new();
        assert_eq!(
            String::from_utf8_lossy(&written(Some(&metadata))),
            ";  a\n[s]\n; c\nk = v\n; d\nl = w\n\n[sops]\n"
        );
    }

    #[test]
    fn a_value_alone_is_a_text_or_lines() {
        let tree = Format::Json.read(r#"{"s": {"a": "x\ny", "b": 1, "c": [1, "z"]}}"#).expect("JSON");
        let section = tree.items(tree.documents()[0]).next().expect("s");
        let alone = |id| write_value(&tree, id).map(|written| written.expose_secret().to_vec());
        let found: Vec<_> = tree.items(section).map(alone).collect();
        assert_eq!(found, [Ok(b"x\ny".to_vec()), Ok(b"1".to_vec()), Ok(b"[1,\"z\"]".to_vec())]);
        let tree = Format::Ini.read("[s]\nab=1\nc=`;`").expect("INI");
        let section = tree.items(tree.documents()[0]).nth(1).expect("s");
        assert_eq!(write_value(&tree, section).expect("lines").expose_secret(), b"ab = 1\nc  = `;`\n");
    }
}

//! Changes to JSON text in place.
//!
//! What is put in stands directly behind the value before it, and is taken out from there: a `sops` entry
//! that was put in and taken out again leaves the text as it was.

use serde_json::Value as Json;

use super::NAME;
use super::read::is_space;
use super::write::{Shape, Writer, append_scalar, append_string, metadata_tree};
use crate::format::splice::Splice;
use crate::format::{METADATA_KEY, MetadataEdit, Place, Rewrite, WriteError, has_key, only_document};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Span, Tree, Value};

pub(super) fn rewrite(tree: &Tree, rewrite: &Rewrite<'_>) -> Result<SecretBytes, WriteError> {
    let mut splice = Splice::default();
    let mut verbatim = rewrite.verbatim.iter().peekable();
    let mut comments = Vec::new();
    for &id in rewrite.changed {
        while verbatim.next_if(|(other, _)| *other < id).is_some() {}
        let node = tree.node(id);
        if let Value::Comment(_) = node.value {
            comments.push(id);
        } else if verbatim.peek().is_none_or(|(other, _)| *other != id) {
            splice.replace_with(node.span, |out| append_scalar(tree, node.value, false, out))?;
        }
    }
    for &(id, bytes) in rewrite.verbatim {
        splice.replace(tree.node(id).span, bytes);
    }
    if !comments.is_empty() {
        remove_comments(tree, &comments, &mut splice);
    }
    edit_metadata(tree, rewrite.metadata, &mut splice)?;
    Ok(splice.apply(tree.source()))
}

pub(super) fn put(tree: &Tree, place: Place<'_>, value: &Json) -> Result<SecretBytes, WriteError> {
    let mut splice = Splice::default();
    let mut scratch = Tree::new(SecretBytes::new());
    match place {
        Place::Append(list) if tree.node(list).value == Value::List => {
            let value = scratch.push_json(None, value);
            insert(tree, list, &scratch, value, &mut splice)?;
        }
        Place::Entry(map, key) if tree.node(map).value == Value::Map => {
            let value = scratch.push_json(Some(key), value);
            insert(tree, map, &scratch, value, &mut splice)?;
        }
        Place::Node(id) => {
            if tree.documents().contains(&id) && !value.is_object() {
                return Err(WriteError::Unsupported { format: NAME, what: "anything but a map at the top" });
            }
            let value = scratch.push_json(None, value);
            let shape = shape_at(tree, tree.node(id).span.start);
            splice.replace_with(tree.node(id).span, |out| Writer::new(&shape, out).node(&scratch, value))?;
        }
        Place::Append(_) | Place::Entry(..) => {
            return Err(WriteError::Unsupported { format: NAME, what: "a value below a scalar" });
        }
    }
    Ok(splice.apply(tree.source()))
}

pub(super) fn remove(tree: &Tree, node: NodeId) -> Result<SecretBytes, WriteError> {
    let Some(container) = tree.parent(node) else {
        return Err(WriteError::Unsupported { format: NAME, what: "a document without its top" });
    };
    let mut splice = Splice::default();
    take_out(tree, container, node, &mut splice);
    Ok(splice.apply(tree.source()))
}

fn edit_metadata(tree: &Tree, edit: MetadataEdit<'_>, splice: &mut Splice) -> Result<(), WriteError> {
    let root = only_document(tree, NAME)?;
    let old = tree.children(root).find(|&id| tree.node(id).origin == Origin::Metadata);
    match (edit, old) {
        (MetadataEdit::Keep, _) | (MetadataEdit::Remove, None) => Ok(()),
        (MetadataEdit::Remove, Some(old)) => {
            take_out(tree, root, old, splice);
            Ok(())
        }
        (MetadataEdit::Put(_), _) if has_key(tree, root, METADATA_KEY) => {
            Err(WriteError::ReservedKey(METADATA_KEY.to_owned()))
        }
        (MetadataEdit::Put(metadata), Some(old)) => {
            let (metadata, entry) = metadata_tree(metadata);
            let shape = shape_at(tree, tree.node(old).key_start);
            splice.replace_with(tree.node(old).span, |out| Writer::new(&shape, out).node(&metadata, entry))
        }
        (MetadataEdit::Put(metadata), None) => {
            let (metadata, entry) = metadata_tree(metadata);
            insert(tree, root, &metadata, entry, splice)
        }
    }
}

/// Puts a value of another tree behind the last one of a map or list, but in front of the metadata.
fn insert(
    tree: &Tree,
    container: NodeId,
    values: &Tree,
    value: NodeId,
    splice: &mut Splice,
) -> Result<(), WriteError> {
    let span = tree.node(container).span;
    let first = tree.children(container).next();
    let last = tree.children(container).filter(|&id| tree.node(id).origin != Origin::Metadata).last();
    let mut shape = shape_at(tree, span.start);
    let indent = |from: &Shape| from.line.as_ref().map(|line| [&line[..], &from.unit].concat());
    let outer = shape.line.clone();
    shape.line = match first {
        Some(first) => line_before(tree.source(), span.start, tree.node(first).key_start),
        None => indent(&shape),
    };
    let line = |shape: &Shape| shape.line.clone().unwrap_or_default();
    let entry = |out: &mut SecretBytes| append_entry(values, value, &shape, out);
    match (last, first) {
        (Some(last), _) => {
            let end = tree.node(last).span.end;
            splice.replace_with(Span { start: end, end }, |out| {
                out.push_str(if shape.line.is_some() { "," } else { shape.comma });
                out.extend_from_slice(&line(&shape));
                entry(out)
            })
        }
        (None, Some(metadata)) => {
            let start = tree.node(metadata).key_start;
            splice.replace_with(Span { start, end: start }, |out| {
                entry(out)?;
                out.push_str(if shape.line.is_some() { "," } else { shape.comma });
                out.extend_from_slice(&line(&shape));
                Ok(())
            })
        }
        (None, None) => {
            let start = span.start + 1;
            // White space in an empty map stays, and tells that the map had some.
            let is_blank = start + 1 < span.end;
            splice.replace_with(Span { start, end: start }, |out| {
                if is_blank {
                    return entry(out);
                }
                out.extend_from_slice(&line(&shape));
                entry(out)?;
                out.extend_from_slice(&outer.unwrap_or_default());
                Ok(())
            })
        }
    }
}

fn append_entry(
    values: &Tree,
    value: NodeId,
    shape: &Shape,
    out: &mut SecretBytes,
) -> Result<(), WriteError> {
    if let Some(key) = values.key(value) {
        append_string(key, shape.html, out)?;
        out.push_str(shape.colon);
    }
    Writer::new(shape, out).node(values, value)
}

/// Takes out a value with its key and one comma.
fn take_out(tree: &Tree, container: NodeId, node: NodeId, splice: &mut Splice) {
    let span = tree.node(node).span;
    let start = tree.node(node).key_start;
    let before = tree.children(container).take_while(|&id| id != node).last();
    let after = tree.children(container).skip_while(|&id| id != node).nth(1);
    let inside = tree.node(container).span;
    match (before, after) {
        (Some(before), _) => splice.delete(Span { start: tree.node(before).span.end, end: span.end }),
        (None, Some(after)) => splice.delete(Span { start, end: tree.node(after).key_start }),
        (None, None) if inside.start + 1 == start => splice.delete(Span { start, end: span.end }),
        (None, None) => splice.delete(Span { start: inside.start + 1, end: inside.end - 1 }),
    }
}

/// Takes the items out of their lists that turned out to be comments, for which JSON has no place.
fn remove_comments(tree: &Tree, comments: &[NodeId], splice: &mut Splice) {
    let is_comment = |item: &NodeId| comments.binary_search(item).is_ok();
    for (list, node) in tree.nodes().filter(|(_, node)| node.value == Value::List) {
        let items: Vec<_> = tree.children(list).collect();
        let Some(kept) = items.iter().position(|item| !is_comment(item)) else {
            if !items.is_empty() {
                splice.delete(Span { start: node.span.start + 1, end: node.span.end - 1 });
            }
            continue;
        };
        let start = |index: usize| tree.node(items[index]).span.start;
        let end = |index: usize| tree.node(items[index]).span.end;
        // Each goes with the comma before it; those before the first that stays, with the comma behind.
        (0..kept).for_each(|index| splice.delete(Span { start: start(index), end: start(index + 1) }));
        let gone = (kept..items.len()).filter(|&index| is_comment(&items[index]));
        gone.for_each(|index| splice.delete(Span { start: end(index - 1), end: end(index) }));
    }
}

/// Returns the shape of the text around `position`; its line is the one that `position` is on.
fn shape_at(tree: &Tree, position: u32) -> Shape {
    let source = tree.source();
    let root = tree.documents().first().map(|&root| (root, tree.node(root).span));
    let first = root.and_then(|(root, _)| tree.children(root).next()).map(|id| tree.node(id));
    let (Some((_, root)), Some(first)) = (root, first) else {
        return Shape {
            line: Some(indent_of(source, position, b"\n")),
            unit: b"\t".to_vec(),
            colon: ": ",
            comma: ", ",
            html: false,
        };
    };
    let spaced = is_space(source[first.span.start as usize - 1]);
    let (colon, comma) = if spaced { (": ", ", ") } else { (":", ",") };
    let Some(inner) = line_before(source, root.start, first.key_start) else {
        return Shape { line: None, unit: Vec::new(), colon, comma, html: false };
    };
    let line_break: &[u8] = if inner.starts_with(b"\r") { b"\r\n" } else { b"\n" };
    let outer = indent_of(source, root.start, line_break);
    let unit = inner.strip_prefix(&outer[..]).filter(|unit| !unit.is_empty()).unwrap_or(b"\t").to_vec();
    Shape { line: Some(indent_of(source, position, line_break)), unit, colon, comma, html: false }
}

/// Returns the line break and the indent between an opening bracket and the value behind it, if there is
/// a line break.
fn line_before(source: &[u8], bracket: u32, value: u32) -> Option<Vec<u8>> {
    let space = &source[bracket as usize + 1..value as usize];
    let end = space.iter().rposition(|&byte| byte == b'\n')?;
    let start = if end > 0 && space[end - 1] == b'\r' { end - 1 } else { end };
    Some(space[start..].to_vec())
}

/// Returns a line break and the indent of the line that `position` is on.
fn indent_of(source: &[u8], position: u32, line_break: &[u8]) -> Vec<u8> {
    let before = &source[..position as usize];
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let indent = source[start..].iter().take_while(|&&byte| matches!(byte, b' ' | b'\t'));
    line_break.iter().chain(indent).copied().collect()
}

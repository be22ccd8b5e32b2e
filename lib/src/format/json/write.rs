//! A tree as JSON: in the style of sops, which is that of Go, or in the shape of a source.

use std::fmt::Write;

use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::NAME;
use crate::format::number::go_general;
use crate::format::{METADATA_KEY, WriteError, WriteOptions, has_key, only_document};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Tree, Value};

pub(super) fn write(
    tree: &Tree,
    metadata: Option<&Map<String, Json>>,
    options: &WriteOptions,
) -> Result<SecretBytes, WriteError> {
    let root = only_document(tree, NAME)?;
    if metadata.is_some() && has_key(tree, root, METADATA_KEY) {
        return Err(WriteError::ReservedKey(METADATA_KEY.to_owned()));
    }
    let shape = Shape::sops(options)?;
    let mut out = SecretBytes::with_capacity(tree.source().len());
    let mut writer = Writer::new(&shape, &mut out);
    writer.open(true, usize::MAX);
    let content = |&id: &NodeId| tree.node(id).origin != Origin::Metadata;
    tree.children(root).filter(content).try_for_each(|id| writer.node(tree, id))?;
    if let Some(metadata) = metadata {
        let (metadata, entry) = metadata_tree(metadata);
        writer.node(&metadata, entry)?;
    }
    writer.close();
    out.push(b'\n');
    Ok(out)
}

pub(super) fn write_value(
    tree: &Tree,
    node: NodeId,
    options: &WriteOptions,
) -> Result<SecretBytes, WriteError> {
    let shape = Shape::sops(options)?;
    let mut out = SecretBytes::new();
    match tree.node(node).value {
        Value::Str(text) => out.extend_from_slice(tree.bytes(text)),
        value => {
            Writer::new(&shape, &mut out).node(tree, node)?;
            if value == Value::Map {
                out.push(b'\n');
            }
        }
    }
    Ok(out)
}

/// Returns metadata as a tree, with the node of its entry.
pub(super) fn metadata_tree(metadata: &Map<String, Json>) -> (Tree, NodeId) {
    let mut tree = Tree::new(SecretBytes::new());
    let entry = tree.push_json(Some(METADATA_KEY), &Json::Object(metadata.clone()));
    (tree, entry)
}

/// How the parts of a text are set apart.
#[derive(Clone)]
pub(super) struct Shape {
    /// What starts a line at the outermost level: a line break and an indent. `None` if all is one line.
    pub(super) line: Option<Vec<u8>>,
    /// What each further level is indented by.
    pub(super) unit: Vec<u8>,
    /// What stands between a key and its value.
    pub(super) colon: &'static str,
    /// What stands between values on one line.
    pub(super) comma: &'static str,
    /// Whether to escape what HTML gives a meaning, as Go does.
    pub(super) html: bool,
}

impl Shape {
    fn sops(options: &WriteOptions) -> Result<Self, WriteError> {
        let unit = match options.indent {
            None | Some(-1) => b"\t".to_vec(),
            Some(spaces) => {
                let spaces = usize::try_from(spaces).map_err(|_| WriteError::Indent(spaces))?;
                b" ".repeat(spaces)
            }
        };
        Ok(Self { line: Some(b"\n".to_vec()), unit, colon: ": ", comma: ",", html: true })
    }
}

/// Appends values to a text.
pub(super) struct Writer<'a> {
    shape: &'a Shape,
    out: &'a mut SecretBytes,
    open: Vec<Open>,
}

/// A map or list that is not closed yet.
struct Open {
    is_map: bool,
    is_empty: bool,
    /// One past its last node.
    end: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(shape: &'a Shape, out: &'a mut SecretBytes) -> Self {
        Self { shape, out, open: Vec::new() }
    }

    /// Appends a value, with its key if it stands in a map that was opened here. Comments and
    /// the metadata of a document that was read are left out.
    pub(super) fn node(&mut self, tree: &Tree, id: NodeId) -> Result<(), WriteError> {
        let outer = self.open.len();
        for index in id.index()..tree.node(id).end as usize {
            while self.open.len() > outer && self.open.last().is_some_and(|open| open.end <= index) {
                self.close();
            }
            let id = tree.id(index).expect("the index is below the end of a node");
            self.begin(tree, id)?;
        }
        while self.open.len() > outer {
            self.close();
        }
        Ok(())
    }

    /// Appends a scalar, or what opens a map or list.
    fn begin(&mut self, tree: &Tree, id: NodeId) -> Result<(), WriteError> {
        let node = tree.node(id);
        if node.origin == Origin::Metadata || matches!(node.value, Value::Comment(_)) {
            return Ok(());
        }
        self.separate();
        if let Some(Open { is_map: true, .. }) = self.open.last() {
            append_string(tree.key(id).unwrap_or_default(), self.shape.html, self.out)?;
            self.out.push_str(self.shape.colon);
        }
        match node.value {
            Value::List | Value::Map => self.open(node.value == Value::Map, node.end as usize),
            value => append_scalar(tree, value, self.shape.html, self.out)?,
        }
        Ok(())
    }

    /// Appends what stands in front of a value.
    fn separate(&mut self) {
        let Some(open) = self.open.last_mut() else { return };
        let is_first = std::mem::replace(&mut open.is_empty, false);
        match (&self.shape.line, is_first) {
            (None, true) => {}
            (None, false) => self.out.push_str(self.shape.comma),
            (Some(_), _) => {
                if !is_first {
                    self.out.push(b',');
                }
                self.break_line();
            }
        }
    }

    pub(super) fn open(&mut self, is_map: bool, end: usize) {
        self.out.push(if is_map { b'{' } else { b'[' });
        self.open.push(Open { is_map, is_empty: true, end });
    }

    pub(super) fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        if !open.is_empty {
            self.break_line();
        }
        self.out.push(if open.is_map { b'}' } else { b']' });
    }

    fn break_line(&mut self) {
        let Some(line) = &self.shape.line else { return };
        self.out.extend_from_slice(line);
        self.open.iter().for_each(|_| self.out.extend_from_slice(&self.shape.unit));
    }
}

/// Appends a scalar.
pub(super) fn append_scalar(
    tree: &Tree,
    value: Value,
    html: bool,
    out: &mut SecretBytes,
) -> Result<(), WriteError> {
    match value {
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Float(value) => append_float(value, out)?,
        // Writing to memory does not fail.
        Value::Int(value) => write!(out, "{value}").expect("memory is writable"),
        Value::Unsigned(value) => write!(out, "{value}").expect("memory is writable"),
        Value::Null => out.push_str("null"),
        Value::Str(text) | Value::Time(text) => append_string(tree.bytes(text), html, out)?,
        Value::Comment(_) => return Err(unsupported("a comment")),
        Value::List | Value::Map => return Err(unsupported("a map or list in the place of a scalar")),
    }
    Ok(())
}

/// Appends a number as Go's `encoding/json` writes it: with an exponent below 1e-6 and from 1e21 on.
fn append_float(value: f64, out: &mut SecretBytes) -> Result<(), WriteError> {
    if !value.is_finite() {
        return Err(unsupported("a number that is not finite"));
    }
    if value == 0.0 && value.is_sign_negative() {
        // Go writes `-0`, which is read as the integer 0: SOPS then takes the MAC for wrong.
        out.push_str("-0.0");
        return Ok(());
    }
    let text = Zeroizing::new(go_general(value, -6, 21));
    match text.split_once("e-0") {
        Some((digits, exponent)) => {
            out.push_str(digits);
            out.push_str("e-");
            out.push_str(exponent);
        }
        None => out.push_str(&text),
    }
    Ok(())
}

/// Appends a string with its quotes. Other than Go, this refuses bytes that are not UTF-8 rather than to
/// put U+FFFD in their place.
pub(in crate::format) fn append_string(
    bytes: &[u8],
    html: bool,
    out: &mut SecretBytes,
) -> Result<(), WriteError> {
    if std::str::from_utf8(bytes).is_err() {
        return Err(unsupported("a text that is not UTF-8"));
    }
    out.push(b'"');
    let mut start = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        let separator = html && byte == 0xe2 && matches!(bytes[index..], [_, 0x80, 0xa8 | 0xa9, ..]);
        let length = if separator { 3 } else { 1 };
        if separator || is_escaped(byte, html) {
            out.extend_from_slice(&bytes[start..index]);
            append_escape(&bytes[index..index + length], out);
            start = index + length;
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
    Ok(())
}

fn is_escaped(byte: u8, html: bool) -> bool {
    matches!(byte, 0..0x20 | b'"' | b'\\') || html && matches!(byte, b'<' | b'>' | b'&')
}

/// Appends the escape of one character.
fn append_escape(character: &[u8], out: &mut SecretBytes) {
    match character {
        [byte @ (b'"' | b'\\')] => out.extend_from_slice(&[b'\\', *byte]),
        [0x08] => out.push_str("\\b"),
        [0x0c] => out.push_str("\\f"),
        [b'\n'] => out.push_str("\\n"),
        [b'\r'] => out.push_str("\\r"),
        [b'\t'] => out.push_str("\\t"),
        [byte] => write!(out, "\\u{byte:04x}").expect("memory is writable"),
        [.., 0xa8] => out.push_str("\\u2028"),
        _ => out.push_str("\\u2029"),
    }
}

fn unsupported(what: &'static str) -> WriteError {
    WriteError::Unsupported { format: NAME, what }
}

//! Nodes to Secrets, by the rules of `kubectl apply`: what it does not take for the text that is written is
//! refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::SecretFileError;
use crate::format::Format;
use crate::format::yaml::resolve::{Scalar, resolve_v2};
use crate::sealed::base64;
use crate::sealed::object_meta::ObjectMeta;
use crate::sealed::secret::{Secret, SecretError};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Style, Tree, Value, same_value};

/// Reads a Secret.
pub(super) fn secret(
    format: Format,
    tree: &Tree,
    node: NodeId,
    line: usize,
) -> Result<Secret, SecretFileError> {
    let reader = Reader { format, tree, line };
    let mut secret = Secret::default();
    let (mut data, mut texts) = (BTreeMap::new(), BTreeMap::new());
    for item in tree.items(node) {
        match tree.key(item).unwrap_or_default() {
            b"data" => data = reader.texts(item, "data")?,
            b"immutable" => secret.immutable = reader.truth(item)?,
            b"metadata" => secret.metadata = reader.metadata(item)?,
            b"stringData" => texts = reader.texts(item, "stringData")?,
            b"type" => secret.type_ = reader.plain_text(item, "type")?,
            _ => {}
        }
    }
    for (key, text) in data {
        let value = base64::decode(text.expose_secret());
        let value = value.map_err(|source| reader.error(SecretError::Data { key: key.clone(), source }))?;
        secret.data.insert(key, value);
    }
    secret.data.extend(texts);
    Ok(secret)
}

/// Returns whether an object is a Secret. One that leaves out its version is none to the API server, but what it
/// holds is as secret.
pub(in crate::sealed) fn is_secret(tree: &Tree, node: NodeId) -> bool {
    let version = name_of(tree, node, "apiVersion");
    name_of(tree, node, "kind") == Some(b"Secret") && version.is_none_or(|version| version == b"v1")
}

/// Returns a text of a map; of several with this key the last, which is the one that counts.
pub(in crate::sealed) fn name_of<'t>(tree: &'t Tree, map: NodeId, name: &str) -> Option<&'t [u8]> {
    if tree.node(map).value != Value::Map {
        return None;
    }
    let entry = tree.items(map).filter(|&id| tree.key(id) == Some(name.as_bytes())).last()?;
    match tree.node(entry).value {
        Value::Str(text) => Some(tree.bytes(text)),
        _ => None,
    }
}

/// Returns whether a map, or one below it, has entries of another one.
pub(super) fn merges(format: Format, tree: &Tree, node: NodeId) -> bool {
    let below = (node.index() + 1..tree.node(node).end as usize).filter_map(|index| tree.id(index));
    let is_merge = |id: NodeId| {
        let written = &tree.source()[tree.node(id).key_start as usize..];
        tree.key(id) == Some(b"<<") && !written.starts_with(b"\"") && !written.starts_with(b"'")
    };
    format == Format::Yaml && below.into_iter().any(is_merge)
}

/// Returns whether two objects have the same keys and values in the same order.
pub(in crate::sealed) fn same_object(
    left: &Tree,
    left_root: NodeId,
    right: &Tree,
    right_root: NodeId,
) -> bool {
    let values = |tree: &Tree, root: NodeId| -> Vec<NodeId> {
        let all = (root.index()..tree.node(root).end as usize).filter_map(|index| tree.id(index));
        all.filter(|&id| !matches!(tree.node(id).value, Value::Comment(_))).collect()
    };
    let (left_values, right_values) = (values(left, left_root), values(right, right_root));
    left_values.len() == right_values.len()
        && left_values.into_iter().zip(right_values).all(|(left_id, right_id)| {
            left.key(left_id) == right.key(right_id) && same_value(left, left_id, right, right_id)
        })
}

struct Reader<'a> {
    format: Format,
    tree: &'a Tree,
    line: usize,
}

impl Reader<'_> {
    fn metadata(&self, node: NodeId) -> Result<ObjectMeta, SecretFileError> {
        let mut fields = Map::new();
        match self.tree.node(node).value {
            Value::Null => {}
            Value::Map => {
                for item in self.tree.items(node) {
                    let key = self.key(item, "metadata")?;
                    let path = format!("metadata.{key}");
                    let value = match key.as_str() {
                        "name" | "namespace" | "generateName" => json!(self.plain_text(item, &path)?),
                        "labels" | "annotations" => self.plain_texts(item, &path)?,
                        _ => self.json(item, &path)?,
                    };
                    if !value.is_null() {
                        fields.insert(key, value);
                    }
                }
            }
            _ => return Err(self.field("metadata", "a map")),
        }
        ObjectMeta::parse(&Json::Object(fields)).map_err(|source| self.error(source))
    }

    /// Returns a map of texts that are no secrets.
    fn plain_texts(&self, node: NodeId, path: &str) -> Result<Json, SecretFileError> {
        let texts = self.texts(node, path)?;
        let text = |(key, text): (String, SecretBytes)| {
            (key, String::from_utf8_lossy(text.expose_secret()).into_owned().into())
        };
        let is_there = self.tree.node(node).value == Value::Map;
        Ok(if is_there { Json::Object(texts.into_iter().map(text).collect()) } else { Json::Null })
    }

    fn plain_text(&self, node: NodeId, path: &str) -> Result<Option<String>, SecretFileError> {
        let text = self.text(node, path)?;
        Ok(text.map(|text| String::from_utf8_lossy(text.expose_secret()).into_owned()))
    }

    /// Returns the texts of a map; null is an empty one.
    fn texts(&self, node: NodeId, path: &str) -> Result<BTreeMap<String, SecretBytes>, SecretFileError> {
        match self.tree.node(node).value {
            Value::Null => Ok(BTreeMap::new()),
            Value::Map => {
                let entry = |item| {
                    let key = self.key(item, path)?;
                    let text = self.text(item, &format!("{path}[{key:?}]"))?;
                    Ok((key, text.unwrap_or_default()))
                };
                self.tree.items(node).map(entry).collect()
            }
            _ => Err(self.field(path, "a map")),
        }
    }

    /// Returns a text, or nothing for null.
    fn text(&self, node: NodeId, path: &str) -> Result<Option<SecretBytes>, SecretFileError> {
        let ambiguous = || self.ambiguous(self.tree.node(node).key_start, path);
        let written = self.tree.slice(self.tree.node(node).span);
        match self.tree.node(node).value {
            Value::Null => Ok(None),
            Value::Str(text) if self.is_text(node) => Ok(Some(self.tree.bytes(text).into())),
            Value::Str(_) => Err(ambiguous()),
            Value::List | Value::Map | Value::Comment(_) => Err(self.field(path, "a text")),
            // A number whose digits are its text, or what is a point in time to some readers alone.
            _ if is_same_text(self.format, written) => Ok(Some(written.into())),
            _ => Err(ambiguous()),
        }
    }

    /// Returns whether a string is the same text to every reader.
    fn is_text(&self, node: NodeId) -> bool {
        let Value::Str(text) = self.tree.node(node).value else { return false };
        let written = self.tree.slice(self.tree.node(node).span);
        let is_plain = self.format == Format::Yaml && self.tree.node(node).style == Style::Plain;
        match written.first() {
            Some(b'!') if self.format == Format::Yaml => is_known_tag(written),
            _ if is_plain => is_text_to_kubectl(self.tree.bytes(text)),
            _ => true,
        }
    }

    /// Returns a key, which kubectl makes a text of, whatever it is.
    fn key(&self, node: NodeId, path: &str) -> Result<String, SecretFileError> {
        let key = self.tree.key(node).unwrap_or_default();
        let start = self.tree.node(node).key_start;
        let written = self.tree.source().get(start as usize).copied().unwrap_or_default();
        let is_safe = match written {
            b'"' | b'\'' => true,
            b'!' | b'&' | b'*' | b'?' => self.format != Format::Yaml,
            _ => self.format != Format::Yaml || is_text_to_kubectl(key),
        };
        let key = String::from_utf8_lossy(key).into_owned();
        if is_safe { Ok(key) } else { Err(self.ambiguous(start, &format!("the key {key:?} of {path}"))) }
    }

    fn truth(&self, node: NodeId) -> Result<Option<bool>, SecretFileError> {
        match self.tree.node(node).value {
            Value::Null => Ok(None),
            Value::Bool(value) => Ok(Some(value)),
            Value::Str(text) if self.tree.node(node).style == Style::Plain && self.format == Format::Yaml => {
                match resolve_v2(&String::from_utf8_lossy(self.tree.bytes(text))) {
                    Scalar::Bool(value) => Ok(Some(value)),
                    _ => Err(self.field("immutable", "true or false")),
                }
            }
            _ => Err(self.field("immutable", "true or false")),
        }
    }

    /// Returns anything else of the metadata.
    fn json(&self, node: NodeId, path: &str) -> Result<Json, SecretFileError> {
        let below = (node.index()..self.tree.node(node).end as usize).filter_map(|index| self.tree.id(index));
        for id in below {
            if matches!(self.tree.node(id).value, Value::Str(_)) && !self.is_text(id) {
                return Err(self.ambiguous(self.tree.node(id).key_start, path));
            }
        }
        Ok(self.tree.to_json(node))
    }

    fn ambiguous(&self, start: u32, path: &str) -> SecretFileError {
        // What is below an alias has no line of its own.
        let line = if start == 0 { self.line } else { self.tree.line(start) };
        SecretFileError::Ambiguous { line, path: path.to_owned() }
    }

    fn field(&self, path: &str, expected: &'static str) -> SecretFileError {
        self.error(SecretError::Field { path: path.to_owned(), expected })
    }

    const fn error(&self, source: SecretError) -> SecretFileError {
        SecretFileError::Object { line: self.line, source }
    }
}

/// Returns whether a scalar that is no string is the text that is written once it is made one.
fn is_same_text(format: Format, written: &[u8]) -> bool {
    let Ok(written) = str::from_utf8(written) else { return false };
    match resolve_v2(written) {
        Scalar::Int(value) => value.to_string() == written,
        Scalar::Unsigned(value) => value.to_string() == written,
        Scalar::Text | Scalar::Time(_) => format == Format::Yaml && !written.starts_with(['!', '*', '&']),
        _ => false,
    }
}

fn is_text_to_kubectl(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| matches!(resolve_v2(text), Scalar::Text | Scalar::Time(_)))
}

/// Returns whether a string has a tag that every reader knows.
fn is_known_tag(written: &[u8]) -> bool {
    let tag = written.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    [&b"!!binary"[..], b"!!str"].contains(&tag)
}

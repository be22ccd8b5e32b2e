//! Nodes to JSON: what scalars mean, merged maps, aliases, and the texts that are made of other values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::YamlError;
use super::nodes::{Node, NodeKind, Nodes, Scalar};
use crate::format::go_general_single;
use crate::format::yaml::resolve::{self, resolve_v2};
use crate::manifest::shape::{Fields, Shape};

/// Makes JSON of the nodes of a document.
pub(super) struct Converter<'a> {
    nodes: &'a Nodes,
    /// How many nodes were read, those below aliases as often as they are named.
    read: u64,
    /// How many of them are below aliases.
    aliased: u64,
    /// How many bytes of text aliases have copied.
    copied: usize,
    /// How many aliases the current node is below.
    depth: usize,
}

/// What a scalar means.
enum Meaning {
    Bool(bool),
    Float(f64),
    Int(i64),
    Null,
    Text(String),
    Unsigned(u64),
}

impl<'a> Converter<'a> {
    pub(super) const fn new(nodes: &'a Nodes) -> Self {
        Self { nodes, read: 0, aliased: 0, copied: 0, depth: 0 }
    }

    pub(super) fn document(mut self, fields: Option<&'static Fields>) -> Result<Value, YamlError> {
        let Some(root) = self.nodes.root() else { return Ok(Value::Null) };
        self.value(root, fields.map(Wanted::Fields), 0)
    }

    fn value(&mut self, node: &'a Node, wanted: Option<Wanted>, depth: usize) -> Result<Value, YamlError> {
        self.count()?;
        if depth > super::MAX_NESTING {
            return Err(YamlError::Nesting);
        }
        match &node.kind {
            NodeKind::Alias(target) => {
                self.alias(*target, |converter, target| converter.value(target, wanted, depth))
            }
            NodeKind::List(items) => {
                let wanted = wanted.and_then(|wanted| wanted.item());
                let item = |&item: &usize| self.value(self.nodes.get(item), wanted, depth + 1);
                items.iter().map(item).collect::<Result<_, _>>().map(Value::Array)
            }
            NodeKind::Map(_) => {
                let mut entries = Map::new();
                self.entries(node, wanted, depth, &mut entries)?;
                Ok(Value::Object(entries))
            }
            NodeKind::Scalar(scalar) => {
                let is_text = wanted.is_some_and(|wanted| {
                    matches!(wanted, Wanted::Shape(Shape::Text(_) | Shape::Optional(Shape::Text(_))))
                });
                to_json(meaning(scalar, node.line)?, is_text).ok_or(YamlError::Number(node.line))
            }
        }
    }

    /// Adds the entries of a map, the merged ones where they are named: what comes later wins.
    fn entries(
        &mut self,
        map: &'a Node,
        wanted: Option<Wanted>,
        depth: usize,
        entries: &mut Map<String, Value>,
    ) -> Result<(), YamlError> {
        let NodeKind::Map(children) = &map.kind else { return Err(YamlError::Merge(map.line)) };
        for pair in children.chunks_exact(2) {
            let (key, value) = (self.nodes.get(pair[0]), self.nodes.get(pair[1]));
            if matches!(&key.kind, NodeKind::Scalar(scalar) if scalar.is_merge()) {
                self.merge(value, wanted, depth, entries)?;
                continue;
            }
            let key = self.key(key)?;
            let value = self.value(value, wanted.and_then(|wanted| wanted.entry(&key)), depth + 1)?;
            entries.insert(key, value);
        }
        Ok(())
    }

    fn merge(
        &mut self,
        node: &'a Node,
        wanted: Option<Wanted>,
        depth: usize,
        entries: &mut Map<String, Value>,
    ) -> Result<(), YamlError> {
        self.count()?;
        match &node.kind {
            NodeKind::Alias(target) => {
                self.alias(*target, |converter, target| converter.entries(target, wanted, depth, entries))
            }
            // Of several maps the first one wins.
            NodeKind::List(items) => {
                items.iter().rev().try_for_each(|&item| match &self.nodes.get(item).kind {
                    NodeKind::List(_) | NodeKind::Scalar(_) => Err(YamlError::Merge(node.line)),
                    _ => self.merge(self.nodes.get(item), wanted, depth, entries),
                })
            }
            _ => self.entries(node, wanted, depth, entries),
        }
    }

    fn key(&mut self, node: &'a Node) -> Result<String, YamlError> {
        self.count()?;
        let meaning = match &node.kind {
            NodeKind::Alias(target) => return self.alias(*target, Self::key),
            NodeKind::Scalar(scalar) => meaning(scalar, node.line)?,
            NodeKind::List(_) | NodeKind::Map(_) => return Err(YamlError::Key(node.line)),
        };
        match meaning {
            Meaning::Bool(value) => Ok(value.to_string()),
            Meaning::Float(value) => Ok(match go_general_single(value).as_str() {
                "+Inf" => ".inf".to_owned(),
                "-Inf" => "-.inf".to_owned(),
                "NaN" => ".nan".to_owned(),
                other => other.to_owned(),
            }),
            Meaning::Int(value) => Ok(value.to_string()),
            Meaning::Text(text) => Ok(text),
            Meaning::Null | Meaning::Unsigned(_) => Err(YamlError::Key(node.line)),
        }
    }

    fn alias<T>(
        &mut self,
        target: usize,
        read: impl FnOnce(&mut Self, &'a Node) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        let target = self.nodes.get(target);
        self.copied = self.copied.saturating_add(target.text);
        if self.copied > MAX_COPIED {
            return Err(YamlError::Aliases);
        }
        self.depth += 1;
        let value = read(self, target);
        self.depth -= 1;
        value
    }

    /// Counts a node, and bounds the share of those that aliases repeat as go-yaml does.
    fn count(&mut self) -> Result<(), YamlError> {
        self.read += 1;
        self.aliased += u64::from(self.depth > 0);
        let is_suspect = self.aliased > 100 && self.read > 1000;
        if is_suspect && self.aliased as f64 / self.read as f64 > allowed_share(self.read) {
            return Err(YamlError::Aliases);
        }
        Ok(())
    }
}

/// What a value is to be.
#[derive(Clone, Copy)]
enum Wanted {
    Fields(&'static Fields),
    Shape(&'static Shape),
}

impl Wanted {
    fn entry(self, key: &str) -> Option<Self> {
        match self {
            Self::Fields(fields) => fields.find(key).map(|(_, shape)| Self::Shape(shape)),
            Self::Shape(Shape::Fields(fields)) => Self::Fields(fields).entry(key),
            Self::Shape(Shape::Map(shape)) => Some(Self::Shape(shape)),
            Self::Shape(_) => None,
        }
    }

    fn item(self) -> Option<Self> {
        match self {
            Self::Shape(Shape::List(shape)) => Some(Self::Shape(shape)),
            _ => None,
        }
    }
}

/// Returns what a scalar means by its tag, its quotes and its text.
fn meaning(scalar: &Scalar, line: usize) -> Result<Meaning, YamlError> {
    let Scalar { text, tag, is_plain } = scalar;
    let plain = || match resolve_v2(text) {
        resolve::Scalar::Bool(value) => Meaning::Bool(value),
        resolve::Scalar::Float(value) => Meaning::Float(value),
        resolve::Scalar::Int(value) => Meaning::Int(value),
        resolve::Scalar::Null => Meaning::Null,
        // A point in time stays as it is written.
        resolve::Scalar::Text | resolve::Scalar::Time(_) => Meaning::Text(text.clone()),
        resolve::Scalar::Unsigned(value) => Meaning::Unsigned(value),
    };
    let Some(tag) = tag else {
        return Ok(if *is_plain { plain() } else { Meaning::Text(text.clone()) });
    };
    match (tag.as_str(), plain()) {
        ("!!binary", _) => binary(text).map(Meaning::Text).ok_or(YamlError::Binary(line)),
        ("!!bool", value @ Meaning::Bool(_))
        | ("!!float", value @ Meaning::Float(_))
        | ("!!int", value @ (Meaning::Int(_) | Meaning::Unsigned(_)))
        | ("!!null", value @ Meaning::Null) => Ok(value),
        ("!!float", Meaning::Int(value)) => Ok(Meaning::Float(value as f64)),
        ("!!timestamp", _) if matches!(resolve_v2(text), resolve::Scalar::Time(_)) => {
            Ok(Meaning::Text(text.clone()))
        }
        ("!!bool" | "!!float" | "!!int" | "!!null" | "!!timestamp", _) => Err(YamlError::Tag(line)),
        _ => Ok(Meaning::Text(text.clone())),
    }
}

/// Returns the text that base64 stands for; JSON has nothing else for bytes.
fn binary(text: &str) -> Option<String> {
    let encoded: String = text.chars().filter(|char| !matches!(char, '\r' | '\n')).collect();
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// Returns a meaning as JSON, if JSON has it.
fn to_json(meaning: Meaning, is_text: bool) -> Option<Value> {
    Some(match meaning {
        Meaning::Bool(value) if is_text => Value::String(value.to_string()),
        // Whatever it was read with, 32 bits are what other tools make a text of.
        Meaning::Float(value) if is_text => Value::String(go_general_single(value)),
        Meaning::Int(value) if is_text => Value::String(value.to_string()),
        Meaning::Unsigned(value) if is_text => Value::String(value.to_string()),
        Meaning::Bool(value) => Value::Bool(value),
        Meaning::Float(value) => Value::Number(Number::from_f64(value)?),
        Meaning::Int(value) => Value::Number(value.into()),
        Meaning::Null => Value::Null,
        Meaning::Text(text) => Value::String(text),
        Meaning::Unsigned(value) => Value::Number(value.into()),
    })
}

fn allowed_share(read: u64) -> f64 {
    let (low, high) = (400_000.0, 4_000_000.0);
    let beyond = (read as f64 - low).clamp(0.0, high - low);
    0.99 - 0.89 * beyond / (high - low)
}

/// How much text aliases may copy. go-yaml shares texts; copies of an honest document's are few.
const MAX_COPIED: usize = 16 << 20;

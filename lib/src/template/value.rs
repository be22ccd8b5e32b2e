//! Values of a template, typed as Go sees them.
//!
//! Invariant: text wipes itself when it is dropped. Text knows whether all of it stands in the source
//! of the template: only such text may appear in an error.

use std::cell::{Ref, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::secret::SecretBytes;
use crate::template::semver::Version;
use crate::template::time::Time;

/// A value. `Missing` is no value at all (what a map has for a key that it has not), `Nil` is Go's nil
/// of the type `interface {}`.
#[derive(Clone)]
pub enum Value {
    Bool(bool),
    Certificate(Rc<Certificate>),
    Dict(Dict),
    Duration(i64),
    Float(f64),
    Int(i64),
    Int64(i64),
    List(Rc<List>),
    Map(Rc<BTreeMap<Text, Text>>),
    Missing,
    Month(u8),
    Nil,
    Text(Text),
    Time(Rc<Time>),
    Unsigned(u64),
    Unsigned8(u8),
    Version(Rc<Version>),
    Weekday(u8),
}

impl Value {
    /// Returns text that may be secret.
    pub fn text(bytes: impl Into<SecretBytes>) -> Self {
        Self::Text(Text::secret(bytes))
    }

    /// Returns what Go calls the type of the value.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Certificate(_) => "sprig.certificate",
            Self::Dict(_) => "map[string]interface {}",
            Self::Duration(_) => "time.Duration",
            Self::Float(_) => "float64",
            Self::Int(_) => "int",
            Self::Int64(_) => "int64",
            Self::List(list) => list.element.list_name(),
            Self::Map(_) => "map[string]string",
            Self::Missing | Self::Nil => "interface {}",
            Self::Month(_) => "time.Month",
            Self::Text(_) => "string",
            Self::Time(_) => "time.Time",
            Self::Unsigned(_) => "uint64",
            Self::Unsigned8(_) => "uint8",
            Self::Version(version) => version.type_name(),
            Self::Weekday(_) => "time.Weekday",
        }
    }

    /// Returns what Go calls the kind of the value.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Certificate(_) | Self::Time(_) => "struct",
            Self::Dict(_) | Self::Map(_) => "map",
            Self::Duration(_) => "int64",
            Self::List(_) => "slice",
            Self::Missing | Self::Nil => "invalid",
            Self::Month(_) | Self::Weekday(_) => "int",
            Self::Version(version) => version.kind_name(),
            other => other.type_name(),
        }
    }

    /// Returns whether Go takes the value for true.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Bool(value) => *value,
            Self::Certificate(_) | Self::Time(_) | Self::Version(_) => true,
            Self::Dict(dict) => !dict.borrow().is_empty(),
            Self::Float(value) => *value != 0.0,
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Missing | Self::Nil => false,
            Self::Text(text) => !text.bytes().is_empty(),
            Self::Unsigned(value) => *value != 0,
            Self::Duration(_)
            | Self::Int(_)
            | Self::Int64(_)
            | Self::Month(_)
            | Self::Unsigned8(_)
            | Self::Weekday(_) => self.as_integer() != Some(0),
        }
    }

    /// Returns the value of a signed integer kind, or of `uint8`.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Duration(value) | Self::Int(value) | Self::Int64(value) => Some(*value),
            Self::Month(value) | Self::Unsigned8(value) | Self::Weekday(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// Returns whether it is nil or no value.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Missing | Self::Nil)
    }

    /// Returns how many lists are in one another.
    pub fn depth(&self) -> usize {
        if let Self::List(list) = self { list.depth } else { 0 }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// Text, which is bytes as in Go.
#[derive(Clone)]
pub struct Text {
    bytes: Rc<SecretBytes>,
    is_public: bool,
}

impl Text {
    /// Returns text that may be secret.
    pub fn secret(bytes: impl Into<SecretBytes>) -> Self {
        Self { bytes: Rc::new(bytes.into()), is_public: false }
    }

    /// Returns text that stands in the source of the template.
    pub fn public(bytes: impl Into<SecretBytes>) -> Self {
        Self { bytes: Rc::new(bytes.into()), is_public: true }
    }

    /// Returns the same text, as one that was made of public text alone.
    pub fn into_public(self) -> Self {
        Self { is_public: true, ..self }
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.expose_secret()
    }

    /// Returns whether all of it stands in the source of the template.
    pub fn is_public(&self) -> bool {
        self.is_public
    }
}

impl std::borrow::Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

/// A slice of Go.
pub struct List {
    pub element: Element,
    pub items: Vec<Value>,
    /// Whether it is a nil slice, which JSON writes as `null`.
    pub is_nil: bool,
    /// How many lists are in one another, this one included.
    pub depth: usize,
}

/// What a list holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Element {
    Any,
    Int,
    List,
    Text,
}

impl Element {
    /// Returns what Go calls a list of these.
    pub fn list_name(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Int => "[]int",
            Self::List => "[][]interface {}",
            Self::Text => "[]string",
        }
    }
}

/// A `map[string]interface {}`, which all who hold it share.
#[derive(Clone, Default)]
pub struct Dict(Rc<RefCell<BTreeMap<Text, Value>>>);

impl Dict {
    /// Returns whether both are one.
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.0.borrow().get(key).cloned()
    }

    /// Puts a value at a key.
    pub fn set(&self, key: Text, value: Value) {
        // What it replaces is dropped after the map is free again.
        let replaced = self.0.borrow_mut().insert(key, value);
        drop(replaced);
    }

    /// Takes a key out.
    pub fn unset(&self, key: &[u8]) {
        let removed = self.0.borrow_mut().remove(key);
        drop(removed);
    }

    /// Empties it.
    pub fn clear(&self) {
        let entries = std::mem::take(&mut *self.0.borrow_mut());
        drop(entries);
    }

    /// Returns all keys and values, sorted by key.
    pub fn entries(&self) -> Vec<(Text, Value)> {
        self.0.borrow().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Lends the entries.
    pub fn borrow(&self) -> Ref<'_, BTreeMap<Text, Value>> {
        self.0.borrow()
    }
}

/// A certificate and its private key, as PEM.
pub struct Certificate {
    pub certificate: Text,
    pub key: Text,
}

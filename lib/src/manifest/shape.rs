//! The fields of the kinds that are read: their names in the order in which they are printed, and their types.
//!
//! A value is brought into a shape as Go's `encoding/json` decodes into a struct: names of fields may differ in
//! case, what is unknown is left out, null is nothing, and the first value of a wrong type is the error while
//! the rest is still read.

use serde_json::{Map, Value};

/// What a value is to be.
pub(super) enum Shape {
    /// Anything.
    Any,
    /// `true` or `false`.
    Bool,
    /// Base64, which is not looked at here.
    Bytes,
    /// A map with these entries.
    Fields(&'static Fields),
    /// An integer of 64 bits.
    Integer,
    /// A list.
    List(&'static Self),
    /// A map with any keys.
    Map(&'static Self),
    /// Such a value, or null.
    Optional(&'static Self),
    /// A text, and what Go calls its type.
    Text(&'static str),
    /// A point in time.
    Time,
}

/// The entries of a map, and what Go calls it.
pub(super) struct Fields {
    pub name: &'static str,
    pub fields: &'static [(&'static str, Shape)],
}

/// A value is not of the type that its field has. The value itself is not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TypeMismatch {
    found: &'static str,
    /// Where it stands, if not at the top.
    field: Option<String>,
    wanted: String,
}

impl std::fmt::Display for TypeMismatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { found, field, wanted } = self;
        match field {
            Some(field) => {
                write!(
                    formatter,
                    "json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"
                )
            }
            None => write!(formatter, "json: cannot unmarshal {found} into Go value of type {wanted}"),
        }
    }
}

impl Fields {
    /// Returns the field that a key names: exactly, or else but for its case.
    pub(super) fn find(&self, key: &str) -> Option<&'static (&'static str, Shape)> {
        let exact = self.fields.iter().find(|(name, _)| *name == key);
        exact.or_else(|| self.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)))
    }
}

/// Brings a value into a shape. Returns what fits, and the first thing that does not.
pub(super) fn fit(value: Value, fields: &'static Fields) -> (Map<String, Value>, Option<TypeMismatch>) {
    let mut fitting = Fitting { path: Vec::new(), mismatch: None };
    let fitted = match value {
        Value::Null => Map::new(),
        Value::Object(entries) => fitting.fields(entries, fields),
        other => {
            let wanted = format!("v1.{}", fields.name);
            fitting.mismatch = Some(TypeMismatch { found: kind(&other), field: None, wanted });
            Map::new()
        }
    };
    (fitted, fitting.mismatch)
}

/// Returns whether a map is what Go has for a struct in which nothing was set.
pub(super) fn is_zero(entries: &Map<String, Value>, fields: &Fields) -> bool {
    entries.iter().all(|(name, value)| match (value, fields.find(name).map(|(_, shape)| shape)) {
        (Value::Null, _) => true,
        (Value::String(text), Some(Shape::Text(_))) => text.is_empty(),
        (Value::Object(entries), Some(Shape::Fields(fields))) => is_zero(entries, fields),
        (Value::Number(number), Some(Shape::Integer)) => number.as_i64() == Some(0),
        _ => false,
    })
}

/// Brings the entries of an object into the order of its fields; what is unknown stands behind them.
pub(super) fn arrange_fields(value: &Value, fields: &Fields) -> Value {
    let Value::Object(entries) = value else { return value.clone() };
    let known = |(name, shape): &(&'static str, Shape)| {
        Some(((*name).to_owned(), arrange(entries.get(*name)?, shape)))
    };
    let is_known = |key: &str| fields.fields.iter().any(|(name, _)| *name == key);
    let unknown = entries.iter().filter(|(key, _)| !is_known(key));
    let unknown = unknown.map(|(key, value)| (key.clone(), value.clone()));
    fields.fields.iter().filter_map(known).chain(unknown).collect()
}

fn arrange(value: &Value, shape: &Shape) -> Value {
    match (value, shape) {
        (value, Shape::Fields(fields)) => arrange_fields(value, fields),
        (Value::Object(entries), Shape::Map(_) | Shape::Any) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            let inner = if let Shape::Map(inner) = shape { inner } else { shape };
            entries.into_iter().map(|(key, value)| (key.clone(), arrange(value, inner))).collect()
        }
        (Value::Array(items), Shape::List(shape)) => items.iter().map(|item| arrange(item, shape)).collect(),
        _ => value.clone(),
    }
}

struct Fitting {
    path: Vec<String>,
    mismatch: Option<TypeMismatch>,
}

impl Fitting {
    fn fields(&mut self, entries: Map<String, Value>, fields: &'static Fields) -> Map<String, Value> {
        let mut fitted = Map::new();
        for (key, value) in entries {
            let Some((name, shape)) = fields.find(&key) else { continue };
            self.path.push((*name).to_owned());
            if let Some(value) = self.value(value, shape, fields.name) {
                fitted.insert((*name).to_owned(), value);
            }
            self.path.pop();
        }
        fitted
    }

    /// Returns a value that fits; nothing for null and for what does not fit.
    fn value(&mut self, value: Value, shape: &'static Shape, owner: &'static str) -> Option<Value> {
        match (value, shape) {
            (Value::Null, Shape::Optional(_)) => Some(Value::Null),
            (Value::Null, _) => None,
            (value, Shape::Optional(shape)) => self.value(value, shape, owner),
            (value, Shape::Any)
            | (value @ Value::Bool(_), Shape::Bool)
            | (value @ Value::String(_), Shape::Bytes | Shape::Text(_) | Shape::Time) => Some(value),
            (Value::Number(number), Shape::Integer) if number.is_i64() => Some(Value::Number(number)),
            (Value::Object(entries), Shape::Fields(fields)) => Some(self.fields(entries, fields).into()),
            (Value::Object(entries), Shape::Map(shape)) => {
                // A text that is null is an empty one.
                let entry = |(key, value): (String, Value)| {
                    (key, self.value(value, shape, owner).unwrap_or_else(|| String::new().into()))
                };
                Some(Value::Object(entries.into_iter().map(entry).collect()))
            }
            (Value::Array(items), Shape::List(shape)) => {
                Some(items.into_iter().filter_map(|item| self.value(item, shape, owner)).collect())
            }
            (value, shape) => {
                self.mismatch.get_or_insert_with(|| TypeMismatch {
                    found: kind(&value),
                    field: Some(format!("{owner}.{}", self.path.join("."))),
                    wanted: go_type(shape),
                });
                None
            }
        }
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "array",
        Value::Bool(_) => "bool",
        Value::Null => "null",
        Value::Number(_) => "number",
        Value::Object(_) => "object",
        Value::String(_) => "string",
    }
}

fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Any => "interface {}".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Fields(fields) => format!("v1.{}", fields.name),
        Shape::Integer => "int64".to_owned(),
        Shape::List(shape) => format!("[]{}", go_type(shape)),
        Shape::Map(shape) => format!("map[string]{}", go_type(shape)),
        Shape::Optional(shape) => go_type(shape),
        Shape::Text(name) => (*name).to_owned(),
        Shape::Time => "v1.Time".to_owned(),
    }
}

pub(super) static SECRET: Fields = Fields {
    name: "Secret",
    fields: &[
        ("kind", TEXT),
        ("apiVersion", TEXT),
        ("metadata", Shape::Fields(&OBJECT_META)),
        ("immutable", Shape::Bool),
        ("data", Shape::Map(&Shape::Bytes)),
        ("stringData", Shape::Map(&TEXT)),
        ("type", SECRET_TYPE),
    ],
};

pub(super) static SEALED_SECRET: Fields = Fields {
    name: "SealedSecret",
    fields: &[
        ("kind", TEXT),
        ("apiVersion", TEXT),
        ("metadata", Shape::Fields(&OBJECT_META)),
        ("spec", Shape::Fields(&SEALED_SECRET_SPEC)),
        ("status", Shape::Fields(&SEALED_SECRET_STATUS)),
    ],
};

static SEALED_SECRET_SPEC: Fields = Fields {
    name: "SealedSecretSpec",
    fields: &[
        ("template", Shape::Fields(&SECRET_TEMPLATE)),
        ("data", Shape::Bytes),
        // Whatever does not fit is taken for nothing: one such object must not hide all others.
        ("encryptedData", Shape::Any),
    ],
};

static SECRET_TEMPLATE: Fields = Fields {
    name: "SecretTemplateSpec",
    fields: &[
        ("metadata", Shape::Fields(&OBJECT_META)),
        ("type", SECRET_TYPE),
        ("immutable", Shape::Bool),
        // Null takes a value out of the Secret.
        ("data", Shape::Map(&Shape::Optional(&TEXT))),
    ],
};

static SEALED_SECRET_STATUS: Fields = Fields {
    name: "SealedSecretStatus",
    fields: &[
        ("observedGeneration", Shape::Integer),
        ("conditions", Shape::List(&Shape::Fields(&CONDITION))),
    ],
};

static CONDITION: Fields = Fields {
    name: "SealedSecretCondition",
    fields: &[
        ("type", TEXT),
        ("status", TEXT),
        ("lastUpdateTime", Shape::Time),
        ("lastTransitionTime", Shape::Time),
        ("reason", TEXT),
        ("message", TEXT),
    ],
};

static OBJECT_META: Fields = Fields {
    name: "ObjectMeta",
    fields: &[
        ("name", TEXT),
        ("generateName", TEXT),
        ("namespace", TEXT),
        ("selfLink", TEXT),
        ("uid", Shape::Text("types.UID")),
        ("resourceVersion", TEXT),
        ("generation", Shape::Integer),
        ("creationTimestamp", Shape::Time),
        ("deletionTimestamp", Shape::Time),
        ("deletionGracePeriodSeconds", Shape::Integer),
        ("labels", Shape::Map(&TEXT)),
        ("annotations", Shape::Map(&TEXT)),
        ("ownerReferences", Shape::List(&Shape::Fields(&OWNER_REFERENCE))),
        ("finalizers", Shape::List(&TEXT)),
        ("managedFields", Shape::List(&Shape::Fields(&MANAGED_FIELDS))),
    ],
};

static OWNER_REFERENCE: Fields = Fields {
    name: "OwnerReference",
    fields: &[
        ("apiVersion", TEXT),
        ("kind", TEXT),
        ("name", TEXT),
        ("uid", Shape::Text("types.UID")),
        ("controller", Shape::Bool),
        ("blockOwnerDeletion", Shape::Bool),
    ],
};

static MANAGED_FIELDS: Fields = Fields {
    name: "ManagedFieldsEntry",
    fields: &[
        ("manager", TEXT),
        ("operation", TEXT),
        ("apiVersion", TEXT),
        ("time", Shape::Time),
        ("fieldsType", TEXT),
        ("fieldsV1", Shape::Any),
        ("subresource", TEXT),
    ],
};

const SECRET_TYPE: Shape = Shape::Text("v1.SecretType");

const TEXT: Shape = Shape::Text("string");

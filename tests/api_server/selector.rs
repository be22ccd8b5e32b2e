//! Which objects a list or a watch is about.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::refusal::Refusal;
use super::resource::{Key, Target};

/// The namespace, labels and fields that objects must have.
#[derive(Clone, Debug)]
pub struct Selection {
    group: &'static str,
    plural: &'static str,
    namespace: Option<String>,
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

/// What a label or a field must be.
#[derive(Clone, Debug)]
enum Requirement {
    Absent(String),
    Exists(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selection {
    /// Reads the selectors of a request.
    ///
    /// # Errors
    /// If one is none.
    pub fn parse(target: &Target, query: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        let labels = requirements(query.get("labelSelector").map_or("", String::as_str))?;
        let mut fields = requirements(query.get("fieldSelector").map_or("", String::as_str))?;
        if let Some(name) = &target.name {
            fields.push(Requirement::In("metadata.name".to_owned(), vec![name.clone()]));
        }
        for field in &fields {
            let name = field.name();
            let known = name == "metadata.name" || name == "metadata.namespace";
            if !known && (target.resource.custom || name != "type") {
                return Err(Refusal::bad_request(format!("field label not supported: {name}")));
            }
        }
        let (group, plural) = (target.resource.group, target.resource.plural);
        Ok(Self { group, plural, namespace: target.namespace.clone(), labels, fields })
    }

    /// Returns whether all objects of the resource and namespace are meant.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Returns whether an object is one of them.
    pub fn has(&self, key: &Key, object: &Json) -> bool {
        let label = |name: &str| object["metadata"]["labels"].get(name).and_then(Json::as_str);
        let field = |name: &str| match name {
            "metadata.name" => Some(key.name.as_str()),
            "metadata.namespace" => Some(key.namespace.as_str()),
            _ => object.get(name).and_then(Json::as_str),
        };
        self.group == key.group
            && self.plural == key.plural
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
            && self.labels.iter().all(|label_| label_.holds(label(label_.name())))
            && self.fields.iter().all(|field_| field_.holds(field(field_.name())))
    }
}

impl Requirement {
    fn name(&self) -> &str {
        match self {
            Self::Absent(name) | Self::Exists(name) | Self::In(name, _) | Self::NotIn(name, _) => name,
        }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let among = |values: &[String]| value.is_some_and(|value| values.iter().any(|other| other == value));
        match self {
            Self::Absent(_) => value.is_none(),
            Self::Exists(_) => value.is_some(),
            Self::In(_, values) => among(values),
            Self::NotIn(_, values) => !among(values),
        }
    }
}

/// Reads a selector.
fn requirements(text: &str) -> Result<Vec<Requirement>, Refusal> {
    let mut depth = 0;
    let parts = text.split(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(requirement).collect()
}

/// Reads a part of a selector.
fn requirement(text: &str) -> Result<Requirement, Refusal> {
    let set = |list: &str| {
        let list = list.trim().strip_prefix('(').and_then(|list| list.strip_suffix(')'));
        let list =
            list.ok_or_else(|| Refusal::bad_request(format!("unable to parse requirement: {text}")))?;
        Ok(list.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    let name = |name: &str| name.trim().to_owned();
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some((key, list)) = text.split_once(" notin ") {
        return Ok(Requirement::NotIn(name(key), set(list)?));
    }
    if let Some((key, list)) = text.split_once(" in ") {
        return Ok(Requirement::In(name(key), set(list)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(name(key), one(value)));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(name(key), one(value)));
    }
    match text.strip_prefix('!') {
        Some(key) => Ok(Requirement::Absent(name(key))),
        None => Ok(Requirement::Exists(name(text))),
    }
}

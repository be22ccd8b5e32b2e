//! Which manager owns which fields of an object: `metadata.managedFields`, and server-side apply.
//!
//! Maps are owned by the entry and lists as a whole, but for `ownerReferences` (by uid) and `finalizers` (by value).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::refusal::Refusal;
use super::resource::Resource;

/// Somebody who writes objects, as `managedFields` tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The name.
    pub name: String,
    /// Whether the fields were applied.
    pub applies: bool,
    /// The version of the object that was sent.
    pub api_version: String,
    /// Whether the subresource `status` was written.
    pub status: bool,
}

/// The fields of each manager, with the time of its last write.
#[derive(Debug, Default)]
pub struct Managed(BTreeMap<Manager, (Fields, String)>);

/// A set of fields, each as the path to it.
type Fields = BTreeSet<Path>;

/// The way to a field, in the words of `FieldsV1`.
type Path = Vec<String>;

impl Managed {
    /// Reads the managers of an object.
    pub fn of(object: &Json) -> Self {
        let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let text = |entry: &Json, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let read = |entry: &Json| {
            let mut fields = Fields::new();
            read_fields(&entry["fieldsV1"], &mut Path::new(), &mut fields);
            let manager = Manager {
                name: text(entry, "manager"),
                applies: entry["operation"] == "Apply",
                api_version: text(entry, "apiVersion"),
                status: entry["subresource"] == "status",
            };
            (manager, (fields, text(entry, "time")))
        };
        Self(entries.map(read).collect())
    }

    /// Writes the managers into an object.
    pub fn write(&self, object: &mut Json) {
        let entry = |(manager, (fields, time)): (&Manager, &(Fields, String))| {
            let mut entry = json!({
                "manager": manager.name, "operation": if manager.applies { "Apply" } else { "Update" },
                "apiVersion": manager.api_version, "time": time, "fieldsType": "FieldsV1",
                "fieldsV1": written_fields(fields),
            });
            if manager.status {
                entry["subresource"] = json!("status");
            }
            entry
        };
        let entries: Vec<Json> =
            self.0.iter().filter(|(_, (fields, _))| !fields.is_empty()).map(entry).collect();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
            if !entries.is_empty() {
                metadata.insert("managedFields".to_owned(), entries.into());
            }
        }
    }

    /// Notes that a manager made one object of another without applying.
    pub fn update(&mut self, resource: &Resource, manager: &Manager, old: &Json, new: &Json, now: &str) {
        let (before, after) = (fields(resource, manager.status, old), fields(resource, manager.status, new));
        let written: Fields = after.iter().filter(|path| at(old, path) != at(new, path)).cloned().collect();
        let is_gone = |path: &Path| before.contains(path) && !after.contains(path);
        for (other, (owned, _)) in &mut self.0 {
            owned.retain(|path| !is_gone(path) && (other == manager || !written.contains(path)));
        }
        if !written.is_empty() {
            let (owned, time) = self.0.entry(manager.clone()).or_default();
            owned.extend(written);
            now.clone_into(time);
        }
    }

    /// Applies what a manager wants to a live object.
    ///
    /// # Errors
    /// If other managers want something else, and it is not forced.
    pub fn apply(
        &mut self,
        resource: &Resource,
        manager: &Manager,
        live: &mut Json,
        applied: &Json,
        force: bool,
        now: &str,
    ) -> Result<(), Refusal> {
        let wanted = fields(resource, manager.status, applied);
        let changed: Fields = wanted.iter().filter(|path| differs(live, applied, path)).cloned().collect();
        let others = self.0.iter().filter(|(other, _)| *other != manager);
        let conflicts: Vec<(String, String)> = others
            .flat_map(|(other, (owned, _))| {
                owned.intersection(&changed).map(|path| (other.text(), shown(path)))
            })
            .collect();
        if !conflicts.is_empty() && !force {
            return Err(Refusal::apply_conflict(&conflicts));
        }
        for (other, (owned, _)) in &mut self.0 {
            owned.retain(|path| other == manager || !changed.contains(path));
        }
        for path in &changed {
            set(live, path, at(applied, path).cloned().unwrap_or_default());
        }
        let before = self.0.remove(manager).unwrap_or_default();
        for path in before.0.difference(&wanted) {
            let is_shared = self.0.values().any(|(owned, _)| owned.contains(path));
            let is_parent = wanted.iter().any(|other| other.starts_with(path));
            if !is_shared && !is_parent {
                remove(live, path);
            }
        }
        let time = if before.0 == wanted && changed.is_empty() { before.1 } else { now.to_owned() };
        self.0.insert(manager.clone(), (wanted, time));
        Ok(())
    }
}

impl Manager {
    /// What conflicts call it.
    fn text(&self) -> String {
        let Self { name, applies, api_version, status } = self;
        match (applies, status) {
            (true, _) => format!("{name:?}"),
            (false, false) => format!("{name:?} using {api_version}"),
            (false, true) => format!("{name:?} with subresource \"status\" using {api_version}"),
        }
    }
}

/// The fields of an object that can have an owner.
fn fields(resource: &Resource, status: bool, object: &Json) -> Fields {
    let mut all = Fields::new();
    collect(object, &mut Path::new(), &mut all);
    let is_counted = |path: &Path| match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["f:apiVersion" | "f:kind"] | ["f:metadata"] => false,
        ["f:metadata", field, ..] if SYSTEM_FIELDS.contains(field) => false,
        ["f:status", ..] => status || !resource.custom,
        _ => !(status && resource.custom),
    };
    all.retain(is_counted);
    all
}

/// Collects the fields of a value.
fn collect(value: &Json, path: &mut Path, all: &mut Fields) {
    match value {
        Json::Null => {}
        Json::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                path.push(format!("f:{name}"));
                match value {
                    Json::Array(items) if is_keyed(path) && !items.is_empty() => {
                        let item = |item: &Json| path.iter().cloned().chain([step(item)]).collect::<Path>();
                        all.extend(items.iter().map(item));
                    }
                    value => collect(value, path, all),
                }
                path.pop();
            }
        }
        _ => drop(all.insert(path.clone())),
    }
}

/// Returns whether the items of a list have owners of their own.
fn is_keyed(path: &Path) -> bool {
    matches!(path.as_slice(), [metadata, list] if metadata == "f:metadata"
        && (list == "f:ownerReferences" || list == "f:finalizers"))
}

/// The step to an item of a list.
fn step(item: &Json) -> String {
    match item.get("uid") {
        Some(uid) => format!("k:{}", json!({"uid": uid})),
        None => format!("v:{item}"),
    }
}

/// Returns whether to apply a field changes it.
fn differs(live: &Json, applied: &Json, path: &Path) -> bool {
    match (at(live, path), at(applied, path)) {
        (Some(Json::Object(_)), Some(Json::Object(wanted))) if wanted.is_empty() => false,
        (live, applied) => live != applied,
    }
}

/// Returns what is at a path.
fn at<'a>(object: &'a Json, path: &[String]) -> Option<&'a Json> {
    path.iter().try_fold(object, |value, name| match (name.strip_prefix("f:"), value) {
        (Some(name), Json::Object(map)) => map.get(name),
        (None, Json::Array(items)) => items.iter().find(|item| step(item) == *name),
        _ => None,
    })
}

/// Sets what is at a path, and makes the way there.
fn set(object: &mut Json, path: &[String], value: Json) {
    let Some((first, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if let Some(name) = first.strip_prefix("f:") {
        if !object.is_object() {
            *object = Json::Object(Map::new());
        }
        set(&mut object[name], rest, value);
        return;
    }
    if !object.is_array() {
        *object = json!([]);
    }
    if let Some(items) = object.as_array_mut() {
        match items.iter_mut().find(|item| step(item) == *first) {
            Some(item) => *item = value,
            None => items.push(value),
        }
    }
}

/// Removes what is at a path, and lists and maps of the metadata that are empty then.
fn remove(object: &mut Json, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let pointer: String = parents.iter().map(|step| format!("/{}", escaped(step))).collect();
    let is_empty = match (object.pointer_mut(&pointer), last.strip_prefix("f:")) {
        (Some(Json::Object(map)), Some(name)) => {
            map.shift_remove(name);
            map.is_empty()
        }
        (Some(Json::Array(items)), None) => {
            items.retain(|item| step(item) != *last);
            items.is_empty()
        }
        _ => false,
    };
    if is_empty && parents.len() == 2 && parents[0] == "f:metadata" {
        remove(object, parents);
    }
}

/// A step as a part of a JSON pointer.
fn escaped(step: &str) -> String {
    step.trim_start_matches("f:").replace('~', "~0").replace('/', "~1")
}

/// How conflicts show a field.
fn shown(path: &Path) -> String {
    let step = |step: &String| match step.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some((_, item)) => format!("[{}]", item.trim_matches(['{', '}']).replace(':', "=")),
        None => String::new(),
    };
    path.iter().map(step).collect()
}

/// Reads `FieldsV1`.
fn read_fields(value: &Json, path: &mut Path, fields: &mut Fields) {
    let map = value.as_object();
    if map.is_none_or(Map::is_empty) && !path.is_empty() {
        fields.insert(path.clone());
    }
    for (step, value) in map.into_iter().flatten() {
        if step == "." {
            fields.insert(path.clone());
            continue;
        }
        path.push(step.clone());
        read_fields(value, path, fields);
        path.pop();
    }
}

/// Writes `FieldsV1`.
fn written_fields(fields: &Fields) -> Json {
    let mut root = json!({});
    for path in fields {
        let mut place = &mut root;
        for step in path {
            place = &mut place[step];
            if !place.is_object() {
                *place = json!({});
            }
        }
        let is_parent = fields.iter().any(|other| other.len() > path.len() && other.starts_with(path));
        if is_parent {
            place["."] = json!({});
        }
    }
    root
}

/// Fields of the metadata that are those of the API server.
const SYSTEM_FIELDS: [&str; 10] = [
    "f:creationTimestamp",
    "f:deletionGracePeriodSeconds",
    "f:deletionTimestamp",
    "f:generation",
    "f:managedFields",
    "f:name",
    "f:namespace",
    "f:resourceVersion",
    "f:selfLink",
    "f:uid",
];

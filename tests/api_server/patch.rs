//! Patches of objects: merge patches (RFC 7396) and JSON patches (RFC 6902).

use serde_json::{Map, Value as Json};

/// Merges a patch into a value.
pub fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    for (name, value) in fields {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.shift_remove(name);
            }
        } else {
            merge(&mut target[name], value);
        }
    }
}

/// Applies the operations of a JSON patch, all or nothing; `None` if one cannot be, or a test fails.
pub fn apply(target: &Json, patch: &Json) -> Option<Json> {
    let mut result = target.clone();
    for operation in patch.as_array()? {
        let path = operation["path"].as_str()?;
        let from = operation["from"].as_str();
        match operation["op"].as_str()? {
            "add" => add(&mut result, path, operation.get("value")?.clone())?,
            "copy" => {
                let value = result.pointer(from?)?.clone();
                add(&mut result, path, value)?;
            }
            "move" => {
                let value = remove(&mut result, from?)?;
                add(&mut result, path, value)?;
            }
            "remove" => drop(remove(&mut result, path)?),
            "replace" => *result.pointer_mut(path)? = operation.get("value")?.clone(),
            "test" => {
                // A test for null holds where there is nothing, as the API server has it.
                let value = result.pointer(path).unwrap_or(&Json::Null);
                (value == operation.get("value")?).then_some(())?;
            }
            _ => return None,
        }
    }
    Some(result)
}

/// Adds a value at a pointer.
fn add(target: &mut Json, pointer: &str, value: Json) -> Option<()> {
    let Some((parent, name)) = split(pointer) else {
        *target = value;
        return Some(());
    };
    match target.pointer_mut(parent)? {
        Json::Array(items) if name == "-" => items.push(value),
        Json::Array(items) => {
            let index = name.parse().ok().filter(|index| *index <= items.len())?;
            items.insert(index, value);
        }
        Json::Object(map) => drop(map.insert(name, value)),
        _ => return None,
    }
    Some(())
}

/// Removes what is at a pointer, and returns it.
fn remove(target: &mut Json, pointer: &str) -> Option<Json> {
    let (parent, name) = split(pointer)?;
    match target.pointer_mut(parent)? {
        Json::Array(items) => {
            let index = name.parse().ok().filter(|index| *index < items.len())?;
            Some(items.remove(index))
        }
        Json::Object(map) => map.shift_remove(&name),
        _ => None,
    }
}

/// The pointer to what holds a value, and its name there.
fn split(pointer: &str) -> Option<(&str, String)> {
    let (parent, name) = pointer.rsplit_once('/')?;
    Some((parent, name.replace("~1", "/").replace("~0", "~")))
}

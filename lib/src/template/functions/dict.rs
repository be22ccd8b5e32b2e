//! Maps.

use std::collections::HashSet;
use std::rc::Rc;

use crate::template::budget::Limit;
use crate::template::call::{Call, Failure, Machine};
use crate::template::functions::default::is_empty;
use crate::template::functions::strings::text_of;
use crate::template::semver::Version;
use crate::template::value::{Dict, Element, Text, Value};

type Result = std::result::Result<Value, Failure>;

pub fn dict(call: &mut Call<'_, '_>) -> Result {
    let dict = call.machine.dict()?;
    for pair in call.args.chunks(2) {
        let key = text_of(&pair[0], &mut call.machine.budget)?;
        dict.set(key, pair.get(1).cloned().unwrap_or_else(|| Value::Text(Text::public(""))));
    }
    Ok(Value::Dict(dict))
}

pub fn get(call: &mut Call<'_, '_>) -> Result {
    let value = call.dict(0).and_then(|dict| dict.get(call.text(1)));
    Ok(value.unwrap_or_else(|| Value::Text(Text::public(""))))
}

pub fn set(call: &mut Call<'_, '_>) -> Result {
    let (Some(dict), Value::Text(key)) = (call.dict(0), call.arg(1)) else {
        return Err("assignment to entry in nil map".into());
    };
    dict.set(key, call.arg(2));
    Ok(call.arg(0))
}

pub fn unset(call: &mut Call<'_, '_>) -> Result {
    let Some(dict) = call.dict(0) else { return Ok(Value::Nil) };
    dict.unset(call.text(1));
    Ok(call.arg(0))
}

pub fn has_key(call: &mut Call<'_, '_>) -> Result {
    Ok(call.dict(0).is_some_and(|dict| dict.get(call.text(1)).is_some()).into())
}

pub fn pluck(call: &mut Call<'_, '_>) -> Result {
    let dicts = (1..call.args.len()).filter_map(|index| call.dict(index));
    let values = dicts.filter_map(|dict| dict.get(call.text(0))).collect();
    Ok(call.machine.list(Element::Any, values)?)
}

/// Go returns them in any order; these are sorted, map by map.
pub fn keys(call: &mut Call<'_, '_>) -> Result {
    let dicts = (0..call.args.len()).filter_map(|index| call.dict(index));
    let keys = dicts.flat_map(Dict::entries).map(|(key, _)| Value::Text(key)).collect();
    Ok(call.machine.list(Element::Text, keys)?)
}

/// Go returns them in any order; these are sorted by key.
pub fn values(call: &mut Call<'_, '_>) -> Result {
    let entries = call.dict(0).map(Dict::entries).unwrap_or_default();
    Ok(call.machine.list(Element::Any, entries.into_iter().map(|(_, value)| value).collect())?)
}

pub fn pick(call: &mut Call<'_, '_>) -> Result {
    let picked = call.machine.dict()?;
    let Some(dict) = call.dict(0) else { return Ok(Value::Dict(picked)) };
    for key in call.args.iter().skip(1) {
        if let Value::Text(key) = key
            && let Some(value) = dict.get(key.bytes())
        {
            picked.set(key.clone(), value);
        }
    }
    Ok(Value::Dict(picked))
}

pub fn omit(call: &mut Call<'_, '_>) -> Result {
    let kept = call.machine.dict()?;
    let omitted: HashSet<&[u8]> = (1..call.args.len()).map(|index| call.text(index)).collect();
    let entries = call.dict(0).map(Dict::entries).unwrap_or_default();
    for (key, value) in entries.iter().filter(|(key, _)| !omitted.contains(key.bytes())) {
        kept.set(key.clone(), value.clone());
    }
    call.machine.budget.steps(entries.len())?;
    Ok(Value::Dict(kept))
}

pub fn merge(call: &mut Call<'_, '_>) -> Result {
    merge_all(call, false)
}

pub fn merge_overwrite(call: &mut Call<'_, '_>) -> Result {
    merge_all(call, true)
}

fn merge_all(call: &mut Call<'_, '_>, overwrites: bool) -> Result {
    let mut target = call.dict(0).cloned();
    for index in 1..call.args.len() {
        let Some(source) = call.dict(index) else { continue };
        let target = match &mut target {
            Some(target) => target,
            none => none.insert(call.machine.dict()?),
        };
        merge_into(target, source.entries(), overwrites, 0, call.machine)?;
    }
    Ok(target.map_or(Value::Nil, Value::Dict))
}

/// Merges as mergo does: what is empty in the target counts as not there, maps are merged in place, and
/// maps that the target has not are shared with it.
fn merge_into(
    target: &Dict,
    entries: Vec<(Text, Value)>,
    overwrites: bool,
    depth: usize,
    machine: &mut Machine<'_>,
) -> std::result::Result<(), Failure> {
    machine.budget.fits_depth(depth)?;
    machine.budget.steps(entries.len() + 1)?;
    for (key, value) in entries {
        let old = target.get(key.bytes());
        match (&old, &value) {
            (Some(Value::Dict(old)), Value::Dict(value)) => {
                if !old.is(value) {
                    merge_into(old, value.entries(), overwrites, depth + 1, machine)?;
                }
                continue;
            }
            (Some(Value::Dict(old)), Value::Map(value)) => {
                let entries = value.iter().map(|(key, text)| (key.clone(), Value::Text(text.clone())));
                merge_into(old, entries.collect(), overwrites, depth + 1, machine)?;
                continue;
            }
            (Some(Value::Map(old)), Value::Dict(value)) => {
                let value = value.borrow();
                let mut set = value.iter().filter(|(_, value)| overwrites || !value.is_nil());
                if set.any(|(key, _)| overwrites || old.get(key).is_none_or(|text| text.bytes().is_empty())) {
                    return Err(NO_TEXT.into());
                }
                continue;
            }
            (Some(Value::Map(old)), Value::Map(value)) => {
                // Go changes the old map itself, which others that have it would see.
                let mut merged = (**old).clone();
                for (key, text) in value.iter() {
                    let is_new = merged.get(key).is_none_or(|text| text.bytes().is_empty());
                    if overwrites || is_new {
                        merged.insert(key.clone(), text.clone());
                    }
                }
                machine.budget.steps(merged.len() + value.len())?;
                target.set(key, Value::Map(Rc::new(merged)));
                continue;
            }
            _ => {}
        }
        let is_new = match &old {
            None => !value.is_nil(),
            Some(old) => is_empty(old)? && !value.is_nil(),
        };
        if overwrites || is_new {
            target.set(key, value);
        }
    }
    Ok(())
}

pub fn deep_copy(call: &mut Call<'_, '_>) -> Result {
    let value = call.arg(0);
    if value.is_nil() {
        return Err("reflect: call of reflect.Value.Type on zero Value".into());
    }
    Ok(copy(&value, 0, call.machine)?)
}

fn copy(value: &Value, depth: usize, machine: &mut Machine<'_>) -> std::result::Result<Value, Limit> {
    machine.budget.steps(1)?;
    machine.budget.fits_depth(depth)?;
    match value {
        Value::Dict(dict) => {
            let copied = machine.dict()?;
            for (key, value) in dict.entries() {
                copied.set(key, copy(&value, depth + 1, machine)?);
            }
            Ok(Value::Dict(copied))
        }
        Value::List(list) => {
            let mut items = Vec::with_capacity(list.items.len());
            for item in &list.items {
                items.push(copy(item, depth + 1, machine)?);
            }
            if list.is_nil { Ok(Machine::nil_list(list.element)) } else { machine.list(list.element, items) }
        }
        // What copies for sprig copies no field of a version.
        Value::Version(version) => {
            let none = Version { is_pointer: version.is_pointer, ..version.with(0, 0, 0) };
            Ok(Value::Version(Rc::new(Version { original: String::new(), ..none })))
        }
        other => Ok(other.clone()),
    }
}

pub fn dig(call: &mut Call<'_, '_>) -> Result {
    let Some(count) = call.args.len().checked_sub(2).filter(|count| *count > 0) else {
        return Err("dig needs at least three arguments".into());
    };
    let (keys, rest) = call.args.split_at(count);
    let mut value = rest[1].clone();
    if !matches!(value, Value::Dict(_)) {
        return Err(conversion(&value, "map[string]interface {}"));
    }
    if let Some(key) = keys.iter().find(|key| !matches!(key, Value::Text(_))) {
        return Err(conversion(key, "string"));
    }
    for key in keys {
        let Value::Dict(dict) = &value else { return Err(conversion(&value, "map[string]interface {}")) };
        let Value::Text(key) = key else { return Err(conversion(key, "string")) };
        match dict.get(key.bytes()) {
            None => return Ok(rest[0].clone()),
            Some(next) => value = next,
        }
    }
    Ok(value)
}

fn conversion(value: &Value, wanted: &str) -> Failure {
    let found = if value.is_nil() { "nil" } else { value.type_name() };
    format!("interface conversion: interface {{}} is {found}, not {wanted}").into()
}

/// What Go says where a map of texts is to hold something else.
const NO_TEXT: &str =
    "reflect.Value.SetMapIndex: value of type interface {} is not assignable to type string";

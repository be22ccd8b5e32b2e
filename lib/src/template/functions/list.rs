//! Lists.
//!
//! Invariant: no function changes a list that it is given.

use crate::template::budget::Limit;
use crate::template::call::{Call, Failure, Machine};
use crate::template::functions::default::{equals, is_empty};
use crate::template::functions::number::to_int64;
use crate::template::functions::strings::{strings_of, text_of};
use crate::template::value::{Element, List, Value};

type Result = std::result::Result<Value, Failure>;

pub fn list(call: &mut Call<'_, '_>) -> Result {
    Ok(call.machine.list(Element::Any, call.args.to_vec())?)
}

pub fn append(call: &mut Call<'_, '_>) -> Result {
    let mut items = items_of(call, 0, "Cannot push on type")?;
    items.push(call.arg(1));
    Ok(call.machine.list(Element::Any, items)?)
}

pub fn prepend(call: &mut Call<'_, '_>) -> Result {
    let mut items = vec![call.arg(1)];
    items.extend(items_of(call, 0, "Cannot prepend on type")?);
    Ok(call.machine.list(Element::Any, items)?)
}

pub fn chunk(call: &mut Call<'_, '_>) -> Result {
    let items = items_of(call, 1, "Cannot chunk type")?;
    let size = match call.int(0) {
        size @ 1.. => size as usize,
        size => return chunk_by_negative(call, &items, size.unsigned_abs() as usize),
    };
    let mut chunks = Vec::new();
    for chunk in items.chunks(size) {
        chunks.push(call.machine.list(Element::Any, chunk.to_vec())?);
    }
    Ok(call.machine.list(Element::List, chunks)?)
}

/// What comes of how sprig counts chunks, where their size is negative or zero.
fn chunk_by_negative(call: &mut Call<'_, '_>, items: &[Value], size: usize) -> Result {
    let chunks = match items.len() {
        1 if size > 1 => vec![call.machine.list(Element::Any, items.to_vec())?],
        2.. if items.len() - 1 <= size => Vec::new(),
        _ => return Err("runtime error: makeslice: len out of range".into()),
    };
    Ok(call.machine.list(Element::List, chunks)?)
}

pub fn first(call: &mut Call<'_, '_>) -> Result {
    Ok(items_of(call, 0, "Cannot find first on type")?.first().cloned().unwrap_or(Value::Nil))
}

pub fn last(call: &mut Call<'_, '_>) -> Result {
    Ok(items_of(call, 0, "Cannot find last on type")?.last().cloned().unwrap_or(Value::Nil))
}

pub fn rest(call: &mut Call<'_, '_>) -> Result {
    let items = items_of(call, 0, "Cannot find rest on type")?;
    match items.split_first() {
        None => Ok(Machine::nil_list(Element::Any)),
        Some((_, rest)) => Ok(call.machine.list(Element::Any, rest.to_vec())?),
    }
}

pub fn initial(call: &mut Call<'_, '_>) -> Result {
    let items = items_of(call, 0, "Cannot find initial on type")?;
    match items.split_last() {
        None => Ok(Machine::nil_list(Element::Any)),
        Some((_, initial)) => Ok(call.machine.list(Element::Any, initial.to_vec())?),
    }
}

pub fn sort_alpha(call: &mut Call<'_, '_>) -> Result {
    let value = call.arg(0);
    // As in `toStrings`, a nil list of texts stays nil.
    if matches!(&value, Value::List(list) if list.is_nil && list.element == Element::Text) {
        return Ok(value);
    }
    let mut texts = if let Value::List(_) = value {
        strings_of(&value, &mut call.machine.budget)?
    } else {
        vec![text_of(&value, &mut call.machine.budget)?]
    };
    texts.sort();
    Ok(call.machine.list(Element::Text, texts.into_iter().map(Value::Text).collect())?)
}

pub fn reverse(call: &mut Call<'_, '_>) -> Result {
    let mut items = items_of(call, 0, "Cannot find reverse on type")?;
    items.reverse();
    Ok(call.machine.list(Element::Any, items)?)
}

pub fn compact(call: &mut Call<'_, '_>) -> Result {
    let mut kept = Vec::new();
    for item in items_of(call, 0, "Cannot compact on type")? {
        if !is_empty(&item)? {
            kept.push(item);
        }
    }
    Ok(call.machine.list(Element::Any, kept)?)
}

pub fn uniq(call: &mut Call<'_, '_>) -> Result {
    let mut kept = Vec::new();
    for item in items_of(call, 0, "Cannot find uniq on type")? {
        if !contains(&kept, &item, call.machine)? {
            kept.push(item);
        }
    }
    Ok(call.machine.list(Element::Any, kept)?)
}

pub fn without(call: &mut Call<'_, '_>) -> Result {
    let items = items_of(call, 0, "Cannot find without on type")?;
    let omitted = call.args.get(1..).unwrap_or_default();
    let mut kept = Vec::new();
    for item in items {
        if !contains(omitted, &item, call.machine)? {
            kept.push(item);
        }
    }
    Ok(call.machine.list(Element::Any, kept)?)
}

pub fn has(call: &mut Call<'_, '_>) -> Result {
    if call.arg(1).is_nil() {
        return Ok(Value::Bool(false));
    }
    let items = items_of(call, 1, "Cannot find has on type")?;
    let needle = call.arg(0);
    Ok(contains(&items, &needle, call.machine)?.into())
}

pub fn slice(call: &mut Call<'_, '_>) -> Result {
    let value = call.arg(0);
    let Value::List(list) = &value else {
        return Err(type_failure("list should be type of slice or array but", &value));
    };
    let length = list.items.len() as i64;
    if length == 0 {
        return Ok(Value::Nil);
    }
    let start = call.args.get(1).map_or(0, to_int64);
    let end = call.args.get(2).map_or(length, to_int64);
    // Go may go beyond the length, up to a capacity that nobody knows.
    if start < 0 || start > end || end > length {
        return Err("reflect.Value.Slice: slice index out of bounds".into());
    }
    let items = list.items[start as usize..end as usize].to_vec();
    Ok(call.machine.list(list.element, items)?)
}

pub fn concat(call: &mut Call<'_, '_>) -> Result {
    let mut all = Vec::new();
    for value in call.args {
        match value {
            Value::List(list) => {
                call.machine.budget.steps(list.items.len())?;
                all.extend(list.items.iter().cloned());
            }
            value if value.is_nil() => return Err(NIL.into()),
            value => return Err(format!("Cannot concat type {} as list", value.kind_name()).into()),
        }
    }
    if all.is_empty() {
        return Ok(Machine::nil_list(Element::Any));
    }
    Ok(call.machine.list(Element::Any, all)?)
}

/// Returns the items of a list.
fn items_of(
    call: &mut Call<'_, '_>,
    index: usize,
    complaint: &str,
) -> std::result::Result<Vec<Value>, Failure> {
    let value = call.arg(index);
    match &value {
        Value::List(list) => {
            let list: &List = list;
            call.machine.budget.steps(list.items.len())?;
            Ok(list.items.clone())
        }
        other => Err(type_failure(complaint, other)),
    }
}

fn type_failure(complaint: &str, value: &Value) -> Failure {
    if value.is_nil() { NIL.into() } else { format!("{complaint} {}", value.kind_name()).into() }
}

fn contains(items: &[Value], needle: &Value, machine: &mut Machine<'_>) -> std::result::Result<bool, Limit> {
    for item in items {
        if equals(needle, item, 0, &mut machine.budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What Go says where sprig asks nil for its type.
const NIL: &str = "runtime error: invalid memory address or nil pointer dereference";

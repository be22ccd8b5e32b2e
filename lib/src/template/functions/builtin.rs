//! The functions that Go itself has. `slice` is that of sprig.

use crate::secret::SecretBytes;
use crate::template::call::{Call, Failure, HIDDEN};
use crate::template::value::{Element, Text, Value};
use crate::template::{print as printing, rune};

type Result = std::result::Result<Value, Failure>;

/// Stands for `and`, `call` and `or`, which are run where their arguments are evaluated.
pub fn never(_: &mut Call<'_, '_>) -> Result {
    Err("it is not called like other functions".into())
}

pub fn not(call: &mut Call<'_, '_>) -> Result {
    Ok((!call.arg(0).is_true()).into())
}

pub fn len(call: &mut Call<'_, '_>) -> Result {
    let length = match call.args.first() {
        Some(Value::Dict(dict)) => dict.borrow().len(),
        Some(Value::List(list)) => list.items.len(),
        Some(Value::Map(map)) => map.len(),
        Some(Value::Nil) => return Err("len of nil pointer".into()),
        Some(Value::Text(text)) => text.bytes().len(),
        None | Some(Value::Missing) => return Err("reflect: call of reflect.Value.Type on zero Value".into()),
        Some(Value::Version(_)) => return Err("len of type semver.Version".into()),
        Some(other) => return Err(format!("len of type {}", other.type_name()).into()),
    };
    Ok(Value::Int(length as i64))
}

pub fn index(call: &mut Call<'_, '_>) -> Result {
    let mut item = call.arg(0);
    if item.is_nil() {
        return Err("index of untyped nil".into());
    }
    for (position, index) in call.args.iter().enumerate().skip(1) {
        item = match &item {
            Value::Dict(dict) => {
                let key = key_of(index)?;
                dict.get(key.bytes()).unwrap_or(Value::Nil)
            }
            Value::List(list) => {
                let at = position_of(call, position, list.items.len())?;
                match list.items.get(at) {
                    Some(item) => item.clone(),
                    None => return Err(out_of_range("reflect: slice index out of range")),
                }
            }
            Value::Map(map) => {
                let key = key_of(index)?;
                Value::Text(map.get(key.bytes()).cloned().unwrap_or_else(|| Text::public("")))
            }
            Value::Missing | Value::Nil => return Err("index of nil pointer".into()),
            Value::Text(text) => {
                let at = position_of(call, position, text.bytes().len())?;
                match text.bytes().get(at) {
                    Some(byte) => Value::Unsigned8(*byte),
                    None => return Err(out_of_range("reflect: string index out of range")),
                }
            }
            Value::Version(_) => return Err("can't index item of type semver.Version".into()),
            other => return Err(format!("can't index item of type {}", other.type_name()).into()),
        };
    }
    Ok(item)
}

/// What Go says one position behind the end, which its own check lets pass.
fn out_of_range(message: &str) -> Failure {
    message.into()
}

fn key_of(index: &Value) -> std::result::Result<Text, Failure> {
    match index {
        Value::Text(text) => Ok(text.clone()),
        value if value.is_nil() => Err("value is nil; should be of type string".into()),
        value => Err(format!("value has type {}; should be string", value.type_name()).into()),
    }
}

fn position_of(call: &Call<'_, '_>, position: usize, length: usize) -> std::result::Result<usize, Failure> {
    let value = call.arg(position);
    let number = match &value {
        Value::Unsigned(number) => *number as i64,
        other => match other.as_integer() {
            Some(number) => number,
            None if value.is_nil() => return Err("cannot index slice/array with nil".into()),
            None => return Err(format!("cannot index slice/array with type {}", value.type_name()).into()),
        },
    };
    match usize::try_from(number) {
        Ok(at) if at <= length => Ok(at),
        _ => Err(format!("index out of range: {}", call.shown_number(position, number)).into()),
    }
}

pub fn print(call: &mut Call<'_, '_>) -> Result {
    let out = printing::sprint(call.args, &mut call.machine.budget)?;
    call.give(out)
}

pub fn println(call: &mut Call<'_, '_>) -> Result {
    let out = printing::sprintln(call.args, &mut call.machine.budget)?;
    call.give(out)
}

pub fn printf(call: &mut Call<'_, '_>) -> Result {
    let out = printing::sprintf(call.text(0), &call.args[1..], &mut call.machine.budget)?;
    call.give(out)
}

/// Returns the arguments as one text.
fn joined(call: &mut Call<'_, '_>) -> std::result::Result<SecretBytes, Failure> {
    if let [Value::Text(text)] = call.args {
        return Ok(text.bytes().into());
    }
    let no_value = || Value::Text(Text::public("<no value>"));
    let args: Vec<Value> =
        call.args.iter().map(|value| if value.is_nil() { no_value() } else { value.clone() }).collect();
    Ok(printing::sprint(&args, &mut call.machine.budget)?)
}

pub fn html(call: &mut Call<'_, '_>) -> Result {
    let text = joined(call)?;
    let mut out = SecretBytes::with_capacity(text.len());
    for &byte in text.expose_secret() {
        match byte {
            b'\0' => rune::push(&mut out, rune::ERROR),
            b'"' => out.push_str("&#34;"),
            b'&' => out.push_str("&amp;"),
            b'\'' => out.push_str("&#39;"),
            b'<' => out.push_str("&lt;"),
            b'>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    call.give(out)
}

pub fn js(call: &mut Call<'_, '_>) -> Result {
    let text = joined(call)?;
    let mut out = SecretBytes::with_capacity(text.len());
    for (at, character, width) in rune::runes(text.expose_secret()) {
        match character {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            '\0'..' ' => out.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ if character.is_ascii() => out.push(text.expose_secret()[at]),
            _ if rune::is_printable(character) => {
                out.extend_from_slice(&text.expose_secret()[at..at + width]);
            }
            _ => out.push_str(&format!("\\u{:04X}", u32::from(character))),
        }
    }
    call.give(out)
}

pub fn urlquery(call: &mut Call<'_, '_>) -> Result {
    let text = joined(call)?;
    let mut out = SecretBytes::with_capacity(text.len());
    for &byte in text.expose_secret() {
        match byte {
            b' ' => out.push(b'+'),
            b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    call.give(out)
}

/// What Go calls the kinds that can be compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Float,
    Int,
    Other,
    Text,
    Unsigned,
}

fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Duration(_) | Value::Int(_) | Value::Int64(_) | Value::Month(_) | Value::Weekday(_) => {
            Kind::Int
        }
        Value::Float(_) => Kind::Float,
        Value::Text(_) => Kind::Text,
        Value::Unsigned(_) | Value::Unsigned8(_) => Kind::Unsigned,
        _ => Kind::Other,
    }
}

fn int_of(value: &Value) -> i128 {
    match value {
        Value::Unsigned(number) => i128::from(*number),
        other => i128::from(other.as_integer().unwrap_or(0)),
    }
}

pub fn eq(call: &mut Call<'_, '_>) -> Result {
    let first = call.arg(0);
    if call.args.len() < 2 {
        return Err("missing argument for comparison".into());
    }
    for other in &call.args[1..] {
        if are_equal(&first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub fn ne(call: &mut Call<'_, '_>) -> Result {
    Ok((!are_equal(&call.arg(0), &call.arg(1))?).into())
}

#[expect(clippy::float_cmp, reason = "Go compares them so")]
fn are_equal(one: &Value, other: &Value) -> std::result::Result<bool, Failure> {
    let kinds = (kind_of(one), kind_of(other));
    Ok(match (one, other) {
        _ if matches!(kinds, (Kind::Int | Kind::Unsigned, Kind::Int | Kind::Unsigned)) => {
            int_of(one) == int_of(other)
        }
        (one, other) if kinds.0 != kinds.1 => {
            if !one.is_nil() && !other.is_nil() {
                return Err(incompatible(one, other));
            }
            false
        }
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Float(one), Value::Float(other)) => one == other,
        (Value::Text(one), Value::Text(other)) => one == other,
        (one, other) => {
            if one.is_nil() || other.is_nil() {
                return Ok(is_go_nil(one) && is_go_nil(other));
            }
            if one.kind_name() != other.kind_name() {
                let (one, other) = (one.type_name(), other.type_name());
                return Err(format!("non-comparable types {HIDDEN}: {one}, {other}: {HIDDEN}").into());
            }
            if is_go_nil(one) || is_go_nil(other) {
                return Ok(is_go_nil(one) && is_go_nil(other));
            }
            match (one, other) {
                (Value::Certificate(one), Value::Certificate(other)) => {
                    one.certificate == other.certificate && one.key == other.key
                }
                (Value::Time(one), Value::Time(other)) => {
                    one.is(other) && one.offset == other.offset && one.zone == other.zone
                }
                (Value::Version(one), Value::Version(other)) => std::rc::Rc::ptr_eq(one, other),
                (_, other) if matches!(other, Value::Dict(_) | Value::List(_) | Value::Map(_)) => {
                    return Err(format!("non-comparable type {HIDDEN}: {}", other.type_name()).into());
                }
                _ => false,
            }
        }
    })
}

fn is_go_nil(value: &Value) -> bool {
    value.is_nil() || matches!(value, Value::List(list) if list.is_nil && list.element != Element::List)
}

fn incompatible(one: &Value, other: &Value) -> Failure {
    let (one, other) = (one.type_name(), other.type_name());
    format!("incompatible types for comparison: {one} and {other}").into()
}

pub fn lt(call: &mut Call<'_, '_>) -> Result {
    Ok(is_less(&call.arg(0), &call.arg(1))?.into())
}

pub fn le(call: &mut Call<'_, '_>) -> Result {
    let (one, other) = (call.arg(0), call.arg(1));
    Ok((is_less(&one, &other)? || are_equal(&one, &other)?).into())
}

pub fn gt(call: &mut Call<'_, '_>) -> Result {
    let (one, other) = (call.arg(0), call.arg(1));
    Ok((!(is_less(&one, &other)? || are_equal(&one, &other)?)).into())
}

pub fn ge(call: &mut Call<'_, '_>) -> Result {
    Ok((!is_less(&call.arg(0), &call.arg(1))?).into())
}

fn is_less(one: &Value, other: &Value) -> std::result::Result<bool, Failure> {
    const BAD: &str = "invalid type for comparison";
    let kinds = (kind_of(one), kind_of(other));
    if kinds.0 == Kind::Other || kinds.1 == Kind::Other {
        return Err(BAD.into());
    }
    if matches!(kinds, (Kind::Int | Kind::Unsigned, Kind::Int | Kind::Unsigned)) {
        return Ok(int_of(one) < int_of(other));
    }
    match (one, other) {
        (Value::Float(one), Value::Float(other)) => Ok(one < other),
        (Value::Text(one), Value::Text(other)) => Ok(one < other),
        (Value::Bool(_), Value::Bool(_)) => Err(BAD.into()),
        (one, other) => Err(incompatible(one, other)),
    }
}

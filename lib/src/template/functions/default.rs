//! Defaults, and questions about types.

use crate::template::budget::{Budget, Limit};
use crate::template::call::{Call, Failure};
use crate::template::value::{Text, Value};

type Result = std::result::Result<Value, Failure>;

pub fn default(call: &mut Call<'_, '_>) -> Result {
    match call.args.get(1) {
        Some(given) if !is_empty(given)? => Ok(given.clone()),
        _ => Ok(call.arg(0)),
    }
}

pub fn empty(call: &mut Call<'_, '_>) -> Result {
    Ok(is_empty(&call.arg(0))?.into())
}

pub fn coalesce(call: &mut Call<'_, '_>) -> Result {
    for value in call.args {
        if !is_empty(value)? {
            return Ok(value.clone());
        }
    }
    Ok(Value::Nil)
}

pub fn all(call: &mut Call<'_, '_>) -> Result {
    for value in call.args {
        if is_empty(value)? {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

pub fn any(call: &mut Call<'_, '_>) -> Result {
    for value in call.args {
        if !is_empty(value)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub fn ternary(call: &mut Call<'_, '_>) -> Result {
    Ok(call.arg(if call.bool(2) { 0 } else { 1 }))
}

pub fn hello(_: &mut Call<'_, '_>) -> Result {
    Ok(Value::Text(Text::public("Hello!")))
}

pub fn fail(call: &mut Call<'_, '_>) -> Result {
    Err(call.shown(0).into())
}

pub fn type_of(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Text(Text::public(name_of(&call.arg(0)))))
}

pub fn type_is(call: &mut Call<'_, '_>) -> Result {
    Ok((call.text(0) == name_of(&call.arg(1)).as_bytes()).into())
}

pub fn type_is_like(call: &mut Call<'_, '_>) -> Result {
    let (target, value) = (call.text(0), call.arg(1));
    let name = name_of(&value).as_bytes();
    Ok((target == name || name.strip_prefix(b"*") == Some(target)).into())
}

pub fn kind_of(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Text(Text::public(call.arg(0).kind_name())))
}

pub fn kind_is(call: &mut Call<'_, '_>) -> Result {
    Ok((call.text(0) == call.arg(1).kind_name().as_bytes()).into())
}

pub fn deep_equal(call: &mut Call<'_, '_>) -> Result {
    let (one, other) = (call.arg(0), call.arg(1));
    Ok(equals(&one, &other, 0, &mut call.machine.budget)?.into())
}

fn name_of(value: &Value) -> &'static str {
    if value.is_nil() { "<nil>" } else { value.type_name() }
}

/// Returns whether sprig takes a value for empty.
pub fn is_empty(value: &Value) -> std::result::Result<bool, Failure> {
    Ok(match value {
        // A struct is never empty, and a pointer is not nil here.
        Value::Certificate(_) | Value::Time(_) | Value::Version(_) => false,
        other => !other.is_true(),
    })
}

/// Compares two values as `reflect.DeepEqual` does: types too.
pub fn equals(
    one: &Value,
    other: &Value,
    depth: usize,
    budget: &mut Budget,
) -> std::result::Result<bool, Limit> {
    budget.steps(1)?;
    budget.fits_depth(depth)?;
    #[expect(clippy::float_cmp, reason = "Go compares them so")]
    Ok(match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Certificate(one), Value::Certificate(other)) => {
            one.certificate == other.certificate && one.key == other.key
        }
        (Value::Dict(one), Value::Dict(other)) => {
            if one.is(other) {
                return Ok(true);
            }
            let (one, other) = (one.entries(), other.entries());
            budget.steps(one.len())?;
            if one.len() != other.len() {
                return Ok(false);
            }
            for ((key, value), (other_key, other_value)) in one.iter().zip(&other) {
                if key != other_key || !equals(value, other_value, depth + 1, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Float(one), Value::Float(other)) => one == other,
        (Value::List(one), Value::List(other)) => {
            if one.element != other.element
                || one.is_nil != other.is_nil
                || one.items.len() != other.items.len()
            {
                return Ok(false);
            }
            for (one, other) in one.items.iter().zip(&other.items) {
                if !equals(one, other, depth + 1, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(one), Value::Map(other)) => {
            budget.steps(one.len())?;
            one == other
        }
        (Value::Text(one), Value::Text(other)) => {
            budget.bytes(one.bytes().len())?;
            one == other
        }
        (Value::Time(one), Value::Time(other)) => {
            one.is(other) && one.offset == other.offset && one.zone == other.zone
        }
        (Value::Unsigned(one), Value::Unsigned(other)) => one == other,
        (Value::Version(one), Value::Version(other)) => one == other,
        (one, other) if one.is_nil() || other.is_nil() => one.is_nil() && other.is_nil(),
        (one, other) => {
            one.type_name() == other.type_name()
                && one.as_integer().is_some()
                && one.as_integer() == other.as_integer()
        }
    })
}

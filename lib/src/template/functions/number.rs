//! Numbers.

use crate::template::budget::Limit;
use crate::template::call::{Call, Failure};
use crate::template::number::{parse_float, parse_int};
use crate::template::print::sprint;
use crate::template::value::{Element, Value};

mod decimal;

use decimal::Decimal;

type Result = std::result::Result<Value, Failure>;

/// Returns a value as an integer, 0 if it is none.
pub fn to_int64(value: &Value) -> i64 {
    match value {
        Value::Bool(value) => i64::from(*value),
        Value::Float(value) => truncated(*value),
        Value::Int(value) | Value::Int64(value) => *value,
        Value::Month(value) | Value::Unsigned8(value) | Value::Weekday(value) => i64::from(*value),
        Value::Text(text) => std::str::from_utf8(without_zero_fraction(text.bytes()))
            .ok()
            .and_then(|text| parse_int(text, 0))
            .unwrap_or(0),
        Value::Unsigned(value) => *value as i64,
        _ => 0,
    }
}

/// Go's conversion on 64-bit processors of Intel: what does not fit becomes the smallest integer.
fn truncated(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// cast: `1.00` counts as 1.
fn without_zero_fraction(text: &[u8]) -> &[u8] {
    let zeros = text.iter().rev().take_while(|&&byte| byte == b'0').count();
    let before = &text[..text.len() - zeros];
    if zeros > 0 { before.strip_suffix(b".").unwrap_or(text) } else { text }
}

/// Returns a value as a number, 0 if it is none.
#[expect(clippy::cast_precision_loss, reason = "Go rounds too")]
pub fn to_float64(value: &Value) -> f64 {
    match value {
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Float(value) => *value,
        Value::Int(value) | Value::Int64(value) => *value as f64,
        Value::Month(value) | Value::Unsigned8(value) | Value::Weekday(value) => f64::from(*value),
        Value::Text(text) => std::str::from_utf8(text.bytes()).ok().and_then(parse_float).unwrap_or(0.0),
        Value::Unsigned(value) => *value as f64,
        _ => 0.0,
    }
}

pub fn atoi(call: &mut Call<'_, '_>) -> Result {
    let number = std::str::from_utf8(call.text(0)).ok().and_then(|text| parse_int(text, 10));
    // Go's `Atoi` returns the nearest integer beside its error, which sprig drops.
    Ok(Value::Int(number.unwrap_or_else(|| nearest(call.text(0)))))
}

fn nearest(text: &[u8]) -> i64 {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    match (is_number, is_negative) {
        (false, _) => 0,
        (true, false) => i64::MAX,
        (true, true) => i64::MIN,
    }
}

pub fn int(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Int(to_int64(&call.arg(0))))
}

pub fn int64(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Int64(to_int64(&call.arg(0))))
}

pub fn float64(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Float(to_float64(&call.arg(0))))
}

pub fn to_decimal(call: &mut Call<'_, '_>) -> Result {
    let text = sprint(&[call.arg(0)], &mut call.machine.budget)?;
    let number = std::str::from_utf8(text.expose_secret()).ok().and_then(|text| parse_int(text, 8));
    Ok(Value::Int64(number.unwrap_or(0)))
}

pub fn add(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Int64(call.args.iter().fold(0, |sum, value| sum.wrapping_add(to_int64(value)))))
}

pub fn add1(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Int64(to_int64(&call.arg(0)).wrapping_add(1)))
}

pub fn sub(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Int64(to_int64(&call.arg(0)).wrapping_sub(to_int64(&call.arg(1)))))
}

pub fn mul(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Int64(call.args.iter().fold(1, |product, value| product.wrapping_mul(to_int64(value)))))
}

pub fn div(call: &mut Call<'_, '_>) -> Result {
    divided(call, i64::wrapping_div)
}

pub fn modulo(call: &mut Call<'_, '_>) -> Result {
    divided(call, i64::wrapping_rem)
}

fn divided(call: &Call<'_, '_>, divide: fn(i64, i64) -> i64) -> Result {
    match to_int64(&call.arg(1)) {
        0 => Err("runtime error: integer divide by zero".into()),
        divisor => Ok(Value::Int64(divide(to_int64(&call.arg(0)), divisor))),
    }
}

pub fn max(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Int64(call.args.iter().map(to_int64).max().unwrap_or(0)))
}

pub fn min(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Int64(call.args.iter().map(to_int64).min().unwrap_or(0)))
}

pub fn maxf(call: &mut Call<'_, '_>) -> Result {
    folded(
        call,
        |one, other| if one > other || (one == other && one.is_sign_positive()) { one } else { other },
    )
}

pub fn minf(call: &mut Call<'_, '_>) -> Result {
    folded(
        call,
        |one, other| if one < other || (one == other && one.is_sign_negative()) { one } else { other },
    )
}

fn folded(call: &Call<'_, '_>, choose: fn(f64, f64) -> f64) -> Result {
    let numbers = call.args.iter().map(to_float64);
    let chosen = numbers.reduce(
        |one, other| {
            if one.is_nan() || other.is_nan() { f64::NAN } else { choose(one, other) }
        },
    );
    Ok(Value::Float(chosen.unwrap_or(0.0)))
}

pub fn floor(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Float(to_float64(&call.arg(0)).floor()))
}

pub fn ceil(call: &mut Call<'_, '_>) -> Result {
    Ok(Value::Float(to_float64(&call.arg(0)).ceil()))
}

pub fn round(call: &mut Call<'_, '_>) -> Result {
    let on = if let Some(Value::Float(on)) = call.args.get(2) { *on } else { 0.5 };
    let places = i32::try_from(call.int(1)).unwrap_or(if call.int(1) < 0 { i32::MIN } else { i32::MAX });
    let power = power_of_ten(places);
    let digit = power * to_float64(&call.arg(0));
    let rounded = if digit.fract() >= on { digit.ceil() } else { digit.floor() };
    Ok(Value::Float(rounded / power))
}

/// Returns the power that reads back from its text, which is the nearest one, as Go's `Pow` has it.
fn power_of_ten(exponent: i32) -> f64 {
    format!("1e{exponent}").parse().unwrap_or(f64::INFINITY)
}

pub fn until(call: &mut Call<'_, '_>) -> Result {
    let end = call.int(0);
    let items = steps(call, 0, end, if end < 0 { -1 } else { 1 })?;
    ints(call, items)
}

pub fn until_step(call: &mut Call<'_, '_>) -> Result {
    let items = steps(call, call.int(0), call.int(1), call.int(2))?;
    ints(call, items)
}

fn ints(call: &mut Call<'_, '_>, items: Vec<i64>) -> Result {
    Ok(call.machine.list(Element::Int, items.into_iter().map(Value::Int).collect())?)
}

/// Counts from a number to another, which is not among them.
fn steps(call: &mut Call<'_, '_>, start: i64, end: i64, step: i64) -> std::result::Result<Vec<i64>, Limit> {
    if step == 0 || (end < start) != (step < 0) {
        return Ok(Vec::new());
    }
    let count = start.abs_diff(end).div_ceil(step.unsigned_abs());
    call.machine.budget.steps(usize::try_from(count).unwrap_or(usize::MAX))?;
    Ok((0..count as i64).map(|index| start.wrapping_add(index.wrapping_mul(step))).collect())
}

pub fn seq(call: &mut Call<'_, '_>) -> Result {
    let sign = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let items = match call.args.len() {
        1 => {
            let (end, step) = (call.int(0), sign(1, call.int(0)));
            steps(call, 1, end.saturating_add(step), step)?
        }
        2 => {
            let (start, end) = (call.int(0), call.int(1));
            let step = sign(start, end);
            steps(call, start, end.saturating_add(step), step)?
        }
        3 => {
            let (start, step, end) = (call.int(0), call.int(1), call.int(2));
            let increment = sign(start, end);
            if increment < 0 && step > 0 {
                return call.give("");
            }
            steps(call, start, end.saturating_add(increment), step)?
        }
        _ => Vec::new(),
    };
    let text = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    call.give(text)
}

pub fn add1f(call: &mut Call<'_, '_>) -> Result {
    decimal(call, call.arg(0), &[Value::Int(1)], |one, other| Ok(one.add(other)))
}

pub fn addf(call: &mut Call<'_, '_>) -> Result {
    decimal(call, Value::Float(0.0), call.args, |one, other| Ok(one.add(other)))
}

pub fn subf(call: &mut Call<'_, '_>) -> Result {
    decimal(call, call.arg(0), &call.args[1..], |one, other| Ok(one.subtract(other)))
}

pub fn mulf(call: &mut Call<'_, '_>) -> Result {
    decimal(call, call.arg(0), &call.args[1..], |one, other| Ok(one.multiply(other)))
}

pub fn divf(call: &mut Call<'_, '_>) -> Result {
    decimal(call, call.arg(0), &call.args[1..], |one, other| one.divide(other).ok_or("decimal division by 0"))
}

type Operation = fn(&Decimal, &Decimal) -> std::result::Result<Decimal, &'static str>;

/// Computes with decimal digits, as sprig does.
fn decimal(call: &mut Call<'_, '_>, first: Value, rest: &[Value], operation: Operation) -> Result {
    let of = |value: &Value| {
        let number = to_float64(value);
        Decimal::of(number).ok_or_else(|| {
            let name = if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            };
            Failure::from(format!("Cannot create a Decimal from {name}"))
        })
    };
    let mut result = of(&first)?;
    for value in rest {
        // Digits add up, so that each operation takes longer than the one before.
        call.machine.budget.steps(2 + result.size() / 8)?;
        call.machine.budget.value(result.size())?;
        result = operation(&result, &of(value)?)?;
    }
    Ok(Value::Float(result.to_float()))
}

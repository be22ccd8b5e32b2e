//! The methods of values, which fields of that name call. The value itself is the first argument.

use crate::template::call::{Body, Call, Failure, Function, Signature, Type};
use crate::template::print::string_of;
use crate::template::semver::{Version, compare};
use crate::template::time::{SECOND, Time, days_since_1970, round_duration, truncate_duration};
use crate::template::value::Value;

type Result = std::result::Result<Value, Failure>;

/// Returns a method of a value.
pub fn find(value: &Value, name: &str) -> Option<&'static Function> {
    let methods = match value {
        Value::Duration(_) => DURATION,
        Value::Month(_) | Value::Weekday(_) => NAMED,
        Value::Time(_) => TIME,
        Value::Version(_) => VERSION,
        _ => return None,
    };
    methods.iter().find(|method| method.name == name)
}

const fn method(name: &'static str, fixed: &'static [Type], body: Body) -> Function {
    Function { name, signature: Signature { fixed, rest: None }, body, is_pure: false }
}

const D: Type = Type::Duration;
const I: Type = Type::Int;
const S: Type = Type::Text;
const T: Type = Type::Time;
const V: Type = Type::Version;

static DURATION: &[Function] = &[
    method("Abs", &[], |call| Ok(Value::Duration(call.int(0).saturating_abs()))),
    method("Hours", &[], |call| parts(call, 3600 * SECOND)),
    method("Microseconds", &[], |call| Ok(Value::Int64(call.int(0) / 1_000))),
    method("Milliseconds", &[], |call| Ok(Value::Int64(call.int(0) / 1_000_000))),
    method("Minutes", &[], |call| parts(call, 60 * SECOND)),
    method("Nanoseconds", &[], |call| Ok(Value::Int64(call.int(0)))),
    method("Round", &[D], |call| Ok(Value::Duration(round_duration(call.int(0), call.int(1))))),
    method("Seconds", &[], |call| parts(call, SECOND)),
    method("String", &[], text),
    method("Truncate", &[D], |call| Ok(Value::Duration(truncate_duration(call.int(0), call.int(1))))),
];

static NAMED: &[Function] = &[method("String", &[], text)];

static TIME: &[Function] = &[
    method("Add", &[D], |call| time(call.time(0).plus(call.int(1)))),
    method("AddDate", &[I, I, I], add_date),
    method("After", &[T], |call| Ok((call.time(0).instant() > call.time(1).instant()).into())),
    method("Before", &[T], |call| Ok((call.time(0).instant() < call.time(1).instant()).into())),
    method("Compare", &[T], |call| {
        Ok(Value::Int(call.time(0).instant().cmp(&call.time(1).instant()) as i64))
    }),
    method("Day", &[], |call| Ok(Value::Int(call.time(0).civil().day))),
    method("Equal", &[T], |call| Ok(call.time(0).is(&call.time(1)).into())),
    method("Format", &[S], |call| {
        let text = call.time(0).format(call.text(1));
        call.give(text)
    }),
    method("Hour", &[], |call| Ok(Value::Int(call.time(0).civil().hour))),
    method("IsDST", &[], |_| Ok(Value::Bool(false))),
    method("IsZero", &[], |call| Ok(call.time(0).is(&Time::zero()).into())),
    method("Local", &[], |call| time(call.time(0).in_zone(0, "UTC"))),
    method("Minute", &[], |call| Ok(Value::Int(call.time(0).civil().minute))),
    method("Month", &[], |call| Ok(Value::Month(call.time(0).civil().month as u8))),
    method("Nanosecond", &[], |call| Ok(Value::Int(i64::from(call.time(0).nanoseconds)))),
    method("Round", &[D], |call| rounded(call, round_duration)),
    method("Second", &[], |call| Ok(Value::Int(call.time(0).civil().second))),
    method("String", &[], text),
    method("Sub", &[T], |call| Ok(Value::Duration(call.time(0).since(&call.time(1))))),
    method("Truncate", &[D], |call| rounded(call, truncate_duration)),
    method("UTC", &[], |call| time(call.time(0).in_zone(0, "UTC"))),
    method("Unix", &[], |call| Ok(Value::Int64(call.time(0).seconds))),
    method("UnixMicro", &[], |call| unix(call, 1_000)),
    method("UnixMilli", &[], |call| unix(call, 1_000_000)),
    method("UnixNano", &[], |call| unix(call, 1)),
    method("Weekday", &[], |call| Ok(Value::Weekday(call.time(0).civil().weekday as u8))),
    method("Year", &[], |call| Ok(Value::Int(call.time(0).civil().year))),
    method("YearDay", &[], |call| Ok(Value::Int(call.time(0).civil().day_of_year))),
];

static VERSION: &[Function] = &[
    method("Compare", &[V], |call| with_two(call, |one, other| Value::Int(compare(one, other) as i64))),
    method("Equal", &[V], |call| with_two(call, |one, other| compare(one, other).is_eq().into())),
    method("GreaterThan", &[V], |call| with_two(call, |one, other| compare(one, other).is_gt().into())),
    method("GreaterThanEqual", &[V], |call| with_two(call, |one, other| compare(one, other).is_ge().into())),
    method("IncMajor", &[], |call| {
        with(call, |version| next(version.with(version.major.wrapping_add(1), 0, 0)))
    }),
    method("IncMinor", &[], |call| {
        with(call, |version| next(version.with(version.major, version.minor.wrapping_add(1), 0)))
    }),
    method("IncPatch", &[], |call| {
        with(call, |version| {
            let step = u64::from(version.prerelease.is_empty());
            next(version.with(version.major, version.minor, version.patch.wrapping_add(step)))
        })
    }),
    method("LessThan", &[V], |call| with_two(call, |one, other| compare(one, other).is_lt().into())),
    method("LessThanEqual", &[V], |call| with_two(call, |one, other| compare(one, other).is_le().into())),
    method("Major", &[], |call| with(call, |version| Value::Unsigned(version.major))),
    method("Metadata", &[], |call| with(call, |version| Value::text(version.metadata.as_str()))),
    method("Minor", &[], |call| with(call, |version| Value::Unsigned(version.minor))),
    method("Original", &[], |call| with(call, |version| Value::text(version.original.as_str()))),
    method("Patch", &[], |call| with(call, |version| Value::Unsigned(version.patch))),
    method("Prerelease", &[], |call| with(call, |version| Value::text(version.prerelease.as_str()))),
    method("String", &[], text),
];

fn text(call: &mut Call<'_, '_>) -> Result {
    let text = string_of(&call.arg(0)).unwrap_or_default();
    call.give(text)
}

#[expect(clippy::cast_precision_loss, reason = "Go rounds too")]
fn parts(call: &Call<'_, '_>, unit: i64) -> Result {
    let duration = call.int(0);
    Ok(Value::Float((duration / unit) as f64 + (duration % unit) as f64 / unit as f64))
}

fn time(time: Time) -> Result {
    Ok(Value::Time(std::rc::Rc::new(time)))
}

fn add_date(call: &mut Call<'_, '_>) -> Result {
    let (time_before, years, months, days) = (call.time(0), call.int(1), call.int(2), call.int(3));
    let fits = |number: i64| number.abs() < 1_000_000_000;
    if !fits(years) || !fits(months) || !fits(days) {
        return Err("a date must not be so far away".into());
    }
    let civil = time_before.civil();
    let from = days_since_1970(civil.year, civil.month, civil.day);
    let to = days_since_1970(civil.year + years, civil.month + months, civil.day) + days;
    let seconds = time_before.seconds.saturating_add((to - from).saturating_mul(86_400));
    time(Time { seconds, ..time_before })
}

/// Rounds the time since the year 1.
fn rounded(call: &Call<'_, '_>, round: fn(i64, i64) -> i64) -> Result {
    let (moment, multiple) = (call.time(0), call.int(1));
    if multiple <= 0 {
        return time(moment);
    }
    let since = i128::from(moment.seconds - Time::zero().seconds) * i128::from(SECOND)
        + i128::from(moment.nanoseconds);
    let rest = since.rem_euclid(i128::from(multiple)) as i64;
    time(moment.plus(-rest).plus(round(rest, multiple)))
}

fn unix(call: &Call<'_, '_>, unit: i64) -> Result {
    let time = call.time(0);
    let nanoseconds = i128::from(time.seconds) * i128::from(SECOND) + i128::from(time.nanoseconds);
    Ok(Value::Int64(nanoseconds.div_euclid(i128::from(unit)) as i64))
}

fn next(version: Version) -> Value {
    Value::Version(std::rc::Rc::new(version))
}

fn with(call: &Call<'_, '_>, read: impl Fn(&Version) -> Value) -> Result {
    match call.args.first() {
        Some(Value::Version(version)) => Ok(read(version)),
        _ => Ok(Value::Nil),
    }
}

fn with_two(call: &Call<'_, '_>, read: impl Fn(&Version, &Version) -> Value) -> Result {
    match call.args {
        [Value::Version(one), Value::Version(other)] => Ok(read(one, other)),
        _ => Err("runtime error: invalid memory address or nil pointer dereference".into()),
    }
}

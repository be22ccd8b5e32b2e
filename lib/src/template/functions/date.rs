//! Dates. The local time zone is UTC.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

use crate::template::call::{Call, Failure, HIDDEN};
use crate::template::functions::number::to_int64;
use crate::template::quote::quoted_bytes;
use crate::template::time::{
    DurationFault, ReadError, SECOND, Time, duration_text, parse_duration, read, round_duration,
};
use crate::template::value::Value;

type Result = std::result::Result<Value, Failure>;

pub fn now(call: &mut Call<'_, '_>) -> Result {
    Ok(time(call.machine.now.clone()))
}

pub fn date(call: &mut Call<'_, '_>) -> Result {
    formatted(call, 1, call.text(0).to_vec(), b"UTC")
}

pub fn date_in_zone(call: &mut Call<'_, '_>) -> Result {
    let zone = call.text(2).to_vec();
    formatted(call, 1, call.text(0).to_vec(), &zone)
}

pub fn html_date(call: &mut Call<'_, '_>) -> Result {
    formatted(call, 0, HTML.to_vec(), b"UTC")
}

pub fn html_date_in_zone(call: &mut Call<'_, '_>) -> Result {
    let zone = call.text(1).to_vec();
    formatted(call, 0, HTML.to_vec(), &zone)
}

fn formatted(call: &mut Call<'_, '_>, index: usize, layout: Vec<u8>, zone: &[u8]) -> Result {
    let time = in_zone(&moment(call, index), zone);
    let text = time.format(&layout);
    call.give(text)
}

/// Returns what an argument stands for: numbers are seconds since 1970, all else is now.
fn moment(call: &Call<'_, '_>, index: usize) -> Time {
    match call.args.get(index) {
        Some(Value::Int(seconds) | Value::Int64(seconds)) => Time::utc(*seconds, 0),
        Some(Value::Time(_)) => call.time(index),
        _ => call.machine.now.clone(),
    }
}

/// Returns a moment in the zone of a name of the IANA data base; a name that it has not is UTC, as in
/// sprig.
fn in_zone(time: &Time, name: &[u8]) -> Time {
    let utc = time.in_zone(0, "UTC");
    let Ok(name) = std::str::from_utf8(name) else { return utc };
    // Where Go looks the zones up, names have their case.
    let database = TimeZoneDatabase::bundled();
    if !database.available().any(|known| known.as_str() == name) {
        return utc;
    }
    match (database.get(name), Timestamp::from_second(time.seconds)) {
        (Ok(zone), Ok(timestamp)) => {
            let info = zone.to_offset_info(timestamp);
            time.in_zone(i64::from(info.offset().seconds()), info.abbreviation())
        }
        // The zone is there; only a moment thousands of years away has no offset.
        _ => utc,
    }
}

pub fn date_modify(call: &mut Call<'_, '_>) -> Result {
    match parse_duration(call.text(0)) {
        Ok(duration) => Ok(time(call.time(1).plus(duration))),
        Err(_) => Ok(call.arg(1)),
    }
}

pub fn must_date_modify(call: &mut Call<'_, '_>) -> Result {
    match parse_duration(call.text(0)) {
        Ok(duration) => Ok(time(call.time(1).plus(duration))),
        Err(error) => {
            let shown = |text: &[u8]| if call.is_public(0) { quoted_bytes(text) } else { HIDDEN.to_owned() };
            let text = shown(call.text(0));
            Err(match error {
                DurationFault::Invalid => format!("time: invalid duration {text}"),
                DurationFault::MissingUnit => format!("time: missing unit in duration {text}"),
                DurationFault::UnknownUnit(unit) => {
                    format!("time: unknown unit {} in duration {text}", shown(&unit))
                }
            }
            .into())
        }
    }
}

pub fn to_date(call: &mut Call<'_, '_>) -> Result {
    Ok(time(read(call.text(0), call.text(1)).unwrap_or_else(|_| Time::zero())))
}

pub fn must_to_date(call: &mut Call<'_, '_>) -> Result {
    let (layout, text) = (call.text(0), call.text(1));
    let error = match read(layout, text) {
        Ok(read) => return Ok(time(read)),
        Err(error) => error,
    };
    if !call.is_public(0) || !call.is_public(1) {
        return Err(format!("parsing time {HIDDEN}").into());
    }
    let quoted_text = quoted_bytes(text);
    Err(match error {
        ReadError::Chunk { layout: chunk, text: rest } => {
            let (layout, rest, chunk) = (quoted_bytes(layout), quoted_bytes(&rest), quoted_bytes(&chunk));
            format!("parsing time {quoted_text} as {layout}: cannot parse {rest} as {chunk}")
        }
        ReadError::Reason(reason) => format!("parsing time {quoted_text}{reason}"),
    }
    .into())
}

pub fn unix_epoch(call: &mut Call<'_, '_>) -> Result {
    let seconds = call.time(0).seconds.to_string();
    call.give(seconds)
}

pub fn ago(call: &mut Call<'_, '_>) -> Result {
    let elapsed = call.machine.now.since(&moment(call, 0));
    call.give(duration_text(round_duration(elapsed, SECOND)))
}

pub fn duration(call: &mut Call<'_, '_>) -> Result {
    let seconds = match call.args.first() {
        Some(Value::Int64(seconds)) => *seconds,
        Some(Value::Text(text)) => {
            let text = std::str::from_utf8(text.bytes()).unwrap_or_default();
            crate::template::number::parse_int(text, 10).unwrap_or_else(|| {
                // Go's nearest integer, whose error sprig drops.
                let is_number = !text.is_empty()
                    && text.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit());
                match (is_number, text.starts_with('-')) {
                    (false, _) => 0,
                    (true, false) => i64::MAX,
                    (true, true) => i64::MIN,
                }
            })
        }
        _ => 0,
    };
    call.give(duration_text(seconds.wrapping_mul(SECOND)))
}

pub fn duration_round(call: &mut Call<'_, '_>) -> Result {
    let duration = match call.args.first() {
        Some(value @ Value::Int64(_)) => to_int64(value),
        Some(Value::Text(text)) => parse_duration(text.bytes()).unwrap_or(0),
        Some(Value::Time(time)) => call.machine.now.since(time),
        _ => 0,
    };
    let seconds = duration.unsigned_abs();
    let unit = UNITS.iter().find(|(length, _)| seconds > *length);
    let text = unit.map_or_else(|| "0s".to_owned(), |(length, name)| format!("{}{name}", seconds / length));
    call.give(text)
}

fn time(time: Time) -> Value {
    Value::Time(std::rc::Rc::new(time))
}

const HTML: &[u8] = b"2006-01-02";

const HOUR: u64 = 3600 * SECOND as u64;

const UNITS: &[(u64, &str)] = &[
    (365 * 24 * HOUR, "y"),
    (30 * 24 * HOUR, "mo"),
    (24 * HOUR, "d"),
    (HOUR, "h"),
    (HOUR / 60, "m"),
    (SECOND as u64, "s"),
];

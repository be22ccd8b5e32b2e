//! Points in time, written and read in the layouts of Go.
//!
//! The local time zone is UTC. A point in time keeps the offset and the name of its zone.

use std::fmt::{Display, Formatter, Result as FmtResult};
use std::rc::Rc;

use time::OffsetDateTime;

mod duration;
mod read;

pub use duration::{DurationFault, duration_text, parse_duration, round_duration, truncate_duration};
pub use read::{ReadError, read};

/// A point in time, and the zone in which to write it.
#[derive(Clone, Debug)]
pub struct Time {
    /// Seconds since 1970 in UTC.
    pub seconds: i64,
    pub nanoseconds: u32,
    /// Seconds east of UTC.
    pub offset: i64,
    /// The name of the zone, which may be empty.
    pub zone: Rc<str>,
}

/// A date and a time of day.
pub struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// From 1.
    pub day_of_year: i64,
    /// From Sunday, which is 0.
    pub weekday: i64,
}

impl Time {
    /// Returns a point in time in UTC.
    pub fn utc(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds, offset: 0, zone: "UTC".into() }
    }

    /// Returns the first moment of the year 1, which Go has for no time.
    pub fn zero() -> Self {
        Self::utc(YEAR_ONE, 0)
    }

    /// Returns the same moment in another zone.
    pub fn in_zone(&self, offset: i64, zone: &str) -> Self {
        Self { offset, zone: zone.into(), ..self.clone() }
    }

    /// Returns whether both are the same moment.
    pub fn is(&self, other: &Self) -> bool {
        self.instant() == other.instant()
    }

    /// Returns a value that orders moments.
    pub fn instant(&self) -> (i64, u32) {
        (self.seconds, self.nanoseconds)
    }

    /// Returns the moment so many nanoseconds later.
    pub fn plus(&self, duration: i64) -> Self {
        let nanoseconds = i64::from(self.nanoseconds) + duration % SECOND;
        let seconds = self.seconds.wrapping_add(duration / SECOND);
        let seconds = seconds.wrapping_add(nanoseconds.div_euclid(SECOND));
        Self { seconds, nanoseconds: nanoseconds.rem_euclid(SECOND) as u32, ..self.clone() }
    }

    /// Returns how many nanoseconds later it is, or the nearest number that there is.
    pub fn since(&self, earlier: &Self) -> i64 {
        let seconds = i128::from(self.seconds) - i128::from(earlier.seconds);
        let fraction = i128::from(self.nanoseconds) - i128::from(earlier.nanoseconds);
        let difference = seconds * i128::from(SECOND) + fraction;
        difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// Returns the date and time of day in its zone.
    pub fn civil(&self) -> Civil {
        let local = self.seconds.saturating_add(self.offset);
        let days = local.div_euclid(DAY);
        let rest = local.rem_euclid(DAY);
        let (year, month, day) = date_of(days);
        Civil {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            day_of_year: days - days_since_1970(year, 1, 1) + 1,
            weekday: (days + 4).rem_euclid(7),
        }
    }

    /// Writes it in a layout.
    pub fn format(&self, layout: &[u8]) -> Vec<u8> {
        let civil = self.civil();
        let mut out = Vec::with_capacity(layout.len() + 10);
        let mut rest = layout;
        loop {
            let (prefix, chunk, suffix) = next_chunk(rest);
            out.extend_from_slice(prefix);
            let Some(chunk) = chunk else { return out };
            rest = suffix;
            self.write(&mut out, &civil, chunk);
        }
    }

    fn write(&self, out: &mut Vec<u8>, civil: &Civil, chunk: Chunk) {
        let hour12 = if civil.hour % 12 == 0 { 12 } else { civil.hour % 12 };
        let text = match chunk {
            Chunk::Day => civil.day.to_string(),
            Chunk::Fraction { digits, trims, separator } => {
                return self.write_fraction(out, digits, trims, separator);
            }
            Chunk::Hour => padded(civil.hour, 2),
            Chunk::Hour12 => hour12.to_string(),
            Chunk::LongMonth => month_name(civil.month),
            Chunk::LongWeekday => weekday_name(civil.weekday),
            Chunk::LongYear => padded(civil.year, 4),
            Chunk::LowerPm => if civil.hour >= 12 { "pm" } else { "am" }.to_owned(),
            Chunk::Minute => civil.minute.to_string(),
            Chunk::Month => month_name(civil.month)[..3].to_owned(),
            Chunk::NumberMonth => civil.month.to_string(),
            Chunk::Offset(offset) => offset.write(self.offset),
            Chunk::Pm => if civil.hour >= 12 { "PM" } else { "AM" }.to_owned(),
            Chunk::Second => civil.second.to_string(),
            Chunk::SpaceDay => format!("{:>2}", civil.day),
            Chunk::SpaceYearDay => format!("{:>3}", civil.day_of_year),
            Chunk::Weekday => weekday_name(civil.weekday)[..3].to_owned(),
            Chunk::Year => padded(civil.year.max(0) % 100, 2),
            Chunk::ZeroDay => padded(civil.day, 2),
            Chunk::ZeroHour12 => padded(hour12, 2),
            Chunk::ZeroMinute => padded(civil.minute, 2),
            Chunk::ZeroMonth => padded(civil.month, 2),
            Chunk::ZeroSecond => padded(civil.second, 2),
            Chunk::ZeroYearDay => padded(civil.day_of_year, 3),
            Chunk::Zone if !self.zone.is_empty() => self.zone.to_string(),
            Chunk::Zone => Offset { is_zulu: false, has_colon: false, units: 2 }.write(self.offset),
        };
        out.extend_from_slice(text.as_bytes());
    }

    fn write_fraction(&self, out: &mut Vec<u8>, digits: usize, trims: bool, separator: u8) {
        let all = format!("{:09}", self.nanoseconds);
        let mut fraction = all.get(..digits).unwrap_or(&all);
        if trims {
            fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() {
                return;
            }
        }
        out.push(separator);
        out.extend_from_slice(fraction.as_bytes());
    }
}

impl From<OffsetDateTime> for Time {
    fn from(time: OffsetDateTime) -> Self {
        Self::utc(time.unix_timestamp(), time.nanosecond())
    }
}

impl Display for Time {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FmtResult {
        let text = self.format(b"2006-01-02 15:04:05.999999999 -0700 MST");
        formatter.write_str(&String::from_utf8_lossy(&text))
    }
}

/// A part of a layout that stands for something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Day,
    Fraction { digits: usize, trims: bool, separator: u8 },
    Hour,
    Hour12,
    LongMonth,
    LongWeekday,
    LongYear,
    LowerPm,
    Minute,
    Month,
    NumberMonth,
    Offset(Offset),
    Pm,
    Second,
    SpaceDay,
    SpaceYearDay,
    Weekday,
    Year,
    ZeroDay,
    ZeroHour12,
    ZeroMinute,
    ZeroMonth,
    ZeroSecond,
    ZeroYearDay,
    Zone,
}

/// How an offset from UTC is written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Offset {
    /// Whether `Z` stands for none.
    is_zulu: bool,
    has_colon: bool,
    /// Hours; and minutes; and seconds.
    units: u8,
}

impl Offset {
    fn write(self, offset: i64) -> String {
        if self.is_zulu && offset == 0 {
            return "Z".to_owned();
        }
        // As in Go, what is less than a minute is cut off before the sign is looked at.
        let minutes = offset / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let colon = if self.has_colon { ":" } else { "" };
        let mut text = format!("{sign}{:02}", minutes.abs() / 60);
        if self.units > 1 {
            text += &format!("{colon}{:02}", minutes.abs() % 60);
        }
        if self.units > 2 {
            text += &format!("{colon}{:02}", offset.abs() % 60);
        }
        text
    }
}

/// Returns what is before the first chunk of a layout, the chunk, and the rest.
fn next_chunk(layout: &[u8]) -> (&[u8], Option<Chunk>, &[u8]) {
    for at in 0..layout.len() {
        let rest = &layout[at..];
        // `_2006` is an underscore before a year.
        if rest.starts_with(b"_2006") {
            return (&layout[..=at], Some(Chunk::LongYear), &rest[5..]);
        }
        if let Some((length, chunk)) = chunk_at(layout, at) {
            return (&layout[..at], Some(chunk), &rest[length..]);
        }
    }
    (layout, None, &[])
}

fn chunk_at(layout: &[u8], at: usize) -> Option<(usize, Chunk)> {
    let rest = &layout[at..];
    match rest[0] {
        b'.' | b',' => {
            let digit = *rest.get(1).filter(|&&byte| matches!(byte, b'0' | b'9'))?;
            let digits = rest[1..].iter().take_while(|&&byte| byte == digit).count();
            if rest.get(1 + digits).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            let trims = digit == b'9';
            Some((1 + digits, Chunk::Fraction { digits, trims, separator: rest[0] }))
        }
        b'J' | b'M' => {
            let is_word = |word: &[u8]| {
                rest.starts_with(word) && !rest.get(word.len()).is_some_and(u8::is_ascii_lowercase)
            };
            if rest.starts_with(b"January") {
                Some((7, Chunk::LongMonth))
            } else if is_word(b"Jan") {
                Some((3, Chunk::Month))
            } else if rest.starts_with(b"Monday") {
                Some((6, Chunk::LongWeekday))
            } else if is_word(b"Mon") {
                Some((3, Chunk::Weekday))
            } else if rest.starts_with(b"MST") {
                Some((3, Chunk::Zone))
            } else {
                None
            }
        }
        _ => {
            let (text, chunk) = CHUNKS.iter().find(|(text, _)| rest.starts_with(text.as_bytes()))?;
            Some((text.len(), *chunk))
        }
    }
}

const fn offset(is_zulu: bool, has_colon: bool, units: u8) -> Chunk {
    Chunk::Offset(Offset { is_zulu, has_colon, units })
}

/// The longest first, where one starts with another.
const CHUNKS: &[(&str, Chunk)] = &[
    ("002", Chunk::ZeroYearDay),
    ("01", Chunk::ZeroMonth),
    ("02", Chunk::ZeroDay),
    ("03", Chunk::ZeroHour12),
    ("04", Chunk::ZeroMinute),
    ("05", Chunk::ZeroSecond),
    ("06", Chunk::Year),
    ("15", Chunk::Hour),
    ("1", Chunk::NumberMonth),
    ("2006", Chunk::LongYear),
    ("2", Chunk::Day),
    ("__2", Chunk::SpaceYearDay),
    ("_2", Chunk::SpaceDay),
    ("3", Chunk::Hour12),
    ("4", Chunk::Minute),
    ("5", Chunk::Second),
    ("PM", Chunk::Pm),
    ("pm", Chunk::LowerPm),
    ("-070000", offset(false, false, 3)),
    ("-07:00:00", offset(false, true, 3)),
    ("-0700", offset(false, false, 2)),
    ("-07:00", offset(false, true, 2)),
    ("-07", offset(false, false, 1)),
    ("Z070000", offset(true, false, 3)),
    ("Z07:00:00", offset(true, true, 3)),
    ("Z0700", offset(true, false, 2)),
    ("Z07:00", offset(true, true, 2)),
    ("Z07", offset(true, false, 1)),
];

fn padded(value: i64, width: usize) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{:0width$}", value.unsigned_abs())
}

/// Returns the name of a month from 1.
pub fn month_name(month: i64) -> String {
    let name = usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index));
    name.map_or_else(|| format!("%!Month({month})"), |name| (*name).to_owned())
}

/// Returns the name of a day from Sunday, which is 0.
pub fn weekday_name(day: i64) -> String {
    let name = usize::try_from(day).ok().and_then(|index| WEEKDAYS.get(index));
    name.map_or_else(|| format!("%!Weekday({day})"), |name| (*name).to_owned())
}

/// Returns the number of days from 1970 to a date; months beyond a year count on.
pub fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    // Years from March on, so that a leap day is the last of its year.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// A second in nanoseconds.
pub const SECOND: i64 = 1_000_000_000;

const DAY: i64 = 86_400;
const YEAR_ONE: i64 = -62_135_596_800;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_go() {
        let time = Time::utc(1_583_297_106, 120_000_000);
        let cases = [
            ("2006-01-02T15:04:05Z07:00", "2020-03-04T04:45:06Z"),
            ("Monday, 2 January 2006 3:04PM", "Wednesday, 4 March 2020 4:45AM"),
            ("Jan _2 002 __2 .000 .999 Januar", "Mar  4 064  64 .120 .12 Januar"),
            ("06 1 03 4 5 pm -0700 -07:00:00 MST", "20 3 04 45 6 am +0000 +00:00:00 UTC"),
        ];
        for (layout, expected) in cases {
            assert_eq!(String::from_utf8_lossy(&time.format(layout.as_bytes())), expected, "{layout}");
        }
        assert_eq!(Time::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
    }
}

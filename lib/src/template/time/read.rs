//! Reads points in time in the layouts of Go.

use super::{Chunk, MONTHS, Offset, Time, WEEKDAYS, days_since_1970, next_chunk};

/// Why text is no point in time: the chunk of the layout and the rest of the text, or a reason.
pub enum ReadError {
    Chunk { layout: Vec<u8>, text: Vec<u8> },
    Reason(String),
}

/// Reads text in a layout. What names no zone is in UTC.
pub fn read(layout: &[u8], text: &[u8]) -> Result<Time, ReadError> {
    let mut reader = Reader { rest: text, ..Reader::default() };
    let mut left = layout;
    loop {
        let (prefix, chunk, suffix) = next_chunk(left);
        if !reader.skip(prefix) {
            return Err(ReadError::Chunk { layout: prefix.to_vec(), text: reader.rest.to_vec() });
        }
        let Some(chunk) = chunk else { break };
        let name = &left[prefix.len()..left.len() - suffix.len()];
        left = suffix;
        let held = reader.rest;
        match reader.chunk(chunk, left) {
            Ok(()) => {}
            Err(Some(reason)) => return Err(ReadError::Reason(format!(": {reason} out of range"))),
            Err(None) => return Err(ReadError::Chunk { layout: name.to_vec(), text: held.to_vec() }),
        }
    }
    if !reader.rest.is_empty() {
        let rest = crate::template::quote::quoted_bytes(reader.rest);
        return Err(ReadError::Reason(format!(": extra text: {rest}")));
    }
    reader.time()
}

#[derive(Default)]
struct Reader<'r> {
    rest: &'r [u8],
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanoseconds: i64,
    is_morning: bool,
    is_afternoon: bool,
    is_utc: bool,
    offset: Option<i64>,
    zone: String,
}

/// `Err(None)` is text that does not fit, `Err(Some(_))` what is out of its range.
type Step = Result<(), Option<&'static str>>;

impl<'r> Reader<'r> {
    /// Skips what stands in the layout; runs of spaces are alike.
    fn skip(&mut self, mut prefix: &[u8]) -> bool {
        while let Some(&byte) = prefix.first() {
            if byte == b' ' {
                if self.rest.first().is_some_and(|&byte| byte != b' ') {
                    return false;
                }
                prefix = without_spaces(prefix);
                self.rest = without_spaces(self.rest);
            } else {
                if self.rest.first() != Some(&byte) {
                    return false;
                }
                (prefix, self.rest) = (&prefix[1..], &self.rest[1..]);
            }
        }
        true
    }

    fn chunk(&mut self, chunk: Chunk, left: &[u8]) -> Step {
        match chunk {
            Chunk::Day | Chunk::SpaceDay | Chunk::ZeroDay => {
                if chunk == Chunk::SpaceDay {
                    self.skip_space();
                }
                self.day = Some(self.number(chunk == Chunk::ZeroDay)?);
            }
            Chunk::Fraction { digits, trims: false, .. } => {
                let text = self.take(1 + digits)?;
                self.fraction(text)?;
            }
            Chunk::Fraction { trims: true, .. } => {
                if matches!(self.rest, [b'.' | b',', digit, ..] if digit.is_ascii_digit()) {
                    self.take_fraction()?;
                }
            }
            Chunk::Hour => self.hour = within(self.number(false)?, 24, "hour")?,
            Chunk::Hour12 | Chunk::ZeroHour12 => {
                self.hour = within(self.number(chunk == Chunk::ZeroHour12)?, 13, "hour")?;
            }
            Chunk::LongMonth | Chunk::Month => {
                self.month = Some(self.name(&MONTHS, chunk == Chunk::Month)? + 1);
            }
            Chunk::LongWeekday | Chunk::Weekday => {
                self.name(&WEEKDAYS, chunk == Chunk::Weekday)?;
            }
            Chunk::LongYear => {
                if !self.rest.first().is_some_and(u8::is_ascii_digit) {
                    return Err(None);
                }
                self.year = integer(self.take(4)?).ok_or(None)?;
            }
            Chunk::LowerPm | Chunk::Pm => {
                let is_lower = chunk == Chunk::LowerPm;
                match (self.take(2)?, is_lower) {
                    (b"PM", false) | (b"pm", true) => self.is_afternoon = true,
                    (b"AM", false) | (b"am", true) => self.is_morning = true,
                    _ => return Err(None),
                }
            }
            Chunk::Minute | Chunk::ZeroMinute => {
                self.minute = within(self.number(chunk == Chunk::ZeroMinute)?, 60, "minute")?;
            }
            Chunk::NumberMonth | Chunk::ZeroMonth => {
                let month = self.number(chunk == Chunk::ZeroMonth)?;
                self.month = Some(if month == 0 { 13 } else { month });
                within(self.month.unwrap_or(0), 13, "month")?;
            }
            Chunk::Offset(offset) => self.offset(offset)?,
            Chunk::Second | Chunk::ZeroSecond => {
                self.second = within(self.number(chunk == Chunk::ZeroSecond)?, 60, "second")?;
                // A fraction may follow that the layout does not name.
                let is_fraction = matches!(self.rest, [b'.' | b',', digit, ..] if digit.is_ascii_digit());
                if is_fraction && !matches!(next_chunk(left).1, Some(Chunk::Fraction { .. })) {
                    self.take_fraction()?;
                }
            }
            Chunk::SpaceYearDay | Chunk::ZeroYearDay => {
                if chunk == Chunk::SpaceYearDay {
                    self.skip_space();
                    self.skip_space();
                }
                let length = self.rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
                if length == 0 || (chunk == Chunk::ZeroYearDay && length != 3) {
                    return Err(None);
                }
                self.day_of_year = integer(self.take(length)?);
            }
            Chunk::Year => {
                let year = integer(self.take(2)?).ok_or(None)?;
                self.year = year + if year >= 69 { 1900 } else { 2000 };
            }
            Chunk::Zone => {
                if self.rest.starts_with(b"UTC") {
                    self.is_utc = true;
                    self.rest = &self.rest[3..];
                    return Ok(());
                }
                let length = zone_length(self.rest).ok_or(None)?;
                self.zone = String::from_utf8_lossy(self.take(length)?).into_owned();
            }
        }
        Ok(())
    }

    fn offset(&mut self, offset: Offset) -> Step {
        if offset.is_zulu && self.rest.first() == Some(&b'Z') {
            self.is_utc = true;
            self.rest = &self.rest[1..];
            return Ok(());
        }
        let units = usize::from(offset.units);
        let step = if offset.has_colon { 3 } else { 2 };
        let text = self.peek(1 + 2 * units + (units - 1) * (step - 2))?;
        let mut numbers = [0; 3];
        for (index, number) in numbers.iter_mut().enumerate().take(units) {
            let at = 1 + index * step;
            if offset.has_colon && index > 0 && text[at - 1] != b':' {
                return Err(None);
            }
            *number = integer(&text[at..at + 2]).filter(|_| text[at].is_ascii_digit()).unwrap_or(-1);
        }
        self.rest = &self.rest[text.len()..];
        let [hours, minutes, seconds] = numbers;
        if hours > 24 {
            return Err(Some("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(Some("time zone offset minute"));
        }
        if seconds > 60 {
            return Err(Some("time zone offset second"));
        }
        let total = (hours * 60 + minutes) * 60 + seconds;
        self.offset = match text[0] {
            _ if numbers.contains(&-1) => return Err(None),
            b'+' => Some(total),
            b'-' => Some(-total),
            _ => return Err(None),
        };
        Ok(())
    }

    fn time(self) -> Result<Time, ReadError> {
        let reason = |reason: &str| ReadError::Reason(format!(": {reason}"));
        let hour = match self.hour {
            hour if self.is_afternoon && hour < 12 => hour + 12,
            12 if self.is_morning && !self.is_afternoon => 0,
            hour => hour,
        };
        let (mut month, mut day) = (self.month, self.day);
        if let Some(of_year) = self.day_of_year {
            let last = if is_leap(self.year) { 366 } else { 365 };
            if !(1..=last).contains(&of_year) {
                return Err(reason("day-of-year out of range"));
            }
            let days = days_since_1970(self.year, 1, 1) + of_year - 1;
            let date = Time::utc(days * 86_400, 0).civil();
            if month.is_some_and(|month| month != date.month) {
                return Err(reason("day-of-year does not match month"));
            }
            if day.is_some_and(|day| day != date.day) {
                return Err(reason("day-of-year does not match day"));
            }
            (month, day) = (Some(date.month), Some(date.day));
        }
        let (month, day) = (month.unwrap_or(1), day.unwrap_or(1));
        let last = days_since_1970(self.year, month + 1, 1) - days_since_1970(self.year, month, 1);
        if !(1..=last).contains(&day) {
            return Err(reason("day out of range"));
        }
        let days = days_since_1970(self.year, month, day);
        let seconds = days * 86_400 + hour * 3600 + self.minute * 60 + self.second;
        let local = Time::utc(seconds, self.nanoseconds as u32);
        Ok(match self.offset {
            _ if self.is_utc => local,
            Some(0) if self.zone.is_empty() => local,
            // Go takes -1 for no offset.
            Some(offset) if offset != -1 => {
                Time { seconds: seconds - offset, offset, zone: self.zone.as_str().into(), ..local }
            }
            _ if self.zone.is_empty() => local,
            _ => {
                let hours = self.zone.strip_prefix("GMT").and_then(|hours| hours.parse::<i64>().ok());
                Time { offset: hours.unwrap_or(0) * 3600, zone: self.zone.as_str().into(), ..local }
            }
        })
    }

    fn take_fraction(&mut self) -> Step {
        let length = self.rest.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        let text = self.take(1 + length)?;
        self.fraction(text)
    }

    fn fraction(&mut self, text: &[u8]) -> Step {
        let [b'.' | b',', digits @ ..] = text else { return Err(None) };
        let digits = &digits[..digits.len().min(9)];
        let value = integer(digits).ok_or(None)?;
        if value < 0 {
            return Err(Some("fractional second"));
        }
        self.nanoseconds = value * 10_i64.pow(9 - digits.len() as u32);
        Ok(())
    }

    fn name(&mut self, names: &[&str], is_short: bool) -> Result<i64, Option<&'static str>> {
        for (index, name) in names.iter().enumerate() {
            let name = if is_short { &name[..3] } else { name };
            if self.rest.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name.as_bytes())) {
                self.rest = &self.rest[name.len()..];
                return Ok(index as i64);
            }
        }
        Err(None)
    }

    /// Reads one digit or two.
    fn number(&mut self, is_two: bool) -> Result<i64, Option<&'static str>> {
        let length = self.rest.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 || (is_two && length < 2) {
            return Err(None);
        }
        integer(self.take(length)?).ok_or(None)
    }

    fn skip_space(&mut self) {
        if self.rest.first() == Some(&b' ') {
            self.rest = &self.rest[1..];
        }
    }

    fn peek(&self, length: usize) -> Result<&'r [u8], Option<&'static str>> {
        self.rest.get(..length).ok_or(None)
    }

    fn take(&mut self, length: usize) -> Result<&'r [u8], Option<&'static str>> {
        let text = self.peek(length)?;
        self.rest = &self.rest[length..];
        Ok(text)
    }
}

fn within(value: i64, end: i64, name: &'static str) -> Result<i64, Option<&'static str>> {
    if value < end { Ok(value) } else { Err(Some(name)) }
}

/// Reads an integer with a sign, as Go's `atoi` of this package does.
fn integer(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')) * sign)
}

fn without_spaces(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&byte| byte == b' ').count()..]
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Returns the length of an abbreviation of a time zone.
fn zone_length(text: &[u8]) -> Option<usize> {
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix(b"GMT") {
        return Some(3 + if rest.is_empty() { 0 } else { signed_length(rest) });
    }
    if matches!(text[0], b'+' | b'-') {
        return Some(signed_length(text)).filter(|length| *length > 0);
    }
    match text.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count() {
        3 => Some(3),
        4 if text[3] == b'T' || text.starts_with(b"WITA") => Some(4),
        5 if text[4] == b'T' => Some(5),
        _ => None,
    }
}

fn signed_length(text: &[u8]) -> usize {
    if !matches!(text[0], b'+' | b'-') {
        return 0;
    }
    let length = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    match integer(&text[1..=length.min(10)]) {
        Some(hours) if length > 0 && hours <= 23 => 1 + length,
        _ => 0,
    }
}

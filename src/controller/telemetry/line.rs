//! One line of the log, as the package slog of Go writes it.
//!
//! Invariant: it is one line of what can be printed; whatever else a value has is escaped.

use std::fmt::{self, Write};

use serde_json::{Map, Number, Value as Json};
use time::OffsetDateTime;
use tracing::Level;
use tracing::field::{Field, Visit};

use super::LogFormat;

/// The fields of an event or a span, in their order; each name is there once.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// What happened.
    pub message: String,
    rest: Vec<(&'static str, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Bool(bool),
    Number(Number),
    Text(String),
}

impl Fields {
    /// Takes over the fields of something inside of this.
    pub fn extend(&mut self, inner: Self) {
        for (name, value) in inner.rest {
            self.set(name, value);
        }
        self.message = inner.message;
    }

    /// Returns the line, with its end.
    #[must_use]
    pub fn line(&self, format: LogFormat, time: OffsetDateTime, level: Level) -> String {
        match format {
            LogFormat::Json => self.json(time, level),
            LogFormat::Text => self.text(time, level),
        }
    }

    fn text(&self, time: OffsetDateTime, level: Level) -> String {
        let mut line = format!("time={} level={level} msg=", stamp(time, 3));
        push_quoted(&mut line, &self.message);
        for (name, value) in &self.rest {
            line.push(' ');
            push_quoted(&mut line, name);
            line.push('=');
            match value {
                Value::Bool(value) => line.push_str(if *value { "true" } else { "false" }),
                Value::Number(value) => line.push_str(&value.to_string()),
                Value::Text(text) => push_quoted(&mut line, text),
            }
        }
        line.push('\n');
        line
    }

    fn json(&self, time: OffsetDateTime, level: Level) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), stamp(time, 9).into());
        object.insert("level".to_owned(), level.as_str().into());
        object.insert("msg".to_owned(), self.message.clone().into());
        for (name, value) in &self.rest {
            let value = match value {
                Value::Bool(value) => Json::Bool(*value),
                Value::Number(value) => Json::Number(value.clone()),
                Value::Text(text) => Json::String(text.clone()),
            };
            object.insert((*name).to_owned(), value);
        }
        let mut line = String::new();
        // JSON lets some letters stand that do something to a terminal: they only are in strings, where this means them.
        for letter in Json::Object(object).to_string().chars() {
            if is_printable(letter) {
                line.push(letter);
            } else {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    push(&mut line, format_args!("\\u{unit:04x}"));
                }
            }
        }
        line.push('\n');
        line
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.rest.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.rest.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Bool(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match Number::from_f64(value) {
            Some(number) => self.set(field.name(), Value::Number(number)),
            None => self.record_str(field, &value.to_string()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::Number(value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = cut(value);
        match field.name() {
            "message" => self.message = text,
            name => self.set(name, Value::Text(text)),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), Value::Number(value.into()));
    }
}

/// Returns the beginning of a text, of so many bytes at most, and all of it if it has no more.
#[must_use]
pub fn beginning(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns a text that is not too long for a line.
fn cut(text: &str) -> String {
    match beginning(text, LONGEST) {
        start if start.len() < text.len() => format!("{start}…"),
        all => all.to_owned(),
    }
}

/// Returns a time with so many digits of a second; of nine, those at the end that are 0 are left out, as by Go.
fn stamp(time: OffsetDateTime, digits: usize) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    let (date, hour, minute, second) = (time.date(), time.hour(), time.minute(), time.second());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let nanoseconds = format!("{:09}", time.nanosecond());
    let part = &nanoseconds[..digits];
    let part = if digits == 9 { part.trim_end_matches('0') } else { part };
    if !part.is_empty() {
        text.push('.');
        text.push_str(part);
    }
    text.push('Z');
    text
}

/// Writes a text, in quotes if it could be taken for something else without.
fn push_quoted(line: &mut String, text: &str) {
    let is_plain = |letter: char| {
        is_printable(letter)
            && !letter.is_whitespace()
            && !matches!(letter, '=' | '"' | char::REPLACEMENT_CHARACTER)
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        line.push_str(text);
        return;
    }
    line.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => line.extend(['\\', letter]),
            '\u{7}' => line.push_str("\\a"),
            '\u{8}' => line.push_str("\\b"),
            '\u{c}' => line.push_str("\\f"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\u{b}' => line.push_str("\\v"),
            letter if is_printable(letter) => line.push(letter),
            letter => match u32::from(letter) {
                code @ (..0x20 | 0x7f) => push(line, format_args!("\\x{code:02x}")),
                code @ ..0x1_0000 => push(line, format_args!("\\u{code:04x}")),
                code => push(line, format_args!("\\U{code:08x}")),
            },
        }
    }
    line.push('"');
}

/// Returns whether a letter shows as itself. Those that turn the direction of writing do not.
fn is_printable(letter: char) -> bool {
    match letter {
        ' '..='~' => true,
        letter => {
            let mut escaped = letter.escape_debug();
            escaped.next() == Some(letter) && escaped.next().is_none()
        }
    }
}

fn push(line: &mut String, text: fmt::Arguments<'_>) {
    // A text takes whatever is written.
    line.write_fmt(text).unwrap_or(());
}

/// How many bytes of a value are logged.
const LONGEST: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut line = String::new();
        push_quoted(&mut line, text);
        line
    }

    #[test]
    fn values_are_quoted_as_slog_does() {
        for (text, line) in [
            ("", "\"\""),
            ("a", "a"),
            ("a/b-c.d:e{}", "a/b-c.d:e{}"),
            ("a\\b", "a\\b"),
            ("a b", "\"a b\""),
            ("a=b", "\"a=b\""),
            ("say \"x\\y\"", "\"say \\\"x\\\\y\\\"\""),
            ("a\nb\r\t", "\"a\\nb\\r\\t\""),
            ("\u{1b}[31m", "\"\\x1b[31m\""),
            ("\u{7f}", "\"\\x7f\""),
            ("\u{85}", "\"\\u0085\""),
            ("\u{202e}x", "\"\\u202ex\""),
            ("\u{2028}", "\"\\u2028\""),
            ("\u{e0001}", "\"\\U000e0001\""),
            ("grüße", "grüße"),
        ] {
            assert_eq!(quoted(text), line, "{text:?}");
        }
    }

    #[test]
    fn times_have_milliseconds_as_text_and_all_they_have_as_json() {
        let time =
            OffsetDateTime::from_unix_timestamp_nanos(1_136_239_445_120_000_000).expect("it is a time");
        assert_eq!(stamp(time, 3), "2006-01-02T22:04:05.120Z");
        assert_eq!(stamp(time, 9), "2006-01-02T22:04:05.12Z");
        assert_eq!(stamp(OffsetDateTime::UNIX_EPOCH, 3), "1970-01-01T00:00:00.000Z");
        assert_eq!(stamp(OffsetDateTime::UNIX_EPOCH, 9), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn values_have_an_end() {
        let text = cut(&"ü".repeat(LONGEST));
        assert!(text.len() <= LONGEST + 4 && text.ends_with("ü…"));
    }

    proptest::proptest! {
        #[test]
        fn a_line_is_one_line(message in "\\PC*", value in ".*", control in "[\\x00-\\x1f\\x7f-\\u{9f}]*") {
            let text = value + &control;
            let fields = Fields { message: message + &control, rest: vec![("a", Value::Text(text.clone()))] };
            let of = |format| fields.line(format, OffsetDateTime::UNIX_EPOCH, Level::INFO);
            for line in [of(LogFormat::Text), of(LogFormat::Json)] {
                let line = line.strip_suffix('\n').expect("it ends");
                proptest::prop_assert!(line.chars().all(is_printable), "{line:?}");
            }
            let json: Json = serde_json::from_str(&of(LogFormat::Json)).expect("it is JSON");
            proptest::prop_assert_eq!(json["a"].as_str(), Some(text.as_str()));
        }
    }
}

//! JSON as Go writes and reads it.

use crate::format::{go_fixed, go_general};
use crate::secret::SecretBytes;
use crate::template::budget::Budget;
use crate::template::call::{Call, Failure};
use crate::template::rune;
use crate::template::value::{Text, Value};

mod read;

type Result = std::result::Result<Value, Failure>;

pub fn to_json(call: &mut Call<'_, '_>) -> Result {
    lenient(call, Style { escapes_html: true, is_pretty: false })
}

pub fn to_pretty_json(call: &mut Call<'_, '_>) -> Result {
    lenient(call, Style { escapes_html: true, is_pretty: true })
}

pub fn to_raw_json(call: &mut Call<'_, '_>) -> Result {
    written(call, Style { escapes_html: false, is_pretty: false })
}

pub fn must_to_json(call: &mut Call<'_, '_>) -> Result {
    written(call, Style { escapes_html: true, is_pretty: false })
}

pub fn must_to_pretty_json(call: &mut Call<'_, '_>) -> Result {
    written(call, Style { escapes_html: true, is_pretty: true })
}

pub fn from_json(call: &mut Call<'_, '_>) -> Result {
    let Value::Text(text) = call.arg(0) else { return Ok(Value::Nil) };
    match read::read(text.bytes(), call.machine)? {
        (value, Ok(())) => Ok(value),
        (value, Err(fault)) => Ok(if fault.keeps_value { value } else { Value::Nil }),
    }
}

pub fn must_from_json(call: &mut Call<'_, '_>) -> Result {
    let Value::Text(text) = call.arg(0) else { return Ok(Value::Nil) };
    match read::read(text.bytes(), call.machine)? {
        (value, Ok(())) => Ok(value),
        (_, Err(fault)) => Err(fault.message(call.is_public(0)).into()),
    }
}

/// Writes what can be written; nothing if that is not all.
fn lenient(call: &mut Call<'_, '_>, style: Style) -> Result {
    match written(call, style) {
        Err(Failure::Message(_)) => call.give(""),
        other => other,
    }
}

fn written(call: &mut Call<'_, '_>, style: Style) -> Result {
    let mut writer = Writer { out: SecretBytes::new(), budget: &mut call.machine.budget, style };
    writer.value(&call.args[0], 0)?;
    let out = writer.out;
    call.give(out)
}

#[derive(Clone, Copy)]
struct Style {
    escapes_html: bool,
    is_pretty: bool,
}

struct Writer<'b> {
    out: SecretBytes,
    budget: &'b mut Budget,
    style: Style,
}

type Written = std::result::Result<(), Failure>;

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Written {
        self.budget.steps(1)?;
        self.budget.fits_depth(depth)?;
        if self.out.len() > self.budget.limits().value_bytes {
            self.budget.value(self.out.len())?;
        }
        match value {
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Certificate(certificate) => {
                let fields = [("Cert", &certificate.certificate), ("Key", &certificate.key)];
                let fields = fields.map(|(name, text)| (Text::public(name), Value::Text(text.clone())));
                return self.object(fields.into_iter(), depth);
            }
            Value::Dict(dict) => return self.object(dict.entries().into_iter(), depth),
            Value::Float(value) => return self.float(*value),
            Value::List(list) if list.is_nil => self.out.push_str("null"),
            Value::List(list) => {
                let items = list.items.iter().map(|item| (None, item.clone()));
                return self.items([b'[', b']'], items, depth);
            }
            Value::Map(map) => {
                let entries = map.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone())));
                return self.object(entries, depth);
            }
            Value::Missing | Value::Nil => self.out.push_str("null"),
            Value::Text(text) => self.text(text.bytes())?,
            Value::Time(time) => {
                if !(0..10_000).contains(&time.civil().year) {
                    return Err("json: error calling MarshalJSON for type time.Time: Time.MarshalJSON: year outside of range [0,9999]".into());
                }
                self.text(&time.format(b"2006-01-02T15:04:05.999999999Z07:00"))?;
            }
            Value::Unsigned(value) => self.out.push_str(&value.to_string()),
            Value::Version(version) => self.text(version.to_string().as_bytes())?,
            Value::Duration(_)
            | Value::Int(_)
            | Value::Int64(_)
            | Value::Month(_)
            | Value::Unsigned8(_)
            | Value::Weekday(_) => {
                self.out.push_str(&value.as_integer().unwrap_or(0).to_string());
            }
        }
        Ok(())
    }

    fn object(&mut self, entries: impl Iterator<Item = (Text, Value)>, depth: usize) -> Written {
        self.items([b'{', b'}'], entries.map(|(key, value)| (Some(key), value)), depth)
    }

    fn items(
        &mut self,
        brackets: [u8; 2],
        items: impl Iterator<Item = (Option<Text>, Value)>,
        depth: usize,
    ) -> Written {
        self.out.push(brackets[0]);
        let mut is_first = true;
        for (key, value) in items {
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            self.line(depth + 1);
            if let Some(key) = key {
                self.text(key.bytes())?;
                self.out.push_str(if self.style.is_pretty { ": " } else { ":" });
            }
            self.value(&value, depth + 1)?;
        }
        if !is_first {
            self.line(depth);
        }
        self.out.push(brackets[1]);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if self.style.is_pretty {
            self.out.push(b'\n');
            self.out.push_str(&"  ".repeat(depth));
        }
    }

    fn float(&mut self, value: f64) -> Written {
        if !value.is_finite() {
            let name = crate::template::float::format(value, 'g', None);
            return Err(format!("json: unsupported value: {name}").into());
        }
        let size = value.abs();
        let text = if size != 0.0 && !(1e-6..1e21).contains(&size) {
            // Two digits of an exponent only where there are two.
            go_general(value, 0, 0).replace("e-0", "e-")
        } else {
            go_fixed(value)
        };
        self.out.push_str(&text);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Written {
        self.budget.bytes(text.len())?;
        self.out.push(b'"');
        for (at, character, width) in rune::runes(text) {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\x08' => self.out.push_str("\\b"),
                '\x0C' => self.out.push_str("\\f"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '<' | '>' | '&' if self.style.escapes_html => self.escape(character),
                '\0'..' ' | '\u{2028}' | '\u{2029}' => self.escape(character),
                _ if rune::is_invalid((character, width)) => self.out.push_str("\\ufffd"),
                _ => self.out.extend_from_slice(&text[at..at + width]),
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn escape(&mut self, character: char) {
        self.out.push_str(&format!("\\u{:04x}", u32::from(character)));
    }
}

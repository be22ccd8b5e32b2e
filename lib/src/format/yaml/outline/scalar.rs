//! What a scalar holds, and where it ends.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use granit_parser::{ScalarStyle, Tag};
use zeroize::Zeroize;

use super::Reader;
use crate::format::yaml::resolve::{Scalar, is_binary, resolve, resolve_plain};
use crate::secret::SecretBytes;
use crate::tree::{Span, Text, Value};

impl Reader<'_> {
    /// Returns what a scalar holds, or `None` if it is not of the type that its tag names.
    pub(super) fn value(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
    ) -> Option<Value> {
        let tag = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
        let scalar = match tag.as_deref() {
            None if style == ScalarStyle::Plain => resolve_plain(&text),
            None => Scalar::Text,
            Some("!") if style != ScalarStyle::Plain => Scalar::Text,
            Some(tag) if is_binary(tag) => return self.binary(&text),
            tag => resolve(tag, &text)?,
        };
        Some(match scalar {
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Float(value) => Value::Float(value),
            Scalar::Int(value) => Value::Int(value),
            Scalar::Null => Value::Null,
            Scalar::Text => Value::Str(self.text(text)),
            Scalar::Time(time) => Value::Time(self.keep(time.as_bytes())),
            Scalar::Unsigned(value) => Value::Unsigned(value),
        })
    }

    fn binary(&mut self, text: &str) -> Option<Value> {
        let mut encoded: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let decoded = STANDARD.decode(&encoded);
        encoded.zeroize();
        let decoded = SecretBytes::from(decoded.ok()?);
        Some(Value::Str(self.keep(decoded.expose_secret())))
    }

    /// Returns a text as a place in the source, if it stands there as it is.
    fn text(&mut self, text: Cow<'_, str>) -> Text {
        match text {
            Cow::Borrowed(part) => {
                let start = (part.as_ptr() as usize).wrapping_sub(self.source.as_ptr() as usize);
                let end = start.wrapping_add(part.len());
                if self.source.as_bytes().get(start..end).is_some() {
                    Span::new(start, end).text()
                } else {
                    self.keep(part.as_bytes())
                }
            }
            Cow::Owned(mut owned) => {
                let text = self.keep(owned.as_bytes());
                owned.zeroize();
                text
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Text {
        let start = self.source.len() + self.decoded.len();
        self.decoded.extend_from_slice(bytes);
        Span::new(start, start + bytes.len()).text()
    }
}

/// Refuses a plain scalar in brackets that sops divides into other tokens than YAML 1.2 does.
pub(super) fn check_plain_in_flow(source: &[u8], place: Span) -> Result<(), &'static str> {
    if matches!(source[place.start as usize..], [b'?' | b':', ..]) {
        return Err("sops takes a ? or : in brackets for an indicator: put the text in quotes");
    }
    let behind = source[place.end as usize..].trim_ascii_start();
    if matches!(behind, [b':', b',' | b'[' | b']' | b'{' | b'}', ..]) {
        return Err("sops takes the : for a part of the text: put a space behind it");
    }
    Ok(())
}

/// Returns the length of a block scalar from its header to the end of its last line, without the line
/// break. `text` starts with the header and ends where the next token stands; `indent` is that of the
/// lines.
///
/// Empty lines at the end belong to the scalar only if the header says so.
pub(super) fn length_of_block_scalar(text: &[u8], indent: Option<usize>) -> usize {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let indicators = text.iter().take_while(|byte| !is_blank(byte) && !is_break(byte)).count();
    let header = text.iter().position(is_break).unwrap_or(text.len());
    let keeps_empty_lines = text[..indicators].contains(&b'+');
    let mut body = &text[header..];
    while let Some(line_break) = body.iter().rposition(is_break) {
        let line = &body[line_break + 1..];
        if !line.iter().all(is_blank) || line.len() > indent.unwrap_or(usize::MAX) {
            return header + body.len();
        }
        body = body[..line_break].strip_suffix(b"\r").unwrap_or(&body[..line_break]);
        if keeps_empty_lines && !body.is_empty() {
            return header + body.len();
        }
    }
    indicators
}

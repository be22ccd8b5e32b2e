//! What Git stores as text: whatever its encoding is.

use std::borrow::Cow;

/// What a blob holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// No text; only patterns of bytes mean anything.
    Binary(&'a [u8]),
    /// A text, without a byte order mark.
    Text(Cow<'a, str>),
}

/// Reads a blob as text: UTF-8, or UTF-16 or UTF-32 by its byte order mark or, without one, by the zeros of
/// Latin letters. Text with single bytes that are no UTF-8 is text still, and those bytes become U+FFFD; so is text with
/// zeros in it, as long as most of it can be read: a zero hides nothing.
#[must_use]
pub fn decode(bytes: &[u8]) -> Content<'_> {
    match Encoding::of(bytes) {
        Encoding::Binary => Content::Binary(bytes),
        Encoding::Utf8 => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            // Nearly all is, and this check is the quicker one.
            let text = str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
            Content::Text(text)
        }
        Encoding::Wide { width, is_big, start } => {
            Content::Text(Cow::Owned(wide(&bytes[start..], width, is_big)))
        }
    }
}

enum Encoding {
    Binary,
    Utf8,
    /// Units of two or four bytes, behind a mark of so many bytes.
    Wide {
        width: usize,
        is_big: bool,
        start: usize,
    },
}

impl Encoding {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0xff, 0xfe, 0, 0, ..] => return Self::Wide { width: 4, is_big: false, start: 4 },
            [0, 0, 0xfe, 0xff, ..] => return Self::Wide { width: 4, is_big: true, start: 4 },
            [0xff, 0xfe, ..] => return Self::Wide { width: 2, is_big: false, start: 2 },
            [0xfe, 0xff, ..] => return Self::Wide { width: 2, is_big: true, start: 2 },
            _ => {}
        }
        let sample = &bytes[..bytes.len().min(SAMPLE)];
        if memchr::memchr(0, sample).is_none() {
            return Self::Utf8;
        }
        [(2, false), (2, true), (4, false), (4, true)]
            .into_iter()
            .find(|&(width, is_big)| is_wide(sample, width, is_big))
            .map_or_else(
                || if is_mostly_text(sample) { Self::Utf8 } else { Self::Binary },
                |(width, is_big)| Self::Wide { width, is_big, start: 0 },
            )
    }
}

/// Returns whether most bytes of a sample are those of letters, signs and blanks in UTF-8.
fn is_mostly_text(sample: &[u8]) -> bool {
    let is_read = |letter: &char| !letter.is_control() || letter.is_ascii_whitespace();
    let read = |text: &str| text.chars().filter(is_read).map(char::len_utf8).sum::<usize>();
    sample.utf8_chunks().map(|chunk| read(chunk.valid())).sum::<usize>() * 10 >= sample.len() * 7
}

/// Returns whether nearly all units of a sample are letters of ASCII, so that all their other bytes are zero.
fn is_wide(sample: &[u8], width: usize, is_big: bool) -> bool {
    let units = sample.chunks_exact(width);
    let count = units.len();
    let is_ascii = |unit: &[u8]| {
        let (low, rest) = if is_big { (unit[width - 1], &unit[..width - 1]) } else { (unit[0], &unit[1..]) };
        (low.is_ascii_graphic() || low.is_ascii_whitespace()) && rest.iter().all(|byte| *byte == 0)
    };
    count >= 4 && units.filter(|unit| is_ascii(unit)).count() * 10 >= count * 7
}

fn wide(bytes: &[u8], width: usize, is_big: bool) -> String {
    let unit = |unit: &[u8]| {
        let value = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
        if is_big { unit.iter().fold(0, value) } else { unit.iter().rev().fold(0, value) }
    };
    let units = bytes.chunks(width).map(unit);
    if width == 4 {
        return units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    }
    let units = units.map(|unit| unit as u16);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// How many bytes of a blob tell its encoding.
const SAMPLE: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Option<String> {
        match decode(bytes) {
            Content::Binary(_) => None,
            Content::Text(text) => Some(text.into_owned()),
        }
    }

    #[test]
    fn text_is_read_in_every_encoding_of_unicode() {
        let wanted = "kind: Secret # ü\n";
        let encode = |width: usize, is_big: bool, mark: bool| -> Vec<u8> {
            let mark = if mark { "\u{feff}" } else { "" };
            let text = format!("{mark}{wanted}");
            let units: Vec<u32> = if width == 4 {
                text.chars().map(u32::from).collect()
            } else {
                text.encode_utf16().map(u32::from).collect()
            };
            let bytes =
                units.into_iter().map(|unit| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() });
            bytes
                .flat_map(|bytes| if is_big { bytes[4 - width..].to_vec() } else { bytes[..width].to_vec() })
                .collect()
        };
        for width in [2, 4] {
            for is_big in [false, true] {
                for mark in [false, true] {
                    assert_eq!(
                        text(&encode(width, is_big, mark)).as_deref(),
                        Some(wanted),
                        "{width} {is_big} {mark}"
                    );
                }
            }
        }
        assert_eq!(text(b"\xef\xbb\xbfa").as_deref(), Some("a"));
        assert_eq!(text(b"a \xff b").as_deref(), Some("a \u{fffd} b"));
        assert_eq!(text(b"").as_deref(), Some(""));
    }

    #[test]
    fn a_zero_hides_no_text() {
        for bytes in [&b"kind: Secret\n# \0\n"[..], b"\0kind: Secret\n", b"kind: Secret \xff\0\xc3\xbc\n"] {
            let wanted = String::from_utf8_lossy(bytes);
            assert_eq!(text(bytes).as_deref(), Some(wanted.as_ref()));
        }
        let late = ["a: b\n".repeat(SAMPLE), "\0".repeat(SAMPLE)].concat();
        assert_eq!(text(late.as_bytes()), Some(late));
    }

    #[test]
    fn other_bytes_are_no_text() {
        assert_eq!(text(b"\x7fELF\0\0\0\x01\x02\x03\0\0\0\0\0\0\x10\x20\x30\0\0\0"), None);
        assert_eq!(text(&[0; 64]), None);
    }
}

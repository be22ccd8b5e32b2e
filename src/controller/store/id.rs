//! Uids and versions, as small as they can be: there are some for every object.

/// A uid or a version. What is not spelled as API servers do it is kept as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Number(u64),
    Text(Box<str>),
    Uuid([u8; 16]),
}

impl Id {
    pub(super) fn of(text: &str) -> Self {
        if let Some(bytes) = uuid(text) {
            return Self::Uuid(bytes);
        }
        match text.parse::<u64>() {
            // Not if it would be spelled in another way.
            Ok(number) if text == "0" || !text.starts_with(['0', '+']) => Self::Number(number),
            _ => Self::Text(text.into()),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
            Self::Uuid(bytes) => {
                let mut text = String::with_capacity(36);
                for (index, byte) in bytes.iter().enumerate() {
                    if DASHES.contains(&index) {
                        text.push('-');
                    }
                    text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
                }
                text
            }
        }
    }
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let (mut bytes, mut rest) = ([0; 16], text.as_bytes());
    for (index, byte) in bytes.iter_mut().enumerate() {
        if DASHES.contains(&index) {
            rest = rest.strip_prefix(b"-")?;
        }
        let (digits, others) = rest.split_first_chunk::<2>()?;
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
        rest = others;
    }
    rest.is_empty().then_some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Before which bytes of a UUID there is a dash.
const DASHES: [usize; 4] = [4, 6, 8, 10];
const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_api_servers_write_takes_no_memory_of_its_own() {
        assert!(matches!(Id::of("0b5c1c4e-9d4f-4d5c-8a39-4be0f6b0a1c2"), Id::Uuid(_)));
        assert!(matches!(Id::of("18446744073709551615"), Id::Number(u64::MAX)));
        for text in [
            "",
            "007",
            "+7",
            "-7",
            "18446744073709551616",
            "0B5C1C4E-9D4F-4D5C-8A39-4BE0F6B0A1C2",
            "0b5c1c4e9d4f4d5c8a394be0f6b0a1c2",
            "0b5c1c4e-9d4f-4d5c-8a39-4be0f6b0a1c2x",
        ] {
            assert!(matches!(Id::of(text), Id::Text(_)), "{text:?}");
        }
        assert!(size_of::<Id>() <= 24);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{0,22}|.{0,40}") {
            prop_assert_eq!(Id::of(&text).text(), text);
        }
    }
}

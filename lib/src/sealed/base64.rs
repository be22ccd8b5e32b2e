//! Base64 as Go reads it: the standard alphabet with padding, line breaks anywhere, bits behind the last byte
//! of any value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::secret::SecretBytes;

/// A text that is no base64; says where, not what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data at input byte {0}")]
pub struct Base64Error(
    /// The 0-based byte of the text at which reading stopped.
    pub usize,
);

/// Returns the bytes that a text stands for.
///
/// # Errors
/// If it is not base64.
pub(crate) fn decode(text: &[u8]) -> Result<SecretBytes, Base64Error> {
    // The usual case, at the speed of the library.
    if let Ok(bytes) = STANDARD.decode(text) {
        return Ok(bytes.into());
    }
    let mut out = SecretBytes::with_capacity(text.len() / 4 * 3 + 3);
    let mut position = 0;
    while let Some((quantum, length)) = quantum(text, &mut position)? {
        let bits = quantum.iter().fold(0_u32, |bits, &digit| bits << 6 | u32::from(digit));
        out.extend_from_slice(&bits.to_be_bytes()[1..length]);
        if length < 4 {
            break;
        }
    }
    Ok(out)
}

/// Returns bytes as text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads up to four digits from `position` on. Returns them, and how many there were before the padding;
/// nothing at the end of the text.
fn quantum(text: &[u8], position: &mut usize) -> Result<Option<([u8; 4], usize)>, Base64Error> {
    let mut digits = [0; 4];
    let mut count = 0;
    while count < 4 {
        skip_breaks(text, position);
        let Some(&byte) = text.get(*position) else {
            return if count == 0 { Ok(None) } else { Err(Base64Error(*position - count)) };
        };
        *position += 1;
        match digit(byte) {
            Some(digit) => {
                digits[count] = digit;
                count += 1;
            }
            None if byte == b'=' && count >= 2 => {
                padding(text, position, count)?;
                return Ok(Some((digits, count)));
            }
            None => return Err(Base64Error(*position - 1)),
        }
    }
    Ok(Some((digits, count)))
}

/// Reads what has to follow the first padding character: another one behind two digits, and then nothing.
fn padding(text: &[u8], position: &mut usize, count: usize) -> Result<(), Base64Error> {
    if count == 2 {
        skip_breaks(text, position);
        match text.get(*position) {
            None => return Err(Base64Error(text.len())),
            Some(b'=') => *position += 1,
            Some(_) => return Err(Base64Error(*position - 1)),
        }
    }
    skip_breaks(text, position);
    if *position < text.len() { Err(Base64Error(*position)) } else { Ok(()) }
}

fn skip_breaks(text: &[u8], position: &mut usize) {
    while matches!(text.get(*position), Some(b'\r' | b'\n')) {
        *position += 1;
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Result<Vec<u8>, usize> {
        decode(text.as_bytes()).map(|bytes| bytes.expose_secret().to_vec()).map_err(|error| error.0)
    }

    #[test]
    fn line_breaks_and_stray_bits_are_passed_over() {
        assert_eq!(bytes("Zm9v\r\nYm\nE=\n"), Ok(b"fooba".to_vec()));
        assert_eq!(bytes("eB=="), Ok(b"x".to_vec()));
        assert_eq!(bytes(""), Ok(Vec::new()));
    }

    #[test]
    fn other_texts_are_refused_where_go_refuses_them() {
        let refused = ["@@@", "Zm9v Zm9v", "AA", "eA=", "eA=A", "eA==eA==", "Zm9vZ", "Zm9=v"];
        let positions: Vec<_> = refused.map(|text| bytes(text).expect_err(text)).into();
        assert_eq!(positions, [0, 4, 0, 3, 2, 4, 4, 4]);
    }
}

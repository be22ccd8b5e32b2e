//! DER and PEM, as far as keys and certificates need them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::secret::SecretBytes;
use crate::template::functions::strings::decode_base64;

pub const BIT_STRING: u8 = 0x03;
pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTET_STRING: u8 = 0x04;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// Returns a value with its tag and length.
pub fn value(tag: u8, content: &[u8]) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(content.len() + 6);
    out.push(tag);
    match content.len() {
        length @ 0..0x80 => out.push(length as u8),
        length => {
            let bytes = length.to_be_bytes();
            let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(0);
            out.push(0x80 | (bytes.len() - start) as u8);
            out.extend_from_slice(&bytes[start..]);
        }
    }
    out.extend_from_slice(content);
    out
}

/// Returns values in one of another tag.
pub fn constructed(tag: u8, parts: &[&SecretBytes]) -> SecretBytes {
    let mut content = SecretBytes::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| content.extend_from_slice(part.expose_secret()));
    value(tag, content.expose_secret())
}

/// Returns a positive integer of big-endian bytes.
pub fn integer(bytes: &[u8]) -> SecretBytes {
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let mut content = SecretBytes::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    value(INTEGER, content.expose_secret())
}

/// Returns a bit string of whole bytes.
pub fn bits(bytes: &[u8]) -> SecretBytes {
    let mut content = SecretBytes::with_capacity(bytes.len() + 1);
    content.push(0);
    content.extend_from_slice(bytes);
    value(BIT_STRING, content.expose_secret())
}

/// A block of PEM.
pub struct Block {
    pub label: String,
    pub der: SecretBytes,
}

/// Returns the first block of a text, which may have other text around it.
pub fn from_pem(text: &[u8]) -> Option<Block> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut rest = text;
    loop {
        rest = &rest[memchr::memmem::find(rest, BEGIN)? + BEGIN.len()..];
        if let Some(block) = block_at(rest) {
            return Some(block);
        }
    }
}

fn block_at(text: &[u8]) -> Option<Block> {
    let end = memchr::memmem::find(text, b"-----")?;
    let label = std::str::from_utf8(&text[..end]).ok().filter(|label| !label.contains('\n'))?;
    let body = &text[end + 5..];
    let body = &body[..memchr::memmem::find(body, format!("-----END {label}-----").as_bytes())?];
    let mut digits = SecretBytes::with_capacity(body.len());
    // Lines of headers have a colon.
    for line in body.split(|&byte| byte == b'\n').filter(|line| !line.contains(&b':')) {
        line.iter().filter(|byte| !byte.is_ascii_whitespace()).for_each(|&byte| digits.push(byte));
    }
    let der = decode_base64(digits.expose_secret()).ok()?;
    Some(Block { label: label.to_owned(), der })
}

/// Returns DER as a block of PEM.
pub fn to_pem(label: &str, der: &SecretBytes) -> SecretBytes {
    let mut out = SecretBytes::with_capacity(der.len() * 3 / 2 + 80);
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in der.expose_secret().chunks(48) {
        let line = zeroize::Zeroizing::new(STANDARD.encode(line));
        out.push_str(&line);
        out.push(b'\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

//! A line of a baseline.

use std::fmt;

use scrypt::{Params, scrypt};

use crate::check::finding::Finding;

/// What makes the commitments of two places differ, even of the same value.
pub(super) type Salt = [u8; 16];

/// What tells a value again, and tells nothing of it but by trying.
pub(super) type Commitment = [u8; 16];

/// An entry: a place, and a commitment to the value there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub key: Key,
    /// Nothing for rules that find no value.
    pub commitment: Option<(Salt, Commitment)>,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub rule: String,
    pub path: String,
    object: String,
    pointer: String,
}

impl Key {
    /// Returns the place of a finding.
    pub(super) fn of(finding: &Finding) -> Self {
        Self {
            rule: finding.rule.id.to_owned(),
            path: finding.path.clone(),
            object: finding.object.clone(),
            pointer: finding.pointer.clone(),
        }
    }
}

impl Entry {
    /// Reads a line.
    pub(super) fn parse(line: &str) -> Result<Self, &'static str> {
        let fields: Vec<_> = line.split(' ').collect();
        let [rule, path, place, commitment] = fields[..] else { return Err(NO_ENTRY) };
        let (object, pointer) = place.split_once('#').ok_or(NO_ENTRY)?;
        let is_rule = (4..=12).contains(&rule.len())
            && rule.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !is_rule || path.is_empty() {
            return Err(NO_ENTRY);
        }
        let commitment = if commitment == "-" {
            if !is_told_by_place(rule) {
                return Err("an entry of this rule needs a commitment to a value");
            }
            None
        } else {
            let (salt, commitment) = commitment.split_once('$').ok_or(NO_ENTRY)?;
            Some((unhex(salt).ok_or(NO_ENTRY)?, unhex(commitment).ok_or(NO_ENTRY)?))
        };
        let [path, object, pointer] = [path, object, pointer].map(unescaped);
        let key = Key {
            rule: rule.to_owned(),
            path: path.ok_or(NO_ENTRY)?,
            object: object.ok_or(NO_ENTRY)?,
            pointer: pointer.ok_or(NO_ENTRY)?,
        };
        Ok(Self { key, commitment })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { rule, path, object, pointer } = &self.key;
        write!(formatter, "{rule} {} {}#{} ", escaped(path), escaped(object), escaped(pointer))?;
        match &self.commitment {
            None => formatter.write_str("-"),
            Some((salt, commitment)) => write!(formatter, "{}${}", hex(salt), hex(commitment)),
        }
    }
}

/// Returns whether a rule finds no value, and no value that comes later could hide behind what it found.
pub(super) fn is_told_by_place(rule: &str) -> bool {
    matches!(rule, "SEAL005" | "SOPS005" | "SOPS009" | "SOPS011" | "SOPS013")
}

/// Makes a commitment; its cost is two to the power of `log_cost`.
pub(super) fn commit(salt: &Salt, value: &[u8], log_cost: u8) -> Commitment {
    let parameters = Params::new(log_cost, 8, 1, 16).expect("the parameters are in the range of scrypt");
    let mut commitment = Commitment::default();
    scrypt(value, salt, &parameters, &mut commitment).expect("16 bytes are a length of scrypt");
    commitment
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '%' | '#' | '$') || letter.is_whitespace() || letter.is_control() {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first == b'%' {
            let digits = behind.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(is_hex) {
        return None;
    }
    let value = |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0]) << 4 | value(pair[1]);
    }
    Some(bytes)
}

const NO_ENTRY: &str = "this is no entry: write the baseline anew with `kubectl seal hook baseline`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commitments_are_those_of_scrypt() {
        // Slow, as it is in use.
        let made = commit(&[7; 16], b"made up", 15);
        assert_eq!(hex(&made), VECTOR);
        assert_ne!(commit(&[8; 16], b"made up", 4), commit(&[7; 16], b"made up", 4));
    }

    /// Of the scrypt of OpenSSL: N 32768, r 8, p 1, 16 bytes.
    const VECTOR: &str = "0911bd1e64592603ec25fe2bcc26f986";
}

//! Values that are given as JSON on the command line.
//!
//! Invariant: a number is kept as it is written, or refused. The parser would make a float of an integer that
//! is too large, without its last digits.

use selkie::secret::SecretBytes;
use serde_json::Value as Json;

/// Why a text is no value. What the parser says may cite the value, so it is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonValueError {
    /// An integer has more than 64 bits.
    #[error("the integer is too large for SOPS")]
    Integer,
    /// It is not JSON.
    #[error("the value is not JSON: {}", place(*.line, *.column))]
    Malformed {
        /// The 1-based line.
        line: usize,
        /// The 1-based column.
        column: usize,
    },
    /// No float is as large.
    #[error("the number is out of range")]
    Range,
}

/// Reads a value.
///
/// # Errors
/// If it is not JSON, or has a number that cannot be kept.
pub fn parse(text: &SecretBytes) -> Result<Json, JsonValueError> {
    let text = text.expose_secret();
    let parsed = serde_json::from_slice(text)
        .map_err(|error| JsonValueError::Malformed { line: error.line(), column: error.column() });
    // Text that is no JSON has no numbers, unless one of them is why.
    match (numbers(text).find_map(fault), &parsed) {
        (Some(JsonValueError::Range), _) => Err(JsonValueError::Range),
        (Some(fault), Ok(_)) => Err(fault),
        _ => parsed,
    }
}

/// Returns why a number cannot be kept.
fn fault(number: &str) -> Option<JsonValueError> {
    if number.contains(['.', 'e', 'E']) {
        return number.parse::<f64>().is_ok_and(f64::is_infinite).then_some(JsonValueError::Range);
    }
    let fits = number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    (!fits).then_some(JsonValueError::Integer)
}

/// Returns the numbers of a JSON text.
fn numbers(text: &[u8]) -> impl Iterator<Item = &str> {
    let (mut at, mut in_string) = (0, false);
    std::iter::from_fn(move || {
        while at < text.len() {
            let (start, byte) = (at, text[at]);
            at += 1;
            match byte {
                b'"' => in_string = !in_string,
                b'\\' if in_string => at += 1,
                b'-' | b'0'..=b'9' if !in_string => {
                    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                    at += text[at..].iter().take_while(is_part).count();
                    return str::from_utf8(&text[start..at]).ok();
                }
                _ => {}
            }
        }
        None
    })
}

fn place(line: usize, column: usize) -> String {
    if line > 1 { format!("line {line}, column {column}") } else { format!("column {column}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> Result<Json, JsonValueError> {
        parse(&SecretBytes::from(text))
    }

    #[test]
    fn number_is_kept_or_refused() {
        for (text, value) in [
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("[1.5e3, -2]", json!([1500.0, -2])),
            (r#""12345678901234567890123""#, json!("12345678901234567890123")),
            (r#"{"\"12345678901234567890123": 1}"#, json!({"\"12345678901234567890123": 1})),
        ] {
            assert_eq!(parsed(text), Ok(value), "{text}");
        }
        for text in
            ["12345678901234567890123", "-9223372036854775809", r#"{"a": ["x", 18446744073709551616]}"#]
        {
            assert_eq!(parsed(text), Err(JsonValueError::Integer), "{text}");
        }
        for text in ["1e400", "[-1.5E999]"] {
            assert_eq!(parsed(text), Err(JsonValueError::Range), "{text}");
        }
    }

    #[test]
    fn place_is_told_of_what_is_no_json() {
        assert_eq!(parsed("hello"), Err(JsonValueError::Malformed { line: 1, column: 1 }));
        assert_eq!(
            parsed("{\n\"a\" 1}").expect_err("it is not JSON").to_string(),
            "the value is not JSON: line 2, column 5"
        );
    }
}

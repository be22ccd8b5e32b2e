//! Scalars as plain text, for places that hold nothing but text: dotenv, INI and environment variables.

use std::fmt::Write;

use zeroize::Zeroizing;

use super::number::go_general;
use crate::secret::SecretBytes;
use crate::tree::{Tree, Value};

/// Appends a scalar the way SOPS writes it where there is only text; returns `false`, and appends
/// nothing, for a map, a list or a comment.
///
/// A null becomes `<nil>`, as in SOPS, and a fraction of a second is dropped.
pub fn append_scalar_text(tree: &Tree, value: Value, out: &mut SecretBytes) -> bool {
    match value {
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Float(value) => out.push_str(&Zeroizing::new(float_text(value))),
        // Writing to memory does not fail.
        Value::Int(value) => write!(out, "{value}").expect("memory is writable"),
        Value::Unsigned(value) => write!(out, "{value}").expect("memory is writable"),
        Value::Null => out.push_str("<nil>"),
        Value::Str(text) => out.extend_from_slice(tree.bytes(text)),
        Value::Time(text) => append_whole_seconds(tree.bytes(text), out),
        Value::Comment(_) | Value::List | Value::Map => return false,
    }
    true
}

/// As Go's `%G`, with one decimal where the number would look like an integer.
fn float_text(value: f64) -> String {
    let text = go_general(value, -4, 6).replace('e', "E");
    let is_integer = value.is_finite() && !text.contains(['.', 'E']);
    if is_integer { text + ".0" } else { text }
}

fn append_whole_seconds(time: &[u8], out: &mut SecretBytes) {
    let Some(point) = time.iter().position(|&byte| byte == b'.') else {
        return out.extend_from_slice(time);
    };
    let digits = time[point + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    out.extend_from_slice(&time[..point]);
    out.extend_from_slice(&time[point + 1 + digits..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: impl Fn(&mut Tree) -> Value) -> String {
        let mut tree = Tree::new(SecretBytes::new());
        let value = value(&mut tree);
        let mut out = SecretBytes::new();
        assert!(append_scalar_text(&tree, value, &mut out));
        String::from_utf8(out.expose_secret().to_vec()).expect("text")
    }

    #[test]
    fn a_float_never_looks_like_an_integer() {
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.5, "0.5"),
            (100_000.0, "100000.0"),
            (1e6, "1E+06"),
            (1_234_567.0, "1.234567E+06"),
            (1e21, "1E+21"),
            (1.5e-7, "1.5E-07"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(text(|_| Value::Float(value)), expected);
        }
    }

    #[test]
    fn a_time_has_whole_seconds() {
        let time = |source: &'static str| text(move |tree| Value::Time(tree.intern(source.as_bytes())));
        assert_eq!(time("2001-12-14T21:59:43.1-05:00"), "2001-12-14T21:59:43-05:00");
        assert_eq!(time("2024-01-01T00:00:00Z"), "2024-01-01T00:00:00Z");
    }

    #[test]
    fn a_null_is_what_sops_makes_of_it() {
        assert_eq!(text(|_| Value::Null), "<nil>");
    }

    #[test]
    fn a_list_has_no_text() {
        assert!(!append_scalar_text(&Tree::new(SecretBytes::new()), Value::List, &mut SecretBytes::new()));
    }
}

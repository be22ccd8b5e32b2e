//! Made-up JSON: every kind of value, key and escape, with any white space that is allowed.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::one_of;

/// Returns texts of JSON with an object at the top.
pub fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => string(),
        3 => number(),
        1 => one_of(&["true", "false", "null", "{}", "[]", "{ }", "[\n]", "\"\""]),
    ];
    let value = leaf.prop_recursive(4, 24, 5, |inner| {
        let list = (vec((space(), inner.clone(), space()), 1..4)).prop_map(|items| {
            let items: Vec<_> =
                items.into_iter().map(|(before, item, after)| before + &item + &after).collect();
            format!("[{}]", items.join(","))
        });
        prop_oneof![2 => object(inner), 1 => list]
    });
    (space(), object(value), space()).prop_map(|(before, object, after)| before + &object + &after)
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let entry = (space(), key(), space(), space(), value, space());
    let entry = entry.prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    vec(entry, 1..5).prop_map(|entries| format!("{{{}}}", entries.join(",")))
}

fn key() -> impl Strategy<Value = String> {
    // Equal keys are rare, and valid.
    prop_oneof![
        4 => one_of(&["a", "b", "data", "stringData", "password", "k_clear", "api_secret", "x_unencrypted", "ключ", "a:b", "", "sops_like"]),
        4 => "[a-z]{2,9}",
        1 => one_of(&["a\\nb", "\\u0061", "q\\\"q", "\\ud83d\\ude00", "x\\/y", "\u{1F511}", " "]),
    ]
    .prop_map(|key| format!("\"{key}\""))
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ a-zA-Z0-9#:,'{}&*!|<>%@é日-]{0,6}",
        1 => one_of(&[
            "\\n", "\\t", "\\\\", "\\\"", "\\u0041", "\\u00e9", "\\ud83d\\ude00", "\\u0000", "\\r", "\\b", "\\f", "\\/", "\\u2028", "\u{2028}",
            "\u{1F600}", "\u{7f}", "\\ud800", "\\udc00x", "\u{FEFF}", "ENC[",
        ]),
    ];
    vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => one_of(&[
            "0", "-0", "1", "-7", "1.0", "1.10", "1e3", "1E+3", "1e-7", "0.000001", "1e21", "1e20", "123456789012345678901234567890",
            "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "-0.0", "1.5E-07", "1e-400",
        ]),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,8})?([eE][+-]?[0-9]{1,2})?",
    ]
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 2 => Just(" ".to_owned()), 1 => one_of(&["\n  ", "\t", "\r\n", "\n\n"])]
}

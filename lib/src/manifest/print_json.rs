//! Objects as JSON in the style of Kubernetes' tools: two blanks a level, and no character that HTML has a
//! meaning for.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::number::json_number_text;
use crate::secret::SecretBytes;

/// Returns a value as indented JSON, without a line break at its end. Entries stay in their order.
#[must_use]
pub fn print_json(value: &Value) -> SecretBytes {
    let mut out = SecretBytes::new();
    print(value, 0, &mut out);
    out
}

fn print(value: &Value, depth: usize, out: &mut SecretBytes) {
    match value {
        Value::Array(items) => {
            let item = |item: &Value, out: &mut SecretBytes| print(item, depth + 1, out);
            print_all(items, "[]", depth, item, out);
        }
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Null => out.push_str("null"),
        Value::Number(number) => out.push_str(&json_number_text(number)),
        Value::Object(fields) => print_object(fields, depth, out),
        Value::String(text) => print_text(text, out),
    }
}

fn print_object(fields: &Map<String, Value>, depth: usize, out: &mut SecretBytes) {
    let entry = |(name, value): (&String, &Value), out: &mut SecretBytes| {
        print_text(name, out);
        out.push_str(": ");
        print(value, depth + 1, out);
    };
    print_all(fields, "{}", depth, entry, out);
}

fn print_all<I: IntoIterator>(
    items: I,
    brackets: &str,
    depth: usize,
    print: impl Fn(I::Item, &mut SecretBytes),
    out: &mut SecretBytes,
) {
    let (open, close) = brackets.split_at(1);
    out.push_str(open);
    let mut is_empty = true;
    for item in items {
        out.push_str(if is_empty { "\n" } else { ",\n" });
        out.push_str(&INDENT.repeat(depth + 1));
        print(item, out);
        is_empty = false;
    }
    if !is_empty {
        out.push_str("\n");
        out.push_str(&INDENT.repeat(depth));
    }
    out.push_str(close);
}

fn print_text(text: &str, out: &mut SecretBytes) {
    out.push(b'"');
    let mut start = 0;
    for (at, char) in text.char_indices().filter(|&(_, char)| is_escaped(char)) {
        out.push_str(&text[start..at]);
        print_escape(char, out);
        start = at + char.len_utf8();
    }
    out.push_str(&text[start..]);
    out.push(b'"');
}

const fn is_escaped(char: char) -> bool {
    matches!(char, '\0'..='\x1f' | '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

fn print_escape(char: char, out: &mut SecretBytes) {
    match char {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ => write!(out, "\\u{:04x}", u32::from(char)).expect("memory takes everything"),
    }
}

const INDENT: &str = "  ";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_indented_and_html_is_escaped() {
        let value = json!({"b": [1, {}, []], "a": "<&>\u{8}\u{7f}\u{2028}", "f": 1e21, "n": null});
        let expected = "{\n  \"b\": [\n    1,\n    {},\n    []\n  ],\n  \
                        \"a\": \"\\u003c\\u0026\\u003e\\b\u{7f}\\u2028\",\n  \"f\": 1e+21,\n  \"n\": null\n}";
        assert_eq!(str::from_utf8(print_json(&value).expose_secret()), Ok(expected));
    }
}

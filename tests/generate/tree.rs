//! Made-up trees, as the peer writes them: strings with everything that YAML trips over, and comments
//! wherever a tree can have one.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use serde_json::{Value as Json, json};

use super::one_of;

/// Returns the documents of trees.
pub fn documents() -> impl Strategy<Value = Json> {
    let documents = prop_oneof![5 => vec(entries(), 1), 1 => vec(entries(), 2..4)];
    documents.prop_map(|documents| documents.into_iter().map(map).collect())
}

/// Returns strings that are hard to write down.
pub fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => one_of(&[
            "a", "b1", " ", "  ", "\n", "\n\n", "\t", ":", ": ", "#", " #", "-", "- ", "'", "\"", "\\", ",", "[", "]", "{", "}", "?", "? ",
            "&", "*", "!", "|", ">", "%", "@", "`", "~", "=", "<<", "0", "1", "7", ".", "_", "e", "x", "o", "+", "---", "...", "T", "Z",
        ]),
        1 => one_of(&["\r", "\r\n", "\u{7f}", "\0", "\u{1}", "é", "日本", "\u{85}", "\u{a0}", "\u{2028}", "\u{feff}", "\u{fffe}", "😀"]),
    ];
    let words = one_of(&[
        "",
        "null",
        "~",
        "true",
        "no",
        "y",
        "1",
        "0x1F",
        "1_000",
        "12:30",
        "12:3x",
        "1:2:3.5",
        "2024-01-01",
        ".5",
        "1e3",
        "-.INF",
        "<<",
        "=",
        "---",
        "--- a",
        "...",
        "- a",
        "? a",
        "a: b",
        "a:",
        ":a",
        "#",
        "a #b",
        "\ta",
        "\ta\nb",
        " a\nb",
        "\n",
        "\na",
        "\n a",
        "a \nb",
        "a\n",
        "a\n\n",
        "a\n\n\n",
        "  \n",
        "a\n\tb",
        "\n\ta",
        "l1\nl2\n",
        "word word word",
        "2001-12-14 21:59:43 -5",
    ]);
    prop_oneof![3 => words, 3 => vec(piece, 0..6).prop_map(|pieces| pieces.concat()), 1 => "[a-z ]{0,12}", 1 => "[a-z]{120,140}"]
}

/// A comment's text, and whether it stands behind a value.
type Comment = (String, bool);
type Entry = (Vec<Comment>, String, Json);
type Item = (Vec<Comment>, Json);

fn entries() -> impl Strategy<Value = (Vec<Entry>, Vec<String>)> {
    (vec(entry(value()), 0..5), trailing())
}

fn entry(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Entry> {
    let key = prop_oneof![4 => one_of(&["a", "b", "c", "data", "two words"]), 1 => string()];
    (comments(), key, value)
}

fn value() -> impl Strategy<Value = Json> {
    let float = prop_oneof![
        any::<f64>(),
        one_of(&["0.5", "1e6", "1234567.5", "1e-5", "-2.5"]).prop_map(|text| text.parse().expect("a number"))
    ];
    let leaf = prop_oneof![
        8 => string().prop_map(|text| json!({"str": text})),
        1 => any::<i64>().prop_map(|number| json!({"int": number.to_string()})),
        1 => float.prop_map(|number: f64| json!({"float": if number.is_nan() { "NaN".to_owned() } else { format!("{number:e}") }})),
        1 => any::<bool>().prop_map(|value| json!({"bool": value})),
        1 => Just(json!({"null": true})),
        1 => one_of(&["2001-12-14T21:59:43.1-05:00", "2024-01-01T00:00:00Z"]).prop_map(|time| json!({"time": time})),
        1 => Just(json!({"str": {"base64": "/w=="}})),
    ];
    leaf.prop_recursive(5, 24, 5, |inner| {
        prop_oneof![
            (vec(entry(inner.clone()), 0..4), trailing()).prop_map(map),
            (vec((comments(), inner), 0..4), trailing()).prop_map(list),
        ]
    })
}

fn comments() -> impl Strategy<Value = Vec<Comment>> {
    prop_oneof![8 => Just(Vec::new()), 2 => vec((comment(), Just(false)), 1..3), 1 => vec((comment(), Just(true)), 1), 1 => vec((comment(), any::<bool>()), 1..4)]
}

fn trailing() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![6 => Just(Vec::new()), 1 => vec(comment(), 1..3)]
}

fn comment() -> impl Strategy<Value = String> {
    one_of(&[" note", "tight", "", "# twice", " - item", " key: value", " ünï", "ENC[x]"])
}

fn map((entries, trailing): (Vec<Entry>, Vec<String>)) -> Json {
    let mut items = Vec::new();
    let mut seen = Vec::new();
    for (comments, key, value) in entries {
        if seen.contains(&key) {
            continue;
        }
        items.extend(comments.iter().map(|(text, inline)| written(text, *inline)));
        items.push(json!({"key": key, "value": value}));
        seen.push(key);
    }
    items.extend(trailing.iter().map(|text| written(text, false)));
    json!({ "map": items })
}

fn list((entries, trailing): (Vec<Item>, Vec<String>)) -> Json {
    let mut items = Vec::new();
    for (comments, value) in entries {
        items.extend(comments.iter().map(|(text, inline)| written(text, *inline)));
        items.push(value);
    }
    items.extend(trailing.iter().map(|text| written(text, false)));
    json!({ "list": items })
}

fn written(comment: &str, inline: bool) -> Json {
    if inline { json!({"comment": comment, "inline": true}) } else { json!({ "comment": comment }) }
}

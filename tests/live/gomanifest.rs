//! Manifests, read and printed by us and by the code of kubeseal.

use std::collections::BTreeMap;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::TestCaseError;
use selkie::manifest::{ObjectKind, print_json, print_yaml, read_object, read_stream};
use selkie::sealed::Secret;
use serde_json::{Map, Value as Json, json};

use super::gotree::{Gotree, Refusal};
use super::properties::{number_of_documents, runner};
use crate::generate;
use crate::peer::Peer;

/// The parts of generated texts: what YAML, JSON or Go give a meaning.
const PARTS: &[&str] = &[
    "a",
    "b c",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "\r",
    ":",
    ": ",
    "#",
    " #",
    "-",
    "- ",
    "?",
    "!",
    "&x",
    "*x",
    "|",
    ">",
    "'",
    "\"",
    "\\",
    "%",
    "@",
    "`",
    "{",
    "}",
    "[",
    "]",
    ",",
    "---",
    "...",
    "<",
    "<<",
    "&",
    "=",
    "~",
    "y",
    "No",
    "null",
    "true",
    ".5",
    ".inf",
    "1",
    "017",
    "0x1f",
    "1e3",
    "1_0",
    "1:30",
    "2020-01-01",
    "+",
    "é",
    "日本",
    "😀",
    "\u{a0}",
    "\u{7}",
    "\u{feff}",
    "\u{fffd}",
    "word word word word word word",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

/// Scalars of YAML, and what may stand around them.
const SCALARS: &[&str] = &[
    "a",
    "y",
    "Y",
    "yes",
    "on",
    "Off",
    "n",
    "NO",
    "true",
    "False",
    "null",
    "~",
    "",
    "0",
    "-0",
    "017",
    "0o17",
    "0x1F",
    "0b11",
    "-0b1",
    "0b-1",
    "1_000",
    "1e3",
    "1.50",
    ".5",
    "5.",
    "-.5e-3",
    ".inf",
    "-.INF",
    "1:30",
    "1:30.5",
    "+5",
    "+.5",
    "2020-01-01",
    "2020-01-01T00:00:00Z",
    "2020-1-1 1:2:3",
    "12345678901234567890",
    "123456789012345678901",
    "1e21",
    "0.1234567890123456789",
    "16777217.0",
    "3.4e39",
    "1e-7",
    "9007199254740993",
    "-9223372036854775809",
    "1e400",
    "=",
    "08",
    "0_8",
    "0x_1",
    "._5",
    "1__0",
    "'y'",
    "\"1\"",
    "'it''s'",
    "\"a\\nb\"",
    "!!str 1",
    "!!int '5'",
    "!!float 1",
    "!!bool 'yes'",
    "!!binary aGk=",
    "!x 1",
    "! 1",
    "!!timestamp 2020-01-01",
    "!!int x",
    "!!null ~",
    "|\n    a\n    b\n",
    ">-\n    a\n    b\n\n    c\n",
    "|+\n    a\n\n",
    "[1, y, .5]",
    "{a: 1, y: n}",
    "[]",
    "{}",
    "&a 1",
    "*a",
    "a b",
    "a#b",
    "a: b",
    "\"\\u2028\"",
    "0.30000000000000004",
    "100000000000000000000000",
];

const KEYS: &[&str] = &[
    "a",
    "b",
    "c",
    "y",
    "Off",
    "1",
    "017",
    "1.5",
    "1e3",
    "~",
    "'y'",
    "<<",
    "\"<<\"",
    "2020-01-01",
    ".inf",
    "12345678901234567890",
    "kind",
    "type",
    "Type",
    "stringdata",
];

pub fn tests() -> Vec<Trial> {
    vec![
        Peer::Gomanifest.test("prints_alike", |peer| prints_alike(&peer)),
        Peer::Gomanifest.test("reads_secrets_alike", |peer| reads_secrets_alike(&peer)),
        Peer::Gomanifest.test("reads_values_alike", |peer| reads_values_alike(&peer)),
    ]
}

fn prints_alike(peer: &Path) -> Result<(), Failed> {
    let peer = Gotree::start(peer)?;
    run(&values(), |value| {
        let theirs = peer.ask(&json!({"op": "print", "value": value})).map_err(refused)?;
        // Go's JSON is sorted where it comes from no struct.
        let ours = print_json(&ordered(value));
        compare("json", text(&ours), theirs["json"].as_str())?;
        compare("yaml", text(&print_yaml(value)), theirs["yaml"].as_str())
    })
}

fn reads_values_alike(peer: &Path) -> Result<(), Failed> {
    let peer = Gotree::start(peer)?;
    run(&maps(), |source| {
        let ours = read_object(source.as_bytes());
        match (ours, peer.ask(&json!({"op": "convert", "text": source}))) {
            (Ok(ours), Ok(theirs)) => compare("value", Some(&sorted(&ours)), Some(&sorted(&theirs["value"]))),
            (Err(_), Err(_)) => Ok(()),
            (ours, theirs) => fail(&format!("we read {ours:?}, they {theirs:?}")),
        }
    })
}

fn reads_secrets_alike(peer: &Path) -> Result<(), Failed> {
    let peer = Gotree::start(peer)?;
    let documents = vec(prop_oneof![4 => secrets(), 1 => comments()], 1..3);
    let separators = prop_oneof![Just("---\n"), Just("--- # comment\n"), Just("---\n# comment\n---   \n")];
    let streams = (documents, separators, any::<bool>(), any::<bool>()).prop_map(
        |(documents, separator, crlf, leads)| {
            let stream = documents.join(separator);
            let stream = if leads { format!("---\n{stream}") } else { stream };
            if crlf { stream.replace('\n', "\r\n") } else { stream }
        },
    );
    run(&streams, |source| {
        let ours = read_stream(source.as_bytes(), ObjectKind::Secret).map_err(|error| error.to_string());
        let ours = ours.and_then(|objects| {
            // Go decodes the values at once.
            let bad = objects.iter().find_map(|object| Secret::from_any_json(&object.clone().into()).err());
            bad.map_or(Ok(objects), |error| Err(error.to_string()))
        });
        match (ours, peer.ask(&json!({"op": "secrets", "text": source}))) {
            (Ok(ours), Ok(theirs)) => {
                let ours: Json = ours.into_iter().map(as_go_has_it).collect();
                let theirs = theirs["objects"].as_array().into_iter().flatten().cloned();
                let theirs: Json = theirs.map(with_empty_values).collect();
                compare("objects", Some(&sorted(&ours)), Some(&sorted(&theirs)))
            }
            (Err(_), Err(_)) => Ok(()),
            // Bytes as a list of numbers are no use to anybody.
            (Err(ours), Ok(_)) if ours.contains("unmarshal array") && ours.ends_with("[]uint8") => Ok(()),
            // Where there is nothing we say so.
            (Err(_), Ok(theirs)) if theirs["objects"].is_null() => Ok(()),
            (ours, theirs) => fail(&format!("we read {ours:?}, they {theirs:?}")),
        }
    })
}

fn run<T: std::fmt::Debug>(
    cases: &impl Strategy<Value = T>,
    check: impl Fn(&T) -> Result<(), TestCaseError>,
) -> Result<(), Failed> {
    Ok(runner(number_of_documents()?).run(cases, |case| check(&case))?)
}

fn values() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1000_i64..1000).prop_map(Json::from),
        any::<f64>().prop_filter("JSON has no others", |value| value.is_finite()).prop_map(Json::from),
    ];
    let leaf = prop_oneof![
        6 => texts().prop_map(Json::from),
        1 => number,
        1 => any::<bool>().prop_map(Json::from),
        1 => Just(Json::Null),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let map = vec((names(), inner.clone()), 0..16);
        prop_oneof![
            2 => map.prop_map(|entries| entries.into_iter().collect::<Map<_, _>>().into()),
            1 => vec(inner, 0..6).prop_map(Json::Array),
        ]
    })
}

/// Keys that have an order: of `1a`, `3` and `12` each stands before the next for go-yaml, which then sorts them
/// as they happen to come.
fn names() -> impl Strategy<Value = String> {
    let without_digits = |text: String| text.replace(|char: char| char.is_ascii_digit(), "");
    prop_oneof![4 => texts().prop_map(without_digits), 1 => "[k-m][0-9]{1,4}"]
        .prop_filter("this is quoted by us: see `docs/compatibility.md`", |text| text != "<<")
}

fn texts() -> impl Strategy<Value = String> {
    let parts = vec(generate::one_of(PARTS), 0..6).prop_map(|parts| parts.concat());
    let long =
        (generate::one_of(PARTS), 1..60_usize).prop_map(|(part, count)| format!("x{}", part.repeat(count)));
    let digits = "[a-c0-9._/-]{0,8}";
    prop_oneof![5 => parts, 1 => long, 1 => digits]
}

fn maps() -> impl Strategy<Value = String> {
    entries(1..5).prop_map(|entries| entries.iter().map(|(key, value)| format!("{key}: {value}\n")).collect())
}

/// Keys and values. No key stands twice: of two the last one counts for both sides, but they read the other one
/// less closely.
fn entries(count: std::ops::Range<usize>) -> impl Strategy<Value = BTreeMap<String, String>> {
    vec((generate::one_of(KEYS), generate::one_of(SCALARS)), count)
        .prop_map(|entries| entries.into_iter().collect())
}

fn secrets() -> impl Strategy<Value = String> {
    let block = |name: &'static str| {
        entries(0..4).prop_map(move |entries| {
            let entry = |(key, value): (&String, &String)| format!("  {key}: {value}\n");
            let lines: String = entries.iter().map(entry).collect();
            if lines.is_empty() { lines } else { format!("{name}:\n{lines}") }
        })
    };
    let field = |name: &'static str| {
        generate::one_of(SCALARS)
            .prop_map(move |value| format!("{name}: {}\n", value.replace("\n    ", "\n  ")))
    };
    let fields = prop_oneof![
        4 => block("stringData"),
        2 => block("metadata"),
        1 => block("data"),
        1 => field("type"),
        1 => field("immutable"),
        1 => field("unknown"),
        2 => generate::one_of(&["metadata:\n  annotations: {a: 1, y: yes}\n  labels:\n    x: 1.50\n    z: ~\n"]),
    ];
    vec(fields, 0..3).prop_map(|mut fields| {
        let name = |field: &String| field.split(':').next().unwrap_or_default().to_owned();
        fields.sort_by_key(name);
        fields.dedup_by_key(|field| name(field));
        format!("kind: Secret\n{}", fields.concat())
    })
}

fn comments() -> impl Strategy<Value = String> {
    generate::one_of(&["# nothing\n", "\n", "~\n", "{}\n"])
}

/// Returns a Secret as Go marshals it: values are bytes, and what is empty is left out.
fn as_go_has_it(object: Map<String, Json>) -> Json {
    let mut object = without_zeros(Json::Object(object));
    if object.get("metadata").is_none() {
        object["metadata"] = json!({});
    }
    object
}

/// Returns a Secret with an empty value for each that is null.
fn with_empty_values(mut secret: Json) -> Json {
    for value in secret.get_mut("data").and_then(Json::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if value.is_null() {
            *value = "".into();
        }
    }
    secret
}

fn without_zeros(value: Json) -> Json {
    match value {
        Json::Object(fields) => {
            let is_zero = |value: &Json| {
                value.is_null()
                    || value == ""
                    || *value == json!({})
                    || *value == json!([])
                    || *value == json!(0)
            };
            let fields = fields.into_iter().map(|(name, value)| {
                // The entries of these maps stay, whatever they are.
                let keeps = ["annotations", "data", "labels", "stringData"].contains(&name.as_str());
                (name, if keeps { value } else { without_zeros(value) })
            });
            fields.filter(|(_, value)| !is_zero(value)).collect()
        }
        other => other,
    }
}

/// Returns a value with all entries in one order.
fn ordered(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(ordered).collect(),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), ordered(value)));
            fields.collect::<BTreeMap<_, _>>().into_iter().collect()
        }
        other => other.clone(),
    }
}

/// Returns a value with all entries in one order, numbers by their value.
fn sorted(value: &Json) -> Json {
    match ordered(value) {
        Json::Array(items) => items.iter().map(sorted).collect(),
        Json::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect(),
        Json::Number(number) if number.is_f64() => {
            let value = number.as_f64().unwrap_or_default();
            // Go leaves out the fraction of whole numbers, and what it writes is read here less exactly.
            if value.fract() == 0.0 && value.abs() < 1e15 {
                json!(value as i64)
            } else {
                format!("{value:.12e}").into()
            }
        }
        other => other,
    }
}

fn text(printed: &selkie::secret::SecretBytes) -> Option<&str> {
    std::str::from_utf8(printed.expose_secret()).ok()
}

fn compare<T: PartialEq + std::fmt::Debug>(
    what: &str,
    ours: Option<T>,
    theirs: Option<T>,
) -> Result<(), TestCaseError> {
    if ours == theirs { Ok(()) } else { fail(&format!("{what}: we have\n{ours:?}, they have\n{theirs:?}")) }
}

fn fail(why: &str) -> Result<(), TestCaseError> {
    Err(TestCaseError::fail(why.to_owned()))
}

fn refused(refusal: Refusal) -> TestCaseError {
    TestCaseError::reject(refusal.error)
}

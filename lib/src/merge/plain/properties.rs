//! What holds for any merge, tried on documents that are made up, in layouts that are made up.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use serde_json::{Value as Json, json};

use super::{Merged, PlainMergeError, merge};
use crate::format::Format;
use crate::merge::{Conflict, ConflictKind, Sides};
use crate::secret::SecretBytes;

/// A value whose entries have an order.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Leaf(Json),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// A change of a value: where, and what.
#[derive(Clone, Debug)]
struct Edit {
    way: Vec<usize>,
    what: u8,
    value: Value,
}

/// How a document is written.
#[derive(Clone, Copy, Debug)]
struct Style {
    seed: u64,
    indent: usize,
    line_break: &'static str,
    ends: bool,
}

fn leaf() -> impl Strategy<Value = Value> {
    let texts = prop::sample::select(vec![
        "x", "a b", "l\nm\n", "# no", "it's", "true", "", "k: v", "- i", "p, q", "1",
    ]);
    prop_oneof![
        texts.prop_map(|text| json!(text)),
        (0..4_i64).prop_map(|number| json!(number)),
        any::<bool>().prop_map(|value| json!(value)),
        prop::sample::select(vec![json!(null), json!(1.5)]),
    ]
    .prop_map(Value::Leaf)
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let named = prop::collection::vec(inner.clone(), 0..4).prop_map(|values| {
            let item = |(at, value): (usize, Value)| {
                Value::Map(vec![
                    ("name".to_owned(), Value::Leaf(json!(format!("n{at}")))),
                    ("v".to_owned(), value),
                ])
            };
            Value::List(values.into_iter().enumerate().map(item).collect())
        });
        prop_oneof![map(inner.clone()), prop::collection::vec(inner, 0..4).prop_map(Value::List), named]
    })
}

fn map(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec(("[a-f]", inner), 0..5).prop_map(|entries| {
        let mut seen = BTreeSet::new();
        Value::Map(entries.into_iter().filter(|(key, _)| seen.insert(key.clone())).collect())
    })
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = (prop::collection::vec(0..6_usize, 1..5), 0..6_u8, value())
        .prop_map(|(way, what, value)| Edit { way, what, value });
    prop::collection::vec(edit, 0..4)
}

fn style() -> impl Strategy<Value = Style> {
    let line_break = prop_oneof![4 => prop::strategy::Just("\n"), 1 => prop::strategy::Just("\r\n")];
    (0..3_u64, 1..3_usize, line_break, prop::bool::weighted(0.8))
        .prop_map(|(seed, steps, line_break, ends)| Style { seed, indent: 2 * steps, line_break, ends })
}

/// Styles of three versions: mostly the same.
fn styles() -> impl Strategy<Value = [Style; 3]> {
    prop_oneof![3 => style().prop_map(|style| [style; 3]), 1 => [style(), style(), style()]]
}

fn edited(value: &Value, edits: &[Edit]) -> Value {
    let mut value = value.clone();
    for edit in edits {
        apply(&mut value, &edit.way, edit);
    }
    value
}

fn apply(value: &mut Value, way: &[usize], edit: &Edit) {
    let at = way.first().copied().unwrap_or_default();
    let is_here = way.len() <= 1;
    match value {
        Value::Leaf(_) => *value = edit.value.clone(),
        Value::List(items) if items.is_empty() => items.push(edit.value.clone()),
        Value::List(items) => {
            let at = at % items.len();
            match edit.what {
                _ if !is_here => apply(&mut items[at], &way[1..], edit),
                0 => drop(items.remove(at)),
                1 => items.push(edit.value.clone()),
                2 => items.insert(at, edit.value.clone()),
                3 => items.rotate_left(at),
                _ => items[at] = edit.value.clone(),
            }
        }
        Value::Map(entries) => {
            let key = format!("k{at}");
            if entries.is_empty() || is_here && edit.what == 1 && entries.iter().all(|entry| entry.0 != key) {
                entries.push((key, edit.value.clone()));
                return;
            }
            let at = at % entries.len();
            match edit.what {
                _ if !is_here => apply(&mut entries[at].1, &way[1..], edit),
                0 => drop(entries.remove(at)),
                3 => entries.rotate_left(at),
                _ => entries[at].1 = edit.value.clone(),
            }
        }
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Leaf(json) => json.clone(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

/// Writes YAML; what it looks like depends on the path, so that what is the same looks the same.
fn yaml(value: &Value, style: Style) -> String {
    let mut out = String::new();
    match value {
        Value::Map(entries) if !entries.is_empty() => block(value, 0, style, style.seed, &mut out),
        _ => out.push_str("{}\n"),
    }
    if !style.ends && !out.contains("|") {
        out.truncate(out.trim_end().len());
    }
    out.replace('\n', style.line_break)
}

fn block(value: &Value, column: usize, style: Style, path: u64, out: &mut String) {
    let entries: Vec<(Option<&str>, &Value)> = match value {
        Value::Map(entries) => entries.iter().map(|(key, value)| (Some(&key[..]), value)).collect(),
        Value::List(items) => items.iter().map(|item| (None, item)).collect(),
        Value::Leaf(_) => return,
    };
    for (at, (key, value)) in entries.into_iter().enumerate() {
        let path = mix(path, key.map_or(at as u64, |key| key.bytes().map(u64::from).sum()));
        if out.ends_with('\n') || out.is_empty() {
            match path % 11 {
                0 => out.push_str(&format!("{}# over {path}\n", " ".repeat(column))),
                1 => out.push('\n'),
                _ => {}
            }
            out.push_str(&" ".repeat(column));
        }
        out.push_str(&key.map_or_else(|| "-".to_owned(), |key| format!("{key}:")));
        let is_filled = matches!(value, Value::List(items) if !items.is_empty())
            || matches!(value, Value::Map(entries) if !entries.is_empty());
        if !is_filled || path.is_multiple_of(5) {
            out.push(' ');
            scalar(value, column + style.indent, path, out);
            continue;
        }
        if key.is_none() {
            out.push(' ');
            block(value, column + 2, style, path, out);
        } else {
            out.push('\n');
            let step = if matches!(value, Value::List(_)) && style.seed.is_multiple_of(2) {
                0
            } else {
                style.indent
            };
            block(value, column + step, style, path, out);
        }
    }
}

fn scalar(value: &Value, column: usize, path: u64, out: &mut String) {
    match value {
        Value::Leaf(Json::String(text)) if text.ends_with('\n') && path.is_multiple_of(2) => {
            out.push_str("|\n");
            text.lines().for_each(|line| out.push_str(&format!("{}{line}\n", " ".repeat(column))));
        }
        value => {
            flow(value, path, out);
            out.push_str(if path.is_multiple_of(7) { " # beside\n" } else { "\n" });
        }
    }
}

fn flow(value: &Value, path: u64, out: &mut String) {
    match value {
        Value::Leaf(Json::String(text)) if path.is_multiple_of(3) && !text.contains('\n') => {
            out.push_str(&format!("'{}'", text.replace('\'', "''")));
        }
        Value::Leaf(json) => out.push_str(&json.to_string()),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                flow(item, mix(path, at as u64), out);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                out.push_str(&format!("{key}: "));
                flow(value, mix(path, key.bytes().map(u64::from).sum()), out);
            }
            out.push('}');
        }
    }
}

const fn mix(path: u64, step: u64) -> u64 {
    (path ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7
}

fn json_text(value: &Value, style: Style) -> String {
    let json = to_json(value);
    let mut text =
        if style.seed == 0 { json.to_string() } else { serde_json::to_string_pretty(&json).expect("JSON") };
    text.push_str(if style.ends { "\n" } else { "" });
    text.replace('\n', style.line_break)
}

fn texts_of_maps(sections: usize) -> impl Strategy<Value = Value> {
    let value = prop::sample::select(vec!["x", "y z", "w"]).prop_map(|text| Value::Leaf(json!(text)));
    prop::collection::vec(map(value), sections).prop_map(|sections| {
        let names = ["DEFAULT", "s", "t"].into_iter().map(ToOwned::to_owned);
        Value::Map(names.zip(sections).collect())
    })
}

/// Changes of texts in maps this deep.
fn text_edits(depth: usize) -> impl Strategy<Value = Vec<Edit>> {
    let value = prop::sample::select(vec!["x", "u v", "q"]).prop_map(|text| Value::Leaf(json!(text)));
    let edit = (prop::collection::vec(0..5_usize, depth), 0..5_u8, value)
        .prop_map(|(way, what, value)| Edit { way, what, value });
    prop::collection::vec(edit, 0..4)
}

/// Writes lines of keys and values, some of them with a comment.
fn key_lines(value: &Value, sign: &str, style: Style) -> String {
    let Value::Map(entries) = value else { return String::new() };
    let mut out = String::new();
    for (key, value) in entries {
        let path = mix(style.seed, key.bytes().map(u64::from).sum());
        match value {
            Value::Leaf(text) => {
                out.push_str(if path.is_multiple_of(3) { "# over\n" } else { "" });
                out.push_str(&format!("{key}{sign}{}\n", text.as_str().unwrap_or_default()));
            }
            section => {
                out.push_str(&if key == "DEFAULT" { String::new() } else { format!("[{key}]\n") });
                out.push_str(&key_lines(section, sign, Style { ends: true, ..style }));
                out.push_str(if path.is_multiple_of(2) { "\n" } else { "" });
            }
        }
    }
    if !style.ends {
        out.truncate(out.trim_end().len());
    }
    out
}

fn try_merge(
    format: Format,
    base: Option<&str>,
    ours: &str,
    theirs: &str,
) -> Result<Merged, PlainMergeError> {
    let read = |text: &str| format.read(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    let (base, ours, theirs) = (base.map(read), read(ours), read(theirs));
    merge(format, Sides { base: base.as_ref(), ours: &ours, theirs: &theirs })
}

fn text(bytes: &SecretBytes) -> String {
    String::from_utf8_lossy(bytes.expose_secret()).into_owned()
}

fn json_of(format: Format, text: &SecretBytes) -> Json {
    let tree = format.read(text.expose_secret()).expect("what is merged can be read");
    tree.to_json(tree.documents()[0])
}

/// Makes sure, value by value, that a result says what the sides do; `decided` is the side that conflicts are decided for.
fn check(sides: [Option<&Json>; 3], decided: usize, result: Option<&Json>) -> Result<(), TestCaseError> {
    let [base, ours, theirs] = sides;
    if ours == theirs || theirs == base {
        prop_assert_eq!(result, ours);
        return Ok(());
    }
    if ours == base {
        prop_assert_eq!(result, theirs);
        return Ok(());
    }
    match (ours, theirs) {
        (Some(Json::Object(our)), Some(Json::Object(their))) => {
            let old = base.and_then(Json::as_object);
            let found = result.and_then(Json::as_object).expect("a merge of maps is a map");
            for key in our.keys().chain(their.keys()).chain(found.keys()) {
                check(
                    [old.and_then(|old| old.get(key)), our.get(key), their.get(key)],
                    decided,
                    found.get(key),
                )?;
            }
            Ok(())
        }
        (Some(Json::Array(our)), Some(Json::Array(their))) => {
            let old = base.and_then(Json::as_array);
            let found = result.and_then(Json::as_array).expect("a merge of lists is a list");
            let by_name = [old.unwrap_or(&Vec::new()), our, their]
                .into_iter()
                .map(|items| named(items))
                .collect::<Option<Vec<_>>>();
            let Some(by_name) = by_name else {
                // Nothing is made up.
                let is_known = |item: &&Json| {
                    !our.contains(item) && !their.contains(item) && !item.is_object() && !item.is_array()
                };
                prop_assert_eq!(found.iter().find(is_known), None);
                return Ok(());
            };
            let found = named(found).expect("names stay");
            let base = base.filter(|base| base.is_array()).map(|_| &by_name[0]);
            check([base, Some(&by_name[1]), Some(&by_name[2])], decided, Some(&found))
        }
        _ => {
            prop_assert_eq!(result, sides[decided]);
            Ok(())
        }
    }
}

/// Returns items as a map, if all have names of their own.
fn named(items: &[Json]) -> Option<Json> {
    let mut entries = serde_json::Map::new();
    for item in items {
        let name =
            item.get("name").filter(|name| !name.is_null() && !name.is_array() && !name.is_object())?;
        if entries.insert(name.to_string(), item.clone()).is_some() {
            return None;
        }
    }
    Some(Json::Object(entries))
}

/// Returns what conflicts say, whichever side is ours: positions in lists differ.
fn kinds(conflicts: &[Conflict], is_mirrored: bool) -> Vec<String> {
    let kind = |kind| match kind {
        ConflictKind::RemovedByOurs if is_mirrored => ConflictKind::RemovedByTheirs,
        ConflictKind::RemovedByTheirs if is_mirrored => ConflictKind::RemovedByOurs,
        kind => kind,
    };
    let name = |conflict: &Conflict| {
        let steps = conflict.path.steps().iter().map(|step| match step {
            crate::tree::Step::Index(_) => "[]".to_owned(),
            crate::tree::Step::Key(key) => format!("[{key}]"),
        });
        format!("{:?} {}", kind(conflict.kind), steps.collect::<String>())
    };
    let mut kinds: Vec<_> = conflicts.iter().map(name).collect();
    kinds.sort();
    kinds
}

fn holds(format: Format, values: [&Value; 3], texts: [&str; 3]) -> Result<(), TestCaseError> {
    let [base, ours, theirs] = texts;
    for side in [ours, theirs] {
        for (base, ours, theirs) in [(base, side, base), (base, base, side), (base, side, side)] {
            let merged = try_merge(format, Some(base), ours, theirs).expect("one side changed something");
            prop_assert_eq!((text(&merged.ours), text(&merged.theirs)), (side.to_owned(), side.to_owned()));
            prop_assert!(merged.conflicts.is_empty());
        }
    }
    let merged = try_merge(format, Some(base), ours, theirs);
    prop_assert!(merged.is_ok(), "loss:\n{base}\n-- ours\n{ours}\n-- theirs\n{theirs}");
    let Ok(merged) = merged else { return Ok(()) };
    let [base_json, our_json, their_json] = values.map(to_json);
    let sides = [Some(&base_json), Some(&our_json), Some(&their_json)];
    check(sides, 1, Some(&json_of(format, &merged.ours)))?;
    check(sides, 2, Some(&json_of(format, &merged.theirs)))?;
    prop_assert_eq!(merged.conflicts.is_empty(), text(&merged.ours) == text(&merged.theirs));
    let mirrored = try_merge(format, Some(base), theirs, ours);
    prop_assert!(mirrored.is_ok(), "loss, mirrored:\n{base}\n-- ours\n{theirs}\n-- theirs\n{ours}");
    let Ok(mirrored) = mirrored else { return Ok(()) };
    prop_assert_eq!(kinds(&mirrored.conflicts, true), kinds(&merged.conflicts, false));
    let added = try_merge(format, None, ours, theirs);
    prop_assert!(added.is_ok(), "loss without a base:\n-- ours\n{ours}\n-- theirs\n{theirs}");
    Ok(())
}

proptest! {
    #[test]
    fn yaml_is_merged_by_path(base in map(value()), ours in edits(), theirs in edits(), styles in styles()) {
        let (ours, theirs) = (edited(&base, &ours), edited(&base, &theirs));
        let texts = [yaml(&base, styles[0]), yaml(&ours, styles[1]), yaml(&theirs, styles[2])];
        holds(Format::Yaml, [&base, &ours, &theirs], [&texts[0], &texts[1], &texts[2]])?;
    }

    #[test]
    fn json_is_merged_by_path(base in map(value()), ours in edits(), theirs in edits(), styles in styles()) {
        let (ours, theirs) = (edited(&base, &ours), edited(&base, &theirs));
        let texts = [json_text(&base, styles[0]), json_text(&ours, styles[1]), json_text(&theirs, styles[2])];
        holds(Format::Json, [&base, &ours, &theirs], [&texts[0], &texts[1], &texts[2]])?;
    }

    #[test]
    fn dotenv_is_merged_by_key(
        base in texts_of_maps(1), ours in text_edits(1), theirs in text_edits(1), styles in styles()
    ) {
        let Value::Map(mut maps) = base else { return Ok(()) };
        let Some((_, base)) = maps.pop() else { return Ok(()) };
        let (ours, theirs) = (edited(&base, &ours), edited(&base, &theirs));
        let texts = [(&base, styles[0]), (&ours, styles[1]), (&theirs, styles[2])].map(|(value, style)| key_lines(value, "=", style));
        holds(Format::Dotenv, [&base, &ours, &theirs], [&texts[0], &texts[1], &texts[2]])?;
    }

    #[test]
    fn ini_is_merged_by_section_and_key(
        base in texts_of_maps(3), ours in text_edits(2), theirs in text_edits(2), styles in styles()
    ) {
        let (ours, theirs) = (edited(&base, &ours), edited(&base, &theirs));
        let texts = [(&base, styles[0]), (&ours, styles[1]), (&theirs, styles[2])].map(|(value, style)| key_lines(value, " = ", style));
        holds(Format::Ini, [&base, &ours, &theirs], [&texts[0], &texts[1], &texts[2]])?;
    }

    #[test]
    fn hostile_texts_do_no_harm(
        base in "([-a?:&*x\\[\\]{},|>#'\" ]{0,6}\n){0,6}", ours in "([-a?:&*x\\[\\]{},|>#'\" ]{0,6}\n){0,6}",
        theirs in "([-a?:&*x\\[\\]{},|>#'\" ]{0,6}\n){0,6}"
    ) {
        let trees = [&base, &ours, &theirs].map(|text| Format::Yaml.read(text.as_str()));
        let [Ok(base), Ok(ours), Ok(theirs)] = trees else { return Ok(()) };
        // That it is a loss is an answer, too.
        let _ = merge(Format::Yaml, Sides { base: Some(&base), ours: &ours, theirs: &theirs });
    }
}

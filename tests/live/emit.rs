//! Generated trees, written as YAML by both sides.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use proptest::test_runner::TestCaseError;
use selkie::format::{Format, WriteError, WriteOptions};
use selkie::secret::SecretBytes;
use selkie::tree::{Node, Span, Style, Text, Tree, Value};
use serde_json::{Value as Json, json};

use super::gotree::{self, Gotree};
use super::properties::{number_of_documents, runner};
use crate::generate;
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    vec![
        Peer::Gotree.test("ini_is_written_alike", |peer| ini_is_written_alike(&peer)),
        Peer::Gotree.test("yaml_is_written_alike", |peer| written_alike(&peer)),
    ]
}

/// What sops writes and reads again is written alike. Where sops loses something, we do not.
fn written_alike(peer: &Path) -> Result<(), Failed> {
    let peer = Gotree::start(peer)?;
    let cases = number_of_documents()?;
    runner(cases).run(&generate::documents(), |documents| check(&peer, &documents))?;
    // And what people write, as sops reads it.
    runner(cases).run(&generate::yaml(), |text| {
        let answer = peer.ask(&json!({"op": "load", "format": "yaml", "text": text}));
        let documents = answer.ok().map(|answer| answer["documents"].clone());
        documents.filter(is_writable).map_or(Ok(()), |documents| check(&peer, &documents))
    })?;
    Ok(())
}

/// INI that sops writes and reads again is written alike. Else it is read as what was meant, or we refuse it.
fn ini_is_written_alike(peer: &Path) -> Result<(), Failed> {
    let peer = Gotree::start(peer)?;
    let read = |text: &str| {
        let answer = peer.ask(&json!({"op": "load", "format": "ini", "text": text})).ok();
        answer.map(|answer| with_default(&answer["documents"]))
    };
    runner(number_of_documents()?).run(&generate::sections(), |documents| {
        let meant = texts(&with_default(&documents));
        let request = json!({"op": "emit", "format": "ini", "documents": documents});
        let theirs = peer.ask(&request).map(|answer| answer["text"].as_str().unwrap_or_default().to_owned());
        let ours = Format::Ini.store().write(&tree(&documents), None, &WriteOptions::default());
        let ours = ours.map(|ours| String::from_utf8_lossy(ours.expose_secret()).into_owned());
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => Ok(()),
            (ours, Ok(theirs)) if read(&theirs).as_ref() == Some(&meant) => {
                Err(TestCaseError::fail(format!("sops writes\n{theirs}\nand we\n{ours:?}")))
            }
            (Ok(ours), _) => match read(&ours) {
                Some(read) if gotree::without_comments(&read) == gotree::without_comments(&meant) => Ok(()),
                read => Err(TestCaseError::fail(format!("sops reads\n{ours}\nas {read:?}"))),
            },
            (Err(WriteError::Unsupported { .. }), _) => Ok(()),
            (Err(error), _) => Err(TestCaseError::fail(error.to_string())),
        }
    })?;
    Ok(())
}

/// Returns documents of INI with the first section that sops always reads.
fn with_default(documents: &Json) -> Json {
    let mut documents = documents.clone();
    let sections = documents[0]["map"].as_array_mut().expect("a document is a map");
    let is_first = sections.iter().find_map(|section| section.get("key")).is_some_and(|key| key == "DEFAULT");
    if !is_first {
        sections.insert(0, json!({"key": "DEFAULT", "value": {"map": []}}));
    }
    documents
}

/// Returns documents with texts for all scalars.
fn texts(documents: &Json) -> Json {
    match documents {
        Json::Array(items) => items.iter().map(texts).collect(),
        Json::Object(fields) => match fields.get("int").or(fields.get("bool")) {
            Some(Json::String(number)) => json!({ "str": number }),
            Some(other) => json!({ "str": other.to_string() }),
            None => fields.iter().map(|(name, field)| (name.clone(), texts(field))).collect(),
        },
        other => other.clone(),
    }
}

/// Returns whether sops could encrypt documents: all keys are strings, all integers small enough.
fn is_writable(documents: &Json) -> bool {
    match documents {
        Json::Array(items) => items.iter().all(is_writable),
        Json::Object(fields) => {
            !fields.contains_key("uint") && !fields.contains_key("other") && fields.values().all(is_writable)
        }
        _ => true,
    }
}

fn check(peer: &Gotree, documents: &Json) -> Result<(), TestCaseError> {
    let ours = Format::Yaml.store().write(&tree(documents), None, &WriteOptions::default());
    let ours = ours.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let ours = String::from_utf8_lossy(ours.expose_secret()).into_owned();
    let request = json!({"op": "emit", "format": "yaml", "documents": documents});
    let theirs = peer.ask(&request).map(|answer| answer["text"].as_str().unwrap_or_default().to_owned());
    // As a value this would be a merge key to other readers.
    let theirs =
        theirs.map(|text| text.replace("!!merge <<\n", "\"<<\"\n").replace("!!merge << #", "\"<<\" #"));
    if theirs.as_ref().is_ok_and(|theirs| *theirs == ours) {
        return Ok(());
    }
    let read = |text: &str| peer.ask(&json!({"op": "load", "format": "yaml", "text": text}));
    // A line separator without escape is a line break to some readers and not to others, and a merge of
    // what is no map is an error to sops in the first document.
    if let Ok(theirs) = &theirs
        && !theirs.contains(['\u{2028}', '\u{2029}'])
        && !ours.contains("\"<<\":")
        && read(theirs).is_ok_and(|answer| answer["documents"] == *documents)
    {
        return Err(TestCaseError::fail(format!("sops writes\n{theirs}\nand we write\n{ours}")));
    }
    let read = match read(&ours) {
        Ok(answer) => answer["documents"].clone(),
        Err(refusal) => return Err(TestCaseError::fail(format!("sops does not read\n{ours}\n{refusal:?}"))),
    };
    let (read, meant) = (gotree::without_comments(&read), gotree::without_comments(documents));
    if values(&read) == values(&meant) {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("sops reads\n{ours}\nas {read}\nnot {meant}")))
}

/// Returns documents with numbers by value: a whole number is written without a point.
fn values(documents: &Json) -> Json {
    match documents {
        Json::Array(items) => items.iter().map(values).collect(),
        Json::Object(fields) => match fields.get("float").or(fields.get("int")).and_then(Json::as_str) {
            Some(number) => json!({"number": (number.parse::<f64>().unwrap_or(f64::NAN) + 0.0).to_string()}),
            None => fields.iter().map(|(name, field)| (name.clone(), values(field))).collect(),
        },
        other => other.clone(),
    }
}

/// Returns documents of the peer as a tree.
fn tree(documents: &Json) -> Tree {
    let mut tree = Tree::new(SecretBytes::new());
    for document in documents.as_array().into_iter().flatten() {
        let root = tree.open_document(Span::default(), Style::Block);
        children(&mut tree, &document["map"]);
        tree.close(root);
    }
    tree
}

fn children(tree: &mut Tree, children: &Json) {
    for child in children.as_array().into_iter().flatten() {
        match child.get("key") {
            Some(key) => {
                let key = tree.intern(&gotree::bytes(key));
                push(tree, Some(key), &child["value"]);
            }
            None => push(tree, None, child),
        }
    }
}

fn push(tree: &mut Tree, key: Option<Text>, json: &Json) {
    let (kind, field) = json.as_object().and_then(|fields| fields.iter().next()).expect("a value has a kind");
    let text = field.as_str().unwrap_or_default();
    let value = match kind.as_str() {
        "bool" => Value::Bool(field == true),
        "comment" => Value::Comment(tree.intern(text.as_bytes())),
        "float" => Value::Float(text.parse().expect("a number")),
        "int" => Value::Int(text.parse().expect("a number")),
        "list" => Value::List,
        "map" => Value::Map,
        "null" => Value::Null,
        "str" => Value::Str(tree.intern(&gotree::bytes(field))),
        "time" => Value::Time(tree.intern(text.as_bytes())),
        kind => unreachable!("no tree holds a {kind}"),
    };
    let style = if json.get("inline").is_some() { Style::Inline } else { Style::Plain };
    let id = tree.push(Node::new(value, key, Span::default(), style));
    if matches!(value, Value::List | Value::Map) {
        children(tree, field);
        tree.close(id);
    }
}

//! The cases of yaml-test-suite: every valid one survives reading and editing, every invalid one is refused.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use selkie::format::{Format, ParseError, ParseErrorKind, Rewrite};
use selkie::sops::{SealError, Stash};
use serde_json::{Map, Value as Json};

use crate::envelope::{self, DATA_KEY, NOW};
use crate::peer::Peer;

/// Invalid cases that are read, as sops reads them too.
const ACCEPTED: &[(&str, &str)] = &[
    ("9C9N", "a flow list goes on at the column of its key"),
    ("DK95/1", "a tab indents a line of quoted text"),
    ("QB6E", "quoted text goes on at the column of its key"),
];

/// What we say of valid YAML that sops refuses, or takes for something else.
const BEYOND_SOPS: &[&str] = &[
    "a map or list cannot be a key",
    "sops reads a further document only behind ---",
    "sops reads only %YAML 1.1",
    "sops takes a part of the name for a value",
    "sops takes a ? or : in brackets for an indicator",
    "sops takes the : for a part of the text",
    "sops takes what follows for a part of the tag",
    "sops wants the : on the line of its key",
    "there are only comments in the input",
];

pub fn tests() -> Vec<Trial> {
    vec![Peer::YamlTestSuite.test("every_case", |cases| every_case(&cases))]
}

fn every_case(cases: &Path) -> Result<(), Failed> {
    let cases: Json = serde_json::from_slice(&fs::read(cases)?)?;
    let cases = cases.as_array().ok_or("the cases are a list")?;
    let is_known = |id| ACCEPTED.iter().any(|(known, _)| *known == id);
    let mut problems = Vec::new();
    let (mut edited, mut refused, mut beyond) = (0, 0, 0);
    for case in cases {
        let id = case["id"].as_str().ok_or("a case has a name")?;
        let text = case["yaml"].as_str().ok_or("a case has a text")?;
        let read = Format::Yaml.read(text.as_bytes());
        match (case["fail"] == Json::Bool(true), read) {
            (true, Ok(_)) if is_known(id) => {}
            (true, Ok(_)) => problems.push(format!("{id} is invalid and read")),
            (true, Err(error)) if !is_beyond_sops(&error) => refused += 1,
            // It says nothing of whether we see what is invalid.
            (true, Err(_)) => beyond += 1,
            (false, Err(error)) if is_beyond_sops(&error) => {}
            (false, Err(error)) => problems.push(format!("{id} is valid and refused: {error}")),
            (false, Ok(_)) => match survives(text) {
                Ok(()) => edited += 1,
                Err(problem) => problems.push(format!("{id}: {problem}")),
            },
        }
    }
    if edited < 100 || refused < 80 {
        let counts =
            format!("{edited} cases edited, {refused} refused as invalid, {beyond} for another reason");
        problems.push(format!("only {counts}: where are the others?"));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

/// Returns whether a refusal is for what sops refuses as well, or takes for something else.
fn is_beyond_sops(error: &ParseError) -> bool {
    let kind = matches!(
        error.kind,
        ParseErrorKind::NotAMap
            | ParseErrorKind::NonStringKey
            | ParseErrorKind::Empty
            | ParseErrorKind::DuplicateKey(_)
    );
    kind || BEYOND_SOPS.iter().any(|part| error.to_string().contains(part))
}

/// Rewriting without changes, and encrypting and decrypting, give back the text.
fn survives(text: &str) -> Result<(), String> {
    let read = || Format::Yaml.read(text.as_bytes()).map_err(|error| error.to_string());
    let rewritten =
        Format::Yaml.store().rewrite(&read()?, &Rewrite::default()).map_err(|error| error.to_string())?;
    if rewritten.expose_secret() != text.as_bytes() {
        return Err("it changes when nothing is changed".to_owned());
    }
    let envelope = envelope::envelope(&Map::new(), 1).map_err(|error| format!("{error:?}"))?;
    let sealed = match envelope.seal(Format::Yaml, read()?, Stash::new(), NOW, &mut envelope::rng(1)) {
        Err(SealError::NothingSelected { .. }) => return Ok(()),
        sealed => sealed.map_err(|error| error.to_string())?,
    };
    let encrypted = sealed.in_place().map_err(|error| error.to_string())?;
    let opened = envelope::open(Format::Yaml, encrypted.expose_secret(), DATA_KEY);
    let plain =
        opened.map_err(|error| format!("{error:?}"))?.plaintext().map_err(|error| error.to_string())?;
    if plain.expose_secret() == text.as_bytes() {
        Ok(())
    } else {
        Err("it changes by encrypting and decrypting".to_owned())
    }
}

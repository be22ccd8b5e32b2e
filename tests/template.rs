//! Recorded templates: what the controller of Sealed Secrets made of some, and Go of many.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use selkie::secret::SecretBytes;
use selkie::template::{Limits, Surroundings, TemplateError, render};
use serde_json::Value as Json;
use time::OffsetDateTime;

pub fn tests() -> Vec<Trial> {
    let cases = read("cases.jsonl").into_iter().map(|case| {
        let name = format!("template::cases::{}", case["name"].as_str().unwrap_or_default());
        Trial::test(name, move || check_case(&case))
    });
    let programs = Trial::test("template::programs_come_to_what_go_makes_of_them", || {
        let context = context();
        let faults =
            programs().iter().filter_map(|program| program.check(&context).err()).collect::<Vec<_>>();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n\n").into()) }
    });
    cases.chain([programs]).collect()
}

fn check_case(case: &Json) -> Result<(), Failed> {
    let context = values(&case["context"])?;
    for (name, source) in case["templates"].as_object().ok_or("there are no templates")? {
        let source = source.as_str().ok_or("a template is no text")?;
        match (run(name, source, &context, &Limits::default()), &case["error"]) {
            (Ok(output), Json::Null) => {
                let expected = STANDARD.decode(case["output"][name].as_str().unwrap_or_default())?;
                same(output.expose_secret(), &expected)?;
            }
            (Ok(_), error) => return Err(format!("it does not fail: {error}").into()),
            (Err(error), expected) => {
                same(error.to_string().as_bytes(), expected.as_str().unwrap_or_default().as_bytes())?;
            }
        }
    }
    Ok(())
}

fn same(found: &[u8], expected: &[u8]) -> Result<(), Failed> {
    let [found, expected] = [found, expected].map(|text| String::from_utf8_lossy(text).into_owned());
    if found == expected { Ok(()) } else { Err(format!("it is {found:?}, not {expected:?}").into()) }
}

/// A template, and what Go made of it.
pub struct Program {
    pub template: String,
    /// The bytes, or the error.
    pub recorded: Result<Vec<u8>, String>,
    /// Our error, if it says less.
    ours: Option<String>,
}

impl Program {
    fn check(&self, context: &BTreeMap<String, SecretBytes>) -> Result<(), String> {
        let found = run("t", &self.template, context, &Limits::default());
        let expected = match (&self.recorded, &self.ours) {
            (_, Some(error)) => Err(error.clone()),
            (recorded, None) => recorded.clone(),
        };
        let found = found.map(|output| output.expose_secret().to_vec()).map_err(|error| error.to_string());
        if found == expected {
            return Ok(());
        }
        let [found, expected] =
            [found, expected].map(|result| result.map(|text| String::from_utf8_lossy(&text).into_owned()));
        Err(format!("{}\n  comes to {found:?}\n       not {expected:?}", self.template))
    }
}

/// Returns the recorded programs.
pub fn programs() -> Vec<Program> {
    let program = |line: Json| Program {
        template: line["template"].as_str().unwrap_or_default().to_owned(),
        recorded: match &line["error"] {
            Json::String(error) => Err(error.clone()),
            _ => Ok(bytes(&line["output"])),
        },
        ours: line["ours"].as_str().map(str::to_owned),
    };
    read("programs.jsonl").into_iter().map(program).collect()
}

/// Returns the context of all programs.
pub fn context() -> BTreeMap<String, SecretBytes> {
    let lines = read("context.jsonl");
    values(&lines[0]).expect("the context is base64")
}

/// Renders a template at a fixed time, with fixed randomness.
pub fn run(
    name: &str,
    source: &str,
    context: &BTreeMap<String, SecretBytes>,
    limits: &Limits,
) -> Result<SecretBytes, TemplateError> {
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("it is a time");
    let mut surroundings = Surroundings { now, rng: &mut ChaCha20Rng::seed_from_u64(1) };
    render(name, source, context, &mut surroundings, limits)
}

fn values(object: &Json) -> Result<BTreeMap<String, SecretBytes>, Failed> {
    let entries = object.as_object().ok_or("the context is no map")?;
    let value = |text: &Json| STANDARD.decode(text.as_str().unwrap_or_default());
    entries.iter().map(|(key, text)| Ok((key.clone(), value(text)?.into()))).collect()
}

fn bytes(text: &Json) -> Vec<u8> {
    match text {
        Json::String(text) => text.clone().into_bytes(),
        other => STANDARD.decode(other["base64"].as_str().unwrap_or_default()).expect("it is base64"),
    }
}

fn read(name: &str) -> Vec<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/template").join(name);
    let text = fs::read_to_string(path).expect("the file is there");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

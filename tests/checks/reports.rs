//! What reports of the corpus say, in every format: never a value, however it is spelled.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use libtest_mimic::{Failed, Trial};
use seal_hook::report::{Format, Options};
use seal_hook::run::{Found, Outcome};

use super::{Case, corpora};

pub fn tests() -> Vec<Trial> {
    vec![Trial::test("checks::no_report_tells_a_value", no_report_tells_a_value)]
}

fn no_report_tells_a_value() -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for corpus in corpora() {
        for case in corpus.cases() {
            let report = reports(case)?;
            let is_told =
                |value: &String| spellings(value).iter().any(|spelling| report.contains(spelling.as_str()));
            if case.values.iter().any(is_told) {
                wrong.push(format!("SELKIE_SEED={}: {}", corpus.seed, case.name));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Returns all reports of a case, one behind the other.
fn reports(case: &Case) -> Result<String, Failed> {
    let mut texts = String::new();
    let found = case.check()?;
    for finding in &found {
        // Strings take all there is.
        let _ = write!(texts, "{finding:?} {} {}", finding.pointer, finding.remedy);
    }
    let outcome = Outcome {
        findings: found.into_iter().map(|finding| Found { finding, change: String::new() }).collect(),
        files: case.files.len(),
        changes: 1,
        took: Duration::from_millis(7),
        ..Outcome::default()
    };
    for &format in Format::ALL {
        for (colour, strict, verbose) in [(false, false, false), (true, true, true)] {
            let mut report = Vec::new();
            format.write(&outcome, Options { colour, strict, verbose }, &mut report)?;
            texts.push_str(&String::from_utf8(report)?);
        }
    }
    Ok(texts)
}

/// Returns a value as it is, in base64 wherever it starts in a group of bytes, and as addresses and JSON have it.
fn spellings(value: &str) -> Vec<String> {
    let mut spellings = vec![value.to_owned(), percent(value), serde_json::Value::from(value).to_string()];
    for before in 0..3 {
        let padded = [&vec![0; before], value.as_bytes()].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            // What other bytes are part of depends on them.
            let (from, to) = (if before == 0 { 0 } else { before + 1 }, text.len().saturating_sub(2));
            spellings.extend(text.get(from..to).map(str::to_owned));
        }
    }
    spellings.retain(|spelling| spelling.len() >= 6);
    spellings
}

fn percent(value: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    value.bytes().map(encode).collect()
}

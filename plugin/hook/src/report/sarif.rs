//! SARIF 2.1.0, for code scanning.
//!
//! Source: the OASIS standard of 2020. Regions count code points; `fixes` is left out, as no finding has the bytes
//! that would replace others: what mends it is part of the message.

use std::io::{self, Write};

use selkie::check::{RULES, Rule, Severity, Standing};
use serde_json::{Value, json};

use super::{Report, message};
use crate::run::Found;

/// Writes one run with all rules and all findings; what does not count is there as suppressed.
pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let outcome = report.outcome;
    let notifications =
        outcome.unverified.iter().map(|what| json!({"level": "error", "message": {"text": what}}));
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "seal-hook",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": RULES.iter().map(|rule| described(rule)).collect::<Value>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": outcome.unverified.is_empty(),
                "exitCode": outcome.exit(report.options.strict).code(),
                "toolExecutionNotifications": notifications.collect::<Value>(),
            }],
            "results": report.fingerprints().map(|(found, fingerprint)| result(report, found, &fingerprint)).collect::<Value>(),
        }],
    });
    writeln!(to, "{log:#}")
}

fn described(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.explanation.split("\n\n").next().unwrap_or_default()},
        "help": {"text": rule.explanation},
        "defaultConfiguration": {"level": level(rule.severity)},
    })
}

fn result(report: &Report<'_>, found: &Found, fingerprint: &str) -> Value {
    let finding = &found.finding;
    let index = RULES.iter().position(|rule| rule.id == finding.rule.id);
    let remedy = if finding.remedy.is_empty() { String::new() } else { format!("\nfix: {}", finding.remedy) };
    let suppression = match &finding.standing {
        Standing::Allowed(reason) => {
            Some(json!({"kind": "inSource", "status": "accepted", "justification": reason}))
        }
        Standing::Baseline => {
            Some(json!({"kind": "external", "status": "accepted", "justification": "in the baseline"}))
        }
        Standing::New | Standing::Old => None,
    };
    let mut result = json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": level(report.severity(finding)),
        "message": {"text": format!("{}{remedy}", message(finding))},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(&finding.path), "uriBaseId": "%SRCROOT%"},
                "region": {
                    "startLine": finding.start.line,
                    "startColumn": finding.start.column,
                    "endLine": finding.end.line,
                    "endColumn": finding.end.column,
                },
            },
            "logicalLocations": [{"fullyQualifiedName": format!("{}{}", finding.object, finding.pointer)}],
        }],
        "partialFingerprints": {"secretLocator/v1": fingerprint},
        "suppressions": suppression.into_iter().collect::<Value>(),
    });
    if !found.change.is_empty() {
        result["properties"] = json!({"change": found.change});
    }
    result
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Off => "none",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Returns a path as a relative URI.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte))
            }
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

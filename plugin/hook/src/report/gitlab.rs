//! The code quality report of GitLab: a list of issues with the fields that it needs.

use std::io::{self, Write};

use selkie::check::Severity;
use serde_json::{Value, json};

use super::{Report, message};

/// Writes all findings that count.
pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let shown = report.fingerprints().filter(|(found, _)| report.is_shown(found));
    let issues = shown.map(|(found, fingerprint)| {
        let finding = &found.finding;
        let severity = match report.severity(finding) {
            Severity::Error => "critical",
            _ => "minor",
        };
        json!({
            "description": message(finding),
            "check_name": finding.rule.id,
            "fingerprint": fingerprint,
            "severity": severity,
            "location": {"path": finding.path, "lines": {"begin": finding.start.line}},
        })
    });
    let unverified = report.outcome.unverified.iter().map(|what| {
        json!({
            "description": what,
            "check_name": "META001",
            "fingerprint": what,
            "severity": "critical",
            "location": {"path": what.split(": ").next().unwrap_or_default(), "lines": {"begin": 1}},
        })
    });
    writeln!(to, "{:#}", issues.chain(unverified).collect::<Value>())
}

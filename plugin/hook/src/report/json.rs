//! JSON, as one object or as lines. Fields are only ever added within a version.

use std::io::{self, Write};

use selkie::check::{Fix, Standing};
use serde_json::{Value, json};

use super::Report;
use crate::run::Found;

/// The version of both forms.
const VERSION: u32 = 1;

/// Writes all findings in one object.
pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let (errors, warnings, others) = report.counts();
    let findings: Vec<_> =
        report.fingerprints().map(|(found, fingerprint)| finding(report, found, &fingerprint)).collect();
    let object = json!({
        "version": VERSION,
        "exitCode": report.outcome.exit(report.options.strict).code(),
        "files": report.outcome.files,
        "changes": report.outcome.changes,
        "errors": errors,
        "warnings": warnings,
        "notCounted": others,
        "findings": findings,
        "unverified": report.outcome.unverified,
        "fixed": report.outcome.fixed,
    });
    writeln!(to, "{object:#}")
}

/// Writes one object for each finding, and one for each thing that could not be verified.
pub(super) fn write_lines(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    for (found, fingerprint) in report.fingerprints() {
        writeln!(to, "{}", finding(report, found, &fingerprint))?;
    }
    for what in &report.outcome.unverified {
        writeln!(to, "{}", json!({"version": VERSION, "unverified": what}))?;
    }
    Ok(())
}

fn finding(report: &Report<'_>, found: &Found, fingerprint: &str) -> Value {
    let finding = &found.finding;
    let (standing, reason) = match &finding.standing {
        Standing::Allowed(reason) => ("allowed", Some(reason)),
        Standing::Baseline => ("baseline", None),
        Standing::New => ("new", None),
        Standing::Old => ("old", None),
    };
    json!({
        "version": VERSION,
        "rule": finding.rule.id,
        "title": finding.rule.title,
        "severity": report.severity(finding).name(),
        "change": found.change,
        "path": finding.path,
        "startLine": finding.start.line,
        "startColumn": finding.start.column,
        "endLine": finding.end.line,
        "endColumn": finding.end.column,
        "object": finding.object,
        "pointer": finding.pointer,
        "message": finding.message,
        "remedy": finding.remedy,
        "fix": finding.fix.map(fix_name),
        "standing": standing,
        "reason": reason,
        "fingerprint": fingerprint,
    })
}

const fn fix_name(fix: Fix) -> &'static str {
    match fix {
        Fix::Encrypt => "encrypt",
        Fix::EncryptRest => "encrypt-rest",
        Fix::Seal => "seal",
        Fix::Strip => "strip",
    }
}

//! Workflow commands of GitHub Actions, which show findings beside the lines of a change.
//!
//! Source: the documentation of workflow commands. A step may have ten errors and ten warnings; one more notice tells
//! how many were left out.

use std::io::{self, Write};

use selkie::check::Severity;

use super::{Report, message};

/// Writes a command for each finding.
pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let (mut errors, mut warnings, mut left) = (0, 0, 0);
    for found in report.shown() {
        let finding = &found.finding;
        let (command, count) = match report.severity(finding) {
            Severity::Error => ("error", &mut errors),
            _ => ("warning", &mut warnings),
        };
        *count += 1;
        if *count > MOST {
            left += 1;
            continue;
        }
        let properties = [
            ("file", finding.path.clone()),
            ("line", finding.start.line.to_string()),
            ("endLine", finding.end.line.to_string()),
            ("col", finding.start.column.to_string()),
            ("title", format!("{} {}", finding.rule.id, finding.rule.title)),
        ];
        let properties: Vec<_> =
            properties.iter().map(|(name, value)| format!("{name}={}", property(value))).collect();
        let remedy =
            if finding.remedy.is_empty() { String::new() } else { format!("\nfix: {}", finding.remedy) };
        let text = data(&format!("{}{remedy}", message(finding)));
        writeln!(to, "::{command} {}::{text}", properties.join(","))?;
    }
    for what in &report.outcome.unverified {
        errors += 1;
        if errors <= MOST {
            writeln!(to, "::error title=not verified::{}", data(what))?;
        } else {
            left += 1;
        }
    }
    if left > 0 {
        writeln!(to, "::notice::{left} more findings are in the log of this step")?;
    }
    Ok(())
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// How many errors, and how many warnings, a step may have.
const MOST: usize = 10;

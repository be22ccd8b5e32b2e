//! Lines for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use selkie::check::{Rule, Severity, Standing};

use super::{Report, message, visible};
use crate::run::Found;

/// Writes each finding with its place and what mends it, and one line that counts.
pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    for found in report.shown() {
        write_finding(report, found, to)?;
    }
    for what in &report.outcome.unverified {
        writeln!(to, "{}: {}", report.paint(BAD, "not verified"), visible(what))?;
    }
    if report.outcome.changes == 0 && report.outcome.unverified.is_empty() {
        return writeln!(to, "there is nothing to check");
    }
    let (errors, warnings, others) = report.counts();
    let files = count(report.outcome.files, "file");
    let changes = report.outcome.changes;
    let in_changes = if changes > 1 { format!(" in {}", count(changes, "change")) } else { String::new() };
    let others =
        if others > 0 && !report.options.verbose { format!(", {others} not counted") } else { String::new() };
    let left_out = match report.outcome.left_out {
        0 => String::new(),
        number => format!(", {} ignored by Git left out", count(number, "file")),
    };
    writeln!(
        to,
        "{files} checked{in_changes}{left_out}: {}, {}{others}",
        count(errors, "error"),
        count(warnings, "warning")
    )
}

/// Writes what GitLab shows to whoever pushes: lines with a mark, and nothing else reaches them.
pub(super) fn write_for_pusher(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    for found in report.shown() {
        let finding = &found.finding;
        let severity = report.severity(finding).name();
        let (path, line) = (visible(&finding.path), finding.start.line);
        let label = if found.change.is_empty() { String::new() } else { format!("{}: ", found.change) };
        writeln!(
            to,
            "GL-HOOK-ERR: {label}{path}:{line}: {severity} {}: {}",
            finding.rule.id,
            message(finding)
        )?;
    }
    for what in &report.outcome.unverified {
        writeln!(to, "GL-HOOK-ERR: not verified: {}", visible(what))?;
    }
    Ok(())
}

/// Writes what a rule is about.
pub(super) fn explain(rule: &Rule, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{} ({}): {}", rule.id, rule.severity.name(), rule.title)?;
    for paragraph in rule.explanation.split("\n\n") {
        writeln!(to)?;
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
                writeln!(to, "{line}")?;
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        writeln!(to, "{line}")?;
    }
    Ok(())
}

impl Report<'_> {
    fn paint(&self, style: Style, text: &str) -> String {
        if self.options.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn write_finding(report: &Report<'_>, found: &Found, to: &mut dyn Write) -> io::Result<()> {
    let finding = &found.finding;
    let severity = report.severity(finding);
    let style = if severity == Severity::Error { BAD } else { DOUBTFUL };
    let label = if found.change.is_empty() { String::new() } else { format!("{} ", visible(&found.change)) };
    let place = format!("{}:{}:{}", visible(&finding.path), finding.start.line, finding.start.column);
    let standing = match &finding.standing {
        Standing::Allowed(reason) => format!(" [allowed: {}]", visible(reason)),
        Standing::Baseline => " [in the baseline]".to_owned(),
        Standing::New => String::new(),
        Standing::Old => " [was there before]".to_owned(),
    };
    let severity = report.paint(style, severity.name());
    writeln!(
        to,
        "{label}{}: {severity} {}: {}{standing}",
        report.paint(STRONG, &place),
        finding.rule.id,
        message(finding)
    )?;
    if !finding.remedy.is_empty() {
        writeln!(to, "    fix: {}", visible(&finding.remedy))?;
    }
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
const STRONG: Style = Style::new().bold();

/// How many characters a line of an explanation has at most.
const WIDTH: usize = 100;

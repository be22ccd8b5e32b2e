//! What was found, for people and for programs. No report holds a value.

mod github;
mod gitlab;
mod json;
mod sarif;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;
use std::io::{self, Write};

use selkie::check::{Finding, Rule, Severity, Standing};
use sha2::{Digest, Sha256};

use crate::run::{Found, Outcome};

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Workflow commands of GitHub Actions.
    Github,
    /// The code quality report of GitLab.
    Gitlab,
    /// Lines that GitLab and others show to whoever pushes: `GL-HOOK-ERR: …`.
    GlHookErr,
    /// One JSON object.
    Json,
    /// One JSON object for each finding, on a line of its own.
    JsonLines,
    /// SARIF 2.1.0.
    Sarif,
    /// Lines for people.
    #[default]
    Text,
}

/// How reports are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether to use colour.
    pub colour: bool,
    /// Whether warnings count as errors.
    pub strict: bool,
    /// Whether to tell what was found and does not count, too.
    pub verbose: bool,
}

impl Format {
    /// Every format, in the order of their names.
    pub const ALL: &[Self] =
        &[Self::Github, Self::Gitlab, Self::GlHookErr, Self::Json, Self::JsonLines, Self::Sarif, Self::Text];

    /// Returns what the command line calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::GlHookErr => "gl-hook-err",
            Self::Json => "json",
            Self::JsonLines => "json-lines",
            Self::Sarif => "sarif",
            Self::Text => "text",
        }
    }

    /// Writes a report.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(self, outcome: &Outcome, options: Options, to: &mut dyn Write) -> io::Result<()> {
        let report = Report { outcome, options };
        match self {
            Self::Github => github::write(&report, to),
            Self::Gitlab => gitlab::write(&report, to),
            Self::GlHookErr => text::write_for_pusher(&report, to),
            Self::Json => json::write(&report, to),
            Self::JsonLines => json::write_lines(&report, to),
            Self::Sarif => sarif::write(&report, to),
            Self::Text => text::write(&report, to),
        }
    }
}

/// Writes what a rule is about, and how what it finds is mended: `check --explain RULE`.
///
/// # Errors
/// If it cannot be written.
pub fn explain(rule: &Rule, to: &mut dyn Write) -> io::Result<()> {
    text::explain(rule, to)
}

/// An outcome on its way to somebody.
struct Report<'a> {
    outcome: &'a Outcome,
    options: Options,
}

impl<'a> Report<'a> {
    /// Returns what is told: what counts, and with `verbose` everything else.
    fn shown(&self) -> impl Iterator<Item = &'a Found> {
        self.outcome.findings.iter().filter(|found| self.is_shown(found))
    }

    fn is_shown(&self, found: &Found) -> bool {
        self.options.verbose || matches!(found.finding.standing, Standing::New) || found.finding.blocks()
    }

    /// Returns everything that was found, each with its fingerprint: those of one change are all different.
    fn fingerprints(&self) -> impl Iterator<Item = (&'a Found, String)> {
        let mut counts: HashMap<_, usize> = HashMap::new();
        self.outcome.findings.iter().map(move |found| {
            let finding = &found.finding;
            let line = finding.pointer.is_empty().then_some(finding.start.line);
            let place = (finding.rule.id, &finding.path, &finding.object, &finding.pointer, line);
            let count = counts.entry((&found.change, place)).or_default();
            *count += 1;
            (found, fingerprint(finding, *count - 1))
        })
    }

    /// Returns how bad a finding is in this run.
    fn severity(&self, finding: &Finding) -> Severity {
        let is_raised = self.options.strict && finding.warns();
        if is_raised { Severity::Error } else { finding.severity }
    }

    /// Returns how many findings that count are errors, and how many warnings; and how many do not count.
    fn counts(&self) -> (usize, usize, usize) {
        let (mut errors, mut warnings, mut others) = (0, 0, 0);
        for found in &self.outcome.findings {
            let finding = &found.finding;
            match self.severity(finding) {
                Severity::Error if finding.blocks() || finding.warns() => errors += 1,
                Severity::Warning if finding.warns() => warnings += 1,
                _ => others += 1,
            }
        }
        (errors, warnings, others)
    }
}

/// Returns what a finding is about in one line, and what mends it.
fn message(finding: &Finding) -> String {
    let place = match (finding.object.is_empty(), finding.pointer.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(" ({})", finding.object),
        (true, false) => format!(" ({})", finding.pointer),
        (false, false) => format!(" ({} {})", finding.object, finding.pointer),
    };
    visible(&format!("{}{place}", finding.message))
}

/// Returns what stays the same as long as the finding does, wherever its line moves: it tells nothing of the value.
/// `before` is how many findings of the rule there are before it at its place.
fn fingerprint(finding: &Finding, before: usize) -> String {
    let mut hash = Sha256::new();
    for part in [finding.rule.id, &finding.path, &finding.object, &finding.pointer] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    if finding.pointer.is_empty() {
        hash.update((finding.start.line as u64).to_be_bytes());
    }
    if before > 0 {
        hash.update((before as u64).to_be_bytes());
    }
    hash.finalize().iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Returns a text in which nothing moves the cursor of a terminal or begins a line: paths and keys may be anybody's.
fn visible(text: &str) -> String {
    let is_hidden = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

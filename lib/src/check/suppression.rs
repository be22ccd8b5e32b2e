//! What a repository allows by name: `# seal:allow RULE reason="…" until=YYYY-MM-DD` at the line or the one before, and
//! `allow` entries of its configuration.
//!
//! A comment is about lines as YAML has them: a carriage return ends one, too. Of values that stand in one line, as in
//! `{a: x, b: y} # seal:allow K8S001 reason="…"`, it allows all. At the key of a value of many lines, it allows a finding
//! about the whole value, or the only one in it.
//!
//! Invariants: nothing is allowed without a reason, nor behind its last day; only a comment allows anything, never a
//! value that looks like one; `KEY001` and what the checks tell of themselves are allowed by no comment; what is allowed
//! for nothing is told. The work grows with the comments and the findings, not with their product.

mod allowance;
mod comment;
mod directive;

use std::collections::HashMap;
use std::ops::Range;

use time::Date;

use super::file::File;
use super::finding::{Finding, Findings, Standing};
use super::rule::{Check, Rule};
use super::rules::suppression;

pub(super) use allowance::Allowances;
pub(super) use directive::day;

use comment::KeyLines;
use directive::Directive;

/// Marks findings of a file that its comments allow, and tells comments that are malformed, unused or expired
/// (META002).
pub(super) fn suppress(file: &File<'_>, today: Date, found: &mut [Finding], told: &mut Findings) {
    let mut all = Vec::new();
    let (comments, lines) = (comment::comments(file), Lines::of(file.text()));
    let targets = targets(&lines, &comments);
    let mut told = Told { file, told, count: 0, last: 0..0 };
    for (comment, line) in comments.iter().zip(targets) {
        let text = file.text().get(comment.text.clone()).unwrap_or_default();
        match directive::read(text) {
            Ok(directive) => all.push((comment.text.clone(), line, directive)),
            Err(error) => told.add(comment.text.clone(), &error.to_string(), error.remedy()),
        }
    }
    // By line and rule: the entry of `all`, and whether it allowed anything.
    let mut open: HashMap<(usize, &'static str), (usize, bool)> = HashMap::new();
    for (index, (_, line, directive)) in all.iter().enumerate() {
        if directive.is_expired(today) {
            continue;
        }
        for rule in &directive.rules {
            open.entry((*line, rule.id)).or_insert((index, false));
        }
    }
    let keys = if open.is_empty() { KeyLines::default() } else { comment::key_lines(file) };
    // How many findings of a rule are in each value.
    let mut counts: HashMap<(usize, &'static str), usize> = HashMap::new();
    for finding in found.iter() {
        if let Some(value) = keys.around(finding.span.start) {
            *counts.entry((value.key, finding.rule.id)).or_default() += 1;
        }
    }
    for finding in found {
        let whole = keys.around(finding.span.start).filter(|value| {
            let is_only = counts.get(&(value.key, finding.rule.id)) == Some(&1);
            is_only || value.is_covered_by(file.text(), &finding.span)
        });
        let of_finding = lines.line_of(finding.span.start);
        for line in std::iter::once(of_finding).chain(whole.map(|value| lines.line_of(value.key))) {
            if let Some((index, used)) = open.get_mut(&(line, finding.rule.id)) {
                *used = true;
                finding.standing = Standing::Allowed(all[*index].2.reason.clone());
                break;
            }
        }
    }
    for (index, (span, line, directive)) in all.iter().enumerate() {
        tell(today, span, directive, &mut told, |rule| {
            open.get(&(*line, rule.id)).is_some_and(|(first, used)| *first == index && *used)
        });
    }
    told.finish();
}

/// What is told of the comments of a file: the first ones of many, and how many more there are.
struct Told<'t, 'f> {
    file: &'t File<'f>,
    told: &'t mut Findings,
    count: usize,
    last: Range<usize>,
}

impl Told<'_, '_> {
    fn add(&mut self, span: Range<usize>, message: &str, remedy: &str) {
        self.count += 1;
        if self.count <= MAX_TOLD {
            self.told.add(suppression(self.file, span, message, remedy));
        } else {
            self.last = span;
        }
    }

    fn finish(self) {
        if let Some(more) = self.count.checked_sub(MAX_TOLD).filter(|more| *more > 0) {
            let message = format!("{more} more comments or rules in them allow nothing");
            self.told.add(suppression(self.file, self.last, &message, "mend them, or take them out"));
        }
    }
}

/// Where the lines of a text end, as YAML has them.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let ends = memchr::memchr2_iter(b'\n', b'\r', bytes);
        Self(ends.filter(|&at| bytes[at] == b'\n' || bytes.get(at + 1) != Some(&b'\n')).collect())
    }

    /// Returns the line that a byte is in, from 1 on.
    fn line_of(&self, at: usize) -> usize {
        self.0.partition_point(|&end| end < at) + 1
    }
}

/// Tells what a comment allows for nothing, or no longer.
fn tell(
    today: Date,
    span: &Range<usize>,
    directive: &Directive,
    told: &mut Told<'_, '_>,
    is_used: impl Fn(&Rule) -> bool,
) {
    if let Some(until) = directive.until.filter(|_| directive.is_expired(today)) {
        let message = format!("what this comment allows expired: {until} was its last day");
        let remedy = "mend what it was for, or give it another day, and take the comment out otherwise";
        told.add(span.clone(), &message, remedy);
        return;
    }
    for rule in directive.rules.iter().filter(|rule| can_be_unused(rule) && !is_used(rule)) {
        let message = format!("{} is allowed here for nothing", rule.id);
        let remedy =
            "take the comment out, or put it at the line that the finding is about, or right before it";
        told.add(span.clone(), &message, remedy);
    }
}

/// Returns whether a rule finds the same in a file whatever was there before, whatever else there is, and without keys.
fn can_be_unused(rule: &Rule) -> bool {
    matches!(rule.check, Check::File(_))
        && !super::scope::compares(rule)
        && !matches!(rule.id, "SOPS005" | "SOPS010" | "SOPS011")
}

/// Returns the line that each comment is about: its own, or for one with a line for itself the next one that is no such
/// comment.
fn targets(lines: &Lines, comments: &[comment::Comment]) -> Vec<usize> {
    let mut targets = vec![0; comments.len()];
    // The line and the target of the comment behind.
    let mut next: Option<(usize, usize)> = None;
    for (index, comment) in comments.iter().enumerate().rev() {
        let first = lines.line_of(comment.text.start);
        let behind = lines.line_of(comment.end) + 1;
        targets[index] = match next {
            _ if !comment.is_alone => first,
            Some((line, target)) if line == behind => target,
            _ => behind,
        };
        next = comment.is_alone.then_some((first, targets[index]));
    }
    targets
}

/// How many comments of a file are told one by one.
const MAX_TOLD: usize = 100;

#[cfg(test)]
mod tests;

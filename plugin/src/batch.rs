//! Doing the same to many files at once: in parallel, with one report in the order of the files.
//!
//! One file that fails does not stop the others. A signal does: files are then done or as they were.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::parallel;
use crate::signals::{self, Watch};
use crate::successor;
use crate::targets::Target;

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was worked on: what was done, and what there is to say about it.
    Done(&'static str, String),
    /// It was worked on, and what was written to stdout says so.
    Silent,
    /// It does not concern the command, for this reason.
    Skipped(&'static str),
    /// It is as it should be already.
    Unchanged,
}

/// Works on all targets and reports.
pub fn run(
    context: &Context<'_>,
    targets: &[Target],
    job: impl Fn(&Target) -> Result<Outcome, Failure> + Sync,
) -> Exit {
    report(context, targets, &map(context, targets, job))
}

/// Reports what became of targets.
pub fn report(context: &Context<'_>, targets: &[Target], results: &[Result<Outcome, Failure>]) -> Exit {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    let mut exits = Vec::new();
    for (target, result) in targets.iter().zip(results) {
        match result {
            Ok(Outcome::Done(verb, detail)) => {
                *counts.entry(verb).or_default() += 1;
                context.report.done(verb, target, detail);
            }
            Ok(Outcome::Silent) => {}
            Ok(Outcome::Skipped(reason)) => {
                *skipped.entry(reason).or_default() += 1;
                context.report.detail(format!("skipped {target} ({reason})"));
            }
            Ok(Outcome::Unchanged) => {
                *counts.entry("unchanged").or_default() += 1;
                context.report.done("unchanged", target, "");
            }
            Err(failure) => {
                exits.push(failure.exit());
                context.report.failure(Some(&target.to_string()), failure);
            }
        }
    }
    if targets.len() != 1 || !skipped.is_empty() {
        context.report.note(summary(&counts, &skipped, exits.len()));
    }
    exit_of(&exits)
}

/// Works on one target after the other; the job says whether a target concerned it.
pub fn one_by_one(
    context: &Context<'_>,
    targets: &[Target],
    mut job: impl FnMut(&Target) -> Result<bool, Failure>,
) -> Exit {
    let (mut exits, mut concerned) = (Vec::new(), false);
    for target in targets {
        match job(target) {
            Ok(it_does) => concerned |= it_does,
            Err(failure) => {
                concerned = true;
                exits.push(failure.exit());
                context.report.failure(Some(&target.to_string()), &failure);
                if failure.is_broken_pipe() {
                    return failure.exit();
                }
            }
        }
    }
    if !concerned {
        context.report.note("there is nothing to do");
    }
    exit_of(&exits)
}

/// Works on some targets at once, and takes what comes of them in their order: no more than
/// [`parallel::THREADS_AT_MOST`] results are there at a time. One that does not concern the command has none.
pub fn in_order<T: Send>(
    context: &Context<'_>,
    targets: &[Target],
    job: impl Fn(&Target) -> Result<Option<T>, Failure> + Sync,
    mut take: impl FnMut(T) -> Result<(), Failure>,
) -> Exit {
    let (mut ahead, mut behind) = (VecDeque::new(), targets);
    one_by_one(context, targets, |_| {
        if ahead.is_empty() {
            let (next, rest) = behind.split_at(behind.len().min(parallel::THREADS_AT_MOST));
            ahead = parallel::map_waiting(next.iter().collect(), &job).into();
            behind = rest;
        }
        match ahead.pop_front().unwrap_or(Ok(None))? {
            Some(result) => take(result).map(|()| true),
            None => Ok(false),
        }
    })
}

/// Does what a run cannot go on without. If it fails, that is reported with the target's name.
///
/// # Errors
/// If it fails: how the run ends.
pub fn needed<T>(context: &Context<'_>, target: &Target, result: Result<T, Failure>) -> Result<T, Exit> {
    result.map_err(|failure| {
        context.report.failure(Some(&target.to_string()), &failure);
        failure.exit()
    })
}

/// Works on all items; the results are in their order.
pub fn map<Item: Send, T: Send>(
    context: &Context<'_>,
    items: impl IntoIterator<Item = Item>,
    job: impl Fn(Item) -> Result<T, Failure> + Sync,
) -> Vec<Result<T, Failure>> {
    let items: Vec<_> = items.into_iter().collect();
    let progress = Progress::new(context, items.len());
    let (total, before) = (items.len(), successor::written());
    // Without a watch, a signal ends the run without a word.
    let _watch = Watch::new(move |signal| interrupted(signal, before, total));
    let results = parallel::map_waiting(items, |item| {
        let result = job(item);
        progress.advance();
        result
    });
    progress.bar.finish_and_clear();
    results
}

/// Returns how a run ends of which parts failed: as they did if all failed for the same reason.
#[must_use]
pub fn exit_of(exits: &[Exit]) -> Exit {
    match exits {
        [] => Exit::Success,
        [first, rest @ ..] if rest.iter().all(|exit| exit == first) => *first,
        _ => Exit::Failure,
    }
}

fn interrupted(signal: i32, before: usize, total: usize) {
    signals::exit_saying(signals::exit_code(signal), || {
        let written = successor::written() - before;
        let text = format!("interrupted: {written} of {total} written, and every other file is as it was\n");
        // Nobody is left who could be told that this cannot be written.
        drop(io::stderr().write_all(text.as_bytes()));
    });
}

fn summary(counts: &BTreeMap<&str, usize>, skipped: &BTreeMap<&str, usize>, failed: usize) -> String {
    let mut parts: Vec<String> = counts.iter().map(|(verb, count)| format!("{count} {verb}")).collect();
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if !skipped.is_empty() {
        let reasons: Vec<_> = skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        parts.push(format!("skipped: {}", reasons.join(", ")));
    }
    if parts.is_empty() { "there is nothing to do".to_owned() } else { parts.join(", ") }
}

/// A bar that shows up when work takes long and somebody watches.
struct Progress {
    bar: ProgressBar,
    since: Instant,
    is_watched: bool,
}

impl Progress {
    fn new(context: &Context<'_>, length: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} files, {eta} left") {
            bar.set_style(style);
        }
        let is_watched = context.session.stderr.is_terminal() && !context.report.is_quiet();
        Self { bar, since: Instant::now(), is_watched }
    }

    fn advance(&self) {
        self.bar.inc(1);
        if self.is_watched && self.bar.is_hidden() && self.since.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

/// How long people wait without asking themselves whether anything happens.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_what_became_of_files() {
        let counts = [("encrypted", 2), ("unchanged", 1)].into();
        let skipped = [("not covered by a rule", 3)].into();
        assert_eq!(
            summary(&counts, &skipped, 1),
            "2 encrypted, 1 unchanged, 1 failed, skipped: 3 not covered by a rule"
        );
        assert_eq!(summary(&BTreeMap::new(), &BTreeMap::new(), 0), "there is nothing to do");
    }
}

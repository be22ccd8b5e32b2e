//! Gives the files of changes to the checks, with all cores, and collects what they find.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use selkie::check::baseline::{Baseline, Work};
use selkie::check::config::{Config, FixMode, RequireMac};
use selkie::check::{
    Checked, Checker, Context, Facts, File, Finding, Mode, Policies, Severity, Snapshot, Verifier, decode,
    unusable,
};
use time::Date;

use crate::change::{Blobs, Change, Item};
use crate::exit::Exit;

/// What a run found.
#[derive(Default)]
pub struct Outcome {
    /// What was found, by path and place; of several changes, one behind the other.
    pub findings: Vec<Found>,
    /// What could not be read at all, in words for people.
    pub unverified: Vec<String>,
    /// How many files were looked at.
    pub files: usize,
    /// How many changes they were in.
    pub changes: usize,
    /// How many files were not looked at, as the time was over.
    pub late: usize,
    /// How many files and folders of the disk were left out, as Git ignores them.
    pub left_out: usize,
    /// The paths that were looked at, where somebody wants to know.
    pub paths: Vec<String>,
    /// What was mended.
    pub fixed: Vec<String>,
    /// Whether the repository wants warnings to stop a commit.
    pub is_strict: bool,
    /// When the repository wants findings to be mended.
    pub fix: FixMode,
    /// How long it took; no part of a report that is compared.
    pub took: Duration,
}

/// A finding, and the change that it is in.
pub struct Found {
    /// What was found.
    pub finding: Finding,
    /// The label of the change, empty if there is only one.
    pub change: String,
}

/// What all changes of a run are checked with.
pub struct Runner<'a> {
    /// Where bytes come from.
    pub blobs: &'a dyn Blobs,
    /// The keys at hand.
    pub keys: Option<&'a dyn Verifier>,
    /// Whether they are used wherever they can be; else as the configuration says, and for few files only.
    pub force_keys: bool,
    /// The day, for what expires.
    pub today: Date,
    /// When to stop, whatever is left.
    pub deadline: Option<Instant>,
    /// Whether the baseline is left out, so that everything is told that it has.
    pub without_baseline: bool,
    /// What baselines cost in all changes together.
    pub work: Work,
}

impl Runner<'_> {
    /// Checks a change, and adds what is found.
    pub fn check(&self, change: &Change, outcome: &mut Outcome) {
        let after = change.after.as_ref();
        let mut told = Vec::new();
        let mut config = self.configuration(after, Config::NAME, parse_config, &mut told);
        let mut baseline = None;
        if !self.without_baseline {
            baseline = self.configuration(after, Baseline::NAME, parse_baseline, &mut told);
        }
        if let Some(policy) = &change.policy {
            // Whoever is judged does not say how. What cannot be used there is mended by what is judged now.
            let mut unread = |error| {
                outcome.unverified.push(error);
                None
            };
            let text = policy.read(Config::NAME).unwrap_or_else(&mut unread);
            config = text.and_then(|text| parse_config(&text).ok());
            let text = policy.read(Baseline::NAME).unwrap_or_else(&mut unread);
            baseline = text.filter(|_| !self.without_baseline).and_then(|text| parse_baseline(&text).ok());
        }
        let config = config.unwrap_or_default();
        let baseline = baseline.unwrap_or_default().with_work(&self.work);
        let policies = Policies::new(after);
        let uses_keys = match config.require_mac() {
            _ if self.force_keys => true,
            RequireMac::Always => true,
            RequireMac::IfKey => !change.is_whole,
            RequireMac::Never => false,
        };
        let keys = self.keys.filter(|_| uses_keys);
        let before = change.before.as_deref().map(|before| before as &dyn Snapshot);
        let context =
            Context { after, before, config: &config, policies: &policies, keys, today: self.today };
        let checker = Checker::new(context, baseline).with_whole(change.is_whole);
        let late = AtomicUsize::new(0);
        let looked: Vec<_> = change
            .items
            .par_iter()
            .map(|item| {
                if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    late.fetch_add(1, Ordering::Relaxed);
                    return Ok(Checked::default());
                }
                self.look(&checker, item).map_err(|error| format!("{}: {error}", item.path))
            })
            .collect();
        let mut facts: Vec<Facts> = Vec::with_capacity(looked.len());
        for checked in looked {
            match checked {
                Ok(checked) => {
                    told.extend(checked.findings);
                    facts.push(checked.facts);
                }
                Err(error) => outcome.unverified.push(error),
            }
        }
        told.extend(checker.finish(&facts));
        match self.others(change, &checker) {
            Ok(found) => told.extend(found),
            Err(error) => outcome.unverified.push(error),
        }
        outcome.late += late.into_inner();
        outcome.left_out += change.left_out;
        told.sort_by(|left, right| {
            (&left.path, left.start, left.rule.id).cmp(&(&right.path, right.start, right.rule.id))
        });
        let found = told.into_iter().map(|finding| Found { finding, change: change.label.clone() });
        outcome.findings.extend(found);
        outcome.files += change.items.len();
        outcome.changes += 1;
        outcome.is_strict |= config.strict;
        outcome.fix = config.fix();
    }

    /// Returns what is found in files that are as they were, by what now says how they are protected and not by what said
    /// it before: as warnings, since nobody touched them, and nothing that a fix would change unasked.
    fn others(&self, change: &Change, checker: &Checker<'_>) -> Result<Vec<Finding>, String> {
        let Some(before) = change.others_before.as_deref().filter(|_| !change.others.is_empty()) else {
            return Ok(Vec::new());
        };
        // What could not be used protected as much as nothing said.
        let config = before.read(Config::NAME)?.and_then(|text| Config::parse(&text).ok());
        let (config, policies) = (config.unwrap_or_default(), Policies::new(before));
        let &Context { keys, today, .. } = checker.context();
        let context =
            Context { after: before, before: None, config: &config, policies: &policies, keys, today };
        let old = Checker::new(context, Baseline::default());
        let look = |item: &Item| {
            if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(
                    "the time was over before all files were looked at whose policy changes".to_owned()
                );
            }
            let found = |checker| {
                let checked = self.look(checker, item).map_err(|error| format!("{}: {error}", item.path))?;
                Ok::<_, String>(
                    checked.findings.into_iter().filter(|finding| finding.blocks() || finding.warns()),
                )
            };
            let mut new: Vec<_> = found(checker)?.collect();
            if !new.is_empty() {
                let place = |finding: &Finding| (finding.rule.id, finding.span.start, finding.span.end);
                let known: HashSet<_> = found(&old)?.map(|finding| place(&finding)).collect();
                new.retain(|finding| !known.contains(&place(finding)));
            }
            for finding in &mut new {
                finding.severity = Severity::Warning;
                finding.fix = None;
            }
            Ok::<_, String>(new)
        };
        let found = change.others.par_iter().map(look).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn look(&self, checker: &Checker<'_>, item: &Item) -> Result<Checked, String> {
        let Some(bytes) = self.blobs.read_up_to(&item.new, Checker::LARGEST)? else {
            let mut large = checker.large(&item.path);
            self.blobs.stream(&item.new, &mut |bytes| large.push(bytes))?;
            return Ok(large.finish());
        };
        // What was there may be what tells: a file that was encrypted, and is no longer. What was too large is as if it
        // had not been.
        let old = match &item.old {
            Some(old) => self.blobs.read_up_to(old, Checker::LARGEST)?,
            None => None,
        };
        Ok(checker.file(&item.path, item.mode, &bytes, old.as_deref()))
    }

    /// Reads a file of the repository that says how it is checked; one that cannot be used is a finding.
    fn configuration<T>(
        &self,
        files: &dyn Snapshot,
        path: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, (usize, String)>,
        told: &mut Vec<Finding>,
    ) -> Option<T> {
        let (text, (line, message)) = match files.read(path) {
            Ok(None) => return None,
            Ok(Some(text)) => match parse(&text) {
                Ok(config) => return Some(config),
                Err(error) => (text, error),
            },
            Err(error) => (Vec::new(), (1, error)),
        };
        let content = decode(&text);
        told.push(unusable(&File::new(path, &text, &content, Mode::File), line, &message));
        None
    }
}

impl Outcome {
    /// Returns whether a finding stops a commit. With `strict`, warnings do, too.
    #[must_use]
    pub fn counts(&self, finding: &Finding, strict: bool) -> bool {
        // Else a repository that is strict could never loosen its configuration.
        let is_raised = (strict || self.is_strict) && finding.rule.id != "META003";
        finding.blocks() || is_raised && finding.warns()
    }

    /// Returns how the run ends. With `strict`, warnings stop a commit, too.
    #[must_use]
    pub fn exit(&self, strict: bool) -> Exit {
        let is = |finding: &Finding, id: &str| finding.rule.id == id;
        let counting =
            || self.findings.iter().map(|found| &found.finding).filter(|it| self.counts(it, strict));
        if !self.fixed.is_empty() {
            Exit::Fixed
        } else if counting().any(|finding| !is(finding, "META001") && !is(finding, "META003")) {
            Exit::Findings
        } else if counting().any(|finding| is(finding, "META003")) {
            Exit::Usage
        } else if counting().next().is_some() || !self.unverified.is_empty() {
            Exit::Unverified
        } else {
            Exit::Clean
        }
    }
}

/// Returns whether a file says how others are protected, so that it is compared with what it said before.
pub(crate) fn is_policy(path: &str) -> bool {
    path == Config::NAME || path.rsplit('/').next() == Some(".sops.yaml")
}

fn parse_config(text: &[u8]) -> Result<Config, (usize, String)> {
    Config::parse(text).map_err(|error| (error.line, error.message))
}

fn parse_baseline(text: &[u8]) -> Result<Baseline, (usize, String)> {
    Baseline::parse(text).map_err(|error| (error.line, error.message))
}

//! `.seal-baseline`: what a repository had in clear before it began to check, each entry with a slow, salted
//! commitment to the value, so that the file tells nothing of it.
//!
//! A line is an entry: the rule, the path, the object and the pointer in it parted by `#`, and the salt and the
//! commitment parted by `$`, both in hexadecimal. What is no letter or sign in the first three is written as `%20` is.
//! For the few rules that find no value and for which the place alone tells, `-` stands for the commitment. Lines are in
//! order, and hold neither a time nor the number of a line: two baselines are merged by taking the lines of both.
//!
//! Invariants: a commitment is made only where rule, path, object and pointer are those of an entry; a value that is
//! another one is found again; the baselines of a run, whatever they say, cost no more than `MAX_MISSES` commitments for
//! nothing.

mod entry;

use std::collections::btree_set;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::finding::{Finding, Standing};
use super::rule::Severity;

use entry::{Commitment, Entry, Key, Salt};

/// The entries of a baseline.
#[derive(Default)]
pub struct Baseline {
    entries: BTreeSet<Entry>,
    work: Work,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The rule.
    pub rule: String,
    /// The path of the file.
    pub path: String,
}

/// Why a baseline cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct BaselineError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// The work that baselines cost: those of one run share it, so that what a baseline says costs no more in many changes
/// than in one.
#[derive(Clone, Default)]
pub struct Work {
    made: Arc<Mutex<Made>>,
    is_over: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

/// The commitments that were made, so that none is made twice, and how many of them were for nothing.
#[derive(Default)]
struct Made {
    /// By the salt, and a hash of the value that never leaves the memory.
    known: HashMap<(Salt, [u8; 32]), Commitment>,
    misses: usize,
}

impl Work {
    /// Returns no work yet, and none any more once `is_over` says so: then nothing more is taken for known.
    #[must_use]
    pub fn until(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_over: Some(Arc::new(is_over)), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Baseline {
    /// What the file is called, at the top of a repository.
    pub const NAME: &'static str = ".seal-baseline";

    /// Reads the text of a baseline. Empty lines and lines that begin with `#` say nothing.
    ///
    /// # Errors
    /// If a line is no entry.
    pub fn parse(text: &[u8]) -> Result<Self, BaselineError> {
        let text = str::from_utf8(text)
            .map_err(|_| BaselineError { line: 1, message: "the baseline is no text".to_owned() })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut entries = BTreeSet::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            if line.starts_with('#') {
                continue;
            }
            let read = if is_conflict(line) { Err(CONFLICT) } else { Entry::parse(line) };
            entries.insert(
                read.map_err(|message| BaselineError { line: index + 1, message: message.to_owned() })?,
            );
        }
        Ok(Self { entries, work: Work::default() })
    }

    /// Says with which other baselines it shares its work.
    #[must_use]
    pub fn with_work(mut self, work: &Work) -> Self {
        self.work = work.clone();
        self
    }

    /// Returns the entries of a text that another, which was before it, has not: where each is, and what it is about.
    /// Lines that are no entry are left out.
    #[must_use]
    pub fn added(before: &[u8], after: &[u8]) -> Vec<(Range<usize>, Place)> {
        let [before, after] = [before, after].map(|text| str::from_utf8(text).unwrap_or_default());
        let known: HashSet<_> = before.lines().collect();
        let mut start = 0;
        let mut added = Vec::new();
        for line in after.split_inclusive('\n') {
            let span = start..start + line.trim_end().len();
            start += line.len();
            let line = line.trim_end_matches(['\r', '\n']);
            if !known.contains(line)
                && let Ok(Entry { key, .. }) = Entry::parse(line)
            {
                added.push((span, Place { rule: key.rule, path: key.path }));
            }
        }
        added
    }

    /// Returns whether a baseline can have a finding: only what has a value, but for rules that find none and say
    /// all by the place. Private keys are let in by the configuration alone, with a reason.
    #[must_use]
    pub fn can_have(finding: &Finding) -> bool {
        let is_allowed = matches!(finding.standing, Standing::Allowed(_));
        let counts = finding.severity > Severity::Off && !is_allowed && finding.rule.id != "KEY001";
        let has_value = finding.value.is_some() && !finding.rule.id.starts_with("META");
        counts && (has_value || finding.value.is_none() && entry::is_told_by_place(finding.rule.id))
    }

    /// Marks the findings that it has, with the same value at the same place of the same rule and path.
    pub fn mark(&self, found: &mut [Finding]) {
        if self.entries.is_empty() {
            return;
        }
        for finding in found.iter_mut().filter(|finding| Self::can_have(finding)) {
            if self.entry_of(finding, true).is_some() {
                finding.standing = Standing::Baseline;
            }
        }
    }

    /// Returns a baseline of these findings; entries that still hold keep their salts, so that nothing changes that
    /// need not. What a baseline cannot have is left out: see [`Self::can_have`].
    #[must_use]
    pub fn renew(&self, found: &[Finding], rng: &mut dyn CryptoRngCore) -> Self {
        let mut renewed = self.prune(found);
        // Entries of one place have one salt: then it takes one commitment to look them all up.
        let mut salts: BTreeMap<Key, Salt> = renewed
            .entries
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), entry.commitment?.0)))
            .collect();
        for finding in found.iter().filter(|finding| Self::can_have(finding)) {
            if renewed.entry_of(finding, false).is_some() {
                continue;
            }
            let key = Key::of(finding);
            let commitment = finding.value.as_ref().map(|value| {
                let salt = *salts.entry(key.clone()).or_insert_with(|| {
                    let mut salt = Salt::default();
                    rng.fill_bytes(&mut salt);
                    salt
                });
                (salt, self.make(salt, value.expose_secret()))
            });
            renewed.entries.insert(Entry { key, commitment });
        }
        renewed
    }

    /// Returns the entries that still hold, and no others.
    #[must_use]
    pub fn prune(&self, found: &[Finding]) -> Self {
        let held = found.iter().filter(|finding| Self::can_have(finding));
        let entries = held.filter_map(|finding| self.entry_of(finding, false)).cloned().collect();
        Self { entries, work: Work::default() }
    }

    /// Returns the entries of both: how two versions are merged.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self { entries: &self.entries | &other.entries, work: Work::default() }
    }

    /// Returns how many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the entry of a finding; `is_bounded` if it is not known to be the repository's own.
    fn entry_of(&self, finding: &Finding, is_bounded: bool) -> Option<&Entry> {
        let key = Key::of(finding);
        let Some(value) = &finding.value else {
            return self.entries.get(&Entry { key, commitment: None });
        };
        // Whether the last commitment was made for this finding.
        let (mut tried, mut is_new) = (0, false);
        // The entries of one place stand together, by their salts.
        let mut last: Option<(Salt, Commitment)> = None;
        for entry in self.at(&key) {
            let Some((salt, commitment)) = &entry.commitment else { continue };
            let made = match last {
                Some((known, made)) if known == *salt => made,
                _ => {
                    tried += 1;
                    if tried > MAX_SALTS {
                        return None;
                    }
                    let made = self.commitment(*salt, value.expose_secret(), is_bounded)?;
                    is_new = made.1;
                    made.0
                }
            };
            if bool::from(made.ct_eq(commitment)) {
                if is_new {
                    self.work.lock().misses -= 1;
                }
                return Some(entry);
            }
            last = Some((*salt, made));
        }
        None
    }

    fn at(&self, key: &Key) -> btree_set::Range<'_, Entry> {
        let first = Entry { key: key.clone(), commitment: None };
        let last = Entry { key: key.clone(), commitment: Some((Salt::from([0xff; 16]), [0xff; 16])) };
        self.entries.range(first..=last)
    }

    fn make(&self, salt: Salt, value: &[u8]) -> Commitment {
        let made = self.commitment(salt, value, false);
        made.map_or_else(|| entry::commit(&salt, value, LOG_COST), |(made, _)| made)
    }

    /// Makes a commitment, one at a time, since each takes 32 MiB, and says whether it was not known yet: then it counts
    /// as one for nothing. Nothing, if it `is_bounded` and too many were, or the time is over.
    fn commitment(&self, salt: Salt, value: &[u8], is_bounded: bool) -> Option<(Commitment, bool)> {
        let name = (salt, Sha256::digest(value).into());
        let mut work = self.work.lock();
        if let Some(made) = work.known.get(&name) {
            return Some((*made, false));
        }
        let is_over = || self.work.is_over.as_ref().is_some_and(|is_over| is_over());
        if is_bounded && (work.misses >= MAX_MISSES || is_over()) {
            return None;
        }
        let made = entry::commit(&salt, value, LOG_COST);
        work.misses += 1;
        if work.known.len() < MAX_KNOWN {
            work.known.insert(name, made);
        }
        Some((made, true))
    }
}

impl Clone for Baseline {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), work: self.work.clone() }
    }
}

impl fmt::Debug for Baseline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was made of values this time is nobody's business.
        write!(formatter, "Baseline({} entries)", self.entries.len())
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In the order of the lines, which is not everywhere that of what they stand for.
        let mut lines: Vec<_> = self.entries.iter().map(Entry::to_string).collect();
        lines.sort_unstable();
        lines.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

impl PartialEq for Baseline {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Baseline {}

/// Returns whether a line is what a merge leaves that needs a decision.
fn is_conflict(line: &str) -> bool {
    ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark))
}

const CONFLICT: &str = "this is the conflict of a merge: keep the lines of both sides and take out the markers; \
                        `.seal-baseline merge=union` in .gitattributes does that by itself";

/// The binary logarithm of the cost of a commitment: some 50 ms, but in tests.
const LOG_COST: u8 = if cfg!(test) { 4 } else { 15 };

/// How many salts the entries of one place have at most; what is behind them is not looked at.
const MAX_SALTS: usize = 64;

/// How many commitments are made at most that no entry has: about five seconds. Then nothing more is taken for known.
const MAX_MISSES: usize = 100;

/// How many commitments are remembered at most.
const MAX_KNOWN: usize = 10_000;

#[cfg(test)]
mod tests;

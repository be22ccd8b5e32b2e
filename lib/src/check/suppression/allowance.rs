//! The `allow` entries of a configuration, and which of them were of use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use time::Date;

use crate::check::config::{Allow, Config};
use crate::check::content::decode;
use crate::check::context::Context;
use crate::check::file::{File, Mode};
use crate::check::finding::{Finding, Findings, Standing};
use crate::check::rules::suppression;

/// Which `allow` entries were of use, or would have been before they expired.
#[derive(Debug, Default)]
pub(in crate::check) struct Allowances {
    met: Vec<AtomicBool>,
}

impl Allowances {
    /// Returns a record of the entries of a configuration, none of which was of use yet.
    pub(in crate::check) fn new(config: &Config) -> Self {
        Self { met: config.allow().iter().map(|_| AtomicBool::new(false)).collect() }
    }

    /// Marks the findings of a file that entries allow.
    pub(in crate::check) fn apply(&self, config: &Config, today: Date, path: &str, found: &mut [Finding]) {
        if config.allow().is_empty() || found.is_empty() {
            return;
        }
        let mut entries: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for index in config.allow_at(path) {
            let entry = &config.allow()[index];
            for rule in &entry.rules {
                entries.entry((rule.id, entry.pointer.as_str())).or_default().push(index);
            }
        }
        if entries.is_empty() {
            return;
        }
        for finding in found {
            let mut reason = None;
            for pointer in above(&finding.pointer) {
                for &index in entries.get(&(finding.rule.id, pointer)).into_iter().flatten() {
                    self.met[index].store(true, Ordering::Relaxed);
                    let entry = &config.allow()[index];
                    if !is_expired(entry, today) {
                        reason = reason.or(Some(&entry.reason));
                    }
                }
            }
            if let Some(reason) = reason {
                finding.standing = Standing::Allowed(reason.clone());
            }
        }
    }

    /// Tells entries that expired and would be of use; with `is_whole`, also all others that expired or are of none.
    pub(in crate::check) fn tell(&self, context: &Context<'_>, is_whole: bool, found: &mut Findings) {
        let told: Vec<_> = context
            .config
            .allow()
            .iter()
            .zip(&self.met)
            .filter_map(|(entry, met)| {
                let (is_met, until) = (met.load(Ordering::Relaxed), entry.until);
                match until.filter(|_| is_expired(entry, context.today)) {
                    Some(until) if is_met || is_whole => {
                        Some((entry, format!("this entry of `allow` expired: {until} was its last day")))
                    }
                    None if is_whole && !is_met => {
                        Some((entry, "this entry of `allow` allows nothing that is there".to_owned()))
                    }
                    _ => None,
                }
            })
            .collect();
        if told.is_empty() {
            return;
        }
        // Without the file, which the caller read before, its first line stands for all.
        let bytes = context.after.read(Config::NAME).ok().flatten().unwrap_or_default();
        let content = decode(&bytes);
        let file = File::new(Config::NAME, &bytes, &content, Mode::File);
        for (entry, message) in told {
            let at = entry.span.start.min(file.text().len());
            found.add(suppression(&file, at..at, &message, "take the entry out, or mend it"));
        }
    }
}

/// Returns a pointer and all that are above it, the empty one last.
fn above(pointer: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(pointer), |below| below.rfind('/').and_then(|at| pointer.get(..at)))
        .chain((!pointer.is_empty() && !pointer.starts_with('/')).then_some(""))
}

fn is_expired(entry: &Allow, today: Date) -> bool {
    entry.until.is_some_and(|until| until < today)
}

//! `fix`.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use selkie::check::Finding;

use super::check::{outcome_of_index, refused};
use super::{RunError, Surroundings};
use crate::exit::Exit;
use crate::fix::{Fix, Fixed, is_below};
use crate::git::Repository;
use crate::path::clean;
use crate::run::{Found, Outcome};

/// Encrypt or seal what a check of the index finds, in the index
///
/// What was staged is mended, by the creation rule of each file or for the certificate of the repository; so is the file
/// of the worktree, if it is the same. What was not staged is neither lost nor staged. Only public keys are needed, but
/// for files that are encrypted in part.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FixArgs {
    /// Only these files, from the working directory on
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// What is staged; this is what is mended in any case
    #[arg(long)]
    staged: bool,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Take the plaintext that was staged out of the object store, if no commit has it
    #[arg(long)]
    purge: bool,

    /// Seal for this certificate instead of the one that the configuration names
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// End with 0 where everything was mended, for hook managers that stage and go on
    #[arg(long = "continue")]
    go_on: bool,
}

impl FixArgs {
    /// Mends, and tells what was done.
    pub fn run(&self, mut surroundings: Surroundings<'_>) -> Exit {
        let result = self.fix(&mut surroundings);
        surroundings.end(result)
    }

    fn fix(&self, surroundings: &mut Surroundings<'_>) -> Result<Exit, RunError> {
        let repository = Repository::find(&surroundings.folder).map_err(refused)?;
        let outcome = outcome_of_index(&repository, surroundings)?;
        refuse_configuration(&outcome)?;
        let options = Fix {
            paths: self.paths_from_top(&repository, &outcome, surroundings)?,
            dry_run: self.dry_run,
            purge: self.purge,
            cert: self.cert.as_ref().map(|cert| surroundings.folder.join(cert)),
        };
        let fixed = surroundings.fix(&repository, &outcome, &options);
        let fixed = fixed.map_err(RunError::Unverified)?;
        tell(&fixed, self.dry_run, surroundings)?;
        let (is_all, mended) = (fixed.refused.is_empty(), fixed.mended);
        let is_changed = !mended.is_empty() && !self.dry_run;
        // What a file has that is mended is what the index now says of it.
        let again = if is_changed { Some(outcome_of_index(&repository, surroundings)?) } else { None };
        let rest = rest(outcome, again, &mended, &options);
        for what in &rest.unverified {
            writeln!(surroundings.messages, "not verified: {}", what.escape_debug())?;
        }
        let left = rest.findings.iter().filter(|found| rest.counts(&found.finding, false)).count();
        if left > 0 {
            let program = surroundings.program;
            writeln!(surroundings.messages, "{left} findings are left; {program} check tells them")?;
        }
        Ok(match rest.exit(false) {
            Exit::Clean if !is_all => Exit::Findings,
            // The index has still what would be mended.
            Exit::Clean if self.dry_run && !mended.is_empty() => Exit::Findings,
            Exit::Clean if is_changed && !self.go_on => Exit::Fixed,
            exit => exit,
        })
    }

    /// Returns the paths as Git names them: from the working directory on or, as reports tell them, from the top.
    fn paths_from_top(
        &self,
        repository: &Repository,
        outcome: &Outcome,
        surroundings: &Surroundings<'_>,
    ) -> Result<Vec<String>, RunError> {
        let top = repository.top();
        let inside = |folder: &Path, path: &Path| {
            let absolute = clean(&folder.join(path));
            absolute.strip_prefix(top).ok().and_then(|path| path.to_str()).map(str::to_owned)
        };
        let mut checked: Vec<_> = outcome.paths.iter().map(String::as_str).collect();
        checked.sort_unstable();
        let is_checked = |named: &String| has_below(&checked, named);
        // Where not all could be read, nobody knows what there is.
        let is_all = outcome.unverified.is_empty();
        let relative = |path: &PathBuf| {
            let named = [inside(&surroundings.folder, path), inside(top, path)];
            if let Some(found) = named.iter().flatten().find(|named| is_checked(named)) {
                return Ok(found.clone());
            }
            let shown = path.display();
            let [Some(named), _] = named else {
                let top = top.display();
                return Err(RunError::Usage(format!("{shown} is not in the worktree {top}")));
            };
            if is_all {
                let how = "run `git add` for it, or commit first what else is staged";
                return Err(RunError::Usage(format!("{shown} is not among what is staged: {how}")));
            }
            Ok(named)
        };
        self.paths.iter().map(relative).collect()
    }
}

/// Refuses a configuration that cannot be used, as nothing says how to mend then.
fn refuse_configuration(outcome: &Outcome) -> Result<(), RunError> {
    let is_unusable = |finding: &&Finding| finding.rule.id == "META003" && finding.blocks();
    match outcome.findings.iter().map(|found| &found.finding).find(is_unusable) {
        None => Ok(()),
        Some(Finding { path, start, message, .. }) => {
            Err(RunError::Usage(format!("{path}:{}: {message}", start.line)))
        }
    }
}

/// Returns whether one of the paths, which are in order, is that of a folder or in it.
fn has_below(paths: &[&str], folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    let first_in = paths.partition_point(|path| *path < format!("{folder}/").as_str());
    folder.is_empty() && !paths.is_empty()
        || paths.binary_search(&folder).is_ok()
        || paths.get(first_in).is_some_and(|path| is_below(path, folder))
}

/// Returns what is left of what was asked for: of files that are mended, what was found `again`.
fn rest(before: Outcome, again: Option<Outcome>, mended: &[String], options: &Fix) -> Outcome {
    let mended: HashSet<_> = mended.iter().collect();
    let is_mended = |found: &Found| mended.contains(&found.finding.path);
    let mut rest = Outcome { is_strict: before.is_strict, ..Outcome::default() };
    let old = before.findings.into_iter().filter(|found| !is_mended(found));
    rest.findings.extend(old.filter(|found| options.asks_for(&found.finding.path)));
    let mut unverified: BTreeSet<_> = before.unverified.into_iter().collect();
    if let Some(again) = again {
        rest.findings.extend(again.findings.into_iter().filter(is_mended));
        unverified.extend(again.unverified);
    }
    rest.unverified.extend(unverified);
    rest
}

/// Tells what was mended, and what was not and why.
pub(super) fn tell(
    fixed: &Fixed,
    dry_run: bool,
    surroundings: &mut Surroundings<'_>,
) -> Result<(), RunError> {
    let what = if dry_run { "would be mended in the index" } else { "mended in the index" };
    for path in &fixed.mended {
        writeln!(surroundings.messages, "{what}: {}", path.escape_debug())?;
    }
    for note in &fixed.notes {
        writeln!(surroundings.messages, "{}", note.escape_debug())?;
    }
    for (path, why) in &fixed.refused {
        let why = surroundings.own_words(why);
        writeln!(surroundings.messages, "not mended: {}: {}", path.escape_debug(), why.escape_debug())?;
    }
    Ok(())
}

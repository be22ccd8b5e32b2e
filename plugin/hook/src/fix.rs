//! Mends what was found: encrypts or seals the blob of the index, and what of the worktree is the same.
//!
//! Invariants: only public keys are needed, but for files that are encrypted in part; nothing is written before its
//! result passed the same checks; the index is changed in one step, or not at all; an edit that was not staged is
//! neither lost nor staged.

mod hazards;
mod index;
mod judge;
mod mend;
mod purge;
mod worktree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use selkie::check::Fix as Way;
use selkie::secret::SecretBytes;
use time::OffsetDateTime;

use crate::git::Repository;
use crate::keys::Keys;
use crate::run::Outcome;

use hazards::PutAside;
use index::{Entry, Git, IndexFiles, Replacement, show};
use judge::Judge;
use mend::{Mender, Source, Wish};
use purge::Remainder;
use worktree::Copy;

/// What to mend.
#[derive(Clone, Debug, Default)]
pub struct Fix {
    /// Only these paths, from the top of the repository on; all if there is none.
    pub paths: Vec<String>,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
    /// Whether plaintext blobs that nothing refers to any more are taken out of the object store.
    pub purge: bool,
    /// The certificate to seal for, if not that of the configuration.
    pub cert: Option<PathBuf>,
}

impl Fix {
    /// Returns whether a file is to be mended: it is named, or a folder above it, or nothing is.
    #[must_use]
    pub fn asks_for(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|named| is_below(path, named))
    }
}

/// Returns whether a path is that of a folder or in it; in the one without a name is everything.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder)
        .is_some_and(|rest| folder.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// What a fix may know of where it runs.
pub struct Surroundings<'a> {
    /// Returns a variable of the environment.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The time.
    pub now: OffsetDateTime,
}

/// What was done, in words for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The paths that are mended in the index.
    pub mended: Vec<String>,
    /// What people should know of them.
    pub notes: Vec<String>,
    /// What could not be mended: path, and why not with the command that does it by hand.
    pub refused: Vec<(String, String)>,
}

/// Mends what a check of the index found.
///
/// # Errors
/// If the index cannot be read, locked or written, with the reason and what to do; nothing is changed then.
pub fn fix(
    repository: &Repository,
    outcome: &Outcome,
    keys: &dyn Keys,
    fix: &Fix,
    surroundings: &Surroundings<'_>,
) -> Result<Fixed, String> {
    // What the environment says of them may be meant from another folder.
    let git = Git::new(repository.top())
        .with_variable("GIT_DIR", repository.git_dir())
        .with_variable("GIT_WORK_TREE", repository.top());
    let files = IndexFiles::new(&git)?;
    let judge = Judge::new(&files, fix.cert.as_deref(), surroundings.now.date())?;
    let mender = Mender { policy: &judge, keys, now: surroundings.now };
    let work = Work { git: &git, files: &files, mender: &mender, fix, environment: surroundings.environment };
    work.run(&wanted(outcome, fix))
}

/// What is wanted for a file.
#[derive(Debug, Default)]
struct Wanted {
    wishes: Vec<Wish>,
    /// The rules that stop a commit of it, and that no fix mends.
    others: BTreeSet<&'static str>,
}

struct Work<'a> {
    git: &'a Git,
    files: &'a IndexFiles,
    mender: &'a Mender<'a>,
    fix: &'a Fix,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

/// A file that is mended in memory.
struct Mended<'a> {
    path: &'a str,
    entry: &'a Entry,
    text: SecretBytes,
    copy: Copy,
    /// The blob that the last commit has at the path, if that is in clear, too.
    exposed: Option<String>,
}

impl Work<'_> {
    fn run(&self, wanted: &BTreeMap<String, Wanted>) -> Result<Fixed, String> {
        let mut fixed = Fixed::default();
        let folder = self.git.folder()?;
        if let Some(reason) = hazards::of_index(self.git, &folder, self.environment) {
            fixed.refused.extend(wanted.iter().map(|(path, wanted)| refusal(path, wanted, &reason)));
            return Ok(fixed);
        }
        let aside = PutAside::find(&folder, self.environment, &hazards::ancestors());
        let mut mended = Vec::new();
        for (path, wanted) in wanted {
            match self.mend(path, wanted, &aside, &mut fixed.notes) {
                Ok(done) => mended.push(done),
                Err(reason) => fixed.refused.push(refusal(path, wanted, &reason)),
            }
        }
        fixed.mended = mended.iter().map(|done| done.path.to_owned()).collect();
        if self.fix.dry_run || mended.is_empty() {
            return Ok(fixed);
        }
        let replacements = self.store(&mended)?;
        self.git.replace(&folder.join("index"), &replacements)?;
        // From here on nothing fails: the index is what it should be, and people are told of the rest.
        for (done, replacement) in mended.iter().zip(&replacements) {
            self.update_copy(done, &replacement.blob, &mut fixed.notes);
        }
        let blobs = mended.iter().map(|done| done.entry.blob.as_str()).collect();
        let referred = if self.fix.purge { purge::referred(self.git, &blobs) } else { Ok(BTreeSet::new()) };
        for (index, done) in mended.iter().enumerate() {
            fixed.notes.push(self.tell_of_remainder(done, &referred, index < MAX_SEARCHES));
        }
        Ok(fixed)
    }

    /// Mends a file in memory.
    fn mend<'p>(
        &'p self,
        path: &'p str,
        wanted: &Wanted,
        aside: &PutAside,
        notes: &mut Vec<String>,
    ) -> Result<Mended<'p>, String> {
        let entry = self.files.entry(path).ok_or("it is not a file of the index")?;
        if let Some(reason) = hazards::of_entry(self.git, entry)? {
            return Err(reason);
        }
        let copy = worktree::look(self.git, entry)?;
        if aside.has(path) || aside.is_managed() && matches!(copy, Copy::Edited) {
            return Err(
                "a hook manager runs this while edits of the file are not staged: they would collide"
                    .to_owned(),
            );
        }
        let source = self.git.blob(&entry.blob)?;
        let old = self.git.committed(&entry.path);
        let committed = old.as_ref().map(|blob| self.git.blob(blob)).transpose()?;
        let mut told = Vec::new();
        let file = Source { path, text: &source, committed: committed.as_ref() };
        let text = self.mender.mend(&file, &wanted.wishes, &mut told)?;
        if text.expose_secret() == source.expose_secret() {
            return Err("there is nothing to mend in it".to_owned());
        }
        let committed = committed.as_ref().map(SecretBytes::expose_secret);
        for (rule, is_mendable) in self.mender.policy.remaining(path, text.expose_secret(), committed) {
            if is_mendable || !wanted.others.contains(rule) {
                return Err(format!("the result does not pass the checks: {rule}"));
            }
            told.push(format!("{}: what {rule} found is still in it", show(path)));
        }
        let is_clear =
            |text: &[u8]| self.mender.policy.remaining(path, text, None).iter().any(|&(_, fits)| fits);
        let exposed = old.filter(|blob| *blob == entry.blob || committed.is_some_and(is_clear));
        notes.append(&mut told);
        Ok(Mended { path, entry, text, copy, exposed })
    }

    /// Puts the new blobs into the object store. Nothing refers to them yet.
    fn store(&self, mended: &[Mended<'_>]) -> Result<Vec<Replacement>, String> {
        let store = |done: &Mended<'_>| {
            let blob = self.git.store(done.text.expose_secret())?;
            Ok(Replacement { entry: done.entry.clone(), blob })
        };
        mended.iter().map(store).collect()
    }

    /// Brings the copy of the worktree in line, if it was what was staged.
    fn update_copy(&self, done: &Mended<'_>, blob: &str, notes: &mut Vec<String>) {
        let reason = match &done.copy {
            Copy::Absent => return,
            Copy::Edited => "it has edits that are not staged".to_owned(),
            Copy::Kept(reason) => (*reason).to_owned(),
            Copy::Same(old) => {
                let new = self.git.smudged(&done.entry.path, blob);
                let written = new.and_then(|new| {
                    worktree::replace(self.git, done.entry, old, &new).map_err(|error| error.to_string())
                });
                match written {
                    Ok(()) => return,
                    Err(reason) => reason,
                }
            }
        };
        notes.push(format!("worktree copy of {} is still plaintext: {reason}", show(done.path)));
    }

    /// Tells where the plaintext still is, once it was purged where that is wanted. Commits are looked for only where
    /// `searches` says so: that takes a pass over all of them.
    fn tell_of_remainder(
        &self,
        done: &Mended<'_>,
        referred: &Result<BTreeSet<&str>, String>,
        searches: bool,
    ) -> String {
        let path = show(done.path);
        let blob = &done.entry.blob;
        let commits = |blob: &str| if searches { purge::commits(self.git, blob) } else { Ok(Vec::new()) };
        let remainder = match (referred, &done.exposed) {
            (Err(reason), _) => Err(reason.clone()),
            (Ok(_), Some(exposed)) => commits(exposed).map(Remainder::Committed),
            (Ok(referred), None) if referred.contains(blob.as_str()) => {
                commits(blob).map(|found| match found.is_empty() {
                    true => Remainder::Referred,
                    false => Remainder::Committed(found),
                })
            }
            (Ok(_), None) if self.fix.purge => purge::take_out(self.git, blob),
            (Ok(_), None) => Ok(Remainder::Packed),
        };
        match remainder {
            Err(reason) => format!("{path}: its plaintext is still in .git/objects: {reason}"),
            Ok(Remainder::Committed(commits)) => {
                let commits = if commits.is_empty() { "HEAD".to_owned() } else { commits.join(", ") };
                format!(
                    "{path}: commits have its plaintext ({commits}): rotate its values, others may have them"
                )
            }
            Ok(Remainder::Gone) => format!("{path}: its plaintext is gone from .git/objects"),
            Ok(Remainder::Packed) => format!(
                "{path}: its plaintext is still in .git/objects, from where it is not pushed; `git gc --prune=now` takes \
                 it out"
            ),
            Ok(Remainder::Referred) => format!(
                "{path}: its plaintext stays in .git/objects, as another index, a merge, a stash or a reflog leads to it"
            ),
        }
    }
}

/// Returns what is wanted, by path.
fn wanted(outcome: &Outcome, fix: &Fix) -> BTreeMap<String, Wanted> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for finding in outcome.findings.iter().map(|found| &found.finding) {
        if !(finding.blocks() || finding.warns()) || !fix.asks_for(&finding.path) {
            continue;
        }
        let file = wanted.entry(finding.path.clone()).or_default();
        match finding.fix {
            Some(fix) => {
                let object = finding.object.clone();
                file.wishes.push(Wish { fix, span: finding.span.clone(), object });
            }
            None => drop(file.others.insert(finding.rule.id)),
        }
    }
    wanted.retain(|_, file| !file.wishes.is_empty());
    wanted
}

/// Returns why a file is not mended, with the command that does it by hand.
fn refusal(path: &str, wanted: &Wanted, reason: &str) -> (String, String) {
    let wants = |way| wanted.wishes.iter().any(|wish| wish.fix == way);
    let safe = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    // What has a NUL in it is no path of any system.
    let quoted = shlex::try_quote(&safe).map(|quoted| show(&quoted)).unwrap_or_default();
    let command = match () {
        () if wants(Way::EncryptRest) => format!("kubectl seal fix {quoted}"),
        () if wants(Way::Encrypt) => format!("kubectl seal encrypt -i {quoted} && git add {quoted}"),
        () if wants(Way::Seal) => format!("kubectl seal seal -i {quoted} && git add {quoted}"),
        () => format!("kubectl seal fix {quoted}"),
    };
    (path.to_owned(), format!("{reason}; by hand: `{command}`"))
}

/// For how many files of a run the commits are looked for that have them in clear.
const MAX_SEARCHES: usize = 16;

#[cfg(all(test, unix))]
mod tests;

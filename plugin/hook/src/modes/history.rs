//! Commits: what each of them has that none of its parents has.
//!
//! Invariants: what was added and removed again is looked at, and so is what only a merge has; the same blob at the
//! same path is looked at once, in the oldest commit that has it.

use std::collections::HashSet;
use std::sync::Arc;

use gix_hash::ObjectId;
use selkie::check::Snapshot;

use super::{item, new_item, refuse_trouble};
use crate::change::{Change, Item, Source};
use crate::git::{Difference, GitError, Listed, Objects, Record, Repository, Treed};
use crate::run::is_policy;

/// The commits of a range: `A..B`, `A...B`, or one commit and all before it.
pub(super) fn range(
    repository: &Repository,
    range: &str,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let side = |name: &str| repository.commit(if name.is_empty() { "HEAD" } else { name });
    let revisions = if let Some((left, right)) = range.split_once("...") {
        format!("{}...{}\n", side(left)?, side(right)?)
    } else if let Some((left, right)) = range.split_once("..") {
        format!("^{}\n{}\n", side(left)?, side(right)?)
    } else {
        format!("{}\n", repository.commit(range)?)
    };
    Walk::new(repository, visit).commits(&revisions, &[])
}

/// A way through commits.
pub(super) struct Walk<'a> {
    repository: &'a Repository,
    visit: &'a mut dyn FnMut(Change) -> Result<(), GitError>,
    seen: HashSet<(Source, String)>,
    policy: Option<Arc<Treed>>,
    /// What was looked at since a commit changed what says how files are protected, if one did.
    judged: Option<HashSet<(Source, String)>>,
    pending: Option<Pending>,
}

/// A commit whose differences are being read.
struct Pending {
    commit: Commit,
    items: Vec<Item>,
}

/// A commit and its first parent.
struct Commit {
    id: ObjectId,
    parent: Option<ObjectId>,
    is_merge: bool,
}

impl<'a> Walk<'a> {
    /// Returns a way that has seen nothing yet.
    pub(super) fn new(
        repository: &'a Repository,
        visit: &'a mut dyn FnMut(Change) -> Result<(), GitError>,
    ) -> Self {
        Self { repository, visit, seen: HashSet::new(), policy: None, judged: None, pending: None }
    }

    /// Judges what comes by what a commit says of the checks; with none, each commit by what it says itself.
    pub(super) fn judge_by(&mut self, commit: Option<ObjectId>) {
        let tree = |id| Arc::new(Treed::commit(Arc::clone(self.repository.objects()), id));
        self.policy = commit.map(tree);
    }

    /// Visits the commits that revisions name, one a line, oldest first.
    pub(super) fn commits(&mut self, revisions: &str, options: &[&str]) -> Result<(), GitError> {
        let output = self.repository.run(&[LIST, options].concat(), revisions.as_bytes())?;
        let commits = list(&output).ok_or_else(malformed)?;
        let names: String = commits.iter().map(|commit| format!("{}\n", commit.id)).collect();
        let ends = commits.first().zip(commits.last()).map(|(first, last)| (first.parent, last.id));
        let mut commits = commits.into_iter();
        let repository = self.repository;
        repository.differences(&names, |record| match record {
            Record::Commit(id) => {
                self.flush()?;
                let commit = commits.find(|commit| commit.id == id).ok_or_else(malformed)?;
                if commit.is_merge {
                    // What says it may come from another side, and then is no difference.
                    self.judged = Some(HashSet::new());
                }
                self.pending = Some(Pending { commit, items: Vec::new() });
                Ok(())
            }
            Record::Difference(difference) => self.difference(difference),
        })?;
        self.flush()?;
        match ends.zip(self.judged.take()) {
            None => Ok(()),
            Some(((base, tip), judged)) => self.others(base, tip, &judged),
        }
    }

    /// Visits what the last commit has and was not looked at since what says how files are protected changed: with that
    /// and what was before all commits, so that it is told once.
    fn others(
        &mut self,
        base: Option<ObjectId>,
        tip: ObjectId,
        judged: &HashSet<(Source, String)>,
    ) -> Result<(), GitError> {
        let objects = self.repository.objects();
        let tree = objects.tree_of(tip).map_err(GitError::Unreadable)?;
        let files = self.repository.tree(tree)?;
        let old = match base {
            Some(base) => self.repository.tree(objects.tree_of(base).map_err(GitError::Unreadable)?)?,
            None => Listed::new(Arc::clone(objects), Vec::new()),
        };
        if policies(&old).eq(policies(&files)) {
            return Ok(());
        }
        let mut others: Vec<_> = files.files().filter_map(|(path, entry)| new_item(path, entry)).collect();
        others.retain(|item| !judged.contains(&(item.new.clone(), item.path.clone())));
        (self.visit)(Change {
            label: short(tip),
            after: Arc::new(files),
            before: None,
            policy: self.policy.clone().map(|policy| policy as Arc<dyn Snapshot + Send>),
            items: Vec::new(),
            others,
            others_before: Some(Arc::new(old)),
            left_out: 0,
            is_whole: false,
        })
    }

    /// Visits what is no commit: a tree or a blob, which only a tag or another name may lead to.
    pub(super) fn object(
        &mut self,
        kind: gix_object::Kind,
        id: ObjectId,
        name: &str,
    ) -> Result<(), GitError> {
        let objects = Arc::clone(self.repository.objects());
        match kind {
            gix_object::Kind::Tree => {
                let files = self.repository.tree(id)?;
                let items = files.files().filter_map(|(path, entry)| new_item(path, entry)).collect();
                let after = Arc::new(Treed::tree(objects, id));
                self.look(short(id), &after, None, items)
            }
            _ => {
                let mode = selkie::check::Mode::File;
                let item = Item { path: name.to_owned(), mode, new: Source::Blob(id), old: None };
                let none = ObjectId::empty_tree(id.kind());
                let after = Arc::new(Treed::tree(objects, none));
                self.look(short(id), &after, None, vec![item])
            }
        }
    }

    fn difference(&mut self, difference: Difference) -> Result<(), GitError> {
        if is_policy(&difference.path) {
            self.judged = Some(HashSet::new());
        }
        let pending = self.pending.as_mut().ok_or_else(malformed)?;
        if let Some(item) = item(difference) {
            pending.items.push(item);
        }
        if pending.items.len() > MAX_ITEMS {
            let id = short(pending.commit.id);
            return Err(GitError::Unreadable(format!("there are too many files in {id}")));
        }
        Ok(())
    }

    /// Visits the commit that was read.
    fn flush(&mut self) -> Result<(), GitError> {
        let Some(Pending { commit, items }) = self.pending.take() else { return Ok(()) };
        let tree = |id| Arc::new(Treed::commit(Arc::clone(self.repository.objects()), id));
        let before = commit.parent.map(tree);
        let after = tree(commit.id);
        self.look(short(commit.id), &after, before, items)
    }

    fn look(
        &mut self,
        label: String,
        after: &Arc<Treed>,
        before: Option<Arc<Treed>>,
        mut items: Vec<Item>,
    ) -> Result<(), GitError> {
        items.retain(|item| self.seen.insert((item.new.clone(), item.path.clone())));
        if let Some(judged) = &mut self.judged {
            judged.extend(items.iter().map(|item| (item.new.clone(), item.path.clone())));
        }
        (self.visit)(Change {
            label,
            after: Arc::clone(after) as Arc<dyn Snapshot + Send>,
            before: before.clone().map(|before| before as Arc<dyn Snapshot + Send>),
            policy: self.policy.clone().map(|policy| policy as Arc<dyn Snapshot + Send>),
            others: Vec::new(),
            others_before: None,
            items,
            left_out: 0,
            is_whole: false,
        })?;
        refuse_trouble(&[Some(after), before.as_deref(), self.policy.as_deref()])
    }
}

/// Says which commits a user's words `--not` take out: those of a remote.
pub(super) fn known_to(remote: &str) -> Option<[String; 2]> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/');
    // Anything else is an address or a pattern, which could take out what is not there.
    let is_name = !remote.is_empty() && remote.bytes().all(is_plain);
    is_name.then(|| ["--not".to_owned(), format!("--remotes={remote}")])
}

/// Returns whether an object is here, and a commit or a tag of one.
pub(super) fn is_commit(objects: &Objects, id: ObjectId) -> bool {
    matches!(objects.peel(id), Ok((gix_object::Kind::Commit, _)))
}

/// Returns what says how files are protected.
fn policies(files: &Listed) -> impl Iterator<Item = (&String, ObjectId)> {
    files.files().filter(|(path, _)| is_policy(path)).map(|(path, entry)| (path, entry.id))
}

fn list(output: &[u8]) -> Option<Vec<Commit>> {
    let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut ids = line.split(|byte| *byte == b' ').map(|id| ObjectId::from_hex(id).ok());
            Some(Commit { id: ids.next()??, parent: ids.next().flatten(), is_merge: ids.next().is_some() })
        })
        .collect()
}

fn short(id: ObjectId) -> String {
    id.to_hex_with_len(SHORT).to_string()
}

fn malformed() -> GitError {
    GitError::Unreadable("git wrote a list of commits that cannot be read".to_owned())
}

/// How commits are listed.
const LIST: &[&str] = &["rev-list", "--topo-order", "--reverse", "--parents", "--stdin"];

/// How many digits of a name people see.
const SHORT: usize = 10;

/// How many files one commit may change.
const MAX_ITEMS: usize = 4_000_000;

//! What is checked: an index, a tree, commits, what is pushed or received, a message, or any files.
//!
//! Invariants: all files of a change are looked at or the run fails; what has nothing to check has no change.

mod disk;
mod history;
mod index;
mod message;
mod pushed;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie::check::{Files, Snapshot};

use crate::change::{Change, Item, Source};
use crate::git::{Difference, Entry, GitError, Listed, Repository, Treed};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All files of the index; in a repository without a worktree, of `HEAD`.
    All,
    /// The message of a commit, in this file.
    CommitMessage(PathBuf),
    /// These files and folders of the disk.
    Paths(Vec<PathBuf>),
    /// What `pre-push` of Git or of a hook manager says that is pushed, to the remote of this name: commits that are
    /// known to be there are not looked at.
    PrePush(Option<String>),
    /// What `pre-receive` of a server says that it received.
    PreReceive,
    /// The new blobs of all commits of a range, such as `main..HEAD`, or of one commit and all before it.
    Range(String),
    /// The index against `HEAD`; where they are the same, all of it.
    Staged,
    /// What is given to the program, as if it were at this path.
    Stdin(String),
}

/// What is to be checked, change by change: `visit` is called for each, so that a history need not be in memory. It is
/// not called at all where there is nothing to check, such as a push of what is there already.
///
/// # Errors
/// If Git cannot tell what it is, or what `visit` says. What was visited before is no less true.
pub fn changes(
    repository: Option<&Repository>,
    wanted: &Wanted,
    folder: &Path,
    input: &mut dyn Read,
    environment: &dyn Fn(&str) -> Option<String>,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let needed = || repository.ok_or_else(|| GitError::NoRepository(folder.display().to_string()));
    match wanted {
        Wanted::All => index::all(needed()?, visit),
        Wanted::CommitMessage(file) => message::message(repository, &folder.join(file), environment, visit),
        Wanted::Paths(paths) => disk::paths(repository, paths, folder, visit),
        Wanted::PrePush(remote) => pushed::push(needed()?, remote.as_deref(), input, environment, visit),
        Wanted::PreReceive => pushed::receive(needed()?, input, visit),
        Wanted::Range(range) => history::range(needed()?, range, visit),
        Wanted::Staged => index::staged(needed()?, visit),
        Wanted::Stdin(path) => disk::stdin(repository, path, folder, input, visit),
    }
}

/// Returns all files as they will be: those of the index or, without a worktree, of `HEAD`.
pub(crate) fn all_files(repository: &Repository) -> Result<Listed, GitError> {
    match repository.head() {
        _ if !repository.is_bare() => repository.index(),
        None => Ok(Listed::new(Arc::clone(repository.objects()), Vec::new())),
        Some(head) => {
            let tree = repository.objects().tree_of(head).map_err(GitError::Unreadable)?;
            repository.tree(tree)
        }
    }
}

/// Returns all files as they will be; none if there is no repository.
fn surroundings(repository: Option<&Repository>) -> Result<Arc<dyn Snapshot + Send>, GitError> {
    match repository {
        None => Ok(Arc::new(Files::default())),
        Some(repository) => Ok(Arc::new(all_files(repository)?)),
    }
}

/// Returns what is to be looked at of a difference; nothing for what is gone or is no file.
fn item(difference: Difference) -> Option<Item> {
    let new = difference.new?;
    let mode = new.mode()?;
    // A file is nothing like the link that was at its path.
    let old = difference.old.filter(|old| old.mode() == Some(mode)).map(|old| Source::Blob(old.id));
    Some(Item { path: difference.path, mode, new: Source::Blob(new.id), old })
}

/// Returns a file to look at that was not there before.
fn new_item(path: &str, entry: Entry) -> Option<Item> {
    let new = Source::Blob(entry.id);
    Some(Item { path: path.to_owned(), mode: entry.mode()?, new, old: None })
}

/// Says of files that could not be told that they could not.
fn refuse_trouble(snapshots: &[Option<&Treed>]) -> Result<(), GitError> {
    match snapshots.iter().flatten().find_map(|snapshot| snapshot.trouble()) {
        None => Ok(()),
        Some(reason) => Err(GitError::Unreadable(reason.to_owned())),
    }
}

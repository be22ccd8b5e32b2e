//! The index: what of it is new, or all of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use selkie::check::Snapshot;

use super::{all_files, item, new_item, refuse_trouble};
use crate::change::{Change, Item};
use crate::git::{Difference, GitError, Listed, Repository, Treed};
use crate::run::is_policy;

/// All files of the index or, without a worktree, of `HEAD`.
pub(super) fn all(
    repository: &Repository,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    whole(all_files(repository)?, visit)
}

/// What the index has that `HEAD` has not; if that is nothing, all of it.
pub(super) fn staged(
    repository: &Repository,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    if repository.is_bare() {
        return all(repository, visit);
    }
    let (differences, after) = thread::scope(|scope| {
        let differences = scope.spawn(|| repository.staged());
        let after = repository.index();
        let broken = |_| Err(GitError::Unreadable("the index cannot be compared".to_owned()));
        (differences.join().unwrap_or_else(broken), after)
    });
    let (differences, after) = (differences?, after?);
    if differences.is_empty() {
        return whole(after, visit);
    }
    let before = |head| Arc::new(Treed::commit(Arc::clone(repository.objects()), head));
    let before = repository.head().map(before);
    let others = if before.is_some() { others(&differences, &after) } else { Vec::new() };
    visit(Change {
        label: String::new(),
        after: Arc::new(after),
        before: before.clone().map(|before| before as Arc<dyn Snapshot + Send>),
        items: differences.into_iter().filter_map(item).collect(),
        is_whole: before.is_none(),
        policy: None,
        others,
        others_before: before.clone().map(|before| before as Arc<dyn Snapshot + Send>),
        left_out: 0,
    })?;
    refuse_trouble(&[before.as_deref()])
}

/// Returns the files that are as they were, if what says how files are protected is not.
fn others(differences: &[Difference], after: &Listed) -> Vec<Item> {
    if !differences.iter().any(|difference| is_policy(&difference.path)) {
        return Vec::new();
    }
    let touched: HashSet<_> = differences.iter().map(|difference| difference.path.as_str()).collect();
    let others = after.files().filter(|(path, _)| !touched.contains(path.as_str()));
    others.filter_map(|(path, entry)| new_item(path, entry)).collect()
}

fn whole(after: Listed, visit: &mut dyn FnMut(Change) -> Result<(), GitError>) -> Result<(), GitError> {
    let items = after.files().filter_map(|(path, entry)| new_item(path, entry)).collect();
    visit(Change {
        label: String::new(),
        after: Arc::new(after),
        before: None,
        items,
        is_whole: true,
        policy: None,
        others: Vec::new(),
        others_before: None,
        left_out: 0,
    })
}

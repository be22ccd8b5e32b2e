//! All files of an index or a tree, read when somebody asks for one.
//!
//! Invariants: what cannot be read is an error of `read` and is kept by the snapshot, so that a run that saw nothing
//! because of it does not end well; links lead to files of the same snapshot or nowhere.

use std::sync::{Arc, OnceLock};

use gix_hash::ObjectId;
use selkie::check::Snapshot;

use super::objects::Objects;
use super::plumbing::{Entry, EntryKind};
use super::tree;

/// All files of a list.
pub(crate) struct Listed {
    objects: Arc<Objects>,
    paths: Vec<String>,
    entries: Vec<Entry>,
}

/// All files of a commit or a tree.
pub(crate) struct Treed {
    objects: Arc<Objects>,
    /// The commit or the tree.
    id: ObjectId,
    is_commit: bool,
    root: OnceLock<Result<ObjectId, String>>,
    paths: OnceLock<Vec<String>>,
    trouble: OnceLock<String>,
}

impl Listed {
    /// Returns the files of a list; what is no file and no link is left out.
    pub(crate) fn new(objects: Arc<Objects>, mut files: Vec<(String, Entry)>) -> Self {
        files.retain(|(_, entry)| entry.mode().is_some());
        files.sort_by(|left, right| left.0.cmp(&right.0));
        let (paths, entries) = files.into_iter().unzip();
        Self { objects, paths, entries }
    }

    /// Returns all files with what is there.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&String, Entry)> {
        self.paths.iter().zip(self.entries.iter().copied())
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        let found = self.paths.binary_search_by(|known| known.as_str().cmp(path));
        found.ok().map(|index| self.entries[index])
    }
}

impl Snapshot for Listed {
    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        read(&self.objects, path, |path| Ok(self.entry(path)))
    }
}

impl Treed {
    /// Returns the files of a commit.
    pub(crate) const fn commit(objects: Arc<Objects>, id: ObjectId) -> Self {
        Self::new(objects, id, true)
    }

    /// Returns the files of a tree.
    pub(crate) const fn tree(objects: Arc<Objects>, id: ObjectId) -> Self {
        Self::new(objects, id, false)
    }

    /// Returns why not all that was asked for could be told, if so.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.get().map(String::as_str)
    }

    const fn new(objects: Arc<Objects>, id: ObjectId, is_commit: bool) -> Self {
        let root = OnceLock::new();
        Self { objects, id, is_commit, root, paths: OnceLock::new(), trouble: OnceLock::new() }
    }

    fn root(&self) -> Result<ObjectId, String> {
        let root = || if self.is_commit { self.objects.tree_of(self.id) } else { Ok(self.id) };
        self.root.get_or_init(root).clone()
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, String> {
        tree::entry(&self.objects, self.root()?, path)
    }

    /// Keeps why something could not be told.
    fn told<T>(&self, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.trouble.get_or_init(|| reason)).ok()
    }
}

impl Snapshot for Treed {
    fn paths(&self) -> &[String] {
        self.paths.get_or_init(|| {
            let entries = self.root().and_then(|root| tree::entries(&self.objects, root));
            self.told(entries).unwrap_or_default().into_iter().map(|(path, _)| path).collect()
        })
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        read(&self.objects, path, |path| self.entry(path))
    }

    fn contains(&self, path: &str) -> bool {
        self.told(self.entry(path)).flatten().is_some_and(|entry| entry.mode().is_some())
    }
}

/// Reads what is at a path, following links.
fn read(
    objects: &Objects,
    path: &str,
    entry: impl Fn(&str) -> Result<Option<Entry>, String>,
) -> Result<Option<Vec<u8>>, String> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Some(found) = entry(&path)? else { return Ok(None) };
        match found.kind {
            EntryKind::File => return objects.blob(found.id).map(Some),
            EntryKind::Folder | EntryKind::Submodule => return Ok(None),
            EntryKind::Link => match target(objects, &path, found.id)? {
                Some(target) => path = target,
                None => return Ok(None),
            },
        }
    }
    Ok(None)
}

/// Returns where a link leads to, if that is in the same snapshot.
fn target(objects: &Objects, path: &str, id: ObjectId) -> Result<Option<String>, String> {
    if objects.header(id)?.1 > MAX_TARGET {
        return Ok(None);
    }
    let target = objects.blob(id)?;
    let Ok(target) = std::str::from_utf8(&target) else { return Ok(None) };
    if target.starts_with('/') {
        return Ok(None);
    }
    let mut parts: Vec<_> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Ok(None);
                }
            }
            part => parts.push(part),
        }
    }
    Ok(Some(parts.join("/")))
}

/// How many links may lead to each other.
const MAX_LINKS: usize = 16;

/// How long the target of a link may be.
const MAX_TARGET: u64 = 4096;

//! Git, by its plumbing: what is in the index, in commits and in the object store.
//!
//! Paths and identifiers come from `git` with `-z` and raw output, so that no colour, prefix, driver, attribute or
//! rename changes them; blobs are read from the object store, without filters and replacements, and without a network.

mod command;
mod find;
mod objects;
mod plumbing;
mod recent;
mod snapshot;
mod tree;

use std::ffi::OsStr;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_object::Kind;

use crate::change::{Blobs, Outside, Source};
use command::Git;

pub(crate) use objects::Objects;
pub(crate) use plumbing::{Difference, Entry, Record, text};
pub(crate) use snapshot::{Listed, Treed};

/// A repository.
pub struct Repository {
    git: Git,
    /// The top of the worktree; of a bare repository the folder of Git itself.
    top: PathBuf,
    git_dir: PathBuf,
    common_dir: PathBuf,
    index_file: PathBuf,
    is_bare: bool,
    head: Option<ObjectId>,
    objects: Arc<Objects>,
}

/// Why Git could not tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// A file or folder that was named cannot be read.
    #[error("{path} cannot be read: {reason}")]
    File {
        /// Its path, as it was named.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The folder is in no repository.
    #[error("{0} is in no Git repository")]
    NoRepository(String),
    /// The folder is that of Git itself, and nobody can tell where its worktree is.
    #[error("{0} is a folder of Git, whose worktree is not known: run this in the worktree")]
    NoWorktree(String),
    /// `git` said no; its own words.
    #[error("git {command}: {message}")]
    Refused {
        /// What was asked.
        command: String,
        /// What Git said.
        message: String,
    },
    /// `git` cannot be run.
    #[error("git cannot be run: {0}")]
    Unavailable(std::io::Error),
    /// Files are in conflict, so that nobody knows yet what they will be.
    #[error("{} in conflict, such as {}: resolve them, then `git add` them", files(.0.len()), .0.first().map_or("", String::as_str))]
    Unmerged(Vec<String>),
    /// What Git has cannot be read, for this reason.
    #[error("{0}")]
    Unreadable(String),
    /// What the user named is no commit, or no range of commits.
    #[error("{0:?} names no commit")]
    UnknownRevision(String),
}

impl Repository {
    /// Returns the top of the worktree; of a repository without one, the folder of Git itself.
    #[must_use]
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Returns the folder of Git; of a linked worktree, its own.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Returns the folder of Git that all worktrees have in common.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// Returns the index in use: for `git commit PATH` one that is made for that commit alone.
    #[must_use]
    pub fn index_file(&self) -> &Path {
        &self.index_file
    }

    /// Returns whether there is no worktree.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// Returns the commit that is checked out, if there is one yet.
    #[must_use]
    pub const fn head(&self) -> Option<ObjectId> {
        self.head
    }

    /// Returns a `git` that is ready to run at the top of this repository, without configuration that matters, and
    /// without input.
    #[must_use]
    pub fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        self.git.command(arguments)
    }

    /// Runs `git` with an input and returns what it wrote.
    ///
    /// # Errors
    /// If it cannot be run, or fails.
    pub fn run(&self, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Result<Vec<u8>, GitError> {
        self.git.run(arguments, input)
    }

    /// Returns the commit that a user's words name.
    ///
    /// # Errors
    /// If they name none.
    pub fn commit(&self, name: &str) -> Result<ObjectId, GitError> {
        let unknown = || GitError::UnknownRevision(name.to_owned());
        if name.is_empty() || name.starts_with(['-', '^']) || name.contains(['\0', '\n']) {
            return Err(unknown());
        }
        let answer = self.run(&["rev-parse", "--verify", "-q", &format!("{name}^{{commit}}")], b"");
        match answer {
            Ok(answer) => ObjectId::from_hex(answer.trim_ascii()).map_err(|_| unknown()),
            Err(GitError::Refused { .. }) => Err(unknown()),
            Err(error) => Err(error),
        }
    }

    pub(crate) const fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// Returns all files of the index.
    pub(crate) fn index(&self) -> Result<Listed, GitError> {
        let output = self.run(&["ls-files", "-s", "-z", "--full-name"], b"")?;
        let entries = plumbing::index_entries(&output).map_err(GitError::Unreadable)?;
        let unmerged = entries.iter().filter(|(_, _, is_unmerged)| *is_unmerged);
        refuse_unmerged(unmerged.map(|(path, ..)| path.clone()).collect())?;
        let files = entries.into_iter().map(|(path, entry, _)| (path, entry)).collect();
        Ok(Listed::new(Arc::clone(&self.objects), files))
    }

    /// Returns all files of a tree.
    pub(crate) fn tree(&self, tree: ObjectId) -> Result<Listed, GitError> {
        let files = tree::entries(&self.objects, tree).map_err(GitError::Unreadable)?;
        Ok(Listed::new(Arc::clone(&self.objects), files))
    }

    /// Returns what the index has that `HEAD` has not, deletions included.
    pub(crate) fn staged(&self) -> Result<Vec<Difference>, GitError> {
        let old = self.head.unwrap_or_else(|| ObjectId::empty_tree(self.objects.kind())).to_string();
        let mut found = Vec::new();
        self.git.stream(
            &[STAGED, &[old.as_str(), "--"]].concat(),
            b"",
            each(|record| {
                if let Record::Difference(difference) = record {
                    found.push(difference);
                }
                Ok(())
            }),
        )?;
        let unmerged = found.iter().filter(|difference| difference.is_unmerged);
        refuse_unmerged(unmerged.map(|difference| difference.path.clone()).collect())?;
        Ok(found)
    }

    /// Gives what commits have that none of their parents has, to `take`, record by record.
    pub(crate) fn differences(
        &self,
        commits: &str,
        take: impl FnMut(Record) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        self.git.stream(COMMITTED, commits.as_bytes(), each(take))
    }
}

impl Blobs for Repository {
    fn size(&self, source: &Source) -> Result<u64, String> {
        match source {
            Source::Blob(id) => match self.objects.header(*id)? {
                (Kind::Blob, size) => Ok(size),
                (kind, _) => Err(format!("{id} is no blob but a {kind}")),
            },
            other => Outside.size(other),
        }
    }

    fn read(&self, source: &Source) -> Result<Vec<u8>, String> {
        match source {
            Source::Blob(id) => self.objects.blob(*id),
            other => Outside.read(other),
        }
    }

    fn read_up_to(&self, source: &Source, limit: u64) -> Result<Option<Vec<u8>>, String> {
        match source {
            Source::Blob(id) => self.objects.blob_up_to(*id, limit),
            other => Outside.read_up_to(other, limit),
        }
    }

    fn stream(&self, source: &Source, take: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        match source {
            Source::Blob(id) => self.objects.stream(*id, take),
            other => Outside.stream(other, take),
        }
    }
}

/// Returns what reads all records of an output.
fn each<R: Read>(
    mut take: impl FnMut(Record) -> Result<(), GitError>,
) -> impl FnOnce(&mut BufReader<R>) -> Result<(), GitError> {
    move |from| {
        while let Some(record) = plumbing::next_record(from).map_err(GitError::Unreadable)? {
            take(record)?;
        }
        Ok(())
    }
}

fn refuse_unmerged(mut paths: Vec<String>) -> Result<(), GitError> {
    paths.dedup();
    if paths.is_empty() { Ok(()) } else { Err(GitError::Unmerged(paths)) }
}

fn unreadable(error: std::io::Error) -> String {
    error.kind().to_string()
}

fn files(count: usize) -> String {
    if count == 1 { "1 file is".to_owned() } else { format!("{count} files are") }
}

/// How the index is compared.
const STAGED: &[&str] = &[
    "diff-index",
    "--cached",
    "--raw",
    "-z",
    "--no-abbrev",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--ignore-submodules=none",
    "--ita-invisible-in-index",
];

/// How commits are compared with their parents: a merge has only what none of its parents has.
const COMMITTED: &[&str] = &[
    "diff-tree",
    "--stdin",
    "-r",
    "-c",
    "--root",
    "--raw",
    "-z",
    "--no-abbrev",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--ignore-submodules=none",
];

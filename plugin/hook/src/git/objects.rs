//! The object store: read in this process, by any number of threads; what cannot be found so, Git is asked for.
//!
//! Invariants: what is missing is an error, never empty; replacements do not hold; nothing is fetched.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gix_hash::ObjectId;
use gix_object::{Find, Kind};
use gix_odb::Header;

use super::command::Git;
use super::recent::Recent;
use super::tree::{self, Tree};

/// An object store, and those that it borrows from.
pub(crate) struct Objects {
    git: Git,
    kind: gix_hash::Kind,
    stores: Vec<Arc<gix_odb::Store>>,
    /// Handles that no thread uses at the moment, one for each store.
    handles: Mutex<Vec<Vec<gix_odb::HandleArc>>>,
    contents: Mutex<Option<Conversation>>,
    headers: Mutex<Option<Conversation>>,
    failures: AtomicUsize,
    trees: Mutex<HashMap<ObjectId, Arc<Tree>>>,
}

/// A `git cat-file` that answers.
struct Conversation {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Objects {
    /// Opens the store in `folder`, and those that the environment names. What cannot be opened, Git is asked for.
    pub(crate) fn open(git: Git, folder: &Path, kind: gix_hash::Kind) -> Self {
        let mut folders = vec![folder.to_owned()];
        folders.extend(alternates(&git));
        let stores = folders.into_iter().filter_map(|folder| open(folder, kind)).map(Arc::new).collect();
        Self {
            git,
            kind,
            stores,
            handles: Mutex::default(),
            contents: Mutex::default(),
            headers: Mutex::default(),
            failures: AtomicUsize::new(0),
            trees: Mutex::default(),
        }
    }

    /// Returns how names are made.
    pub(crate) const fn kind(&self) -> gix_hash::Kind {
        self.kind
    }

    /// Returns what an object is, and how large.
    ///
    /// # Errors
    /// If it cannot be found.
    pub(crate) fn header(&self, id: ObjectId) -> Result<(Kind, u64), String> {
        self.refuse_strange(id)?;
        if id.is_empty_blob() {
            return Ok((Kind::Blob, 0));
        }
        let header = |handle: &gix_odb::HandleArc| handle.try_header(&id).ok().flatten();
        match self.ask(header) {
            Some(header) => Ok((header.kind(), header.size())),
            None => self.converse(&self.headers, "--batch-check", id, |_, header| Ok(header)),
        }
    }

    /// Returns what an object is, and what it holds.
    ///
    /// # Errors
    /// If it cannot be found.
    pub(crate) fn find(&self, id: ObjectId) -> Result<(Kind, Vec<u8>), String> {
        self.refuse_strange(id)?;
        if id.is_empty_blob() {
            return Ok((Kind::Blob, Vec::new()));
        }
        match self.find_directly(id) {
            Some(found) => Ok(found),
            None => self.converse(&self.contents, "--batch", id, |from, (kind, size)| {
                let mut content = Vec::new();
                let read = from.take(size).read_to_end(&mut content).map_err(|_| lost(id))?;
                let mut end = [0];
                from.read_exact(&mut end).map_err(|_| lost(id))?;
                if read as u64 == size { Ok((kind, content)) } else { Err(lost(id)) }
            }),
        }
    }

    /// Returns what a blob holds.
    ///
    /// # Errors
    /// If it cannot be found, or is none.
    pub(crate) fn blob(&self, id: ObjectId) -> Result<Vec<u8>, String> {
        match self.find(id)? {
            (Kind::Blob, content) => Ok(content),
            (kind, _) => Err(format!("{id} is no blob but a {kind}")),
        }
    }

    /// Returns what a blob holds, or nothing if that is more than `limit`.
    ///
    /// # Errors
    /// If it cannot be found, or is none.
    pub(crate) fn blob_up_to(&self, id: ObjectId, limit: u64) -> Result<Option<Vec<u8>>, String> {
        self.refuse_strange(id)?;
        match self.find_directly(id) {
            Some((Kind::Blob, content)) => Ok((content.len() as u64 <= limit).then_some(content)),
            // What is too large to be read at once is asked for its size first, and so is what only Git finds.
            _ if self.header(id)?.1 > limit => Ok(None),
            _ => self.blob(id).map(Some),
        }
    }

    /// Gives what a blob holds to `take`, piece by piece.
    ///
    /// # Errors
    /// If it cannot be found, or is none.
    pub(crate) fn stream(&self, id: ObjectId, take: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        if id.is_empty_blob() {
            return Ok(());
        }
        let arguments = ["cat-file", "blob", &id.to_string()];
        let streamed = self.git.stream(&arguments, b"", |from| {
            loop {
                let piece = from.fill_buf().map_err(super::GitError::Unavailable)?;
                if piece.is_empty() {
                    return Ok(());
                }
                take(piece);
                let length = piece.len();
                from.consume(length);
            }
        });
        streamed.map_err(|error| error.to_string())
    }

    /// Returns a tree, which is kept for the next time.
    ///
    /// # Errors
    /// If it cannot be found, or is none.
    pub(crate) fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, String> {
        if id.is_empty_tree() {
            return Ok(Arc::default());
        }
        if let Some(known) = lock(&self.trees).get(&id) {
            return Ok(Arc::clone(known));
        }
        let tree = match self.find(id)? {
            (Kind::Tree, content) => {
                Arc::new(tree::parse(&content, id.as_slice().len()).ok_or_else(|| lost(id))?)
            }
            (kind, _) => return Err(format!("{id} is no tree but a {kind}")),
        };
        let mut trees = lock(&self.trees);
        if trees.len() >= MAX_TREES {
            trees.clear();
        }
        trees.insert(id, Arc::clone(&tree));
        Ok(tree)
    }

    /// Follows tags to what they name.
    ///
    /// # Errors
    /// If something cannot be found, or tags name each other without end.
    pub(crate) fn peel(&self, mut id: ObjectId) -> Result<(Kind, ObjectId), String> {
        for _ in 0..MAX_TAGS {
            let (kind, _) = self.header(id)?;
            if kind != Kind::Tag {
                return Ok((kind, id));
            }
            id = named_id(&self.find(id)?.1, b"object ").ok_or_else(|| lost(id))?;
        }
        Err(format!("{id} is a tag of tags without end"))
    }

    /// Returns the tree of a commit.
    ///
    /// # Errors
    /// If the commit cannot be found, or is none.
    pub(crate) fn tree_of(&self, commit: ObjectId) -> Result<ObjectId, String> {
        match self.find(commit)? {
            (Kind::Commit, content) => named_id(&content, b"tree ").ok_or_else(|| lost(commit)),
            (kind, _) => Err(format!("{commit} is no commit but a {kind}")),
        }
    }

    /// Returns whether an object is found without asking Git.
    #[cfg(test)]
    pub(crate) fn has_itself(&self, id: ObjectId) -> bool {
        self.ask(|handle| handle.try_header(&id).ok().flatten()).is_some()
    }

    /// Refuses a name that is longer or shorter than all others, which no store has to know what to do with.
    fn refuse_strange(&self, id: ObjectId) -> Result<(), String> {
        if id.kind() == self.kind { Ok(()) } else { Err(missing(id)) }
    }

    /// Asks store by store. What goes wrong there is no answer: Git is asked then, and tells.
    fn ask<T>(&self, ask: impl Fn(&gix_odb::HandleArc) -> Option<T>) -> Option<T> {
        let idle = lock(&self.handles).pop();
        let handles = idle.unwrap_or_else(|| self.stores.iter().map(handle).collect());
        let found = handles.iter().find_map(ask);
        lock(&self.handles).push(handles);
        found
    }

    /// Returns an object that is not too large, if it is found without Git.
    fn find_directly(&self, id: ObjectId) -> Option<(Kind, Vec<u8>)> {
        self.ask(|handle| {
            let mut buffer = Vec::new();
            let kind = handle.try_find(&id, &mut buffer).ok().flatten()?.kind;
            Some((kind, buffer))
        })
    }

    fn converse<T>(
        &self,
        conversation: &Mutex<Option<Conversation>>,
        option: &str,
        id: ObjectId,
        read: impl FnOnce(&mut dyn BufRead, (Kind, u64)) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut conversation = lock(conversation);
        // A Git that ends at each missing object is not started for each of a million.
        if self.failures.load(Ordering::Relaxed) >= MAX_FAILURES {
            return Err(missing(id));
        }
        let mut current = match conversation.take() {
            Some(current) => current,
            None => Conversation::start(&self.git, option)?,
        };
        let Ok(answer) = current.ask(id) else {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Err(missing(id));
        };
        let Some(header) = answer else {
            *conversation = Some(current);
            return Err(missing(id));
        };
        let found = read(&mut current.from, header)?;
        *conversation = Some(current);
        Ok(found)
    }
}

impl Conversation {
    fn start(git: &Git, option: &str) -> Result<Self, String> {
        let child = git.converse(&["cat-file", option]);
        let mut child = child.map_err(|error| format!("git cannot be run: {error}"))?;
        let to = child.stdin.take();
        let from = child.stdout.take().ok_or("git has no pipes")?;
        Ok(Self { child, to, from: BufReader::new(from) })
    }

    /// Asks for an object; nothing if it is missing.
    fn ask(&mut self, id: ObjectId) -> std::io::Result<Option<(Kind, u64)>> {
        let to = self.to.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
        writeln!(to, "{id}")?;
        to.flush()?;
        let mut line = String::new();
        self.from.by_ref().take(MAX_LINE).read_line(&mut line)?;
        let mut words = line.split_ascii_whitespace().skip(1);
        match (words.next(), words.next()) {
            (Some("missing"), None) => Ok(None),
            (Some(kind), Some(size)) => {
                let kind = Kind::from_bytes(kind.as_bytes()).map_err(|_| std::io::ErrorKind::InvalidData)?;
                let size = size.parse().map_err(|_| std::io::ErrorKind::InvalidData)?;
                Ok(Some((kind, size)))
            }
            _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // It ends by itself when its input does; one that is in the middle of an answer ends when nobody reads it.
        self.to = None;
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn open(folder: PathBuf, kind: gix_hash::Kind) -> Option<gix_odb::Store> {
    let options = gix_odb::store::init::Options { alloc_limit_bytes: Some(MAX_DIRECT), ..Default::default() };
    gix_odb::Store::at_opts(folder, kind, &mut std::iter::empty(), options).ok()
}

fn handle(store: &Arc<gix_odb::Store>) -> gix_odb::HandleArc {
    store.to_cache_arc().with_pack_cache(|| Box::new(Recent::default()))
}

/// Returns the stores that the environment names. Those in quotes are left to Git.
fn alternates(git: &Git) -> Vec<PathBuf> {
    let names = git.variable("GIT_ALTERNATE_OBJECT_DIRECTORIES").unwrap_or_default();
    std::env::split_paths(names).filter(|path| path.is_absolute()).collect()
}

/// Returns the name of an object in the first line of another.
fn named_id(content: &[u8], field: &[u8]) -> Option<ObjectId> {
    let line = content.split(|byte| *byte == b'\n').next()?;
    ObjectId::from_hex(line.strip_prefix(field)?).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost(id: ObjectId) -> String {
    format!("the object {id} cannot be read; `git fsck` tells more")
}

fn missing(id: ObjectId) -> String {
    format!(
        "the object {id} is missing; in a partial clone, `git fetch --refetch --no-filter` gets all that is missing"
    )
}

/// How large an object may be that is read in this process: whatever it says of itself, no more is reserved.
const MAX_DIRECT: usize = 64 << 20;

/// How many tags may name each other.
const MAX_TAGS: usize = 64;

/// How many trees are kept.
const MAX_TREES: usize = 1 << 14;

/// How many times a Git that ended is started again.
const MAX_FAILURES: usize = 8;

/// How long a line of `git cat-file` may be.
const MAX_LINE: u64 = 512;

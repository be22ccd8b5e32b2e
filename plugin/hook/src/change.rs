//! What is to be checked: files as they will be, each with what it was.

use std::fs;
use std::io::{self, Read};
use std::sync::Arc;

use selkie::check::{Mode, Snapshot};

/// A set of files that become part of a repository together: an index, a commit, a tree.
pub struct Change {
    /// What people call it, such as a commit's short name; empty for the only one of a run.
    pub label: String,
    /// All files as they will be.
    pub after: Arc<dyn Snapshot + Send>,
    /// All files as they were, if there is a before.
    pub before: Option<Arc<dyn Snapshot + Send>>,
    /// The files that say how it is checked, if those as they will be do not.
    pub policy: Option<Arc<dyn Snapshot + Send>>,
    /// The files to look at, in order.
    pub items: Vec<Item>,
    /// The files that are as they were, where what says how files are protected is not: what is found in them by it alone
    /// is told, too.
    pub others: Vec<Item>,
    /// All files as they were when those were looked at last, for what said how they are protected.
    pub others_before: Option<Arc<dyn Snapshot + Send>>,
    /// How many files and folders were left out, as Git ignores them.
    pub left_out: usize,
    /// Whether these are all files that there are, so that what is allowed for nothing can be told.
    pub is_whole: bool,
}

/// A file to look at.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its path from the top of the repository, parted by `/`. Bytes that are no UTF-8 are escaped as Git does it.
    pub path: String,
    /// What Git says that it is.
    pub mode: Mode,
    /// Where its bytes are.
    pub new: Source,
    /// Where those are that were at its path before.
    pub old: Option<Source>,
}

/// Where bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// In a blob of the object store, by its name.
    Blob(gix_hash::ObjectId),
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a file that Git does not know.
    Disk(std::path::PathBuf),
}

/// Reads what sources name.
pub trait Blobs: Sync {
    /// Returns the size of a source in bytes.
    ///
    /// # Errors
    /// If it cannot be found, with the reason.
    fn size(&self, source: &Source) -> Result<u64, String>;

    /// Returns the bytes of a source.
    ///
    /// # Errors
    /// If it cannot be read, with the reason.
    fn read(&self, source: &Source) -> Result<Vec<u8>, String>;

    /// Returns the bytes of a source, or nothing if they are more than `limit`: in one go, which is quicker than to
    /// ask for the size first.
    ///
    /// # Errors
    /// If it cannot be read, with the reason.
    fn read_up_to(&self, source: &Source, limit: u64) -> Result<Option<Vec<u8>>, String> {
        if self.size(source)? > limit { Ok(None) } else { self.read(source).map(Some) }
    }

    /// Gives the bytes of a source to `take`, piece by piece: for what is too large for the memory.
    ///
    /// # Errors
    /// If it cannot be read, with the reason.
    fn stream(&self, source: &Source, take: &mut dyn FnMut(&[u8])) -> Result<(), String>;
}

/// Reads what is in memory or on the disk, where there is no repository.
pub struct Outside;

impl Blobs for Outside {
    fn size(&self, source: &Source) -> Result<u64, String> {
        match source {
            Source::Blob(id) => Err(no_repository(id)),
            Source::Bytes(bytes) => Ok(bytes.len() as u64),
            Source::Disk(path) => fs::metadata(path).map(|file| file.len()).map_err(unreadable),
        }
    }

    fn read(&self, source: &Source) -> Result<Vec<u8>, String> {
        match source {
            Source::Blob(id) => Err(no_repository(id)),
            Source::Bytes(bytes) => Ok(bytes.to_vec()),
            Source::Disk(path) => fs::read(path).map_err(unreadable),
        }
    }

    fn stream(&self, source: &Source, take: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        match source {
            Source::Blob(id) => return Err(no_repository(id)),
            Source::Bytes(bytes) => take(bytes),
            Source::Disk(path) => {
                let mut file = fs::File::open(path).map_err(unreadable)?;
                let mut piece = vec![0; PIECE];
                loop {
                    match file.read(&mut piece) {
                        Ok(0) => break,
                        Ok(length) => take(&piece[..length]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(unreadable(error)),
                    }
                }
            }
        }
        Ok(())
    }
}

fn no_repository(id: &gix_hash::ObjectId) -> String {
    format!("{id} is in no repository")
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
fn unreadable(error: io::Error) -> String {
    error.to_string()
}

/// How many bytes are read at once.
const PIECE: usize = 1 << 20;

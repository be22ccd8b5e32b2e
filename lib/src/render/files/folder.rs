//! Files of a folder, opened so that no link leads out of it.
//!
//! Invariants: every path is opened by the system itself as one below the folder, so that nothing that is changed between
//! listing and reading leads elsewhere; a device, pipe or socket is never opened. `.git` is left out.

mod list;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

use super::{Files, FilesError};
use crate::render::Limits;
use crate::secret::SecretBytes;

/// The files below a folder.
pub struct Folder {
    root: OwnedFd,
    paths: Vec<String>,
    limits: Limits,
    /// How many bytes were read, each file counted once.
    total: Mutex<Total>,
}

#[derive(Default)]
struct Total {
    bytes: u64,
    files: BTreeSet<String>,
}

impl Folder {
    /// Opens a folder and lists its files. What is read later is limited when it is read.
    ///
    /// # Errors
    /// If it cannot be read, a name in it is not UTF-8, or there are more files than the limit.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(path, flags, Mode::empty())
            .map_err(|error| FilesError::Io { path: path.display().to_string(), source: error.into() })?;
        let paths = list::files(&root, limits)?;
        Ok(Self { root, paths, limits: limits.clone(), total: Mutex::default() })
    }

    /// Counts a file that was read.
    fn count(&self, path: &str, bytes: u64) -> Result<(), FilesError> {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        if !total.files.contains(path) {
            self.limits.check_total(total.bytes.saturating_add(bytes))?;
            total.bytes += bytes;
            total.files.insert(path.to_owned());
        }
        Ok(())
    }
}

impl Files for Folder {
    fn paths(&self) -> Vec<String> {
        self.paths.clone()
    }

    fn read(&self, path: &str) -> Result<SecretBytes, FilesError> {
        // Looked at before it is opened, as opening alone may do something to a device; and looked at again.
        regular(path, open_below(&self.root, path, OFlags::PATH)?.as_fd())?;
        let file = open_below(&self.root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let size = regular(path, file.as_fd())?;
        self.limits.check_file(path, size)?;
        let content = read_all(path, file, size, &self.limits)?;
        self.count(path, content.len() as u64)?;
        Ok(content)
    }
}

/// Opens what is at a path below a folder.
fn open_below(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, FilesError> {
    let below = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // A path of our own making is none that leads out; another one is what somebody wrote in a file.
    let mut attempts = 0..ATTEMPTS;
    loop {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), below) {
            Ok(file) => return Ok(file),
            // Something was renamed meanwhile, so that the system cannot tell where `..` leads.
            Err(Errno::AGAIN | Errno::INTR) if attempts.next().is_some() => {}
            Err(error) => return Err(failed(path, error)),
        }
    }
}

fn failed(path: &str, error: Errno) -> FilesError {
    let path = path.to_owned();
    match error {
        Errno::XDEV => FilesError::Outside { path },
        Errno::NOENT | Errno::NOTDIR => FilesError::Missing { path },
        // What it is told of a device without a driver, or of a socket.
        Errno::NXIO | Errno::NODEV => FilesError::Special { path },
        // There is no openat2. To walk down a path by ourselves would be a race with whoever puts links there.
        Errno::NOSYS => FilesError::Unsupported { path },
        error => FilesError::Io { path, source: error.into() },
    }
}

/// Makes sure that a file is a regular one, and returns its size.
fn regular(path: &str, file: impl AsFd) -> Result<u64, FilesError> {
    let about = fstat(file).map_err(|error| failed(path, error))?;
    match FileType::from_raw_mode(about.st_mode) {
        FileType::RegularFile => Ok(u64::try_from(about.st_size).unwrap_or_default()),
        _ => Err(FilesError::Special { path: path.to_owned() }),
    }
}

/// Reads a file that may grow meanwhile.
fn read_all(path: &str, file: OwnedFd, size: u64, limits: &Limits) -> Result<SecretBytes, FilesError> {
    let failed = |source| FilesError::Io { path: path.to_owned(), source };
    let mut file = std::fs::File::from(file);
    let mut content = SecretBytes::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut block = [0; 16 << 10];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(content),
            Ok(length) => content.extend_from_slice(&block[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
        limits.check_file(path, content.len() as u64)?;
    }
}

/// How often something is opened again that was renamed meanwhile.
const ATTEMPTS: usize = 16;

#[cfg(test)]
mod tests;

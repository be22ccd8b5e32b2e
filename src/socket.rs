//! The file of a Unix socket: how it comes and goes.
//!
//! Invariants: the socket never has another mode at its path than the one it is to have; it can be connected to once it
//! is there; what is removed in the end is this one, and not one that replaced it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The file of a socket, removed when it is dropped.
pub struct SocketFile {
    path: PathBuf,
    /// The device and number of the file.
    id: (u64, u64),
}

impl SocketFile {
    /// Listens at a path, in place of what is there, once `set_rights` was done to the file.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn bind(
        path: &Path,
        set_rights: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<(UnixListener, Self)> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Nobody else reaches it in there, whatever its mode is at first, and nobody else has the same name.
        let private = tempfile::Builder::new().prefix(".s").tempdir_in(folder)?;
        let temporary = private.path().join("s");
        let listener = UnixListener::bind(&temporary)?;
        listener.set_nonblocking(true)?;
        set_rights(&temporary)?;
        let id = id(&temporary)?;
        fs::rename(&temporary, path)?;
        Ok((listener, Self { path: path.to_owned(), id }))
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            // The next one who listens replaces what is left.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let about = fs::symlink_metadata(path)?;
    Ok((about.dev(), about.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_come_at_once_in_one_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let bind = |number: usize| {
            let path = folder.path().join(format!("{number}.sock"));
            SocketFile::bind(&path, |_| Ok(())).expect("a socket")
        };
        let bound: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = (0..8).map(|number| scope.spawn(move || bind(number))).collect();
            started.into_iter().map(|thread| thread.join().expect("it ends")).collect()
        });
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 8, "nothing else is left");
        for (_, file) in &bound {
            std::os::unix::net::UnixStream::connect(file.path()).expect("it is served");
        }
        drop(bound);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}

//! Takes turns with other runs of this program that change the same file.
//!
//! A turn is a lock that only those see who ask for it. Other programs are found out when a file is put in
//! place: it then is not what was read any more.

use std::fs::File;
use std::path::Path;

/// A run's turn to read a file, change it and write it; it ends when this is dropped.
#[must_use]
pub struct Turn {
    _locked: Option<File>,
}

impl Turn {
    /// Waits for the turn to change a file.
    ///
    /// A file that does not exist has none, and a file system without locks gives none: that nothing is
    /// overwritten there is left to who puts the file in place.
    pub fn wait_for(path: &Path) -> Self {
        let mut locked = None;
        for _ in 0..PATIENCE {
            locked = lock(path);
            if locked.as_ref().is_none_or(|file| leads_to(path, file)) {
                break;
            }
            // Who had the turn before put another file in place.
        }
        Self { _locked: locked }
    }

    /// Returns a turn for what needs none.
    pub const fn none() -> Self {
        Self { _locked: None }
    }
}

#[cfg(unix)]
fn lock(path: &Path) -> Option<File> {
    // Opening a pipe would wait for its other end.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    file.lock().ok()?;
    Some(file)
}

/// Where locks are not a matter of agreement, they would keep this process from its own file.
#[cfg(not(unix))]
fn lock(_: &Path) -> Option<File> {
    None
}

#[cfg(unix)]
fn leads_to(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;

    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (path.metadata(), file.metadata()) {
        (Ok(at_path), Ok(of_file)) => identity(at_path) == identity(of_file),
        _ => false,
    }
}

#[cfg(not(unix))]
fn leads_to(_: &Path, _: &File) -> bool {
    true
}

/// How many others may have their turn first.
const PATIENCE: usize = 10_000;

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_after_the_other_changes_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "").expect("written");
        let add = || {
            for _ in 0..20 {
                let _turn = Turn::wait_for(&path);
                let mut text = fs::read(&path).expect("read");
                text.push(b'x');
                let next = folder.path().join("next");
                fs::write(&next, text).expect("written");
                fs::rename(&next, &path).expect("renamed");
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(add))));
        assert_eq!(fs::read(&path).expect("read").len(), 160);
    }

    #[test]
    fn what_is_no_file_needs_no_turn() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Turn::wait_for(&folder.path().join("none"))._locked.is_none());
        assert!(Turn::wait_for(folder.path())._locked.is_none());
    }
}

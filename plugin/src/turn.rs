//! Takes turns with other runs of this program that change the same file.
//!
//! A turn is a lock that only those see who ask for it. Other programs are found out when a file is put in
//! place: it then is not what was read any more.

use std::fs::File;
use std::path::Path;
#[cfg(unix)]
use std::{
    fs::TryLockError,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// A run's turn to read a file, change it and write it; it ends when this is dropped.
#[must_use]
pub struct Turn {
    _locked: Option<File>,
}

impl Turn {
    /// Waits for the turn to change a file, and says so if that takes long.
    ///
    /// A file that does not exist has none, and a file system without locks gives none: that nothing is
    /// overwritten there is left to who puts the file in place.
    pub fn wait_for(path: &Path, say: &(dyn Fn(&str) + Sync)) -> Self {
        let mut locked = None;
        for _ in 0..PATIENCE {
            locked = lock(path, say);
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
fn lock(path: &Path, say: &(dyn Fn(&str) + Sync)) -> Option<File> {
    // Opening a pipe would wait for its other end.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::Error(_)) => None,
        Err(TryLockError::WouldBlock) => wait(path, file, say),
    }
}

/// Waits until another run has had its turn.
#[cfg(unix)]
fn wait(path: &Path, file: File, say: &(dyn Fn(&str) + Sync)) -> Option<File> {
    let name = path.file_name().unwrap_or_default().display();
    let text = format!("waiting for another run that changes {name}");
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if ended.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
                say(&text);
            }
        });
        let locked = file.lock();
        drop(done);
        locked.ok().map(|()| file)
    })
}

/// Where locks are not a matter of agreement, they would keep this process from its own file.
#[cfg(not(unix))]
fn lock(_: &Path, _: &(dyn Fn(&str) + Sync)) -> Option<File> {
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

/// How long a run waits without a word.
#[cfg(unix)]
const SILENCE: Duration = Duration::from_secs(1);

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
                let _turn = Turn::wait_for(&path, &|_| ());
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
        assert!(Turn::wait_for(&folder.path().join("none"), &|_| ())._locked.is_none());
        assert!(Turn::wait_for(folder.path(), &|_| ())._locked.is_none());
    }

    #[test]
    fn a_run_that_waits_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yaml");
        fs::write(&path, "").expect("written");
        let first = Turn::wait_for(&path, &|_| panic!("nobody has it"));
        let (said, heard) = mpsc::channel();
        thread::scope(|scope| {
            let say = move |text: &str| said.send(text.to_owned()).expect("it is heard");
            let path = &path;
            scope.spawn(move || drop(Turn::wait_for(path, &say)));
            assert_eq!(heard.recv().as_deref(), Ok("waiting for another run that changes a.yaml"));
            drop(first);
        });
    }
}

//! The audit log in a file that is only appended to, each line chained to the one before.
//!
//! A line is on the disk before anything is encrypted or decrypted. Runs take turns; nobody goes on after an end that
//! does not verify.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use selkie::hash_chain::Chain;

use super::{AuditError, Backend, Event};

/// A file.
pub struct ChainedFile {
    path: PathBuf,
    /// Held by one thread at a time: the lock of the system keeps other processes away, and no thread of this one.
    file: Mutex<File>,
}

impl ChainedFile {
    /// Opens the file, and makes it if it is not there.
    ///
    /// # Errors
    /// If it cannot be written, or its end does not verify.
    pub fn open(path: PathBuf) -> Result<Self, AuditError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let failed = |error: io::Error| AuditError::Backend {
            name: path.display().to_string(),
            why: error.to_string(),
        };
        let file = options.open(&path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it is no regular file")));
        }
        let this = Self { path, file: Mutex::new(file) };
        this.locked(|file| this.chain(file).map(drop))?;
        Ok(this)
    }

    fn failed(&self, error: impl ToString) -> AuditError {
        AuditError::Backend { name: self.path.display().to_string(), why: error.to_string() }
    }

    /// Works on the file while nobody else does.
    fn locked<T>(&self, work: impl FnOnce(&File) -> Result<T, AuditError>) -> Result<T, AuditError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(self.failed("another process does not let go of it"));
                }
                Err(TryLockError::Error(error)) => return Err(self.failed(error)),
            }
        }
        let done = work(&file);
        file.unlock().map_err(|error| self.failed(error))?;
        done
    }

    /// Returns the chain, as far as its end tells.
    fn chain(&self, file: &File) -> Result<Chain, AuditError> {
        let mut size = END;
        loop {
            if let Some(chain) = self.chain_of_end(file, size)? {
                return Ok(chain);
            }
            // All of it was cut off, or is one line.
            size = size.checked_mul(8).filter(|&size| size <= END_AT_MOST).ok_or_else(|| {
                self.failed(format!("none of its last {} MiB is a whole line", END_AT_MOST >> 20))
            })?;
        }
    }

    /// Returns the chain, as far as so many bytes of the end tell; `None` if they have no whole line of a log, and are
    /// not all there is.
    fn chain_of_end(&self, mut file: &File, size: u64) -> Result<Option<Chain>, AuditError> {
        let end = file.seek(SeekFrom::End(0)).map_err(|error| self.failed(error))?;
        let start = end.saturating_sub(size);
        let mut text = Vec::new();
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.take(size).read_to_end(&mut text));
        read.map_err(|error| self.failed(error))?;
        let is_torn = text.last().is_some_and(|&last| last != b'\n');
        let mut lines: Vec<_> = text.split(|&byte| byte == b'\n').collect();
        if !is_torn {
            lines.pop();
        }
        // Where not all is read, the first line is likely not whole.
        let lines = if start > 0 { lines.get(1..).unwrap_or_default() } else { &lines[..] };
        let last = |count: usize| Chain::from_end(&lines[lines.len().saturating_sub(count)..]);
        let chain = match last(LINES) {
            Ok(None) => last(lines.len()),
            chain => chain,
        };
        match chain {
            Ok(None) if start == 0 => {
                // No line is whole: nothing can be wrong with it.
                let mut chain = Chain::new();
                let taken = lines.iter().try_for_each(|line| chain.take(line));
                taken.map(|()| Some(chain)).map_err(|error| self.failed(error))
            }
            Ok(chain) => Ok(chain),
            Err((_, error)) => {
                let path = self.path.display();
                Err(self.failed(format!(
                    "its end does not verify: {error}; see `kubectl seal audit verify {path}`"
                )))
            }
        }
    }

    /// Takes away what was written of a text at a place before the disk was full: if nothing else is there. What cannot
    /// be taken away stays, as a line that was cut off.
    fn take_back(&self, mut file: &File, place: u64, text: &[u8]) -> io::Result<()> {
        let mut written = Vec::new();
        file.seek(SeekFrom::Start(place))?;
        file.take(text.len() as u64 + 1).read_to_end(&mut written)?;
        if written.len() < text.len() && text.starts_with(&written) { file.set_len(place) } else { Ok(()) }
    }
}

impl Backend for ChainedFile {
    fn record(&self, event: &Event) -> Result<(), AuditError> {
        self.locked(|mut file| {
            let mut chain = self.chain(file)?;
            // What was cut off gets an end of its own.
            let mut text = if self.ends_with_line(file)? { String::new() } else { "\n".to_owned() };
            text.push_str(&chain.append(&event.to_json().to_string()));
            let place = file.seek(SeekFrom::End(0)).map_err(|error| self.failed(error))?;
            let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
            written.map_err(|error| {
                // Whether or not that works, the next run goes on from there.
                self.take_back(file, place, text.as_bytes()).unwrap_or(());
                self.failed(error)
            })
        })
    }
}

impl ChainedFile {
    fn ends_with_line(&self, mut file: &File) -> Result<bool, AuditError> {
        if file.metadata().map_err(|error| self.failed(error))?.len() == 0 {
            return Ok(true);
        }
        let mut last = [0];
        let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
        read.map_err(|error| self.failed(error))?;
        Ok(last == *b"\n")
    }
}

/// How long a run waits for others.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);
/// How much of the end is read: more than two lines have.
const END: u64 = 64 << 10;
/// How much of the end is read if no line is whole.
const END_AT_MOST: u64 = END << 9;
/// How many lines are verified before another one is appended.
const LINES: usize = 8;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::audit::Deed;

    fn event(file: &str) -> Event {
        Event {
            deed: Deed::Decrypt,
            file: file.to_owned(),
            user: "u".to_owned(),
            host: "h".to_owned(),
            time: "2026-01-02T03:04:05Z".to_owned(),
        }
    }

    fn verified(text: &str) -> Chain {
        let mut chain = Chain::new();
        text.lines().for_each(|line| chain.take(line.as_bytes()).expect("a whole chain"));
        chain
    }

    #[test]
    fn writers_side_by_side_make_one_chain() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        thread::scope(|scope| {
            for number in 0..20 {
                let path = path.clone();
                scope.spawn(move || {
                    let log = ChainedFile::open(path).expect("a log");
                    (0..5).for_each(|_| log.record(&event(&number.to_string())).expect("written"));
                });
            }
        });
        assert_eq!(verified(&fs::read_to_string(&path).expect("a log")).entries(), 100);
    }

    #[test]
    fn threads_with_one_log_take_turns_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let log = ChainedFile::open(path.clone()).expect("a log");
        thread::scope(|scope| {
            for number in 0..8 {
                let log = &log;
                scope.spawn(move || {
                    (0..20).for_each(|_| log.record(&event(&number.to_string())).expect("written"))
                });
            }
        });
        assert_eq!(verified(&fs::read_to_string(&path).expect("a log")).entries(), 160);
    }

    #[test]
    fn an_end_that_was_cut_off_is_gone_on_from() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        for cut in [1, 40, 200] {
            let log = ChainedFile::open(path.clone()).expect("a log");
            log.record(&event("a")).expect("written");
            log.record(&event("b")).expect("written");
            let length = fs::metadata(&path).expect("a log").len();
            OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(length - cut))
                .expect("cut");
            let log = ChainedFile::open(path.clone()).expect("a log");
            log.record(&event("c")).expect("written");
        }
        let chain = verified(&fs::read_to_string(&path).expect("a log"));
        assert!(chain.torn() == 0 && chain.mended() >= 2, "{chain:?}");
    }

    #[test]
    fn no_number_of_lines_that_were_cut_off_ends_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let log = ChainedFile::open(path.clone()).expect("a log");
        let add = |text: &str| {
            let mut file = OpenOptions::new().append(true).open(&path).expect("a log");
            file.write_all(text.as_bytes()).expect("written");
        };
        // Before there is a whole line, between two, and so many that none is near the end.
        let long = format!("{}\n", "x".repeat(1 << 10));
        for torn in [2, 1, 2, 3 * LINES, 1, 100] {
            add(&long.repeat(torn - 1));
            add("{\"prev");
            log.record(&event("a")).expect("written");
            log.record(&event("b")).expect("written");
            ChainedFile::open(path.clone()).expect("a log that can be gone on with");
        }
        let chain = verified(&fs::read_to_string(&path).expect("a log"));
        assert_eq!((chain.entries(), chain.mended()), (12, 106 + 3 * LINES));
    }

    #[test]
    fn what_the_disk_had_no_room_for_is_taken_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let log = ChainedFile::open(path.clone()).expect("a log");
        log.record(&event("a")).expect("written");
        let whole = fs::read_to_string(&path).expect("a log");
        let after = |rest: &str| {
            fs::write(&path, format!("{whole}{rest}")).expect("written");
            let file = OpenOptions::new().read(true).append(true).open(&path).expect("a log");
            log.take_back(&file, whole.len() as u64, b"{\"previous\"}\n").expect("looked at");
            fs::read_to_string(&path).expect("a log").split_off(whole.len())
        };
        assert_eq!(after("{\"prev"), "");
        assert_eq!(after("{\"previous\"}"), "", "all but the end of the line");
        // What others wrote, and what is whole, stays.
        for rest in ["{\"previous\"}\n", "{\"prev\nx", "{\"previous\"}\nx", "x"] {
            assert_eq!(after(rest), rest);
        }
    }

    #[test]
    fn nobody_goes_on_after_an_end_that_was_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let log = ChainedFile::open(path.clone()).expect("a log");
        log.record(&event("a")).expect("written");
        log.record(&event("b")).expect("written");
        let text = fs::read_to_string(&path).expect("a log").replace("\"b\"", "\"x\"");
        fs::write(&path, text).expect("changed");
        assert!(matches!(log.record(&event("c")), Err(AuditError::Backend { .. })));
        assert!(ChainedFile::open(path).is_err());
    }

    #[test]
    fn only_files_are_logs_and_only_for_their_owner() {
        use std::os::unix::fs::PermissionsExt;
        assert!(ChainedFile::open("/dev/null".into()).is_err());
        let folder = tempfile::tempdir().expect("a folder");
        assert!(ChainedFile::open(folder.path().to_owned()).is_err());
        let path = folder.path().join("log");
        ChainedFile::open(path.clone()).expect("a log");
        assert_eq!(fs::metadata(path).expect("a log").permissions().mode() & 0o777, 0o600);
    }
}

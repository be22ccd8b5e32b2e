//! A file's new content, written beside it until it is whole, and then put in its place in one step.
//!
//! Where the system can, the new content has no name until then, so that nothing of it is left however the
//! process ends. Elsewhere it has a name of its own, which a signal takes away. What cannot be stopped half
//! way is done to its end before a signal ends the process.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use crate::files::{self, Audience, Expected, folder_of};

/// A content that is to be put in place.
pub struct Successor<'a> {
    /// The file whose place it takes.
    pub target: &'a Path,
    /// The content.
    pub content: &'a [u8],
    /// Who may read it.
    pub audience: Audience,
    /// What it may take the place of.
    pub expected: Expected<'a>,
}

impl Successor<'_> {
    /// Writes the content, lets `finish` see to the file, and puts it in place.
    ///
    /// # Errors
    /// If it cannot be written, or `finish` fails, or what is in place is not what was expected: it then
    /// stays as it is.
    pub fn put(&self, finish: &dyn Fn(&File) -> io::Result<()>) -> io::Result<()> {
        let folder = folder_of(self.target);
        if let Some(mut file) = nameless(folder, self.audience) {
            self.fill(&mut file, finish)?;
            match self.link(&file) {
                // Some file systems make such files but cannot give them a name.
                Err(error) if !files::is_changed(&error) => {}
                linked => return linked,
            }
        }
        let mut named = Named::new(self.target, self.audience)?;
        self.fill(named.0.as_file_mut(), finish)?;
        named.persist(self.target, self.expected)
    }

    fn fill(&self, file: &mut File, finish: &dyn Fn(&File) -> io::Result<()>) -> io::Result<()> {
        file.write_all(self.content)?;
        finish(file)?;
        file.sync_all()
    }

    /// Gives a file without a name that of the target.
    fn link(&self, file: &File) -> io::Result<()> {
        let _held = hold();
        self.expected.check(self.target)?;
        if self.expected != Expected::Absent {
            // No link replaces a file: it gets a name of its own first, and is then renamed.
            let prefix = prefix(self.target);
            let builder = builder(&prefix);
            let named = builder.make_in(folder_of(self.target), |path| link(file, path))?;
            named.persist(self.target).map_err(|error| error.error)?;
        } else {
            link(file, self.target).map_err(files::changed_if_there)?;
        }
        count_written();
        flush_folder(self.target);
        Ok(())
    }
}

/// Keeps signals from ending the process until what it returns is dropped.
pub fn hold() -> MutexGuard<'static, Vec<PathBuf>> {
    // The list is whole at every moment, whatever panicked.
    NAMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a file that was written. The caller holds signals back, so that the count is right when one comes.
pub fn count_written() {
    WRITTEN.fetch_add(1, Ordering::SeqCst);
}

/// Returns how many files were written until now.
pub fn written() -> usize {
    WRITTEN.load(Ordering::SeqCst)
}

/// Takes away what is not whole, and lets nothing be put in place any more: the process is about to end.
pub fn abandon() {
    let mut held = hold();
    for path in held.drain(..) {
        // The process ends in any case.
        drop(fs::remove_file(path));
    }
    std::mem::forget(held);
}

/// Returns whether a file's name is one of those that a content has until it is whole.
#[must_use]
pub fn is_unfinished(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(SUFFIX.as_bytes())
}

/// A file that has a name before it is whole.
struct Named(NamedTempFile);

impl Named {
    fn new(target: &Path, audience: Audience) -> io::Result<Self> {
        let prefix = prefix(target);
        let mut builder = builder(&prefix);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode(audience)));
        #[cfg(not(unix))]
        let _ = audience;
        let mut held = hold();
        let file = builder.tempfile_in(folder_of(target))?;
        held.push(file.path().to_owned());
        Ok(Self(file))
    }

    fn persist(self, target: &Path, expected: Expected<'_>) -> io::Result<()> {
        let mut held = hold();
        let path = self.0.path().to_owned();
        let persisted = match expected.check(target) {
            Err(error) => Err(error),
            Ok(()) if expected == Expected::Absent => self
                .0
                .persist_noclobber(target)
                .map(|_| ())
                .map_err(|error| files::changed_if_there(error.error)),
            Ok(()) => self.0.persist(target).map(|_| ()).map_err(|error| error.error),
        };
        // A file that could not be put in place was removed.
        held.retain(|other| *other != path);
        persisted?;
        count_written();
        flush_folder(target);
        Ok(())
    }
}

/// Opens a file that has no name, if the system has such a thing and can name it later.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn nameless(folder: &Path, audience: Audience) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};

    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, folder, flags, Mode::from_raw_mode(mode(audience))).ok()?);
    fs::metadata(own_path(&file)).is_ok().then_some(file)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn nameless(_: &Path, _: Audience) -> Option<File> {
    None
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};

    Ok(linkat(CWD, own_path(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns the path that the system has for every open file.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn own_path(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;

    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Returns a mode; the system takes off what the user's mask forbids.
#[cfg(unix)]
const fn mode(audience: Audience) -> u32 {
    match audience {
        Audience::Everyone => 0o666,
        Audience::Owner => 0o600,
    }
}

fn builder(prefix: &OsStr) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    builder
}

/// Returns how a content's own name starts: as that of its target, as far as there is room for it.
fn prefix(target: &Path) -> OsString {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let fits = name.char_indices().take_while(|(at, character)| at + character.len_utf8() <= LENGTH);
    let name: String = fits.map(|(_, character)| character).collect();
    OsString::from(format!(".{name}."))
}

fn flush_folder(target: &Path) {
    if let Ok(folder) = File::open(folder_of(target)) {
        // The file is whole in either case; some file systems cannot flush a folder.
        drop(folder.sync_all());
    }
}

/// The files that have a name and are not whole.
static NAMED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// How many files were written.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

const SUFFIX: &str = ".selkie-tmp";

/// How many bytes of the target's name are kept. File systems take 255 in all, some only 143.
const LENGTH: usize = 100;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").file_name()).collect()
    }

    #[test]
    fn name_of_its_own_is_told_from_others_and_is_not_too_long() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.yaml", &"ä".repeat(127)] {
            let target = folder.path().join(name);
            let named = Named::new(&target, Audience::Owner).expect("a file");
            assert!(is_unfinished(named.0.path().file_name().expect("a name")));
            assert!(!is_unfinished(target.file_name().expect("a name")));
            drop(named);
        }
    }

    #[test]
    fn content_has_no_name_until_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        if nameless(folder.path(), Audience::Owner).is_none() {
            return;
        }
        let target = folder.path().join("a");
        for expected in [Expected::Absent, Expected::Anything] {
            let before = names(folder.path());
            let successor = Successor { target: &target, content: b"x", audience: Audience::Owner, expected };
            let nothing_new = |_: &File| {
                assert_eq!(names(folder.path()), before);
                Ok(())
            };
            successor.put(&nothing_new).expect("put in place");
            assert_eq!(names(folder.path()), ["a"]);
        }
    }

    #[test]
    fn what_was_not_expected_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("a");
        fs::write(&target, "old").expect("written");
        for expected in [Expected::Absent, Expected::Content(b"older")] {
            let successor = Successor { target: &target, content: b"x", audience: Audience::Owner, expected };
            assert!(files::is_changed(&successor.put(&|_| Ok(())).expect_err("it is there")));
            let named = Named::new(&target, Audience::Owner).expect("a file");
            assert!(files::is_changed(&named.persist(&target, expected).expect_err("it is there")));
            assert_eq!(fs::read(&target).expect("read"), b"old");
            assert_eq!(names(folder.path()), ["a"]);
        }
    }

    #[test]
    fn named_content_is_put_in_place_as_well() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("a");
        for expected in [Expected::Absent, Expected::Anything] {
            let named = Named::new(&target, Audience::Owner).expect("a file");
            assert!(hold().contains(&named.0.path().to_owned()));
            named.persist(&target, expected).expect("put in place");
            assert_eq!(names(folder.path()), ["a"]);
        }
        assert!(!hold().iter().any(|path| path.starts_with(folder.path())));
    }
}

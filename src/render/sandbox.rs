//! A private folder with marked files, and a program that is run over them.
//!
//! Invariants: nobody else may look into the folder, which is in memory where the system has such a place; it goes when
//! it is dropped, and, once [`remove_at_signals`] was called, at every signal that ends a program; what a killed one left
//! goes when the next one is made. A program has no environment but what it is given here, and ends, with all that it
//! started, at the deadline.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::child::{self, ChildError, Ended};

/// A private folder.
pub struct Sandbox {
    root: PathBuf,
    // It is removed after this is dropped.
    entry: Entry,
    _folder: TempDir,
    _lock: File,
}

/// Why a program did not come to its end. No variant holds anything of what it said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// There is no room for the files.
    #[error(
        "{folder}: is full, and what is rendered is laid out there; give it more room, or name another folder in memory: XDG_RUNTIME_DIR"
    )]
    Full {
        /// The folder.
        folder: String,
    },
    /// The system refuses.
    #[error("a private folder for what is rendered cannot be used")]
    Io(#[source] io::Error),
    /// There is no such program.
    #[error("{program}: there is no such program; install it, or name another one: {flag}")]
    NoProgram {
        /// The program.
        program: String,
        /// The flag that names it.
        flag: &'static str,
    },
    /// It cannot be started.
    #[error("{program}: cannot be started")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It was not done at the deadline.
    #[error("{program}: was not done in time, and was ended")]
    Timeout {
        /// The program.
        program: String,
    },
    /// It said more than is read.
    #[error(
        "{program}: says more than {most} bytes, the most that is read; the limit `outputBytes` raises it"
    )]
    TooMuch {
        /// The program.
        program: String,
        /// How much is read.
        most: u64,
    },
}

impl Sandbox {
    /// Makes one.
    ///
    /// # Errors
    /// If no folder can be made.
    pub fn new() -> Result<Self, SandboxError> {
        let made = || {
            let memory = memory();
            remove_left(&memory);
            let private = Permissions::from_mode(0o700);
            let folder = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(memory)?;
            let path = folder.path().canonicalize()?;
            let entry = Entry::new(&path);
            for name in ["bin", "files", "home", "temporary"] {
                DirBuilder::new().mode(0o700).create(path.join(name))?;
            }
            // It has its name once it is locked, so that nobody takes this for one that was left.
            let lock = File::create_new(path.join("fresh"))?;
            lock.lock()?;
            fs::rename(path.join("fresh"), path.join(LOCK))?;
            Ok(Self { root: path, entry, _folder: folder, _lock: lock })
        };
        made().map_err(|error| failure(error, &memory()))
    }

    /// Returns where the files are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// Lays a file out, in place of one with the same path, which is one from the root of the files.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &[u8]) -> Result<(), SandboxError> {
        let path = self.files().join(path);
        let write = || {
            if let Some(folder) = path.parent() {
                DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
            }
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.open(&path)?.write_all(text)
        };
        write().map_err(|error| failure(error, self.root.parent().unwrap_or(&self.root)))
    }

    /// Runs a program among the files. It finds other programs only if `path` says where, and is ended when `is_wanted`
    /// says that nobody waits any more.
    ///
    /// # Errors
    /// If it cannot be started, is not done at the deadline, or says too much.
    pub fn run(
        &self,
        program: &Path,
        arguments: &[OsString],
        path: Option<OsString>,
        deadline: Option<Instant>,
        most: u64,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Ended, SandboxError> {
        let name = program.display().to_string();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.files()).env_clear();
        command.env("HOME", self.root.join("home")).env("TMPDIR", self.root.join("temporary"));
        if path.is_none() {
            // Nothing listens there: what would be fetched nevertheless is not.
            command.envs(["HTTP_PROXY", "HTTPS_PROXY"].map(|name| (name, "http://127.0.0.1:9")));
        }
        command.env("PATH", path.unwrap_or_else(|| self.root.join("bin").into()));
        let ran = child::run_seen(
            &mut command,
            &[],
            deadline,
            most,
            &|group| self.entry.set_group(Some(group)),
            is_wanted,
        );
        self.entry.set_group(None);
        while IS_ENDING.load(Ordering::SeqCst) {
            // A signal ended what was started, and is about to end this.
            thread::park();
        }
        ran.map_err(|error| match error {
            ChildError::Io { source, .. } => SandboxError::Start { program: name, source },
            ChildError::Output { limit, .. } => SandboxError::TooMuch { program: name, most: limit },
            ChildError::Timeout { .. } => SandboxError::Timeout { program: name },
        })
    }

    /// Returns what a program said, with paths as the user knows them.
    #[must_use]
    pub fn with_known_paths(&self, text: &str) -> String {
        let root = self.root.display().to_string();
        let files = self.files().display().to_string();
        text.replace(&format!("{files}/"), "").replace(&files, ".").replace(&root, "(private)")
    }
}

/// Returns the path of a program that is named, or looked up as a shell does.
///
/// # Errors
/// If there is none.
pub fn find(program: &Path, flag: &'static str) -> Result<PathBuf, SandboxError> {
    let is_program =
        |path: &Path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    let found = if program.components().count() > 1 {
        std::path::absolute(program).ok().filter(|path| is_program(path))
    } else {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| is_program(path))
    };
    found.ok_or_else(|| SandboxError::NoProgram { program: program.display().to_string(), flag })
}

/// Lets signals that end this program end what it started and remove all private folders first. For programs that do
/// nothing about signals themselves.
///
/// # Errors
/// If the system refuses.
pub fn remove_at_signals() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
    let [mut hangup, mut interrupt, mut quit, mut terminate] = {
        let _inside = runtime.enter();
        let [hangup, interrupt, quit, terminate] = kinds.map(signal);
        [hangup?, interrupt?, quit?, terminate?]
    };
    thread::spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = hangup.recv() => Signal::HUP,
                _ = interrupt.recv() => Signal::INT,
                _ = quit.recv() => Signal::QUIT,
                _ = terminate.recv() => Signal::TERM,
            }
        });
        IS_ENDING.store(true, Ordering::SeqCst);
        for (folder, group) in entries().iter() {
            end(*group);
            // Whoever uses it fails now; there is nobody to tell.
            fs::remove_dir_all(folder).unwrap_or(());
        }
        std::process::exit(128 + number.as_raw());
    });
    Ok(())
}

/// A folder that is there, in the list for signals.
struct Entry(PathBuf);

impl Entry {
    fn new(folder: &Path) -> Self {
        entries().push((folder.to_owned(), None));
        Self(folder.to_owned())
    }

    fn set_group(&self, group: Option<u32>) {
        entries().iter_mut().filter(|(folder, _)| *folder == self.0).for_each(|entry| entry.1 = group);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        entries().retain(|(folder, _)| *folder != self.0);
    }
}

fn end(group: Option<u32>) {
    if let Some(group) = group.and_then(|group| i32::try_from(group).ok()).and_then(Pid::from_raw) {
        // Where there is none any more, there is nothing to end.
        kill_process_group(group, Signal::KILL).unwrap_or(());
    }
}

/// Returns what a refusal of the system means.
fn failure(error: io::Error, memory: &Path) -> SandboxError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            SandboxError::Full { folder: memory.display().to_string() }
        }
        _ => SandboxError::Io(error),
    }
}

/// Returns a folder in memory, if there is one.
fn memory() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let is_usable = |path: &PathBuf| {
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    };
    own.into_iter().chain([PathBuf::from("/dev/shm")]).find(is_usable).unwrap_or_else(std::env::temp_dir)
}

/// Removes what programs of this user left that were killed.
fn remove_left(memory: &Path) {
    let Ok(entries) = fs::read_dir(memory) else { return };
    for folder in entries.filter_map(Result::ok) {
        if !folder.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Some(lock) = own_lock(&folder.path()) else { continue };
        if lock.try_lock().is_ok() {
            // Another one that is made right now may do the same.
            fs::remove_dir_all(folder.path()).unwrap_or(());
        }
    }
}

/// Returns the file that is locked while a folder is used, if both are what this program makes, and of this user.
fn own_lock(folder: &Path) -> Option<File> {
    let user = rustix::process::geteuid().as_raw();
    let found = fs::symlink_metadata(folder).ok()?;
    if !found.is_dir() || found.uid() != user {
        return None;
    }
    // What is no file must neither be followed nor waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDONLY;
    let lock = File::from(rustix::fs::open(folder.join(LOCK), flags, Mode::empty()).ok()?);
    let found = lock.metadata().ok()?;
    (found.is_file() && found.uid() == user).then_some(lock)
}

fn entries() -> std::sync::MutexGuard<'static, Vec<(PathBuf, Option<u32>)>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All folders that are there, each with the process group that works in it.
static ENTRIES: Mutex<Vec<(PathBuf, Option<u32>)>> = Mutex::new(Vec::new());
/// Whether a signal ends this program.
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// What the names of all folders begin with.
const PREFIX: &str = "selkie-";
/// The file that is locked while a folder is used.
const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(sandbox: &Sandbox, script: &str, deadline: Option<Instant>) -> Result<Ended, SandboxError> {
        sandbox.run(Path::new("/bin/sh"), &["-c".into(), script.into()], None, deadline, 100, &|| true)
    }

    #[test]
    fn a_program_sees_the_files_and_nothing_of_the_environment() {
        let sandbox = Sandbox::new().expect("a folder");
        sandbox.write("a/b.txt", b"hello").expect("a file");
        let ran = shell(&sandbox, "read x <a/b.txt; echo $x; echo $CARGO_MANIFEST_DIR; echo $PWD >&2", None);
        let ran = ran.expect("it runs");
        assert_eq!(ran.stdout.expose_secret(), b"hello\n\n");
        assert_eq!(sandbox.with_known_paths(&String::from_utf8_lossy(ran.stderr.expose_secret())), ".\n");
        assert!(ran.status.success());
        let root = sandbox.root.clone();
        let mode = fs::metadata(&root).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(sandbox);
        assert!(!root.exists() && entries().iter().all(|(folder, _)| *folder != root));
    }

    #[test]
    fn what_was_left_is_removed_and_what_is_used_is_not() {
        let memory = tempfile::tempdir().expect("a folder");
        let folder = |name: &str| {
            let path = memory.path().join(name);
            fs::create_dir(&path).expect("a folder");
            File::create(path.join(LOCK)).expect("a file")
        };
        let used = folder("selkie-used");
        used.lock().expect("locked");
        drop(folder("selkie-left"));
        drop(folder("other"));
        remove_left(memory.path());
        let names = ["selkie-used", "selkie-left", "other"].map(|name| memory.path().join(name).exists());
        assert_eq!(names, [true, false, true]);
    }

    #[test]
    fn what_is_no_lock_is_neither_followed_nor_waited_for() {
        let memory = tempfile::tempdir().expect("a folder");
        let path = |name: &str| memory.path().join(name);
        for name in ["selkie-pipe", "selkie-link", "selkie-folder/lock"] {
            fs::create_dir_all(path(name)).expect("a folder");
        }
        let pipe = Command::new("mkfifo").arg(path("selkie-pipe/lock")).status().expect("mkfifo");
        assert!(pipe.success());
        File::create(path("other")).expect("a file");
        std::os::unix::fs::symlink(path("other"), path("selkie-link/lock")).expect("a link");
        std::os::unix::fs::symlink(path("selkie-folder"), path("selkie-linked")).expect("a link");
        remove_left(memory.path());
        for name in ["selkie-pipe", "selkie-link", "selkie-folder", "selkie-linked"] {
            assert!(path(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_full_folder_is_told_as_one() {
        let error = failure(io::Error::from_raw_os_error(28), Path::new("/dev/shm"));
        assert!(error.to_string().starts_with("/dev/shm: is full, and what is rendered"), "{error}");
        assert!(matches!(failure(io::Error::from_raw_os_error(13), Path::new("/")), SandboxError::Io(_)));
    }

    #[test]
    fn what_takes_too_long_or_says_too_much_is_ended() {
        let sandbox = Sandbox::new().expect("a folder");
        let started = Instant::now();
        // The child of the shell holds the pipes, too.
        let late =
            shell(&sandbox, "/bin/sleep 600 & /bin/sleep 600", Some(started + Duration::from_millis(20)));
        assert!(matches!(late, Err(SandboxError::Timeout { .. })));
        let much = shell(&sandbox, "while :; do echo much; done", None);
        assert!(matches!(much, Err(SandboxError::TooMuch { most: 100, .. })));
    }

    #[test]
    fn programs_are_found_or_missed_with_a_hint() {
        assert!(find(Path::new("sh"), "--x").expect("a shell").is_absolute());
        let error = find(Path::new("no-such-program"), "--kustomize-program").expect_err("none").to_string();
        assert_eq!(
            error,
            "no-such-program: there is no such program; install it, or name another one: --kustomize-program"
        );
    }
}

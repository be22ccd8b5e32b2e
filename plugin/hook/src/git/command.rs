//! Runs `git` so that no configuration, locale or environment of the user changes what it tells, and without a network.

use std::ffi::{OsStr, OsString};
use std::io::{BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use super::GitError;

/// How `git` is run.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    /// Where it runs.
    pub folder: PathBuf,
    /// The variables of Git that hold, and no others.
    pub variables: Vec<(OsString, OsString)>,
}

impl Git {
    /// Returns a command that is ready to run, without input.
    pub(crate) fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.folder);
        // An empty name says that there is no monitor, in every version: one of the user's could run anything.
        command.args(["--no-pager", "-c", "core.fsmonitor="]).args(arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_git(name)) {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        for name in IGNORED {
            command.env_remove(name);
        }
        command.envs(FIXED.iter().copied()).stdin(Stdio::null());
        command
    }

    /// Runs `git` with an input and returns what it wrote.
    ///
    /// # Errors
    /// If it cannot be run, or fails.
    pub(crate) fn run(&self, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let mut output = Vec::new();
        self.stream(arguments, input, |from| {
            from.read_to_end(&mut output).map_err(GitError::Unavailable)?;
            Ok(())
        })?;
        Ok(output)
    }

    /// Runs `git` with an input and gives what it writes to `take`, while it runs.
    ///
    /// # Errors
    /// If it cannot be run, or fails, or `take` does.
    pub(crate) fn stream(
        &self,
        arguments: &[impl AsRef<OsStr>],
        input: &[u8],
        take: impl FnOnce(&mut BufReader<ChildStdout>) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(GitError::Unavailable)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut to), Some(from), Some(mut complaints)) = pipes else {
            return Err(GitError::Unavailable(std::io::Error::other("it has no pipes")));
        };
        let (taken, complaints) = thread::scope(|scope| {
            // Where `git` no longer reads, it says itself why: its status is what counts.
            scope.spawn(move || drop(to.write_all(input)));
            let complaints = scope.spawn(move || {
                let mut text = Vec::new();
                drop(complaints.by_ref().take(MAX_COMPLAINT).read_to_end(&mut text));
                drop(std::io::copy(&mut complaints, &mut std::io::sink()));
                text
            });
            let mut from = BufReader::with_capacity(PIPE, from);
            let taken = take(&mut from);
            // Dropping the pipe ends a `git` that nobody reads any more.
            drop(from);
            (taken, complaints.join().unwrap_or_default())
        });
        let status = child.wait().map_err(GitError::Unavailable)?;
        taken?;
        said(arguments, status, &complaints)
    }

    /// Starts a `git` that is asked and answers, as long as its input is open.
    ///
    /// # Errors
    /// If it cannot be run.
    pub(crate) fn converse(&self, arguments: &[impl AsRef<OsStr>]) -> std::io::Result<Child> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    }

    /// Returns a variable of Git that holds.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// Sets a variable of Git.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.push((name.into(), value.into()));
    }
}

/// Returns whether a variable is one of Git's.
pub(crate) fn is_of_git(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"GIT_")
}

fn said(arguments: &[impl AsRef<OsStr>], status: ExitStatus, complaints: &[u8]) -> Result<(), GitError> {
    if status.success() {
        return Ok(());
    }
    let words = arguments.iter().map(|argument| argument.as_ref().to_string_lossy());
    let command = words.take(2).collect::<Vec<_>>().join(" ");
    let complaints = String::from_utf8_lossy(complaints);
    let complaints = complaints.trim();
    let message = if complaints.is_empty() { status.to_string() } else { complaints.to_owned() };
    Err(GitError::Refused { command, message })
}

/// Variables that have to have these values: no replacements, grafts or translations, no lock for the convenience of
/// later commands, and no network, also not where objects are missing on purpose.
const FIXED: &[(&str, &str)] = &[
    ("GIT_ALLOW_PROTOCOL", "none"),
    ("GIT_GRAFT_FILE", "/dev/null"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("LANGUAGE", ""),
    ("LC_ALL", "C"),
];

/// Variables that would change what is told.
const IGNORED: &[&str] = &[
    "GIT_DIFF_OPTS",
    "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
];

/// How much of what Git complains of is kept.
const MAX_COMPLAINT: u64 = 4096;

/// How much is read at once.
const PIPE: usize = 1 << 16;

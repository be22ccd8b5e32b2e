//! Git's index and object store, by plumbing: what is staged, what was committed, and one change of several entries in
//! one step.
//!
//! Invariants: paths and output are bytes, parted by NUL; blobs are read and stored without filters and replacements;
//! the index is replaced under Git's own lock, as a whole or not at all, and only if the entries are still those that
//! were read.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use selkie::check::Snapshot;
use selkie::secret::SecretBytes;

/// A repository, and how `git` is called in it.
#[derive(Clone)]
pub(super) struct Git {
    top: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

/// A file of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path from the top of the repository on.
    pub path: Vec<u8>,
    /// Its mode, such as `100644`.
    pub mode: String,
    /// The name of its blob.
    pub blob: String,
    /// Whether it is in conflict: not what any commit would have.
    pub is_unmerged: bool,
    /// Whether Git was told to leave its copy in the worktree alone.
    pub is_left_alone: bool,
}

/// A blob to put in the place of another one.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    /// The entry as it was read.
    pub entry: Entry,
    /// The name of the new blob.
    pub blob: String,
}

/// All files of the index.
pub(super) struct IndexFiles {
    git: Git,
    paths: Vec<String>,
    entries: Vec<Entry>,
}

impl Git {
    /// Returns how `git` is called in the worktree with this top.
    pub fn new(top: &Path) -> Self {
        Self { top: top.to_owned(), variables: Vec::new() }
    }

    /// Sets a variable of the environment of `git`; all others are those of this process.
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Returns how `git` is called in another worktree.
    #[cfg(test)]
    pub fn at(&self, top: &Path) -> Self {
        Self { top: top.to_owned(), ..self.clone() }
    }

    /// Returns the top of the worktree.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Returns the folder of Git for this worktree.
    pub fn folder(&self) -> Result<PathBuf, String> {
        self.path_from(&["rev-parse", "--absolute-git-dir"])
    }

    /// Returns the folder of the object store.
    pub fn objects(&self) -> Result<PathBuf, String> {
        self.path_from(&["rev-parse", "--git-path", "objects"])
    }

    /// Returns all entries of the index, in its order.
    pub fn entries(&self) -> Result<Vec<Entry>, String> {
        let listed = self.run(&["ls-files", "-v", "-s", "-z"], None)?;
        let lines = listed.expose_secret().split(|byte| *byte == 0).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                Entry::parse(line).ok_or_else(|| "git ls-files: it lists what it should not".to_owned())
            })
            .collect()
    }

    /// Returns a blob.
    pub fn blob(&self, name: &str) -> Result<SecretBytes, String> {
        self.run(&["cat-file", "blob", name], None)
    }

    /// Returns the blob's name that the last commit has at a path; `None` if there is none.
    pub fn committed(&self, path: &[u8]) -> Option<String> {
        let revision = join(b"HEAD:", path);
        let arguments = [OsStr::new("rev-parse"), OsStr::new("-q"), OsStr::new("--verify"), &revision];
        // Without a commit, or without the file in it, there is nothing to find.
        let found = self.run(&arguments, None).ok()?;
        Some(str::from_utf8(found.expose_secret()).ok()?.trim().to_owned())
    }

    /// Puts a blob into the object store, and returns its name.
    pub fn store(&self, content: &[u8]) -> Result<String, String> {
        self.text(&["hash-object", "-w", "--no-filters", "--stdin"], Some(content))
    }

    /// Returns the name of the blob that a content of the worktree would become at a path.
    pub fn cleaned(&self, path: &[u8], content: &[u8]) -> Result<String, String> {
        let option = join(b"--path=", path);
        self.text(&[OsStr::new("hash-object"), OsStr::new("--stdin"), &option], Some(content))
    }

    /// Returns what a blob is in the worktree, at a path: its line ends and its encoding are those of there.
    pub fn smudged(&self, path: &[u8], blob: &str) -> Result<SecretBytes, String> {
        let option = join(b"--path=", path);
        self.run(&[OsStr::new("cat-file"), OsStr::new("--filters"), &option, OsStr::new(blob)], None)
    }

    /// Returns the filter that attributes name for a path, if they name one.
    pub fn filter(&self, path: &[u8]) -> Result<Option<String>, String> {
        let path = to_os(path);
        let said = self.run(
            &["check-attr", "-z", "filter", "--"]
                .map(OsStr::new)
                .into_iter()
                .chain([path.as_os_str()])
                .collect::<Vec<_>>(),
            None,
        )?;
        let value = said.expose_secret().split(|byte| *byte == 0).nth(2).unwrap_or_default();
        let value = String::from_utf8_lossy(value).into_owned();
        Ok((!matches!(value.as_str(), "" | "unset" | "unspecified")).then_some(value))
    }

    /// Puts new blobs into the index: all of them, or none. Whoever changed one of the entries meanwhile wins.
    pub fn replace(&self, index: &Path, replacements: &[Replacement]) -> Result<(), String> {
        let lock = Lock::take(index)?;
        let now = self.entries()?;
        for replacement in replacements {
            if !now.contains(&replacement.entry) {
                let path = show(&String::from_utf8_lossy(&replacement.entry.path));
                return Err(format!("{path} was staged anew meanwhile; nothing was changed, run it again"));
            }
        }
        let folder = index.parent().unwrap_or(&self.top);
        let failed = |error: io::Error| format!("the index cannot be written: {error}");
        let copy =
            tempfile::Builder::new().prefix("index-").tempfile_in(folder).map_err(failed)?.into_temp_path();
        fs::copy(index, &copy).map_err(failed)?;
        let mut lines = Vec::new();
        for Replacement { entry, blob } in replacements {
            lines.extend_from_slice(format!("{} {blob} 0\t", entry.mode).as_bytes());
            lines.extend_from_slice(&entry.path);
            lines.push(0);
        }
        let own = self.clone().with_variable("GIT_INDEX_FILE", copy.as_os_str());
        own.run(&["update-index", "-z", "--index-info"], Some(&lines))?;
        lock.replace(&fs::read(&copy).map_err(failed)?).map_err(failed)
    }

    /// Runs `git`, and returns what it writes.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A], input: Option<&[u8]>) -> Result<SecretBytes, String> {
        let command = arguments.first().map(|name| name.as_ref().to_string_lossy().into_owned());
        let command = command.unwrap_or_default();
        let failed = |error: io::Error| format!("git cannot be run: {error}");
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = self
            .command(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // What does not read its input says why; that is worth more than the broken pipe.
        let written = child.stdin.take().zip(input).map_or(Ok(()), |(mut to, input)| to.write_all(input));
        let output = child.wait_with_output().map_err(failed)?;
        let answer = SecretBytes::from(output.stdout);
        if output.status.success() {
            written.map_err(failed)?;
            return Ok(answer);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("git {command}: {}", show(said.lines().next().unwrap_or("it failed"))))
    }

    /// Returns `git` with arguments, ready to be run.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new("git");
        command
            .args(OPTIONS)
            .args(arguments)
            .current_dir(&self.top)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        for (name, value) in FIXED {
            command.env(name, value);
        }
        command
    }

    fn text<A: AsRef<OsStr>>(&self, arguments: &[A], input: Option<&[u8]>) -> Result<String, String> {
        let answer = self.run(arguments, input)?;
        Ok(String::from_utf8_lossy(answer.expose_secret()).trim_end().to_owned())
    }

    fn path_from(&self, arguments: &[&str]) -> Result<PathBuf, String> {
        let answer = self.run(arguments, None)?;
        let bytes = answer.expose_secret();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        Ok(self.top.join(to_os(bytes)))
    }
}

impl Entry {
    /// Reads `H 100644 NAME 0<tab>PATH`.
    fn parse(line: &[u8]) -> Option<Self> {
        let tab = memchr::memchr(b'\t', line)?;
        let mut fields = str::from_utf8(&line[..tab]).ok()?.split(' ');
        let (tag, mode, blob, stage) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Self {
            path: line[tab + 1..].to_vec(),
            mode: mode.to_owned(),
            blob: blob.to_owned(),
            is_unmerged: stage != "0",
            is_left_alone: tag.eq_ignore_ascii_case("s") || tag.bytes().all(|byte| byte.is_ascii_lowercase()),
        })
    }

    /// Returns whether it is a file, and neither a link nor a repository.
    pub fn is_file(&self) -> bool {
        self.mode.starts_with("100")
    }
}

impl IndexFiles {
    /// Returns the files of the index.
    pub fn new(git: &Git) -> Result<Self, String> {
        // The index is in the order of bytes, as is that of texts.
        let mut entries = git.entries()?;
        entries.dedup_by(|next, last| next.path == last.path);
        let is_named = |entry: &Entry| entry.is_file() && str::from_utf8(&entry.path).is_ok();
        let entries: Vec<_> = entries.into_iter().filter(is_named).collect();
        let name = |entry: &Entry| String::from_utf8_lossy(&entry.path).into_owned();
        Ok(Self { git: git.clone(), paths: entries.iter().map(name).collect(), entries })
    }

    /// Returns the entry of a path.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        let at = self.paths.binary_search_by(|known| known.as_str().cmp(path)).ok()?;
        self.entries.get(at)
    }
}

impl Snapshot for IndexFiles {
    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(entry) = self.entry(path) else { return Ok(None) };
        Ok(Some(self.git.blob(&entry.blob)?.expose_secret().to_vec()))
    }
}

/// Git's lock of the index. It is given back when it is dropped.
struct Lock<'a> {
    index: &'a Path,
    path: PathBuf,
    file: File,
    is_held: bool,
}

impl<'a> Lock<'a> {
    fn take(index: &'a Path) -> Result<Self, String> {
        let mut path = index.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(Self { index, path, file, is_held: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(format!(
                "{} is there, so another git is at work: wait for it, or remove that file if none is running; \
                 nothing was changed",
                path.display()
            )),
            Err(error) => Err(format!("the index cannot be locked: {error}")),
        }
    }

    /// Puts a content in the place of the index.
    fn replace(mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.set_permissions(fs::metadata(self.index)?.permissions())?;
        self.file.sync_all()?;
        fs::rename(&self.path, self.index)?;
        // From here on, a file of that name is somebody else's lock.
        self.is_held = false;
        Ok(())
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if self.is_held {
            // One that stays is told by the next git, with what to do.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns a text that is safe to show: on one line, without control characters.
pub(super) fn show(text: &str) -> String {
    let escape =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() };
    text.chars().map(escape).collect()
}

fn join(start: &[u8], path: &[u8]) -> OsString {
    to_os(&[start, path].concat())
}

/// Returns a path of Git as this system has it.
#[cfg(unix)]
pub(super) fn to_os(path: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(path.to_vec())
}

/// Returns a path of Git as this system has it; those are UTF-8.
#[cfg(not(unix))]
pub(super) fn to_os(path: &[u8]) -> OsString {
    String::from_utf8_lossy(path).into_owned().into()
}

/// What every call of `git` gets: no pager, and neither a monitor of files nor hooks, which could run anything and would
/// take a copy of the index for the index.
const OPTIONS: &[&str] = &["--no-pager", "-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null"];

/// What every call of `git` gets in its environment: paths are no patterns, its words are English, and no object stands for another.
const FIXED: &[(&str, &str)] =
    &[("GIT_LITERAL_PATHSPECS", "1"), ("GIT_NO_REPLACE_OBJECTS", "1"), ("LC_ALL", "C")];

//! What Git knows: files of earlier revisions, and where a repository starts.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use selkie::secret::SecretBytes;

use crate::failure::Failure;

/// A file of a revision, as Git writes it: `HEAD:apps/db.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision<'a> {
    /// The revision; empty for the index.
    pub revision: &'a str,
    /// The path, from the root of the repository unless it starts with `./`.
    pub path: &'a str,
}

impl<'a> Revision<'a> {
    /// Reads `REVISION:PATH`; `None` if the text has no colon.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (revision, path) = text.split_once(':')?;
        (!path.is_empty() && !revision.starts_with('-')).then_some(Self { revision, path })
    }

    /// Returns the path of the file as it is in the working tree; `folder` is the working directory.
    #[must_use]
    pub fn file(&self, folder: &Path) -> String {
        let is_relative = self.path.starts_with("./") || self.path.starts_with("../");
        match root_of(folder).filter(|root| !is_relative && root != folder) {
            Some(root) => root.join(self.path).display().to_string(),
            None => self.path.to_owned(),
        }
    }

    /// Returns the content of the file; `folder` is the working directory.
    ///
    /// # Errors
    /// If Git does not have it.
    pub fn read(&self, folder: &Path) -> Result<SecretBytes, Failure> {
        let what = format!("{}:{}", self.revision, self.path);
        said(folder, &["cat-file", "blob", &what], &what).map(SecretBytes::from)
    }
}

/// Returns the root of the repository that a folder is in, if it is in one.
#[must_use]
pub fn root_of(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_owned)
}

/// Returns the content that a file has in the last commit, if it is in it.
///
/// # Errors
/// If Git cannot tell.
pub fn committed(file: &Path) -> Result<Option<SecretBytes>, Failure> {
    if file.parent().and_then(root_of).is_none() {
        return Ok(None);
    }
    at("HEAD", file)
}

/// Returns the content that a file, given by its absolute path, has in a revision, if it is in it.
///
/// # Errors
/// If Git cannot tell.
pub fn at(revision: &str, file: &Path) -> Result<Option<SecretBytes>, Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let path = format!("./{name}");
    let folder = file.parent().unwrap_or(Path::new("/"));
    match (Revision { revision, path: &path }).read(folder) {
        Ok(content) => Ok(Some(content)),
        Err(_) if is_unborn(folder, revision) => Ok(None),
        Err(failure) => {
            let arguments = ["ls-tree", "--name-only", revision, "--", &path];
            let listed = said(folder, &arguments, &format!("{revision}:{path}"))?;
            if listed.is_empty() { Ok(None) } else { Err(failure) }
        }
    }
}

/// Returns the paths that are in a revision and no longer there, of what `files` name: folders, globs and files;
/// `folder` is the working directory.
///
/// # Errors
/// If Git cannot tell.
pub fn removed(folder: &Path, revision: &str, files: &[String]) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut removed = BTreeSet::new();
    for file in files {
        let path = folder.join(file);
        // A folder may be in another repository than the working directory.
        let (start, below, spec) = match path.is_dir() {
            true => (path.as_path(), Path::new(file), "."),
            false => (folder, Path::new(""), file.as_str()),
        };
        if path.is_file() || is_unborn(start, revision) {
            continue;
        }
        let arguments = ["diff", "--relative", "--name-only", "--diff-filter=D", "--no-renames", "-z"];
        let names = said(start, &[&arguments[..], &[revision, "--", spec]].concat(), revision)?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        removed.extend(names.map(|name| {
            let path = below.join(&*String::from_utf8_lossy(name));
            path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)
        }));
    }
    Ok(removed)
}

/// Returns whether Git knows a commit by this name.
#[must_use]
pub fn is_revision(folder: &Path, name: &str) -> bool {
    let commit = format!("{name}^{{commit}}");
    let is_option = name.starts_with('-') || name.is_empty();
    // Without Git there are no commits.
    let is_known = || git(folder, &["rev-parse", "--verify", "--quiet", &commit]);
    !is_option && !name.contains(':') && is_known().is_ok_and(|output| output.status.success())
}

/// Returns whether Git leaves out a file, given by its path below the root of the repository; `None` without
/// Git, or where it cannot tell.
#[must_use]
pub fn is_ignored(root: &Path, file: &Path) -> Option<bool> {
    let file = file.to_string_lossy();
    match git(root, &["check-ignore", "--quiet", "--", &file]).ok()?.status.code()? {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    }
}

/// Returns the pattern of a `.gitignore` beside which a file, given by its path from there, is left out.
#[must_use]
pub fn pattern_for(file: &Path) -> String {
    let mut pattern = String::from("/");
    for character in file.to_string_lossy().chars() {
        // A blank has a meaning only at the end, but is none the worse for being escaped.
        if matches!(character, '\\' | '[' | '*' | '?' | ' ') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// Returns a path that Git tells, byte for byte where paths are bytes.
#[must_use]
pub fn path_of(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    return PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes));
    #[cfg(not(unix))]
    PathBuf::from(&*String::from_utf8_lossy(bytes))
}

/// Returns whether there is no last commit yet.
#[must_use]
pub fn is_unborn(folder: &Path, revision: &str) -> bool {
    let head = || git(folder, &["rev-parse", "--verify", "--quiet", "HEAD"]);
    revision == "HEAD" && head().is_ok_and(|output| output.status.code() == Some(1))
}

/// Hands out the contents of blobs, in the order of their names; `None` stands for one that is not there, or has more
/// bytes than a file with secrets.
///
/// # Errors
/// If Git cannot tell.
pub fn blobs(
    folder: &Path,
    names: &[String],
    mut take: impl FnMut(usize, Option<Vec<u8>>),
) -> Result<(), Failure> {
    let failed = || Failure::io("read", "the Git history");
    let mut child = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed())?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { return Ok(()) };
    let asked: String = names.iter().flat_map(|name| [name, "\n"]).collect();
    let read = std::thread::scope(|scope| {
        // What cannot be asked is not answered, and missed below.
        scope.spawn(move || drop(input.write_all(asked.as_bytes())));
        let mut output = BufReader::with_capacity(1 << 16, output);
        (0..names.len()).try_for_each(|index| {
            take(index, blob(&mut output)?);
            Ok(())
        })
    });
    // It has said what it had to say, or is of no use.
    drop(child.kill());
    drop(child.wait());
    read.map_err(failed())
}

/// Reads one answer of `git cat-file --batch`.
fn blob(output: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = String::new();
    output.read_line(&mut head)?;
    let malformed = || io::Error::other("git cat-file broke off");
    let mut words = head.split_ascii_whitespace().skip(1);
    let (Some(kind), size) = (words.next(), words.next()) else { return Err(malformed()) };
    // `missing`, say.
    let Some(size) = size else { return Ok(None) };
    let size: u64 = size.parse().map_err(|_| malformed())?;
    let mut rest = output.take(size + 1);
    if kind != "blob" || size > LARGEST_BLOB {
        io::copy(&mut rest, &mut io::sink())?;
        return Ok(None);
    }
    let mut content = Vec::new();
    rest.read_to_end(&mut content)?;
    if content.pop() != Some(b'\n') {
        return Err(malformed());
    }
    Ok(Some(content))
}

/// Returns whether parts of the history are not there.
#[must_use]
pub fn is_shallow(folder: &Path) -> bool {
    let asked = git(folder, &["rev-parse", "--is-shallow-repository"]);
    asked.is_ok_and(|output| output.stdout.starts_with(b"true"))
}

/// Returns what Git says when it is asked for something.
///
/// # Errors
/// If it cannot tell.
pub fn said(folder: &Path, arguments: &[&str], what: &str) -> Result<Vec<u8>, Failure> {
    let output = git(folder, arguments).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Check("the program git was not found".to_owned()),
        _ => Failure::io("read", what)(error),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::io("read", what)(std::io::Error::other(why)))
}

fn git(folder: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new("git").arg("-C").arg(folder).args(arguments).output()
}

/// How many bytes a file has at most that is looked at: far more than any with secrets.
const LARGEST_BLOB: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_and_a_path_are_told_apart() {
        let revision = Revision::parse("HEAD~2:a/b.yaml").expect("a revision");
        assert_eq!(revision, Revision { revision: "HEAD~2", path: "a/b.yaml" });
        assert_eq!(Revision::parse("a/b.yaml"), None);
        assert_eq!(Revision::parse("HEAD:"), None);
        assert_eq!(Revision::parse("--output=x:y"), None);
    }

    #[test]
    fn a_pattern_stands_for_one_file() {
        assert_eq!(pattern_for(Path::new("k/a[b]*? \\")), r"/k/a\[b]\*\?\ \\");
    }
}

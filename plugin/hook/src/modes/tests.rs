//! What real repositories tell, in temporary folders, away from the configuration of whoever runs this.

mod disk;
mod history;
mod index;
mod pushed;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gix_hash::ObjectId;

use super::*;
use crate::change::Blobs;

/// A folder with repositories.
struct Sandbox {
    folder: tempfile::TempDir,
    /// Where `git` runs.
    at: PathBuf,
    /// Variables beside those that keep the user's configuration out.
    variables: Vec<(OsString, OsString)>,
}

/// A file that was to be looked at.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    label: String,
    path: String,
    new: String,
    old: Option<String>,
}

impl Sandbox {
    /// Returns a folder with an empty repository, the branch `main`.
    fn new() -> Self {
        Self::with(&["init", "-q", "-b", "main", "repository"])
    }

    fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let at = folder.path().to_owned();
        let mut sandbox = Self { folder, at, variables: Vec::new() };
        sandbox.git(arguments);
        sandbox.at.push("repository");
        sandbox
    }

    fn elsewhere(&self, folder: &str) -> Self {
        let at = self.folder.path().join(folder);
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        Self { folder, at, variables: Vec::new() }
    }

    fn variables(&self) -> Vec<(OsString, OsString)> {
        let fixed = [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "Somebody"),
            ("GIT_AUTHOR_EMAIL", "somebody@example.org"),
            ("GIT_COMMITTER_NAME", "Somebody"),
            ("GIT_COMMITTER_EMAIL", "somebody@example.org"),
        ];
        let fixed = fixed.map(|(name, value)| (name.into(), value.into()));
        fixed
            .into_iter()
            .chain([("HOME".into(), self.folder.path().into())])
            .chain(self.variables.clone())
            .collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(b"GIT_")) {
            command.env_remove(name);
        }
        command.envs(self.variables()).current_dir(&self.at).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs `git`, and returns what it wrote, without the last line's end.
    fn git(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("git runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {told}");
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// Runs `git` with an input.
    fn git_with(&self, arguments: &[&str], input: &str) -> String {
        use std::io::Write;
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git runs");
        child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// Writes a file of the worktree.
    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.at.join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
        self
    }

    /// Writes a file and adds it to the index.
    fn add(&self, path: &str, text: &str) -> &Self {
        self.write(path, text).git(&["add", "-f", "--", path]);
        self
    }

    /// Commits the index, and returns the commit.
    fn commit(&self, message: &str) -> String {
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn repository(&self) -> Repository {
        self.repository_at(&self.at.clone())
    }

    fn repository_at(&self, folder: &Path) -> Repository {
        Repository::find_with(folder, self.variables()).expect("there is a repository")
    }

    /// Returns what is to be looked at.
    fn look(&self, wanted: &Wanted) -> Vec<Seen> {
        self.try_look(wanted, "", &[]).unwrap_or_else(|error| panic!("{wanted:?}: {error}"))
    }

    fn try_look(
        &self,
        wanted: &Wanted,
        input: &str,
        environment: &[(&str, &str)],
    ) -> Result<Vec<Seen>, GitError> {
        look(&self.repository(), wanted, &self.at, input, environment)
    }

    /// Returns the paths that are to be looked at.
    fn paths(&self, wanted: &Wanted) -> Vec<String> {
        self.look(wanted).into_iter().map(|seen| seen.path).collect()
    }
}

fn look(
    repository: &Repository,
    wanted: &Wanted,
    folder: &Path,
    mut input: &str,
    environment: &[(&str, &str)],
) -> Result<Vec<Seen>, GitError> {
    let input: &mut dyn std::io::Read = &mut AsBytes(&mut input);
    let variable = |name: &str| {
        environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let mut seen = Vec::new();
    changes(Some(repository), wanted, folder, input, &variable, &mut |change| {
        for item in change.items {
            let text = |source: &Source| {
                let bytes = repository.read(source).map_err(GitError::Unreadable)?;
                assert_eq!(repository.size(source), Ok(bytes.len() as u64));
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            };
            let old = item.old.as_ref().map(text).transpose()?;
            let new = text(&item.new)?;
            seen.push(Seen { label: change.label.clone(), path: item.path, new, old });
        }
        Ok(())
    })?;
    Ok(seen)
}

/// Reads a text.
struct AsBytes<'a, 'b>(&'a mut &'b str);

impl std::io::Read for AsBytes<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.0.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.0.as_bytes()[..length]);
        *self.0 = &self.0[length..];
        Ok(length)
    }
}

/// Returns a file that was looked at, of the only change.
fn seen(path: &str, new: &str, old: Option<&str>) -> Seen {
    Seen { label: String::new(), path: path.into(), new: new.into(), old: old.map(Into::into) }
}

/// Returns what people see of a commit.
fn short(commit: &str) -> &str {
    &commit[..10]
}

/// Asserts that a blob is read in this process.
fn assert_direct(sandbox: &Sandbox, name: &str) {
    let blob = id(&sandbox.git(&["rev-parse", name]));
    assert!(sandbox.repository().objects().has_itself(blob), "{name}");
}

fn id(name: &str) -> ObjectId {
    ObjectId::from_hex(name.as_bytes()).expect("it is the name of an object")
}

//! The repository that Git is to be told of: where it is, which files it has, and what its attributes say of them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use selkie::secret::SecretBytes;

use crate::commands::git::textconv::read_encrypted;
use crate::context::Context;
use crate::failure::Failure;
use crate::git;

/// A repository with a worktree.
pub(super) struct Repository {
    /// The top of the worktree.
    pub top: PathBuf,
}

/// The attributes of a file that are about drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub merge: String,
    pub diff: String,
}

impl Repository {
    /// Finds the repository that the working directory is in.
    ///
    /// # Errors
    /// If there is none, or it has no worktree.
    pub(super) fn find(context: &Context<'_>) -> Result<Self, Failure> {
        let directory = &context.session.directory;
        let asked = |question: &str| {
            let answer = git::said(directory, &["rev-parse", question], "the repository")?;
            Ok::<_, Failure>(git::path_of(answer.strip_suffix(b"\n").unwrap_or(&answer)))
        };
        if asked("--is-bare-repository")? == Path::new("true") {
            return Err(Failure::Check(
                "this is a bare repository, in which nothing is merged: run this in a clone of it".to_owned(),
            ));
        }
        Ok(Self { top: asked("--show-toplevel")? })
    }

    /// Returns the file with the attributes that everyone has.
    pub(super) fn shared_attributes(&self) -> PathBuf {
        self.top.join(".gitattributes")
    }

    /// Returns the file with the attributes of this clone.
    ///
    /// # Errors
    /// If Git cannot tell.
    pub(super) fn private_attributes(&self) -> Result<PathBuf, Failure> {
        let question = ["rev-parse", "--git-path", "info/attributes"];
        let answer = git::said(&self.top, &question, "the repository")?;
        Ok(self.top.join(git::path_of(answer.strip_suffix(b"\n").unwrap_or(&answer))))
    }

    /// Returns the files that Git has, or would have, by their paths from the top.
    ///
    /// # Errors
    /// If Git cannot tell.
    pub(super) fn files(&self) -> Result<BTreeSet<PathBuf>, Failure> {
        let question = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = git::said(&self.top, &question, "the repository")?;
        let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(git::path_of).collect())
    }

    /// Returns the files with something encrypted.
    ///
    /// # Errors
    /// If Git cannot tell which files there are.
    pub(super) fn encrypted(&self) -> Result<Vec<PathBuf>, Failure> {
        let files = self.files()?.into_iter();
        Ok(files.filter(|file| is_encrypted(&self.top.join(file))).collect())
    }

    /// Returns the attributes of files.
    ///
    /// # Errors
    /// If Git cannot tell.
    pub(super) fn attributes(&self, files: &[PathBuf]) -> Result<Vec<(PathBuf, Attributes)>, Failure> {
        let values = self.check(&[], &["merge", "diff"], files)?;
        let pairs = files.iter().zip(values.chunks_exact(2));
        Ok(pairs
            .map(|(file, values)| {
                (file.clone(), Attributes { merge: values[0].clone(), diff: values[1].clone() })
            })
            .collect())
    }

    /// Returns which files patterns are for.
    ///
    /// # Errors
    /// If Git cannot tell.
    pub(super) fn matching(&self, patterns: &[String], files: &[PathBuf]) -> Result<Vec<bool>, Failure> {
        let failed = || Failure::io("write", "a temporary file");
        let mut list = tempfile::NamedTempFile::new().map_err(failed())?;
        for pattern in patterns {
            writeln!(list, "{pattern} {TRIAL}").map_err(failed())?;
        }
        list.flush().map_err(failed())?;
        let setting = format!("core.attributesFile={}", list.path().display());
        let values = self.check(&["-c", &setting], &[TRIAL], files)?;
        Ok(values.iter().map(|value| value == "set").collect())
    }

    /// Asks for attributes of files; returns those of the first file, then those of the next.
    fn check(&self, options: &[&str], names: &[&str], files: &[PathBuf]) -> Result<Vec<String>, Failure> {
        let failed = || Failure::io("run", "git check-attr");
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.top).args(options).args(["check-attr", "-z", "--stdin"]).args(names);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(failed())?;
        let input = child.stdin.take();
        let bytes = |file: &PathBuf| [file.as_os_str().as_encoded_bytes(), b"\0"].concat();
        let question: Vec<u8> = files.iter().flat_map(bytes).collect();
        let mut answer = Vec::new();
        let read = std::thread::scope(|scope| {
            // What cannot be asked is not answered, which is told below.
            scope.spawn(move || input.map(|mut input| drop(input.write_all(&question))));
            child.stdout.take().map_or(Ok(0), |mut output| output.read_to_end(&mut answer))
        });
        read.map_err(failed())?;
        let status = child.wait().map_err(failed())?;
        // Each answer is the file, the attribute and its value.
        let words = answer.strip_suffix(b"\0").unwrap_or_default().split(|byte| *byte == 0);
        let values = words.skip(2).step_by(3).map(|value| String::from_utf8_lossy(value).into_owned());
        let values: Vec<String> = values.collect();
        if !status.success() || values.len() != files.len() * names.len() {
            return Err(Failure::Check("git check-attr did not tell the attributes of all files".to_owned()));
        }
        Ok(values)
    }
}

impl Attributes {
    /// Returns whether both drivers are ours.
    pub(super) fn are_ours(&self) -> bool {
        self.merge == "seal" && self.diff == "seal"
    }

    /// Returns the attributes that are others; those that are not there, too, if they should be by now.
    pub(super) fn others(&self, should_be_there: bool) -> Vec<(&'static str, &str)> {
        let both = [("merge", self.merge.as_str()), ("diff", self.diff.as_str())];
        let is_other = |value: &str| value != "seal" && (should_be_there || value != "unspecified");
        both.into_iter().filter(|(_, value)| is_other(value)).collect()
    }
}

/// Returns whether a file has something encrypted. One with a conflict does not parse, and shows when that is mended.
fn is_encrypted(path: &Path) -> bool {
    let is_small = path.symlink_metadata().is_ok_and(|file| file.is_file() && file.len() <= LARGEST);
    let read = |path: &Path| std::fs::read(path).map(SecretBytes::from).ok();
    is_small && read(path).is_some_and(|source| read_encrypted(path, &source).is_some())
}

/// How many bytes a file has at most that is looked at: far more than any with secrets.
const LARGEST: u64 = 16 << 20;

/// An attribute that nobody else has.
const TRIAL: &str = "kubectl-seal-trial";

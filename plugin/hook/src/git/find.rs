//! Finds a repository: one question to Git, whose answers then hold whatever the folder.
//!
//! Invariant: what Git does not trust is no repository, and is told apart from there being none.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix_hash::ObjectId;

use super::command::{self, Git};
use super::objects::Objects;
use super::{GitError, Repository, unreadable};

impl Repository {
    /// Finds the repository of a folder, as Git does it, with `GIT_DIR`, `GIT_INDEX_FILE` and the like.
    ///
    /// # Errors
    /// If there is none, or Git does not trust it.
    pub fn find(folder: &Path) -> Result<Self, GitError> {
        Self::find_with(folder, std::env::vars_os().filter(|(name, _)| command::is_of_git(name)).collect())
    }

    /// Finds the repository of a folder with these variables, and none of those of Git that the process has.
    ///
    /// # Errors
    /// As those of [`Self::find`].
    pub fn find_with(folder: &Path, variables: Vec<(OsString, OsString)>) -> Result<Self, GitError> {
        let folder = std::path::absolute(folder).map_err(GitError::Unavailable)?;
        let mut git = Git { folder, variables };
        let mut answers = git.answers()?;
        if !answers.is_bare && answers.up.is_none() {
            // In the folder of Git itself, where its hooks may run: the index is that of the worktree.
            let git_dir = canonical(&git.folder.join(&answers.git_dir))?;
            let top = git.worktree_of(&git_dir)?;
            git.set("GIT_DIR", &git_dir);
            git.set("GIT_WORK_TREE", &top);
            git.folder = top;
            answers = git.answers()?;
            if answers.is_bare || answers.up.is_none() {
                return Err(GitError::NoWorktree(git_dir.display().to_string()));
            }
        }
        let absolute = |path: &Path| canonical(&git.folder.join(path));
        let git_dir = absolute(&answers.git_dir)?;
        let common_dir = absolute(&answers.common_dir)?;
        let objects = absolute(&answers.objects)?;
        let index_file = git.folder.join(&answers.index_file);
        let is_bare = answers.is_bare;
        let top = match answers.up {
            Some(up) if !answers.is_bare => absolute(&up)?,
            _ => git_dir.clone(),
        };
        // From here on nothing depends on the folder any more.
        git.set("GIT_DIR", &git_dir);
        if !is_bare {
            git.set("GIT_WORK_TREE", &top);
        }
        if git.variable("GIT_COMMON_DIR").is_some() {
            git.set("GIT_COMMON_DIR", &common_dir);
        }
        if git.variable("GIT_INDEX_FILE").is_some() {
            git.set("GIT_INDEX_FILE", &index_file);
        }
        if git.variable("GIT_OBJECT_DIRECTORY").is_some() {
            git.set("GIT_OBJECT_DIRECTORY", &objects);
        }
        git.folder.clone_from(&top);
        let objects = Arc::new(Objects::open(git.clone(), &objects, answers.kind));
        Ok(Self { git, top, git_dir, common_dir, index_file, is_bare, head: answers.head, objects })
    }

    /// Returns whether the index in use is that of the worktree, and not one that is made for one commit.
    #[must_use]
    pub fn has_usual_index(&self) -> bool {
        let same = |left: &Path, right: &Path| match (canonical(left), canonical(right)) {
            (Ok(left), Ok(right)) => left == right,
            _ => left == right,
        };
        same(&self.index_file, &self.git_dir.join("index"))
    }
}

/// What `git rev-parse` told.
struct Answers {
    git_dir: PathBuf,
    common_dir: PathBuf,
    kind: gix_hash::Kind,
    /// The way to the top of the worktree, if there is one.
    up: Option<PathBuf>,
    objects: PathBuf,
    index_file: PathBuf,
    is_bare: bool,
    head: Option<ObjectId>,
}

impl Answers {
    fn read(output: &[u8]) -> Option<Self> {
        let mut rest = output;
        let mut fields = Vec::new();
        let mark = format!("{MARK}\n");
        while let Some(end) = memchr::memmem::find(rest, mark.as_bytes()) {
            fields.push(&rest[..end]);
            rest = &rest[end + mark.len()..];
        }
        let [git_dir, common_dir, kind, up, objects, index_file, is_bare] = fields[..] else { return None };
        let line =
            |field: &[u8]| field.strip_suffix(b"\n").map(|line| PathBuf::from(OsStr::from_bytes(line)));
        let kind = match kind {
            b"sha1\n" => gix_hash::Kind::Sha1,
            b"sha256\n" => gix_hash::Kind::Sha256,
            _ => return None,
        };
        let head = match rest.trim_ascii() {
            b"" => None,
            head => Some(ObjectId::from_hex(head).ok()?),
        };
        Some(Self {
            git_dir: line(git_dir)?,
            common_dir: line(common_dir)?,
            kind,
            up: line(up),
            objects: line(objects)?,
            index_file: line(index_file)?,
            is_bare: is_bare == b"true\n",
            head,
        })
    }
}

impl Git {
    fn answers(&self) -> Result<Answers, GitError> {
        let answers = self.run(QUESTIONS, b"").map_err(|error| self.explain(error))?;
        Answers::read(&answers)
            .ok_or_else(|| refused("rev-parse", "an answer is not clear; Git 2.25 or newer is needed"))
    }

    /// Returns the top of the worktree that a folder of Git belongs to.
    fn worktree_of(&self, git_dir: &Path) -> Result<PathBuf, GitError> {
        let line = |text: &[u8]| PathBuf::from(OsStr::from_bytes(text.trim_ascii_end()));
        // Of a submodule the configuration says it, of a linked worktree a file.
        let configured = match self.run(&["config", "--get", "core.worktree"], b"") {
            Ok(text) => Some(git_dir.join(line(&text))),
            Err(GitError::Refused { .. }) => None,
            Err(error) => return Err(error),
        };
        let linked = || std::fs::read(git_dir.join("gitdir")).ok().map(|text| git_dir.join(line(&text)));
        let usual = || Some(git_dir.to_owned()).filter(|path| path.file_name() == Some(OsStr::new(".git")));
        let top =
            configured.or_else(|| linked().or_else(usual).and_then(|path| path.parent().map(Path::to_owned)));
        top.and_then(|top| canonical(&top).ok())
            .ok_or_else(|| GitError::NoWorktree(git_dir.display().to_string()))
    }

    /// Says of a refusal whether it means that there is no repository.
    fn explain(&self, error: GitError) -> GitError {
        match error {
            GitError::Refused { message, .. }
                if message.contains("not a git repository") && self.variable("GIT_DIR").is_none() =>
            {
                GitError::NoRepository(self.folder.display().to_string())
            }
            error => error,
        }
    }
}

fn canonical(path: &Path) -> Result<PathBuf, GitError> {
    let file = |error| GitError::File { path: path.display().to_string(), reason: unreadable(error) };
    path.canonicalize().map_err(file)
}

fn refused(command: &str, message: &str) -> GitError {
    GitError::Refused { command: command.to_owned(), message: message.to_owned() }
}

/// What parts the answers of `git rev-parse`, which says words back that it does not know.
const MARK: &str = "--what-comes-next";

/// What is asked at the start. `--show-cdup` tells the way to the top, and nothing where there is no worktree; `HEAD`
/// comes behind `--revs-only`, as it is no error that there is none yet.
const QUESTIONS: &[&str] = &[
    "rev-parse",
    "--absolute-git-dir",
    MARK,
    "--git-common-dir",
    MARK,
    "--show-object-format",
    MARK,
    "--show-cdup",
    MARK,
    "--git-path",
    "objects",
    MARK,
    "--git-path",
    "index",
    MARK,
    "--is-bare-repository",
    MARK,
    "--revs-only",
    "HEAD",
];

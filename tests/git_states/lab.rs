//! A repository with the checks as its hook, and nothing of the user's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Failed;

/// Who calls the checks.
pub enum Manager {
    /// Git itself, by the hooks that `install` writes.
    Git,
    /// `pre-commit`, by the hooks that it writes.
    PreCommit(PathBuf),
    /// `prek`, likewise.
    Prek(PathBuf),
}

/// A repository.
pub struct Lab {
    folder: tempfile::TempDir,
    manager: Manager,
}

impl Lab {
    /// Returns an empty repository without hooks.
    pub fn new(manager: Manager) -> Result<Self, Failed> {
        let lab = Self { folder: tempfile::tempdir()?, manager };
        fs::create_dir(lab.top())?;
        fs::create_dir(lab.folder.path().join("bin"))?;
        let program = lab.program();
        // The test itself is the program, under its name.
        let this = env::current_exe()?;
        fs::hard_link(&this, &program).or_else(|_| fs::copy(&this, &program).map(drop))?;
        lab.git(&["init", "-q", "-b", "main"])?;
        Ok(lab)
    }

    /// The worktree.
    pub fn top(&self) -> PathBuf {
        self.folder.path().join("work tree")
    }

    /// Another place beside the repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program of the checks.
    pub fn program(&self) -> PathBuf {
        self.folder.path().join("bin/seal-hook")
    }

    /// Writes a file of the worktree.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result<(), Failed> {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        Ok(fs::write(path, text)?)
    }

    /// Writes and stages a file.
    pub fn stage(&self, path: &str, text: impl AsRef<[u8]>) -> Result<(), Failed> {
        self.write(path, text)?;
        self.git(&["add", "--", path])
    }

    /// Commits files as they are, before there is a hook.
    pub fn commit_before(&self, files: &[(&str, &[u8])]) -> Result<(), Failed> {
        for (path, text) in files {
            self.stage(path, text)?;
        }
        self.git(&["commit", "-q", "--no-verify", "--allow-empty", "-m", "before"])
    }

    /// Runs a command that has to work.
    pub fn git(&self, arguments: &[&str]) -> Result<(), Failed> {
        let output = self.run("git", arguments)?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Makes Git call the checks, and runs a command that may be refused.
    pub fn guarded(&self, arguments: &[&str]) -> Result<Output, Failed> {
        self.install()?;
        self.run("git", arguments)
    }

    /// Stages the settings of the hook manager and lets it write its hooks.
    pub fn install(&self) -> Result<(), Failed> {
        let (manager, hook) = match &self.manager {
            Manager::Git => {
                let output = self.run(self.program(), &["install"])?;
                return worked("install", &output);
            }
            Manager::PreCommit(program) => (program, "pre-commit"),
            Manager::Prek(program) => (program, "prek"),
        };
        let entry = serde_json::to_string(&format!("{} check --hook", quoted(&self.program())))?;
        let config = format!(
            "repos:\n- repo: local\n  hooks:\n  - id: seal-check\n    name: seal\n    entry: {entry}\n    language: system\n    \
             pass_filenames: false\n    always_run: true\n    require_serial: true\n    verbose: true\n    \
             stages: [pre-commit, pre-merge-commit, pre-push, manual]\n"
        );
        // It is not part of what is judged: outside of the repository.
        let path = self.folder.path().join(format!("{hook}.yaml"));
        fs::write(&path, config)?;
        let path = path.to_string_lossy();
        let arguments =
            ["install", "-c", &path, "-t", "pre-commit", "-t", "pre-merge-commit", "-t", "pre-push"];
        worked(hook, &self.run(manager, &arguments)?)
    }

    /// Runs the hook manager's own command over all files, or the checks as CI does without one.
    pub fn run_in_ci(&self) -> Result<Output, Failed> {
        let (manager, name) = match &self.manager {
            Manager::Git => return self.run(self.program(), &["check", "--hook"]),
            Manager::PreCommit(program) => (program, "pre-commit"),
            Manager::Prek(program) => (program, "prek"),
        };
        self.install()?;
        let path = self.folder.path().join(format!("{name}.yaml"));
        self.run(manager, &["run", "-c", &path.to_string_lossy(), "--all-files"])
    }

    /// Runs a program in the worktree, with nothing of the user's.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<Output, Failed> {
        self.run_in(&self.top(), program, arguments, &[])
    }

    /// Runs a program in a folder, with further variables.
    pub fn run_in(
        &self,
        folder: &Path,
        program: impl AsRef<std::ffi::OsStr>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Output, Failed> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env_clear();
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", path).env("HOME", self.folder.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{name}_NAME"), "selkie")
                .env(format!("GIT_{name}_EMAIL"), "selkie@example.org");
        }
        command.env("PRE_COMMIT_HOME", self.folder.path().join("cache"));
        command.env("PREK_HOME", self.folder.path().join("cache"));
        if let Manager::PreCommit(program) = &self.manager {
            // Its hooks start the Python that it runs in, and its modules are in a folder of their own.
            command.env("PYTHONPATH", program.with_file_name("site"));
        }
        command.env("GIT_ALLOW_PROTOCOL", "file").envs(variables.iter().copied());
        Ok(command.output()?)
    }
}

fn worked(what: &str, output: &Output) -> Result<(), Failed> {
    if output.status.success() {
        return Ok(());
    }
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    Err(format!("{what}: {}", String::from_utf8_lossy(&text)).into())
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

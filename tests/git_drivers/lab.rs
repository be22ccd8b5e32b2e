//! A repository in which nothing of the user's is known, with this program on the path and an identity at hand.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Failed;

/// A repository.
pub struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    /// Returns an empty repository, of which Git does not know the drivers.
    pub fn new() -> Result<Self, Failed> {
        let lab = Self { folder: tempfile::tempdir()? };
        for folder in ["work tree", "bin", "tmp"] {
            fs::create_dir(lab.beside(folder))?;
        }
        let (this, program) = (env::current_exe()?, lab.beside("bin/kubectl-seal"));
        fs::hard_link(&this, &program).or_else(|_| fs::copy(&this, &program).map(drop))?;
        fs::copy(testdata("identities.txt"), lab.identity())?;
        fs::set_permissions(lab.identity(), fs::Permissions::from_mode(0o600))?;
        lab.git(&["init", "-q", "-b", "main"])?;
        Ok(lab)
    }

    /// The worktree.
    pub fn top(&self) -> PathBuf {
        self.beside("work tree")
    }

    /// Another place beside the repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file with the identity.
    pub fn identity(&self) -> PathBuf {
        self.beside("identities.txt")
    }

    /// Writes a file of the worktree.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result<(), Failed> {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        Ok(fs::write(path, text)?)
    }

    /// Reads a file of the worktree.
    pub fn read(&self, path: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.top().join(path))?)
    }

    /// Writes a file and encrypts it.
    pub fn encrypt(&self, path: &str, text: &str) -> Result<(), Failed> {
        let recipients = fs::read_to_string(testdata("recipients.txt"))?;
        self.write(path, text)?;
        let recipient = recipients.lines().next().unwrap_or_default();
        self.seal(&["encrypt", "-i", "--age", recipient, path]).map(drop)
    }

    /// Commits all there is.
    pub fn commit(&self, message: &str) -> Result<(), Failed> {
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", message]).map(drop)
    }

    /// Runs Git, which has to work, and returns what it prints.
    pub fn git(&self, arguments: &[&str]) -> Result<String, Failed> {
        succeeded("git", arguments, &self.run("git", arguments, &[])?)
    }

    /// Runs this program, which has to work, and returns what it prints.
    pub fn seal(&self, arguments: &[&str]) -> Result<String, Failed> {
        succeeded("kubectl-seal", arguments, &self.run("kubectl-seal", arguments, &[])?)
    }

    /// Runs this program, which has to fail, and returns what it says.
    pub fn refused(&self, arguments: &[&str]) -> Result<String, Failed> {
        let output = self.run("kubectl-seal", arguments, &[])?;
        if output.status.success() {
            return Err(format!("{arguments:?} worked").into());
        }
        Ok(text_of(&output))
    }

    /// Runs a program in the worktree.
    pub fn run(
        &self,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Output, Failed> {
        self.run_in(&self.top(), program, arguments, variables)
    }

    /// Runs a program in a folder, with further variables; an empty one is not set.
    pub fn run_in(
        &self,
        folder: &Path,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Output, Failed> {
        // The program is looked for on the path of the child.
        let own = self.beside("bin").join(program);
        let mut command = if own.exists() { Command::new(own) } else { Command::new(program) };
        command.args(arguments).current_dir(folder).env_clear();
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.beside("bin").display()));
        command.env("HOME", self.folder.path()).env("TMPDIR", self.beside("tmp"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_ALLOW_PROTOCOL", "file");
        command.env("SOPS_AGE_KEY_FILE", self.identity());
        for name in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{name}_NAME"), "selkie");
            command.env(format!("GIT_{name}_EMAIL"), "selkie@example.org");
        }
        for (name, value) in variables {
            command.env(name, value);
        }
        for (name, _) in variables.iter().filter(|(_, value)| value.is_empty()) {
            command.env_remove(name);
        }
        Ok(command.output()?)
    }

    /// Fails if a text is in a file of the worktree or of Git, but for one file, or in the folder for temporary files.
    pub fn holds_nowhere(&self, text: &str) -> Result<(), Failed> {
        let all = self.git(&["cat-file", "--batch-all-objects", "--batch", "--unordered"])?;
        let left = fs::read_dir(self.beside("tmp"))?.count();
        if all.contains(text) || left > 0 {
            return Err(format!("a value is in an object of Git, or one of {left} files is left").into());
        }
        Ok(())
    }
}

/// Returns everything that a program said.
pub fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Fails unless a text has all of these, and none of those.
pub fn expect(text: &str, wanted: &[&str], unwanted: &[&str]) -> Result<(), Failed> {
    if let Some(missing) = wanted.iter().find(|part| !text.contains(**part)) {
        return Err(format!("{missing:?} is not in\n{text}").into());
    }
    if let Some(found) = unwanted.iter().find(|part| text.contains(**part)) {
        return Err(format!("{found:?} is in\n{text}").into());
    }
    Ok(())
}

/// Fails unless two texts are the same.
pub fn same(found: &str, wanted: &str) -> Result<(), Failed> {
    if found == wanted { Ok(()) } else { Err(format!("found\n{found}\nin place of\n{wanted}").into()) }
}

fn succeeded(program: &str, arguments: &[&str], output: &Output) -> Result<String, Failed> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {arguments:?}: {}", text_of(output)).into())
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sops-cli").join(name)
}

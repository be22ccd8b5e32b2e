//! A repository with the merge driver, and nothing of the user's.

use std::cell::RefCell;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Failed;

use crate::peer::output;

/// A repository. Plaintexts that are written down are beside it.
pub struct Lab {
    folder: tempfile::TempDir,
    /// The real sops, or the real kubeseal.
    pub peer: PathBuf,
    /// Everything that was printed.
    printed: RefCell<Vec<u8>>,
}

/// Who has a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// The user's keys are at hand.
    AtHand,
    /// They are not.
    Absent,
    /// Whoever asks for them is killed.
    Deadly,
}

impl Lab {
    /// Returns a repository with the driver for all files, and an empty commit.
    pub fn new(peer: PathBuf) -> Result<Self, Failed> {
        let lab = Self { folder: tempfile::tempdir()?, peer, printed: RefCell::default() };
        fs::create_dir(lab.top())?;
        fs::create_dir(lab.beside("bin"))?;
        let this = env::current_exe()?;
        let program = lab.program();
        fs::hard_link(&this, &program).or_else(|_| fs::copy(&this, &program).map(drop))?;
        let keys: String = [ALICE, BOB].iter().map(|(key, _)| format!("{key}\n")).collect();
        write_private(&lab.beside("keys.txt"), &keys)?;
        lab.git(&["init", "-q", "-b", "main"])?;
        lab.git(&["config", "merge.seal.name", "encrypted files"])?;
        lab.drive()?;
        lab.write(".gitattributes", "* merge=seal\n")?;
        lab.commit("start")?;
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

    /// The program under test.
    pub fn program(&self) -> PathBuf {
        self.beside("bin/kubectl-seal")
    }

    /// Tells Git of the driver.
    pub fn drive(&self) -> Result<(), Failed> {
        let driver = format!(
            "'{}' git merge-file --ancestor %O --ours %A --theirs %B --marker-size %L --path %P",
            self.program().display()
        );
        self.git(&["config", "merge.seal.driver", &driver])
    }

    /// Lets Git merge by lines, as in a clone without the driver.
    pub fn drive_by_lines(&self) -> Result<(), Failed> {
        // A name alone would have Git look for the command of the driver, and give the merge up.
        self.git(&["config", "--remove-section", "merge.seal"])
    }

    /// Writes a file of the worktree.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result<(), Failed> {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        Ok(fs::write(path, text)?)
    }

    /// Reads a file of the worktree.
    pub fn read(&self, path: &str) -> Result<String, Failed> {
        Ok(String::from_utf8_lossy(&fs::read(self.top().join(path))?).into_owned())
    }

    /// Stages everything, and commits it.
    pub fn commit(&self, message: &str) -> Result<(), Failed> {
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", message])
    }

    /// Encrypts a file with the real sops, for Alice.
    pub fn encrypt(&self, path: &str, text: &str) -> Result<(), Failed> {
        self.encrypt_for(path, text, &[ALICE.1], &[])
    }

    /// Encrypts a file with the real sops.
    pub fn encrypt_for(
        &self,
        path: &str,
        text: &str,
        for_whom: &[&str],
        options: &[&str],
    ) -> Result<(), Failed> {
        let encrypted = self.encrypted(path, text, for_whom, options)?;
        self.write(path, encrypted)
    }

    fn encrypted(
        &self,
        path: &str,
        text: &str,
        for_whom: &[&str],
        options: &[&str],
    ) -> Result<Vec<u8>, Failed> {
        let plain = self.beside("plain");
        fs::write(&plain, text)?;
        let mut command = self.command(&self.peer, Keys::Absent);
        command.args(["encrypt", "--age", &for_whom.join(","), "--filename-override", path]).args(options);
        output(command.arg(&plain))
    }

    /// Changes the plaintext of an encrypted file.
    pub fn edit(&self, path: &str, text: &str) -> Result<(), Failed> {
        let plain = self.beside("plain");
        fs::write(&plain, text)?;
        let mut command = self.command(self.program(), Keys::AtHand);
        command.env("EDITOR", format!("cp '{}'", plain.display()));
        output(command.args(["edit", path])).map(drop)
    }

    /// Returns what the program decrypts.
    pub fn decrypt(&self, path: &str) -> Result<String, Failed> {
        let plain = output(self.command(self.program(), Keys::AtHand).args(["decrypt", path]))?;
        Ok(String::from_utf8(plain)?)
    }

    /// Demands that a file opens and says what it should, to the real sops and to us.
    pub fn check(&self, path: &str, text: &str) -> Result<(), Failed> {
        let ours = self.decrypt(path)?;
        if ours != text {
            return Err(format!("{path} says\n{ours}--- in place of\n{text}").into());
        }
        let theirs = output(self.command(&self.peer, Keys::AtHand).args(["decrypt", path]))?;
        // As the real sops writes it, whatever it is written like here.
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let expected = self.beside(&format!("expected/{name}"));
        fs::create_dir_all(self.beside("expected"))?;
        fs::write(&expected, self.encrypted(path, text, &[ALICE.1], &[])?)?;
        let expected = output(self.command(&self.peer, Keys::AtHand).arg("decrypt").arg(&expected))?;
        let [theirs, expected] = [theirs, expected].map(|text| String::from_utf8_lossy(&text).into_owned());
        (theirs == expected)
            .then_some(())
            .ok_or_else(|| format!("sops says\n{theirs}--- in place of\n{expected}").into())
    }

    /// Runs Git, which has to succeed.
    pub fn git(&self, arguments: &[&str]) -> Result<(), Failed> {
        self.git_said(arguments).map(drop)
    }

    /// Runs Git, which has to succeed, and returns what it said.
    pub fn git_said(&self, arguments: &[&str]) -> Result<String, Failed> {
        let output = self.try_git(arguments, Keys::AtHand)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("git {arguments:?}: {}", all(&output)).into())
    }

    /// Runs Git, which has to fail, and returns all that was printed.
    pub fn git_fails(&self, arguments: &[&str], keys: Keys) -> Result<String, Failed> {
        let output = self.try_git(arguments, keys)?;
        if output.status.success() {
            return Err(format!("git {arguments:?} succeeded: {}", all(&output)).into());
        }
        Ok(all(&output))
    }

    /// Runs Git.
    pub fn try_git(&self, arguments: &[&str], keys: Keys) -> Result<Output, Failed> {
        self.run(self.command("git", keys).args(arguments))
    }

    /// Runs a command, and remembers what it prints.
    pub fn run(&self, command: &mut Command) -> Result<Output, Failed> {
        let output = command.output()?;
        let mut printed = self.printed.borrow_mut();
        printed.extend_from_slice(&output.stdout);
        printed.extend_from_slice(&output.stderr);
        Ok(output)
    }

    /// Runs `resolve`, and returns all that was printed.
    pub fn resolve(&self, arguments: &[&str]) -> Result<String, Failed> {
        let output = self.try_resolve(arguments)?;
        if output.status.success() {
            Ok(all(&output))
        } else {
            Err(format!("resolve {arguments:?}: {}", all(&output)).into())
        }
    }

    /// Runs `resolve`.
    pub fn try_resolve(&self, arguments: &[&str]) -> Result<Output, Failed> {
        self.run(self.command(self.program(), Keys::AtHand).arg("resolve").args(arguments))
    }

    /// Returns a command in the worktree, with nothing of the user's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, keys: Keys) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.top()).env_clear();
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", path).env("HOME", self.folder.path()).env("TMPDIR", self.folder.path());
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("EDITOR", "false")
            .env("GIT_EDITOR", "true")
            .env("SOPS_DISABLE_VERSION_CHECK", "true");
        for name in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{name}_NAME"), "selkie");
            command.env(format!("GIT_{name}_EMAIL"), "selkie@example.org");
        }
        match keys {
            Keys::AtHand => command.env("SOPS_AGE_KEY_FILE", self.beside("keys.txt")),
            Keys::Absent => &mut command,
            Keys::Deadly => command.env("SOPS_AGE_KEY_CMD", "sh -c 'kill -9 $PPID'"),
        };
        command
    }

    /// Demands that Git knows a file as unmerged, or as merged.
    pub fn check_unmerged(&self, path: &str, is_unmerged: bool) -> Result<(), Failed> {
        let said = self.git_said(&["ls-files", "-u", "--", path])?;
        if said.is_empty() != is_unmerged {
            return Ok(());
        }
        Err(format!("the index has of {path}: {said:?}").into())
    }

    /// Demands that nothing plain is anywhere, and that Git finds its objects whole.
    pub fn check_repository(&self) -> Result<(), Failed> {
        self.git(&["fsck", "--strict", "--full"])?;
        let objects = self
            .command("git", Keys::Absent)
            .args(["cat-file", "--batch-all-objects", "--batch"])
            .output()?;
        refuse_plain("an object of Git", &objects.stdout)?;
        refuse_plain("what was printed", &self.printed.borrow())?;
        let mut folders = vec![self.top()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    refuse_plain(&path.display().to_string(), &fs::read(&path)?)?;
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    if name.starts_with(".merge_file_") || name.ends_with(".selkie-tmp") {
                        return Err(format!("{name} was left behind").into());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns all that a command printed.
pub fn all(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// Demands that a text has a part.
pub fn has(text: &str, part: &str) -> Result<(), Failed> {
    text.contains(part).then_some(()).ok_or_else(|| format!("there is no {part:?} in\n{text}").into())
}

fn refuse_plain(what: &str, bytes: &[u8]) -> Result<(), Failed> {
    let is_in = |plain: &[u8]| bytes.windows(plain.len()).any(|window| window == plain);
    if SECRETS.iter().any(|secret| is_in(secret.as_bytes())) {
        return Err(format!("a value is in {what}").into());
    }
    Ok(())
}

fn write_private(path: &Path, text: &str) -> Result<(), Failed> {
    use std::os::unix::fs::PermissionsExt;

    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

/// How every secret value of the tests starts, and that in base64.
const SECRETS: [&str; 2] = ["hidden-", "aGlkZGVu"];

/// A key of the user, and its recipient.
pub const ALICE: (&str, &str) = (
    "AGE-SECRET-KEY-1XQFNRA25V82X52SK40TJMAZ83F3DN88R5P3S0VTWNUEHA2YV7H8QUJFDNP",
    "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8",
);

/// Another one.
pub const BOB: (&str, &str) = (
    "AGE-SECRET-KEY-1L7Q72M7GSRYCA83KDN8AP33ELJSE20ASH0WFWL97Z24T56WUEJ9SCAEZT8",
    "age19arxmmud7trhpn3yy0gs964hjszeya8lhpkj60ugy5cjjfqhspcqmthp9d",
);

/// The recipient of a key that nobody here has.
pub const STRANGER: &str = "age18ud05hl9gz67k5uqrq8qey8x5rwqk5wh6904ujr0v3ak5x6mddwq8athje";

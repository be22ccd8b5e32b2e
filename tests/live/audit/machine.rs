//! A machine with an audit log: programs see an `/etc` of their own, in which the test says what is logged where.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::keyservice::{Place, text};
use crate::peer::Peer;

/// A machine.
pub struct Machine {
    /// Its user, with programs and files.
    pub place: Place,
    etc: TempDir,
}

impl Machine {
    pub fn new() -> Result<Self, Failed> {
        let machine = Self { place: Place::new()?, etc: tempfile::tempdir()? };
        for name in ["passwd", "group", "nsswitch.conf", "hosts", "ld.so.cache"] {
            // Not every system has all of them.
            let _ = fs::copy(Path::new("/etc").join(name), machine.etc.path().join(name));
        }
        symlink("/proc/self/mounts", machine.etc.path().join("mtab"))?;
        for folder in ["sops", "alternatives"] {
            fs::create_dir(machine.etc.path().join(folder))?;
        }
        for folder in ["log", "work/tmp"] {
            fs::create_dir(machine.place.work("..").join(folder))?;
        }
        Ok(machine)
    }

    /// Turns the log on, given as YAML in flow style.
    pub fn log_to(&self, backends: &str) -> Result<(), Failed> {
        Ok(fs::write(self.etc.path().join("sops/audit.yaml"), format!("backends: {backends}\n"))?)
    }

    /// Turns on a log in a file, and returns the file.
    pub fn log_to_file(&self) -> Result<PathBuf, Failed> {
        let path = self.log_folder().join("audit.jsonl");
        self.log_to(&format!("{{file: [{{path: {}}}]}}", path.display()))?;
        Ok(path)
    }

    /// Turns the log off.
    pub fn log_nothing(&self) -> Result<(), Failed> {
        Ok(fs::remove_file(self.etc.path().join("sops/audit.yaml"))?)
    }

    /// Returns a folder for logs, outside of where commands run.
    pub fn log_folder(&self) -> PathBuf {
        self.place.work("").parent().map(|folder| folder.join("log")).unwrap_or_default()
    }

    /// Returns a command of the machine.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command, Failed> {
        self.command_after("", program)
    }

    /// Returns a command that runs when a line of shell has been run, which may mount what it likes: nobody else
    /// sees that.
    pub fn command_after(&self, line: &str, program: impl AsRef<std::ffi::OsStr>) -> Result<Command, Failed> {
        let unshare = Peer::Unshare.path().ok_or("there is no unshare")?;
        let program = self.place.command(program).get_program().to_owned();
        let mut command = self.place.command(unshare);
        let script = format!("mount --bind \"$0\" /etc || exit 99\n{line}\nexec \"$@\"");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", &script]);
        command.arg(self.etc.path()).arg(program).env("TMPDIR", self.place.work("tmp"));
        Ok(command)
    }

    /// Runs a program that must succeed, and returns what it prints.
    pub fn succeeds<const N: usize>(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        words: [&str; N],
    ) -> Result<String, Failed> {
        self.place.succeeds(self.command(program)?.args(words))
    }

    /// Makes sure that a program hands out and changes nothing, and returns what it says.
    pub fn refuses(&self, command: &mut Command) -> Result<String, Failed> {
        let before = self.files()?;
        let output = command.output()?;
        let error = text(&output.stderr);
        let is_kept = self.files()? == before;
        // Which keys would change is no secret.
        let is_silent =
            output.stdout.is_empty() || output.stdout.starts_with(b"The following changes will be made");
        if output.status.code() != Some(1) || !is_silent || !is_kept {
            let printed = text(&output.stdout);
            let fate = if is_kept { "same files" } else { "OTHER FILES" };
            return Err(format!("{command:?}: {}, {fate}: {printed:?} {error}", output.status).into());
        }
        Ok(error)
    }

    /// Returns all files of the user, with what they hold.
    pub fn files(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failed> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.place.work("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() && entry.file_name() != ".git" {
                    folders.push(entry.path());
                } else if entry.file_type()?.is_file() {
                    files.insert(entry.path(), fs::read(entry.path())?);
                }
            }
        }
        Ok(files)
    }
}

/// Returns a test that runs if all peers are there, and programs may have an `/etc` of their own.
pub fn test(
    name: &str,
    peers: &[Peer],
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> libtest_mimic::Trial {
    let is_absent = peers.iter().chain([&Peer::Unshare]).any(|peer| peer.path().is_none());
    libtest_mimic::Trial::test(format!("live::audit::{name}"), run).with_ignored_flag(is_absent)
}

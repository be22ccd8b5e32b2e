//! A place with keys of OpenPGP: a home of gpg, and programs that run with it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::peer::{output, piped};

/// A place with keys of its own; its agent ends with it.
pub struct Home {
    gpg: PathBuf,
    folder: TempDir,
}

/// A key of a home.
#[derive(Clone, Debug)]
pub struct Key {
    /// The fingerprint.
    pub fingerprint: String,
    /// The fingerprint of the subkey that encrypts.
    pub subkey: String,
}

/// A program that works with documents.
#[derive(Clone, Copy)]
pub enum Program<'a> {
    /// `kubectl-seal`, ours.
    KubectlSeal,
    /// sops, the real one.
    Real(&'a Path),
    /// `sops`, ours.
    Sops,
}

impl Home {
    /// Returns a new place without keys.
    pub fn new(gpg: &Path) -> Result<Self, Failed> {
        // The path of a socket is short, and so must be that of the folder.
        let folder = tempfile::Builder::new().prefix("pgp").tempdir_in("/tmp")?;
        fs::DirBuilder::new().mode(0o700).create(folder.path().join("g"))?;
        fs::create_dir(folder.path().join("bin"))?;
        for name in ["sops", "kubectl-seal"] {
            symlink(std::env::current_exe()?, folder.path().join("bin").join(name))?;
        }
        Ok(Self { gpg: gpg.to_owned(), folder })
    }

    /// Makes a key without a passphrase: `rsa2048`, or `ed25519` with a subkey of `cv25519`.
    pub fn generate(&self, kind: &str, name: &str) -> Result<Key, Failed> {
        self.generate_with(kind, name, "", "never")
    }

    /// Makes a key without a passphrase in the past.
    pub fn generate_old(&self, kind: &str, name: &str) -> Result<Key, Failed> {
        self.write("g/gpg.conf", "faked-system-time 20240102T030405\n")?;
        let key = self.generate(kind, name);
        std::fs::remove_file(self.path("g/gpg.conf"))?;
        key
    }

    /// Makes a key.
    pub fn generate_with(
        &self,
        kind: &str,
        name: &str,
        passphrase: &str,
        expire: &str,
    ) -> Result<Key, Failed> {
        let address = format!("{name}@example.com");
        let quiet = ["--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase];
        output(self.gpg(quiet).args(["--quick-generate-key", &address, kind, "sign", expire]))?;
        let fingerprint = self.fingerprints(&address)?.remove(0);
        let of_subkey = if kind == "ed25519" { "cv25519" } else { kind };
        output(self.gpg(quiet).args(["--quick-add-key", &fingerprint, of_subkey, "encrypt", expire]))?;
        let subkey = self.fingerprints(&address)?.pop().ok_or("there is a subkey")?;
        Ok(Key { fingerprint, subkey })
    }

    /// Exports a key into a file: `--export` or `--export-secret-keys`.
    pub fn export(&self, how: &str, key: &Key, name: &str) -> Result<PathBuf, Failed> {
        let quiet = ["--batch", "--yes", "--armor", "--output", name];
        output(self.gpg(quiet).args([how, &key.fingerprint]))?;
        Ok(self.path(name))
    }

    /// Returns gpg with some arguments.
    pub fn gpg<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.gpg);
        command.current_dir(self.folder.path()).arg("--quiet").args(arguments);
        command.env("GNUPGHOME", self.gnupg()).env_remove("GPG_TTY").stdin(Stdio::null());
        command
    }

    /// Encrypts with gpg.
    pub fn encrypt(&self, arguments: &[&str], secret: &[u8]) -> Result<String, Failed> {
        let standing = ["--batch", "--trust-model", "always", "--armor", "--encrypt"];
        let message = piped(self.gpg(standing).args(arguments).stdin(Stdio::piped()), secret)?;
        Ok(String::from_utf8(message)?)
    }

    /// Runs a program in this place. Variables with an empty value are unset.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: Program<'_>,
        variables: &[(&str, &str)],
        arguments: &[A],
    ) -> Result<Output, Failed> {
        let bin = self.path("bin");
        let mut command = Command::new(match program {
            Program::KubectlSeal => bin.join("kubectl-seal"),
            Program::Real(path) => path.to_owned(),
            Program::Sops => bin.join("sops"),
        });
        let gpg = self.gpg.parent().ok_or("gpg is in a folder")?;
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", gpg.display()));
        command.env("HOME", self.folder.path()).env("GNUPGHOME", self.gnupg());
        command.env("SOPS_DISABLE_VERSION_CHECK", "true");
        for (name, value) in variables {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        Ok(command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null()).output()?)
    }

    /// Runs a program that is to succeed, and returns its output.
    pub fn done<A: AsRef<OsStr>>(
        &self,
        program: Program<'_>,
        variables: &[(&str, &str)],
        arguments: &[A],
    ) -> Result<Vec<u8>, Failed> {
        let output = self.run(program, variables, arguments)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
        Err(format!("{shown:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
            .into())
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, Failed> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Writes a program, by another one: while this process has it open, it could not be run.
    pub fn write_script(&self, name: &str, content: &str) -> Result<PathBuf, Failed> {
        let path = self.path(name);
        piped(Command::new("/bin/sh").args(["-c", "cat > \"$1\"", "sh"]).arg(&path), content.as_bytes())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// Returns the path of a file in this place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the home of gpg.
    pub fn gnupg(&self) -> PathBuf {
        self.path("g")
    }

    fn fingerprints(&self, address: &str) -> Result<Vec<String>, Failed> {
        let listed = output(self.gpg(["--with-colons", "--list-keys", address]).args(["--fingerprint"; 2]))?;
        let listed = String::from_utf8(listed)?;
        let of_line = |line: &str| line.strip_prefix("fpr:")?.split(':').nth(8).map(str::to_owned);
        Ok(listed.lines().filter_map(of_line).collect())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // By its own socket, so that no other agent is meant. One that never started is no failure.
        let gpgconf = self.gpg.with_file_name("gpgconf");
        let _ = Command::new(gpgconf).args(["--kill", "all"]).env("GNUPGHOME", self.gnupg()).status();
    }
}

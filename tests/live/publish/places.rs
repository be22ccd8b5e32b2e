//! Who publishes, and the servers that it is published to.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::peer::{Peer, output};

/// A folder with documents, and whoever publishes them.
pub struct Work {
    folder: TempDir,
    sops: PathBuf,
    /// A recipient whose identity is at hand.
    pub recipient: String,
    /// Another one.
    pub other: String,
    /// One whose identity is not at hand.
    pub stranger: String,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Real sops.
    Sops,
    /// This program, called `sops`.
    Face,
    /// This program, under its own name.
    Own,
}

impl Side {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sops, Self::Face, Self::Own];

    /// Returns a name for what belongs to this side.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sops => "sops",
            Self::Face => "face",
            Self::Own => "own",
        }
    }
}

impl Work {
    /// Returns an empty folder.
    pub fn new(sops: &Path) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sops-cli");
        for name in ["home", "work", "bin"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let identities = folder.path().join("home/identities.txt");
        fs::copy(cases.join("identities.txt"), &identities)?;
        fs::set_permissions(&identities, fs::Permissions::from_mode(0o600))?;
        for name in ["sops", "kubectl-seal"] {
            symlink(std::env::current_exe()?, folder.path().join("bin").join(name))?;
        }
        let recipients = fs::read_to_string(cases.join("recipients.txt"))?;
        let mut recipients = recipients.lines().map(str::to_owned);
        let mut next = || recipients.next().ok_or("a recipient");
        let (recipient, other, stranger) = (next()?, next()?, next()?);
        Ok(Self { folder, sops: sops.to_owned(), recipient, other, stranger })
    }

    /// Returns the path of a file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Makes encrypted documents, as real sops does.
    pub fn encrypt(&self, documents: &[(&str, &str)]) -> Result<(), Failed> {
        self.encrypt_for(&self.recipient, documents)
    }

    /// Makes documents that are encrypted for somebody, as real sops does.
    pub fn encrypt_for(&self, recipient: &str, documents: &[(&str, &str)]) -> Result<(), Failed> {
        for (name, text) in documents {
            let path = self.path(name);
            fs::create_dir_all(path.parent().ok_or("a folder")?)?;
            fs::write(&path, text)?;
            let mut command = self.command(&self.sops);
            output(command.args(["encrypt", "-i", "--age", recipient, name]))?;
        }
        Ok(())
    }

    /// Returns what real sops decrypts.
    pub fn decrypt(&self, name: &str) -> Result<Vec<u8>, Failed> {
        output(self.command(&self.sops).args(["decrypt", name]))
    }

    /// Returns the command that publishes by destination rules, without a question.
    pub fn publish(&self, side: Side, rules: &str, paths: &[&str]) -> Result<Command, Failed> {
        let config = format!("{}.config", side.name());
        fs::write(self.path(&config), format!("destination_rules:\n{rules}"))?;
        let program = match side {
            Side::Sops => self.sops.clone(),
            Side::Face => self.folder.path().join("bin/sops"),
            Side::Own => self.folder.path().join("bin/kubectl-seal"),
        };
        let mut command = self.command(&program);
        command.arg("--config").arg(&config).args(["publish", "--yes"]);
        if side != Side::Own && paths.iter().any(|path| self.path(path).is_dir()) {
            command.arg("--recursive");
        }
        command.args(paths);
        Ok(command)
    }

    /// Runs a command that is to succeed.
    pub fn succeed(&self, command: &mut Command) -> Result<(), Failed> {
        output(command).map(drop)
    }

    /// Runs a command that is to fail with a code, and to say something.
    pub fn fail(&self, command: &mut Command, code: i32, said: &str) -> Result<(), Failed> {
        let Output { status, stderr, .. } = command.output()?;
        let stderr = String::from_utf8_lossy(&stderr);
        if status.code() == Some(code) && stderr.contains(said) {
            return Ok(());
        }
        Err(format!("{command:?} ended with {status} in place of {code} and {said:?}: {stderr}").into())
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let home = self.folder.path().join("home");
        command.env_clear().current_dir(self.path("")).stdin(Stdio::null());
        command.env("HOME", &home).env("SOPS_AGE_KEY_FILE", home.join("identities.txt"));
        command.env("SOPS_DISABLE_VERSION_CHECK", "true");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("AWS_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }
}

/// Google Cloud Storage, as the emulator answers.
pub struct Gcs {
    folder: PathBuf,
    port: u16,
    child: Child,
    _stdin: ChildStdin,
}

impl Gcs {
    /// Starts it with buckets, some of which take a token.
    pub fn start(work: &Work, buckets: &[&str]) -> Result<Self, Failed> {
        let folder = work.folder.path().join("gcs");
        let emulator = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/emulators/gcs.py");
        let mut command = Command::new("python3");
        command.arg(emulator).arg(&folder).args(buckets).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("an input")?;
        let mut port = String::new();
        BufReader::new(child.stdout.take().ok_or("an output")?).read_line(&mut port)?;
        Ok(Self { folder, port: port.trim().parse()?, child, _stdin: stdin })
    }

    /// Returns the value of `STORAGE_EMULATOR_HOST`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns an object with its type.
    pub fn object(&self, bucket: &str, name: &str) -> Result<(Vec<u8>, String), Failed> {
        let path = self.folder.join(bucket).join(name);
        let content_type = fs::read_to_string(format!("{}.type", path.display()))?;
        Ok((fs::read(path)?, content_type))
    }
}

impl Drop for Gcs {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns whether there is what runs the emulator.
pub fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A server of OpenBao that keeps everything in memory.
pub struct Openbao {
    program: PathBuf,
    home: PathBuf,
    port: u16,
    child: Child,
}

impl Openbao {
    /// Whoever has it may do everything.
    pub const TOKEN: &str = "root-of-the-tests";

    /// Starts a server.
    pub fn start(work: &Work) -> Result<Self, Failed> {
        let program = Peer::Openbao.path().ok_or("OpenBao is not there")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let home = work.folder.path().join("home");
        let mut command = Command::new(&program);
        command.env_clear().env("HOME", &home).args(["server", "-dev", "-dev-no-store-token"]);
        command.arg(format!("-dev-root-token-id={}", Self::TOKEN));
        command.arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { program, home, port, child };
        let until = Instant::now() + Duration::from_secs(60);
        while server.run(&["kv", "list", "secret"]).is_err_and(|error| is_not_up(&error)) {
            if Instant::now() > until {
                return Err("OpenBao does not answer".into());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// Returns the server's address.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a command of an administrator.
    pub fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, Failed> {
        output(self.command().args(arguments))
    }

    /// Returns what is kept under a name.
    pub fn read(&self, mount: &str, name: &str) -> Result<Json, Failed> {
        let read = self.run(&["kv", "get", "-format=json", &format!("-mount={mount}"), name])?;
        Ok(serde_json::from_slice(&read)?)
    }

    /// Returns the values that are kept under a name, whatever the version of the store.
    pub fn values(&self, mount: &str, name: &str) -> Result<Json, Failed> {
        let read = self.read(mount, name)?;
        Ok(if mount.ends_with('2') { read["data"]["data"].clone() } else { read["data"].clone() })
    }

    /// Writes a policy.
    pub fn policy(&self, name: &str, text: &str) -> Result<(), Failed> {
        crate::peer::piped(self.command().args(["policy", "write", name, "-"]), text.as_bytes()).map(drop)
    }

    /// Returns a token with a policy.
    pub fn token(&self, policy: &str) -> Result<String, Failed> {
        let created = self.run(&["token", "create", "-format=json", &format!("-policy={policy}")])?;
        let created: Json = serde_json::from_slice(&created)?;
        Ok(created["auth"]["client_token"].as_str().ok_or("a token")?.to_owned())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("BAO_ADDR", self.address())
            .env("BAO_TOKEN", Self::TOKEN);
        command
    }
}

impl Drop for Openbao {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns whether a command failed since nobody answers.
fn is_not_up(error: &Failed) -> bool {
    error
        .message()
        .is_some_and(|message| message.contains("connection refused") || message.contains("sealed"))
}

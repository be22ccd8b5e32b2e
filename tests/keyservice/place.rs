//! A folder with programs, identities and files, and services that run in it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use std::{env, fs, thread};

use libtest_mimic::Failed;
use tempfile::TempDir;

/// A folder with programs, identities and files. Commands run in it as somebody who has the identities.
pub struct Place {
    folder: std::sync::Arc<TempDir>,
    identities: PathBuf,
    pub recipient: String,
    /// Another recipient whose identity is there.
    pub other: String,
}

impl Place {
    pub fn new() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        for name in ["bin", "home", "work", "work/nobody"] {
            fs::create_dir(folder.path().join(name))?;
        }
        for name in ["kubectl-seal", "sops"] {
            symlink(env::current_exe()?, folder.path().join("bin").join(name))?;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sops-cli");
        let identities = folder.path().join("home/identities.txt");
        fs::copy(source.join("identities.txt"), &identities)?;
        fs::set_permissions(&identities, fs::Permissions::from_mode(0o600))?;
        let recipients = fs::read_to_string(source.join("recipients.txt"))?;
        let mut recipients = recipients.lines().map(str::to_owned);
        let mut recipient = || recipients.next().ok_or("a recipient");
        let place = Self { recipient: recipient()?, other: recipient()?, identities, folder: folder.into() };
        place.write(".sops.yaml", &format!("creation_rules:\n  - age: {}\n", place.recipient))?;
        Ok(place)
    }

    /// Returns the same folder for somebody who has no identities.
    pub fn stranger(&self) -> Self {
        Self {
            folder: self.folder.clone(),
            identities: self.folder.path().join("home/none.txt"),
            recipient: self.recipient.clone(),
            other: self.other.clone(),
        }
    }

    pub fn work(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> Result<(), Failed> {
        let path = self.work(name);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        Ok(fs::write(path, text)?)
    }

    pub fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.work(name))?)
    }

    /// Returns a command of the program under one of its names, or of another program by its path.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let program = self.folder.path().join("bin").join(program.as_ref());
        let mut command = Command::new(program);
        command.current_dir(self.work("")).env_clear().stdin(Stdio::null());
        command.env("HOME", self.folder.path().join("home/nobody")).env("PATH", "/usr/bin:/bin");
        command.env("SOPS_DISABLE_VERSION_CHECK", "true");
        if self.identities.exists() {
            command.env("SOPS_AGE_KEY_FILE", &self.identities);
        }
        command
    }

    /// Returns the same for somebody who may do nothing, as far as this user may become one.
    pub fn as_nobody(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.command("/usr/bin/setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(self.folder.path().join("bin").join(program)).args(arguments);
        command.env_remove("SOPS_AGE_KEY_FILE");
        // The folders of others are closed to them.
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
        let _ = open(self.folder.path());
        command
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub fn succeeds(&self, command: &mut Command) -> Result<String, Failed> {
        let output = command.output()?;
        if !output.status.success() {
            let errors = text(&output.stderr);
            return Err(format!("{command:?} ended with {}: {errors}", output.status).into());
        }
        Ok(text(&output.stdout))
    }

    /// Starts a key service, and waits until it listens.
    pub fn serve(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Service, Failed> {
        Service::start(self.command(program).args(arguments))
    }

    /// Starts a key service by a command of its own, and waits until it listens.
    pub fn serve_command(&self, command: &mut Command) -> Result<Service, Failed> {
        Service::start(command)
    }

    /// Starts a key service that cannot choose a port by itself, with its address as the last argument. If somebody
    /// takes the port meanwhile, it starts at another one.
    pub fn serve_at_free_port(&self, program: &Path, arguments: &[&str]) -> Result<Service, Failed> {
        let mut failed = None;
        for _ in 0..5 {
            let address = format!("127.0.0.1:{}", free_port()?);
            match self.serve(program, &[arguments, &[&address]].concat()) {
                Ok(service) => return Ok(service),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| "it was not started".into()))
    }

    /// Starts a key service as somebody who may do nothing but has the identities.
    pub fn serve_as_nobody(&self, arguments: &[&str]) -> Result<Service, Failed> {
        let mut command = self.as_nobody("kubectl-seal", arguments);
        fs::set_permissions(self.work("nobody"), fs::Permissions::from_mode(0o777))?;
        command.env(
            "SOPS_AGE_KEY",
            fs::read_to_string(&self.identities)?.replace("# Made for tests; protects nothing.\n", ""),
        );
        Service::start(&mut command)
    }
}

/// A key service that runs until it is dropped.
pub struct Service {
    child: Child,
    /// Where it listens.
    pub address: String,
    lines: Receiver<String>,
    said: String,
}

impl Service {
    /// Starts one, and waits until it listens.
    pub fn start(command: &mut Command) -> Result<Self, Failed> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().ok_or("it has a stream for errors")?);
        let to_lines = sender.clone();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| to_lines.send(line)));
        let mut stdout = child.stdout.take().ok_or("it has an output")?;
        thread::spawn(move || {
            let mut printed = Vec::new();
            let _ = stdout.read_to_end(&mut printed);
            sender.send(text(&printed))
        });
        let mut service = Self { child, address: String::new(), lines, said: String::new() };
        while service.address.is_empty() {
            let line = service.lines.recv_timeout(Duration::from_secs(60));
            let line = line.map_err(|_| format!("the service does not listen: {}", service.said))?;
            // `listening at ADDRESS; …` or `… msg="Listening on ADDRESS"`.
            let address = line.split_once("istening at ").or_else(|| line.split_once("Listening on "));
            let end = |letter: char| letter == ';' || letter == '"';
            service.address =
                address.map_or("", |(_, rest)| rest.split(end).next().unwrap_or_default()).to_owned();
            service.said.push_str(&format!("{line}\n"));
        }
        Ok(service)
    }

    /// Types something.
    pub fn say(&mut self, text: &str) -> Result<(), Failed> {
        Ok(self.child.stdin.as_mut().ok_or("it has an input")?.write_all(text.as_bytes())?)
    }

    /// Types nothing any more.
    pub fn hush(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Ends it as a user would, and returns what it said.
    pub fn end(mut self) -> Result<String, Failed> {
        let id = self.child.id().to_string();
        Command::new("/bin/kill").args(["-TERM", &id]).status()?;
        let status = self.child.wait()?;
        while let Ok(line) = self.lines.recv() {
            self.said.push_str(&format!("{line}\n"));
        }
        if !status.success() {
            return Err(format!("the service ended with {status}: {}", self.said).into());
        }
        Ok(std::mem::take(&mut self.said))
    }

    /// Ends it so that it can do nothing about it.
    pub fn kill(mut self) -> Result<(), Failed> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a port that nobody listened at a moment ago.
pub fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! Folders in which programs work with keys of a server, and a server that is after tokens.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use libtest_mimic::Failed;
use tempfile::TempDir;

use super::PLAIN;
use super::server::Server;

/// Folders for a test, and the programs in them.
pub struct Place {
    folder: TempDir,
    address: String,
    authority: PathBuf,
}

/// How a program ended.
pub struct Ended(Output);

impl Place {
    pub fn new(server: &Server) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        for name in ["work", "home", "bin"] {
            fs::create_dir(folder.path().join(name))?;
        }
        for name in ["kubectl-seal", "sops"] {
            symlink(env::current_exe()?, folder.path().join("bin").join(name))?;
        }
        Ok(Self { folder, address: server.address.clone(), authority: server.authority.clone() })
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.path().join("bin").join(name)
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Encrypts a file for a key of the server.
    pub fn encrypt(&self, server: &Server, engine: &str, name: &str) -> Result<(), Failed> {
        self.write("a.yaml", PLAIN)?;
        self.seal(["encrypt", "-i", "--hc-vault-transit", &server.key(engine, name), "a.yaml"])?.succeeds()
    }

    /// Runs our command; nothing but its arguments and configurations names the server.
    pub fn seal<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ended, Failed> {
        self.with(&self.program("kubectl-seal"), arguments, &[("VAULT_ADDR", "")])
    }

    /// Runs our command; the server is the user's own.
    pub fn seal_at_home<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ended, Failed> {
        self.run(&self.program("kubectl-seal"), arguments)
    }

    /// Runs our sops.
    pub fn sops<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ended, Failed> {
        self.run(&self.program("sops"), arguments)
    }

    pub fn run<'a>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Ended, Failed> {
        self.with(program, arguments, &[])
    }

    /// Runs a program as an administrator, with other variables.
    pub fn with<'a>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
        variables: &[(&str, &str)],
    ) -> Result<Ended, Failed> {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home()).env("SOPS_DISABLE_VERSION_CHECK", "true");
        command
            .env("VAULT_TOKEN", "root")
            .env("VAULT_CACERT", &self.authority)
            .env("VAULT_ADDR", &self.address);
        command.envs(variables.iter().copied()).current_dir(self.folder.path().join("work"));
        Ok(Ended(command.args(arguments).output()?))
    }

    pub fn write(&self, name: &str, text: &str) -> Result<(), Failed> {
        Ok(fs::write(self.folder.path().join("work").join(name), text)?)
    }

    pub fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.folder.path().join("work").join(name))?)
    }

    pub fn holds(&self, name: &str, text: &str) -> Result<(), Failed> {
        if self.read(name)? == text { Ok(()) } else { Err(format!("{name} was changed").into()) }
    }
}

impl Ended {
    pub fn succeeds(&self) -> Result<(), Failed> {
        if self.0.status.success() { Ok(()) } else { Err(self.describe()) }
    }

    pub fn prints(&self, text: &str) -> Result<(), Failed> {
        let is_printed = self.0.status.success() && self.0.stdout == text.as_bytes();
        if is_printed { Ok(()) } else { Err(self.describe()) }
    }

    /// Makes sure that it failed, and said all this.
    pub fn fails(&self, texts: &[&str]) -> Result<(), Failed> {
        let said = self.stderr();
        let is_as_expected = !self.0.status.success() && texts.iter().all(|text| said.contains(text));
        if is_as_expected {
            Ok(())
        } else {
            Err(format!("{texts:?}: {}", self.describe().message().unwrap_or("")).into())
        }
    }

    /// Returns what it printed.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Returns what it said.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub fn describe(&self) -> Failed {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        format!("{}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", self.0.status).into()
    }
}

/// A server that writes down what it is sent.
pub struct Thief {
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Thief {
    pub fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).unwrap_or_default();
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                log.lock().expect("no panic").push(text);
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nthanks");
            }
        });
        Ok(Self { address, requests })
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

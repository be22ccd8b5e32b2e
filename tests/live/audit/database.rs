//! A Postgres of a test: on the loopback device, with TLS, and ended with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::keyservice::free_port;
use crate::peer::{Peer, output, piped};

/// A database server with the table of sops.
pub struct Database {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Database {
    pub fn start() -> Result<Self, Failed> {
        let mut this = Self { folder: tempfile::tempdir()?, port: free_port()?, server: None };
        fs::write(this.path("password"), ADMIN)?;
        make_certificates(this.folder.path())?;
        own(this.folder.path())?;
        output(
            this.command("initdb")
                .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
                .args([
                    "--username=admin",
                    &format!("--pwfile={}", this.path("password").display()),
                    &format!("--pgdata={}", this.path("data").display()),
                ]),
        )?;
        this.resume()?;
        this.query(SCHEMA)?;
        Ok(this)
    }

    /// Starts the server, again.
    pub fn resume(&mut self) -> Result<(), Failed> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.path("data")).args(["-p", &self.port.to_string(), "-F"]);
        let file = |name| self.path(name).display().to_string();
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("server.crt")),
            format!("ssl_key_file={}", file("server.key")),
        ] {
            command.args(["-c", &setting]);
        }
        let log = fs::File::create(self.path("log"))?;
        self.server = Some(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        let begin = Instant::now();
        while self.query("SELECT 1").is_err() {
            if begin.elapsed() > Duration::from_secs(60) {
                return Err(format!(
                    "the database does not answer: {}",
                    fs::read_to_string(self.path("log"))?
                )
                .into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends the server, at once.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It ends its children, as it could not if it were killed.
            let _ = Command::new("/bin/kill").args(["-QUIT", &server.id().to_string()]).status();
            let _ = server.wait();
        }
    }

    /// Returns how to connect as the user of sops, in words, without how to do TLS.
    pub fn words(&self, host: &str) -> String {
        format!("host={host} port={} dbname=postgres user=sops password={PASSWORD}", self.port)
    }

    /// Returns the configuration of an audit log in the database.
    pub fn log(&self, settings: &str) -> String {
        let words = self.words("localhost");
        format!("{{postgres: [{{connection_string: \"{words} {settings}\"}}]}}")
    }

    /// Runs statements as an administrator, and returns the rows.
    pub fn query(&self, statements: &str) -> Result<String, Failed> {
        let mut psql = self.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        psql.arg(format!("host=127.0.0.1 port={} dbname=postgres user=admin password={ADMIN}", self.port));
        Ok(String::from_utf8(piped(&mut psql, statements.as_bytes())?)?)
    }

    /// Returns the events since the last call: action, user and file.
    pub fn events(&self) -> Result<Vec<[String; 3]>, Failed> {
        let rows =
            self.query("SELECT action, username, file FROM audit_event ORDER BY id; TRUNCATE audit_event;")?;
        let mut events = Vec::new();
        for row in rows.lines() {
            let fields: Vec<_> = row.split('|').map(str::to_owned).collect();
            events.push(fields.try_into().map_err(|_| format!("no event: {row}"))?);
        }
        Ok(events)
    }

    /// Returns where a file of the server is, such as `ca.crt`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a command of Postgres, which refuses to be root.
    fn command(&self, name: &str) -> Command {
        let program = Peer::Postgres.path().unwrap_or_default().join(name);
        let mut command = if nix_is_root() {
            let mut command = Command::new("/usr/bin/setpriv");
            command
                .args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop();
    }
}

fn nix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

/// Gives files to the one that Postgres runs as.
fn own(folder: &Path) -> Result<(), Failed> {
    if nix_is_root() {
        std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY))?;
        for entry in fs::read_dir(folder)? {
            std::os::unix::fs::chown(entry?.path(), Some(NOBODY), Some(NOBODY))?;
        }
    }
    Ok(())
}

/// Makes an authority, another one, and a certificate of the first for `localhost`; and one that signs itself.
fn make_certificates(folder: &Path) -> Result<(), Failed> {
    let openssl = || {
        let mut command = Command::new(Peer::Openssl.path().unwrap_or_default());
        command.current_dir(folder);
        command
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    for (name, subject) in
        [("ca", "/CN=authority"), ("other", "/CN=another authority"), ("alone", "/CN=localhost")]
    {
        let files = [format!("{name}.key"), format!("{name}.crt")];
        output(openssl().args(["req", "-x509"]).args(key).args([
            "-subj",
            subject,
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &files[0],
            "-out",
            &files[1],
        ]))?;
    }
    output(openssl().args(["req", "-x509", "-CA", "ca.crt", "-CAkey", "ca.key"]).args(key).args([
        "-subj",
        "/CN=database",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "server.key",
        "-out",
        "server.crt",
    ]))?;
    Ok(())
}

/// The password of the user of sops: nobody is ever told.
pub const PASSWORD: &str = "hush-7c1f";
const ADMIN: &str = "admin-3d2a";
/// Who owns nothing on this machine, but the database.
const NOBODY: u32 = 65534;
/// As sops has it, but for the password.
const SCHEMA: &str = "
CREATE TABLE audit_event (
  id SERIAL PRIMARY KEY,
  timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  action TEXT,
  username TEXT,
  file TEXT
);
CREATE ROLE sops WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN PASSWORD 'hush-7c1f';
GRANT INSERT ON audit_event TO sops;
GRANT USAGE ON audit_event_id_seq TO sops;
";

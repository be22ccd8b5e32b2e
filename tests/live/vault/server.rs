//! A server of OpenBao that the live tests of a run share: in memory, with TLS, on a free port of this machine.
//!
//! It lasts no longer than this process, however that ends: the shell that holds it reads from a pipe, and the kernel
//! closes the other end.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::peer::{Peer, output};

/// A server with transit engines at `transit` and `a/b/c`, and stores of both versions at `kv1` and `kv2`; the
/// namespace `team` has a transit engine as well.
pub struct Server {
    /// Its address.
    pub address: String,
    /// The certificate of the authority that it has its own from.
    pub authority: PathBuf,
    /// A proxy in front of it, without TLS: it adds a token to requests that have none.
    pub proxy: String,
    /// The socket of the same proxy.
    pub socket: String,
    folder: TempDir,
    processes: Mutex<Vec<Child>>,
}

/// Returns the server of this run.
pub fn shared() -> Result<&'static Server, Failed> {
    // It cannot choose a port by itself and say which, and somebody may take the one that was free a moment ago.
    let start = || {
        let started = Server::start().or_else(|_| Server::start()).or_else(|_| Server::start());
        started.map_err(|failed| failed.message().unwrap_or_default().to_owned())
    };
    SHARED.get_or_init(start).as_ref().map_err(|message| format!("there is no OpenBao: {message}").into())
}

/// Ends the server, if one was started.
pub fn end() {
    if let Some(Ok(server)) = SHARED.get() {
        for process in server.processes.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            drop(process.stdin.take());
            // It ends in any case, and there is nobody left to tell how.
            let _ = process.wait();
        }
    }
}

impl Server {
    fn start() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let (listener, front) = (free_address()?, free_address()?);
        let certs = folder.path().join("certs");
        fs::create_dir(&certs)?;
        let cert_folder = format!("-dev-tls-cert-dir={}", certs.display());
        let listen = format!("-dev-listen-address={listener}");
        let arguments = ["server", "-dev", "-dev-tls", &cert_folder, &listen, ROOT, "-dev-no-store-token"];
        let process = hold(&arguments, folder.path())?;
        let server = Self {
            address: format!("https://{listener}"),
            authority: certs.join("vault-ca.pem"),
            proxy: format!("http://{front}"),
            socket: format!("unix://{}/proxy.sock", folder.path().display()),
            folder,
            processes: Mutex::new(vec![process]),
        };
        server.wait_for("server", listener)?;
        server.furnish()?;
        server.start_proxy(front)?;
        Ok(server)
    }

    fn furnish(&self) -> Result<(), Failed> {
        self.bao(["secrets", "enable", "transit"])?;
        self.bao(["secrets", "enable", "-path=a/b/c", "transit"])?;
        self.bao(["secrets", "enable", "-path=kv1", "-version=1", "kv"])?;
        self.bao(["secrets", "enable", "-path=kv2", "-version=2", "kv"])?;
        self.bao(["namespace", "create", "team"])?;
        self.bao(["secrets", "enable", "-namespace=team", "transit"])?;
        Ok(())
    }

    fn start_proxy(&self, front: SocketAddr) -> Result<(), Failed> {
        let folder = self.folder.path().display();
        fs::write(self.folder.path().join("token"), "root")?;
        let config = format!(
            "vault {{\n address = \"{}\"\n ca_cert = \"{}\"\n}}\n\
             auto_auth {{\n method {{\n type = \"token_file\"\n config = {{\n token_file_path = \"{folder}/token\"\n}}\n}}\n}}\n\
             api_proxy {{\n use_auto_auth_token = true\n}}\n\
             listener \"unix\" {{\n address = \"{folder}/proxy.sock\"\n tls_disable = true\n}}\n\
             listener \"tcp\" {{\n address = \"{front}\"\n tls_disable = true\n}}\n",
            self.address,
            self.authority.display(),
        );
        let path = self.folder.path().join("proxy.hcl");
        fs::write(&path, config)?;
        let argument = format!("-config={}", path.display());
        let process = hold(&["proxy", &argument], self.folder.path())?;
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        self.wait_for("proxy", front)
    }

    /// Waits until one of the processes has begun to listen, and a little, as it listens before it is ready.
    fn wait_for(&self, what: &str, address: SocketAddr) -> Result<(), Failed> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let log = fs::read_to_string(self.folder.path().join(format!("{what}.log")))?;
            // Whoever took its port listens as well.
            if log.contains("address already in use") {
                return Err(format!("somebody else listens at {address}").into());
            }
            if log.contains(" started!") && TcpStream::connect(address).is_ok() {
                break;
            }
            if Instant::now() > end {
                return Err(format!("nobody listens at {address}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(Duration::from_millis(1000));
        Ok(())
    }

    /// Runs the command line of OpenBao as its administrator, and returns what it prints.
    pub fn bao<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String, Failed> {
        let mut command = Command::new(Peer::Openbao.path().ok_or("there is no OpenBao")?);
        command.env_clear().env("HOME", self.folder.path()).env("BAO_ADDR", &self.address);
        command.env("BAO_CACERT", &self.authority).env("BAO_TOKEN", "root");
        Ok(String::from_utf8(output(command.args(arguments))?)?.trim().to_owned())
    }

    /// Returns the URI of a key.
    pub fn key(&self, engine: &str, name: &str) -> String {
        format!("{}/v1/{engine}/keys/{name}", self.address)
    }

    /// Makes a token with a policy, and returns it.
    pub fn token(&self, name: &str, policy: &str, also: &[&str]) -> Result<String, Failed> {
        let path = self.folder.path().join(format!("{name}.hcl"));
        fs::write(&path, policy)?;
        self.bao(["policy", "write", name, &path.display().to_string()])?;
        let policy = format!("-policy={name}");
        let all = ["token", "create", "-field=token", "-orphan", &policy];
        self.bao(all.into_iter().chain(also.iter().copied()))
    }
}

/// Starts OpenBao so that it ends when the standard input of what holds it does.
fn hold(arguments: &[&str], home: &Path) -> Result<Child, Failed> {
    let program = Peer::Openbao.path().ok_or("there is no OpenBao")?;
    let log = fs::File::create(home.join(format!("{}.log", arguments[0])))?;
    let script = r#""$@" </dev/null & child=$!; read -r _; kill "$child"; wait "$child""#;
    let words = [OsStr::new("-c"), script.as_ref(), "sh".as_ref(), program.as_os_str()];
    let mut shell = Command::new("/bin/sh");
    shell.args(words).args(arguments).env_clear().env("HOME", home).stdin(Stdio::piped());
    Ok(shell.stdout(log.try_clone()?).stderr(log).process_group(0).spawn()?)
}

fn free_address() -> Result<SocketAddr, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();

const ROOT: &str = "-dev-root-token-id=root";

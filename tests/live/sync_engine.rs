//! What the labs of sync engines share: a cluster of their own, programs that run in its network, and canaries.
//!
//! Everything such a program logs is kept, so that it can be searched, and it ends with the cluster at the latest.

mod controller;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use tokio::runtime::{Builder, Runtime};

use super::cluster::Cluster;
use crate::peer::{Peer, output};

pub use controller::Controller;

/// A cluster, and what an administrator does there.
pub struct Ground {
    /// The API server.
    pub cluster: Cluster,
    runtime: Runtime,
    client: Client,
}

/// A program that runs until this goes, or the cluster does.
pub struct Program {
    child: Mutex<Child>,
    /// What it prints and logs.
    pub log: PathBuf,
}

/// A text that is looked for where no plaintext may be.
pub struct Canary {
    /// The text, of letters, digits and dashes.
    pub text: String,
    forms: Vec<String>,
}

/// Returns the test of canaries, which needs no peer.
pub fn tests() -> Vec<Trial> {
    vec![Trial::test("sync_engine::a_canary_is_found_in_its_forms", is_found_in_its_forms)]
}

/// Ends the cluster, if one was started.
pub fn end() {
    if let Some(Ok(ground)) = GROUND.get() {
        ground.cluster.end();
    }
}

/// Fails unless two values are the same.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?}, where {expected:?} is right").into())
}

/// Fails, and says why, unless something is so.
pub fn is_so(what: &str, is_so: bool, evidence: impl std::fmt::Display) -> Result<(), Failed> {
    if is_so { Ok(()) } else { Err(format!("not so: {what}: {evidence}").into()) }
}

/// Waits until something is there: as long as it is not, the answer is what there is instead.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Result<T, String>, Failed>) -> Result<T, Failed> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match look()? {
            Ok(found) => return Ok(found),
            Err(instead) if Instant::now() > deadline => {
                return Err(format!("in vain: {what}: there is {instead}").into());
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Sees to it that something is made once in a run, whoever wants it first.
pub fn once<T>(
    place: &'static OnceLock<Result<T, String>>,
    what: &str,
    make: impl FnOnce() -> Result<T, Failed>,
) -> Result<&'static T, Failed> {
    let make = || make().map_err(|failed| failed.message().unwrap_or_default().to_owned());
    place.get_or_init(make).as_ref().map_err(|message| format!("there is no {what}: {message}").into())
}

impl Ground {
    /// Returns the one of this run.
    pub fn get() -> Result<&'static Self, Failed> {
        once(&GROUND, "cluster", Self::start)
    }

    /// Starts one for somebody who has it to himself, and ends its cluster.
    pub fn start() -> Result<Self, Failed> {
        let cluster = Cluster::start()?;
        fs::create_dir(cluster.folder.join(LOGS))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config = Kubeconfig::read_from(cluster.kubeconfig())?;
        let client = runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
            Ok::<_, Failed>(Client::try_from(config)?)
        })?;
        Ok(Self { cluster, runtime, client })
    }

    /// Makes a folder of a program, below that of the cluster.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Failed> {
        let path = self.cluster.folder.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Applies manifests, and waits until the resources that they define are served: each `group/version/plural`.
    pub fn define(&self, manifests: &[PathBuf], resources: &[&str]) -> Result<(), Failed> {
        let mut command = self.cluster.kubectl(["apply", "--server-side", "--force-conflicts"])?;
        for path in manifests {
            command.arg("--filename").arg(path);
        }
        output(&mut command)?;
        for resource in resources {
            wait(resource, || Ok(self.find(&format!("/apis/{resource}"))?.ok_or("none".to_owned())))?;
        }
        Ok(())
    }

    /// Returns an object, or a list; `None` if there is none.
    pub fn find(&self, path: &str) -> Result<Option<Json>, Failed> {
        match self.ask(Method::GET, path, None) {
            Ok(object) => Ok(Some(object)),
            Err((404, _)) => Ok(None),
            Err((code, message)) => Err(format!("{path}: {code}: {message}").into()),
        }
    }

    /// Returns an object that has to be there.
    pub fn object(&self, path: &str) -> Result<Json, Failed> {
        self.find(path)?.ok_or_else(|| format!("there is no {path}").into())
    }

    /// Changes an object by a merge patch.
    pub fn patch(&self, path: &str, patch: &Json) -> Result<Json, Failed> {
        let answer = self.ask(Method::PATCH, path, Some(patch));
        answer.map_err(|(code, message)| format!("{path}: {code}: {message}").into())
    }

    /// Deletes an object.
    pub fn delete(&self, path: &str) -> Result<(), Failed> {
        let answer = self.ask(Method::DELETE, path, None);
        answer.map(|_| ()).map_err(|(code, message)| format!("{path}: {code}: {message}").into())
    }

    /// Returns a value of a Secret.
    pub fn secret_value(&self, namespace: &str, name: &str, key: &str) -> Result<String, Failed> {
        let secret = self.object(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"))?;
        let value = secret["data"][key].as_str().ok_or_else(|| format!("{name} has no {key}: {secret}"))?;
        Ok(String::from_utf8(STANDARD.decode(value)?)?)
    }

    /// Starts a program in the network of the cluster, with no other variables than these and a `PATH`.
    ///
    /// Its log is called by its name, and goes on where that of an earlier one of this name ended.
    pub fn run<'a>(
        &self,
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
        variables: &[(&str, &str)],
    ) -> Result<Program, Failed> {
        let log = self.cluster.folder.join(LOGS).join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = self.cluster.command(program)?;
        command.args(arguments).env("PATH", PATH).envs(variables.iter().copied());
        let child =
            command.current_dir(&self.cluster.folder).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Program { child: Mutex::new(child), log })
    }

    /// Waits until a program listens at a port.
    pub fn wait_for_port(&self, program: &Program, port: u16) -> Result<(), Failed> {
        program.wait_until(&format!("it listens at port {port}"), || {
            TcpStream::connect((self.cluster.inside.as_str(), port)).is_ok()
        })
    }

    /// Returns all logs of this cluster's programs whose name begins so, with their names.
    pub fn logs(&self, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
        let mut logs = BTreeMap::new();
        for entry in fs::read_dir(self.cluster.folder.join(LOGS))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                logs.insert(name, fs::read(entry.path())?);
            }
        }
        Ok(logs)
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Json, (u16, String)> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/merge-patch+json");
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(body).map_err(|error| (0, error.to_string()))?;
        self.runtime.block_on(self.client.request::<Json>(request)).map_err(|error| match error {
            kube::Error::Api(status) => (status.code, status.message),
            other => (0, other.to_string()),
        })
    }
}

impl Program {
    /// Waits until something about it is so; it has failed if it ends before.
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Failed> {
        wait(what, || match self.ended()? {
            Some(status) => Err(format!("{what}: it ended with {status}: {}", self.logged()?).into()),
            None if is_so() => Ok(Ok(())),
            None => Ok(Err(self.logged()?)),
        })
    }

    /// Returns how it ended, if it did.
    pub fn ended(&self) -> Result<Option<ExitStatus>, Failed> {
        Ok(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?)
    }

    /// Returns all that it printed and logged.
    pub fn logged(&self) -> Result<String, Failed> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Asks it to end, and waits until it has.
    pub fn end(&self) -> Result<(), Failed> {
        {
            let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            kill_process(Pid::from_child(&child), Signal::TERM)?;
        }
        wait("it ends", || Ok(self.ended()?.ok_or_else(|| "one that runs".to_owned()))).map(|_| ())
    }

    /// Kills it.
    pub fn kill(&self) -> Result<(), Failed> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.kill();
    }
}

impl Canary {
    /// Draws one.
    pub fn new() -> Self {
        // No constant: it would be in the program of the tests.
        let number = rand_core::RngCore::next_u64(&mut rand_core::OsRng);
        let text = format!("canary-{number:016x}-{:08x}", std::process::id());
        let mut forms = vec![text.clone()];
        // Manifests are base64 within what is base64 itself.
        let mut last = forms.clone();
        for _ in 0..2 {
            last = last.iter().flat_map(|form| in_base64(form)).collect();
            forms.extend_from_slice(&last);
        }
        Self { text, forms }
    }

    /// Returns whether it is somewhere, in clear or in base64.
    pub fn is_in(&self, bytes: impl AsRef<[u8]>) -> bool {
        let text = String::from_utf8_lossy(bytes.as_ref());
        self.forms.iter().any(|form| text.contains(form))
    }

    /// Returns the names of those among several that it is in, or in whose name it is.
    pub fn names<'a>(&self, all: impl IntoIterator<Item = (&'a String, &'a Vec<u8>)>) -> Vec<&'a str> {
        let found = all.into_iter().filter(|(name, bytes)| self.is_in(bytes) || self.is_in(name));
        found.map(|(name, _)| name.as_str()).collect()
    }
}

/// Returns the object of a namespace.
pub fn namespace(name: &str) -> Json {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// Returns a program that every system has: no peer is needed for it.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", PATH);
    command
}

/// Returns our command line under a name of it, to be run in a folder.
pub fn ours(bin: &Path, name: &str) -> Result<Command, Failed> {
    let link = bin.join(name);
    if !link.exists() {
        std::os::unix::fs::symlink(std::env::current_exe()?, &link)?;
    }
    let mut command = Command::new(link);
    command.env_clear().env("PATH", PATH).env("HOME", bin);
    Ok(command)
}

/// Returns where a peer is that a test is ignored without.
pub fn path_of(peer: Peer) -> Result<PathBuf, Failed> {
    peer.path().ok_or_else(|| "a peer is not there".into())
}

/// Returns the base64 of a text at each offset: the part that does not depend on what is around.
fn in_base64(text: &str) -> Vec<String> {
    let encoded = (0..3).map(|offset| STANDARD.encode(format!("{}{text}", "x".repeat(offset))));
    encoded.map(|encoded| encoded[4..encoded.len() - 4].to_owned()).collect()
}

/// What is not found is not there, wherever it begins.
fn is_found_in_its_forms() -> Result<(), Failed> {
    let (canary, other) = (Canary::new(), Canary::new());
    for (before, between) in (0..3).flat_map(|before| (0..3).map(move |between| (before, between))) {
        let clear = format!("{}{} behind", "-".repeat(before), canary.text);
        let once = format!("{}{}", " ".repeat(between), STANDARD.encode(&clear));
        for (form, text) in [("clear", &clear), ("once", &once), ("twice", &STANDARD.encode(&once))] {
            let text = format!("around {text} around");
            is_so("it is found", canary.is_in(&text), format!("{form} {before} {between}"))?;
            is_so("another is not", !other.is_in(&text), form)?;
        }
    }
    Ok(())
}

static GROUND: OnceLock<Result<Ground, String>> = OnceLock::new();

const LOGS: &str = "logs";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long something may take, on a machine that has much to do.
const LIMIT: Duration = Duration::from_secs(180);

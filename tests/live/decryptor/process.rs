//! A controller that runs.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use super::lab::{Lab, wait};

/// A controller that runs until this goes, unless it is ended before.
pub struct Process {
    child: Mutex<Child>,
    log: PathBuf,
    host: String,
    /// Where it serves the API; metrics are one port further.
    pub port: u16,
}

impl Process {
    /// Starts a controller in a namespace, and waits until it says that it is ready.
    pub fn start(
        lab: &Lab,
        namespace: &str,
        name: &str,
        kubeconfig: &Path,
        flags: &[&str],
    ) -> Result<Self, Failed> {
        let process = Self::spawn(lab, namespace, name, kubeconfig, flags, &[])?;
        process.wait_until_ready()?;
        Ok(process)
    }

    /// Starts a controller, with variables besides.
    pub fn spawn(
        lab: &Lab,
        namespace: &str,
        name: &str,
        kubeconfig: &Path,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, Failed> {
        static PORT: AtomicU16 = AtomicU16::new(8080);
        let port = PORT.fetch_add(2, Ordering::Relaxed);
        let host = lab.cluster.inside.clone();
        let log = lab.cluster.folder.join(format!("{namespace}-{name}-{port}.log"));
        let mut command = lab.cluster.command(Path::new(env!("CARGO_BIN_EXE_selkie-decryptor")))?;
        command.arg("controller").arg("--kubeconfig").arg(kubeconfig).args(flags);
        command.arg(format!("--listen-addr={host}:{port}"));
        command.arg(format!("--listen-metrics-addr={host}:{}", port + 1));
        command.env("POD_NAMESPACE", namespace).env("POD_NAME", name).envs(variables.iter().copied());
        let child =
            command.stdout(File::create(&log)?).stderr(File::create(log.with_extension("err"))?).spawn()?;
        Ok(Self { child: Mutex::new(child), log, host, port })
    }

    /// Waits until it says that it is ready.
    pub fn wait_until_ready(&self) -> Result<(), Failed> {
        let ready = wait("the controller gets ready", || {
            if let Some(status) = self.ended()? {
                return Err(format!("the controller ended with {status}: {}", self.log()?).into());
            }
            Ok(self.get("/readyz").ok().filter(|(code, _)| *code == 200))
        });
        ready.map(|_| ()).map_err(|failed| {
            format!("{}: {}", failed.message().unwrap_or_default(), self.log().unwrap_or_default()).into()
        })
    }

    /// Returns the certificate that is sealed for.
    pub fn certificate(&self) -> Result<String, Failed> {
        match self.get("/v1/cert.pem")? {
            (200, certificate) => Ok(certificate),
            (code, text) => Err(format!("no certificate, but {code}: {text}").into()),
        }
    }

    /// Asks the API of the controller.
    pub fn get(&self, path: &str) -> Result<(u16, String), Failed> {
        ask(&self.host, self.port, path)
    }

    /// Returns all metrics.
    pub fn metrics(&self) -> Result<String, Failed> {
        Ok(ask(&self.host, self.port + 1, "/metrics")?.1)
    }

    /// Returns the sum of all series that begin with this.
    pub fn metric(&self, series: &str) -> Result<f64, Failed> {
        let metrics = self.metrics()?;
        let lines = metrics.lines().filter(|line| {
            line.strip_prefix(series)
                .is_some_and(|rest| rest.starts_with([' ', '{', ',', '}']) || series.contains('{'))
        });
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Returns all that it logged.
    pub fn log(&self) -> Result<String, Failed> {
        let both = [fs::read(&self.log)?, fs::read(self.log.with_extension("err"))?].concat();
        Ok(String::from_utf8_lossy(&both).into_owned())
    }

    /// Returns its number.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// Returns how it ended, if it did.
    pub fn ended(&self) -> Result<Option<ExitStatus>, Failed> {
        Ok(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kill_process(Pid::from_child(&child), signal)?)
    }

    /// Kills it, as if the machine had failed.
    pub fn kill(&self) -> Result<(), Failed> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub fn end(&self) -> Result<(), Failed> {
        self.signal(Signal::TERM)?;
        let status = wait("the controller ends", || self.ended())?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}: {}", self.log()?).into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.kill();
    }
}

/// Asks what listens at an address over HTTP.
pub fn ask(host: &str, port: u16, path: &str) -> Result<(u16, String), Failed> {
    let Answer { status, body, .. } = send((host, port), "GET", path, &[], "")?;
    Ok((status, body))
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: String,
}

/// Sends a request to what listens at an address.
pub fn send(
    (host, port): (&str, u16),
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer, Failed> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("there is no answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("there is no status")?;
    let content_type = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type").then(|| value.to_owned())
    });
    Ok(Answer { status, content_type, body: body.to_owned() })
}

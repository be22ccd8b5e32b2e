//! A controller that runs, and what it has cost so far.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};

use super::cluster::{Cluster, NAME, NAMESPACE};
use crate::Result;
use crate::bench::Bench;

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Ours,
    Theirs,
}

/// A controller that runs. It is ended with this value.
pub struct Process<'a> {
    cluster: &'a Cluster,
    child: Child,
    start: Instant,
}

/// What a controller has cost.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    pub time: Duration,
    /// The time that its threads ran.
    pub cpu: Duration,
    /// The most memory that it had, in bytes.
    pub peak: u64,
    /// How many objects it has opened, or tried to.
    pub opened: u64,
}

impl<'a> Process<'a> {
    /// Starts a controller in the cluster, in which it is the only one.
    pub fn start(bench: &Bench, cluster: &'a Cluster, which: Which, flags: &[&str]) -> Result<Self> {
        let mut command = match which {
            Which::Ours => cluster.in_pod(&bench.decryptor),
            Which::Theirs => cluster.in_pod(&bench.controller),
        };
        if which == Which::Ours {
            command.arg("controller").env("POD_NAME", format!("{NAME}-0")).env("POD_NAMESPACE", NAMESPACE);
        }
        let log = File::create(cluster.folder.join("controller.log"))?;
        command.args(flags).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let start = Instant::now();
        Ok(Self { cluster, child: command.spawn()?, start })
    }

    /// Waits until something holds, and returns what it took since the start.
    pub fn until(&mut self, mut holds: impl FnMut(&Self) -> Result<bool>) -> Result<Spent> {
        while !holds(self)? {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the controller ended with {status}: {}", self.log()?).into());
            }
            if self.start.elapsed() > PATIENCE {
                return Err(format!("the controller does not come to an end: {}", self.log()?).into());
            }
            thread::sleep(LOOK);
        }
        self.spent()
    }

    /// Returns what it has cost so far.
    pub fn spent(&self) -> Result<Spent> {
        let time = self.start.elapsed();
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // What comes after its name, which may have spaces.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = fields.iter().skip(11).take(2).map(|field| field.parse::<u64>());
        let ticks = ticks.sum::<std::result::Result<u64, _>>()?;
        let cpu = Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
        let opened = self.metric("sealed_secrets_controller_unseal_requests_total").unwrap_or_default();
        Ok(Spent { time, cpu, peak: self.memory("VmHWM")?, opened })
    }

    /// Returns a figure of the memory that it has, in bytes.
    pub fn memory(&self, figure: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
        let kilobytes =
            value.and_then(|value| value.trim().strip_suffix(" kB")).ok_or("there is no figure")?;
        Ok(kilobytes.parse::<u64>()? * 1024)
    }

    /// Returns a metric, all its labels together; nothing as long as it is not served.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let (status, text) = self.get(8081, "/metrics").ok()?;
        let of_it = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        let values = text.lines().filter(of_it).filter_map(value);
        (status == 200).then(|| values.sum::<f64>() as u64)
    }

    /// Returns whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.get(8080, "/readyz").is_ok_and(|(status, _)| status == 200)
    }

    /// Tells it to end, and waits for that.
    pub fn end(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or("it has a number")?;
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err("the controller does not end".into());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn get(&self, port: u16, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect((self.cluster.inside.as_str(), port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.cluster.inside)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("it is an answer")?;
        let status = head.split(' ').nth(1).ok_or("it has a status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// Returns the end of what it has logged.
    fn log(&self) -> Result<String> {
        let log = fs::read_to_string(self.cluster.folder.join("controller.log"))?;
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        Ok(lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often is looked whether something holds.
const LOOK: Duration = Duration::from_millis(50);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

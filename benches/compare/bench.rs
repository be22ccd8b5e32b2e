//! The programs, a folder to work in, and what runs cost.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::Result;

/// The programs, and a folder to work in.
pub struct Bench {
    pub ours: PathBuf,
    /// Our program for clusters.
    pub decryptor: PathBuf,
    /// The controller of Sealed Secrets.
    pub controller: PathBuf,
    pub sops: PathBuf,
    pub kubeseal: PathBuf,
    /// Our program that Git calls.
    pub hook: PathBuf,
    pub gitleaks: PathBuf,
    pub ripgrep: PathBuf,
    folder: tempfile::TempDir,
}

/// What a run cost.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub time: Duration,
    /// How long processors worked for it, also for processes that it started.
    pub work: Duration,
    /// The most memory that a process had, in bytes.
    pub memory: u64,
}

/// Where a run reads from and writes to, by the names of files; nothing if it does not.
#[derive(Clone, Copy, Default)]
pub struct Streams<'a> {
    pub stdin: Option<&'a str>,
    pub stdout: Option<&'a str>,
}

impl Bench {
    pub fn new() -> Result<Self> {
        Ok(Self {
            ours: program("SELKIE_PROGRAM")?,
            decryptor: program("SELKIE_DECRYPTOR")?,
            controller: program("SELKIE_PEER_SEALED_SECRETS_CONTROLLER")?,
            sops: program("SELKIE_PEER_SOPS_3_13")?,
            kubeseal: program("SELKIE_PEER_KUBESEAL")?,
            hook: program("SELKIE_HOOK")?,
            gitleaks: program("SELKIE_PEER_GITLEAKS")?,
            ripgrep: program("SELKIE_PEER_RIPGREP")?,
            folder: tempfile::tempdir()?,
        })
    }

    /// Runs a program in the folder, its output thrown away.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Result<Cost> {
        self.run_with(program, arguments, Streams::default())
    }

    /// Runs a program in the folder.
    pub fn run_with(&self, program: &Path, arguments: &[&str], streams: Streams<'_>) -> Result<Cost> {
        self.run_in("", program, arguments, streams)
    }

    /// Runs a program in a folder below the folder.
    pub fn run_in(
        &self,
        below: &str,
        program: &Path,
        arguments: &[&str],
        streams: Streams<'_>,
    ) -> Result<Cost> {
        let folder = self.folder.path();
        let stdin =
            streams.stdin.map_or(Ok(Stdio::null()), |name| File::open(folder.join(name)).map(Into::into));
        let stdout =
            streams.stdout.map_or(Ok(Stdio::null()), |name| File::create(folder.join(name)).map(Into::into));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder.join(below));
        command.env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin");
        command.env("SOPS_AGE_KEY_FILE", folder.join("keys.txt"));
        command.stdin(stdin?).stdout(stdout?).stderr(Stdio::null());
        let start = Instant::now();
        let used = command.spawn()?.wait4()?;
        if !used.status.success() {
            return Err(format!("{program:?} {arguments:?} ended with {}", used.status).into());
        }
        let work = used.rusage.utime + used.rusage.stime;
        Ok(Cost { time: start.elapsed(), work, memory: used.rusage.maxrss })
    }

    /// Makes a folder that holds copies of others, and nothing else.
    pub fn copy(&self, folders: &[String], to: &str) -> Result<()> {
        let folders: Vec<_> = folders.iter().map(String::as_str).collect();
        self.run(Path::new("/bin/rm"), &["-rf", to])?;
        self.run(Path::new("/bin/mkdir"), &[to])?;
        self.run(Path::new("/bin/cp"), &[&["-a"], &folders[..], &[to]].concat()).map(drop)
    }

    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.folder.path().join(name))?)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        Ok(fs::write(path, text)?)
    }
}

/// Returns the program that a variable names.
pub fn program(variable: &str) -> Result<PathBuf> {
    let path = env::var_os(variable).filter(|path| !path.is_empty());
    Ok(path.map(PathBuf::from).ok_or(format!("{variable} names no program; start benches/run.sh"))?)
}

/// Returns the run of median time out of several.
pub fn median(runs: usize, mut run: impl FnMut() -> Result<Cost>) -> Result<Cost> {
    Ok(medians(runs, [&mut run])?[0])
}

/// Returns the runs of median time out of several, that take turns: what else the machine does hits them alike.
pub fn medians<const N: usize>(
    runs: usize,
    mut each: [&mut dyn FnMut() -> Result<Cost>; N],
) -> Result<[Cost; N]> {
    let mut costs = [const { Vec::new() }; N];
    for _ in 0..runs {
        for (run, costs) in each.iter_mut().zip(&mut costs) {
            costs.push(run()?);
        }
    }
    Ok(costs.map(|mut costs| {
        costs.sort_by_key(|cost: &Cost| cost.time);
        costs[runs / 2]
    }))
}

/// Returns what it costs to run once for each of the names.
pub fn one_by_one(names: &[String], run: impl Fn(&str) -> Result<Cost>) -> Result<Cost> {
    let mut all = Cost::default();
    for name in names {
        let cost = run(name)?;
        all = Cost {
            time: all.time + cost.time,
            work: all.work + cost.work,
            memory: all.memory.max(cost.memory),
        };
    }
    Ok(all)
}

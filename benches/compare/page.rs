//! What was measured: kept as data, of which the page and its plots are drawn.
//!
//! Each part has a file of its own in `benches/data`, with the machine and the programs that it was measured with, so
//! that one part can be measured again without the others.

mod draw;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs, thread};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::Result;
use crate::bench::{Bench, Cost};

pub use draw::draw;

/// What a part measured.
#[derive(Deserialize, Serialize)]
pub struct Page {
    /// The day, as `YYYY-MM-DD`.
    measured: String,
    machine: String,
    /// The programs, with what they say of their version.
    programs: Vec<(String, String)>,
    sections: Vec<Section>,
}

/// What stands under one heading.
#[derive(Deserialize, Serialize)]
struct Section {
    title: String,
    about: String,
    /// Lines of a table of Markdown, and text behind it.
    lines: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    plots: Vec<Plot>,
}

/// Cost against size, a line for each program; both axes are logarithmic.
#[derive(Deserialize, Serialize)]
pub struct Plot {
    /// The name of the picture's file, without its ending.
    pub name: String,
    pub title: String,
    /// What the size is, in words.
    pub size: String,
    pub cost: Unit,
    pub lines: Vec<Line>,
}

/// What a cost is counted in.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Bytes,
    Seconds,
}

/// What one program costs, from the smallest size to the largest.
#[derive(Deserialize, Serialize)]
pub struct Line {
    pub program: String,
    pub points: Vec<(f64, f64)>,
}

impl Page {
    pub fn new(bench: &Bench) -> Result<Self> {
        let processor = fs::read_to_string("/proc/cpuinfo")?;
        let model = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .unwrap_or_default();
        let cores = thread::available_parallelism()?;
        let program = |name: &str, program: &Path, flags: &[&str]| {
            version(program, flags).map(|version| (name.to_owned(), version))
        };
        let build = env::var("SELKIE_BUILD").unwrap_or_else(|_| "release build".to_owned());
        Ok(Self {
            measured: OffsetDateTime::now_utc().date().to_string(),
            machine: format!("{}, {cores} cores", model.1),
            programs: vec![
                ("Selkie".to_owned(), format!("{}, {build}", version(&bench.ours, &[])?)),
                program("sops", &bench.sops, &["--disable-version-check"])?,
                program("kubeseal", &bench.kubeseal, &[])?,
                program("the controller of Sealed Secrets", &bench.controller, &[])?,
                program("gitleaks", &bench.gitleaks, &[])?,
                program("ripgrep", &bench.ripgrep, &[])?,
            ],
            sections: Vec::new(),
        })
    }

    /// Reads what a part has measured before; `None` if it never did.
    pub fn read(part: &str) -> Result<Option<Self>> {
        match fs::read(file_of(part)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).map_err(|error| format!("{part}: {error}"))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what was measured.
    pub fn write(&self, part: &str) -> Result<()> {
        fs::create_dir_all(DATA)?;
        Ok(fs::write(file_of(part), serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// Begins a table of two programs.
    pub fn heading(&mut self, title: &str, about: &str, peer: &str) {
        self.section(title, about);
        self.line(&format!(
            "| | Selkie | {peer} | time: {peer} / Selkie | memory: Selkie | memory: {peer} |"
        ));
        self.line("|---|---:|---:|---:|---:|---:|");
    }

    /// Begins a section, whose table follows line by line.
    pub fn section(&mut self, title: &str, about: &str) {
        self.sections.push(Section {
            title: title.to_owned(),
            about: about.to_owned(),
            lines: Vec::new(),
            plots: Vec::new(),
        });
    }

    /// Adds a row of a table that [`heading`](Self::heading) began.
    pub fn row(&mut self, what: &str, ours: Cost, theirs: Cost) {
        let ratio = theirs.time.as_secs_f64() / ours.time.as_secs_f64();
        let (ours_time, theirs_time) = (seconds(ours.time), seconds(theirs.time));
        let (ours, theirs) = (megabytes(ours.memory), megabytes(theirs.memory));
        self.line(&format!("| {what} | {ours_time} | {theirs_time} | {ratio:.1} | {ours} | {theirs} |"));
    }

    /// Adds a line to the last section.
    #[expect(clippy::print_stderr, reason = "the run takes minutes: somebody watches")]
    pub fn line(&mut self, line: &str) {
        eprintln!("{line}");
        self.last().lines.push(line.to_owned());
    }

    /// Adds a plot to the last section.
    pub fn plot(&mut self, plot: Plot) {
        self.last().plots.push(plot);
    }

    fn last(&mut self) -> &mut Section {
        self.sections.last_mut().expect("a section was begun")
    }
}

impl Line {
    pub fn new(program: &str) -> Self {
        Self { program: program.to_owned(), points: Vec::new() }
    }

    pub fn seconds(&mut self, size: usize, time: Duration) {
        self.points.push((size as f64, time.as_secs_f64()));
    }

    pub fn bytes(&mut self, size: usize, bytes: u64) {
        self.points.push((size as f64, bytes as f64));
    }
}

pub fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        time if time < 1.0 => format!("{:.1} ms", time * 1e3),
        time => format!("{time:.2} s"),
    }
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn file_of(part: &str) -> PathBuf {
    Path::new(DATA).join(format!("{part}.json"))
}

/// Returns what a program says of its version, without where it was built.
fn version(program: &Path, flags: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .args(flags)
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .output()?;
    Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or_default().to_owned())
}

/// Cargo starts benches in the folder of their package.
const DATA: &str = "benches/data";

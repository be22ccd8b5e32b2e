//! The page that is written.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use crate::Result;
use crate::bench::{Bench, Cost};

/// The page that is written.
pub struct Page {
    text: String,
}

impl Page {
    pub fn new(bench: &Bench) -> Result<Self> {
        let processor = fs::read_to_string("/proc/cpuinfo")?;
        let model = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .unwrap_or_default();
        let cores = thread::available_parallelism()?;
        let text = format!(
            "# Performance\n\n\
             `benches/run.sh` measures Selkie beside sops and Sealed Secrets on the machine that it runs on, and writes this\n\
             page. The figures below are of one run; the programs have the same documents, keys and rules, one after the\n\
             other. Times are of whole processes, from start to end, unless it says otherwise; memory is the most that\n\
             a process had at any time.\n\n\
             - Machine: {}, {cores} cores\n\
             - Selkie: {}, release build\n\
             - sops: {}, built from its Go module\n\
             - kubeseal: {}, built from its Go module\n\
             - gitleaks: {}, built from its Go module, and {} for scale\n\
             - Controllers: Selkie is {}, Sealed Secrets is {}, built from the same Go module\n",
            model.1,
            version(&bench.ours, &[])?,
            version(&bench.sops, &["--disable-version-check"])?,
            version(&bench.kubeseal, &[])?,
            version(&bench.gitleaks, &[])?,
            version(&bench.ripgrep, &[])?,
            version(&bench.decryptor, &[])?,
            version(&bench.controller, &[])?,
        );
        Ok(Self { text })
    }

    /// Begins a table.
    pub fn heading(&mut self, title: &str, about: &str, peer: &str) {
        self.section(title, about);
        self.text += &format!(
            "| | Selkie | {peer} | time: {peer} / Selkie | memory: Selkie | memory: {peer} |\n\
             |---|---:|---:|---:|---:|---:|\n"
        );
    }

    /// Begins a section, whose table follows line by line.
    pub fn section(&mut self, title: &str, about: &str) {
        self.text += &format!("\n## {title}\n\n{about}\n\n");
    }

    /// Adds a row of a table that [`heading`](Self::heading) began.
    pub fn row(&mut self, what: &str, ours: Cost, theirs: Cost) {
        let ratio = theirs.time.as_secs_f64() / ours.time.as_secs_f64();
        let (ours_time, theirs_time) = (seconds(ours.time), seconds(theirs.time));
        let (ours, theirs) = (megabytes(ours.memory), megabytes(theirs.memory));
        self.line(&format!("| {what} | {ours_time} | {theirs_time} | {ratio:.1} | {ours} | {theirs} |"));
    }

    #[expect(clippy::print_stderr, reason = "the run takes minutes: somebody watches")]
    pub fn line(&mut self, line: &str) {
        eprintln!("{line}");
        writeln!(self.text, "{line}").expect("strings take all there is");
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

pub fn seconds(time: std::time::Duration) -> String {
    match time.as_secs_f64() {
        time if time < 1.0 => format!("{:.1} ms", time * 1e3),
        time => format!("{time:.2} s"),
    }
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Returns what a program says of its version.
fn version(program: &Path, flags: &[&str]) -> Result<String> {
    let output = Command::new(program).arg("--version").args(flags).output()?;
    Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or_default().to_owned())
}

//! Measures our program beside the real sops, and writes `docs/performance.md`.
//!
//! Started by `benches/run.sh`, which builds the program and brings up sops.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use wait4::Wait4;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let bench = Bench::new()?;
    let mut page = Page::new(&bench)?;
    page.small_file(&bench)?;
    page.large_file(&bench)?;
    page.many_files(&bench)?;
    page.sizes(&bench)?;
    fs::write("docs/performance.md", &page.text)?;
    Ok(())
}

/// The two programs, and a folder to work in.
struct Bench {
    ours: PathBuf,
    sops: PathBuf,
    folder: tempfile::TempDir,
}

/// What a run cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    time: Duration,
    /// The most memory that a process had, in bytes.
    memory: u64,
}

impl Bench {
    fn new() -> Result<Self> {
        let program = |variable| {
            env::var_os(variable).ok_or(format!("{variable} names no program; start benches/run.sh"))
        };
        let ours = PathBuf::from(program("SELKIE_PROGRAM")?);
        let sops = PathBuf::from(program("SELKIE_PEER_SOPS_3_13")?);
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("keys.txt"), IDENTITY)?;
        fs::write(folder.path().join(".sops.yaml"), format!("creation_rules:\n  - age: {RECIPIENT}\n"))?;
        Ok(Self { ours, sops, folder })
    }

    /// Runs a program in the folder, its output thrown away.
    fn run(&self, program: &Path, arguments: &[&str]) -> Result<Cost> {
        let start = Instant::now();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        command.env_clear().env("HOME", self.folder.path()).env("PATH", "/usr/bin:/bin");
        command.env("SOPS_AGE_KEY_FILE", self.folder.path().join("keys.txt"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let used = command.spawn()?.wait4()?;
        if !used.status.success() {
            return Err(format!("{program:?} {arguments:?} ended with {}", used.status).into());
        }
        Ok(Cost { time: start.elapsed(), memory: used.rusage.maxrss })
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        Ok(fs::write(path, text)?)
    }

    /// Returns the run of median time out of several.
    fn median(&self, runs: usize, mut run: impl FnMut() -> Result<Cost>) -> Result<Cost> {
        let mut costs = (0..runs).map(|_| run()).collect::<Result<Vec<_>>>()?;
        costs.sort_by_key(|cost| cost.time);
        Ok(costs[runs / 2])
    }

    /// Encrypts and decrypts a document with a program, from the same start each time.
    fn both_ways(&self, program: &Path, text: &str, runs: usize) -> Result<(Cost, Cost)> {
        let encrypt = self.median(runs, || {
            self.write("document.yaml", text)?;
            self.run(program, &self.arguments(program, &["encrypt", "-i", "document.yaml"]))
        })?;
        let decrypt =
            self.median(runs, || self.run(program, &self.arguments(program, &["decrypt", "document.yaml"])))?;
        Ok((encrypt, decrypt))
    }

    /// Both programs understand the command line of sops.
    fn arguments<'a>(&self, program: &Path, arguments: &[&'a str]) -> Vec<&'a str> {
        let face: &[&str] = if program == self.ours { &["sops"] } else { &[] };
        [face, arguments].concat()
    }
}

/// The page that is written.
struct Page {
    text: String,
}

impl Page {
    fn new(bench: &Bench) -> Result<Self> {
        let processor = fs::read_to_string("/proc/cpuinfo")?;
        let model = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .unwrap_or_default();
        let cores = thread::available_parallelism()?;
        let version = |program: &Path| -> Result<String> {
            let output = Command::new(program).arg("--version").arg("--disable-version-check").output()?;
            Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or_default().to_owned())
        };
        let ours = Command::new(&bench.ours).arg("--version").output()?;
        let ours = String::from_utf8(ours.stdout)?.lines().next().unwrap_or_default().to_owned();
        let text = format!(
            "# Performance\n\n\
             `benches/run.sh` measures Selkie beside sops on the machine that it runs on, and writes this page. The\n\
             figures below are of one run; both programs have the same documents, keys and rules, one after the other.\n\
             Times are of whole processes, from start to end; memory is the most that the process had at any time.\n\n\
             - Machine: {}, {cores} cores\n- Selkie: {ours}, release build\n- sops: {}, built from its Go module\n",
            model.1,
            version(&bench.sops)?,
        );
        Ok(Self { text })
    }

    fn small_file(&mut self, bench: &Bench) -> Result<()> {
        let text = manifest(1);
        self.heading("One small file", "A Kubernetes Secret with 8 values; the median of 21 runs.");
        let (ours, theirs) =
            (bench.both_ways(&bench.ours, &text, 21)?, bench.both_ways(&bench.sops, &text, 21)?);
        self.row("encrypt", ours.0, theirs.0)?;
        self.row("decrypt", ours.1, theirs.1)
    }

    fn large_file(&mut self, bench: &Bench) -> Result<()> {
        let text = large(LARGE);
        let megabytes = text.len() as f64 / 1e6;
        self.heading(
            "One large file",
            &format!("{megabytes:.1} MB of YAML with {LARGE} values; the median of 3 runs."),
        );
        let (ours, theirs) =
            (bench.both_ways(&bench.ours, &text, 3)?, bench.both_ways(&bench.sops, &text, 3)?);
        self.row("encrypt", ours.0, theirs.0)?;
        self.row("decrypt", ours.1, theirs.1)
    }

    fn many_files(&mut self, bench: &Bench) -> Result<()> {
        self.heading(
            "Many small files",
            "Selkie takes a folder in one call; sops is started once for each file.",
        );
        for count in [200, 5000] {
            let folder = format!("many-{count}");
            let names: Vec<_> = (0..count).map(|index| format!("{folder}/{index:04}.yaml")).collect();
            let write =
                || names.iter().enumerate().try_for_each(|(index, name)| bench.write(name, &manifest(index)));
            write()?;
            let ours = bench.run(&bench.ours, &["encrypt", "-i", &folder])?;
            let ours_back = bench.run(&bench.ours, &["decrypt", "-i", &folder])?;
            write()?;
            let theirs = one_by_one(bench, "encrypt", &names)?;
            let theirs_back = one_by_one(bench, "decrypt", &names)?;
            self.row(&format!("encrypt {count} files"), ours, theirs)?;
            self.row(&format!("decrypt {count} files"), ours_back, theirs_back)?;
        }
        Ok(())
    }

    fn sizes(&mut self, bench: &Bench) -> Result<()> {
        self.text += "\n## Cost against size\n\n";
        self.text += "YAML of the same shape; a straight line has the same last column in each row.\n\n";
        self.text += "| values | bytes | encrypt | decrypt | memory | encrypt, per 1,000 values |\n|---:|---:|---:|---:|---:|---:|\n";
        for values in [1_000, 10_000, 50_000, 100_000, LARGE, 2 * LARGE] {
            let text = large(values);
            let (encrypt, decrypt) = bench.both_ways(&bench.ours, &text, 3)?;
            let each = encrypt.time.as_secs_f64() * 1e6 / values as f64;
            let memory = megabytes(encrypt.memory.max(decrypt.memory));
            let (encrypt, decrypt) = (seconds(encrypt.time), seconds(decrypt.time));
            writeln!(
                self.text,
                "| {values} | {} | {encrypt} | {decrypt} | {memory} | {each:.2} ms |",
                text.len()
            )?;
        }
        Ok(())
    }

    fn heading(&mut self, title: &str, about: &str) {
        self.text += &format!("\n## {title}\n\n{about}\n\n");
        self.text += "| | Selkie | sops | time: sops / Selkie | memory: Selkie | memory: sops |\n|---|---:|---:|---:|---:|---:|\n";
    }

    #[expect(clippy::print_stderr, reason = "the run takes minutes: somebody watches")]
    fn row(&mut self, what: &str, ours: Cost, theirs: Cost) -> Result<()> {
        let ratio = theirs.time.as_secs_f64() / ours.time.as_secs_f64();
        let (ours_time, theirs_time) = (seconds(ours.time), seconds(theirs.time));
        let (ours, theirs) = (megabytes(ours.memory), megabytes(theirs.memory));
        eprintln!("{what}: {ours_time} {theirs_time} {ratio:.1} {ours} {theirs}");
        Ok(writeln!(self.text, "| {what} | {ours_time} | {theirs_time} | {ratio:.1} | {ours} | {theirs} |")?)
    }
}

fn one_by_one(bench: &Bench, verb: &str, names: &[String]) -> Result<Cost> {
    let start = Instant::now();
    let mut memory = 0;
    for name in names {
        memory = bench.run(&bench.sops, &[verb, "-i", name])?.memory.max(memory);
    }
    Ok(Cost { time: start.elapsed(), memory })
}

/// A Secret as people write it.
fn manifest(seed: usize) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: app-{seed}\n  namespace: team-{}\ntype: Opaque\nstringData:\n",
        seed % 7
    );
    for index in 0..8 {
        let number = mixed(seed * 8 + index);
        text +=
            &format!("  # key {index}\n  KEY_{index}: \"{number:016x}{:016x}\"\n", mixed(number as usize));
    }
    text
}

/// Many values in one document, of about 32 bytes each with key and indentation.
fn large(values: usize) -> String {
    let mut text = String::new();
    for index in 0..values {
        if index % 20 == 0 {
            text += &format!("application-{:05}:\n", index / 20);
        }
        text += &format!("  setting-{:02}: {:016x}\n", index % 20, mixed(index));
    }
    text
}

/// A number that looks drawn, the same in each run.
fn mixed(seed: usize) -> u64 {
    let mut number = (seed as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (number ^ (number >> 31)) | 0xA000_0000_0000_0000
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        time if time < 1.0 => format!("{:.1} ms", time * 1e3),
        time => format!("{time:.2} s"),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// How many values the large file has.
const LARGE: usize = 180_000;

const RECIPIENT: &str = "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";

/// Made for tests and used nowhere else.
const IDENTITY: &str = include_str!("../testdata/sops/keys.txt");

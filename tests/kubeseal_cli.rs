//! The command line of kubeseal: the transcripts of `testdata/sealed-secrets/cli` are run in this process, and with
//! the real program of a later version than the one that they were recorded from.
//!
//! Where we, or the later version, do something else, the case is in a table below with what is expected in its place.

mod api;
mod cluster;
mod differences;
mod own;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use kubectl_seal::session::{Environment, Input, Output, Session};
use libtest_mimic::{Failed, Trial};
use serde_json::Value as Json;
use time::OffsetDateTime;

use crate::peer::Peer;

pub use own::ours;

/// Returns the tests that need no peer.
pub fn tests() -> Vec<Trial> {
    let cases = cases();
    let count = cases.len();
    let mut tests: Vec<_> = cases
        .into_iter()
        .map(|case| Trial::test(format!("kubeseal_cli::{}", case.test_name()), move || check_ours(&case)))
        .collect();
    tests.extend(cluster::tests());
    tests.extend(own::tests());
    tests.push(Trial::test("kubeseal_cli::there_are_cases", move || {
        let names: Vec<_> = self::cases().into_iter().map(|case| case.name).collect();
        let unknown = differences::names().find(|name| !names.iter().any(|known| known == name));
        match unknown {
            Some(name) => Err(format!("there is no case {name:?}").into()),
            None => (count == 76).then_some(()).ok_or_else(|| "the cases are not there".into()),
        }
    }));
    tests
}

/// Returns the tests that run the real program.
pub fn live_tests() -> Vec<Trial> {
    let cases = cases().into_iter().filter(|case| !differences::depends_on_the_date(&case.name));
    let test = |case: Case| {
        Peer::Kubeseal
            .test(format!("cli::{}", case.test_name()), move |program| check_theirs(&case, &program))
    };
    cases.map(test).chain(cluster::live_tests()).chain(own::live_tests()).collect()
}

/// What is run, and what came of it.
#[derive(Clone)]
pub struct Case {
    name: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    stdin: String,
    outcome: Outcome,
}

/// What came of a run. What is encrypted is masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code.
    pub exit: i32,
    /// The output.
    pub stdout: String,
    /// The messages.
    pub stderr: String,
    /// The files that were written, with their modes.
    pub files: BTreeMap<String, (u32, String)>,
}

/// What a run left, as it is.
pub struct Ran {
    /// The exit code.
    pub exit: i32,
    /// The output.
    pub stdout: String,
    /// The messages.
    pub stderr: String,
}

impl Case {
    fn test_name(&self) -> String {
        self.name.replace(' ', "_")
    }
}

fn check_ours(case: &Case) -> Result<(), Failed> {
    let folder = prepare()?;
    let found = run_ours(case, folder.path());
    let mut expected = case.outcome.clone();
    differences::of_ours(&case.name, &mut expected);
    compare(&found, &expected)
}

fn check_theirs(case: &Case, program: &Path) -> Result<(), Failed> {
    let folder = prepare()?;
    let found = run_theirs(case, program, folder.path())?;
    let mut expected = case.outcome.clone();
    differences::of_later_version(&case.name, &mut expected);
    compare(&found, &expected)
}

fn run_ours(case: &Case, folder: &Path) -> Outcome {
    let Ran { exit, stdout, stderr } = start_ours(case, folder);
    outcome(case, folder, exit, &stdout, &stderr)
}

fn start_ours(case: &Case, folder: &Path) -> Ran {
    let (stdout, stderr) = (Captured::default(), Captured::default());
    let session = Session {
        environment: case.variables.iter().cloned().collect::<Environment>(),
        directory: folder.to_owned(),
        stdin: Input::new(io::Cursor::new(case.stdin.clone()), false),
        stdout: Output::new(stdout.clone(), false),
        stderr: Output::new(stderr.clone(), false),
        clock: || OffsetDateTime::from_unix_timestamp(NOW).expect("it is a time"),
        audit: "/nonexistent".into(),
    };
    let arguments: Vec<OsString> = std::iter::once("kubeseal")
        .chain(case.arguments.iter().map(String::as_str))
        .map(Into::into)
        .collect();
    let exit = kubectl_seal::run(&session, &arguments);
    Ran { exit: exit.code().into(), stdout: stdout.text(), stderr: stderr.text() }
}

fn run_theirs(case: &Case, program: &Path, folder: &Path) -> Result<Outcome, Failed> {
    let Ran { exit, stdout, stderr } = start_theirs(case, program, folder)?;
    Ok(outcome(case, folder, exit, &stdout, &stderr))
}

fn start_theirs(case: &Case, program: &Path, folder: &Path) -> Result<Ran, Failed> {
    let link = folder.join("bin/kubeseal");
    fs::create_dir(folder.join("bin"))?;
    std::os::unix::fs::symlink(program, link)?;
    let mut command = Command::new("/bin/sh");
    // The name under which it is started stands in its usage.
    command.arg("-c").arg("exec kubeseal \"$@\"").arg("sh").args(&case.arguments).current_dir(folder);
    command.env_clear().env("PATH", folder.join("bin")).envs(case.variables.iter().cloned());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // It need not read.
    let _ = child.stdin.take().ok_or("no stdin")?.write_all(case.stdin.as_bytes());
    let output = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let exit = output.status.code().ok_or("a signal ended it")?;
    Ok(Ran { exit, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

impl Case {
    /// Returns a case of which nothing is expected yet.
    fn new(arguments: &str, stdin: &str) -> Self {
        let outcome =
            Outcome { exit: 0, stdout: String::new(), stderr: String::new(), files: BTreeMap::new() };
        Self {
            name: String::new(),
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
            variables: Vec::new(),
            stdin: stdin.to_owned(),
            outcome,
        }
    }
}

fn outcome(case: &Case, folder: &Path, exit: i32, stdout: &str, stderr: &str) -> Outcome {
    let read = |name: &String| {
        let path = folder.join(name);
        let mode = fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777);
        let content = fs::read_to_string(path).unwrap_or_default();
        (name.clone(), (mode.unwrap_or_default(), masked(&content)))
    };
    let files = case.outcome.files.keys().map(read).collect();
    Outcome { exit, stdout: masked(stdout), stderr: masked(stderr), files }
}

fn compare(found: &Outcome, expected: &Outcome) -> Result<(), Failed> {
    let is_same = found.exit == expected.exit
        && matches(&found.stdout, &expected.stdout)
        && matches(&found.stderr, &expected.stderr)
        && found.files == expected.files;
    is_same.then_some(()).ok_or_else(|| format!("it is\n{found:#?}\nnot\n{expected:#?}").into())
}

/// Returns whether a text is another one, up to what is left out of that.
fn matches(found: &str, expected: &str) -> bool {
    let gap = ["...[flag list elided]...", "\n[goroutine trace elided]"];
    match gap.iter().find_map(|gap| expected.split_once(gap)) {
        Some((before, after)) => {
            found.len() >= before.len() + after.len() && found.starts_with(before) && found.ends_with(after)
        }
        None => found == expected,
    }
}

/// Returns a text with a mark in place of what is encrypted.
fn masked(text: &str) -> String {
    let is_base64 = |char: char| char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '=');
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_base64) {
        let length = rest[start..].find(|char| !is_base64(char)).unwrap_or(rest.len() - start);
        let word = &rest[start..start + length];
        out += &rest[..start];
        out += if length >= SEALED { "<SEALED>" } else { word };
        rest = &rest[start + length..];
    }
    out + rest
}

/// Makes the files that the cases read.
fn prepare() -> Result<tempfile::TempDir, Failed> {
    let folder = tempfile::tempdir()?;
    for file in fs::read_dir(source())? {
        let path = file?.path();
        fs::copy(&path, folder.path().join(path.file_name().ok_or("no name")?))?;
    }
    let sealed = fs::read_to_string(source().join("ss.yaml"))?;
    let pair = |name: &str| fs::read_to_string(source().with_file_name(name));
    let files = [
        ("k.crt", pair("cert.pem")?),
        ("k.key", pair("key-pkcs8.pem")?),
        ("m1.yaml", sealed.clone()),
        ("m2.yaml", sealed.clone()),
        ("m3.yaml", sealed),
        ("m4.yaml", differences::M4.to_owned()),
        ("m5.yaml", differences::M5.to_owned()),
        ("o2.json", "old".to_owned()),
    ];
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::write(&path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(folder)
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string(source().join("cases.json")).unwrap_or_default();
    let cases: Vec<Json> = serde_json::from_str(&text).unwrap_or_default();
    cases.iter().map(read).collect()
}

fn read(case: &Json) -> Case {
    let text = |field: &str| case[field].as_str().unwrap_or_default().to_owned();
    let strings = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let variables = case["env"].as_object().into_iter().flatten();
    let file = |(name, file): (&String, &Json)| {
        let mode = strings(&file["mode"]);
        let mode = u32::from_str_radix(mode.trim_start_matches("0o"), 8).unwrap_or_default();
        (name.clone(), (mode, strings(&file["content"])))
    };
    Case {
        name: text("case"),
        arguments: case["args"].as_array().into_iter().flatten().map(strings).collect(),
        variables: variables.map(|(name, value)| (name.clone(), strings(value))).collect(),
        stdin: text("stdin"),
        outcome: Outcome {
            exit: case["exit"].as_i64().and_then(|exit| i32::try_from(exit).ok()).unwrap_or(-1),
            stdout: text("stdout"),
            stderr: text("stderr"),
            files: case["files"].as_object().into_iter().flatten().map(file).collect(),
        },
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sealed-secrets/cli")
}

/// What a run writes.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nothing panics while it writes")).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nothing panics while it writes").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long a word is that must be encrypted: no other one of the cases is.
const SEALED: usize = 300;

/// 2026-11-23 12:00 UTC: some certificates have expired then, others are not valid yet.
const NOW: i64 = 1_795_435_200;

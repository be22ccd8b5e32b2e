//! The command line, as scripts see it: the transcripts of `testdata/sops-cli` are run with this program
//! under the name `sops`, and with real sops; those of `testdata/kubectl-seal` with this program alone.
//!
//! How a transcript is written is told in `testdata/sops-cli/README.md`.

mod transcript;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::peer::Peer;
use transcript::{Case, Expected, Program, Step};

/// Runs the program in place of the tests, if it was started under one of its names.
pub fn run_as_program() -> Option<ExitCode> {
    let name = PathBuf::from(env::args_os().next()?);
    let name = name.file_name()?.to_str()?;
    NAMES.contains(&name).then(kubectl_seal::main)
}

/// Returns the tests that need no peer.
pub fn tests() -> Vec<Trial> {
    let program = || env::current_exe().map_err(Failed::from);
    let test = |case: Case| {
        let name = format!("sops_cli::{}", case.test_name());
        Trial::test(name, move || run(&case, Program::Selkie, &program()?))
    };
    let own = cases("testdata/kubectl-seal");
    let mut tests: Vec<_> = cases("testdata/sops-cli").into_iter().chain(own).map(test).collect();
    tests.push(Trial::test("sops_cli::there_are_cases", || {
        let is_there = cases("testdata/sops-cli").len() > 50 && !cases("testdata/kubectl-seal").is_empty();
        is_there.then_some(()).ok_or_else(|| "the cases are not there".into())
    }));
    tests
}

/// Returns the tests that run real sops.
pub fn live_tests() -> Vec<Trial> {
    let test = |case: Case| {
        let name = format!("cli::{}", case.test_name());
        Peer::Sops313.test(name, move |program| run(&case, Program::Sops, &program))
    };
    let cases = cases("testdata/sops-cli").into_iter();
    cases.filter(|case| !case.is_only_for(Program::Selkie)).map(test).collect()
}

fn cases(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|file| file.path());
    let mut files: Vec<_> = files.filter(|file| file.extension() == Some(OsStr::new("case"))).collect();
    files.sort();
    files.iter().flat_map(|file| transcript::read(file)).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sops-cli")
}

/// Runs a case in a folder of its own.
fn run(case: &Case, program: Program, executable: &Path) -> Result<(), Failed> {
    let place = tempfile::tempdir()?;
    let (work, bin, home) = (place.path().join("work"), place.path().join("bin"), place.path().join("home"));
    for folder in [&work, &bin, &home] {
        fs::create_dir(folder)?;
    }
    for name in NAMES {
        symlink(executable, bin.join(name))?;
    }
    // A copy for the owner alone, as identities should be.
    let identities = home.join("identities.txt");
    fs::copy(folder().join("identities.txt"), &identities)?;
    fs::set_permissions(&identities, fs::Permissions::from_mode(0o600))?;
    for (name, content) in &case.files {
        let path = work.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&work))?;
        fs::write(path, content)?;
    }
    for step in &case.steps {
        let output = run_step(step, &work, &bin, &home)?;
        compare(step, program, &output, &work)
            .map_err(|why| Failed::from(format!("line {}: {}\n{why}", step.line, step.command)))?;
    }
    Ok(())
}

fn run_step(step: &Step, work: &Path, bin: &Path, home: &Path) -> Result<Output, Failed> {
    let recipients = fs::read_to_string(folder().join("recipients.txt"))?;
    let mut recipients = recipients.lines();
    let mut recipient = || recipients.next().unwrap_or_default();
    let path = env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(&step.command).current_dir(work).stdin(Stdio::null()).env_clear();
    shell.env("PATH", format!("{}:{path}", bin.display())).env("HOME", home).env("TMPDIR", home);
    shell.env("RECIPIENT", recipient()).env("OTHER", recipient()).env("STRANGER", recipient());
    shell.env("SOPS_AGE_KEY_FILE", home.join("identities.txt"));
    shell.env("GOLDEN", folder().with_file_name("sops"));
    shell.env("SOPS_DISABLE_VERSION_CHECK", "true");
    Ok(shell.output()?)
}

fn compare(step: &Step, program: Program, output: &Output, work: &Path) -> Result<(), String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&work.display().to_string(), "[DIR]");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let everything =
        || format!("--- exit {:?}\n--- stdout\n{stdout}--- stderr\n{stderr}", output.status.code());
    let expected: Expected<'_> = step.expected(program);
    if output.status.code() != Some(expected.exit) {
        return Err(format!("the exit code is not {}\n{}", expected.exit, everything()));
    }
    for (name, expected, found) in
        [("stdout", expected.stdout, &stdout), ("stderr", expected.stderr, &stderr)]
    {
        if !transcript::matches(expected, found) {
            return Err(format!("{name} is not\n{expected}\n{}", everything()));
        }
    }
    Ok(())
}

/// The names that the program is started under.
const NAMES: [&str; 3] = ["kubectl-seal", "kubectl_complete-seal", "sops"];

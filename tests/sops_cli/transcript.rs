//! Transcripts: what was run in a shell, and what came of it.

use std::fs;
use std::path::Path;

/// One case of a file.
pub struct Case {
    file: String,
    name: String,
    /// The program that alone it is for.
    only: Option<Program>,
    /// The files that are there at its start.
    pub files: Vec<(String, String)>,
    /// What is run.
    pub steps: Vec<Step>,
}

/// A command line and what is to come of it.
#[derive(Default)]
pub struct Step {
    /// The line of the file.
    pub line: usize,
    /// The command line, for the shell.
    pub command: String,
    exit: Wanted<i32>,
    stdout: Wanted<String>,
    stderr: Wanted<String>,
}

/// A program that cases are run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Ours.
    Selkie,
    /// The real one.
    Sops,
}

/// What a program is to do.
pub struct Expected<'a> {
    /// Its exit code.
    pub exit: i32,
    /// Patterns for the lines of its output.
    pub stdout: &'a str,
    /// Patterns for the lines of its messages.
    pub stderr: &'a str,
}

/// What is wanted of both programs, or of each.
#[derive(Default)]
struct Wanted<T> {
    both: T,
    selkie: Option<T>,
    sops: Option<T>,
}

/// Reads a file of cases.
///
/// # Panics
/// If it is malformed: it is part of the tests.
pub fn read(path: &Path) -> Vec<Case> {
    let text = fs::read_to_string(path).expect("the file is there");
    let file = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
    let mut cases: Vec<Case> = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let mut block = || {
            let mut block = String::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with("  ") || line.is_empty()) {
                block += line.strip_prefix("  ").unwrap_or_default();
                block.push('\n');
            }
            let trimmed = block.trim_end_matches('\n').len();
            block.truncate(trimmed);
            if !block.is_empty() {
                block.push('\n');
            }
            block
        };
        if let Some(name) = line.strip_prefix("# ") {
            let (file, name) = (file.clone(), name.to_owned());
            cases.push(Case { file, name, only: None, files: Vec::new(), steps: Vec::new() });
            continue;
        }
        if line.is_empty() || line.starts_with('%') {
            continue;
        }
        let case = cases.last_mut().expect("a case begins with its name");
        if let Some(command) = line.strip_prefix("$ ") {
            case.steps.push(Step { line: at + 1, command: command.to_owned(), ..Step::default() });
        } else if let Some(name) = line.strip_prefix("file ") {
            case.files.push((name.trim_end_matches(':').to_owned(), block()));
        } else if line == "only selkie" {
            case.only = Some(Program::Selkie);
        } else {
            let (what, value) = line.split_once(':').expect("a field has a colon");
            let step = case.steps.last_mut().expect("what comes of a step follows it");
            let (what, program) = match what.split_once(' ') {
                None => (what, None),
                Some((what, "selkie")) => (what, Some(Program::Selkie)),
                Some((what, "sops")) => (what, Some(Program::Sops)),
                Some(_) => panic!("{}: line {}: no such program", path.display(), at + 1),
            };
            match what {
                "exit" => step.exit.set(program, value.trim().parse().expect("a number")),
                "stdout" => step.stdout.set(program, block()),
                "stderr" => step.stderr.set(program, block()),
                _ => panic!("{}: line {}: no such field", path.display(), at + 1),
            }
        }
    }
    cases
}

/// Returns whether a text fits patterns: `...` alone stands for any lines, `[..]` for any part of one.
pub fn matches(patterns: &str, text: &str) -> bool {
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let patterns: Vec<_> = patterns.split_inclusive('\n').collect();
    lines_match(&patterns, &lines)
}

impl Case {
    /// Returns the name of the case's test.
    pub fn test_name(&self) -> String {
        format!("{}::{}", self.file, self.name.replace(' ', "_"))
    }

    /// Returns whether no other program is to run it.
    pub fn is_only_for(&self, program: Program) -> bool {
        self.only == Some(program)
    }
}

impl Step {
    /// Returns what a program is to do.
    pub fn expected(&self, program: Program) -> Expected<'_> {
        Expected {
            exit: *self.exit.of(program),
            stdout: self.stdout.of(program),
            stderr: self.stderr.of(program),
        }
    }
}

impl<T> Wanted<T> {
    fn set(&mut self, program: Option<Program>, value: T) {
        match program {
            None => self.both = value,
            Some(Program::Selkie) => self.selkie = Some(value),
            Some(Program::Sops) => self.sops = Some(value),
        }
    }

    fn of(&self, program: Program) -> &T {
        let own = match program {
            Program::Selkie => &self.selkie,
            Program::Sops => &self.sops,
        };
        own.as_ref().unwrap_or(&self.both)
    }
}

fn lines_match(patterns: &[&str], lines: &[&str]) -> bool {
    match patterns {
        [] => lines.is_empty(),
        ["...\n", rest @ ..] => (0..=lines.len()).any(|skipped| lines_match(rest, &lines[skipped..])),
        [pattern, rest @ ..] => match lines {
            [line, others @ ..] => line_matches(pattern, line) && lines_match(rest, others),
            [] => false,
        },
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    // A last line may lack its end: `\` at the end of a pattern says so.
    let pattern = match pattern.strip_suffix("\\\n") {
        Some(pattern) => pattern.to_owned(),
        None => pattern.to_owned(),
    };
    let mut parts = pattern.split("[..]");
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

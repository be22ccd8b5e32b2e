//! `check`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use selkie::check::baseline::Work;
use selkie::check::config::FixMode;
use selkie::check::{RULES, rule};

use super::{RunError, Surroundings};
use crate::change::{Blobs, Change, Outside};
use crate::exit::Exit;
use crate::fix::Fix;
use crate::git::{GitError, Repository};
use crate::keys::KeysVerifier;
use crate::modes::{self, Wanted};
use crate::report::{self, Format, Options};
use crate::run::{Outcome, Runner};

/// Look for plaintext secrets in what Git is about to commit
///
/// Without a path or a mode, the index is checked against HEAD; where they are the same, as in CI, all of it. Whole blobs
/// are judged, by structure and by the creation rules of the repository; nothing needs a key or a network, and no value is
/// ever told.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Files and folders of the disk, whether Git knows them or not; - for stdin
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    mode: Mode,

    /// The path of what stdin holds, from the top of the repository on
    #[arg(long, value_name = "PATH")]
    stdin_path: Option<String>,

    /// The remote that is pushed to, so that only what it has not got is looked at
    #[arg(long, value_name = "NAME", requires = "pre_push")]
    remote: Option<String>,

    /// Let warnings stop a commit, too
    #[arg(long)]
    strict: bool,

    /// Check MACs with the keys at hand, also where the configuration does not ask for it
    #[arg(long)]
    with_key: bool,

    /// How the report on stdout is written [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,

    /// Write a report to a file, too, such as sarif=check.sarif
    #[arg(long, value_name = "FORMAT=FILE", value_parser = report_file)]
    report: Vec<(Format, PathBuf)>,

    /// Tell also what is allowed, in the baseline, or was there before
    #[arg(long)]
    all_findings: bool,

    /// Stop after so many seconds, and say what was not looked at
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,

    /// Tell what a rule is about, and how to mend what it finds; `all` lists the rules
    #[arg(long, value_name = "RULE", exclusive = true)]
    explain: Option<String>,
}

/// What to check.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[group(multiple = false)]
struct Mode {
    /// The index against HEAD, or all of it where they are the same
    #[arg(long)]
    staged: bool,

    /// All files of the index
    #[arg(long)]
    all: bool,

    /// All new blobs of the commits of a range, such as main..HEAD
    #[arg(long, value_name = "RANGE")]
    range: Option<String>,

    /// What Git's pre-push hook says that is pushed
    #[arg(long)]
    pre_push: bool,

    /// What Git's pre-receive hook says that a server received
    #[arg(long)]
    pre_receive: bool,

    /// The message of a commit
    #[arg(long, value_name = "FILE")]
    commit_msg: Option<PathBuf>,

    /// What a hook manager wants, by its variables
    #[arg(long)]
    hook: bool,
}

impl CheckArgs {
    /// Checks, and tells what was found.
    pub fn run(&self, mut surroundings: Surroundings<'_>) -> Exit {
        let result = self.check(&mut surroundings);
        surroundings.end(result)
    }

    fn check(&self, surroundings: &mut Surroundings<'_>) -> Result<Exit, RunError> {
        if let Some(id) = &self.explain {
            return explain(id, surroundings);
        }
        let started = Instant::now();
        let wanted = self.wanted(surroundings)?;
        let repository = match Repository::find(&surroundings.folder) {
            Ok(repository) => Some(repository),
            Err(GitError::NoRepository(_)) if matches!(wanted, Wanted::Paths(_) | Wanted::Stdin(_)) => None,
            Err(error) => return Err(refused(error)),
        };
        let mut outcome = self.outcome(repository.as_ref(), &wanted, surroundings)?;
        outcome.took = started.elapsed();
        self.mend(repository.as_ref(), &wanted, &mut outcome, surroundings)?;
        self.tell(&outcome, surroundings)?;
        Ok(outcome.exit(self.strict))
    }

    /// Returns what the user asked for.
    fn wanted(&self, surroundings: &Surroundings<'_>) -> Result<Wanted, RunError> {
        let mode = &self.mode;
        let has_mode = *mode != Mode::default();
        if has_mode && !self.paths.is_empty() {
            return Err(RunError::Usage("paths of the disk and a mode of Git exclude each other".to_owned()));
        }
        let variable = |name| (surroundings.environment)(name).filter(|value| !value.is_empty());
        let is_stdin = self.paths == [Path::new("-")];
        if self.stdin_path.is_some() && !is_stdin {
            let message = "--stdin-path is for what stdin holds: give - as the only path, and no mode";
            return Err(RunError::Usage(message.to_owned()));
        }
        if is_stdin {
            let path = self.stdin_path.clone();
            let wanted = path.map(Wanted::Stdin);
            let message = "say with --stdin-path which path stdin is for: rules depend on it";
            return wanted.ok_or_else(|| RunError::Usage(message.to_owned()));
        }
        Ok(match mode {
            _ if !self.paths.is_empty() => Wanted::Paths(self.paths.clone()),
            Mode { all: true, .. } => Wanted::All,
            Mode { range: Some(range), .. } => Wanted::Range(range.clone()),
            Mode { pre_receive: true, .. } => Wanted::PreReceive,
            Mode { commit_msg: Some(file), .. } => Wanted::CommitMessage(file.clone()),
            Mode { pre_push: true, .. } => Wanted::PrePush(self.remote.clone()),
            // A branch that is all new has no commit to begin from.
            Mode { hook: true, .. }
                if variable("PRE_COMMIT_TO_REF").or(variable("PRE_COMMIT_LOCAL_BRANCH")).is_some() =>
            {
                Wanted::PrePush(None)
            }
            // Run by hand, with or without `--all-files`, which nothing tells apart: Git names an index to each commit.
            Mode { hook: true, .. }
                if variable("PRE_COMMIT").is_some() && variable("GIT_INDEX_FILE").is_none() =>
            {
                Wanted::All
            }
            _ => Wanted::Staged,
        })
    }

    /// Checks every change.
    fn outcome(
        &self,
        repository: Option<&Repository>,
        wanted: &Wanted,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Outcome, RunError> {
        let deadline = self.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let how = How { force_keys: self.with_key, deadline, ..How::default() };
        outcome(repository, wanted, how, surroundings)
    }

    /// Mends what can be mended, if the repository wants it so.
    fn mend(
        &self,
        repository: Option<&Repository>,
        wanted: &Wanted,
        outcome: &mut Outcome,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), RunError> {
        let Some(repository) = repository.filter(|_| *wanted == Wanted::Staged) else { return Ok(()) };
        if outcome.fix != FixMode::Stage || outcome.exit(self.strict) == Exit::Clean {
            return Ok(());
        }
        let fixed = surroundings.fix(repository, outcome, &Fix::default());
        let fixed = fixed.map_err(RunError::Unverified)?;
        super::mend::tell(&fixed, false, surroundings)?;
        outcome.fixed = fixed.mended;
        Ok(())
    }

    fn tell(&self, outcome: &Outcome, surroundings: &mut Surroundings<'_>) -> Result<(), RunError> {
        let strict = self.strict || outcome.is_strict;
        let options = Options { colour: surroundings.colour, strict, verbose: self.all_findings };
        self.format.unwrap_or_default().write(outcome, options, surroundings.output)?;
        let is_on_github = (surroundings.environment)("GITHUB_ACTIONS").as_deref() == Some("true");
        if self.format.is_none() && is_on_github {
            Format::Github.write(outcome, options, surroundings.output)?;
        }
        if self.mode.pre_receive && self.format.is_none() {
            Format::GlHookErr.write(outcome, options, surroundings.messages)?;
        }
        surroundings.output.flush()?;
        for (format, path) in &self.report {
            let mut text = Vec::new();
            format.write(outcome, Options { colour: false, ..options }, &mut text)?;
            let path = surroundings.folder.join(path);
            let written = write_report(&path, &text);
            written.map_err(|error| {
                RunError::Unverified(format!("{} cannot be written: {error}", path.display()))
            })?;
        }
        Ok(())
    }
}

/// How a run checks.
#[derive(Clone, Copy, Default)]
pub(super) struct How {
    pub force_keys: bool,
    pub deadline: Option<Instant>,
    pub without_baseline: bool,
    pub keeps_paths: bool,
}

/// Checks every change that is wanted.
pub(super) fn outcome(
    repository: Option<&Repository>,
    wanted: &Wanted,
    how: How,
    surroundings: &mut Surroundings<'_>,
) -> Result<Outcome, RunError> {
    let verifier = KeysVerifier::new(surroundings.keys);
    let blobs: &dyn Blobs = match repository {
        Some(repository) => repository,
        None => &Outside,
    };
    let runner = Runner {
        blobs,
        keys: Some(&verifier),
        force_keys: how.force_keys,
        today: surroundings.now.date(),
        deadline: how.deadline,
        without_baseline: how.without_baseline,
        work: how
            .deadline
            .map_or_else(Work::default, |deadline| Work::until(move || Instant::now() > deadline)),
    };
    let mut outcome = Outcome::default();
    let mut visit = |change: Change| {
        if how.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(GitError::Unreadable(
                "the time was over before all changes were looked at".to_owned(),
            ));
        }
        runner.check(&change, &mut outcome);
        if how.keeps_paths {
            outcome.paths.extend(change.items.into_iter().map(|item| item.path));
        }
        Ok(())
    };
    let environment = |name: &str| (surroundings.environment)(name);
    let input = &mut *surroundings.input;
    let changes = modes::changes(repository, wanted, &surroundings.folder, input, &environment, &mut visit);
    match changes.map_err(refused) {
        // What was found before it is no less true.
        Err(RunError::Unverified(error)) => outcome.unverified.push(error),
        changes => changes?,
    }
    if outcome.late > 0 {
        let late = outcome.late;
        outcome.unverified.push(format!("{late} files were not looked at before the time was over"));
    }
    for found in &mut outcome.findings {
        found.finding.remedy = surroundings.own_words(&found.finding.remedy);
        if found.finding.rule.id == "META003" {
            found.finding.message = surroundings.own_words(&found.finding.message);
        }
    }
    Ok(outcome)
}

/// Checks the index, for what mends it.
pub(super) fn outcome_of_index(
    repository: &Repository,
    surroundings: &mut Surroundings<'_>,
) -> Result<Outcome, RunError> {
    let how = How { keeps_paths: true, ..How::default() };
    outcome(Some(repository), &Wanted::Staged, how, surroundings)
}

/// Checks all files of the index without a baseline, for a new one.
pub(super) fn outcome_of_all(
    repository: &Repository,
    surroundings: &mut Surroundings<'_>,
) -> Result<Outcome, RunError> {
    let how = How { without_baseline: true, ..How::default() };
    outcome(Some(repository), &Wanted::All, how, surroundings)
}

/// Tells what a rule is about, or which rules there are.
fn explain(id: &str, surroundings: &mut Surroundings<'_>) -> Result<Exit, RunError> {
    if id == "all" {
        for rule in RULES {
            writeln!(surroundings.output, "{:<8} {:<7}  {}", rule.id, rule.severity.name(), rule.title)?;
        }
        return Ok(Exit::Clean);
    }
    let found = rule(&id.to_ascii_uppercase()).ok_or_else(|| {
        let message =
            format!("there is no rule {id}; {} check --explain all lists them", surroundings.program);
        RunError::Usage(message)
    })?;
    report::explain(found, surroundings.output)?;
    Ok(Exit::Clean)
}

/// Says how a refusal of Git ends.
pub(super) fn refused(error: GitError) -> RunError {
    match error {
        GitError::File { .. }
        | GitError::NoRepository(_)
        | GitError::NoWorktree(_)
        | GitError::UnknownRevision(_) => RunError::Usage(error.to_string()),
        _ => RunError::Unverified(error.to_string()),
    }
}

fn format(name: &str) -> Result<Format, String> {
    let names = || Format::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
    let found = Format::ALL.iter().copied().find(|format| format.name() == name);
    found.ok_or_else(|| format!("the formats are {}", names()))
}

fn report_file(text: &str) -> Result<(Format, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write FORMAT=FILE, such as sarif=check.sarif")?;
    Ok((format(name)?, file.into()))
}

/// Writes a report where somebody wants it: into a file at once, into a pipe or a device as it is.
fn write_report(path: &Path, text: &[u8]) -> std::io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => fs::OpenOptions::new().write(true).open(path)?.write_all(text),
        _ => write_atomically(path, text),
    }
}

/// Writes a file so that nobody reads half of it. Where a link is, the file is written that it leads to.
pub(super) fn write_atomically(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let target = match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink() => path.to_owned(),
        target => target?,
    };
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file.path(), permissions)?;
    file.persist(target)?;
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal check                         what is staged
  kubectl seal check --all --strict          everything, in CI
  kubectl seal check --range origin/main..   the commits of a branch
  kubectl seal check --format sarif
  kubectl seal check --explain SOPS002";

//! `install`, `uninstall`, `status`, `config` and `baseline`.

use selkie::check::Snapshot;
use selkie::check::baseline::Baseline;
use selkie::check::config::Config;
use selkie::sealed::SealingCert;
use time::OffsetDateTime;

use super::check::refused;
use super::{RunError, Surroundings, baseline};
use crate::exit::Exit;
use crate::git::Repository;
use crate::install::{self, Install};
use crate::modes;

/// Let Git call the checks, and say how this repository is checked
#[derive(Clone, Debug, clap::Subcommand)]
pub enum HookArgs {
    /// Write the baseline: what is in clear already and is to be told no more
    ///
    /// Each entry is a slow, salted commitment to a value at its place, so that the file tells nothing of it, a changed
    /// value is told again, and a moved line is not. Entries for what is gone are taken out.
    Baseline(baseline::Args),
    /// Say how this repository is checked by what is staged, and what is wrong with its configuration
    Config {
        /// Also look for a certificate or a baseline that cannot be used, and for what is allowed no more, and end with 2
        /// if there is any
        #[arg(long)]
        check: bool,
    },
    /// Let Git call the checks before it commits and pushes
    Install {
        /// Which hooks [default: pre-commit, pre-merge-commit, pre-push and commit-msg, or pre-receive of a bare one]
        #[arg(value_name = "HOOK")]
        hooks: Vec<String>,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say which hooks are there, and whether Git calls them
    Status,
    /// Take the hooks out again
    Uninstall,
}

impl HookArgs {
    /// Does it.
    pub fn run(&self, mut surroundings: Surroundings<'_>) -> Exit {
        let result = self.act(&mut surroundings);
        surroundings.end(result)
    }

    fn act(&self, surroundings: &mut Surroundings<'_>) -> Result<Exit, RunError> {
        let repository = Repository::find(&surroundings.folder).map_err(refused)?;
        let usage = |error: install::InstallError| RunError::Usage(error.to_string());
        match self {
            Self::Baseline(args) => args.run(&repository, surroundings),
            Self::Config { check } => describe(&repository, *check, surroundings),
            Self::Install { hooks, dry_run } => {
                let program = surroundings.program.to_owned();
                let executable = std::env::current_exe();
                let executable = executable.map_err(|error| {
                    RunError::Usage(format!("nobody can tell where this program is: {error}"))
                })?;
                let install = Install { program, executable, hooks: hooks.clone(), dry_run: *dry_run };
                install::install(&repository, &install, surroundings.output).map_err(usage)?;
                Ok(Exit::Clean)
            }
            Self::Status => {
                let is_called = install::status(&repository, surroundings.output).map_err(usage)?;
                Ok(if is_called { Exit::Clean } else { Exit::Findings })
            }
            Self::Uninstall => {
                install::uninstall(&repository, surroundings.output).map_err(usage)?;
                Ok(Exit::Clean)
            }
        }
    }
}

/// Says how the repository is checked: as the index or, without a worktree, `HEAD` has it.
fn describe(
    repository: &Repository,
    check: bool,
    surroundings: &mut Surroundings<'_>,
) -> Result<Exit, RunError> {
    let files = modes::all_files(repository).map_err(refused)?;
    let unreadable = |error| RunError::Unverified(format!("{}: {error}", Config::NAME));
    let config = match files.read(Config::NAME).map_err(unreadable)? {
        None => {
            writeln!(surroundings.output, "there is no {}: every rule holds as it is", Config::NAME)?;
            Config::default()
        }
        Some(text) => {
            let config = Config::parse(&text);
            let config = config.map_err(|error| {
                RunError::Usage(format!("{}:{}: {}", Config::NAME, error.line, error.message))
            })?;
            for line in config.describe() {
                writeln!(surroundings.output, "{line}")?;
            }
            config
        }
    };
    let faults = if check { faults(&files, &config, surroundings.now) } else { Vec::new() };
    for fault in &faults {
        writeln!(surroundings.messages, "{}", fault.escape_debug())?;
    }
    Ok(if faults.is_empty() { Exit::Clean } else { Exit::Usage })
}

/// Returns what is wrong beside the configuration itself.
fn faults(files: &dyn Snapshot, config: &Config, now: OffsetDateTime) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(path) = config.sealing_cert() {
        let cert = match files.read(path) {
            Err(error) => Err(error),
            Ok(None) => Err("it is not among the files that Git knows".to_owned()),
            Ok(Some(text)) => SealingCert::parse(&text).map_err(|error| error.to_string()),
        };
        let cert = cert.and_then(|cert| cert.check_expiry(now).map_err(|error| error.to_string()));
        faults.extend(cert.err().map(|error| format!("sealed.cert: {path}: {error}")));
    }
    for (path, until) in config.expired(now.date()) {
        faults.push(format!("what is allowed in {path} expired: {until} was its last day"));
    }
    let baseline = match files.read(Baseline::NAME) {
        Err(error) => Some(error),
        Ok(text) => text.and_then(|text| Baseline::parse(&text).err()).map(|error| error.to_string()),
    };
    faults.extend(baseline.map(|error| format!("{}: {error}", Baseline::NAME)));
    faults
}

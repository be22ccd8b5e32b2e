//! `baseline`.

use rand::rngs::OsRng;
use selkie::check::Finding;
use selkie::check::baseline::Baseline;

use super::check::{outcome_of_all, write_atomically};
use super::{RunError, Surroundings};
use crate::exit::Exit;
use crate::git::Repository;

/// What becomes of the baseline.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Only take entries out for what is gone
    #[arg(long)]
    prune: bool,
}

impl Args {
    /// Writes the baseline of the worktree.
    pub(super) fn run(
        &self,
        repository: &Repository,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Exit, RunError> {
        let path = repository.top().join(Baseline::NAME);
        let old = match std::fs::read(&path) {
            Ok(text) => Baseline::parse(&text).map_err(|error| {
                RunError::Usage(format!("{}:{}: {}", Baseline::NAME, error.line, error.message))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Baseline::default(),
            Err(error) => return Err(RunError::Unverified(format!("{}: {error}", Baseline::NAME))),
        };
        let outcome = outcome_of_all(repository, surroundings)?;
        if let Some(first) = outcome.unverified.first() {
            return Err(RunError::Unverified(format!("a baseline would not be whole: {first}")));
        }
        let found: Vec<Finding> = outcome.findings.into_iter().map(|found| found.finding).collect();
        let new = if self.prune { old.prune(&found) } else { old.renew(&found, &mut OsRng) };
        let text = new.to_string();
        let entries = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        write_atomically(&path, text.as_bytes()).map_err(|error| {
            RunError::Unverified(format!("{} cannot be written: {error}", Baseline::NAME))
        })?;
        writeln!(
            surroundings.messages,
            "{} has {entries} {}; the values are still in the repository: rotate them when you can",
            Baseline::NAME,
            if entries == 1 { "entry" } else { "entries" }
        )?;
        Ok(Exit::Clean)
    }
}

//! The command line: of `seal-hook`, and of the commands of `kubectl seal` that are the same.

mod baseline;
mod check;
mod hook;
mod mend;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use time::OffsetDateTime;

use crate::exit::Exit;
use crate::fix::{self, Fix, Fixed};
use crate::git::Repository;
use crate::keys::{AUDIT_CONFIGURATION, Keys, LocalKeys, PublicOnly, is_audited};
use crate::run::Outcome;

pub use check::CheckArgs;
pub use hook::HookArgs;
pub use mend::FixArgs;

/// Keep plaintext secrets out of a GitOps repository
///
/// What Git is about to commit, push or receive is judged by its structure and by the repository's own policy: without
/// a key, without a network, and without ever telling a value.
#[derive(Debug, Parser)]
#[command(name = "seal-hook", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(CheckArgs),
    Fix(FixArgs),
    #[command(flatten)]
    Hook(HookArgs),
}

/// What a run has from its process, or from the program that it is a part of.
pub struct Surroundings<'a> {
    /// The working directory, absolute.
    pub folder: PathBuf,
    /// Returns a variable of the environment.
    pub environment: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// Where data comes from.
    pub input: &'a mut dyn Read,
    /// Where reports go.
    pub output: &'a mut dyn Write,
    /// Where messages for people go.
    pub messages: &'a mut dyn Write,
    /// Whether reports are coloured.
    pub colour: bool,
    /// What people call the program, for the commands that they are told.
    pub program: &'static str,
    /// The keys at hand.
    pub keys: &'a dyn Keys,
    /// What time it is.
    pub now: OffsetDateTime,
}

/// Why a run ends before anything is judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Who reads the report has enough.
    #[error("nobody reads the report any more")]
    BrokenPipe,
    /// Something cannot be read or written, so that nothing is verified.
    #[error("{0}")]
    Unverified(String),
    /// The command line, or what it names, cannot be used.
    #[error("{0}")]
    Usage(String),
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Unverified(format!("the report cannot be written: {error}")),
        }
    }
}

/// Runs `seal-hook` with these arguments, the name of the program first.
#[must_use]
pub fn run(arguments: &[OsString]) -> Exit {
    let command = match parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            // What cannot be printed need not be: the code tells.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Clean };
        }
    };
    let environment = |name: &str| std::env::var(name).ok();
    let (mut input, mut output, mut messages) =
        (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
    let colour = output.is_terminal() && environment("NO_COLOR").is_none_or(|value| value.is_empty());
    let folder = match std::env::current_dir() {
        Ok(folder) => folder,
        Err(error) => {
            let _ = writeln!(messages, "seal-hook: there is no working directory: {error}");
            return Exit::Unverified;
        }
    };
    let keys = LocalKeys::new(environment, &folder);
    let public = PublicOnly(&keys);
    let surroundings = Surroundings {
        folder,
        environment: &environment,
        input: &mut input,
        output: &mut output,
        messages: &mut messages,
        colour,
        program: "seal-hook",
        keys: if is_audited(Path::new(AUDIT_CONFIGURATION)) { &public } else { &keys },
        now: OffsetDateTime::now_utc(),
    };
    command.run(surroundings)
}

/// Reads arguments, the name of the program first.
fn parse(arguments: &[OsString]) -> Result<Command, clap::Error> {
    let command = Cli::command().mut_subcommand("check", |command| {
        let help = command.get_after_help().map(|help| own_words("seal-hook", &help.to_string()));
        command.after_help(help.unwrap_or_default())
    });
    let matches = command.try_get_matches_from(arguments)?;
    Ok(Cli::from_arg_matches(&matches)?.command)
}

impl Command {
    fn run(&self, surroundings: Surroundings<'_>) -> Exit {
        match self {
            Self::Check(args) => args.run(surroundings),
            Self::Fix(args) => args.run(surroundings),
            Self::Hook(args) => args.run(surroundings),
        }
    }
}

impl Surroundings<'_> {
    /// Returns a text with the commands that this program has, too, under its own name.
    fn own_words(&self, text: &str) -> String {
        own_words(self.program, text)
    }

    /// Mends what was found.
    fn fix(&self, repository: &Repository, outcome: &Outcome, fix: &Fix) -> Result<Fixed, String> {
        let surroundings = fix::Surroundings { environment: self.environment, now: self.now };
        fix::fix(repository, outcome, self.keys, fix, &surroundings)
    }

    /// Ends a run: says what went wrong, if anything did.
    fn end(&mut self, result: Result<Exit, RunError>) -> Exit {
        let error = match result {
            Ok(exit) => return exit,
            Err(error) => error,
        };
        let program = self.program;
        match error {
            // Whoever reads the report need not have seen what matters: never success.
            RunError::BrokenPipe => Exit::Unverified,
            RunError::Unverified(message) => {
                let _ = writeln!(self.messages, "{program}: {message}");
                Exit::Unverified
            }
            RunError::Usage(message) => {
                let _ = writeln!(self.messages, "{program}: {message}");
                Exit::Usage
            }
        }
    }
}

/// Returns a text that is written for `kubectl seal` for another program, which has some of its commands.
fn own_words(program: &str, text: &str) -> String {
    if program == "kubectl seal" || !text.contains("kubectl seal ") {
        return text.to_owned();
    }
    let own = |text: String, command: &str| {
        let replaced = |text: String, end: &str| {
            text.replace(&format!("kubectl seal {command}{end}"), &format!("{program} {command}{end}"))
        };
        [" ", "`"].into_iter().fold(text, replaced)
    };
    let text = text.replace("kubectl seal hook ", &format!("{program} "));
    ["check", "fix"].into_iter().fold(text, own)
}

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing was found that stops a commit
  1  something was found that does
  2  the command line or the configuration cannot be used
  3  something could not be verified
  4  something was mended: look at it, and commit again";

#[cfg(test)]
mod tests;

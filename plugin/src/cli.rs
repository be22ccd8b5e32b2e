//! The command line of `kubectl seal`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use crate::commands::Command;
use crate::context::Context;
use crate::exit::Exit;
use crate::identities;
use crate::report::Colour;
use crate::session::Session;

/// Encrypt, view, edit, rotate and check secrets in Git
///
/// Files are those of SOPS: YAML, JSON, dotenv, INI or anything else, with values encrypted one by one.
/// Commands that work on files take globs and folders, too, but for exec-file, which takes one file; folders are
/// read with all below them, as Git sees them.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-seal",
    bin_name = "kubectl seal",
    version,
    max_term_width = 100,
    after_help = EXAMPLES,
)]
pub struct Cli {
    /// Options that all subcommands share.
    #[command(flatten)]
    pub options: Options,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that all subcommands share.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options everywhere")]
pub struct Options {
    /// Read this configuration instead of the nearest .sops.yaml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Also try the identities of this file, of age or SSH
    #[arg(long, global = true, value_name = "FILE")]
    pub identity: Vec<PathBuf>,

    /// Only tell what goes wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Tell each file that is passed over, and why
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// When to use colour
    #[arg(long = "color", global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub colour: Colour,
}

/// Runs `kubectl seal` with these arguments, the name of the program first.
pub fn run(session: &Session, arguments: &[OsString]) -> Exit {
    match Cli::try_parse_from(without_help_for_help(arguments)) {
        Ok(cli) => {
            let context = Context::new(session, &cli.options);
            let checked = identities::check_named(session, &cli.options.identity);
            match checked.and_then(|()| cli.command.run(&context)) {
                Ok(exit) => exit,
                Err(failure) => {
                    context.report.failure(None, &failure);
                    failure.exit()
                }
            }
        }
        Err(error) => explain_usage(&error, session),
    }
}

/// `help` is no command of its own to the parser, and has no help.
fn without_help_for_help(arguments: &[OsString]) -> &[OsString] {
    match arguments {
        [_, help, flag] if help == "help" && (flag == "--help" || flag == "-h") => &arguments[..2],
        _ => arguments,
    }
}

/// Prints help where it belongs: on stdout if it was asked for.
fn explain_usage(error: &clap::Error, session: &Session) -> Exit {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let stream = if asked_for { &session.stdout } else { &session.stderr };
    let text = error.render();
    let coloured = Colour::Auto.applies(stream, &session.environment);
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    match stream.write(text.as_bytes()) {
        Ok(()) if asked_for => Exit::Success,
        _ => Exit::Failure,
    }
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal init                         make a key and a .sops.yaml
  kubectl seal explain db.yaml              which rule applies, what would be encrypted
  kubectl seal encrypt -i apps/             encrypt every file in apps/ that a rule covers
  kubectl seal view db.yaml                 show the plaintext
  kubectl seal edit db.yaml                 change it in your editor
  kubectl seal set db.yaml data.password x  change one value
  kubectl seal diff HEAD:db.yaml db.yaml    what changed, by path, values masked
  kubectl seal status .                     what is encrypted, for whom, and what looks wrong
  kubectl seal tour                         see all of it on an example

`kubectl seal sops …` is the command line of sops; so is this program when it is called sops.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Returns the commands of the examples in a help text, as the shell would split them.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let mut commands = Vec::new();
        for line in help.lines().filter_map(|line| line.strip_prefix("  ")) {
            // What stands behind two blanks says what the example does.
            let words = shlex::split(line.split("  ").next().unwrap_or_default()).expect(line);
            for part in words.split(|word| ["|", "&&"].contains(&word.as_str())) {
                let command = part.iter().skip_while(|word| word.contains('='));
                let command: Vec<_> = command.take_while(|word| *word != ">").cloned().collect();
                commands.push(command);
            }
        }
        commands.retain(|command| command.first().is_some_and(|word| word == "kubectl"));
        commands
    }

    #[test]
    fn examples_of_the_help_are_command_lines() {
        let mut count = 0;
        let program = Cli::command();
        let mut open = vec![&program];
        while let Some(command) = open.pop() {
            open.extend(command.get_subcommands());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for words in examples(&help) {
                let parsed = Cli::try_parse_from(words.iter().skip(1));
                assert!(
                    parsed.is_ok(),
                    "{words:?}: {}",
                    parsed.err().map(|error| error.to_string()).unwrap_or_default()
                );
                count += 1;
            }
        }
        assert!(count > 40, "{count} examples");
    }
}

//! The command line of `kubectl seal`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use selkie::keys::Remote;
use selkie::keyservice::{Address, AddressError};

use crate::commands::Command;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::identities;
use crate::key_services::KeyServiceOptions;
use crate::report::Colour;
use crate::session::{Environment, Session};
use crate::sops_face::parse_bool;

/// Encrypt, view, edit, rotate and check secrets in Git
///
/// Files are those of SOPS: YAML, JSON, dotenv, INI or anything else, with values encrypted one by one; and manifests
/// with SealedSecrets, which the controller of one cluster opens.
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

    /// Ask this key service too, such as unix:///run/keys.sock or tcp://host:5000 [env: SOPS_KEYSERVICE]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub keyservice: Vec<Address>,

    /// Whether to use the keys of this machine [env: SOPS_ENABLE_LOCAL_KEYSERVICE] [default: true]
    #[arg(
        long,
        global = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub enable_local_keyservice: Option<bool>,

    /// How long a key server may take to answer, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = Remote::DEFAULT_LIMIT.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub key_timeout: u64,

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

impl Options {
    /// Returns how the key services of the run are set up. `warn` tells people what they should know.
    ///
    /// # Errors
    /// If a variable names no key service, or does not say whether the keys of this machine are used.
    pub fn key_services(
        &self,
        environment: &Environment,
        warn: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<KeyServiceOptions, Failure> {
        let limit = Duration::from_secs(self.key_timeout);
        Ok(KeyServiceOptions {
            identities: self.identity.clone(),
            limit,
            local: self.uses_local_keys(environment)?,
            services: self.services(environment)?,
            service_limit: limit,
            ..KeyServiceOptions::new(warn)
        })
    }

    fn uses_local_keys(&self, environment: &Environment) -> Result<bool, Failure> {
        const NAME: &str = "SOPS_ENABLE_LOCAL_KEYSERVICE";
        match (self.enable_local_keyservice, environment.raw(NAME)) {
            (Some(given), _) => Ok(given),
            (None, None) => Ok(true),
            // As in sops, what is set to nothing is off.
            (None, Some("")) => Ok(false),
            (None, Some(text)) => parse_bool(text).ok_or_else(|| {
                Failure::Usage(format!("{NAME} is {text:?}, which is neither true nor false"))
            }),
        }
    }

    fn services(&self, environment: &Environment) -> Result<Vec<Address>, Failure> {
        if !self.keyservice.is_empty() {
            return Ok(self.keyservice.clone());
        }
        let list = environment.get("SOPS_KEYSERVICE").unwrap_or_default();
        let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        let address = |item: &str| item.parse().map_err(|error: AddressError| error.to_string());
        let addresses = items.map(address).collect::<Result<_, _>>();
        addresses.map_err(|error| Failure::Usage(format!("SOPS_KEYSERVICE: {error}")))
    }
}

/// Runs `kubectl seal` with these arguments, the name of the program first.
pub fn run(session: &Session, arguments: &[OsString]) -> Exit {
    match parse(session, without_help_for_help(arguments)) {
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
        Err(error) => explain_usage(&error, session, arguments),
    }
}

/// Reads a command line. One that names a file in place of a subcommand, or pipes one in without any, seals it.
fn parse(session: &Session, arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let parsed = Cli::try_parse_from(arguments);
    let Err(error) = &parsed else { return parsed };
    let seals = match error.kind() {
        ErrorKind::InvalidSubcommand => named(error, ContextKind::InvalidSubcommand)
            .is_some_and(|name| session.absolute(Path::new(name)).exists()),
        // Options of sealing before its file, or without any.
        ErrorKind::UnknownArgument => arguments.get(1).is_some_and(|first| is_option_of_seal(first)),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            arguments.len() == 1 && !session.stdin.is_terminal() && !session.stdin.is_empty()
        }
        _ => false,
    };
    let [name, rest @ ..] = arguments else { return parsed };
    if !seals {
        return parsed;
    }
    Cli::try_parse_from([name.clone(), "seal".into()].iter().chain(rest))
}

/// Returns what an error names.
fn named(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(name)) => Some(name),
        _ => None,
    }
}

/// Returns whether an argument is an option of `seal`.
fn is_option_of_seal(argument: &OsStr) -> bool {
    let Some(text) = argument.to_str().filter(|text| text.starts_with('-')) else { return false };
    let program = Cli::command();
    let Some(seal) = program.find_subcommand("seal") else { return false };
    let name = text.split('=').next().unwrap_or_default();
    seal.get_arguments().any(|option| {
        let long = option.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long));
        long || option
            .get_short()
            .is_some_and(|short| name.strip_prefix('-') == Some(short.to_string().as_str()))
    })
}

/// `help` is no command of its own to the parser, and has no help.
fn without_help_for_help(arguments: &[OsString]) -> &[OsString] {
    match arguments {
        [_, help, flag] if help == "help" && (flag == "--help" || flag == "-h") => &arguments[..2],
        _ => arguments,
    }
}

/// Prints help where it belongs: on stdout if it was asked for.
fn explain_usage(error: &clap::Error, session: &Session, arguments: &[OsString]) -> Exit {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let stream = if asked_for { &session.stdout } else { &session.stderr };
    let text = error.render();
    let coloured = Colour::Auto.applies(stream, &session.environment);
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    match stream.write(text.as_bytes()) {
        Ok(()) if asked_for => Exit::Success,
        // To Git and to CI, 1 would be a finding.
        _ if is_check(arguments) => Exit::Child(seal_hook::exit::Exit::Usage.code()),
        _ => Exit::Failure,
    }
}

/// Returns whether a command line asks for a check.
fn is_check(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .skip(1)
        .find_map(|argument| argument.to_str().filter(|text| !text.starts_with('-')))
        .is_some_and(|command| ["check", "fix", "hook"].contains(&command))
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal init                         make a key and a .sops.yaml
  kubectl seal explain db.yaml              which rule applies, what would be encrypted
  kubectl seal encrypt -i apps/             encrypt every file in apps/ that a rule covers
  kubectl seal secret.yaml                  seal a Secret for the controller of a cluster
  kubectl seal view db.yaml                 show the plaintext
  kubectl seal edit db.yaml                 change it in your editor
  kubectl seal set db.yaml data.password x  change one value
  kubectl seal diff HEAD:db.yaml db.yaml    what changed, by path, values masked
  kubectl seal status .                     what is encrypted, for whom, and what looks wrong
  kubectl seal hook install                 let Git check that no plaintext gets in
  kubectl seal tour                         see all of it on an example

`kubectl seal sops …` is the command line of sops, `kubectl seal kubeseal …` that of kubeseal; so is this program when
it is called by one of these names.";

#[cfg(test)]
mod tests {
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
        // What kubectl itself does is no concern of ours.
        commands.retain(|command| command.iter().take(2).eq(["kubectl", "seal"]));
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
                // Sealing need not be named.
                let is_named =
                    |word: &String| word.starts_with('-') || program.find_subcommand(word).is_some();
                let seal = if words.get(2).is_some_and(is_named) { None } else { Some("seal".to_owned()) };
                let words = words.iter().take(2).cloned().chain(seal).chain(words.iter().skip(2).cloned());
                let words: Vec<_> = words.collect();
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

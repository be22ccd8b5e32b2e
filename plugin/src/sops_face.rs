//! The command line of sops 3.13: what runs when the program is started as `sops`, or as
//! `kubectl seal sops …`.
//!
//! Commands, flags, variables, streams, exit codes and the texts that scripts look for are those of sops.
//! Where imitating it would lose data or leak it, this face does the safe thing; each such difference is
//! a row of `docs/compatibility.md`. To add a command, write one file and one line of `COMMANDS`.

mod change;
mod completion;
mod config;
mod creation;
mod decrypt;
mod document;
mod edit;
mod encrypt;
mod exec_env;
mod exec_file;
mod failure;
mod filestatus;
mod flags;
mod grammar;
mod groups;
mod help;
mod keyservice;
mod log;
mod publish;
mod report;
mod root;
mod rotate;
mod services;
mod set;
mod unset;
mod updatekeys;

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::audit::{AuditError, AuditLog, Deed};
use crate::exit::Exit;
use crate::key_server::Asked;
use crate::report::escape_lines;
use crate::session::Session;

use config::Configuration;
use failure::{Failure, Form};
pub(crate) use grammar::parse_bool;
use grammar::{Flag, Given, Place, UsageError};
use log::Log;

/// Every command, in the order in which the help lists them.
static COMMANDS: &[&Command] = &[
    &completion::COMMAND,
    &exec_env::COMMAND,
    &exec_file::COMMAND,
    &publish::COMMAND,
    &keyservice::COMMAND,
    &filestatus::COMMAND,
    &groups::COMMAND,
    &updatekeys::COMMAND,
    &decrypt::COMMAND,
    &encrypt::COMMAND,
    &rotate::COMMAND,
    &edit::COMMAND,
    &set::COMMAND,
    &unset::COMMAND,
];

/// A command of sops.
struct Command {
    /// What it is called.
    name: &'static str,
    /// What it does, for the help.
    about: &'static str,
    /// Its arguments, for the help.
    arguments: &'static str,
    /// Returns its flags.
    flags: fn() -> Vec<Flag>,
    /// What it does.
    action: Action,
}

/// What a command does.
enum Action {
    /// It has commands below it.
    Group(&'static [&'static Command]),
    /// It runs.
    Run(fn(&Context<'_>) -> Result<(), Failure>),
}

/// What a command is run with.
struct Context<'a> {
    /// What the process has.
    session: &'a Session,
    /// Where messages go.
    log: Log<'a>,
    /// What was given to the command.
    given: Given,
    /// What was given to the program, in front of the command.
    global: Option<&'a Given>,
    /// The configuration, once somebody asked for it.
    configuration: OnceCell<Configuration>,
    /// What the administrator of the machine is told.
    audit: AuditLog,
}

/// Runs sops with the arguments behind the program's name.
pub fn run(session: &Session, arguments: &[OsString]) -> Exit {
    let log = Log::new(session, false);
    match start(session, arguments) {
        Ok(()) => Exit::Success,
        Err(Failure { exit, message, form }) => {
            match form {
                Form::Fatal => log.fatal(&message),
                Form::Plain if message.is_empty() => {}
                Form::Plain => session.stderr.say(escape_lines(&message)),
            }
            exit
        }
    }
}

fn start(session: &Session, arguments: &[OsString]) -> Result<(), Failure> {
    if let Some((last, arguments)) = arguments.split_last()
        && last == completion::REQUEST
    {
        return completion::suggest(session, arguments);
    }
    let flags = root::flags();
    let parsed = Given::parse(&flags, arguments, Place::InFront, &session.environment);
    let given = parsed.map_err(|error| {
        let usage = format!("Incorrect Usage. {error}\n\n{}", help::program());
        usage_failure(session, &error, &usage)
    })?;
    if given.switch("help") {
        return print(session, &help::program());
    }
    if given.switch("version") {
        return print(session, &help::version());
    }
    let name = given.argument(0).and_then(|name| name.to_str()).unwrap_or_default();
    if is_help(name) {
        return help::topic(given.argument(1)).and_then(|text| print(session, &text));
    }
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => run_command(session, &given, command, "sops", &given.arguments()[1..]),
        None => {
            let is_verbose = given.switch("verbose");
            root::run(&Context::new(session, is_verbose, given, None))
        }
    }
}

fn run_command(
    session: &Session,
    global: &Given,
    command: &Command,
    path: &str,
    arguments: &[OsString],
) -> Result<(), Failure> {
    let mut flags = (command.flags)();
    flags.push(Flag::help());
    let place = if command.is_group() { Place::InFront } else { Place::Anywhere };
    let path = format!("{path} {}", command.name);
    let parsed = Given::parse(&flags, arguments, place, &session.environment);
    let given = parsed.map_err(|error| {
        let usage = format!("Incorrect Usage: {error}\n\n{}", help::command(&path, command));
        usage_failure(session, &error, &usage)
    })?;
    if given.switch("help") {
        return print(session, &help::command(&path, command));
    }
    match &command.action {
        Action::Group(commands) => {
            let name = given.argument(0).and_then(|name| name.to_str()).unwrap_or_default();
            match commands.iter().find(|command| command.name == name) {
                Some(below) => run_command(session, global, below, &path, &given.arguments()[1..]),
                None if name.is_empty() || is_help(name) => print(session, &help::command(&path, command)),
                None => Err(help::no_topic(name)),
            }
        }
        Action::Run(action) => {
            let context = Context::new(session, false, given, Some(global));
            context.warn_of_misplaced_flags(&flags);
            action(&context)
        }
    }
}

impl Command {
    const fn is_group(&self) -> bool {
        matches!(self.action, Action::Group(_))
    }
}

impl<'a> Context<'a> {
    fn new(session: &'a Session, is_verbose: bool, given: Given, global: Option<&'a Given>) -> Self {
        let log = Log::new(session, is_verbose);
        Self { session, log, given, global, configuration: OnceCell::new(), audit: AuditLog::new() }
    }

    /// Fails if the administrator wants to know of everything, and cannot be told.
    fn audit_is_there(&self) -> Result<(), Failure> {
        self.audit.open(self.session).map(drop).map_err(audit_failure)
    }

    /// Tells the administrator what is about to happen to a document, which stdin may be.
    fn record(&self, deed: Deed, file: Option<&Path>) -> Result<(), Failure> {
        self.audit.record(self.session, deed, file).map_err(audit_failure)
    }

    /// Tells the administrator that another program is about to use a key.
    fn record_use(&self, asked: &Asked) -> Result<(), Failure> {
        self.audit.record_use(self.session, asked).map_err(audit_failure)
    }

    /// Returns the configuration; it is read once.
    fn configuration(&self) -> Result<&Configuration, Failure> {
        if let Some(configuration) = self.configuration.get() {
            return Ok(configuration);
        }
        let configuration = Configuration::of(self)?;
        Ok(self.configuration.get_or_init(|| configuration))
    }

    /// Returns what the flags of the program itself were given.
    fn global(&self) -> &Given {
        self.global.unwrap_or(&self.given)
    }

    /// Returns an argument as a path.
    fn path(&self, index: usize) -> Option<PathBuf> {
        self.given.argument(index).map(PathBuf::from)
    }

    /// Says that the flags in front of a command, which sops passes over in silence, have no effect.
    fn warn_of_misplaced_flags(&self, own: &[Flag]) {
        let misplaced = |name: &&str| own.iter().any(|flag| flag.name == *name) && !SHARED.contains(name);
        for name in self.global().used().filter(misplaced) {
            self.log.warn(&format!(
                "--{name} stands in front of the command and has no effect there: put it behind the command"
            ));
        }
    }

    /// Says that arguments behind the first are not used, and that flags among them are none.
    fn warn_of_more_arguments(&self) {
        let arguments = self.given.arguments();
        if arguments.len() < 2 {
            return;
        }
        self.log.warn("More than one positional argument provided. Only the first one will be used!");
        let is_flag = |argument: &&OsString| argument.as_encoded_bytes().starts_with(b"-");
        if let Some(flag) = arguments[1..].iter().rfind(is_flag) {
            self.log.warn(&format!(
                "Note that one of the ignored positional argument is {flag:?}, which looks like a flag. \
                 Flags must always be provided before the first positional argument!"
            ));
        }
    }
}

fn usage_failure(session: &Session, error: &UsageError, usage: &str) -> Failure {
    if !matches!(error, UsageError::Variable { .. }) {
        // The error that follows tells what is wrong; nobody has to read the help.
        drop(session.stdout.write(usage.as_bytes()));
    }
    Failure { exit: Exit::Failure, message: error.to_string(), form: Form::Fatal }
}

fn audit_failure(error: AuditError) -> Failure {
    Failure::generic(error.to_string()).logged()
}

fn print(session: &Session, text: &str) -> Result<(), Failure> {
    session.stdout.write(text.as_bytes()).map_err(|error| Failure::of_stdout(&error))
}

fn is_help(name: &str) -> bool {
    matches!(name, "help" | "h")
}

/// The flags that have an effect wherever they stand.
const SHARED: &[&str] = &["config", "help", "indent", "mac-only-encrypted", "verbose"];

//! The command line of kubeseal 0.40: what runs when the program is started as `kubeseal`, or as
//! `kubectl seal kubeseal …`.
//!
//! Flags, variables, streams, exit codes and texts are those of kubeseal. Where imitating it would lose data, leak
//! it or crash, this face does the safe thing; each such difference is a row of `docs/compatibility.md`.

mod certificate;
mod controller;
mod failure;
mod flags;
mod grammar;
mod help;
mod input;
mod merge;
mod options;
mod output;
mod raw;
mod recovery;
mod seal;
mod values;

use std::ffi::OsString;

use crate::exit::Exit;
use crate::report::escape_lines;
use crate::session::Session;

use failure::Failure;
use grammar::{Given, Parsed, UsageError};
use input::Input;
use options::Options;
use output::Output;

/// Runs kubeseal, which was started under the name `program`, with the arguments behind that name.
pub fn run(session: &Session, program: &str, arguments: &[OsString]) -> Exit {
    match start(session, program, arguments) {
        Ok(()) => Exit::Success,
        Err(Failure { exit, message }) => {
            if !message.is_empty() {
                session.stderr.say(escape_lines(&format!("error: {message}")));
            }
            exit
        }
    }
}

fn start(session: &Session, program: &str, arguments: &[OsString]) -> Result<(), Failure> {
    let arguments = arguments.iter().map(|argument| argument.to_str().map(str::to_owned));
    let arguments: Option<Vec<_>> = arguments.collect();
    let arguments = arguments.ok_or_else(|| Failure::new("an argument is not valid UTF-8"))?;
    let mut told = Vec::new();
    let parsed = Given::parse(&arguments, &session.environment, |text| told.push(text.to_owned()));
    // kubeseal says this on stdout, in the middle of what others read from there.
    for text in told {
        session.stderr.say(text);
    }
    let given = match parsed {
        Ok(Parsed::Given(given)) => given,
        Ok(Parsed::Help) => {
            session.stderr.write(help::heading(program).as_bytes()).unwrap_or(());
            return print(session, &help::flags());
        }
        Err(error) => return Err(usage_failure(session, program, &error)),
    };
    if given.switch("version") {
        return print(session, &format!("kubeseal version: {}\n", help::VERSION));
    }
    if given.switch("help") {
        return print(session, &(help::heading(program) + &help::flags()));
    }
    perform(session, &Options::new(&given))
}

/// Does what is asked for; what comes first here wins if several things are.
fn perform(session: &Session, options: &Options<'_>) -> Result<(), Failure> {
    if !options.from_file.is_empty() && !options.raw {
        return Err(Failure::new("--from-file requires --raw"));
    }
    let input = Input::open(session, options)?;
    let mut output = Output::new(session, options.output_file());
    if options.unseal {
        recovery::run(session, options, input, &mut output)?;
        return output.finish();
    }
    if !options.private_keys.is_empty() && session.stderr.is_terminal() {
        session.stderr.say(
            "warning: ignoring --recovery-private-key because unseal command not chosen with --recovery-unseal",
        );
    }
    if options.validate {
        controller::validate(session, options, input)?;
    } else if options.re_encrypt {
        return controller::re_encrypt(session, options, input, output);
    } else if options.fetch_cert {
        output.put(&certificate::read(session, options)?)?;
    } else {
        let cert = certificate::parse(session, &certificate::read(session, options)?)?;
        if let Some(file) = options.merge_into {
            merge::run(session, options, input, file, &cert)?;
        } else if options.raw {
            raw::run(session, options, &cert, &mut output)?;
        } else {
            seal::run(session, options, input, &cert, &mut output)?;
        }
    }
    output.finish()
}

/// Shows the flags, and returns what is wrong: kubeseal says even that on stdout.
fn usage_failure(session: &Session, program: &str, error: &UsageError) -> Failure {
    session.stderr.write(help::heading(program).as_bytes()).unwrap_or(());
    let text = format!("{}{}\n", help::flags(), escape_lines(&error.to_string()));
    // The exit code tells as well.
    session.stdout.write(text.as_bytes()).unwrap_or(());
    Failure { exit: Exit::Child(2), message: String::new() }
}

fn print(session: &Session, text: &str) -> Result<(), Failure> {
    session.stdout.write(text.as_bytes()).map_err(|error| Failure::of_stdout(&error))
}

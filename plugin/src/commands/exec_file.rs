//! `kubectl seal exec-file`.

use std::ffi::OsString;

use selkie::format::Format;
use selkie::secret::SecretBytes;

use crate::commands::decrypt::ReadingFlags;
use crate::context::Context;
use crate::document::format_names;
use crate::exec::{PlaintextFile, Run};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::targets::{self, Target};
use crate::{batch, commands};

/// Run a command with the plaintext of an encrypted file as a file
///
/// Every {} in the command is replaced by the path of a pipe, which can be read once, or with --no-fifo of a
/// file in memory where the system allows it. It goes when the command ends. One argument is a command line
/// for the shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A file, or - for stdin
    #[arg(value_name = "FILE")]
    file: String,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<String>,

    /// Use a regular file, which can be read more than once
    #[arg(long)]
    no_fifo: bool,

    /// What the file is called
    #[arg(long, value_name = "NAME")]
    name: Option<OsString>,

    /// Write the plaintext in this format
    #[arg(long, value_name = "FORMAT", value_parser = format_names())]
    output_type: Option<String>,

    #[command(flatten)]
    reading: ReadingFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal exec-file kubeconfig.yaml -- kubectl --kubeconfig {} get pods
  kubectl seal exec-file --no-fifo --name values.yaml values.yaml -- helm template . -f {}";

/// Runs the command.
///
/// # Errors
/// If the file cannot be decrypted, or the command fails.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(std::slice::from_ref(&args.file), context.session)?;
    let [target @ (Target::File { named: true, .. } | Target::Stdin)] = targets.as_slice() else {
        return Err(Failure::Usage("name one file".to_owned()));
    };
    let content = match batch::needed(context, target, read(args, context, target)) {
        Ok(content) => content,
        Err(exit) => return Ok(exit),
    };
    let command = commands::command_line(&args.command)?;
    let run = Run { command: &command, user: None, pristine: false, background: false };
    let file = PlaintextFile { content: &content, name: args.name.as_deref(), pipe: !args.no_fifo };
    run.with_file(&file, &context.session.environment, &|text| context.report.warn(text))?;
    Ok(Exit::Success)
}

fn read(args: &Args, context: &Context<'_>, target: &Target) -> Result<SecretBytes, Failure> {
    let document = args.reading.input.load(context, target)?;
    let unlocked = args.reading.unlock(context, target, &document)?;
    let output = args.output_type.as_deref().and_then(Format::from_name);
    Ok(match output.filter(|output| *output != document.format) {
        None => unlocked.opened.plaintext()?,
        Some(output) => {
            let written = unlocked.opened.write(output, &context.write_options(output)?);
            written.map_err(Failure::Conversion)?
        }
    })
}

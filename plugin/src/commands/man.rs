//! `kubectl seal man`.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use crate::cli::Cli;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files::{self, Audience};

/// Write manual pages
///
/// Without a folder, the page of the command itself goes to stdout.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to put the pages, one for each command
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal man | man -l -
  kubectl seal man ~/.local/share/man/man1 && man kubectl-seal-encrypt";

/// Writes the pages.
///
/// # Errors
/// If they cannot be written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.folder else {
        let page = render(&command)?;
        context.session.stdout.write(&page).map_err(Failure::io("write", "stdout"))?;
        return Ok(Exit::Success);
    };
    let written = std::fs::create_dir_all(context.session.absolute(folder));
    written.map_err(Failure::io("write", folder.display().to_string()))?;
    write_pages(context, folder, &command)?;
    Ok(Exit::Success)
}

/// Writes the page of a command, and those of its subcommands.
fn write_pages(context: &Context<'_>, folder: &Path, command: &Command) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    let page = render(command)?;
    files::write(&context.session.absolute(&path), &page, Audience::Everyone)
        .map_err(Failure::io("write", path.display().to_string()))?;
    let shown =
        command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    shown.into_iter().try_for_each(|command| write_pages(context, folder, command))
}

fn render(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    rendered.map_err(Failure::io("write", "a manual page")).map(|()| page)
}

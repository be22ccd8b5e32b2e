//! `kubectl seal completions`.

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Print a script that completes commands in your shell
///
/// The script is for `kubectl-seal`. `kubectl seal` is completed by the completion of kubectl itself, which
/// asks a program called kubectl_complete-seal: link this one under that name, in a folder of PATH.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Your shell
    #[arg(value_enum)]
    shell: KnownShell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KnownShell {
    Bash,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

const EXAMPLES: &str = "\
Examples:
  kubectl-seal completions bash > ~/.local/share/bash-completion/completions/kubectl-seal
  kubectl-seal completions zsh > \"${fpath[1]}/_kubectl-seal\"
  kubectl-seal completions fish > ~/.config/fish/completions/kubectl-seal.fish
  kubectl-seal completions powershell >> $PROFILE
  ln -s \"$(command -v kubectl-seal)\" ~/.local/bin/kubectl_complete-seal    for `kubectl seal`";

/// Prints the script.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let shell = match args.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Fish => Shell::Fish,
        KnownShell::PowerShell => Shell::PowerShell,
        KnownShell::Zsh => Shell::Zsh,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kubectl-seal", &mut script);
    context.session.stdout.write(&script).map_err(Failure::io("write", "stdout"))?;
    Ok(Exit::Success)
}

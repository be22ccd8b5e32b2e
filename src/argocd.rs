//! `argocd`: a plugin of Argo CD that renders, as a server on the socket of a plugin, and as a command for the server that
//! Argo CD brings.
//!
//! What comes from a client is checked as if anybody had sent it; what decides policy is what the repo-server says of an
//! application, which neither its repository nor its parameters can change.

mod app;
mod error;
mod facts;
mod generate;
mod message;
mod parameters;
mod plugin;
mod receive;
mod serve;
mod service;
mod socket;

use std::error::Error;

/// Render applications of Argo CD, as a plugin in a sidecar of its repo-server
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Generate(Box<generate::Args>),
    Plugin(plugin::Args),
    Serve(Box<serve::Args>),
}

/// Does what the command line says.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    match &args.command {
        Command::Generate(args) => generate::run(args),
        Command::Plugin(args) => plugin::run(args),
        Command::Serve(args) => serve::run(args),
    }
}

#[cfg(test)]
mod tests;

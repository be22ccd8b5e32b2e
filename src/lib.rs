//! The in-cluster decryptor: the controller, and every way in which decrypted manifests reach a sync engine.
//!
//! What a face does is in its own module; the program is [`main`].

pub mod controller;
mod keys;
mod render;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Bring decrypted manifests to the sync engine of a cluster
#[derive(Parser)]
#[command(name = "selkie-decryptor", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    face: Face,
}

/// A way in which manifests reach a sync engine.
#[derive(Subcommand)]
enum Face {
    Controller(Box<controller::Args>),
    Render(render::Args),
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().face {
        Face::Controller(args) => controller::run(*args),
        Face::Render(args) => render::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error with its causes.
#[expect(clippy::print_stderr, reason = "the one place that reports")]
fn report(error: &dyn std::error::Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  caused by: {error}");
        cause = error.source();
    }
}

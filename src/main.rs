//! Starts the in-cluster decryptor.

mod keys;
mod render;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wipes every block of memory that is freed, plaintext in buffers of other crates included.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

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
    Render(render::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().face {
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

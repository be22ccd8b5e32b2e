//! The in-cluster decryptor: the controller, and every way in which decrypted manifests reach a sync engine.
//!
//! What a face does is in its own module; the program is [`main`].

pub mod argocd;
mod authority;
pub mod controller;
mod hardening;
pub mod helm;
mod keys;
mod kustomize;
mod policy;
pub mod render;
pub mod runtime;
mod service;
mod shares;
mod socket;

use std::ffi::OsString;
use std::path::Path;
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
    Argocd(argocd::Args),
    Controller(Box<controller::Args>),
    Helm(Box<helm::Args>),
    Kustomize(Box<kustomize::Args>),
    Policy(policy::Args),
    Render(Box<render::Args>),
    Serve(Box<service::Args>),
}

/// Returns the command line of the program, for what writes about it.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    hardening::forbid_dumps();
    hardening::hide_panics();
    let words = helm::by_name(std::env::args_os().collect(), std::env::var_os("SELKIE_HELM_BIN").is_some());
    let arguments = match arguments(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            report(&error);
            return ExitCode::FAILURE;
        }
    };
    let result = match Cli::parse_from(arguments).face {
        Face::Argocd(args) => argocd::run(&args),
        Face::Controller(args) => controller::run(*args),
        Face::Helm(args) => helm::run(&args),
        Face::Kustomize(args) => kustomize::run(&args),
        Face::Policy(args) => policy::run(&args),
        Face::Render(args) => render::run(&args),
        Face::Serve(args) => service::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Returns the arguments of the program with what variables say of the controller, if that is to run. Started as
/// `controller`, which is the name of the program in the image of Sealed Secrets, it is the controller; by a name of a
/// plugin of Kustomize, it is that.
fn arguments(mut arguments: Vec<OsString>) -> Result<Vec<OsString>, controller::EnvironmentError> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name).map(ToOwned::to_owned);
    if name.as_ref().is_some_and(|name| name == "controller") {
        arguments.insert(1, "controller".into());
    }
    if let Some(words) = name.and_then(|name| kustomize::words_for(&name, arguments.len() - 1)) {
        arguments.splice(1..1, words);
    }
    if arguments.get(1).is_some_and(|face| face == "controller") {
        let rest = arguments.split_off(2);
        arguments.extend(controller::with_environment(rest, std::env::vars_os())?);
    }
    Ok(arguments)
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_can_be_parsed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn it_is_the_controller_by_name_too() {
        let said =
            |words: &[&str]| arguments(words.iter().map(OsString::from).collect()).expect("no variables");
        assert_eq!(said(&["/usr/local/bin/controller", "--my-cn=x"])[1..], ["controller", "--my-cn=x"]);
        assert_eq!(said(&["selkie-decryptor", "render", "-"])[1..], ["render", "-"]);
        assert_eq!(said(&["/x/ksops/ksops", "/tmp/a"])[1..], ["kustomize", "plugin", "/tmp/a"]);
        assert_eq!(said(&["SopsGenerator"])[1..], ["kustomize", "fn"]);
    }
}

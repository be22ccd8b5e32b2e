//! Flows across the crates, and comparisons with the real tools.
//!
//! Tests are made when the program starts: files under `testdata/` become one test each, and a test
//! whose peer is not there is *ignored*, by name, so that nobody takes it for passed. The names of
//! tests that need a peer start with `live::`; `tests/run.sh` brings the peers up.

mod api_server;
mod aws;
mod checks;
mod deploy;
mod documentation;
mod envelope;
mod generate;
mod git_drivers;
mod git_states;
mod golden;
mod hostile;
mod keyservice;
mod kubeseal_cli;
mod live;
mod manifest;
mod peer;
mod rendering;
mod sealed;
mod simulation;
mod sops_cli;
mod template;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let programs = [documentation::run_as_program, git_states::run_as_program, sops_cli::run_as_program];
    if let Some(exit) = programs.into_iter().find_map(|run| run()) {
        return exit;
    }
    let tests: Vec<Trial> = [
        api_server::tests(),
        aws::tests(),
        checks::tests(),
        deploy::tests(),
        documentation::tests(),
        git_drivers::tests(),
        git_states::tests(),
        golden::tests(),
        hostile::tests(),
        keyservice::tests(),
        kubeseal_cli::tests(),
        live::tests(),
        manifest::tests(),
        rendering::tests(),
        sealed::tests(),
        simulation::tests(),
        sops_cli::tests(),
        template::tests(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let exit = libtest_mimic::run(&Arguments::from_args(), tests).exit_code();
    live::end();
    exit
}

//! What Git can be in the middle of: each state with the real Git, which calls the checks as a hook, and the real hook
//! managers where they are there.
//!
//! A state is made without the hook, and then committed, pushed or received with it. What must be refused is refused by
//! the rule that is named, and not for another reason.

mod lab;
mod states;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Failed, Trial};

use crate::peer::Peer;
use lab::{Lab, Manager};
use states::{STATES, State, Wanted};

/// Runs the checks in place of the tests, if the program was started under their name.
pub fn run_as_program() -> Option<ExitCode> {
    let name = env::args_os().next()?;
    (Path::new(&name).file_name()? == "seal-hook").then(seal_hook::main)
}

/// Returns the tests that need Git alone.
pub fn tests() -> Vec<Trial> {
    let test = |state: &'static State| {
        Trial::test(format!("git_states::{}", state.name), move || judge(state, Manager::Git))
    };
    STATES.iter().map(test).collect()
}

/// Returns the tests that run pre-commit and prek.
pub fn live_tests() -> Vec<Trial> {
    let states = STATES.iter().filter(|state| state.is_for_managers);
    let tests = states.flat_map(|state| {
        let name = format!("git_states::{}", state.name);
        [
            Peer::PreCommit.test(name.clone(), move |program| judge(state, Manager::PreCommit(program))),
            Peer::Prek.test(name, move |program| judge(state, Manager::Prek(program))),
        ]
    });
    tests.collect()
}

fn judge(state: &State, manager: Manager) -> Result<(), Failed> {
    let lab = Lab::new(manager)?;
    let output = (state.make)(&lab)?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match state.wanted {
        Wanted::Accept if output.status.success() => {}
        Wanted::Accept => return Err(format!("was refused:\n{text}").into()),
        Wanted::Reject(rule) if !output.status.success() && text.contains(rule) => {}
        Wanted::Reject(rule) => return Err(format!("{} without {rule}:\n{text}", output.status).into()),
    }
    if text.contains(states::VALUE) || text.contains(states::ENCODED) {
        return Err("a value is in the output".into());
    }
    Ok(())
}

//! The drivers for merging and showing, with the real Git: how they are installed, and what each command of Git shows.
//!
//! The test itself is the program that Git starts, under its name. What must stay secret is a value that no output, no
//! file and no object of Git may hold unless it was asked for.

mod configuration;
mod lab;
mod showing;

use libtest_mimic::{Failed, Trial};

use lab::Lab;

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    let all = configuration::TRIALS.iter().chain(showing::TRIALS);
    all.map(|&(name, run)| {
        Trial::test(format!("git_drivers::{name}"), move || {
            let lab = Lab::new()?;
            run(&lab)
        })
    })
    .collect()
}

/// A test, with its name.
type Case = (&'static str, fn(&Lab) -> Result<(), Failed>);

//! Merges by the real Git, whose results the real sops and kubeseal open.
//!
//! After every merge: what is in the worktree opens and says what it should, nothing plain is in the repository, the
//! worktree or what was printed, and Git finds its own objects whole.

mod cases;
mod conflicts;
mod flows;
mod keys;
mod lab;
mod sealed;

use libtest_mimic::{Failed, Trial};

use self::lab::Lab;
use crate::peer::Peer;

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    let with_sops = |(name, run): (&'static str, Run)| {
        Peer::Sops313.test(format!("merges::{name}"), move |sops| {
            let lab = Lab::new(sops)?;
            run(&lab)?;
            lab.check_repository()
        })
    };
    let flows = [conflicts::FLOWS, flows::FLOWS, keys::FLOWS].concat();
    let mut tests: Vec<_> = flows.into_iter().map(with_sops).collect();
    tests.extend(cases::CASES.iter().map(|case| {
        Peer::Sops313.test(format!("merges::clean::{}", case.name), move |sops| {
            let lab = Lab::new(sops)?;
            case.run(&lab)?;
            lab.check_repository()
        })
    }));
    tests.extend(sealed::FLOWS.iter().map(|&(name, run)| {
        Peer::Kubeseal.test(format!("merges::{name}"), move |kubeseal| {
            let lab = Lab::new(kubeseal)?;
            run(&lab)?;
            lab.check_repository()
        })
    }));
    tests
}

/// A flow in a repository of its own.
type Run = fn(&Lab) -> Result<(), Failed>;

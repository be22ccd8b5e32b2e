//! Our controller as a process, with the account and the rights that `deploy/controller.yaml` gives it, against a real
//! API server.
//!
//! There is a cluster for these tests alone, as the controller of Sealed Secrets has the same names in the other one.
//! One controller works in all namespaces, for all tests that do not need one of their own; who does labels what is not
//! for the common one with `lab=own`.

mod canary;
mod differences;
mod doors;
mod drift;
mod failures;
mod keys;
mod lab;
mod objects;
mod peers;
mod process;
mod restart;
mod sops;
mod space;
mod upstream;

use libtest_mimic::{Failed, Trial};
use serde_json::Value as Json;

use super::cluster;
use crate::peer::Peer;
use lab::Lab;

pub use lab::{end, wait};

pub fn tests() -> Vec<Trial> {
    let mut tests = canary::tests();
    tests.extend(differences::tests());
    tests.extend(doors::tests());
    tests.extend(drift::tests());
    tests.extend(failures::tests());
    tests.extend(keys::tests());
    tests.extend(objects::tests());
    tests.extend(peers::tests());
    tests.extend(restart::tests());
    tests.extend(sops::tests());
    tests.extend(upstream::tests());
    tests
}

/// Returns a test in the cluster of these tests, which is ignored unless all that it takes is there.
fn test(
    name: &str,
    also: &[Peer],
    run: impl FnOnce(&'static Lab) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    test_alone(name, also, || run(Lab::get()?))
}

/// Returns a test that sees to its cluster itself.
fn test_alone(name: &str, also: &[Peer], run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    let name = format!("live::cluster::decryptor::{name}");
    Trial::test(name, run).with_ignored_flag(!cluster::is_possible(also))
}

/// Fails unless two values are the same.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?}, where {expected:?} is right").into())
}

/// Fails, and says why, unless something is so.
fn is_so(what: &str, is_so: bool, evidence: &Json) -> Result<(), Failed> {
    if is_so { Ok(()) } else { Err(format!("not so: {what}: {evidence}").into()) }
}

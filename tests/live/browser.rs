//! The page that seals, in a real browser: filled in as a user does, its results opened by the real tools.

mod access;
mod driver;
mod privacy;
mod sealing;
mod sops;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::peer::Peer;
use driver::Browser;

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    [access::tests(), privacy::tests(), sealing::tests(), sops::tests()].into_iter().flatten().collect()
}

/// Returns a test of the page that needs a browser, and these peers.
fn test(
    name: &str,
    others: &'static [Peer],
    run: impl FnOnce(&Browser) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    test_with(name, others, |page| run(&Browser::open(page)?))
}

/// Returns such a test that opens the browser itself.
fn test_with(
    name: &str,
    others: &'static [Peer],
    run: impl FnOnce(&Path) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let needed = [Peer::Chromedriver, Peer::Chromium].iter().chain(others);
    let is_absent = needed.into_iter().any(|peer| peer.path().is_none());
    let trial = Peer::Page.test(name, move |page| run(&page));
    if is_absent { trial.with_ignored_flag(true) } else { trial }
}

/// Returns a file of the test data.
fn data(name: &str) -> Result<String, Failed> {
    Ok(fs::read_to_string(data_path(name))?)
}

fn data_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sealed-secrets").join(name)
}

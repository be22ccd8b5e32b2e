//! Kustomize itself, alone and inside of kubectl: over what we lay out for it, and with us as its plugin.

mod faces;
mod place;
mod rendered;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    let mut tests = faces::tests();
    tests.extend(rendered::tests());
    tests
}

//! The checks beside gitleaks, whose hook most repositories have: over the same repositories, on what is staged.

mod staged;

use libtest_mimic::{Failed, Trial};
use selkie::check::Finding;

use crate::checks::{Case, corpora};
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    vec![Peer::Gitleaks.test("finds_less_than_the_checks_and_refuses_more", |gitleaks| {
        let corpus = &corpora()[0];
        let theirs = |cases: &[Case]| staged::refused(&gitleaks, cases);
        let (leaks, clean) = (theirs(&corpus.leaks)?, theirs(&corpus.clean)?);
        let ours = corpus.leaks.iter().filter(|case| is_found(case)).count();
        let wrong = corpus.clean.iter().filter(|case| is_refused(case)).count();
        let told = format!(
            "of {} leaks, the checks find {ours} on their lines and gitleaks {leaks} anywhere; of {} others, the checks \
             refuse {wrong} and gitleaks {clean}; SELKIE_SEED={}",
            corpus.leaks.len(),
            corpus.clean.len(),
            corpus.seed,
        );
        // If it found next to nothing, it was not asked rightly.
        let is_good = leaks > 10 && ours >= leaks + AHEAD && wrong == 0 && wrong < clean;
        if is_good { Ok(()) } else { Err(Failed::from(told)) }
    })]
}

/// Returns whether the checks find all that they should.
fn is_found(case: &Case) -> bool {
    case.check().is_ok_and(|found| case.verdict(&found).is_ok())
}

/// Returns whether the checks stop a commit, or come to no end.
fn is_refused(case: &Case) -> bool {
    case.check().is_ok_and(|found| found.iter().any(Finding::blocks)) || case.check().is_err()
}

/// How many leaks the checks find that gitleaks does not, at least.
const AHEAD: usize = 20;

//! The checks over a corpus of repositories: each holds one secret that has to be found, on its line, or looks as if it
//! did and must be left alone.
//!
//! All values are new in every run, from a seed that failures tell; `SELKIE_SEED` repeats it.

mod case;
mod clean;
mod leaks;
mod maker;
mod mutilated;
mod reports;
mod target;

use std::collections::BTreeSet;
use std::env;
use std::sync::OnceLock;

use libtest_mimic::{Failed, Trial};
use selkie::check::Finding;

pub use case::Case;
use maker::Maker;

/// Returns the tests of the checks without any peer.
pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        Trial::test("checks::every_leak_is_found_on_its_line", every_leak_is_found),
        Trial::test("checks::no_file_without_a_secret_is_refused", nothing_clean_is_refused),
        Trial::test("checks::hardly_any_file_without_a_secret_is_warned_of", hardly_any_warning),
        Trial::test("checks::verdicts_do_not_depend_on_values", verdicts_are_the_same),
        Trial::test("checks::the_corpus_is_what_it_should_be", the_corpus_is_whole),
    ];
    tests.extend(mutilated::tests());
    tests.extend(reports::tests());
    tests
}

/// All cases with the values of a seed.
pub struct Corpus {
    /// The seed.
    pub seed: u64,
    /// The cases in which something has to be found.
    pub leaks: Vec<Case>,
    /// The cases in which nothing is wrong.
    pub clean: Vec<Case>,
}

impl Corpus {
    /// Returns all cases with the values of a seed.
    pub fn new(seed: u64) -> Self {
        let make = &mut Maker::new(seed);
        Self { seed, leaks: leaks::cases(make), clean: clean::cases(make) }
    }

    /// Returns all cases.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.leaks.iter().chain(&self.clean)
    }
}

/// Returns the corpora of this run, made once.
pub fn corpora() -> &'static [Corpus] {
    static CORPORA: OnceLock<Vec<Corpus>> = OnceLock::new();
    CORPORA.get_or_init(|| {
        let seed =
            env::var("SELKIE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
        (0..SEEDS).map(|number| Corpus::new(number.wrapping_add(seed))).collect()
    })
}

fn every_leak_is_found() -> Result<(), Failed> {
    over_all(|corpus| &corpus.leaks, |case, found| case.verdict(found))
}

fn nothing_clean_is_refused() -> Result<(), Failed> {
    over_all(|corpus| &corpus.clean, |case, found| case.verdict(found))
}

fn hardly_any_warning() -> Result<(), Failed> {
    for corpus in corpora() {
        let mut warned = Vec::new();
        for case in &corpus.clean {
            let found = case.check()?;
            if found.iter().any(Finding::warns) {
                warned.push(format!("{}: {found:?}", case.name));
            }
        }
        if warned.len() * MOST_WARNINGS.1 > corpus.clean.len() * MOST_WARNINGS.0 {
            return Err(told(corpus, &warned).into());
        }
    }
    Ok(())
}

fn verdicts_are_the_same() -> Result<(), Failed> {
    let corpora = corpora();
    let mut differing = BTreeSet::new();
    let verdicts = |corpus: &Corpus| -> Result<Vec<_>, String> {
        corpus.cases().map(|case| Ok((case.name, case::rules(&case.check()?)))).collect()
    };
    let first = verdicts(&corpora[0])?;
    for corpus in &corpora[1..] {
        for (one, other) in first.iter().zip(verdicts(corpus)?) {
            if *one != other {
                differing.insert(format!("{one:?} with {}, {other:?} with {}", corpora[0].seed, corpus.seed));
            }
        }
    }
    if differing.is_empty() { Ok(()) } else { Err(format!("{differing:#?}").into()) }
}

/// Names are names, there are enough cases, and each leak says where it is.
fn the_corpus_is_whole() -> Result<(), Failed> {
    let corpus = &corpora()[0];
    let names: BTreeSet<_> = corpus.cases().map(|case| case.name).collect();
    if names.len() != corpus.leaks.len() + corpus.clean.len() {
        return Err("two cases have one name".into());
    }
    if corpus.leaks.len() < 80 || corpus.clean.len() < 70 {
        return Err(format!("{} leaks and {} others", corpus.leaks.len(), corpus.clean.len()).into());
    }
    match corpus.leaks.iter().find(|case| case.wanted.is_empty()) {
        Some(case) => Err(format!("{}: what has to be found?", case.name).into()),
        None => Ok(()),
    }
}

/// Judges the cases of all corpora, and tells every one that is not as it should be.
fn over_all(
    which: impl Fn(&Corpus) -> &[Case],
    verdict: impl Fn(&Case, &[Finding]) -> Result<(), String>,
) -> Result<(), Failed> {
    for corpus in corpora() {
        let cases = which(corpus);
        let judged = cases.iter().map(|case| verdict(case, &case.check()?));
        let wrong: Vec<_> = judged.filter_map(Result::err).collect();
        if !wrong.is_empty() {
            return Err(format!("{} of {} cases; {}", wrong.len(), cases.len(), told(corpus, &wrong)).into());
        }
    }
    Ok(())
}

fn told(corpus: &Corpus, wrong: &[String]) -> String {
    format!("SELKIE_SEED={}\n{}", corpus.seed, wrong.join("\n"))
}

/// How many seeds a run has.
const SEEDS: u64 = 5;

/// How many files may be warned of although nothing is wrong, in how many.
const MOST_WARNINGS: (usize, usize) = (1, 40);

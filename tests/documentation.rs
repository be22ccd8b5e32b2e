//! The commands of the documentation, run as they stand there.
//!
//! A page is a story: its blocks of commands are run in order, each in what the one before left, in a *lab*, which is a
//! fresh place with a home of its own and the programs of this project on the search path. What a page shows as output is
//! compared with what came out. How a page says more than a reader sees is told in [`page`].
//!
//! Nothing is left out in silence: a block that is not run says why, and how many there are of them is in a table here.

mod figures;
pub mod labs;
mod machines;
mod matching;
pub mod page;
mod pictures;
pub mod place;
mod reading;
pub mod story;
mod swallowed;
mod trials;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Failed, Trial};

use labs::KINDS;
use page::{Page, What};

/// Runs a program in place of the tests, if it was started under a name that only pages call it by.
pub fn run_as_program() -> Option<ExitCode> {
    let name = PathBuf::from(env::args_os().next()?);
    match name.file_name()?.to_str()? {
        "kubeseal" => Some(kubectl_seal::main()),
        "ksops" | "selkie-decryptor" | "SopsGenerator" | "SopsTransformer" => Some(selkie_decryptor::main()),
        _ => None,
    }
}

/// Returns the tests that need no peer.
pub fn tests() -> Vec<Trial> {
    let mut tests = stories(false);
    tests.extend(reading::tests());
    tests.extend(pictures::tests());
    tests.extend(trials::tests());
    tests.push(Trial::test("documentation::what_is_not_run_is_known", what_is_not_run_is_known));
    tests.push(Trial::test("documentation::figures_are_those_measured", figures::are_those_measured));
    tests
}

/// Returns the tests of pages whose labs need peers.
pub fn live_tests() -> Vec<Trial> {
    stories(true)
}

/// Returns one test for each page with commands whose lab is of this sort.
fn stories(is_live: bool) -> Vec<Trial> {
    let story = |path: PathBuf| {
        let name = name_of(&path);
        match Page::read(&path) {
            Ok(page) => {
                let kind = KINDS.iter().find(|kind| kind.name == page.lab);
                if kind.is_some_and(|kind| kind.is_live != is_live) || !page.is_run() {
                    return None;
                }
                let prefix = if is_live { "live::" } else { "" };
                let is_possible = kind.is_none_or(|kind| (kind.is_possible)());
                let test = move || match kind {
                    Some(kind) => story::run(&page, kind),
                    None => Err(format!("{}: there is no lab {:?}", path.display(), page.lab).into()),
                };
                let test = Trial::test(format!("{prefix}documentation::{name}"), test);
                Some(test.with_ignored_flag(!is_possible))
            }
            Err(_) if is_live => None,
            Err(failed) => Some(Trial::test(format!("documentation::{name}"), move || Err(failed))),
        }
    };
    pages().into_iter().filter_map(story).collect()
}

/// A new block that is not run is noticed, and so is one that is run at last.
fn what_is_not_run_is_known() -> Result<(), Failed> {
    for path in pages() {
        let page = Page::read(&path)?;
        let found = page.steps.iter().filter(|step| matches!(step.what, What::NotRun { .. })).count();
        let name = name_of(&path);
        let known = NOT_RUN.iter().find(|(page, _)| *page == name).map_or(0, |(_, number)| *number);
        if found != known {
            let message = format!("{}: {found} blocks are not run, where {known} are known", path.display());
            return Err(message.into());
        }
    }
    Ok(())
}

/// Returns where the pages are, in the order of their names: README and what is in `docs/`.
fn pages() -> Vec<PathBuf> {
    let files = fs::read_dir(top().join("docs")).into_iter().flatten().filter_map(Result::ok);
    let mut pages: Vec<_> = files.map(|file| file.path()).collect();
    pages.retain(|path| path.extension() == Some(OsStr::new("md")));
    pages.push(top().join("README.md"));
    pages.sort();
    pages
}

/// Returns the name of a page, as tests have it.
fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_").to_lowercase()
}

/// Returns the top of the repository.
fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// How many blocks of a page are not run; of all others, none. A block says its reason itself.
const NOT_RUN: &[(&str, usize)] = &[("browser", 1), ("installing", 4), ("master_keys", 1), ("readme", 3)];

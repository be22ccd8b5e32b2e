//! What a page says besides its blocks of commands: its links, and the verbs and flags that its sentences name.

mod links;
mod verbs;

use std::ops::Range;

use libtest_mimic::{Failed, Trial};
use pulldown_cmark::{Event, Parser};

use super::page::{line_of, options};

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    let mut tests = links::tests();
    tests.extend(verbs::tests());
    tests
}

/// Returns what a page consists of, each with its place in the text.
fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    Parser::new_ext(text, options()).into_offset_iter()
}

/// What is wrong with pages, all of it at once: whoever renames something has many places to mend.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, name: &str, text: &str, offset: usize, what: &str) {
        self.0.push(format!("{name}:{}: {what}", line_of(text, offset)));
    }

    fn end(self) -> Result<(), Failed> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("\n").into()) }
    }
}

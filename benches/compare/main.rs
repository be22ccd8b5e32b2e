//! Measures our program beside the real sops and the real kubeseal, and writes `docs/performance.md`.
//!
//! Started by `benches/run.sh`, which builds the program and brings up the others. With the names of parts, only
//! those are measured, and the page stays as it is.

mod bench;
mod checks;
mod controller;
mod cores;
mod keyservice;
mod manifests;
mod page;
mod render;
mod sealed;
mod sops;

use std::error::Error;
use std::{env, fs};

use bench::Bench;
use page::Page;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures something, and adds it to the page.
type Part = fn(&Bench, &mut Page) -> Result<()>;

const PARTS: [(&str, Part); 7] = [
    ("sops", sops::measure),
    ("keyservice", keyservice::measure),
    ("sealed", sealed::measure),
    ("render", render::measure),
    ("cores", cores::measure),
    ("checks", checks::measure),
    ("controller", controller::measure),
];

fn main() -> Result<()> {
    // Cargo adds a flag of its own.
    let wanted: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| PARTS.iter().all(|(name, _)| name != wanted)) {
        return Err(format!("there is no part {unknown}").into());
    }
    let bench = Bench::new()?;
    let mut page = Page::new(&bench)?;
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure(&bench, &mut page)?;
        }
    }
    if wanted.is_empty() {
        fs::write("docs/performance.md", page.text())?;
    }
    Ok(())
}

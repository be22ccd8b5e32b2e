//! Measures our program beside the real sops and the real kubeseal, and writes `docs/performance.md`.
//!
//! Started by `benches/run.sh`, which builds the program and brings up the others. With the names of parts, only those are
//! measured again; with `--draw` none is. The page and its plots are drawn of what was measured last.

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
mod start;

use std::env;
use std::error::Error;

use bench::Bench;
use page::Page;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures something, and adds it to the page.
type Part = fn(&Bench, &mut Page) -> Result<()>;

const PARTS: [(&str, Part); 8] = [
    ("start", start::measure),
    ("sops", sops::measure),
    ("keyservice", keyservice::measure),
    ("sealed", sealed::measure),
    ("render", render::measure),
    ("cores", cores::measure),
    ("checks", checks::measure),
    ("controller", controller::measure),
];

fn main() -> Result<()> {
    let names = PARTS.map(|(name, _)| name);
    // Cargo adds a flag of its own.
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments == ["--draw"] {
        return page::draw(&names);
    }
    if let Some(unknown) = arguments.iter().find(|argument| !names.contains(&argument.as_str())) {
        return Err(format!("there is no part {unknown}").into());
    }
    let bench = Bench::new()?;
    for (name, measure) in PARTS {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            let mut page = Page::new(&bench)?;
            measure(&bench, &mut page)?;
            page.write(name)?;
        }
    }
    page::draw(&names)
}

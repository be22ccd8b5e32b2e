//! What it costs to start, and how large programs are: most runs do next to nothing else.

use std::fs;
use std::path::Path;

use crate::Result;
use crate::bench::{Bench, median};
use crate::page::{Page, megabytes, seconds};

pub fn measure(bench: &Bench, page: &mut Page) -> Result<()> {
    let about = format!(
        "The size of each program as a file, and a run of it that only tells its version; the median of {RUNS} runs."
    );
    page.section("Size and start", &about);
    page.line("| program | size | start | memory |");
    page.line("|---|---:|---:|---:|");
    for (name, program) in
        [("kubectl-seal", &bench.ours), ("seal-hook", &bench.hook), ("selkie-decryptor", &bench.decryptor)]
    {
        row(bench, page, name, program, &["--version"])?;
    }
    row(bench, page, "sops", &bench.sops, &["--version", "--disable-version-check"])?;
    row(bench, page, "kubeseal", &bench.kubeseal, &["--version"])?;
    row(bench, page, "the controller of Sealed Secrets", &bench.controller, &["--version"])?;
    row(bench, page, "gitleaks", &bench.gitleaks, &["--version"])
}

fn row(bench: &Bench, page: &mut Page, name: &str, program: &Path, arguments: &[&str]) -> Result<()> {
    let size = fs::metadata(program)?.len();
    let cost = median(RUNS, || bench.run(program, arguments))?;
    page.line(&format!(
        "| {name} | {} | {} | {} |",
        megabytes(size),
        seconds(cost.time),
        megabytes(cost.memory)
    ));
    Ok(())
}

const RUNS: usize = 41;

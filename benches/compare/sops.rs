//! SOPS documents, beside sops.

use std::path::Path;

use crate::Result;
use crate::bench::{Bench, Cost, median, one_by_one};
use crate::manifests::{manifest, mixed};
use crate::page::{Line, Page, Plot, Unit, megabytes, seconds};

pub fn measure(bench: &Bench, page: &mut Page) -> Result<()> {
    bench.write("keys.txt", IDENTITY)?;
    bench.write(".sops.yaml", format!("creation_rules:\n  - age: {RECIPIENT}\n"))?;
    small_file(bench, page)?;
    large_file(bench, page)?;
    many_files(bench, page)?;
    sizes(bench, page)
}

fn small_file(bench: &Bench, page: &mut Page) -> Result<()> {
    let text = manifest(1, 8);
    page.heading("One small file", "A Kubernetes Secret with 8 values; the median of 21 runs.", "sops");
    let ours = both_ways(bench, &bench.ours, &text, 21)?;
    let theirs = both_ways(bench, &bench.sops, &text, 21)?;
    page.row("encrypt", ours.0, theirs.0);
    page.row("decrypt", ours.1, theirs.1);
    Ok(())
}

fn large_file(bench: &Bench, page: &mut Page) -> Result<()> {
    let text = large(LARGE);
    let size = text.len() as f64 / 1e6;
    let about = format!("{size:.1} MB of YAML with {LARGE} values; the median of 3 runs.");
    page.heading("One large file", &about, "sops");
    let ours = both_ways(bench, &bench.ours, &text, 3)?;
    let theirs = both_ways(bench, &bench.sops, &text, 3)?;
    page.row("encrypt", ours.0, theirs.0);
    page.row("decrypt", ours.1, theirs.1);
    Ok(())
}

fn many_files(bench: &Bench, page: &mut Page) -> Result<()> {
    let about = "Selkie takes a folder in one call; sops is started once for each file.";
    page.heading("Many small files", about, "sops");
    let (mut ours, mut theirs) = (Line::new("Selkie"), Line::new("sops"));
    for count in [1, 10, 200, 1000, 5000] {
        let folder = format!("many-{count}");
        let names: Vec<_> = (0..count).map(|index| format!("{folder}/{index:04}.yaml")).collect();
        let write =
            || names.iter().enumerate().try_for_each(|(index, name)| bench.write(name, manifest(index, 8)));
        write()?;
        let encrypt = bench.run(&bench.ours, &["encrypt", "-i", &folder])?;
        let decrypt = bench.run(&bench.ours, &["decrypt", "-i", &folder])?;
        write()?;
        let their_encrypt = one_by_one(&names, |name| bench.run(&bench.sops, &["encrypt", "-i", name]))?;
        let their_decrypt = one_by_one(&names, |name| bench.run(&bench.sops, &["decrypt", "-i", name]))?;
        ours.seconds(count, decrypt.time);
        theirs.seconds(count, their_decrypt.time);
        page.row(&format!("encrypt {count} files"), encrypt, their_encrypt);
        page.row(&format!("decrypt {count} files"), decrypt, their_decrypt);
    }
    page.plot(Plot {
        name: "many-files".to_owned(),
        title: "Decrypting small files".to_owned(),
        size: "files".to_owned(),
        cost: Unit::Seconds,
        lines: vec![ours, theirs],
    });
    Ok(())
}

fn sizes(bench: &Bench, page: &mut Page) -> Result<()> {
    let about = "YAML of the same shape. Each program's last columns are per 1,000 values: they stay the same where cost grows in \
                 proportion.";
    page.section("Cost against size", about);
    page.line(
        "| values | encrypt: Selkie | sops | decrypt: Selkie | sops | memory: Selkie | sops | encrypt, per 1,000 values: Selkie | sops |",
    );
    page.line("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let lines = || [Line::new("Selkie"), Line::new("sops")];
    let (mut encrypting, mut decrypting, mut memory) = (lines(), lines(), lines());
    for values in [100, 1_000, 10_000, 50_000, LARGE, 2 * LARGE] {
        let text = large(values);
        let runs = if values < 50_000 { 3 } else { 1 };
        let mut costs = Vec::new();
        for (index, program) in [&bench.ours, &bench.sops].into_iter().enumerate() {
            let (encrypt, decrypt) = both_ways(bench, program, &text, runs)?;
            encrypting[index].seconds(values, encrypt.time);
            decrypting[index].seconds(values, decrypt.time);
            memory[index].bytes(values, encrypt.memory.max(decrypt.memory));
            costs.push((encrypt, decrypt));
        }
        let both =
            |show: &dyn Fn(&(Cost, Cost)) -> String| costs.iter().map(show).collect::<Vec<_>>().join(" | ");
        let each = |cost: Cost| format!("{:.2} ms", cost.time.as_secs_f64() * 1e6 / values as f64);
        page.line(&format!(
            "| {values} | {} | {} | {} | {} |",
            both(&|(encrypt, _)| seconds(encrypt.time)),
            both(&|(_, decrypt)| seconds(decrypt.time)),
            both(&|(encrypt, decrypt)| megabytes(encrypt.memory.max(decrypt.memory))),
            both(&|(encrypt, _)| each(*encrypt)),
        ));
    }
    for (name, title, cost, lines) in [
        ("encrypt", "Encrypting a document", Unit::Seconds, encrypting),
        ("decrypt", "Decrypting a document", Unit::Seconds, decrypting),
        ("memory", "Memory for a document", Unit::Bytes, memory),
    ] {
        page.plot(Plot {
            name: name.to_owned(),
            title: title.to_owned(),
            size: "values".to_owned(),
            cost,
            lines: lines.into(),
        });
    }
    Ok(())
}

/// Encrypts and decrypts a document with a program, from the same start each time.
fn both_ways(bench: &Bench, program: &Path, text: &str, runs: usize) -> Result<(Cost, Cost)> {
    // Both programs understand the command line of sops.
    let face: &[&str] = if program == bench.ours { &["sops"] } else { &[] };
    let encrypt = median(runs, || {
        bench.write("document.yaml", text)?;
        bench.run(program, &[face, &["encrypt", "-i", "document.yaml"]].concat())
    })?;
    let decrypt = median(runs, || bench.run(program, &[face, &["decrypt", "document.yaml"]].concat()))?;
    Ok((encrypt, decrypt))
}

/// Many values in one document, of about 32 bytes each with key and indentation.
fn large(values: usize) -> String {
    let mut text = String::new();
    for index in 0..values {
        if index % 20 == 0 {
            text += &format!("application-{:05}:\n", index / 20);
        }
        text += &format!("  setting-{:02}: {:016x}\n", index % 20, mixed(index));
    }
    text
}

/// How many values the large file has.
const LARGE: usize = 180_000;

const RECIPIENT: &str = "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";

/// Made for tests and used nowhere else.
const IDENTITY: &str = include_str!("../../testdata/sops/keys.txt");

//! A repository of manifests, some of them encrypted, beside how others render one.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;
use crate::bench::{Bench, Cost, medians};
use crate::manifests::{manifest, name, namespace};
use crate::page::{Line, Page, Plot, Unit, megabytes, seconds};

pub fn measure(bench: &Bench, page: &mut Page) -> Result<()> {
    bench.write("keys.txt", IDENTITY)?;
    bench.write(
        ".sops.yaml",
        format!("creation_rules:\n  - age: {RECIPIENT}\n    encrypted_regex: ^(data|stringData)$\n"),
    )?;
    let encrypted = write(bench)?;
    bench.write("each.sh", each(&bench.sops, &encrypted))?;
    let shell = Path::new("/bin/sh");
    let about = format!(
        "{FILES} manifests in {FOLDERS} folders, {ENCRYPTED} of them encrypted for age, one of 8 values each. `selkie-decryptor render` reads\n\
         and verifies all of them and writes one stream. helm-secrets starts `sops -d` once for each encrypted file, which is what\n\
         a loop of the shell does here, and no more: it writes nothing of the other files. The median of 3 runs that take turns."
    );
    page.heading("Rendering a repository", &about, "sops, once for each file");
    let mut first = Cost::default();
    let mut is_first = true;
    let mut ours = || {
        let cost = bench.run(&bench.decryptor, &["render", "repository"])?;
        if std::mem::take(&mut is_first) {
            first = cost;
        }
        Ok(cost)
    };
    let mut theirs = || bench.run(shell, &["each.sh"]);
    let [ours, theirs] = medians(3, [&mut ours, &mut theirs])?;
    page.row("the first run, right after all files were written", first, theirs);
    page.row("further runs", ours, theirs);
    page.plot(growth(bench, &encrypted)?);
    page.section(
        "What rendering a repository costs",
        "The same repository; clear files are parsed and written like encrypted ones. Redacting asks for no key.",
    );
    page.line("| | time | memory |");
    page.line("|---|---:|---:|");
    for (what, arguments) in [
        ("plain", &["render", "repository"][..]),
        ("redact", &["render", "--mode", "redact", "repository"]),
        ("one folder of it, plain", &["render", "repository/folder-00"]),
    ] {
        let [cost] = medians(3, [&mut || bench.run(&bench.decryptor, arguments)])?;
        page.line(&format!("| {what} | {} | {} |", seconds(cost.time), megabytes(cost.memory)));
    }
    page.line("\nKSOPS, which decrypts in one process for each kustomization, is not measured: it is none of the peers.");
    Ok(())
}

/// Measures some of the folders, then more of them.
fn growth(bench: &Bench, encrypted: &[String]) -> Result<Plot> {
    let (mut ours, mut theirs) = (Line::new("Selkie"), Line::new("sops, once for each file"));
    for folders in [1, 3, 10, FOLDERS] {
        let names: Vec<_> = (0..folders).map(|folder| format!("repository/folder-{folder:02}")).collect();
        let is_there = |path: &&String| names.iter().any(|folder| path.starts_with(&format!("{folder}/")));
        let paths: Vec<_> = encrypted.iter().filter(is_there).cloned().collect();
        bench.write("some.sh", each(&bench.sops, &paths))?;
        bench.copy(&names, "part")?;
        let [cost, their_cost] = medians(
            3,
            [&mut || bench.run(&bench.decryptor, &["render", "part"]), &mut || {
                bench.run(Path::new("/bin/sh"), &["some.sh"])
            }],
        )?;
        ours.seconds(paths.len(), cost.time);
        theirs.seconds(paths.len(), their_cost.time);
    }
    Ok(Plot {
        name: "render".to_owned(),
        title: "Rendering a repository, a tenth of it encrypted".to_owned(),
        size: "encrypted files".to_owned(),
        cost: Unit::Seconds,
        lines: vec![ours, theirs],
    })
}

/// Writes the repository, and returns the names of what is encrypted in it.
fn write(bench: &Bench) -> Result<Vec<String>> {
    let mut encrypted = Vec::new();
    for index in 0..FILES {
        let folder = format!("repository/folder-{:02}", index / (FILES / ENCRYPTED) % FOLDERS);
        if index % (FILES / ENCRYPTED) == 0 {
            let path = format!("{folder}/secret-{index:04}.yaml");
            bench.write(&path, manifest(index, 8))?;
            encrypted.push(path);
        } else {
            bench.write(&format!("{folder}/config-{index:04}.yaml"), config(index))?;
        }
    }
    for names in encrypted.chunks(100) {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        bench.run(&bench.ours, &[&["encrypt", "-i"], names.as_slice()].concat())?;
    }
    Ok(encrypted)
}

/// A Deployment, which most files of a repository are like.
fn config(seed: usize) -> String {
    let (name, namespace) = (name(seed), namespace(seed));
    let mut text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n      containers:\n        - name: main\n          image: example/{name}:1.2.{seed}\n          env:\n"
    );
    for number in 0..8 {
        // Strings take all there is.
        let _ = write!(
            text,
            "            - name: SETTING_{number}\n              value: \"{}\"\n",
            seed + number
        );
    }
    text
}

/// Returns a script that decrypts files one by one.
fn each(sops: &Path, names: &[String]) -> String {
    let mut script = String::from("set -e\n");
    for name in names {
        script += &format!("'{}' -d {name} >/dev/null\n", sops.display());
    }
    script
}

/// How many files the repository has.
const FILES: usize = 3000;
/// How many of them are encrypted.
const ENCRYPTED: usize = 300;
/// How many folders it has.
const FOLDERS: usize = 30;

const RECIPIENT: &str = "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";

/// Made for tests and used nowhere else.
const IDENTITY: &str = include_str!("../../testdata/sops/keys.txt");

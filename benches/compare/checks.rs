//! The checks of a large repository, beside gitleaks, and beside what only reads it.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;
use crate::bench::{Bench, Cost, Streams, medians};
use crate::manifests::{manifest, mixed, name, namespace, value};
use crate::page::{Line, Page, Plot, Unit, megabytes, seconds};

pub fn measure(bench: &Bench, page: &mut Page) -> Result<()> {
    let mut table = Table { bench, page };
    let about = format!(
        "A repository of {FILES} manifests, {} MB: Deployments, ConfigMaps, HelmReleases and definitions of resources, {SECRETS} \
         encrypted Secrets and as many SealedSecrets. Work is that of all processors, by the program and what it starts. \
         `git diff` only lists names, and ripgrep looks for one word; both find out nothing. The medians of {RUNS} runs \
         that take turns.",
        write(bench)? / 1_000_000
    );
    table.page.section("Checks", &about);
    table.page.line("| | program | time | work | memory | work / Selkie's |");
    table.page.line("|---|---|---:|---:|---:|---:|");
    table.one_file()?;
    table.all_files()?;
    table.many_files()?;
    table.history()?;
    table.large_blob()?;
    table.growth()
}

/// The table of the page, and what measures.
struct Table<'a> {
    bench: &'a Bench,
    page: &'a mut Page,
}

/// A program, and what it is asked.
type Run<'a> = (&'a str, &'a Path, &'a [&'a str]);

impl Table<'_> {
    /// One file was changed, as in most commits.
    fn one_file(&mut self) -> Result<()> {
        git(self.bench, TREE, &["init", "--quiet"])?;
        git(self.bench, TREE, &["add", "--all"])?;
        git(self.bench, TREE, &["commit", "--quiet", "--message", "all"])?;
        self.bench.write(&format!("{TREE}/folder-00/new.yaml"), deployment(FILES))?;
        git(self.bench, TREE, &["add", "--all"])?;
        let git = Path::new(GIT);
        let (hook, gitleaks) = (self.bench.hook.clone(), self.bench.gitleaks.clone());
        self.rows(
            "one file is staged",
            TREE,
            [
                ("Selkie", &hook, &["check", "--staged"]),
                ("gitleaks", &gitleaks, STAGED),
                ("git diff", git, &["diff", "--cached", "--name-only"]),
            ],
        )
    }

    /// All files are new, and all are looked at in CI.
    fn all_files(&mut self) -> Result<()> {
        let (hook, gitleaks) = (self.bench.hook.clone(), self.bench.gitleaks.clone());
        let ripgrep = self.bench.ripgrep.clone();
        self.rows(
            "all files, in CI",
            TREE,
            [
                ("Selkie", &hook, &["check", "--all"]),
                ("gitleaks", &gitleaks, &["dir", "--no-banner", "--exit-code", "0", "."]),
                ("ripgrep", &ripgrep, &["--count", "kind: Secret"]),
            ],
        )?;
        git(self.bench, TREE, &["update-ref", "-d", "HEAD"])?;
        self.rows(
            "all files are staged",
            TREE,
            [
                ("Selkie", &hook, &["check", "--staged"]),
                ("gitleaks", &gitleaks, STAGED),
                ("git diff", Path::new(GIT), &["diff", "--cached", "--name-only"]),
            ],
        )
    }

    /// More files than a commit ever has.
    fn many_files(&mut self) -> Result<()> {
        for index in 0..MANY {
            let text = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n", name(index));
            self.bench.write(&format!("many/folder-{:03}/file-{index}.yaml", index % 100), text)?;
        }
        git(self.bench, "many", &["init", "--quiet"])?;
        git(self.bench, "many", &["add", "--all"])?;
        let (hook, gitleaks) = (self.bench.hook.clone(), self.bench.gitleaks.clone());
        self.rows(
            &format!("{MANY} small files are staged"),
            "many",
            [
                ("Selkie", &hook, &["check", "--staged"]),
                ("gitleaks", &gitleaks, STAGED),
                ("git diff", Path::new(GIT), &["diff", "--cached", "--name-only"]),
            ],
        )
    }

    /// A branch that is pushed for the first time.
    fn history(&mut self) -> Result<()> {
        let mut commits = String::new();
        for number in 0..COMMITS {
            let text = deployment(number);
            // Strings take all there is.
            let _ = write!(
                commits,
                "commit refs/heads/main\ncommitter a <a@example.org> {} +0000\ndata 1\nc\nM 100644 inline file-{:03}.yaml\ndata {}\n{text}\n",
                1_700_000_000 + number,
                number % 200,
                text.len()
            );
        }
        self.bench.write("history.txt", commits)?;
        self.bench.write("history/.keep", "")?;
        git(self.bench, "history", &["init", "--quiet", "--initial-branch", "main"])?;
        let streams = Streams { stdin: Some("history.txt"), stdout: None };
        self.bench.run_in("history", Path::new(GIT), &["fast-import", "--quiet"], streams)?;
        git(self.bench, "history", &["reset", "--quiet", "--hard"])?;
        let (hook, gitleaks) = (self.bench.hook.clone(), self.bench.gitleaks.clone());
        self.rows(
            &format!("a history of {COMMITS} commits"),
            "history",
            [
                ("Selkie", &hook, &["check", "--range", "HEAD"]),
                ("gitleaks", &gitleaks, &["git", "--no-banner", "--exit-code", "0", "."]),
                ("git log", Path::new(GIT), &["log", "--oneline", "--name-only"]),
            ],
        )
    }

    /// Something that nobody meant to add.
    fn large_blob(&mut self) -> Result<()> {
        let line: Vec<u8> = (0..LARGE / 8).flat_map(|number| mixed(number).to_le_bytes()).collect();
        self.bench.write("large/dump.bin", line)?;
        git(self.bench, "large", &["init", "--quiet"])?;
        git(self.bench, "large", &["add", "--all"])?;
        let (hook, gitleaks) = (self.bench.hook.clone(), self.bench.gitleaks.clone());
        self.rows(
            &format!("a file of {} MB is staged", LARGE / 1_000_000),
            "large",
            [
                ("Selkie", &hook, &["check", "--staged"]),
                ("gitleaks", &gitleaks, STAGED),
                ("git cat-file", Path::new(GIT), &["cat-file", "blob", ":dump.bin"]),
            ],
        )
    }

    /// Some of the folders, then more of them.
    fn growth(&mut self) -> Result<()> {
        let (mut ours, mut theirs) = (Line::new("Selkie"), Line::new("gitleaks"));
        for folders in [1, 5, 20, FOLDERS] {
            let names: Vec<_> = (0..folders).map(|folder| format!("{TREE}/folder-{folder:02}")).collect();
            self.bench.copy(&names, "part")?;
            git(self.bench, "part", &["init", "--quiet"])?;
            git(self.bench, "part", &["add", "--all"])?;
            let (hook, gitleaks) = (self.bench.hook.clone(), self.bench.gitleaks.clone());
            let dir = ["dir", "--no-banner", "--exit-code", "0", "."];
            let bench = self.bench;
            let [cost, their_cost] = medians(
                3,
                [&mut || bench.run_in("part", &hook, &["check", "--all"], Streams::default()), &mut || {
                    bench.run_in("part", &gitleaks, &dir, Streams::default())
                }],
            )?;
            let files = folders * FILES / FOLDERS;
            ours.seconds(files, cost.work);
            theirs.seconds(files, their_cost.work);
        }
        self.page.plot(Plot {
            name: "checks".to_owned(),
            title: "Checking all files of a repository, work of all processors".to_owned(),
            size: "files".to_owned(),
            cost: Unit::Seconds,
            lines: vec![ours, theirs],
        });
        Ok(())
    }

    /// Measures programs in turn, ours first, and adds a line for each.
    fn rows(&mut self, what: &str, folder: &str, runs: [Run<'_>; 3]) -> Result<()> {
        let bench = self.bench;
        let [one, two, three] = runs;
        let start =
            |(_, program, arguments): Run<'_>| bench.run_in(folder, program, arguments, Streams::default());
        let costs = medians(RUNS, [&mut || start(one), &mut || start(two), &mut || start(three)])?;
        let ours = costs[0].work.as_secs_f64();
        for ((program, _, _), Cost { time, work, memory }) in runs.into_iter().zip(costs) {
            let ratio = work.as_secs_f64() / ours;
            let (time, worked, memory) = (seconds(time), seconds(work), megabytes(memory));
            self.page.line(&format!("| {what} | {program} | {time} | {worked} | {memory} | {ratio:.2} |"));
        }
        Ok(())
    }
}

/// Writes the repository, and returns how many bytes it has.
fn write(bench: &Bench) -> Result<usize> {
    bench.write("keys.txt", IDENTITY)?;
    let rule = format!(
        "creation_rules:\n  - path_regex: secret-.*\n    age: {RECIPIENT}\n    encrypted_regex: ^(data|stringData)$\n"
    );
    bench.write(&format!("{TREE}/.sops.yaml"), rule)?;
    let (mut size, mut encrypted) = (0, Vec::new());
    for index in 0..FILES {
        let folder = format!("{TREE}/folder-{:02}", index / 25 % FOLDERS);
        let (kind, text) = match index % 25 {
            0 | 12 => ("secret", manifest(index, 8)),
            1 | 13 => ("sealed", sealed(index)),
            2..=5 => ("config", config(index)),
            6..=8 => ("release", release(index)),
            9 => ("definition", definition(index)),
            _ => ("deployment", deployment(index)),
        };
        let path = format!("{folder}/{kind}-{index:04}.yaml");
        bench.write(&path, &text)?;
        if kind == "secret" {
            encrypted.push(path);
        } else {
            size += text.len();
        }
    }
    for paths in encrypted.chunks(100) {
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        bench.run(&bench.ours, &[&["encrypt", "-i"], paths.as_slice()].concat())?;
    }
    for path in &encrypted {
        size += bench.read(path)?.len();
    }
    Ok(size)
}

fn deployment(seed: usize) -> String {
    let (name, namespace) = (name(seed), namespace(seed));
    let mut text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n      annotations:\n        checksum/config: {}{}\n    spec:\n      containers:\n        - name: main\n          image: example/{name}:1.2.{seed}\n          env:\n            - name: DB_PASSWORD\n              valueFrom: {{secretKeyRef: {{name: {name}, key: password}}}}\n",
        value(seed),
        value(seed + 1)
    );
    for number in 0..50 {
        // Strings take all there is.
        let _ = write!(
            text,
            "            - name: SETTING_{number}\n              value: \"{}\"\n",
            seed + number
        );
    }
    text
}

fn config(seed: usize) -> String {
    let lines: String =
        (0..90).map(|line| format!("  setting-{line}: \"value {} of {line}\"\n", seed + line)).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\n  namespace: {}\ndata:\n{lines}",
        name(seed),
        namespace(seed)
    )
}

fn release(seed: usize) -> String {
    let lines: String = (0..90).map(|line| format!("      option{line}: {}\n", seed * line)).collect();
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: {}\n  namespace: {}\nspec:\n  interval: 1h\n  chart: {{spec: {{chart: app, version: 1.2.3, sourceRef: {{kind: HelmRepository, name: apps}}}}}}\n  values:\n    auth: {{existingSecret: {}}}\n    app:\n{lines}",
        name(seed),
        namespace(seed),
        name(seed)
    )
}

fn definition(seed: usize) -> String {
    let name = name(seed);
    let lines: String = (0..220)
        .map(|field| format!("                field{field}:\n                  type: string\n                  description: The field {field}.\n"))
        .collect();
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: {name}.example.org\nspec:\n  group: example.org\n  names: {{kind: Thing, plural: {name}}}\n  scope: Namespaced\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      schema:\n        openAPIV3Schema:\n          type: object\n          properties:\n            spec:\n              type: object\n              properties:\n{lines}"
    )
}

/// A SealedSecret, as far as it can be told without the key of a cluster.
fn sealed(seed: usize) -> String {
    let item = |number: usize| {
        // The length of the sealed key, 512, and then what looks drawn.
        let mut text = "AgA".to_owned();
        for part in 0..48 {
            let number = mixed(seed * 1000 + number * 100 + part);
            let digit = |shift: u32| char::from(BASE64[(number >> shift) as usize & 63]);
            text.extend((0..10).map(|place| digit(place * 6)));
            text.extend((0..6).map(|place| digit(place * 5 + 3)));
        }
        text.truncate(text.len() / 4 * 4);
        text
    };
    let items: String = (0..3).map(|number| format!("    key-{number}: {}\n", item(number))).collect();
    let (name, namespace) = (name(seed), namespace(seed));
    format!(
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  encryptedData:\n{items}  template:\n    metadata: {{name: {name}, namespace: {namespace}}}\n"
    )
}

fn git(bench: &Bench, folder: &str, arguments: &[&str]) -> Result<Cost> {
    let arguments =
        [&["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "gc.auto=0"], arguments].concat();
    bench.run_in(folder, Path::new(GIT), &arguments, Streams::default())
}

const TREE: &str = "checks";
const GIT: &str = "git";
const STAGED: &[&str] = &["git", "--staged", "--no-banner", "--exit-code", "0", "."];

/// How many files the repository has.
const FILES: usize = 5000;
/// How many of them are encrypted Secrets, and how many are SealedSecrets.
const SECRETS: usize = FILES / 25 * 2;
/// How many folders it has.
const FOLDERS: usize = 50;
const MANY: usize = 10_000;
const COMMITS: usize = 1000;
/// The size of a blob, in bytes.
const LARGE: usize = 200_000_000;
/// How often each program runs.
const RUNS: usize = 5;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const RECIPIENT: &str = "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";

/// Made for tests and used nowhere else.
const IDENTITY: &str = include_str!("../../testdata/sops/keys.txt");

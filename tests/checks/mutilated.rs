//! Files of the corpus, cut, doubled and overwritten, and files made to exhaust a check.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::target::{DIVIDER, check};
use super::{case, corpora};

pub fn tests() -> Vec<Trial> {
    let exhausting = EXHAUSTING.iter().map(|&(name, path, make)| {
        Trial::test(format!("checks::exhausting::{name}"), move || exhausting(path, make))
    });
    let mut tests = vec![Trial::test("checks::mutilated_files_do_no_harm", mutilated)];
    tests.extend(exhausting);
    tests
}

fn mutilated() -> Result<(), Failed> {
    let corpus = &corpora()[0];
    let mut rng = ChaCha20Rng::seed_from_u64(corpus.seed);
    let files: Vec<_> = corpus.cases().flat_map(|case| case.files.iter().chain(&case.before)).collect();
    for number in 0..MUTILATED {
        let mut parts = Vec::new();
        let count = rng.gen_range(1..5);
        for part in 0..count {
            let (_, text) = files.choose(&mut rng).expect("there are files");
            let mut text = match part {
                2 => CONFIG.as_bytes().to_vec(),
                3 => BASELINE.as_bytes().to_vec(),
                _ => text[..text.len().min(6000)].to_vec(),
            };
            for _ in 0..rng.gen_range(0..5) {
                mutilate(&mut text, &mut rng);
            }
            parts.push(text);
        }
        let data = [&[rng.r#gen()], parts.join(&DIVIDER).as_slice()].concat();
        let result = std::panic::catch_unwind(|| check(&data));
        if result.is_err() {
            let text = String::from_utf8_lossy(&data);
            return Err(format!("SELKIE_SEED={}, file {number}: {text:?}", corpus.seed).into());
        }
    }
    Ok(())
}

fn mutilate(text: &mut Vec<u8>, rng: &mut ChaCha20Rng) {
    let (from, to) = (rng.gen_range(0..=text.len()), rng.gen_range(0..=text.len()));
    let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 200));
    match rng.gen_range(0..5) {
        0 => text.truncate(to),
        1 => text.extend_from_within(from..to),
        2 => drop(text.drain(from..to)),
        3 if !text.is_empty() => {
            let at = rng.gen_range(0..text.len());
            text[at] ^= 1 << rng.gen_range(0..8);
        }
        _ => {
            let insert = INTERESTING.choose(rng).expect("there are some");
            drop(text.splice(from..from, insert.bytes()));
        }
    }
}

/// Looks at what is full of something, and at four times as much: the work grows as much, and hardly more.
fn exhausting(path: &str, make: Make) -> Result<(), Failed> {
    let [less, more] = [LARGE / 4, LARGE].map(|size| work(path, &make(size)));
    let (less, more) = (less?, more?);
    // What takes next to no time says nothing of how it grows.
    let most = less.max(NOTHING) * STEEPEST;
    if more < most { Ok(()) } else { Err(format!("{less:?} become {more:?}").into()) }
}

/// Returns how long a processor works for looking at a file.
fn work(path: &str, text: &str) -> Result<Duration, Failed> {
    let files = [(path.to_owned(), text.as_bytes().to_vec())];
    let start = worked()?;
    drop(case::check(&files, &[]));
    Ok(worked()? - start)
}

/// Returns how long a processor worked for this thread: what else the machine does matters little to it.
fn worked() -> Result<Duration, Failed> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_ascii_whitespace().next().and_then(|number| number.parse().ok());
    Ok(Duration::from_nanos(nanoseconds.ok_or("the kernel counts the work of threads")?))
}

type Make = fn(usize) -> String;

const EXHAUSTING: &[(&str, &str, Make)] = &[
    ("values_of_a_secret", "a.yaml", |size| {
        let lines: String = (0..size / 20).map(|line| format!("  key{line}: value{line}\n")).collect();
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData:\n{lines}")
    }),
    ("secrets", "a.yaml", |size| "---\nkind: Secret\nstringData: {a: b}\n".repeat(size / 40)),
    ("sealed_secrets_beside_secrets", "a.yaml", |size| {
        "---\nkind: Secret\nmetadata: {name: a}\nstringData: {a: b}\n---\nkind: SealedSecret\nmetadata: {name: a}\n".repeat(size / 100)
    }),
    ("items_of_a_list", "a.yaml", |size| {
        format!("kind: List\nitems:\n{}", "- {kind: Secret, stringData: {a: b}}\n".repeat(size / 40))
    }),
    ("aliases", "a.yaml", |size| {
        let items = "*x, ".repeat(size / 4);
        format!("x: &x {{a: [{}]}}\nkind: Secret\nstringData: {{l: [{items}]}}\n", "b, ".repeat(1000))
    }),
    ("merge_keys", "a.yaml", |size| {
        let levels: String = (0..size / 60)
            .map(|level| {
                format!("m{}: &m{} {{<<: [*m{level}, *m{level}], k{level}: v}}\n", level + 1, level + 1)
            })
            .collect();
        format!("m0: &m0 {{a: b}}\n{levels}kind: Secret\nstringData: {{<<: *m{}}}\n", size / 60)
    }),
    ("depth", "a.yaml", |size| format!("kind: Secret\ndata: {}", "[".repeat(size))),
    ("depth_of_json", "a.json", |size| {
        format!("{{\"kind\":\"Secret\",\"data\":{}", "{\"a\":".repeat(size / 5))
    }),
    ("encrypted_values", "a.enc.yaml", |size| {
        let lines: String = (0..size / 80)
            .map(|line| format!("k{line}: ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]\n"))
            .collect();
        format!(
            "{lines}sops:\n    lastmodified: \"2026-01-02T03:04:05Z\"\n    mac: ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]\n    version: 3.13.3\n"
        )
    }),
    ("variables", "prod.env", |size| "DB_PASSWORD=otter42\n".repeat(size / 20)),
    ("addresses", "a.txt", |size| "see https://app:otter42@db.example/ \n".repeat(size / 36)),
    ("addresses_without_an_end", "a.txt", |size| "a://b:".repeat(size / 6)),
    ("keys", "a.txt", |size| concat!("-----BEGIN PRIV", "ATE KEY-----\n").repeat(size / 28)),
    ("keys_in_base64", "a.txt", |size| "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t".repeat(size / 36)),
    ("literals_of_commands", "setup.sh", |size| "x --from-literal=a=otter42 \\\n".repeat(size / 28)),
    ("allowances", "a.yaml", |size| "# seal:allow K8S001 reason=\"a\"\n".repeat(size / 32)),
    ("templates", "chart/templates/secret.yaml", |size| {
        format!(
            "kind: Secret\ndata:\n{}",
            "  {{- if .a }}\n  a: {{ .b | default \"otter42\" }}\n".repeat(size / 50)
        )
    }),
    ("conflicts", "a.yaml", |size| {
        format!("kind: Secret\nsops: {{}}\n{}", "<<<<<<< a\n>>>>>>> b\n".repeat(size / 20))
    }),
    ("one_line", "a.yaml", |size| {
        format!("kind: Secret\nstringData: {{a: \"{}\"}}", "password token ".repeat(size / 15))
    }),
    ("literals_of_a_kustomization", "kustomization.yaml", |size| {
        format!(
            "kind: Kustomization\nsecretGenerator:\n- name: a\n  literals:\n{}",
            "  - a=otter42\n".repeat(size / 14)
        )
    }),
];

/// How large what exhausts is, in bytes.
const LARGE: usize = 1 << 18;

/// How much more work there may be for four times as much: what is linear comes to four, what is quadratic to sixteen.
const STEEPEST: u32 = 9;

/// Less work than this is next to nothing.
const NOTHING: Duration = Duration::from_millis(20);

/// How many files are mutilated.
const MUTILATED: usize = 1500;

const CONFIG: &str = "version: 1\nsops: {config: auto, require-mac: if-key}\nrules: {K8S006: error}\npaths:\n  - {match: \"docs/**\", rules: {K8S001: warning}}\nplaceholders: [\"CHANGE_ME_*\"]\nextra-kinds: [{group: example.org, kind: Vaulted, encrypted: spec.values}]\nallow: [{path: a, pointer: /a, rule: K8S001, reason: demo, until: 2027-01-01}]\nscope: file\nfix: off\n";

const BASELINE: &str = "K8S001 a.yaml /stringData/password AAAA\n";

const INTERESTING: &[&str] = &[
    "kind: Secret\n",
    "stringData:\n",
    "data:\n",
    "---\n",
    "...\n",
    "{{",
    "}}",
    "{{- else }}",
    "&a ",
    "*a",
    "<<: *a\n",
    "ENC[AES256_GCM,data:",
    ",type:str]",
    "sops:\n",
    "sops: {}",
    "# seal:allow K8S001 reason=\"a\" until=2027-02-30\n",
    "\"",
    "'",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{85}",
    "é",
    "\r",
    "\t",
    "\0",
    "[",
    "{",
    "}",
    "]",
    "|\n",
    ">-\n",
    "!!binary ",
    "? ",
    "://a:b@",
    "-----BEGIN ",
    "PRIVATE KEY-----",
    "--from-literal=",
    "<<<<<<< a\n",
    "=======\n",
    "patch: |\n",
    "- op: add\n  path: /data/a\n",
    "secretGenerator:\n",
    "last-applied-configuration: '{\"kind\":\"Secret\"",
    "encryptedData:\n",
    "template:\n",
    "SealedSecret",
    "${A}",
    "<path:",
    "%YAML 1.2\n",
    "99999999999999999999",
];

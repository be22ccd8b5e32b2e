//! Input that nobody means well: mutilated documents, and documents made to exhaust a reader.

#[path = "hostile/targets.rs"]
mod targets;

use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use selkie::format::Format;

use crate::{envelope, golden};

pub fn tests() -> Vec<Trial> {
    let mutilated = targets::TARGETS.iter().map(|&(name, target)| {
        Trial::test(format!("hostile::mutilated::{name}"), move || mutilated(name, target))
    });
    let exhausting = EXHAUSTING.iter().map(|&(name, format, make)| {
        Trial::test(format!("hostile::exhausting::{name}"), move || is_read_in_time(format, &make()))
    });
    mutilated.chain(exhausting).collect()
}

/// Runs a target on pieces of golden files, cut, doubled and overwritten.
fn mutilated(name: &str, target: fn(&[u8])) -> Result<(), Failed> {
    let seeds = seeds(name);
    let change = (any::<Index>(), any::<Index>(), select(INTERESTING), 0..4_u8);
    let inputs = (select(seeds), vec(change, 0..6)).prop_map(|(mut data, changes)| {
        for (from, to, insert, kind) in changes {
            let (from, to) = (from.index(data.len() + 1), to.index(data.len() + 1));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 64));
            match kind {
                0 => data.extend_from_within(from..to),
                1 => drop(data.drain(from..to)),
                2 => drop(data.splice(from..to, insert.bytes())),
                _ => drop(data.splice(from..from, insert.bytes())),
            }
        }
        data
    });
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&inputs, |data| {
        target(&data);
        Ok::<_, TestCaseError>(())
    })?;
    Ok(())
}

/// Documents to start from: those of the golden files that fit the target.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let end = match name.trim_start_matches("edit_") {
        "dotenv" => ".env",
        "ini" => ".ini",
        "json" | "metadata" => ".json",
        "binary" => ".bin",
        _ => ".yaml",
    };
    let mut seeds: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    for document in golden::documents() {
        let files = [Some(document.path.clone()), document.sibling("plain")];
        let files = files.into_iter().flatten().filter(|path| path.to_string_lossy().ends_with(end));
        seeds.extend(files.filter_map(|path| fs::read(path).ok()).filter(|data| data.len() < 6000));
    }
    if name.starts_with("edit_") {
        seeds
            .iter_mut()
            .enumerate()
            .for_each(|(index, seed)| drop(seed.splice(0..0, [index as u8 % 13, index as u8])));
    }
    if name == "encrypted" {
        seeds.iter_mut().for_each(|seed| seed.insert(0, 4));
    }
    seeds
}

/// Reading ends soon, whatever it comes to; what is read can be encrypted in proportion.
fn is_read_in_time(format: Format, text: &[u8]) -> Result<(), Failed> {
    let start = Instant::now();
    if let Ok(tree) = format.read(text) {
        let envelope = envelope::envelope(&serde_json::Map::new(), 1)?;
        let sealed =
            envelope.seal(format, tree, selkie::sops::Stash::new(), envelope::NOW, &mut envelope::rng(1));
        // That it ends is what matters.
        let _ = sealed.map(|sealed| sealed.in_place());
    }
    let took = start.elapsed();
    if took < LIMIT { Ok(()) } else { Err(format!("it took {took:?}").into()) }
}

/// Generous, as tests run without optimisation and beside others; what is not linear takes minutes.
const LIMIT: Duration = Duration::from_secs(20);

type Make = fn() -> Vec<u8>;

const EXHAUSTING: &[(&str, Format, Make)] = &[
    ("alias_bomb", Format::Yaml, || {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let item = format!("*a{}, ", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", item.repeat(10).trim_end_matches(", "));
        }
        text.into_bytes()
    }),
    ("alias_bomb_in_second_document", Format::Yaml, || {
        let mut text = "a: b\n---\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let item = format!("*a{}, ", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", item.repeat(10).trim_end_matches(", "));
        }
        text.into_bytes()
    }),
    ("deep_block_lists", Format::Yaml, || ["a: ", &"- ".repeat(100_000), "x"].concat().into_bytes()),
    ("deep_block_maps", Format::Yaml, || {
        (0..1_500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>().into_bytes()
    }),
    ("deep_flow_lists", Format::Yaml, || ["a: ", &"[".repeat(200_000)].concat().into_bytes()),
    ("deep_flow_maps", Format::Yaml, || ["a: ", &"{a: ".repeat(100_000)].concat().into_bytes()),
    ("deep_json", Format::Json, || {
        ["{\"a\":", &"[".repeat(100_000), &"]".repeat(100_000), "}"].concat().into_bytes()
    }),
    ("deep_question_marks", Format::Yaml, || "? ".repeat(100_000).into_bytes()),
    ("equal_keys", Format::Json, || {
        let entries = vec!["\"a\":1"; 20_000].join(",");
        format!("{{{entries}}}").into_bytes()
    }),
    ("huge_scalar", Format::Yaml, || ["a: ", &"x".repeat(4 << 20)].concat().into_bytes()),
    ("long_quoted_line", Format::Yaml, || ["a: \"", &"\\n".repeat(1 << 20), "\""].concat().into_bytes()),
    ("many_anchors", Format::Yaml, || {
        (0..20_000).map(|index| format!("k{index}: &a{index} x\n")).collect::<String>().into_bytes()
    }),
    ("many_comments", Format::Yaml, || {
        ["a:\n", &"# note\n".repeat(100_000), " b: c\n"].concat().into_bytes()
    }),
    ("many_continued_lines", Format::Ini, || ["a = ", &"x \\\n".repeat(100_000)].concat().into_bytes()),
    ("many_documents", Format::Yaml, || "---\na: b\n".repeat(2_000).into_bytes()),
    ("many_flat_metadata", Format::Dotenv, || {
        (0..20_000)
            .map(|index| format!("sops_age__list_{index}__map_enc=x\n"))
            .collect::<String>()
            .into_bytes()
    }),
    ("many_keys", Format::Yaml, || {
        (0..20_000).map(|index| format!("key{index}: value{index}\n")).collect::<String>().into_bytes()
    }),
    ("list_index_of_flat_metadata", Format::Dotenv, || {
        b"sops_age__list_4000000000__map_enc=x\nA=b\n".to_vec()
    }),
    ("many_lines_above_a_section", Format::Ini, || {
        [&"; note\n".repeat(100_000), "[a] ; beside\n"].concat().into_bytes()
    }),
    ("many_open_quotes", Format::Ini, || ["a = \"\"\"", &"\n`".repeat(100_000)].concat().into_bytes()),
    ("many_repeated_keys", Format::Ini, || "a = x\n".repeat(100_000).into_bytes()),
    ("many_sections", Format::Ini, || "; note\n[a]\nb = c ; d\n\n".repeat(10_000).into_bytes()),
    ("nul_bytes", Format::Yaml, || vec![0; 1 << 16]),
    ("recursive_alias", Format::Yaml, || b"a: &a [*a]\n".to_vec()),
    ("recursive_alias_in_second_document", Format::Yaml, || b"a: b\n---\na: &a {b: *a}\n".to_vec()),
];

/// What parsers look at.
const INTERESTING: &[&str] = &[
    "",
    " ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    ":",
    ": ",
    "- ",
    "? ",
    "#",
    " # c",
    "'",
    "\"",
    "|",
    ">-",
    "|2+\n",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "<<: *a\n",
    "[a]",
    "; ",
    "`",
    "\"\"\"",
    "\\\n",
    "ENC[AES256_GCM,data:",
    ",type:str]",
    "sops:\n",
    "sops_",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "é",
    "😀",
    "\0",
    "\\",
    "\\n",
    "=",
    ";",
    "\"\"\"",
    "`",
    "__list_0__map_",
    "null",
    "~",
    "0x",
    "1e999",
    "\u{7f}",
    "{}",
    "[]",
    "\"\":",
    "a: b\n",
    "  ",
];

const SEEDS: &[&str] = &[
    "a: b\n",
    "a: &x {b: 'c', d: \"e\\n\"}\nf: *x\ng:\n- |\n  h\n- >-\n  i\n  j\n# k\n",
    "{\"a\": [1, {\"b\": null}], \"c\": \"d\"}",
    "A=b\n# c\nD=\"e\"\n",
    "[a]\nb = c ; d\n# e\nf: \"g\"\n",
    "[\"a\"][0]['b']",
    "creation_rules:\n  - path_regex: x\n    age: age1\n    encrypted_regex: ^data$\nstores: {yaml: {indent: 2}}\n",
    "ENC[AES256_GCM,data:o+DNXwQ=,iv:9PrNUO8dbmrLQQZdaBxGEdjRtdqAKN0BjQZq5oc63nQ=,tag:Q2HEML9jMuqgPChXbqCd2w==,type:str]",
    "# created: now\nAGE-SECRET-KEY-1XQFNRA25V82X52SK40TJMAZ83F3DN88R5P3S0VTWNUEHA2YV7H8QUJFDNP\n",
    "",
];

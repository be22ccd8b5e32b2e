//! Input that nobody means well: mutilated documents, and documents made to exhaust a reader.

#[path = "hostile/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use libtest_mimic::{Failed, Trial};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use selkie::format::Format;
use selkie::sops::{Metadata, Stash};
use selkie::template::{Limit, Limits, TemplateError};
use selkie::tree::{NodeId, Tree, Value};
use tar::EntryType;

use crate::{envelope, golden, template};

pub fn tests() -> Vec<Trial> {
    let mutilated = targets::TARGETS.iter().map(|&(name, target)| {
        Trial::test(format!("hostile::mutilated::{name}"), move || mutilated(name, target))
    });
    let exhausting = EXHAUSTING.iter().map(|&(name, format, expected, make)| {
        Trial::test(format!("hostile::exhausting::{name}"), move || {
            in_time(|| comes_to(format, expected, &make()))
        })
    });
    let configs = EXHAUSTING_CONFIGS.iter().map(|&(name, make)| {
        Trial::test(format!("hostile::exhausting::config::{name}"), move || {
            in_time(|| {
                targets::config(&make());
                Ok(())
            })
        })
    });
    let templates = EXHAUSTING_TEMPLATES.iter().map(|&(name, expected, make)| {
        Trial::test(format!("hostile::exhausting::template::{name}"), move || {
            in_time(|| exhausts(&make(), expected))
        })
    });
    mutilated.chain(exhausting).chain(configs).chain(templates).collect()
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
    if name == "template" {
        return template::programs().into_iter().map(|program| program.template.into_bytes()).collect();
    }
    if name.starts_with("edit_") {
        seeds
            .iter_mut()
            .enumerate()
            .for_each(|(index, seed)| drop(seed.splice(0..0, [index as u8 % 13, index as u8])));
    }
    if name == "compare" {
        seeds.iter_mut().for_each(|seed| *seed = [&[4], &seed[..], &[targets::DIVIDER], seed].concat());
    }
    if name == "merging" {
        let divider = [targets::DIVIDER];
        seeds.iter_mut().for_each(|seed| {
            let (ours, theirs) = ([seed, &b"ours: 1\n"[..]].concat(), [seed, &b"theirs: 2\n"[..]].concat());
            *seed = [&[4], &seed[..], &divider, &ours, &divider, &theirs].concat();
        });
    }
    if name == "manifest" {
        seeds.extend(MANIFESTS.iter().map(|seed| seed.as_bytes().to_vec()));
    }
    if matches!(name, "sealed_secrets" | "sealing_keys") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sealed-secrets");
        let files =
            fs::read_dir(folder).into_iter().flatten().filter_map(|file| fs::read(file.ok()?.path()).ok());
        return files.filter(|data| data.len() < 6000).chain([KEY_SECRETS.as_bytes().to_vec()]).collect();
    }
    if name == "rendering" {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/render/flux/built");
        let files = fs::read_dir(folder).into_iter().flatten();
        seeds.extend(
            files.filter_map(|file| fs::read(file.ok()?.path()).ok()).filter(|data| data.len() < 6000),
        );
    }
    if name == "policy" {
        return vec![POLICY.as_bytes().to_vec()];
    }
    if name == "archive" {
        return vec![archive().expect("memory is writable")];
    }
    if name == "encrypted" {
        seeds.iter_mut().for_each(|seed| seed.insert(0, 4));
    }
    seeds
}

/// An archive of a file, a folder and links, not compressed, so that changes reach what is in it.
fn archive() -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
    for (path, kind, link) in [
        ("a", EntryType::Directory, ""),
        ("a/file.yaml", EntryType::Regular, ""),
        ("link", EntryType::Symlink, "a"),
        ("hard", EntryType::Link, "a/file.yaml"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        if link.is_empty() {
            let content = if kind == EntryType::Regular { &b"kind: Secret\n"[..] } else { b"" };
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content)?;
        } else {
            header.set_size(0);
            archive.append_link(&mut header, path, link)?;
        }
    }
    archive.into_inner()?.finish()
}

/// A document is refused as expected, or is read, and can be looked at and encrypted.
fn comes_to(format: Format, expected: Expected, text: &[u8]) -> Result<(), Failed> {
    let tree = match (format.read(text), expected) {
        (Ok(tree), Expected::Read) => tree,
        (Ok(_), Expected::Refused(why)) => return Err(format!("it is read, and not refused: {why}").into()),
        (Err(error), Expected::Refused(why)) if error.kind.to_string().contains(why) => return Ok(()),
        (Err(error), _) => return Err(error.into()),
    };
    let envelope = envelope::envelope(&serde_json::Map::new(), 1)?;
    let mut other = format.read(text)?;
    if let Some(last) = last_scalar(&other) {
        other.set_value(last, Value::Bool(true));
    }
    targets::looks_at(format, &tree, &other, envelope.metadata());
    // That it ends is what matters: metadata without keys is none.
    let _ = Metadata::from_entry(tree.metadata());
    let sealed = envelope.seal(format, tree, Stash::new(), envelope::NOW, &mut envelope::rng(1));
    // Here too: some formats cannot hold what is encrypted.
    let _ = sealed.map(|sealed| sealed.in_place());
    Ok(())
}

/// A template is refused for a limit, or ends.
fn exhausts(source: &str, expected: Option<Limit>) -> Result<(), Failed> {
    match (template::run("t", source, &template::context(), &Limits::default()), expected) {
        (Ok(_), None) => Ok(()),
        (Err(TemplateError::Limit { limit, .. }), Some(expected)) if limit == expected => Ok(()),
        (Ok(_), Some(_)) => Err("it is rendered".into()),
        (Err(error), _) => Err(error.into()),
    }
}

fn last_scalar(tree: &Tree) -> Option<NodeId> {
    let is_scalar = |value| !matches!(value, Value::Comment(_) | Value::List | Value::Map);
    tree.nodes().rev().find(|(_, node)| is_scalar(node.value)).map(|(id, _)| id)
}

/// Runs what must end soon.
fn in_time(run: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    let start = Instant::now();
    run()?;
    let took = start.elapsed();
    if took < LIMIT { Ok(()) } else { Err(format!("it took {took:?}").into()) }
}

/// What reading comes to.
#[derive(Clone, Copy)]
enum Expected {
    /// It is read.
    Read,
    /// It is refused, with an error that says this.
    Refused(&'static str),
}

use Expected::{Read, Refused};

/// Generous, as tests run without optimisation and beside others; what is not linear takes minutes.
const LIMIT: Duration = Duration::from_secs(20);

type Make = fn() -> Vec<u8>;

/// How often a map or list may be in another.
const DEEPEST: usize = 10_000;

const BOMB: Expected = Refused("aliases expand");
const NESTING: Expected = Refused("nested too deeply");
const RECURSIVE: Expected = Refused("contains it");

const EXHAUSTING: &[(&str, Format, Expected, Make)] = &[
    ("alias_bomb", Format::Yaml, BOMB, || {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let item = format!("*a{}, ", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", item.repeat(10).trim_end_matches(", "));
        }
        text.into_bytes()
    }),
    ("alias_bomb_in_second_document", Format::Yaml, BOMB, || {
        let mut text = "a: b\n---\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let item = format!("*a{}, ", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", item.repeat(10).trim_end_matches(", "));
        }
        text.into_bytes()
    }),
    ("alias_bomb_of_texts", Format::Yaml, BOMB, || {
        let text = "x".repeat(1 << 20);
        format!("l: [&x {text}{}]\n", ", *x".repeat(100_000)).into_bytes()
    }),
    ("deep_block_lists", Format::Yaml, NESTING, || {
        ["a:\n  ", &"- ".repeat(100_000), "x"].concat().into_bytes()
    }),
    ("deep_block_maps", Format::Yaml, Read, || {
        (0..1_500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>().into_bytes()
    }),
    ("deep_flow_lists", Format::Yaml, NESTING, || ["a: ", &"[".repeat(200_000)].concat().into_bytes()),
    ("deep_flow_maps", Format::Yaml, NESTING, || ["a: ", &"{a: ".repeat(100_000)].concat().into_bytes()),
    ("deepest_block_lists", Format::Yaml, Read, || {
        ["a:\n  ", &"- ".repeat(DEEPEST - 1), "x\n"].concat().into_bytes()
    }),
    ("deepest_flow_lists", Format::Yaml, Read, || nested("a: ", "[", "x", "]", DEEPEST - 1)),
    ("deepest_flow_maps", Format::Yaml, Read, || nested("a: ", "{a: ", "x", "}", DEEPEST - 1)),
    ("deepest_json_lists", Format::Json, Read, || {
        [nested("{\"a\":", "[", "1", "]", DEEPEST - 1), b"}".to_vec()].concat()
    }),
    ("deepest_json_maps", Format::Json, Read, || nested("", "{\"a\":", "1", "}", DEEPEST)),
    ("deep_and_wide_flow_lists", Format::Yaml, Read, || {
        let list = String::from_utf8_lossy(&nested("", "[", "x, y", "]", 2_000)).into_owned();
        (0..50).map(|index| format!("a{index}: {list}\n")).collect::<String>().into_bytes()
    }),
    ("deep_and_wide_json", Format::Json, Read, || {
        let items = vec!["1"; 1_000].join(",");
        nested("", "{\"a\":[1,", &items, "]}", 1_000)
    }),
    ("wide_at_every_depth", Format::Yaml, Read, || nested("a: ", "{a: x, \"b:\": y, c: ", "z", "}", 1_500)),
    ("deep_json", Format::Json, NESTING, || {
        ["{\"a\":", &"[".repeat(100_000), &"]".repeat(100_000), "}"].concat().into_bytes()
    }),
    ("deep_question_marks", Format::Yaml, Refused("cannot be a key"), || "? ".repeat(100_000).into_bytes()),
    ("equal_keys", Format::Json, Read, || {
        let entries = vec!["\"a\":1"; 20_000].join(",");
        format!("{{{entries}}}").into_bytes()
    }),
    ("huge_scalar", Format::Yaml, Read, || ["a: ", &"x".repeat(4 << 20)].concat().into_bytes()),
    ("long_quoted_line", Format::Yaml, Read, || {
        ["a: \"", &"\\n".repeat(1 << 20), "\""].concat().into_bytes()
    }),
    ("many_anchors", Format::Yaml, Read, || {
        (0..20_000).map(|index| format!("k{index}: &a{index} x\n")).collect::<String>().into_bytes()
    }),
    ("many_comments", Format::Yaml, Read, || {
        ["a:\n", &"# note\n".repeat(100_000), " b: c\n"].concat().into_bytes()
    }),
    ("many_continued_lines", Format::Ini, Read, || ["a = ", &"x \\\n".repeat(100_000)].concat().into_bytes()),
    ("many_documents", Format::Yaml, Read, || "---\na: b\n".repeat(2_000).into_bytes()),
    ("many_flat_metadata", Format::Dotenv, Read, || {
        (0..20_000)
            .map(|index| format!("sops_age__list_{index}__map_enc=x\n"))
            .collect::<String>()
            .into_bytes()
    }),
    ("many_keys", Format::Yaml, Read, || {
        (0..20_000).map(|index| format!("key{index}: value{index}\n")).collect::<String>().into_bytes()
    }),
    ("list_index_of_flat_metadata", Format::Dotenv, Refused("a list has gaps"), || {
        b"sops_age__list_4000000000__map_enc=x\nA=b\n".to_vec()
    }),
    ("many_lines_above_a_section", Format::Ini, Read, || {
        [&"; note\n".repeat(100_000), "[a] ; beside\n"].concat().into_bytes()
    }),
    ("many_open_quotes", Format::Ini, Refused("closing quote"), || {
        ["a = \"\"\"", &"\n`".repeat(100_000)].concat().into_bytes()
    }),
    ("many_repeated_keys", Format::Ini, Read, || "a = x\n".repeat(100_000).into_bytes()),
    ("many_sections", Format::Ini, Read, || "; note\n[a]\nb = c ; d\n\n".repeat(10_000).into_bytes()),
    ("nul_bytes", Format::Yaml, Refused("control character"), || vec![0; 1 << 16]),
    ("recursive_alias", Format::Yaml, RECURSIVE, || b"a: &a [*a]\n".to_vec()),
    ("recursive_alias_in_second_document", Format::Yaml, RECURSIVE, || {
        b"a: b\n---\na: &a {b: *a}\n".to_vec()
    }),
];

const EXHAUSTING_CONFIGS: &[(&str, Make)] = &[
    ("deep_creation_rules", || nested("creation_rules: ", "[", "x", "]", DEEPEST - 1)),
    ("deep_key_groups", || {
        nested("creation_rules:\n- key_groups: ", "[{merge: ", "x", "}]", DEEPEST / 2 - 2)
    }),
    ("deep_stores", || nested("stores: ", "{yaml: ", "x", "}", DEEPEST - 1)),
    ("deep_unknown_field", || nested("x: ", "{a: [", "x", "]}", DEEPEST / 2 - 1)),
    ("deep_unknown_field_of_rule", || {
        nested("creation_rules:\n- age: age1\n  x: ", "[", "x", "]", DEEPEST - 3)
    }),
    ("many_rules", || {
        let rules = (0..20_000).map(|index| format!("- path_regex: x{index}\n  age: age1\n"));
        ["creation_rules:\n".to_owned()].into_iter().chain(rules).collect::<String>().into_bytes()
    }),
    ("many_unknown_fields", || {
        (0..20_000).map(|index| format!("k{index}: x\n")).collect::<String>().into_bytes()
    }),
];

/// A template, and the limit that it hits.
type Exhausting = (&'static str, Option<Limit>, fn() -> String);

const EXHAUSTING_TEMPLATES: &[Exhausting] = &[
    ("circle_of_maps", Some(Limit::Depth), || "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ $d }}".into()),
    ("circle_of_maps_as_json", Some(Limit::Depth), || {
        "{{ $d := dict }}{{ $_ := set $d \"d\" (list $d) }}{{ toJson $d }}".into()
    }),
    ("circle_of_maps_that_is_copied", Some(Limit::Depth), || {
        "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ deepCopy $d }}".into()
    }),
    ("circle_of_maps_that_is_dropped", None, || "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}".into()),
    ("chain_of_maps", None, || {
        "{{ $d := dict }}{{ range until 50000 }}{{ $e := dict }}{{ $_ := set $d \"d\" $e }}{{ $d = $e }}{{ end }}".into()
    }),
    ("deep_actions", Some(Limit::Depth), || {
        format!("{}{}", "{{ if true }}".repeat(30_000), "{{ end }}".repeat(30_000))
    }),
    ("deep_chain_of_else", Some(Limit::Depth), || {
        format!("{{{{ if false }}}}{}{{{{ end }}}}", "{{ else if false }}".repeat(50_000))
    }),
    ("deep_json", Some(Limit::Depth), || "{{ fromJson (repeat 100000 \"[\") }}".into()),
    ("deep_lists", Some(Limit::Depth), || {
        "{{ $l := list }}{{ range until 100000 }}{{ $l = list $l }}{{ end }}".into()
    }),
    ("deep_parentheses", Some(Limit::Depth), || {
        format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000))
    }),
    ("deepest_actions", None, || {
        format!("{}{{{{ (((1))) }}}}{}", "{{ if true }}".repeat(40), "{{ end }}".repeat(40))
    }),
    ("deepest_parentheses", None, || format!("{{{{ {}1{} }}}}", "(print ".repeat(90), ")".repeat(90))),
    ("doubled_lists", Some(Limit::Steps), || {
        "{{ $l := list 1 }}{{ range until 60 }}{{ $l = list $l $l }}{{ end }}{{ $l | toJson | len }}".into()
    }),
    ("doubled_text", Some(Limit::ValueBytes), || {
        "{{ $x := \"x\" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}".into()
    }),
    ("endless_template", Some(Limit::Depth), || {
        "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}".into()
    }),
    ("huge_range", Some(Limit::Steps), || "{{ range 9223372036854775807 }}{{ end }}".into()),
    ("huge_repeat", Some(Limit::ValueBytes), || "{{ repeat 9223372036854775807 \"ab\" }}".into()),
    ("huge_until", Some(Limit::Steps), || "{{ until 9223372036854775807 }}".into()),
    ("huge_width", Some(Limit::ValueBytes), || "{{ printf \"%9999999d\" 1 }}".into()),
    ("huge_widths", Some(Limit::ValueBytes), || {
        format!("{{{{ printf \"{}\" 1 }}}}", "%999999[1]d".repeat(1000))
    }),
    ("indented_lines", Some(Limit::ValueBytes), || "{{ indent 9000000 (repeat 9000 \"\\n\") }}".into()),
    ("large_output", Some(Limit::OutputBytes), || {
        "{{ $x := repeat 1000 \"x\" }}{{ range until 100000 }}{{ $x }}{{ end }}".into()
    }),
    ("many_hashes", Some(Limit::Steps), || "{{ range 1000 }}{{ bcrypt \"x\" | len }}{{ end }}".into()),
    ("many_replacements", Some(Limit::ValueBytes), || {
        "{{ replace \"\" (repeat 10000 \"x\") (repeat 10000 \"y\") }}".into()
    }),
    ("nested_ranges", Some(Limit::Steps), || {
        format!("{}{}", "{{ range until 1000 }}".repeat(5), "{{ end }}".repeat(5))
    }),
    ("regex_of_repetitions", None, || {
        "{{ regexMatch \"((((a{50}){50}){50}){50}){50}\" (repeat 1000 \"a\") }}".into()
    }),
    ("regex_that_backtracks", None, || {
        "{{ regexMatch \"^(a+)+$\" (print (repeat 10000 \"a\") \"b\") }}".into()
    }),
    ("source", Some(Limit::SourceBytes), || "x".repeat(2 << 20)),
    ("uniq_of_many", Some(Limit::Steps), || "{{ uniq (until 100000) }}".into()),
];

/// Returns `inner` in brackets, many times over, behind `before`.
fn nested(before: &str, open: &str, inner: &str, close: &str, depth: usize) -> Vec<u8> {
    [before, &open.repeat(depth), inner, &close.repeat(depth)].concat().into_bytes()
}

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
    "{{ ",
    " }}",
    "{{- end -}}",
    "{{ range . }}",
    "{{ if .user }}",
    " | ",
    "$",
    ".user ",
    "(list . )",
    "(printf \"%[1]*.*v\" ",
    "repeat 999999999 ",
    "9223372036854775807 ",
    "-1 ",
    "fail .password",
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

/// Streams of manifests, with what YAML 1.1 makes of scalars.
const MANIFESTS: &[&str] = &[
    "kind: Secret\nmetadata: {name: y, labels: {a: 1.50, b: 017}}\nstringData:\n  <<: &x {k: no}\n  n: 1e3\n  o: ~\n",
    "---\nkind: SealedSecret\nspec:\n  encryptedData: {a: Ag}\n  template:\n    data: {b: null, c: \"{{ .a }}\\t\"}\n---\n# c\n",
    "{\"kind\":\"Secret\",\"data\":{\"a\":\"eA==\"}}\n{\"type\":\"x\"}\n--- # d\nkind: !!str Secret\nimmutable: yes\n",
    "a: !!binary aGk=\nb: !!float 1\nc: 12345678901234567890\n? long\n: |2-\n   x\n\n  y\n",
];

/// Key Secrets in a list, and SealedSecrets in another.
const KEY_SECRETS: &str = "apiVersion: v1\nkind: List\nitems:\n- kind: Secret\n  metadata:\n    name: a\n    labels: {a: b}\n  \
                           data:\n    tls.key: eA==\n    tls.crt: eA==\n---\nkind: List\nitems:\n- apiVersion: bitnami.com/v1alpha1\n  \
                           kind: SealedSecret\n  metadata: {name: b}\n  spec:\n    encryptedData:\n      c: AgA=\n    template:\n      \
                           data:\n        d: '{{ .c }}'\n- kind: ConfigMap\n";

/// A policy for rendering.
const POLICY: &str = "rules:\n- name: a\n  match: {projects: [a, 'b*'], paths: ['apps/*']}\n  keys: [/keys/a]\n  modes: [reseal, plain]\n  mac: warn\n  taint:\n  - {kind: HelmRelease, path: spec.values.*}\n  limits: {files: 10, seconds: 5}\n- match: {}\n  preset: strict\n  modes: [redact]\n";

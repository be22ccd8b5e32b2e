//! Files that sops wrote are clean.

use std::fs;
use std::path::Path;

use crate::check::Finding;
use crate::check::test_kit::Repository;

#[test]
fn nothing_is_found_in_files_that_sops_reads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/sops");
    let mut count = 0;
    for folder in fs::read_dir(root).expect("the folder is there") {
        let folder = folder.expect("an entry").path();
        let Ok(about) = fs::read_to_string(folder.join("about")) else { continue };
        let is_good = ["expect: success", "expect: no match"].iter().any(|good| about.starts_with(good));
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if !is_good || DOUBTFUL.contains(&name.as_str()) {
            continue;
        }
        for file in fs::read_dir(&folder).expect("it can be read") {
            let file = file.expect("an entry").path();
            let file_name = file.file_name().and_then(|name| name.to_str()).expect("a name");
            if !file_name.starts_with("encrypted") {
                continue;
            }
            let text = fs::read(&file).expect("it can be read");
            let path = format!("{name}/{file_name}");
            let repository = Repository::default().with(&path, &text);
            let is_told = |finding: &Finding| !NAMED.contains(&finding.rule.id);
            let found: Vec<_> = repository.check().into_iter().filter(is_told).collect();
            assert!(found.is_empty(), "{path}: {found:?}");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn no_cut_or_swapped_byte_makes_a_check_fail() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/sops");
    for path in [
        "comments/encrypted-3.13.3.yaml",
        "several-documents/encrypted-3.13.3.yaml",
        "json/encrypted-3.13.3.json",
        "dotenv/encrypted-3.13.3.env",
        "ini/encrypted-3.13.3.ini",
        "binary/encrypted-3.13.3.bin",
    ] {
        let text = fs::read(root.join(path)).expect("it can be read");
        let step = text.len() / CUTS + 1;
        for at in (0..text.len()).step_by(step) {
            let mut swapped = text.clone();
            swapped[at] = b"\n:\xff\"{[\0-"[at % 8];
            for changed in [text[..at].to_vec(), text[at..].to_vec(), swapped] {
                // Old files are judged, too.
                let repository = Repository::default().with(path, &changed).with_old(path, &text);
                assert!(repository.check().len() < 10_000);
            }
        }
    }
}

/// At how many places each file is changed.
const CUTS: usize = 60;

/// Some samples leave values in clear whose names are those of secrets, such as a password: these rules tell so.
const NAMED: &[&str] = &["K8S006", "SOPS007"];

/// Files that sops reads, and that it did not leave so: what was done to them is told.
const DOUBTFUL: &[&str] = &["envelope-trailing", "nulls-added"];

//! Documents of old versions of sops.
//!
//! The documents of [`Peer::SopsExamples`] were made by sops itself: their values were changed by later versions,
//! while the data key was wrapped in 2019, by the OpenPGP of Go that sops before 3.7 used without gpg. What is called
//! an old document otherwise is one of ours whose metadata were rewritten as sops 3.0 and 3.6 wrote them: no program
//! of that age takes part.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use super::home::{Home, Key, Program};
use super::test_with;
use crate::golden::same_text;
use crate::peer::{Peer, output};

const PLAIN: &str = "a: b\n";

pub fn tests() -> Vec<Trial> {
    vec![
        test_with(Peer::SopsExamples, "documents_of_2019_open", documents_of_2019),
        test_with(Peer::Sops311, "metadata_of_old_versions_open", old_metadata),
        test_with(Peer::Sops313, "metadata_of_old_versions_open", old_metadata),
    ]
}

fn documents_of_2019(home: &Home, examples: &Path) -> Result<(), Failed> {
    let keys = examples.join("pgp/sops_functional_tests_key.asc").to_string_lossy().into_owned();
    output(&mut home.gpg(["--batch", "--import", &keys]))?;
    let natively = [("SELKIE_PGP_KEY_FILE", &*keys), ("SOPS_GPG_EXEC", "/nonexistent")];
    for name in ["example.yaml", "example.json", "example.ini", "example.txt"] {
        let document = fs::read_to_string(examples.join(name))?;
        if !document.contains("2019-") {
            return Err(format!("{name} is not as old as it should be").into());
        }
        home.write(name, &document)?;
        let by_gpg = home.done(Program::Sops, &[], &["decrypt", name])?;
        same_text(name, &home.done(Program::Sops, &natively, &["decrypt", name])?, &by_gpg)?;
        if let Some(sops) = Peer::Sops311.path() {
            same_text(name, &by_gpg, &home.done(Program::Real(&sops), &[], &["-d", name])?)?;
        }
        home.done(Program::KubectlSeal, &natively, &["decrypt", name])?;
    }
    Ok(())
}

fn old_metadata(home: &Home, sops: &Path) -> Result<(), Failed> {
    let key = home.generate("rsa2048", "key")?;
    home.write("new.yaml", PLAIN)?;
    home.done(Program::Sops, &[], &["encrypt", "-i", "--pgp", &key.fingerprint, "new.yaml"])?;
    let file = home.export("--export-secret-keys", &key, "secret.asc")?;
    let natively = [("SELKIE_PGP_KEY_FILE", &*file.to_string_lossy()), ("SOPS_GPG_EXEC", "/nonexistent")];
    for (version, lists) in [
        ("3.0.0", "    kms: []\n"),
        ("3.2.0", "    kms: []\n    gcp_kms: []\n    azure_kv: []\n"),
        ("3.6.1", "    kms: []\n    gcp_kms: []\n    azure_kv: []\n    hc_vault: []\n"),
    ] {
        let document = old_document(home, &key, version, lists)?;
        home.write("old.yaml", &document)?;
        let by_sops = home.done(Program::Real(sops), &[], &["-d", "old.yaml"])?;
        same_text("what sops decrypts", &by_sops, PLAIN.as_bytes())?;
        for program in [Program::Sops, Program::KubectlSeal] {
            for variables in [&[][..], &natively] {
                let opened = home.done(program, variables, &["decrypt", "old.yaml"])?;
                same_text(version, &opened, PLAIN.as_bytes())?;
            }
        }
        // And it is still one after a change.
        home.done(Program::Sops, &[], &["set", "old.yaml", r#"["c"]"#, r#""d""#])?;
        let by_sops = home.done(Program::Real(sops), &[], &["-d", "old.yaml"])?;
        same_text("what sops decrypts", &by_sops, b"a: b\nc: d\n")?;
    }
    Ok(())
}

/// Writes the metadata of `new.yaml` as old versions did: empty lists, lastmodified before the mac, single quotes.
/// The message is one as the OpenPGP of Go made: AES-128, with an MDC, not compressed.
fn old_document(home: &Home, key: &Key, version: &str, lists: &str) -> Result<String, Failed> {
    let new = fs::read_to_string(home.path("new.yaml"))?;
    let field = |name: &str| {
        let line = new.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(": "));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned())
            .ok_or_else(|| format!("there is no {name}"))
    };
    let data_key = message_of(&new).ok_or("there is a message")?;
    home.write("wrapped", data_key)?;
    let data_key = output(&mut home.gpg(["--decrypt", "wrapped"]))?;
    let as_go = ["--rfc4880", "--cipher-algo", "AES", "--compress-algo", "none", "-r", &key.fingerprint];
    let message = home.encrypt(&as_go, &data_key)?.trim_end().replace('\n', "\n            ");
    Ok(format!(
        "a: {}\nsops:\n{lists}    lastmodified: '{}'\n    mac: {}\n    pgp:\n    -   created_at: '2017-11-05T13:21:36Z'\n        \
         enc: |\n            {message}\n        fp: {}\n    unencrypted_suffix: _unencrypted\n    version: {version}\n",
        field("a")?,
        field("lastmodified")?,
        field("mac")?,
        key.fingerprint,
    ))
}

/// Returns the message in a document, without its indentation.
fn message_of(document: &str) -> Option<String> {
    let from = document.find("-----BEGIN PGP MESSAGE")?;
    let end = "-----END PGP MESSAGE-----";
    let to = document.find(end)? + end.len();
    Some(document[from..to].lines().map(|line| line.trim().to_owned() + "\n").collect())
}

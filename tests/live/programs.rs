//! The sops commands themselves, on the documents of `testdata/sops` and on what we make of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use libtest_mimic::{Failed, Trial};
use selkie::format::{Format, WriteOptions};

use super::gotree;
use crate::golden::{self, Encrypted, Outcome, same_text};
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for (peer, version) in [(Peer::Sops311, "3.11.0"), (Peer::Sops313, "3.13.3")] {
        for document in golden::documents() {
            let name = document.test_name("golden::");
            tests.push(peer.test(name, move |program| {
                comes_to_what_is_expected(&program, version, &document)?;
                let is_source =
                    document.case().is_unchanged() && document.expected(None)? == Outcome::Success;
                if is_source && document.version == "3.13.3" {
                    decrypts_ours(&program, &document)
                } else {
                    Ok(())
                }
            }));
        }
    }
    tests
}

/// What we take for the outcome of a case is what the real program comes to.
fn comes_to_what_is_expected(program: &Path, version: &str, document: &Encrypted) -> Result<(), Failed> {
    let expected = document.expected(Some(version))?;
    let output = decrypt(program, &document.path)?;
    let codes: &[i32] = match expected {
        Outcome::MacFailure => &[51],
        Outcome::MetadataFailure => &[1],
        Outcome::NoMatch => &[128],
        Outcome::ParseFailure => &[1, 2],
        Outcome::Success => &[0],
        Outcome::ValueFailure => &[25],
    };
    if output.status.code().is_some_and(|code| codes.contains(&code)) {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} where {expected:?} is expected: {errors}", output.status).into())
}

/// The source, encrypted by us, is printed as it is when sops 3.13.3 encrypted it.
fn decrypts_ours(program: &Path, document: &Encrypted) -> Result<(), Failed> {
    let source = fs::read(document.sibling("plain").ok_or("there is no source")?)?;
    let (in_place, anew) = document.seal_source(&source, |sealed| {
        Ok((sealed.in_place()?, sealed.write(document.format(), &WriteOptions::default())?))
    })?;
    let expected = decrypt(program, &document.path)?.stdout;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(document.path.file_name().ok_or("a document has a name")?);
    fs::write(&path, anew.expose_secret())?;
    let printed = decrypt(program, &path)?.stdout;
    if document.case().field("comments").is_none() {
        same_text("our document, written anew and decrypted by sops", &printed, &expected)?;
    }
    same_values(document.format(), &printed, &expected)?;
    fs::write(&path, in_place.expose_secret())?;
    same_values(document.format(), &decrypt(program, &path)?.stdout, &expected)
}

fn same_values(format: Format, printed: &[u8], expected: &[u8]) -> Result<(), Failed> {
    if printed == expected {
        return Ok(());
    }
    let values =
        |text: &[u8]| Ok::<_, Failed>(gotree::without_comments(&gotree::documents(&format.read(text)?)));
    let is_same = values(printed)? == values(expected)?;
    if is_same { Ok(()) } else { Err("our document decrypts to other values".into()) }
}

fn decrypt(program: &Path, document: &Path) -> Result<Output, Failed> {
    let keys = golden::folder().join("keys.txt");
    let home = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home.path()).env("SOPS_AGE_KEY_FILE", keys);
    Ok(command.env("SOPS_DISABLE_VERSION_CHECK", "true").arg("-d").arg(document).output()?)
}

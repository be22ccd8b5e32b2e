//! Documents that the page encrypts, decrypted by sops.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use rand_chacha::rand_core::RngCore;
use selkie::keys::age::{IdentityKind, NewIdentity, generate};
use serde_json::json;

use super::driver::Browser;
use super::sealing::same;
use super::test;
use crate::envelope::rng;
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    vec![
        test("sops_decrypts_every_format", &[Peer::Sops313], formats),
        test("sops_decrypts_for_recipients_of_both_kinds_and_files", &[Peer::Sops313], kinds),
        test("what_stays_in_clear_is_shown_before", &[Peer::Sops313], rules),
        test("documents_that_cannot_be_encrypted_are_told", &[], mistakes),
    ]
}

fn formats(browser: &Browser) -> Result<(), Failed> {
    let identity = identity(IdentityKind::X25519, 1);
    browser.click("#tab-encrypt")?;
    browser.paste_into("recipients", &identity.recipient)?;
    for (name, format, plain) in [
        ("a.yaml", "yaml", "user: selkie\ndb:\n    password: \u{e9}t\u{e9} of the sea\n    port: 5432\n"),
        ("a.json", "json", "{\n\t\"password\": \"of the sea\",\n\t\"port\": 5432\n}\n"),
        ("a.env", "dotenv", "PASSWORD=of the sea\n"),
        ("a.ini", "ini", "[db]\npassword = of the sea\n"),
        ("a.txt", "binary", "of the sea\n"),
    ] {
        put(browser, "file-name", name)?;
        same(&browser.value("format")?.into(), &format.into())?;
        put(browser, "text", plain)?;
        browser.click("#encrypt")?;
        browser.wait_for("#encrypt-result:not([hidden])")?;
        let encrypted = browser.value("encrypted")?;
        if encrypted.contains("of the sea") {
            return Err(encrypted.into());
        }
        let decrypted = decrypt(browser.folder(), &identity, format, &encrypted)?;
        same(&String::from_utf8_lossy(&decrypted).into(), &plain.into())?;
    }
    browser.picture("encrypt-result")
}

fn kinds(browser: &Browser) -> Result<(), Failed> {
    let both = [identity(IdentityKind::X25519, 2), identity(IdentityKind::Hybrid, 3)];
    let mut bytes = vec![0; 5000];
    rng(4).fill_bytes(&mut bytes);
    let file = browser.folder().join("store.p12");
    fs::write(&file, &bytes)?;
    browser.click("#tab-encrypt")?;
    browser.paste_into("recipients", &format!("# ours\n{}\n{}\n", both[0].recipient, both[1].recipient))?;
    browser.choose_file("[data-into=text]", &file)?;
    browser.wait_for("#text[readonly]")?;
    same(&browser.value("format")?.into(), &"binary".into())?;
    browser.click("#encrypt")?;
    browser.wait_for("#encrypt-result:not([hidden])")?;
    let encrypted = browser.value("encrypted")?;
    for identity in &both {
        if decrypt(browser.folder(), identity, "binary", &encrypted)? != bytes {
            return Err("the file is another one".into());
        }
    }
    Ok(())
}

fn rules(browser: &Browser) -> Result<(), Failed> {
    let identity = identity(IdentityKind::X25519, 5);
    browser.click("#tab-encrypt")?;
    browser.paste_into("recipients", &identity.recipient)?;
    let plain = "user: selkie\npassword: of the sea\nhost: shore\n";
    put(browser, "text", plain)?;
    let shown = browser.text("preview")?;
    if !shown.contains("3 values will be encrypted. No value stays in clear") {
        return Err(shown.into());
    }
    browser.choose("rule", "encrypted_regex")?;
    put(browser, "rule-text", "^password$")?;
    let shown = browser.text("preview")?;
    for words in
        ["1 value will be encrypted", "2 values stay in clear", "line 1: [\"user\"]", "line 3: [\"host\"]"]
    {
        if !shown.contains(words) {
            return Err(format!("{words:?} is missing in {shown:?}").into());
        }
    }
    browser.picture("encrypt-preview")?;
    browser.click("#encrypt")?;
    browser.wait_for("#encrypt-result:not([hidden])")?;
    let encrypted = browser.value("encrypted")?;
    if !encrypted.starts_with("user: selkie\npassword: ENC[") || !encrypted.contains("host: shore\n") {
        return Err(encrypted.into());
    }
    let decrypted = decrypt(browser.folder(), &identity, "yaml", &encrypted)?;
    same(&String::from_utf8_lossy(&decrypted).into(), &plain.into())
}

fn mistakes(browser: &Browser) -> Result<(), Failed> {
    browser.click("#tab-encrypt")?;
    let refused = |focus: &str, words: &[&str]| {
        browser.click("#encrypt")?;
        browser.wait_for("#encrypt-problem p")?;
        let text = browser.text("encrypt-problem")?;
        if let Some(word) = words.iter().find(|&&word| !text.contains(word)) {
            return Err(format!("{word:?} is missing in {text:?}").into());
        }
        same(&browser.focused()?.into(), &focus.into())
    };
    put(browser, "text", "a: b\nc: \"hunter2\n")?;
    refused("recipients", &["There is no recipient", "age-keygen -y"])?;
    put(browser, "recipients", "\nage1x\n")?;
    refused("recipients", &["Line 2"])?;
    put(browser, "recipients", "AGE-SECRET-KEY-1QQQQ\n")?;
    refused("recipients", &["This is a private key"])?;
    put(browser, "recipients", &identity(IdentityKind::X25519, 6).recipient)?;
    refused("text", &["Line "])?;
    if browser.text("encrypt-problem")?.contains("hunter2") || browser.text("preview")?.contains("hunter2") {
        return Err("a value is cited".into());
    }
    put(browser, "text", "a: b\n")?;
    browser.choose("rule", "encrypted_suffix")?;
    put(browser, "rule-text", "_secret")?;
    refused("rule-text", &["selects no value"])?;
    browser.picture("encrypt-problem")
}

/// Puts a text into a field in place of what is in it.
fn put(browser: &Browser, id: &str, text: &str) -> Result<(), Failed> {
    browser.script("document.getElementById(arguments[0]).select()", vec![id.into()])?;
    browser.script("document.getElementById(arguments[0]).focus()", vec![id.into()])?;
    browser.command("Input.insertText", json!({"text": text})).map(drop)
}

fn identity(kind: IdentityKind, seed: u64) -> NewIdentity {
    generate(kind, &mut rng(seed))
}

fn decrypt(folder: &Path, identity: &NewIdentity, format: &str, encrypted: &str) -> Result<Vec<u8>, Failed> {
    let sops = Peer::Sops313.path().ok_or("sops is not there")?;
    let (file, keys) = (folder.join("encrypted"), folder.join("keys.txt"));
    fs::write(&file, encrypted)?;
    fs::write(&keys, identity.secret.expose_secret())?;
    let mut command = Command::new(sops);
    command.env_clear().env("HOME", folder).env("SOPS_AGE_KEY_FILE", keys);
    output(command.args(["decrypt", "--input-type", format, "--output-type", format]).arg(file))
}

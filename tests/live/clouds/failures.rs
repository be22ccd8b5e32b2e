//! What goes wrong with keys of clouds: each failure names the key and what can be done, and nothing is written.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use super::emulator::{Cloud, Emulator, Face, ours};
use super::{PLAIN, test};
use crate::golden::same_text;
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for cloud in Cloud::ALL {
        tests.push(test(Peer::Openssl, cloud, "failures_name_the_key_and_a_remedy", each_failure_is_told));
        tests.push(test(Peer::Openssl, cloud, "wrong_credentials_are_told", wrong_credentials_are_told));
        tests.push(test(Peer::Openssl, cloud, "changed_keys_are_told", changed_keys_are_told));
    }
    tests
}

fn each_failure_is_told(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let encrypted = emulator.encrypted("key")?;
    for (name, failure, remedy) in [
        ("slow", "there was no answer within 1 s", "--key-timeout"),
        ("denied", "the credentials do not permit this", "ask "),
        ("missing", "there is no such key", "compare"),
        ("disabled", "the key cannot be used", "abled"),
        ("expired", "the credentials are not valid, or no longer", ""),
        ("malformed", "the answer is not JSON", "a proxy, say"),
        ("oversize", "the answer has more than 1024 KiB", ""),
        ("busy", "it failed with 503", "wait 7s"),
        ("moved", "the status of the answer is 307", "a proxy, say"),
    ] {
        let failure = match (emulator.cloud, name) {
            (Cloud::Azure, "expired") => "the token is not valid there, or no longer",
            _ => failure,
        };
        let limit = if name == "slow" { "--key-timeout=1" } else { "--key-timeout=30" };
        let renamed = emulator.rename_key(&encrypted, "key", name)?;
        fails(emulator, Face::Kubectl, &[limit, "decrypt"], &renamed, name, &[failure, remedy])?;
        let plain = emulator.file("plain.yaml", PLAIN)?;
        fails(emulator, Face::Kubectl, &[limit, "encrypt", "-i"], &plain, name, &[failure, remedy])?;
        if name != "slow" {
            fails(emulator, Face::Sops, &["-e", "-i"], &plain, name, &[failure])?;
        }
    }
    if emulator.cloud == Cloud::Gcp {
        let plain = emulator.file("plain.yaml", PLAIN)?;
        fails(emulator, Face::Kubectl, &["encrypt", "-i"], &plain, "lying", &["was damaged on its way"])?;
    }
    Ok(())
}

fn wrong_credentials_are_told(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let encrypted = emulator.encrypted("key")?;
    let (variable, value, failure, remedy) = match emulator.cloud {
        Cloud::Azure => ("AZURE_CLIENT_SECRET", "hunter2", "AADSTS7000215", "az ad app credential list"),
        Cloud::Gcp => {
            ("GOOGLE_CREDENTIALS", r#"{"type": "hunter2"}"#, "GOOGLE_CREDENTIALS has no `type`", "known are")
        }
        Cloud::Huawei => {
            ("HUAWEICLOUD_SDK_SK", "hunter2", "the signature does not match", "HUAWEICLOUD_SDK_AK")
        }
    };
    for face in [Face::Kubectl, Face::Sops] {
        let mut command = ours(emulator, face)?;
        let done = command.env(variable, value).arg(face.decrypt()).arg(&encrypted).output()?;
        let errors = String::from_utf8_lossy(&done.stderr).replace("\n", " ");
        let flat = flat(&errors);
        let is_told = flat.contains(failure) && (face == Face::Sops || flat.contains(remedy));
        if done.status.success() || !is_told || errors.contains("hunter2") {
            return Err(format!("it says {errors}").into());
        }
    }
    // Nobody at the address.
    let mut command = ours(emulator, Face::Kubectl)?;
    command
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("HUAWEICLOUD_SDK_REGION_KMS_TR_WEST_1", "https://127.0.0.1:1");
    let done = command.arg("decrypt").arg(&encrypted).output()?;
    let errors = String::from_utf8_lossy(&done.stderr);
    let is_told = errors.contains("refused") && errors.contains("can be reached from here");
    if done.status.success() || !is_told { Err(format!("it says {errors}").into()) } else { Ok(()) }
}

fn changed_keys_are_told(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(emulator.encrypted("key")?)?;
    let enc =
        text.lines().find_map(|line| line.trim().strip_prefix("enc: ")).ok_or("there is no key")?.to_owned();
    let head: String = enc.chars().take(12).collect();
    for (changed, failure) in [
        (
            enc.replacen(&head, "AAAAAAAAAAAA", 1),
            "the data key was wrapped with another key, or changed since",
        ),
        ("'~'".to_owned(), ""),
    ] {
        let file = emulator.file("changed.yaml", &text.replace(&enc, &changed))?;
        fails(emulator, Face::Kubectl, &["decrypt"], &file, "key", &[failure])?;
        fails(emulator, Face::Kubectl, &["rotate"], &file, "key", &[failure])?;
    }
    Ok(())
}

/// Runs a command that must fail: with words that name the key and these, and with the file as it was.
fn fails(
    emulator: &Emulator,
    face: Face,
    arguments: &[&str],
    file: &Path,
    name: &str,
    words: &[&str],
) -> Result<(), Failed> {
    let before = fs::read(file)?;
    let key = emulator.cloud.key(name);
    let mut command = ours(emulator, face)?;
    let done = command.env(emulator.cloud.variable(), &key).args(arguments).arg(file).output()?;
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    let told = flat(&errors);
    if let Some(missing) = words.iter().chain([&key.as_str()]).find(|words| !told.contains(&flat(words))) {
        return Err(format!("{arguments:?} with {name} does not say {missing:?}, but: {errors}").into());
    }
    if done.status.success() || !done.stdout.is_empty() {
        return Err(format!("{arguments:?} with {name} does not fail: {errors}").into());
    }
    same_text("the file", &fs::read(file)?, &before)
}

/// Returns a text without line breaks, and without what the report of sops puts in front of lines.
fn flat(text: &str) -> String {
    text.split([' ', '\n']).filter(|word| !word.is_empty() && *word != "|").collect::<Vec<_>>().join(" ")
}

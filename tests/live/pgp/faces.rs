//! Documents that one side encrypts and the other decrypts, by each of the ways to a key.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use selkie::keys::age::{IdentityKind, generate};

use super::home::{Home, Key, Program};
use super::test_with;
use crate::golden::same_text;
use crate::peer::Peer;

const PLAIN: &str = "a: b\nc:\n    - 1\n    - d\n";

/// No program of this name is there.
const NO_GPG: (&str, &str) = ("SOPS_GPG_EXEC", "/nonexistent/gpg");

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for sops in [Peer::Sops311, Peer::Sops313] {
        for kind in ["rsa2048", "ed25519"] {
            tests.push(test_with(sops, &format!("{kind}_opens_on_both_sides"), move |home, sops| {
                let key = home.generate(kind, "key")?;
                theirs_open(home, &key, sops)?;
                ours_open(home, &key, sops)
            }));
        }
        tests.push(test_with(sops, "keys_change_on_both_sides", keys_change));
        tests.push(test_with(sops, "groups_with_age_open_on_both_sides", groups_with_age));
        tests.push(test_with(sops, "gpg_gets_the_arguments_of_sops", arguments_of_sops));
    }
    tests
}

/// What sops encrypted opens with gpg and without, with both faces.
fn theirs_open(home: &Home, key: &Key, sops: &Path) -> Result<(), Failed> {
    home.write("plain.yaml", PLAIN)?;
    let file = home.export("--export-secret-keys", key, "secret.asc")?;
    let (file, none) = (file.to_string_lossy(), "/nonexistent");
    let natively = [("SELKIE_PGP_KEY_FILE", &*file), ("GNUPGHOME", none), NO_GPG];
    for name in [&key.fingerprint, &format!("{}!", key.subkey)] {
        let encrypted = home.done(Program::Real(sops), &[], &["-e", "--pgp", name, "plain.yaml"])?;
        home.write("theirs.yaml", encrypted)?;
        for program in [Program::Sops, Program::KubectlSeal] {
            for variables in [&[][..], &natively] {
                let opened = home.done(program, variables, &["decrypt", "theirs.yaml"])?;
                same_text("what we decrypt", &opened, PLAIN.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// What we encrypt, with gpg and without, opens with sops.
fn ours_open(home: &Home, key: &Key, sops: &Path) -> Result<(), Failed> {
    let file = home.export("--export", key, "public.asc")?;
    let (file, none) = (file.to_string_lossy(), "/nonexistent");
    let natively = [("SELKIE_PGP_KEY_FILE", &*file), ("GNUPGHOME", none), NO_GPG];
    for program in [Program::Sops, Program::KubectlSeal] {
        for variables in [&[][..], &natively] {
            for name in [&key.fingerprint, &key.subkey, &format!("{}!", key.subkey)] {
                let encrypted = home.done(program, variables, &["encrypt", "--pgp", name, "plain.yaml"])?;
                home.write("ours.yaml", encrypted)?;
                let opened = home.done(Program::Real(sops), &[], &["-d", "ours.yaml"])?;
                same_text("what sops decrypts", &opened, PLAIN.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// Keys are added to and taken from files by us, and sops opens them with each key alone.
fn keys_change(home: &Home, sops: &Path) -> Result<(), Failed> {
    let (first, second) = (home.generate("rsa2048", "first")?, home.generate("ed25519", "second")?);
    let opens_with = |key: &Key| {
        let file = home.export("--export-secret-keys", key, "only.asc")?;
        let variables = [("SELKIE_PGP_KEY_FILE", &*file.to_string_lossy()), NO_GPG];
        let opened = home.run(Program::Sops, &variables, &["decrypt", "a.yaml"])?;
        let by_sops = home.done(Program::Real(sops), &[], &["-d", "a.yaml"])?;
        same_text("what sops decrypts", &by_sops, PLAIN.as_bytes())?;
        Ok::<_, Failed>(opened.status.success())
    };
    let holds = |what: &str, found: [bool; 2], wanted: [bool; 2]| {
        if found == wanted { Ok(()) } else { Err(Failed::from(format!("{what}: opened with {found:?}"))) }
    };
    home.write("a.yaml", PLAIN)?;
    home.done(Program::Sops, &[], &["encrypt", "-i", "--pgp", &first.fingerprint, "a.yaml"])?;
    holds("encrypt", [opens_with(&first)?, opens_with(&second)?], [true, false])?;
    home.done(Program::Sops, &[], &["rotate", "-i", "--add-pgp", &second.fingerprint, "a.yaml"])?;
    holds("rotate --add-pgp", [opens_with(&first)?, opens_with(&second)?], [true, true])?;
    home.done(Program::Sops, &[], &["rotate", "-i", "--rm-pgp", &first.fingerprint, "a.yaml"])?;
    holds("rotate --rm-pgp", [opens_with(&first)?, opens_with(&second)?], [false, true])?;
    home.write(".sops.yaml", format!("creation_rules:\n  - pgp: {}\n", first.fingerprint))?;
    home.done(Program::Sops, &[], &["updatekeys", "-y", "a.yaml"])?;
    holds("updatekeys", [opens_with(&first)?, opens_with(&second)?], [true, false])?;
    let add = ["groups", "add", "-f", "a.yaml", "--pgp", &second.fingerprint];
    home.done(Program::Sops, &[], &[&add[..], &["--shamir-secret-sharing-threshold", "2", "-i"]].concat())?;
    holds("groups add", [opens_with(&first)?, opens_with(&second)?], [false, false])
}

/// Two of three groups, of which one has an age key, open on both sides; one alone does not.
fn groups_with_age(home: &Home, sops: &Path) -> Result<(), Failed> {
    let (first, second) = (home.generate("ed25519", "first")?, home.generate("rsa2048", "second")?);
    let age = generate(IdentityKind::X25519, &mut rand_core::OsRng);
    let identity = String::from_utf8(age.secret.expose_secret().to_vec())?;
    home.write(
        ".sops.yaml",
        format!(
            "creation_rules:\n  - shamir_threshold: 2\n    key_groups:\n      - pgp: [{}]\n      - age: [{}]\n      - \
             pgp: [{}]\n",
            first.fingerprint, age.recipient, second.fingerprint
        ),
    )?;
    home.write("plain.yaml", PLAIN)?;
    let first = home.export("--export-secret-keys", &first, "first.asc")?;
    let (first, with_age) = (first.to_string_lossy(), ("SOPS_AGE_KEY", identity.as_str()));
    let with_first = ("SELKIE_PGP_KEY_FILE", &*first);
    for (program, other) in [
        (Program::Real(sops), Program::Sops),
        (Program::Sops, Program::Real(sops)),
        (Program::KubectlSeal, Program::Real(sops)),
    ] {
        home.write("a.yaml", home.done(program, &[], &["encrypt", "plain.yaml"])?)?;
        for variables in [&[][..], &[with_age]] {
            same_text("by gpg", &home.done(other, variables, &["decrypt", "a.yaml"])?, PLAIN.as_bytes())?;
        }
        let opened = home.done(Program::Sops, &[with_age, with_first, NO_GPG], &["decrypt", "a.yaml"])?;
        same_text("with two groups", &opened, PLAIN.as_bytes())?;
        let one = home.run(Program::Sops, &[with_first, NO_GPG], &["decrypt", "a.yaml"])?;
        let words = String::from_utf8_lossy(&one.stderr).into_owned();
        let is_told =
            words.contains("Group 0: SUCCESS") && words.contains("there is no program /nonexistent/gpg");
        if one.status.code() != Some(128) || !is_told {
            return Err(format!("one group alone ended with {}: {words}", one.status).into());
        }
    }
    Ok(())
}

/// Both programs run gpg with the same arguments, but for those that ask for reports and keep it from asking.
fn arguments_of_sops(home: &Home, sops: &Path) -> Result<(), Failed> {
    let key = home.generate("rsa2048", "key")?;
    home.write("plain.yaml", PLAIN)?;
    let gpg = Peer::Gpg.path().ok_or("gpg is there")?;
    let script =
        format!("#!/bin/sh\necho \"$@\" >> {}\nexec {} \"$@\"\n", home.path("log").display(), gpg.display());
    let script = home.write_script("gpg-script", &script)?;
    let variables = [("SOPS_GPG_EXEC", &*script.to_string_lossy())];
    let mut logs = Vec::new();
    for program in [Program::Real(sops), Program::Sops] {
        home.write("log", "")?;
        for name in [&key.fingerprint, &format!("{}!", key.subkey)] {
            home.write("a.yaml", home.done(program, &variables, &["encrypt", "--pgp", name, "plain.yaml"])?)?;
            home.done(program, &variables, &["decrypt", "a.yaml"])?;
        }
        logs.push(std::fs::read_to_string(home.path("log"))?);
    }
    let ours = logs[1].replace("--status-fd 2 ", "").replace("--batch ", "");
    same_text("the arguments", ours.as_bytes(), logs[0].as_bytes())
}

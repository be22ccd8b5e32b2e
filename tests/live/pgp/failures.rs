//! What people are told when gpg fails, and that nothing is written then.

use std::process::Output;

use libtest_mimic::{Failed, Trial};

use super::home::{Home, Program};
use super::{test, test_with};
use crate::golden::same_text;
use crate::peer::Peer;

const PLAIN: &str = "a: b\n";

pub fn tests() -> Vec<Trial> {
    vec![
        test("who_has_no_secret_key_is_told_so", no_secret_key),
        test("who_has_no_gpg_is_told_so", no_gpg),
        test("a_key_that_gpg_does_not_know_is_named", unknown_key),
        test("no_name_of_a_key_is_an_option", options_as_names),
        test("a_passphrase_is_asked_for_or_said_to_be_missing", passphrases),
        test("gpg_is_asked_once_for_equal_keys", asked_once),
        test("gpg_finds_the_terminal", terminal),
        test_with(Peer::Sops313, "loopback_passphrases_work", loopback),
    ]
}

fn no_secret_key(home: &Home) -> Result<(), Failed> {
    let key = home.generate("rsa2048", "key")?;
    home.write("a.yaml", PLAIN)?;
    home.done(Program::Sops, &[], &["encrypt", "-i", "--pgp", &key.fingerprint, "a.yaml"])?;
    let file = home.export("--export", &key, "public.asc")?;
    let other = Home::new(&Peer::Gpg.path().ok_or("gpg is there")?)?;
    crate::peer::output(&mut other.gpg(["--import", &file.to_string_lossy()]))?;
    other.write("a.yaml", std::fs::read(home.path("a.yaml"))?)?;
    for (program, expected) in [
        (
            Program::KubectlSeal,
            &["error: a.yaml: the file's key could not be used", "\nhint: import the secret key with"][..],
        ),
        (Program::Sops, &["Group 0: FAILED", "What may help: import the secret key"]),
    ] {
        let output = other.run(program, &[], &["decrypt", "a.yaml"])?;
        let mut expected = expected.to_vec();
        expected.extend([key.fingerprint.as_str(), "decryption failed: No secret key"]);
        told(&output, 128, &expected)?;
        // With an exported key that does not fit, both are told.
        let own = other.export("--export", &key, "public.asc")?;
        let variables = [("SELKIE_PGP_KEY_FILE", &*format!("{}:/nonexistent.asc", own.display()))];
        let output = other.run(program, &variables, &["decrypt", "a.yaml"])?;
        told(&output, 128, &["decryption failed: No secret key", "/nonexistent.asc"])?;
    }
    Ok(())
}

fn no_gpg(home: &Home) -> Result<(), Failed> {
    let key = home.generate("rsa2048", "key")?;
    let encrypted = home.write("a.yaml", PLAIN)?;
    home.done(Program::Sops, &[], &["encrypt", "-i", "--pgp", &key.fingerprint, "a.yaml"])?;
    let before = std::fs::read(&encrypted)?;
    home.write("b.yaml", PLAIN)?;
    for program in [Program::KubectlSeal, Program::Sops] {
        let variables = [("SOPS_GPG_EXEC", "no-such-gpg")];
        let remedy = "install GnuPG, or name its program in SOPS_GPG_EXEC";
        let words = ["there is no program no-such-gpg", remedy, &key.fingerprint];
        told(&home.run(program, &variables, &["decrypt", "a.yaml"])?, 128, &words)?;
        let rotate = if matches!(program, Program::Sops) {
            &["rotate", "-i", "a.yaml"][..]
        } else {
            &["rotate", "a.yaml"]
        };
        told(&home.run(program, &variables, rotate)?, 128, &words)?;
        let encrypt = ["encrypt", "-i", "--pgp", &key.fingerprint, "b.yaml"];
        told(&home.run(program, &variables, &encrypt)?, 1, &words[..2])?;
    }
    same_text("the document", &std::fs::read(encrypted)?, &before)?;
    same_text("the plaintext", &std::fs::read(home.path("b.yaml"))?, PLAIN.as_bytes())
}

fn unknown_key(home: &Home) -> Result<(), Failed> {
    home.write("a.yaml", PLAIN)?;
    let unknown = "0123456789ABCDEF0123456789ABCDEF01234567";
    for program in [Program::KubectlSeal, Program::Sops] {
        let output = home.run(program, &[], &["encrypt", "-i", "--pgp", unknown, "a.yaml"])?;
        told(&output, 1, &[unknown, "No public key", "import the key with `gpg --import FILE`"])?;
    }
    same_text("the plaintext", &std::fs::read(home.path("a.yaml"))?, PLAIN.as_bytes())
}

fn options_as_names(home: &Home) -> Result<(), Failed> {
    home.write("a.yaml", PLAIN)?;
    for name in ["--output=stolen", "-ostolen", "key@example.com", "--version"] {
        home.write(".sops.yaml", format!("creation_rules:\n  - pgp: ['{name}']\n"))?;
        for program in [Program::KubectlSeal, Program::Sops] {
            let output = home.run(program, &[], &["encrypt", "-i", "a.yaml"])?;
            told(&output, 1, &[name, "is not the fingerprint of an OpenPGP key"])?;
        }
    }
    let is_there = home.path("stolen").exists();
    if is_there { Err("gpg took it for an option".into()) } else { Ok(()) }
}

fn passphrases(home: &Home) -> Result<(), Failed> {
    let key = home.generate_with("ed25519", "key", "correct horse", "never")?;
    home.write("a.yaml", PLAIN)?;
    home.done(Program::Sops, &[], &["encrypt", "-i", "--pgp", &key.fingerprint, "a.yaml"])?;
    crate::peer::output(home.gpg([]).args(["--version"]))?;
    forget(home)?;
    // There is no terminal to ask at.
    let remedy = "run `export GPG_TTY=$(tty)` in a terminal";
    for program in [Program::KubectlSeal, Program::Sops] {
        told(
            &home.run(program, &[], &["decrypt", "a.yaml"])?,
            128,
            &["public key decryption failed", remedy],
        )?;
    }
    let quiet = ["--batch", "--pinentry-mode", "loopback", "--passphrase", "correct horse"];
    let file = crate::peer::output(home.gpg(quiet).args(["--export-secret-keys", &key.fingerprint]))?;
    let file = home.write("secret.gpg", file)?.to_string_lossy().into_owned();
    let passphrase = home.write("passphrase", "correct horse\n")?.to_string_lossy().into_owned();
    let wrong = home.write("wrong", "wrong horse\n")?.to_string_lossy().into_owned();
    let with = |file: &'static str| (file, "no-such-gpg");
    for program in [Program::KubectlSeal, Program::Sops] {
        let run = |passphrase: &str| {
            let variables = [
                ("SELKIE_PGP_KEY_FILE", &*file),
                ("SELKIE_PGP_PASSPHRASE_FILE", passphrase),
                with("SOPS_GPG_EXEC"),
            ];
            home.run(program, &variables, &["decrypt", "a.yaml"])
        };
        same_text("natively", &run(&passphrase)?.stdout, PLAIN.as_bytes())?;
        told(
            &run(&wrong)?,
            128,
            &["the passphrase that is given is not that of the secret key", &key.subkey],
        )?;
        told(&run("")?, 128, &["is protected by a passphrase, which is not given", &key.subkey])?;
    }
    // A folder with keys, such as a mounted Secret, and a key in the environment itself.
    std::fs::create_dir(home.path("mounted"))?;
    std::fs::rename(&file, home.path("mounted/key.gpg"))?;
    let variables = [
        ("SELKIE_PGP_KEY_FILE", "mounted"),
        ("SELKIE_PGP_PASSPHRASE_FILE", &*passphrase),
        with("SOPS_GPG_EXEC"),
    ];
    same_text(
        "from a folder",
        &home.done(Program::Sops, &variables, &["decrypt", "a.yaml"])?,
        PLAIN.as_bytes(),
    )?;
    let armored =
        crate::peer::output(home.gpg(quiet).args(["--armor", "--export-secret-keys", &key.fingerprint]))?;
    let armored = String::from_utf8(armored)?;
    let variables =
        [("SELKIE_PGP_KEY", &*armored), ("SELKIE_PGP_PASSPHRASE_FILE", &*passphrase), with("SOPS_GPG_EXEC")];
    same_text(
        "from a variable",
        &home.done(Program::Sops, &variables, &["decrypt", "a.yaml"])?,
        PLAIN.as_bytes(),
    )
}

/// A configuration of gpg that brings the passphrase works for us as for sops.
fn loopback(home: &Home, sops: &std::path::Path) -> Result<(), Failed> {
    let key = home.generate_with("rsa2048", "key", "correct horse", "never")?;
    home.write("a.yaml", PLAIN)?;
    home.done(Program::Sops, &[], &["encrypt", "-i", "--pgp", &key.fingerprint, "a.yaml"])?;
    let passphrase = home.write("passphrase", "correct horse\n")?;
    let config = format!("pinentry-mode loopback\npassphrase-file {}\nbatch\n", passphrase.display());
    home.write("g/gpg.conf", config)?;
    forget(home)?;
    for program in [Program::KubectlSeal, Program::Sops, Program::Real(sops)] {
        same_text("by gpg", &home.done(program, &[], &["decrypt", "a.yaml"])?, PLAIN.as_bytes())?;
        forget(home)?;
    }
    home.write("passphrase", "wrong horse\n")?;
    for program in [Program::KubectlSeal, Program::Sops] {
        told(
            &home.run(program, &[], &["decrypt", "a.yaml"])?,
            128,
            &["Bad passphrase", "the passphrase was not right"],
        )?;
    }
    Ok(())
}

/// However many documents and files hold the same wrapped key, gpg is run once for them.
fn asked_once(home: &Home) -> Result<(), Failed> {
    let key = home.generate("ed25519", "key")?;
    let documents: Vec<_> = (0..5_000).map(|number| format!("a: {number}\n")).collect();
    let plain = documents.join("---\n");
    home.write("all.yaml", &plain)?;
    home.done(Program::KubectlSeal, &[], &["encrypt", "-i", "--pgp", &key.fingerprint, "all.yaml"])?;
    home.write("one.yaml", PLAIN)?;
    home.done(Program::KubectlSeal, &[], &["encrypt", "-i", "--pgp", &key.fingerprint, "one.yaml"])?;
    std::fs::create_dir(home.path("many"))?;
    for number in 0..500 {
        std::fs::copy(home.path("one.yaml"), home.path(&format!("many/{number}.yaml")))?;
    }
    let gpg = Peer::Gpg.path().ok_or("gpg is there")?;
    let script =
        format!("#!/bin/sh\necho run >> {}\nexec {} \"$@\"\n", home.path("log").display(), gpg.display());
    let script = home.write_script("gpg-script", &script)?;
    let variables = [("SOPS_GPG_EXEC", &*script.to_string_lossy())];
    let runs = |what: &str| {
        let count = std::fs::read_to_string(home.path("log"))?.lines().count();
        home.write("log", "")?;
        if count == 1 { Ok(()) } else { Err(Failed::from(format!("{what}: gpg was run {count} times"))) }
    };
    let opened = home.done(Program::KubectlSeal, &variables, &["decrypt", "all.yaml"])?;
    same_text("the documents", &opened, plain.as_bytes())?;
    runs("documents of a file")?;
    home.done(Program::KubectlSeal, &variables, &["decrypt", "many", "--output-dir", "opened"])?;
    runs("files of a folder")?;
    same_text(
        "a file",
        &std::fs::read(home.path("opened/many/7.yaml"))
            .or_else(|_| std::fs::read(home.path("opened/7.yaml")))?,
        PLAIN.as_bytes(),
    )
}

/// Without `GPG_TTY`, gpg learns the name of the terminal that the program has.
fn terminal(home: &Home) -> Result<(), Failed> {
    let key = home.generate("ed25519", "key")?;
    home.write("a.yaml", PLAIN)?;
    home.done(Program::Sops, &[], &["encrypt", "-i", "--pgp", &key.fingerprint, "a.yaml"])?;
    let gpg = Peer::Gpg.path().ok_or("gpg is there")?;
    let script = format!(
        "#!/bin/sh\necho \"tty=$GPG_TTY\" >> {}\nexec {} \"$@\"\n",
        home.path("log").display(),
        gpg.display()
    );
    let script = home.write_script("gpg-script", &script)?;
    let variables = [("SOPS_GPG_EXEC", &*script.to_string_lossy())];
    home.done(Program::Sops, &variables, &["decrypt", "a.yaml"])?;
    home.done(Program::Sops, &[variables[0], ("GPG_TTY", "/dev/mine")], &["decrypt", "a.yaml"])?;
    // util-linux gives a command a terminal.
    let command = format!(
        "GNUPGHOME='{}' SOPS_GPG_EXEC='{}' env -u GPG_TTY '{}' decrypt a.yaml",
        home.gnupg().display(),
        script.display(),
        home.path("bin/sops").display()
    );
    let ran = std::process::Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(home.path(""))
        .stdin(std::process::Stdio::null())
        .output();
    let has_script = ran.is_ok();
    let log = std::fs::read_to_string(home.path("log"))?;
    let lines: Vec<_> = log.lines().collect();
    let is_right = lines.starts_with(&["tty=", "tty=/dev/mine"])
        && (!has_script || lines.get(2).is_some_and(|line| line.starts_with("tty=/dev/pts/")));
    if is_right { Ok(()) } else { Err(format!("{log}{ran:?}").into()) }
}

/// Ends the agent, which keeps passphrases.
fn forget(home: &Home) -> Result<(), Failed> {
    let gpgconf = Peer::Gpg.path().ok_or("gpg is there")?.with_file_name("gpgconf");
    crate::peer::output(
        std::process::Command::new(gpgconf).args(["--kill", "gpg-agent"]).env("GNUPGHOME", home.gnupg()),
    )?;
    Ok(())
}

fn told(output: &Output, exit: i32, expected: &[&str]) -> Result<(), Failed> {
    // However lines are broken.
    let plain = |text: &str| text.replace('|', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(exit) || !output.stdout.is_empty() {
        return Err(format!("{}: {words}", output.status).into());
    }
    if words.contains("secring") || words.contains("[GNUPG:]") {
        return Err(format!("there is noise: {words}").into());
    }
    match expected.iter().find(|expected| !plain(&words).contains(&plain(expected))) {
        Some(missing) => Err(format!("{missing:?} is missing: {words}").into()),
        None => Ok(()),
    }
}

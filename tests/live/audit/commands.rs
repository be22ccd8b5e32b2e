//! Every command that decrypts or encrypts, with a log that takes it and with logs that do not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use super::machine::{Machine, test};
use crate::keyservice::text;

pub fn tests() -> Vec<Trial> {
    let all = [("kubectl-seal", &NATIVE[..]), ("sops", &SOPS[..])];
    let test = |(program, commands): (&'static str, &'static [&str])| {
        test(&format!("no_command_of_{program}_goes_past_the_log"), &[], move || {
            nothing_goes_past(program, commands)
        })
    };
    let mut tests: Vec<_> = all.map(test).into();
    tests.push(test_alone("nobody_writes_a_new_file_in_vain", nobody_writes_a_new_file_in_vain));
    tests.push(test_alone(
        "uses_of_the_key_service_are_written_down",
        uses_of_the_key_service_are_written_down,
    ));
    tests
}

fn test_alone(name: &str, run: fn() -> Result<(), Failed>) -> Trial {
    test(name, &[], run)
}

/// What somebody wrote is not theirs to lose: the editor does not start.
fn nobody_writes_a_new_file_in_vain() -> Result<(), Failed> {
    let machine = furnished()?;
    machine.log_to("{file: [{path: /nonexistent/audit.jsonl}]}")?;
    for program in ["sops", "kubectl-seal"] {
        let before = machine.files()?;
        let mut command = machine.command(program)?;
        let output =
            command.args(["edit", "new.yaml"]).env("EDITOR", machine.place.work("editor")).output()?;
        let error = text(&output.stderr);
        assert!(!output.status.success() && error.contains("the audit log ("), "{error}");
        assert!(machine.files()? == before && output.stdout.is_empty(), "{error}");
    }
    Ok(())
}

fn uses_of_the_key_service_are_written_down() -> Result<(), Failed> {
    let machine = furnished()?;
    let socket = format!("unix://{}", machine.place.work("keys.sock").display());
    let port = crate::keyservice::free_port()?;
    let at_port = format!("127.0.0.1:{port}");
    let ask = |address: &str| {
        let mut command = machine.place.stranger().command("kubectl-seal");
        command.args(["decrypt", "sealed.yaml", "--enable-local-keyservice=false", "--keyservice", address]);
        command.output()
    };
    for (program, words, address) in [
        ("kubectl-seal", &["keyservice", "--listen", &socket][..], socket.as_str()),
        ("sops", &["keyservice", "--verbose", "--address", &at_port], &format!("tcp://{at_port}")),
    ] {
        machine.log_to("{file: [{path: /nonexistent/audit.jsonl}]}")?;
        let error = machine.refuses(machine.command(program)?.args(words))?;
        assert!(error.contains("the audit log ("), "{error}");
        let log = machine.log_to_file()?;
        let service = machine.place.serve_command(machine.command(program)?.args(words))?;
        let output = ask(address)?;
        assert_eq!(text(&output.stdout), "a: hunter2\nb: three\n", "{}", text(&output.stderr));
        let written = fs::read_to_string(&log)?;
        let key =
            format!("\"action\":\"unwrap\",\"file\":\"<key service>: age {}, for ", machine.place.recipient);
        assert!(written.lines().count() == 1 && written.contains(&key), "{written}");
        // A log that breaks meanwhile.
        fs::write(&log, written.replace("unwrap", "wrap"))?;
        let output = ask(address)?;
        assert!(!output.status.success() && output.stdout.is_empty(), "{}", text(&output.stderr));
        let said = service.end()?;
        assert!(said.contains("its end does not verify"), "{said}");
        fs::remove_file(log)?;
    }
    Ok(())
}

const NATIVE: [&str; 36] = [
    "encrypt plain.yaml",
    "encrypt -i plain.yaml",
    "encrypt plain.yaml -o new.yaml",
    "decrypt sealed.yaml",
    "decrypt -i sealed.yaml",
    "decrypt -i sealed.yaml e.env",
    "decrypt sealed.yaml -o new.yaml",
    "decrypt sealed.yaml --output-type json",
    "view sealed.yaml",
    "edit sealed.yaml",
    "set sealed.yaml a x",
    "unset sealed.yaml a",
    "extract sealed.yaml a",
    "diff sealed.yaml",
    "diff HEAD sealed.yaml",
    "diff --json HEAD:sealed.yaml :sealed.yaml",
    "diff --exit-code HEAD:sealed.yaml HEAD:other.yaml",
    "diff sealed.yaml other.yaml",
    "exec-env e.env -- ./spill",
    "exec-file sealed.yaml -- ./spill {}",
    "exec-file --no-fifo sealed.yaml -- ./spill {}",
    "rotate sealed.yaml",
    "rotate --rule sealed.yaml",
    "updatekeys --yes stale.yaml",
    "groups add sealed.yaml --age OTHER",
    "convert secret-sops.yaml --cert tls.crt -o new.yaml",
    "convert -i secret-sops.yaml --cert tls.crt",
    "convert -i sealedsecret.yaml --sealing-key tls.key",
    "convert -i sealedsecret.yaml --sealing-key keys.enc",
    "view sealedsecret.yaml --sealing-key keys.enc",
    "unseal sealedsecret.yaml --sealing-key keys.enc",
    "reseal --always --sealing-key keys.enc --cert tls.crt sealedsecret.yaml",
    "keys list keys.enc",
    "keys inspect keys.enc",
    "keys match tls.crt keys.enc",
    "seal secret.yaml --cert tls.crt --sealing-key keys.enc -o sealedsecret.yaml",
];

const SOPS: [&str; 26] = [
    "encrypt plain.yaml",
    "encrypt -i plain.yaml",
    "encrypt --output new.yaml plain.yaml",
    "-e plain.yaml",
    "-e -i plain.yaml",
    "decrypt sealed.yaml",
    "decrypt -i sealed.yaml",
    "decrypt --output new.yaml sealed.yaml",
    "decrypt --extract [\"a\"] sealed.yaml",
    "-d sealed.yaml",
    "-d -i sealed.yaml",
    "-d --ignore-mac sealed.yaml",
    "edit sealed.yaml",
    "sealed.yaml",
    "set sealed.yaml [\"a\"] \"x\"",
    "--set [\"a\"]\u{a0}\"x\" sealed.yaml",
    "unset sealed.yaml [\"a\"]",
    "exec-env e.env ./spill",
    "exec-file sealed.yaml ./spill\u{a0}{}",
    "exec-file --no-fifo sealed.yaml ./spill\u{a0}{}",
    "rotate sealed.yaml",
    "rotate -i sealed.yaml",
    "-r -i sealed.yaml",
    "rotate -i --add-age OTHER sealed.yaml",
    "updatekeys -y stale.yaml",
    "groups add -i -f sealed.yaml --age OTHER",
];

fn nothing_goes_past(program: &str, commands: &[&str]) -> Result<(), Failed> {
    let mut failures = Vec::new();
    for words in commands {
        if let Err(failed) = stops(program, words) {
            failures.push(format!("{words}: {}", failed.message().unwrap_or_default()));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// Makes sure that a command writes the log, and does nothing if the log cannot be had or does not take it.
fn stops(program: &str, words: &str) -> Result<(), Failed> {
    let machine = furnished()?;
    let log = machine.log_folder().join("audit.jsonl");
    let folder = machine.log_folder().display().to_string();
    let full = format!(
        "mount -t tmpfs -o size=16k none {folder}; : >{}; head -c 1M /dev/zero >{folder}/full 2>&-",
        log.display()
    );
    let other = machine.place.other.clone();
    let with_words = |mut command: Command| {
        let word = |word: &str| word.replace('\u{a0}', " ").replace("OTHER", &other);
        command.args(words.split(' ').map(word)).env("EDITOR", machine.place.work("editor"));
        command
    };
    machine.log_to("{file: [{path: /nonexistent/audit.jsonl}]}")?;
    let absent = machine.refuses(&mut with_words(machine.command(program)?))?;
    machine.log_to_file()?;
    let full = machine.refuses(&mut with_words(machine.command_after(&full, program)?))?;
    for error in [absent, full] {
        if !error.contains("the audit log (") || error.contains("hunter2") {
            return Err(format!("it says {error}").into());
        }
    }
    let output = with_words(machine.command(program)?).output()?;
    // That files differ is no failure.
    if !output.status.success() && !words.contains("--exit-code") {
        return Err(format!("with the log, it ended with {}: {}", output.status, text(&output.stderr)).into());
    }
    let log = fs::read_to_string(log)?;
    if log.is_empty() || log.contains("hunter2") {
        return Err(format!("the log says {log:?}").into());
    }
    Ok(())
}

/// Returns a machine with files of all kinds.
fn furnished() -> Result<Machine, Failed> {
    let machine = Machine::new()?;
    let place = &machine.place;
    for (name, text) in [
        ("plain.yaml", "a: hunter2\nb: two\n"),
        ("other-plain.yaml", "a: hunter2-too\nb: two\n"),
        ("e-plain.env", "A=hunter2\n"),
        ("secret.yaml", SECRET),
        ("editor", "#!/bin/sh\ncp \"$1\" seen\necho 'c: hunter2-new' > \"$1\"\n"),
        ("spill", "#!/bin/sh\nenv > seen\ncat \"$@\" /dev/null >> seen\n"),
    ] {
        place.write(name, text)?;
    }
    for name in ["editor", "spill"] {
        fs::set_permissions(place.work(name), fs::Permissions::from_mode(0o755))?;
    }
    let seal = |words: &str| place.succeeds(place.command("kubectl-seal").args(words.split(' '))).map(drop);
    seal("keys generate --bits 2048")?;
    for words in [
        "encrypt plain.yaml -o sealed.yaml",
        "encrypt other-plain.yaml -o other.yaml",
        "encrypt e-plain.env -o e.env",
        "encrypt secret.yaml -o secret-sops.yaml --encrypted-regex ^(data|stringData)$",
        "encrypt tls.key -o keys.enc",
        &format!("encrypt plain.yaml -o stale.yaml --age {},{}", place.recipient, place.other),
        "seal secret.yaml --cert tls.crt -o sealedsecret.yaml",
    ] {
        seal(words)?;
    }
    let git = |words: &str| place.succeeds(place.command("/usr/bin/git").args(words.split(' '))).map(drop);
    git("init -q .")?;
    git("add sealed.yaml other.yaml")?;
    git("-c user.name=u -c user.email=u@example.com commit -q -m one")?;
    // What is in the folder differs from what was committed.
    seal("set sealed.yaml b three")?;
    Ok(machine)
}

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  namespace: shop\nstringData:\n  password: hunter2\n";

//! The audit log that an administrator turns on for all users of a machine, beside that of real sops.

mod chain;
mod commands;
mod database;
mod machine;
mod system;

use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::peer::Peer;
use database::{Database, PASSWORD};
use machine::{Machine, test};

/// Returns the tests that need Postgres, or an `/etc` of their own.
pub fn tests() -> Vec<Trial> {
    let with_sops = |name: &str, run: fn(&Path) -> Result<(), Failed>| {
        let run = move || run(&Peer::Sops313.path().ok_or("there is no sops")?);
        test(name, &[Peer::Postgres, Peer::Openssl, Peer::Sops313], run)
    };
    let mut tests = vec![
        with_sops("the_table_has_the_rows_of_sops", the_table_has_the_rows_of_sops),
        with_sops("nothing_is_done_without_the_database", nothing_is_done_without_the_database),
    ];
    tests.push(test("the_certificate_of_the_database_is_checked", &[Peer::Postgres, Peer::Openssl], || {
        the_certificate_of_the_database_is_checked()
    }));
    tests.push(test("no_password_is_told", &[Peer::Postgres, Peer::Openssl], no_password_is_told));
    tests.extend(chain::tests());
    tests.extend(commands::tests());
    tests.extend(system::tests());
    tests
}

/// What sops is asked to do, in the order in which it works.
const COMMANDS: [&str; 19] = [
    "encrypt -i a.yaml",
    "decrypt a.yaml",
    "-d a.yaml",
    "decrypt --extract [\"a\"] a.yaml",
    "encrypt --output b.yaml plain.yaml",
    "encrypt plain.yaml",
    "-e plain.yaml",
    "set a.yaml [\"a\"] \"x\"",
    "unset a.yaml [\"b\"]",
    "rotate -i a.yaml",
    "rotate b.yaml",
    "-r -i a.yaml",
    "exec-env e.env true",
    "exec-file a.yaml true",
    "edit a.yaml",
    "a.yaml",
    "filestatus a.yaml",
    "updatekeys -y b.yaml",
    "decrypt -i a.yaml",
];

fn the_table_has_the_rows_of_sops(sops: &Path) -> Result<(), Failed> {
    let (database, machine) = (Database::start()?, Machine::new()?);
    let mut all = Vec::new();
    for program in [sops, Path::new("sops")] {
        machine.place.write("a.yaml", PLAIN)?;
        machine.place.write("plain.yaml", PLAIN)?;
        machine.place.write("e.env", "a=hunter2\n")?;
        machine.place.write("editor", "#!/bin/sh\necho \"c: $$\" > \"$1\"\n")?;
        std::fs::set_permissions(
            machine.place.work("editor"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        machine.succeeds(program, ["encrypt", "-i", "e.env"])?;
        machine.log_to(&database.log("sslmode=require"))?;
        for words in COMMANDS {
            if words.starts_with("updatekeys") {
                let rule = format!("creation_rules:\n  - age: {}\n", machine.place.other);
                machine.place.write(".sops.yaml", &rule)?;
            }
            let mut command = machine.command(program)?;
            command.args(words.split(' ')).env("EDITOR", machine.place.work("editor"));
            machine.place.succeeds(&mut command)?;
            let events = database.events()?;
            all.push((words, events));
        }
        machine
            .place
            .write(".sops.yaml", &format!("creation_rules:\n  - age: {}\n", machine.place.recipient))?;
        machine.log_nothing()?;
    }
    let (theirs, ours) = all.split_at(COMMANDS.len());
    for ((words, theirs), (_, ours)) in theirs.iter().zip(ours) {
        // Sops tells nothing of other keys.
        let ours: Vec<_> = ours.iter().filter(|event| event[0] != "rewrap").cloned().collect();
        assert_eq!(*theirs, ours, "{words}");
    }
    assert!(theirs.iter().filter(|(_, events)| !events.is_empty()).count() >= 16, "{theirs:?}");
    let of_keys = ours.iter().flat_map(|(_, events)| events).filter(|event| event[0] == "rewrap");
    assert_eq!(of_keys.map(|event| event[2].clone()).collect::<Vec<_>>(), [in_full(&machine, "b.yaml")]);
    native_rows(&machine, &database)
}

/// The commands that are not those of sops.
fn native_rows(machine: &Machine, database: &Database) -> Result<(), Failed> {
    machine.place.write("a.yaml", PLAIN)?;
    machine.log_to(&database.log("sslmode=require"))?;
    let other = machine.place.other.clone();
    for (words, deeds) in [
        ("encrypt -i a.yaml", &["encrypt"][..]),
        ("decrypt a.yaml", &["decrypt"]),
        ("view a.yaml", &["decrypt"]),
        ("extract a.yaml a", &["decrypt"]),
        ("set a.yaml a x", &["decrypt", "encrypt"]),
        ("set a.yaml a x", &["decrypt"]),
        ("unset a.yaml b", &["decrypt", "encrypt"]),
        ("rotate a.yaml", &["rotate", "decrypt", "encrypt"]),
        (&format!("groups add a.yaml --age {other}"), &["rotate", "decrypt", "encrypt"]),
        ("exec-env a.yaml -- true", &["decrypt"]),
        ("status a.yaml", &["decrypt"]),
        ("status --without-keys a.yaml", &[]),
        ("decrypt -i a.yaml", &["decrypt"]),
    ] {
        machine.place.succeeds(machine.command("kubectl-seal")?.args(words.split(' ')))?;
        let events = database.events()?;
        let found: Vec<_> = events.iter().map(|event| event[0].as_str()).collect();
        assert_eq!(found, deeds, "{words}");
        let (user, file) = (whoami()?, in_full(machine, "a.yaml"));
        assert!(events.iter().all(|event| event[1] == user && event[2] == file), "{words}: {events:?}");
    }
    Ok(())
}

fn nothing_is_done_without_the_database(sops: &Path) -> Result<(), Failed> {
    let (mut database, machine) = (Database::start()?, Machine::new()?);
    machine.place.write("a.yaml", PLAIN)?;
    machine.place.write("plain.yaml", PLAIN)?;
    machine.succeeds("kubectl-seal", ["encrypt", "-i", "a.yaml"])?;
    machine.log_to(&database.log("sslmode=require"))?;
    let refuse = |why: &str| -> Result<(), Failed> {
        for program in [Path::new("sops"), Path::new("kubectl-seal"), sops] {
            for words in [
                &["decrypt", "a.yaml"][..],
                &["encrypt", "plain.yaml"],
                &["rotate", "-i", "a.yaml"],
                &["decrypt", "-i", "a.yaml"],
            ] {
                let words = words.iter().filter(|word| {
                    program != Path::new("kubectl-seal") || words[0] != "rotate" || **word != "-i"
                });
                let error = machine.refuses(machine.command(program)?.args(words))?;
                assert!(!error.contains("hunter2"), "{error}");
                // Sops says its password.
                let is_ours = program != sops;
                assert!(
                    !is_ours || (error.contains(why) && !error.contains(PASSWORD)),
                    "{program:?}: {error}"
                );
            }
        }
        Ok(())
    };
    machine.succeeds(sops, ["decrypt", "a.yaml"])?;
    database.query("ALTER TABLE audit_event RENAME TO elsewhere")?;
    refuse("does not exist")?;
    database.query("ALTER TABLE elsewhere RENAME TO audit_event; REVOKE INSERT ON audit_event FROM sops")?;
    refuse("permission denied for table audit_event")?;
    database.query("GRANT INSERT ON audit_event TO sops")?;
    database.stop();
    refuse("the audit log (postgres localhost/postgres) cannot be written: ")?;
    database.resume()?;
    machine.succeeds("kubectl-seal", ["decrypt", "a.yaml"])?;
    assert_eq!(database.events()?.len(), 2, "one before, and one after");
    Ok(())
}

fn the_certificate_of_the_database_is_checked() -> Result<(), Failed> {
    let (mut database, machine) = (Database::start()?, Machine::new()?);
    machine.place.write("plain.yaml", PLAIN)?;
    let authority = |name: &str| format!("sslrootcert={}", database.path(name).display());
    let (ca, other, alone) = (authority("ca.crt"), authority("other.crt"), authority("alone.crt"));
    check(
        &machine,
        &database,
        &[
            ("localhost", "sslmode=require", None),
            ("localhost", "sslmode=prefer", None),
            ("localhost", "sslmode=disable", None),
            ("localhost", "", None),
            ("localhost", &format!("sslmode=verify-ca {ca}"), None),
            ("localhost", &format!("sslmode=verify-full {ca}"), None),
            ("127.0.0.1", &format!("sslmode=verify-ca {ca}"), None),
            ("127.0.0.1", &format!("sslmode=require {ca}"), None),
            ("127.0.0.1", &format!("sslmode=verify-full {ca}"), Some("not valid for name")),
            ("localhost", &format!("sslmode=require {other}"), Some("certificate")),
            ("localhost", &format!("sslmode=verify-ca {other}"), Some("certificate")),
            ("localhost", &format!("sslmode=verify-full {other}"), Some("certificate")),
            ("localhost", "sslmode=verify-full sslrootcert=/nonexistent", Some("/nonexistent")),
            ("localhost", "sslmode=verify", Some("there is no sslmode verify")),
        ],
    )?;
    // The certificate of a server that signs itself is its own authority.
    database.stop();
    for kind in ["crt", "key"] {
        std::fs::copy(database.path(&format!("alone.{kind}")), database.path(&format!("server.{kind}")))?;
    }
    database.resume()?;
    check(
        &machine,
        &database,
        &[
            ("localhost", "sslmode=require", None),
            ("127.0.0.1", &format!("sslmode=verify-ca {alone}"), None),
            ("localhost", &format!("sslmode=verify-full {alone}"), None),
            ("127.0.0.1", &format!("sslmode=verify-full {alone}"), Some("not valid for name")),
            ("localhost", &format!("sslmode=verify-ca {ca}"), Some("certificate")),
        ],
    )
}

/// Makes sure that the database is taken for what it is, or not, as real sops does.
fn check(machine: &Machine, database: &Database, cases: &[(&str, &str, Option<&str>)]) -> Result<(), Failed> {
    for &(host, settings, refused) in cases {
        let connection = format!("{} {settings}", database.words(host));
        machine.log_to(&format!("{{postgres: [{{connection_string: \"{connection}\"}}]}}"))?;
        let mut programs = vec![PathBuf::from("kubectl-seal")];
        programs.extend(Peer::Sops313.path().filter(|_| !settings.contains("prefer")));
        for program in programs {
            let mut command = machine.command(&program)?;
            command.args(["encrypt", "plain.yaml"]);
            match refused {
                None => drop(machine.place.succeeds(&mut command)?),
                Some(why) => {
                    let error = machine.refuses(&mut command)?;
                    let is_ours = program == Path::new("kubectl-seal");
                    assert!(!is_ours || error.contains(why), "{host} {settings}: {error}");
                }
            }
            assert_eq!(database.events()?.len(), usize::from(refused.is_none()), "{host} {settings}");
        }
    }
    Ok(())
}

fn no_password_is_told() -> Result<(), Failed> {
    let (database, machine) = (Database::start()?, Machine::new()?);
    machine.place.write("plain.yaml", PLAIN)?;
    for (from, to) in
        [(PASSWORD, "wrong-5e6b"), ("user=sops", "user=stranger"), ("dbname=postgres", "dbname=none")]
    {
        for settings in ["sslmode=require", "sslmode=disable", "sslmode=wrong-5e6b", "port=wrong"] {
            machine.log_to(&database.log(settings).replace(from, to))?;
            for program in ["sops", "kubectl-seal"] {
                let error = machine.refuses(machine.command(program)?.args(["encrypt", "plain.yaml"]))?;
                let is_told = error.contains(PASSWORD)
                    || (error.contains("wrong-5e6b") && !settings.contains("wrong-5e6b"))
                    || error.contains("password=");
                assert!(!is_told && error.contains("audit log (postgres"), "{error}");
            }
        }
    }
    Ok(())
}

fn in_full(machine: &Machine, name: &str) -> String {
    machine.place.work(name).display().to_string()
}

fn whoami() -> Result<String, Failed> {
    let name = crate::peer::output(&mut std::process::Command::new("/usr/bin/whoami"))?;
    Ok(String::from_utf8(name)?.trim().to_owned())
}

const PLAIN: &str = "a: hunter2\nb: two\n";

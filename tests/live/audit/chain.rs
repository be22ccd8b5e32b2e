//! The audit log in a file: many who write it, some that are ended meanwhile, and some that change it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::Value as Json;

use super::machine::{Machine, test};
use crate::keyservice::text;
use crate::peer::Peer;

type Test = fn() -> Result<(), Failed>;

pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 6] = [
        ("many_processes_write_one_chain", many_processes_write_one_chain),
        ("threads_of_a_process_write_one_chain", threads_of_a_process_write_one_chain),
        ("who_is_killed_leaves_a_log_to_go_on_with", who_is_killed_leaves_a_log_to_go_on_with),
        ("a_line_that_was_cut_off_is_told", a_line_that_was_cut_off_is_told),
        ("what_was_done_to_a_log_is_found", what_was_done_to_a_log_is_found),
        ("a_log_that_cannot_be_written_stops_everything", a_log_that_cannot_be_written_stops_everything),
    ];
    tests.into_iter().map(|(name, run)| test(name, &[], run)).collect()
}

/// Returns a machine with an encrypted file, and a log.
fn machine() -> Result<(Machine, std::path::PathBuf), Failed> {
    let machine = Machine::new()?;
    machine.place.write("a.yaml", "a: hunter2\n")?;
    machine.succeeds("kubectl-seal", ["encrypt", "-i", "a.yaml"])?;
    let log = machine.log_to_file()?;
    Ok((machine, log))
}

fn verify(machine: &Machine, log: &Path) -> Result<String, Failed> {
    machine.succeeds("kubectl-seal", ["audit", "verify", &log.display().to_string()])
}

/// Returns why a log is refused.
fn verify_fails(machine: &Machine, log: &Path) -> Result<String, Failed> {
    let path = log.display().to_string();
    machine.refuses(machine.command("kubectl-seal")?.args(["audit", "verify", &path]))
}

fn start(machine: &Machine, program: &str) -> Result<Child, Failed> {
    let mut command = machine.command(program)?;
    Ok(command.args(["decrypt", "a.yaml"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn many_processes_write_one_chain() -> Result<(), Failed> {
    let (machine, log) = machine()?;
    let start =
        |number: usize| start(&machine, if number.is_multiple_of(2) { "sops" } else { "kubectl-seal" });
    let children = (0..20).map(start).collect::<Result<Vec<_>, _>>()?;
    for child in children {
        let output = child.wait_with_output()?;
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "a: hunter2\n");
    }
    let said = verify(&machine, &log)?;
    assert!(said.starts_with("20 entries; the last hash is "), "{said}");
    let written = fs::read_to_string(&log)?;
    assert!(!written.contains("hunter2"), "{written}");
    let last: Json = serde_json::from_str(written.lines().last().unwrap_or_default())?;
    assert_eq!(last["entry"]["action"], "decrypt");
    assert_eq!(last["entry"]["file"], machine.place.work("a.yaml").display().to_string());
    assert!(said.trim().ends_with(last["hash"].as_str().ok_or("a hash")?), "{said}");
    Ok(())
}

fn threads_of_a_process_write_one_chain() -> Result<(), Failed> {
    let (machine, log) = machine()?;
    for number in 0..40 {
        machine.place.write(&format!("many/{number}.yaml"), &machine.place.read("a.yaml")?)?;
    }
    machine.succeeds("kubectl-seal", ["decrypt", "-i", "many"])?;
    let said = verify(&machine, &log)?;
    assert!(said.starts_with("40 entries; "), "{said}");
    Ok(())
}

fn who_is_killed_leaves_a_log_to_go_on_with() -> Result<(), Failed> {
    let (machine, log) = machine()?;
    for number in 0..60 {
        machine.place.write(&format!("many/{number}.yaml"), &machine.place.read("a.yaml")?)?;
    }
    let (mut told, mut interrupted) = (0, 0);
    for round in 0..25_u64 {
        // All values are decrypted and nothing is changed.
        let mut command = machine.command("kubectl-seal")?;
        command.args(["status", "many"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        // Once it writes, for a time that differs.
        while !fs::metadata(&log).is_ok_and(|log| log.len() > told) && child.try_wait()?.is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_micros(round * 700));
        interrupted += usize::from(child.try_wait()?.is_none());
        child.kill()?;
        child.wait()?;
        told = fs::metadata(&log)?.len();
        let said = verify(&machine, &log)?;
        assert!(said.contains("; the last hash is "), "{said}");
        let entries: usize = said.split(' ').next().unwrap_or_default().parse()?;
        assert_eq!(machine.succeeds("sops", ["decrypt", "a.yaml"])?, "a: hunter2\n");
        assert!(verify(&machine, &log)?.starts_with(&format!("{} entries", entries + 1)));
        told = told.max(fs::metadata(&log)?.len());
    }
    assert!(interrupted >= 5, "only {interrupted} were ended before their end");
    Ok(())
}

fn a_line_that_was_cut_off_is_told() -> Result<(), Failed> {
    let (machine, log) = machine()?;
    let mut lines = 0;
    for (round, cut) in [1, 2, 50, 200].into_iter().enumerate() {
        for _ in 0..2 {
            machine.succeeds("kubectl-seal", ["view", "a.yaml"])?;
        }
        lines += 1;
        let file = fs::OpenOptions::new().write(true).open(&log)?;
        file.set_len(file.metadata()?.len() - cut)?;
        let said = verify(&machine, &log)?;
        // Of a line that only lacks its end, nothing is lost.
        let is_whole = cut == 1;
        let (entries, torn) =
            (lines + usize::from(is_whole), round + usize::from(!is_whole) - usize::from(round > 0));
        let torn = match torn {
            0 => String::new(),
            1 => ", 1 line cut off".to_owned(),
            torn => format!(", {torn} lines cut off"),
        };
        assert!(
            said.starts_with(&format!(
                "{}{torn}; ",
                if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
            )),
            "{cut}: {said}"
        );
        machine.succeeds("kubectl-seal", ["view", "a.yaml"])?;
        lines = entries + 1;
        let said = verify(&machine, &log)?;
        assert!(said.starts_with(&format!("{lines} entries{torn}; ")), "{cut}: {said}");
    }
    Ok(())
}

fn what_was_done_to_a_log_is_found() -> Result<(), Failed> {
    let (machine, log) = machine()?;
    for _ in 0..12 {
        machine.succeeds("kubectl-seal", ["view", "a.yaml"])?;
    }
    let good = fs::read_to_string(&log)?;
    let lines: Vec<_> = good.split_inclusive('\n').collect();
    let swapped = |first: usize, second: usize| {
        let mut lines = lines.clone();
        lines.swap(first, second);
        lines.concat()
    };
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().concat();
    let changed = |at: usize| {
        let line = lines[at].replace("\"decrypt\"", "\"encrypt\"");
        [&lines[..at], &[line.as_str()], &lines[at + 1..]].concat().concat()
    };
    let put_in = |at: usize, line: &str| [&lines[..at], &[line], &lines[at..]].concat().concat();
    for (text, line, why, is_near_the_end) in [
        (changed(0), 1, "changed", false),
        (changed(3), 4, "changed", false),
        (changed(11), 12, "changed", true),
        (without(0), 1, "missing", false),
        (without(2), 3, "missing", false),
        (without(10), 11, "missing", true),
        (swapped(1, 2), 2, "missing", false),
        (swapped(10, 11), 11, "missing", true),
        (put_in(5, lines[2]), 6, "missing", true),
        (put_in(1, "{}\n"), 2 + 1, "no line of an audit log", false),
        (put_in(2, "\n"), 3 + 1, "no line of an audit log", false),
        (put_in(11, "x\n"), 12 + 1, "no line of an audit log", true),
    ] {
        fs::write(&log, &text)?;
        let error = verify_fails(&machine, &log)?;
        assert!(
            error.contains(&format!("line {line}: ")) && error.contains(why),
            "line {line}, {why}: {error}"
        );
        if is_near_the_end {
            for program in ["sops", "kubectl-seal"] {
                let error = machine.refuses(machine.command(program)?.args(["decrypt", "a.yaml"]))?;
                assert!(error.contains("its end does not verify"), "{error}");
            }
        }
        assert_eq!(fs::read_to_string(&log)?, text, "nobody changes it");
    }
    // Lines that are missing at the end alone are not found, but by who noted down the hash.
    fs::write(&log, lines[..6].concat())?;
    assert!(verify(&machine, &log)?.starts_with("6 entries; "));
    // A log of which nothing whole is left begins anew, and says what stood there.
    fs::File::create(&log)?.write_all(&[0xff; 70_000])?;
    machine.succeeds("sops", ["decrypt", "a.yaml"])?;
    let told = verify(&machine, &log)?;
    assert!(told.starts_with("1 entry, 1 line"), "{told}");
    Ok(())
}

fn a_log_that_cannot_be_written_stops_everything() -> Result<(), Failed> {
    let (machine, log) = machine()?;
    machine.succeeds("kubectl-seal", ["view", "a.yaml"])?;
    let folder = machine.log_folder().display().to_string();
    let file = log.display().to_string();
    for (line, why) in [
        (
            format!(
                "mount -t tmpfs -o size=16k none {folder}; : >{file}; head -c 1M /dev/zero >{folder}/full 2>/dev/null"
            ),
            "No space left on device",
        ),
        (format!("mount -t tmpfs -o ro none {folder}"), "Read-only file system"),
        (
            format!("mount --bind -o ro {folder} {folder} && mount -o remount,bind,ro {folder}"),
            "Read-only file system",
        ),
        (format!("mount -t tmpfs none {folder}; mkdir {file}"), "Is a directory"),
        (format!("mount -t tmpfs none {folder}; ln -s /dev/null {file}"), "it is no regular file"),
        (format!("mount -t tmpfs none {folder}; ln -s /nonexistent/log {file}"), "No such file"),
    ] {
        for (program, words) in [
            ("sops", &["decrypt", "a.yaml"][..]),
            ("sops", &["-d", "-i", "a.yaml"]),
            ("kubectl-seal", &["decrypt", "a.yaml"]),
            ("kubectl-seal", &["rotate", "a.yaml"]),
        ] {
            let error = machine.refuses(machine.command_after(&line, program)?.args(words))?;
            assert!(error.contains(why) && error.contains(&file), "{line}: {error}");
        }
    }
    assert!(verify(&machine, &log)?.starts_with("1 entry; "));
    // Somebody who may not write it.
    if Peer::Ip.path().is_some() {
        let line = "set -- /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
        std::process::Command::new("/bin/chmod")
            .args(["-R", "a+rX"])
            .arg(machine.place.work(".."))
            .status()?;
        let mut command = machine.command_after(line, "sops")?;
        let error = machine.refuses(command.args(["decrypt", "a.yaml"]))?;
        assert!(error.contains("Permission denied"), "{error}");
    }
    Ok(())
}

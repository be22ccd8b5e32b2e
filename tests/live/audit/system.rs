//! The audit log of the system, and of one elsewhere.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::Value as Json;

use super::machine::{Machine, test};
use crate::keyservice::{free_port, text};

type Test = fn() -> Result<(), Failed>;

pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 2] = [
        ("a_log_elsewhere_gets_a_line_for_each_event", a_log_elsewhere_gets_a_line_for_each_event),
        ("nothing_is_done_without_the_log_elsewhere", nothing_is_done_without_the_log_elsewhere),
    ];
    tests.into_iter().map(|(name, run)| test(name, &[], run)).collect()
}

fn machine() -> Result<Machine, Failed> {
    let machine = Machine::new()?;
    machine.place.write("a.yaml", "a: hunter2\n")?;
    machine.succeeds("kubectl-seal", ["encrypt", "-i", "a.yaml"])?;
    Ok(machine)
}

fn a_log_elsewhere_gets_a_line_for_each_event() -> Result<(), Failed> {
    let machine = machine()?;
    let path = machine.log_folder().join("socket");
    let (unix, udp, tcp) =
        (UnixDatagram::bind(&path)?, UdpSocket::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let limit = Some(Duration::from_secs(60));
    unix.set_read_timeout(limit)?;
    udp.set_read_timeout(limit)?;
    let (udp_at, tcp_at) = (udp.local_addr()?, tcp.local_addr()?);
    let file = machine.log_folder().join("audit.jsonl");
    machine.log_to(&format!(
        "{{syslog: [{{address: \"unix:{}\"}}, {{address: \"udp:{udp_at}\", facility: local3}}, \
         {{address: \"tcp:{tcp_at}\"}}], file: [{{path: {}}}]}}",
        path.display(),
        file.display(),
    ))?;
    for (program, words, deeds) in [
        ("sops", &["decrypt", "a.yaml"][..], &["decrypt"][..]),
        ("kubectl-seal", &["rotate", "a.yaml"], &["rotate", "decrypt", "encrypt"]),
    ] {
        let received = thread::spawn({
            let tcp = tcp.try_clone()?;
            move || BufReader::new(tcp.accept()?.0).lines().collect::<Result<Vec<_>, _>>()
        });
        machine.place.succeeds(machine.command(program)?.args(words))?;
        let over_tcp = received.join().map_err(|_| "the receiver broke off")??;
        assert_eq!(over_tcp.len(), deeds.len(), "{over_tcp:?}");
        let mut buffer = [0; 4096];
        for (over_tcp, deed) in over_tcp.iter().zip(deeds) {
            let length = unix.recv(&mut buffer)?;
            is_event(&machine, &text(&buffer[..length]), 85, deed)?;
            let length = udp.recv(&mut buffer)?;
            is_event(&machine, &text(&buffer[..length]), 19 * 8 + 5, deed)?;
            is_event(&machine, over_tcp, 85, deed)?;
        }
    }
    let said = machine.succeeds("kubectl-seal", ["audit", "verify", &file.display().to_string()])?;
    assert!(said.starts_with("4 entries; "), "{said}");
    Ok(())
}

/// Makes sure that a message is one of RFC 3164, in one line: `<PRIORITY>Mmm dd hh:mm:ss HOST TAG[ID]: TEXT`.
fn is_event(machine: &Machine, message: &str, priority: u8, deed: &str) -> Result<(), Failed> {
    let rest = message.strip_prefix(&format!("<{priority}>")).ok_or_else(|| format!("{message:?}"))?;
    assert!(
        !message.contains(['\n', '\r']) && !message.contains("hunter2") && !message.contains("AGE-SECRET"),
        "{message}"
    );
    let (header, entry) = rest.split_once(" kubectl-seal[").ok_or_else(|| format!("{message:?}"))?;
    let form: String =
        header.chars().take(15).map(|letter| if letter.is_ascii_digit() { '9' } else { letter }).collect();
    assert!(form.ends_with(" 99:99:99") && form.len() == 15 && header.len() > 16, "{header:?}");
    let (id, entry) = entry.split_once("]: ").ok_or_else(|| format!("{message:?}"))?;
    id.parse::<u32>()?;
    let entry: Json = serde_json::from_str(entry)?;
    assert_eq!(entry["action"], deed);
    assert_eq!(entry["file"], machine.place.work("a.yaml").display().to_string());
    Ok(())
}

fn nothing_is_done_without_the_log_elsewhere() -> Result<(), Failed> {
    let machine = machine()?;
    let gone = machine.log_folder().join("gone");
    drop(UnixDatagram::bind(&gone)?);
    let port = free_port()?;
    let file = machine.log_folder().join("audit.jsonl");
    for address in [
        format!("tcp:127.0.0.1:{port}"),
        format!("unix:{}", gone.display()),
        "unix:/nonexistent/socket".to_owned(),
        "tcp:nowhere.invalid:514".to_owned(),
        "udp:nowhere.invalid:514".to_owned(),
        "somewhere".to_owned(),
    ] {
        // Another log that is there makes no difference.
        machine.log_to(&format!(
            "{{file: [{{path: {}}}], syslog: [{{address: \"{address}\"}}]}}",
            file.display()
        ))?;
        for program in ["sops", "kubectl-seal"] {
            for words in [&["decrypt", "a.yaml"][..], &["decrypt", "-i", "a.yaml"]] {
                let error = machine.refuses(machine.command(program)?.args(words))?;
                assert!(
                    error.contains(&format!("the audit log (syslog {address}) cannot be written: ")),
                    "{error}"
                );
            }
        }
    }
    // No system answers at all.
    machine.log_to("{syslog: [{}]}")?;
    for program in ["sops", "kubectl-seal"] {
        let line = "mount -t tmpfs none /dev && mkdir -p /var/run && mount -t tmpfs none /var/run && mount -t tmpfs none /run";
        machine.refuses(machine.command_after(line, program)?.args(["decrypt", "a.yaml"]))?;
    }
    Ok(())
}

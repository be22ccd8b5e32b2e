//! Sealed Secrets, beside kubeseal.

use std::thread;

use rand_core::OsRng;
use selkie::manifest::print_yaml;
use selkie::sealed::{KeySize, SealedSecret, SealingCert, SealingKey, Secret};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::Result;
use crate::bench::{Bench, Cost, Streams, medians, one_by_one};
use crate::manifests::{manifest, name, namespace, value};
use crate::page::{Line, Page, Plot, Unit};

pub fn measure(bench: &Bench, page: &mut Page) -> Result<()> {
    let certs = make_keys(bench)?;
    seal_one(bench, page)?;
    seal_many(bench, page)?;
    unseal_one(bench, page, &certs)?;
    unseal_many(bench, page, &certs)?;
    reseal(bench, page)
}

/// Makes the keys of a cluster in files, the oldest first, and returns their certificates.
fn make_keys(bench: &Bench) -> Result<Vec<SealingCert>> {
    let make = || -> std::result::Result<_, selkie::sealed::SealingKeyError> {
        let key = SealingKey::generate(KeySize::Rsa4096)?;
        let now = OffsetDateTime::now_utc();
        let cert = SealingCert::generate(&key, "", now, Duration::days(3650), &mut OsRng)?;
        Ok((key, cert))
    };
    let made: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..KEYS).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")).collect()
    });
    let mut certs = Vec::new();
    for (index, made) in made.into_iter().enumerate() {
        let (key, cert) = made??;
        bench.write(&key_file(index), key.to_pem().expose_secret())?;
        bench.write(&cert_file(index), cert.to_pem())?;
        certs.push(cert);
    }
    Ok(certs)
}

fn seal_one(bench: &Bench, page: &mut Page) -> Result<()> {
    let about = "A Secret with 3 values, sealed for a certificate of 4096 bits; the median of 41 runs. The drop-in is\n\
                 `kubectl-seal kubeseal`, with the same arguments as kubeseal.";
    page.heading("Sealing one Secret", about, "kubeseal");
    bench.write("secret.yaml", manifest(1, 3))?;
    let stdin = Streams { stdin: Some("secret.yaml"), stdout: None };
    let [drop_in, seal, theirs] = medians(
        41,
        [
            &mut || bench.run_with(&bench.ours, &[&["kubeseal"], SEAL].concat(), stdin),
            &mut || bench.run(&bench.ours, &["seal", "--cert", "cert-00.pem", "secret.yaml"]),
            &mut || bench.run_with(&bench.kubeseal, SEAL, stdin),
        ],
    )?;
    page.row("the drop-in", drop_in, theirs);
    page.row("`kubectl seal seal`", seal, theirs);
    Ok(())
}

fn seal_many(bench: &Bench, page: &mut Page) -> Result<()> {
    let about = format!(
        "{MANY} Secrets with 3 values each. A file of many documents is one call for each program; of a folder of\n\
         files, kubeseal is started once for each. The median of 3 runs, but for the files one by one."
    );
    page.heading("Sealing many Secrets", &about, "kubeseal");
    let documents: Vec<_> = (0..MANY).map(|index| manifest(index, 3)).collect();
    bench.write("secrets.yaml", documents.join("---\n"))?;
    let stdin = Streams { stdin: Some("secrets.yaml"), stdout: None };
    let names = names("plain", MANY);
    let [drop_in, seal, theirs, folder] = medians(
        3,
        [
            &mut || bench.run_with(&bench.ours, &[&["kubeseal"], SEAL].concat(), stdin),
            &mut || bench.run(&bench.ours, &["seal", "--cert", "cert-00.pem", "secrets.yaml"]),
            &mut || bench.run_with(&bench.kubeseal, SEAL, stdin),
            &mut || {
                for (name, document) in names.iter().zip(&documents) {
                    bench.write(name, document)?;
                }
                bench.run(&bench.ours, &["seal", "-i", "--cert", "cert-00.pem", "plain"])
            },
        ],
    )?;
    for (name, document) in names.iter().zip(&documents) {
        bench.write(name, document)?;
    }
    let files = one_by_one(&names, |name| {
        bench.run_with(&bench.kubeseal, SEAL, Streams { stdin: Some(name), stdout: None })
    })?;
    page.row("one file, the drop-in", drop_in, theirs);
    page.row("one file, `kubectl seal seal`", seal, theirs);
    page.row("a folder, `kubectl seal seal`", folder, files);
    let (mut ours, mut theirs) = (Line::new("Selkie"), Line::new("kubeseal"));
    for count in [1, 10, 100, MANY] {
        bench.write("secrets.yaml", documents[..count].join("---\n"))?;
        let [cost, their_cost] = medians(
            3,
            [&mut || bench.run_with(&bench.ours, &[&["kubeseal"], SEAL].concat(), stdin), &mut || {
                bench.run_with(&bench.kubeseal, SEAL, stdin)
            }],
        )?;
        ours.seconds(count, cost.time);
        theirs.seconds(count, their_cost.time);
    }
    page.plot(Plot {
        name: "seal".to_owned(),
        title: "Sealing Secrets of one file".to_owned(),
        size: "Secrets".to_owned(),
        cost: Unit::Seconds,
        lines: vec![ours, theirs],
    });
    Ok(())
}

fn unseal_one(bench: &Bench, page: &mut Page, certs: &[SealingCert]) -> Result<()> {
    let about = "A SealedSecret with one value, opened with private keys of 4096 bits in files; the median of 21 runs.\n\
                 Of several keys, the one that opens it is named last.";
    page.heading("Unsealing one SealedSecret", about, "kubeseal");
    bench.write("sealed.yaml", sealed(0, 1, &certs[0])?)?;
    let stdin = Streams { stdin: Some("sealed.yaml"), stdout: None };
    let (mut ours, mut of_theirs) = (Line::new("Selkie"), Line::new("kubeseal"));
    for count in [1, 2, 5, 10, KEYS] {
        let theirs = recovery(count);
        let theirs: Vec<_> = theirs.iter().map(String::as_str).collect();
        let [drop_in, cost] = medians(
            21,
            [&mut || bench.run_with(&bench.ours, &[&["kubeseal"], &theirs[..]].concat(), stdin), &mut || {
                bench.run_with(&bench.kubeseal, &theirs, stdin)
            }],
        )?;
        page.row(&format!("the drop-in, {}", keys(count)), drop_in, cost);
        ours.seconds(count, drop_in.time);
        of_theirs.seconds(count, cost.time);
    }
    page.plot(Plot {
        name: "unseal".to_owned(),
        title: "Unsealing one SealedSecret with the oldest key".to_owned(),
        size: "keys at hand".to_owned(),
        cost: Unit::Seconds,
        lines: vec![ours, of_theirs],
    });
    Ok(())
}

fn unseal_many(bench: &Bench, page: &mut Page, certs: &[SealingCert]) -> Result<()> {
    let factor = MANY / SOME;
    let about = format!(
        "{MANY} SealedSecrets with one value each, in files of a folder. Selkie takes the folder in one call and writes\n\
         {MANY} files; kubeseal takes one SealedSecret in a run, of which {SOME} are measured and counted {factor}\n\
         times. Of several keys, the oldest is named last."
    );
    page.heading("Unsealing many SealedSecrets", &about, "kubeseal");
    for (what, folder, count, sealed_for) in [
        ("", "first", 1, 1),
        (", sealed for the oldest", "oldest", KEYS, 1),
        (", sealed for all in turn", "spread", KEYS, KEYS),
    ] {
        let names = names(folder, MANY);
        for (index, name) in names.iter().enumerate() {
            bench.write(name, sealed(index, 1, &certs[index % sealed_for])?)?;
        }
        let out = format!("{folder}-out");
        let mut ours = vec!["unseal".to_owned(), "--output-dir".to_owned(), out, folder.to_owned()];
        ours.extend((0..count).rev().flat_map(|index| ["--sealing-key".to_owned(), key_file(index)]));
        let ours: Vec<_> = ours.iter().map(String::as_str).collect();
        let theirs = recovery(count);
        let theirs: Vec<_> = theirs.iter().map(String::as_str).collect();
        // With every key to try, a run takes long enough to be told from another by little.
        let runs = if sealed_for == 1 { 3 } else { 1 };
        let [ours] = medians(runs, [&mut || bench.run(&bench.ours, &ours)])?;
        let cost = one_by_one(&names[..SOME], |name| {
            bench.run_with(&bench.kubeseal, &theirs, Streams { stdin: Some(name), stdout: None })
        })?;
        page.row(&format!("{}{what}", keys(count)), ours, Cost { time: cost.time * factor as u32, ..cost });
    }
    Ok(())
}

fn reseal(bench: &Bench, page: &mut Page) -> Result<()> {
    let factor = MANY / SOME;
    let about = format!(
        "{MANY} files of one SealedSecret with 3 values each, from an old key to a new one, without a cluster. kubeseal has\n\
         no such command: it is started twice for each file, to unseal and to seal, of which {SOME} are measured and\n\
         counted {factor} times. The second row is the same call again, which finds nothing to do."
    );
    page.heading("Resealing a repository", &about, "kubeseal");
    let old = SealingCert::parse(&bench.read(&cert_file(0))?)?;
    let documents: Vec<_> = (0..MANY).map(|index| sealed(index, 3, &old)).collect::<Result<_>>()?;
    let names = names("old", MANY);
    let (key, cert) = (key_file(0), cert_file(KEYS - 1));
    let arguments = ["reseal", "--sealing-key", &key, "--cert", &cert, "old"];
    let [ours] = medians(
        3,
        [&mut || {
            for (name, document) in names.iter().zip(&documents) {
                bench.write(name, document)?;
            }
            bench.run(&bench.ours, &arguments)
        }],
    )?;
    let again = bench.run(&bench.ours, &arguments)?;
    for (name, document) in names.iter().zip(&documents).take(SOME) {
        bench.write(name, document)?;
    }
    let unseal = recovery(1);
    let unseal: Vec<_> = unseal.iter().map(String::as_str).collect();
    let theirs = one_by_one(&names[..SOME], |name| {
        let clear = Some("clear.yaml");
        let unsealed =
            bench.run_with(&bench.kubeseal, &unseal, Streams { stdin: Some(name), stdout: clear })?;
        let streams = Streams { stdin: clear, stdout: Some("resealed.yaml") };
        let sealed = bench.run_with(&bench.kubeseal, &["--cert", &cert, "--format", "yaml"], streams)?;
        Ok(Cost {
            time: unsealed.time + sealed.time,
            work: unsealed.work + sealed.work,
            memory: unsealed.memory.max(sealed.memory),
        })
    })?;
    let theirs = Cost { time: theirs.time * factor as u32, ..theirs };
    page.row("everything", ours, theirs);
    page.row("nothing to do", again, theirs);
    Ok(())
}

/// Returns a SealedSecret as YAML.
fn sealed(seed: usize, values: usize, cert: &SealingCert) -> Result<Vec<u8>> {
    let values = (0..values).map(|index| (format!("KEY_{index}"), value(seed * values + index).into()));
    let secret = Secret::from_json(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name(seed), "namespace": namespace(seed)},
        "type": "Opaque",
        "stringData": values.collect::<serde_json::Map<_, _>>(),
    }))?;
    let sealed = SealedSecret::seal(&secret, cert, &mut OsRng)?;
    Ok(print_yaml(&sealed.to_json()).expose_secret().to_vec())
}

/// Returns the flags with which kubeseal unseals, for the oldest keys, of which the oldest is the last.
fn recovery(keys: usize) -> Vec<String> {
    let files: Vec<_> = (0..keys).rev().map(key_file).collect();
    ["--recovery-unseal", "--format", "yaml", "--recovery-private-key", &files.join(",")]
        .map(str::to_owned)
        .to_vec()
}

fn names(folder: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{folder}/{index:04}.yaml")).collect()
}

fn keys(count: usize) -> String {
    if count == 1 { "1 key".to_owned() } else { format!("{count} keys") }
}

fn key_file(index: usize) -> String {
    format!("key-{index:02}.pem")
}

fn cert_file(index: usize) -> String {
    format!("cert-{index:02}.pem")
}

const SEAL: &[&str] = &["--cert", "cert-00.pem", "--format", "yaml"];
/// How many keys a cluster has after some years.
const KEYS: usize = 20;
const MANY: usize = 1000;
/// How many runs of kubeseal stand for all.
const SOME: usize = 100;

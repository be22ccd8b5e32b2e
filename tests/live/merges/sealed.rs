//! Merges of SealedSecrets, which the real kubeseal sealed and opens.

use std::fs;

use libtest_mimic::Failed;
use selkie::sealed::KeySize;
use serde_json::Value as Json;

use super::Run;
use super::lab::{Keys, Lab, all, has};
use crate::live::sealed_secrets::Pair;
use crate::peer::{output, piped};

pub const FLOWS: &[(&str, Run)] = &[
    ("both_add_values", both_add_values),
    ("conflict_of_values", conflict_of_values),
    ("the_same_value_sealed_twice", the_same_value_sealed_twice),
    ("renamed_on_one_side", renamed_on_one_side),
];

/// Seals values with kubeseal.
fn seal(lab: &Lab, name: &str, values: &[(&str, &str)]) -> Result<String, Failed> {
    let cert = lab.beside("cert.pem");
    fs::write(&cert, &Pair::of(KeySize::Rsa2048)?.certificate)?;
    let entries: String = values.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: one\nstringData:\n{entries}"
    );
    let mut command = lab.command(&lab.peer, Keys::Absent);
    command.args(["--format", "yaml", "--cert"]).arg(&cert);
    Ok(String::from_utf8(piped(&mut command, secret.as_bytes())?)?)
}

/// Returns what kubeseal unseals, of the file in the worktree.
fn unseal(lab: &Lab) -> Result<Vec<(String, String)>, Failed> {
    let mut command = lab.command(&lab.peer, Keys::Absent);
    command.args(["--recovery-unseal", "--recovery-private-key"]).arg(key(lab)?);
    let secret = piped(&mut command, lab.read("db.yaml")?.as_bytes())?;
    let secret: Json = serde_json::from_slice(&secret)?;
    let data = secret["data"].as_object().ok_or("there is no data")?;
    let value = |value: &Json| -> Result<String, Failed> {
        use base64::Engine;

        let value = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default())?;
        Ok(String::from_utf8(value)?)
    };
    data.iter().map(|(key, text)| Ok((key.clone(), value(text)?))).collect()
}

fn key(lab: &Lab) -> Result<std::path::PathBuf, Failed> {
    let path = lab.beside("key.pem");
    fs::write(&path, Pair::of(KeySize::Rsa2048)?.key.expose_secret())?;
    Ok(path)
}

/// Takes the sealed value of a key from one manifest into another.
fn with_value(text: &str, from: &str, key: &str) -> Result<String, Failed> {
    let line = |text: &str| {
        let start = format!("    {key}: ");
        text.lines().find(|line| line.starts_with(&start)).map(str::to_owned)
    };
    let new = line(from).ok_or("there is no value")?;
    Ok(match line(text) {
        Some(old) => text.replace(&old, &new),
        None => text.replace("  encryptedData:\n", &format!("  encryptedData:\n{new}\n")),
    })
}

fn part(lab: &Lab, base: &str, ours: &str, theirs: &str) -> Result<(), Failed> {
    for (branch, from, text) in [("base", "main", base), ("theirs", "base", theirs), ("ours", "base", ours)] {
        lab.git(&["checkout", "-q", "-b", branch, from])?;
        lab.write("db.yaml", text)?;
        lab.commit(branch)?;
    }
    Ok(())
}

fn check(lab: &Lab, values: &[(&str, &str)]) -> Result<(), Failed> {
    let found = unseal(lab)?;
    let values: Vec<_> = values.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    (found == values).then_some(()).ok_or_else(|| format!("it has the keys and values {found:?}").into())
}

fn both_add_values(lab: &Lab) -> Result<(), Failed> {
    let base = seal(lab, "db", &[("m", "hidden-1")])?;
    let new = seal(lab, "db", &[("a", "hidden-ours"), ("z", "hidden-theirs")])?;
    part(lab, &base, &with_value(&base, &new, "a")?, &with_value(&base, &new, "z")?)?;
    lab.git(&["merge", "-q", "--no-edit", "theirs"])?;
    check(lab, &[("a", "hidden-ours"), ("m", "hidden-1"), ("z", "hidden-theirs")])
}

fn conflict_of_values(lab: &Lab) -> Result<(), Failed> {
    let base = seal(lab, "db", &[("a", "hidden-1"), ("b", "hidden-2")])?;
    let [ours, theirs] =
        ["hidden-ours", "hidden-theirs"].map(|value| seal(lab, "db", &[("a", value), ("b", value)]));
    let (ours, theirs) = (ours?, theirs?);
    part(
        lab,
        &base,
        &with_value(&base, &ours, "a")?,
        &with_value(&with_value(&base, &theirs, "a")?, &theirs, "b")?,
    )?;
    let said = lab.git_fails(&["merge", "theirs"], Keys::Absent)?;
    has(&said, "spec.encryptedData.a was changed by both sides")?;
    lab.check_unmerged("db.yaml", true)?;
    lab.resolve(&["--take", "spec.encryptedData.a=theirs"])?;
    lab.check_unmerged("db.yaml", false)?;
    check(lab, &[("a", "hidden-theirs"), ("b", "hidden-theirs")])
}

fn the_same_value_sealed_twice(lab: &Lab) -> Result<(), Failed> {
    let base = seal(lab, "db", &[("a", "hidden-1")])?;
    let (ours, theirs) = (seal(lab, "db", &[("a", "hidden-new")])?, seal(lab, "db", &[("a", "hidden-new")])?);
    part(lab, &base, &with_value(&base, &ours, "a")?, &with_value(&base, &theirs, "a")?)?;
    lab.git_fails(&["merge", "theirs"], Keys::Absent)?;
    lab.git(&["merge", "--abort"])?;
    let mut command = lab.command("git", Keys::Absent);
    command.env("SEALED_SECRETS_RECOVERY_PRIVATE_KEY", key(lab)?);
    let merged = lab.run(command.args(["merge", "-q", "--no-edit", "theirs"]))?;
    if !merged.status.success() {
        return Err(all(&merged).into());
    }
    check(lab, &[("a", "hidden-new")])
}

/// A value for the old name is nothing that the controller could open under the new one.
fn renamed_on_one_side(lab: &Lab) -> Result<(), Failed> {
    let base = seal(lab, "db", &[("a", "hidden-1")])?;
    let ours = seal(lab, "other", &[("a", "hidden-1")])?;
    let theirs = with_value(&base, &seal(lab, "db", &[("b", "hidden-2")])?, "b")?;
    part(lab, &base, &ours, &theirs)?;
    let said = lab.git_fails(&["merge", "theirs"], Keys::Absent)?;
    // Sealed again for its new name, all of it is new: nobody can tell that it is the same object.
    has(&said, "the whole document was changed by both sides, differently")?;
    lab.check_unmerged("db.yaml", true)?;
    lab.resolve(&["--ours"])?;
    check(lab, &[("a", "hidden-1")])?;
    output(lab.command("git", Keys::Absent).args(["diff", "--cached", "--quiet", "ours", "--", "db.yaml"]))
        .map(drop)
}

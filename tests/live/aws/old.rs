//! Files of sops before 3.3.0, which mixed up encryption contexts.

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::{Lab, PLAIN, REAL, test};
use crate::aws::{must_contain, refused};
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    vec![
        test("mixed_up_contexts_are_opened_and_put_right", Peer::Sops313, put_right),
        test("mixed_up_contexts_are_put_right_by_an_edit", Peer::Sops311, edited),
    ]
}

fn put_right(lab: &Lab) -> Result<(), Failed> {
    let old = old_file(lab, "x")?;
    // Real sops opens it as well, which shows that it is one of its own.
    lab.work.write("old.yaml", &old)?;
    let printed = lab.run(REAL, "decrypt old.yaml")?;
    must_contain(&printed, &["bug surrounding the use of encryption context with AWS KMS"])?;
    must_contain(&printed, &[PLAIN])?;
    for program in ["sops", "kubectl-seal"] {
        for value in ["x", "y"] {
            lab.work.write("old.yaml", &old_file(lab, value)?)?;
            opens(lab, program, true)?;
        }
    }
    // What does not wrap the data key anew leaves it as it is.
    lab.run("sops", "set old.yaml [\"a\"] \"secret\"")?;
    lab.run("kubectl-seal", "set old.yaml a other")?;
    lab.run("kubectl-seal", "set old.yaml a secret")?;
    opens(lab, "kubectl-seal", true)?;
    lab.run("kubectl-seal", "rotate old.yaml")?;
    opens(lab, "kubectl-seal", false)?;
    lab.all_open("old.yaml", PLAIN)?;
    // A value that it was not is not tried.
    let other = old.replace("two: y", "two: z").replace("one: x", "one: w");
    lab.work.write("old.yaml", &other)?;
    let said = refused(&lab.command("kubectl-seal", "decrypt old.yaml").output()?)?;
    must_contain(&said, &["under this encryption context"])
}

fn edited(lab: &Lab) -> Result<(), Failed> {
    lab.work.write("old.yaml", &old_file(lab, "y")?)?;
    let mut command = lab.command("sops", "edit old.yaml");
    let edited = command.env("EDITOR", "sed -i s/secret/other/").output()?;
    if !edited.status.success() {
        return Err(String::from_utf8_lossy(&edited.stderr).into_owned().into());
    }
    lab.all_open("old.yaml", &PLAIN.replace("secret", "other"))?;
    lab.work.write("old.yaml", &old_file(lab, "y")?)?;
    lab.run("sops", "rotate -i old.yaml")?;
    lab.all_open("old.yaml", PLAIN)
}

/// Returns a file as sops 3.2.0 wrote it for a context with the values `x` and `y`: all names have one of them.
fn old_file(lab: &Lab, value: &str) -> Result<String, Failed> {
    let key = lab.key("us-east-1")?;
    let sealed =
        lab.run("sops", &format!("encrypt --kms {key} --encryption-context one:x,two:y plain.yaml"))?;
    let wrapped = sealed.lines().find_map(|line| line.trim().trim_start_matches("- ").strip_prefix("enc: "));
    let wrapped = wrapped.ok_or("there is a wrapped key")?;
    let context = json!({"one": "x", "two": "y"});
    let parameters = json!({"KeyId": key, "CiphertextBlob": wrapped, "EncryptionContext": context});
    let secret = lab.moto.call("us-east-1", "kms", "decrypt", parameters)?;
    let mixed_up = json!({"one": value, "two": value});
    let parameters = json!({"KeyId": key, "Plaintext": secret["Plaintext"], "EncryptionContext": mixed_up});
    let old = lab.moto.call("us-east-1", "kms", "encrypt", parameters)?;
    let old = old["CiphertextBlob"].as_str().ok_or("there is an answer")?;
    Ok(sealed.replace(wrapped, old).replace("version: 3.13.3", "version: 3.2.0"))
}

/// Fails unless a file is opened, with or without a word on its contexts.
fn opens(lab: &Lab, program: &str, warns: bool) -> Result<(), Failed> {
    let output = lab.command(program, "decrypt old.yaml").output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_right = output.stdout == PLAIN.as_bytes()
        && said.contains("sops before 3.3.0") == warns
        && (!warns || program == "sops" || said.contains("kubectl seal rotate old.yaml"));
    is_right.then_some(()).ok_or_else(|| said.into())
}

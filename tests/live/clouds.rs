//! Keys of Google, Azure and Huawei. Their servers are emulators (`peers/emulators`), which check what the vendors'
//! documentation demands; their clients are both of our faces, and real sops.

mod emulator;
mod failures;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::golden::same_text;
use crate::peer::{Peer, output};
use emulator::{Cloud, Emulator, Face, ours, recipients};

const PLAIN: &str = "a: b\nlist:\n    - 1\n";

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for (cloud, sops) in [
        (Cloud::Azure, Peer::Sops311),
        (Cloud::Azure, Peer::Sops313),
        (Cloud::Gcp, Peer::Sops311),
        (Cloud::Gcp, Peer::Sops313),
        // sops 3.11 does not know this kind.
        (Cloud::Huawei, Peer::Sops313),
    ] {
        tests.push(test(sops, cloud, "files_go_both_ways", files_go_both_ways));
        tests.push(test(sops, cloud, "shares_go_both_ways", shares_go_both_ways));
    }
    for cloud in Cloud::ALL {
        tests.push(test(Peer::Openssl, cloud, "nobody_is_asked_without_need", nobody_is_asked_without_need));
    }
    tests.push(test(Peer::Openssl, Cloud::Azure, "versions_are_found_and_kept", versions_are_found_and_kept));
    tests.push(test(Peer::Openssl, Cloud::Azure, "other_hosts_get_no_token", other_hosts_get_no_token));
    tests.push(test(Peer::Openssl, Cloud::Azure, "workloads_have_credentials", workloads_have_credentials));
    tests.push(test(
        Peer::Openssl,
        Cloud::Gcp,
        "all_credentials_are_taken",
        all_google_credentials_are_taken,
    ));
    tests.push(test(
        Peer::Openssl,
        Cloud::Huawei,
        "profiles_and_projects_are_found",
        profiles_and_projects_are_found,
    ));
    tests.push(test(Peer::Sops313, Cloud::Gcp, "other_endpoints_are_asked", other_endpoints_are_asked));
    tests.extend(failures::tests());
    tests
}

/// Returns a test that runs if the peer and what the emulators need are there.
fn test(
    peer: Peer,
    cloud: Cloud,
    name: &str,
    run: impl FnOnce(&Emulator, &Path) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let is_absent = [peer, Peer::Openssl, Peer::Python].iter().any(|peer| peer.path().is_none());
    let name = format!("clouds::{}::{name}", cloud.name());
    let run = move |program: PathBuf| run(&Emulator::start(cloud)?, &program);
    peer.test(name, run).with_ignored_flag(is_absent)
}

fn files_go_both_ways(emulator: &Emulator, sops: &Path) -> Result<(), Failed> {
    let (theirs, encrypted) = (emulator.file("theirs.yaml", PLAIN)?, emulator.place("encrypted.yaml"));
    let key = emulator.cloud.key("key");
    fs::write(&encrypted, output(emulator.with_key(sops, &key).arg("-e").arg(&theirs))?)?;
    for face in [Face::Kubectl, Face::Sops] {
        let printed = output(ours(emulator, face)?.arg(face.decrypt()).arg(&encrypted))?;
        same_text("what we decrypt", &printed, PLAIN.as_bytes())?;
        let encrypted = emulator.file("ours.yaml", PLAIN)?;
        let mut command = ours(emulator, face)?;
        command.env(emulator.cloud.variable(), &key).args(face.encrypt_in_place()).arg(&encrypted);
        output(&mut command)?;
        let printed = output(emulator.command(sops).arg("-d").arg(&encrypted))?;
        same_text("what sops decrypts", &printed, PLAIN.as_bytes())?;
        output(ours(emulator, face)?.args(face.rotate()).arg(&encrypted))?;
        let printed = output(emulator.command(sops).arg("-d").arg(&encrypted))?;
        same_text("what sops decrypts after a rotation", &printed, PLAIN.as_bytes())?;
    }
    Ok(())
}

/// Of three groups two are needed; one is of a key that nobody may use.
fn shares_go_both_ways(emulator: &Emulator, sops: &Path) -> Result<(), Failed> {
    let (recipient, stranger) = recipients()?;
    let rule = |name: &str| {
        format!(
            "creation_rules:\n  - shamir_threshold: 2\n    key_groups:\n      - {}\n      - age: [{recipient}]\n      - age: [{stranger}]\n",
            emulator.cloud.group(name),
        )
    };
    let plain = emulator.file("plain.yaml", PLAIN)?;
    emulator.file(".sops.yaml", &rule("key"))?;
    let ours_of = |arguments: &[&str], file: &Path| {
        output(emulator.with_identity(ours(emulator, Face::Sops)?).args(arguments).arg(file))
    };
    let theirs_of = |arguments: &[&str], file: &Path| {
        output(emulator.with_identity(emulator.command(sops)).args(arguments).arg(file))
    };
    let encrypted = emulator.place("encrypted.yaml");
    fs::write(&encrypted, theirs_of(&["-e"], &plain)?)?;
    same_text("what we decrypt", &ours_of(&["-d"], &encrypted)?, PLAIN.as_bytes())?;
    fs::write(&encrypted, ours_of(&["-e"], &plain)?)?;
    same_text("what sops decrypts", &theirs_of(&["-d"], &encrypted)?, PLAIN.as_bytes())?;
    // Without the cloud's share there are too few.
    let refused = emulator.rename_key(&encrypted, "key", "denied")?;
    let failed =
        emulator.with_identity(ours(emulator, Face::Kubectl)?).arg("decrypt").arg(refused).output()?;
    let errors = String::from_utf8_lossy(&failed.stderr);
    let is_told = errors.contains("1 of the 2 key groups that are needed")
        && errors.contains(&emulator.cloud.key("denied"));
    if failed.status.success() || !is_told { Err(format!("it says {errors}").into()) } else { Ok(()) }
}

fn nobody_is_asked_without_need(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let encrypted = emulator.encrypted("key")?;
    let before = emulator.requests()?;
    for command in ["explain", "status"] {
        let mut command_line = ours(emulator, Face::Kubectl)?;
        command_line.env(emulator.cloud.variable(), emulator.cloud.key("key"));
        // Whether a file is in good order is not the question here.
        let done = command_line.arg(command).arg(&encrypted).output()?;
        let printed = String::from_utf8_lossy(&done.stdout).into_owned();
        if !printed.contains(&emulator.cloud.key("key")) {
            return Err(format!("{command} says {printed}{}", String::from_utf8_lossy(&done.stderr)).into());
        }
    }
    same_text("the requests", emulator.requests()?.as_bytes(), before.as_bytes())?;
    // One that is free makes the question unnecessary.
    let age = emulator.file("age.yaml", PLAIN)?;
    let mut command = ours(emulator, Face::Kubectl)?;
    let rule = format!(
        "creation_rules:\n  - key_groups:\n      - {}\n        age: [{}]\n",
        emulator.cloud.group("key"),
        recipients()?.0
    );
    emulator.file(".sops.yaml", &rule)?;
    output(command.args(["encrypt", "-i"]).arg(&age))?;
    let before = emulator.requests()?;
    output(emulator.with_identity(ours(emulator, Face::Kubectl)?).arg("decrypt").arg(&age))?;
    same_text("the requests", emulator.requests()?.as_bytes(), before.as_bytes())
}

fn versions_are_found_and_kept(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let newest = "2".repeat(32);
    let encrypted = emulator.encrypted("key")?;
    let has = |version: &str| Ok::<_, Failed>(fs::read_to_string(&encrypted)?.contains(version));
    if !has(&newest)? {
        return Err(format!("the version is missing:\n{}", fs::read_to_string(&encrypted)?).into());
    }
    // A rule without a version is content with the one that the file has.
    emulator.file(
        ".sops.yaml",
        &format!("creation_rules:\n  - azure_keyvault: {}\n", emulator.cloud.key("key")),
    )?;
    let before = fs::read(&encrypted)?;
    output(ours(emulator, Face::Kubectl)?.args(["updatekeys", "-y"]).arg(&encrypted))?;
    same_text("the file", &fs::read(&encrypted)?, &before)?;
    // One with a version is not.
    let older = "1".repeat(32);
    emulator.file(
        ".sops.yaml",
        &format!("creation_rules:\n  - azure_keyvault: {}/{older}\n", emulator.cloud.key("key")),
    )?;
    output(ours(emulator, Face::Kubectl)?.args(["updatekeys", "-y"]).arg(&encrypted))?;
    if has(&newest)? || !has(&older)? {
        return Err("the older version is not in the file".into());
    }
    // As with sops, no version means the newest one there.
    emulator.file(
        ".sops.yaml",
        &format!("creation_rules:\n  - azure_keyvault: {}\n", emulator.cloud.key("key")),
    )?;
    output(ours(emulator, Face::Sops)?.args(["updatekeys", "-y"]).arg(&encrypted))?;
    if !has(&newest)? || has(&older)? {
        return Err("the newest version is not in the file".into());
    }
    let printed = output(ours(emulator, Face::Kubectl)?.arg("decrypt").arg(&encrypted))?;
    same_text("what we decrypt", &printed, PLAIN.as_bytes())
}

fn other_hosts_get_no_token(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let encrypted = emulator.encrypted("key")?;
    let text = fs::read_to_string(&encrypted)?.replace("v.vault.azure.net", "v.vault.example.com");
    let elsewhere = emulator.file("elsewhere.yaml", &text)?;
    let before = emulator.requests()?;
    let failed = ours(emulator, Face::Kubectl)?.arg("decrypt").arg(&elsewhere).output()?;
    let errors = String::from_utf8_lossy(&failed.stderr);
    if failed.status.success() || !errors.contains("v.vault.example.com is not a vault of Azure") {
        return Err(format!("it says {errors}").into());
    }
    same_text("the requests", emulator.requests()?.as_bytes(), before.as_bytes())
}

fn workloads_have_credentials(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let encrypted = emulator.encrypted("key")?;
    let mut command = ours(emulator, Face::Kubectl)?;
    command.env_remove("AZURE_CLIENT_SECRET");
    command.env("AZURE_FEDERATED_TOKEN_FILE", emulator.place("federated-token"));
    let printed = output(command.arg("decrypt").arg(&encrypted))?;
    same_text("what we decrypt", &printed, PLAIN.as_bytes())
}

fn all_google_credentials_are_taken(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let encrypted = emulator.encrypted("key")?;
    let account = emulator.place("service-account.json").display().to_string();
    let user = emulator.place("user.json").display().to_string();
    let configured = emulator.place(".config/gcloud");
    for (variable, value) in [
        ("GOOGLE_CREDENTIALS", account.clone()),
        ("GOOGLE_CREDENTIALS", fs::read_to_string(&account)?),
        ("GOOGLE_CREDENTIALS", user.clone()),
        ("GOOGLE_OAUTH_ACCESS_TOKEN", "ya29.given".to_owned()),
        ("GOOGLE_APPLICATION_CREDENTIALS", user.clone()),
        ("NOTHING", String::new()),
    ] {
        if variable == "NOTHING" {
            fs::create_dir_all(&configured)?;
            fs::copy(&user, configured.join("application_default_credentials.json"))?;
        }
        let mut command = ours(emulator, Face::Kubectl)?;
        command.env_remove("GOOGLE_CREDENTIALS").env(variable, &value);
        let printed = output(command.arg("decrypt").arg(&encrypted))?;
        same_text(variable, &printed, PLAIN.as_bytes())?;
    }
    Ok(())
}

fn other_endpoints_are_asked(emulator: &Emulator, sops: &Path) -> Result<(), Failed> {
    let endpoint = format!("http://127.0.0.1:{}", emulator.port);
    let encrypted = emulator.encrypted("key")?;
    for mut command in [emulator.command(sops), ours(emulator, Face::Sops)?] {
        command.env_remove("HTTPS_PROXY").env("SOPS_GCP_KMS_ENDPOINT", &endpoint);
        let printed = output(command.arg("-d").arg(&encrypted))?;
        same_text("what is decrypted", &printed, PLAIN.as_bytes())?;
    }
    let mut command = ours(emulator, Face::Sops)?;
    let done =
        command.env("SOPS_GCP_KMS_ENDPOINT", "http://kms.example.com").arg("-d").arg(&encrypted).output()?;
    let errors = String::from_utf8_lossy(&done.stderr);
    let is_told = errors.contains("SOPS_GCP_KMS_ENDPOINT is not an address");
    if is_told { Ok(()) } else { Err(format!("it says {errors}").into()) }
}

fn profiles_and_projects_are_found(emulator: &Emulator, _: &Path) -> Result<(), Failed> {
    let encrypted = emulator.encrypted("key")?;
    let folder = emulator.place(".huaweicloud");
    fs::create_dir_all(&folder)?;
    let endpoint = format!("https://127.0.0.1:{}", emulator.port);
    fs::write(
        folder.join("credentials"),
        format!("[basic]\nak = AKSELKIE\nsk = secret/of+selkie=\niam_endpoint = {endpoint}\n"),
    )?;
    fs::write(folder.join("regions.yaml"), format!("KMS:\n- id: tr-west-1\n  endpoint: {endpoint}\n"))?;
    let mut command = ours(emulator, Face::Kubectl)?;
    for (name, _) in emulator.cloud.variables(emulator) {
        command.env_remove(name);
    }
    let printed = output(command.arg("decrypt").arg(&encrypted))?;
    same_text("what we decrypt", &printed, PLAIN.as_bytes())?;
    let mut command = ours(emulator, Face::Kubectl)?;
    command.env("HUAWEICLOUD_SDK_SECURITY_TOKEN", "temporary.token");
    let printed = output(command.arg("decrypt").arg(&encrypted))?;
    same_text("what we decrypt with temporary credentials", &printed, PLAIN.as_bytes())?;
    let is_asked = emulator.requests()?.contains("GET 127.0.0.1/v3/projects");
    if is_asked { Ok(()) } else { Err("the project was not asked for".into()) }
}

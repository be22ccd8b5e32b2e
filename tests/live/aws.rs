//! Keys of AWS KMS, with real sops on the other side and moto in place of AWS.

mod changes;
mod credentials;
mod old;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::moto::Moto;
use crate::aws::{Workplace, must_contain, refused};
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for sops in [Peer::Sops311, Peer::Sops313] {
        tests.push(test("each_opens_what_the_other_wrote", sops, opens_each_other));
        tests.push(test("groups_of_two_regions_and_age", sops, several_groups));
    }
    tests.push(test("keys_that_do_not_fit_are_told_apart", Peer::Sops313, keys_that_do_not_fit));
    tests.extend(changes::tests());
    tests.extend(credentials::tests());
    tests.extend(old::tests());
    tests
}

/// moto, a folder to work in, and a real sops.
struct Lab {
    moto: &'static Moto,
    work: Workplace,
    sops: PathBuf,
}

/// Returns a test that needs moto and a real sops.
fn test(name: &str, sops: Peer, run: impl FnOnce(&Lab) -> Result<(), Failed> + Send + 'static) -> Trial {
    let is_absent = Peer::Moto.path().is_none() || sops.path().is_none();
    let version = if sops == Peer::Sops311 { "sops_3_11" } else { "sops_3_13" };
    let run = move || {
        let moto = Moto::shared(&Peer::Moto.path().ok_or("there is no moto")?)?;
        let work = Workplace::new(&moto.url())?;
        let identities = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sops-cli/identities.txt");
        fs::copy(identities, work.path("identities"))?;
        Command::new("chmod").arg("600").arg(work.path("identities")).status()?;
        work.write("plain.yaml", PLAIN)?;
        work.write(
            "home/credentials",
            "[other]\naws_access_key_id = OTHER\naws_secret_access_key = other-secret\n",
        )?;
        run(&Lab { moto, work, sops: sops.path().ok_or("there is no sops")? })
    };
    Trial::test(format!("live::aws::{version}::{name}"), run).with_ignored_flag(is_absent)
}

impl Lab {
    /// Makes a key and returns its ARN.
    fn key(&self, region: &str) -> Result<String, Failed> {
        let made = self.moto.call(region, "kms", "create_key", json!({}))?;
        Ok(made["KeyMetadata"]["Arn"].as_str().ok_or("a key has an ARN")?.to_owned())
    }

    /// Makes an alias of a key and returns its ARN.
    fn alias(&self, key: &str, name: &str) -> Result<String, Failed> {
        let (front, id) = key.rsplit_once(":key/").ok_or("a key has an identifier")?;
        let region = key.split(':').nth(3).ok_or("a key has a region")?;
        let parameters = json!({"AliasName": format!("alias/{name}"), "TargetKeyId": id});
        self.moto.call(region, "kms", "create_alias", parameters)?;
        Ok(format!("{front}:alias/{name}"))
    }

    /// Returns a command of one of ours, or of the real sops, with credentials of AWS.
    fn command(&self, program: &str, arguments: &str) -> Command {
        let mut command = match program {
            REAL => self.work.command(&self.sops, arguments),
            program => self.work.ours(program, arguments),
        };
        command.env("AWS_ACCESS_KEY_ID", "MAIN").env("AWS_SECRET_ACCESS_KEY", "main-secret");
        command
    }

    /// Runs a command and returns what it prints.
    fn run(&self, program: &str, arguments: &str) -> Result<String, Failed> {
        Ok(String::from_utf8(output(&mut self.command(program, arguments))?)?)
    }

    /// Fails unless all open a file, and it says that.
    fn all_open(&self, file: &str, plain: &str) -> Result<(), Failed> {
        for program in [REAL, "sops", "kubectl-seal"] {
            let printed = self.run(program, &format!("decrypt {file}"))?;
            if printed != plain {
                return Err(format!("{program} reads {file} as {printed}").into());
            }
        }
        Ok(())
    }
}

fn opens_each_other(lab: &Lab) -> Result<(), Failed> {
    let (key, far) = (lab.key("us-east-1")?, lab.key("eu-west-1")?);
    let version = lab.sops.to_string_lossy().len();
    let alias = lab.alias(&key, &format!("team/{version}"))?;
    let keys = [
        format!("--kms {key}"),
        format!("--kms {alias}"),
        format!("--kms {far},{key}"),
        format!("--kms {key} --encryption-context app:web,stage:live"),
        format!("--kms {key}+arn:aws:iam::123456789012:role/sealer"),
        format!("--kms {key} --aws-profile other"),
    ];
    for keys in keys {
        for writer in [REAL, "sops", "kubectl-seal"] {
            let sealed = lab.run(writer, &format!("encrypt {keys} plain.yaml"))?;
            lab.work.write("sealed.yaml", &sealed)?;
            lab.all_open("sealed.yaml", PLAIN).map_err(|why| {
                Failed::from(format!("{writer} {keys}: {}", why.message().unwrap_or_default()))
            })?;
        }
    }
    Ok(())
}

fn several_groups(lab: &Lab) -> Result<(), Failed> {
    let (near, far) = (lab.key("us-east-1")?, lab.key("ap-southeast-2")?);
    lab.work.write(
        ".sops.yaml",
        &format!(
            "creation_rules:\n  - shamir_threshold: 2\n    key_groups:\n      - kms:\n          - arn: {near}\n      \
             - kms:\n          - arn: {far}\n            context:\n              a: b\n      \
             - age:\n          - {RECIPIENT}\n"
        ),
    )?;
    for writer in [REAL, "sops", "kubectl-seal"] {
        let sealed = lab.run(writer, "encrypt plain.yaml")?;
        lab.work.write("sealed.yaml", &sealed)?;
        // Two regions.
        lab.all_open("sealed.yaml", PLAIN)?;
        for reader in [REAL, "sops", "kubectl-seal"] {
            // One of them, and an identity.
            lab.work.write("one.yaml", &sealed.replace("ap-southeast-2", "ap-southeast-1"))?;
            let mut command = lab.command(reader, "decrypt one.yaml");
            let printed = output(command.env("SOPS_AGE_KEY_FILE", lab.work.path("identities")))?;
            if printed != PLAIN.as_bytes() {
                return Err(format!("{reader} reads what {writer} wrote otherwise").into());
            }
            // One of them alone.
            let said = refused(&lab.command(reader, "decrypt one.yaml").output()?)?;
            must_contain(&said, &[&far.replace("ap-southeast-2", "ap-southeast-1")])?;
        }
    }
    Ok(())
}

fn keys_that_do_not_fit(lab: &Lab) -> Result<(), Failed> {
    let key = lab.key("eu-central-1")?;
    let sealed =
        lab.run("sops", &format!("encrypt --kms {key} --encryption-context stage:live plain.yaml"))?;
    let (front, _) = key.rsplit_once('/').ok_or("a key has an identifier")?;
    let missing = format!("{front}/00000000-0000-0000-0000-000000000000");
    let elsewhere = key.replace("eu-central-1", "eu-central-2");
    let cases = [
        (sealed.replace("stage: live", "stage: test"), "under this encryption context, or was changed"),
        (sealed.replace("stage: live", "step: live"), "under this encryption context, or was changed"),
        (sealed.replace(&key, &missing), "AWS KMS in eu-central-1 does not know the key"),
        (sealed.replace(&key, &elsewhere), "AWS KMS in eu-central-2 does not know the key"),
        (sealed.replace("enc: ", "enc: AAAA"), ""),
        (sealed.replace("enc: ", "enc: \"*\" #"), "it is not base64"),
    ];
    for (changed, why) in cases {
        if changed == sealed {
            return Err(format!("nothing is changed for {why}").into());
        }
        lab.work.write("changed.yaml", &changed)?;
        for program in ["sops", "kubectl-seal"] {
            for arguments in ["decrypt changed.yaml", "rotate --in-place changed.yaml"] {
                let arguments =
                    if program == "sops" { arguments } else { &arguments.replace(" --in-place", "") };
                let said = refused(&lab.command(program, arguments).output()?)?;
                must_contain(&said, &["arn:aws:kms:eu-central-", why])?;
            }
        }
        if lab.work.read("changed.yaml")? != changed {
            return Err("it was written".into());
        }
    }
    Ok(())
}

const PLAIN: &str = "a: secret\nb:\n    - 1\n    - true\n";

/// The real one.
const REAL: &str = "real sops";

/// The first of `testdata/sops-cli/recipients.txt`.
const RECIPIENT: &str = "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";

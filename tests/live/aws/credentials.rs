//! On whose behalf KMS is asked.

use libtest_mimic::{Failed, Trial};

use super::{Lab, PLAIN, REAL, test};
use crate::aws::{Request, Server, must_contain, refused};
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    vec![
        test("a_role_is_assumed_once", Peer::Sops313, role),
        test("a_role_that_nobody_gives_is_named", Peer::Sops313, no_role),
        test("the_profile_of_a_key_goes_before_the_environment", Peer::Sops313, profile),
        test("a_profile_assumes_a_role", Peer::Sops313, role_of_profile),
        test("a_profile_names_the_server", Peer::Sops313, server_of_profile),
    ]
}

fn role(lab: &Lab) -> Result<(), Failed> {
    let key = format!("{}+{ROLE}", lab.key("us-east-1")?);
    let sealed = lab.run(REAL, &format!("encrypt --kms {key} plain.yaml"))?;
    let names: Vec<_> = (0..12).map(|at| format!("{at}.yaml")).collect();
    for name in &names {
        // Other bytes, so that each is asked for.
        let sealed = if name == "0.yaml" {
            sealed.clone()
        } else {
            lab.run("sops", &format!("encrypt --kms {key} plain.yaml"))?
        };
        lab.work.write(name, &sealed)?;
    }
    let asked = |program: &str, arguments: &str| -> Result<Vec<Request>, Failed> {
        let server = Server::before(&lab.moto.url())?;
        output(lab.command(program, arguments).env("AWS_ENDPOINT_URL", server.url()))?;
        Ok(server.requests())
    };
    let real = asked(REAL, "decrypt 0.yaml")?;
    let ours = asked("kubectl-seal", &format!("decrypt --in-place {}", names.join(" ")))?;
    let assumed = |requests: &[Request]| -> Vec<_> {
        let asked = requests.iter().filter(|request| request.body.contains("Action=AssumeRole"));
        asked.map(|request| parameters(&request.body)).collect()
    };
    let (real, assumed) = (assumed(&real), assumed(&ours));
    // The same role, and the same name of the session.
    if real.len() != 1 || assumed != real {
        return Err(format!("sops: {real:?}\nours: {assumed:?}").into());
    }
    let decrypts: Vec<_> =
        ours.iter().filter(|request| request.head.contains("TrentService.Decrypt")).collect();
    let is_of_role = |request: &&Request| !request.head.contains("Credential=MAIN/");
    if decrypts.len() != names.len() || !decrypts.iter().all(is_of_role) {
        return Err(format!("{decrypts:?}").into());
    }
    let is_open = lab.work.read("11.yaml")? == PLAIN;
    is_open.then_some(()).ok_or_else(|| "the files are not decrypted".into())
}

/// Returns what tells one request for a role from another.
fn parameters(body: &str) -> Vec<String> {
    let is_telling = |pair: &&str| pair.starts_with("RoleArn=") || pair.starts_with("RoleSessionName=");
    let mut pairs: Vec<_> = body.split('&').filter(is_telling).map(str::to_owned).collect();
    pairs.sort();
    pairs
}

fn no_role(lab: &Lab) -> Result<(), Failed> {
    let key = format!("{}+{ROLE}", lab.key("us-east-1")?);
    let mut command = lab.command("kubectl-seal", &format!("encrypt --kms {key} plain.yaml"));
    let said = refused(&command.env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1").output()?)?;
    must_contain(&said, &[&key, &format!("the role {ROLE} cannot be assumed"), "allow sts:AssumeRole on"])
}

fn profile(lab: &Lab) -> Result<(), Failed> {
    let key = lab.key("us-east-1")?;
    let sealed = lab.run(REAL, &format!("encrypt --kms {key} --aws-profile other plain.yaml"))?;
    lab.work.write("a.yaml", &sealed)?;
    for program in [REAL, "sops", "kubectl-seal"] {
        let server = Server::before(&lab.moto.url())?;
        output(lab.command(program, "decrypt a.yaml").env("AWS_ENDPOINT_URL", server.url()))?;
        let requests = server.requests();
        if requests.is_empty() || !requests.iter().all(|request| request.head.contains("Credential=OTHER/")) {
            return Err(format!("{program}: {requests:?}").into());
        }
    }
    Ok(())
}

fn role_of_profile(lab: &Lab) -> Result<(), Failed> {
    let key = lab.key("us-east-1")?;
    let config = format!("[profile deploy]\nrole_arn = {ROLE}\nsource_profile = other\n");
    lab.work.write("home/config", &config)?;
    let sealed = lab.run("kubectl-seal", &format!("encrypt --kms {key} plain.yaml"))?;
    lab.work.write("a.yaml", &sealed)?;
    let server = Server::before(&lab.moto.url())?;
    let mut command = lab.command("kubectl-seal", "decrypt a.yaml");
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env("AWS_PROFILE", "deploy");
    command.env("AWS_ENDPOINT_URL", server.url()).env("AWS_ENDPOINT_URL_STS", server.url());
    let printed = output(&mut command)?;
    let requests = server.requests();
    let is_right = requests.len() == 2
        && requests[0].body.contains("Action=AssumeRole")
        && requests[0].head.contains("Credential=OTHER/")
        && printed == PLAIN.as_bytes();
    is_right.then_some(()).ok_or_else(|| format!("{requests:?}").into())
}

fn server_of_profile(lab: &Lab) -> Result<(), Failed> {
    let key = lab.key("us-east-1")?;
    lab.work.write("a.yaml", &lab.run(REAL, &format!("encrypt --kms {key} plain.yaml"))?)?;
    let server = Server::before(&lab.moto.url())?;
    let url = server.url();
    let config =
        format!("[profile local]\nservices = near\n[services near]\nkms =\n  endpoint_url = {url}\n");
    lab.work.write("home/config", &config)?;
    for program in [REAL, "sops", "kubectl-seal"] {
        let mut command = lab.command(program, "decrypt a.yaml");
        output(command.env_remove("AWS_ENDPOINT_URL").env("AWS_PROFILE", "local"))?;
    }
    let count = server.requests().len();
    (count == 3).then_some(()).ok_or_else(|| format!("{count} requests").into())
}

const ROLE: &str = "arn:aws:iam::123456789012:role/sealer";

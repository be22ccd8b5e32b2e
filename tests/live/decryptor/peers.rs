//! Our controller among what was made for that of Sealed Secrets: kubeseal, that controller itself, its definition and
//! its rights.

use std::env;
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::keys::{OWN, SMALL, keys_of};
use super::lab::{CONTROLLER, Lab, wait};
use super::process::Process;
use super::space::{Space, condition, plain};
use super::{is_so, same, test};
use crate::live::controller::{IN_A_POD, PROGRAM};
use crate::peer::{Peer, output, piped};

pub fn tests() -> Vec<Trial> {
    vec![
        test("peers::kubeseal_finds_all_that_it_asks_for", &[Peer::Kubeseal], kubeseal),
        test("peers::kubectl_seal_finds_all_that_it_asks_for", &[], kubectl_seal),
        test("peers::both_controllers_take_turns", &[PROGRAM], turns),
    ]
}

/// Makes the Service by which the controller is found, and returns a configuration for somebody without any rights.
fn reach(lab: &Lab, account: &str) -> Result<PathBuf, Failed> {
    let port = lab.common()?.port;
    {
        let _turn = lab.turn();
        lab.cluster.make_service(("kube-system", CONTROLLER), None, (&lab.cluster.inside, port))?;
    }
    lab.cluster.account("default", account, &[])
}

fn kubeseal(lab: &Lab) -> Result<(), Failed> {
    let config = reach(lab, "kubeseal")?;
    let space = lab.space("peers-kubeseal")?;
    let program = Peer::Kubeseal.path().ok_or("there is no kubeseal")?;
    let run = |arguments: &[&str], input: &str| -> Result<String, Failed> {
        let mut command = Command::new(&program);
        command.env_clear().env("KUBECONFIG", &config).args(arguments);
        Ok(String::from_utf8(piped(&mut command, input.as_bytes())?)?)
    };
    let certificate = lab.wait("the Service", || Ok(run(&["--fetch-cert"], "").ok()))?;
    same("the certificate", certificate, lab.common()?.certificate()?)?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": space.name, "labels": {"b": "c"}},
        "stringData": {"password": "hunter2"}});
    let sealed = run(&[], &secret.to_string())?;
    run(&["--validate"], &sealed)?;
    let mut sealed: Json = serde_json::from_str(&sealed)?;
    let mut moved = sealed.clone();
    moved["metadata"]["name"] = "b".into();
    let refused = refusal(run(&["--validate"], &moved.to_string()));
    is_so(
        "another name is refused",
        refused.contains("unable to decrypt sealed secret: b"),
        &json!(refused),
    )?;
    sealed["spec"]["template"]["data"] = json!({"url": "u:{{ .password }}"});
    space.create(&sealed)?;
    space.ready("a")?;
    space.has("a", &[("password", "hunter2"), ("url", "u:hunter2")])?;
    // What comes back is sealed anew, with all else as it was.
    let again: Json = serde_json::from_str(&run(&["--re-encrypt"], &sealed.to_string())?)?;
    is_so("it is another value", again["spec"]["encryptedData"] != sealed["spec"]["encryptedData"], &again)?;
    same("the template", &again["spec"]["template"]["data"], &sealed["spec"]["template"]["data"])?;
    same("the labels", &again["spec"]["template"]["metadata"]["labels"], &json!({"b": "c"}))?;
    space.change(&again)?;
    space.ready("a")?;
    let refused = refusal(run(&["--re-encrypt"], &moved.to_string()));
    is_so(
        "what does not open is not sealed anew",
        refused.contains("cannot re-encrypt secret: an error on the server"),
        &json!(refused),
    )
}

fn kubectl_seal(lab: &Lab) -> Result<(), Failed> {
    let config = reach(lab, "kubectl-seal")?;
    let space = lab.space("peers-plugin")?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("kubectl-seal");
    symlink(env::current_exe()?, &program)?;
    let run = |arguments: &[&str]| -> Result<String, Failed> {
        let mut command = Command::new(&program);
        command.env_clear().env("KUBECONFIG", &config).env("HOME", folder.path()).current_dir(folder.path());
        Ok(String::from_utf8(output(command.args(arguments))?)?)
    };
    let certificate = lab.wait("the Service", || Ok(run(&["cert"]).ok()))?;
    same("the certificate", certificate, lab.common()?.certificate()?)?;
    let file = folder.path().join("a.yaml");
    let sealed = space.seal("a", json!({"stringData": {"password": "hunter2"}}))?;
    fs::write(&file, sealed.to_string())?;
    run(&["validate", "--ask-controller", "a.yaml"])?;
    run(&["reseal", "--by-controller", "a.yaml"])?;
    let again: Json = serde_json::from_slice(&fs::read(&file)?)?;
    is_so("it is another value", again["spec"]["encryptedData"] != sealed["spec"]["encryptedData"], &again)?;
    space.create(&again)?;
    space.ready("a")?;
    space.has("a", &[("password", "hunter2")])?;
    fs::write(&file, sealed.to_string().replace(r#""name":"a""#, r#""name":"b""#))?;
    let refused = refusal(run(&["validate", "--ask-controller", "a.yaml"]));
    is_so(
        "another name is refused",
        refused.contains("1 finding in 1 SealedSecret of 1 file"),
        &json!(refused),
    )
}

/// Returns what a program says that refuses; nothing, if it does not.
fn refusal(result: Result<String, Failed>) -> String {
    result.err().and_then(|failed| failed.message().map(str::to_owned)).unwrap_or_default()
}

/// The real controller, in a namespace alone, until this goes.
pub struct Real(Child);

impl Real {
    /// Starts one with the account of ours, which serves at a port.
    pub fn start(lab: &Lab, namespace: &str, port: u16) -> Result<Self, Failed> {
        let account = lab.cluster.folder.join(format!("{namespace}-account-{port}"));
        fs::create_dir(&account)?;
        fs::write(account.join("namespace"), namespace)?;
        fs::write(account.join("token"), lab.cluster.token(namespace, CONTROLLER)?)?;
        fs::copy(lab.cluster.folder.join("ca.crt"), account.join("ca.crt"))?;
        let log = lab.cluster.folder.join(format!("{namespace}-real-{port}.log"));
        let mut command = lab.cluster.command(Path::new("/bin/sh"))?;
        command
            .args(["-c", IN_A_POD, "sh"])
            .arg(&account)
            .arg(PROGRAM.path().ok_or("there is no controller")?);
        command.args(OWN).arg(SMALL);
        let inside = &lab.cluster.inside;
        command.arg(format!("--listen-addr={inside}:{port}"));
        command.arg(format!("--listen-metrics-addr={inside}:{}", port + 1));
        command.env("KUBERNETES_SERVICE_HOST", inside).env("KUBERNETES_SERVICE_PORT", "6443");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let mut real = Self(
            command.stdout(File::create(&log)?).stderr(File::create(log.with_extension("err"))?).spawn()?,
        );
        wait("the real controller", || {
            if let Some(status) = real.0.try_wait()? {
                return Err(format!(
                    "it ended with {status}: {}",
                    fs::read_to_string(log.with_extension("err"))?
                )
                .into());
            }
            Ok(TcpStream::connect((inside.as_str(), port)).ok())
        })?;
        Ok(real)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Objects that say what there is to say.
pub fn objects(space: &Space<'_>) -> Result<Vec<Json>, Failed> {
    let wide = "sealedsecrets.bitnami.com/namespace-wide";
    let skip = json!({"sealedsecrets.bitnami.com/skip-set-owner-references": "true", "sealedsecrets.bitnami.com/managed": "true"});
    let mut objects = vec![
        space.seal("plain", json!({"stringData": {"a": "1", "b": ""}}))?,
        space.seal("wide", json!({"metadata": {"annotations": {wide: "true", "note": "x"}, "labels": {"l": "m"}}, "type": "kubernetes.io/basic-auth",
            "stringData": {"username": "u", "password": "p"}}))?,
        space.seal("fixed", json!({"immutable": true, "stringData": {"a": "1"}}))?,
        space.seal("free", json!({"metadata": {"annotations": skip}, "stringData": {"a": "1"}}))?,
    ];
    let mut templated =
        space.seal("templated", json!({"stringData": {"a": "1", "same": "item", "gone": "x"}}))?;
    templated["spec"]["template"]["data"] = json!({"url": "{{ .a | b64enc }}/{{ .same }}/{{ .gone }}", "same": "template", "gone": null, "none": "{{ .nothing }}"});
    objects.push(templated);
    let mut renamed = space.seal("renamed", json!({"stringData": {"a": "1"}}))?;
    renamed["metadata"]["name"] = "broken".into();
    objects.push(renamed);
    for object in &mut objects {
        object["metadata"]["labels"] = json!({"lab": "own"});
    }
    Ok(objects)
}

/// The names of those of them that can be opened; `broken` cannot.
pub const NAMES: [&str; 5] = ["plain", "wide", "fixed", "free", "templated"];

/// Waits until a condition of upstream's is there for all objects.
pub fn synced(space: &Space<'_>) -> Result<(), Failed> {
    for (name, status) in NAMES.map(|name| (name, "True")).into_iter().chain([("broken", "False")]) {
        let mut last = Json::Null;
        let seen = wait(name, || {
            let object = space.sealed(name)?;
            last = object["status"].clone();
            let is_so = condition(&object, "Synced")["status"] == status
                && object["status"]["observedGeneration"] == object["metadata"]["generation"];
            Ok(is_so.then_some(()))
        });
        seen.map_err(|failed| {
            format!("{}: {status} is right, but it is {last}", failed.message().unwrap_or_default())
        })?;
    }
    Ok(())
}

/// Returns their Secrets.
pub fn secrets(space: &Space<'_>) -> Result<Vec<Json>, Failed> {
    NAMES.iter().map(|name| space.secret(name)).collect()
}

fn turns(lab: &Lab) -> Result<(), Failed> {
    let namespace = "peers-turns";
    let account = lab.home(namespace)?;
    let ours = || Process::start(lab, namespace, "one", &account, &[&OWN[..], &[SMALL]].concat());
    let real = Real::start(lab, namespace, 6000)?;
    let keys = keys_of(lab, namespace)?;
    same("how many keys", keys.len(), 1)?;
    let (_, certificate) = super::process::ask(&lab.cluster.inside, 6000, "/v1/cert.pem")?;
    let space = Space::new(lab, namespace, certificate.clone());
    for object in objects(&space)? {
        space.create(&object)?;
    }
    synced(&space)?;
    let made = secrets(&space)?;
    drop(real);
    // Ours finds all as it should be, and says so.
    let controller = ours()?;
    same("the certificate", controller.certificate()?, certificate)?;
    for name in NAMES {
        space.ready(name)?;
    }
    space.failed("broken", "NoKey")?;
    same("what theirs made", secrets(&space)?, made.clone())?;
    same("how many keys", keys_of(lab, namespace)?.len(), 1)?;
    let mut changed = space.seal("plain", json!({"stringData": {"a": "2"}}))?;
    changed["metadata"]["labels"] = json!({"lab": "own"});
    space.change(&changed)?;
    space.has("plain", &[("a", "2")])?;
    space.ready("plain")?;
    let made = secrets(&space)?;
    let statuses = |space: &Space<'_>| -> Result<Vec<Json>, Failed> {
        NAMES.iter().map(|name| Ok(space.sealed(name)?["status"].clone())).collect()
    };
    let told = statuses(&space)?;
    controller.end()?;
    // And theirs finds all as ours left it.
    let real = Real::start(lab, namespace, 6002)?;
    wait("the real controller has seen all", || {
        let (_, metrics) = super::process::ask(&lab.cluster.inside, 6003, "/metrics")?;
        let done = metrics
            .lines()
            .find_map(|line| line.strip_prefix("sealed_secrets_controller_unseal_requests_total "));
        Ok(done.and_then(|count| count.parse::<f64>().ok()).filter(|count| *count >= 6.0))
    })?;
    synced(&space)?;
    let contents = |secrets: &[Json]| secrets.iter().cloned().map(plain).collect::<Vec<_>>();
    same("what ours made", contents(&secrets(&space)?), contents(&made))?;
    same("what ours told", statuses(&space)?, told)?;
    let mut changed = space.seal("plain", json!({"stringData": {"a": "3", "b": "4"}}))?;
    changed["metadata"]["labels"] = json!({"lab": "own"});
    space.change(&changed)?;
    space.has("plain", &[("a", "3"), ("b", "4")])?;
    synced(&space)?;
    drop(real);
    let controller = ours()?;
    for name in NAMES {
        space.ready(name)?;
    }
    space.failed("broken", "NoKey")?;
    space.has("plain", &[("a", "3"), ("b", "4")])?;
    same("how many keys", keys_of(lab, namespace)?.len(), 1)?;
    controller.end()
}

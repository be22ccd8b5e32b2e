//! The program with the account and the roles that `deploy/` gives it, and with nothing else.
//!
//! It sees to one namespace, as the other tests have objects of their own, and a controller.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use selkie::manifest::read_objects;
use selkie::sealed::{SealedSecret, SealingCert, Secret};
use serde_json::{Value as Json, json};

use super::super::cluster::{self, Cluster};
use super::manifests::{build, kustomize};
use super::said;
use crate::envelope::rng;
use crate::peer::output;

pub fn tests() -> Vec<Trial> {
    vec![cluster::test("deploy::roles_are_enough_for_the_controller", &[], roles_are_enough)]
}

fn roles_are_enough(cluster: &Cluster) -> Result<(), Failed> {
    cluster.make_namespace(NAMESPACE)?;
    // Rules for the whole cluster have names that the other controller has, too.
    let text = format!("namePrefix: {NAMESPACE}-\nresources: [DEPLOY]\ncomponents: [DEPLOY/namespaced]");
    let built = build(cluster, &kustomize(NAMESPACE, &text, &[])?)?;
    cluster.apply(&built)?;
    let established =
        ["wait", "--for=condition=Established", "crd/sealedsecrets.bitnami.com", "--timeout=60s"];
    output(&mut cluster.kubectl(established)?)?;
    let mut controller = Controller::start(cluster, &built)?;
    let result = works(cluster);
    let log = controller.end()?;
    result.map_err(|failed| format!("{}\n{log}", failed.message().unwrap_or_default()))?;
    // What is not allowed is told, whatever comes of it.
    if let Some(line) = log.lines().find(|line| line.to_lowercase().contains("forbidden")) {
        return Err(format!("something is not allowed: {line}").into());
    }
    let lease = get(cluster, "lease", "sealed-secrets-controller")?;
    match lease["spec"]["holderIdentity"].as_str() {
        None | Some("") => Ok(()),
        Some(holder) => Err(format!("the Lease is that of {holder} still").into()),
    }
}

/// A key is made, an object is unsealed, what is done to its Secret is undone, and all of it is told.
fn works(cluster: &Cluster) -> Result<(), Failed> {
    let certificate = wait("a sealing key", || {
        let label = "--selector=sealedsecrets.bitnami.com/sealed-secrets-key=active";
        let list = ["get", "secrets", "--namespace", NAMESPACE, label, "--output=json"];
        let list: Json = serde_json::from_slice(&output(&mut cluster.kubectl(list)?)?)?;
        Ok(list["items"][0]["data"]["tls.crt"].as_str().and_then(|text| STANDARD.decode(text).ok()))
    })?;
    let secret = Secret::from_json(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": NAMESPACE, "name": "one"},
        "stringData": {"password": "of the sea"},
    }))?;
    let mut sealed = SealedSecret::seal(&secret, &SealingCert::parse(&certificate)?, &mut rng(7))?.to_json();
    cluster.apply(sealed.to_string())?;
    let value = STANDARD.encode("of the sea");
    let is_right = || Ok((get(cluster, "secret", "one")?["data"]["password"] == *value).then_some(()));
    wait("the Secret", is_right)?;
    wait("the status", || {
        let status = get(cluster, "sealedsecret", "one")?["status"].clone();
        let is_true = |kind| {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            conditions.clone().any(|condition| condition["type"] == kind && condition["status"] == "True")
        };
        Ok((is_true("Ready") && status["observedGeneration"] == 1).then_some(()))
    })?;
    wait("the event", || {
        let list = ["get", "events", "--namespace", NAMESPACE, "--output=json"];
        let list = String::from_utf8(output(&mut cluster.kubectl(list)?)?)?;
        Ok(list.contains("\"Unsealed\"").then_some(()))
    })?;
    let patch =
        ["patch", "secret", "one", "--namespace", NAMESPACE, "--patch", r#"{"data":{"password":"eA=="}}"#];
    output(&mut cluster.kubectl(patch)?)?;
    wait("the Secret, healed", is_right)?;
    output(&mut cluster.kubectl(["delete", "secret", "one", "--namespace", NAMESPACE])?)?;
    wait("the Secret, made again", is_right)?;
    sealed["spec"]["template"]["metadata"]["labels"] = json!({"team": "sea"});
    cluster.apply(sealed.to_string())?;
    wait("a label", || {
        Ok((get(cluster, "secret", "one")?["metadata"]["labels"]["team"] == "sea").then_some(()))
    })
}

/// Returns an object; null if there is none.
fn get(cluster: &Cluster, kind: &str, name: &str) -> Result<Json, Failed> {
    let said = said(&mut cluster.kubectl(["get", kind, name, "--namespace", NAMESPACE, "--output=json"])?)?;
    if said.is_good { Ok(serde_json::from_str(&said.output)?) } else { Ok(Json::Null) }
}

/// Waits until there is something.
fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, Failed>) -> Result<T, Failed> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(format!("{what} does not come").into());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// A program that runs, with what the Deployment says.
struct Controller {
    child: Child,
    log: PathBuf,
}

impl Controller {
    fn start(cluster: &Cluster, built: &str) -> Result<Self, Failed> {
        let objects = read_objects(built.as_bytes()).map_err(|error| error.to_string())?;
        let deployment =
            objects.iter().find(|object| object["kind"] == "Deployment").ok_or("there is none")?;
        let pod = &deployment["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().ok_or("it has an account")?;
        let arguments =
            pod["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let config = cluster.folder.join("deploy-run.kubeconfig");
        fs::write(&config, kubeconfig(cluster, &cluster.token(NAMESPACE, account)?).to_string())?;
        let log = cluster.folder.join("deploy-run.log");
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_selkie-decryptor")));
        command.env_clear().env("POD_NAMESPACE", NAMESPACE).env("POD_NAME", "deploy-run-0");
        command.arg("controller").args(arguments).arg("--kubeconfig").arg(&config);
        // Any port, and a key that is made quickly.
        command.args(["--listen-addr=127.0.0.1:0", "--listen-metrics-addr=127.0.0.1:0", "--key-size=2048"]);
        let output = File::create(&log)?;
        let child = command.stdout(output.try_clone()?).stderr(output).spawn()?;
        Ok(Self { child, log })
    }

    /// Ends it as a cluster does, and returns what it logged.
    fn end(&mut self) -> Result<String, Failed> {
        let id = self.child.id().to_string();
        output(Command::new("kill").args(["-TERM", &id]))?;
        let status = self.child.wait()?;
        let log = fs::read_to_string(&self.log)?;
        if status.success() { Ok(log) } else { Err(format!("it ended with {status}: {log}").into()) }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kubeconfig(cluster: &Cluster, token: &str) -> Json {
    let server = format!("https://{}:6443", cluster.inside);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": cluster.folder.join("ca.crt")}}],
        "users": [{"name": "controller", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "controller"}}],
    })
}

const NAMESPACE: &str = "deploy-run";

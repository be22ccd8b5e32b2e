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
use crate::deploy;
use crate::envelope::rng;
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    vec![
        cluster::test("deploy::roles_are_enough_for_the_controller", &[], of_manifests),
        cluster::test("deploy::roles_are_enough_for_replicas_that_share", &[Peer::Helm4], of_chart),
    ]
}

fn of_manifests(cluster: &Cluster) -> Result<(), Failed> {
    let namespace = "deploy-run";
    // Rules for the whole cluster have names that the other controller has, too.
    let text = format!("namePrefix: {namespace}-\nresources: [DEPLOY]\ncomponents: [DEPLOY/namespaced]");
    let built = build(cluster, &kustomize(namespace, &text, &[])?)?;
    let run = Run { cluster, namespace };
    run.to_its_end(&built, "deploy-run-0")?;
    run.has_given_back("sealed-secrets-controller")
}

fn of_chart(cluster: &Cluster) -> Result<(), Failed> {
    let namespace = "deploy-shared";
    let mut template = Command::new(Peer::Helm4.path().ok_or("there is no Helm")?);
    template.env_clear().env("HOME", "/nonexistent").args(["template", "one", "--namespace", namespace]);
    let values = "replicas.mode=sharded,rbac.namespacedRoles=true,fullnameOverride=shared,sops.enabled=true";
    template.arg(deploy::folder("chart/selkie")).args(["--set", values]);
    let built = String::from_utf8(output(&mut template)?)?;
    let run = Run { cluster, namespace };
    run.to_its_end(&built, "shared-0")?;
    run.has_given_back("shared")?;
    run.has_given_back("shared-shared-0")
}

/// A controller that sees to the namespace that it is in.
struct Run<'a> {
    cluster: &'a Cluster,
    namespace: &'static str,
}

impl Run<'_> {
    /// Applies manifests, runs the program of their Deployment, and ends it again.
    fn to_its_end(&self, built: &str, name: &str) -> Result<(), Failed> {
        self.cluster.make_namespace(self.namespace)?;
        self.cluster.apply(built)?;
        let established =
            ["wait", "--for=condition=Established", "crd/sealedsecrets.bitnami.com", "--timeout=60s"];
        output(&mut self.cluster.kubectl(established)?)?;
        let mut controller = Controller::start(self, built, name)?;
        let result = self.works(&controller);
        let log = controller.end()?;
        result.map_err(|failed| format!("{}\n{log}", failed.message().unwrap_or_default()))?;
        if !log.contains("level=INFO") {
            return Err(format!("it does not tell what it does: {log}").into());
        }
        // What is not allowed is told, whatever comes of it. Other trials change the definitions meanwhile.
        let is_amiss = |line: &&str| {
            ["level=ERROR", "level=WARN"].iter().any(|level| line.contains(level))
                && !line.contains("storage is (re)initializing")
        };
        match log.lines().find(is_amiss) {
            Some(line) => Err(format!("something is amiss: {line}").into()),
            None => Ok(()),
        }
    }

    /// A key is made, an object is unsealed, what is done to its Secret is undone, and all of it is told.
    fn works(&self, controller: &Controller) -> Result<(), Failed> {
        let Self { cluster, namespace } = *self;
        let certificate = wait("a sealing key", || {
            let label = "--selector=sealedsecrets.bitnami.com/sealed-secrets-key=active";
            let list = ["get", "secrets", "--namespace", namespace, label, "--output=json"];
            let list: Json = serde_json::from_slice(&output(&mut cluster.kubectl(list)?)?)?;
            Ok(list["items"][0]["data"]["tls.crt"].as_str().and_then(|text| STANDARD.decode(text).ok()))
        })?;
        // It is there a moment before the program has it.
        wait("the key, in use", || {
            Ok(fs::read_to_string(&controller.log)?.contains("registered private key").then_some(()))
        })?;
        let secret = Secret::from_json(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": "one"},
            "stringData": {"password": "of the sea"},
        }))?;
        let mut sealed =
            SealedSecret::seal(&secret, &SealingCert::parse(&certificate)?, &mut rng(7))?.to_json();
        cluster.apply(sealed.to_string())?;
        let value = STANDARD.encode("of the sea");
        let is_right = || Ok((self.get("secret", "one")?["data"]["password"] == *value).then_some(()));
        wait("the Secret", is_right)?;
        wait("the status", || {
            let status = self.get("sealedsecret", "one")?["status"].clone();
            let is_true = |kind| {
                let conditions = status["conditions"].as_array().into_iter().flatten();
                conditions.clone().any(|condition| condition["type"] == kind && condition["status"] == "True")
            };
            Ok((is_true("Ready") && status["observedGeneration"] == 1).then_some(()))
        })?;
        wait("the event", || {
            let list = ["get", "events", "--namespace", namespace, "--output=json"];
            let list = String::from_utf8(output(&mut cluster.kubectl(list)?)?)?;
            Ok(list.contains("\"Unsealed\"").then_some(()))
        })?;
        let mut patch = cluster.kubectl(["patch", "secret", "one", "--namespace", namespace])?;
        output(patch.args(["--patch", r#"{"data":{"password":"eA=="}}"#]))?;
        wait("the Secret, healed", is_right)?;
        output(&mut cluster.kubectl(["delete", "secret", "one", "--namespace", namespace])?)?;
        wait("the Secret, made again", is_right)?;
        sealed["spec"]["template"]["metadata"]["labels"] = json!({"team": "sea"});
        cluster.apply(sealed.to_string())?;
        wait("a label", || {
            Ok((self.get("secret", "one")?["metadata"]["labels"]["team"] == "sea").then_some(()))
        })
    }

    /// Fails unless a Lease is nobody's, so that another replica need not wait for its end.
    fn has_given_back(&self, name: &str) -> Result<(), Failed> {
        let lease = self.get("lease", name)?;
        match lease["spec"]["holderIdentity"].as_str() {
            Some("") => Ok(()),
            None if lease["spec"].is_object() => Ok(()),
            _ => Err(format!("the Lease {name} is {lease}").into()),
        }
    }

    /// Returns an object; null if there is none.
    fn get(&self, kind: &str, name: &str) -> Result<Json, Failed> {
        let said = said(&mut self.cluster.kubectl([
            "get",
            kind,
            name,
            "--namespace",
            self.namespace,
            "--output=json",
        ])?)?;
        if said.is_good { Ok(serde_json::from_str(&said.output)?) } else { Ok(Json::Null) }
    }
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
    fn start(run: &Run<'_>, built: &str, name: &str) -> Result<Self, Failed> {
        let objects = read_objects(built.as_bytes()).map_err(|error| error.to_string())?;
        let deployment = objects.iter().find(|object| object["spec"]["template"]["spec"].is_object());
        let deployment = deployment.ok_or("there is none")?;
        let pod = &deployment["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().ok_or("it has an account")?;
        let arguments =
            pod["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let Run { cluster, namespace } = *run;
        let config = cluster.folder.join(format!("{name}.kubeconfig"));
        fs::write(&config, kubeconfig(cluster, &cluster.token(namespace, account)?).to_string())?;
        let log = cluster.folder.join(format!("{name}.log"));
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_selkie-decryptor")));
        command.env_clear().env("POD_NAMESPACE", namespace).env("POD_NAME", name);
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

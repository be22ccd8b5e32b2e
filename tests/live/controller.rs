//! The real controller of Sealed Secrets, in the cluster of the live tests.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::cluster::Cluster;
use crate::peer::Peer;

/// Where it is unless one says otherwise.
pub const NAMESPACE: &str = "kube-system";

/// What it is called unless one says otherwise.
pub const NAME: &str = "sealed-secrets-controller";

/// The program.
pub const PROGRAM: Peer = Peer::SealedSecretsController;

/// What starting it takes, beside a cluster.
pub const NEEDED: [Peer; 2] = [PROGRAM, Peer::SealedSecretsCrd];

/// Sees to it that the controller runs, the same one for all tests, and can be reached by its Service.
pub fn start(cluster: &Cluster) -> Result<(), Failed> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    let start = || start_in(cluster).map_err(|failed| failed.message().unwrap_or_default().to_owned());
    STARTED.get_or_init(start).clone().map_err(|message| format!("there is no controller: {message}").into())
}

/// Starts it in a cluster that nobody else has, where its Service reaches it. There is a Deployment as well, of which
/// nothing but the name is true.
pub fn start_in(cluster: &Cluster) -> Result<(), Failed> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/sealed-secrets/rbac.yaml");
    cluster.apply(fs::read(Peer::SealedSecretsCrd.path().ok_or("there is no CRD")?)?)?;
    cluster.apply(fs::read(manifests)?)?;
    cluster.make_service((NAMESPACE, NAME), None, (&cluster.inside, PORT))?;
    let account = cluster.folder.join("controller");
    fs::create_dir(&account)?;
    fs::write(account.join("namespace"), NAMESPACE)?;
    fs::write(account.join("token"), cluster.token(NAMESPACE, NAME)?)?;
    fs::copy(cluster.folder.join("ca.crt"), account.join("ca.crt"))?;
    let labels = json!({"name": NAME});
    let pod =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": NAME, "image": "none"}]}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": NAMESPACE, "name": NAME},
        "spec": {"selector": {"matchLabels": labels}, "template": pod},
    });
    cluster.apply(deployment.to_string())?;
    run(cluster)
}

/// Ends it, and starts it again: it reads its keys when it starts.
pub fn restart_in(cluster: &Cluster) -> Result<(), Failed> {
    let pid = Pid::from_raw(cluster.pid_of("controller")?).ok_or("it has a number")?;
    kill_process(pid, Signal::KILL)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect((cluster.inside.as_str(), PORT)).is_ok() {
        if Instant::now() > deadline {
            return Err("the controller does not end".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    run(cluster)
}

fn run(cluster: &Cluster) -> Result<(), Failed> {
    let account = cluster.folder.join("controller");
    let log = cluster.folder.join("controller.log");
    let mut command = cluster.command(Path::new("/bin/sh"))?;
    command.args(["-c", IN_A_POD, "sh"]).arg(&account);
    command.arg(Peer::SealedSecretsController.path().ok_or("there is no controller")?);
    // As fast as it can, and as many requests as the tests make.
    command.args(["--kubeclient-qps=-1", "--rate-limit=1000", "--rate-limit-burst=1000"]);
    command.env("KUBERNETES_SERVICE_HOST", &cluster.inside).env("KUBERNETES_SERVICE_PORT", "6443");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut child =
        command.stdout(File::create(&log)?).stderr(File::create(log.with_extension("err"))?).spawn()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect((cluster.inside.as_str(), PORT)).is_err() {
        if child.try_wait()?.is_some() || Instant::now() > deadline {
            return Err(fs::read_to_string(log.with_extension("err"))?.into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

const PORT: u16 = 8080;

/// A program in a cluster finds its account in one folder, which only this process sees.
pub const IN_A_POD: &str = r#"
mount -t tmpfs tmpfs /var/run &&
  mkdir -p /var/run/secrets/kubernetes.io &&
  cp -r "$1" /var/run/secrets/kubernetes.io/serviceaccount &&
  shift &&
  exec "$@"
"#;

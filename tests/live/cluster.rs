//! A Kubernetes API that the live tests of a run share: see `peers/cluster.sh`.
//!
//! It starts when the first test wants it, and lasts no longer than this process, however that ends: the
//! script that holds it reads from a pipe, and the kernel closes the other end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use crate::peer::{Peer, output, piped};

/// An API server that answers, and the network that it is in.
pub struct Cluster {
    /// What the script keeps: `kubeconfig`, that of an administrator, `ca.crt`, and logs.
    pub folder: PathBuf,
    /// The address of what listens in the network of the API server: the API itself, on port 6443.
    pub inside: String,
    /// The address of this process, as seen from there.
    pub outside: String,
    network: String,
    script: Mutex<Child>,
}

/// Returns a test against the cluster, which is ignored unless all that it takes is there.
pub fn test(
    name: &str,
    also: &[Peer],
    run: impl FnOnce(&'static Cluster) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::test(format!("live::cluster::{name}"), || run(shared()?)).with_ignored_flag(!is_possible(also))
}

/// Ends the cluster, if one was started, and waits until nothing is left of it.
pub fn end() {
    if let Some(Ok(cluster)) = SHARED.get() {
        cluster.end();
    }
}

/// Returns whether all is there that a cluster takes, and these as well.
pub fn is_possible(also: &[Peer]) -> bool {
    NEEDED.iter().chain(also).all(|peer| peer.path().is_some())
}

/// Returns the cluster of this run.
fn shared() -> Result<&'static Cluster, Failed> {
    let start = || Cluster::start().map_err(|failed| failed.message().unwrap_or_default().to_owned());
    SHARED.get_or_init(start).as_ref().map_err(|message| format!("there is no cluster: {message}").into())
}

impl Cluster {
    /// Starts one for somebody who has it to himself, and ends it.
    pub fn start() -> Result<Self, Failed> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/cluster.sh");
        // In a process group of its own, so that what a terminal sends to this one does not end it half-way.
        let mut script =
            Command::new(script).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let mut line = String::new();
        BufReader::new(script.stdout.take().ok_or("it has an output")?).read_line(&mut line)?;
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let Ok([folder, network, inside, outside]) = <[String; 4]>::try_from(words) else {
            return Err(format!("{} ended with {}", "peers/cluster.sh", script.wait()?).into());
        };
        Ok(Self { folder: folder.into(), inside, outside, network, script: Mutex::new(script) })
    }

    /// Ends it, and waits until nothing is left of it.
    pub fn end(&self) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        drop(script.stdin.take());
        // It ends in any case, and there is nobody left to tell how.
        let _ = script.wait();
    }

    /// Returns the number of a program that runs in the network of the API server.
    pub fn pid_of(&self, program: &str) -> Result<i32, Failed> {
        let ip = Peer::Ip.path().ok_or("there is no ip")?;
        let pids = String::from_utf8(output(Command::new(ip).args(["netns", "pids", &self.network]))?)?;
        let is_it = |pid: &&str| {
            // It may be gone by now.
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == program)
        };
        let pid = pids.split_whitespace().find(is_it).ok_or_else(|| format!("there is no {program}"))?;
        Ok(pid.parse()?)
    }

    /// Kills the API server, and starts it again.
    pub fn restart(&self) -> Result<(), Failed> {
        let pid = self.pid_of(API_SERVER)?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
        let mut words = line.split_terminator('\0');
        kill_process(Pid::from_raw(pid).ok_or("it has a number")?, Signal::KILL)?;
        // Threads that end hold its port for a while.
        while TcpStream::connect((self.inside.as_str(), 6443)).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
        let mut command = self.command(Path::new(words.next().ok_or("it has a name")?))?;
        let log = fs::File::create(self.folder.join("kube-apiserver-again.log"))?;
        // It ends with the cluster.
        command.args(words).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(())
    }

    /// Returns a command that runs in the network of the API server, to be ended with the cluster.
    pub fn command(&self, program: &Path) -> Result<Command, Failed> {
        let mut command = Command::new(Peer::Ip.path().ok_or("there is no ip")?);
        command.env_clear().args(["netns", "exec", &self.network]).arg(program);
        Ok(command)
    }

    /// Returns `kubectl`, as an administrator.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Command, Failed> {
        let mut command = Command::new(Peer::Kubectl.path().ok_or("there is no kubectl")?);
        command.env_clear().env("HOME", &self.folder).env("KUBECONFIG", self.kubeconfig());
        command.args(arguments);
        Ok(command)
    }

    /// Returns the configuration of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Creates or changes objects, given as YAML or JSON.
    pub fn apply(&self, manifests: impl AsRef<[u8]>) -> Result<(), Failed> {
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
        piped(&mut self.kubectl(apply)?, manifests.as_ref()).map(|_| ())
    }

    /// Makes a namespace, if it is not there.
    pub fn make_namespace(&self, name: &str) -> Result<(), Failed> {
        self.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string())
    }

    /// Writes a configuration for a service account that was not there, with the rules given as
    /// `verb,verb resource` in its namespace.
    pub fn account(&self, namespace: &str, name: &str, rules: &[(&[&str], &str)]) -> Result<PathBuf, Failed> {
        let metadata = json!({"namespace": namespace, "name": name});
        let rule = |&(verbs, resource): &(&[&str], &str)| json!({"apiGroups": ["", "bitnami.com"], "verbs": verbs, "resources": [resource]});
        let rules: Vec<_> = rules.iter().map(rule).collect();
        let rbac = "rbac.authorization.k8s.io";
        let items = json!([
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata, "rules": rules},
            {"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
             "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
             "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]},
        ]);
        self.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        let server = format!("https://{}:6443", self.inside);
        self.write_kubeconfig(&format!("{namespace}-{name}"), &server, &self.token(namespace, name)?)
    }

    /// Returns a token of a service account.
    pub fn token(&self, namespace: &str, name: &str) -> Result<String, Failed> {
        let token = output(&mut self.kubectl(["create", "token", name, "--namespace", namespace])?)?;
        Ok(String::from_utf8(token)?.trim().to_owned())
    }

    /// Makes a Service whose requests reach what listens at the address and port.
    ///
    /// The API server proxies to nothing but Pods, so there is one that claims the address.
    pub fn make_service(
        &self,
        (namespace, name): (&str, &str),
        port_name: Option<&str>,
        (address, port): (&str, u16),
    ) -> Result<(), Failed> {
        let metadata = json!({"namespace": namespace, "name": name, "labels": {"name": name, "kubernetes.io/service-name": name}});
        let named = |port: Json| {
            let mut port = port;
            if let Some(name) = port_name {
                port["name"] = name.into();
            }
            port
        };
        let pod = json!({"automountServiceAccountToken": false, "nodeName": "none", "containers": [
            {"name": "process", "image": "none", "ports": [{"containerPort": port, "name": "http"}]}]});
        let items = json!([
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": "default"}},
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
                "selector": {"name": name}, "ports": [named(json!({"port": port, "targetPort": port}))]}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
             "addressType": "IPv4", "ports": [named(json!({"port": port, "protocol": "TCP"}))],
             "endpoints": [{"addresses": [address], "conditions": {"ready": true},
                            "targetRef": {"kind": "Pod", "namespace": namespace, "name": name}}]},
        ]);
        self.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"status": {"phase": "Running", "conditions": ready, "podIP": address, "podIPs": [{"ip": address}]}});
        let patch = ["patch", "pod", name, "--namespace", namespace, "--subresource=status", "--type=merge"];
        output(self.kubectl(patch)?.arg(format!("--patch={status}"))).map(|_| ())
    }

    /// Writes a configuration for whoever has a token.
    pub fn write_kubeconfig(&self, name: &str, server: &str, token: &str) -> Result<PathBuf, Failed> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
        });
        fs::write(&path, config.to_string())?;
        Ok(path)
    }
}

/// The name of the program that is the API server.
pub const API_SERVER: &str = "kube-apiserver";

static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();

const NEEDED: [Peer; 5] = [Peer::Etcd, Peer::Ip, Peer::KubeApiserver, Peer::Kubectl, Peer::Openssl];

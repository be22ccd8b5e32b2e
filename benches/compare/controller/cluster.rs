//! A Kubernetes API that both controllers work on, one after the other: see `tests/peers/cluster.sh`.
//!
//! It lasts no longer than this process, however that ends: the script that holds it reads from a pipe.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use kube::{Api, Client, Config};
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use crate::Result;
use crate::bench::program;

/// An API server that answers, and the network that it is in.
pub struct Cluster {
    /// The address of what listens in that network.
    pub inside: String,
    /// What the script keeps: the account of the controllers, and logs.
    pub folder: PathBuf,
    ip: PathBuf,
    network: String,
    kubectl: PathBuf,
    runtime: Runtime,
    client: Client,
    script: Child,
}

impl Cluster {
    /// Brings the API up, with what either controller needs to be there.
    pub fn start() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut script = Command::new(root.join("tests/peers/cluster.sh"));
        // In a process group of its own, so that what a terminal sends to this one does not end it half-way.
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let mut line = String::new();
        BufReader::new(script.stdout.take().ok_or("it has an output")?).read_line(&mut line)?;
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let Ok([folder, network, inside, _]) = <[String; 4]>::try_from(words) else {
            return Err(format!("there is no cluster: {}", script.wait()?).into());
        };
        let folder = PathBuf::from(folder);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let client = runtime.block_on(client(&folder.join("kubeconfig")))?;
        let (ip, kubectl) = (program("SELKIE_PEER_IP")?, program("SELKIE_PEER_KUBECTL")?);
        let cluster = Self { inside, folder, ip, network, kubectl, runtime, client, script };
        // Our definition has all that theirs has.
        cluster.apply(&fs::read(root.join("deploy/controller.yaml"))?)?;
        cluster.make_account()?;
        Ok(cluster)
    }

    /// Creates or changes objects, given as YAML or JSON.
    pub fn apply(&self, manifests: &[u8]) -> Result<()> {
        let mut kubectl =
            self.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename=-"]).spawn()?;
        // It ends when there is no more, so that the pipe must be closed.
        kubectl.stdin.take().ok_or("it has an input")?.write_all(manifests)?;
        let output = kubectl.wait_with_output()?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr)?.into()) }
    }

    /// Returns a command that starts a program as if it were in a Pod of the controller.
    pub fn in_pod(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.ip);
        command.env_clear().args(["netns", "exec", &self.network, "/bin/sh", "-c", IN_A_POD, "sh"]);
        command.arg(self.folder.join("account")).arg(program);
        command.env("KUBERNETES_SERVICE_HOST", &self.inside).env("KUBERNETES_SERVICE_PORT", "6443");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Creates objects of a kind.
    pub fn create(&self, resource: &ApiResource, namespace: &str, objects: Vec<Json>) -> Result<()> {
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, resource);
        let create = |object: Json| {
            let api = api.clone();
            async move {
                let object = serde_json::from_value(object)?;
                api.create(&PostParams::default(), &object).await.map_err(Into::into)
            }
        };
        self.runtime.block_on(async {
            let mut created = stream::iter(objects.into_iter().map(create)).buffer_unordered(AT_ONCE);
            while let Some(created) = created.next().await {
                let created: Result<_> = created;
                created?;
            }
            Ok(())
        })
    }

    /// Returns how many objects of a kind there are.
    pub fn count(&self, resource: &ApiResource, namespace: &str) -> Result<usize> {
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, resource);
        let first = self.runtime.block_on(api.list_metadata(&ListParams::default().limit(1)))?;
        let rest = first.metadata.remaining_item_count.unwrap_or_default();
        Ok(first.items.len() + usize::try_from(rest)?)
    }

    /// Returns the status of every object of a kind.
    pub fn statuses(&self, resource: &ApiResource, namespace: &str) -> Result<Vec<Json>> {
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, resource);
        // What the API server remembers, in one piece: that costs it the least.
        let all = self.runtime.block_on(api.list(&ListParams::default().match_any()))?;
        Ok(all.items.into_iter().map(|mut object| object.data["status"].take()).collect())
    }

    /// Deletes all objects of a kind.
    pub fn clear(&self, resource: &ApiResource, namespace: &str) -> Result<()> {
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, resource);
        let clear =
            || self.runtime.block_on(api.delete_collection(&DeleteParams::default(), &ListParams::default()));
        while self.count(resource, namespace)? > 0 {
            clear()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Makes what a program in a Pod finds of its account.
    fn make_account(&self) -> Result<()> {
        let account = self.folder.join("account");
        let token = self.kubectl(&["create", "token", NAME, "--namespace", NAMESPACE]).output()?;
        fs::create_dir(&account)?;
        fs::write(account.join("namespace"), NAMESPACE)?;
        fs::write(account.join("token"), token.stdout.trim_ascii())?;
        fs::copy(self.folder.join("ca.crt"), account.join("ca.crt"))?;
        Ok(())
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env_clear().env("HOME", &self.folder).env("KUBECONFIG", self.folder.join("kubeconfig"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        // It ends in any case, and there is nobody left to tell how.
        let _ = self.script.wait();
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The namespace of the controllers.
pub const NAMESPACE: &str = "kube-system";

/// What both controllers are called.
pub const NAME: &str = "sealed-secrets-controller";

/// How many objects are created at once.
const AT_ONCE: usize = 16;

/// A program in a cluster finds its account in one folder, which only this process sees.
const IN_A_POD: &str = r#"
mount -t tmpfs tmpfs /var/run &&
  mkdir -p /var/run/secrets/kubernetes.io &&
  cp -r "$1" /var/run/secrets/kubernetes.io/serviceaccount &&
  shift &&
  exec "$@"
"#;

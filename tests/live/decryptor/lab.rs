//! The cluster of these tests, and what an administrator sees and does there.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use libtest_mimic::Failed;
use serde_json::{Value as Json, json};
use tokio::runtime::{Builder, Runtime};

use super::process::Process;
use super::space::Space;
use crate::deploy;
use crate::live::cluster::Cluster;

/// The cluster, with what `deploy/controller.yaml` makes, and a controller.
pub struct Lab {
    /// The API server.
    pub cluster: Cluster,
    runtime: Runtime,
    client: Client,
    common: OnceLock<Result<Process, String>>,
}

/// What an administrator does.
pub enum Deed<'a> {
    Create(&'a Json),
    Delete,
    Get,
    /// A merge patch.
    Patch(&'a Json),
    Put(&'a Json),
}

/// Ends the cluster, if one was started.
pub fn end() {
    if let Some(Ok(lab)) = LAB.get() {
        // Processes of the cluster's network end with it.
        lab.cluster.end();
    }
}

impl Lab {
    /// Returns the one of this run.
    pub fn get() -> Result<&'static Self, Failed> {
        let start = || Self::start().map_err(|failed| failed.message().unwrap_or_default().to_owned());
        let lab = LAB.get_or_init(start).as_ref();
        let lab = lab.map_err(|message| Failed::from(format!("there is no cluster: {message}")))?;
        // First of all, so that it gets the ports that the manifest says.
        lab.common().map(|_| lab)
    }

    fn start() -> Result<Self, Failed> {
        let manifests = [
            deploy::text("controller.yaml")?,
            deploy::text("crds/sopssecrets.selkie.dev.yaml")?,
            deploy::text("crds/sopssecrets.isindir.github.com.yaml")?,
        ];
        let resources = [
            "bitnami.com/v1alpha1/sealedsecrets",
            "selkie.dev/v1alpha1/sopssecrets",
            "isindir.github.com/v1alpha3/sopssecrets",
        ];
        Self::with(&manifests, &resources)
    }

    /// Returns another cluster, with what manifests make of it, as soon as resources are served. To be ended by whoever
    /// has it.
    pub fn with(manifests: &[String], resources: &[&str]) -> Result<Self, Failed> {
        let cluster = Cluster::start()?;
        for manifest in manifests {
            cluster.apply(manifest)?;
        }
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let config = Kubeconfig::read_from(cluster.kubeconfig())?;
        let client = runtime.block_on(async {
            let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
            config.default_retry = false;
            Ok::<_, Failed>(Client::try_from(config)?)
        })?;
        let lab = Self { cluster, runtime, client, common: OnceLock::new() };
        for resource in resources {
            lab.wait(resource, || lab.find(&format!("/apis/{resource}")))?;
        }
        Ok(lab)
    }

    /// Returns the controller that works in all namespaces.
    pub fn common(&self) -> Result<&Process, Failed> {
        let start = || {
            let account = self.account("kube-system")?;
            let flags = [
                "--kubeclient-qps=-1",
                "--replicas=leader",
                "--lease-name=sealed-secrets-controller",
                "--key-size=2048",
                "--label-selector=lab!=own",
                "--log-level=DEBUG",
                "--rate-limit=1000",
                "--rate-limit-burst=1000",
            ];
            Process::start(self, "kube-system", "common", &account, &flags)
        };
        let start = || start().map_err(|failed: Failed| failed.message().unwrap_or_default().to_owned());
        self.common.get_or_init(start).as_ref().map_err(|message| message.clone().into())
    }

    /// Writes a configuration for the account of the controller in a namespace.
    pub fn account(&self, namespace: &str) -> Result<PathBuf, Failed> {
        let server = format!("https://{}:6443", self.cluster.inside);
        self.account_at(namespace, &format!("{namespace}-controller"), &server)
    }

    /// Writes a configuration for the account of the controller in a namespace, which reaches the API server elsewhere.
    pub fn account_at(&self, namespace: &str, file: &str, server: &str) -> Result<PathBuf, Failed> {
        self.cluster.write_kubeconfig(file, server, &self.cluster.token(namespace, CONTROLLER)?)
    }

    /// Makes a namespace in which a controller of its own may run: with the account, the roles and the bindings of
    /// `deploy/controller.yaml`, but for the name of the namespace.
    pub fn home(&self, namespace: &str) -> Result<PathBuf, Failed> {
        self.make_namespace(namespace)?;
        let mut items = Vec::new();
        for mut object in deploy::objects("controller.yaml")? {
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            if !["ServiceAccount", "Role", "RoleBinding", "ClusterRoleBinding"].contains(&kind.as_str()) {
                continue;
            }
            if kind == "ClusterRoleBinding" {
                object["metadata"]["name"] = format!("{CONTROLLER}-{namespace}").into();
            } else {
                object["metadata"]["namespace"] = namespace.into();
            }
            for subject in object.get_mut("subjects").and_then(Json::as_array_mut).into_iter().flatten() {
                if subject["kind"] == "ServiceAccount" {
                    subject["namespace"] = namespace.into();
                }
            }
            items.push(object);
        }
        self.cluster.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        self.account(namespace)
    }

    /// Makes a namespace in which the common controller works.
    pub fn space(&self, namespace: &str) -> Result<Space<'_>, Failed> {
        self.make_namespace(namespace)?;
        Ok(Space::new(self, namespace, self.common()?.certificate()?))
    }

    /// Makes a namespace, if it is not there.
    pub fn make_namespace(&self, name: &str) -> Result<(), Failed> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        match self.ask("/api/v1/namespaces", &Deed::Create(&namespace)) {
            Ok(_) | Err((409, _)) => Ok(()),
            Err((code, message)) => Err(format!("{code}: {message}").into()),
        }
    }

    /// Asks the API server; an answer that is not good is its status and message.
    pub fn ask(&self, path: &str, deed: &Deed<'_>) -> Result<Json, (u16, String)> {
        let (method, body, kind) = match deed {
            Deed::Create(body) => (Method::POST, Some(body), "application/json"),
            Deed::Delete => (Method::DELETE, None, "application/json"),
            Deed::Get => (Method::GET, None, "application/json"),
            Deed::Patch(body) => (Method::PATCH, Some(body), "application/merge-patch+json"),
            Deed::Put(body) => (Method::PUT, Some(body), "application/json"),
        };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(body).map_err(|error| (0, error.to_string()))?;
        let answer = self.runtime.block_on(self.client.request::<Json>(request));
        answer.map_err(|error| match error {
            kube::Error::Api(status) => (status.code, status.message),
            other => (0, other.to_string()),
        })
    }

    /// Does something that has to succeed.
    pub fn act(&self, path: &str, deed: Deed<'_>) -> Result<Json, Failed> {
        self.ask(path, &deed).map_err(|(code, message)| format!("{path}: {code}: {message}").into())
    }

    /// Returns an object; `None` if there is none.
    pub fn find(&self, path: &str) -> Result<Option<Json>, Failed> {
        match self.ask(path, &Deed::Get) {
            Ok(object) => Ok(Some(object)),
            Err((404, _)) => Ok(None),
            Err((code, message)) => Err(format!("{path}: {code}: {message}").into()),
        }
    }

    /// Waits until something is there.
    pub fn wait<T>(&self, what: &str, look: impl FnMut() -> Result<Option<T>, Failed>) -> Result<T, Failed> {
        wait(what, look)
    }

    /// Only one test at a time may hold this.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a file beside the others of the cluster.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, Failed> {
        let path = self.cluster.folder.join(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

/// Waits until something is there.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, Failed>) -> Result<T, Failed> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(format!("in vain: {what}").into());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

static LAB: OnceLock<Result<Lab, String>> = OnceLock::new();

/// The name of the account, and of the Service.
pub const CONTROLLER: &str = "sealed-secrets-controller";

/// How long something may take that takes no time.
pub const LIMIT: Duration = Duration::from_secs(60);

//! Flux's kustomize-controller on a cluster. Its sources are folders that this process serves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Failed;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::server::Server;
use crate::live::sync_engine::{Ground, Program, namespace, once, path_of, tool, wait};
use crate::peer::{Peer, output};

/// The controller, for all trials of a run: they tell their sources, keys and Kustomizations apart by name.
pub struct Lab {
    /// The cluster, which the controller brings everything to.
    pub ground: &'static Ground,
    folder: PathBuf,
    server: Server,
    _controller: Program,
}

/// What is applied: a folder of a source.
pub struct Kustomization<'a> {
    /// Its name, and that of the namespace that everything goes to.
    pub name: &'a str,
    /// What [`Lab::publish`] published.
    pub source: &'a str,
    /// The folder in the source, as `./apps`.
    pub path: &'a str,
    /// The keys that [`Lab::make_keys`] made. Without any, nothing is decrypted.
    pub keys: Option<&'a str>,
}

impl Lab {
    /// Returns the one of this run.
    pub fn get() -> Result<&'static Self, Failed> {
        static LAB: OnceLock<Result<Lab, String>> = OnceLock::new();
        once(&LAB, "Flux", || Self::start(Ground::get()?))
    }

    /// Starts one on a cluster.
    pub fn start(ground: &'static Ground) -> Result<Self, Failed> {
        let folder = ground.folder("flux")?;
        ground.folder("flux/tmp")?;
        // Before the controller: what refuses a connection is asked again much later.
        let server = Server::start(&ground.cluster.outside, &ground.folder("flux/artifacts")?)?;
        let definitions: Result<Vec<_>, _> =
            fs::read_dir(path_of(Peer::FluxCrds)?)?.map(|file| Ok(file?.path())).collect();
        let resources =
            ["kustomize.toolkit.fluxcd.io/v1/kustomizations", "source.toolkit.fluxcd.io/v1/gitrepositories"];
        ground.define(&definitions.map_err(|error: std::io::Error| error)?, &resources)?;
        ground.cluster.apply(namespace(NAMESPACE).to_string())?;
        let kubeconfig = ground.cluster.kubeconfig().display().to_string();
        let (home, temporary) = (folder.display().to_string(), folder.join("tmp").display().to_string());
        let variables = [
            ("KUBECONFIG", kubeconfig.as_str()),
            ("RUNTIME_NAMESPACE", NAMESPACE),
            ("HOME", &home),
            ("TMPDIR", &temporary),
        ];
        let arguments = [
            "--metrics-addr=:8090",
            "--health-addr=:9440",
            "--log-level=trace",
            "--log-encoding=json",
            "--watch-all-namespaces=true",
            "--requeue-dependency=2s",
            "--min-retry-delay=200ms",
            "--max-retry-delay=2s",
        ];
        let program = path_of(Peer::FluxKustomizeController)?;
        let controller = ground.run("flux-kustomize-controller", &program, arguments, &variables)?;
        ground.wait_for_port(&controller, 9440)?;
        Ok(Self { ground, folder, server, _controller: controller })
    }

    /// Publishes a folder as the source of a name, anew or again, and returns its revision.
    pub fn publish(&self, name: &str, folder: &Path) -> Result<String, Failed> {
        // The same files are another revision the next time.
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = format!("{name}-{count}.tar.gz");
        let path = self.server.folder().join(&file);
        output(tool("tar").arg("-czf").arg(&path).arg("-C").arg(folder).arg("."))?;
        let bytes = fs::read(&path)?;
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let revision = format!("main@sha1:{count:040x}");
        let source = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"interval": "1h", "url": format!("https://example.com/{name}"), "ref": {"branch": "main"}},
        });
        self.ground.cluster.apply(source.to_string())?;
        let path = format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/gitrepositories/{name}");
        let generation = self.ground.object(&path)?["metadata"]["generation"].take();
        let now = "2026-01-02T03:04:05Z";
        let status = json!({"status": {
            "observedGeneration": generation,
            "artifact": {
                "url": format!("{}/{file}", self.server.url()), "path": file, "revision": revision,
                "digest": format!("sha256:{digest}"), "size": bytes.len(), "lastUpdateTime": now},
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored",
                "lastTransitionTime": now, "observedGeneration": generation}]}});
        self.ground.patch(&format!("{path}/status"), &status)?;
        Ok(revision)
    }

    /// Makes a Secret of keys: of age in `NAME.agekey`, of OpenPGP in `NAME.asc`.
    pub fn make_keys(&self, name: &str, keys: &[(&str, &[u8])]) -> Result<(), Failed> {
        let data: Map<_, _> =
            keys.iter().map(|(name, key)| ((*name).to_owned(), STANDARD.encode(key).into())).collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "data": data,
            "metadata": {"name": name, "namespace": NAMESPACE},
        });
        self.ground.cluster.apply(secret.to_string())
    }

    /// Creates a Kustomization.
    pub fn apply(&self, kustomization: &Kustomization<'_>) -> Result<(), Failed> {
        let mut spec = json!({
            "interval": "1h", "retryInterval": "2s", "timeout": "30s", "prune": true,
            "path": kustomization.path, "targetNamespace": kustomization.name,
            "sourceRef": {"kind": "GitRepository", "name": kustomization.source},
        });
        if let Some(keys) = kustomization.keys {
            spec["decryption"] = json!({"provider": "sops", "secretRef": {"name": keys}});
        }
        let manifest = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": kustomization.name, "namespace": NAMESPACE}, "spec": spec,
        });
        self.ground.cluster.make_namespace(kustomization.name)?;
        self.ground.cluster.apply(manifest.to_string())
    }

    /// Returns a Kustomization as the API has it.
    pub fn kustomization(&self, name: &str) -> Result<Json, Failed> {
        self.ground.object(&path(name))
    }

    /// Returns a condition of a Kustomization, null if there is none.
    pub fn condition(&self, name: &str, kind: &str) -> Result<Json, Failed> {
        Ok(condition(&self.kustomization(name)?, kind))
    }

    /// Waits until a Kustomization is Ready at a revision.
    pub fn ready(&self, name: &str, revision: &str) -> Result<Json, Failed> {
        wait(&format!("{name} is at {revision}"), || {
            let object = self.kustomization(name)?;
            let ready = condition(&object, "Ready");
            let is_there = ready["status"] == "True"
                && ready["observedGeneration"] == object["metadata"]["generation"]
                && object["status"]["lastAppliedRevision"] == revision;
            Ok(if is_there { Ok(object) } else { Err(object["status"].to_string()) })
        })
    }

    /// Waits until a revision was refused, and returns why.
    pub fn refused(&self, name: &str, revision: &str) -> Result<String, Failed> {
        wait(&format!("{name} is refused at {revision}"), || {
            let object = self.kustomization(name)?;
            let ready = condition(&object, "Ready");
            let is_refused =
                ready["status"] == "False" && object["status"]["lastAttemptedRevision"] == revision;
            let message = ready["message"].as_str().filter(|_| is_refused);
            Ok(message.map(str::to_owned).ok_or_else(|| object["status"].to_string()))
        })
    }

    /// Makes it apply everything again, and waits until it has.
    pub fn reconcile(&self, name: &str) -> Result<Json, Failed> {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let mark = format!("request-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.ground.patch(&path(name), &json!({"metadata": {"annotations": {REQUEST: mark}}}))?;
        wait(&format!("{name} is reconciled"), || {
            let object = self.kustomization(name)?;
            let is_over = object["status"]["lastHandledReconcileAt"] == *mark
                && condition(&object, "Reconciling").is_null();
            Ok(if is_over { Ok(object) } else { Err(object["status"].to_string()) })
        })
    }

    /// Deletes a Kustomization, with what it made.
    pub fn delete(&self, name: &str) -> Result<(), Failed> {
        self.ground.delete(&path(name))?;
        wait(&format!("{name} goes"), || {
            let object = self.ground.find(&path(name))?;
            Ok(object.map_or(Ok(()), |object| Err(object["status"].to_string())))
        })
    }

    /// Returns all that the controller logged.
    pub fn logs(&self) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
        self.ground.logs("flux-")
    }

    /// Makes a folder of a trial, which may become a source.
    pub fn new_folder(&self, name: &str) -> Result<PathBuf, Failed> {
        let path = self.folder.join("trials").join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

fn path(kustomization: &str) -> String {
    format!("/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/kustomizations/{kustomization}")
}

fn condition(object: &Json, kind: &str) -> Json {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|one| one["type"] == kind));
    found.cloned().unwrap_or_default()
}

/// Where all sources, keys and Kustomizations are.
pub const NAMESPACE: &str = "flux-system";

const REQUEST: &str = "reconcile.fluxcd.io/requestedAt";

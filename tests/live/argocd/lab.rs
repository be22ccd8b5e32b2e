//! Argo CD on a cluster: its Redis, its repo-server and its application-controller.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libtest_mimic::Failed;
use serde_json::{Value as Json, json};

use super::redis;
use super::repository::Repository;
use crate::live::sync_engine::{Ground, Program, namespace, once, path_of, wait};
use crate::peer::{Peer, output};

/// Argo CD, for all trials of a run: they tell their Applications, repositories and plugins apart by name.
pub struct Lab {
    /// The cluster, which Argo CD is in and brings everything to.
    pub ground: &'static Ground,
    /// The folder of plugin sockets: that of a plugin is `NAME.sock`.
    pub sockets: PathBuf,
    discovery: Mutex<()>,
    folder: PathBuf,
    _programs: Vec<Program>,
}

/// What is synchronized: a folder of a repository, made into manifests by a plugin, into the namespace of its own name.
pub struct Application<'a> {
    /// Its name, and that of the namespace.
    pub name: &'a str,
    /// Whose it is: `default`, or one that [`Lab::make_project`] made.
    pub project: &'a str,
    pub repository: &'a Repository,
    /// The folder in the repository.
    pub path: &'a str,
    /// The plugin. If there is none, one that discovers the folder is looked for; and if there are neither variables nor
    /// parameters besides, a folder that no plugin discovers is taken as it is.
    pub plugin: Option<&'a str>,
    /// Variables of the plugin, which it finds behind `ARGOCD_ENV_`.
    pub env: &'a [(&'a str, &'a str)],
    /// Parameters of the plugin, as the API has them.
    pub parameters: Json,
}

impl Lab {
    /// Returns the one of this run.
    pub fn get() -> Result<&'static Self, Failed> {
        static LAB: OnceLock<Result<Lab, String>> = OnceLock::new();
        once(&LAB, "Argo CD", || Self::start(Ground::get()?))
    }

    /// Starts one on a cluster.
    pub fn start(ground: &'static Ground) -> Result<Self, Failed> {
        let folder = ground.folder("argocd")?;
        for name in FOLDERS {
            ground.folder(&format!("argocd/{name}"))?;
        }
        let sockets = folder.join("sockets");
        let mut lab = Self { ground, sockets, discovery: Mutex::new(()), folder, _programs: Vec::new() };
        lab.furnish()?;
        let redis = lab.start_redis()?;
        let repo_server = lab.run(
            "argocd-repo-server",
            &[
                "--redis",
                REDIS,
                "--disable-tls",
                "--port=8081",
                "--metrics-port=8084",
                LEVEL,
                // Two revisions may be looked at within a moment.
                "--revision-cache-lock-timeout=1s",
            ],
        )?;
        ground.wait_for_port(&repo_server, 8081)?;
        let controller = lab.run(
            "argocd-application-controller",
            &[
                "--redis",
                REDIS,
                "--repo-server=127.0.0.1:8081",
                "--repo-server-plaintext",
                "--namespace=argocd",
                "--metrics-port=8082",
                "--status-processors=4",
                "--operation-processors=4",
                LEVEL,
            ],
        )?;
        ground.wait_for_port(&controller, 8082)?;
        lab._programs = vec![redis, repo_server, controller];
        Ok(lab)
    }

    fn furnish(&self) -> Result<(), Failed> {
        let manifests = path_of(Peer::ArgocdManifests)?;
        let is_definition = |path: &PathBuf| path.to_string_lossy().ends_with("-crd.yaml");
        let files: Result<Vec<_>, _> = fs::read_dir(manifests)?.map(|file| Ok(file?.path())).collect();
        let (definitions, settings): (Vec<_>, Vec<_>) =
            files.map_err(|error: std::io::Error| error)?.into_iter().partition(is_definition);
        let groups = ["argoproj.io/v1alpha1/applications", "argoproj.io/v1alpha1/appprojects"];
        self.ground.define(&definitions, &groups)?;
        let cluster = &self.ground.cluster;
        let part_of = json!({"app.kubernetes.io/part-of": "argocd"});
        let items = json!([namespace("argocd"), {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "argocd-secret", "namespace": "argocd", "labels": part_of},
            "stringData": {"server.secretkey": "made up"}}]);
        cluster.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        let mut apply = cluster.kubectl(["apply", "--server-side", "--namespace=argocd"])?;
        for path in settings {
            apply.arg("--filename").arg(path);
        }
        output(&mut apply)?;
        self.make_project("default")
    }

    fn start_redis(&self) -> Result<Program, Failed> {
        let folder = self.folder.join("redis").display().to_string();
        let bind = format!("--bind 127.0.0.1 {}", self.ground.cluster.inside);
        let settings =
            format!("{bind} --port 6379 --protected-mode no --appendonly no --loglevel debug --dir {folder}");
        let arguments = settings.split(' ').chain(["--save", ""]);
        let redis = self.ground.run("argocd-redis", &path_of(Peer::Redis)?, arguments, &[])?;
        self.ground.wait_for_port(&redis, 6379)?;
        Ok(redis)
    }

    /// Starts one of the programs of Argo CD.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<Program, Failed> {
        let variables = self.variables(program);
        let path = path_of(Peer::Argocd)?;
        self.ground.run(program, &path, arguments.iter().copied(), &borrowed(&variables))
    }

    fn variables(&self, program: &str) -> Vec<(&'static str, String)> {
        let folder = |name: &str| self.folder.join(name).display().to_string();
        vec![
            ("ARGOCD_BINARY_NAME", program.to_owned()),
            ("KUBECONFIG", self.ground.cluster.kubeconfig().display().to_string()),
            ("ARGOCD_FAKE_IN_CLUSTER", "true".to_owned()),
            ("ARGOCD_GPG_ENABLED", "false".to_owned()),
            ("ARGOCD_ASK_PASS_SOCK", folder("ask-pass.sock")),
            ("ARGOCD_PLUGINSOCKFILEPATH", folder("sockets")),
            ("ARGOCD_TLS_DATA_PATH", folder("tls")),
            ("ARGOCD_SSH_DATA_PATH", folder("ssh")),
            ("ARGOCD_GNUPGHOME", folder("gnupg")),
            ("HOME", folder("home")),
            ("TMPDIR", folder("tmp")),
        ]
    }

    /// Starts the plugin server of Argo CD for a plugin that runs a shell script in the folder of an Application; what it
    /// prints are the manifests. The log is `argocd-cmp-NAME.log`. It lasts as long as what is returned.
    pub fn plugin(&self, name: &str, script: &str, variables: &[(&str, &str)]) -> Result<Program, Failed> {
        let spec = json!({"generate": {"command": ["/bin/sh", "-ec"], "args": [script]}});
        self.plugin_with(name, &spec, variables)
    }

    /// The same for a plugin whose `spec` in `plugin.yaml` is this.
    pub fn plugin_with(
        &self,
        name: &str,
        spec: &Json,
        variables: &[(&str, &str)],
    ) -> Result<Program, Failed> {
        let config = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "ConfigManagementPlugin",
            "metadata": {"name": name}, "spec": spec,
        });
        self.plugin_of(name, &config.to_string(), variables)
    }

    /// The same for a plugin with this `plugin.yaml`.
    pub fn plugin_of(&self, name: &str, config: &str, variables: &[(&str, &str)]) -> Result<Program, Failed> {
        let folder = self.ground.folder(&format!("argocd/plugins/{name}"))?;
        fs::write(folder.join("plugin.yaml"), config)?;
        let argument = format!("--config-dir-path={}", folder.display());
        let work = self.ground.folder(&format!("argocd/plugins/{name}/work"))?;
        let mut own = self.variables("argocd-cmp-server");
        own.push(("ARGOCD_CMP_WORKDIR", work.display().to_string()));
        let all = [&borrowed(&own), variables].concat();
        self.own_plugin(name, &path_of(Peer::Argocd)?, [argument.as_str(), LEVEL], &all)
    }

    /// Starts another plugin server, which is told by its arguments or variables to listen at `NAME.sock` of
    /// [`sockets`](Self::sockets). The log is `argocd-cmp-NAME.log`. It lasts as long as what is returned.
    pub fn own_plugin<'a>(
        &self,
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
        variables: &[(&str, &str)],
    ) -> Result<Program, Failed> {
        let program = self.ground.run(&format!("argocd-cmp-{name}"), program, arguments, variables)?;
        let socket = self.sockets.join(format!("{name}.sock"));
        program.wait_until("there is a socket", || UnixStream::connect(&socket).is_ok())?;
        Ok(program)
    }

    /// Waits until nobody else has an Application that any plugin may take for its own, or a plugin that takes any.
    pub fn alone_in_discovery(&self) -> MutexGuard<'_, ()> {
        self.discovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an empty repository.
    pub fn repository(&self, name: &str) -> Result<Repository, Failed> {
        Repository::new(self.folder.join("repositories").join(name))
    }

    /// Makes a project that may do everything.
    pub fn make_project(&self, name: &str) -> Result<(), Failed> {
        let project = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
            "metadata": {"name": name, "namespace": "argocd"},
            "spec": {
                "sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}],
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}]},
        });
        self.ground.cluster.apply(project.to_string())
    }

    /// Creates an Application that follows the branch `main`, or makes what was rolled back follow it again.
    pub fn apply(&self, application: &Application<'_>) -> Result<(), Failed> {
        let env: Vec<_> =
            application.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let mut plugin = json!({"env": env});
        if let Some(name) = application.plugin {
            plugin["name"] = name.into();
        }
        if !application.parameters.is_null() {
            plugin["parameters"] = application.parameters.clone();
        }
        let mut source = json!({
            "repoURL": application.repository.url(), "path": application.path, "targetRevision": "main",
        });
        if plugin != json!({"env": []}) {
            source["plugin"] = plugin;
        }
        let manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": application.name, "namespace": "argocd"},
            "spec": {
                "project": application.project,
                "source": source,
                "destination": {"server": "https://kubernetes.default.svc", "namespace": application.name},
                "syncPolicy": {"automated": {"prune": true}, "syncOptions": [PRUNE]},
            },
        });
        self.ground.cluster.make_namespace(application.name)?;
        self.ground.cluster.apply(manifest.to_string())
    }

    /// Returns an Application as the API has it.
    pub fn application(&self, name: &str) -> Result<Json, Failed> {
        self.ground.object(&path(name))
    }

    /// Makes it look for a new revision; with `is_hard`, without anything that it has kept. Waits until it has.
    pub fn refresh(&self, name: &str, is_hard: bool) -> Result<(), Failed> {
        let how = if is_hard { "hard" } else { "normal" };
        self.ground.patch(&path(name), &json!({"metadata": {"annotations": {REFRESH: how}}}))?;
        wait(&format!("{name} is refreshed"), || {
            let application = self.application(name)?;
            let is_over = application["metadata"]["annotations"].get(REFRESH).is_none();
            Ok(is_over.then_some(()).ok_or_else(|| "a refresh under way".to_owned()))
        })
    }

    /// Waits until it is Synced and Healthy at a revision, and no synchronization is under way.
    pub fn synced(&self, name: &str, revision: &str) -> Result<Json, Failed> {
        wait(&format!("{name} is at {revision}"), || {
            let application = self.application(name)?;
            let status = &application["status"];
            let phase = &status["operationState"]["phase"];
            let is_there = status["sync"]["status"] == "Synced"
                && status["sync"]["revision"] == revision
                && status["health"]["status"] == "Healthy"
                && (phase.is_null() || phase == "Succeeded")
                && application.get("operation").is_none();
            Ok(if is_there { Ok(application) } else { Err(told(status)) })
        })
    }

    /// Waits until it says that its manifests could not be made, and returns what it says.
    pub fn failed(&self, name: &str) -> Result<String, Failed> {
        self.failed_at(name, &[])
    }

    /// Waits until it says so in words with these among them, and returns what it says.
    pub fn failed_at(&self, name: &str, words: &[&str]) -> Result<String, Failed> {
        wait(&format!("{name} fails"), || {
            let application = self.application(name)?;
            let status = &application["status"];
            let conditions = status["conditions"].as_array();
            let error = conditions.and_then(|all| all.iter().find(|one| one["type"] == "ComparisonError"));
            let message = error.and_then(|error| error["message"].as_str());
            let message = message.filter(|message| words.iter().all(|word| message.contains(word)));
            Ok(message.map(str::to_owned).ok_or_else(|| told(status)))
        })
    }

    /// Rolls back to a revision that was synchronized, as `argocd app rollback` does: nothing is automatic any more.
    /// Waits until it is done.
    pub fn roll_back(&self, name: &str, revision: &str) -> Result<(), Failed> {
        let source = self.application(name)?["spec"]["source"].take();
        self.ground.patch(&path(name), &json!({"spec": {"syncPolicy": {"automated": null}}}))?;
        let sync = json!({
            "revision": revision, "prune": true, "source": source, "syncStrategy": {"apply": {}}, "syncOptions": [PRUNE],
        });
        self.ground.patch(&path(name), &json!({"operation": {"sync": sync}}))?;
        wait(&format!("{name} is back at {revision}"), || {
            let application = self.application(name)?;
            let state = &application["status"]["operationState"];
            let is_there = application.get("operation").is_none()
                && state["phase"] == "Succeeded"
                && state["syncResult"]["revision"] == revision;
            Ok(is_there.then_some(()).ok_or_else(|| told(&application["status"])))
        })
    }

    /// Deletes an Application; what it made stays.
    pub fn delete(&self, name: &str) -> Result<(), Failed> {
        self.ground.delete(&path(name))
    }

    /// Returns all that Redis holds, unpacked: the manifests of Applications are in keys that begin with `mfst|`.
    pub fn redis(&self) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
        redis::dump(&self.ground.cluster.inside, 6379)
    }

    /// Returns the logs of everything that runs for Argo CD, those of plugin servers included.
    pub fn logs(&self) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
        self.ground.logs("argocd-")
    }
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn path(application: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/{application}")
}

/// Returns what a status says, without all that was synchronized.
fn told(status: &Json) -> String {
    let state = &status["operationState"];
    json!({
        "sync": [status["sync"]["status"], status["sync"]["revision"]], "health": status["health"],
        "conditions": status["conditions"], "phase": state["phase"], "message": state["message"],
        "resources": state["syncResult"]["resources"],
    })
    .to_string()
}

const FOLDERS: [&str; 9] =
    ["gnupg", "home", "plugins", "redis", "repositories", "sockets", "ssh", "tls", "tmp"];
const LEVEL: &str = "--loglevel=trace";
/// In the cluster nothing collects what hangs on an object that is to go, which would be waited for.
const PRUNE: &str = "PrunePropagationPolicy=background";
const REDIS: &str = "127.0.0.1:6379";
const REFRESH: &str = "argocd.argoproj.io/refresh";

//! What the machines of a cluster do: they run what Deployments say.
//!
//! The cluster of the tests has no machines. So the programs that a Deployment names run as processes in the network of the
//! cluster, one of each, with the arguments, the account and the mounted Secrets of the Deployment, and the cluster is told so.
//! A Deployment that changes has its program started again, and one that goes has it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Failed;
use serde_json::{Map, Value as Json, json};

use crate::live::controller::IN_A_POD;
use crate::live::sync_engine::{Ground, Program, path_of};
use crate::peer::Peer;

/// Machines that work until this goes.
pub struct Machines {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A Deployment, and what runs for it.
struct Run {
    template: Json,
    programs: Vec<Program>,
}

impl Machines {
    /// Lets machines work for a cluster. What goes wrong is in its log `machines.log`.
    ///
    /// Sockets of plugins are made in the folder, if one is given.
    pub fn start(ground: &'static Ground, sockets: Option<PathBuf>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let work = move || {
            let mut runs = BTreeMap::new();
            while !over.load(Ordering::Relaxed) {
                if let Err(failed) = round(ground, sockets.as_deref(), &mut runs) {
                    tell(ground, failed.message().unwrap_or_default());
                }
                thread::sleep(Duration::from_millis(200));
            }
        };
        Self { is_over, thread: Some(thread::spawn(work)) }
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It tells of nothing but a panic, which has been printed.
            let _ = thread.join();
        }
    }
}

/// Does what there is to do.
fn round(ground: &Ground, sockets: Option<&Path>, runs: &mut BTreeMap<String, Run>) -> Result<(), Failed> {
    let list = ground.object("/apis/apps/v1/deployments")?;
    let deployments = list["items"].as_array().ok_or("it is a list")?;
    let names: BTreeSet<String> = deployments.iter().map(path).collect();
    runs.retain(|name, run| {
        if !names.contains(name) {
            end(run);
        }
        names.contains(name)
    });
    for deployment in deployments {
        let (path, template) = (path(deployment), &deployment["spec"]["template"]);
        if runs.get(&path).is_some_and(|run| run.template == *template) {
            tell_state(ground, deployment)?;
            continue;
        }
        let Some(folders) = volumes(ground, sockets, deployment)? else {
            continue;
        };
        // The new one listens where the old one did.
        if let Some(run) = runs.remove(&path) {
            end(&run);
        }
        let programs = start(ground, deployment, &folders)?;
        if !programs.is_empty() {
            make_services(ground, deployment)?;
        }
        let ports: Vec<u16> = ports(template).collect();
        for (program, port) in programs.iter().zip(ports) {
            program.wait_until("it listens", || {
                TcpStream::connect((ground.cluster.inside.as_str(), port)).is_ok()
            })?;
        }
        let has_socket = folders.iter().any(|(place, _)| place.ends_with(PLUGINS));
        if let (Some(program), Some(sockets), true) = (programs.first(), sockets, has_socket) {
            let socket = sockets.join("selkie.sock");
            program.wait_until("there is a socket", || UnixStream::connect(&socket).is_ok())?;
        }
        runs.insert(path, Run { template: template.clone(), programs });
        tell_state(ground, deployment)?;
    }
    Ok(())
}

fn end(run: &Run) {
    for program in &run.programs {
        // It is killed when it is dropped, at the latest.
        let _ = program.end();
    }
}

/// Starts the programs of a Deployment that are known here.
fn start(ground: &Ground, deployment: &Json, folders: &[(String, PathBuf)]) -> Result<Vec<Program>, Failed> {
    let (namespace, name) = names(deployment);
    let template = &deployment["spec"]["template"]["spec"];
    let mut programs = Vec::new();
    for container in template["containers"].as_array().into_iter().flatten() {
        let image = container["image"].as_str().unwrap_or_default();
        let Some((program, first, last)) = program_of(image)? else {
            continue;
        };
        let account = account(ground, namespace, template)?;
        let mut arguments = vec!["-c".to_owned(), IN_A_POD.to_owned(), "sh".to_owned()];
        arguments.extend([account.display().to_string(), program.display().to_string()]);
        // The image of ours finds its work in the name that it is started by.
        arguments.extend(texts(&container["command"]).filter(|_| first).map(str::to_owned));
        for argument in texts(&container["args"]) {
            let mounted = folders.iter().fold(argument.to_owned(), |text, (place, folder)| {
                text.replace(place.as_str(), &folder.display().to_string())
            });
            arguments.push(mounted);
        }
        if texts(&container["command"]).chain(texts(&container["args"])).any(|word| word == "controller") {
            arguments.extend(last.iter().map(|&word| word.to_owned()));
        }
        let socket = folders.iter().find(|(place, _)| place.ends_with(PLUGINS));
        if let Some((_, sockets)) = socket.filter(|_| first) {
            arguments.push(format!("--socket-dir={}", sockets.display()));
        }
        let variables = [
            ("KUBERNETES_SERVICE_HOST", ground.cluster.inside.as_str()),
            ("KUBERNETES_SERVICE_PORT", "6443"),
            ("POD_NAMESPACE", namespace),
            ("POD_NAME", name),
        ];
        let arguments = arguments.iter().map(String::as_str);
        programs.push(ground.run(
            &format!("{namespace}-{name}"),
            Path::new("/bin/sh"),
            arguments,
            &variables,
        )?);
    }
    Ok(programs)
}

/// Returns the program of an image, whether the command of a container is an argument of it, and what a controller is told
/// besides: keys of 4096 bits take long to make where nothing is optimized, and others of the network have its other port.
fn program_of(image: &str) -> Result<Option<(PathBuf, bool, &'static [&'static str])>, Failed> {
    let name = image.rsplit('/').next().and_then(|name| name.split([':', '@']).next());
    Ok(match name {
        Some("selkie-decryptor") => Some((
            env!("CARGO_BIN_EXE_selkie-decryptor").into(),
            true,
            &["--key-size=2048", "--listen-metrics-addr=:18081"],
        )),
        Some("sealed-secrets-controller") => Some((path_of(Peer::SealedSecretsController)?, false, &[])),
        _ => None,
    })
}

/// Returns the folder of each mounted volume, by where it is mounted; nothing if a Secret is missing, as nothing starts then.
fn volumes(
    ground: &Ground,
    sockets: Option<&Path>,
    deployment: &Json,
) -> Result<Option<Vec<(String, PathBuf)>>, Failed> {
    let (namespace, name) = names(deployment);
    let spec = &deployment["spec"]["template"]["spec"];
    let mut folders = Vec::new();
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let own = volume["name"].as_str().unwrap_or_default();
        let kinds = [("secret", "secretName", "secrets"), ("configMap", "name", "configmaps")];
        let source =
            kinds.iter().find_map(|(kind, field, plural)| Some((volume[kind][field].as_str()?, *plural)));
        let mut folder = ground.folder(&format!("volumes/{namespace}-{name}-{own}"))?;
        match (source, sockets) {
            (Some((object, plural)), _) => {
                let path = format!("/api/v1/namespaces/{namespace}/{plural}/{object}");
                let Some(object) = ground.find(&path)? else {
                    return Ok(None);
                };
                write_entries(&folder, &object)?;
            }
            (None, Some(sockets)) if own == "plugins" => folder = sockets.to_owned(),
            (None, _) if own.ends_with("programs") => link_programs(&folder)?,
            // What is only written to need not be where the program thinks that it is.
            _ => continue,
        }
        for container in spec["containers"].as_array().into_iter().flatten() {
            for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                if mount["name"] == own {
                    folders
                        .push((mount["mountPath"].as_str().unwrap_or_default().to_owned(), folder.clone()));
                }
            }
        }
    }
    // What is mounted below another one comes first.
    folders.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
    Ok(Some(folders))
}

fn write_entries(folder: &Path, object: &Json) -> Result<(), Failed> {
    let is_secret = object["kind"] == "Secret";
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let bytes = if is_secret { STANDARD.decode(value)? } else { value.as_bytes().to_vec() };
        fs::write(folder.join(key), bytes)?;
    }
    Ok(())
}

/// Puts the programs into a folder that an init container copies out of the image of Argo CD.
fn link_programs(folder: &Path) -> Result<(), Failed> {
    for (name, peer) in [("kustomize", Peer::Kustomize), ("helm", Peer::Helm4)] {
        if let (Some(program), false) = (peer.path(), folder.join(name).exists()) {
            symlink(program, folder.join(name))?;
        }
    }
    Ok(())
}

/// Writes what a Pod finds of its account.
fn account(ground: &Ground, namespace: &str, template: &Json) -> Result<PathBuf, Failed> {
    let name = template["serviceAccountName"].as_str().unwrap_or("default");
    let folder = ground.folder(&format!("accounts/{namespace}-{name}"))?;
    fs::write(folder.join("namespace"), namespace)?;
    fs::copy(ground.cluster.folder.join("ca.crt"), folder.join("ca.crt"))?;
    if template["automountServiceAccountToken"] != false {
        fs::write(folder.join("token"), ground.cluster.token(namespace, name)?)?;
    }
    Ok(folder)
}

/// Says where the Services of a Deployment lead: to a Pod that claims to be the process.
fn make_services(ground: &Ground, deployment: &Json) -> Result<(), Failed> {
    let (namespace, name) = names(deployment);
    let template = &deployment["spec"]["template"];
    let labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let address = &ground.cluster.inside;
    let mut items = vec![
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name, "labels": labels},
            "spec": {"automountServiceAccountToken": false, "nodeName": "none",
                "serviceAccountName": template["spec"]["serviceAccountName"],
                "containers": [{"name": "process", "image": "none"}]}}),
    ];
    let services = ground.object(&format!("/api/v1/namespaces/{namespace}/services"))?;
    for service in services["items"].as_array().into_iter().flatten() {
        let selector = service["spec"]["selector"].as_object();
        if !selector.is_some_and(|all| all.iter().all(|(key, value)| labels.get(key) == Some(value))) {
            continue;
        }
        let own = service["metadata"]["name"].as_str().unwrap_or_default();
        let ports: Vec<Json> = service["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| target(template, port))
            .collect();
        items.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": ports,
            "metadata": {"namespace": namespace, "name": own, "labels": {"kubernetes.io/service-name": own}},
            "endpoints": [{"addresses": [address], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": name}}]}));
    }
    // Without a Service, nobody asks where the Pod is.
    if items.len() == 1 {
        return Ok(());
    }
    ground.cluster.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let status = json!({"status": {
        "phase": "Running", "conditions": ready, "podIP": address, "podIPs": [{"ip": address}]}});
    ground.patch(&format!("/api/v1/namespaces/{namespace}/pods/{name}/status"), &status).map(|_| ())
}

/// Returns where a port of a Service leads.
fn target(template: &Json, port: &Json) -> Json {
    let target = match port["targetPort"].as_str() {
        Some(name) => {
            let containers = template["spec"]["containers"].as_array().into_iter().flatten();
            let mut all = containers.flat_map(|one| one["ports"].as_array().into_iter().flatten());
            all.find(|port| port["name"] == name).map_or(Json::Null, |port| port["containerPort"].clone())
        }
        None => port["targetPort"].clone(),
    };
    let mut target = Map::from_iter([("port".to_owned(), target), ("protocol".to_owned(), "TCP".into())]);
    if !port["name"].is_null() {
        target.insert("name".to_owned(), port["name"].clone());
    }
    target.into()
}

/// Says that all replicas are there, unless that has been said.
fn tell_state(ground: &Ground, deployment: &Json) -> Result<(), Failed> {
    let generation = &deployment["metadata"]["generation"];
    if deployment["status"]["observedGeneration"] == *generation {
        return Ok(());
    }
    let replicas = &deployment["spec"]["replicas"];
    let status = json!({"status": {
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
        "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}]}});
    ground.patch(&format!("{}/status", path(deployment)), &status).map(|_| ())
}

fn ports(template: &Json) -> impl Iterator<Item = u16> {
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.filter_map(|one| one["ports"][0]["containerPort"].as_u64());
    ports.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port == 8080)
}

fn path(deployment: &Json) -> String {
    let (namespace, name) = names(deployment);
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

fn names(object: &Json) -> (&str, &str) {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    (field("namespace"), field("name"))
}

fn texts(list: &Json) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Json::as_str)
}

/// Adds a line to the log, as nobody else hears of it.
fn tell(ground: &Ground, message: &str) {
    let path = ground.cluster.folder.join("logs/machines.log");
    let before = fs::read_to_string(&path).unwrap_or_default();
    // The same is not told again and again; and where nothing can be written, nothing can be told.
    if !before.ends_with(&format!("{message}\n")) {
        let _ = fs::write(&path, format!("{before}{message}\n"));
    }
}

/// Where the sockets of plugins are mounted.
const PLUGINS: &str = "/plugins";

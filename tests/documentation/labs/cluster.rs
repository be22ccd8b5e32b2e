//! A cluster of its own for a page, in which Deployments run. It can be lost, with all that was on the machine of its owner
//! but Git and the backup.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value as Json, json};

use super::super::machines::Machines;
use super::super::place::Place;
use super::{Kind, Lab};
use crate::live::cluster;
use crate::live::sync_engine::{Ground, path_of, tool, wait};
use crate::peer::{Peer, output};

/// The lab of pages about clusters.
pub const KIND: Kind = Kind {
    name: "cluster",
    is_live: true,
    is_possible: || cluster::is_possible(&NEEDED),
    start: |place| Ok(Box::new(Cluster::start(place)?)),
};

/// A cluster, and what there was in one that is lost.
pub struct Cluster {
    /// What an administrator does.
    pub ground: &'static Ground,
    machines: Option<Machines>,
    lost: Option<Secrets>,
}

/// What Secrets are, by namespace and name.
type Secrets = BTreeMap<(String, String), Json>;

impl Cluster {
    /// Starts a cluster, and makes it that of kubectl.
    pub fn start(place: &Place) -> Result<Self, Failed> {
        for (name, peer) in PROGRAMS {
            if let Some(program) = peer.path() {
                place.provide(name, &program)?;
            }
        }
        let ground = own(place)?;
        Ok(Self { ground, machines: Some(Machines::start(ground, None)), lost: None })
    }

    /// Nothing is left but what is in Git, the backup, and the key that opens it.
    fn lose(&mut self, place: &Place) -> Result<(), Failed> {
        self.lost = Some(secrets(self.ground)?);
        self.machines = None;
        self.ground.cluster.end();
        let (work, before) = (place.work(), place.beside("before"));
        fs::rename(&work, &before)?;
        fs::create_dir(&work)?;
        for folder in [".kube", ".cache", ".config"] {
            let folder = place.home().join(folder);
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        let mut clone = tool("git");
        output(clone.args(["clone", "--quiet"]).arg(before.join("fleet")).arg(work.join("fleet")))?;
        for kept in ["keys.yaml", "recovery.agekey"] {
            fs::copy(before.join(kept), work.join(kept))?;
        }
        self.ground = own(place)?;
        // The session of the page goes on, and the variables that it was given before would go on with it.
        let session = place.beside("story").join("variables");
        let variables = fs::read_to_string(&session)?;
        let kept = variables.lines().filter(|line| !line.contains(" no_proxy="));
        fs::write(&session, kept.map(|line| format!("{line}\n")).collect::<String>())?;
        self.machines = Some(Machines::start(self.ground, None));
        Ok(())
    }

    /// Every Secret is there again, byte for byte, and belongs to what it belonged to.
    fn compare(&self) -> Result<(), Failed> {
        let lost = self.lost.as_ref().ok_or("no cluster is lost")?;
        if lost.is_empty() {
            return Err("there was nothing to lose".into());
        }
        wait("all Secrets are there again", || {
            let found = secrets(self.ground)?;
            let differ = lost.iter().filter(|(name, secret)| found.get(name) != Some(secret));
            let more = found.iter().filter(|(name, _)| !lost.contains_key(name));
            let names: Vec<_> = differ.chain(more).map(|(name, _)| name).collect();
            Ok(if names.is_empty() { Ok(()) } else { Err(format!("others: {names:?}")) })
        })
    }
}

impl Lab for Cluster {
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        direct(self.ground)
    }

    fn does(&mut self, words: &str, place: &Place) -> Result<(), Failed> {
        match words {
            "loses the cluster" => self.lose(place),
            "compares all Secrets" => self.compare(),
            "has Helm 3" => place.provide("helm", &path_of(Peer::Helm3)?),
            _ => Err(format!("this lab does not know how it {words}").into()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.machines = None;
        self.ground.cluster.end();
    }
}

/// Starts a cluster, and makes it that of kubectl. It lasts until it is ended.
pub fn own(place: &Place) -> Result<&'static Ground, Failed> {
    // What runs there may be asked from other threads until the end.
    let ground: &'static Ground = Box::leak(Box::new(Ground::start()?));
    let folder = place.home().join(".kube");
    fs::create_dir_all(&folder)?;
    fs::copy(ground.cluster.kubeconfig(), folder.join("config"))?;
    fs::copy(ground.cluster.folder.join("ca.crt"), folder.join("ca.crt"))?;
    Ok(ground)
}

/// Returns variables by which the cluster is reached without a proxy.
pub fn direct(ground: &Ground) -> Vec<(&'static str, OsString)> {
    vec![(
        "no_proxy",
        format!("127.0.0.1,localhost,{},{}", ground.cluster.inside, ground.cluster.outside).into(),
    )]
}

/// Returns all Secrets but those of the cluster itself, without what is new in each cluster.
fn secrets(ground: &Ground) -> Result<Secrets, Failed> {
    let list = ground.object("/api/v1/secrets")?;
    let mut secrets = Secrets::new();
    for secret in list["items"].as_array().into_iter().flatten() {
        let metadata = &secret["metadata"];
        let field = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        if field("namespace").starts_with("kube-") {
            continue;
        }
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let owners: Vec<_> = owners
            .map(|owner| json!([owner["apiVersion"], owner["kind"], owner["name"], owner["controller"]]))
            .collect();
        let kept = json!({
            "type": secret["type"], "data": secret["data"], "immutable": secret["immutable"],
            "labels": metadata["labels"], "annotations": metadata["annotations"], "owners": owners,
        });
        secrets.insert((field("namespace"), field("name")), kept);
    }
    Ok(secrets)
}

/// What pages call programs by.
pub const PROGRAMS: [(&str, Peer); 5] = [
    ("helm", Peer::Helm4),
    ("kubectl", Peer::Kubectl),
    ("kubeseal", Peer::Kubeseal),
    ("kustomize", Peer::Kustomize),
    ("sops", Peer::Sops313),
];

const NEEDED: [Peer; 7] =
    [Peer::Age, Peer::Git, Peer::Helm3, Peer::Helm4, Peer::Kubeseal, Peer::Kustomize, Peer::Sops313];

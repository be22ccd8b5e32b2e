//! A lab with a cluster of its own, in which the real controller of Sealed Secrets runs, and the tools of others.

use std::ffi::OsString;
use std::fs;

use libtest_mimic::Failed;
use serde_json::Value as Json;

use super::tools::{self, TOOLS};
use super::{Kind, Lab};
use crate::documentation::place::Place;
use crate::live::cluster::{self, Cluster};
use crate::live::{controller, sync_engine};
use crate::peer::output;

/// The kind of a page that says `sealed-secrets`.
pub const KIND: Kind = Kind {
    name: "sealed-secrets",
    is_live: true,
    is_possible: || cluster::is_possible(&[&TOOLS.map(|(_, peer)| peer)[..], &controller::NEEDED].concat()),
    start: |place| Ok(Box::new(SealedSecrets::start(place)?)),
};

struct SealedSecrets {
    cluster: Cluster,
}

impl SealedSecrets {
    fn start(place: &Place) -> Result<Self, Failed> {
        tools::provide(place)?;
        let lab = Self { cluster: Cluster::start()? };
        controller::start_in(&lab.cluster)?;
        let folder = place.home().join(".kube");
        fs::create_dir(&folder)?;
        fs::copy(lab.cluster.kubeconfig(), folder.join("config"))?;
        fs::copy(lab.cluster.folder.join("ca.crt"), folder.join("ca.crt"))?;
        Ok(lab)
    }

    /// Waits until the controller has said of every SealedSecret whether it was unsealed.
    fn settle(&self) -> Result<(), Failed> {
        let list = ["get", "sealedsecrets", "--all-namespaces", "--output=json"];
        sync_engine::wait("every SealedSecret has a status", || {
            let list: Json = serde_json::from_slice(&output(&mut self.cluster.kubectl(list)?)?)?;
            let mut items = list["items"].as_array().into_iter().flatten();
            let is_settled =
                |item: &Json| item["status"]["observedGeneration"] == item["metadata"]["generation"];
            Ok(if items.all(is_settled) { Ok(()) } else { Err(list.to_string()) })
        })
    }
}

impl Lab for SealedSecrets {
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        vec![("no_proxy", format!("127.0.0.1,localhost,{}", self.cluster.inside).into())]
    }

    fn after(&mut self, commands: &str, _place: &Place) -> Result<(), Failed> {
        if commands.contains("rollout restart") {
            controller::restart_in(&self.cluster)?;
        }
        if commands.contains("kubectl apply") { self.settle() } else { Ok(()) }
    }
}

impl Drop for SealedSecrets {
    fn drop(&mut self) {
        self.cluster.end();
    }
}

//! A cluster with Argo CD, in which Deployments run: a plugin in a sidecar of its repo-server, and controllers.

use std::ffi::OsString;

use libtest_mimic::Failed;

use super::super::machines::Machines;
use super::super::place::Place;
use super::cluster::{PROGRAMS, direct, own};
use super::{Kind, Lab};
use crate::live::sync_engine::Ground;
use crate::live::{argocd, cluster};
use crate::peer::Peer;

/// The lab of the page about Argo CD.
pub const KIND: Kind = Kind {
    name: "argocd",
    is_live: true,
    is_possible: || cluster::is_possible(&NEEDED),
    start: |place| Ok(Box::new(Argocd::start(place)?)),
};

struct Argocd {
    ground: &'static Ground,
    _argocd: argocd::Lab,
    machines: Option<Machines>,
}

impl Argocd {
    fn start(place: &Place) -> Result<Self, Failed> {
        for (name, peer) in PROGRAMS {
            if let Some(program) = peer.path() {
                place.provide(name, &program)?;
            }
        }
        let ground = own(place)?;
        let argocd = argocd::Lab::start(ground)?;
        let machines = Some(Machines::start(ground, Some(argocd.sockets.clone())));
        Ok(Self { ground, _argocd: argocd, machines })
    }
}

impl Lab for Argocd {
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        direct(self.ground)
    }
}

impl Drop for Argocd {
    fn drop(&mut self) {
        self.machines = None;
        self.ground.cluster.end();
    }
}

const NEEDED: [Peer; 7] =
    [Peer::Age, Peer::Argocd, Peer::ArgocdManifests, Peer::Git, Peer::Helm4, Peer::Kustomize, Peer::Redis];

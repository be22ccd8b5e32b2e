//! A cluster with Flux's kustomize-controller, in which Deployments run. What a GitRepository names is fetched when a page
//! says so, as Flux's source-controller takes no part.

use std::ffi::OsString;

use libtest_mimic::Failed;

use super::super::machines::Machines;
use super::super::place::Place;
use super::cluster::{PROGRAMS, direct, own};
use super::{Kind, Lab};
use crate::live::sync_engine::Ground;
use crate::live::{cluster, flux};
use crate::peer::Peer;

/// The lab of the page about Flux.
pub const KIND: Kind = Kind {
    name: "flux",
    is_live: true,
    is_possible: || cluster::is_possible(&NEEDED),
    start: |place| Ok(Box::new(Flux::start(place)?)),
};

struct Flux {
    ground: &'static Ground,
    flux: flux::Lab,
    machines: Option<Machines>,
}

impl Flux {
    fn start(place: &Place) -> Result<Self, Failed> {
        for (name, peer) in PROGRAMS {
            if let Some(program) = peer.path() {
                place.provide(name, &program)?;
            }
        }
        let ground = own(place)?;
        let flux = flux::Lab::start(ground)?;
        Ok(Self { ground, flux, machines: Some(Machines::start(ground, None)) })
    }
}

impl Lab for Flux {
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        direct(self.ground)
    }

    fn does(&mut self, words: &str, place: &Place) -> Result<(), Failed> {
        match words.split_once(' ') {
            Some(("fetches", name)) => self.flux.publish(name, &place.work().join(name)).map(|_| ()),
            _ => Err(format!("this lab does not know how it {words}").into()),
        }
    }
}

impl Drop for Flux {
    fn drop(&mut self) {
        self.machines = None;
        self.ground.cluster.end();
    }
}

const NEEDED: [Peer; 5] =
    [Peer::Age, Peer::FluxCrds, Peer::FluxKustomizeController, Peer::Git, Peer::Kustomize];

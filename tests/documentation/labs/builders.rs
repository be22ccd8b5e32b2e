//! Kustomize, kubectl and Helm, and no cluster.

use libtest_mimic::Failed;

use super::super::place::Place;
use super::cluster::PROGRAMS;
use super::{Kind, Lab};
use crate::live::sync_engine::path_of;
use crate::peer::Peer;

/// The lab of pages about what builds manifests.
pub const KIND: Kind = Kind {
    name: "builders",
    is_live: true,
    is_possible: || NEEDED.iter().all(|peer| peer.path().is_some()),
    start: |place| {
        for (name, peer) in PROGRAMS {
            if let Some(program) = peer.path() {
                place.provide(name, &program)?;
            }
        }
        Ok(Box::new(Builders))
    },
};

struct Builders;

impl Lab for Builders {
    fn does(&mut self, words: &str, place: &Place) -> Result<(), Failed> {
        let helm = match words {
            "has Helm 3" => Peer::Helm3,
            "has Helm 4" => Peer::Helm4,
            _ => return Err(format!("this lab does not know how it {words}").into()),
        };
        place.provide("helm", &path_of(helm)?)
    }
}

const NEEDED: [Peer; 6] = [Peer::Age, Peer::Git, Peer::Helm3, Peer::Helm4, Peer::Kubectl, Peer::Kustomize];

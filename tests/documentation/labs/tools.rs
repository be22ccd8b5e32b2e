//! A lab with the tools of others that work on files: sops, kubeseal, kubectl and kustomize, without a cluster.

use libtest_mimic::Failed;

use super::{Kind, Lab};
use crate::documentation::place::Place;
use crate::peer::Peer;

/// The kind of a page that says `tools`.
pub const KIND: Kind = Kind {
    name: "tools",
    is_live: true,
    is_possible: || TOOLS.iter().all(|(_, peer)| peer.path().is_some()),
    start: |place| {
        provide(place)?;
        Ok(Box::new(Tools))
    },
};

/// Puts the tools of others on the search path.
pub fn provide(place: &Place) -> Result<(), Failed> {
    for (name, peer) in TOOLS {
        place.provide(name, &peer.path().ok_or("a peer is not there")?)?;
    }
    Ok(())
}

struct Tools;

impl Lab for Tools {}

/// The tools of others, and their names.
pub const TOOLS: [(&str, Peer); 4] = [
    ("kubectl", Peer::Kubectl),
    ("kubeseal", Peer::Kubeseal),
    ("kustomize", Peer::Kustomize),
    ("sops", Peer::Sops313),
];

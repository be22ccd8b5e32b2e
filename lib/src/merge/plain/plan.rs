//! What a merge says: which value comes from which side, by path.

use std::hash::RandomState;

use super::super::{Conflict, Sides};
use super::hashes::{Hashes, of_key, of_list, of_map};
use super::matching::Same;
use crate::tree::NodeId;

/// One of the sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Ours,
    Theirs,
}

/// A merge by path.
pub(super) struct Plan {
    pub(super) documents: Inside,
    pub(super) conflicts: Vec<Conflict>,
}

/// A map, a list or the documents of a text, merged.
pub(super) struct Inside {
    pub(super) kind: Kind,
    /// What is in it, in order.
    pub(super) pieces: Vec<Piece>,
    /// The side whose order it is.
    pub(super) skeleton: Which,
    /// The positions of the pieces in the order of their side, if the order is a conflict.
    pub(super) order_of_theirs: Option<Vec<usize>>,
}

/// What holds pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Documents,
    List,
    Map,
}

/// A value in its versions, and what becomes of it.
pub(super) struct Piece {
    pub(super) at: Same,
    pub(super) how: How,
}

/// What becomes of a value.
pub(super) enum How {
    /// It is what the side for which conflicts are decided has.
    Conflict,
    /// It is there in none.
    Gone,
    /// It is merged further down.
    Inside(Inside),
    /// It is there if conflicts are decided for this side, and as this side has it.
    Only(Which),
    /// Both sides have the same.
    Same,
    /// It is what this side has.
    Take(Which),
}

impl Inside {
    /// Returns the pieces in their order.
    pub(super) fn in_order(&self, decide: Which) -> Vec<&Piece> {
        match (&self.order_of_theirs, decide) {
            (Some(order), Which::Theirs) => order.iter().map(|&at| &self.pieces[at]).collect(),
            _ => self.pieces.iter().collect(),
        }
    }

    /// Returns the side whose order the pieces have.
    pub(super) fn skeleton(&self, decide: Which) -> Which {
        if self.order_of_theirs.is_some() { decide } else { self.skeleton }
    }
}

impl Piece {
    /// Returns the side and the node that the value is taken from; `None` if it is not there, or merged further down.
    pub(super) fn taken(&self, decide: Which) -> Option<(Which, NodeId)> {
        let which = match &self.how {
            How::Conflict => decide,
            How::Gone | How::Inside(_) => return None,
            How::Only(which) if *which != decide => return None,
            How::Only(which) | How::Take(which) => *which,
            How::Same => Which::Ours,
        };
        self.of(which).map(|node| (which, node))
    }

    /// Returns the node of a side.
    pub(super) fn of(&self, which: Which) -> Option<NodeId> {
        match which {
            Which::Ours => self.at.ours,
            Which::Theirs => self.at.theirs,
        }
    }

    /// Returns whether the value is there.
    pub(super) fn is_there(&self, decide: Which) -> bool {
        matches!(self.how, How::Inside(_)) || self.taken(decide).is_some()
    }
}

/// Returns the hash of what a plan says.
pub(super) fn hash_of(plan: &Plan, sides: &Sides<Hashes<'_>>, decide: Which, keys: &RandomState) -> u64 {
    hash_inside(&plan.documents, sides, decide, keys)
}

fn hash_inside(inside: &Inside, sides: &Sides<Hashes<'_>>, decide: Which, keys: &RandomState) -> u64 {
    let side = |which| if which == Which::Ours { &sides.ours } else { &sides.theirs };
    let pieces = inside.in_order(decide).into_iter().filter_map(|piece| {
        let hash = match &piece.how {
            How::Inside(inside) => hash_inside(inside, sides, decide, keys),
            _ => piece.taken(decide).map(|(which, node)| side(which).of(node))?,
        };
        let named = piece.at.ours.map(|node| (&sides.ours, node));
        let named = named.or_else(|| piece.at.theirs.map(|node| (&sides.theirs, node)));
        let key = named.and_then(|(side, node)| side.tree.key(node)).unwrap_or_default();
        Some((key, hash))
    });
    match inside.kind {
        Kind::Map => of_map(pieces.map(|(key, hash)| (of_key(key, keys), hash)), keys),
        Kind::Documents | Kind::List => of_list(pieces.map(|(_, hash)| hash), keys),
    }
}

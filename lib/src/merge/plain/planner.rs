//! Merges by path.
//!
//! Invariants: a value that one side alone changed comes from that side. Where both changed it, or one removed what the
//! other changed, there is a conflict. Maps and lists that are nested deeper than [`MAX_DEPTH`] are merged as wholes.

use std::hash::RandomState;

use super::super::{Conflict, ConflictKind, Sides};
use super::hashes::Hashes;
use super::hunks::{By, Hunk, hunks};
use super::matching::{
    Items, Order, Same, by_name, by_object, entries, is_nearly_same, is_torn, object, order, take_for_renamed,
};
use super::plan::{How, Inside, Kind, Piece, Plan, Which};
use crate::tree::{NodeId, Origin, Step, TreePath, Value};

/// Merges versions by path.
pub(super) fn plan(sides: &Sides<Hashes<'_>>, keys: &RandomState) -> Plan {
    let mut planner =
        Planner { sides, keys, document: 0, path: TreePath::new(), depth: 0, conflicts: Vec::new() };
    let documents = planner.documents();
    Plan { documents, conflicts: planner.conflicts }
}

/// How the versions of an item are merged.
type Merge<T> = fn(&mut T, Same) -> Piece;

/// Items without names that stand between others which are equal in all versions.
struct Pairs<'a> {
    kind: Kind,
    base: &'a [NodeId],
    ours: &'a [NodeId],
    theirs: &'a [NodeId],
    /// Whether both sides changed them, and not to the same.
    is_of_both: bool,
    /// Whether there is nothing that both come from.
    is_added: bool,
    /// Whether each side has one item alone.
    is_single: bool,
}

struct Planner<'a, 'b> {
    sides: &'a Sides<Hashes<'b>>,
    keys: &'a RandomState,
    document: usize,
    path: TreePath,
    depth: usize,
    conflicts: Vec<Conflict>,
}

impl Planner<'_, '_> {
    fn documents(&mut self) -> Inside {
        let Sides { base, ours, theirs } = self.sides;
        let roots = |version: &Hashes<'_>| version.tree.documents().to_vec();
        let (our_roots, their_roots) = (roots(ours), roots(theirs));
        let base_roots = base.as_ref().map(roots);
        let is_single = [Some(&our_roots), Some(&their_roots), base_roots.as_ref()]
            .iter()
            .flatten()
            .all(|roots| roots.len() == 1);
        let versions: Vec<&Hashes<'_>> =
            [Some(ours), Some(theirs), base.as_ref()].into_iter().flatten().collect();
        let by_object = if is_single { None } else { by_object(&versions, self.keys) };
        if let Some(mut found) = by_object {
            let base = if base.is_some() { found.pop() } else { None };
            let (Some(mut theirs), Some(mut ours)) = (found.pop(), found.pop()) else {
                return self.unkeyed(Kind::Documents, base_roots.as_deref(), &our_roots, &their_roots);
            };
            if let Some(base) = &base {
                let is_renamed = |side: &Hashes<'_>, old: NodeId, new: NodeId| {
                    self.sides
                        .base
                        .as_ref()
                        .is_some_and(|base| is_nearly_same((base, old), (side, new), self.keys))
                };
                let (our, their) = (&self.sides.ours, &self.sides.theirs);
                take_for_renamed(base, &mut ours, &theirs, |old, new| is_renamed(our, old, new));
                take_for_renamed(base, &mut theirs, &ours, |old, new| is_renamed(their, old, new));
            }
            return self.keyed(Kind::Documents, base.as_ref(), &ours, &theirs);
        }
        self.unkeyed(Kind::Documents, base_roots.as_deref(), &our_roots, &their_roots)
    }

    /// Merges one value.
    fn piece(&mut self, at: Same) -> Piece {
        let Same { base, ours, theirs } = at;
        let base_hash = base.zip(self.sides.base.as_ref()).map(|(node, version)| version.of(node));
        let our_hash = ours.map(|node| self.sides.ours.of(node));
        let their_hash = theirs.map(|node| self.sides.theirs.of(node));
        let how = match (ours, theirs) {
            (None, None) => How::Gone,
            (Some(ours), Some(theirs)) if our_hash == their_hash => {
                self.layout_of_both(base, ours, theirs).unwrap_or(How::Same)
            }
            (Some(ours), Some(theirs)) if our_hash == base_hash => {
                self.layout_of_both(base, ours, theirs).unwrap_or(How::Take(Which::Theirs))
            }
            (Some(ours), Some(theirs)) if their_hash == base_hash => {
                self.layout_of_both(base, ours, theirs).unwrap_or(How::Take(Which::Ours))
            }
            (None, Some(_)) if base.is_none() => How::Take(Which::Theirs),
            (Some(_), None) if base.is_none() => How::Take(Which::Ours),
            (None, Some(_)) if their_hash == base_hash => How::Gone,
            (Some(_), None) if our_hash == base_hash => How::Gone,
            (None, Some(_)) => self.conflict(ConflictKind::RemovedByOurs, How::Only(Which::Theirs)),
            (Some(_), None) => self.conflict(ConflictKind::RemovedByTheirs, How::Only(Which::Ours)),
            (Some(ours), Some(theirs)) => self.both(base, ours, theirs),
        };
        Piece { at, how }
    }

    /// Merges a map or list that one side at most changed, for the comments and the layout that both changed.
    fn layout_of_both(&mut self, base: Option<NodeId>, ours: NodeId, theirs: NodeId) -> Option<How> {
        let Sides { base: old, ours: our, theirs: their } = self.sides;
        let is_open = |version: &Hashes<'_>, node: NodeId| {
            let node = version.tree.node(node);
            node.origin == Origin::Source && matches!(node.value, Value::List | Value::Map)
        };
        let (old, base) = old.as_ref().zip(base)?;
        let is_all_open = is_open(old, base) && is_open(our, ours) && is_open(their, theirs);
        if !is_all_open
            || self.depth >= MAX_DEPTH
            || our.tree.node(ours).value != their.tree.node(theirs).value
        {
            return None;
        }
        let (before, our_text, their_text) = (text(old, base), text(our, ours), text(their, theirs));
        let is_changed = before != our_text && before != their_text && our_text != their_text;
        is_changed.then(|| self.both(Some(base), ours, theirs))
    }

    /// Merges a value that both sides changed.
    fn both(&mut self, base: Option<NodeId>, ours: NodeId, theirs: NodeId) -> How {
        let Sides { base: old, ours: our, theirs: their } = self.sides;
        let kind = if base.is_some() { ConflictKind::ChangedByBoth } else { ConflictKind::AddedByBoth };
        let (our_node, their_node) = (our.tree.node(ours), their.tree.node(theirs));
        let is_written = our_node.origin == Origin::Source && their_node.origin == Origin::Source;
        if !is_written || self.depth >= MAX_DEPTH {
            return self.conflict(kind, How::Conflict);
        }
        let before =
            old.as_ref().zip(base).filter(|(old, base)| old.tree.node(*base).value == our_node.value);
        self.depth += 1;
        let how = match (our_node.value, their_node.value) {
            (Value::Map, Value::Map) => {
                let base = before.map(|(old, base)| entries(old, base, self.keys));
                let (ours, theirs) = (entries(our, ours, self.keys), entries(their, theirs, self.keys));
                How::Inside(self.keyed(Kind::Map, base.as_ref(), &ours, &theirs))
            }
            (Value::List, Value::List) => {
                let lists: Vec<_> =
                    [Some((our, ours)), Some((their, theirs)), before].into_iter().flatten().collect();
                match (by_name(&lists), before) {
                    (Some((mut found, is_weak)), _) => {
                        let base = if before.is_some() { found.pop() } else { None };
                        let theirs = found.pop().unwrap_or_default();
                        let ours = found.pop().unwrap_or_default();
                        let merge = if is_weak { Self::whole } else { Self::piece };
                        How::Inside(self.keyed_by(merge, Kind::List, base.as_ref(), &ours, &theirs))
                    }
                    (None, Some((old, base))) => {
                        let items = |version: &Hashes<'_>, list| version.tree.items(list).collect::<Vec<_>>();
                        let (base, ours, theirs) = (items(old, base), items(our, ours), items(their, theirs));
                        How::Inside(self.unkeyed(Kind::List, Some(&base), &ours, &theirs))
                    }
                    (None, None) => self.conflict(kind, How::Conflict),
                }
            }
            _ => self.conflict(kind, How::Conflict),
        };
        self.depth -= 1;
        how
    }

    /// Merges a value that is taken from one side as a whole: what both changed is a conflict.
    fn whole(&mut self, at: Same) -> Piece {
        let base = at.base.zip(self.sides.base.as_ref()).map(|(node, version)| version.of(node));
        if let (Some(ours), Some(theirs)) = (at.ours, at.theirs) {
            let (ours, theirs) = (self.sides.ours.of(ours), self.sides.theirs.of(theirs));
            if ours != theirs && Some(ours) != base && Some(theirs) != base {
                let kind =
                    if base.is_some() { ConflictKind::ChangedByBoth } else { ConflictKind::AddedByBoth };
                return Piece { at, how: self.conflict(kind, How::Conflict) };
            }
        }
        self.piece(at)
    }

    /// Returns whether documents at one position are versions of one. `is_single` tells that there are no others.
    fn is_one_document(&self, old: Option<NodeId>, ours: NodeId, theirs: NodeId, is_single: bool) -> bool {
        let Sides { base, ours: our, theirs: their } = self.sides;
        let (ours, theirs) = ((our, ours), (their, theirs));
        let is_called_alike = |left: (&Hashes<'_>, NodeId), right: (&Hashes<'_>, NodeId)| {
            let (left, right) = (object(left.0, left.1, self.keys), object(right.0, right.1, self.keys));
            left == right && (left.is_some() || is_single)
        };
        match base.as_ref().zip(old) {
            None => is_called_alike(ours, theirs),
            Some(base) => [ours, theirs]
                .into_iter()
                .all(|side| is_called_alike(base, side) || is_nearly_same(base, side, self.keys)),
        }
    }

    /// Merges items that have identities.
    fn keyed(&mut self, kind: Kind, base: Option<&Items>, ours: &Items, theirs: &Items) -> Inside {
        self.keyed_by(Self::piece, kind, base, ours, theirs)
    }

    /// Merges items that have identities, each in some way.
    fn keyed_by(
        &mut self,
        merge: Merge<Self>,
        kind: Kind,
        base: Option<&Items>,
        ours: &Items,
        theirs: &Items,
    ) -> Inside {
        let is_torn = kind == Kind::List && is_torn(base, ours, theirs);
        let Order { items, skeleton, theirs } = order(base, ours, theirs, kind != Kind::Map);
        if theirs.is_some() || is_torn {
            self.conflict(ConflictKind::Order, How::Conflict);
        }
        let mut pieces = Vec::with_capacity(items.len());
        let mut count = 0;
        for at in items {
            let piece = match (at.base, at.ours, at.theirs) {
                (None, Some(_), None) if is_torn => Piece { at, how: How::Only(Which::Ours) },
                (None, None, Some(_)) if is_torn => Piece { at, how: How::Only(Which::Theirs) },
                _ => self.below(merge, kind, at, count),
            };
            count += usize::from(piece.is_there(Which::Ours));
            pieces.push(piece);
        }
        Inside { kind, pieces, skeleton, order_of_theirs: theirs }
    }

    /// Merges items that have none: what is equal in all versions tells where the others stand.
    fn unkeyed(&mut self, kind: Kind, base: Option<&[NodeId]>, ours: &[NodeId], theirs: &[NodeId]) -> Inside {
        let hashes = |version: &Hashes<'_>, nodes: &[NodeId]| -> Vec<u64> {
            nodes.iter().map(|&node| version.of(node)).collect()
        };
        let old = base.zip(self.sides.base.as_ref());
        let before = old.map(|(base, version)| hashes(version, base)).unwrap_or_default();
        let (our_hashes, their_hashes) = (hashes(&self.sides.ours, ours), hashes(&self.sides.theirs, theirs));
        let is_added = base.is_none();
        let is_single = ours.len() == 1 && theirs.len() == 1;
        let base = base.unwrap_or_default();
        let mut pieces: Vec<Piece> = Vec::new();
        let mut count = 0;
        for hunk in hunks(&before, &our_hashes, &their_hashes, true) {
            let is_equal = our_hashes[hunk.ours.clone()] == their_hashes[hunk.theirs.clone()];
            let pairs = Pairs {
                kind,
                base: &base[hunk.base.clone()],
                ours: &ours[hunk.ours.clone()],
                theirs: &theirs[hunk.theirs.clone()],
                is_of_both: hunk.by == By::Both && !is_equal,
                is_added,
                is_single,
            };
            let (our, their) = (pairs.ours, pairs.theirs);
            let merge = if is_equal { Some(Self::piece as Merge<Self>) } else { self.merge_of(&pairs) };
            if let Some(merge) = merge {
                for (position, (&ours, &theirs)) in our.iter().zip(their).enumerate() {
                    let base = pairs.base.get(position).copied();
                    let at = Same { base, ours: Some(ours), theirs: Some(theirs) };
                    let piece = self.below(merge, kind, at, count);
                    count += usize::from(piece.is_there(Which::Ours));
                    pieces.push(piece);
                }
                continue;
            }
            let (our_how, their_how): (fn() -> How, fn() -> How) = match hunk.by {
                By::Ours => (|| How::Take(Which::Ours), || How::Gone),
                By::Theirs => (|| How::Gone, || How::Take(Which::Theirs)),
                By::Both | By::Nobody => {
                    self.place_conflict(kind, &hunk, count);
                    (|| How::Only(Which::Ours), || How::Only(Which::Theirs))
                }
            };
            let our = our
                .iter()
                .map(|&node| Piece { at: Same { ours: Some(node), ..Same::default() }, how: our_how() });
            let their = their
                .iter()
                .map(|&node| Piece { at: Same { theirs: Some(node), ..Same::default() }, how: their_how() });
            let new: Vec<_> = our.chain(their).collect();
            count += new.iter().filter(|piece| piece.is_there(Which::Ours)).count();
            pieces.extend(new);
        }
        Inside { kind, pieces, skeleton: Which::Ours, order_of_theirs: None }
    }

    /// Returns how items at equal positions are merged with each other; `None` if nobody can tell that they belong together.
    fn merge_of(&self, pairs: &Pairs<'_>) -> Option<Merge<Self>> {
        let &Pairs { kind, base, ours, theirs, is_of_both, is_added, is_single } = pairs;
        let is_level =
            ours.len() == theirs.len() && (ours.len() == base.len() || is_added && kind == Kind::Documents);
        if !is_level {
            return None;
        }
        if !is_of_both {
            return Some(Self::piece);
        }
        let is_container = |version: &Hashes<'_>, nodes: &[NodeId]| {
            nodes.iter().any(|&node| matches!(version.tree.node(node).value, Value::List | Value::Map))
        };
        let are_other = match kind {
            Kind::Documents => ours.iter().zip(theirs).enumerate().any(|(at, (&ours, &theirs))| {
                !self.is_one_document(base.get(at).copied(), ours, theirs, is_single)
            }),
            _ => is_container(&self.sides.ours, ours) || is_container(&self.sides.theirs, theirs),
        };
        // What several items of no name became, nobody can tell if both sides changed them.
        match (are_other, kind) {
            (true, _) if ours.len() > 1 => None,
            (true, _) | (false, Kind::List) => Some(Self::whole),
            (false, _) => Some(Self::piece),
        }
    }

    /// Notes that the sides do not agree about a piece of a list.
    fn place_conflict(&mut self, kind: Kind, hunk: &Hunk, count: usize) {
        let conflict = match (hunk.base.len(), hunk.ours.len(), hunk.theirs.len()) {
            (1, 0, _) => ConflictKind::RemovedByOurs,
            (1, _, 0) => ConflictKind::RemovedByTheirs,
            _ => {
                if kind == Kind::Documents {
                    self.document = count;
                }
                self.conflict(ConflictKind::Order, How::Conflict);
                return;
            }
        };
        self.step(kind, Step::Index(count), count, |planner| planner.conflict(conflict, How::Conflict));
    }

    /// Merges a value in a container, `count` values of which stand before it.
    fn below(&mut self, merge: Merge<Self>, kind: Kind, at: Same, count: usize) -> Piece {
        let step = match kind {
            Kind::Documents | Kind::List => Step::Index(count),
            Kind::Map => {
                let key = at.ours.and_then(|node| self.sides.ours.tree.key(node));
                let key = key.or_else(|| at.theirs.and_then(|node| self.sides.theirs.tree.key(node)));
                Step::Key(String::from_utf8_lossy(key.unwrap_or_default()).into_owned())
            }
        };
        self.step(kind, step, count, |planner| merge(planner, at))
    }

    fn step<T>(&mut self, kind: Kind, step: Step, count: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        if kind == Kind::Documents {
            self.document = count;
            return work(self);
        }
        self.path.push(step);
        let done = work(self);
        self.path.pop();
        done
    }

    fn conflict(&mut self, kind: ConflictKind, how: How) -> How {
        self.conflicts.push(Conflict { document: self.document, path: self.path.clone(), kind });
        how
    }
}

/// Returns the text of an entry, or of all documents for one of them.
fn text<'a>(version: &Hashes<'a>, node: NodeId) -> &'a [u8] {
    let tree = version.tree;
    let (start, end) = (tree.node(node).key_start as usize, tree.node(node).span.end as usize);
    let is_document = tree.documents().binary_search(&node).is_ok();
    tree.source().get(start..end).filter(|_| !is_document).unwrap_or(tree.source())
}

/// How deep maps and lists are merged: below, what both sides changed is a conflict.
pub(super) const MAX_DEPTH: usize = 100;

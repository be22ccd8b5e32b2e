//! Which items of three containers are the same one, and in what order they stand in the merge.
//!
//! Invariant: an identity is there once in each version.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::hashes::{Hashes, of_key};
use super::plan::Which;
use crate::tree::{NodeId, Tree, TreePath, Value};

/// The items of a container in one version, each with its identity.
pub(super) type Items = Vec<(u64, NodeId)>;

/// An item in the versions that have it.
#[derive(Clone, Copy, Default)]
pub(super) struct Same {
    pub(super) base: Option<NodeId>,
    pub(super) ours: Option<NodeId>,
    pub(super) theirs: Option<NodeId>,
}

/// The items of a container, in the order of the merge.
pub(super) struct Order {
    pub(super) items: Vec<Same>,
    /// The side whose order it is.
    pub(super) skeleton: Which,
    /// The positions of the items in the order of their side, if the sides have orders that differ.
    pub(super) theirs: Option<Vec<usize>>,
}

/// Returns the entries of a map. Of entries with one key, the first is the first, and the second the second.
pub(super) fn entries(version: &Hashes<'_>, map: NodeId, keys: &RandomState) -> Items {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let identity = |item| {
        let key = of_key(version.tree.key(item).unwrap_or_default(), keys);
        let count = seen.entry(key).and_modify(|count| *count += 1).or_default();
        (keys.hash_one((key, *count)), item)
    };
    version.tree.items(map).map(identity).collect()
}

/// Returns the items of lists of maps by the value of a key that all of them have, each with a value of its own, and
/// whether that key may well be a value that changes.
pub(super) fn by_name(lists: &[(&Hashes<'_>, NodeId)]) -> Option<(Vec<Items>, bool)> {
    NAMES.iter().find_map(|name| {
        let found = lists.iter().map(|&(version, list)| named(version, list, name)).collect::<Option<_>>()?;
        Some((found, WEAK.contains(name)))
    })
}

fn named(version: &Hashes<'_>, list: NodeId, name: &str) -> Option<Items> {
    let tree = version.tree;
    let mut seen = HashSet::new();
    let identity = |item: NodeId| {
        let value = entry(tree, item, name)?;
        let is_name = !matches!(tree.node(value).value, Value::List | Value::Map | Value::Null);
        let identity = version.of(value);
        (is_name && seen.insert(identity)).then_some((identity, item))
    };
    tree.items(list).map(identity).collect()
}

fn entry(tree: &Tree, map: NodeId, key: &str) -> Option<NodeId> {
    if tree.node(map).value != Value::Map {
        return None;
    }
    tree.items(map).find(|&item| tree.key(item) == Some(key.as_bytes()))
}

/// Returns the documents of versions by what they are for Kubernetes, if that tells them apart.
pub(super) fn by_object(versions: &[&Hashes<'_>], keys: &RandomState) -> Option<Vec<Items>> {
    versions.iter().map(|version| objects(version, keys)).collect()
}

fn objects(version: &Hashes<'_>, keys: &RandomState) -> Option<Items> {
    let mut seen = HashSet::new();
    let identity = |&root: &NodeId| {
        let identity = object(version, root, keys)?;
        seen.insert(identity).then_some((identity, root))
    };
    version.tree.documents().iter().map(identity).collect()
}

/// Returns what a document is for Kubernetes; `None` if it is no object.
pub(super) fn object(version: &Hashes<'_>, root: NodeId, keys: &RandomState) -> Option<u64> {
    let tree = version.tree;
    let at = |path: &[&str]| {
        let path: TreePath = path.iter().map(|key| crate::tree::Step::Key((*key).to_owned())).collect();
        tree.get(root, &path).map(|node| version.of(node))
    };
    let (kind, name) = (at(&["kind"])?, at(&["metadata", "name"])?);
    Some(keys.hash_one((at(&["apiVersion"]), kind, at(&["metadata", "namespace"]), name)))
}

/// Returns whether two objects hold nearly the same, whatever their names and kinds: three quarters of all values.
pub(super) fn is_nearly_same(
    left: (&Hashes<'_>, NodeId),
    right: (&Hashes<'_>, NodeId),
    keys: &RandomState,
) -> bool {
    let (left, right) = (content(left.0, left.1, keys), content(right.0, right.1, keys));
    let (mut at, mut kept) = (right.iter().peekable(), 0_usize);
    for value in &left {
        while at.next_if(|other| *other < value).is_some() {}
        kept += usize::from(at.next_if_eq(&value).is_some());
    }
    kept > 0 && kept.saturating_mul(4) >= left.len().max(right.len()).saturating_mul(3)
}

/// Returns what an object holds beside what many objects have alike: a sorted hash of each value with its keys.
fn content(version: &Hashes<'_>, root: NodeId, keys: &RandomState) -> Vec<u64> {
    let tree = version.tree;
    let (mut found, mut work) = (Vec::new(), vec![(root, 0_u64)]);
    while let Some((node, path)) = work.pop() {
        match tree.node(node).value {
            Value::List => work.extend(tree.items(node).map(|item| (item, path))),
            Value::Map => work.extend(tree.items(node).filter_map(|item| {
                let key = tree.key(item).unwrap_or_default();
                (!ALIKE.contains(&key)).then(|| (item, keys.hash_one((path, key))))
            })),
            _ => found.push(keys.hash_one((path, version.of(node)))),
        }
    }
    found.sort_unstable();
    found
}

/// Returns whether both sides removed an item and each has new ones, which may be what it became.
pub(super) fn is_torn(base: Option<&Items>, ours: &Items, theirs: &Items) -> bool {
    let Some(base) = base else { return false };
    let [base, ours, theirs] = [base, ours, theirs].map(positions);
    let has = |all: &HashMap<u64, usize>, without: [&HashMap<u64, usize>; 2]| {
        all.keys().any(|identity| without.iter().all(|other| !other.contains_key(identity)))
    };
    has(&base, [&ours, &theirs]) && has(&ours, [&base, &theirs]) && has(&theirs, [&base, &ours])
}

/// Takes an item that has another identity than the one at its position in the base for the same, if nothing else is
/// and `is_renamed` says that they hold the same.
pub(super) fn take_for_renamed(
    base: &Items,
    side: &mut Items,
    other: &Items,
    is_renamed: impl Fn(NodeId, NodeId) -> bool,
) {
    if base.len() != side.len() {
        return;
    }
    let identities = |items: &Items| items.iter().map(|item| item.0).collect::<HashSet<_>>();
    let (in_base, in_side, in_other) = (identities(base), identities(side), identities(other));
    for (old, new) in base.iter().zip(side) {
        let is_free = !in_side.contains(&old.0) && !in_base.contains(&new.0) && !in_other.contains(&new.0);
        if is_free && is_renamed(old.1, new.1) {
            new.0 = old.0;
        }
    }
}

/// Returns the items of all versions, those of one identity together. `is_ordered` tells whether the order says something.
pub(super) fn order(base: Option<&Items>, ours: &Items, theirs: &Items, is_ordered: bool) -> Order {
    let no_items = Items::new();
    let base = base.unwrap_or(&no_items);
    let (in_base, in_ours, in_theirs) = (positions(base), positions(ours), positions(theirs));
    let rises = |items: &Items, other: &HashMap<u64, usize>| {
        let mut at = items.iter().filter_map(|item| other.get(&item.0)).peekable();
        std::iter::from_fn(|| at.next().map(|this| at.peek().is_none_or(|next| this < *next)))
            .all(|rises| rises)
    };
    let (ours_kept, theirs_kept) = (rises(ours, &in_base), rises(theirs, &in_base));
    let is_same = rises(ours, &in_theirs);
    let skeleton = if ours_kept && !theirs_kept { Which::Theirs } else { Which::Ours };
    let item = |identity: u64| Same {
        base: in_base.get(&identity).map(|&at| base[at].1),
        ours: in_ours.get(&identity).map(|&at| ours[at].1),
        theirs: in_theirs.get(&identity).map(|&at| theirs[at].1),
    };
    let line_up = |skeleton| match skeleton {
        Which::Ours => interleave(ours, theirs, &in_ours, &in_theirs, &in_base),
        Which::Theirs => interleave(theirs, ours, &in_theirs, &in_ours, &in_base),
    };
    let identities = line_up(skeleton);
    let is_conflict = is_ordered && !is_same && ours_kept == theirs_kept;
    let theirs = is_conflict.then(|| {
        let at: HashMap<u64, usize> =
            identities.iter().enumerate().map(|(at, &identity)| (identity, at)).collect();
        line_up(Which::Theirs).iter().filter_map(|identity| at.get(identity).copied()).collect()
    });
    Order { items: identities.into_iter().map(item).collect(), skeleton, theirs }
}

fn positions(items: &Items) -> HashMap<u64, usize> {
    items.iter().enumerate().map(|(at, item)| (item.0, at)).collect()
}

/// Returns the identities of one version, and behind the one that each follows those that only the other has.
fn interleave(
    skeleton: &Items,
    other: &Items,
    in_skeleton: &HashMap<u64, usize>,
    in_other: &HashMap<u64, usize>,
    in_base: &HashMap<u64, usize>,
) -> Vec<u64> {
    let is_own = |at: usize| {
        skeleton
            .get(at)
            .is_some_and(|(identity, _)| !in_other.contains_key(identity) && !in_base.contains_key(identity))
    };
    // Behind what the skeleton itself puts in at a place.
    let behind: Vec<usize> = {
        let mut behind = vec![skeleton.len(); skeleton.len() + 1];
        for at in (0..skeleton.len()).rev() {
            behind[at] = if is_own(at) { behind[at + 1] } else { at };
        }
        behind
    };
    let mut put_in: Vec<Vec<u64>> = vec![Vec::new(); skeleton.len() + 1];
    let mut at = behind[0];
    for &(identity, _) in other {
        match in_skeleton.get(&identity) {
            Some(&position) => at = behind[position + 1],
            None => put_in[at].push(identity),
        }
    }
    let mut found = Vec::with_capacity(skeleton.len() + other.len());
    for (at, new) in put_in.into_iter().enumerate() {
        found.extend(new);
        found.extend(skeleton.get(at).map(|item| item.0));
    }
    found
}

/// Keys of what objects of one kind have alike.
const ALIKE: &[&[u8]] = &[b"apiVersion", b"immutable", b"kind", b"metadata", b"type"];

/// Names that are values as well: two items may swap them.
const WEAK: &[&str] = &["port", "path", "host", "ip"];

/// The keys that name the items of a list, the best first.
const NAMES: &[&str] = &[
    "name",
    "id",
    "containerPort",
    "port",
    "mountPath",
    "devicePath",
    "path",
    "host",
    "ip",
    "recipient",
    "arn",
    "fp",
    "uid",
    "topologyKey",
    "secretName",
];

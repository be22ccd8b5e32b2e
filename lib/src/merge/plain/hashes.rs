//! Hashes of values: two values are equal if theirs are, whatever their comments, layout and order of keys.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::tree::{NodeId, Tree, Value};

/// A tree, and a hash of every node and what is below it.
pub(super) struct Hashes<'a> {
    pub(super) tree: &'a Tree,
    hashes: Vec<u64>,
}

impl<'a> Hashes<'a> {
    /// Hashes all nodes of a tree. Hashes are to be compared with those that were made with the same keys.
    pub(super) fn new(tree: &'a Tree, keys: &RandomState) -> Self {
        let mut hashes: Vec<u64> = vec![0; tree.nodes().len()];
        for (id, node) in tree.nodes().rev() {
            hashes[id.index()] = match node.value {
                Value::List => of_list(tree.items(id).map(|item| hashes[item.index()]), keys),
                Value::Map => {
                    let entry = |item: NodeId| {
                        (of_key(tree.key(item).unwrap_or_default(), keys), hashes[item.index()])
                    };
                    of_map(tree.items(id).map(entry), keys)
                }
                value => of_scalar(tree, value, keys),
            };
        }
        Self { tree, hashes }
    }

    /// Returns the hash of a node.
    pub(super) fn of(&self, id: NodeId) -> u64 {
        self.hashes[id.index()]
    }

    /// Returns a hash of all documents.
    pub(super) fn of_documents(&self, keys: &RandomState) -> u64 {
        of_list(self.tree.documents().iter().map(|&root| self.of(root)), keys)
    }
}

/// Returns the hash of a key.
pub(super) fn of_key(key: &[u8], keys: &RandomState) -> u64 {
    keys.hash_one(key)
}

/// Returns the hash of a list with items of these hashes.
pub(super) fn of_list(items: impl Iterator<Item = u64>, keys: &RandomState) -> u64 {
    let mut hash = keys.build_hasher();
    b"list".hash(&mut hash);
    items.for_each(|item| item.hash(&mut hash));
    hash.finish()
}

/// Returns the hash of a map with entries of these keys and values, whose order counts for equal keys alone.
pub(super) fn of_map(entries: impl Iterator<Item = (u64, u64)>, keys: &RandomState) -> u64 {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|&(key, _)| key);
    keys.hash_one(("map", entries))
}

fn of_scalar(tree: &Tree, value: Value, keys: &RandomState) -> u64 {
    let mut hash = keys.build_hasher();
    std::mem::discriminant(&value).hash(&mut hash);
    match value {
        Value::Bool(value) => value.hash(&mut hash),
        Value::Float(value) => value.to_bits().hash(&mut hash),
        Value::Int(value) => value.hash(&mut hash),
        Value::Unsigned(value) => value.hash(&mut hash),
        Value::Comment(text) | Value::Str(text) | Value::Time(text) => tree.bytes(text).hash(&mut hash),
        Value::List | Value::Map | Value::Null => {}
    }
    hash.finish()
}

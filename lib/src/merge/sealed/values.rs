//! The sealed values of a file, each with what it was sealed for.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::sops::{MergeError, Side};
use super::{SameValue, SealedValue};
use crate::format::{Format, Rewrite};
use crate::sealed::{SealedSecret, is_sealed_secret, objects};
use crate::secret::SecretBytes;
use crate::sops::Places;
use crate::tree::{NodeId, Tree, TreePath, Value};

/// The SealedSecrets of a version.
pub(super) struct Sealed {
    objects: Vec<Object>,
}

/// A SealedSecret, with the places of its sealed values.
struct Object {
    sealed: SealedSecret,
    values: Vec<Item>,
}

/// A sealed value.
struct Item {
    /// Its key; `None` for the whole Secret in `spec.data`.
    key: Option<String>,
    node: NodeId,
    text: String,
}

impl Sealed {
    /// Reads the SealedSecrets of a tree.
    pub(super) fn read(tree: &Tree, side: Side) -> Result<Self, MergeError> {
        let nodes = objects(tree).into_iter().filter(|&node| is_sealed_secret(tree, node));
        let objects = nodes.map(|node| Object::read(tree, node, side)).collect::<Result<_, _>>()?;
        Ok(Self { objects })
    }

    /// Returns a version, of which these are the values, with those of our side in the place of its own where both sides
    /// have new ones that hold the same; `None` if there are none.
    pub(super) fn with_equal_values_of(
        &self,
        ours: &Self,
        base: Option<&Self>,
        format: Format,
        tree: &Tree,
        keys: &dyn SameValue,
    ) -> Option<SecretBytes> {
        let of_ours = ours.by_identity();
        let before: HashSet<&str> = base.into_iter().flat_map(Self::texts).collect();
        let mut equal = Vec::new();
        for (identity, object) in self.by_identity() {
            let Some(other) = of_ours.get(&identity) else { continue };
            for item in &object.values {
                let Some(key) = &item.key else { continue };
                let own = other.values.iter().find(|own| own.key.as_ref() == Some(key));
                let Some(own) = own.filter(|own| own.text != item.text) else { continue };
                let is_new = !before.contains(own.text.as_str()) && !before.contains(item.text.as_str());
                let (left, right) =
                    (SealedValue { object: &other.sealed, key }, SealedValue { object: &object.sealed, key });
                if is_new
                    && object.sealed.label() == other.sealed.label()
                    && keys.same(&left, &right) == Some(true)
                {
                    equal.push((item.node, own.text.clone()));
                }
            }
        }
        if equal.is_empty() { None } else { replaced(format, tree, equal) }
    }

    /// Returns the objects that are alone with their name and namespace.
    fn by_identity(&self) -> BTreeMap<(&str, &str), &Object> {
        let (mut found, mut twice) = (BTreeMap::new(), Vec::new());
        for object in &self.objects {
            let identity = (object.sealed.metadata.namespace(), object.sealed.metadata.name());
            if found.insert(identity, object).is_some() {
                twice.push(identity);
            }
        }
        twice.iter().for_each(|identity| {
            found.remove(identity);
        });
        found
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().flat_map(|object| &object.values).map(|item| item.text.as_str())
    }
}

/// Returns the places of the sealed values, in the order of the file, that none of the sides has in an object of the name
/// that opens what the one of the result opens. Names count in all scopes: another one may be another object.
pub(super) fn misplaced(tree: &Tree, result: &Sealed, sides: [&Sealed; 2]) -> Vec<(usize, TreePath)> {
    let mut places: HashMap<&str, HashSet<(String, &str, &str)>> = HashMap::new();
    for object in sides.into_iter().flat_map(|side| &side.objects) {
        for item in &object.values {
            places.entry(&item.text).or_default().insert(object.place());
        }
    }
    let mut found = Vec::new();
    for object in &result.objects {
        let place = object.place();
        let is_known =
            |item: &Item| places.get(item.text.as_str()).is_some_and(|known| known.contains(&place));
        found.extend(object.values.iter().filter(|item| !is_known(item)).map(|item| item.node));
    }
    found.sort_unstable();
    let mut at = Places::new(tree);
    found.into_iter().map(|node| at.advance(node)).collect()
}

impl Object {
    /// Returns what its values are sealed for, and whose they are.
    fn place(&self) -> (String, &str, &str) {
        (self.sealed.label(), self.sealed.metadata.namespace(), self.sealed.metadata.name())
    }

    fn read(tree: &Tree, node: NodeId, side: Side) -> Result<Self, MergeError> {
        let line = tree.line(tree.node(node).span.start);
        let sealed = SealedSecret::from_json(&tree.to_json(node)).map_err(|error| MergeError::Object {
            side,
            line,
            error,
        })?;
        let spec = entry(tree, node, "spec");
        let whole = spec.and_then(|spec| entry(tree, spec, "data")).map(|node| (None, node));
        let items = spec.and_then(|spec| entry(tree, spec, "encryptedData"));
        let items = items.into_iter().flat_map(|items| tree.items(items)).map(|node| {
            let key = String::from_utf8_lossy(tree.key(node).unwrap_or_default()).into_owned();
            (Some(key), node)
        });
        let item = |(key, node): (Option<String>, NodeId)| match tree.node(node).value {
            Value::Str(text) if !tree.bytes(text).is_empty() => {
                Some(Item { key, node, text: String::from_utf8_lossy(tree.bytes(text)).into_owned() })
            }
            _ => None,
        };
        Ok(Self { sealed, values: items.chain(whole).filter_map(item).collect() })
    }
}

/// Returns a version with other values; `None` if one cannot be written in its place: it is a conflict then.
fn replaced(format: Format, tree: &Tree, mut values: Vec<(NodeId, String)>) -> Option<SecretBytes> {
    values.sort_unstable();
    let mut copy = format.read(SecretBytes::from(tree.source())).ok()?;
    let mut changed = Vec::new();
    for (node, value) in values {
        let value = copy.intern(value.as_bytes());
        copy.set_value(node, Value::Str(value));
        changed.push(node);
    }
    format.store().rewrite(&copy, &Rewrite { changed: &changed, ..Rewrite::default() }).ok()
}

fn entry(tree: &Tree, map: NodeId, name: &str) -> Option<NodeId> {
    let is_map = tree.node(map).value == Value::Map;
    is_map.then(|| tree.items(map).filter(|&id| tree.key(id) == Some(name.as_bytes())).last()).flatten()
}

//! Maps in a document that were encrypted as documents of their own, such as the values of a HelmRelease.

use super::super::identity::is_identity;
use super::super::limits::LimitError;
use super::super::verdict::{MacVerdict, RenderError};
use super::super::{Engine, Role};
use super::document::{MARK_KEY, Writer, is_encrypted_comment, is_root_for_the_cluster};
use super::{ENCRYPTED, Unnamed};
use crate::format::{Format, METADATA_KEY};
use crate::secret::SecretBytes;
use crate::sops::{LeafState, Metadata, Places, leaves};
use crate::tree::{MetadataEntry, NodeId, Tree, TreePath, Value};

impl Engine<'_> {
    /// Opens the maps of a document that have metadata of their own.
    pub(super) fn open_nested(
        &self,
        path: &str,
        format: Format,
        tree: Tree,
    ) -> Result<Option<Unnamed>, RenderError> {
        let maps = encrypted_maps(&tree);
        if maps.is_empty() {
            return Ok(None);
        }
        if maps.len() > MOST_MAPS {
            let (what, limit) = (path.to_owned(), MOST_MAPS as u64);
            return Err(
                LimitError { what, name: "none", limit, unit: "maps with metadata of their own" }.into()
            );
        }
        let mut places = Places::new(&tree);
        for &(map, _) in &maps {
            let (_, place) = places.advance(map);
            if is_identity(&place) {
                let reason = "a document of its own is no part of what tells which object this is";
                let (place, path) = (path.to_owned(), place.to_string());
                return Err(RenderError::LeftEncrypted { place, path, reason });
            }
        }
        let source = SecretBytes::from(tree.source());
        let mut verdict = MacVerdict::Ok;
        let mut warnings = Vec::new();
        // What such a map says tells nothing of the object around it.
        let tree_of_all = format.read(source).expect("it was read before");
        let mut writer = Writer::new(path, Role::Values(format), tree_of_all);
        for &(map, metadata) in &maps {
            let document = || document_of(&tree, map, metadata);
            let encrypted = document();
            let Some(envelope) = self.recover(path, encrypted.metadata())? else {
                verdict = MacVerdict::Deferred;
                let ids = encrypted_leaves(path, format, &encrypted)?;
                let own = ids.iter().filter_map(|id| tree.id(id.index() + map.index()));
                writer.encrypted(&own.collect::<Vec<_>>());
                continue;
            };
            let (opened, of_map) = self.verify(path, &envelope, format, encrypted, document)?;
            if of_map != MacVerdict::Ok {
                verdict = of_map;
                warnings.push("the MAC is not that of the values, which the policy lets pass".to_owned());
            }
            let (opened, decrypted) = opened.into_parts();
            let decrypted = writer.take_values(&opened, &decrypted, map.index());
            writer.decrypted(&envelope.derive(MARK_KEY), &decrypted);
        }
        let hidden = writer.take_hidden();
        // The metadata of the maps go once objects are read.
        let (leaves, marked) = writer.finish(None)?;
        Ok(Some(Unnamed { verdict, marked, plaintext: None, leaves, whole: None, hidden, warnings }))
    }
}

/// Returns the maps that have metadata of their own, as documents, with the number of the document that they are in and
/// their place in it.
pub(in crate::render) fn documents(tree: &Tree) -> Vec<((usize, TreePath), Tree)> {
    let mut places = Places::new(tree);
    encrypted_maps(tree)
        .into_iter()
        .map(|(map, metadata)| (places.advance(map), document_of(tree, map, metadata)))
        .collect()
}

/// Returns a map with metadata of its own as a document.
fn document_of(tree: &Tree, map: NodeId, metadata: NodeId) -> Tree {
    let mut document = tree.subtree(map);
    let own = document.id(metadata.index() - map.index()).expect("it is in the map");
    let entry = document.metadata_json(own);
    document.mark_metadata(own);
    let entry = entry.as_object().cloned().map_or(MetadataEntry::NotAMapping, MetadataEntry::Present);
    document.set_metadata(entry);
    document
}

/// Returns the maps that have metadata of their own, with where it is, in order.
fn encrypted_maps(tree: &Tree) -> Vec<(NodeId, NodeId)> {
    let mut found: Vec<(NodeId, NodeId)> = Vec::new();
    for (map, node) in tree.nodes().filter(|(_, node)| node.value == Value::Map) {
        let is_inside = found.last().is_some_and(|&(outer, _)| tree.node(outer).end as usize > map.index());
        if is_inside || node.end as usize == map.index() + 1 {
            continue;
        }
        let root = tree.documents().get(tree.document_of(map));
        if root.is_some_and(|&root| is_root_for_the_cluster(tree, root)) {
            continue;
        }
        let metadata = tree.items(map).find(|&id| tree.key(id) == Some(METADATA_KEY.as_bytes()));
        if let Some(metadata) = metadata.filter(|&id| has_mac(tree, id)) {
            found.push((map, metadata));
        }
    }
    found
}

fn has_mac(tree: &Tree, metadata: NodeId) -> bool {
    let is_map = tree.node(metadata).value == Value::Map;
    is_map
        && tree.items(metadata).filter(|&id| tree.key(id) == Some(b"mac")).any(|id| {
            match tree.node(id).value {
                Value::Str(text) => tree.bytes(text).starts_with(ENCRYPTED),
                _ => false,
            }
        })
}

fn encrypted_leaves(path: &str, format: Format, tree: &Tree) -> Result<Vec<NodeId>, RenderError> {
    let metadata = Metadata::from_entry(tree.metadata());
    let metadata = metadata.map_err(|source| RenderError::Metadata { path: path.to_owned(), source })?;
    let all = leaves(format, tree, &metadata.selector).into_iter();
    let mut ids: Vec<_> = all.filter(|leaf| leaf.state == LeafState::Encrypted).map(|leaf| leaf.id).collect();
    ids.extend(tree.nodes().filter(|(_, node)| is_encrypted_comment(tree, node.value)).map(|(id, _)| id));
    ids.sort_unstable();
    Ok(ids)
}

/// How many maps of a file may have metadata of their own: each is looked at as a document.
const MOST_MAPS: usize = 256;

//! What was in a file before its place was taken, and is not any more: other objects, values and labels that were put
//! in by hand, comments.

use std::collections::BTreeSet;
use std::path::Path;

use selkie::format::Format;
use selkie::sealed::{is_sealed_secret, objects};
use selkie::secret::SecretBytes;
use selkie::tree::{NodeId, Tree, Value};

use super::sealed_secrets;
use crate::context::Context;
use crate::report::count;

/// Tells in one line what a file has lost, and what would have kept it.
pub(super) fn tell(
    context: &Context<'_>,
    path: &Path,
    (old_format, old): (Format, &SecretBytes),
    format: Format,
    text: &SecretBytes,
) {
    let before = Parts::of(old_format, old);
    // The result is in the format of its file, or in that of what was read if its name tells none.
    let after = [old_format, format].map(|format| Parts::of(format, text));
    let lost = |part: fn(&Parts) -> &BTreeSet<String>| {
        part(&before).iter().filter(|&name| after.iter().all(|after| !part(after).contains(name))).count()
    };
    let lost = [
        (lost(|parts| &parts.objects), "object"),
        (lost(|parts| &parts.entries), "field"),
        (lost(|parts| &parts.comments), "comment"),
    ];
    let lost: Vec<_> = lost
        .into_iter()
        .filter(|&(number, _)| number > 0)
        .map(|(number, what)| count(number, what))
        .collect();
    if !lost.is_empty() {
        context.report.warn(format!(
            "{}: {} of the file that was there left out; `kubectl seal merge` changes values and keeps the rest",
            path.display(),
            lost.join(", ")
        ));
    }
}

/// The names of what is in a file.
#[derive(Default)]
struct Parts {
    objects: BTreeSet<String>,
    entries: BTreeSet<String>,
    comments: BTreeSet<String>,
}

impl Parts {
    /// Returns what is in a text; nothing if it cannot be read, as it is told of alone.
    fn of(format: Format, source: &SecretBytes) -> Self {
        let Ok(tree) = format.read(SecretBytes::from(source.expose_secret())) else { return Self::default() };
        let mut parts = Self::default();
        for node in objects(&tree) {
            if !is_sealed_secret(&tree, node) && tree.items(node).next().is_some() {
                parts.objects.insert(name_of(&tree, node));
            }
        }
        for (_, node) in tree.nodes() {
            if let Value::Comment(text) = node.value {
                parts.comments.insert(String::from_utf8_lossy(tree.bytes(text)).trim().to_owned());
            }
        }
        for sealed in sealed_secrets(format, source) {
            let name = format!("{}/{}", sealed.metadata.namespace(), sealed.metadata.name());
            let json = sealed.metadata.to_json();
            for field in ["labels", "annotations"] {
                let entries = json[field].as_object().into_iter().flatten();
                parts.entries.extend(entries.map(|(key, _)| format!("{name} {field} {key}")));
            }
            parts.entries.extend(sealed.encrypted_data.keys().map(|key| format!("{name} value {key}")));
            parts.entries.extend(sealed.template.data.keys().map(|key| format!("{name} template {key}")));
            parts.objects.insert(name);
        }
        parts
    }
}

/// Returns the kind and the metadata of an object: what else it has may be secret.
fn name_of(tree: &Tree, object: NodeId) -> String {
    let is_name = |item: &NodeId| matches!(tree.key(*item), Some(b"kind" | b"metadata"));
    tree.items(object).filter(is_name).map(|item| tree.to_json(item).to_string()).collect()
}

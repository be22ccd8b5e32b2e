//! What is to be decided, for people and for programs. Values that a side encrypts are shown only to who asks for them.

use selkie::merge::ConflictKind;
use selkie::tree::{NodeId, TreePath};
use serde_json::{Value as Json, json};

use super::dispute::{Dispute, Item, Version};
use super::{METADATA, sentence};
use crate::context::Context;
use crate::merging::show;
use crate::report::{STRONG, count, escape};
use crate::targets::Target;

/// Returns the conflicts of a file as people read them.
pub(super) fn to_text(
    dispute: &Dispute<'_>,
    target: &Target,
    context: &Context<'_>,
    with_values: bool,
) -> String {
    let heading = match dispute.conflicts.len() {
        0 if dispute.is_clean() => "no conflict; `kubectl seal resolve` merges it".to_owned(),
        conflicts => count(conflicts, "conflict"),
    };
    let mut text = format!("{}\n", context.report.paint_data(STRONG, format!("{target}: {heading}")));
    for item in &dispute.conflicts {
        text.push_str(&format!("  {}\n", describe(dispute, item)));
        if item.is_metadata() {
            continue;
        }
        for (name, version) in [("ours", &dispute.ours), ("theirs", &dispute.theirs)] {
            let value = shown(dispute, item, version, with_values);
            text.push_str(&format!("    {name}: {}\n", escape(&value)));
        }
    }
    text
}

/// Returns the conflicts of a file as JSON.
pub(super) fn to_json(dispute: &Dispute<'_>, name: &str, with_values: bool) -> Json {
    let conflict = |item: &Item| {
        let is_secret = hides(dispute, item);
        let mut json = json!({
            "document": item.document,
            "path": name_of(item),
            "kind": word(item),
            "secret": is_secret && !item.is_metadata(),
        });
        if (with_values || !is_secret) && !item.is_metadata() {
            let value = |version: &Version<'_>| find(item, version).map(|id| version.tree.to_json(id));
            json["ours"] = value(&dispute.ours).into();
            json["theirs"] = value(&dispute.theirs).into();
        }
        json
    };
    json!({
        "file": name,
        "conflicts": dispute.conflicts.iter().map(conflict).collect::<Json>(),
    })
}

/// Says where a conflict is, and what the sides did, without a value.
pub(super) fn describe(dispute: &Dispute<'_>, item: &Item) -> String {
    let documents = dispute.ours.tree.documents().len().max(dispute.theirs.tree.documents().len());
    let document = match documents {
        0 | 1 => String::new(),
        _ => format!("document {}: ", item.document + 1),
    };
    let what = item.kind.map_or("differs between the sides", sentence);
    format!("{document}{} {what}", escape(&name_of(item)))
}

fn name_of(item: &Item) -> String {
    if item.is_metadata() && item.path == TreePath::new() { METADATA.to_owned() } else { show(&item.path) }
}

fn hides(dispute: &Dispute<'_>, item: &Item) -> bool {
    [&dispute.ours, &dispute.theirs]
        .iter()
        .any(|version| find(item, version).is_some() && version.hides(item.document, &item.path))
}

fn find(item: &Item, version: &Version<'_>) -> Option<NodeId> {
    version.find(item.document, &item.path)
}

fn shown(dispute: &Dispute<'_>, item: &Item, version: &Version<'_>, with_values: bool) -> String {
    let Some(id) = find(item, version) else { return "(nothing)".to_owned() };
    if !with_values && hides(dispute, item) {
        return "(encrypted)".to_owned();
    }
    let text = version.tree.to_json(id).to_string();
    if with_values || text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// Returns what the sides did, in one word for programs.
fn word(item: &Item) -> &'static str {
    match item.kind {
        Some(ConflictKind::AddedByBoth) => "added-by-both",
        Some(ConflictKind::ChangedByBoth) => "changed-by-both",
        Some(ConflictKind::Metadata) => "metadata",
        Some(ConflictKind::Order) => "order",
        Some(ConflictKind::RemovedByOurs) => "removed-by-ours",
        Some(ConflictKind::RemovedByTheirs) => "removed-by-theirs",
        Some(ConflictKind::SealedForOther) => "sealed-for-other",
        _ => "differs",
    }
}

/// How much of a value in clear fits on a line: sealed ones are long.
const LONGEST: usize = 60;

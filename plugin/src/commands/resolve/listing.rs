//! What is to be decided, for people and for programs. Values that a side encrypts are shown only to who asks for them.

use selkie::merge::ConflictKind;
use selkie::tree::TreePath;
use serde_json::{Value as Json, json};

use super::dispute::{Dispute, Item, Located};
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
    let sides = sides(dispute);
    for item in &dispute.conflicts {
        text.push_str(&format!("  {}\n", describe(dispute, item)));
        if item.is_metadata() {
            continue;
        }
        let masks = !with_values && hides(item, &sides);
        for (name, side) in ["ours", "theirs"].into_iter().zip(&sides) {
            let value = shown(item, side, with_values, masks);
            text.push_str(&format!("    {name}: {}\n", escape(&value)));
        }
    }
    text
}

/// Returns the conflicts of a file as JSON.
pub(super) fn to_json(dispute: &Dispute<'_>, name: &str, with_values: bool) -> Json {
    let sides = sides(dispute);
    let conflict = |item: &Item| {
        let is_secret = hides(item, &sides);
        let mut json = json!({
            "document": item.document,
            "path": name_of(item),
            "kind": word(item),
            "secret": is_secret && !item.is_metadata(),
        });
        if (with_values || !is_secret) && !item.is_metadata() {
            for (name, side) in ["ours", "theirs"].into_iter().zip(&sides) {
                json[name] = side.find(item).map(|id| side.version.tree.to_json(id)).into();
            }
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

/// Returns our side, and theirs.
fn sides<'a>(dispute: &'a Dispute<'_>) -> [Located<'a>; 2] {
    [Located::new(&dispute.ours), Located::new(&dispute.theirs)]
}

fn hides(item: &Item, sides: &[Located<'_>]) -> bool {
    sides.iter().any(|side| side.find(item).is_some() && side.hides(item))
}

fn shown(item: &Item, side: &Located<'_>, with_values: bool, masks: bool) -> String {
    let Some(id) = side.find(item) else { return "(nothing)".to_owned() };
    if masks {
        return "(encrypted)".to_owned();
    }
    let text = side.version.tree.to_json(id).to_string();
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

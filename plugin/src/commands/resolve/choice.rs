//! What a person decides, and the encrypted file that it gives.

use std::collections::BTreeSet;
use std::path::Path;

use selkie::merge::ConflictKind;
use selkie::scheme::OpenDocument;
use selkie::sealed::{SealedSecret, objects};
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, Places};
use selkie::tree::{Finder, NodeId, Tree, TreePath, differences};

use super::dispute::{Dispute, Item, Version};
use super::{METADATA, listing};
use crate::context::Context;
use crate::failure::Failure;
use crate::merging::{MergingError, copy};
use crate::opening::Opener;
use crate::{change, dotted};

/// One side of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Ours,
    Theirs,
}

/// One version of what is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Take {
    pub path: TreePath,
    pub from: Choice,
}

/// A version of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Base,
    Ours,
    Theirs,
}

/// Reads `PATH=SIDE`.
///
/// # Errors
/// If it is no path, or no side.
pub(super) fn parse_take(text: &str) -> Result<Take, String> {
    let (path, side) = text.rsplit_once('=').ok_or("write PATH=ours, PATH=theirs or PATH=base")?;
    let from = match side {
        "base" => Choice::Base,
        "ours" => Choice::Ours,
        "theirs" => Choice::Theirs,
        _ => return Err(format!("{side:?} is none of ours, theirs and base")),
    };
    let path = dotted::parse(path).map_err(|failure| failure.to_string())?;
    Ok(Take { path, from })
}

/// Makes sure that there is a conflict at every path that is given.
///
/// # Errors
/// If there is none.
pub(super) fn refuse_stray(dispute: &Dispute<'_>, takes: &[Take]) -> Result<(), Failure> {
    match takes.iter().find(|take| !dispute.conflicts.iter().any(|item| fits(item, take))) {
        Some(take) => Err(MergingError::NoSuchConflict(take.path.clone()).into()),
        None => Ok(()),
    }
}

/// Returns whether what is given leaves conflicts that are shown in the editor.
pub(super) fn is_for_editor(dispute: &Dispute<'_>, takes: &[Take], rest: Option<Whole>) -> bool {
    let is_text = |item: &Item| !item.is_metadata();
    let are_of_metadata = takes.iter().all(|take| take.path == metadata_path());
    rest.is_none() && are_of_metadata && (takes.is_empty() || dispute.conflicts.iter().any(is_text))
}

/// Returns the side whose keys and rule a result gets.
///
/// # Errors
/// If both sides changed them, and nobody decided.
pub(super) fn metadata_side(dispute: &Dispute<'_>, takes: &[Take]) -> Result<Whole, Failure> {
    let Some(item) = dispute.conflicts.iter().find(|item| item.is_metadata()) else { return Ok(Whole::Ours) };
    match choice_for(item, takes, None) {
        Some(Choice::Ours) => Ok(Whole::Ours),
        Some(Choice::Theirs) => Ok(Whole::Theirs),
        Some(Choice::Base) => Err(MergingError::NotAlone(metadata_path()).into()),
        None => Err(MergingError::Undecided(vec![listing::describe(dispute, item)]).into()),
    }
}

/// Returns the encrypted file with every conflict decided.
///
/// # Errors
/// If a conflict is left, or a value cannot be taken by itself.
pub(super) fn decide(
    dispute: &Dispute<'_>,
    context: &Context<'_>,
    opener: &Opener<'_>,
    path: &Path,
    takes: &[Take],
    rest: Option<Whole>,
) -> Result<SecretBytes, Failure> {
    let chosen: Vec<_> = dispute.conflicts.iter().map(|item| (item, choice_for(item, takes, rest))).collect();
    let undecided = chosen.iter().filter(|(_, choice)| choice.is_none());
    let undecided: Vec<_> = undecided.map(|(item, _)| listing::describe(dispute, item)).collect();
    if !undecided.is_empty() {
        return Err(MergingError::Undecided(undecided).into());
    }
    let chosen: Vec<_> = chosen.into_iter().filter_map(|(item, choice)| Some((item, choice?))).collect();
    for (whole, choice) in [(Whole::Ours, Choice::Ours), (Whole::Theirs, Choice::Theirs)] {
        if chosen.iter().all(|(_, chosen)| *chosen == choice) {
            return Ok(copy(&dispute.side(whole).file));
        }
    }
    let side = chosen.iter().find(|(item, _)| item.is_metadata()).map_or(
        Ok(Whole::Ours),
        |(_, choice)| match choice {
            Choice::Ours => Ok(Whole::Ours),
            Choice::Theirs => Ok(Whole::Theirs),
            Choice::Base => Err(MergingError::NotAlone(metadata_path())),
        },
    )?;
    let chosen: Vec<_> = chosen.into_iter().filter(|(item, _)| !item.is_metadata()).collect();
    let text = taken(dispute, &chosen)?;
    seal(dispute, context, opener, path, side, &text)
}

/// Encrypts a text in which everything is decided, with the keys and the rule of a side.
///
/// # Errors
/// If it cannot be encrypted, or what was encrypted in a side would not be any more.
pub(super) fn seal(
    dispute: &Dispute<'_>,
    context: &Context<'_>,
    opener: &Opener<'_>,
    path: &Path,
    side: Whole,
    text: &SecretBytes,
) -> Result<SecretBytes, Failure> {
    let version = dispute.side(side);
    let Some(opened) = &version.opened else { return as_sealed(dispute, text) };
    let other = dispute.side(if side == Whole::Ours { Whole::Theirs } else { Whole::Ours });
    let keeps_keys = !dispute.conflicts.iter().any(Item::is_metadata);
    if keeps_keys && other.opened.is_some() && other.text.is_same(text) {
        // With the ciphertexts that it has already.
        return Ok(copy(&other.file));
    }
    let sealed = opener.seal(Some(path), &**opened, text)?.unwrap_or_else(|| copy(&version.file));
    let selector = |version: &Version<'_>| {
        version.opened.as_ref().and_then(|opened| Some(opened.metadata()?.selector.clone()))
    };
    if selector(&dispute.ours) != selector(&dispute.theirs) {
        let tree = dispute.format.read(copy(&sealed))?;
        let result = opener.open_tree(
            Some(&context.session.absolute(path)),
            dispute.format,
            tree,
            MacCheck::Require,
        )?;
        refuse_clear(&*result, &[&dispute.ours, &dispute.theirs])?;
    }
    Ok(sealed)
}

impl Item {
    /// Returns whether it is about the keys and the rule of the file, and no place in its text.
    pub(super) fn is_metadata(&self) -> bool {
        self.kind == Some(ConflictKind::Metadata)
    }
}

fn choice_for(item: &Item, takes: &[Take], rest: Option<Whole>) -> Option<Choice> {
    // The last one wins, as with options.
    let taken = takes.iter().rev().find(|take| fits(item, take)).map(|take| take.from);
    taken.or_else(|| {
        rest.map(|whole| match whole {
            Whole::Ours => Choice::Ours,
            Whole::Theirs => Choice::Theirs,
        })
    })
}

fn fits(item: &Item, take: &Take) -> bool {
    match item.is_metadata() {
        true => take.path == metadata_path(),
        false => item.path.steps().starts_with(take.path.steps()),
    }
}

fn metadata_path() -> TreePath {
    [selkie::tree::Step::Key(METADATA.to_owned())].into_iter().collect()
}

/// Returns our side's text with the values that are chosen in their places.
fn taken(dispute: &Dispute<'_>, chosen: &[(&Item, Choice)]) -> Result<SecretBytes, Failure> {
    let mut text = copy(&dispute.ours.text);
    // From the end, so that what goes does not move what is still to be found.
    for (item, choice) in chosen.iter().rev() {
        if *choice != Choice::Ours {
            text = put(dispute, item, dispute.version(*choice)?, text)?;
        }
    }
    refuse_shared(dispute, chosen, &text)?;
    Ok(text)
}

/// Makes sure that every value came as it was chosen, and that nothing else came with it.
fn refuse_shared(
    dispute: &Dispute<'_>,
    chosen: &[(&Item, Choice)],
    text: &SecretBytes,
) -> Result<(), Failure> {
    let tree = dispute.format.read(copy(text))?;
    let is_about = |item: &Item, document: usize, path: &TreePath| {
        let (item_steps, steps) = (item.path.steps(), path.steps());
        item.document == document && (steps.starts_with(item_steps) || item_steps.starts_with(steps))
    };
    for choice in [Choice::Base, Choice::Ours, Choice::Theirs] {
        let mut items = chosen.iter().filter(|(_, chosen)| *chosen == choice).peekable();
        if items.peek().is_none() {
            continue;
        }
        let left = differences(&tree, &dispute.version(choice)?.tree);
        for (item, _) in items {
            if left.iter().any(|found| is_about(item, found.document, &found.path)) {
                return Err(MergingError::NotAlone(item.path.clone()).into());
            }
        }
    }
    for found in differences(&tree, &dispute.ours.tree) {
        if !chosen.iter().any(|(item, _)| is_about(item, found.document, &found.path)) {
            return Err(MergingError::NotAlone(found.path).into());
        }
    }
    Ok(())
}

/// Returns a text with what a version has in the place of a conflict.
fn put(
    dispute: &Dispute<'_>,
    item: &Item,
    from: &Version<'_>,
    text: SecretBytes,
) -> Result<SecretBytes, Failure> {
    let tree = dispute.format.read(text)?;
    let root = tree.documents().get(item.document).copied().filter(|_| !item.path.steps().is_empty());
    let root = root.ok_or_else(|| MergingError::NotAlone(item.path.clone()))?;
    match from.find(item.document, &item.path) {
        Some(node) => change::set(dispute.format, &tree, root, &item.path, &from.tree.to_json(node)),
        None if tree.get(root, &item.path).is_none() => Ok(SecretBytes::from(tree.source())),
        None => change::unset(dispute.format, &tree, root, &item.path),
    }
}

/// Makes sure that nothing is in clear that a side encrypts.
fn refuse_clear(result: &dyn OpenDocument, sides: &[&Version<'_>]) -> Result<(), Failure> {
    let encrypted = places(result.tree(), &result.decrypted());
    let encrypted: BTreeSet<_> =
        encrypted.iter().map(|(document, path)| (*document, path.to_string())).collect();
    let there = Finder::new(result.tree());
    for side in sides {
        let Some(opened) = &side.opened else { continue };
        for (document, path) in places(opened.tree(), &side.secret) {
            if there.find(document, &path).is_some() && !encrypted.contains(&(document, path.to_string())) {
                return Err(MergingError::InClear(path).into());
            }
        }
    }
    Ok(())
}

fn places(tree: &Tree, nodes: &BTreeSet<NodeId>) -> Vec<(usize, TreePath)> {
    let mut places = Places::new(tree);
    nodes.iter().map(|&id| places.advance(id)).collect()
}

/// Returns a text whose sealed values people could not see, if each is one that a side sealed for its object.
fn as_sealed(dispute: &Dispute<'_>, text: &SecretBytes) -> Result<SecretBytes, Failure> {
    let tree = dispute.format.read(copy(text))?;
    let known: BTreeSet<_> = [&dispute.ours, &dispute.theirs]
        .into_iter()
        .flat_map(|side| sealed_values(&side.tree))
        .map(|(_, value)| value)
        .collect();
    let stray = sealed_values(&tree).into_iter().find(|(_, value)| !known.contains(value));
    match stray {
        Some((line, _)) => Err(MergingError::NotSealed(line).into()),
        None => Ok(copy(text)),
    }
}

/// Returns every sealed value with what it is sealed for, and the line of its object.
fn sealed_values(tree: &Tree) -> Vec<(usize, (String, String))> {
    let mut values = Vec::new();
    for node in objects(tree) {
        let line = tree.line(tree.node(node).span.start);
        // What is no whole SealedSecret is opened by nobody.
        let Ok(sealed) = SealedSecret::from_json(&tree.to_json(node)) else { continue };
        let label = sealed.label();
        values.extend(sealed.encrypted_data.into_values().map(|value| (line, (label.clone(), value))));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_path_and_a_side() {
        let take = parse_take("stringData[\"a=b\"]=theirs").expect("a choice");
        assert_eq!((dotted::show(&take.path).as_str(), take.from), ("stringData.a=b", Choice::Theirs));
        assert_eq!(parse_take("a=b").expect_err("no side"), "\"b\" is none of ours, theirs and base");
        assert!(parse_take("a").is_err());
    }
}

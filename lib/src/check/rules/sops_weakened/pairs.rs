//! Which rule of a policy takes the place of which one before: by the encrypted files that both match, or by their
//! patterns.
//!
//! Bound: so many encrypted files are looked at, whatever a repository has.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value as Json;

use crate::check::{Context, File, Mode, decode};
use crate::format::Format;
use crate::secret::SecretBytes;
use crate::sops::config::{Config, CreationRule};
use crate::sops::{LeafState, Selector, leaves};
use crate::tree::{NodeId, Span, Style, Tree};

/// What became of the rules of a policy.
pub(super) struct Pairs<'c> {
    /// The rules of before and of now that match the same files, with these files.
    pub(super) both: Vec<(&'c CreationRule, &'c CreationRule, Vec<String>)>,
    /// Encrypted files that a rule matched, and none matches now.
    pub(super) unmatched: Vec<String>,
    /// Rules that match nothing that is there, and that are gone.
    pub(super) gone: Vec<&'c CreationRule>,
}

impl<'c> Pairs<'c> {
    /// Returns what became of the rules of a policy, each with its path: another one may have been at another place.
    pub(super) fn of(
        (from, old): (&str, &'c Config),
        (policy, new): (&str, &'c Config),
        context: &Context<'_>,
    ) -> Self {
        let mut both: BTreeMap<(usize, usize), (&CreationRule, &CreationRule, Vec<String>)> = BTreeMap::new();
        let mut unmatched = Vec::new();
        let mut looked_at = 0;
        for path in context.after.paths() {
            let Some(relative) = below(policy, path) else { continue };
            let Some(former) = below(from, path) else { continue };
            let Ok(Some(before)) = old.rule_for(former) else { continue };
            // A pattern that does not compile is told by itself.
            let Ok(after) = new.rule_for(relative) else { continue };
            let is_known = after.is_some_and(|after| {
                let known = both.get(&(before.position, after.position));
                known.is_some_and(|(_, _, files)| files.len() >= MAX_FILES_OF_PAIR)
            });
            if is_known || looked_at >= MAX_FILES || !is_its(context, policy, path) {
                continue;
            }
            looked_at += 1;
            if !is_encrypted(context, path) {
                continue;
            }
            match after {
                None => unmatched.push(path.clone()),
                Some(after) => {
                    let pair = both.entry((before.position, after.position));
                    pair.or_insert_with(|| (before, after, Vec::new())).2.push(path.clone());
                }
            }
        }
        let mut pairs = Self { both: both.into_values().collect(), unmatched, gone: Vec::new() };
        // Rules of another policy may be about other files.
        if from == policy {
            pairs.add_by_pattern(old, new);
        }
        pairs
    }

    /// Adds rules that match no file that is there: those with one pattern are one rule.
    fn add_by_pattern(&mut self, old: &'c Config, new: &'c Config) {
        let mut by_pattern: BTreeMap<Option<&str>, &CreationRule> = BTreeMap::new();
        for rule in new.creation_rules() {
            by_pattern.entry(rule.path_regex.as_deref()).or_insert(rule);
        }
        let known: HashSet<_> = self.both.iter().map(|(before, ..)| before.position).collect();
        for before in old.creation_rules().filter(|rule| !known.contains(&rule.position)) {
            match by_pattern.get(&before.path_regex.as_deref()) {
                Some(after) => self.both.push((before, after, Vec::new())),
                None if self.unmatched.is_empty() => self.gone.push(before),
                // The files that it matched are told.
                None => {}
            }
        }
    }
}

/// Returns what a rule leaves in clear that another encrypts: a value of one of these files, or a name that is usual.
pub(super) fn narrowed(
    before: &CreationRule,
    after: &CreationRule,
    files: &[String],
    context: &Context<'_>,
) -> Option<String> {
    let default = Selector::default();
    let selector = |rule: &'_ CreationRule| rule.selector.clone().unwrap_or_else(|| default.clone());
    let (old, new) = (selector(before), selector(after));
    if old.field() == new.field() && old.text() == new.text() {
        return None;
    }
    for path in files {
        // What cannot be read is told where it is looked at itself.
        let Ok(Some(bytes)) = context.after.read(path) else { continue };
        let content = decode(&bytes);
        let file = File::new(path, &bytes, &content, Mode::File);
        let Some((sops, tree)) = file.sops().and_then(|sops| Some((sops, sops.tree()?))) else { continue };
        let selected = |selector: &Selector| -> Vec<NodeId> {
            let leaves = leaves(sops.format, tree, selector).into_iter();
            leaves
                .filter(|leaf| leaf.selected && leaf.state == LeafState::Encrypted)
                .map(|leaf| leaf.id)
                .collect()
        };
        let now = selected(&new);
        if let Some(id) = selected(&old).into_iter().find(|id| now.binary_search(id).is_err()) {
            let key = tree.key(id).map(String::from_utf8_lossy).unwrap_or_default();
            return Some(format!("{key} in {path}"));
        }
    }
    let is_left_out = |name: &&&str| is_selected(&old, name) && !is_selected(&new, name);
    files.is_empty().then(|| USUAL.iter().find(is_left_out)).flatten().map(|name| (*name).to_owned())
}

/// Returns whether a rule selects what is below a key at the top.
fn is_selected(selector: &Selector, name: &str) -> bool {
    let mut tree = Tree::new(SecretBytes::new());
    let root = tree.open_document(Span::default(), Style::Block);
    tree.push_json(Some(name), &Json::Bool(true));
    tree.close(root);
    leaves(Format::Yaml, &tree, selector).iter().any(|leaf| leaf.selected)
}

/// Returns a path from the folder of a policy on, if it is below it.
pub(super) fn below<'p>(policy: &str, path: &'p str) -> Option<&'p str> {
    match policy.rsplit_once('/') {
        None => Some(path),
        Some((folder, _)) => path.strip_prefix(folder)?.strip_prefix('/'),
    }
}

/// Returns whether a policy is the nearest one above a file.
fn is_its(context: &Context<'_>, policy: &str, path: &str) -> bool {
    context.policies.of(path).is_some_and(|nearest| nearest.path == policy)
}

pub(super) fn is_encrypted(context: &Context<'_>, path: &str) -> bool {
    // What cannot be read is told where it is looked at itself.
    let Ok(Some(bytes)) = context.after.read(path) else { return false };
    let content = decode(&bytes);
    File::new(path, &bytes, &content, Mode::File).sops().is_some()
}

/// How many files are read to tell what a change of a policy does.
pub(super) const MAX_FILES: usize = 2_000;

/// How many of the files that two rules match are looked at closely.
const MAX_FILES_OF_PAIR: usize = 20;

/// Names at the top of documents that rules usually select.
const USUAL: &[&str] = &["data", "stringData", "password", "token", "secret", "key", "values", "spec"];

//! What a configuration says in words, and what it takes away from another one.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::{Config, FixMode, RequireMac, Scope, Setting};
use crate::check::rule::{Rule, Severity};
use crate::check::rules::RULES;

/// Something that a configuration protects less than the one before it.
pub(in crate::check) struct Weaker {
    /// Where in the configuration; at its start for what is gone from it.
    pub span: Range<usize>,
    /// What is less.
    pub message: String,
}

/// Returns what `new` protects less than `old`.
pub(in crate::check) fn weaker(old: &Config, new: &Config) -> Vec<Weaker> {
    let mut found = Vec::new();
    let mut tell = |span: Range<usize>, message: String| found.push(Weaker { span, message });
    for &rule in RULES {
        let (before, (after, span)) = (global(old, rule).0, global(new, rule));
        if after < before {
            let (after, before) = (after.name(), before.name());
            tell(span, format!("{} is set to `{after}`, and was `{before}`", rule.id));
        } else if after == before && caps(new, rule) && !caps(old, rule) {
            tell(span, format!("{} is never worse than `{}` now", rule.id, after.name()));
        }
    }
    path_settings(old, new, &mut tell);
    allowed(old, new, &mut tell);
    let known: HashSet<_> = old.placeholders.iter().map(|placeholder| &placeholder.text).collect();
    for added in new.placeholders.iter().filter(|placeholder| !known.contains(&placeholder.text)) {
        // It may be a secret that somebody silences by its name.
        tell(added.span.clone(), "more values are placeholders now".to_owned());
    }
    let kinds: HashSet<_> =
        new.extra_kinds.iter().map(|kind| (&kind.group, &kind.kind, &kind.encrypted)).collect();
    for kind in &old.extra_kinds {
        if !kinds.contains(&(&kind.group, &kind.kind, &kind.encrypted)) {
            tell(0..0, format!("objects of kind {} need not be encrypted any more", shown(&kind.kind)));
        }
    }
    if breadth(new.scope) < breadth(old.scope) {
        let (after, before) = (name(Scope::WORDS, new.scope), name(Scope::WORDS, old.scope));
        tell(0..0, format!("`scope` is `{after}`, and was `{before}`"));
    }
    if need(new.require_mac) < need(old.require_mac) {
        let words = RequireMac::WORDS;
        let (after, before) = (name(words, new.require_mac), name(words, old.require_mac));
        tell(0..0, format!("`require-mac` is `{after}`, and was `{before}`"));
    }
    if old.strict && !new.strict {
        tell(0..0, "warnings stop no commit any more: `strict` is off".to_owned());
    }
    if let Some(before) = &old.sealing_cert {
        match &new.sealing_cert {
            None => tell(0..0, "no certificate is named any more that Secrets are sealed for".to_owned()),
            Some(after) if after.text != before.text => {
                tell(after.span.clone(), "Secrets are sealed for another certificate".to_owned());
            }
            Some(_) => {}
        }
    }
    found
}

/// Returns what a configuration says, line by line.
pub(super) fn describe(config: &Config) -> Vec<String> {
    let mut lines = vec![
        format!("scope: {}", name(Scope::WORDS, config.scope)),
        format!("fix: {}", name(FixMode::WORDS, config.fix)),
        format!("strict: {}", config.strict),
        format!("require-mac: {}", name(RequireMac::WORDS, config.require_mac)),
    ];
    if let Some(cert) = config.sealing_cert() {
        lines.push(format!("sealed for: {}", shown(cert)));
    }
    let because = |reason: &Option<String>| {
        reason.as_ref().map_or_else(String::new, |reason| format!(" ({})", shown(reason)))
    };
    for setting in &config.rules {
        let reason = because(&setting.reason);
        lines.push(format!("{}: {}{reason}", setting.rule.id, setting.severity.name()));
    }
    for (glob, setting) in triples(config) {
        let reason = because(&setting.reason);
        lines.push(format!("{} in {}: {}{reason}", setting.rule.id, shown(glob), setting.severity.name()));
    }
    for entry in &config.allow {
        let rules: Vec<_> = entry.rules.iter().map(|rule| rule.id).collect();
        let until = entry.until.map_or_else(String::new, |until| format!(" until {until}"));
        let (rules, path) = (rules.join(", "), shown(&entry.path));
        let pointer =
            if entry.pointer.is_empty() { String::new() } else { format!(" at {}", shown(&entry.pointer)) };
        lines.push(format!("{rules} is allowed in {path}{pointer}{until} ({})", shown(&entry.reason)));
    }
    lines.extend(config.placeholders.iter().map(|text| format!("placeholder: {}", shown(&text.text))));
    for kind in &config.extra_kinds {
        let (group, path) = (shown(&kind.group), shown(&kind.encrypted.join(".")));
        lines.push(format!("encrypted kind: {} of {group} at {path}", shown(&kind.kind)));
    }
    lines
}

/// Tells entries of `paths` that lower a rule, and those that raised one and are gone.
fn path_settings(old: &Config, new: &Config, tell: &mut impl FnMut(Range<usize>, String)) {
    let key = |(glob, setting): &(&str, &Setting)| ((*glob).to_owned(), setting.rule.id, setting.severity);
    let (before, after): (HashSet<_>, HashSet<_>) = (
        triples(old).map(|triple| key(&triple)).collect(),
        triples(new).map(|triple| key(&triple)).collect(),
    );
    for triple in triples(new).filter(|triple| !before.contains(&key(triple))) {
        let (glob, setting) = triple;
        let is_less = setting.severity < global(new, setting.rule).0.max(setting.rule.severity);
        if is_less || setting.caps() && !caps(new, setting.rule) {
            let severity = setting.severity.name();
            tell(setting.span.clone(), format!("{} is `{severity}` in `{}`", setting.rule.id, shown(glob)));
        }
    }
    // How bad each rule is at least where entries before hold that stay: an exception of one of them may be gone.
    let mut least: HashMap<&str, Severity> = HashMap::new();
    for triple in triples(old) {
        let (glob, setting) = triple;
        let least = least.entry(setting.rule.id).or_insert_with(|| global(new, setting.rule).0);
        if after.contains(&key(&triple)) {
            *least = setting.severity.min(*least);
        } else if setting.severity > *least {
            let severity = setting.severity.name();
            let message = format!("{} is not `{severity}` any more in `{}`", setting.rule.id, shown(glob));
            tell(0..0, message);
        }
    }
    let stay = |all: &Config, others: &HashSet<_>| -> Vec<_> {
        triples(all).map(|triple| key(&triple)).filter(|key| others.contains(key)).collect()
    };
    if stay(new, &before) != stay(old, &after) {
        // Of two entries about a file, the later one wins.
        tell(0..0, "the entries of `paths` are in another order: look which one wins".to_owned());
    }
}

fn allowed(old: &Config, new: &Config, tell: &mut impl FnMut(Range<usize>, String)) {
    let each = |config: &Config| -> Vec<_> {
        let of = |entry: &super::Allow| {
            let (path, pointer, until, span) =
                (entry.path.clone(), entry.pointer.clone(), entry.until, entry.span.clone());
            let keys = entry.rules.iter().map(move |rule| (rule.id, path.clone(), pointer.clone(), until));
            keys.map(move |key| (key, span.clone())).collect::<Vec<_>>()
        };
        config.allow.iter().flat_map(of).collect()
    };
    let known: HashSet<_> = each(old).into_iter().map(|(key, _)| key).collect();
    for (key, span) in each(new).into_iter().filter(|(key, _)| !known.contains(key)) {
        let (rule, path, pointer, _) = key;
        let place = if pointer.is_empty() {
            shown(&path)
        } else {
            format!("{} at {}", shown(&path), shown(&pointer))
        };
        tell(span, format!("{rule} is allowed in `{place}`"));
    }
}

/// Returns how bad findings of a rule are where no entry of `paths` says otherwise.
fn global(config: &Config, rule: &Rule) -> (Severity, Range<usize>) {
    let setting = config.rules.iter().find(|setting| setting.rule == rule);
    setting.map_or((rule.severity, 0..0), |setting| (setting.severity, setting.span.clone()))
}

/// Returns whether findings of a rule that are worse than the rule usually is are made less everywhere.
fn caps(config: &Config, rule: &Rule) -> bool {
    config.rules.iter().any(|setting| setting.rule == rule && setting.caps())
}

fn triples(config: &Config) -> impl Iterator<Item = (&str, &Setting)> {
    config.paths.iter().flat_map(|entry| {
        entry.globs.iter().flat_map(|glob| entry.rules.iter().map(move |setting| (glob.as_str(), setting)))
    })
}

fn name<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

const fn breadth(scope: Scope) -> u8 {
    match scope {
        Scope::ChangedLine => 0,
        Scope::ChangedDocument => 1,
        Scope::File => 2,
    }
}

const fn need(mac: RequireMac) -> u8 {
    match mac {
        RequireMac::Never => 0,
        RequireMac::IfKey => 1,
        RequireMac::Always => 2,
    }
}

/// Returns a text of the configuration as one line can hold it.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

//! Reads a configuration: each field has a type, and what has none is an error at its line.

use std::ops::Range;

use regex::{RegexSet, RegexSetBuilder};

use super::glob::{PROBES, Subject, expression, letters};
use super::words::{did_you_mean, shown};
use super::{
    Allow, Config, ExtraKind, FixMode, PathSettings, RequireMac, Scope, Setting, Text, needs_reason,
};
use crate::check::outline::{Entry, Outline};
use crate::check::rule::{Rule, Severity};
use crate::check::rules::RULES;
use crate::check::suppression::day;

/// What is wrong with a configuration, and at which byte.
pub(super) struct Wrong {
    pub at: usize,
    pub message: String,
}

/// Reads the text of a configuration.
pub(super) fn read(text: &str) -> Result<Config, Wrong> {
    let outline = Outline::read(text);
    let mut config = Config::default();
    if let Some(error) = outline.documents().iter().find_map(|document| document.error) {
        let line_start = text[..error.at.min(text.len())].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let hint = if line.contains('*') { "; put what begins with `*` in quotes" } else { "" };
        return Err(Wrong { at: error.at, message: format!("{}{hint}", error.what) });
    }
    if let Some(second) = outline.documents().get(1) {
        return Err(Wrong { at: second.span.start, message: "there is more than one document".to_owned() });
    }
    if let Some(root) = outline.roots().next().filter(|root| !root.is_null()) {
        top(&mut config, root)?;
    }
    if outline.is_exhausted() {
        return Err(Wrong { at: 0, message: "aliases stand for more values than are looked at".to_owned() });
    }
    Ok(config)
}

fn top(config: &mut Config, root: Entry<'_>) -> Result<(), Wrong> {
    for (name, entry) in fields(root, "the configuration", TOP)? {
        match name {
            "allow" => allow(config, entry)?,
            "extra-kinds" => {
                config.extra_kinds = items(entry)?.into_iter().map(extra_kind).collect::<Result<_, _>>()?;
            }
            "fix" => config.fix = word(entry, FixMode::WORDS)?,
            "paths" => paths(config, entry)?,
            "placeholders" => placeholders(config, entry)?,
            "rules" => config.rules = settings(entry, None)?,
            "scope" => config.scope = word(entry, Scope::WORDS)?,
            "sealed" => {
                for (_, cert) in fields(entry, "`sealed`", &["cert"])? {
                    config.sealing_cert = Some(cert_path(cert)?);
                }
            }
            "sops" => {
                for (name, value) in fields(entry, "`sops`", &["config", "require-mac"])? {
                    match name {
                        "config" => word(value, &[("auto", ())])?,
                        _ => config.require_mac = word(value, RequireMac::WORDS)?,
                    }
                }
            }
            "strict" => config.strict = word(entry, &[("true", true), ("false", false)])?,
            _ => word(entry, &[("1", ())])?,
        }
    }
    Ok(())
}

fn allow(config: &mut Config, list: Entry<'_>) -> Result<(), Wrong> {
    let mut globs = Vec::new();
    for item in items(list)? {
        let mut entry = Allow {
            path: String::new(),
            pointer: String::new(),
            rules: Vec::new(),
            reason: String::new(),
            until: None,
            span: first_line(item),
        };
        for (name, value) in fields(item, "an entry of `allow`", ALLOW)? {
            match name {
                "path" => {
                    entry.path = text(value)?.to_owned();
                    globs.push(glob(value, Subject::Path)?);
                }
                "pointer" => entry.pointer = pointer(value)?,
                "reason" => entry.reason = reason(value)?,
                "rule" => {
                    entry.rules = one_or_more(value)?.into_iter().map(allowed).collect::<Result<_, _>>()?;
                }
                _ => entry.until = Some(until(value)?),
            }
        }
        let missing = [
            ("path", entry.path.is_empty()),
            ("rule", entry.rules.is_empty()),
            ("reason", entry.reason.is_empty()),
        ];
        if let Some((name, _)) = missing.into_iter().find(|(_, is_missing)| *is_missing) {
            return Err(wrong(item, format!("an entry of `allow` has no `{name}`")));
        }
        config.allow.push(entry);
    }
    config.allow_globs = set(globs, list)?;
    Ok(())
}

fn paths(config: &mut Config, list: Entry<'_>) -> Result<(), Wrong> {
    let (mut globs, mut entries) = (Vec::new(), Vec::new());
    for item in items(list)? {
        let fields = fields(item, "an entry of `paths`", &["match", "reason", "rules"])?;
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, entry)| *entry);
        let missing = |name: &str| wrong(item, format!("an entry of `paths` has no `{name}`"));
        let reason = field("reason").map(reason).transpose()?;
        let mut entry = PathSettings { globs: Vec::new(), rules: Vec::new() };
        for value in one_or_more(field("match").ok_or_else(|| missing("match"))?)? {
            globs.push(glob(value, Subject::Path)?);
            entries.push(config.paths.len());
            entry.globs.push(text(value)?.to_owned());
        }
        entry.rules = settings(field("rules").ok_or_else(|| missing("rules"))?, reason.as_deref())?;
        config.paths.push(entry);
        if globs.len() > MAX_ITEMS {
            return Err(wrong(list, format!("there are more than {MAX_ITEMS} globs")));
        }
    }
    config.path_globs = (set(globs, list)?, entries);
    Ok(())
}

fn placeholders(config: &mut Config, list: Entry<'_>) -> Result<(), Wrong> {
    let mut globs = Vec::new();
    for item in items(list)? {
        let text = text(item)?.to_owned();
        if text.chars().filter(|character| character.is_alphanumeric()).count() < 2 {
            return Err(wrong(item, "a placeholder has two letters or digits at least".to_owned()));
        }
        globs.push(glob(item, Subject::Value)?);
        // Else it would take nearly every value for one that comes later.
        if letters(&text, Subject::Value).is_ok_and(|count| count.is_some_and(|count| count < 3)) {
            let message = "a placeholder has three letters or digits at least that all values like it have";
            return Err(wrong(item, message.to_owned()));
        }
        config.placeholders.push(Text { text, span: first_line(item) });
    }
    config.placeholder_globs = set(globs, list)?;
    if let Some(glob) = PROBES.iter().find_map(|probe| config.placeholder_globs.matches(probe).iter().next())
    {
        let at = config.placeholders[glob].span.start;
        return Err(Wrong { at, message: "a placeholder matches what any secret may be".to_owned() });
    }
    Ok(())
}

/// Reads rules and their severities; `reason` is the one of the entry that they are in.
fn settings(map: Entry<'_>, reason_of_all: Option<&str>) -> Result<Vec<Setting>, Wrong> {
    let names: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    let mut found = Vec::new();
    for (name, entry) in fields(map, "`rules`", &names)? {
        let rule = rule(name, entry)?;
        let mut setting = Setting {
            rule,
            severity: rule.severity,
            reason: reason_of_all.map(str::to_owned),
            span: entry.key_span(),
        };
        if entry.is_map() {
            let mut has_severity = false;
            for (name, value) in fields(entry, "a rule", &["reason", "severity"])? {
                if name == "reason" {
                    setting.reason = Some(reason(value)?);
                } else {
                    (setting.severity, has_severity) = (word(value, SEVERITIES)?, true);
                }
            }
            if !has_severity {
                return Err(wrong(entry, format!("{name} has no `severity`")));
            }
        } else {
            setting.severity = word(entry, SEVERITIES)?;
        }
        if setting.severity < rule.severity {
            if rule.id == "META003" {
                return Err(wrong(entry, "META003 tells of this file, and is never made less".to_owned()));
            }
            if needs_reason(rule) && setting.reason.is_none() {
                let severity = setting.severity.name();
                let message = format!(
                    "{name} is made less without a reason: write `{name}: {{severity: {severity}, reason: …}}`"
                );
                return Err(wrong(entry, message));
            }
        }
        found.push(setting);
    }
    Ok(found)
}

fn extra_kind(item: Entry<'_>) -> Result<ExtraKind, Wrong> {
    let mut kind = ExtraKind { group: String::new(), kind: String::new(), encrypted: Vec::new() };
    for (name, value) in fields(item, "an entry of `extra-kinds`", &["encrypted", "group", "kind"])? {
        match name {
            "group" => kind.group = text(value)?.to_owned(),
            "kind" => kind.kind = text(value)?.to_owned(),
            // A list says the keys one by one, for those that have a dot.
            _ if value.is_list() => {
                kind.encrypted = items(value)?
                    .into_iter()
                    .map(|step| text(step).map(str::to_owned))
                    .collect::<Result<_, _>>()?;
            }
            _ => kind.encrypted = text(value)?.split('.').map(str::to_owned).collect(),
        }
    }
    if kind.encrypted.iter().any(String::is_empty) {
        return Err(wrong(item, "`encrypted` has a key that is empty".to_owned()));
    }
    let missing = [("kind", kind.kind.is_empty()), ("encrypted", kind.encrypted.is_empty())];
    match missing.into_iter().find(|(_, is_missing)| *is_missing) {
        Some((name, _)) => Err(wrong(item, format!("an entry of `extra-kinds` has no `{name}`"))),
        None => Ok(kind),
    }
}

fn cert_path(entry: Entry<'_>) -> Result<Text, Wrong> {
    let path = text(entry)?;
    if path.starts_with('/') || path.split(['/', '\\']).any(|step| step == "..") {
        return Err(wrong(entry, "`cert` is a path from the top of the repository on".to_owned()));
    }
    Ok(Text { text: path.trim_start_matches("./").to_owned(), span: first_line(entry) })
}

fn pointer(entry: Entry<'_>) -> Result<String, Wrong> {
    let pointer = text(entry)?;
    if !pointer.starts_with('/') {
        return Err(wrong(entry, "a pointer begins with `/`, such as `/data/password`".to_owned()));
    }
    Ok(pointer.trim_end_matches('/').to_owned())
}

fn reason(entry: Entry<'_>) -> Result<String, Wrong> {
    let reason = text(entry)?.trim();
    Ok(reason.chars().map(|character| if character.is_control() { ' ' } else { character }).collect())
}

fn until(entry: Entry<'_>) -> Result<time::Date, Wrong> {
    day(text(entry)?).ok_or_else(|| wrong(entry, "`until` is a day, such as 2027-06-30".to_owned()))
}

fn allowed(entry: Entry<'_>) -> Result<&'static Rule, Wrong> {
    let rule = rule(text(entry)?, entry)?;
    if matches!(rule.id, "META002" | "META003") {
        return Err(wrong(entry, format!("{} cannot be allowed", rule.id)));
    }
    Ok(rule)
}

fn rule(name: &str, entry: Entry<'_>) -> Result<&'static Rule, Wrong> {
    let found = RULES.iter().copied().find(|rule| rule.id == name);
    found.ok_or_else(|| {
        let names: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        wrong(entry, format!("there is no rule `{}`{}", shown(name), did_you_mean(name, &names)))
    })
}

/// Returns the fields of a map, each of which must be known and given once.
fn fields<'a>(map: Entry<'a>, what: &str, known: &[&str]) -> Result<Vec<(&'a str, Entry<'a>)>, Wrong> {
    if !map.is_map() {
        return Err(wrong(map, format!("{what} must be a map")));
    }
    let mut found: Vec<(&str, Entry<'_>)> = Vec::new();
    for entry in map.entries() {
        let name = entry.key().unwrap_or_default();
        if !known.contains(&name) {
            let noun = if what == "`rules`" { "rule" } else { "field" };
            let hint = did_you_mean(name, known);
            let message = format!("{what} has no {noun} `{}`{hint}", shown(name));
            return Err(Wrong { at: entry.key_span().start, message });
        }
        if found.iter().any(|(other, _)| *other == name) {
            let message = format!("`{name}` is given twice");
            return Err(Wrong { at: entry.key_span().start, message });
        }
        found.push((name, entry));
    }
    Ok(found)
}

fn items(list: Entry<'_>) -> Result<Vec<Entry<'_>>, Wrong> {
    if !list.is_list() {
        return Err(wrong(list, format!("`{}` must be a list", shown(list.key().unwrap_or_default()))));
    }
    let items: Vec<_> = list.entries().take(MAX_ITEMS + 1).collect();
    if items.len() > MAX_ITEMS {
        return Err(wrong(list, format!("a list has more than {MAX_ITEMS} items")));
    }
    Ok(items)
}

fn one_or_more(entry: Entry<'_>) -> Result<Vec<Entry<'_>>, Wrong> {
    if entry.is_list() { items(entry) } else { Ok(vec![entry]) }
}

fn text(entry: Entry<'_>) -> Result<&str, Wrong> {
    let text = entry.text().filter(|text| !text.trim().is_empty() && !entry.is_null());
    text.ok_or_else(|| wrong(entry, format!("`{}` must be a text", shown(entry.key().unwrap_or("an item")))))
}

/// Reads one of a few words.
fn word<T: Copy>(entry: Entry<'_>, words: &[(&str, T)]) -> Result<T, Wrong> {
    let text = entry.text().unwrap_or_default();
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let name = shown(entry.key().unwrap_or_default());
        wrong(entry, format!("`{name}` is `{}`; it can be {}", shown(text), known.join(", ")))
    })
}

fn glob(entry: Entry<'_>, subject: Subject) -> Result<String, Wrong> {
    expression(text(entry)?, subject).map_err(|error| wrong(entry, error.to_string()))
}

fn set(globs: Vec<String>, list: Entry<'_>) -> Result<RegexSet, Wrong> {
    let set = RegexSetBuilder::new(globs).size_limit(MAX_PROGRAM).build();
    set.map_err(|_| wrong(list, "the globs are too large together".to_owned()))
}

fn wrong(entry: Entry<'_>, message: String) -> Wrong {
    Wrong { at: entry.written_span().start, message }
}

/// Returns where an entry begins: a finding about it is about a place, not about all its lines.
fn first_line(entry: Entry<'_>) -> Range<usize> {
    let start = entry.written_span().start;
    start..start
}

const TOP: &[&str] = &[
    "allow",
    "extra-kinds",
    "fix",
    "paths",
    "placeholders",
    "rules",
    "scope",
    "sealed",
    "sops",
    "strict",
    "version",
];

const ALLOW: &[&str] = &["path", "pointer", "reason", "rule", "until"];

const SEVERITIES: &[(&str, Severity)] =
    &[("off", Severity::Off), ("warning", Severity::Warning), ("error", Severity::Error)];

/// How many items a list has at most.
const MAX_ITEMS: usize = 1_000;

/// How large all globs of a list are at most, once they are made a program, in bytes.
const MAX_PROGRAM: usize = 16 << 20;

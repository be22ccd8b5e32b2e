//! Which values of Secrets are in clear.

use std::ops::Range;

use crate::check::config::Config;
use crate::check::placeholder::has_reference;
use crate::check::rules::literal::value::{is_literal, is_public_pem};
use crate::check::{Entry, Outline, is_placeholder, is_secret_name, template};
use crate::sealed::decode_base64;

use super::action::literals;
use super::layer::is_document;

/// A value of a Secret as it is written.
#[derive(Clone, Copy)]
pub(in crate::check::rules) struct Written<'t> {
    /// Its key.
    pub key: &'t str,
    /// What it means.
    pub text: &'t str,
    /// How it is written, with quotes.
    pub source: &'t str,
    /// Whether it is base64 of what it means.
    pub is_base64: bool,
    /// Whether a template makes a part of it.
    pub has_action: bool,
}

/// What of a value is in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check::rules) enum Clear {
    /// All of it.
    All,
    /// A text in its action, at these bytes of its source.
    Default(Range<usize>),
    /// A setting in its lines, at these bytes of its text; others of its lines are put in later.
    Line(Range<usize>),
}

/// A map of a Secret with values in it.
#[derive(Clone, Copy)]
pub(in crate::check::rules) struct Section<'a> {
    /// What it is called: `data` or `stringData`.
    pub name: &'a str,
    /// The map.
    pub map: Entry<'a>,
}

/// Returns what of a value is in clear, if anything is.
pub(in crate::check::rules) fn judge(value: Written<'_>, config: &Config) -> Option<Clear> {
    if value.has_action {
        return judge_template(value, config);
    }
    if is_harmless(value.key, value.text, config) {
        return None;
    }
    if value.is_base64
        && let Ok(decoded) = decode_base64(value.text.as_bytes())
        && let Ok(text) = str::from_utf8(decoded.expose_secret())
    {
        // Nothing is put into what is encoded.
        let is_clear = !is_harmless(value.key, text, config);
        return is_clear.then_some(Clear::All);
    }
    if is_put_in(value.text) {
        return clear_line(value.text, config).map(Clear::Line);
    }
    Some(Clear::All)
}

/// Returns what is in clear of a value that a template makes a part of.
fn judge_template(value: Written<'_>, config: &Config) -> Option<Clear> {
    let is_literal = |range: &Range<usize>| !is_placeholder(&value.source[range.clone()], config);
    let found = literals(value.source).into_iter().find(is_literal).map(Clear::Default);
    if found.is_some() || is_public(value.key, value.text) {
        return found;
    }
    if let Some(range) = beside_comments(value.text) {
        let rest = Written { text: &value.text[range], has_action: false, ..value };
        return judge(rest, config).map(|_| Clear::All);
    }
    // What is encoded as a whole has no lines.
    if value.is_base64 { None } else { clear_line(value.text, config).map(Clear::Line) }
}

/// Returns where the text is that stands before or behind comments of a template, if there is nothing else.
fn beside_comments(text: &str) -> Option<Range<usize>> {
    let actions = template::mask(text).actions;
    let is_comment = |action: &Range<usize>| {
        text[action.clone()].trim_start_matches(['{', '-']).trim_start().starts_with("/*")
    };
    let (first, last) = (actions.first()?, actions.last()?);
    if !actions.iter().all(is_comment) {
        return None;
    }
    let blank = [' ', '\t', '\r', '\n', '"', '\''];
    let (before, behind) = (&text[..first.start], &text[last.end..]);
    let before_is_empty = before.trim_matches(blank).is_empty();
    let range = if before_is_empty { last.end..text.len() } else { 0..first.start };
    let is_one = before_is_empty || behind.trim_matches(blank).is_empty();
    let part = text[range.clone()].trim_matches(blank);
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    (is_one && !part.is_empty()).then(|| start..start + part.len())
}

/// Returns the maps of a Secret that hold values, each as often as it is written.
pub(in crate::check::rules) fn sections<'a>(secret: Entry<'a>) -> impl Iterator<Item = Section<'a>> {
    let maps = secret.entries().filter_map(|map| {
        let name = map.key().filter(|key| matches!(*key, "data" | "stringData"))?;
        map.is_map().then_some(Section { name, map })
    });
    // Policies that make Secrets have them in another `data`.
    maps.flat_map(|section| {
        let inner = section.map.entries().filter_map(|map| {
            let name = map.key().filter(|key| matches!(*key, "data" | "stringData"))?;
            map.is_map().then_some(Section { name, map })
        });
        let inner: Vec<_> = inner.collect();
        let is_object = section.map.get("metadata").is_some_and(Entry::is_map);
        if inner.is_empty() && !is_object { vec![section] } else { inner }
    })
}

/// Returns the values of a Secret that are in clear, each with what of it is.
pub(in crate::check::rules) fn clear_values<'a>(
    secret: Entry<'a>,
    config: &Config,
) -> Vec<(Section<'a>, Entry<'a>, Clear)> {
    let is_deleted = secret.text_at(&["$patch"]) == Some("delete");
    let kind = secret.text_at(&["metadata", "labels", "argocd.argoproj.io/secret-type"]);
    let settings = match kind {
        Some("cluster") => CLUSTER,
        Some("repository" | "repo-creds" | "repository-write") => REPOSITORY,
        _ => &[],
    };
    let mut found = Vec::new();
    for section in sections(secret).filter(|_| !is_deleted) {
        for entry in section.map.entries() {
            let key = entry.key().unwrap_or_default();
            if !(settings.contains(&key) && is_setting(section.name, entry))
                && let Some(clear) = judge_entry(section.name, entry, config)
            {
                found.push((section, entry, clear));
            }
        }
    }
    found
}

fn judge_entry(section: &str, entry: Entry<'_>, config: &Config) -> Option<Clear> {
    let judge_text = |value: Entry<'_>| {
        let text = value.text().filter(|_| !value.is_null())?;
        let key = entry.key().unwrap_or_default();
        let (source, has_action) = (value.source(), value.has_action());
        let is_base64 = section == "data" || value.is_binary();
        judge(Written { key, text, source, is_base64, has_action }, config)
    };
    if entry.text().is_some() {
        return judge_text(entry);
    }
    // No cluster takes it, and it is in clear all the same.
    entry.walk().into_iter().find_map(judge_text).map(|_| Clear::All)
}

/// Returns whether what Argo CD is told of a repository or a cluster gives nothing away.
fn is_setting(section: &str, entry: Entry<'_>) -> bool {
    let text = entry.text().unwrap_or_default();
    let decoded = (section == "data").then(|| decode_base64(text.as_bytes()).ok()).flatten();
    let decoded = decoded.as_ref().map_or(Ok(text), |bytes| str::from_utf8(bytes.expose_secret()));
    let Ok(text) = decoded else { return false };
    if entry.key() != Some("config") {
        return !has_password(text);
    }
    let outline = Outline::read(text);
    let is_credential =
        |entry: Entry<'_>| entry.key().is_some_and(|key| CREDENTIALS.contains(&key) && !entry.is_null());
    outline.documents().iter().all(|document| document.error.is_none()) && !outline.nodes().any(is_credential)
}

/// Returns whether a value is none, or no secret by what it is.
fn is_harmless(key: &str, text: &str, config: &Config) -> bool {
    let text = text.trim();
    text.is_empty() || is_placeholder(text, config) || is_public(key, text) || is_document(text)
}

/// Returns whether a value is meant for everybody: certificates, public keys, the keys of hosts.
fn is_public(key: &str, text: &str) -> bool {
    let is_private = text.contains("PRIVATE KEY") || text.contains("SECRET-KEY");
    let is_ssh = key.ends_with(".pub") && (text.starts_with("ssh-") || text.starts_with("ecdsa-"));
    is_public_pem(text) || (!is_private && (is_ssh || PUBLIC_KEYS.contains(&key)))
}

/// Returns whether a part of a text, but not all of it, is put in later. A dollar alone may be one of a password.
fn is_put_in(text: &str) -> bool {
    let text = text.trim();
    let is_whole = text.starts_with("${") && text.find('}') == Some(text.len() - 1);
    let marks = ["${", "$(", "<path:", "{{", "%{", "<%"];
    !is_whole && marks.iter().any(|mark| text.contains(mark)) && has_reference(text)
}

/// Returns the first value in the lines of a text that is set to something secret that nothing is put in.
fn clear_line(text: &str, config: &Config) -> Option<Range<usize>> {
    let masked = template::mask(text);
    let mut at = 0;
    for line in masked.text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let (line, mut from) = (line.trim_end(), 0);
        while let Some((name, value)) = next_secret(line, &mut from) {
            let place = start + value.start..start + value.end;
            let Some(value) = text.get(place.clone()).filter(|value| !value.contains("{{")) else { continue };
            let is_quoted = text[..place.start].ends_with(['"', '\'']);
            if !is_literal(name, value, config) || (!is_quoted && is_code(value)) {
                continue;
            }
            return Some(place);
        }
    }
    None
}

/// Returns the next name of a secret in a line from a place on, and where the value behind it is.
fn next_secret<'t>(line: &'t str, from: &mut usize) -> Option<(&'t str, Range<usize>)> {
    let blank: &[char] = &[' ', '\t', '"', '\'', '\\'];
    while let Some(at) = line[*from..].find([':', '=']).map(|at| *from + at) {
        let before = line[*from..at].trim_end_matches(blank);
        let is_name = |letter: char| letter.is_alphanumeric() || "_.-".contains(letter);
        let name = &before[before.trim_end_matches(is_name).len()..];
        *from = at + 1;
        if !is_secret_name(name) {
            continue;
        }
        let rest = &line[at + 1..];
        let value = rest.trim_start();
        let start = at + 1 + (rest.len() - value.len());
        let escape = usize::from(value.starts_with("\\\""));
        let quote = value[escape..].chars().next().filter(|letter| matches!(letter, '"' | '\''));
        let (start, value) =
            if quote.is_some() { (start + escape + 1, &value[escape + 1..]) } else { (start, value) };
        let ends: &[char] = match quote {
            Some('"') => &['"', '\\'],
            Some(_) => &['\''],
            None if line[at..].starts_with('=') => &[' ', '\t', ',', '}', ']', ';', '&', '"', '\''],
            None => &[',', '}', ']', ';', '"', '\''],
        };
        let end = value.find(ends).unwrap_or(value.len());
        let end = value[..end].find(" #").filter(|_| quote.is_none()).unwrap_or(end);
        *from = start + end;
        return Some((name, start..start + value[..end].trim_end().len()));
    }
    None
}

/// Returns whether what stands behind a name without quotes is no text: code, or something that is named.
fn is_code(value: &str) -> bool {
    value.starts_with(['{', '[', '|', '>', '&', '*', '$', '%', '!', '=', '/'])
        || value.contains(['(', '[', '<', '|'])
        || (value.contains('.') && is_secret_name(value))
}

/// Returns whether a text is an address with a password in it.
fn has_password(text: &str) -> bool {
    let host = text.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// What Secrets of Argo CD say of a cluster without giving anything away; its `config` is looked at.
const CLUSTER: &[&str] = &["clusterResources", "config", "name", "namespaces", "project", "server", "shard"];

/// What the `config` of a cluster has that opens it.
const CREDENTIALS: &[&str] = &["bearerToken", "env", "keyData", "password"];

/// Keys whose values everybody may see.
const PUBLIC_KEYS: &[&str] =
    &["ca-bundle.crt", "ca.crt", "ca.pem", "known_hosts", "service-ca.crt", "tls.crt"];

/// What Secrets of Argo CD say of a repository without giving anything away.
const REPOSITORY: &[&str] = &[
    "enableLfs",
    "enableOCI",
    "forceHttpBasicAuth",
    "githubAppEnterpriseBaseUrl",
    "githubAppID",
    "githubAppInstallationID",
    "insecure",
    "name",
    "noProxy",
    "project",
    "type",
    "url",
    "useAzureWorkloadIdentity",
];

//! The marks of SOPS in a text: where its metadata is, and so in which format the text is.

use std::ops::Range;

use crate::check::file::File;
use crate::check::outline::Entry;
use crate::format::{Format, METADATA_KEY};

/// Returns the format of a file that has metadata of SOPS, or says that it has.
pub(super) fn format_of(file: &File<'_>) -> Option<Format> {
    let text = file.text();
    let named = Format::from_file_name(file.name());
    let is_named = |format| named == format;
    if says_dotenv(text, is_named(Format::Dotenv)) {
        return Some(Format::Dotenv);
    }
    if says_ini(text, is_named(Format::Ini)) {
        return Some(Format::Ini);
    }
    let top = text.trim_start();
    let is_json = top.starts_with('{');
    if !has_entry(text, is_json) || !is_structured(file, named) {
        return None;
    }
    match named {
        Format::Json | Format::Yaml => Some(named),
        _ if !is_json => Some(Format::Yaml),
        _ if is_envelope(file) => Some(Format::Binary),
        _ => Some(Format::Json),
    }
}

/// Returns the line of a field of the metadata, or the start of the file if it is not to be found.
pub(in crate::check) fn metadata_line(file: &File<'_>, field: &str) -> Range<usize> {
    let text = file.text();
    let is_field = |line: &str| {
        let line = line.trim_start_matches([' ', '\t', '"', '\'']);
        let line = line.strip_prefix("sops_").unwrap_or(line);
        let rest = line.strip_prefix(field).map(|rest| rest.trim_start_matches(['"', '\'', ' ', '\t']));
        rest.is_some_and(|rest| rest.starts_with([':', '=']))
    };
    // Metadata is at the end in whatever sops writes, and in that of a file without values at its start, too.
    let (mut end, mut found) = (text.len(), 0..0);
    for line in text.rsplit('\n') {
        let start = end - line.len();
        if is_field(line) {
            let indent = line.len() - line.trim_start().len();
            found = start + indent..start + line.trim_end().len().max(indent);
            break;
        }
        end = start.saturating_sub(1);
    }
    found
}

/// Returns whether lines of metadata are there.
fn says_dotenv(text: &str, is_named: bool) -> bool {
    let has = |start: &str| text.lines().any(|line| line.starts_with(start));
    if !text.contains("sops_") {
        return false;
    }
    if is_named {
        return has("sops_mac=")
            || has("sops_lastmodified=")
            || has("sops_version=") && text.contains(ENCRYPTED);
    }
    // What only shows such a file is written otherwise.
    has("sops_mac=ENC[") && has("sops_version=") && has_only_lines(text, &["#"])
}

/// Returns whether the section of metadata is there.
fn says_ini(text: &str, is_named: bool) -> bool {
    let mut lines = text.lines().map(str::trim);
    if !text.contains("[sops]") || !lines.any(|line| line == "[sops]") {
        return false;
    }
    if !is_named && !has_only_lines(text, &["#", ";", "["]) {
        return false;
    }
    let mut section = lines.take_while(|line| !line.starts_with('['));
    section.any(|line| line.split_once('=').is_some_and(|(key, _)| FIELDS.contains(&key.trim())))
        || text.contains(ENCRYPTED)
}

/// Returns whether all lines are blank, start so, or give a key its value.
fn has_only_lines(text: &str, starts: &[&str]) -> bool {
    let is_known = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.contains('=') || starts.iter().any(|start| line.starts_with(start))
    };
    text.lines().all(is_known)
}

/// Returns whether the key of the metadata may be at the top: a cheap look.
fn has_entry(text: &str, is_json: bool) -> bool {
    if text.contains("\"sops\"") || text.contains("'sops'") {
        return true;
    }
    // In a YAML map in braces, keys need no quotes.
    text.starts_with("sops") || text.contains("\nsops") || is_json && text.contains("sops")
}

/// Returns whether a YAML or JSON text has metadata at the top of a document, or cannot be read and looks so.
fn is_structured(file: &File<'_>, named: Format) -> bool {
    let text = file.text();
    let is_sealed = text.contains(ENCRYPTED);
    let is_metadata = |entry: Entry<'_>| {
        let has = |field: &&str| entry.get(field).is_some();
        if entry.is_map() { FIELDS.iter().any(has) } else { is_sealed }
    };
    let mut roots = file.outline().roots().filter(|root| root.is_map());
    if roots.any(|root| root.entries().any(|entry| entry.key() == Some(METADATA_KEY) && is_metadata(entry))) {
        return true;
    }
    let is_named = matches!(named, Format::Json | Format::Yaml);
    let is_unread = file.outline().documents().iter().any(|document| document.error.is_some());
    is_unread && (is_named || text.starts_with('{')) && says_by_lines(text)
}

/// Returns whether a text that cannot be read has lines as metadata has.
fn says_by_lines(text: &str) -> bool {
    let is_start = |line: &str| {
        line.starts_with("sops:") || line.trim_start().starts_with("\"sops\"") || line.starts_with("'sops'")
    };
    let is_field = |line: &str| {
        let line = line.trim_start_matches([' ', '\t', '"', '\'', '{']);
        FIELDS.iter().any(|field| {
            line.strip_prefix(field).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'))
        })
    };
    let mut lines = text.lines();
    lines.any(is_start) && text.lines().any(is_field)
}

/// Returns whether a JSON text is that of a binary file: data and metadata, and nothing else.
fn is_envelope(file: &File<'_>) -> bool {
    let mut roots = file.outline().roots();
    roots.next().is_none_or(|root| {
        root.get("data").is_some()
            && root.entries().all(|entry| matches!(entry.key(), Some("data" | METADATA_KEY)))
    })
}

/// Fields that metadata of SOPS has, and hardly any other map of that name.
const FIELDS: &[&str] = &["mac", "lastmodified"];

/// How encrypted values begin.
const ENCRYPTED: &str = "ENC[AES256_GCM,";

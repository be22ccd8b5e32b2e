//! `.seal-check.yaml`: what a repository says of its checks. It is read as Git will commit it.
//!
//! ```yaml
//! version: 1
//! sops: {config: auto, require-mac: if-key}       # if-key, never, always
//! sealed: {cert: sealed-secrets/pub-cert.pem}
//! rules: {K8S006: error, SOPS002: {severity: warning, reason: "until the migration is done"}}
//! paths:
//! - {match: "docs/**", rules: {K8S001: warning}, reason: "made up examples"}
//! placeholders: ["CHANGE_ME_*"]
//! extra-kinds: [{group: example.org, kind: Vaulted, encrypted: spec.values}]
//! scope: changed-document                         # changed-document, changed-line, file
//! fix: suggest                                    # off, suggest, stage
//! strict: false
//! allow:
//! - {path: "demo/*.json", pointer: /data, rule: K8S001, reason: "a demo", until: 2027-06-30}
//! ```
//!
//! Invariants: of several entries of `paths` about a file, a later one wins over an earlier one, and each over `rules`;
//! what protects most (`K8S001`, `KEY001`, `SOPS…`, `META001`) is not made less without a reason, and `META003` never; the
//! severity that a rule has anyhow makes no finding less without a reason; a field, rule or word that does not exist is an error. All globs are matched in one pass over a path.

mod compare;
mod glob;
mod read;
mod words;

use std::collections::HashMap;
use std::ops::Range;

use regex::RegexSet;
use time::Date;

use super::content::{Content, decode};
use super::rule::{Rule, Severity};

pub(super) use compare::{Weaker, weaker};

/// What a repository says of its checks.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Whether warnings stop a commit, too.
    pub strict: bool,
    rules: Vec<Setting>,
    paths: Vec<PathSettings>,
    /// The globs of `paths`, and which entry each is of.
    path_globs: (RegexSet, Vec<usize>),
    allow: Vec<Allow>,
    /// The globs of `allow`, one for each entry.
    allow_globs: RegexSet,
    placeholders: Vec<Text>,
    placeholder_globs: RegexSet,
    extra_kinds: Vec<ExtraKind>,
    sealing_cert: Option<Text>,
    scope: Scope,
    fix: FixMode,
    require_mac: RequireMac,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ConfigError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong, without any value but those of the configuration.
    pub message: String,
}

/// What is judged of a file that was changed in part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The documents that the change touches; findings in others are warnings.
    #[default]
    ChangedDocument,
    /// The lines that are new; findings in others are warnings.
    ChangedLine,
    /// All of it.
    File,
}

/// A kind of object that must be encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraKind {
    /// The group of its API, such as `example.org`.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Where its secrets are, from the object on: the keys on the way, such as `spec` and `values`.
    pub encrypted: Vec<String>,
}

/// When `fix` is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FixMode {
    /// It is not spoken of.
    Off,
    /// The command is told.
    #[default]
    Suggest,
    /// It is done as the check finds something, and the commit stops once.
    Stage,
}

/// Whether keys at hand are used to check MACs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireMac {
    /// If a key is at hand without any network.
    #[default]
    IfKey,
    /// Never.
    Never,
    /// A MAC that cannot be checked is a finding.
    Always,
}

/// How bad findings of a rule are.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    rule: &'static Rule,
    severity: Severity,
    reason: Option<String>,
    span: Range<usize>,
}

/// An entry of `paths`.
#[derive(Clone, Debug)]
struct PathSettings {
    globs: Vec<String>,
    rules: Vec<Setting>,
}

/// An entry of `allow`.
#[derive(Clone, Debug)]
pub(super) struct Allow {
    /// The glob of the files.
    pub path: String,
    /// Where in a document or object, with all below it; empty for everywhere.
    pub pointer: String,
    /// The rules that allow it.
    pub rules: Vec<&'static Rule>,
    /// Why.
    pub reason: String,
    /// The last day.
    pub until: Option<Date>,
    /// Where it is in the configuration.
    pub span: Range<usize>,
}

/// A text, and where it is in the configuration.
#[derive(Clone, Debug)]
struct Text {
    text: String,
    span: Range<usize>,
}

impl Config {
    /// What the file is called, at the top of a repository.
    pub const NAME: &'static str = ".seal-check.yaml";

    /// Reads the text of a configuration. An empty one says what is so without any.
    ///
    /// # Errors
    /// If it is no YAML, or has a field, a rule or a value that does not exist.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        if text.len() > MAX_SIZE {
            let message = format!("the configuration is larger than {MAX_SIZE} bytes");
            return Err(ConfigError { line: 1, message });
        }
        match decode(text) {
            Content::Binary(_) => {
                Err(ConfigError { line: 1, message: "the configuration is no text".into() })
            }
            Content::Text(text) => read::read(&text).map_err(|wrong| {
                let before = text.get(..wrong.at).unwrap_or(&text);
                ConfigError { line: before.matches('\n').count() + 1, message: wrong.message }
            }),
        }
    }

    /// Returns how bad findings of a rule are at a path; `severity` is what the rule found it to be.
    #[must_use]
    pub fn severity(&self, rule: &Rule, path: &str, severity: Severity) -> Severity {
        self.severities(path).get(rule.id).map_or(severity, |setting| setting.of(severity))
    }

    /// Returns whether a text is one of the repository's own placeholders.
    #[must_use]
    pub fn is_placeholder(&self, text: &str) -> bool {
        self.placeholder_globs.is_match(text)
    }

    /// Returns the repository's own kinds of objects that must be encrypted.
    #[must_use]
    pub fn extra_kinds(&self) -> &[ExtraKind] {
        &self.extra_kinds
    }

    /// Returns the path of the certificate that Secrets are sealed for.
    #[must_use]
    pub fn sealing_cert(&self) -> Option<&str> {
        self.sealing_cert.as_ref().map(|cert| cert.text.as_str())
    }

    /// Returns what is judged of a file that was changed in part.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Returns when `fix` is done.
    #[must_use]
    pub const fn fix(&self) -> FixMode {
        self.fix
    }

    /// Returns whether MACs are checked with keys at hand.
    #[must_use]
    pub const fn require_mac(&self) -> RequireMac {
        self.require_mac
    }

    /// Returns the entries of `allow` that are not valid any more: the glob of each, and its last day.
    pub fn expired(&self, today: Date) -> impl Iterator<Item = (&str, Date)> {
        let until = move |entry: &Allow| entry.until.filter(|until| *until < today);
        self.allow.iter().filter_map(move |entry| Some((entry.path.as_str(), until(entry)?)))
    }

    /// Returns what it says, line by line, for people: also what holds because nothing else is said.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        compare::describe(self)
    }

    /// Returns how bad findings are at a path, by the names of those rules of which anything is said.
    pub(super) fn severities(&self, path: &str) -> HashMap<&'static str, &Setting> {
        let mut found: HashMap<_, _> = self.rules.iter().map(|setting| (setting.rule.id, setting)).collect();
        let (globs, entries) = &self.path_globs;
        // In the order of the globs, which is that of the entries.
        for glob in globs.matches(path) {
            for setting in &self.paths[entries[glob]].rules {
                found.insert(setting.rule.id, setting);
            }
        }
        found
    }

    /// Returns the entries of `allow`.
    pub(super) fn allow(&self) -> &[Allow] {
        &self.allow
    }

    /// Returns which entries of `allow` are about a file.
    pub(super) fn allow_at(&self, path: &str) -> impl Iterator<Item = usize> {
        self.allow_globs.matches(path).into_iter()
    }
}

impl Setting {
    /// Returns how bad a finding is that the rule found to be so bad.
    pub(super) fn of(&self, found: Severity) -> Severity {
        if self.severity == self.rule.severity && self.reason.is_none() {
            // It takes nothing away in words; what the rule finds worse than usual stays so.
            found.max(self.severity)
        } else {
            self.severity
        }
    }

    /// Returns whether findings are made less that are worse than the rule usually is.
    fn caps(&self) -> bool {
        self.severity == self.rule.severity && self.severity < Severity::Error && self.reason.is_some()
    }
}

impl Scope {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("changed-document", Self::ChangedDocument),
        ("changed-line", Self::ChangedLine),
        ("file", Self::File),
    ];
}

impl FixMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("suggest", Self::Suggest), ("stage", Self::Stage)];
}

impl RequireMac {
    const WORDS: &'static [(&'static str, Self)] =
        &[("if-key", Self::IfKey), ("never", Self::Never), ("always", Self::Always)];
}

/// Returns whether a rule protects so much that nobody makes it less without saying why.
fn needs_reason(rule: &Rule) -> bool {
    matches!(rule.id, "K8S001" | "KEY001" | "META001") || rule.id.starts_with("SOPS")
}

/// How large a configuration is at most, in bytes.
const MAX_SIZE: usize = 1 << 20;

#[cfg(test)]
mod tests;

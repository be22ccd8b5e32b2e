//! What a rule found, and where. No field that is ever shown holds a value of a file.

mod shown;

use std::ops::Range;

use super::file::File;
use super::rule::{Rule, Severity};
use crate::secret::SecretBytes;

/// Something that a rule found.
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is here.
    pub severity: Severity,
    /// The file, relative to the top of the repository.
    pub path: String,
    /// The bytes of the decoded text that it is about.
    pub span: Range<usize>,
    /// Where that starts.
    pub start: Position,
    /// Where it ends, exclusively.
    pub end: Position,
    /// The object that it is in, as `Kind/namespace/name`; empty if it is in none.
    pub object: String,
    /// Where it is in its document or object, as a JSON pointer (RFC 6901); empty if it is nowhere in particular.
    pub pointer: String,
    /// What is wrong here, without any value.
    pub message: String,
    /// What mends it: a command, or an advice.
    pub remedy: String,
    /// How `fix` mends it, if it can.
    pub fix: Option<Fix>,
    /// The value, for baselines: they hold a slow commitment to it.
    pub value: Option<SecretBytes>,
    /// Whether it counts.
    pub standing: Standing,
}

/// A place for people and programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1 on.
    pub line: usize,
    /// The column in characters, from 1 on.
    pub column: usize,
}

/// Whether a finding counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// The repository allows it, for this reason.
    Allowed(String),
    /// The baseline has it.
    Baseline,
    /// It counts.
    #[default]
    New,
    /// It was there before, and what was changed does not touch it: never worse than a warning.
    Old,
}

/// How a finding can be mended without any private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fix {
    /// Encrypt the whole file by its creation rule.
    Encrypt,
    /// Encrypt the values that are in clear in an encrypted file; this needs its data key.
    EncryptRest,
    /// Seal the Secret for the repository's certificate.
    Seal,
    /// Take the annotation with the last applied configuration out.
    Strip,
}

impl Finding {
    /// Returns a finding about some bytes of a file's text.
    #[must_use]
    pub fn new(rule: &'static Rule, file: &File<'_>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity: rule.severity,
            path: file.path().to_owned(),
            start: file.position(span.start),
            end: file.position(span.end.max(span.start)),
            span,
            object: String::new(),
            pointer: String::new(),
            message: shown::shown(message.into(), None),
            remedy: String::new(),
            fix: None,
            value: None,
            standing: Standing::New,
        }
    }

    /// Says in which object, and where in it. An empty text stands for none. What is a secret in a name is cut out.
    #[must_use]
    pub fn at(mut self, object: impl Into<String>, pointer: impl Into<String>) -> Self {
        self.object = shown::shown(object.into(), None);
        self.pointer = shown::shown(pointer.into(), Some(self.start.line));
        self
    }

    /// Says what mends it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Says how `fix` mends it.
    #[must_use]
    pub const fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    /// Says which value it is about.
    #[must_use]
    pub fn value(mut self, value: &[u8]) -> Self {
        self.value = Some(SecretBytes::from(value));
        self
    }

    /// Says that it is worse, or less bad, than its rule usually is.
    #[must_use]
    pub const fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Returns whether it is a warning that counts.
    #[must_use]
    pub fn warns(&self) -> bool {
        self.severity == Severity::Warning && matches!(self.standing, Standing::New | Standing::Old)
    }

    /// Returns whether it stops a commit.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.severity == Severity::Error && self.standing == Standing::New
    }
}

/// Where rules put what they find.
#[derive(Default)]
pub struct Findings {
    found: Vec<Finding>,
}

impl std::fmt::Debug for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}:{} {}", self.rule.id, self.path, self.start.line, self.message)
    }
}

impl Findings {
    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    /// Returns what was found.
    #[must_use]
    pub fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}

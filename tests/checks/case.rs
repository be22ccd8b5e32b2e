//! A case of the corpus: files of a repository, and what has to be found in them.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use selkie::check::baseline::Baseline;
use selkie::check::config::Config;
use selkie::check::{Checker, Context, Files, Finding, Mode, Policies, Severity, Snapshot, rule};
use time::Date;

/// Files of a repository, and what has to be found in them.
#[derive(Clone)]
pub struct Case {
    /// What it is, in words.
    pub name: &'static str,
    /// Whether something has to be found in it.
    pub is_leak: bool,
    /// The files as they will be.
    pub files: Vec<(String, Vec<u8>)>,
    /// The files as they were, if there is a before.
    pub before: Vec<(String, Vec<u8>)>,
    /// What has to be found.
    pub wanted: Vec<Wanted>,
    /// The values that no report may hold.
    pub values: Vec<String>,
    /// The text that the last file was made of.
    text: String,
}

/// What has to be found.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// One of these rules finds it.
    pub rules: Vec<&'static str>,
    /// In this file.
    pub path: String,
    /// On one of these lines.
    pub lines: Vec<usize>,
    /// At least so bad.
    pub severity: Severity,
}

/// How a text is stored.
#[derive(Clone, Copy)]
pub enum Encoding {
    /// With a byte order mark.
    Utf8Mark,
    /// Little end first, with a byte order mark.
    Utf16,
    /// Big end first, without any mark.
    Utf16Big,
    /// Little end first, with a byte order mark.
    Utf32,
}

impl Case {
    /// Returns a case without any file.
    pub fn new(name: &'static str, is_leak: bool, values: Vec<String>) -> Self {
        let (files, before, wanted) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, is_leak, files, before, wanted, values, text: String::new() }
    }

    /// Adds a file.
    pub fn file(mut self, path: &str, text: impl Into<String>) -> Self {
        self.text = text.into();
        self.files.push((path.to_owned(), self.text.clone().into_bytes()));
        self
    }

    /// Adds a file that is stored in another encoding.
    pub fn encoded(mut self, path: &str, text: impl Into<String>, encoding: Encoding) -> Self {
        self.text = text.into();
        self.files.push((path.to_owned(), encoding.encode(&self.text)));
        self
    }

    /// Adds a file that is no text.
    pub fn bytes(mut self, path: &str, bytes: Vec<u8>) -> Self {
        self.text = String::new();
        self.files.push((path.to_owned(), bytes));
        self
    }

    /// Adds a file as it was before the change.
    pub fn old(mut self, path: &str, text: impl Into<String>) -> Self {
        self.before.push((path.to_owned(), text.into().into_bytes()));
        self
    }

    /// Says which rule has to find something in the last file, on the line that holds this text first.
    pub fn wants(self, rule: &'static str, on: &str) -> Self {
        self.wants_any(&[rule], &[on])
    }

    /// Says which of several rules has to find something in the last file, on one of these lines.
    pub fn wants_any(mut self, rules: &[&'static str], on: &[&str]) -> Self {
        let lines: Vec<_> = on.iter().filter_map(|on| line_of(&self.text, on)).collect();
        assert!(!lines.is_empty(), "{}: no line holds it", self.name);
        let severity = rules.iter().filter_map(|id| rule(id)).map(|rule| rule.severity).min();
        let severity = severity.expect("the rule is there");
        let path = self.files.last().expect("there is a file").0.clone();
        self.wanted.push(Wanted { rules: rules.to_vec(), path, lines, severity });
        self
    }

    /// Says that what was wanted last is a warning here.
    pub fn only_warned(mut self) -> Self {
        self.wanted.last_mut().expect("something is wanted").severity = Severity::Warning;
        self
    }

    /// Returns what is found in the files that are not as they were.
    ///
    /// # Errors
    /// If a check panics, with what it said.
    pub fn check(&self) -> Result<Vec<Finding>, String> {
        catch_unwind(AssertUnwindSafe(|| check(&self.files, &self.before))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("something");
            format!("{}: the check panics: {text}", self.name)
        })
    }

    /// Returns what is wrong with what was found, if anything.
    pub fn verdict(&self, found: &[Finding]) -> Result<(), String> {
        let shown: Vec<_> =
            found.iter().map(|finding| format!("{finding:?} ({})", finding.severity.name())).collect();
        let tell = |what: &str| Err(format!("{}: {what}; found: {shown:#?}", self.name));
        for wanted in &self.wanted {
            if !found.iter().any(|finding| wanted.is(finding)) {
                return tell(&format!("not found: {wanted:?}"));
            }
        }
        if !self.is_leak && found.iter().any(Finding::blocks) {
            return tell("an error, and nothing is wrong");
        }
        Ok(())
    }
}

impl Wanted {
    /// Returns whether a finding is what is wanted.
    pub fn is(&self, finding: &Finding) -> bool {
        self.rules.contains(&finding.rule.id)
            && finding.path == self.path
            && self.lines.contains(&finding.start.line)
            && finding.severity >= self.severity
            && (finding.blocks() || finding.warns())
    }
}

impl Encoding {
    fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8Mark => format!("\u{feff}{text}").into_bytes(),
            Self::Utf16 => format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf16Big => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::Utf32 => {
                format!("\u{feff}{text}").chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect()
            }
        }
    }
}

/// Returns what is found in the files that are not as they were.
pub fn check(files: &[(String, Vec<u8>)], before: &[(String, Vec<u8>)]) -> Vec<Finding> {
    let after: Files = files.iter().cloned().collect();
    let old: Files = before.iter().cloned().collect();
    let text = |name: &str| files.iter().find(|(path, _)| path == name).map(|(_, text)| text.as_slice());
    // What cannot be read is told by a rule; here, it says nothing.
    let config = text(Config::NAME).and_then(|text| Config::parse(text).ok()).unwrap_or_default();
    let baseline = text(Baseline::NAME).and_then(|text| Baseline::parse(text).ok()).unwrap_or_default();
    let policies = Policies::new(&after);
    let today = Date::from_ordinal_date(2026, 300).expect("a day");
    let old = (!before.is_empty()).then_some(&old as &dyn Snapshot);
    let context =
        Context { after: &after, before: old, config: &config, policies: &policies, keys: None, today };
    let checker = Checker::new(context, baseline);
    let (mut found, mut facts) = (Vec::new(), Vec::new());
    for (path, text) in files {
        let old = before.iter().find(|(old, _)| old == path).map(|(_, text)| text.as_slice());
        if old != Some(text.as_slice()) {
            let checked = checker.file(path, Mode::File, text, old);
            found.extend(checked.findings);
            facts.push(checked.facts);
        }
    }
    found.extend(checker.finish(&facts));
    found
}

/// Returns the rules that found something that counts.
pub fn rules(found: &[Finding]) -> BTreeSet<&'static str> {
    let counting = found.iter().filter(|finding| finding.blocks() || finding.warns());
    counting.map(|finding| finding.rule.id).collect()
}

fn line_of(text: &str, holds: &str) -> Option<usize> {
    let at = text.find(holds)?;
    Some(text[..at].matches('\n').count() + 1)
}

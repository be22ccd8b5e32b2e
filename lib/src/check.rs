//! Checks that no plaintext secret gets into a repository: by structure and by the repository's own policy, without a
//! key, and without ever telling a value.
//!
//! A [`Checker`] looks at files as Git will have them, each with what was at its path before. What it finds are
//! [`Finding`]s of [`RULES`]. Which files, and where their bytes come from, is the caller's to say.
//!
//! # Example
//! ```
//! use selkie::check::baseline::Baseline;
//! use selkie::check::config::Config;
//! use selkie::check::{Checker, Context, Files, Mode, Policies};
//!
//! let manifest = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  password: of-the-sea-7\n";
//! let after: Files = [("apps/db.yaml", manifest)].into_iter().collect();
//! let (config, policies) = (Config::default(), Policies::new(&after));
//! let today = time::Date::from_ordinal_date(2026, 1).expect("a day of the year");
//! let context =
//!     Context { after: &after, before: None, config: &config, policies: &policies, keys: None, today };
//!
//! let checker = Checker::new(context, Baseline::default());
//! let checked = checker.file("apps/db.yaml", Mode::File, manifest.as_bytes(), None);
//! let finding = &checked.findings[0];
//! assert_eq!((finding.rule.id, finding.start.line), ("K8S001", 6));
//! assert_eq!(finding.pointer, "/stringData/password");
//! // What is told holds no value.
//! assert!(!finding.message.contains("of-the-sea-7"));
//! ```
//!
//! Invariants: no message, pointer or remedy holds a value of a file, nor a part of one; what a rule would judge and
//! cannot read is a finding (`META001`), never silence; nothing here reads a file, a clock or a network.
//!
//! To add a rule, write one file below `rules` and one line of [`RULES`].

pub mod baseline;
pub mod config;
mod content;
mod context;
mod facts;
mod file;
mod finding;
mod large;
mod names;
mod needles;
mod object;
mod outline;
mod placeholder;
mod policies;
mod rule;
mod rules;
mod scope;
mod sops_file;
mod suppression;
mod template;
#[cfg(test)]
pub(crate) mod test_kit;

pub use content::{Content, decode};
pub use context::{Context, Files, Snapshot, Verdict, Verifier};
pub use facts::{ClearValue, Facts, ObjectFact};
pub use file::{File, Mode};
pub use finding::{Finding, Findings, Fix, Position, Standing};
pub use large::Large;
pub use names::is_secret_name;
pub use needles::Needles;
pub use object::{Object, objects};
pub use outline::{Document, Entries, Entry, NodeKind, Outline, Places, Unread};
pub use placeholder::is_placeholder;
pub use policies::{Policies, Policy};
pub use rule::{Check, Rule, Severity};
pub use rules::{RULES, unusable};
pub use sops_file::SopsFile;

use std::collections::HashMap;

use baseline::Baseline;
use suppression::Allowances;

/// Returns the rule that is called so.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.id == id)
}

/// Looks at files, one by one and in any order, from as many threads as there are.
pub struct Checker<'a> {
    context: Context<'a>,
    baseline: Baseline,
    allowances: Allowances,
    is_whole: bool,
}

/// What was found in a file, and what is remembered of it for [`Checker::finish`].
#[derive(Default)]
pub struct Checked {
    /// What was found, also what does not count.
    pub findings: Vec<Finding>,
    /// What is remembered.
    pub facts: Facts,
}

impl<'a> Checker<'a> {
    /// Returns what looks at files.
    #[must_use]
    pub fn new(context: Context<'a>, baseline: Baseline) -> Self {
        let allowances = Allowances::new(context.config);
        Self { context, baseline, allowances, is_whole: false }
    }

    /// Says whether all files of the repository are looked at, so that entries of `allow` that are of no use to any of
    /// them are told.
    #[must_use]
    pub const fn with_whole(mut self, is_whole: bool) -> Self {
        self.is_whole = is_whole;
        self
    }

    /// Returns what rules may know.
    #[must_use]
    pub const fn context(&self) -> &Context<'a> {
        &self.context
    }

    /// Looks at a file, `old` being what was at its path before the change.
    #[must_use]
    pub fn file(&self, path: &str, mode: Mode, bytes: &[u8], old: Option<&[u8]>) -> Checked {
        let content = decode(bytes);
        let file = File::new(path, bytes, &content, mode);
        match old {
            None => self.look(&file),
            Some(old) => {
                let content = decode(old);
                let old = File::new(path, old, &content, mode);
                self.look(&file.with_old(Some(&old)))
            }
        }
    }

    /// Judges all files together, once each was looked at.
    #[must_use]
    pub fn finish(&self, facts: &[Facts]) -> Vec<Finding> {
        let mut found = Findings::default();
        for rule in RULES {
            if let Check::Change(check) = rule.check {
                check(facts, &self.context, &mut found);
            }
        }
        rules::gone(&self.context, &mut found);
        let mut found = found.into_vec();
        self.allow(&mut found);
        let mut told = Findings::default();
        self.allowances.tell(&self.context, self.is_whole, &mut told);
        found.extend(told.into_vec());
        self.weigh(&mut found);
        found
    }

    fn look(&self, file: &File<'_>) -> Checked {
        let mut found = Findings::default();
        if file.mode() == Mode::File {
            for rule in RULES {
                if let Check::File(check) = rule.check
                    && file.needles().has(rule.needles)
                {
                    check(file, &self.context, &mut found);
                }
            }
            if !file.is_text() {
                self.look_at_bytes(file, &mut found);
            }
            rules::unread(file, &mut found);
        }
        let mut found = found.into_vec();
        scope::mark_old(file, self.context.config.scope(), &mut found);
        let mut told = Findings::default();
        if file.needles().has(Needles::ALLOW) {
            suppression::suppress(file, self.context.today, &mut found, &mut told);
        }
        self.allowances.apply(self.context.config, self.context.today, file.path(), &mut found);
        found.extend(told.into_vec());
        self.weigh(&mut found);
        found.sort_by(|left, right| (left.start, left.rule.id).cmp(&(right.start, right.rule.id)));
        Checked { findings: found, facts: Facts::of(file, self.context.config) }
    }

    /// Looks in what is no text for what needs none around it. Keys are looked for in bytes by their rule itself.
    fn look_at_bytes(&self, file: &File<'_>, found: &mut Findings) {
        if !file.needles().has(Needles::TOKEN.or(Needles::URL)) {
            return;
        }
        let content = Content::Text(String::from_utf8_lossy(file.bytes()));
        // A path without any end: its structure is nothing that anybody could read.
        let text = File::new("", file.bytes(), &content, file.mode());
        let mut in_text = Findings::default();
        for rule in RULES.iter().filter(|rule| rule.judges_pieces() && rule.id != "KEY001") {
            if let Check::File(check) = rule.check
                && text.needles().has(rule.needles)
            {
                check(&text, &self.context, &mut in_text);
            }
        }
        for finding in in_text.into_vec() {
            // Places are those of a text.
            let (span, start) = (0..0, Position { line: 1, column: 1 });
            found.add(Finding { path: file.path().to_owned(), span, start, end: start, ..finding });
        }
    }

    /// Marks what is allowed of what was found by all files together.
    fn allow(&self, found: &mut [Finding]) {
        // By path: the sort is stable, so that each rule's findings stay in order.
        found.sort_by(|left, right| left.path.cmp(&right.path));
        for found in found.chunk_by_mut(|left, right| left.path == right.path) {
            let path = found[0].path.clone();
            // What cannot be read allows nothing.
            if let Ok(Some(bytes)) = self.context.after.read(&path) {
                let content = decode(&bytes);
                let file = File::new(&path, &bytes, &content, Mode::File);
                if file.needles().has(Needles::ALLOW) {
                    // What the comments allow for nothing was told as the file was looked at.
                    suppression::suppress(&file, self.context.today, found, &mut Findings::default());
                }
            }
            self.allowances.apply(self.context.config, self.context.today, &path, found);
        }
    }

    /// Gives findings the severity that the repository says, and takes those out that it does not want.
    fn weigh(&self, found: &mut Vec<Finding>) {
        let mut severities = HashMap::new();
        let mut path: Option<String> = None;
        for finding in found.iter_mut() {
            if path.as_ref() != Some(&finding.path) {
                severities = self.context.config.severities(&finding.path);
                path = Some(finding.path.clone());
            }
            if let Some(setting) = severities.get(finding.rule.id) {
                finding.severity = setting.of(finding.severity);
            }
            if finding.standing == Standing::Old {
                finding.severity = finding.severity.min(Severity::Warning);
            }
        }
        found.retain(|finding| finding.severity != Severity::Off);
        self.baseline.mark(found);
    }
}

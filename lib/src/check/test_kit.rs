//! Checks of small files, for the tests of rules.

use time::Date;

use super::baseline::Baseline;
use super::config::Config;
use super::{Checker, Context, Files, Finding, Mode, Policies, Verifier};

/// A repository in memory.
#[derive(Default)]
pub(crate) struct Repository {
    files: Vec<(String, Vec<u8>)>,
    before: Vec<(String, Vec<u8>)>,
    config: Config,
}

impl Repository {
    /// Adds a file.
    pub(crate) fn with(mut self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.files.push((path.to_owned(), text.as_ref().to_vec()));
        self
    }

    /// Adds a file as it was before the change.
    pub(crate) fn with_old(mut self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.before.push((path.to_owned(), text.as_ref().to_vec()));
        self
    }

    /// Sets what the repository says of its checks.
    pub(crate) fn with_config(mut self, text: &str) -> Self {
        self.config = Config::parse(text.as_bytes()).expect("a configuration");
        self
    }

    /// Returns what is found in the files that are not as they were.
    pub(crate) fn check(&self) -> Vec<Finding> {
        self.check_with(None)
    }

    /// Returns what is found with keys at hand.
    pub(crate) fn check_with(&self, keys: Option<&dyn Verifier>) -> Vec<Finding> {
        let after: Files = self.files.iter().cloned().collect();
        let before: Files = self.before.iter().cloned().collect();
        let policies = Policies::new(&after);
        let today = Date::from_ordinal_date(2026, 300).expect("a day");
        let before_files = Some(&before as &dyn super::Snapshot);
        let context = Context {
            after: &after,
            before: before_files,
            config: &self.config,
            policies: &policies,
            keys,
            today,
        };
        let checker = Checker::new(context, Baseline::default());
        let (mut found, mut facts) = (Vec::new(), Vec::new());
        for (path, text) in &self.files {
            let old = self.before.iter().find(|(old, _)| old == path).map(|(_, text)| text.as_slice());
            if old == Some(text.as_slice()) {
                continue;
            }
            let checked = checker.file(path, Mode::File, text, old);
            found.extend(checked.findings);
            facts.push(checked.facts);
        }
        found.extend(checker.finish(&facts));
        found
    }

    /// Returns what is found as `RULE path:line pointer`, in order.
    pub(crate) fn found(&self) -> Vec<String> {
        let show = |finding: Finding| {
            format!("{} {}:{} {}", finding.rule.id, finding.path, finding.start.line, finding.pointer)
        };
        self.check().into_iter().map(show).map(|line| line.trim_end().to_owned()).collect()
    }
}

/// Metadata of SOPS, as a line of YAML.
pub(crate) const METADATA: &str = "sops: {mac: \"ENC[AES256_GCM,data:AAAA,iv:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,\
    tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]\", lastmodified: \"2026-01-01T00:00:00Z\", version: 3.9.0}\n";

/// Returns what a rule finds in one file, as `line pointer`.
pub(crate) fn found(rule: &str, path: &str, text: &str) -> Vec<String> {
    let found = Repository::default().with(path, text).check();
    let found = found.into_iter().filter(|finding| finding.rule.id == rule);
    found.map(|finding| format!("{} {}", finding.start.line, finding.pointer).trim_end().to_owned()).collect()
}

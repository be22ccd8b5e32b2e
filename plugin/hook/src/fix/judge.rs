//! What the index says of how its files are mended, and whether they then pass.

use std::fs;
use std::path::Path;

use selkie::check::baseline::Baseline;
use selkie::check::config::Config;
use selkie::check::{Checker, Context, Finding, Mode, Policies, Snapshot};
use selkie::sealed::SealingCert;
use selkie::sops::config::CreationRule;
use time::Date;

use super::index::{IndexFiles, show};
use super::mend::Policy;

/// What the index says of how its files are mended.
pub(super) struct Judge<'a> {
    files: &'a IndexFiles,
    policies: Policies<'a>,
    config: Config,
    cert: Option<&'a Path>,
    today: Date,
}

impl<'a> Judge<'a> {
    /// Reads what the index says. `cert` is the certificate to seal for, if not that of the configuration.
    ///
    /// # Errors
    /// If the configuration of the checks cannot be used.
    pub fn new(files: &'a IndexFiles, cert: Option<&'a Path>, today: Date) -> Result<Self, String> {
        let config = match files.read(Config::NAME)? {
            None => Config::default(),
            Some(text) => Config::parse(&text).map_err(|error| format!("{}: {error}", Config::NAME))?,
        };
        Ok(Self { files, policies: Policies::new(files), config, cert, today })
    }

    /// Returns what is found in a text at a path.
    pub fn findings(&self, path: &str, text: &[u8], committed: Option<&[u8]>) -> Vec<Finding> {
        let context = Context {
            after: self.files,
            before: None,
            config: &self.config,
            policies: &self.policies,
            keys: None,
            today: self.today,
        };
        Checker::new(context, Baseline::default()).file(path, Mode::File, text, committed).findings
    }
}

impl Policy for Judge<'_> {
    fn rule(&self, path: &str) -> Result<CreationRule, String> {
        let policy = self.policies.of(path).ok_or("no .sops.yaml is above it")?;
        let (name, relative) = (show(&policy.path), policy.relative(path));
        let config = policy.config.as_ref().map_err(|error| format!("{name}: {error}"))?;
        // By such a rule something else would be encrypted than was meant.
        if let Some(warning) = config.misspelling_for(relative) {
            return Err(format!("{name}: {warning}"));
        }
        let rule = config.rule_for(relative).map_err(|error| format!("{name}: {error}"))?;
        rule.cloned().ok_or_else(|| format!("no rule of {name} is for it"))
    }

    fn cert(&self) -> Result<SealingCert, String> {
        let (name, text) = match (self.cert, self.config.sealing_cert()) {
            (Some(path), _) => {
                let text =
                    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                (path.display().to_string(), text)
            }
            (None, Some(path)) => {
                let text =
                    self.files.read(path)?.ok_or_else(|| format!("{} is not in the index", show(path)))?;
                (show(path), text)
            }
            (None, None) => {
                return Err(format!("no certificate is known: name one as sealed.cert in {}", Config::NAME));
            }
        };
        SealingCert::parse(&text).map_err(|error| format!("{name}: {error}"))
    }

    fn remaining(&self, path: &str, text: &[u8], committed: Option<&[u8]>) -> Vec<(&'static str, bool)> {
        let found = self.findings(path, text, committed);
        let blocking = found.iter().filter(|finding| finding.blocks());
        blocking.map(|finding| (finding.rule.id, finding.fix.is_some())).collect()
    }
}

//! The configuration of a run: `--config`, or the next `.sops.yaml`.

use std::path::Path;

use selkie::sops::config::{CreationRule, Stores};

use super::Context;
use super::failure::Failure;
use crate::config_file::{ConfigFile, discover};

/// The configuration of a run, if there is one.
pub(super) struct Configuration(Option<ConfigFile>);

impl Configuration {
    /// Reads the configuration.
    pub fn of(context: &Context<'_>) -> Result<Self, Failure> {
        let directory = &context.session.directory;
        if let Some(path) = context.global().path("config") {
            return Ok(Self(Some(ConfigFile::load(Path::new(path), directory)?)));
        }
        let found = discover(directory);
        if let Some(ignored) = &found.ignored {
            let ignored = ignored.display().to_string();
            context.log.warn(&format!(
                "ignoring {ignored:?} when searching for config file; the config file must be called \
                 \".sops.yaml\""
            ));
        }
        Ok(Self(found.path.map(|path| ConfigFile::load(&path, directory)).transpose()?))
    }

    /// Returns the configuration itself.
    pub const fn file(&self) -> Option<&ConfigFile> {
        self.0.as_ref()
    }

    /// Returns how documents are indented.
    pub fn stores(&self) -> Stores {
        self.0.as_ref().map(|file| file.config.stores()).unwrap_or_default()
    }

    /// Returns the rule for a new document; `None` if there are no rules at all.
    pub fn rule(&self, document: &Path) -> Result<Option<&CreationRule>, Failure> {
        let Some(file) = self.0.as_ref().filter(|file| file.config.has_creation_rules()) else {
            return Ok(None);
        };
        match file.rule_for(document)? {
            Some(rule) => Ok(Some(rule)),
            None => Err(Failure::generic("error loading config: no matching creation rules found")),
        }
    }
}

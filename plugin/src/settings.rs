//! What a new document is encrypted with: keys and a selector, from flags, a rule or the environment.

use std::path::{Path, PathBuf};

use selkie::keys::{KEY_KINDS, KeyGroup, MasterKey};
use selkie::sops::config::CreationRule;
use selkie::sops::{Metadata, Selector};

use crate::config_file::ConfigFile;
use crate::context::Context;
use crate::failure::Failure;
use crate::key_changes::KeyChanges;
use crate::key_flags::{KeyFlags, Plain, SelectorFlags};

/// What a new document is encrypted with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The master keys.
    pub groups: Vec<KeyGroup>,
    /// How many groups recover the data key; 0 stands for all of them.
    pub shamir_threshold: usize,
    /// Which values are encrypted, if anything says so.
    pub selector: Option<Selector>,
    /// Whether the MAC covers only what is encrypted.
    pub mac_only_encrypted: bool,
    /// Who named the keys.
    pub source: Source,
    /// Whether the rule that applies chooses files by their path.
    pub is_for_path: bool,
}

/// Who named the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A variable of the environment.
    Environment(&'static str),
    /// The command line.
    Flags,
    /// A creation rule.
    Rule {
        /// The configuration.
        config: PathBuf,
        /// The 1-based position of the rule.
        position: usize,
        /// The 1-based line on which it starts.
        line: usize,
    },
}

/// Flags that say what a new document is encrypted with.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SettingsFlags {
    #[command(flatten, next_help_heading = "Keys")]
    keys: KeyFlags<Plain>,

    /// Need so many key groups to decrypt, where there is more than one
    #[arg(long, value_name = "NUMBER", hide_short_help = true)]
    shamir_threshold: Option<u8>,

    #[command(flatten, next_help_heading = "What is encrypted (one of them)")]
    selector: SelectorFlags,

    /// Let the MAC cover encrypted values only, so that the others can be changed without the key
    #[arg(long)]
    mac_only_encrypted: bool,
}

impl Settings {
    /// Returns the metadata of a new document.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new(self.groups.clone());
        metadata.shamir_threshold = self.shamir_threshold;
        metadata.selector = self.selector.clone().unwrap_or_default();
        metadata.mac_only_encrypted = self.mac_only_encrypted;
        metadata
    }

    /// Returns what would become of the keys of a document that got these.
    #[must_use]
    pub fn key_changes(&self, metadata: &Metadata) -> KeyChanges {
        let mut settled = self.clone();
        settled.settle(metadata);
        KeyChanges::between(metadata, &settled.groups, self.shamir_threshold)
    }

    /// Takes from a document what its own keys have and these leave open, such as a version.
    pub fn settle(&mut self, metadata: &Metadata) {
        self.groups.iter_mut().zip(&metadata.groups).for_each(|(group, known)| group.settle(known));
    }

    /// Returns whether a document has these keys, as `updatekeys` sees it.
    #[must_use]
    pub fn has_keys_of(&self, metadata: &Metadata) -> bool {
        self.key_changes(metadata).is_empty()
    }

    /// Returns whether a document selects values as these settings do, for encryption and for the MAC.
    #[must_use]
    pub fn selects_as(&self, metadata: &Metadata) -> bool {
        self.selector.clone().unwrap_or_default() == metadata.selector
            && self.mac_only_encrypted == metadata.mac_only_encrypted
    }
}

impl SettingsFlags {
    /// Finds what a file is encrypted with; `file` is its absolute path, if it has one.
    ///
    /// Flags win over the rule, and the rule over variables.
    ///
    /// # Errors
    /// If nothing names keys, or what does cannot be read.
    pub fn resolve(&self, context: &Context<'_>, file: Option<&Path>) -> Result<Settings, Failure> {
        self.keys.check_options()?;
        let mut settings = if self.keys.is_empty() {
            of_rule_or_environment(context, file)?
        } else {
            self.of_flags(context, file)?
        };
        if let Some(selector) = self.selector.selector()? {
            settings.selector = Some(selector);
        }
        settings.mac_only_encrypted |= self.mac_only_encrypted;
        settings.shamir_threshold = self.shamir_threshold.map_or(settings.shamir_threshold, usize::from);
        Ok(settings)
    }

    /// Finds what a file is encrypted with, as [`resolve()`](Self::resolve) does; `None` if nothing says so.
    ///
    /// # Errors
    /// If what names keys cannot be read: a configuration with a fault in it is not one without a rule.
    pub fn resolve_if_any(
        &self,
        context: &Context<'_>,
        file: Option<&Path>,
    ) -> Result<Option<Settings>, Failure> {
        match self.resolve(context, file) {
            Err(Failure::NoConfig | Failure::NoRule { .. } | Failure::NoRules(_)) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Keys come from the flags; the rest comes from the rule, if there is one.
    fn of_flags(&self, context: &Context<'_>, file: Option<&Path>) -> Result<Settings, Failure> {
        let config = context.config_for(file)?;
        let rule = match (&config, file) {
            (Some(config), Some(file)) => rule_for(config, file)?,
            _ => None,
        };
        let keys = self.keys.group()?;
        context.named.note_keys(&keys.0);
        Ok(Settings {
            groups: vec![keys],
            shamir_threshold: 0,
            selector: rule.and_then(|rule| rule.selector.clone()),
            mac_only_encrypted: rule.is_some_and(|rule| rule.mac_only_encrypted),
            source: Source::Flags,
            is_for_path: rule.is_some_and(|rule| rule.path_regex.is_some()),
        })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment(variable) => write!(formatter, "${variable}"),
            Self::Flags => formatter.write_str("the command line"),
            Self::Rule { config, position, line } => {
                write!(formatter, "rule {position} ({}:{line})", config.display())
            }
        }
    }
}

fn of_rule_or_environment(context: &Context<'_>, file: Option<&Path>) -> Result<Settings, Failure> {
    let Some(config) = context.config_for(file)? else {
        return of_environment(context)?.ok_or(Failure::NoConfig);
    };
    if !config.config.has_creation_rules() {
        return of_environment(context)?.ok_or_else(|| Failure::NoRules(config.path.clone()));
    }
    let file = file.unwrap_or(Path::new(""));
    let Some(rule) = rule_for(&config, file)? else {
        let file = config.relative(file);
        return Err(Failure::NoRule { config: config.path.clone(), file });
    };
    let source = Source::Rule { config: config.path.clone(), position: rule.position, line: rule.line };
    if !rule.is_without_keys() {
        return Ok(of_rule(rule, source));
    }
    match of_environment(context)? {
        None => Err(Failure::NoKeys { config: config.path.clone(), position: rule.position }),
        Some(keys) => Ok(Settings { groups: keys.groups, source: keys.source, ..of_rule(rule, source) }),
    }
}

/// Returns the rule for a file. sops passes over fields that it does not know; here, one that looks like one
/// that chooses keys or values stops the run: what it was to choose would be left in clear.
fn rule_for<'a>(config: &'a ConfigFile, file: &Path) -> Result<Option<&'a CreationRule>, Failure> {
    let rule = config.rule_for(file)?;
    match config.config.misspelling_for(&config.relative(file)) {
        Some(warning) => Err(Failure::Misspelled { config: config.path.clone(), warning: warning.clone() }),
        None => Ok(rule),
    }
}

fn of_rule(rule: &CreationRule, source: Source) -> Settings {
    Settings {
        groups: rule.groups.clone(),
        shamir_threshold: rule.shamir_threshold.map_or(0, usize::from),
        selector: rule.selector.clone(),
        mac_only_encrypted: rule.mac_only_encrypted,
        source,
        is_for_path: rule.path_regex.is_some(),
    }
}

/// Returns the keys that variables name, such as `SOPS_AGE_RECIPIENTS`.
fn of_environment(context: &Context<'_>) -> Result<Option<Settings>, Failure> {
    let mut group = KeyGroup::default();
    let mut first = None;
    for kind in KEY_KINDS {
        let Some(text) = context.session.environment.get(kind.variable) else { continue };
        group.0.extend(MasterKey::parse_list(kind, text)?);
        first = first.or(Some(kind.variable));
    }
    context.named.note_keys(&group.0);
    Ok(first.map(|variable| Settings {
        groups: vec![group],
        shamir_threshold: 0,
        selector: None,
        mac_only_encrypted: false,
        source: Source::Environment(variable),
        is_for_path: false,
    }))
}

//! `.sops.yaml`: which keys and which selector a new document gets, and how documents are indented.
//!
//! Text comes in, rules come out; which file to read, and where a document lies relative to it, is the
//! caller's to say. A rule that cannot be read stops a run that needs it, and no other.

mod creation;
mod destination;
mod entry;

use crate::format::{Format, ParseErrorKind};
use crate::keys::KeyParseError;
use crate::secret::SecretBytes;
use crate::sops::{Pattern, PatternError, SelectorError};

pub use creation::CreationRule;
pub use destination::{DestinationRule, Target};

use entry::{Entry, Fields};

/// What a configuration file says.
#[derive(Debug)]
pub struct Config {
    creation_rules: Option<Vec<Slot<CreationRule>>>,
    destination_rules: Vec<Slot<DestinationRule>>,
    stores: Stores,
    warnings: Vec<Warning>,
}

/// A rule, or why it cannot be read, behind the pattern that selects it.
#[derive(Debug)]
struct Slot<R> {
    path_regex: Result<Option<Pattern>, ConfigError>,
    rule: Result<R, ConfigError>,
}

/// How documents are indented, by the name of their store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stores {
    /// Spaces for a level of YAML.
    pub yaml: Option<i32>,
    /// Spaces for a level of JSON; -1 stands for a tab.
    pub json: Option<i32>,
    /// Spaces for a level of the JSON around a binary document; -1 stands for a tab.
    pub json_binary: Option<i32>,
}

/// Something in a configuration that has no effect, and probably was meant to have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The 1-based line.
    pub line: usize,
    /// The key that nothing reads.
    pub key: String,
    /// The key that it looks like.
    pub suggestion: Option<&'static str>,
}

/// Why a configuration, or one of its rules, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct ConfigError {
    /// The 1-based line.
    pub line: usize,
    /// What is wrong there.
    pub kind: ConfigErrorKind,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// A destination rule names several places.
    #[error("one rule has more than one destination: {0} and {1}")]
    Destinations(&'static str, &'static str),
    /// A key cannot be read.
    #[error("{field}: {error}")]
    Key {
        /// The field that lists the key.
        field: &'static str,
        /// What is wrong with the key.
        error: KeyParseError,
    },
    /// A number is out of range.
    #[error("{0} is out of range")]
    Number(&'static str),
    /// The text is not YAML.
    #[error(transparent)]
    Parse(#[from] ParseErrorKind),
    /// A pattern does not compile.
    #[error("{field}: {error}")]
    Pattern {
        /// The field that holds the pattern.
        field: &'static str,
        /// What is wrong with the pattern.
        error: PatternError,
    },
    /// What a rule selects by cannot be used.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// A field holds something else than it should.
    #[error("{field} is not {expected}")]
    Type {
        /// The field.
        field: String,
        /// What it should hold.
        expected: &'static str,
    },
}

impl Config {
    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// If the text is not YAML, or a field does not hold what it should. Faults within a rule come up
    /// when the rule is asked for.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let tree = match Format::Yaml.read(SecretBytes::from(text)) {
            Ok(tree) => tree,
            Err(error) if error.kind == ParseErrorKind::Empty => return Ok(Self::empty()),
            Err(error) => return Err(ConfigError { line: error.line, kind: error.kind.into() }),
        };
        let Some(root) = Entry::of_first_document(&tree) else { return Ok(Self::empty()) };
        let mut warnings = Vec::new();
        let mut fields = Fields::new(&root, "the configuration", &mut warnings)?;
        let config = Self {
            creation_rules: slots(&mut fields, "creation_rules", CreationRule::read)?,
            destination_rules: slots(&mut fields, "destination_rules", DestinationRule::read)?
                .unwrap_or_default(),
            stores: Stores::read(&mut fields)?,
            warnings: Vec::new(),
        };
        fields.finish_open();
        warnings.sort_by_key(|warning| warning.line);
        Ok(Self { warnings, ..config })
    }

    /// Returns the first creation rule that matches a path relative to the configuration's folder (or
    /// an absolute one, for a file outside of it), or `None` if no rule does.
    ///
    /// # Errors
    /// If that rule, or the pattern of one before it, cannot be read.
    pub fn rule_for(&self, path: &str) -> Result<Option<&CreationRule>, ConfigError> {
        first_match(self.creation_rules.iter().flatten(), path)
    }

    /// Returns the first destination rule that matches a path as the user gave it.
    ///
    /// # Errors
    /// If that rule, or the pattern of one before it, cannot be read.
    pub fn destination_for(&self, path: &str) -> Result<Option<&DestinationRule>, ConfigError> {
        first_match(self.destination_rules.iter(), path)
    }

    /// Returns whether there are creation rules at all; a file without them counts as no configuration.
    #[must_use]
    pub const fn has_creation_rules(&self) -> bool {
        self.creation_rules.is_some()
    }

    /// Returns the creation rules that can be read.
    pub fn creation_rules(&self) -> impl Iterator<Item = &CreationRule> {
        self.creation_rules.iter().flatten().filter_map(|slot| slot.rule.as_ref().ok())
    }

    /// Returns why rules cannot be read, those included that nothing has asked for.
    pub fn errors(&self) -> impl Iterator<Item = &ConfigError> {
        let creation = self.creation_rules.iter().flatten().map(Slot::error);
        creation.chain(self.destination_rules.iter().map(Slot::error)).flatten()
    }

    /// Returns how documents are indented.
    #[must_use]
    pub const fn stores(&self) -> Stores {
        self.stores
    }

    /// Returns what has no effect, in order of lines.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    const fn empty() -> Self {
        Self {
            creation_rules: None,
            destination_rules: Vec::new(),
            stores: Stores { yaml: None, json: None, json_binary: None },
            warnings: Vec::new(),
        }
    }
}

impl Stores {
    /// Returns the indent of a format's documents, if it is set.
    #[must_use]
    pub const fn indent(self, format: Format) -> Option<i32> {
        match format {
            Format::Binary => self.json_binary,
            Format::Json => self.json,
            Format::Yaml => self.yaml,
            Format::Dotenv | Format::Ini => None,
        }
    }

    fn read(config: &mut Fields<'_>) -> Result<Self, ConfigError> {
        let Some(entry) = config.take("stores") else { return Ok(Self::default()) };
        let mut stores = config.below(entry, "stores")?;
        let mut indent_of = |name| -> Result<Option<i32>, ConfigError> {
            let Some(entry) = stores.take(name) else { return Ok(None) };
            let mut store = stores.below(entry, name)?;
            let indent = store.number("indent")?;
            store.finish();
            Ok(indent)
        };
        let read = Self {
            yaml: indent_of("yaml")?,
            json: indent_of("json")?,
            json_binary: indent_of("json_binary")?,
        };
        indent_of("dotenv")?;
        indent_of("ini")?;
        stores.finish();
        Ok(read)
    }
}

impl<R> Slot<R> {
    fn error(&self) -> Option<&ConfigError> {
        self.path_regex.as_ref().err().or(self.rule.as_ref().err())
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "line {}: nothing reads the key {:?}", self.line, self.key)?;
        match self.suggestion {
            Some(suggestion) => write!(formatter, "; did you mean {suggestion:?}?"),
            None => Ok(()),
        }
    }
}

/// Reads a list of rules; `None` if there is none, or if it is null.
fn slots<R>(
    config: &mut Fields<'_>,
    name: &'static str,
    read: fn(&mut Fields<'_>, usize) -> Result<R, ConfigError>,
) -> Result<Option<Vec<Slot<R>>>, ConfigError> {
    let Some(entries) = config.list(name)? else { return Ok(None) };
    let slot = |(index, entry): (usize, &Entry)| {
        let mut fields = config.below(entry, name)?;
        let path_regex = fields.pattern("path_regex");
        let rule = read(&mut fields, index + 1);
        fields.finish();
        Ok(Slot { path_regex, rule })
    };
    entries.iter().enumerate().map(slot).collect::<Result<_, _>>().map(Some)
}

fn first_match<'a, R>(
    slots: impl Iterator<Item = &'a Slot<R>>,
    path: &str,
) -> Result<Option<&'a R>, ConfigError> {
    // Patterns are written with `/`; a path of Windows must match them too.
    let normalised = path.replace('\\', "/");
    for slot in slots {
        let matches = match slot.path_regex.as_ref().map_err(Clone::clone)? {
            None => true,
            Some(pattern) => pattern.is_match(path) || pattern.is_match(&normalised),
        };
        if matches {
            return slot.rule.as_ref().map(Some).map_err(Clone::clone);
        }
    }
    Ok(None)
}

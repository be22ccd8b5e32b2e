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
use crate::tree::values;

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
    /// The fields that nothing reads and that look like one that something does.
    misspelled: Vec<Warning>,
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
        if says_nothing(text) {
            return Ok(Self::empty());
        }
        let tree = Format::Yaml.read(SecretBytes::from(text));
        let tree = tree.map_err(|error| ConfigError { line: error.line, kind: error.kind.into() })?;
        // What reads it recurses.
        if values(&tree).any(|(_, depth)| depth > MAX_NESTING) {
            return Err(ConfigError { line: 1, kind: ParseErrorKind::Nesting.into() });
        }
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

    /// Returns a field of the rule for a path that sops passes over, and that looks like one that chooses
    /// keys or values: whoever encrypts by such a rule gets something else than was meant.
    #[must_use]
    pub fn misspelling_for(&self, path: &str) -> Option<&Warning> {
        let slots = self.creation_rules.iter().flatten();
        // A pattern that does not compile is told when the rule is asked for.
        first_slot(slots, path).ok().flatten().and_then(|slot| slot.misspelled.first())
    }

    /// Returns the first destination rule that matches a path as the user gave it.
    ///
    /// # Errors
    /// If that rule, or the pattern of one before it, cannot be read.
    pub fn destination_for(&self, path: &str) -> Result<Option<&DestinationRule>, ConfigError> {
        first_match(self.destination_rules.iter(), path)
    }

    /// Returns a field of the destination rule for a path, or of its recreation rule, that sops passes over and that
    /// looks like one that it reads: whoever publishes by such a rule publishes something else than was meant.
    #[must_use]
    pub fn destination_misspelling_for(&self, path: &str) -> Option<&Warning> {
        let slot = first_slot(self.destination_rules.iter(), path).ok().flatten()?;
        let below = slot.rule.as_ref().map(|rule| rule.misspelled.as_slice()).unwrap_or_default();
        slot.misspelled.iter().chain(below).next()
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

    /// Returns the destination rules that can be read.
    pub fn destination_rules(&self) -> impl Iterator<Item = &DestinationRule> {
        self.destination_rules.iter().filter_map(|slot| slot.rule.as_ref().ok())
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

/// How deep a configuration is nested at most; real ones have no more than eight levels.
const MAX_NESTING: usize = 64;

/// Returns whether a text has only blank lines and comments. That is no document, yet no error either.
fn says_nothing(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.all(|line| line.is_empty() || line.starts_with(b"#"))
}

/// Reads a list of rules; `None` if there is none, or if it is null.
fn slots<R>(
    config: &mut Fields<'_>,
    name: &'static str,
    read: fn(&mut Fields<'_>, usize, Option<&Pattern>) -> Result<R, ConfigError>,
) -> Result<Option<Vec<Slot<R>>>, ConfigError> {
    let Some(entries) = config.list(name)? else { return Ok(None) };
    let slot = |(index, entry): (usize, &Entry)| {
        let mut fields = config.below(entry, name)?;
        let path_regex = fields.pattern("path_regex");
        let rule = read(&mut fields, index + 1, path_regex.as_ref().ok().and_then(Option::as_ref));
        let misspelled = fields.finish();
        Ok(Slot { path_regex, rule, misspelled })
    };
    entries.iter().enumerate().map(slot).collect::<Result<_, _>>().map(Some)
}

fn first_match<'a, R>(
    slots: impl Iterator<Item = &'a Slot<R>>,
    path: &str,
) -> Result<Option<&'a R>, ConfigError> {
    first_slot(slots, path)?.map(|slot| slot.rule.as_ref().map_err(Clone::clone)).transpose()
}

fn first_slot<'a, R>(
    slots: impl Iterator<Item = &'a Slot<R>>,
    path: &str,
) -> Result<Option<&'a Slot<R>>, ConfigError> {
    // Patterns are written with `/`; a path of Windows must match them too.
    let normalised = path.replace('\\', "/");
    for slot in slots {
        let matches = match slot.path_regex.as_ref().map_err(Clone::clone)? {
            None => true,
            Some(pattern) => pattern.is_match(path) || pattern.is_match(&normalised),
        };
        if matches {
            return Ok(Some(slot));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes()).expect("the text is a configuration")
    }

    fn warnings(text: &str) -> Vec<String> {
        config(text).warnings().iter().map(ToString::to_string).collect()
    }

    fn lines(config: &Config, path: &str) -> Option<usize> {
        config.rule_for(path).expect("the rule can be read").map(|rule| rule.line)
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let config =
            config("creation_rules:\n- path_regex: ^x?a\n- path_regex: ^b/.*\\.yaml$\n- path_regex: b\n");
        assert_eq!(lines(&config, "xa"), Some(2));
        assert_eq!(lines(&config, "b/c.yaml"), Some(3));
        assert_eq!(lines(&config, "b/c.json"), Some(4));
        assert_eq!(lines(&config, "c"), None);
    }

    #[test]
    fn a_rule_without_a_pattern_matches_everything() {
        assert_eq!(lines(&config("creation_rules:\n- pgp: ABC\n"), "any/thing"), Some(2));
        assert_eq!(lines(&config("creation_rules:\n- path_regex: ''\n"), "any/thing"), Some(2));
    }

    #[test]
    fn patterns_match_paths_of_windows() {
        let config = config("creation_rules:\n- path_regex: ^a/b\\.yaml$\n");
        assert_eq!(lines(&config, r"a\b.yaml"), Some(2));
    }

    #[test]
    fn an_empty_file_is_no_configuration() {
        for text in
            ["", "# nothing\n", "---\n", "stores: {}\n", "creation_rules:\n", "destination_rules: []\n"]
        {
            assert!(!config(text).has_creation_rules(), "{text:?}");
        }
        let config = config("creation_rules: []\n");
        assert!(config.has_creation_rules());
        assert_eq!(lines(&config, "a"), None);
    }

    #[test]
    fn a_broken_pattern_stops_the_rules_behind_it_only() {
        let config = config("creation_rules:\n- path_regex: ^a$\n- path_regex: (\n- pgp: A\n");
        assert_eq!(lines(&config, "a"), Some(2));
        let error = config.rule_for("b").expect_err("the pattern does not compile");
        assert_eq!(error.line, 3);
        assert!(matches!(error.kind, ConfigErrorKind::Pattern { field: "path_regex", .. }), "{error}");
        assert_eq!(config.errors().count(), 1);
    }

    #[test]
    fn what_is_not_a_configuration_names_its_line() {
        let error = |text: &str| Config::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error("a: 1\ncreation_rules: 7\n").to_string(), "line 2: creation_rules is not a list");
        assert_eq!(error("creation_rules:\n  - 7\n").to_string(), "line 2: creation_rules is not a map");
        assert_eq!(
            error("stores:\n  yaml:\n    indent: x\n").to_string(),
            "line 3: indent is not a whole number"
        );
        assert_eq!(error("- a\n").kind, ConfigErrorKind::Parse(ParseErrorKind::NotAMap));
    }

    #[test]
    fn stores_set_indents() {
        let stores =
            config("stores:\n  yaml: {indent: 2}\n  json: {indent: -1}\n  json_binary: {indent: 0}\n")
                .stores();
        assert_eq!(stores, Stores { yaml: Some(2), json: Some(-1), json_binary: Some(0) });
        assert_eq!(stores.indent(Format::Binary), Some(0));
        assert_eq!(stores.indent(Format::Ini), None);
    }

    #[test]
    fn keys_that_nothing_reads_are_told() {
        assert_eq!(
            warnings("creation_rule:\n- pgp: A\n"),
            ["line 1: nothing reads the key \"creation_rule\"; did you mean \"creation_rules\"?"]
        );
        assert_eq!(
            warnings("creation_rules:\n- pgp: A\n  encrypted_regexp: a\n  whatever: b\n"),
            [
                "line 3: nothing reads the key \"encrypted_regexp\"; did you mean \"encrypted_regex\"?",
                "line 4: nothing reads the key \"whatever\"",
            ]
        );
    }

    #[test]
    fn a_rule_knows_its_misspelled_fields() {
        let config = config(
            "creation_rules:\n- path_regex: a\n  ages: x\n- encrypted_regexp: y\n  pgp: A\n  whatever: z\n",
        );
        let key = |path| config.misspelling_for(path).map(|warning| warning.key.as_str());
        assert_eq!((key("a"), key("b")), (Some("ages"), Some("encrypted_regexp")));
        let other = self::config("creation_rules:\n- pgp: A\n  tag: a\n  name: b\n");
        assert_eq!(other.misspelling_for("a"), None);
    }

    #[test]
    fn lists_that_only_hold_anchors_are_not_told() {
        let text = "keys:\n- &alice ABC\ncreation_rules:\n- key_groups:\n  - pgp: [*alice]\n";
        assert_eq!(warnings(text), [""; 0]);
        let config = config(text);
        let rule = config.rule_for("a").expect("a rule").expect("it matches");
        assert_eq!(rule.groups[0].0[0].to_string(), "ABC");
    }
}

//! The values of a configuration with the lines they stand on, and a reader of the fields of a map.
//!
//! Invariant: merge keys (`<<`) are resolved as Go's YAML does for structures: what a map says itself
//! wins, then the maps it merges, the first first.

use serde_json::Value as Json;

use crate::sops::Pattern;
use crate::sops::config::{ConfigError, ConfigErrorKind, Warning};
use crate::tree::{LineIndex, NodeId, Style, Tree, Value};

/// A value of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The 1-based line on which the value stands.
    pub line: usize,
    value: Content,
}

#[derive(Clone, Debug)]
enum Content {
    List(Vec<Entry>),
    Map(Vec<(String, Entry)>),
    Null,
    /// The text as it was written, and what it means.
    Scalar(String, Json),
}

/// Reads the fields of a map, and remembers which nobody asked for.
pub(super) struct Fields<'a> {
    /// The 1-based line on which the map stands.
    pub line: usize,
    entries: Vec<(&'a str, &'a Entry)>,
    known: Vec<&'static str>,
    warnings: &'a mut Vec<Warning>,
}

impl Entry {
    /// Returns the first document of a tree.
    pub fn of_first_document(tree: &Tree) -> Option<Self> {
        let reader = Reader { tree, lines: LineIndex::new(tree) };
        tree.documents().first().map(|&root| reader.entry(root, 1))
    }

    /// Returns the value as JSON.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Map(entries) => {
                Json::Object(entries.iter().map(|(key, entry)| (key.clone(), entry.to_json())).collect())
            }
            Content::Null => Json::Null,
            Content::Scalar(_, json) => json.clone(),
        }
    }

    /// Returns the text of a scalar as it was written.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Content::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Returns the value, or each item of it if it is a list; nothing for null.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Content::List(items) => items,
            Content::Null => &[],
            Content::Map(_) | Content::Scalar(..) => std::slice::from_ref(self),
        }
    }

    /// Returns the fault of holding something else than what is expected.
    pub fn mistyped(&self, field: &str, expected: &'static str) -> ConfigError {
        ConfigError { line: self.line, kind: ConfigErrorKind::Type { field: field.to_owned(), expected } }
    }

    const fn is_null(&self) -> bool {
        matches!(self.value, Content::Null)
    }
}

impl<'a> Fields<'a> {
    /// Starts to read a map; null is an empty one.
    pub fn new(entry: &'a Entry, name: &str, warnings: &'a mut Vec<Warning>) -> Result<Self, ConfigError> {
        let entries = match &entry.value {
            Content::Map(entries) => entries.iter().map(|(key, entry)| (key.as_str(), entry)).collect(),
            Content::Null => Vec::new(),
            Content::List(_) | Content::Scalar(..) => return Err(entry.mistyped(name, "a map")),
        };
        Ok(Self { line: entry.line, entries, known: Vec::new(), warnings })
    }

    /// Starts to read a map below this one.
    pub fn below<'b>(&'b mut self, entry: &'b Entry, name: &str) -> Result<Fields<'b>, ConfigError> {
        Fields::new(entry, name, self.warnings)
    }

    /// Returns the field of this name, unless it is absent or null.
    pub fn take(&mut self, name: &'static str) -> Option<&'a Entry> {
        self.known.push(name);
        let found = self.entries.iter().position(|(key, _)| *key == name)?;
        let (_, entry) = self.entries.remove(found);
        (!entry.is_null()).then_some(entry)
    }

    /// Returns the items of a list.
    pub fn list(&mut self, name: &'static str) -> Result<Option<&'a [Entry]>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some(Entry { value: Content::List(items), .. }) => Ok(Some(items)),
            Some(entry) => Err(entry.mistyped(name, "a list")),
        }
    }

    /// Returns a text and its line, or `None` if it is absent or empty.
    pub fn text(&mut self, name: &'static str) -> Result<Option<(usize, &'a str)>, ConfigError> {
        let Some(entry) = self.take(name) else { return Ok(None) };
        let text = entry.text().ok_or_else(|| entry.mistyped(name, "a text"))?;
        Ok((!text.is_empty()).then_some((entry.line, text)))
    }

    /// Returns a whole number.
    pub fn number<N: TryFrom<i64>>(&mut self, name: &'static str) -> Result<Option<N>, ConfigError> {
        let Some(entry) = self.take(name) else { return Ok(None) };
        let Some(number) = entry.to_json().as_i64() else {
            return Err(entry.mistyped(name, "a whole number"));
        };
        let out_of_range = |_| ConfigError { line: entry.line, kind: ConfigErrorKind::Number(name) };
        N::try_from(number).map(Some).map_err(out_of_range)
    }

    /// Returns a truth value; where one is due, Go's YAML also knows those of YAML 1.1.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, ConfigError> {
        let Some(entry) = self.take(name) else { return Ok(false) };
        match &entry.value {
            Content::Scalar(_, Json::Bool(value)) => Ok(*value),
            Content::Scalar(text, _) if ["y", "Y", "yes", "on"].contains(&text.as_str()) => Ok(true),
            Content::Scalar(text, _) if ["n", "N", "no", "off"].contains(&text.as_str()) => Ok(false),
            _ => Err(entry.mistyped(name, "true or false")),
        }
    }

    /// Returns a compiled pattern, or `None` if it is absent or empty.
    pub fn pattern(&mut self, name: &'static str) -> Result<Option<Pattern>, ConfigError> {
        let Some((line, text)) = self.text(name)? else { return Ok(None) };
        let broken = |error| ConfigError { line, kind: ConfigErrorKind::Pattern { field: name, error } };
        Pattern::parse(text).map(Some).map_err(broken)
    }

    /// Returns a fault of the map as a whole.
    pub const fn fault(&self, kind: ConfigErrorKind) -> ConfigError {
        ConfigError { line: self.line, kind }
    }

    /// Warns of every field that nobody asked for. Returns those that look like one that somebody did.
    pub fn finish(self) -> Vec<Warning> {
        let known = self.known;
        let all: Vec<_> = self.entries.iter().map(|(key, entry)| warning(key, entry, &known)).collect();
        self.warnings.extend(all.iter().cloned());
        all.into_iter().filter(|warning| warning.suggestion.is_some()).collect()
    }

    /// Warns of fields that nobody asked for and that look like one that somebody did: the rest may be
    /// there to hold anchors.
    pub fn finish_open(self) {
        let known = self.known;
        let all = self.entries.iter().map(|(key, entry)| warning(key, entry, &known));
        self.warnings.extend(all.filter(|warning| warning.suggestion.is_some()));
    }
}

/// Turns nodes into entries.
struct Reader<'a> {
    tree: &'a Tree,
    lines: LineIndex,
}

impl Reader<'_> {
    fn entry(&self, id: NodeId, parent_line: usize) -> Entry {
        let line = self.line(id).unwrap_or(parent_line);
        let value = match self.tree.node(id).value {
            Value::Map => Content::Map(self.map(id, line)),
            Value::List => Content::List(self.tree.items(id).map(|item| self.entry(item, line)).collect()),
            Value::Null | Value::Comment(_) => Content::Null,
            _ => self.scalar(id),
        };
        Entry { line, value }
    }

    fn map(&self, id: NodeId, line: usize) -> Vec<(String, Entry)> {
        let key = |item| String::from_utf8_lossy(self.tree.key(item).unwrap_or_default()).into_owned();
        let all = self.tree.items(id).map(|item| (key(item), self.entry(item, line)));
        let (merged, mut own): (Vec<_>, Vec<_>) = all.partition(|(key, _)| key == MERGE_KEY);
        for source in merged.iter().flat_map(|(_, entry)| entry.items()) {
            let Content::Map(entries) = &source.value else { continue };
            for (key, entry) in entries {
                if !own.iter().any(|(present, _)| present == key) {
                    own.push((key.clone(), entry.clone()));
                }
            }
        }
        own
    }

    /// Where a text is due, Go's YAML takes a plain scalar as it was written, whatever it means.
    fn scalar(&self, id: NodeId) -> Content {
        let node = self.tree.node(id);
        let json = self.tree.to_json(id);
        let written = match (&json, node.style) {
            (Json::String(text), _) => text.clone(),
            (_, Style::Plain) if !node.span.is_empty() => {
                String::from_utf8_lossy(self.tree.slice(node.span)).into_owned()
            }
            _ => json.to_string(),
        };
        Content::Scalar(written, json)
    }

    fn line(&self, id: NodeId) -> Option<usize> {
        let node = self.tree.node(id);
        let start = if node.key.is_some() { node.key_start } else { node.span.start };
        (start > 0 || !node.span.is_empty()).then(|| self.lines.line(start))
    }
}

fn warning(key: &str, entry: &Entry, known: &[&'static str]) -> Warning {
    let near = known.iter().map(|name| (distance(key, name), *name)).min();
    // Any two words of three letters are near to each other.
    let is_near = |distance: usize, name: &str| distance <= 2 && distance + 1 < name.len();
    let suggestion = near.filter(|(distance, name)| is_near(*distance, name)).map(|(_, name)| name);
    Warning { line: entry.line, key: key.to_owned(), suggestion }
}

/// Returns how many letters must be put in, taken out or replaced to turn one text into the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

const MERGE_KEY: &str = "<<";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    fn entry(text: &str) -> Entry {
        let tree = Format::Yaml.read(text).expect("the text is YAML");
        Entry::of_first_document(&tree).expect("the text has a document")
    }

    #[test]
    fn merged_maps_yield_to_what_a_map_says_itself() {
        let json = entry("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 5\n").to_json();
        assert_eq!(json["c"], serde_json::json!({"x": 5, "y": 2, "z": 4}));
    }

    #[test]
    fn merged_maps_may_merge_themselves() {
        let json = entry("a: &a {x: 1}\nb: &b\n  <<: *a\n  y: 2\nc:\n  <<: *b\n").to_json();
        assert_eq!(json["c"], serde_json::json!({"x": 1, "y": 2}));
    }

    #[test]
    fn texts_are_as_they_were_written() {
        let entry = entry("a: 0123\nb: \"x\\ty\"\nc: 1e3\n");
        let mut warnings = Vec::new();
        let mut fields = Fields::new(&entry, "test", &mut warnings).expect("a map");
        assert_eq!(fields.text("a"), Ok(Some((1, "0123"))));
        assert_eq!(fields.text("b"), Ok(Some((2, "x\ty"))));
        assert_eq!(fields.text("c"), Ok(Some((3, "1e3"))));
        assert_eq!(fields.text("d"), Ok(None));
    }

    #[test]
    fn truth_values_of_yaml_1_1_count_where_one_is_due() {
        let entry = entry("a: yes\nb: off\nc: true\nd: maybe\n");
        let mut warnings = Vec::new();
        let mut fields = Fields::new(&entry, "test", &mut warnings).expect("a map");
        assert_eq!(fields.flag("a"), Ok(true));
        assert_eq!(fields.flag("b"), Ok(false));
        assert_eq!(fields.flag("c"), Ok(true));
        assert_eq!(fields.flag("d").expect_err("not a truth value").line, 4);
    }

    #[test]
    fn distances_count_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("creation_rule", "creation_rules"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}

//! Reading a policy: every field that is not known, and every value that is not of its type, is an error with its line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie::format::Format;
use selkie::keys::{KEY_KINDS, Trust, said};
use selkie::keyservice::Address;
use selkie::tree::{NodeId, Tree, Value};

use super::{Policy, Rule};

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}: {problem}", path = .path.display())]
pub struct PolicyError {
    /// The file.
    pub path: PathBuf,
    /// The 1-based line.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Reads a policy.
pub fn policy(path: &Path, text: &[u8]) -> Result<Policy, PolicyError> {
    let failed = |line, problem| PolicyError { path: path.to_owned(), line, problem };
    let tree = Format::Yaml.read(text).map_err(|error| failed(error.line, error.kind.to_string()))?;
    let reading = Reading { tree: &tree };
    reading.policy().map_err(|(at, problem)| failed(reading.line(at), problem))
}

/// A problem and where it is.
type Problem = (NodeId, String);

struct Reading<'a> {
    tree: &'a Tree,
}

impl Reading<'_> {
    fn policy(&self) -> Result<Policy, Problem> {
        let documents = self.tree.documents();
        if let [_, second, ..] = documents {
            return Err((*second, "there is more than one document".to_owned()));
        }
        let root = documents[0];
        let mut rules = Vec::new();
        for (name, value) in self.fields(root, &["rules"])? {
            debug_assert_eq!(name, "rules");
            for (at, item) in self.items(value, "rules")?.into_iter().enumerate() {
                rules.push(Arc::new(self.rule(item, &format!("rules[{at}]"))?));
            }
        }
        Ok(Policy { rules })
    }

    fn rule(&self, node: NodeId, place: &str) -> Result<Rule, Problem> {
        if !matches!(self.tree.node(node).value, Value::Map) {
            return Err((node, format!("{place} is not a map")));
        }
        let mut rule = Rule::default();
        let fields = self.fields(node, &FIELDS)?;
        for &(name, value) in &fields {
            let place = format!("{place}.{name}");
            match name {
                "addresses" => rule.addresses = self.addresses(value, &place)?,
                "ambient" => rule.ambient = self.kinds(value, &place)?,
                "isindirWithoutMac" => rule.isindir_without_mac = self.truth(value, &place)?,
                "keyFiles" => rule.key_files = self.globs(value, &place)?,
                "keyServices" => rule.key_services = self.key_services(value, &place)?,
                "keySecrets" => rule.key_secrets = self.globs(value, &place)?,
                "kinds" => rule.kinds = Some(self.kinds(value, &place)?),
                "namespaces" => rule.namespaces = self.globs(value, &place)?,
                "recipients" => rule.recipients = Some(self.globs(value, &place)?),
                _ => rule.roles = self.globs(value, &place)?,
            }
        }
        match fields.iter().find(|(name, _)| *name == "namespaces") {
            None => Err((node, format!("{place} has no namespaces"))),
            Some(&(_, at)) if rule.namespaces.is_empty() => Err((at, format!("{place}.namespaces is empty"))),
            Some(_) => Ok(rule),
        }
    }

    /// Returns the entries of a map, which may have these names.
    fn fields(&self, map: NodeId, known: &[&'static str]) -> Result<Vec<(&'static str, NodeId)>, Problem> {
        let entry = |item| {
            let key = self.tree.key(item).unwrap_or_default();
            match known.iter().find(|name| name.as_bytes() == key) {
                Some(name) => Ok((*name, item)),
                None => {
                    let (name, known) = (said(&String::from_utf8_lossy(key)), known.join(", "));
                    Err((item, format!("the field {name:?} is not known; known are {known}")))
                }
            }
        };
        self.tree.children(map).filter(|&item| !self.is_comment(item)).map(entry).collect()
    }

    fn items(&self, node: NodeId, place: &str) -> Result<Vec<NodeId>, Problem> {
        match self.tree.node(node).value {
            Value::List => Ok(self.tree.items(node).collect()),
            _ => Err((node, format!("{place} is not a list"))),
        }
    }

    /// Returns a list of texts, each made something else, or refused as not being `expected`.
    fn texts<T>(
        &self,
        node: NodeId,
        place: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Problem> {
        let item = |(at, item)| {
            let text = match self.tree.node(item).value {
                Value::Str(text) => {
                    str::from_utf8(self.tree.bytes(text)).ok().filter(|text| !text.is_empty())
                }
                _ => None,
            };
            let text = text.ok_or_else(|| (item, format!("{place}[{at}] is not a text")))?;
            read(text).ok_or_else(|| (item, format!("{place}[{at}] is not {expected}")))
        };
        self.items(node, place)?.into_iter().enumerate().map(item).collect()
    }

    fn globs(&self, node: NodeId, place: &str) -> Result<Vec<String>, Problem> {
        self.texts(node, place, "a pattern", |text| Some(text.to_owned()))
    }

    fn kinds(&self, node: NodeId, place: &str) -> Result<Vec<&'static str>, Problem> {
        let known: Vec<_> = KEY_KINDS.iter().map(|kind| kind.name).collect();
        let expected = format!("one of {}", known.join(", "));
        self.texts(node, place, &expected, |text| known.iter().copied().find(|name| *name == text))
    }

    fn addresses(&self, node: NodeId, place: &str) -> Result<Vec<String>, Problem> {
        // One that is admitted by itself is one that can be compared.
        let is_one = |text: &str| Trust::Listed(vec![text.to_owned()]).admits(text);
        let read = |text: &str| is_one(text).then(|| text.to_owned());
        self.texts(node, place, "an address such as https://vault.example.com", read)
    }

    fn key_services(&self, node: NodeId, place: &str) -> Result<Vec<Address>, Problem> {
        let read = |text: &str| {
            let address = text.parse().ok()?;
            match &address {
                // What a path begins at must not depend on the folder that the controller is started in.
                Address::Unix { path, .. } if !path.is_absolute() => None,
                _ => Some(address),
            }
        };
        let expected = "the address of a key service, such as tcp://host:5000 or unix:///path/to/socket";
        self.texts(node, place, expected, read)
    }

    fn truth(&self, node: NodeId, place: &str) -> Result<bool, Problem> {
        match self.tree.node(node).value {
            Value::Bool(truth) => Ok(truth),
            _ => Err((node, format!("{place} is not true or false"))),
        }
    }

    fn is_comment(&self, node: NodeId) -> bool {
        matches!(self.tree.node(node).value, Value::Comment(_))
    }

    fn line(&self, node: NodeId) -> usize {
        let node = self.tree.node(node);
        self.tree.line(if node.key.is_some() { node.key_start } else { node.span.start })
    }
}

/// The fields of a rule.
pub const FIELDS: [&str; 10] = [
    "namespaces",
    "keySecrets",
    "keyFiles",
    "kinds",
    "recipients",
    "roles",
    "addresses",
    "keyServices",
    "ambient",
    "isindirWithoutMac",
];

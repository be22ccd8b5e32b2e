//! Reading a policy: every field that is not known, and every value that is not of its type, is an error with its line.

use super::{MacRule, Match, PolicyRule, Rule, TaintRule};
use crate::format::Format;
use crate::keys::{KEY_KINDS, Trust, said};
use crate::render::Limits;
use crate::tree::{NodeId, Tree, Value};

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyError {
    /// The 1-based line.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Reads the rules of a policy.
pub(super) fn rules(text: &[u8]) -> Result<Vec<PolicyRule>, PolicyError> {
    let failed = |line, problem| PolicyError { line, problem };
    let tree = Format::Yaml.read(text).map_err(|error| failed(error.line, error.kind.to_string()))?;
    let reading = Reading { tree: &tree };
    reading.rules().map_err(|(at, problem)| failed(reading.line(at), problem))
}

/// A problem and where it is.
type Problem = (NodeId, String);

struct Reading<'a> {
    tree: &'a Tree,
}

impl Reading<'_> {
    fn rules(&self) -> Result<Vec<PolicyRule>, Problem> {
        let documents = self.tree.documents();
        if let [_, second, ..] = documents {
            return Err((*second, "there is more than one document".to_owned()));
        }
        let mut rules = Vec::new();
        for (_, value) in self.fields(documents[0], "the policy", &["rules"])? {
            for item in self.items(value, "rules")? {
                let number = rules.len() + 1;
                rules.push(self.rule(item, number, &format!("rules[{}]", number - 1))?);
            }
        }
        Ok(rules)
    }

    fn rule(&self, node: NodeId, number: usize, place: &str) -> Result<PolicyRule, Problem> {
        let fields = self.fields(node, place, &FIELDS)?;
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|&(_, value)| value);
        let mut read = empty(number);
        if let Some(preset) = field("preset") {
            match self.text(preset, &format!("{place}.preset"))? {
                "flux" => as_flux(&mut read),
                "strict" => self.as_strict(&mut read, &fields, place)?,
                _ => return Err((preset, format!("{place}.preset is not one of flux, strict"))),
            }
        }
        for &(name, value) in &fields {
            self.field(&mut read, name, value, &format!("{place}.{name}"))?;
        }
        if field("match").is_none() {
            return Err((node, format!("{place} has no match; `match: {{}}` is for everything")));
        }
        if read.modes.is_empty() {
            let at = field("modes").unwrap_or(node);
            return Err((at, format!("{place} has no modes; known are {}", MODES.join(", "))));
        }
        Ok(read)
    }

    fn field(&self, read: &mut PolicyRule, name: &str, value: NodeId, place: &str) -> Result<(), Problem> {
        let rule = &mut read.rule;
        match name {
            "addresses" => rule.addresses = Some(self.addresses(value, place)?),
            "allowEmpty" => rule.allow_empty = self.truth(value, place)?,
            "ambient" => read.ambient = self.kinds(value, place)?,
            "keys" => read.keys = self.paths(value, place)?,
            "kinds" => rule.kinds = Some(self.kinds(value, place)?),
            "leastSecrets" => rule.least_secrets = self.count(value, place)?,
            "limits" => self.limits(read, value, place)?,
            "mac" => rule.mac = self.mac(value, place)?,
            "match" => read.origins = self.origins(value, place)?,
            "modes" => read.modes = self.modes(value, place)?,
            "name" => self.text(value, place)?.clone_into(&mut read.name),
            "network" => rule.network = self.truth(value, place)?,
            "random" => rule.random = self.truth(value, place)?,
            "recipients" => rule.recipients = Some(self.patterns(value, place)?),
            "sealingKeys" => read.sealing_keys = self.paths(value, place)?,
            "roles" => rule.roles = Some(self.patterns(value, place)?),
            "taint" => rule.taint = self.taint(value, place)?,
            "wideScopes" => rule.wide_scopes = self.truth(value, place)?,
            // It was read before all others.
            _ => debug_assert_eq!(name, "preset"),
        }
        Ok(())
    }

    /// Makes a rule one that shows no plaintext unless its modes say so, and cannot be weakened.
    fn as_strict(
        &self,
        read: &mut PolicyRule,
        fields: &[(&'static str, NodeId)],
        place: &str,
    ) -> Result<(), Problem> {
        read.modes = vec!["reseal", "defer", "redact", "fake"];
        match fields.iter().find(|(name, _)| WEAKENING.contains(name)) {
            None => Ok(()),
            Some(&(name, at)) => {
                Err((at, format!("{place}.{name} cannot be given with the preset strict, which fixes it")))
            }
        }
    }

    fn origins(&self, node: NodeId, place: &str) -> Result<Match, Problem> {
        let mut origins = Match::default();
        let known = ["namespaces", "paths", "projects", "repositories"];
        for (name, value) in self.fields(node, place, &known)? {
            let place = format!("{place}.{name}");
            let patterns = self.patterns(value, &place)?;
            if patterns.is_empty() {
                return Err((value, format!("{place} is empty")));
            }
            match name {
                "namespaces" => origins.namespaces = Some(patterns),
                "paths" => origins.paths = Some(patterns),
                "projects" => origins.projects = Some(patterns),
                _ => origins.repositories = Some(patterns),
            }
        }
        Ok(origins)
    }

    fn taint(&self, node: NodeId, place: &str) -> Result<Vec<TaintRule>, Problem> {
        let mut rules = Vec::new();
        for (at, item) in self.items(node, place)?.into_iter().enumerate() {
            let place = format!("{place}[{at}]");
            let fields = self.fields(item, &place, &["kind", "path"])?;
            let text = |name: &str| match fields.iter().find(|(known, _)| *known == name) {
                Some(&(_, value)) => self.text(value, &format!("{place}.{name}")).map(str::to_owned),
                None => Err((item, format!("{place} has no {name}"))),
            };
            rules.push(TaintRule { kind: text("kind")?, path: text("path")? });
        }
        Ok(rules)
    }

    fn limits(&self, read: &mut PolicyRule, node: NodeId, place: &str) -> Result<(), Problem> {
        for (name, value) in self.fields(node, place, &LIMITS)? {
            let place = format!("{place}.{name}");
            let count = self.count(value, &place)?;
            if count == 0 {
                return Err((value, format!("{place} is zero, with which nothing can be rendered")));
            }
            let (limits, bytes) = (&mut read.limits, count as u64);
            match name {
                "documents" => limits.documents = count,
                "encrypted" => limits.encrypted = count,
                "fileBytes" => limits.file_bytes = bytes,
                "files" => limits.files = count,
                "outputBytes" => limits.output_bytes = bytes,
                "ratio" => limits.ratio = bytes,
                "seconds" => read.seconds = Some(bytes),
                _ => {
                    limits.total_bytes = bytes;
                    read.total_bytes = Some(bytes);
                }
            }
        }
        Ok(())
    }

    fn mac(&self, node: NodeId, place: &str) -> Result<MacRule, Problem> {
        match self.text(node, place) {
            Ok("off") => Ok(MacRule::Off),
            Ok("require") => Ok(MacRule::Require),
            Ok("warn") => Ok(MacRule::Warn),
            _ => Err((node, format!("{place} is not one of require, warn, off"))),
        }
    }

    fn modes(&self, node: NodeId, place: &str) -> Result<Vec<&'static str>, Problem> {
        self.of_names(node, place, &MODES)
    }

    fn kinds(&self, node: NodeId, place: &str) -> Result<Vec<&'static str>, Problem> {
        self.of_names(node, place, &KEY_KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>())
    }

    fn of_names(
        &self,
        node: NodeId,
        place: &str,
        known: &[&'static str],
    ) -> Result<Vec<&'static str>, Problem> {
        let expected = format!("one of {}", known.join(", "));
        self.texts(node, place, &expected, |text| known.iter().copied().find(|name| *name == text))
    }

    fn patterns(&self, node: NodeId, place: &str) -> Result<Vec<String>, Problem> {
        self.texts(node, place, "a pattern", |text| Some(text.to_owned()))
    }

    fn paths(&self, node: NodeId, place: &str) -> Result<Vec<String>, Problem> {
        // What a path begins at must not depend on the folder that the program is started in.
        let read = |text: &str| text.starts_with('/').then(|| text.to_owned());
        self.texts(node, place, "a path that begins with /", read)
    }

    fn addresses(&self, node: NodeId, place: &str) -> Result<Vec<String>, Problem> {
        // One that is admitted by itself is one that can be compared.
        let is_one = |text: &str| Trust::Listed(vec![text.to_owned()]).admits(text);
        let read = |text: &str| is_one(text).then(|| text.to_owned());
        self.texts(node, place, "an address such as https://vault.example.com", read)
    }

    /// Returns the entries of a map, which may have these names.
    fn fields(
        &self,
        map: NodeId,
        place: &str,
        known: &[&'static str],
    ) -> Result<Vec<(&'static str, NodeId)>, Problem> {
        if self.tree.node(map).value != Value::Map {
            return Err((map, format!("{place} is not a map")));
        }
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
        let is_entry = |&item: &NodeId| !matches!(self.tree.node(item).value, Value::Comment(_));
        self.tree.children(map).filter(is_entry).map(entry).collect()
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
            let place = format!("{place}[{at}]");
            read(self.text(item, &place)?).ok_or_else(|| (item, format!("{place} is not {expected}")))
        };
        self.items(node, place)?.into_iter().enumerate().map(item).collect()
    }

    /// Returns a text that is not empty.
    fn text(&self, node: NodeId, place: &str) -> Result<&str, Problem> {
        let text = match self.tree.node(node).value {
            Value::Str(text) => str::from_utf8(self.tree.bytes(text)).ok().filter(|text| !text.is_empty()),
            _ => None,
        };
        text.ok_or_else(|| (node, format!("{place} is not a text")))
    }

    fn truth(&self, node: NodeId, place: &str) -> Result<bool, Problem> {
        match self.tree.node(node).value {
            Value::Bool(truth) => Ok(truth),
            _ => Err((node, format!("{place} is not true or false"))),
        }
    }

    fn count(&self, node: NodeId, place: &str) -> Result<usize, Problem> {
        let number = match self.tree.node(node).value {
            Value::Int(number) => usize::try_from(number).ok(),
            _ => None,
        };
        number.ok_or_else(|| (node, format!("{place} is not a whole number")))
    }

    fn line(&self, node: NodeId) -> usize {
        let node = self.tree.node(node);
        self.tree.line(if node.key.is_some() { node.key_start } else { node.span.start })
    }
}

/// Returns a rule that allows nothing.
fn empty(number: usize) -> PolicyRule {
    let nothing = || Some(Vec::new());
    let rule = Rule { addresses: nothing(), roles: Some(Vec::new()), ..Rule::default() };
    PolicyRule {
        number,
        name: String::new(),
        origins: Match::default(),
        modes: Vec::new(),
        rule,
        keys: Vec::new(),
        sealing_keys: Vec::new(),
        ambient: Vec::new(),
        limits: Limits::default(),
        total_bytes: None,
        seconds: None,
    }
}

/// Makes a rule one that accepts what the decryptor of Flux accepts, as far as its MAC is right.
fn as_flux(read: &mut PolicyRule) {
    read.modes = vec!["plain"];
    read.rule.taint = vec![TaintRule { kind: "*".to_owned(), path: "*".to_owned() }];
}

/// The fields of a rule.
const FIELDS: [&str; 19] = [
    "name",
    "match",
    "preset",
    "modes",
    "mac",
    "taint",
    "allowEmpty",
    "leastSecrets",
    "recipients",
    "kinds",
    "addresses",
    "roles",
    "keys",
    "sealingKeys",
    "ambient",
    "network",
    "random",
    "wideScopes",
    "limits",
];

/// The fields that a strict rule cannot have.
const WEAKENING: [&str; 6] = ["allowEmpty", "mac", "network", "random", "taint", "wideScopes"];

/// The limits that a rule may set.
const LIMITS: [&str; 8] =
    ["documents", "encrypted", "fileBytes", "files", "outputBytes", "ratio", "seconds", "totalBytes"];

/// The names of modes.
const MODES: [&str; 5] = ["defer", "fake", "plain", "redact", "reseal"];

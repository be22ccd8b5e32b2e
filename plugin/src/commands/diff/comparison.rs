//! Two versions of a document, and what differs between them.

use std::collections::BTreeSet;

use selkie::format::Format;
use selkie::scheme::OpenDocument;
use selkie::secret::SecretBytes;
use selkie::sops::Metadata;
use selkie::tree::{Difference, NodeId, Tree, Value, differences};
use serde_json::{Value as Json, json};

use crate::dotted;
use crate::key_changes::{Change, KeyChanges};
use crate::report::{BAD, GOOD, Report, STRONG, escape};

/// One of the two versions.
pub(in crate::commands) struct Version<'a> {
    /// What the user calls it.
    pub name: String,
    /// What it is written in.
    pub format: Format,
    /// What was read.
    pub source: SecretBytes,
    /// What that is.
    pub content: Content<'a>,
}

/// What a version holds.
pub(in crate::commands) enum Content<'a> {
    /// It was encrypted, in these places.
    Encrypted(Box<dyn OpenDocument + 'a>, BTreeSet<NodeId>),
    /// It was not, so that nothing tells what is secret in it.
    Plain(Tree),
}

/// Two versions, and what differs between them.
pub(in crate::commands) struct Comparison<'a> {
    old: Version<'a>,
    new: Version<'a>,
    changes: Vec<Difference>,
    keys: Option<KeyChanges>,
    /// Whether both are versions of one file, of which it matters that one is encrypted and the other not.
    is_one_file: bool,
}

impl<'a> Comparison<'a> {
    /// Compares two versions.
    pub(in crate::commands) fn between(old: Version<'a>, new: Version<'a>, is_one_file: bool) -> Self {
        let changes = differences(old.tree(), new.tree());
        let keys = key_changes(&old, &new);
        Self { old, new, changes, keys, is_one_file }
    }

    /// Returns whether the file was encrypted, or decrypted, between the two versions.
    fn is_sealed_otherwise(&self) -> bool {
        self.is_one_file && self.old.is_encrypted() != self.new.is_encrypted()
    }

    /// Returns whether anything differs.
    pub(in crate::commands) fn differ(&self) -> bool {
        let keys_differ = self.keys.as_ref().is_some_and(|keys| !keys.is_empty());
        !self.changes.is_empty() || keys_differ || self.is_sealed_otherwise()
    }

    /// Says so if nothing differs.
    pub(in crate::commands) fn tell_if_same(&self, report: &Report<'_>) {
        if !self.differ() {
            let same = self.old.source.expose_secret() == self.new.source.expose_secret();
            report.note(if same { "the same file" } else { "the same values" });
        }
    }

    /// Returns the difference as people read it; of secret values only with `with_values`.
    pub(in crate::commands) fn to_text(&self, report: &Report<'_>, with_values: bool) -> String {
        let Self { changes, keys, .. } = self;
        let mut text = String::new();
        if self.is_sealed_otherwise() {
            let line = match self.new.is_encrypted() {
                true => report.paint_data(GOOD, "! is encrypted now"),
                false => report.paint_data(BAD, "! is no longer encrypted"),
            };
            text.push_str(&format!("{line}\n"));
        }
        for change in changes {
            let document = match change.document {
                0 => String::new(),
                document => format!("document {}: ", document + 1),
            };
            let path = escape(&dotted::show(&change.path));
            let line = match (change.left, change.right) {
                (None, _) => report.paint_data(GOOD, format!("+ {document}{path}")),
                (_, None) => report.paint_data(BAD, format!("- {document}{path}")),
                _ => report.paint_data(STRONG, format!("~ {document}{path}")),
            };
            text.push_str(&format!("{line}{}\n", escape(&self.values(change, with_values))));
        }
        let keys = keys.as_ref().filter(|keys| !keys.is_empty());
        for (change, key) in keys.iter().flat_map(|keys| keys.groups.iter().flatten()) {
            let key = escape(key);
            match change {
                Change::Added => {
                    text.push_str(&format!("{}\n", report.paint_data(GOOD, format!("+ key {key}"))))
                }
                Change::Removed => {
                    text.push_str(&format!("{}\n", report.paint_data(BAD, format!("- key {key}"))))
                }
                Change::Kept => {}
            }
        }
        text
    }

    /// Returns what is said of the values behind a path.
    fn values(&self, change: &Difference, with_values: bool) -> String {
        let Self { old, new, .. } = self;
        let is_secret = !with_values && is_secret(old, new, change);
        let show = |version: &Version<'_>, id: NodeId| {
            if is_secret { kind_name(version.tree(), id).to_owned() } else { version.show(id) }
        };
        match (change.left, change.right) {
            (Some(left), Some(right)) => {
                let (left, right) = (show(old, left), show(new, right));
                if is_secret && left == right {
                    "  changed".to_owned()
                } else {
                    format!("  {left} → {right}")
                }
            }
            (Some(_), None) if is_secret => String::new(),
            (None, Some(_)) if is_secret => String::new(),
            (Some(left), None) => format!("  {}", show(old, left)),
            (None, Some(right)) => format!("  {}", show(new, right)),
            (None, None) => String::new(),
        }
    }

    /// Returns the difference as JSON; with secret values only with `with_values`.
    pub(in crate::commands) fn to_json(&self, with_values: bool) -> Json {
        let Self { old, new, changes, keys, .. } = self;
        let change = |change: &Difference| {
            let kind = match (change.left, change.right) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            let is_secret = is_secret(old, new, change);
            let value = |version: &Version<'_>, id: Option<NodeId>| id.map(|id| version.tree().to_json(id));
            let mut json = json!({
                "change": kind,
                "document": change.document,
                "path": dotted::show(&change.path),
                "secret": is_secret,
            });
            if with_values || !is_secret {
                json["old"] = value(old, change.left).into();
                json["new"] = value(new, change.right).into();
            }
            json
        };
        let of_kind = |wanted: Change| -> Json {
            let all = keys.iter().flat_map(|keys| keys.groups.iter().flatten());
            all.filter(|(change, _)| *change == wanted).map(|(_, key)| key.as_str()).collect()
        };
        json!({
            "encrypted": [old.is_encrypted(), new.is_encrypted()],
            "old": old.name,
            "new": new.name,
            "changes": changes.iter().map(change).collect::<Json>(),
            "keys": {"added": of_kind(Change::Added), "removed": of_kind(Change::Removed)},
        })
    }
}

impl Version<'_> {
    fn tree(&self) -> &Tree {
        match &self.content {
            Content::Encrypted(opened, _) => opened.tree(),
            Content::Plain(tree) => tree,
        }
    }

    const fn is_encrypted(&self) -> bool {
        matches!(self.content, Content::Encrypted(..))
    }

    /// Returns whether a value is encrypted; `None` if the version is not, so that it cannot tell.
    fn encrypts(&self, id: NodeId) -> Option<bool> {
        match &self.content {
            Content::Encrypted(_, secret) => Some(secret.contains(&id)),
            Content::Plain(_) => None,
        }
    }

    fn metadata(&self) -> Option<&Metadata> {
        match &self.content {
            Content::Encrypted(opened, _) => opened.metadata(),
            Content::Plain(_) => None,
        }
    }

    /// Returns a value on one line.
    fn show(&self, id: NodeId) -> String {
        let tree = self.tree();
        match tree.node(id).value {
            Value::Str(text) if self.format == Format::Binary => format!("{} bytes", tree.bytes(text).len()),
            _ => tree.to_json(id).to_string(),
        }
    }
}

/// Returns whether the values behind a path are secret: they are encrypted in one version, or nothing says
/// that they are not.
fn is_secret(old: &Version<'_>, new: &Version<'_>, change: &Difference) -> bool {
    let places = [(old, change.left), (new, change.right)];
    let present = || places.iter().filter_map(|(version, id)| Some((version, (*id)?)));
    let is_encrypted = present().any(|(version, id)| version.encrypts(id) == Some(true));
    let is_public = present().any(|(version, id)| version.encrypts(id) == Some(false));
    is_encrypted || !is_public
}

fn key_changes(old: &Version<'_>, new: &Version<'_>) -> Option<KeyChanges> {
    let (old, new) = (old.metadata()?, new.metadata()?);
    Some(KeyChanges::between(old, &new.groups, new.shamir_threshold))
}

fn kind_name(tree: &Tree, id: NodeId) -> &'static str {
    match tree.node(id).value {
        Value::Bool(_) => "true or false",
        Value::Comment(_) => "comment",
        Value::Float(_) => "float",
        Value::Int(_) | Value::Unsigned(_) => "integer",
        Value::List => "list",
        Value::Map => "map",
        Value::Null => "null",
        Value::Str(_) => "text",
        Value::Time(_) => "time",
    }
}

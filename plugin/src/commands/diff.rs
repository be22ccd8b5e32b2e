//! `kubectl seal diff`.

use std::collections::BTreeSet;
use std::path::Path;

use selkie::format::Format;
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, Metadata};
use selkie::tree::{Difference, NodeId, Tree, Value, differences};
use serde_json::{Value as Json, json};

use crate::context::Context;
use crate::document::{self, InputFlags, Unlocked};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::git::Revision;
use crate::key_changes::{Change, KeyChanges};
use crate::report::{BAD, GOOD, STRONG};
use crate::targets::Target;
use crate::{commands, dotted};

/// Show what differs between two versions of a file, by path, with values masked
///
/// A version is a file, or a file of a Git revision as Git writes it: HEAD:apps/db.yaml. One file alone is
/// compared with its last commit. Values that are in clear in both versions are shown; what is encrypted in
/// one of them is not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The old version, or the only file; - for stdin
    #[arg(value_name = "OLD")]
    old: String,

    /// The new version
    #[arg(value_name = "NEW")]
    new: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Show values, too
    #[arg(long)]
    show_values: bool,

    /// End with 1 if anything differs
    #[arg(long)]
    exit_code: bool,

    /// Read versions that were changed without their key
    #[arg(long)]
    ignore_mac: bool,

    /// Read both versions as this format, whatever their names
    #[arg(long, value_name = "FORMAT", value_parser = document::format_names())]
    input_type: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal diff db.yaml                          since the last commit
  kubectl seal diff HEAD~3:db.yaml db.yaml           since an earlier one
  kubectl seal diff main:db.yaml feature:db.yaml     between branches
  kubectl seal diff staging.yaml production.yaml     between files
  kubectl seal diff --json db.yaml | jq '.changes[].path'";

/// One of the two versions.
struct Version {
    name: String,
    format: Format,
    source: SecretBytes,
    content: Content,
}

enum Content {
    /// It was encrypted, in these places.
    Encrypted(Box<Unlocked>, BTreeSet<NodeId>),
    /// It was not, so that nothing tells what is secret in it.
    Plain(Tree),
}

/// Compares two versions.
///
/// # Errors
/// If one of them cannot be read or decrypted.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let (old, new) = match &args.new {
        Some(new) => (args.load(context, &args.old)?, args.load(context, new)?),
        None => {
            let committed = format!("HEAD:./{}", args.old.trim_start_matches("./"));
            (args.load(context, &committed)?, args.load(context, &args.old)?)
        }
    };
    let changes = differences(old.tree(), new.tree());
    let keys = key_changes(&old, &new);
    if args.json {
        commands::print_json(context, &args.to_json(&old, &new, &changes, keys.as_ref()))?;
    } else {
        let text = args.to_text(context, &old, &new, &changes, keys.as_ref());
        context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    }
    let differ = !changes.is_empty() || keys.is_some_and(|keys| !keys.is_empty());
    if !differ && !args.json {
        let same = old.source.expose_secret() == new.source.expose_secret();
        context.report.note(if same { "the same file" } else { "the same values" });
    }
    Ok(if differ && args.exit_code { Exit::Failure } else { Exit::Success })
}

impl Args {
    fn load(&self, context: &Context<'_>, name: &str) -> Result<Version, Failure> {
        let input = InputFlags { input_type: self.input_type.clone(), filename: None };
        let is_file = context.session.absolute(Path::new(name)).exists();
        let (format, source) = match Revision::parse(name).filter(|_| !is_file) {
            Some(revision) => {
                (input.format(Some(Path::new(revision.path))), revision.read(&context.session.directory)?)
            }
            None => {
                let target = match name {
                    "-" => Target::Stdin,
                    path => Target::file(path),
                };
                let document = input.load(context, &target)?;
                (document.format, document.source)
            }
        };
        self.open(context, name, format, source)
    }

    fn open(
        &self,
        context: &Context<'_>,
        name: &str,
        format: Format,
        source: SecretBytes,
    ) -> Result<Version, Failure> {
        let tree = format.read(SecretBytes::from(source.expose_secret()))?;
        let name = name.to_owned();
        if !document::is_encrypted(&tree) {
            return Ok(Version { name, format, source, content: Content::Plain(tree) });
        }
        let check = if self.ignore_mac { MacCheck::Ignore } else { MacCheck::Require };
        let unlocked = document::unlock(context, format, tree, check)?;
        let secret = unlocked.opened.decrypted().collect();
        Ok(Version { name, format, source, content: Content::Encrypted(Box::new(unlocked), secret) })
    }

    fn to_text(
        &self,
        context: &Context<'_>,
        old: &Version,
        new: &Version,
        changes: &[Difference],
        keys: Option<&KeyChanges>,
    ) -> String {
        let report = &context.report;
        let mut text = String::new();
        for change in changes {
            let document = match change.document {
                0 => String::new(),
                document => format!("document {}: ", document + 1),
            };
            let path = dotted::show(&change.path);
            let line = match (change.left, change.right) {
                (None, _) => report.paint_data(GOOD, format!("+ {document}{path}")),
                (_, None) => report.paint_data(BAD, format!("- {document}{path}")),
                _ => report.paint_data(STRONG, format!("~ {document}{path}")),
            };
            text.push_str(&format!("{line}{}\n", self.values(old, new, change)));
        }
        let keys = keys.filter(|keys| !keys.is_empty());
        for (change, key) in keys.iter().flat_map(|keys| keys.groups.iter().flatten()) {
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
    fn values(&self, old: &Version, new: &Version, change: &Difference) -> String {
        let is_secret = self.is_secret(old, new, change);
        let show = |version: &Version, id: NodeId| {
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

    /// Returns whether the values behind a path must not be shown: they are encrypted in one version, or
    /// nothing says that they are not secret.
    fn is_secret(&self, old: &Version, new: &Version, change: &Difference) -> bool {
        let places = [(old, change.left), (new, change.right)];
        let present = || places.iter().filter_map(|(version, id)| Some((version, (*id)?)));
        let is_encrypted = present().any(|(version, id)| version.encrypts(id) == Some(true));
        let is_public = present().any(|(version, id)| version.encrypts(id) == Some(false));
        !self.show_values && (is_encrypted || !is_public)
    }

    fn to_json(
        &self,
        old: &Version,
        new: &Version,
        changes: &[Difference],
        keys: Option<&KeyChanges>,
    ) -> Json {
        let change = |change: &Difference| {
            let kind = match (change.left, change.right) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            let is_secret = self.is_secret(old, new, change);
            let value = |version: &Version, id: Option<NodeId>| {
                id.filter(|_| !is_secret).map(|id| version.tree().to_json(id))
            };
            let mut json = json!({
                "change": kind,
                "document": change.document,
                "path": dotted::show(&change.path),
                "secret": is_secret,
            });
            if !is_secret {
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
            "old": old.name,
            "new": new.name,
            "changes": changes.iter().map(change).collect::<Json>(),
            "keys": {"added": of_kind(Change::Added), "removed": of_kind(Change::Removed)},
        })
    }
}

impl Version {
    fn tree(&self) -> &Tree {
        match &self.content {
            Content::Encrypted(unlocked, _) => unlocked.opened.tree(),
            Content::Plain(tree) => tree,
        }
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
            Content::Encrypted(unlocked, _) => Some(unlocked.envelope.metadata()),
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

fn key_changes(old: &Version, new: &Version) -> Option<KeyChanges> {
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

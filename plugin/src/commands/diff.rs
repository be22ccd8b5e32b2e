//! `kubectl seal diff`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use anstyle::Style;
use selkie::format::Format;
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, Metadata};
use selkie::tree::{Difference, NodeId, Tree, Value, differences};
use serde_json::{Value as Json, json};

use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::git::{self, Revision};
use crate::key_changes::{Change, KeyChanges};
use crate::report::{BAD, GOOD, STRONG, count, escape};
use crate::sealing::{self, Unlocked};
use crate::targets::{self, Target};
use crate::{batch, commands, dotted};

/// Show what differs between versions of files, by path, with values masked
///
/// Two versions are compared with each other; a version is a file, or a file of a Git revision as Git writes
/// it: HEAD:apps/db.yaml, or :apps/db.yaml for what is staged. A folder, a glob, or any other number of files
/// is compared with the last commit, or with a revision that stands in front; of what is found in a folder,
/// every file that is encrypted in one of the versions, new and removed ones included. Values that are in clear
/// in both versions are shown; what is encrypted in one of them is not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Two versions; or files, globs and folders, behind a revision if any; - for stdin
    #[arg(value_name = "VERSION")]
    versions: Vec<String>,

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

    /// Take this as the name of what comes from stdin, for its format
    #[arg(long, value_name = "NAME")]
    filename: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal diff db.yaml                          since the last commit
  kubectl seal diff apps/                            every encrypted file of a folder
  kubectl seal diff HEAD~3 apps/                     since an earlier commit
  kubectl seal diff HEAD:db.yaml :db.yaml            what is staged
  kubectl seal diff main:db.yaml feature:db.yaml     between branches
  kubectl seal diff staging.yaml production.yaml     between files
  kubectl seal diff --json db.yaml | jq '.changes[].path'";

/// What is compared.
enum Plan<'a> {
    /// Files with what they were in a revision.
    Each(&'a str, Vec<String>),
    /// Two versions.
    Pair(String, String),
}

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

/// Two versions, and what differs between them.
struct Comparison {
    old: Version,
    new: Version,
    changes: Vec<Difference>,
    keys: Option<KeyChanges>,
}

/// What became of a file that was to be compared.
enum Compared {
    /// It is there in both versions.
    Both(Box<Comparison>),
    /// It is no concern of ours.
    Neither,
    /// It is encrypted, and was not there.
    New,
}

/// Compares versions.
///
/// # Errors
/// If the arguments name nothing.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    match args.plan(context) {
        Plan::Each(revision, files) => compare_each(args, context, revision, &files),
        Plan::Pair(old, new) => compare_pair(args, context, &old, &new),
    }
}

fn compare_pair(args: &Args, context: &Context<'_>, old: &str, new: &str) -> Result<Exit, Failure> {
    let mut exit = Exit::Success;
    let mut load = |name: &str, other: &str| {
        let version = args.load(context, name, other);
        // Which of the two it is, the failure alone does not tell.
        version.map_err(|failure| {
            context.report.failure(Some(name), &failure);
            exit = failure.exit();
        })
    };
    let (Ok(old), Ok(new)) = (load(old, new), load(new, old)) else { return Ok(exit) };
    let comparison = Comparison::between(old, new);
    if args.json {
        commands::print_json(context, &args.to_json(&comparison))?;
    } else {
        args.print(context, &comparison)?;
        comparison.tell_if_same(context);
    }
    Ok(if comparison.differ() && args.exit_code { Exit::Failure } else { Exit::Success })
}

fn compare_each(
    args: &Args,
    context: &Context<'_>,
    revision: &str,
    files: &[String],
) -> Result<Exit, Failure> {
    let targets = targets::expand(files, context.session)?;
    let removed = git::removed(&context.session.directory, revision, files)?;
    let is_one = matches!(targets.as_slice(), [target] if target.is_named());
    let (mut all, mut differing) = (Vec::new(), 0);
    let exit = batch::one_by_one(context, &targets, |target| {
        let comparison = match args.compare(context, revision, target)? {
            Compared::Both(comparison) => comparison,
            Compared::New => {
                differing += 1;
                all.push(json!({"old": null, "new": target.name()}));
                return args.print_heading(context, GOOD, &format!("+ {target}")).map(|()| true);
            }
            Compared::Neither => return Ok(false),
        };
        differing += usize::from(comparison.differ());
        if args.json {
            all.push(args.to_json(&comparison));
        } else if is_one {
            args.print(context, &comparison)?;
            comparison.tell_if_same(context);
        } else if comparison.differ() {
            args.print_heading(context, STRONG, &format!("==> {target} <=="))?;
            args.print(context, &comparison)?;
        }
        Ok(true)
    });
    for path in removed {
        let old = git::at(revision, &context.session.absolute(&path))?;
        if old.is_some_and(|old| document::may_be_encrypted(&old)) {
            differing += 1;
            let name = path.display().to_string();
            args.print_heading(context, BAD, &format!("- {}", escape(&name)))?;
            all.push(json!({"old": name, "new": null}));
        }
    }
    if args.json {
        let report = if is_one { all.pop().unwrap_or_default() } else { all.into() };
        commands::print_json(context, &report)?;
    } else if !is_one {
        context.report.note(format!("{} since {revision}", count(differing, "changed file")));
    }
    Ok(if exit == Exit::Success && differing > 0 && args.exit_code { Exit::Failure } else { exit })
}

impl Args {
    fn plan(&self, context: &Context<'_>) -> Plan<'_> {
        let session = context.session;
        let exists = |name: &str| session.absolute(Path::new(name)).exists();
        let is_revision = |name: &str| !exists(name) && git::is_revision(&session.directory, name);
        let is_version = |name: &str| match Revision::parse(name) {
            Some(_) if !exists(name) => true,
            _ => !session.absolute(Path::new(name)).is_dir() && (exists(name) || !targets::is_glob(name)),
        };
        match self.versions.as_slice() {
            [] => Plan::Each("HEAD", vec![".".to_owned()]),
            [revision] if is_revision(revision) => Plan::Each(revision, vec![".".to_owned()]),
            [revision, files @ ..] if is_revision(revision) => Plan::Each(revision, files.to_vec()),
            [old, new] if is_version(old) && is_version(new) => Plan::Pair(old.clone(), new.clone()),
            [old] if !exists(old) => match Revision::parse(old) {
                Some(revision) => Plan::Pair(old.clone(), revision.file(&session.directory)),
                None => Plan::Each("HEAD", vec![old.clone()]),
            },
            files => Plan::Each("HEAD", files.to_vec()),
        }
    }

    fn input(&self) -> InputFlags {
        InputFlags { input_type: self.input_type.clone(), filename: self.filename.clone() }
    }

    /// Reads one version of two; what its name does not tell of its format, that of the other may.
    fn load(&self, context: &Context<'_>, name: &str, other: &str) -> Result<Version, Failure> {
        let path = |name: &str| Revision::parse(name).map_or(PathBuf::from(name), |it| it.path.into());
        let document = self.input().load_version(context, name, document::format_of(&path(other)))?;
        self.open(context, name, document.format, document.source)
    }

    /// Compares a file with what it was; nothing if it is no concern of ours.
    fn compare(&self, context: &Context<'_>, revision: &str, target: &Target) -> Result<Compared, Failure> {
        let Some(path) = target.path() else {
            let text = "stdin has no earlier version; name what it is to be compared with";
            return Err(Failure::Usage(text.to_owned()));
        };
        let file = context.session.absolute(path);
        // Most of what lies in a folder is none of our concern, and Git need not be asked.
        let document = self.input().load(context, target)?;
        let old = match git::at(revision, &file)? {
            None if target.is_named() => {
                let why = io::Error::new(io::ErrorKind::NotFound, format!("it is not in {revision}"));
                return Err(Failure::io("read", target.to_string())(why));
            }
            None if document.looks_encrypted() => return Ok(Compared::New),
            None => return Ok(Compared::Neither),
            Some(old) => Document { path: document.path.clone(), format: document.format, source: old },
        };
        if !target.is_named() && !document.looks_encrypted() && !old.looks_encrypted() {
            return Ok(Compared::Neither);
        }
        let name = format!("{revision}:./{}", path.display());
        let old = self.open(context, &name, old.format, old.source)?;
        let new = self.open(context, &path.display().to_string(), document.format, document.source)?;
        Ok(Compared::Both(Box::new(Comparison::between(old, new))))
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
        let unlocked = sealing::unlock(context, format, tree, check)?;
        let secret = unlocked.opened.decrypted().collect();
        Ok(Version { name, format, source, content: Content::Encrypted(Box::new(unlocked), secret) })
    }

    fn print_heading(&self, context: &Context<'_>, style: Style, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let line = format!("{}\n", context.report.paint_data(style, text));
        context.session.stdout.write(line.as_bytes()).map_err(Failure::io("write", "stdout"))
    }

    fn print(&self, context: &Context<'_>, comparison: &Comparison) -> Result<(), Failure> {
        let text = self.to_text(context, comparison);
        context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))
    }

    fn to_text(&self, context: &Context<'_>, comparison: &Comparison) -> String {
        let Comparison { old, new, changes, keys } = comparison;
        let report = &context.report;
        let mut text = String::new();
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
            text.push_str(&format!("{line}{}\n", escape(&self.values(old, new, change))));
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
    fn values(&self, old: &Version, new: &Version, change: &Difference) -> String {
        let is_secret = !self.show_values && is_secret(old, new, change);
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

    fn to_json(&self, comparison: &Comparison) -> Json {
        let Comparison { old, new, changes, keys } = comparison;
        let change = |change: &Difference| {
            let kind = match (change.left, change.right) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            let is_secret = is_secret(old, new, change);
            let value = |version: &Version, id: Option<NodeId>| id.map(|id| version.tree().to_json(id));
            let mut json = json!({
                "change": kind,
                "document": change.document,
                "path": dotted::show(&change.path),
                "secret": is_secret,
            });
            if self.show_values || !is_secret {
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

impl Comparison {
    fn between(old: Version, new: Version) -> Self {
        let changes = differences(old.tree(), new.tree());
        let keys = key_changes(&old, &new);
        Self { old, new, changes, keys }
    }

    fn differ(&self) -> bool {
        !self.changes.is_empty() || self.keys.as_ref().is_some_and(|keys| !keys.is_empty())
    }

    fn tell_if_same(&self, context: &Context<'_>) {
        if !self.differ() {
            let same = self.old.source.expose_secret() == self.new.source.expose_secret();
            context.report.note(if same { "the same file" } else { "the same values" });
        }
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

/// Returns whether the values behind a path are secret: they are encrypted in one version, or nothing says
/// that they are not.
fn is_secret(old: &Version, new: &Version, change: &Difference) -> bool {
    let places = [(old, change.left), (new, change.right)];
    let present = || places.iter().filter_map(|(version, id)| Some((version, (*id)?)));
    let is_encrypted = present().any(|(version, id)| version.encrypts(id) == Some(true));
    let is_public = present().any(|(version, id)| version.encrypts(id) == Some(false));
    is_encrypted || !is_public
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

//! `kubectl seal diff`.

pub(super) mod comparison;

use std::io;
use std::path::{Path, PathBuf};

use anstyle::Style;
use selkie::format::Format;
use selkie::scheme;
use selkie::secret::SecretBytes;
use selkie::sops::MacCheck;
use serde_json::json;

use self::comparison::{Comparison, Content, Version};
use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::git::{self, Revision};
use crate::opening::{Opener, OpeningFlags};
use crate::report::{BAD, GOOD, STRONG, count, escape};
use crate::targets::{self, Target};
use crate::{batch, commands};

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

    #[command(flatten)]
    opening: OpeningFlags,

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

/// What became of a file that was to be compared.
enum Compared<'a> {
    /// It is there in both versions.
    Both(Box<Comparison<'a>>),
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
    let opener = args.opening.opener(context);
    match args.plan(context) {
        Plan::Each(revision, files) => compare_each(args, &opener, context, revision, &files),
        Plan::Pair(old, new) => compare_pair(args, &opener, context, &old, &new),
    }
}

fn compare_pair(
    args: &Args,
    opener: &Opener<'_>,
    context: &Context<'_>,
    old: &str,
    new: &str,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Success;
    let mut load = |name: &str, other: &str| {
        let version = args.load(opener, context, name, other);
        // Which of the two it is, the failure alone does not tell.
        version.map_err(|failure| {
            context.report.failure(Some(name), &failure);
            exit = failure.exit();
        })
    };
    let (Ok(old), Ok(new)) = (load(old, new), load(new, old)) else { return Ok(exit) };
    let is_one_file = path_of(&old.name) == path_of(&new.name);
    let comparison = Comparison::between(old, new, is_one_file);
    if args.json {
        commands::print_json(context, &comparison.to_json(args.show_values))?;
    } else {
        args.print(context, &comparison)?;
        comparison.tell_if_same(&context.report);
    }
    Ok(if comparison.differ() && args.exit_code { Exit::Failure } else { Exit::Success })
}

fn compare_each(
    args: &Args,
    opener: &Opener<'_>,
    context: &Context<'_>,
    revision: &str,
    files: &[String],
) -> Result<Exit, Failure> {
    let targets = targets::expand(files, context.session)?;
    let removed = git::removed(&context.session.directory, revision, files)?;
    let is_one = matches!(targets.as_slice(), [target] if target.is_named());
    let (mut all, mut differing) = (Vec::new(), 0);
    let exit = batch::one_by_one(context, &targets, |target| {
        let comparison = match args.compare(opener, context, revision, target)? {
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
            all.push(comparison.to_json(args.show_values));
        } else if is_one {
            args.print(context, &comparison)?;
            comparison.tell_if_same(&context.report);
        } else if comparison.differ() {
            args.print_heading(context, STRONG, &format!("==> {target} <=="))?;
            args.print(context, &comparison)?;
        }
        Ok(true)
    });
    for path in removed {
        let old = git::at(revision, &context.session.absolute(&path))?;
        if old.is_some_and(|old| scheme::may_hold_secrets(old.expose_secret())) {
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
        let rest = if exit == Exit::Success { "" } else { "; not all could be compared" };
        context.report.note(format!("{} since {revision}{rest}", count(differing, "changed file")));
    }
    Ok(if exit == Exit::Success && differing > 0 && args.exit_code { Exit::Failure } else { exit })
}

/// Returns the path of the file that a version is of.
fn path_of(version: &str) -> PathBuf {
    Revision::parse(version).map_or(PathBuf::from(version), |revision| revision.path.into())
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
    fn load<'a>(
        &self,
        opener: &'a Opener<'_>,
        context: &Context<'_>,
        name: &str,
        other: &str,
    ) -> Result<Version<'a>, Failure> {
        let document = self.input().load_version(context, name, document::format_of(&path_of(other)))?;
        self.open(opener, name, document.format, document.source)
    }

    /// Compares a file with what it was; nothing if it is no concern of ours.
    fn compare<'a>(
        &self,
        opener: &'a Opener<'_>,
        context: &Context<'_>,
        revision: &str,
        target: &Target,
    ) -> Result<Compared<'a>, Failure> {
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
            None if document.may_hold_secrets() => return Ok(Compared::New),
            None => return Ok(Compared::Neither),
            Some(old) => Document { path: document.path.clone(), format: document.format, source: old },
        };
        if !target.is_named() && !document.may_hold_secrets() && !old.may_hold_secrets() {
            return Ok(Compared::Neither);
        }
        let name = format!("{revision}:./{}", path.display());
        let old = self.open(opener, &name, old.format, old.source)?;
        let new = self.open(opener, &path.display().to_string(), document.format, document.source)?;
        Ok(Compared::Both(Box::new(Comparison::between(old, new, true))))
    }

    fn open<'a>(
        &self,
        opener: &'a Opener<'_>,
        name: &str,
        format: Format,
        source: SecretBytes,
    ) -> Result<Version<'a>, Failure> {
        let tree = format.read(SecretBytes::from(source.expose_secret()))?;
        let name = name.to_owned();
        if scheme::scheme_of(&tree).is_none() {
            return Ok(Version { name, format, source, content: Content::Plain(tree) });
        }
        let check = if self.ignore_mac { MacCheck::Ignore } else { MacCheck::Require };
        let opened = opener.open_tree(Some(Path::new(&name)), format, tree, check)?;
        let secret = opened.decrypted();
        Ok(Version { name, format, source, content: Content::Encrypted(opened, secret) })
    }

    fn print_heading(&self, context: &Context<'_>, style: Style, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let line = format!("{}\n", context.report.paint_data(style, text));
        context.session.stdout.write(line.as_bytes()).map_err(Failure::io("write", "stdout"))
    }

    fn print(&self, context: &Context<'_>, comparison: &Comparison<'_>) -> Result<(), Failure> {
        let text = comparison.to_text(&context.report, self.show_values);
        context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))
    }
}

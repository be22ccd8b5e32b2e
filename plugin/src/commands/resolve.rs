//! `kubectl seal resolve`.
//!
//! Invariants: a file is replaced by a whole encrypted one, or stays as it is. Both sides have been opened, their MACs
//! checked, before anything is made of them. What a person leaves undecided is never decided for them.

mod choice;
mod dispute;
mod index;
mod listing;

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use selkie::merge::ConflictKind;
use selkie::merge::sides::{Markers, join};
use selkie::secret::SecretBytes;
use selkie::tree::TreePath;
use serde_json::Value as Json;

use self::choice::{Take, Whole};
use self::dispute::Dispute;
use self::index::{Index, Unmerged};
use crate::context::Context;
use crate::editor::{EditError, Editor};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::merging::{self, MergingError};
use crate::opening::{Opener, OpeningFlags};
use crate::report::{count, describe};
use crate::targets::{self, Target};
use crate::terminal::Terminal;
use crate::{batch, commands, document, files, pasted};

/// Decide the conflicts of a merge of encrypted files
///
/// Both sides are taken from between the markers of the file, or from the index of Git, and merged by path. What both
/// changed differently is shown in your editor, in clear, with markers; the rest is merged already. Keep what is to stay,
/// and take the markers out: the file is encrypted with what you saved, and staged. Files that Git merged by lines, or
/// whose key was not at hand, are merged in the same way.
///
/// Without files, all unmerged files of the repository that are encrypted are taken. The values of a SealedSecret are
/// shown sealed, unless the private key is at hand.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; all unmerged encrypted files if there are none
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    /// Take our side of every conflict; with --take, of the others
    #[arg(long, conflicts_with = "theirs")]
    ours: bool,

    /// Take their side of every conflict; with --take, of the others
    #[arg(long)]
    theirs: bool,

    /// Take one side of what is at a path: data.password=ours, =theirs or =base
    #[arg(long, value_name = "PATH=SIDE", value_parser = choice::parse_take)]
    take: Vec<Take>,

    /// Only list the conflicts; end with 1 if there are any
    #[arg(long, conflicts_with_all = ["ours", "theirs", "take"])]
    list: bool,

    /// List as JSON
    #[arg(long, requires = "list")]
    json: bool,

    /// List values, too
    #[arg(long, requires = "list")]
    show_values: bool,

    /// Leave it to me to stage what is decided
    #[arg(long)]
    no_add: bool,

    #[command(flatten)]
    opening: OpeningFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal resolve                                  everything, one file after the other
  kubectl seal resolve --list                           what is to be decided, with values masked
  kubectl seal resolve --theirs db.yaml
  kubectl seal resolve --take data.password=theirs --ours db.yaml
  git merge --continue                                  afterwards; or git rebase --continue";

/// Decides the conflicts of every file, one after the other.
///
/// # Errors
/// If the arguments name nothing, or Git cannot tell what is unmerged.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = args.targets(context)?;
    commands::refuse_stdin(&targets)?;
    let opener = args.opening.opener(context);
    let (mut all, mut conflicts) = (Vec::new(), 0);
    let exit = batch::one_by_one(context, &targets, |target| {
        let Target::File { path, .. } = target else { return Ok(false) };
        let Some(file) = File::find(context, &opener, target, path)? else { return Ok(false) };
        if args.list {
            conflicts += file.dispute.conflicts.len();
            all.push(file.list(args, context, target)?);
            return Ok(true);
        }
        let verb = file.decide(args, context, &opener)?;
        context.report.done(verb, target, "");
        Ok(true)
    });
    if args.json {
        commands::print_json(context, &all.into())?;
    }
    Ok(if exit == Exit::Success && conflicts > 0 { Exit::Failure } else { exit })
}

/// Returns the command that decides the conflicts of a file.
#[must_use]
pub fn command(path: &Path) -> String {
    format!("kubectl seal resolve {}", pasted::path(path))
}

/// Says how a kept text is taken after all.
fn rescue(path: &Path, _: &Path) -> String {
    format!("run `{}` again, put the text in", command(path))
}

/// Returns what the sides of a conflict did, as people say it.
#[must_use]
pub const fn sentence(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::AddedByBoth => "was added by both sides, differently",
        ConflictKind::ChangedByBoth => "was changed by both sides, differently",
        ConflictKind::Metadata => "has keys or a rule that both sides changed, differently",
        ConflictKind::Order => "was put into another order by both sides, or changed in one place",
        ConflictKind::RemovedByOurs => "was removed by our side and changed by theirs",
        ConflictKind::RemovedByTheirs => "was changed by our side and removed by theirs",
        ConflictKind::SealedForOther => {
            "was sealed for the name, namespace or scope that the other side changed"
        }
        _ => "differs between the sides",
    }
}

/// Returns what a conflict is called: by its path, if it has one.
#[must_use]
pub fn name_of(kind: ConflictKind, path: &TreePath) -> String {
    match kind {
        ConflictKind::Metadata if path.steps().is_empty() => METADATA.to_owned(),
        _ => merging::show(path),
    }
}

/// A file with conflicts.
struct File<'a> {
    /// The path, as it is shown.
    path: &'a Path,
    /// What Git knows of it.
    index: Index,
    /// What is in the worktree.
    content: SecretBytes,
    dispute: Dispute<'a>,
}

impl Args {
    fn targets(&self, context: &Context<'_>) -> Result<Vec<Target>, Failure> {
        if !self.files.is_empty() {
            return targets::expand(&self.files, context.session);
        }
        let unmerged = Index::unmerged(&context.session.directory)?;
        let (ours, others): (Vec<_>, Vec<_>) =
            unmerged.into_iter().partition(|(_, unmerged)| unmerged.is_encrypted());
        if !others.is_empty() {
            let others = count(others.len(), "unmerged file");
            context.report.note(format!("{others} without secrets left to you: see `git status`"));
        }
        Ok(ours.iter().map(|(path, _)| Target::file(context.shown(path))).collect())
    }

    const fn rest(&self) -> Option<Whole> {
        match (self.ours, self.theirs) {
            (true, _) => Some(Whole::Ours),
            (_, true) => Some(Whole::Theirs),
            _ => None,
        }
    }
}

impl<'a> File<'a> {
    /// Reads a file; nothing if there is nothing to decide, and the user did not name it.
    fn find(
        context: &'a Context<'_>,
        opener: &'a Opener<'_>,
        target: &Target,
        path: &'a Path,
    ) -> Result<Option<Self>, Failure> {
        let absolute = context.session.absolute(path);
        let index = Index::of(&absolute)?;
        if !target.is_named() && !index.unmerged.as_ref().is_some_and(Unmerged::is_encrypted) {
            return Ok(None);
        }
        if let Some(deleted) = index.unmerged.as_ref().and_then(Unmerged::deleted) {
            return Err(deleted.into());
        }
        let content = match files::read(&absolute) {
            // It is gone, and comes back with what is decided.
            Err(error) if error.kind() == io::ErrorKind::NotFound && index.unmerged.is_some() => {
                SecretBytes::new()
            }
            content => content.map_err(Failure::io("read", path.display().to_string()))?,
        };
        let dispute = Dispute::of(context, opener, &absolute, &content, index.unmerged.as_ref())?;
        Ok(Some(Self { path, index, content, dispute }))
    }

    fn list(&self, args: &Args, context: &Context<'_>, target: &Target) -> Result<Json, Failure> {
        if !args.json {
            let text = listing::to_text(&self.dispute, target, context, args.show_values);
            context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
        }
        Ok(listing::to_json(&self.dispute, &target.name(), args.show_values))
    }

    /// Decides all conflicts, and returns what was done.
    fn decide(
        &self,
        args: &Args,
        context: &Context<'_>,
        opener: &Opener<'_>,
    ) -> Result<&'static str, Failure> {
        if self.dispute.is_clean() {
            self.put(args, context, &self.dispute.ours.file)?;
            return Ok("merged");
        }
        choice::refuse_stray(&self.dispute, &args.take)?;
        if let (Some(rest), []) = (args.rest(), args.take.as_slice()) {
            self.put(args, context, &self.dispute.side(rest).file)?;
            return Ok("resolved");
        }
        if choice::is_for_editor(&self.dispute, &args.take, args.rest()) {
            self.edit(args, context, opener)?;
            return Ok("resolved");
        }
        let decided = choice::decide(&self.dispute, context, opener, self.path, &args.take, args.rest())?;
        self.put(args, context, &decided)?;
        Ok("resolved")
    }

    /// Lets the user decide in the editor.
    fn edit(&self, args: &Args, context: &Context<'_>, opener: &Opener<'_>) -> Result<(), Failure> {
        let editor = Editor::find(&context.session.environment)?;
        let side = choice::metadata_side(&self.dispute, &args.take)?;
        let Dispute { ours, theirs, .. } = &self.dispute;
        if let Some(opened) = &self.dispute.side(side).opened {
            // Before anything is typed that then could not be sealed.
            opener.cert_for(&**opened)?;
        }
        let markers = Markers { ours: "ours", theirs: "theirs", length: MARKER_SIZE };
        let text = join(ours.text.expose_secret(), theirs.text.expose_secret(), markers);
        let lines = self.dispute.lines_of_markers(&text);
        let mut dialogue = Terminal { context, path: self.path, rescue };
        let name = self.path.file_name().unwrap_or(OsStr::new("text"));
        let take = |edited: SecretBytes| -> Result<(), Failure> {
            if let Some(line) = lines.first_in(&edited) {
                return Err(MergingError::Marker(line).into());
            }
            let decided = choice::seal(&self.dispute, context, opener, self.path, side, &edited)?;
            self.put(args, context, &decided)
        };
        let environment = &context.session.environment;
        let edited = editor.edit(name, &text, environment, &mut dialogue, &mut |text| {
            take(text).map_err(|failure| describe(&failure, "hint:"))
        });
        match edited {
            Err(EditError::Unchanged) => Err(Failure::NotModified),
            edited => Ok(edited?),
        }
    }

    /// Puts the result in place of the file, and tells Git that it is decided.
    fn put(&self, args: &Args, context: &Context<'_>, text: &SecretBytes) -> Result<(), Failure> {
        let is_there = context.session.absolute(self.path).exists();
        if !is_there {
            document::create(context, self.path, text)?;
        } else if self.content.expose_secret() != text.expose_secret() {
            let _turn = document::turn_for(context, self.path);
            document::replace(context, self.path, &self.content, text)?;
        }
        if args.no_add || self.index.unmerged.is_none() {
            return Ok(());
        }
        self.index.add(&context.session.absolute(self.path))
    }
}

/// What the keys and the rule of a file are called.
const METADATA: &str = "sops";

/// How many characters a marker has for people.
const MARKER_SIZE: usize = 7;

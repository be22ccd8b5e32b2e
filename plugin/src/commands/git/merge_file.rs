//! `kubectl seal git merge-file`.
//!
//! Git hands in three files that it made for this, and takes what is in that of our side when the program has ended.
//!
//! Invariants: our side's file stays byte for byte as Git made it unless there is a result: a whole encrypted file, or
//! both sides' whole encrypted files with markers. Nothing is ended with success but a merge without conflicts; so what
//! fails, or is killed, leaves a file that Git knows as unmerged. The program may be asked to merge ancestors, too: where
//! it cannot, it leaves both with markers, so that no merge takes one of them for the whole.

mod by_text;

use std::path::{Path, PathBuf};

use selkie::merge::sides::{Markers, join};
use selkie::merge::sops::MergedFile;
use selkie::merge::{Conflict, Sides};
use selkie::sealed::KeyRegistry;
use selkie::secret::SecretBytes;

use crate::commands::resolve;
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files::{self, Audience};
use crate::git;
use crate::merging::{self, Kind, Versions};
use crate::report::{count, escape};
use crate::sealing_keys::SealingKeyFlags;

/// Merge three versions of a file, for Git to call
///
/// Encrypted files are merged by path on their plaintext, in memory, and encrypted again; files with SealedSecrets
/// without a key. Files that are not encrypted are merged by lines, as by `git merge-file`. Where both sides changed a
/// value differently, both encrypted versions stay in the file, with markers, for `kubectl seal resolve`.
/// `kubectl seal git install` writes this command into the configuration of Git.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file with the common ancestor; an empty one stands for none
    #[arg(long, value_name = "FILE")]
    ancestor: PathBuf,

    /// The file with our side, which the result is written to
    #[arg(long, value_name = "FILE")]
    ours: PathBuf,

    /// The file with their side
    #[arg(long, value_name = "FILE")]
    theirs: PathBuf,

    /// How many characters a marker has
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 7,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    marker_size: u16,

    /// The path of what is merged, which tells its format
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    path: PathBuf,

    /// What to call the common ancestor in markers
    #[arg(long, value_name = "NAME")]
    ancestor_label: Option<String>,

    /// What to call our side in markers
    #[arg(long, value_name = "NAME")]
    ours_label: Option<String>,

    /// What to call their side in markers
    #[arg(long, value_name = "NAME")]
    theirs_label: Option<String>,

    #[command(flatten)]
    keys: SealingKeyFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal git merge-file --ancestor base.yaml --ours db.yaml --theirs other.yaml --path db.yaml
  git config merge.seal.driver 'kubectl-seal git merge-file --ancestor %O --ours %A --theirs %B --marker-size %L --path=%P'";

/// Merges them.
///
/// # Errors
/// Never: whatever fails is told, and ends as a conflict.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let merged = args.merge(context).unwrap_or_else(|failure| {
        let path = args.path.display().to_string();
        context.report.failure(Some(&path), &failure);
        context.report.note(format!(
            "{path} is not merged, and is as it was on our side: once that is mended, run `{}`",
            resolve::command(&args.path)
        ));
        // Where that fails, Git has our side, and knows that it is not merged.
        if let Err(failure) = args.keep_apart(context) {
            context.report.failure(Some(&path), &failure);
        }
        false
    });
    // Git takes numbers from 129 on for more than a conflict.
    Ok(if merged { Exit::Success } else { Exit::Failure })
}

impl Args {
    /// Returns whether the merge is clean.
    fn merge(&self, context: &Context<'_>) -> Result<bool, Failure> {
        let [base, ours, theirs] = self.read(context)?;
        let base = Some(&base).filter(|base| !base.is_empty());
        let format = merging::format_of_versions(&self.path, base.into_iter().chain([&ours, &theirs]));
        let file = context.session.absolute(&self.path);
        let sides = Sides { base, ours: &ours, theirs: &theirs };
        let versions = Versions { file: &file, format, sides };
        let Some(kind) = versions.kind() else { return by_text::merge(self, context) };
        let keys = self.keys_for(kind, context);
        let merged = versions.merge(context, kind, &keys)?;
        let is_clean = merged.ours.expose_secret() == merged.theirs.expose_secret();
        if is_clean {
            self.write(context, &merged.ours)?;
        } else {
            self.write(context, &self.joined(&merged.ours, &merged.theirs))?;
            self.tell(context, &merged);
        }
        Ok(is_clean)
    }

    fn read(&self, context: &Context<'_>) -> Result<[SecretBytes; 3], Failure> {
        let read = |path: &Path| {
            let read = files::read(&context.session.absolute(path));
            read.map_err(Failure::io("read", path.display().to_string()))
        };
        Ok([read(&self.ancestor)?, read(&self.ours)?, read(&self.theirs)?])
    }

    /// Returns the private keys at hand, if any are needed. Without one, less is known, and more is left to people.
    fn keys_for(&self, kind: Kind, context: &Context<'_>) -> KeyRegistry {
        if kind == Kind::Sops {
            return KeyRegistry::new();
        }
        match self.keys.load_if_any(context, &ControllerFlags::default()) {
            Ok(keys) => keys.unwrap_or_default(),
            Err(failure) => {
                context.report.failure(Some(&self.path.display().to_string()), &failure);
                KeyRegistry::new()
            }
        }
    }

    fn write(&self, context: &Context<'_>, text: &SecretBytes) -> Result<(), Failure> {
        files::write(&context.session.absolute(&self.ours), text.expose_secret(), Audience::Everyone)
            .map_err(Failure::io("write", self.ours.display().to_string()))
    }

    fn joined(&self, ours: &SecretBytes, theirs: &SecretBytes) -> SecretBytes {
        let markers = Markers {
            ours: self.label(&self.ours_label, "ours"),
            theirs: self.label(&self.theirs_label, "theirs"),
            length: self.marker_size.into(),
        };
        join(ours.expose_secret(), theirs.expose_secret(), markers)
    }

    /// Returns what a version is called. Git before 2.44 knows no names, and hands in what stands for them.
    fn label<'a>(&'a self, label: &'a Option<String>, other: &'a str) -> &'a str {
        let is_name = |label: &&str| !label.is_empty() && !label.starts_with('%') && !label.contains('\n');
        label.as_deref().filter(is_name).unwrap_or(other)
    }

    /// Leaves both versions with markers if they are ancestors of what is merged: Git would take our side alone for what
    /// the sides come from.
    fn keep_apart(&self, context: &Context<'_>) -> Result<(), Failure> {
        if usize::from(self.marker_size) <= marker_size_of(context, &self.path) {
            return Ok(());
        }
        let [_, ours, theirs] = self.read(context)?;
        self.write(context, &self.joined(&ours, &theirs))
    }

    fn tell(&self, context: &Context<'_>, merged: &MergedFile) {
        let path = escape(&self.path.display().to_string());
        let several = merged.conflicts.iter().any(|conflict| conflict.document > 0);
        for conflict in &merged.conflicts {
            context.report.warn(format!("{path}: {}", describe(conflict, several)));
        }
        let what = match merged.conflicts.len() {
            0 => "what the sides come from is not known, so that all that differs is a conflict".to_owned(),
            conflicts => count(conflicts, "conflict"),
        };
        context.report.note(format!("{path}: {what}; decide with `{}`", resolve::command(&self.path)));
    }
}

/// Says where a conflict is, and what the sides did.
fn describe(conflict: &Conflict, in_stream: bool) -> String {
    let document = if in_stream { format!("document {}: ", conflict.document + 1) } else { String::new() };
    let path = resolve::name_of(conflict.kind, &conflict.path);
    format!("{document}{} {}", escape(&path), resolve::sentence(conflict.kind))
}

/// Returns how many characters the markers of a file have, unless they are those of ancestors.
fn marker_size_of(context: &Context<'_>, path: &Path) -> usize {
    let path = path.to_string_lossy();
    let asked = ["check-attr", "-z", "conflict-marker-size", "--", &path];
    let said = git::said(&context.session.directory, &asked, "the attributes of Git");
    let said = said.unwrap_or_default();
    let value = said.split(|byte| *byte == 0).nth(2).and_then(|value| str::from_utf8(value).ok());
    value.and_then(|value| value.parse().ok()).filter(|size| *size > 0).unwrap_or(USUAL_SIZE)
}

/// How many characters a marker of Git has.
const USUAL_SIZE: usize = 7;

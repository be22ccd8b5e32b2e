//! `kubectl seal updatekeys`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use selkie::format::Format;
use selkie::secret::SecretBytes;
use selkie::sops::Metadata;
use selkie::tree::Tree;

use crate::batch::{self, Outcome};
use crate::commands;
use crate::context::Context;
use crate::document::{self, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key_changes::KeyChanges;
use crate::rekeying::{DataKeyFate, DataKeyFlag, LockOutFlag, rekey};
use crate::report::{Report, count, escape};
use crate::sealing;
use crate::settings::{Settings, SettingsFlags, Source};
use crate::targets::{self, Target};

/// Bring the keys of encrypted files in line with .sops.yaml
///
/// Shows what will change in which file, and asks. Where keys are only added, the data key and all ciphertexts stay.
/// Where one is removed, or another number of groups is needed, there is a new data key, and all values are
/// encrypted anew: whoever knew the old one reads what is in the Git history, and nothing that comes after. A file
/// that you could not read any more stays as it is, unless --lock-out is given.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Also choose the values to encrypt as .sops.yaml says
    #[arg(long)]
    rule: bool,

    #[command(flatten)]
    data_key: DataKeyFlag,

    #[command(flatten)]
    lock_out: LockOutFlag,

    /// Only show what would change; fail if anything would
    #[arg(long, conflicts_with = "yes")]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal updatekeys db.yaml
  kubectl seal updatekeys --yes --rule .    every encrypted file below this folder, keys and choice of values
  kubectl seal updatekeys --check .         for CI: do all files have the keys of .sops.yaml?";

/// What is to become of one file.
enum Plan {
    Change(Box<Change>),
    Skip(&'static str),
    UpToDate {
        /// The rule by which values would be chosen, if they are chosen by another one.
        other_rule: Option<Source>,
    },
}

/// A file, and what it is to have.
struct Change {
    source: SecretBytes,
    format: Format,
    tree: Tree,
    wanted: Metadata,
    changes: KeyChanges,
    fate: DataKeyFate,
    /// What is to be said of it besides the keys.
    notes: Vec<String>,
    other_rule: Option<Source>,
}

/// Who knows data keys that were kept.
#[derive(Default)]
struct Knowing {
    /// Somebody who lost a key.
    removed: AtomicBool,
    /// Somebody who has keys of too few groups now.
    raised: AtomicBool,
}

/// Plans, asks, and changes.
///
/// # Errors
/// If the arguments name nothing, or the user says no.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    commands::refuse_stdin(&targets)?;
    let plans = batch::map(context, &targets, |target| plan(args, context, target));
    let mut pending = 0;
    for (target, plan) in targets.iter().zip(&plans) {
        if let Ok(Plan::Change(change)) = plan {
            pending += 1;
            context.report.note_painted(format!("{target}\n{}", change.describe(&context.report)));
        }
        if let Ok(plan) = plan
            && let Some(rule) = plan.other_rule()
        {
            context
                .report
                .warn(format!("{target}: values are not chosen as {rule} says; --rule brings them in line"));
        }
    }
    if args.check {
        return Ok(report_check(args, context, &targets, &plans));
    }
    if pending > 0 && !args.yes && !confirm(context, pending)? {
        return Err(Failure::Refused);
    }
    let knows = Knowing::default();
    let work: Vec<_> = targets.iter().zip(plans).collect();
    let results = batch::map(context, work, |(target, plan)| apply(args, context, target, plan?, &knows));
    let exit = batch::report(context, &targets, &results);
    if knows.removed.into_inner() {
        context.report.note("whoever lost a key still knows the data keys: see `kubectl seal rotate`");
    } else if knows.raised.into_inner() {
        context.report.note(
            "whoever could read the files with fewer groups still knows the data keys: see `kubectl seal rotate`",
        );
    }
    Ok(exit)
}

fn plan(args: &Args, context: &Context<'_>, target: &Target) -> Result<Plan, Failure> {
    let input = InputFlags::default();
    let document = input.load(context, target)?;
    if !target.is_named() && !document.looks_encrypted() {
        return Ok(Plan::Skip("not encrypted"));
    }
    let tree = document.tree()?;
    let metadata = sealing::metadata_of(&tree)?;
    let settings = SettingsFlags::default().resolve(context, document.path.as_deref());
    let mut settings = match settings {
        Err(Failure::NoRule { .. }) if !target.is_named() => return Ok(Plan::Skip("not covered by a rule")),
        settings => settings?,
    };
    settings.settle(&metadata);
    let changes = settings.key_changes(&metadata);
    // A file of bytes is one value.
    let selects_alike = document.format == Format::Binary || settings.selects_as(&metadata);
    let is_ruled = matches!(settings.source, Source::Rule { .. });
    let other_rule = (!selects_alike && !args.rule && is_ruled).then(|| settings.source.clone());
    if changes.is_empty() && (selects_alike || !args.rule) {
        return Ok(Plan::UpToDate { other_rule });
    }
    let fate = args.data_key.fate(&changes);
    let mut notes = Vec::new();
    let mut wanted = metadata.clone();
    if args.rule && !selects_alike {
        notes.extend(choose(&settings, &mut wanted));
    }
    wanted.groups = settings.groups;
    wanted.shamir_threshold = settings.shamir_threshold;
    notes.extend(fate.describe(document.format, &tree, &metadata));
    let (source, format) = (document.source, document.format);
    Ok(Plan::Change(Box::new(Change { source, format, tree, wanted, changes, fate, notes, other_rule })))
}

/// Chooses values as settings say, and says what is new about that.
fn choose(settings: &Settings, metadata: &mut Metadata) -> Vec<String> {
    let wanted = settings.metadata();
    let mut notes = Vec::new();
    if wanted.selector != metadata.selector {
        let (new, old) = (&wanted.selector, &metadata.selector);
        notes.push(format!(
            "values chosen by {} {:?} instead of {} {:?}",
            new.field(),
            new.text(),
            old.field(),
            old.text()
        ));
    }
    if wanted.mac_only_encrypted != metadata.mac_only_encrypted {
        let covered = if wanted.mac_only_encrypted { "encrypted values only" } else { "all values" };
        notes.push(format!("MAC over {covered}"));
    }
    metadata.selector = wanted.selector;
    metadata.mac_only_encrypted = wanted.mac_only_encrypted;
    notes
}

fn apply(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    plan: Plan,
    knows: &Knowing,
) -> Result<Outcome, Failure> {
    let change = match plan {
        Plan::Change(change) => change,
        Plan::Skip(reason) => return Ok(Outcome::Skipped(reason)),
        Plan::UpToDate { .. } => return Ok(Outcome::Unchanged),
    };
    let _turn = document::turn(context, target);
    let Some(change) = up_to_date(args, context, target, *change)? else { return Ok(Outcome::Unchanged) };
    let (fate, removes, raises) = (change.fate, change.changes.removes(), change.changes.raises());
    let rekeyed =
        rekey(context, target.path(), (change.format, change.tree), change.wanted, fate, args.lock_out)?;
    document::replace(context, target.path().unwrap_or(Path::new("")), &change.source, &rekeyed.text)?;
    if fate == DataKeyFate::Kept {
        knows.removed.fetch_or(removes, Ordering::Relaxed);
        knows.raised.fetch_or(raises, Ordering::Relaxed);
    }
    Ok(Outcome::Done("updated", rekeyed.detail(fate)))
}

/// Plans again if the file was changed since: what was agreed to must be all that happens to its keys.
/// `None` if it happened already.
fn up_to_date(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    change: Change,
) -> Result<Option<Change>, Failure> {
    let now = InputFlags::default().load(context, target)?;
    if now.source.expose_secret() == change.source.expose_secret() {
        return Ok(Some(change));
    }
    let described = |change: &Change| change.changes.describe(&context.report);
    match plan(args, context, target)? {
        Plan::Change(again) if described(&again) == described(&change) => Ok(Some(*again)),
        Plan::UpToDate { .. } => Ok(None),
        _ => Err(Failure::Check(
            "the keys were changed by something else meanwhile; run this again".to_owned(),
        )),
    }
}

impl Plan {
    const fn other_rule(&self) -> Option<&Source> {
        match self {
            Self::Change(change) => change.other_rule.as_ref(),
            Self::Skip(_) => None,
            Self::UpToDate { other_rule } => other_rule.as_ref(),
        }
    }
}

impl Change {
    fn describe(&self, report: &Report<'_>) -> String {
        let notes = self.notes.iter().map(|note| format!("  {}", escape(note)));
        std::iter::once(self.changes.describe(report)).chain(notes).collect::<Vec<_>>().join("\n")
    }
}

fn report_check(
    args: &Args,
    context: &Context<'_>,
    targets: &[Target],
    plans: &[Result<Plan, Failure>],
) -> Exit {
    let (mut exits, mut pending, mut encrypted) = (Vec::new(), Vec::new(), 0);
    for (target, plan) in targets.iter().zip(plans) {
        match plan {
            Err(failure) => {
                context.report.failure(Some(&target.to_string()), failure);
                exits.push(failure.exit());
            }
            Ok(Plan::Change(_)) => {
                exits.push(Exit::Failure);
                pending.push(target.to_string());
            }
            Ok(Plan::UpToDate { .. }) => encrypted += 1,
            Ok(Plan::Skip(_)) => {}
        }
    }
    if !pending.is_empty() {
        let names = pending.join(" ");
        context.report.note(format!(
            "{} to update: run `kubectl seal updatekeys {}{names}`",
            count(pending.len(), "file"),
            if args.rule { "--rule " } else { "" },
        ));
    } else if exits.is_empty() {
        context.report.note(format!("nothing to update in {}", count(encrypted, "encrypted file")));
    }
    batch::exit_of(&exits)
}

fn confirm(context: &Context<'_>, pending: usize) -> Result<bool, Failure> {
    let files = if pending == 1 { "this file".to_owned() } else { format!("these {pending} files") };
    let question = format!("Change the keys of {files}? (y/n): ");
    context.session.stderr.write(question.as_bytes()).map_err(Failure::io("write", "stderr"))?;
    let answer = context.session.stdin.read_line().map_err(Failure::io("read", "stdin"))?;
    let Some(answer) = answer else {
        return Err(Failure::Usage("nobody answers on stdin; pass --yes".to_owned()));
    };
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

//! `kubectl seal updatekeys`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::OsRng;
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
use crate::report::count;
use crate::sealing;
use crate::settings::{Settings, SettingsFlags};
use crate::targets::{self, Target};

/// Bring the keys of encrypted files in line with .sops.yaml
///
/// Shows what will change in which file, and asks. Values keep their ciphertext and the data key stays:
/// who loses a key must be kept out with `kubectl seal rotate`. A file that you could not read any more stays
/// as it is, unless --lock-out is given.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Do so even if your own keys could not read a file any more
    #[arg(long)]
    lock_out: bool,

    /// Only show what would change; fail if anything would
    #[arg(long, conflicts_with = "yes")]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal updatekeys db.yaml
  kubectl seal updatekeys --yes .           every encrypted file below this folder
  kubectl seal updatekeys --check .         for CI: are all files as .sops.yaml says?";

/// What is to become of one file.
enum Plan {
    Change(Box<Change>),
    Skip(&'static str),
    UpToDate,
}

/// A file, and the keys that it is to have.
struct Change {
    source: SecretBytes,
    format: Format,
    tree: Tree,
    metadata: Metadata,
    settings: Settings,
    changes: KeyChanges,
}

/// Plans, asks, and changes.
///
/// # Errors
/// If the arguments name nothing, or the user says no.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    commands::refuse_stdin(&targets)?;
    let plans = batch::map(context, &targets, |target| plan(context, target));
    let mut pending = 0;
    for (target, plan) in targets.iter().zip(&plans) {
        if let Ok(Plan::Change(change)) = plan {
            pending += 1;
            context.report.note_painted(format!("{target}\n{}", change.changes.describe(&context.report)));
        }
    }
    if args.check {
        return Ok(report_check(context, &targets, &plans));
    }
    if pending > 0 && !args.yes && !confirm(context, pending)? {
        return Err(Failure::Refused);
    }
    let removes = AtomicBool::new(false);
    let work: Vec<_> = targets.iter().zip(plans).collect();
    let results = batch::map(context, work, |(target, plan)| apply(args, context, target, plan?, &removes));
    let exit = batch::report(context, &targets, &results);
    if removes.into_inner() {
        context.report.note("whoever lost a key still knows the data keys: see `kubectl seal rotate`");
    }
    Ok(exit)
}

fn plan(context: &Context<'_>, target: &Target) -> Result<Plan, Failure> {
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
    let changes = KeyChanges::between(&metadata, &settings.groups, settings.shamir_threshold);
    if changes.is_empty() {
        return Ok(Plan::UpToDate);
    }
    Ok(Plan::Change(Box::new(Change {
        source: document.source,
        format: document.format,
        tree,
        metadata,
        settings,
        changes,
    })))
}

fn apply(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    plan: Plan,
    removes: &AtomicBool,
) -> Result<Outcome, Failure> {
    let change = match plan {
        Plan::Change(change) => change,
        Plan::Skip(reason) => return Ok(Outcome::Skipped(reason)),
        Plan::UpToDate => return Ok(Outcome::Unchanged),
    };
    let _turn = document::turn(context, target);
    let Some(change) = up_to_date(context, target, *change)? else { return Ok(Outcome::Unchanged) };
    let does_remove = change.changes.removes();
    let text = rewrap(args, context, &change)?;
    document::replace(context, target.path().unwrap_or(Path::new("")), &change.source, &text)?;
    removes.fetch_or(does_remove, Ordering::Relaxed);
    Ok(Outcome::Done("updated", String::new()))
}

/// Plans again if the file was changed since: what was agreed to must be all that happens to its keys.
/// `None` if it happened already.
fn up_to_date(context: &Context<'_>, target: &Target, change: Change) -> Result<Option<Change>, Failure> {
    let now = InputFlags::default().load(context, target)?;
    if now.source.expose_secret() == change.source.expose_secret() {
        return Ok(Some(change));
    }
    let described = |change: &Change| change.changes.describe(&context.report);
    match plan(context, target)? {
        Plan::Change(again) if described(&again) == described(&change) => Ok(Some(*again)),
        Plan::UpToDate => Ok(None),
        _ => Err(Failure::Check(
            "the keys were changed by something else meanwhile; run this again".to_owned(),
        )),
    }
}

fn rewrap(args: &Args, context: &Context<'_>, change: &Change) -> Result<SecretBytes, Failure> {
    let does_remove = change.changes.removes();
    let mut envelope = sealing::recover(context, change.metadata.clone())?;
    let (groups, threshold) = (change.settings.groups.clone(), change.settings.shamir_threshold);
    let (now, services) = (context.session.now(), context.services()?);
    pollster::block_on(envelope.rewrap(groups, threshold, &services, &now, &mut OsRng))?;
    // Whoever could read the file is to read it still.
    if does_remove && !args.lock_out && sealing::recover(context, envelope.metadata().clone()).is_err() {
        return Err(Failure::LockedOut);
    }
    sealing::with_metadata(change.format, &change.tree, envelope.metadata())
}

fn report_check(context: &Context<'_>, targets: &[Target], plans: &[Result<Plan, Failure>]) -> Exit {
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
            Ok(Plan::UpToDate) => encrypted += 1,
            Ok(Plan::Skip(_)) => {}
        }
    }
    if !pending.is_empty() {
        let names = pending.join(" ");
        context.report.note(format!(
            "{} to update: run `kubectl seal updatekeys {names}`",
            count(pending.len(), "file")
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

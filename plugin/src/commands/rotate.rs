//! `kubectl seal rotate`.

use selkie::sops::Metadata;

use crate::batch::{self, Outcome};
use crate::commands;
use crate::context::Context;
use crate::document::{self, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key_flags::{Add, KeyFlags, Remove};
use crate::rekeying::{DataKeyFate, LockOutFlag, rekey};
use crate::sealing;
use crate::settings::SettingsFlags;
use crate::spans::Span;
use crate::staleness::Staleness;
use crate::targets::{self, Target};

/// Give encrypted files new data keys, and encrypt every value anew
///
/// Do so when someone is to lose access: until then, whoever could read a file still knows its data key.
/// What they have read they have read: change the secrets themselves, too. A file that you could not read any more
/// stays as it is, unless --lock-out is given.
///
/// With --stale, only files whose data key is older than that, as `kubectl seal status --stale` finds them; the others
/// keep their keys, too. SealedSecrets have no data key, and are not concerned: see `kubectl seal reseal`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Take keys and the choice of values from the rule of .sops.yaml
    #[arg(long)]
    rule: bool,

    /// Only rotate files whose data key is older than this, such as 90d, 12w, 6mo or 1y
    #[arg(long, value_name = "SPAN")]
    stale: Option<Span>,

    #[command(flatten)]
    lock_out: LockOutFlag,

    #[command(flatten, next_help_heading = "Keys to add")]
    add: KeyFlags<Add>,

    #[command(flatten, next_help_heading = "Keys to remove")]
    remove: KeyFlags<Remove>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal rotate db.yaml                    a new data key
  kubectl seal rotate --rule .                   every file, for the keys of its rule
  kubectl seal rotate --stale 90d secrets/       where the data key is older than 90 days
  kubectl seal rotate --rm-age age1… secrets/    without a key";

/// Rotates every file.
///
/// # Errors
/// If the arguments name nothing.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    commands::refuse_stdin(&targets)?;
    if args.rule && !(args.add.is_empty() && args.remove.is_empty()) {
        return Err(Failure::Usage("--rule names the keys; leave out the others".to_owned()));
    }
    args.add.check_options()?;
    let staleness = args.stale.map(|span| Staleness::read(context, span, &args.files)).transpose()?;
    Ok(batch::run(context, &targets, |target| rotate(args, staleness.as_ref(), context, target)))
}

fn rotate(
    args: &Args,
    staleness: Option<&Staleness>,
    context: &Context<'_>,
    target: &Target,
) -> Result<Outcome, Failure> {
    let _turn = document::turn(context, target);
    let input = InputFlags::default();
    let document = input.load(context, target)?;
    if !target.is_named() && !document.looks_encrypted() {
        return Ok(Outcome::Skipped("not encrypted"));
    }
    let tree = document.tree()?;
    let metadata = sealing::metadata_of(&tree)?;
    let age = staleness.map(|staleness| staleness.age(document.source.expose_secret(), &metadata));
    if age.is_some_and(|age| age.is_none_or(|age| !age.is_stale)) {
        return Ok(Outcome::Skipped("data key not stale"));
    }
    let detail = age.flatten().map(|age| format!("the old data key was in use {age}")).unwrap_or_default();
    let metadata = args.new_metadata(context, target, metadata)?;
    let tree = (document.format, tree);
    let rekeyed = rekey(context, target.path(), tree, metadata, DataKeyFate::Renewed, args.lock_out)?;
    let path = target.path().unwrap_or(std::path::Path::new(""));
    document::replace(context, path, &document.source, &rekeyed.text)?;
    Ok(Outcome::Done("rotated", detail))
}

impl Args {
    fn new_metadata(
        &self,
        context: &Context<'_>,
        target: &Target,
        mut metadata: Metadata,
    ) -> Result<Metadata, Failure> {
        if self.rule {
            let path = InputFlags::default().path(context, target);
            let settings = SettingsFlags::default().resolve(context, path.as_deref())?;
            let wanted = settings.metadata();
            metadata.groups = wanted.groups;
            metadata.shamir_threshold = wanted.shamir_threshold;
            metadata.selector = wanted.selector;
            metadata.mac_only_encrypted = wanted.mac_only_encrypted;
            return Ok(metadata);
        }
        let removed = self.remove.group()?;
        let mut missing =
            removed.0.iter().filter(|key| !metadata.groups.iter().any(|group| group.0.contains(key)));
        if let (Some(key), true) = (missing.next(), target.is_named()) {
            return Err(Failure::Check(format!("{key} is not among the keys of the file")));
        }
        for group in &mut metadata.groups {
            group.0.retain(|key| !removed.0.contains(key));
        }
        if let Some(first) = metadata.groups.first_mut() {
            let added = self.add.group()?;
            context.named.note_keys(&added.0);
            first.0.extend(added.0);
            first.deduplicate();
            first.sort_by_kind();
        }
        Ok(metadata)
    }
}

//! `kubectl seal encrypt`.

use std::collections::BTreeSet;
use std::path::Path;

use rand::rngs::OsRng;
use selkie::format::Format;
use selkie::manifest::Manifest;
use selkie::sops::{MacCheck, SealError, Unlocked};

use crate::batch::{self, Outcome};
use crate::commands;
use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{OutputFlags, Place, Secrecy};
use crate::report::{count, escape};
use crate::sealing;
use crate::settings::SettingsFlags;
use crate::targets::{self, Target};

/// Encrypt files
///
/// One file goes to stdout; with --in-place files are replaced, each in one step. Of a folder or a glob, every
/// file is encrypted that a rule of .sops.yaml covers and that is not encrypted yet. A rule that selects data
/// or stringData is meant for Kubernetes Secrets: manifests without one are then passed over, unless they are
/// named.
///
/// If the result replaces an encrypted file (by --output), its keys and its data key are kept, and so is
/// the ciphertext of every value that did not change. A file of which nothing changed stays untouched.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    #[command(flatten)]
    output: OutputFlags,

    /// Keep keys and unchanged ciphertext of this encrypted version: a file, or one of Git, HEAD:db.yaml
    #[arg(long, value_name = "VERSION", conflicts_with = "fresh")]
    against: Option<String>,

    /// Encrypt every value anew, even if the result replaces an encrypted file
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    input: InputFlags,

    /// Write the result in this format
    #[arg(long, value_name = "FORMAT", value_parser = document::format_names())]
    output_type: Option<String>,

    #[command(flatten)]
    settings: SettingsFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal encrypt db.yaml > db.enc.yaml          to stdout
  kubectl seal encrypt -i db.yaml apps/ 'c/*.env'     in place: files, folders, globs
  kubectl seal encrypt plain.yaml -o db.yaml          only what changed since changes in db.yaml
  kubectl seal encrypt --age age1… -i db.yaml         for these keys instead of those of .sops.yaml
  pass db | kubectl seal encrypt --filename db.env    from stdin, as if it were db.env";

/// Encrypts every file.
///
/// # Errors
/// If the arguments name nothing, or do not fit each other.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    args.output.check(context, &targets)?;
    if args.against.is_some() && targets.len() > 1 {
        return Err(Failure::Usage("--against goes with one file".to_owned()));
    }
    let is_alone = targets.len() == 1;
    Ok(batch::run(context, &targets, |target| match encrypt(args, context, target) {
        Err(Failure::AlreadyEncrypted) if !(is_alone && target.is_named()) => {
            Ok(Outcome::Skipped("encrypted already"))
        }
        Err(Failure::NoRule { .. }) if !target.is_named() => Ok(Outcome::Skipped("not covered by a rule")),
        Err(Failure::Seal(SealError::NothingSelected { .. })) if !target.is_named() => {
            Ok(Outcome::Skipped("with nothing to encrypt"))
        }
        result => result,
    }))
}

fn encrypt(args: &Args, context: &Context<'_>, target: &Target) -> Result<Outcome, Failure> {
    if let Some(path) = target.path() {
        // Else a rule would be missed that nobody needs.
        let found = std::fs::metadata(context.session.absolute(path));
        found.map_err(Failure::io("read", path.display().to_string()))?;
    }
    let place = args.output.place(context, target);
    let _turn = place.turn(context);
    let path = args.input.path(context, target);
    if let Some(base) = base(args, context, path.as_deref(), &place)? {
        return encrypt_against(args, context, target, &base, &place);
    }
    let settings = args.settings.resolve(context, path.as_deref())?;
    // A rule for all files is not meant for pictures that happen to lie in a folder.
    let format = args.input.format(path.as_deref());
    if !target.is_named() && format == Format::Binary && !settings.is_for_path {
        return Ok(Outcome::Skipped("of no known format"));
    }
    let document = args.input.load(context, target)?;
    let tree = match document.tree_of(target)? {
        Ok(tree) => tree,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    document.refuse_unnamed(&tree)?;
    sealing::refuse_encrypted(&tree)?;
    if document.is_unnamed() && args.input.input_type.is_none() {
        context.report.note(format!("{target} has no name, and is encrypted as a whole; see --filename"));
    }
    let metadata = settings.metadata();
    match Manifest::of(document.format, &tree, &metadata.selector) {
        Manifest::NoSecret if !target.is_named() => return Ok(Outcome::Skipped("with no Secret in it")),
        Manifest::Secrets { others } if !others.is_empty() => warn_of_others(context, target, &others),
        _ => {}
    }
    let output = commands::output_format(context, args.output_type.as_deref(), &document, &place)?;
    let (sealed, number) = sealing::seal_anew(context, metadata, document.format, tree, output)?;
    let read = args.output.is_in_place().then_some(&document.source);
    place.write(context, &sealed, Secrecy::Encrypted, read)?;
    Ok(done(count(number, "value"), target, &place))
}

/// A rule that is meant for Secrets selects values of what else is in the file, too: says so.
fn warn_of_others(context: &Context<'_>, target: &Target, kinds: &BTreeSet<String>) {
    let kinds: Vec<_> = kinds.iter().map(|kind| escape(kind)).collect();
    context.report.warn(format!(
        "{target}: the rule also encrypts values of {}; put Secrets into files of their own",
        kinds.join(", ")
    ));
}

/// Returns the encrypted version of a file to keep what did not change of: the one that is named, or the
/// one that the result replaces.
fn base(
    args: &Args,
    context: &Context<'_>,
    source: Option<&Path>,
    place: &Place,
) -> Result<Option<Document>, Failure> {
    let format = args.input.format(source);
    if let Some(name) = &args.against {
        return args.input.load_version(context, name, format).map(Some);
    }
    let Place::File(path) = place else { return Ok(None) };
    let absolute = context.session.absolute(path);
    if args.fresh || args.output.is_in_place() || !absolute.is_file() {
        return Ok(None);
    }
    let input = InputFlags { filename: None, ..args.input.clone() };
    let document = input.load(context, &Target::file(path))?;
    let is_encrypted = document.tree().is_ok_and(|tree| document::is_encrypted(&tree));
    Ok(is_encrypted.then_some(document))
}

fn encrypt_against(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    base: &Document,
    place: &Place,
) -> Result<Outcome, Failure> {
    let document = args.input.load(context, target)?;
    if document.format != base.format {
        let (base, own) = (base.format.store().name(), document.format.store().name());
        let text = format!("the encrypted version is {base}, the file {own}; --input-type reads both as one");
        return Err(Failure::Check(text));
    }
    sealing::refuse_encrypted(&document.tree()?)?;
    let unlocked = base.unlock(context, MacCheck::Require).map_err(|source| {
        let name = match (&args.against, place) {
            (Some(name), _) => name.clone(),
            (None, Place::File(path)) => path.display().to_string(),
            (None, Place::Stdout) => String::new(),
        };
        Failure::Base { name: escape(&name), source: Box::new(source) }
    })?;
    warn_of_other_settings(args, context, target, &unlocked)?;
    let changed = unlocked.reseal_if_changed(&document.source, &context.session.now(), &mut OsRng)?;
    let Some(resealed) = changed else {
        if !replaces_base(args, context, place) {
            place.write(context, &base.source, Secrecy::Encrypted, None)?;
        }
        return Ok(match place {
            Place::File(_) if replaces_base(args, context, place) => Outcome::Unchanged,
            _ => done("nothing new".to_owned(), target, place),
        });
    };
    let read = replaces_base(args, context, place).then_some(&base.source);
    place.write(context, &resealed.text, Secrecy::Encrypted, read)?;
    let detail = format!("{} new", count(resealed.encrypted - resealed.reused, "value"));
    Ok(done(detail, target, place))
}

/// Returns whether the result goes where the encrypted version came from.
fn replaces_base(args: &Args, context: &Context<'_>, place: &Place) -> bool {
    match (place, &args.against) {
        (Place::File(_), None) => true,
        (Place::File(path), Some(base)) => {
            context.session.absolute(path) == context.session.absolute(Path::new(base))
        }
        (Place::Stdout, _) => false,
    }
}

/// The encrypted version keeps its keys and its rule: says so if others are asked for.
fn warn_of_other_settings(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    unlocked: &Unlocked,
) -> Result<(), Failure> {
    let path = args.input.path(context, target);
    // Without a rule there is nothing to compare with.
    let Some(settings) = args.settings.resolve_if_any(context, path.as_deref())? else { return Ok(()) };
    let metadata = unlocked.envelope.metadata();
    if !settings.has_keys_of(metadata) {
        context.report.warn(format!(
            "{target}: the encrypted version keeps its keys, which are not those of {}; \
             `kubectl seal updatekeys` brings them in line",
            settings.source
        ));
    }
    if !settings.selects_as(metadata) {
        context.report.warn(format!(
            "{target}: the encrypted version keeps its rule {} {:?}; `kubectl seal updatekeys --rule` brings \
             it in line",
            metadata.selector.field(),
            metadata.selector.text()
        ));
    }
    Ok(())
}

/// Says what was done, and where the result is if it is not in place of the file.
fn done(detail: String, target: &Target, place: &Place) -> Outcome {
    match place {
        Place::File(path) if Some(path.as_path()) != target.path() => {
            Outcome::Done("encrypted", format!("{detail}, into {}", path.display()))
        }
        _ => Outcome::Done("encrypted", detail),
    }
}

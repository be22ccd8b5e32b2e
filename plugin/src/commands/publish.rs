//! `kubectl seal publish`.

use std::path::{Component, Path, PathBuf};

use selkie::secret::SecretBytes;
use selkie::sops::MacCheck;
use selkie::sops::config::DestinationRule;

use crate::audit::Deed;
use crate::batch::{self, Outcome};
use crate::commands;
use crate::config_file::ConfigFile;
use crate::context::Context;
use crate::document::{Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key_changes::KeyChanges;
use crate::key_services;
use crate::publish::{
    Arrival, Content, Destinations, Form, Publication, PublishError, Style, Takes, collisions,
    destination_name, recreated,
};
use crate::report::{count, escape};
use crate::sealing;
use crate::targets::{self, Target};

/// Bring encrypted files to S3, Google Cloud Storage or Vault
///
/// Where each file goes, and for whom it is encrypted there, is said by `destination_rules` of .sops.yaml; paths are
/// matched as for `creation_rules`. S3 and Google Cloud Storage get the encrypted file; Vault gets what is in it. Shows
/// what goes where, and asks. Nothing goes anywhere unless every file could be opened and made ready. What is in a
/// folder keeps its path below the folder; files that are not encrypted, or that no rule covers, are passed over there.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Only show what would go where
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Publish encrypted files as they are without a key to them: nobody checks whether they were changed
    #[arg(long)]
    without_keys: bool,

    /// Leave out the extensions of files at the destination
    #[arg(long)]
    omit_extensions: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal publish --dry-run secrets/     what would go where, and for whom
  kubectl seal publish secrets/               the same, then ask, then do it
  kubectl seal publish --yes db.yaml          for CI";

/// What is to become of one file.
enum Plan {
    Publish(Box<Planned>),
    Skip(&'static str),
}

/// A file that is ready to be published.
struct Planned {
    publication: Publication,
    changes: Option<KeyChanges>,
    config: PathBuf,
    position: usize,
    line: usize,
}

/// Plans, asks, and publishes.
///
/// # Errors
/// If the arguments name nothing, or the user says no.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    commands::refuse_stdin(&targets)?;
    let setup = key_services::setup(context.session, &context.key_service_options()?);
    let destinations = Destinations::new(setup);
    let mut plans = batch::map(context, &targets, |target| plan(args, context, &destinations, target));
    refuse_collisions(&targets, &mut plans);
    let ready = || plans.iter().filter(|plan| matches!(plan, Ok(Plan::Publish(_)))).count();
    for (target, plan) in targets.iter().zip(&plans) {
        if let Ok(Plan::Publish(planned)) = plan {
            context.report.note_painted(planned.describe(context, target));
        }
    }
    let is_refused = plans.iter().any(Result::is_err);
    if is_refused || args.dry_run {
        let results: Vec<_> = plans.into_iter().map(|plan| plan.map(outcome_without_doing)).collect();
        let exit = batch::report(context, &targets, &results);
        if is_refused && !args.dry_run {
            context.report.note("nothing was published");
        }
        return Ok(exit);
    }
    if ready() > 0 && !args.yes && !confirm(context, ready())? {
        return Err(Failure::Refused);
    }
    let work: Vec<_> = targets.iter().zip(plans).collect();
    let results = batch::map(context, work, |(target, plan)| publish(context, target, plan?));
    Ok(batch::report(context, &targets, &results))
}

fn plan(
    args: &Args,
    context: &Context<'_>,
    destinations: &Destinations,
    target: &Target,
) -> Result<Plan, Failure> {
    let input = InputFlags::default();
    let path = input.path(context, target).unwrap_or_default();
    let config = context.config_for(Some(&path))?.ok_or(PublishError::NoConfig)?;
    let Some(rule) = config.destination_for(&config.relative(&path))? else {
        if !target.is_named() {
            return Ok(Plan::Skip("not covered by a rule"));
        }
        let (config_path, file) = (config.path.clone(), escape(&config.relative(&path)));
        return Err(PublishError::NoRule { config: config_path, file }.into());
    };
    refuse_misspelled(&config, &path)?;
    let document = input.load(context, target)?;
    if !target.is_named() && !document.looks_encrypted() {
        return Ok(Plan::Skip("not encrypted"));
    }
    let planned = make_ready(args, context, destinations, target, &document, &config, rule)?;
    Ok(Plan::Publish(Box::new(planned)))
}

fn make_ready(
    args: &Args,
    context: &Context<'_>,
    destinations: &Destinations,
    target: &Target,
    document: &Document,
    config: &ConfigFile,
    rule: &DestinationRule,
) -> Result<Planned, Failure> {
    let (position, line) = (rule.position, rule.line);
    let nowhere = || PublishError::Nowhere { config: config.path.clone(), position };
    let destination = destinations.get(&rule.target)?.ok_or_else(nowhere)?;
    let name = destination_name(&below(target), args.omit_extensions || rule.omit_extensions)?;
    let metadata = recreated(rule.recreation_rule.as_ref());
    let takes = destination.takes();
    if args.without_keys && takes == Takes::Document && metadata.is_none() {
        sealing::metadata_of(&document.tree()?)?;
        let bytes = SecretBytes::from(document.source.expose_secret());
        let content = Content { bytes, form: Form::AsItIs };
        let publication = Publication { destination, name, content }.check()?;
        return Ok(Planned { publication, changes: None, config: config.path.clone(), position, line });
    }
    let unlocked = document.unlock(context, MacCheck::Require)?;
    let (services, now) = (context.services()?, context.session.now());
    let of_rule = metadata.clone();
    if metadata.is_some() && takes == Takes::Document {
        context.record(Deed::Encrypt, target.path())?;
    }
    let content = Content::of(&unlocked.opened, takes, metadata, Style::InPlace, &services, &now)?;
    let changes = of_rule.filter(|_| content.form == Form::Recreated).map(|metadata| {
        KeyChanges::between(unlocked.opened.metadata(), &metadata.groups, metadata.shamir_threshold)
    });
    let publication = Publication { destination, name, content }.check()?;
    Ok(Planned { publication, changes, config: config.path.clone(), position, line })
}

/// Returns the path of a file below the folder that is published; of a file that was named, its name.
fn below(target: &Target) -> PathBuf {
    match target {
        Target::File { below, named: false, .. } => {
            let parts = below.components().filter(|part| matches!(part, Component::Normal(_)));
            parts.skip(1).collect()
        }
        Target::File { below, .. } => below.clone(),
        Target::Stdin => PathBuf::new(),
    }
}

fn refuse_misspelled(config: &ConfigFile, path: &Path) -> Result<(), Failure> {
    match config.config.destination_misspelling_for(&config.relative(path)) {
        None => Ok(()),
        Some(warning) => Err(Failure::Misspelled { config: config.path.clone(), warning: warning.clone() }),
    }
}

fn refuse_collisions(targets: &[Target], plans: &mut [Result<Plan, Failure>]) {
    let publications = targets.iter().zip(&*plans).filter_map(|(target, plan)| match plan {
        Ok(Plan::Publish(planned)) => Some((target.path()?.to_owned(), &planned.publication)),
        _ => None,
    });
    for (path, error) in collisions(publications) {
        if let Some(at) = targets.iter().position(|target| target.path() == Some(&path)) {
            plans[at] = Err(error.into());
        }
    }
}

fn outcome_without_doing(plan: Plan) -> Outcome {
    match plan {
        Plan::Publish(_) => Outcome::Silent,
        Plan::Skip(reason) => Outcome::Skipped(reason),
    }
}

fn publish(context: &Context<'_>, target: &Target, plan: Plan) -> Result<Outcome, Failure> {
    let planned = match plan {
        Plan::Publish(planned) => planned,
        Plan::Skip(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let to = format!("to {}", planned.publication.address());
    Ok(match planned.publication.put()? {
        Arrival::Put => Outcome::Done("published", to),
        Arrival::PutUnseen(why) => {
            context.report.warn(format!("{target}: whether it was there already could not be seen: {why}"));
            Outcome::Done("published", to)
        }
        Arrival::Unchanged => Outcome::Unchanged,
    })
}

impl Planned {
    /// Returns what goes where, and why, as people read it.
    fn describe(&self, context: &Context<'_>, target: &Target) -> String {
        let what = match self.publication.content.form {
            Form::AsItIs => "as it is",
            Form::Recreated => "encrypted with a new data key, by the recreation rule",
            Form::Values => "decrypted",
        };
        let address = escape(&self.publication.address());
        let rule = format!(
            "{what} (destination rule {} of {}, line {})",
            self.position,
            self.config.display(),
            self.line
        );
        let mut text = format!("{target} -> {address}\n  {}", escape(&rule));
        if let Some(changes) = self.changes.as_ref().filter(|changes| !changes.is_empty()) {
            text += &format!("\n{}", changes.describe(&context.report));
        }
        text
    }
}

fn confirm(context: &Context<'_>, number: usize) -> Result<bool, Failure> {
    let question = format!("Publish {}? (y/n): ", count(number, "file"));
    context.session.stderr.write(question.as_bytes()).map_err(Failure::io("write", "stderr"))?;
    let answer = context.session.stdin.read_line().map_err(Failure::io("read", "stdin"))?;
    let Some(answer) = answer else {
        return Err(Failure::Usage("nobody answers on stdin; pass --yes".to_owned()));
    };
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_folder_keeps_its_path_below_it() {
        let found =
            |below: &str| super::below(&Target::File { path: "x".into(), named: false, below: below.into() });
        assert_eq!(found("secrets/a.yaml"), Path::new("a.yaml"));
        assert_eq!(found("secrets/app/a.yaml"), Path::new("app/a.yaml"));
        assert_eq!(below(&Target::file("secrets/app/a.yaml")), Path::new("a.yaml"));
    }
}

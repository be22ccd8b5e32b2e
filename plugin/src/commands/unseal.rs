//! `kubectl seal unseal`.

use rand::rngs::OsRng;
use selkie::format::Format;
use selkie::sealed::{Collision, KeyRegistry, ObjectMeta, SealedSecret, Secret, Unseal, UnsealedFile};
use selkie::template::Surroundings;

use crate::batch::{self, Outcome};
use crate::cluster::Cluster;
use crate::commands;
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::document::InputFlags;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::identities;
use crate::output::{OutputFlags, Place, Secrecy};
use crate::sealed_files;
use crate::sealing_keys::SealingKeyFlags;
use crate::targets::{self, Target};

/// Make the Secrets that SealedSecrets stand for, in clear
///
/// Every SealedSecret of a file becomes a Secret, in all its documents and lists, with its templates rendered; the
/// rest of the file stays as it is. Values that are text stand in stringData. New files can be read by their owner
/// alone.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    #[command(flatten)]
    output: OutputFlags,

    /// Write the Secrets in this format
    #[arg(long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output_type: Option<String>,

    #[command(flatten)]
    input: InputFlags,

    /// Write all values in base64, in data
    #[arg(long)]
    base64: bool,

    /// Leave out what is no Secret
    #[arg(long)]
    only_secrets: bool,

    /// Leave out values that templates make
    #[arg(long)]
    without_templates: bool,

    /// What counts if a value and a template have the same name; until 0.36, it was the template
    #[arg(long, value_name = "WHICH", value_enum, default_value_t)]
    collision: Winner,

    /// Unseal what kubeseal sealed as a whole, before 0.7
    #[arg(long)]
    deprecated_data: bool,

    /// Take the values from the Secrets of the same names in the cluster, and decrypt nothing
    #[arg(long, conflicts_with_all = ["sealing_key", "from_cluster"])]
    from_cluster_secret: bool,

    #[command(flatten)]
    keys: SealingKeyFlags,

    #[command(flatten)]
    controller: ControllerFlags,
}

/// What counts if a value and a template have the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Winner {
    /// The sealed value
    #[default]
    Item,
    /// The rendered template
    Template,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal unseal --sealing-key backup.yaml db.yaml            to stdout, with the keys of a backup
  kubectl seal unseal --from-cluster apps/ --output-dir /run/out   every file of a folder, with the cluster's keys
  kubectl seal unseal --from-cluster-secret db.yaml                what the cluster made of it";

/// Where values come from.
enum Source {
    Cluster(Box<Cluster>),
    Keys(KeyRegistry),
}

/// Makes the Secrets of every file.
///
/// # Errors
/// If the arguments name nothing, or do not fit each other, or there are no keys.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    args.output.check(context, &targets)?;
    let source = if args.from_cluster_secret {
        Source::Cluster(Box::new(args.controller.connect(context)?))
    } else {
        Source::Keys(args.keys.load(context, &args.controller)?)
    };
    Ok(batch::run(context, &targets, |target| unseal(args, context, &source, target)))
}

fn unseal(args: &Args, context: &Context<'_>, source: &Source, target: &Target) -> Result<Outcome, Failure> {
    let place = args.output.place(context, target);
    let _turn = place.turn(context);
    let Some((document, file)) = sealed_files::load(context, &args.input, target)? else {
        return Ok(Outcome::Skipped("with no SealedSecret in it"));
    };
    let by_name = commands::named_format(&document, &place).filter(|_| args.output_type.is_none());
    let output = match by_name {
        Some(format) => format,
        None => commands::output_format(context, args.output_type.as_deref(), &document, &place)?,
    };
    let layout = UnsealedFile {
        from: document.format,
        to: if output == Format::Json { Format::Json } else { Format::Yaml },
        base64: args.base64,
        only_secrets: args.only_secrets,
    };
    let text = layout.write(&file, |sealed, line| secret(args, context, source, sealed, line))?;
    let read = args.output.is_in_place().then_some(&document.source);
    place.write(context, &text, Secrecy::Plaintext, read)?;
    if let Place::File(path) = &place {
        // A file that was there keeps its mode.
        if identities::is_exposed(&context.session.absolute(path)) {
            let path = path.display();
            context.report.warn(format!("everyone can read the Secrets in {path}: run `chmod 600 {path}`"));
        }
    }
    Ok(match place {
        // The data says it all.
        Place::Stdout => Outcome::Silent,
        Place::File(_) => Outcome::Done("unsealed", String::new()),
    })
}

/// Returns the Secret that a SealedSecret stands for, as a manifest: without an owner, which no cluster has yet.
fn secret(
    args: &Args,
    context: &Context<'_>,
    source: &Source,
    sealed: &SealedSecret,
    line: usize,
) -> Result<Secret, Failure> {
    let mut sealed = sealed.clone();
    if let Some(namespace) = args.controller.overrides.namespace.as_deref()
        && sealed.metadata.namespace().is_empty()
    {
        sealed.metadata.set_namespace(namespace);
    }
    let mut secret = match source {
        Source::Cluster(cluster) => of_cluster(cluster, &sealed, line)?,
        Source::Keys(keys) => {
            let how = Unseal {
                collision: match args.collision {
                    Winner::Item => Collision::Item,
                    Winner::Template => Collision::Template,
                },
                deprecated_data: args.deprecated_data,
                without_templates: args.without_templates,
            };
            let mut surroundings = Surroundings { now: (context.session.clock)(), rng: &mut OsRng };
            sealed.unseal(keys, how, &mut surroundings).map_err(|error| Failure::Unseal {
                line,
                name: sealed.metadata.name().to_owned(),
                error,
            })?
        }
    };
    secret.metadata.strip();
    Ok(secret)
}

/// Returns the Secret that the cluster has for a SealedSecret.
fn of_cluster(cluster: &Cluster, sealed: &SealedSecret, line: usize) -> Result<Secret, Failure> {
    let (namespace, name) = (sealed.metadata.namespace(), sealed.metadata.name());
    if namespace.is_empty() || name.is_empty() {
        let text =
            format!("line {line}: the SealedSecret has no name or no namespace; pass --namespace NAME");
        return Err(Failure::Check(text));
    }
    let found = cluster.secret(namespace, name)?;
    let mut metadata = ObjectMeta::named(namespace, name);
    for (key, value) in &found.labels {
        metadata.set_label(key, value);
    }
    for (key, value) in &found.annotations {
        metadata.set_annotation(key, value);
    }
    let immutable = sealed.template.immutable;
    Ok(Secret { metadata, type_: found.kind, immutable, data: found.data.into_iter().collect() })
}

//! `kubectl seal convert`.

use std::ops::Range;

use rand::rngs::OsRng;
use selkie::format::Format;
use selkie::scheme::{KeySource, OpenDocument, scheme_of};
use selkie::sealed::{SealedFile, Sealing, SecretFile, Unseal, UnsealedFile, objects};
use selkie::secret::SecretBytes;
use selkie::sops::{LeafState, MacCheck, Metadata, Places, leaves};
use selkie::template::Surroundings;
use selkie::tree::{NodeId, Tree, Value};

use crate::batch::{self, Outcome};
use crate::context::Context;
use crate::document::{Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{OutputFlags, Secrecy};
use crate::sealer::{Sealer, SealerFlags};
use crate::settings::SettingsFlags;
use crate::targets::{self, Target};
use crate::{commands, dotted, sealing};

/// Turn Secrets that SOPS encrypts into SealedSecrets, and the other way round
///
/// Which way a file goes is told by what it is. A SealedSecret becomes a Secret that SOPS encrypts as .sops.yaml
/// says, or as flags do; a Secret that SOPS encrypts becomes a SealedSecret. What else is in the file stays as it
/// is. Nothing that was encrypted is in clear afterwards: a file where something would be is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    /// Go this way only, and pass over what is of this scheme already
    #[arg(long, value_name = "SCHEME", value_enum)]
    to: Option<Goal>,

    /// Put what templates say now in their place: SOPS knows no templates
    #[arg(long)]
    render_templates: bool,

    #[command(flatten)]
    output: OutputFlags,

    #[command(flatten)]
    input: InputFlags,

    #[command(flatten)]
    settings: SettingsFlags,

    #[command(flatten)]
    sealer: SealerFlags,
}

/// What a file becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Goal {
    /// SealedSecrets
    SealedSecrets,
    /// Secrets that SOPS encrypts
    Sops,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal convert -i --cert cert.pem db.yaml               a Secret that SOPS encrypts into a SealedSecret
  kubectl seal convert -i --sealing-key backup.yaml db.yaml     a SealedSecret into a Secret that SOPS encrypts
  kubectl seal convert -i --to sops --from-cluster apps/        all SealedSecrets of a folder";

/// Converts every file.
///
/// # Errors
/// If the arguments name nothing, or do not fit each other.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    args.output.check(context, &targets)?;
    let sealer = std::sync::OnceLock::new();
    // The certificate may come from a cluster that a conversion to SOPS does not need.
    let with_sealer = |work: &dyn Fn(&Sealer) -> Result<SecretBytes, Failure>| match sealer.get() {
        Some(sealer) => work(sealer),
        None => {
            let loaded = args.sealer.load(context)?;
            work(sealer.get_or_init(|| loaded))
        }
    };
    let exit = batch::run(context, &targets, |target| {
        let place = args.output.place(context, target);
        let _turn = place.turn(context);
        let document = args.input.load(context, target)?;
        if !target.is_named() && !document.may_hold_secrets() {
            return Ok(Outcome::Skipped("not encrypted"));
        }
        let Ok(tree) = document.tree_of(target)? else { return Ok(Outcome::Skipped("not encrypted")) };
        let goal = match scheme_of(&tree).map(|scheme| scheme.key_source()) {
            Some(KeySource::KeyServices) => Goal::SealedSecrets,
            Some(KeySource::SealingKeys) => Goal::Sops,
            None if target.is_named() => return Err(Failure::Metadata(selkie::sops::MetadataError::Missing)),
            None => return Ok(Outcome::Skipped("not encrypted")),
        };
        if args.to.is_some_and(|wanted| wanted != goal) {
            return Ok(Outcome::Skipped("of that scheme already"));
        }
        let (text, verb) = match goal {
            Goal::SealedSecrets => {
                let plain = in_clear(context, &document, tree)?;
                (with_sealer(&|sealer| to_sealed(&plain, sealer))?, "sealed")
            }
            Goal::Sops => (to_sops(args, context, target, &document, tree)?, "encrypted by SOPS"),
        };
        let read = args.output.is_in_place().then_some(&document.source);
        let is_file = matches!(place, crate::output::Place::File(_));
        place.write(context, &text, Secrecy::Encrypted, read)?;
        Ok(if is_file { Outcome::Done(verb, String::new()) } else { Outcome::Silent })
    });
    if let Some(sealer) = sealer.into_inner() {
        sealer.keep(context);
    }
    Ok(exit)
}

/// Returns the Secrets of a file that SOPS encrypts, if all that it encrypts is values of theirs.
fn in_clear(context: &Context<'_>, document: &Document, tree: Tree) -> Result<SecretFile, Failure> {
    let unlocked = sealing::unlock(context, document.format, tree, MacCheck::Require)?;
    let plain = unlocked.tree();
    let values = value_ranges(plain);
    let mut places = Places::new(plain);
    for node in unlocked.decrypted() {
        let (_, path) = places.advance(node);
        if !values.iter().any(|range| range.contains(&node.index())) {
            let line = plain.line(plain.node(node).key_start);
            return Err(Failure::Check(format!(
                "line {line}: {} is encrypted, is no value of a Secret, and would be in clear: take it out of the file \
                 first",
                dotted::show(&path)
            )));
        }
    }
    let file = SecretFile::new(document.format, document.format.read(unlocked.plaintext()?)?)?;
    if file.secrets().is_empty() { Err(Failure::NoSecret) } else { Ok(file) }
}

fn to_sealed(file: &SecretFile, sealer: &Sealer) -> Result<SecretBytes, Failure> {
    let sealing = Sealing::default();
    let prepare = |object| commands::seal::prepare(&sealing, object);
    let objects = file.secrets().iter().map(prepare).collect::<Result<_, Failure>>()?;
    let (sealed, _) = sealer.seal(objects, &[])?;
    let text = file.replace(&sealed)?;
    if let Some(remains) = file.remains(text.expose_secret()).first() {
        return Err(Failure::Check(format!(
            "line {}: the value of {} of the Secret {} stands there in clear as well",
            remains.line, remains.key, remains.name
        )));
    }
    Ok(text)
}

fn to_sops(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    document: &Document,
    tree: Tree,
) -> Result<SecretBytes, Failure> {
    let file = SealedFile::new(document.format, tree)?;
    let templated = file.objects().iter().find(|object| !object.sealed.template.data.is_empty());
    if let Some(object) = templated.filter(|_| !args.render_templates) {
        return Err(Failure::Check(format!(
            "line {}: {} has templates, and SOPS knows none: pass --render-templates to put what they say now in \
             their place",
            object.line,
            object.sealed.metadata.name()
        )));
    }
    let keys = args.sealer.keys.load(context, &args.sealer.controller)?;
    let layout =
        UnsealedFile { from: document.format, to: document.format, base64: false, only_secrets: false };
    let plain = layout.write(&file, |sealed, line| {
        let mut surroundings = Surroundings { now: (context.session.clock)(), rng: &mut OsRng };
        let secret = sealed.unseal(&keys, Unseal::default(), &mut surroundings);
        let mut secret = secret.map_err(|error| {
            let name = sealed.metadata.name().to_owned();
            Failure::Unseal { line, name, error }
        })?;
        secret.metadata.strip();
        Ok::<_, Failure>(secret)
    })?;
    let path = args.input.path(context, target);
    let metadata = args.settings.resolve(context, path.as_deref())?.metadata();
    let tree = document.format.read(plain)?;
    refuse_clear(document.format, &tree, &metadata)?;
    Ok(sealing::seal_anew(context, metadata, document.format, tree, document.format)?.0)
}

/// Makes sure that a rule leaves no value of a Secret in clear.
fn refuse_clear(format: Format, tree: &Tree, metadata: &Metadata) -> Result<(), Failure> {
    let values = value_ranges(tree);
    let mut places = Places::new(tree);
    for leaf in leaves(format, tree, &metadata.selector) {
        let is_value = values.iter().any(|range| range.contains(&leaf.id.index()));
        let is_comment = matches!(tree.node(leaf.id).value, Value::Comment(_));
        if is_value && !is_comment && !leaf.selected && leaf.state != LeafState::Empty {
            return Err(Failure::InClear {
                path: places.advance(leaf.id).1,
                field: metadata.selector.field(),
                text: metadata.selector.text().to_owned(),
            });
        }
    }
    Ok(())
}

/// Returns where in a tree the values of Secrets are.
fn value_ranges(tree: &Tree) -> Vec<Range<usize>> {
    let is_secret = |&object: &NodeId| {
        let kind = tree.items(object).find(|&item| tree.key(item) == Some(b"kind"));
        kind.is_some_and(
            |kind| matches!(tree.node(kind).value, Value::Str(text) if tree.bytes(text) == b"Secret"),
        )
    };
    let secrets = objects(tree).into_iter().filter(is_secret);
    let values = secrets.flat_map(|secret| {
        let is_data = |item: &NodeId| matches!(tree.key(*item), Some(b"data" | b"stringData"));
        tree.items(secret).filter(is_data).collect::<Vec<_>>()
    });
    values.map(|values| values.index()..tree.node(values).end as usize).collect()
}

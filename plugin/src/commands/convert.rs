//! `kubectl seal convert`.

use std::sync::{Mutex, OnceLock, PoisonError};

use rand::rngs::OsRng;
use selkie::format::Format;
use selkie::scheme::{KeySource, OpenDocument, scheme_of};
use selkie::sealed::{
    KeyRegistry, SealedFile, Sealing, SecretFile, Unseal, UnsealedFile, replaced_nodes, secret_values,
};
use selkie::secret::SecretBytes;
use selkie::sops::{LeafState, MacCheck, Metadata, Places, leaves};
use selkie::template::Surroundings;
use selkie::tree::{Tree, Value};

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
    // Either may come from a cluster that the other way does not need.
    let sealer = Loaded::default();
    let keys = Loaded::default();
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
                let text = to_sealed(&plain, sealer.get(|| args.sealer.load(context))?)?;
                commands::seal::tell_of_comments(context, target, &plain);
                (text, "sealed")
            }
            Goal::Sops => (to_sops(args, context, target, &document, tree, &keys)?, "encrypted by SOPS"),
        };
        let read = args.output.is_in_place().then_some(&document.source);
        let is_file = matches!(place, crate::output::Place::File(_));
        place.write(context, &text, Secrecy::Encrypted, read)?;
        Ok(if is_file { Outcome::Done(verb, String::new()) } else { Outcome::Silent })
    });
    if let Some(sealer) = sealer.value.into_inner() {
        Sealer::keep(&sealer, context);
    }
    Ok(exit)
}

/// What is loaded once, however many files wait for it at a time.
struct Loaded<T> {
    value: OnceLock<T>,
    turn: Mutex<()>,
}

impl<T> Loaded<T> {
    fn get(&self, load: impl FnOnce() -> Result<T, Failure>) -> Result<&T, Failure> {
        // There is nothing behind the lock that a panic could have left half done.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.value.get() {
            Some(value) => Ok(value),
            None => {
                let loaded = load()?;
                Ok(self.value.get_or_init(|| loaded))
            }
        }
    }
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { value: OnceLock::new(), turn: Mutex::new(()) }
    }
}

/// Returns the Secrets of a file that SOPS encrypts, if all that it encrypts goes with them: values, and comments
/// inside of them.
fn in_clear(context: &Context<'_>, document: &Document, tree: Tree) -> Result<SecretFile, Failure> {
    let unlocked =
        sealing::unlock(context, document.path.as_deref(), document.format, tree, MacCheck::Require)?;
    let plain = unlocked.tree();
    let replaced = replaced_nodes(document.format, plain);
    let mut places = Places::new(plain);
    for node in unlocked.decrypted() {
        let (_, path) = places.advance(node);
        if !replaced.contains(&node) {
            let line = plain.line(plain.node(node).key_start);
            let what = match plain.node(node).value {
                Value::Comment(_) => "a comment".to_owned(),
                _ => dotted::show(&path),
            };
            return Err(Failure::Check(format!(
                "line {line}: {what} is encrypted, is no value of a Secret, and would be in clear: take it out of the \
                 file first"
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
    keys: &Loaded<KeyRegistry>,
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
    let keys = keys.get(|| args.sealer.keys.load(context, &args.sealer.controller))?;
    let layout =
        UnsealedFile { from: document.format, to: document.format, base64: false, only_secrets: false };
    let plain = layout.write(&file, |sealed, line| {
        let mut surroundings = Surroundings { now: (context.session.clock)(), rng: &mut OsRng };
        let secret = sealed.unseal(keys, Unseal::default(), &mut surroundings);
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
    Ok(sealing::seal_anew(context, path.as_deref(), metadata, (document.format, tree), document.format)?.0)
}

/// Makes sure that a rule leaves no value of a Secret in clear.
fn refuse_clear(format: Format, tree: &Tree, metadata: &Metadata) -> Result<(), Failure> {
    let values = secret_values(tree);
    let mut places = Places::new(tree);
    for leaf in leaves(format, tree, &metadata.selector) {
        let is_value = values.contains(&leaf.id);
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

//! `kubectl seal merge`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use selkie::format::Format;
use selkie::sealed::{
    SealedFile, SealedFileError, SealedObject, SealedSecret, SealingScope, Secret, SecretFile,
    SecretFileError, objects,
};
use selkie::secret::SecretBytes;
use selkie::tree::{NodeId, Step, TreePath};
use serde_json::Value as Json;

use crate::batch::{self, Outcome};
use crate::change;
use crate::commands::seal;
use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{count, escape};
use crate::sealer::{Sealer, SealerFlags, Unsealed};
use crate::secret_values::ValueFlags;
use crate::targets::Target;

/// Put values into a SealedSecret of a file
///
/// They come from a Secret, a file or stdin, or from flags as for `kubectl create secret`. Name, namespace and scope
/// are those of the SealedSecret. Nothing but what is new or changes is touched in the file: other values, comments
/// and documents stay byte for byte. A value that is known to be there already keeps its ciphertext.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file with the SealedSecret
    #[arg(value_name = "FILE")]
    file: String,

    /// The file with the Secret; - or nothing for stdin, unless flags give values
    #[arg(value_name = "SECRET")]
    secret: Option<String>,

    /// Take the SealedSecret with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Take the SealedSecret of this document: 1 is the first
    #[arg(long, value_name = "N")]
    document: Option<NonZeroUsize>,

    /// Take a value out; may be repeated
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,

    /// Put a template into the Secret; may be repeated
    #[arg(long, value_name = "KEY=TEXT")]
    template: Vec<String>,

    /// Put a template of a file into the Secret; may be repeated
    #[arg(long, value_name = "KEY=PATH")]
    template_file: Vec<String>,

    #[command(flatten)]
    values: ValueFlags,

    #[command(flatten)]
    sealer: SealerFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal merge db.yaml secret.yaml                the values of a Secret
  kubectl seal merge db.yaml --from-prompt password     what you type
  kubectl seal merge all.yaml --name db --from-file tls.key
  kubectl seal merge db.yaml --remove old --from-literal user=shop
  kubectl create secret generic x --from-literal a=b --dry-run=client -o yaml | kubectl seal merge db.yaml";

/// Merges into the file.
///
/// # Errors
/// If the arguments do not fit each other, or there is no certificate.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    if args.file == "-" {
        return Err(Failure::Usage("stdin cannot be changed in place; name a file".to_owned()));
    }
    let targets = [Target::file(&args.file)];
    Ok(batch::run(context, &targets, |target| merge(args, context, target)))
}

fn merge(args: &Args, context: &Context<'_>, target: &Target) -> Result<Outcome, Failure> {
    let _turn = document::turn(context, target);
    let input = InputFlags::default();
    let document = match seal::load(&input, context, target)? {
        Ok(document) => document,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let file = SealedFile::new(document.format, document.tree()?)?;
    if file.objects().is_empty() {
        return Err(SealedFileError::Missing.into());
    }
    let mut merging = Merging::new(&document)?;
    let mut sealer = None;
    for (update, object) in args.pairs(context, &file)? {
        let placed = args.placed(object)?;
        check(context, target, &placed, &update)?;
        let update = Update {
            secret: update,
            templates: seal::templates(context, &args.template, &args.template_file)?,
        };
        if !update.secret.data.is_empty() && sealer.is_none() {
            sealer = Some(args.sealer.load(context)?);
        }
        merging.merge(&file, object, placed, &update, &args.remove, sealer.as_ref())?;
    }
    merging.write_all()?;
    if let Some(sealer) = &sealer {
        sealer.keep(context);
    }
    if merging.text.expose_secret() == document.source.expose_secret() {
        return Ok(Outcome::Unchanged);
    }
    merging.check()?;
    document::replace(context, target.path().unwrap_or(Path::new("")), &document.source, &merging.text)?;
    Ok(Outcome::Done("merged", merging.detail()))
}

/// What to put into a SealedSecret.
struct Update {
    secret: Secret,
    templates: BTreeMap<String, String>,
}

impl Args {
    /// Returns what to put into which objects.
    fn pairs<'f>(
        &self,
        context: &Context<'_>,
        file: &'f SealedFile,
    ) -> Result<Vec<(Secret, &'f SealedObject)>, Failure> {
        let has_flags = self.values.is_given() || self.values.describes();
        let says_nothing =
            self.remove.is_empty() && self.template.is_empty() && self.template_file.is_empty();
        if has_flags && self.secret.is_some() {
            return Err(Failure::Usage("values come from a Secret, or from flags".to_owned()));
        }
        if has_flags || (self.secret.is_none() && !says_nothing) {
            return Ok(vec![(self.values.secret(context, "", "")?, self.object(file, None)?)]);
        }
        let target = match self.secret.as_deref() {
            Some(path) if path != "-" => Target::file(path),
            None if context.session.stdin.is_terminal() => {
                return Err(Failure::Usage("neither a Secret nor a value is given".to_owned()));
            }
            _ => Target::Stdin,
        };
        let document = match seal::load(&InputFlags::default(), context, &target)? {
            Ok(document) => document,
            Err(reason) => return Err(in_other(&target, Failure::Check(reason.to_owned()))),
        };
        let tree = document.tree().map_err(|error| in_other(&target, error))?;
        let source = SecretFile::new(document.format, tree);
        let secrets = source.map_err(|error| in_other(&target, error.into()))?.into_secrets();
        let is_one = secrets.len() == 1;
        if secrets.is_empty() {
            return Err(in_other(&target, Failure::NoSecret));
        }
        let pair = |secret: Secret| {
            let name = (!is_one).then(|| secret.metadata.name().to_owned());
            let object = self.object(file, name.as_deref())?;
            Ok((secret, object))
        };
        secrets.into_iter().map(pair).collect()
    }

    /// Returns the object that is meant.
    fn object<'f>(&self, file: &'f SealedFile, name: Option<&str>) -> Result<&'f SealedObject, Failure> {
        let namespace = self.sealer.controller.overrides.namespace.as_deref();
        let name = self.name.as_deref().or(name);
        let is_wanted = |object: &&SealedObject| {
            name.is_none_or(|name| object.sealed.metadata.name() == name)
                && self
                    .document
                    .is_none_or(|number| file.tree().document_of(object.node()) + 1 == number.get())
        };
        let mut wanted: Vec<_> = file.objects().iter().filter(is_wanted).collect();
        // One that names no namespace is meant for any.
        for namespace in namespace.into_iter().flat_map(|namespace| [namespace, ""]) {
            let is_there = |object: &&SealedObject| object.sealed.metadata.namespace() == namespace;
            if wanted.iter().any(is_there) {
                wanted.retain(is_there);
                break;
            }
        }
        match wanted[..] {
            [object] => Ok(object),
            [] => Err(Failure::Check("no SealedSecret of the file is the one that is named".to_owned())),
            _ => Err(Failure::Check(
                "several SealedSecrets of the file could be meant: say which one with --name, --namespace or \
                 --document"
                    .to_owned(),
            )),
        }
    }
}

impl Args {
    /// Returns an object in the namespace that its values are sealed for: that of the flag, if it names none.
    fn placed(&self, object: &SealedObject) -> Result<SealedSecret, Failure> {
        let mut sealed = object.sealed.clone();
        let Some(wanted) = &self.sealer.controller.overrides.namespace else { return Ok(sealed) };
        match sealed.metadata.namespace() {
            "" => sealed.metadata.set_namespace(wanted),
            found if found != wanted => {
                return Err(Failure::Check(format!(
                    "the SealedSecret is in the namespace {found:?}, and not in {wanted:?}"
                )));
            }
            _ => {}
        }
        Ok(sealed)
    }
}

/// Says in which file a Secret cannot be read.
fn in_other(target: &Target, error: Failure) -> Failure {
    Failure::Base { name: target.to_string(), source: Box::new(error) }
}

/// Makes sure that an update is meant for an object.
fn check(
    context: &Context<'_>,
    target: &Target,
    sealed: &SealedSecret,
    update: &Secret,
) -> Result<(), Failure> {
    if sealed.deprecated_data.is_some() {
        let text = "the SealedSecret has the deprecated field data, beside which there can be no values";
        return Err(Failure::Check(text.to_owned()));
    }
    let (found, wanted) = (update.metadata.namespace(), sealed.metadata.namespace());
    let is_bound = sealed.scope() != SealingScope::ClusterWide;
    if is_bound && wanted.is_empty() && !update.data.is_empty() {
        let text = "the SealedSecret names no namespace to seal for: pass --namespace";
        return Err(Failure::Check(text.to_owned()));
    }
    if is_bound && !found.is_empty() && found != wanted {
        return Err(Failure::Check(format!(
            "the Secret is in the namespace {found:?}, and the SealedSecret in {wanted:?}"
        )));
    }
    let type_of = |type_: &Option<String>| type_.clone().filter(|type_| !type_.is_empty());
    let (old, new) = (type_of(&sealed.template.type_), type_of(&update.type_));
    let old = old.unwrap_or_else(|| OPAQUE.to_owned());
    if let Some(new) = new.filter(|new| *new != old) {
        let (old, new) = (escape(&old), escape(&new));
        context.report.warn(format!("{target}: the type stays {old}, though the Secret is of type {new}"));
    }
    Ok(())
}

/// What becomes of the object at a position of a file.
struct Updated {
    position: usize,
    old: SealedSecret,
    new: SealedSecret,
}

impl Updated {
    /// Returns the object as it was, with the new values of the keys that it had.
    fn with_items(&self) -> SealedSecret {
        let mut sealed = self.old.clone();
        for (key, item) in &mut sealed.encrypted_data {
            if let Some(new) = self.new.encrypted_data.get(key) {
                item.clone_from(new);
            }
        }
        sealed
    }
}

/// A file into which values are merged.
struct Merging {
    format: Format,
    text: SecretBytes,
    updates: Vec<Updated>,
    changed: usize,
    kept: usize,
    removed: usize,
}

impl Merging {
    fn new(document: &Document) -> Result<Self, Failure> {
        let text = SecretBytes::from(document.source.expose_secret());
        Ok(Self { format: document.format, text, updates: Vec::new(), changed: 0, kept: 0, removed: 0 })
    }

    fn merge(
        &mut self,
        file: &SealedFile,
        object: &SealedObject,
        placed: SealedSecret,
        update: &Update,
        remove: &[String],
        sealer: Option<&Sealer>,
    ) -> Result<(), Failure> {
        let node = object.node();
        let position = objects(file.tree()).iter().position(|&found| found == node).unwrap_or_default();
        let mut new = object.sealed.clone();
        for key in remove {
            if new.encrypted_data.remove(key).is_none() && new.template.data.remove(key).is_none() {
                return Err(Failure::Check(format!("there is no {} to remove", escape(key))));
            }
            self.removed += 1;
        }
        let mut addition = SealedSecret { encrypted_data: BTreeMap::new(), ..placed.clone() };
        if let Some(sealer) = sealer {
            let unsealed = Unsealed { sealed: addition, values: &update.secret.data };
            let (mut sealed, kept) = sealer.seal(vec![unsealed], &[placed])?;
            addition = sealed.pop().unwrap_or_default();
            self.kept += kept;
            self.changed += addition.encrypted_data.len() - kept;
        }
        let mut metadata = update.secret.metadata.clone();
        metadata.strip();
        // The scope is that of the file.
        for scope in SealingScope::ALL.iter().filter_map(|scope| scope.annotation()) {
            metadata.remove_annotation(scope);
        }
        addition.template.metadata = metadata;
        addition.template.data =
            update.templates.iter().map(|(key, text)| (key.clone(), Some(text.clone()))).collect();
        new.merge(addition);
        if let Some(immutable) = update.secret.immutable {
            new.template.immutable = Some(immutable);
        }
        self.updates.push(Updated { position, old: object.sealed.clone(), new });
        Ok(())
    }

    /// Writes all updates: values that have a place already at once, and what is new or goes one by one.
    fn write_all(&mut self) -> Result<(), Failure> {
        let mut updates = std::mem::take(&mut self.updates);
        if let Some(text) = self.with_items(&updates)? {
            self.text = text;
            updates.iter_mut().for_each(|update| update.old = update.with_items());
        }
        for Updated { position, old, new } in &updates {
            self.write(*position, old, new)?;
        }
        self.updates = updates;
        Ok(())
    }

    /// Returns the text with the new values in place of those that are there; nothing if these cannot be replaced at
    /// once, as where one stands in several places.
    fn with_items(&self, updates: &[Updated]) -> Result<Option<SecretBytes>, Failure> {
        let read = |text: &SecretBytes| self.format.read(SecretBytes::from(text.expose_secret()));
        let file = SealedFile::new(self.format, read(&self.text)?)?;
        let nodes = objects(file.tree());
        let update_of = |object: &SealedObject| {
            updates.iter().find(|update| nodes.get(update.position) == Some(&object.node()))
        };
        let items = file.objects().iter();
        let items: Vec<_> = items
            .map(|object| update_of(object).map_or_else(|| object.sealed.clone(), Updated::with_items))
            .collect();
        let Ok(text) = file.replace_items(&items) else { return Ok(None) };
        let Ok(file) =
            read(&text).map_err(Failure::from).and_then(|tree| Ok(SealedFile::new(self.format, tree)?))
        else {
            return Ok(None);
        };
        let is_faithful = file.objects().iter().map(|object| &object.sealed).eq(&items);
        Ok(is_faithful.then_some(text))
    }

    /// Writes what differs between two states of an object.
    fn write(&mut self, position: usize, old: &SealedSecret, new: &SealedSecret) -> Result<(), Failure> {
        let (old, new) = (old.to_json(), new.to_json());
        for path in MAPS {
            let entries = |object: &Json| match path.iter().try_fold(object, |json, step| json.get(step)) {
                Some(Json::Object(entries)) => entries.clone(),
                _ => serde_json::Map::new(),
            };
            let (old, new) = (entries(&old), entries(&new));
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                self.edit(position, path, key, None)?;
            }
            for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(*value)) {
                self.edit(position, path, key, Some(value))?;
            }
        }
        let immutable = |object: &Json| object["spec"]["template"]["immutable"].clone();
        if immutable(&old) != immutable(&new) {
            self.edit(position, &["spec", "template"], "immutable", Some(&immutable(&new)))?;
        }
        Ok(())
    }

    fn edit(
        &mut self,
        position: usize,
        path: &[&str],
        key: &str,
        value: Option<&Json>,
    ) -> Result<(), Failure> {
        let tree = self.format.read(SecretBytes::from(self.text.expose_secret()))?;
        let root: NodeId = *objects(&tree).get(position).ok_or(SealedFileError::Missing)?;
        let steps = path.iter().copied().chain([key]).map(|step| Step::Key(step.to_owned()));
        let path: TreePath = steps.collect();
        self.text = match value {
            Some(value) => change::set(self.format, &tree, root, &path, value)?,
            None => change::unset(self.format, &tree, root, &path)?,
        };
        Ok(())
    }

    /// Reads the result back.
    fn check(&self) -> Result<(), Failure> {
        let tree = self.format.read(SecretBytes::from(self.text.expose_secret()))?;
        let found = objects(&tree);
        for Updated { position, new, .. } in &self.updates {
            let read = found.get(*position).map(|&node| SealedSecret::from_json(&tree.to_json(node)));
            if !matches!(&read, Some(Ok(read)) if read.to_json() == new.to_json()) {
                return Err(SecretFileError::Unfaithful.into());
            }
        }
        Ok(())
    }

    fn detail(&self) -> String {
        let mut parts = Vec::new();
        if self.changed > 0 {
            parts.push(count(self.changed, "value"));
        }
        if self.kept > 0 {
            parts.push(format!("{} kept", self.kept));
        }
        if self.removed > 0 {
            parts.push(format!("{} removed", self.removed));
        }
        parts.join(", ")
    }
}

/// The maps of a SealedSecret whose entries are merged.
const MAPS: [&[&str]; 4] = [
    &["spec", "encryptedData"],
    &["spec", "template", "data"],
    &["spec", "template", "metadata", "labels"],
    &["spec", "template", "metadata", "annotations"],
];

/// The type of a Secret that says none.
const OPAQUE: &str = "Opaque";

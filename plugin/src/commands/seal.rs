//! `kubectl seal seal`.

mod literal;
mod losses;

use std::collections::BTreeMap;
use std::path::Path;

use selkie::format::Format;
use selkie::manifest::{ObjectKind, arrange, print_json, print_yaml};
use selkie::scheme::Scheme;
use selkie::sealed::{
    SealedFileError, SealedSecret, SealedSecrets, Sealing, SealingScope, SecretFile, SecretFileError,
    SecretObject, objects,
};
use selkie::secret::SecretBytes;

use crate::batch::{self, Outcome};
use crate::cluster;
use crate::commands;
use crate::context::Context;
use crate::document::{self, Document, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{OutputFlags, Place, Secrecy};
use crate::report::{count, escape};
use crate::sealer::{Sealer, SealerFlags, Unsealed};
use crate::secret_values::ValueFlags;
use crate::targets::{self, Target};

/// Seal Secrets, so that the controller of one cluster alone can open them
///
/// Every Secret of a file becomes a SealedSecret where it stands, be it one of several documents or in a List;
/// whatever else is in the file stays byte for byte. Files without a Secret that are found in folders are passed
/// over. This is what `kubectl seal FILE` and `kubectl seal < FILE` do, too.
///
/// Values for a new Secret can also be given by flags, as for `kubectl create secret`.
///
/// Where the result replaces a file with the same SealedSecret, values that are known not to have changed keep
/// their ciphertext: by a private key that is at hand, or by digests of what was sealed on this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(id = "secrets", value_name = "FILE")]
    files: Vec<String>,

    #[command(flatten)]
    output: OutputFlags,

    /// The name of the SealedSecret, in place of that of the Secret
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// To what values are bound, in place of what the annotations of the Secret ask for
    #[arg(long, value_name = "SCOPE", value_parser = ["strict", "namespace-wide", "cluster-wide"])]
    scope: Option<String>,

    /// Print the SealedSecrets alone, without what else is in the file
    #[arg(long, conflicts_with = "in_place")]
    only_sealed: bool,

    /// Seal a single value, from stdin or a flag, and print it without a line's end
    #[arg(long, conflicts_with_all = ["secrets", "in_place", "only_sealed"])]
    raw: bool,

    /// Write the result as this
    #[arg(long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output_type: Option<String>,

    /// Put a template into the Secret, which the controller fills in with its values; may be repeated
    #[arg(long, value_name = "KEY=TEXT")]
    template: Vec<String>,

    /// Put a template of a file into the Secret; may be repeated
    #[arg(long, value_name = "KEY=PATH")]
    template_file: Vec<String>,

    /// Give the SealedSecret the labels of the Secret, too
    #[arg(long)]
    copy_labels: bool,

    /// Give the SealedSecret the annotations of the Secret, too
    #[arg(long)]
    copy_annotations: bool,

    /// Seal Secrets without values, too
    #[arg(long)]
    allow_empty_data: bool,

    #[command(flatten)]
    input: InputFlags,

    #[command(flatten)]
    values: ValueFlags,

    #[command(flatten)]
    sealer: SealerFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal secret.yaml > sealed.yaml                  for the cluster of the current context
  kubectl seal seal -i --cert cert.pem apps/ all.yaml     in place, without a cluster
  kubectl seal seal secret.yaml -o sealed.yaml            what did not change keeps its ciphertext
  kubectl create secret generic db --from-literal a=b --dry-run=client -o yaml | kubectl seal
  kubectl seal seal --name db -n shop --from-prompt password --from-file tls.key -o db.yaml
  kubectl seal seal --name db --from-env-file db.env --scope namespace-wide
  pass db | kubectl seal seal --raw --name db -n shop --trim
  kubectl seal seal secret.yaml --template 'url=pg://{{ .user }}:{{ .password }}@db'";

/// Seals every file, or what flags say.
///
/// # Errors
/// If the arguments name nothing, or do not fit each other, or there is no certificate.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    if args.raw {
        return literal::raw(args, context);
    }
    if args.values.is_given() || args.values.describes() {
        return literal::run(args, context);
    }
    let targets = targets::expand(&args.files, context.session)?;
    args.output.check(context, &targets)?;
    let sealing = args.sealing(context)?;
    let sealer = args.sealer.load(context)?;
    let exit = batch::run(context, &targets, |target| seal(args, context, target, &sealing, &sealer));
    sealer.keep(context);
    Ok(exit)
}

fn seal(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    sealing: &Sealing,
    sealer: &Sealer,
) -> Result<Outcome, Failure> {
    let place = args.output.place(context, target);
    let _turn = place.turn(context);
    let document = match load(&args.input, context, target)? {
        Ok(document) => document,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let tree = match document.tree_of(target)? {
        Ok(tree) => tree,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let file = match SecretFile::new(document.format, tree) {
        Err(SecretFileError::Encrypted) if !target.is_named() => {
            return Ok(Outcome::Skipped("encrypted by SOPS"));
        }
        file => file?,
    };
    if file.secrets().is_empty() {
        return if target.is_named() {
            Err(Failure::NoSecret)
        } else {
            Ok(Outcome::Skipped("with no Secret in it"))
        };
    }
    let secrets = file.secrets().len();
    if args.name.is_some() && secrets > 1 {
        return Err(Failure::Usage(format!("--name names a single Secret, and there are {secrets}")));
    }
    let replaced = replaced(args, context, &document, &place)?;
    let mut known = sealed_secrets(document.format, &document.source);
    if let Some(replaced) = &replaced {
        known.extend(sealed_secrets(replaced.format, &replaced.source));
    }
    let prepare = |object| prepare(sealing, object);
    let objects = file.secrets().iter().map(prepare).collect::<Result<Vec<_>, Failure>>()?;
    tell_of_namespace(context, target, &file, &objects);
    let (sealed, kept) = sealer.seal(objects, &known)?;
    let text = args.result(&file, &sealed, commands::named_format(&document, &place))?;
    tell_of_remains(context, target, &file, &text);
    tell_of_comments(context, target, &file);
    let read = if args.output.is_in_place() {
        Some(&document.source)
    } else {
        replaced.as_ref().map(|old| &old.source)
    };
    if read.is_some_and(|read| read.expose_secret() == text.expose_secret()) {
        return Ok(Outcome::Unchanged);
    }
    place.write(context, &text, Secrecy::Encrypted, read)?;
    if let (Place::File(path), Some(old)) = (&place, &replaced) {
        losses::tell(context, path, (old.format, &old.source), document.format, &text);
    }
    Ok(match place {
        Place::Stdout => Outcome::Silent,
        Place::File(_) => Outcome::Done("sealed", detail(sealed.len(), kept)),
    })
}

/// Returns a SealedSecret that wants the values of a Secret.
pub(super) fn prepare<'a>(sealing: &Sealing, object: &'a SecretObject) -> Result<Unsealed<'a>, Failure> {
    let sealed = sealing.prepare(&object.secret).map_err(|source| SealedFileError::Seal {
        line: object.line,
        name: object.secret.metadata.name().to_owned(),
        source,
    })?;
    Ok(Unsealed { sealed, values: &object.secret.data })
}

/// Reads a target whose name need not tell its format, or returns why it is none of our concern.
pub(super) fn load(
    input: &InputFlags,
    context: &Context<'_>,
    target: &Target,
) -> Result<Result<Document, &'static str>, Failure> {
    let format = input.format(input.path(context, target).as_deref());
    if !target.is_named() && !matches!(format, Format::Json | Format::Yaml) {
        return Ok(Err("of no known format"));
    }
    let mut document = input.load(context, target)?;
    if document.format == Format::Binary && input.input_type.is_none() {
        let is_json = document.source.expose_secret().trim_ascii_start().starts_with(b"{");
        document.format = if is_json { Format::Json } else { Format::Yaml };
    }
    match document.format {
        Format::Json | Format::Yaml => Ok(Ok(document)),
        _ => Err(Failure::Check("a Secret is YAML or JSON".to_owned())),
    }
}

/// Returns the file that a result takes the place of, if it is another one than was read.
fn replaced(
    args: &Args,
    context: &Context<'_>,
    document: &Document,
    place: &Place,
) -> Result<Option<Document>, Failure> {
    let Place::File(path) = place else { return Ok(None) };
    let absolute = context.session.absolute(path);
    if args.output.is_in_place() || !absolute.is_file() {
        return Ok(None);
    }
    let source = document::read(context, path)?;
    let format = match document::format_of(path) {
        Format::Json => Format::Json,
        Format::Yaml => Format::Yaml,
        _ => document.format,
    };
    Ok(Some(Document { path: Some(absolute), format, source }))
}

/// Returns the SealedSecrets of a text; none if it cannot be read, as nothing depends on them.
pub(super) fn sealed_secrets(format: Format, source: &SecretBytes) -> Vec<SealedSecret> {
    // Most of what is sealed has none yet, and need not be read twice.
    if !SealedSecrets.may_be_in(source.expose_secret()) {
        return Vec::new();
    }
    let Ok(tree) = format.read(SecretBytes::from(source.expose_secret())) else { return Vec::new() };
    let sealed = |node| {
        let json = tree.to_json(node);
        SealedSecret::is_one(&json).then(|| SealedSecret::from_json(&json).ok()).flatten()
    };
    // Values of Secrets do not become JSON, which does not wipe itself.
    let is_sealed = |&node: &_| selkie::sealed::is_sealed_secret(&tree, node);
    objects(&tree).into_iter().filter(is_sealed).filter_map(sealed).collect()
}

impl Args {
    /// Returns what is asked for.
    fn sealing(&self, context: &Context<'_>) -> Result<Sealing, Failure> {
        let overrides = &self.sealer.controller.overrides;
        let default_namespace = match cluster::namespace(overrides, context.session) {
            Ok(namespace) => namespace,
            // Whoever needs it is told that there is none.
            Err(error) => {
                context.report.detail(format!("no namespace is known: {error}"));
                None
            }
        };
        Ok(Sealing {
            scope: self.scope()?,
            name: self.name.clone(),
            namespace: overrides.namespace.clone(),
            default_namespace,
            templates: self.templates(context)?,
            copies_labels: self.copy_labels,
            copies_annotations: self.copy_annotations,
            allows_empty: self.allow_empty_data,
        })
    }

    fn scope(&self) -> Result<Option<SealingScope>, Failure> {
        let scope = self.scope.as_deref().map(str::parse).transpose();
        scope.map_err(|error: selkie::sealed::UnknownScope| Failure::Usage(error.to_string()))
    }

    fn templates(&self, context: &Context<'_>) -> Result<BTreeMap<String, String>, Failure> {
        templates(context, &self.template, &self.template_file)
    }

    /// Returns the file with SealedSecrets in it, or these alone.
    fn result(
        &self,
        file: &SecretFile,
        sealed: &[SealedSecret],
        by_name: Option<Format>,
    ) -> Result<SecretBytes, Failure> {
        let asked = self.output_type.as_deref().and_then(Format::from_name);
        let wanted = asked.or(by_name).unwrap_or(file.format());
        // What else there is could only be written anew.
        let is_all = objects(file.tree()).len() == file.secrets().len();
        if self.only_sealed || (wanted != file.format() && is_all) {
            return Ok(print(wanted, sealed));
        }
        if wanted != file.format() {
            let text = "there are other objects in the file, which keep their format; pass --only-sealed";
            return Err(Failure::Usage(text.to_owned()));
        }
        Ok(file.replace(sealed)?)
    }
}

/// Returns templates by their keys.
pub(super) fn templates(
    context: &Context<'_>,
    texts: &[String],
    files: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    let malformed = |flag: &str| Failure::Usage(format!("{flag} has to be KEY=…"));
    let mut templates = BTreeMap::new();
    for text in texts {
        let (key, text) = text.split_once('=').ok_or_else(|| malformed("--template"))?;
        templates.insert(key.to_owned(), text.to_owned());
    }
    for file in files {
        let (key, path) = file.split_once('=').ok_or_else(|| malformed("--template-file"))?;
        let text = document::read(context, Path::new(path))?;
        let text = str::from_utf8(text.expose_secret());
        let text = text.map_err(|_| Failure::Check(format!("{path}: the text is not valid UTF-8")))?;
        templates.insert(key.to_owned(), text.to_owned());
    }
    templates.keys().try_for_each(|key| crate::secret_values::check_key(key))?;
    for (key, text) in &templates {
        let checked = selkie::template::check(key, text, &selkie::template::Limits::default());
        checked.map_err(|error| Failure::Check(error.to_string()))?;
    }
    Ok(templates)
}

/// Prints SealedSecrets as kubeseal does.
fn print(format: Format, sealed: &[SealedSecret]) -> SecretBytes {
    let mut out = SecretBytes::new();
    for sealed in sealed {
        let object = arrange(&sealed.to_json(), ObjectKind::SealedSecret);
        if format == Format::Json {
            out.extend_from_slice(print_json(&object).expose_secret());
            out.push(b'\n');
        } else {
            out.push_str("---\n");
            out.extend_from_slice(print_yaml(&object).expose_secret());
        }
    }
    out
}

/// Tells into which namespace Secrets go that say none: sealed for a wrong one, they could not be opened.
fn tell_of_namespace(context: &Context<'_>, target: &Target, file: &SecretFile, objects: &[Unsealed<'_>]) {
    let says_none = |object: &SecretObject| object.secret.metadata.namespace().is_empty();
    let mut placed = file.secrets().iter().zip(objects).filter(|(object, _)| says_none(object));
    let namespace = placed
        .find_map(|(_, unsealed)| Some(unsealed.sealed.metadata.namespace()).filter(|name| !name.is_empty()));
    if let Some(namespace) = namespace {
        context.report.note(format!(
            "{target}: sealed for the namespace {}, as the Secret says none",
            escape(namespace)
        ));
    }
}

/// Warns of values that stand in clear in what was written.
fn tell_of_remains(context: &Context<'_>, target: &Target, file: &SecretFile, text: &SecretBytes) {
    for remains in file.remains(text.expose_secret()) {
        let (line, key, name) = (remains.line, escape(&remains.key), escape(&remains.name));
        context
            .report
            .warn(format!("{target}: line {line} of the result has the value of {key} of {name} in clear"));
    }
}

/// Tells what was left out.
pub(super) fn tell_of_comments(context: &Context<'_>, target: &Target, file: &SecretFile) {
    let comments = file.comments();
    if comments > 0 {
        context.report.note(format!("{target}: {} inside of Secrets left out", count(comments, "comment")));
    }
}

fn detail(secrets: usize, kept: usize) -> String {
    match kept {
        0 => count(secrets, "Secret"),
        kept => format!("{}, {} kept", count(secrets, "Secret"), count(kept, "value")),
    }
}

//! `kubectl seal reseal`.

use std::sync::atomic::{AtomicUsize, Ordering};

use selkie::manifest::read_object;
use selkie::sealed::{SealedFile, SealedObject, SealedSecret, rotated, rotation_request};

use crate::batch::{self, Outcome};
use crate::cluster::{Cluster, ClusterError};
use crate::commands;
use crate::context::Context;
use crate::document::{self, InputFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{count, escape};
use crate::sealed_files;
use crate::sealer::{Resealing, Sealer, SealerFlags};
use crate::targets::{self, Target};

/// Seal SealedSecrets again, for a new certificate
///
/// Values that were sealed for another certificate are opened with the private keys at hand and sealed again; with
/// --by-controller, the controller does so. Files are replaced, and nothing but those values changes in them. Without
/// --cert, the newest of the private keys is sealed for.
///
/// A SealedSecret with a value that no key opens stays as it is, and is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders
    #[arg(id = "paths", value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Let the controller of the cluster do it, which has the keys
    #[arg(long, conflicts_with_all = ["always", "check"])]
    by_controller: bool,

    /// Seal values again that were sealed for the certificate already
    #[arg(long)]
    always: bool,

    /// Change nothing: tell what would be sealed again, and fail if there is something
    #[arg(long, visible_alias = "dry-run")]
    check: bool,

    #[command(flatten)]
    sealer: SealerFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal reseal --sealing-key keys.yaml .                  every file, for the newest of the keys
  kubectl seal reseal --sealing-key old.key --cert new.pem apps/
  kubectl seal reseal --sealing-key keys.yaml --check .          for CI: fails if something is stale
  kubectl seal reseal --by-controller db.yaml                    the controller opens and seals";

/// Who opens and seals.
enum Resealer {
    Controller(Box<Cluster>),
    Keys(Box<Sealer>),
}

/// How many values were looked at in all files.
#[derive(Default)]
struct Counts {
    changed: AtomicUsize,
    kept: AtomicUsize,
    failed: AtomicUsize,
}

/// Seals every file again.
///
/// # Errors
/// If the arguments name nothing, or there are no keys.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    commands::refuse_stdin(&targets)?;
    let resealer = if args.by_controller {
        Resealer::Controller(Box::new(args.sealer.controller.connect(context)?))
    } else {
        Resealer::Keys(Box::new(args.sealer.load_with_keys(context)?))
    };
    let counts = Counts::default();
    let exit = batch::run(context, &targets, |target| reseal(args, context, target, &resealer, &counts));
    if let Resealer::Keys(sealer) = &resealer {
        sealer.keep(context);
        if let Some(key) = sealer.bare_key() {
            context.report.note(format!("the certificate is that {key}, as --cert names none"));
        }
    }
    counts.tell(args, context);
    Ok(exit)
}

fn reseal(
    args: &Args,
    context: &Context<'_>,
    target: &Target,
    resealer: &Resealer,
    counts: &Counts,
) -> Result<Outcome, Failure> {
    let _turn = if args.check { crate::turn::Turn::none() } else { document::turn(context, target) };
    let Some((document, tree)) = sealed_files::read(context, &InputFlags::default(), target)? else {
        return Ok(Outcome::Skipped("with no SealedSecret in it"));
    };
    let file = SealedFile::new(document.format, tree)?;
    if file.objects().is_empty() {
        return if target.is_named() {
            Err(selkie::sealed::SealedFileError::Missing.into())
        } else {
            Ok(Outcome::Skipped("with no SealedSecret in it"))
        };
    }
    let results = resealer.reseal(args, context, file.objects())?;
    let Told { changed, failed } = tell(&file, &results);
    let kept = results.iter().map(|result| result.kept).sum();
    if args.check && !changed.is_empty() {
        counts.add(changed.len(), kept, failed.len());
        return Err(Failure::Unsealable { what: STALE, values: changed });
    }
    if !changed.is_empty() {
        let sealed: Vec<_> = results.into_iter().map(|result| result.sealed).collect();
        let text = file.replace_items(&sealed)?;
        document::replace(
            context,
            target.path().unwrap_or(std::path::Path::new("")),
            &document.source,
            &text,
        )?;
    }
    // What could not be written is not sealed again.
    counts.add(changed.len(), kept, failed.len());
    if !failed.is_empty() {
        return Err(Failure::Unsealable { what: LOCKED, values: failed });
    }
    Ok(match changed.len() {
        0 => Outcome::Unchanged,
        number => Outcome::Done("resealed", count(number, "value")),
    })
}

impl Resealer {
    fn reseal(
        &self,
        args: &Args,
        context: &Context<'_>,
        objects: &[SealedObject],
    ) -> Result<Vec<Resealing>, Failure> {
        match self {
            Self::Controller(cluster) => {
                objects.iter().map(|object| rotate(args, context, cluster, &object.sealed)).collect()
            }
            Self::Keys(sealer) => {
                let objects: Vec<_> = objects.iter().map(|object| &object.sealed).collect();
                Ok(sealer.reseal(&objects, args.always || args.sealer.fresh)?)
            }
        }
    }
}

/// Has the controller seal an object again.
fn rotate(
    args: &Args,
    context: &Context<'_>,
    cluster: &Cluster,
    sealed: &SealedSecret,
) -> Result<Resealing, Failure> {
    if sealed.deprecated_data.is_some() {
        let text = "the deprecated field data cannot be sealed again: seal the Secret anew";
        return Err(Failure::Check(text.to_owned()));
    }
    let flags = &args.sealer.controller;
    let controller = cluster.controller(flags.namespace(context), flags.name(context))?;
    match controller.rotate(rotation_request(sealed).to_string().as_bytes()) {
        Ok(answer) => take_items(sealed, &answer),
        Err(error @ (ClusterError::Answer { .. } | ClusterError::Conflict { .. })) => {
            Ok(refused(sealed, sealed.encrypted_data.keys(), &error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the result for an object that stays as it is because of some of its items.
fn refused<'a>(sealed: &SealedSecret, keys: impl IntoIterator<Item = &'a String>, why: &str) -> Resealing {
    let mut result = Resealing::of(sealed);
    result.failed.extend(keys.into_iter().map(|key| (key.clone(), why.to_owned())));
    result
}

/// Takes the items of the controller's answer over, and nothing else of it.
fn take_items(sealed: &SealedSecret, answer: &[u8]) -> Result<Resealing, Failure> {
    let told = |why: &str| Failure::Check(format!("nothing of what the controller answers is taken: {why}"));
    let answer = read_object(answer).map_err(|_| told("it is not JSON"))?;
    let new = rotated(sealed, &answer).map_err(|error| told(&error.to_string()))?;
    let changed = new.encrypted_data.keys().cloned().collect();
    Ok(Resealing { sealed: new, changed, ..Resealing::of(sealed) })
}

/// The values of a file that are new, and those that stay against what was wanted.
struct Told {
    changed: Vec<String>,
    failed: Vec<String>,
}

/// Says what became of the values of a file.
fn tell(file: &SealedFile, results: &[Resealing]) -> Told {
    let mut told = Told { changed: Vec::new(), failed: Vec::new() };
    for (object, result) in file.objects().iter().zip(results) {
        let name = escape(object.sealed.metadata.name());
        let place = |key: &str| format!("line {}: {} of {name}", file.line_of(object, key), escape(key));
        told.changed.extend(result.changed.iter().map(|key| place(key)));
        told.failed.extend(result.failed.iter().map(|(key, why)| format!("{}: {why}", place(key))));
    }
    told
}

impl Counts {
    fn add(&self, changed: usize, kept: usize, failed: usize) {
        self.changed.fetch_add(changed, Ordering::Relaxed);
        self.kept.fetch_add(kept, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }

    fn tell(&self, args: &Args, context: &Context<'_>) {
        let [changed, kept, failed] =
            [&self.changed, &self.kept, &self.failed].map(|count| count.load(Ordering::Relaxed));
        let verb = if args.check { "to be sealed again" } else { "sealed again" };
        context.report.note(format!(
            "{} {verb}, {kept} sealed for the certificate already, {failed} locked",
            count(changed, "value")
        ));
    }
}

/// What is said of values that no key opens.
pub const LOCKED: &str = "cannot be opened; their SealedSecrets stay as they are";
const STALE: &str = "not sealed for the certificate";

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn sealed(spec: &Json) -> SealedSecret {
        let object = json!({
            "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
            "metadata": {"name": "db", "namespace": "shop"}, "spec": spec,
        });
        SealedSecret::from_json(&object).expect("a SealedSecret")
    }

    #[test]
    fn of_an_answer_the_items_alone_are_taken() {
        let old = sealed(&json!({"encryptedData": {"a": "AgA"}, "template": {"data": {"t": "{{ .a }}"}}}));
        let answer = |name: &str, item: &str| {
            let metadata = json!({"name": name, "namespace": "shop"});
            let answer = json!({"metadata": metadata, "spec": {"encryptedData": {"a": item}}});
            take_items(&old, answer.to_string().as_bytes())
        };
        let item = "AAFST1RBVEVEUk9UQVRFRFJPVEFU";
        let result = answer("db", item).expect("it is for the object");
        let new = sealed(&json!({"encryptedData": {"a": item}, "template": {"data": {"t": "{{ .a }}"}}}));
        assert_eq!((result.sealed, result.changed), (new, vec!["a".to_owned()]));
        assert!(matches!(answer("other", item), Err(Failure::Check(_))));
        assert!(matches!(answer("db", "AgB"), Err(Failure::Check(_))));
        assert!(matches!(take_items(&old, b"[]"), Err(Failure::Check(_))));
    }
}

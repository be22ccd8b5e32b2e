//! `kubectl seal keys`: one file for each of its subcommands.

mod backup;
mod generate;
mod inspect;
mod list;
mod match_pair;
mod restore;
mod retire;

use std::path::Path;

use selkie::sealed::{ACTIVE, BackupKey, KEY_LABEL};
use selkie::secret::SecretBytes;
use serde_json::{Value as Json, json};

use crate::certificate::date;
use crate::context::Context;
use crate::document;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files::{Audience, Expected};
use crate::sealing_keys;

/// Make, list, back up, restore and retire the keys of Sealed Secrets
///
/// A sealing key is a private key of RSA that opens what was sealed for its certificate. The controller makes a new
/// one every 30 days, and keeps the old ones as Secrets in its namespace. Who loses them loses what was sealed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Backup(backup::Args),
    Generate(generate::Args),
    Inspect(inspect::Args),
    List(list::Args),
    Match(match_pair::Args),
    Restore(restore::Args),
    Retire(retire::Args),
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal keys list                                 the keys of the cluster
  kubectl seal keys backup -o keys.yaml --age age1cy0su  all of them, encrypted for a recipient
  kubectl seal keys list keys.yaml                       what is in a backup
  kubectl seal keys restore keys.yaml                    into a new cluster
  kubectl seal keys generate                             a pair of your own: tls.key and tls.crt
  kubectl seal keys match tls.crt tls.key                whether they are one
  kubectl seal keys retire sealed-secrets-key7x2kq       take one out of use";

/// Runs the subcommand.
///
/// # Errors
/// If it fails.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    match &args.action {
        Action::Backup(args) => backup::run(args, context),
        Action::Generate(args) => generate::run(args, context),
        Action::Inspect(args) => inspect::run(args, context),
        Action::List(args) => list::run(args, context),
        Action::Match(args) => match_pair::run(args, context),
        Action::Restore(args) => restore::run(args, context),
        Action::Retire(args) => retire::run(args, context),
    }
}

/// Writes something new for its owner alone: no file that is there is overwritten, and no terminal shows it.
fn write_secret(
    context: &Context<'_>,
    path: Option<&Path>,
    content: &SecretBytes,
    encrypted: bool,
) -> Result<(), Failure> {
    match path.filter(|path| *path != Path::new("-")) {
        Some(path) => {
            document::make_folder(context, path, Audience::Owner)?;
            document::write_expecting(context, path, content, Audience::Owner, Expected::Absent)
        }
        None if context.session.stdout.is_terminal() && !encrypted => {
            let text = "private keys are not shown on a terminal; name a file with --output";
            Err(Failure::Usage(text.to_owned()))
        }
        None => {
            let written = context.session.stdout.write(content.expose_secret());
            written.map_err(Failure::io("write", "stdout"))
        }
    }
}

/// Makes sure that nothing is where a key is to be written.
fn refuse_present(context: &Context<'_>, path: Option<&Path>) -> Result<(), Failure> {
    match path.filter(|path| std::fs::symlink_metadata(context.session.absolute(path)).is_ok()) {
        Some(path) => {
            let path = path.display();
            Err(Failure::Check(format!("{path} is there already, and keys are never overwritten")))
        }
        None => Ok(()),
    }
}

/// What people and programs are told of a key.
struct Row {
    name: String,
    state: String,
    fingerprint: String,
    bits: usize,
    validity: Option<selkie::sealed::Validity>,
    is_newest: bool,
}

impl Row {
    fn new(key: &BackupKey, what: &str, several: bool) -> Self {
        let secret = &key.secret;
        // Without a Secret, nothing says whether the key is in use.
        let unlabelled = if secret.metadata.name().is_empty() { "-" } else { ACTIVE };
        Self {
            name: sealing_keys::name(key, what, several),
            state: secret.metadata.label(KEY_LABEL).unwrap_or(unlabelled).to_owned(),
            fingerprint: secret.key.fingerprint(),
            bits: secret.key.bits(),
            validity: secret.cert.as_ref().and_then(|cert| cert.validity()),
            is_newest: false,
        }
    }

    fn dates(&self) -> [String; 2] {
        let validity = |pick: fn(selkie::sealed::Validity) -> time::OffsetDateTime| {
            self.validity.map_or_else(|| "-".to_owned(), |validity| date(pick(validity)))
        };
        [validity(|validity| validity.not_before), validity(|validity| validity.not_after)]
    }

    fn to_json(&self) -> Json {
        json!({
            "name": self.name,
            "state": self.state,
            "newest": self.is_newest,
            "fingerprint": self.fingerprint,
            "bits": self.bits,
            "notBefore": self.validity.map(|validity| super::cert::rfc3339(validity.not_before)),
            "notAfter": self.validity.map(|validity| super::cert::rfc3339(validity.not_after)),
        })
    }
}

//! `kubectl seal keys restore`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use selkie::sealed::{ACTIVE, BackupKey, KEY_LABEL, KeySecret, SealingCert, SmallKeys};

use crate::batch;
use crate::cluster::{Cluster, ClusterError, NewSealingKey};
use crate::context::Context;
use crate::controller::{ControllerFlags, stored_keys};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::sealing_keys;

/// Bring keys to the cluster, from a backup or PEM
///
/// Keys that the cluster has already are passed over, and nothing is overwritten: a key whose name is taken gets
/// another one. What a backup says of a key, in use or not, stays.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A file with keys and their certificates, encrypted or not; - for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Tell what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    controller: ControllerFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal keys restore keys.yaml
  cat tls.key tls.crt | kubectl seal keys restore -";

/// Brings keys to the cluster.
///
/// # Errors
/// If the file has none, or the cluster cannot be asked.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let backup = sealing_keys::read_backup(context, &args.file, SmallKeys::Allow)?;
    let namespace = args.controller.namespace(context);
    let cluster = args.controller.connect(context)?;
    let mut known = fingerprints(&cluster, namespace)?;
    let what = args.file.display().to_string();
    let (several, mut restored, mut exits) = (backup.keys.len() > 1, 0, Vec::new());
    for key in &backup.keys {
        let name = sealing_keys::name(key, &what, several);
        if !known.insert(key.secret.key.fingerprint()) {
            context.report.done("unchanged", &name, &key.secret.key.fingerprint());
            continue;
        }
        match restore(args, &cluster, namespace, key) {
            Ok(made) => {
                restored += 1;
                let verb = if args.dry_run { "would restore" } else { "restored" };
                let detail = if made == name { String::new() } else { format!("as {made}") };
                context.report.done(verb, &name, &detail);
            }
            Err(failure) => {
                context.report.failure(Some(&name), &failure);
                exits.push(failure.exit());
            }
        }
    }
    if restored > 0 && !args.dry_run {
        context.report.note(format!(
            "the controller reads its keys when it starts: run `kubectl rollout restart deployment/{} \
             --namespace {namespace}`, unless it runs with --watch-for-secrets",
            args.controller.name(context)
        ));
    }
    Ok(batch::exit_of(&exits))
}

/// Makes a Secret for a key, and returns its name.
fn restore(args: &Args, cluster: &Cluster, namespace: &str, key: &BackupKey) -> Result<String, Failure> {
    let Some(cert) = &key.secret.cert else {
        let text = "there is no certificate for the key, and the controller would not start without it";
        return Err(Failure::Check(text.to_owned()));
    };
    let name = Some(key.secret.metadata.name()).filter(|name| !name.is_empty());
    if args.dry_run {
        return Ok(name.unwrap_or("a name that the cluster makes up").to_owned());
    }
    match create(cluster, namespace, &key.secret, cert, name) {
        // Another key has the name.
        Err(ClusterError::Conflict { .. }) if name.is_some() => {
            Ok(create(cluster, namespace, &key.secret, cert, None)?)
        }
        made => Ok(made?),
    }
}

fn create(
    cluster: &Cluster,
    namespace: &str,
    secret: &KeySecret,
    cert: &SealingCert,
    name: Option<&str>,
) -> Result<String, ClusterError> {
    let new = NewSealingKey {
        name,
        label: secret.metadata.label(KEY_LABEL).unwrap_or(ACTIVE),
        certificate: cert.to_pem().as_bytes(),
        private_key: &secret.key.to_pem(),
    };
    cluster.create_sealing_key(namespace, &new)
}

/// Returns the fingerprints of the keys that are there.
fn fingerprints(cluster: &Cluster, namespace: &str) -> Result<BTreeSet<String>, Failure> {
    let backup = stored_keys(cluster, namespace, SmallKeys::Allow)?;
    Ok(backup.keys.iter().map(|key| key.secret.key.fingerprint()).collect())
}

//! Which controller of Sealed Secrets is meant, and what is asked of it and its cluster.

use selkie::sealed::{Backup, KEY_LABEL, ObjectMeta, SmallKeys};
use selkie::secret::SecretBytes;

use crate::cluster::{Cluster, ClusterError, Overrides};
use crate::context::Context;
use crate::failure::Failure;

/// Which controller of which cluster.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ControllerFlags {
    /// The namespace of the controller; kube-system unless the environment says otherwise
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    controller_namespace: Option<String>,

    /// The name of the controller's Service; sealed-secrets-controller unless the environment says otherwise
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    controller_name: Option<String>,

    /// Which cluster.
    #[command(flatten)]
    pub overrides: Overrides,
}

impl ControllerFlags {
    /// Returns the namespace of the controller.
    #[must_use]
    pub fn namespace<'a>(&'a self, context: &Context<'a>) -> &'a str {
        chosen(&self.controller_namespace, context, "SEALED_SECRETS_CONTROLLER_NAMESPACE", "kube-system")
    }

    /// Returns the name of the controller's Service.
    #[must_use]
    pub fn name<'a>(&'a self, context: &Context<'a>) -> &'a str {
        let usual = "sealed-secrets-controller";
        chosen(&self.controller_name, context, "SEALED_SECRETS_CONTROLLER_NAME", usual)
    }

    /// Returns the cluster that the controller is in.
    ///
    /// # Errors
    /// If nothing says which one, or it cannot be used.
    pub fn connect(&self, context: &Context<'_>) -> Result<Cluster, Failure> {
        Ok(Cluster::connect(&self.overrides, context.session)?)
    }

    /// Returns the private keys of the cluster, and warns of what is labelled as one and is none.
    ///
    /// # Errors
    /// If they cannot be had, or there are none.
    pub fn sealing_keys(&self, context: &Context<'_>, small: SmallKeys) -> Result<Backup, Failure> {
        let namespace = self.namespace(context);
        let backup = stored_keys(&self.connect(context)?, namespace, small)?;
        if backup.keys.is_empty() {
            let what = format!("the namespace {namespace} of the cluster");
            return Err(Failure::UnusableKeys { what, problems: backup.problems });
        }
        for problem in &backup.problems {
            context.report.warn(format!("the Secret {namespace}/{}: {}", problem.name, problem.kind));
        }
        Ok(backup)
    }
}

/// Returns the private keys that a cluster keeps for a controller in a namespace, and what is wrong with others.
///
/// # Errors
/// If they must not be read.
pub fn stored_keys(cluster: &Cluster, namespace: &str, small: SmallKeys) -> Result<Backup, Failure> {
    let mut backup = Backup::default();
    for key in cluster.sealing_keys(namespace)? {
        let mut metadata = ObjectMeta::named(namespace, &key.name);
        metadata.set_label(KEY_LABEL, &key.label);
        backup.add(metadata, &key.private_key, &key.certificate, small);
    }
    add_unlabelled(cluster, namespace, small, &mut backup)?;
    Ok(backup)
}

/// Adds the key that the controller had before 0.9, which has no label. It is rare enough not to ask for the right
/// to read it.
fn add_unlabelled(
    cluster: &Cluster,
    namespace: &str,
    small: SmallKeys,
    backup: &mut Backup,
) -> Result<(), Failure> {
    if backup.keys.iter().any(|key| key.secret.metadata.name() == UNLABELLED) {
        return Ok(());
    }
    let secret = match cluster.secret(namespace, UNLABELLED) {
        Err(ClusterError::Forbidden { .. } | ClusterError::NotFound { .. }) => return Ok(()),
        secret => secret?,
    };
    let value = |name: &str| secret.data.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    if let Some(key) = value("tls.key").filter(|_| !secret.labels.contains_key(KEY_LABEL)) {
        let cert = value("tls.crt").map(SecretBytes::expose_secret).unwrap_or_default();
        backup.add(ObjectMeta::named(namespace, UNLABELLED), key, cert, small);
    }
    Ok(())
}

/// Returns what the flag says, or the variable, or what is usual.
fn chosen<'a>(flag: &'a Option<String>, context: &Context<'a>, variable: &str, usual: &'a str) -> &'a str {
    flag.as_deref().or_else(|| context.session.environment.get(variable)).unwrap_or(usual)
}

const HEADING: &str = "Controller of Sealed Secrets";
/// What the first key of a controller is called.
const UNLABELLED: &str = "sealed-secrets-key";

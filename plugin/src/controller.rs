//! Which controller of Sealed Secrets is meant, and what is asked of it and its cluster.

use selkie::sealed::{KeyRegistry, SmallKeys};

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

    /// Adds the private keys of the cluster.
    ///
    /// # Errors
    /// If they cannot be had.
    pub fn add_sealing_keys(
        &self,
        _: &Context<'_>,
        _: SmallKeys,
        _: &mut KeyRegistry,
    ) -> Result<(), Failure> {
        Err(Failure::Usage("this build asks no cluster".to_owned()))
    }
}

/// Returns what the flag says, or the variable, or what is usual.
fn chosen<'a>(flag: &'a Option<String>, context: &Context<'a>, variable: &str, usual: &'a str) -> &'a str {
    flag.as_deref().or_else(|| context.session.environment.get(variable)).unwrap_or(usual)
}

const HEADING: &str = "Controller of Sealed Secrets";

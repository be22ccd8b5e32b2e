//! The flags of the controller.

/// Reconcile SealedSecrets and SopsSecrets of a cluster
#[derive(clap::Args)]
pub struct Args {}

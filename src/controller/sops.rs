//! Resources that carry documents of SOPS, and the keys that open them.

mod failure;
mod glob;
mod guard;
mod key_secret;
mod keys;
#[cfg(test)]
mod kit;
mod loaded;
mod object;
mod own;
mod policy;

use std::path::PathBuf;

pub use policy::PolicyError;

use crate::keys::KeyFileError;

/// Which resources of SOPS are reconciled, and with which keys.
#[derive(Clone, Debug, Default)]
pub struct SopsSettings {
    /// Whether `SopsSecret`s of `selkie.dev` are reconciled.
    pub own: bool,
    /// Whether `SopsSecret`s of `isindir.github.com` are reconciled.
    pub isindir: bool,
    /// Files and folders with keys that the policy hands out to namespaces: without a policy there can be none.
    pub key_paths: Vec<PathBuf>,
    /// The file that says which namespace may use which keys; without one, each namespace has the keys of its own
    /// Secrets, and nothing else.
    pub policy: Option<PathBuf>,
}

/// Why the keys for documents of SOPS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SopsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// There are keys, and nothing says who may use them.
    #[error(
        "keys for SOPS were given without a policy: as a document is not bound to a namespace, a policy has to say \
         which namespaces may use them"
    )]
    KeysWithoutPolicy,
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(PolicyError),
}

//! Resources that carry documents of SOPS.

mod glob;
mod policy;

use std::path::PathBuf;

/// Which resources of SOPS are reconciled, and with which keys.
#[derive(Clone, Debug, Default)]
pub struct SopsSettings {
    /// Whether `SopsSecret`s of `selkie.dev` are reconciled.
    pub own: bool,
    /// Whether `SopsSecret`s of `isindir.github.com` are reconciled.
    pub isindir: bool,
    /// Files and folders with keys for all namespaces.
    pub key_paths: Vec<PathBuf>,
    /// The file that says which namespace may use which keys and key services; without one, the keys of its own
    /// Secrets and those of `key_paths`.
    pub policy: Option<PathBuf>,
}

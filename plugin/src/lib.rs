//! The `kubectl seal` command, as a library so that tests can run it in process.

pub mod audit;
pub mod config_file;
pub mod editor;
pub mod exec;
pub mod exit;
pub mod files;
pub mod identities;
pub mod scratch;
pub mod session;
pub mod signals;
pub mod sops_face;

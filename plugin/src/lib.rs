//! The `kubectl seal` command, as a library so that tests can run it in process.

pub mod exit;
pub mod files;

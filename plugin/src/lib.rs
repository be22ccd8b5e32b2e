//! The `kubectl seal` command, as a library so that tests can run it in process.

pub mod config_file;
pub mod session;

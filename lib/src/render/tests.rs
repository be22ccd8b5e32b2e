//! The whole engine in memory, in every mode.

mod kit;
mod modes;
mod properties;
mod sources;
mod tampering;

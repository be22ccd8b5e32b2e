//! Encrypts and decrypts SOPS documents.

pub mod format;
pub mod keys;
pub mod secret;
pub mod shamir;
pub mod sops;
pub mod tree;

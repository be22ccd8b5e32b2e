//! SOPS documents: encrypting and decrypting the values of a tree under one data key.
//!
//! An [`Envelope`] is a document's data key with its metadata. It opens an encrypted tree into an
//! [`Opened`] one, and seals a plain tree into a [`Sealed`] one. Neither names a format or a key kind.
//!
//! Invariants: nothing of an opened document can be read before its MAC has been checked; nothing that
//! was sealed is handed out before it has been decrypted again and compared.

pub mod access;
pub mod audit;
mod cipher;
mod clear;
pub mod config;
pub mod data_keys;
mod envelope;
mod forecast;
mod groups;
mod layout;
mod leaves;
mod mac;
mod metadata;
mod opened;
mod pattern;
mod recovery;
mod sealed;
mod selector;
mod stash;
mod unlocked;
mod walk;

pub use cipher::CipherError;
pub(crate) use cipher::{append_plaintext, encrypted_parts, is_well_formed};
#[cfg(test)]
pub(crate) use envelope::tests::{Vault, group, seal};
pub use envelope::{Envelope, MacCheck};
pub use forecast::Forecast;
pub use groups::{GroupReport, KeyFailure, RecoverError, WrapError, resolve};
pub use leaves::{LeafPlace, LeafState, Places, comments, leaves};
pub use metadata::{Metadata, MetadataError, VERSION};
pub use opened::{OpenError, Opened};
pub use pattern::{Pattern, PatternError};
pub use recovery::BY_EFFORT;
pub use sealed::{SealError, Sealed};
pub use selector::{DEFAULT_UNENCRYPTED_SUFFIX, Selector, SelectorError};
pub use stash::Stash;
pub use unlocked::{Resealed, Sops, Unlocked, without_metadata};

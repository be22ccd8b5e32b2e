//! The keys that a check or a fix may use: those of the caller.

mod local;
mod verifier;

use selkie::keys::KeyService;

pub use local::LocalKeys;
pub use verifier::KeysVerifier;

/// Gives key services: `kubectl seal` all that it has, `seal-hook` those of age and of gpg, without a network.
pub trait Keys: Sync {
    /// Calls `with` with the services at hand. `recipients` says that nothing is to be unwrapped, so that no
    /// identity need be read.
    ///
    /// # Errors
    /// If an identity file cannot be used, with the reason; it holds no part of it.
    fn with_services(&self, recipients: bool, with: &mut dyn FnMut(&[&dyn KeyService]))
    -> Result<(), String>;
}

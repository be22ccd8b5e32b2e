//! The keys that a check or a fix may use: those of the caller.

mod local;
mod verifier;

use std::path::Path;

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

/// Keys that encrypt, and open nothing: where an audit log is asked for, what is opened has to be written down, and a check
/// or a fix does not.
pub struct PublicOnly<'a>(pub &'a dyn Keys);

impl Keys for PublicOnly<'_> {
    fn with_services(
        &self,
        recipients: bool,
        with: &mut dyn FnMut(&[&dyn KeyService]),
    ) -> Result<(), String> {
        if recipients {
            return self.0.with_services(recipients, with);
        }
        with(&[]);
        Ok(())
    }
}

/// Returns whether the administrator of the machine asks for an audit log, in the file that sops reads, too.
#[must_use]
pub fn is_audited(configuration: &Path) -> bool {
    // What cannot be looked at may be there.
    configuration.try_exists().unwrap_or(true)
}

/// Where an audit log is asked for.
pub const AUDIT_CONFIGURATION: &str = "/etc/sops/audit.yaml";

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of a machine without identities.
    struct One;

    impl Keys for One {
        fn with_services(&self, _: bool, with: &mut dyn FnMut(&[&dyn KeyService])) -> Result<(), String> {
            let keys = LocalKeys::new(|_| None, Path::new("/"));
            keys.with_services(true, with)
        }
    }

    #[test]
    fn an_audited_machine_opens_nothing() {
        let count = |recipients| {
            let mut count = None;
            PublicOnly(&One)
                .with_services(recipients, &mut |services| count = Some(services.len()))
                .expect("services");
            count
        };
        assert_eq!(count(false), Some(0));
        assert!(count(true) > Some(0));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.yaml");
        assert!(!is_audited(&path));
        std::fs::write(&path, "backends: {}").expect("a file");
        assert!(is_audited(&path));
    }
}

//! Schemes: the ways in which a file holds secrets, behind one face, so that whoever shows, edits or compares
//! files need not know which it is.
//!
//! To add a scheme, write one file and one line of [`SCHEMES`].

use std::collections::BTreeSet;

use crate::format::{Format, ParseError};
use crate::keys::KeyService;
use crate::sealed::{KeyRegistry, SealedFileError, SealingCert};
use crate::secret::SecretBytes;
use crate::sops::audit::Doubt;
use crate::sops::{MacCheck, Metadata, MetadataError, OpenError, RecoverError, SealError};
use crate::template::Surroundings;
use crate::tree::{NodeId, Tree};

/// Every scheme. A file of several belongs to the first: SOPS encrypts whole files, whatever is in them.
pub static SCHEMES: &[&dyn Scheme] = &[&crate::sops::Sops, &crate::sealed::SealedSecrets];

/// A way in which a file holds secrets.
pub trait Scheme: Send + Sync {
    /// Returns what people call the scheme.
    fn name(&self) -> &'static str;

    /// Returns what has to be at hand to open a file.
    fn key_source(&self) -> KeySource;

    /// Returns whether a text can be of this scheme: a look that costs less than reading it.
    fn may_be_in(&self, text: &[u8]) -> bool;

    /// Returns whether a file is of this scheme.
    fn is_in(&self, tree: &Tree) -> bool;

    /// Opens a file.
    ///
    /// # Errors
    /// If no key at hand fits, or the file was changed without one.
    fn open<'a>(
        &self,
        format: Format,
        tree: Tree,
        keys: &Keys<'a>,
    ) -> Result<Box<dyn OpenDocument + 'a>, SchemeError>;
}

/// Where the keys of a scheme come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// From services that recover data keys.
    KeyServices,
    /// From private keys of a controller.
    SealingKeys,
}

/// The keys at hand.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// What recovers data keys.
    pub services: &'a [&'a dyn KeyService],
    /// What to do with the MAC of a SOPS document.
    pub mac: MacCheck,
    /// The private keys of controllers.
    pub sealing: &'a KeyRegistry,
}

/// A file whose secrets are in clear.
pub trait OpenDocument {
    /// Returns what the file says, with its secrets in clear.
    fn tree(&self) -> &Tree;

    /// Returns the nodes that were encrypted.
    fn decrypted(&self) -> BTreeSet<NodeId>;

    /// Returns the file in clear; whatever was not encrypted stays byte for byte.
    ///
    /// # Errors
    /// If a secret cannot be written in its place.
    fn plaintext(&self) -> Result<SecretBytes, SchemeError>;

    /// Returns whether changed values are sealed for a certificate.
    fn needs_cert(&self) -> bool {
        false
    }

    /// Encrypts a changed text of the file, with a certificate if it needs one. Secrets that did not change keep
    /// their ciphertext. Nothing is returned if nothing changed.
    ///
    /// # Errors
    /// If the text is not of the format of the file, or cannot be encrypted.
    fn seal(
        &self,
        plaintext: &SecretBytes,
        cert: Option<&SealingCert>,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Option<SecretBytes>, SchemeError>;

    /// Encrypts the file as it is, where somebody changed it without its key and it is to be good again; nothing
    /// if the scheme does not know such a thing.
    ///
    /// # Errors
    /// If it cannot be encrypted.
    fn make_whole(&self, _surroundings: &mut Surroundings<'_>) -> Result<Option<SecretBytes>, SchemeError> {
        Ok(None)
    }

    /// Returns how many comments are encrypted and could not be decrypted.
    fn unreadable_comments(&self) -> usize {
        0
    }

    /// Returns what the scheme does not authenticate, and a strict reader would not accept.
    fn doubts(&self) -> Vec<Doubt> {
        Vec::new()
    }

    /// Returns the metadata of a SOPS document.
    fn metadata(&self) -> Option<&Metadata> {
        None
    }
}

/// Why a file cannot be opened or sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// The metadata of a SOPS document cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// There is nothing to seal values for.
    #[error("there is no certificate to seal for")]
    NoCert,
    /// The values or the MAC of a SOPS document cannot be decrypted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The text is not of its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// No key at hand recovers the data key of a SOPS document.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The values of a SOPS document cannot be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Something is wrong with the SealedSecrets of a file.
    #[error(transparent)]
    Sealed(#[from] SealedFileError),
}

/// Returns the scheme of a file, if it is of one.
#[must_use]
pub fn scheme_of(tree: &Tree) -> Option<&'static dyn Scheme> {
    SCHEMES.iter().copied().find(|scheme| scheme.is_in(tree))
}

/// Returns whether a text can be of any scheme: a look that costs less than reading it.
#[must_use]
pub fn may_hold_secrets(text: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| scheme.may_be_in(text))
}

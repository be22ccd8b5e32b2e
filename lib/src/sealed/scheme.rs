//! Sealed Secrets as one of the schemes.

use std::collections::BTreeSet;

use super::cert::SealingCert;
use super::file::{OpenedFile, SealedFile, holds_sealed_secrets};
use crate::format::Format;
use crate::scheme::{KeySource, Keys, OpenDocument, Scheme, SchemeError};
use crate::secret::SecretBytes;
use crate::template::Surroundings;
use crate::tree::{NodeId, Tree};

/// The scheme of Sealed Secrets: values of Secrets encrypted to the controller of a cluster.
pub struct SealedSecrets;

/// A file whose SealedSecrets are open.
struct Unsealed(OpenedFile);

/// Returns whether a text names the group of SealedSecrets, in UTF-8 or UTF-16: what does not has none, unless it
/// escapes the letters of the name.
#[must_use]
pub fn names_group(text: &[u8]) -> bool {
    let group = super::GROUP.as_bytes();
    let has = |wanted: &[u8]| text.windows(wanted.len()).any(|window| window == wanted);
    // Whatever comes first of the two bytes of a letter, there is a zero between two letters.
    let wide: Vec<u8> = group.iter().flat_map(|&byte| [byte, 0]).take(2 * group.len() - 1).collect();
    has(group) || has(&wide)
}

impl Scheme for SealedSecrets {
    fn name(&self) -> &'static str {
        "Sealed Secrets"
    }

    fn key_source(&self) -> KeySource {
        KeySource::SealingKeys
    }

    fn may_be_in(&self, text: &[u8]) -> bool {
        text.windows(super::GROUP.len()).any(|window| window == super::GROUP.as_bytes())
            && text.windows(super::KIND.len()).any(|window| window == super::KIND.as_bytes())
    }

    fn is_in(&self, tree: &Tree) -> bool {
        holds_sealed_secrets(tree)
    }

    fn open<'a>(
        &self,
        format: Format,
        tree: Tree,
        keys: &Keys<'a>,
    ) -> Result<Box<dyn OpenDocument + 'a>, SchemeError> {
        Ok(Box::new(Unsealed(SealedFile::new(format, tree)?.open(keys.sealing)?)))
    }
}

impl OpenDocument for Unsealed {
    fn tree(&self) -> &Tree {
        self.0.tree()
    }

    fn decrypted(&self) -> BTreeSet<NodeId> {
        self.0.decrypted().collect()
    }

    fn plaintext(&self) -> Result<SecretBytes, SchemeError> {
        Ok(self.0.plaintext()?)
    }

    fn needs_cert(&self) -> bool {
        true
    }

    fn seal(
        &self,
        plaintext: &SecretBytes,
        cert: Option<&SealingCert>,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Option<SecretBytes>, SchemeError> {
        let cert = cert.ok_or(SchemeError::NoCert)?;
        let sealed = self.0.seal(plaintext.expose_secret().into(), cert, surroundings.rng)?;
        Ok((sealed.expose_secret() != self.0.tree().source()).then_some(sealed))
    }
}

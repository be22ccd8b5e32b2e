//! SealedSecrets for a cluster, always the same for the same values.
//!
//! Invariant: what was decrypted comes out sealed, or not at all.

use serde_json::Value as Json;
use zeroize::{Zeroize, Zeroizing};

use super::super::Document;
use super::super::verdict::RenderError;
use super::{Context, plain, stand_in};
use crate::sealed::{SealedSecret, SealingCert, SealingError, SealingScope, Secret};

/// What to seal for, and with what.
pub struct Reseal {
    /// The certificate of the cluster's controller.
    pub cert: SealingCert,
    /// What makes the ciphertext the same for the same values: keep it as secret as the keys that decrypt them.
    pub key: Zeroizing<[u8; 32]>,
}

impl Reseal {
    /// Returns the SealedSecret that becomes a Secret. All values of the Secret are sealed, those too that stood in clear.
    pub(super) fn secret(&self, context: &Context<'_>, document: &Document) -> Result<Json, RenderError> {
        stand_in::check_entries(context, document)?;
        let metadata = stand_in::metadata(document)?;
        let scope = SealingScope::of(&metadata);
        if scope != SealingScope::Strict && !context.rule.wide_scopes {
            return Err(stand_in::refused(document, WIDE));
        }
        if metadata.namespace().is_empty() && scope != SealingScope::ClusterWide {
            return Err(stand_in::refused(document, NO_NAMESPACE));
        }
        let mut object = plain::secret(context, document)?;
        let secret = Secret::from_json(&object);
        wipe(&mut object);
        let secret = secret.map_err(|error| stand_in::refused(document, &error.to_string()))?;
        let sealed = SealedSecret::seal_repeatably(&secret, &self.cert, &self.key);
        let mut sealed = sealed.map_err(|source| failed(document, source))?;
        stand_in::track(&metadata, &mut sealed.metadata);
        Ok(sealed.to_json())
    }
}

fn failed(document: &Document, source: SealingError) -> RenderError {
    RenderError::Sealing { place: document.name(), source }
}

/// Wipes all texts of an object.
fn wipe(value: &mut Json) {
    match value {
        Json::String(text) => text.zeroize(),
        Json::Array(items) => items.iter_mut().for_each(wipe),
        Json::Object(entries) => entries.values_mut().for_each(wipe),
        _ => {}
    }
}

const NO_NAMESPACE: &str = "has no namespace, and what is sealed is sealed for one: write `metadata.namespace` in its file or \
     `namespace:` in the kustomization, or give --namespace";
// The MAC covers values, and the name of an annotation is none.
const WIDE: &str = "has an annotation by which it would be sealed for more than its name and namespace, and anybody who can \
     change its file can put that there; let it pass by --allow-wide-scopes, or `wideScopes` in the policy";

//! SealedSecrets, when a private key is at hand.

use serde_json::{Map, Value as Json};

use super::super::marks::{Mark, ValueKind};
use super::super::open::Sources;
use super::super::verdict::RenderError;
use super::super::{Document, Engine};
use crate::sealed::SealedSecret;

impl Engine<'_> {
    /// Puts the Secret of a SealedSecret in its place, with marks for its values; without private keys it stays.
    pub(super) fn unseal(&self, document: &mut Document, sources: &mut Sources) -> Result<(), RenderError> {
        let Some(keys) = self.sealing_keys else { return Ok(()) };
        let place = document.name();
        let failed = |reason: String| RenderError::Unseal { place: place.clone(), reason };
        let sealed = SealedSecret::from_json(&document.object).map_err(|error| failed(error.to_string()))?;
        if sealed.deprecated_data.is_some() {
            return Err(failed("it has the deprecated field `data`; seal it again".to_owned()));
        }
        if !sealed.template.data.is_empty() {
            return Err(failed("it has templates, which only the controller renders".to_owned()));
        }
        let mut data = Map::new();
        for (key, opened) in sealed.open_items(keys) {
            let opened = opened.map_err(|error| failed(format!("encryptedData[{key:?}]: {error}")))?;
            let field = format!("encryptedData[{key:?}]");
            // Nobody without the private key can compute it.
            let secret = keys.keys()[opened.key].key.to_pem();
            let mark =
                Mark::new(secret.expose_secret(), &place, &field, ValueKind::Bytes, Some(opened.value));
            let id = sources.add_mark(mark);
            let word = sources.marks().get(id).word();
            data.insert(key.to_owned(), crate::sealed::encode_base64(word.as_bytes()).into());
        }
        let mut secret =
            crate::sealed::Secret { metadata: sealed.template.metadata.clone(), ..Default::default() };
        secret.metadata.set_name(sealed.metadata.name());
        secret.metadata.set_namespace(sealed.metadata.namespace());
        secret.type_.clone_from(&sealed.template.type_);
        secret.immutable = sealed.template.immutable;
        document.object = secret.to_json();
        document.object["data"] = Json::Object(data);
        Ok(())
    }
}

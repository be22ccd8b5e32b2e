//! `SopsSecret`s that carry encrypted files.
//!
//! Invariant: what the controller makes of a `SopsSecret` is the Secret that was rendered; where that cannot be known
//! without keys, or cannot be said, there is an error. Only spellings differ: the controller writes a whole file as
//! `sops decrypt` does, and takes `\n` in a dotenv file for a line break.

mod entries;
mod origin;

use serde_json::{Map, Value as Json, json};

use super::super::Document;
use super::super::verdict::RenderError;
use super::{Context, stand_in};
use crate::format::Format;
use crate::sealed::ObjectMeta;
use crate::secret::SecretBytes;

/// How files are carried into the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defer {
    /// The Secret with the keys, in the namespace of each object; without it the policy of the controller gives keys.
    pub key_secret: Option<String>,
}

/// What is carried, and how it becomes a Secret.
struct Carried<'a> {
    document: &'a SecretBytes,
    format: Format,
    /// What `spec.target` says.
    target: Map<String, Json>,
}

impl Defer {
    /// Returns the `SopsSecret` that becomes a Secret.
    pub(super) fn secret(&self, context: &Context<'_>, document: &Document) -> Result<Json, RenderError> {
        stand_in::check_entries(context, document)?;
        let secret = stand_in::metadata(document)?;
        let Carried { document: carried, format, target } = origin::find(context, document)?;
        let mut spec = Map::new();
        let (field, text) = match str::from_utf8(carried.expose_secret()).ok().filter(|text| is_plain(text)) {
            Some(text) => ("document", text.to_owned()),
            None => ("documentBase64", crate::sealed::encode_base64(carried.expose_secret())),
        };
        spec.insert(field.to_owned(), text.into());
        spec.insert("format".to_owned(), format.store().name().into());
        if let Some(name) = &self.key_secret {
            spec.insert("keys".to_owned(), json!({"secretRef": {"name": name}}));
        }
        if !target.is_empty() {
            spec.insert("target".to_owned(), target.into());
        }
        let mut metadata = ObjectMeta::named(secret.namespace(), secret.name());
        stand_in::track(&secret, &mut metadata);
        let (version, metadata) = ("selkie.dev/v1alpha1", metadata.to_json());
        Ok(json!({"apiVersion": version, "kind": "SopsSecret", "metadata": metadata, "spec": spec}))
    }
}

/// Returns whether a text comes through YAML, whoever writes and reads it, as it is.
fn is_plain(text: &str) -> bool {
    let is_odd = |letter: char| {
        letter.is_control() && !matches!(letter, '\n' | '\t')
            || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    !text.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_changes_is_carried_in_base64() {
        assert!(is_plain("a: ENC[x]\n\tä"));
        for text in ["a\r\n", "\u{feff}a", "a\0", "a\u{85}", "a\u{2028}"] {
            assert!(!is_plain(text), "{text:?}");
        }
    }
}

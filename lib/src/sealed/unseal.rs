//! Unsealing: the Secret that a SealedSecret stands for.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::json;

use super::item::ItemError;
use super::object_meta::ObjectMeta;
use super::registry::KeyRegistry;
use super::sealed_secret::SealedSecret;
use super::secret::{Secret, SecretError};
use super::{API_VERSION, KIND};
use crate::secret::SecretBytes;
use crate::template::{Limits, Renderer, Surroundings, TemplateError};

/// How to unseal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unseal {
    /// What counts if an item and a template have the same name.
    pub collision: Collision,
    /// Whether a Secret may come from the field `data`, as kubeseal wrote it before 0.7.
    pub deprecated_data: bool,
    /// Whether templates stay unrendered: whoever asks for a Secret and can change templates, but must not see
    /// values, would learn of them from what is rendered.
    pub without_templates: bool,
}

/// What counts if an item and a template have the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collision {
    /// The item, as since 0.37.
    #[default]
    Item,
    /// The rendered template, as until 0.36.
    Template,
}

/// Why a SealedSecret cannot be unsealed.
#[derive(Debug)]
#[non_exhaustive]
pub enum UnsealError {
    /// There is a field `data` beside items.
    Both,
    /// The Secret in the field `data` is not one.
    Content(SecretError),
    /// There is a field `data`, which is not read.
    Deprecated,
    /// The field `data` cannot be opened.
    DeprecatedItem(ItemError),
    /// Values that cannot be had, by key.
    Values(BTreeMap<String, ValueError>),
}

/// Why a value cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The item cannot be opened.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The template cannot be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl SealedSecret {
    /// Returns the Secret, all or nothing: an item that no key opens, or a template that fails, is an error.
    ///
    /// # Errors
    /// If a value cannot be had, or the object has the deprecated field `data` and `how` does not allow it.
    pub fn unseal(
        &self,
        keys: &KeyRegistry,
        how: Unseal,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Secret, UnsealError> {
        let mut secret = if let Some(data) = &self.deprecated_data {
            self.unseal_deprecated(data, keys, how)?
        } else {
            Secret {
                metadata: self.template.metadata.clone(),
                type_: self.template.type_.clone(),
                immutable: self.template.immutable,
                data: self.values(keys, how, surroundings)?,
            }
        };
        secret.metadata.set_name(self.metadata.name());
        secret.metadata.set_namespace(self.metadata.namespace());
        self.own(&mut secret.metadata);
        Ok(secret)
    }

    /// Opens every item, without rendering templates.
    pub fn open_items<'a>(
        &'a self,
        keys: &'a KeyRegistry,
    ) -> impl Iterator<Item = (&'a str, Result<super::OpenedItem, ItemError>)> {
        let label = self.label();
        self.encrypted_data.iter().map(move |(key, item)| (key.as_str(), keys.open(item, &label)))
    }

    fn values(
        &self,
        keys: &KeyRegistry,
        how: Unseal,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<BTreeMap<String, SecretBytes>, UnsealError> {
        let (mut data, mut errors) = (BTreeMap::new(), BTreeMap::new());
        for (key, opened) in self.open_items(keys) {
            match opened {
                Ok(opened) => {
                    data.insert(key.to_owned(), opened.value);
                }
                Err(error) => {
                    errors.insert(key.to_owned(), ValueError::from(error));
                }
            }
        }
        // A template that misses a value would fail, too, and say less.
        if errors.is_empty() && !how.without_templates {
            self.render(&mut data, &mut errors, how, surroundings);
        }
        if errors.is_empty() { Ok(data) } else { Err(UnsealError::Values(errors)) }
    }

    /// Adds what the templates say, which see all items, and each other as they are written.
    fn render(
        &self,
        data: &mut BTreeMap<String, SecretBytes>,
        errors: &mut BTreeMap<String, ValueError>,
        how: Unseal,
        surroundings: &mut Surroundings<'_>,
    ) {
        if self.template.data.is_empty() {
            return;
        }
        let texts =
            self.template.data.iter().filter_map(|(key, text)| Some((key.as_str(), text.as_deref()?)));
        let mut context: BTreeMap<&str, &[u8]> = texts.map(|(key, text)| (key, text.as_bytes())).collect();
        context.extend(data.iter().map(|(key, value)| (key.as_str(), value.expose_secret())));
        let mut renderer = Renderer::new(context, &Limits::default());
        for (key, text) in &self.template.data {
            let Some(text) = text else {
                data.remove(key);
                continue;
            };
            match renderer.render(key, text, surroundings) {
                Ok(value) => {
                    if how.collision == Collision::Template || !self.encrypted_data.contains_key(key) {
                        data.insert(key.clone(), value);
                    }
                }
                Err(error) => {
                    errors.insert(key.clone(), error.into());
                }
            }
        }
    }

    fn unseal_deprecated(&self, data: &str, keys: &KeyRegistry, how: Unseal) -> Result<Secret, UnsealError> {
        if !how.deprecated_data {
            return Err(UnsealError::Deprecated);
        }
        if !self.encrypted_data.is_empty() {
            return Err(UnsealError::Both);
        }
        let opened = keys.open(data, &self.label()).map_err(UnsealError::DeprecatedItem)?;
        // Not shown: the parser's message may cite a value.
        let object = serde_json::from_slice(opened.value.expose_secret());
        let no_map = || SecretError::Field { path: "the content of spec.data".to_owned(), expected: "JSON" };
        Secret::from_any_json(&object.map_err(|_| UnsealError::Content(no_map()))?)
            .map_err(UnsealError::Content)
    }

    /// Makes the SealedSecret the owner, unless its template says not to.
    fn own(&self, metadata: &mut ObjectMeta) {
        if self.template.metadata.annotation(SKIP_OWNER) == Some("true") {
            return;
        }
        let owner = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.metadata.name(),
            "uid": self.metadata.field("uid").and_then(|uid| uid.as_str()).unwrap_or_default(),
            "controller": true,
        });
        metadata.set_field("ownerReferences", json!([owner]));
    }
}

/// Equal messages stand once, with the keys of all values that they are about.
impl fmt::Display for UnsealError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Both => formatter.write_str(
                "cannot use the field 'encryptedData' and the deprecated field 'data' at the same time",
            ),
            Self::Content(error) => {
                write!(formatter, "the deprecated field 'data' does not hold a Secret: {error}")
            }
            Self::Deprecated => formatter
                .write_str("using deprecated 'data' field, use 'encryptedData' or flip the feature flag"),
            Self::DeprecatedItem(error) => error.fmt(formatter),
            Self::Values(errors) => {
                let mut messages: Vec<(String, Vec<&str>)> = Vec::new();
                for (key, error) in errors {
                    let message = error.to_string();
                    match messages.iter_mut().find(|(known, _)| *known == message) {
                        Some((_, keys)) => keys.push(key),
                        None => messages.push((message, vec![key])),
                    }
                }
                let lines = messages.iter().map(|(message, keys)| format!("{message} ({})", keys.join(", ")));
                formatter.write_str(&lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

impl std::error::Error for UnsealError {}

/// The annotation of the template that keeps the SealedSecret from owning the Secret.
const SKIP_OWNER: &str = "sealedsecrets.bitnami.com/skip-set-owner-references";

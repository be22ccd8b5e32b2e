//! How Secrets are sealed: what the user asks for, over what the Secret says.

use std::collections::BTreeMap;

use super::object_meta::ObjectMeta;
use super::scope::SealingScope;
use super::sealed_secret::{SealedSecret, SealingError};
use super::secret::Secret;

/// What to make of Secrets when they are sealed. By default, what they say themselves.
#[derive(Clone, Debug, Default)]
pub struct Sealing {
    /// The scope, in place of the one that the annotations of the Secret ask for.
    pub scope: Option<SealingScope>,
    /// The name, in place of that of the Secret.
    pub name: Option<String>,
    /// The namespace that the Secret has to be in, if it says one and its scope binds it to one.
    pub namespace: Option<String>,
    /// The namespace of Secrets that say none.
    pub default_namespace: Option<String>,
    /// Templates of further values, by their keys.
    pub templates: BTreeMap<String, String>,
    /// Whether the SealedSecret gets the labels of the Secret, too.
    pub copies_labels: bool,
    /// Whether the SealedSecret gets the annotations of the Secret, too.
    pub copies_annotations: bool,
    /// Whether a Secret without values is sealed.
    pub allows_empty: bool,
}

impl Sealing {
    /// Returns the SealedSecret of a Secret, without any item.
    ///
    /// # Errors
    /// If the Secret has no values, no name, or not the namespace that it has to have.
    pub fn prepare(&self, secret: &mut Secret) -> Result<SealedSecret, SealingError> {
        if secret.data.is_empty() && self.templates.is_empty() && !self.allows_empty {
            return Err(SealingError::Empty);
        }
        self.place(&mut secret.metadata)?;
        let mut sealed = SealedSecret::without_items(secret)?;
        for (key, text) in &self.templates {
            sealed.template.data.insert(key.clone(), Some(text.clone()));
        }
        for (field, is_copied) in [("labels", self.copies_labels), ("annotations", self.copies_annotations)] {
            if is_copied {
                sealed.metadata.overlay(field, &sealed.template.metadata);
            }
        }
        Ok(sealed)
    }

    /// Gives metadata the name, scope and namespace.
    fn place(&self, metadata: &mut ObjectMeta) -> Result<(), SealingError> {
        if let Some(name) = &self.name {
            metadata.set_name(name);
        }
        if let Some(scope) = self.scope {
            scope.annotate(metadata);
        }
        if SealingScope::of(metadata) == SealingScope::ClusterWide {
            return Ok(());
        }
        let found = metadata.namespace().to_owned();
        match &self.namespace {
            Some(wanted) if found.is_empty() => metadata.set_namespace(wanted),
            Some(wanted) if *wanted != found => {
                return Err(SealingError::NamespaceMismatch { found, wanted: wanted.clone() });
            }
            None if found.is_empty() => {
                metadata.set_namespace(self.default_namespace.as_deref().unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(metadata: serde_json::Value) -> Secret {
        let object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "b"}});
        Secret::from_json(&object).expect("a Secret")
    }

    #[test]
    fn what_is_asked_for_wins_over_the_secret_but_for_its_namespace() {
        let sealing = Sealing {
            scope: Some(SealingScope::Strict),
            name: Some("new".to_owned()),
            namespace: Some("ns".to_owned()),
            ..Sealing::default()
        };
        let annotations = json!({"sealedsecrets.bitnami.com/cluster-wide": "true"});
        let mut wide = secret(json!({"name": "old", "annotations": annotations}));
        let sealed = sealing.prepare(&mut wide).expect("it can be sealed");
        assert_eq!(sealed.label(), "ns/new");
        let elsewhere = sealing.prepare(&mut secret(json!({"name": "old", "namespace": "other"})));
        assert_eq!(
            elsewhere.map_err(|error| error.to_string()).map(|_| ()),
            Err(r#"namespace mismatch: input secret is in namespace "other" but "ns" was specified"#
                .to_owned())
        );
    }

    #[test]
    fn labels_are_copied_where_that_is_wanted() {
        let sealing =
            Sealing { copies_labels: true, default_namespace: Some("d".into()), ..Sealing::default() };
        let mut labelled = secret(json!({"name": "n", "labels": {"a": "b"}, "annotations": {"c": "d"}}));
        let sealed = sealing.prepare(&mut labelled).expect("it can be sealed");
        assert_eq!(sealed.metadata.to_json(), json!({"name": "n", "namespace": "d", "labels": {"a": "b"}}));
        let mut empty = Secret { metadata: ObjectMeta::named("ns", "n"), ..Secret::default() };
        assert_eq!(sealing.prepare(&mut empty), Err(SealingError::Empty));
    }
}

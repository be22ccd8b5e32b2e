//! Finding out why an item cannot be opened: for which name, namespace and scope it was sealed after all.

use std::collections::BTreeSet;

use super::item::{ItemError, KeyCause};
use super::registry::KeyRegistry;
use super::scope::SealingScope;
use super::sealed_secret::SealedSecret;

/// Names and namespaces that an item may have been sealed for.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Names of objects.
    pub names: BTreeSet<String>,
    /// Namespaces.
    pub namespaces: BTreeSet<String>,
}

/// What an item was sealed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The scope.
    pub scope: SealingScope,
    /// The namespace; empty where the scope binds to none.
    pub namespace: String,
    /// The name; empty where the scope binds to none.
    pub name: String,
    /// The position of the key that opens it, in [`KeyRegistry::keys`].
    pub key: usize,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// It opens, with the key at this position of [`KeyRegistry::keys`].
    Opens(usize),
    /// It opens only as part of an object of another name, namespace or scope.
    OpensAs(Fit),
    /// No key at hand opens it as anything that was tried.
    Unknown(ItemError),
}

impl SealedSecret {
    /// Returns for every item whether a key opens it, and if not, for what it was sealed: the other scopes are
    /// tried, and the names and namespaces of `candidates`. A trial costs a private operation of RSA a key, and
    /// there are at most [`MAX_TRIALS`] an item.
    #[must_use]
    pub fn probe(&self, keys: &KeyRegistry, candidates: &Candidates) -> Vec<(String, Diagnosis)> {
        let mut likely: Vec<Fit> = Vec::new();
        let mut diagnoses = Vec::new();
        for (key, opened) in self.open_items(keys) {
            let diagnosis = match opened {
                Ok(opened) => Diagnosis::Opens(opened.key),
                Err(error) if !may_fit(&error) => Diagnosis::Unknown(error),
                Err(error) => match self.fit(&self.encrypted_data[key], keys, candidates, &likely) {
                    Some(fit) => {
                        likely.retain(|known| !known.is_of_same_label(&fit));
                        likely.insert(0, fit.clone());
                        likely.truncate(MOST_LIKELY);
                        Diagnosis::OpensAs(fit)
                    }
                    None => Diagnosis::Unknown(error),
                },
            };
            diagnoses.push((key.to_owned(), diagnosis));
        }
        diagnoses
    }

    /// Returns what an item was sealed for. What fitted others of the object is tried first.
    fn fit(&self, item: &str, keys: &KeyRegistry, candidates: &Candidates, likely: &[Fit]) -> Option<Fit> {
        let own = [(self.metadata.namespace(), self.metadata.name())];
        let namespaces =
            || own.map(|own| own.0).into_iter().chain(candidates.namespaces.iter().map(String::as_str));
        let names = || own.map(|own| own.1).into_iter().chain(candidates.names.iter().map(String::as_str));
        let known = likely.iter().map(|fit| (fit.scope, fit.namespace.as_str(), fit.name.as_str()));
        let scopes = known
            .chain([(SealingScope::ClusterWide, "", "")])
            .chain(namespaces().map(|namespace| (SealingScope::NamespaceWide, namespace, "")))
            .chain(names().map(|name| (SealingScope::Strict, self.metadata.namespace(), name)))
            .chain(namespaces().map(|namespace| (SealingScope::Strict, namespace, self.metadata.name())))
            .chain(
                namespaces()
                    .flat_map(|namespace| names().map(move |name| (SealingScope::Strict, namespace, name))),
            );
        let mut tried = BTreeSet::from([self.label()]);
        scopes
            .filter(|(scope, namespace, name)| tried.insert(scope.label(namespace, name)))
            .take(MAX_TRIALS)
            .find_map(|(scope, namespace, name)| {
                let opened = keys.open(item, &scope.label(namespace, name)).ok()?;
                Some(Fit { scope, namespace: namespace.to_owned(), name: name.to_owned(), key: opened.key })
            })
    }
}

impl Fit {
    fn is_of_same_label(&self, other: &Self) -> bool {
        self.scope.label(&self.namespace, &self.name) == other.scope.label(&other.namespace, &other.name)
    }
}

/// Returns whether an item may open under another label: not if it is none, or a key fits already.
fn may_fit(error: &ItemError) -> bool {
    match error {
        ItemError::Locked(causes) => {
            !causes.iter().any(|cause| matches!(cause, KeyCause::Changed | KeyCause::SessionKey))
        }
        ItemError::Base64(_) | ItemError::Short => false,
    }
}

/// How many labels that fitted others are tried first.
const MOST_LIKELY: usize = 8;

/// How many names, namespaces and scopes are tried for an item.
pub const MAX_TRIALS: usize = 256;

#[cfg(test)]
mod hopeless {
    use super::*;

    #[test]
    fn what_can_fit_no_label_is_not_tried() {
        let locked = |causes: &[KeyCause]| ItemError::Locked(causes.to_vec());
        assert!(may_fit(&locked(&[KeyCause::Size(4096), KeyCause::Unfit])));
        assert!(!may_fit(&ItemError::Short));
        assert!(!may_fit(&locked(&[KeyCause::Unfit, KeyCause::Changed])));
    }
}

#[cfg(all(test, feature = "aws-lc"))]
mod tests {
    use rand::rngs::OsRng;
    use serde_json::json;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::sealed::{Key, KeySize, SealingCert, SealingKey};

    #[test]
    fn what_an_item_was_sealed_for_is_found_out() {
        let key = SealingKey::generate(KeySize::Rsa2048).expect("a new key");
        let cert = SealingCert::generate(&key, "", OffsetDateTime::UNIX_EPOCH, Duration::days(1), &mut OsRng);
        let cert = cert.expect("a certificate");
        let mut keys = KeyRegistry::new();
        keys.add(Key::new(key, "new"));
        let seal = |scope: SealingScope, namespace: &str, name: &str| {
            cert.seal_value(&"x".into(), scope, namespace, name, &mut OsRng).expect("it fits")
        };
        let sealed = SealedSecret::from_json(&json!({
            "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"encryptedData": {
                "broken": "AgAA",
                "cluster": seal(SealingScope::ClusterWide, "", ""),
                "moved": seal(SealingScope::Strict, "stage", "db-old"),
                "namespace": seal(SealingScope::NamespaceWide, "shop", ""),
                "right": seal(SealingScope::Strict, "shop", "db"),
                "stranger": seal(SealingScope::Strict, "elsewhere", "db"),
            }},
        }));
        let candidates = Candidates {
            names: BTreeSet::from(["db-old".to_owned()]),
            namespaces: BTreeSet::from(["stage".to_owned()]),
        };
        let found = sealed.expect("a SealedSecret").probe(&keys, &candidates);
        let labels: Vec<_> = found
            .iter()
            .map(|(key, diagnosis)| match diagnosis {
                Diagnosis::Opens(_) => format!("{key} opens"),
                Diagnosis::OpensAs(fit) => {
                    format!("{key} {} {:?}", fit.scope, fit.scope.label(&fit.namespace, &fit.name))
                }
                Diagnosis::Unknown(error) => format!("{key}: {error}"),
            })
            .collect();
        assert_eq!(
            labels,
            [
                "broken: no key could decrypt secret",
                "cluster cluster-wide \"\"",
                "moved strict \"stage/db-old\"",
                "namespace namespace-wide \"shop\"",
                "right opens",
                "stranger: no key could decrypt secret",
            ]
        );
    }
}

//! What the repo-server says of an application, as variables.
//!
//! Invariant: what an application says itself has names that begin with `ARGOCD_ENV_` or `PARAM_`, or is in
//! `ARGOCD_APP_PARAMETERS`; nothing else decides policy, and nothing that does is there twice.

use std::collections::HashMap;

use crate::render::renderer::Origin;

/// What the repo-server says of an application.
#[derive(Debug, Default)]
pub(super) struct Facts(HashMap<String, String>);

/// Why the facts cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FactsError {
    /// A variable is there twice.
    #[error("{0} is there twice, with different values, so that nobody knows for whom this is rendered")]
    Ambiguous(&'static str),
}

impl Facts {
    /// Takes variables by name.
    pub(super) fn new(entries: impl IntoIterator<Item = (String, String)>) -> Result<Self, FactsError> {
        let mut facts = HashMap::new();
        for (name, value) in entries {
            let known = TRUSTED.iter().find(|known| **known == name);
            let old = facts.entry(name).or_insert_with(|| value.clone());
            match known {
                Some(known) if *old != value => return Err(FactsError::Ambiguous(known)),
                _ => {}
            }
        }
        Ok(Self(facts))
    }

    /// Returns a variable that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns for whom this is rendered.
    pub(super) fn origin(&self, path: &str) -> Origin {
        let fact = |name| self.get(name).unwrap_or_default().to_owned();
        let path = self.get(SOURCE_PATH).unwrap_or(path);
        Origin {
            project: fact(PROJECT),
            namespace: fact(NAMESPACE),
            repository: fact(REPOSITORY),
            path: path.to_owned(),
        }
    }

    /// Returns the name of the application, without the namespace that it is in.
    pub(super) fn app(&self) -> Option<&str> {
        // Applications outside of Argo CD's own namespace are `NAMESPACE_NAME`, and no name holds an underscore.
        self.get(APP).map(|name| name.split_once('_').map_or(name, |(_, name)| name))
    }

    /// Returns the namespace that the objects are for.
    pub(super) fn namespace(&self) -> &str {
        self.get(NAMESPACE).unwrap_or_default()
    }

    /// Returns the version of the cluster.
    pub(super) fn kube_version(&self) -> Option<&str> {
        self.get(KUBE_VERSION)
    }

    /// Returns the kinds of objects that the cluster has.
    pub(super) fn api_versions(&self) -> impl Iterator<Item = &str> {
        self.get(API_VERSIONS).unwrap_or_default().split(',').filter(|version| !version.is_empty())
    }
}

const API_VERSIONS: &str = "KUBE_API_VERSIONS";
const APP: &str = "ARGOCD_APP_NAME";
const KUBE_VERSION: &str = "KUBE_VERSION";
const NAMESPACE: &str = "ARGOCD_APP_NAMESPACE";
const PROJECT: &str = "ARGOCD_APP_PROJECT_NAME";
const REPOSITORY: &str = "ARGOCD_APP_SOURCE_REPO_URL";
const SOURCE_PATH: &str = "ARGOCD_APP_SOURCE_PATH";

/// What only the repo-server says.
const TRUSTED: [&str; 7] = [API_VERSIONS, APP, KUBE_VERSION, NAMESPACE, PROJECT, REPOSITORY, SOURCE_PATH];

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(entries: &[(&str, &str)]) -> Result<Facts, FactsError> {
        Facts::new(entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_repo_server_alone_says_for_whom() {
        let facts = facts(&[
            (PROJECT, "shop"),
            ("ARGOCD_ENV_ARGOCD_APP_PROJECT_NAME", "admin"),
            ("PARAM_ARGOCD_APP_PROJECT_NAME", "admin"),
            (NAMESPACE, "ns"),
            (REPOSITORY, "https://example.com/r"),
            (APP, "team_cart"),
        ])
        .expect("they are clear");
        let origin = facts.origin("apps/cart");
        assert_eq!(
            origin,
            Origin {
                project: "shop".to_owned(),
                namespace: "ns".to_owned(),
                repository: "https://example.com/r".to_owned(),
                path: "apps/cart".to_owned(),
            }
        );
        assert_eq!(facts.app(), Some("cart"));
    }

    #[test]
    fn nobody_says_it_again() {
        let twice = facts(&[(PROJECT, "shop"), (PROJECT, "admin")]);
        assert!(matches!(twice, Err(FactsError::Ambiguous(PROJECT))));
        let same = facts(&[(PROJECT, "shop"), (PROJECT, "shop"), ("PARAM_A", "1"), ("PARAM_A", "2")]);
        assert_eq!(same.expect("they are clear").get("PARAM_A"), Some("1"));
    }
}

//! Scopes: to which names and namespaces the values of a SealedSecret are bound.

use std::fmt;
use std::str::FromStr;

use super::object_meta::ObjectMeta;

/// To which name and namespace values are bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SealingScope {
    /// To none: whoever may create a SealedSecret anywhere can have them opened.
    ClusterWide,
    /// To a namespace.
    NamespaceWide,
    /// To a name in a namespace.
    #[default]
    Strict,
}

/// A text that is the name of no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of: strict, namespace-wide, cluster-wide")]
pub struct UnknownScope;

impl SealingScope {
    /// Every scope, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Strict, Self::NamespaceWide, Self::ClusterWide];

    /// Returns the scope that the annotations of an object ask for. A value other than `true` asks for nothing.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let is_set = |name| metadata.annotation(name) == Some("true");
        if is_set(CLUSTER_WIDE) {
            Self::ClusterWide
        } else if is_set(NAMESPACE_WIDE) {
            Self::NamespaceWide
        } else {
            Self::Strict
        }
    }

    /// Returns the name that the command line uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterWide => "cluster-wide",
            Self::NamespaceWide => "namespace-wide",
            Self::Strict => "strict",
        }
    }

    /// Returns what the session keys of the values are encrypted together with.
    #[must_use]
    pub fn label(self, namespace: &str, name: &str) -> String {
        match self {
            Self::ClusterWide => String::new(),
            Self::NamespaceWide => namespace.to_owned(),
            Self::Strict => format!("{namespace}/{name}"),
        }
    }

    /// Returns the annotation that asks for this scope; none for strict, which needs none.
    #[must_use]
    pub const fn annotation(self) -> Option<&'static str> {
        match self {
            Self::ClusterWide => Some(CLUSTER_WIDE),
            Self::NamespaceWide => Some(NAMESPACE_WIDE),
            Self::Strict => None,
        }
    }

    /// Makes the annotations of an object ask for this scope and no other.
    pub fn annotate(self, metadata: &mut ObjectMeta) {
        metadata.remove_annotation(CLUSTER_WIDE);
        metadata.remove_annotation(NAMESPACE_WIDE);
        if let Some(name) = self.annotation() {
            metadata.set_annotation(name, "true");
        }
    }
}

impl fmt::Display for SealingScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The empty text is strict, as for kubeseal.
impl FromStr for SealingScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let named = Self::ALL.into_iter().find(|scope| scope.name() == text);
        named.or(text.is_empty().then_some(Self::Strict)).ok_or(UnknownScope)
    }
}

const CLUSTER_WIDE: &str = "sealedsecrets.bitnami.com/cluster-wide";
const NAMESPACE_WIDE: &str = "sealedsecrets.bitnami.com/namespace-wide";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope(annotations: serde_json::Value) -> SealingScope {
        let metadata = ObjectMeta::parse(&json!({"annotations": annotations})).expect("metadata");
        SealingScope::of(&metadata)
    }

    #[test]
    fn only_the_exact_value_asks_for_a_scope() {
        assert_eq!(scope(json!({})), SealingScope::Strict);
        assert_eq!(scope(json!({CLUSTER_WIDE: "TRUE"})), SealingScope::Strict);
        assert_eq!(scope(json!({NAMESPACE_WIDE: "true"})), SealingScope::NamespaceWide);
    }

    #[test]
    fn the_widest_of_two_scopes_counts() {
        assert_eq!(scope(json!({CLUSTER_WIDE: "true", NAMESPACE_WIDE: "true"})), SealingScope::ClusterWide);
    }

    #[test]
    fn labels_name_what_the_scope_binds_to() {
        let labels = SealingScope::ALL.map(|scope| scope.label("myns", "myname"));
        assert_eq!(labels, ["myns/myname", "myns", ""]);
    }

    #[test]
    fn annotating_takes_the_other_scopes_out() {
        let mut metadata =
            ObjectMeta::parse(&json!({"annotations": {CLUSTER_WIDE: "true", "a": "b"}})).expect("metadata");
        SealingScope::NamespaceWide.annotate(&mut metadata);
        assert_eq!(metadata.to_json(), json!({"annotations": {"a": "b", NAMESPACE_WIDE: "true"}}));
    }
}

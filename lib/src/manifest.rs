//! Kubernetes manifests: which documents are objects, of which kind, and which of them a rule is meant for.
//!
//! A rule that selects `data` and `stringData` is meant for Secrets, but other objects have such entries,
//! too: a ConfigMap, the `spec.data` of an ExternalSecret.

mod go_yaml;
mod number;
mod print_json;
mod print_yaml;
mod shape;
mod stream;

use std::collections::BTreeSet;

use crate::format::Format;
use crate::sops::{LeafState, Selector, leaves};
use crate::tree::{NodeId, Tree, Value};

pub use go_yaml::YamlError;
pub use print_json::print_json;
pub use print_yaml::print_yaml;
pub use shape::TypeMismatch;
pub use stream::{
    DocumentError, ObjectError, ObjectKind, StreamError, arrange, check_types, read_manifests, read_object,
    read_objects, read_stream,
};

/// What a file is to a rule that selects the entries of Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// Objects, of which none is a Secret.
    NoSecret,
    /// Not one that such a rule selects from, or not one of Kubernetes.
    Other,
    /// Secrets, and objects of these other kinds from which the rule selects values.
    Secrets {
        /// The kinds, each once.
        others: BTreeSet<String>,
    },
}

impl Manifest {
    /// Returns what a plain document is.
    #[must_use]
    pub fn of(format: Format, tree: &Tree, selector: &Selector) -> Self {
        let is_for_secrets = match selector {
            Selector::EncryptedRegex(pattern) => ENTRIES.iter().any(|entry| pattern.is_match(entry)),
            _ => false,
        };
        let documents: Vec<_> = tree.documents().iter().map(|&root| kinds(tree, root)).collect();
        let objects = || documents.iter().filter_map(Option::as_ref).flatten();
        let has_secret = objects().any(|kind| is_secret(kind));
        if !is_for_secrets || objects().next().is_none() {
            return Self::Other;
        }
        if !has_secret {
            // A document that is no object may hold anything.
            let all = tree.documents().iter().zip(&documents);
            let is_manifest = |(root, kinds): (&NodeId, &Option<Vec<String>>)| {
                kinds.is_some() || tree.items(*root).next().is_none()
            };
            return if all.into_iter().all(is_manifest) { Self::NoSecret } else { Self::Other };
        }
        let selected: BTreeSet<usize> = leaves(format, tree, selector)
            .into_iter()
            .filter(|leaf| leaf.selected && leaf.state != LeafState::Empty)
            .map(|leaf| tree.document_of(leaf.id))
            .collect();
        let of_document = |index: usize| documents.get(index).and_then(Option::as_ref).into_iter().flatten();
        let others = selected.into_iter().flat_map(of_document).filter(|kind| !is_secret(kind));
        Self::Secrets { others: others.cloned().collect() }
    }
}

/// Returns the kind of the object that a document is, or the kinds in a list of objects.
fn kinds(tree: &Tree, root: NodeId) -> Option<Vec<String>> {
    let kind = kind(tree, root)?;
    let items = entry(tree, root, "items").filter(|_| kind.ends_with("List"));
    match items.filter(|&items| tree.node(items).value == Value::List) {
        // The list says what its items leave out.
        Some(items) => {
            let of_list = kind.strip_suffix("List").filter(|kind| !kind.is_empty()).map(str::to_owned);
            let kind = |item| text(tree, item, "kind").or_else(|| of_list.clone());
            Some(tree.items(items).filter_map(kind).collect())
        }
        None => Some(vec![kind]),
    }
}

fn kind(tree: &Tree, object: NodeId) -> Option<String> {
    text(tree, object, "apiVersion")?;
    text(tree, object, "kind")
}

fn text(tree: &Tree, object: NodeId, name: &str) -> Option<String> {
    match tree.node(entry(tree, object, name)?).value {
        Value::Str(text) => Some(String::from_utf8_lossy(tree.bytes(text)).into_owned()),
        _ => None,
    }
}

fn entry(tree: &Tree, map: NodeId, name: &str) -> Option<NodeId> {
    let is_map = tree.node(map).value == Value::Map;
    tree.items(map).find(|&id| is_map && tree.key(id) == Some(name.as_bytes()))
}

fn is_secret(kind: &str) -> bool {
    SECRETS.contains(&kind)
}

/// The entries of a Secret that hold its values.
const ENTRIES: [&str; 2] = ["data", "stringData"];

/// The kinds that hold secret values in such entries: that of Kubernetes, and that of an operator which
/// makes Secrets from files of SOPS.
const SECRETS: [&str; 2] = ["Secret", "SopsSecret"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sops::Pattern;

    fn manifest(text: &str, pattern: &str) -> Manifest {
        let selector = Selector::EncryptedRegex(Pattern::parse(pattern).expect("a pattern"));
        Manifest::of(Format::Yaml, &Format::Yaml.read(text).expect("the text is YAML"), &selector)
    }

    const RULE: &str = "^(data|stringData)$";
    const SECRET: &str = "apiVersion: v1\nkind: Secret\ndata: {a: eA==}\n";
    const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\ndata: {a: x}\n";

    #[test]
    fn objects_without_a_secret_are_none_of_the_rule() {
        assert_eq!(manifest(CONFIG, RULE), Manifest::NoSecret);
        assert_eq!(manifest(&format!("---\n{CONFIG}---\n{CONFIG}"), RULE), Manifest::NoSecret);
        let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, data: {a: x}}\n";
        assert_eq!(manifest(list, RULE), Manifest::NoSecret);
        assert_eq!(
            manifest(&list.replace("ConfigMap", "Secret"), RULE),
            Manifest::Secrets { others: BTreeSet::new() }
        );
    }

    #[test]
    fn items_of_a_list_need_not_say_what_it_says() {
        let with_kind = "apiVersion: v1\nkind: List\nitems:\n- {kind: Secret, data: {a: eA==}}\n";
        let without = "apiVersion: v1\nkind: SecretList\nitems:\n- {data: {a: eA==}}\n";
        for list in [with_kind, without] {
            assert_eq!(manifest(list, RULE), Manifest::Secrets { others: BTreeSet::new() });
            assert_eq!(manifest(&list.replace("Secret", "ConfigMap"), RULE), Manifest::NoSecret);
        }
    }

    #[test]
    fn what_is_no_object_or_has_a_rule_of_its_own_is_not_judged() {
        assert_eq!(manifest("data: {a: x}\n", RULE), Manifest::Other);
        assert_eq!(manifest(&format!("{CONFIG}---\ndata: {{a: x}}\n"), RULE), Manifest::Other);
        assert_eq!(manifest(CONFIG, "^password$"), Manifest::Other);
    }

    #[test]
    fn other_kinds_beside_secrets_are_told_if_the_rule_selects_from_them() {
        let others = |text: &str| match manifest(text, RULE) {
            Manifest::Secrets { others } => others.into_iter().collect::<Vec<_>>().join(" "),
            other => panic!("{other:?}"),
        };
        assert_eq!(others(SECRET), "");
        assert_eq!(others(&format!("{SECRET}---\n{CONFIG}---\n{CONFIG}")), "ConfigMap");
        assert_eq!(others(&format!("{SECRET}---\napiVersion: v1\nkind: Service\nspec: {{}}\n")), "");
    }
}

//! Objects of Kubernetes in a file: documents, and the items of lists.

use super::outline::{Entry, Outline, VISIT, cut};

/// An object of Kubernetes.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    /// What it says.
    pub entry: Entry<'a>,
}

/// Returns all objects of a file: what has a kind, and what lists hold.
pub fn objects<'a>(outline: &'a Outline<'_>) -> impl Iterator<Item = Object<'a>> {
    let mut found = Vec::new();
    // Whether an alias stands for it: lists of aliases of lists are many.
    let mut next: Vec<_> = outline.roots().map(|root| (root, false)).collect();
    next.reverse();
    while let Some((entry, is_shared)) = next.pop() {
        if is_shared && !outline.spend(VISIT) {
            break;
        }
        let object = Object { entry };
        // JSON6902 patches are lists, too; what has no kind in them is no object.
        let items = if entry.is_list() {
            Some(entry)
        } else {
            entry.get("items").filter(|items| items.is_list() && object.kind().ends_with("List"))
        };
        match items {
            Some(items) => {
                let at = next.len();
                let items = items.entries().filter(|item| item.is_map());
                next.extend(items.map(|item| (item, is_shared || item.is_alias())));
                next[at..].reverse();
            }
            None if !object.kind().is_empty() => found.push(object),
            None => {}
        }
    }
    found.into_iter()
}

impl<'a> Object<'a> {
    /// Returns its kind, as it is written.
    #[must_use]
    pub fn kind(self) -> &'a str {
        self.entry.text_at(&["kind"]).unwrap_or_default()
    }

    /// Returns the version of its API, as it is written.
    #[must_use]
    pub fn api_version(self) -> &'a str {
        self.entry.text_at(&["apiVersion"]).unwrap_or_default()
    }

    /// Returns the group of its API; empty for the core.
    #[must_use]
    pub fn group(self) -> &'a str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// Returns its name, empty if it has none.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.entry.text_at(&["metadata", "name"]).unwrap_or_default()
    }

    /// Returns its namespace, empty if it names none.
    #[must_use]
    pub fn namespace(self) -> &'a str {
        self.entry.text_at(&["metadata", "namespace"]).unwrap_or_default()
    }

    /// Returns what findings call it: `Kind/namespace/name`, or `Kind/name`.
    #[must_use]
    pub fn label(self) -> String {
        let parts = [self.kind(), self.namespace(), self.name()];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.map(|part| cut(part, MAX_PART)).collect::<Vec<_>>().join("/")
    }

    /// Returns whether it is a Secret of Kubernetes itself.
    #[must_use]
    pub fn is_secret(self) -> bool {
        // A template may say which version it is.
        let version = self.api_version();
        self.kind() == "Secret" && (matches!(version, "v1" | "") || version.starts_with("{{"))
    }

    /// Returns whether it is a SealedSecret.
    #[must_use]
    pub fn is_sealed_secret(self) -> bool {
        self.kind() == "SealedSecret" && matches!(self.group(), "bitnami.com" | "")
    }

    /// Returns an annotation.
    #[must_use]
    pub fn annotation(self, name: &str) -> Option<Entry<'a>> {
        self.entry.at(&["metadata", "annotations", name])
    }
}

/// How much of a name findings tell: no cluster takes longer ones.
const MAX_PART: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_documents_and_items_of_lists() {
        let text = "kind: A\n---\nkind: List\nitems:\n- {kind: B, metadata: {name: n, namespace: s}}\n- x: y\n\
                    ---\n- op: add\n---\nkind: SecretList\nitems: [{kind: Secret}]\n---\n[{kind: C}]\n";
        let outline = Outline::read(text);
        let labels: Vec<_> = objects(&outline).map(Object::label).collect();
        assert_eq!(labels, ["A", "B/s/n", "Secret", "C"]);
    }

    #[test]
    fn lists_of_aliases_of_lists_end() {
        let mut text = "kind: List\nitems:\n- &a0 {kind: List, items: [{kind: A}, {kind: A}]}\n".to_owned();
        for level in 1..40 {
            text += &format!("- &a{level} {{kind: List, items: [*a{0}, *a{0}]}}\n", level - 1);
        }
        let outline = Outline::read(&text);
        assert!(objects(&outline).count() > 1000);
        assert!(outline.is_exhausted());
    }
}

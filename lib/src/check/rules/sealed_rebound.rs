//! SEAL004: a SealedSecret was renamed, so that its values cannot be unsealed.

use std::collections::{HashMap, HashSet};

use super::sealed_objects::sealed_objects;
use crate::check::{Check, Context, Entry, File, Finding, Findings, Needles, Object, Rule, Severity};
use crate::sealed::SealingScope;

pub(super) static RULE: Rule = Rule {
    id: "SEAL004",
    severity: Severity::Error,
    title: "a SealedSecret was renamed, so that its values cannot be unsealed",
    explanation: "A sealed value is bound to the name and the namespace that it was sealed for, or to the namespace only \
                  (scope namespace-wide), or to none (cluster-wide). Under another name, in another namespace or with \
                  another scope the controller cannot open it, and the Secret is never updated.\n\n\
                  Found are values that were in the file before, and are now in an object that they are not bound to. \
                  Accepted are moves that the scope allows, and a namespace that is written down where there was none.\n\n\
                  Seal the Secret again under its new name: `kubectl seal SECRET > SEALED`. With access to the cluster, \
                  `kubectl seal unseal` gives the Secret back.",
    needles: Needles::SECRET,
    check: Check::File(check),
};

fn check(file: &File<'_>, _context: &Context<'_>, found: &mut Findings) {
    let Some(old) = file.old() else { return };
    let before: Vec<_> = sealed_objects(old).into_iter().map(Binding::of).collect();
    if before.is_empty() {
        return;
    }
    let (mut fitting, mut known) = (HashSet::new(), HashMap::new());
    for binding in before.iter().flatten() {
        for value in values(binding.object) {
            fitting.extend(binding.fits().into_iter().map(|place| (value, place)));
            known.entry(value).or_insert(binding);
        }
    }
    for object in sealed_objects(file) {
        let Some(binding) = Binding::of(object) else { continue };
        let lost = values(object).find_map(|value| {
            let was = known.get(value)?;
            let fits = binding.asks().into_iter().any(|place| fitting.contains(&(value, place)));
            (!fits).then_some(*was)
        });
        if let Some(was) = lost {
            tell(file, &binding, was, found);
        }
    }
}

/// What the values of an object are bound to.
struct Binding<'a> {
    object: Object<'a>,
    scope: SealingScope,
    namespace: &'a str,
    name: &'a str,
}

/// What a value can be bound to: a scope, a namespace or what stands for one, and a name.
type Place<'a> = (SealingScope, &'a str, &'a str);

impl<'a> Binding<'a> {
    /// Returns what the values of an object are bound to, if that is written down.
    fn of(object: Object<'a>) -> Option<Self> {
        let metadata = object.entry.get("metadata")?;
        let written = [&["name"][..], &["namespace"], &["annotations"]];
        if written.iter().filter_map(|path| metadata.at(path)).any(Entry::has_action) {
            return None;
        }
        let is_set = |scope: &SealingScope| {
            let name = scope.annotation();
            name.and_then(|name| object.annotation(name)).and_then(Entry::text) == Some("true")
        };
        let scopes = [SealingScope::ClusterWide, SealingScope::NamespaceWide];
        let scope = scopes.into_iter().find(is_set).unwrap_or_default();
        let binding = Self { object, scope, namespace: object.namespace(), name: object.name() };
        (scope != SealingScope::Strict || !binding.name.is_empty()).then_some(binding)
    }

    /// Returns the names of all places that its values can be opened at.
    fn fits(&self) -> [Place<'a>; 2] {
        self.places(if self.namespace().is_empty() { [UNKNOWN; 2] } else { [self.namespace(), SOME] })
    }

    /// Returns the names of places of which one has to fit.
    fn asks(&self) -> [Place<'a>; 2] {
        self.places(if self.namespace().is_empty() { [SOME, UNKNOWN] } else { [self.namespace(), UNKNOWN] })
    }

    fn places(&self, namespaces: [&'a str; 2]) -> [Place<'a>; 2] {
        let name = if self.scope == SealingScope::Strict { self.name } else { "" };
        namespaces.map(|namespace| (self.scope, namespace, name))
    }

    fn namespace(&self) -> &'a str {
        if self.scope == SealingScope::ClusterWide { "" } else { self.namespace }
    }
}

/// Returns the sealed values of an object.
fn values<'a>(object: Object<'a>) -> impl Iterator<Item = &'a str> {
    let values = object.entry.at(&["spec", "encryptedData"]).map(Entry::entries);
    // What is short is no sealed value, but a placeholder.
    values.into_iter().flatten().filter_map(Entry::text).filter(|value| value.len() >= 100)
}

fn tell(file: &File<'_>, binding: &Binding<'_>, was: &Binding<'_>, found: &mut Findings) {
    let (what, path): (_, &[&str]) = if binding.scope != was.scope {
        ("scope", &["metadata", "annotations"])
    } else if ![binding.namespace, ""].contains(&was.namespace) && !binding.namespace.is_empty() {
        ("namespace", &["metadata", "namespace"])
    } else {
        ("name", &["metadata", "name"])
    };
    let entry = binding.object.entry;
    let place = entry.at(path).or_else(|| entry.get("metadata")).unwrap_or(entry);
    let message = format!("the values were sealed for another {what}, and cannot be unsealed for this one");
    let finding = Finding::new(&RULE, file, place.span(), message)
        .at(binding.object.label(), place.pointer(Some(entry)))
        .remedy(format!("seal the Secret again: kubectl seal SECRET > {}", file.path()));
    found.add(finding);
}

/// Stands for any namespace that is written down: no namespace is called so.
const SOME: &str = "*";
/// Stands for a namespace that is not written down, and may be any.
const UNKNOWN: &str = "?";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::Repository;

    fn sealed(metadata: &str, value: char) -> String {
        let value = value.to_string().repeat(400);
        format!("kind: SealedSecret\nmetadata: {{{metadata}}}\nspec:\n  encryptedData:\n    a: {value}\n")
    }

    fn found(old: &str, new: &str) -> Vec<String> {
        let found = Repository::default().with_old("a.yaml", old).with("a.yaml", new).check();
        let found = found.into_iter().filter(|finding| finding.rule == &RULE);
        found.map(|finding| format!("{} {}", finding.start.line, finding.pointer)).collect()
    }

    const CLUSTER: &str = "annotations: {sealedsecrets.bitnami.com/cluster-wide: 'true'}";
    const NAMESPACE: &str = "annotations: {sealedsecrets.bitnami.com/namespace-wide: 'true'}";

    #[test]
    fn values_under_another_name_are_found() {
        let old = sealed("name: a, namespace: n", 'A');
        let changes = [
            ("name: b, namespace: n".to_owned(), "2 /metadata/name"),
            ("name: a, namespace: m".to_owned(), "2 /metadata/namespace"),
            ("name: b".to_owned(), "2 /metadata/name"),
            (format!("name: a, namespace: n, {NAMESPACE}"), "2 /metadata/annotations"),
            (format!("name: a, namespace: n, {CLUSTER}"), "2 /metadata/annotations"),
        ];
        for (metadata, wanted) in changes {
            assert_eq!(found(&old, &sealed(&metadata, 'A')), [wanted], "{metadata}");
        }
        let wide = |name: &str, namespace: &str| format!("name: {name}, namespace: {namespace}, {NAMESPACE}");
        let moved = found(&sealed(&wide("a", "n"), 'A'), &sealed(&wide("a", "m"), 'A'));
        assert_eq!(moved, ["2 /metadata/namespace"]);
        let copied = format!("{old}---\n{}", sealed("name: b, namespace: n", 'A'));
        assert_eq!(found(&old, &copied), ["8 /metadata/name"]);
        let unset = found(&sealed(&format!("name: a, namespace: n, {CLUSTER}"), 'A'), &old);
        assert_eq!(unset, ["2 /metadata"]);
    }

    #[test]
    fn what_can_still_be_unsealed_is_clean() {
        let old = sealed("name: a, namespace: n", 'A');
        let clean = [
            (old.clone(), sealed("name: b, namespace: m", 'B')),
            (old.clone(), sealed("name: a", 'A')),
            (sealed("name: a", 'A'), old.clone()),
            (old.clone(), sealed("name: a, namespace: n, labels: {x: y}", 'A')),
            (old.clone(), format!("{}---\n{old}", sealed("name: b, namespace: n", 'B'))),
            (old.clone(), sealed("name: '{{ .n }}', namespace: m", 'A')),
            (
                sealed(&format!("name: a, namespace: n, {CLUSTER}"), 'A'),
                sealed(&format!("name: b, namespace: m, {CLUSTER}"), 'A'),
            ),
            (
                sealed(&format!("name: a, namespace: n, {NAMESPACE}"), 'A'),
                sealed(&format!("name: b, namespace: n, {NAMESPACE}"), 'A'),
            ),
        ];
        for (old, new) in clean {
            assert_eq!(found(&old, &new), [""; 0], "{new}");
        }
        let placeholder = |name: &str| {
            format!("kind: SealedSecret\nmetadata: {{name: {name}}}\nspec: {{encryptedData: {{a: TODO}}}}\n")
        };
        assert_eq!(found(&placeholder("a"), &placeholder("b")), [""; 0]);
    }
}

//! What is wrong with SealedSecrets, as far as it can be told without a key and without a cluster.

use serde_json::{Value as Json, json};

use super::cert::SealingCert;
use super::file::objects;
use super::item::{ItemError, key_bits};
use super::registry::KeyRegistry;
use super::scope::SealingScope;
use super::sealed_secret::SealedSecret;
use super::unseal::{Unseal, UnsealError, ValueError};
use super::{API_VERSION, KIND};
use crate::template::{self, Surroundings};
use crate::tree::{MetadataEntry, NodeId, Tree, Value};

/// Something that is wrong with a SealedSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The 1-based line.
    pub line: usize,
    /// The name of the object, empty if it has none.
    pub name: String,
    /// What is wrong.
    pub kind: FlawKind,
}

/// What is wrong with a SealedSecret. No variant holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlawKind {
    /// An annotation asks for no scope, though it has the name of one that does.
    #[error("the annotation {0} asks for nothing, as it is not \"true\"")]
    Annotation(&'static str),
    /// The values are sealed as kubeseal did it before 0.7.
    #[error(
        "the values stand in the field data, which kubeseal stopped writing in 2019; seal the Secret again"
    )]
    Deprecated,
    /// There are no values.
    #[error("there are no values")]
    Empty,
    /// Values stand in clear.
    #[error("{0} is in clear")]
    InClear(
        /// Where.
        String,
    ),
    /// A value is no sealed value.
    #[error("{key} is no sealed value: {source}")]
    Item {
        /// The key of the value.
        key: String,
        /// Why not.
        source: ItemError,
    },
    /// A key of a Secret cannot be called so.
    #[error("{0:?} cannot be a key of a Secret: only letters, digits, '-', '_' and '.' can")]
    Key(
        /// The key.
        String,
    ),
    /// Nothing of Kubernetes can be called so.
    #[error("{field} {name:?} is no name: only lowercase letters, digits{} can be in it", if *.field == NAMESPACE { " and '-'" } else { ", '-' and '.'" })]
    Name {
        /// Where it stands.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// The object has no name.
    #[error("metadata.name is missing")]
    NoName,
    /// The object has no namespace, which its values are bound to.
    #[error("metadata.namespace is missing, to which the values are bound")]
    NoNamespace,
    /// A value is of another type.
    #[error("{0} is not a text")]
    NotText(
        /// Where.
        String,
    ),
    /// A template fails with the values that it is about.
    #[error("the template {key} fails: {why}")]
    Render {
        /// The key of the template.
        key: String,
        /// Why.
        why: String,
    },
    /// The scope of the object is not that of its template.
    #[error("the template is annotated as {template}, but the object as {object}: that of the object counts")]
    Scopes {
        /// What the object asks for.
        object: SealingScope,
        /// What the template asks for.
        template: SealingScope,
    },
    /// A field is not as it should be.
    #[error("{0}")]
    Shape(
        /// What is wrong.
        String,
    ),
    /// A value was sealed for a key of another size.
    #[error("{key} was sealed for a key of {found} bits, and the certificate has {wanted}")]
    Size {
        /// The key of the value.
        key: String,
        /// The size of the key it was sealed for.
        found: usize,
        /// The size of the certificate's key.
        wanted: usize,
    },
    /// A template cannot be read.
    #[error("the template {key} cannot be read: {why}")]
    Template {
        /// The key of the template.
        key: String,
        /// Why not.
        why: String,
    },
    /// The object is of a version that nothing reads.
    #[error("the version {0:?} is not bitnami.com/v1alpha1")]
    Version(
        /// The version.
        String,
    ),
}

impl FlawKind {
    /// Returns what the flaw is called in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Annotation(_) => "scope-annotation",
            Self::Deprecated => "deprecated",
            Self::Empty => "empty",
            Self::InClear(_) => "in-clear",
            Self::Item { .. } => "malformed",
            Self::Key(_) => "key-name",
            Self::Name { .. } => "name",
            Self::NoName => "no-name",
            Self::NoNamespace => "no-namespace",
            Self::NotText(_) => "not-text",
            Self::Scopes { .. } => "other-scope",
            Self::Shape(_) => "shape",
            Self::Size { .. } => "other-size",
            Self::Render { .. } | Self::Template { .. } => "template",
            Self::Version(_) => "version",
        }
    }
}

/// Returns how many objects of a tree call themselves SealedSecrets, and what is wrong with them, in the order of
/// the text. With a certificate, values have to be sealed for a key of its size. `namespace` is that of objects
/// that name none. A Secret in clear beside SealedSecrets is a flaw, too.
#[must_use]
pub fn flaws(tree: &Tree, cert: Option<&SealingCert>, namespace: Option<&str>) -> (usize, Vec<Flaw>) {
    let (mut count, mut flaws) = (0, Vec::new());
    for node in objects(tree) {
        let mut inspection = Inspection::new(tree, node, cert);
        match text(tree, node, &["kind"]) {
            Some(kind) if kind == KIND.as_bytes() => {
                count += 1;
                inspection.object(namespace);
            }
            Some(b"Secret") => inspection.secret(),
            _ => {}
        }
        inspection.flaws.sort_by_key(|flaw| flaw.line);
        flaws.append(&mut inspection.flaws);
    }
    if count == 0 { (0, Vec::new()) } else { (count, flaws) }
}

/// Returns which templates of the SealedSecrets of a tree fail with the values that the keys open. Of an object
/// whose values do not all open, nothing is said. `namespace` is that of objects that name none.
#[must_use]
pub fn render_flaws(
    tree: &Tree,
    keys: &KeyRegistry,
    namespace: Option<&str>,
    surroundings: &mut Surroundings<'_>,
) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for node in objects(tree) {
        let mut inspection = Inspection::new(tree, node, None);
        // What is no SealedSecret is a flaw of another kind.
        let Ok(mut sealed) = SealedSecret::from_json(&tree.to_json(node)) else { continue };
        if let Some(namespace) = namespace.filter(|_| sealed.metadata.namespace().is_empty()) {
            sealed.metadata.set_namespace(namespace);
        }
        if let Err(UnsealError::Values(errors)) = sealed.unseal(keys, Unseal::default(), surroundings) {
            for (key, error) in errors {
                if let ValueError::Template(error) = error {
                    let path = ["spec", "template", "data", &key];
                    inspection.tell(&path, FlawKind::Render { why: error.to_string(), key: key.clone() });
                }
            }
        }
        inspection.flaws.sort_by_key(|flaw| flaw.line);
        flaws.append(&mut inspection.flaws);
    }
    flaws
}

/// One object that is looked at.
struct Inspection<'a> {
    tree: &'a Tree,
    node: NodeId,
    name: String,
    cert: Option<&'a SealingCert>,
    flaws: Vec<Flaw>,
}

impl<'a> Inspection<'a> {
    fn new(tree: &'a Tree, node: NodeId, cert: Option<&'a SealingCert>) -> Self {
        let name = text(tree, node, &["metadata", "name"]).unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        Self { tree, node, name, cert, flaws: Vec::new() }
    }

    /// Looks at a Secret: its values are in clear, unless SOPS encrypted the file.
    fn secret(&mut self) {
        let version = text(self.tree, self.node, &["apiVersion"]).unwrap_or(b"v1");
        if version != b"v1" || *self.tree.metadata() != MetadataEntry::Absent {
            return;
        }
        for field in ["data", "stringData"] {
            self.clear_values_of(&[field]);
        }
    }

    fn object(&mut self, namespace: Option<&str>) {
        let version = text(self.tree, self.node, &["apiVersion"]).unwrap_or_default();
        if version != API_VERSION.as_bytes() {
            let version = String::from_utf8_lossy(version).into_owned();
            self.tell(&["apiVersion"], FlawKind::Version(version));
        }
        self.clear_values();
        self.copies();
        self.spelling();
        self.items();
        self.templates();
        match SealedSecret::from_any_json(&self.without_values()) {
            Ok(sealed) => self.meaning(&sealed, namespace),
            Err(error) => self.tell(&[], FlawKind::Shape(error.to_string())),
        }
    }

    /// Looks at what the object says as a whole.
    fn meaning(&mut self, sealed: &SealedSecret, namespace: Option<&str>) {
        if sealed.metadata.name().is_empty() {
            self.tell(&["metadata"], FlawKind::NoName);
        }
        for (field, name) in [(NAME, sealed.metadata.name()), (NAMESPACE, sealed.metadata.namespace())] {
            if !name.is_empty() && !is_name(name, field != NAMESPACE) {
                let path = ["metadata", field.trim_start_matches("metadata.")];
                self.tell(&path, FlawKind::Name { field, name: name.to_owned() });
            }
        }
        let (object, template) = (sealed.scope(), SealingScope::of(&sealed.template.metadata));
        let has_namespace = namespace.is_some() || !sealed.metadata.namespace().is_empty();
        if object != SealingScope::ClusterWide && !has_namespace {
            self.tell(&["metadata"], FlawKind::NoNamespace);
        }
        for name in SealingScope::ALL.into_iter().filter_map(SealingScope::annotation) {
            if sealed.metadata.annotation(name).is_some_and(|value| value != "true" && value != "false") {
                self.tell(&["metadata", "annotations", name], FlawKind::Annotation(name));
            }
        }
        // kubeseal annotates both.
        if template != SealingScope::Strict && template != object {
            self.tell(&["metadata"], FlawKind::Scopes { object, template });
        }
        if sealed.deprecated_data.is_some() {
            self.tell(&["spec", "data"], FlawKind::Deprecated);
        } else if sealed.encrypted_data.is_empty() && self.has_no_items() && sealed.template.data.is_empty() {
            self.tell(&["spec"], FlawKind::Empty);
        }
    }

    fn has_no_items(&self) -> bool {
        let items = find(self.tree, self.node, &["spec", "encryptedData"]);
        items.is_none_or(|items| self.tree.items(items).next().is_none())
    }

    /// Looks for values that should be sealed.
    fn clear_values(&mut self) {
        let places: [&[&str]; 6] = [
            &["data"],
            &["stringData"],
            &["spec", "data"],
            &["spec", "stringData"],
            &["spec", "template", "stringData"],
            &["stringdata"],
        ];
        for path in places {
            self.clear_values_of(path);
        }
    }

    fn clear_values_of(&mut self, path: &[&str]) {
        let Some(map) = find(self.tree, self.node, path) else { return };
        if self.tree.node(map).value != Value::Map {
            return;
        }
        for value in self.tree.items(map) {
            let key = String::from_utf8_lossy(self.tree.key(value).unwrap_or_default());
            let place = format!("{}.{key}", path.join("."));
            self.tell_at(value, FlawKind::InClear(place));
        }
    }

    /// Looks for what `kubectl apply` leaves: a copy of the Secret that the template was made of.
    fn copies(&mut self) {
        let template = ["spec", "template", "metadata", "annotations", LAST_APPLIED];
        for path in [&template[..], &template[2..]] {
            let Some(copy) = text(self.tree, self.node, path) else { continue };
            // What cannot be read may hold anything.
            let copy: Json = serde_json::from_slice(copy).unwrap_or_else(|_| json!({"data": {"": ""}}));
            let has = |field: &str| copy[field].as_object().is_some_and(|values| !values.is_empty());
            if copy["kind"] != KIND && (has("data") || has("stringData")) {
                let place = format!("the copy of the Secret in {}", path.join("."));
                self.tell(path, FlawKind::InClear(place));
            }
        }
    }

    /// Looks for fields that nothing reads, as they are spelled otherwise.
    fn spelling(&mut self) {
        let Some(spec) = find(self.tree, self.node, &["spec"]) else { return };
        if self.tree.node(spec).value != Value::Map {
            return;
        }
        for field in self.tree.items(spec) {
            let key = String::from_utf8_lossy(self.tree.key(field).unwrap_or_default());
            let meant =
                ["encryptedData", "template"].into_iter().find(|name| name.eq_ignore_ascii_case(&key));
            if let Some(meant) = meant.filter(|&meant| meant != key) {
                self.tell_at(
                    field,
                    FlawKind::Shape(format!("nothing reads spec.{key}: it is called {meant}")),
                );
            }
        }
    }

    fn items(&mut self) {
        let Some(items) = find(self.tree, self.node, &["spec", "encryptedData"]) else { return };
        if self.tree.node(items).value != Value::Map {
            let text = "spec.encryptedData is not a map".to_owned();
            return self.tell_at(items, FlawKind::Shape(text));
        }
        for item in self.tree.items(items) {
            let key = String::from_utf8_lossy(self.tree.key(item).unwrap_or_default()).into_owned();
            self.key(item, &key);
            let Value::Str(value) = self.tree.node(item).value else {
                self.tell_at(item, FlawKind::NotText(format!("spec.encryptedData.{key}")));
                continue;
            };
            let value = String::from_utf8_lossy(self.tree.bytes(value)).into_owned();
            match (key_bits(&value), self.cert) {
                (Err(source), _) => self.tell_at(item, FlawKind::Item { key, source }),
                (Ok(found), Some(cert)) if found.div_ceil(8) != cert.bits().div_ceil(8) => {
                    self.tell_at(item, FlawKind::Size { key, found, wanted: cert.bits() });
                }
                _ => {}
            }
        }
    }

    fn templates(&mut self) {
        let Some(templates) = find(self.tree, self.node, &["spec", "template", "data"]) else { return };
        if self.tree.node(templates).value != Value::Map {
            return;
        }
        for template in self.tree.items(templates) {
            let key = String::from_utf8_lossy(self.tree.key(template).unwrap_or_default()).into_owned();
            self.key(template, &key);
            if let Value::Str(source) = self.tree.node(template).value {
                let source = String::from_utf8_lossy(self.tree.bytes(source)).into_owned();
                if let Err(error) = template::check(&key, &source, &template::Limits::default()) {
                    let why = error.to_string();
                    self.tell_at(template, FlawKind::Template { key, why });
                }
            }
        }
    }

    fn key(&mut self, node: NodeId, key: &str) {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_key = !key.is_empty() && key.len() <= 253 && key.bytes().all(is_fine);
        if !is_key || key == "." || key.starts_with("..") {
            self.tell_at(node, FlawKind::Key(key.to_owned()));
        }
    }

    /// Returns the object without what it has in clear.
    fn without_values(&self) -> Json {
        let mut object = self.tree.to_json(self.node);
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.shift_remove("stringData");
            if spec.get("data").is_some_and(Json::is_object) {
                spec.shift_remove("data");
            }
        }
        object
    }

    /// Tells a flaw of what stands at a path, or as far along it as there is something.
    fn tell(&mut self, path: &[&str], kind: FlawKind) {
        let place = (0..=path.len()).rev().find_map(|length| find(self.tree, self.node, &path[..length]));
        self.tell_at(place.unwrap_or(self.node), kind);
    }

    fn tell_at(&mut self, node: NodeId, kind: FlawKind) {
        let line = self.tree.line(self.tree.node(node).key_start);
        self.flaws.push(Flaw { line, name: self.name.clone(), kind });
    }
}

fn text<'a>(tree: &'a Tree, object: NodeId, path: &[&str]) -> Option<&'a [u8]> {
    match tree.node(find(tree, object, path)?).value {
        Value::Str(text) => Some(tree.bytes(text)),
        _ => None,
    }
}

fn find(tree: &Tree, object: NodeId, path: &[&str]) -> Option<NodeId> {
    path.iter().try_fold(object, |node, name| {
        let is_map = tree.node(node).value == Value::Map;
        tree.items(node).filter(|&id| is_map && tree.key(id) == Some(name.as_bytes())).last()
    })
}

/// Returns whether something can be called so: by labels of DNS, of which there may be several.
fn is_name(name: &str, with_dots: bool) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        ends.is_some_and(|(&first, &last)| is_fine(first) && is_fine(last))
            && bytes.iter().all(|&byte| is_fine(byte) || byte == b'-')
    };
    if with_dots {
        name.len() <= 253 && name.split('.').all(is_label)
    } else {
        name.len() <= 63 && is_label(name)
    }
}

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::sealed::base64;

    fn names(text: &str) -> Vec<(usize, &'static str)> {
        let tree = Format::Yaml.read(text).expect("YAML");
        flaws(&tree, None, None).1.into_iter().map(|flaw| (flaw.line, flaw.kind.name())).collect()
    }

    fn item(bits: u16) -> String {
        let length = bits / 8;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.resize(2 + usize::from(length) + 16, 1);
        base64::encode(&bytes)
    }

    #[test]
    fn a_good_object_has_no_flaw() {
        let text = format!(
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: a\n  namespace: b\nspec:\n  \
             encryptedData:\n    c: {}\n  template:\n    data:\n      d: '{{{{ .c }}}}'\n      e: null\n",
            item(2048)
        );
        assert_eq!(names(&text), []);
    }

    #[test]
    fn every_flaw_is_told_with_its_line() {
        let text = "apiVersion: bitnami.com/v1\nkind: SealedSecret\nmetadata:\n  annotations:\n    \
                    sealedsecrets.bitnami.com/cluster-wide: 'True'\nstringData:\n  a: x\nspec:\n  encryptedData:\n    \
                    b: 1\n    c d: eA==\n    e: '@'\n  template:\n    metadata:\n      annotations:\n        \
                    sealedsecrets.bitnami.com/namespace-wide: 'true'\n    data:\n      ..f: '{{'\n";
        assert_eq!(
            names(text),
            [
                (1, "version"),
                (3, "no-name"),
                (3, "no-namespace"),
                (3, "other-scope"),
                (5, "scope-annotation"),
                (7, "in-clear"),
                (10, "not-text"),
                (11, "key-name"),
                (11, "malformed"),
                (12, "malformed"),
                (18, "key-name"),
                (18, "template"),
            ]
        );
    }

    #[test]
    fn objects_of_lists_are_looked_at_and_others_are_not() {
        let text = "kind: ConfigMap\ndata:\n  a: x\n---\nkind: List\nitems:\n- kind: SealedSecret\n  apiVersion: bitnami.com/v1alpha1\n  \
                    metadata: {name: a, namespace: b}\n";
        assert_eq!(names(text), [(7, "empty")]);
        assert_eq!(names("kind: SealedSecret\nspec: x\n"), [(1, "version"), (1, "shape")]);
    }

    #[test]
    fn a_secret_in_clear_beside_a_sealed_one_is_a_flaw() {
        let clear = "kind: Secret\napiVersion: v1\nstringData:\n  a: x\ndata:\n";
        let sealed =
            "---\nkind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {name: a, namespace: b}\n";
        assert_eq!(names(&format!("{clear}{sealed}")), [(4, "in-clear"), (7, "empty")]);
        assert_eq!(names(clear), []);
    }

    #[test]
    fn names_copies_and_emptiness_are_told() {
        let object = |namespace: &str, spec: &str| {
            format!(
                "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: a.b\n  namespace: {namespace}\n\
                 spec:\n  encryptedData: {{}}\n{spec}"
            )
        };
        assert_eq!(names(&object("c", "")), [(6, "empty")]);
        assert_eq!(names(&object("C.d", "")), [(5, "name"), (6, "empty")]);
        let copy = |copy: &str| {
            let copy = format!("      annotations:\n        {LAST_APPLIED}: '{copy}'\n");
            names(&object("c", &format!("  template:\n    data: {{a: b}}\n    metadata:\n{copy}")))
        };
        assert_eq!(copy(r#"{"kind":"Secret","data":{"a":"eA=="}}"#), [(12, "in-clear")]);
        assert_eq!(copy(r#"{"kind":"Secret"}"#), []);
        assert_eq!(copy("hush"), [(12, "in-clear")]);
    }

    #[test]
    fn templates_that_fail_are_told() {
        let text = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a, namespace: b}\nspec:\n  \
                    template:\n    data:\n      c: fine\n      d: '{{ fail \"no\" }}'\n";
        let tree = Format::Yaml.read(text).expect("YAML");
        let mut surroundings =
            Surroundings { now: time::OffsetDateTime::UNIX_EPOCH, rng: &mut rand::rngs::OsRng };
        let all = render_flaws(&tree, &KeyRegistry::new(), None, &mut surroundings);
        let [Flaw { line: 8, name, kind: FlawKind::Render { key, .. } }] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!((name.as_str(), key.as_str()), ("a", "d"));
    }

    #[test]
    fn no_value_is_shown() {
        let text = "kind: SealedSecret\nspec:\n  stringData:\n    a: hush\n  encryptedData:\n    b: [hush]\n    c: hush!\n  \
                    template:\n    data:\n      d: '{{ \"hush'\n";
        let tree = Format::Yaml.read(text).expect("YAML");
        let all: Vec<_> = flaws(&tree, None, None).1.iter().map(|flaw| flaw.kind.to_string()).collect();
        assert!(!all.concat().contains("hush!") && !all.concat().contains("[hush"), "{all:?}");
        assert!(all.iter().any(|text| text == "spec.stringData.a is in clear"), "{all:?}");
    }
}

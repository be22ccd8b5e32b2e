//! Files of Secrets in clear, made of files with SealedSecrets.
//!
//! What is not a SealedSecret stays byte for byte, as long as the format stays and all of it is wanted.

use serde_json::{Value as Json, json};

use super::file::{SealedFile, objects};
use super::place::{self, Comments};
use super::sealed_secret::SealedSecret;
use super::secret::Secret;
use super::secret_file::{name_of, same_object};
use crate::format::Format;
use crate::manifest::{ObjectKind, arrange, print_json, print_yaml};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Tree, Value};

/// How a file of Secrets in clear is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsealedFile {
    /// The format of the file with SealedSecrets.
    pub from: Format,
    /// The format to write, YAML or JSON.
    pub to: Format,
    /// Whether all values stand in base64 in `data`, and none as text in `stringData`.
    pub base64: bool,
    /// Whether what is no Secret is left out.
    pub only_secrets: bool,
}

impl UnsealedFile {
    /// Returns a file with the Secret that `secret_of` gives in place of every SealedSecret. Several documents are
    /// a list in JSON.
    ///
    /// # Errors
    /// If `secret_of` fails.
    pub fn write<E>(
        self,
        file: &SealedFile,
        mut secret_of: impl FnMut(&SealedSecret, usize) -> Result<Secret, E>,
    ) -> Result<SecretBytes, E> {
        let mut made = Vec::with_capacity(file.objects().len());
        for object in file.objects() {
            let secret = secret_of(&object.sealed, object.line)?;
            let secret = if self.base64 { secret.to_json() } else { secret.to_readable_json() };
            made.push((object.node(), arrange(&secret, ObjectKind::Secret)));
        }
        let spliced =
            if self.from == self.to && !self.only_secrets { self.splice(file.tree(), &made) } else { None };
        Ok(spliced.unwrap_or_else(|| self.anew(file.tree(), &made)))
    }

    /// Returns the source of a tree with objects in place of others; nothing if what stands around one of them,
    /// such as a tag or an anchor, does not fit what takes its place.
    fn splice(self, tree: &Tree, made: &[(NodeId, Json)]) -> Option<SecretBytes> {
        let mut edits = Vec::new();
        for (node, object) in made {
            let place = place::of(self.from, tree, *node, Comments::Deeper)?;
            let mut text = SecretBytes::new();
            place.write(object, &mut text);
            edits.push((place.start, place.end, text));
        }
        for list in lists(tree).into_iter().filter(|&list| is_typed(tree, list)) {
            edits.extend(self.retyped(tree, list, "apiVersion", "v1")?);
            edits.extend(self.retyped(tree, list, "kind", "List")?);
        }
        edits.sort_by_key(|&(start, ..)| start);
        let source = tree.source();
        let (mut out, mut position) = (SecretBytes::with_capacity(source.len()), 0);
        for (start, end, text) in &edits {
            out.extend_from_slice(source.get(position..*start)?);
            out.extend_from_slice(text.expose_secret());
            position = *end;
        }
        out.extend_from_slice(source.get(position..)?);
        if !out.expose_secret().ends_with(b"\n") {
            out.push(b'\n');
        }
        self.is_faithful(tree, made, &out).then_some(out)
    }

    /// Returns the edit that gives an entry of a list another text: none if there is no such entry.
    fn retyped(
        self,
        tree: &Tree,
        list: NodeId,
        key: &str,
        text: &str,
    ) -> Option<Option<(usize, usize, SecretBytes)>> {
        let entry = tree.items(list).filter(|&item| tree.key(item) == Some(key.as_bytes())).last();
        let Some(entry) = entry.map(|entry| tree.node(entry)) else { return Some(None) };
        if entry.origin != Origin::Source {
            return None;
        }
        let text = if self.from == Format::Json { format!("\"{text}\"") } else { text.to_owned() };
        Some(Some((entry.span.start as usize, entry.span.end as usize, text.into_bytes().into())))
    }

    /// Reads the result back: each object has to be what it was, or the Secret.
    fn is_faithful(self, tree: &Tree, made: &[(NodeId, Json)], text: &SecretBytes) -> bool {
        let Ok(result) = self.to.read(SecretBytes::from(text.expose_secret())) else { return false };
        let (before, after) = (objects(tree), objects(&result));
        let has_same = before.len() == after.len() && tree.documents().len() == result.documents().len();
        has_same
            && before.into_iter().zip(after).all(|(old, new)| match made_of(made, old) {
                Some(object) => result.to_json(new) == *object,
                None => same_object(tree, old, &result, new),
            })
    }

    /// Returns all that is wanted in a layout of its own.
    fn anew(self, tree: &Tree, made: &[(NodeId, Json)]) -> SecretBytes {
        let documents = tree.documents().iter().filter_map(|&root| self.object(tree, made, root));
        let mut documents: Vec<Json> = documents.filter(|document| !is_empty(document)).collect();
        if self.to == Format::Json {
            let document = match documents.len() {
                1 => documents.remove(0),
                _ => json!({"apiVersion": "v1", "kind": "List", "items": documents}),
            };
            let mut text = print_json(&document);
            text.push(b'\n');
            return text;
        }
        let mut text = SecretBytes::new();
        for (index, document) in documents.iter().enumerate() {
            if index > 0 {
                text.push_str("---\n");
            }
            text.extend_from_slice(print_yaml(document).expose_secret());
        }
        text
    }

    /// Returns what becomes of an object, and in a list of what is in it: nothing, if it is left out.
    fn object(self, tree: &Tree, made: &[(NodeId, Json)], node: NodeId) -> Option<Json> {
        if let Some(object) = made_of(made, node) {
            return Some(object.clone());
        }
        let object = tree.to_json(node);
        let Some(items) = items_of(tree, node) else {
            return (!self.only_secrets || Secret::is_one(&object)).then_some(object);
        };
        let items: Vec<Json> = tree.items(items).filter_map(|item| self.object(tree, made, item)).collect();
        if self.only_secrets {
            let has_any = !items.is_empty();
            return has_any.then(|| json!({"apiVersion": "v1", "kind": "List", "items": items}));
        }
        let mut list = object;
        list["items"] = items.into();
        if is_typed(tree, node) {
            list["apiVersion"] = "v1".into();
            list["kind"] = "List".into();
        }
        Some(list)
    }
}

fn made_of(made: &[(NodeId, Json)], node: NodeId) -> Option<&Json> {
    let at = made.binary_search_by_key(&node, |(id, _)| *id).ok()?;
    made.get(at).map(|(_, object)| object)
}

/// Returns the lists of objects of a file.
fn lists(tree: &Tree) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut open = tree.documents().to_vec();
    while let Some(node) = open.pop() {
        if let Some(items) = items_of(tree, node) {
            found.push(node);
            open.extend(tree.items(items));
        }
    }
    found
}

/// Returns the items of a list of objects, as [`objects`] finds them.
fn items_of(tree: &Tree, node: NodeId) -> Option<NodeId> {
    let is_list = name_of(tree, node, "kind").is_some_and(|kind| kind.ends_with(b"List"));
    let items = tree.items(node).filter(|&item| is_list && tree.key(item) == Some(b"items")).last()?;
    (tree.node(items).value == Value::List).then_some(items)
}

/// Returns whether a list says that all its items are SealedSecrets, which they are not any more.
fn is_typed(tree: &Tree, list: NodeId) -> bool {
    name_of(tree, list, "kind") == Some(b"SealedSecretList")
}

fn is_empty(document: &Json) -> bool {
    document.as_object().is_some_and(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::ObjectMeta;

    const FILE: &str = "# head\napiVersion: v1 # one\nkind: ConfigMap\n---\n# sealed\n  apiVersion: bitnami.com/v1alpha1\n  \
                        kind: SealedSecret\n  metadata: {name: a}\n# end\n--- {apiVersion: bitnami.com/v1alpha1, \
                        kind: SealedSecret}\n---\napiVersion: v1\nkind: List\nitems:\n- kind: Other\n- apiVersion: \
                        bitnami.com/v1alpha1\n  kind: SealedSecret\n  metadata:\n    name: b\n---\napiVersion: v1\nkind: Secret\n";

    const SEALED: &str = "apiVersion: bitnami.com/v1alpha1";

    fn written(to: Format, only_secrets: bool) -> String {
        unsealed(Format::Yaml, FILE, to, only_secrets)
    }

    fn unsealed(from: Format, file: &str, to: Format, only_secrets: bool) -> String {
        let file = SealedFile::new(from, from.read(file).expect("it can be read")).expect("SealedSecrets");
        let unsealed_file = UnsealedFile { from, to, base64: false, only_secrets };
        let text = unsealed_file.write(&file, |sealed, line| {
            let mut secret =
                Secret { metadata: ObjectMeta::named("", sealed.metadata.name()), ..Secret::default() };
            secret.data.insert("line".to_owned(), line.to_string().into());
            Ok::<_, std::convert::Infallible>(secret)
        });
        let text = text.expect("nothing fails");
        String::from_utf8(text.expose_secret().to_vec()).expect("text")
    }

    #[test]
    fn what_is_not_sealed_stays_byte_for_byte() {
        let secret = |name: &str, line: usize| {
            format!("apiVersion: v1\nkind: Secret\nmetadata:{name}\nstringData:\n  line: \"{line}\"\n")
        };
        assert_eq!(
            written(Format::Yaml, false),
            format!(
                "# head\napiVersion: v1 # one\nkind: ConfigMap\n---\n# sealed\n  {}\n# end\n--- {}\n---\n{}---\napiVersion: \
                 v1\nkind: Secret\n",
                secret("\n  name: a", 6).trim_end().replace('\n', "\n  "),
                r#"{"kind":"Secret","apiVersion":"v1","metadata":{},"stringData":{"line":"10"}}"#,
                "apiVersion: v1\nkind: List\nitems:\n- kind: Other\n- apiVersion: v1\n  kind: Secret\n  metadata:\n    name: b\n  \
                 stringData:\n    line: \"16\"\n"
            )
        );
    }

    #[test]
    fn what_else_is_in_a_list_stays_byte_for_byte() {
        let text = format!(
            "kind: ResourceList # of functions\nmetadata: {{name:   r}}\nitems:\n# first\n- kind: Other\n  a: 0123\n  c: yes\n  \
             d: 2001-01-01\n  e: 123456789012345678901234567890\n- {SEALED}\n  kind: SealedSecret\n  metadata: \
             {{name: b}}\n  spec:\n    encryptedData: {{}}\n      # gone\n  # stays\nfunctionConfig: {{x:   y}}\n"
        );
        let at = text.find(&format!("- {SEALED}")).expect("it is there");
        let rest = text.find("  # stays").expect("it is there");
        let expected = format!(
            "{}- apiVersion: v1\n  kind: Secret\n  metadata:\n    name: b\n  stringData:\n    line: \"10\"\n{}",
            &text[..at],
            &text[rest..]
        );
        assert_eq!(unsealed(Format::Yaml, &text, Format::Yaml, false), expected);
        let json = unsealed(Format::Yaml, &text, Format::Json, false);
        assert!(json.contains("functionConfig") && json.contains("ResourceList"), "{json}");
    }

    #[test]
    fn what_else_is_in_json_stays_byte_for_byte() {
        let sealed =
            r#"{"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "b"}}"#;
        let text = format!(r#"{{"kind":  "List", "items": [{{"a":  1.50}}, {sealed}]}}"#);
        let secret =
            r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"b"},"stringData":{"line":"1"}}"#;
        assert_eq!(
            unsealed(Format::Json, &text, Format::Json, false),
            format!("{}\n", text.replace(sealed, secret))
        );
    }

    #[test]
    fn values_in_braces_and_blocks_come_back() {
        let value = "one\u{85}two\u{2028}\u{7f}\n\n\tthree \n\n";
        let text = format!(
            "--- {{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret}}\n---\n{SEALED}\nkind: SealedSecret\n\n\n# end\n---\na: b # c\n"
        );
        let file = SealedFile::new(Format::Yaml, Format::Yaml.read(text.as_str()).expect("YAML"));
        let unsealed_file =
            UnsealedFile { from: Format::Yaml, to: Format::Yaml, base64: false, only_secrets: false };
        let text = unsealed_file.write(&file.expect("SealedSecrets"), |_, _| {
            let mut secret = Secret::default();
            secret.data.insert("a".to_owned(), value.into());
            Ok::<_, std::convert::Infallible>(secret)
        });
        let tree = Format::Yaml.read(text.expect("nothing fails")).expect("YAML");
        let secrets: Vec<_> =
            objects(&tree).iter().filter_map(|&node| Secret::from_json(&tree.to_json(node)).ok()).collect();
        assert_eq!(secrets.len(), 2);
        assert!(secrets.iter().all(|secret| secret.data["a"].expose_secret() == value.as_bytes()));
    }

    #[test]
    fn lists_are_what_they_say_and_no_more_than_that() {
        let item = format!("- {SEALED}\n  kind: SealedSecret\n  metadata: {{name: b}}\n");
        let typed = unsealed(
            Format::Yaml,
            &format!("{SEALED}\nkind: SealedSecretList # all\nitems:\n{item}"),
            Format::Yaml,
            false,
        );
        assert!(typed.starts_with("apiVersion: v1\nkind: List # all\nitems:\n- apiVersion: v1\n"), "{typed}");
        let menu = "kind: Menu\nitems:\n- a: 0123\nprice: 1\n---\n";
        let text = format!("{menu}{SEALED}\nkind: SealedSecret\n");
        assert!(unsealed(Format::Yaml, &text, Format::Yaml, false).starts_with(menu));
        let json = unsealed(Format::Yaml, &text, Format::Json, false);
        assert!(json.contains("Menu") && json.contains("price"), "{json}");
    }

    #[test]
    fn only_secrets_are_left_if_they_alone_are_wanted() {
        let text = written(Format::Yaml, true);
        assert!(!text.contains("ConfigMap") && !text.contains("Other"), "{text}");
        assert_eq!(text.matches("kind: Secret\n").count(), 4, "{text}");
    }

    #[test]
    fn several_documents_are_a_list_in_json() {
        let object: Json = serde_json::from_str(&written(Format::Json, false)).expect("JSON");
        assert_eq!(object["items"].as_array().map(Vec::len), Some(5));
        assert_eq!(object["items"][1]["stringData"]["line"], "6");
    }
}

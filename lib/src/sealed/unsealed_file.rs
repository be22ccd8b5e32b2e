//! Files of Secrets in clear, made of files with SealedSecrets.
//!
//! What is not a SealedSecret stays byte for byte, as long as the format stays and all of it is wanted.

use serde_json::{Value as Json, json};

use super::file::SealedFile;
use super::sealed_secret::SealedSecret;
use super::secret::Secret;
use crate::format::Format;
use crate::manifest::{ObjectKind, arrange, print_json, print_yaml};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree, Value};

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
        let mut documents = Vec::new();
        let tree = file.tree();
        for &root in tree.documents() {
            if let Some(document) = self.document(file, root, &mut secret_of)? {
                documents.push((root, document));
            }
        }
        if self.from == Format::Yaml && self.to == Format::Yaml && !self.only_secrets {
            let text = splice(tree, &documents);
            // What stands around a document, such as a tag, may not fit what takes its place.
            if same_documents(tree, &text) {
                return Ok(text);
            }
        }
        let documents = documents.into_iter().map(|(root, document)| match document {
            Document::Kept => tree.to_json(root),
            Document::Made(object) => object,
        });
        let mut documents: Vec<Json> = documents.filter(|document| !is_empty(document)).collect();
        Ok(match self.to {
            Format::Json => {
                let document = match documents.len() {
                    1 => documents.remove(0),
                    _ => json!({"apiVersion": "v1", "kind": "List", "items": documents}),
                };
                let mut text = print_json(&document);
                text.push(b'\n');
                text
            }
            _ => {
                let mut text = SecretBytes::new();
                for (index, document) in documents.iter().enumerate() {
                    if index > 0 {
                        text.push_str("---\n");
                    }
                    text.extend_from_slice(print_yaml(document).expose_secret());
                }
                text
            }
        })
    }

    /// Returns what becomes of a document: nothing, if it is left out.
    fn document<E>(
        self,
        file: &SealedFile,
        root: NodeId,
        secret_of: &mut impl FnMut(&SealedSecret, usize) -> Result<Secret, E>,
    ) -> Result<Option<Document>, E> {
        let end = file.tree().node(root).end as usize;
        let is_inside = |node: NodeId| (root.index()..end).contains(&node.index());
        if !file.objects().iter().any(|object| is_inside(object.node())) {
            let is_wanted = !self.only_secrets || Secret::is_one(&file.tree().to_json(root));
            return Ok(is_wanted.then_some(Document::Kept));
        }
        Ok(self.object(file, root, secret_of)?.map(Document::Made))
    }

    /// Returns what becomes of an object, and in a list of what is in it.
    fn object<E>(
        self,
        file: &SealedFile,
        node: NodeId,
        secret_of: &mut impl FnMut(&SealedSecret, usize) -> Result<Secret, E>,
    ) -> Result<Option<Json>, E> {
        if let Some(object) = file.objects().iter().find(|object| object.node() == node) {
            let secret = secret_of(&object.sealed, object.line)?;
            let secret = if self.base64 { secret.to_json() } else { secret.to_readable_json() };
            return Ok(Some(arrange(&secret, ObjectKind::Secret)));
        }
        let tree = file.tree();
        let items = tree.items(node).find(|&item| {
            tree.key(item) == Some(b"items".as_slice()) && tree.node(item).value == Value::List
        });
        let Some(items) = items else {
            let object = tree.to_json(node);
            return Ok((!self.only_secrets || Secret::is_one(&object)).then_some(object));
        };
        let mut made = Vec::new();
        for item in tree.items(items) {
            made.extend(self.object(file, item, secret_of)?);
        }
        // A list of SealedSecrets is none any more.
        Ok(Some(json!({"apiVersion": "v1", "kind": "List", "items": made})))
    }
}

enum Document {
    Kept,
    Made(Json),
}

/// Returns the source of a tree with some documents made anew.
fn splice(tree: &Tree, documents: &[(NodeId, Document)]) -> SecretBytes {
    let source = tree.source();
    let (mut out, mut position) = (SecretBytes::with_capacity(source.len()), 0);
    for (root, document) in documents {
        let Document::Made(object) = document else { continue };
        let span = tree.node(*root).span;
        let (start, end) = (span.start as usize, span.end as usize);
        let line = source[..start].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let is_alone = source[line..start].iter().all(|&byte| byte == b' ');
        out.extend_from_slice(&source[position..if is_alone { line.max(position) } else { start }]);
        if !is_alone {
            out.push(b'\n');
        }
        let text = print_yaml(object);
        let text = text.expose_secret();
        // The line goes on as it did, with its end or a comment.
        out.extend_from_slice(text.strip_suffix(b"\n").unwrap_or(text));
        position = end;
    }
    out.extend_from_slice(&source[position..]);
    if !out.expose_secret().ends_with(b"\n") {
        out.push(b'\n');
    }
    out
}

/// Returns whether a text can be read, and has as many documents as a tree.
fn same_documents(tree: &Tree, text: &SecretBytes) -> bool {
    let read = Format::Yaml.read(text.expose_secret());
    read.is_ok_and(|read| read.documents().len() == tree.documents().len())
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

    fn written(to: Format, only_secrets: bool) -> String {
        let tree = Format::Yaml.read(FILE).expect("YAML");
        let file = SealedFile::new(Format::Yaml, tree).expect("SealedSecrets");
        let unsealed_file = UnsealedFile { from: Format::Yaml, to, base64: false, only_secrets };
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
                "# head\napiVersion: v1 # one\nkind: ConfigMap\n---\n# sealed\n{}# end\n--- \n{}---\n{}---\napiVersion: \
                 v1\nkind: Secret\n",
                secret("\n  name: a", 6),
                secret(" {}", 10),
                "apiVersion: v1\nitems:\n- kind: Other\n- apiVersion: v1\n  kind: Secret\n  metadata:\n    name: b\n  \
                 stringData:\n    line: \"16\"\nkind: List\n"
            )
        );
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

//! Taking the last applied configuration out of objects, and nothing else.

use selkie::check::Fix;
use selkie::format::Format;
use selkie::secret::SecretBytes;
use selkie::sops::Places;
use selkie::tree::{NodeId, Tree, TreePath};

use super::Wish;

/// Where an annotation is: the position of its document, and its path there.
pub(super) type Annotation = (usize, TreePath);

/// Returns where the annotations are that findings are about.
pub(super) fn places(tree: &Tree, wishes: &[Wish]) -> Result<Vec<Annotation>, String> {
    let mut places = Places::new(tree);
    let mut starts: Vec<_> = wishes
        .iter()
        .filter(|wish| wish.fix == Fix::Strip)
        .map(|wish| (wish.span.start, wish.span.end))
        .collect();
    starts.sort_unstable();
    let mut found = Vec::new();
    for (id, node) in tree.nodes().filter(|(id, _)| tree.key(*id) == Some(ANNOTATION.as_bytes())) {
        let (start, end) = (node.key_start as usize, node.span.end as usize);
        let first = starts.partition_point(|(_, wanted_end)| *wanted_end < start);
        if starts.get(first).is_some_and(|(wanted, _)| *wanted <= end) {
            found.push(places.advance(id));
        }
    }
    match found.len() {
        0 => Err("the annotation with the last applied configuration is not where it was found".to_owned()),
        count if count > MAX_ANNOTATIONS => {
            Err(format!("there are more than {MAX_ANNOTATIONS} of them in one file"))
        }
        _ => Ok(found),
    }
}

/// Takes annotations out of a text.
pub(super) fn strip(
    format: Format,
    text: SecretBytes,
    annotations: &[Annotation],
) -> Result<SecretBytes, String> {
    let mut text = text;
    for (document, path) in annotations.iter().rev() {
        let tree = format.read(text).map_err(|error| error.to_string())?;
        let before = count(&tree);
        let node = tree.documents().get(*document).and_then(|&root| tree.get(root, path));
        let node = node.ok_or_else(|| "the annotation is not where it was found".to_owned())?;
        // A map that is left without an entry says nothing: it goes, too.
        let node = lonely(&tree, node);
        text = format.store().remove(&tree, node).map_err(|error| error.to_string())?;
        let after =
            format.read(SecretBytes::from(text.expose_secret())).map_err(|error| error.to_string())?;
        if count(&after) + 1 != before {
            return Err("the annotation cannot be taken out as it is written".to_owned());
        }
    }
    Ok(text)
}

/// Returns the map around an entry if that is all that is in it, else the entry.
fn lonely(tree: &Tree, node: NodeId) -> NodeId {
    match tree.parent(node) {
        Some(parent) if tree.key(parent) == Some(b"annotations") && tree.items(parent).count() == 1 => parent,
        _ => node,
    }
}

fn count(tree: &Tree) -> usize {
    tree.nodes().filter(|(id, _)| tree.key(*id) == Some(ANNOTATION.as_bytes())).count()
}

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How many annotations of one file are taken out: each takes a pass over it.
const MAX_ANNOTATIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn strip_at(text: &str, needle: &str) -> Result<String, String> {
        let start = text.find(needle).expect("it is there");
        let wish = Wish { fix: Fix::Strip, span: start..start + needle.len(), object: String::new() };
        let tree = Format::Yaml.read(SecretBytes::from(text)).expect("YAML");
        let stripped = strip(Format::Yaml, text.into(), &places(&tree, &[wish])?)?;
        Ok(String::from_utf8(stripped.expose_secret().to_vec()).expect("UTF-8"))
    }

    #[test]
    fn the_annotation_alone_goes() {
        let text = "# a\nkind: A # b\nmetadata:\n  annotations:\n    x: 'y'\n    \
                    kubectl.kubernetes.io/last-applied-configuration: |\n      {\"data\":{}}\n    z:  w\n  name: n\n\
                    ---\nkind: B\n";
        let wanted =
            "# a\nkind: A # b\nmetadata:\n  annotations:\n    x: 'y'\n    z:  w\n  name: n\n---\nkind: B\n";
        assert_eq!(strip_at(text, "{\"data").as_deref(), Ok(wanted));
    }

    #[test]
    fn only_the_one_that_was_found_goes() {
        let one = |name: &str| {
            format!(
                "metadata:\n  name: {name}\n  annotations:\n    \
                 kubectl.kubernetes.io/last-applied-configuration: '{name}'\n"
            )
        };
        let text = format!("{}---\n{}", one("a"), one("b"));
        let wanted = format!("{}---\nmetadata:\n  name: b\n", one("a"));
        assert_eq!(strip_at(&text, "'b'"), Ok(wanted));
        assert!(strip_at(&text, "name: b").is_err());
    }
}

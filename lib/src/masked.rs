//! Encrypted files for people without a key: what is in clear stays as it is, what is encrypted becomes a short mark.
//!
//! A mark changes exactly when the ciphertext does, so that two masked texts differ where the files do. It is made of
//! the ciphertext alone. The metadata of SOPS shrinks to what a reviewer asks for: who can read the file, by which rule,
//! and a mark of the wrapped data key; what changes with every edit is left out.
//!
//! Invariants: no key is used, and nothing of a plaintext can be told from a mark. What is neither a ciphertext nor
//! metadata stays byte for byte.

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::format::{Format, MetadataEdit, Rewrite, WriteError};
use crate::scheme::Scheme;
use crate::sealed::{is_sealed_secret, objects};
use crate::secret::SecretBytes;
use crate::sops::{Metadata, MetadataError, Sops, is_well_formed};
use crate::tree::{MetadataEntry, NodeId, Origin, Tree, Value};

/// Why a file cannot be masked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The metadata of a SOPS document cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The file is of no scheme: nothing in it is encrypted.
    #[error("nothing in the file is encrypted")]
    NotEncrypted,
    /// The masked text cannot be written in the format of the file.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Returns the text of an encrypted file with marks in place of what is encrypted.
///
/// # Example
/// ```
/// use selkie::format::Format;
///
/// let text = "kind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nspec:\n  encryptedData:\n    a: AgBy8hH\n";
/// let masked = selkie::masked::masked(Format::Yaml, &Format::Yaml.read(text.as_bytes())?)?;
/// assert!(masked.expose_secret().ends_with(b"    a: SEALED[22db7eba3f25]\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If nothing is encrypted, or the metadata is broken: see [`MaskError`].
pub fn masked(format: Format, tree: &Tree) -> Result<SecretBytes, MaskError> {
    let is_sops = Sops.is_in(tree);
    let marks = if is_sops { sops_marks(tree) } else { sealed_marks(tree) };
    let summary = is_sops.then(|| summary(tree)).transpose()?;
    if summary.is_none() && marks.is_empty() {
        return Err(MaskError::NotEncrypted);
    }
    let verbatim: Vec<(NodeId, &[u8])> = marks.iter().map(|(id, mark)| (*id, mark.as_slice())).collect();
    let metadata = summary.as_ref().map_or(MetadataEdit::Keep, MetadataEdit::Put);
    Ok(format.store().rewrite(tree, &Rewrite { changed: &[], verbatim: &verbatim, metadata })?)
}

/// Returns a short text that tells a ciphertext from others.
#[must_use]
pub fn mark(ciphertext: &[u8]) -> String {
    let hash = Sha256::digest(ciphertext);
    hash[..MARK_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the encrypted values and comments of a SOPS document, each with what is written in its place.
fn sops_marks(tree: &Tree) -> Vec<(NodeId, Vec<u8>)> {
    let mark = |(id, node): (NodeId, &crate::tree::Node)| {
        let (Value::Str(text) | Value::Comment(text)) = node.value else { return None };
        let ciphertext = tree.bytes(text).trim_ascii();
        let is_encrypted = node.origin == Origin::Source && is_well_formed(ciphertext);
        is_encrypted.then(|| (id, written(tree, id, ciphertext, "ENC")))
    };
    tree.nodes().filter_map(mark).collect()
}

/// Returns the sealed values of a file, each with what is written in its place.
fn sealed_marks(tree: &Tree) -> Vec<(NodeId, Vec<u8>)> {
    let below = |map: NodeId, name: &'static str| {
        let is_map = tree.node(map).value == Value::Map;
        let named = move |id: &NodeId| is_map && tree.key(*id) == Some(name.as_bytes());
        tree.items(map).filter(named).collect::<Vec<_>>()
    };
    let mut marks = Vec::new();
    for object in objects(tree).into_iter().filter(|&object| is_sealed_secret(tree, object)) {
        for spec in below(object, "spec") {
            for data in below(spec, "encryptedData") {
                let is_map = tree.node(data).value == Value::Map;
                for item in tree.items(data).filter(|_| is_map) {
                    let Value::Str(text) = tree.node(item).value else { continue };
                    if tree.node(item).origin == Origin::Source && !tree.bytes(text).is_empty() {
                        marks.push((item, written(tree, item, tree.bytes(text), "SEALED")));
                    }
                }
            }
        }
    }
    marks.sort_unstable_by_key(|(id, _)| *id);
    marks
}

/// Returns what is written in the place of a ciphertext: quotes, and the marker of a comment, stay.
fn written(tree: &Tree, id: NodeId, ciphertext: &[u8], word: &str) -> Vec<u8> {
    let source = tree.slice(tree.node(id).span);
    let mark = format!("{word}[{}]", mark(ciphertext));
    let position = source.windows(ciphertext.len()).position(|window| window == ciphertext);
    let (before, after) = match position {
        Some(start) => (&source[..start], &source[start + ciphertext.len()..]),
        // It is written over several lines.
        None => (&source[..0], if source.ends_with(b"\n") { &b"\n"[..] } else { b"" }),
    };
    [before, mark.as_bytes(), after].concat()
}

/// Returns what is told of the metadata.
fn summary(tree: &Tree) -> Result<Map<String, Json>, MaskError> {
    let metadata = Metadata::from_entry(tree.metadata())?;
    let mut summary = Map::new();
    let recipients = |group: &crate::keys::KeyGroup| -> Json {
        group.0.iter().map(|key| format!("{} {key}", key.kind().name)).collect()
    };
    match metadata.groups.as_slice() {
        [group] => summary.insert("recipients".to_owned(), recipients(group)),
        groups => {
            let needed = format!("{} of {} groups", metadata.required_groups(), groups.len());
            summary.insert("needed".to_owned(), needed.into());
            summary.insert("recipients".to_owned(), groups.iter().map(recipients).collect())
        }
    };
    summary.insert(metadata.selector.field().to_owned(), metadata.selector.text().into());
    if metadata.mac_only_encrypted {
        summary.insert("mac_only_encrypted".to_owned(), json!(true));
    }
    summary.insert("wrapped_data_key".to_owned(), format!("KEY[{}]", wrapped(tree)).into());
    Ok(summary)
}

/// Returns a mark of the data key as it is wrapped, for all keys at once.
fn wrapped(tree: &Tree) -> String {
    let MetadataEntry::Present(entry) = tree.metadata() else { return String::new() };
    let lists = entry.iter().filter(|(_, value)| value.is_array());
    mark(
        Json::Object(lists.map(|(name, value)| (name.clone(), value.clone())).collect())
            .to_string()
            .as_bytes(),
    )
}

/// How many bytes of a hash a mark has: enough that no two ciphertexts of a history share one.
const MARK_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn masked_text(format: Format, text: &str) -> String {
        let tree = format.read(text.as_bytes()).expect("it parses");
        String::from_utf8(masked(format, &tree).expect("it is masked").expose_secret().to_vec())
            .expect("UTF-8")
    }

    const VALUE: &str = "ENC[AES256_GCM,data:eHg=,iv:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,\
        tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]";

    fn document() -> String {
        format!(
            "# in clear\na: {VALUE}\n#{VALUE}\nb: \"{VALUE}\" # why\nc: plain\nsops:\n    age:\n        \
             - recipient: age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun\n          enc: x\n    \
             lastmodified: \"2024-01-01T00:00:00Z\"\n    mac: {VALUE}\n    unencrypted_suffix: _unencrypted\n    \
             version: 3.9.0\n"
        )
    }

    #[test]
    fn values_and_comments_become_marks_and_the_rest_stays() {
        let text = masked_text(Format::Yaml, &document());
        let mark = format!("ENC[{}]", mark(VALUE.as_bytes()));
        let expected = format!("# in clear\na: {mark}\n#{mark}\nb: \"{mark}\" # why\nc: plain\nsops:\n");
        assert!(text.starts_with(&expected), "{text}");
        assert!(
            text.contains("- age age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun\n"),
            "{text}"
        );
        for noise in ["lastmodified", "mac:", "version", "AES256"] {
            assert!(!text.contains(noise), "{noise} in {text}");
        }
    }

    #[test]
    fn what_changes_with_every_edit_is_not_there() {
        let other = document().replace("2024-01-01", "2025-02-02");
        assert_eq!(masked_text(Format::Yaml, &document()), masked_text(Format::Yaml, &other));
        let rotated = document().replace("enc: x", "enc: y");
        let (old, new) = (masked_text(Format::Yaml, &document()), masked_text(Format::Yaml, &rotated));
        assert_eq!(old.lines().zip(new.lines()).filter(|(old, new)| old != new).count(), 1);
    }

    #[test]
    fn sealed_values_become_marks_in_lists_and_over_lines_too() {
        let object = |value: &str| {
            format!(
                "kind: List\nitems:\n- apiVersion: bitnami.com/v1alpha1\n  kind: SealedSecret\n  spec:\n    \
                 encryptedData:\n      a: {value}\n      b: AgB\n    template: {{}}\n"
            )
        };
        let text = masked_text(Format::Yaml, &object(">-\n        AgA\n        BBB"));
        let lines: Vec<_> = text.lines().filter(|line| line.contains("SEALED[")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(text.ends_with("    template: {}\n") && !text.contains("AgA"), "{text}");
        assert_ne!(text, masked_text(Format::Yaml, &object("AgAC")));
    }

    #[test]
    fn a_file_without_anything_encrypted_is_told() {
        let tree = Format::Yaml.read(&b"a: b\n"[..]).expect("it parses");
        assert_eq!(masked(Format::Yaml, &tree).err(), Some(MaskError::NotEncrypted));
    }
}

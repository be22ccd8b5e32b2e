//! `render`: manifests in, plain manifests out, as one YAML stream on standard output.
//!
//! Invariants: nothing is written unless every input could be read, decrypted and verified; each document
//! says in the stream what it says in its file.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use selkie::format::{Format, WriteOptions};
use selkie::keys::KeyService;
use selkie::secret::SecretBytes;
use selkie::sops::audit;
use selkie::tree::{MetadataEntry, Tree, differences};

use crate::keys;

/// Decrypt manifests and print them all as one YAML stream
///
/// Manifests that are not encrypted pass through. Nothing is printed if any of them cannot be decrypted
/// and verified.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  selkie-decryptor render --age-key-file /keys apps/*.yaml | kubectl apply -f -"
)]
pub struct Args {
    /// Read age identities from this file, or keys and credentials from this folder by the names that Flux gives them:
    /// *.agekey, *.asc, sops.vault-token, sops.aws-kms, sops.azure-kv, sops.gcp-kms
    #[arg(long, value_name = "PATH", env = "SOPS_AGE_KEY_FILE", value_delimiter = ',')]
    age_key_file: Vec<PathBuf>,
    /// Manifests to render, YAML or JSON; - is a YAML stream on standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Why an input could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A value would be another one in a YAML stream.
    #[error("{0}: would read otherwise in a YAML stream")]
    Changed(String),
    /// It cannot be decrypted.
    #[error("{0}: cannot be decrypted")]
    Decrypt(String, #[source] selkie::DecryptError),
    /// It cannot be read.
    #[error("{0}: cannot be read")]
    Io(String, #[source] std::io::Error),
    /// It has an encrypted value, but no metadata that would tell how to decrypt it.
    #[error("{0}: line {1} holds an encrypted value, but the file has no sops metadata")]
    LeftEncrypted(String, usize),
    /// It is neither YAML nor JSON.
    #[error("{0}: is not a manifest; render takes YAML and JSON")]
    NotAManifest(String),
    /// It is not of its format.
    #[error("{0}: cannot be parsed")]
    Parse(String, #[source] selkie::format::ParseError),
}

/// Renders all inputs to standard output.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let services = keys::services(&args.age_key_file)?;
    let services: Vec<_> = services.iter().map(AsRef::as_ref).collect();
    let mut stream = SecretBytes::new();
    for file in &args.files {
        let name = file.display().to_string();
        let source = read(file).map_err(|error| RenderError::Io(name.clone(), error))?;
        append_document(&mut stream, &render(&name, source, &services)?);
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(stream.expose_secret())?;
    Ok(stdout.flush()?)
}

fn read(file: &PathBuf) -> std::io::Result<SecretBytes> {
    if file.as_os_str() != "-" {
        return fs::read(file).map(SecretBytes::from);
    }
    let mut source = Vec::new();
    std::io::stdin().lock().read_to_end(&mut source)?;
    Ok(source.into())
}

/// Decrypts one input if it is encrypted.
fn render(name: &str, source: SecretBytes, services: &[&dyn KeyService]) -> Result<SecretBytes, RenderError> {
    let format = if name == "-" { Format::Yaml } else { Format::from_file_name(name) };
    if !matches!(format, Format::Json | Format::Yaml) {
        return Err(RenderError::NotAManifest(name.to_owned()));
    }
    let parse = |source| format.read(source).map_err(|error| RenderError::Parse(name.to_owned(), error));
    let tree = parse(source)?;
    let tree = if *tree.metadata() == MetadataEntry::Absent {
        if let Some(line) = audit::first_encrypted(&tree) {
            return Err(RenderError::LeftEncrypted(name.to_owned(), line));
        }
        tree
    } else {
        let decrypted = selkie::decrypt(tree.into_source(), format, services);
        parse(decrypted.map_err(|error| RenderError::Decrypt(name.to_owned(), error))?)?
    };
    to_yaml(format, &tree).ok_or_else(|| RenderError::Changed(name.to_owned()))
}

/// Returns a document as text that may stand anywhere in a YAML stream, in its own spelling if that reads
/// the same there.
fn to_yaml(format: Format, tree: &Tree) -> Option<SecretBytes> {
    let source = tree.source();
    // Within a stream, it is a character of the first key.
    let source = source.strip_prefix(BYTE_ORDER_MARK).unwrap_or(source);
    let mut text = SecretBytes::from(source);
    let is_complete = source.ends_with(b"\n");
    if !is_complete {
        // It becomes a part of the value if a `|` or `>` is the last one.
        text.push(b'\n');
    }
    if format == Format::Yaml && is_complete && !has_directive(source) {
        return Some(text);
    }
    let is_same = |text: &SecretBytes| {
        let again = Format::Yaml.read(text.expose_secret());
        again.is_ok_and(|again| differences(tree, &again).is_empty())
    };
    if !has_directive(source) && !has_half_of_a_character(source) && is_same(&text) {
        return Some(text);
    }
    let written = Format::Yaml.store().write(tree, None, &WriteOptions::default()).ok()?;
    is_same(&written).then_some(written)
}

/// Returns whether a line may be a directive, which would be a value behind a marker.
fn has_directive(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| line.starts_with(b"%"))
}

/// Returns whether an escape may stand for half of a character, as in JSON; YAML in Go refuses that.
fn has_half_of_a_character(text: &[u8]) -> bool {
    let is_half =
        |escape: &[u8]| matches!(escape, [b'\\', b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']);
    text.windows(4).any(is_half)
}

/// Appends a document to a stream, behind a marker.
fn append_document(stream: &mut SecretBytes, document: &SecretBytes) {
    let text = document.expose_secret();
    if !stream.is_empty() && !starts_with_marker(text) {
        stream.push_str("---\n");
    }
    stream.extend_from_slice(text);
}

/// Returns whether a text starts with `---`, and not with a key such as `---a`.
fn starts_with_marker(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"---");
    rest.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the stream of plain documents.
    fn stream(documents: &[(&str, &str)]) -> String {
        let mut stream = SecretBytes::new();
        for &(name, text) in documents {
            append_document(&mut stream, &render(name, text.into(), &[]).expect("plain"));
        }
        String::from_utf8(stream.expose_secret().to_vec()).expect("text")
    }

    #[test]
    fn a_plain_manifest_passes_through_and_gets_a_marker() {
        let plain = ("a.yaml", "kind: ConfigMap");
        assert_eq!(stream(&[plain, plain]), "kind: ConfigMap\n---\nkind: ConfigMap\n");
    }

    #[test]
    fn a_final_line_break_that_is_added_does_not_become_a_part_of_a_value() {
        assert_eq!(stream(&[("a.yaml", "a: |\n  x")]), "a: x\n");
        for text in ["a: |\n  x", "a: |+\n  x", "a: >\n  x", "a:\n- b: |2\n     x", "a: |-\n  x", "a: 'x'"] {
            let plain = Format::Yaml.read(text).expect("YAML");
            let rendered = Format::Yaml.read(stream(&[("a.yaml", text)]).as_str()).expect("YAML");
            assert_eq!(differences(&plain, &rendered), [], "{text:?}");
        }
        assert_eq!(stream(&[("a.yaml", "a: |-\n  x")]), "a: |-\n  x\n");
    }

    #[test]
    fn byte_order_marks_are_left_out() {
        let documents =
            [("a.yaml", "\u{feff}a: 1\n"), ("b.yaml", "\u{feff}b: 2\n"), ("c.yaml", "\u{feff}---\nc: 3\n")];
        assert_eq!(stream(&documents), "a: 1\n---\nb: 2\n---\nc: 3\n");
    }

    #[test]
    fn a_key_that_begins_like_a_marker_is_none() {
        assert_eq!(stream(&[("a.yaml", "a: 1\n"), ("b.yaml", "---b: 2\n")]), "a: 1\n---\n---b: 2\n");
    }

    #[test]
    fn directives_are_resolved() {
        let documents = [("a.yaml", "a: 1\n"), ("b.yaml", "%YAML 1.1\n---\nb: 2\n")];
        assert_eq!(stream(&documents), "a: 1\n---\nb: 2\n");
    }

    #[test]
    fn escapes_that_only_json_has_are_written_out() {
        let documents = [("a.json", r#"{"a":"\ud83e\uddad"}"#), ("b.json", r#"{"b": 1}"#)];
        assert_eq!(stream(&documents), "a: \"\\U0001F9AD\"\n---\n{\"b\": 1}\n");
    }

    #[test]
    fn an_encrypted_value_without_metadata_is_refused() {
        let left = "a: 1\nb: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]\n";
        let error = render("a.yaml", left.into(), &[]).err().expect("refused");
        assert!(matches!(error, RenderError::LeftEncrypted(name, 2) if name == "a.yaml"));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let error = render("a.env", "A=1".into(), &[]).err().expect("refused");
        assert!(matches!(error, RenderError::NotAManifest(_)));
    }
}

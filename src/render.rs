//! `render`: manifests in, plain manifests out, as one YAML stream on standard output.
//!
//! Invariant: nothing is written unless every input could be read, decrypted and verified.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use selkie::format::Format;
use selkie::keys::KeyService;
use selkie::secret::SecretBytes;
use selkie::sops::audit;
use selkie::tree::MetadataEntry;

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
    /// Read age identities from this file, or from the *.agekey files of this folder
    #[arg(long, value_name = "PATH", env = "SOPS_AGE_KEY_FILE", value_delimiter = ',')]
    age_key_file: Vec<PathBuf>,
    /// Manifests to render, YAML or JSON; - is a YAML stream on standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Why an input could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
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
    let service = keys::age_service(&args.age_key_file)?;
    let mut stream = SecretBytes::new();
    for file in &args.files {
        let name = file.display().to_string();
        let source = read(file).map_err(|error| RenderError::Io(name.clone(), error))?;
        append_document(&mut stream, &render(&name, source, &service)?);
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
fn render(name: &str, source: SecretBytes, service: &dyn KeyService) -> Result<SecretBytes, RenderError> {
    let format = if name == "-" { Format::Yaml } else { Format::from_file_name(name) };
    if !matches!(format, Format::Json | Format::Yaml) {
        return Err(RenderError::NotAManifest(name.to_owned()));
    }
    let tree = format.read(source).map_err(|error| RenderError::Parse(name.to_owned(), error))?;
    if *tree.metadata() == MetadataEntry::Absent {
        return match audit::first_encrypted(&tree) {
            Some(line) => Err(RenderError::LeftEncrypted(name.to_owned(), line)),
            None => Ok(tree.into_source()),
        };
    }
    let decrypted = selkie::decrypt(tree.into_source(), format, &[service]);
    decrypted.map_err(|error| RenderError::Decrypt(name.to_owned(), error))
}

/// Appends a document to a stream, on lines of its own and behind a marker.
fn append_document(stream: &mut SecretBytes, document: &SecretBytes) {
    let text = document.expose_secret();
    if !stream.is_empty() && !text.starts_with(b"---") {
        stream.push_str("---\n");
    }
    stream.extend_from_slice(text);
    if !text.ends_with(b"\n") {
        stream.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selkie::keys::age::Identities;

    fn service() -> keys::AgeService {
        keys::AgeService::new(Identities::new())
    }

    #[test]
    fn a_plain_manifest_passes_through_and_gets_a_marker() {
        let plain = || SecretBytes::from("kind: ConfigMap");
        let mut stream = SecretBytes::new();
        for _ in 0..2 {
            append_document(&mut stream, &render("a.yaml", plain(), &service()).expect("plain"));
        }
        assert_eq!(stream.expose_secret(), b"kind: ConfigMap\n---\nkind: ConfigMap\n");
    }

    #[test]
    fn an_encrypted_value_without_metadata_is_refused() {
        let left = "a: 1\nb: ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]\n";
        let error = render("a.yaml", left.into(), &service()).err().expect("refused");
        assert!(matches!(error, RenderError::LeftEncrypted(name, 2) if name == "a.yaml"));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let error = render("a.env", "A=1".into(), &service()).err().expect("refused");
        assert!(matches!(error, RenderError::NotAManifest(_)));
    }
}

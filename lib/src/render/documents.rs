//! Manifests as they are written, and streams that something built of them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::open::{Sources, holds_encrypted};
use super::resolve::{refuse_marks, refuse_marks_in};
use super::verdict::{MacVerdict, RenderError};
use super::{Document, Engine, Files, Role, Roles};
use crate::format::Format;
use crate::manifest::{ObjectError, read_manifests};
use crate::secret::SecretBytes;
use crate::tree::MetadataEntry;

/// Returns the manifests among some files: what ends in `.yaml`, `.yml` or `.json`, without what starts with a dot.
///
/// # Errors
/// If one is a kustomization, which is built and not read.
pub fn manifests(files: &dyn Files) -> Result<Roles, RenderError> {
    let mut roles = BTreeMap::new();
    for path in files.paths() {
        let is_hidden = path.split('/').any(|name| name.starts_with('.'));
        let format = Format::from_file_name(&path);
        if is_hidden || !matches!(format, Format::Json | Format::Yaml) {
            continue;
        }
        if is_kustomization(&path) {
            return Err(RenderError::Kustomization { path });
        }
        roles.insert(path, Role::Leaves(format));
    }
    Ok(roles)
}

/// Returns what files are by their names, for finding what a stream was built of. A file whose name says no format is one
/// only if it is a document of SOPS in its format for such files.
#[must_use]
pub fn by_name(files: &dyn Files) -> Roles {
    let role = |path: String| {
        let is_hidden = path.split('/').any(|name| name.starts_with('.'));
        match Format::from_file_name(&path) {
            _ if is_hidden => None,
            Format::Binary => {
                let text = files.read(&path).ok()?;
                let tree =
                    holds_encrypted(text.expose_secret()).then(|| Format::Binary.read(text).ok())??;
                (*tree.metadata() != MetadataEntry::Absent).then_some((path, Role::Whole(Format::Binary)))
            }
            format => Some((path, Role::Leaves(format))),
        }
    };
    files.paths().into_iter().filter_map(role).collect()
}

/// Returns whether a file is a kustomization by its name.
#[must_use]
pub fn is_kustomization(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    matches!(name, "kustomization.yaml" | "kustomization.yml" | "Kustomization")
}

impl Engine<'_> {
    /// Returns the manifests in some files, which were opened, in the order of their paths. Files that hold no object are
    /// left out, unless they are encrypted.
    ///
    /// # Errors
    /// If a file cannot be read, something in it is encrypted still, or a limit is exceeded.
    pub fn documents(
        &self,
        files: &dyn Files,
        roles: &Roles,
        sources: &mut Sources,
    ) -> Result<Vec<Document>, RenderError> {
        let mut documents = Vec::new();
        for path in roles.keys() {
            let text = match sources.get(path) {
                Some(source) => source.marked().expose_secret().into(),
                None => files.read(path)?,
            };
            let objects = read(path, &text)?;
            let is_source = sources.get(path).is_some();
            for object in objects {
                if !is_source {
                    refuse_marks_in(path, &object)?;
                }
                if is_object(&object) {
                    documents.push(Document { object, path: Some(path.clone()) });
                } else if is_source || holds_encrypted(text.expose_secret()) {
                    return Err(RenderError::NotAManifest { path: path.clone() });
                }
            }
        }
        self.resolve(documents, sources)
    }

    /// Returns the manifests of a stream that others made, perhaps of the files in `sources`. What is encrypted in it is
    /// a value of one of them, or is verified as a document of its own.
    ///
    /// # Errors
    /// If the stream holds what looks like a mark, cannot be read, holds what is no object, or is encrypted and cannot be
    /// verified.
    pub fn stream(&self, stream: &SecretBytes, sources: &mut Sources) -> Result<Vec<Document>, RenderError> {
        refuse_marks("the stream", stream.expose_secret())?;
        sources.mark_as_built();
        self.take(stream, sources, false)
    }

    /// Returns the manifests of a stream that was built of marked files. Nothing of these is encrypted any more: what is,
    /// is verified as a document of its own.
    ///
    /// # Errors
    /// If the stream cannot be read, holds what is no object, or is encrypted and cannot be verified.
    pub fn built(&self, stream: &SecretBytes, sources: &mut Sources) -> Result<Vec<Document>, RenderError> {
        self.take(stream, sources, true)
    }

    fn take(
        &self,
        stream: &SecretBytes,
        sources: &mut Sources,
        is_marked: bool,
    ) -> Result<Vec<Document>, RenderError> {
        let mut documents = Vec::new();
        let chunks: Vec<_> = chunks(stream.expose_secret()).into_iter().map(SecretBytes::from).collect();
        // Only what was built of files is known by them: a copy of another document of the stream has a MAC of its own.
        let has_to_open =
            |text: &SecretBytes| holds_encrypted(text.expose_secret()) && !self.is_known(text, sources);
        let have_to_open: Vec<_> = chunks.iter().map(has_to_open).collect();
        for (number, (mut text, has_to_open)) in chunks.into_iter().zip(have_to_open).enumerate() {
            let place = format!("document {} of the stream", number + 1);
            if has_to_open {
                text = self.own_document(&place, text, sources)?;
            }
            let has_marks = is_marked || sources.document(&place).is_some();
            for object in read(&place, &text)? {
                if !has_marks {
                    refuse_marks_in(&place, &object)?;
                }
                if !is_object(&object) {
                    let source = ObjectError::Kind;
                    return Err(RenderError::Object { place, source });
                }
                documents.push(Document { object, path: None });
            }
            self.limits.check_documents(documents.len())?;
        }
        self.resolve(documents, sources)
    }

    /// Returns whether an encrypted value of a text is in a file that was verified, so that the text was built. The MAC,
    /// which comes first where keys were sorted, is in none.
    pub(super) fn is_known(&self, text: &SecretBytes, sources: &Sources) -> bool {
        let Ok(text) = str::from_utf8(text.expose_secret()) else { return false };
        let most = sources.longest_leaf();
        let is_known = |start: usize| {
            let end = text.as_bytes()[start..].iter().take(most).position(|&byte| byte == b']');
            end.is_some_and(|end| sources.mark_of(&text[start..=start + end]).is_some())
        };
        most > 0 && text.match_indices(ENCRYPTED).any(|(start, _)| is_known(start))
    }

    /// Opens a document of a stream over its own bytes, if it has metadata.
    fn own_document(
        &self,
        place: &str,
        text: SecretBytes,
        sources: &mut Sources,
    ) -> Result<SecretBytes, RenderError> {
        let role = Role::Leaves(Format::Yaml);
        if Format::Yaml.read(text.expose_secret()).is_err() {
            return Ok(text);
        }
        let opened = self.open_text(place, &text, role).map_err(|error| match error {
            RenderError::Mac { path, reason, .. } => RenderError::Mac {
                path,
                verdict: MacVerdict::SourceUnavailable,
                reason: format!("{reason}; if it was built of files, give them, too: --source DIR"),
            },
            error => error,
        })?;
        let Some(opened) = opened else { return Ok(text) };
        sources.add_document(place, role, text, opened);
        let source = sources.document(place).expect("it was added");
        Ok(source.marked().expose_secret().into())
    }
}

fn read(place: &str, text: &SecretBytes) -> Result<Vec<Json>, RenderError> {
    read_manifests(text.expose_secret())
        .map_err(|source| RenderError::Object { place: place.to_owned(), source })
}

/// Returns whether a document is an object of Kubernetes.
pub(super) fn is_object(document: &Json) -> bool {
    document["apiVersion"].is_string() && document["kind"].is_string()
}

/// Splits a stream at its markers. Documents that were encrypted together, as they have the same MAC, stay together.
pub(super) fn chunks(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    let mut chunk = Vec::new();
    let mut finish = |chunk: &mut Vec<u8>| {
        let is_nothing = |line: &[u8]| matches!(line.trim_ascii().first(), None | Some(b'#'));
        if chunk.split(|&byte| byte == b'\n').all(is_nothing) {
            chunk.clear();
            return;
        }
        let chunk = std::mem::take(chunk);
        let mac = mac_line(&chunk).map(<[u8]>::to_vec);
        match chunks.last_mut() {
            Some(last) if mac.is_some() && mac_line(last).map(<[u8]>::to_vec) == mac => {
                last.extend_from_slice(b"---\n");
                last.extend_from_slice(&chunk);
            }
            _ => chunks.push(chunk),
        }
    };
    for line in stream.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"---") && line.get(3).is_none_or(u8::is_ascii_whitespace) {
            finish(&mut chunk);
            let rest = line[3..].trim_ascii();
            if !rest.is_empty() && !rest.starts_with(b"#") {
                chunk.extend_from_slice(rest);
                chunk.push(b'\n');
            }
        } else {
            chunk.extend_from_slice(line);
        }
    }
    finish(&mut chunk);
    chunks
}

/// Returns the first line that holds the MAC of SOPS.
pub(super) fn mac_line(text: &[u8]) -> Option<&[u8]> {
    text.split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| line.starts_with(b"mac: ENC[") || line.starts_with(b"\"mac\": \"ENC["))
}

/// How every encrypted value starts.
const ENCRYPTED: &str = "ENC[AES256_GCM,";

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(stream: &str) -> Vec<String> {
        let text = |chunk| String::from_utf8(chunk).expect("text");
        chunks(stream.as_bytes()).into_iter().map(text).collect()
    }

    #[test]
    fn a_stream_is_split_at_its_markers() {
        assert_eq!(
            texts("a: 1\n--- # note\n# only a comment\n---\nb: |\n  ---\n  x\n--- {c: 1}\n---"),
            ["a: 1\n", "b: |\n  ---\n  x\n", "{c: 1}\n"]
        );
        assert!(texts("").is_empty());
    }

    #[test]
    fn what_was_encrypted_together_stays_together() {
        let both = "a: 1\nsops:\n  mac: ENC[x\n---\nb: 1\nsops:\n  mac: ENC[x\n";
        assert_eq!(
            texts(&format!("{both}---\nc: 1\nsops:\n  mac: ENC[y\n")),
            [both, "c: 1\nsops:\n  mac: ENC[y\n"]
        );
    }
}

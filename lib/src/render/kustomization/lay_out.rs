//! How a kustomization is laid out for Kustomize: printed of what was understood of it, so that there is nothing in it
//! that two readers read differently, and so that every path in it leads below its folder.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::config::{Config, Field};
use super::{Kustomization, KustomizationError, Reader, is_below};
use crate::manifest::{print_yaml, read_manifests};
use crate::secret::SecretBytes;

/// What is written in one file of configuration in place of what is there, by JSON pointers.
pub(super) type Edits = BTreeMap<String, String>;

impl Kustomization {
    /// Returns the text that a file is laid out with, given what is in it with marks in place of values.
    ///
    /// # Errors
    /// If it is a configuration that cannot be parsed.
    pub fn laid_out(&self, path: &str, marked: &SecretBytes) -> Result<SecretBytes, KustomizationError> {
        match self.edits.get(path) {
            Some(edits) => printed(&Config::new(path, marked.expose_secret().into())?, edits),
            None => Ok(marked.expose_secret().into()),
        }
    }
}

impl Reader<'_> {
    /// Notes how a path in a configuration is written, that of a file: as it is, or, if the file is not below the folder,
    /// as that of a copy which is. `before` is what stands before the path.
    pub(super) fn refer(
        &mut self,
        folder: &str,
        path: &str,
        entry: Field<'_>,
        before: &str,
    ) -> Result<(), KustomizationError> {
        self.found.named.entry(path.to_owned()).or_default().insert(folder.to_owned());
        let text = match self.copy(folder, path) {
            Some(copy) => format!("{before}{copy}"),
            None => entry.text().unwrap_or_default().to_owned(),
        };
        self.edit(entry, text)
    }

    /// Returns the path, from a folder, of a copy of a file or folder that is not below it.
    pub(super) fn copy(&mut self, folder: &str, path: &str) -> Option<String> {
        if is_below(folder, path) {
            return None;
        }
        let mut home = "selkie-reached".to_owned();
        while self.is_folder(&format!("{folder}/{home}")) || self.paths.contains(&format!("{folder}/{home}"))
        {
            home.push('-');
        }
        let known = self.copies.keys().filter(|(other, _)| other == folder).count();
        let number = *self.copies.entry((folder.to_owned(), path.to_owned())).or_insert(known);
        let name = path.rsplit('/').next().unwrap_or(path);
        let copy = format!("{home}/{number}/{name}");
        self.found.copies.insert(format!("{folder}/{copy}"), path.to_owned());
        Some(copy)
    }

    /// Notes what is written in place of an entry.
    pub(super) fn edit(&mut self, entry: Field<'_>, text: String) -> Result<(), KustomizationError> {
        let edits = self.found.edits.entry(entry.path().to_owned()).or_default();
        match edits.insert(entry.pointer(), text.clone()) {
            Some(other) if other != text => {
                let what =
                    "is read by two kustomizations, and means other files in each; give each one of its own";
                Err(KustomizationError::Unsupported { place: entry.place(), what })
            }
            _ => Ok(()),
        }
    }

    /// Notes how a configuration that is written in place is laid out.
    pub(super) fn edit_inline(
        &mut self,
        entry: Field<'_>,
        inline: &Config,
    ) -> Result<(), KustomizationError> {
        let edits = self.found.edits.remove(&entry.place()).unwrap_or_default();
        let text = printed(inline, &edits)?;
        self.edit(entry, String::from_utf8_lossy(text.expose_secret()).into_owned())
    }
}

/// Returns a configuration with edits, as Kustomize reads it, once it is sure that it was read so here, too.
fn printed(config: &Config, edits: &Edits) -> Result<SecretBytes, KustomizationError> {
    let otherwise = || {
        let what = "cannot be read as Kustomize reads it; write it plainly";
        KustomizationError::Unsupported { place: config.path().to_owned(), what }
    };
    let read = config.documents().map(Field::to_json).enumerate().filter(|(_, document)| !is_empty(document));
    let objects = read_manifests(config.source()).map_err(|_| otherwise())?;
    let mut objects = objects.into_iter().filter(|document| !is_empty(document));
    let mut out = SecretBytes::new();
    for (at, document) in read {
        let mut object = objects.next().filter(|object| agrees(&document, object)).ok_or_else(otherwise)?;
        for (pointer, text) in edits {
            let inside = pointer.strip_prefix(&format!("/{at}")).filter(|rest| rest.starts_with('/'));
            if let Some(field) = inside.and_then(|inside| object.pointer_mut(inside)) {
                *field = text.as_str().into();
            }
        }
        if !out.is_empty() {
            out.push_str("---\n");
        }
        out.extend_from_slice(print_yaml(&object).expose_secret());
    }
    if objects.next().is_some() { Err(otherwise()) } else { Ok(out) }
}

fn is_empty(document: &Json) -> bool {
    document.is_null() || document.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Returns whether Kustomize reads the same, but for what is no text to one of both, and leads to no folder.
fn agrees(ours: &Json, theirs: &Json) -> bool {
    match (ours, theirs) {
        (Json::Object(ours), Json::Object(theirs)) => {
            let agree = |(key, ours)| theirs.get(key).is_some_and(|theirs| agrees(ours, theirs));
            ours.len() == theirs.len() && ours.iter().all(agree)
        }
        (Json::Array(ours), Json::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| agrees(ours, theirs))
        }
        (Json::Object(_) | Json::Array(_), _) | (_, Json::Object(_) | Json::Array(_)) => false,
        (_, Json::String(text)) => ours.as_str() == Some(text) || !(text.contains('/') || text == ".."),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> Result<String, String> {
        let config = Config::new("k.yaml", source.into()).map_err(|error| error.to_string())?;
        let text = printed(&config, &Edits::new()).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(text.expose_secret()).into_owned())
    }

    #[test]
    fn scalars_are_what_they_are_to_kustomize() {
        for (source, expected) in [
            ("a: yes\nb: 'yes'\nc: no\nd: on\n", "a: true\nb: \"yes\"\nc: false\nd: true\n"),
            ("a: 1.10\nb: 010\nc: ~\n", "a: 1.1\nb: 8\nc: null\n"),
            ("a: &x [1]\nb: *x\n", "a:\n- 1\nb:\n- 1\n"),
            ("---\n# nothing\n---\na: 1\n---\nb: 2\n", "a: 1\n---\nb: 2\n"),
        ] {
            assert_eq!(text(source).as_deref(), Ok(expected), "{source}");
        }
        assert!(text("a: 1\na: 2\n").is_err(), "one of both is meant");
    }

    #[test]
    fn what_is_read_in_two_ways_is_refused() {
        let json = |text: &str| serde_json::from_str::<Json>(text).expect("JSON");
        for (ours, theirs, expected) in [
            (r#"{"a": "yes"}"#, r#"{"a": true}"#, true),
            (r#"{"a": 12}"#, r#"{"a": "0o14"}"#, true),
            (r#"{"a": "x"}"#, r#"{"a": "/keys/x"}"#, false),
            (r#"{"a": ["x"]}"#, r#"{"a": ["x", "y"]}"#, false),
            (r#"{"a": "x"}"#, r#"{"a": "x", "files": []}"#, false),
            (r#"{"a": "x"}"#, r#"{"b": "x"}"#, false),
            (r#"{"a": null}"#, r#"{"a": ["x"]}"#, false),
        ] {
            assert_eq!(agrees(&json(ours), &json(theirs)), expected, "{ours} {theirs}");
        }
    }
}

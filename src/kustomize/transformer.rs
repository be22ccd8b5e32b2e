//! Transformers: resources that something built of encrypted files, decrypted.

use std::collections::BTreeSet;

use selkie::manifest::print_yaml;
use selkie::render::{Memory, RenderError};
use selkie::secret::SecretBytes;
use serde_json::{Map, Value as Json};

use super::FaceError;
use super::config::Config;
use super::files::{Files, name_of};
use crate::render::renderer::{Renderer, Request};

/// Returns resources, decrypted. What is encrypted in them is looked up in the files that the configuration names, and in
/// those that annotations of the resources name.
pub(super) fn transform(
    renderer: &Renderer,
    files: &Files<'_>,
    config: &Config,
    mut objects: Vec<Json>,
    request: &Request,
) -> Result<Vec<Json>, FaceError> {
    if objects.is_empty() {
        return Ok(objects);
    }
    let mut paths = BTreeSet::new();
    for path in &config.files {
        paths.extend(files.list(path)?);
    }
    paths.extend(objects.iter().filter_map(origin));
    let mut sources = Memory::default();
    for path in paths {
        sources.insert(&name_of(&path), files.read(&path)?).map_err(RenderError::from)?;
    }
    // What is noted for Kustomize alone is no part of what comes out.
    let notes: Vec<_> = objects.iter_mut().map(take_notes).collect();
    let mut stream = SecretBytes::new();
    for object in &objects {
        stream.push_str("---\n");
        stream.extend_from_slice(print_yaml(object).expose_secret());
    }
    let failed = |source| FaceError::Render { place: config.place.clone(), source: Box::new(source) };
    let emission = renderer.render_stream(&stream, Some(&sources), request).map_err(failed)?;
    let mut objects = emission.objects;
    if objects.len() == notes.len() {
        objects.iter_mut().zip(notes).for_each(|(object, notes)| put_notes(object, notes));
    }
    Ok(objects)
}

/// Returns the file that a resource is from, relative to the kustomization or package.
fn origin(object: &Json) -> Option<String> {
    let annotations = &object["metadata"]["annotations"];
    if let Some(path) = annotations["internal.config.kubernetes.io/path"].as_str() {
        return Some(path.to_owned());
    }
    let lines = || annotations["config.kubernetes.io/origin"].as_str().unwrap_or_default().lines();
    // What is from another repository is not at hand.
    let is_remote = lines().any(|line| line.starts_with("repo:"));
    let path = lines().find_map(|line| line.strip_prefix("path: ")).filter(|_| !is_remote);
    path.map(|path| path.trim().to_owned())
}

fn take_notes(object: &mut Json) -> Map<String, Json> {
    let Some(metadata) = object["metadata"].as_object_mut() else { return Map::new() };
    let Some(Json::Object(annotations)) = metadata.shift_remove("annotations") else { return Map::new() };
    let (notes, kept): (Map<_, _>, Map<_, _>) = annotations.into_iter().partition(|(key, _)| is_note(key));
    if !kept.is_empty() {
        metadata.insert("annotations".to_owned(), kept.into());
    }
    notes
}

fn put_notes(object: &mut Json, notes: Map<String, Json>) {
    if !notes.is_empty() && object["metadata"].is_object() {
        let annotations = &mut object["metadata"]["annotations"];
        if annotations.is_null() {
            *annotations = Json::Object(Map::new());
        }
        notes.into_iter().for_each(|(key, note)| annotations[key] = note);
    }
}

/// Returns whether an annotation is for Kustomize and its like, and not for the cluster.
fn is_note(key: &str) -> bool {
    let groups = [
        "internal.config.kubernetes.io/",
        "config.kubernetes.io/",
        "config.k8s.io/",
        "alpha.config.kubernetes.io/",
    ];
    groups.iter().any(|group| key.starts_with(group)) || key.starts_with("kustomize.config.k8s.io/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn notes_come_off_and_on_again() {
        let mut object = json!({"kind": "Secret", "metadata": {"name": "a", "annotations": {
            "kustomize.config.k8s.io/id": "x", "mine": "y", "config.kubernetes.io/index": "0",
        }}});
        let whole = object.clone();
        let notes = take_notes(&mut object);
        assert_eq!(object["metadata"]["annotations"], json!({"mine": "y"}));
        put_notes(&mut object, notes);
        assert_eq!(object, whole);
        let mut bare =
            json!({"kind": "Secret", "metadata": {"name": "a", "annotations": {"config.k8s.io/id": "1"}}});
        let notes = take_notes(&mut bare);
        assert_eq!(bare, json!({"kind": "Secret", "metadata": {"name": "a"}}));
        put_notes(&mut bare, notes);
        assert_eq!(bare["metadata"]["annotations"], json!({"config.k8s.io/id": "1"}));
    }

    #[test]
    fn origins_are_files_at_hand() {
        let of = |annotations: Json| origin(&json!({"metadata": {"annotations": annotations}}));
        assert_eq!(of(json!({"config.kubernetes.io/origin": "path: s.yaml\n"})).as_deref(), Some("s.yaml"));
        assert_eq!(of(json!({"config.kubernetes.io/origin": "path: s.yaml\nrepo: https://x\n"})), None);
        assert_eq!(
            of(json!({"internal.config.kubernetes.io/path": "a/b.yaml"})).as_deref(),
            Some("a/b.yaml")
        );
        assert_eq!(of(json!({})), None);
    }
}

//! What objects that stand in the place of Secrets have in common.

use serde_json::Value as Json;

use super::super::Document;
use super::super::verdict::RenderError;
use super::{Context, taint};
use crate::sealed::ObjectMeta;

/// Makes sure that decrypted values are among the entries of a Secret alone: what else a Secret says stands in clear in
/// the object in its place.
pub(super) fn check_entries(context: &Context<'_>, document: &Document) -> Result<(), RenderError> {
    let mut outside = None;
    taint::visit(context, document, &mut |path, _| {
        if !(path.starts_with("data.") || path.starts_with("stringData.")) {
            outside.get_or_insert_with(|| path.to_owned());
        }
    })?;
    match outside {
        None => Ok(()),
        Some(path) => Err(refused(
            document,
            &format!(
                "{path} holds a decrypted value, which would stand in clear in the object that is made of the Secret; move it to `data` or `stringData`"
            ),
        )),
    }
}

/// Returns the metadata of a Secret.
pub(super) fn metadata(document: &Document) -> Result<ObjectMeta, RenderError> {
    let metadata = ObjectMeta::parse(&document.object["metadata"]);
    let metadata = metadata.map_err(|error| refused(document, &error.to_string()))?;
    if metadata.name().is_empty() {
        return Err(refused(
            document,
            "has no `metadata.name`, which the object that is made of it needs; give it one",
        ));
    }
    Ok(metadata)
}

/// Puts the labels and annotations by which sync engines order, prune and find objects on the object that they apply.
pub(super) fn track(secret: &ObjectMeta, object: &mut ObjectMeta) {
    for (name, value) in texts(secret, "labels").filter(|&(name, _)| is_tracking(name) || name == INSTANCE) {
        object.set_label(name, value);
    }
    for (name, value) in texts(secret, "annotations").filter(|&(name, _)| is_tracking(name)) {
        object.set_annotation(name, value);
    }
}

/// Returns the labels or annotations of an object.
pub(super) fn texts<'a>(
    metadata: &'a ObjectMeta,
    field: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let entries = metadata.field(field).and_then(Json::as_object).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

/// Returns what is said of a Secret that cannot be brought out in a mode.
pub(super) fn refused(document: &Document, reason: &str) -> RenderError {
    RenderError::Mode { place: document.name(), reason: reason.to_owned() }
}

fn is_tracking(name: &str) -> bool {
    TRACKING.iter().any(|prefix| name.starts_with(prefix))
}

/// The beginnings of names of labels and annotations that Argo CD, Flux and Helm look for.
const TRACKING: [&str; 4] =
    ["argocd.argoproj.io/", "helm.sh/", "helm.toolkit.fluxcd.io/", "kustomize.toolkit.fluxcd.io/"];
/// The label by which Argo CD knows which application an object is of.
const INSTANCE: &str = "app.kubernetes.io/instance";

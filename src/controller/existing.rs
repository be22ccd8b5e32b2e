//! Secrets as they are in the cluster.

use std::collections::BTreeSet;

use selkie::sealed::Secret;
use serde_json::Value as Json;

/// A Secret as it is in the cluster. It wipes its values, and cannot be printed.
pub struct Existing {
    /// What the API server identifies it with.
    pub uid: String,
    /// Which version of it this is.
    pub resource_version: String,
    /// Whether it is about to be deleted.
    pub is_deleting: bool,
    /// What is in it.
    pub secret: Secret,
    /// The fields that this controller wrote, or the one that it took over from, and that applying does not take away.
    pub written: Written,
    /// Its owners.
    pub owners: Vec<Owner>,
}

/// An owner of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The group and version of the owner.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is the one owner that controls the Secret.
    pub is_controller: bool,
}

/// Names of fields that were written by updates, not applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Names of labels.
    pub labels: BTreeSet<String>,
    /// Names of annotations.
    pub annotations: BTreeSet<String>,
}

/// Why an object of the API server is not a Secret that can be read. It tells nothing of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server returned a Secret that cannot be read")]
pub struct Unreadable;

impl Existing {
    /// Reads a Secret as the API server returns it.
    ///
    /// # Errors
    /// If it is not one.
    pub fn from_json(object: &Json) -> Result<Self, Unreadable> {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().map(str::to_owned).ok_or(Unreadable);
        Ok(Self {
            uid: text("uid")?,
            resource_version: text("resourceVersion")?,
            is_deleting: !metadata["deletionTimestamp"].is_null(),
            // Not shown: the message could cite a field.
            secret: Secret::from_any_json(object).map_err(|_| Unreadable)?,
            written: Written::of(&metadata["managedFields"]),
            owners: owners(metadata),
        })
    }

    /// Returns the owner that controls it.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.is_controller)
    }

    /// Returns whether an annotation says `true`, spelled like that.
    #[must_use]
    pub fn says(&self, annotation: &str) -> bool {
        self.secret.metadata.annotation(annotation) == Some("true")
    }
}

impl Written {
    fn of(managed_fields: &Json) -> Self {
        let mut written = Self::default();
        for entry in managed_fields.as_array().into_iter().flatten() {
            let is_ours = entry["manager"].as_str().is_some_and(|name| MANAGERS.contains(&name));
            if !is_ours || entry["operation"] != "Update" {
                continue;
            }
            let metadata = &entry["fieldsV1"]["f:metadata"];
            let names = |field: &Json| -> Vec<String> {
                let names = field.as_object().into_iter().flatten();
                names.filter_map(|(name, _)| name.strip_prefix("f:").map(str::to_owned)).collect()
            };
            written.labels.extend(names(&metadata["f:labels"]));
            written.annotations.extend(names(&metadata["f:annotations"]));
        }
        written
    }
}

/// Returns the owners in the metadata of an object.
#[must_use]
pub fn owners(metadata: &Json) -> Vec<Owner> {
    let text = |owner: &Json, field: &str| owner[field].as_str().unwrap_or_default().to_owned();
    let owner = |owner: &Json| Owner {
        api_version: text(owner, "apiVersion"),
        kind: text(owner, "kind"),
        name: text(owner, "name"),
        uid: text(owner, "uid"),
        is_controller: owner["controller"] == true,
    };
    metadata["ownerReferences"].as_array().into_iter().flatten().map(owner).collect()
}

/// The name under which this controller writes.
pub const FIELD_MANAGER: &str = "selkie";
/// The names under which a Secret may have been written by this controller, or by that of Sealed Secrets, whose program
/// has this name.
const MANAGERS: [&str; 2] = [FIELD_MANAGER, "controller"];

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
    /// The fields that this controller applied, so that applying without them takes them away.
    pub applied: Written,
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

/// Names of fields that this controller wrote and nobody else.
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
        // Without them, a write would be one of any version.
        let text = |field: &str| {
            metadata[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or(Unreadable)
        };
        Ok(Self {
            uid: text("uid")?,
            resource_version: text("resourceVersion")?,
            is_deleting: !metadata["deletionTimestamp"].is_null(),
            // Not shown: the message could cite a field.
            secret: Secret::from_any_json(object).map_err(|_| Unreadable)?,
            applied: Written::of(&metadata["managedFields"], "Apply"),
            written: Written::of(&metadata["managedFields"], "Update"),
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
    fn of(managed_fields: &Json, operation: &str) -> Self {
        let (mut ours, mut others) = (Self::default(), Self::default());
        for entry in managed_fields.as_array().into_iter().flatten() {
            match is_ours(entry) {
                true if entry["operation"] == operation => ours.add(entry),
                true => {}
                false => others.add(entry),
            }
        }
        // What somebody else wants, too, is not ours to take away.
        ours.labels.retain(|name| !others.labels.contains(name));
        ours.annotations.retain(|name| !others.annotations.contains(name));
        ours
    }

    fn add(&mut self, entry: &Json) {
        let metadata = &entry["fieldsV1"]["f:metadata"];
        let names = |field: &Json| -> Vec<String> {
            let names = field.as_object().into_iter().flatten();
            names.filter_map(|(name, _)| name.strip_prefix("f:").map(str::to_owned)).collect()
        };
        self.labels.extend(names(&metadata["f:labels"]));
        self.annotations.extend(names(&metadata["f:annotations"]));
    }
}

/// Returns whether an entry of the record of who wrote what tells of this controller, or of the one that it took over
/// from.
fn is_ours(entry: &Json) -> bool {
    match entry["manager"].as_str() {
        Some(FIELD_MANAGER) => true,
        // Many programs have this name, but they do not say what type a Secret has.
        Some(UPSTREAM_MANAGER) => !entry["fieldsV1"]["f:type"].is_null(),
        _ => false,
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
/// The name under which the controller of Sealed Secrets writes: that of its program.
const UPSTREAM_MANAGER: &str = "controller";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(metadata: Json) -> Json {
        let mut secret = json!({"metadata": {"name": "s", "uid": "s1", "resourceVersion": "7"}});
        for (field, value) in metadata.as_object().into_iter().flatten() {
            secret["metadata"][field] = value.clone();
        }
        secret
    }

    fn existing(object: &Json) -> Existing {
        Existing::from_json(object).unwrap_or_else(|error| panic!("{error}: {object}"))
    }

    #[test]
    fn without_uid_or_version_nothing_is_read() {
        for (field, value) in [
            ("uid", Json::Null),
            ("uid", json!("")),
            ("uid", json!(5)),
            ("resourceVersion", Json::Null),
            ("resourceVersion", json!("")),
            ("resourceVersion", json!({"a": 1})),
        ] {
            let object = secret(json!({field: value}));
            assert_eq!(Existing::from_json(&object).err(), Some(Unreadable), "{object}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_without_a_word_of_it() {
        let mut objects = vec![
            Json::Null,
            json!([]),
            json!("hunter2"),
            json!({"metadata": []}),
            secret(json!({"labels": {"l": 5}})),
            secret(json!({"annotations": "hunter2"})),
        ];
        for (field, value) in [
            ("data", json!({"hunter2": "hunter2!"})),
            ("data", json!({"a": 5})),
            ("data", json!("hunter2")),
            ("type", json!(["hunter2"])),
            ("immutable", json!("hunter2")),
        ] {
            let mut object = secret(json!({}));
            object[field] = value;
            objects.push(object);
        }
        for object in objects {
            let error = Existing::from_json(&object).err().map(|error| error.to_string());
            assert_eq!(
                error.as_deref(),
                Some("the API server returned a Secret that cannot be read"),
                "{object}"
            );
        }
    }

    #[test]
    fn records_and_owners_that_cannot_be_read_count_for_nothing() {
        let records = [
            json!(5),
            json!({"manager": "selkie"}),
            json!([5, null, "selkie", ["selkie"], {"manager": 5}]),
            json!([{"manager": "selkie", "operation": "Update", "fieldsV1": "f:metadata"}]),
            json!([{"manager": "selkie", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": [1]}}}]),
            json!([{"manager": "selkie", "operation": "Update",
                "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "k:{}": {}, "": {}}}}}]),
            json!([{"manager": "selkie", "operation": "Delete",
                "fieldsV1": {"f:metadata": {"f:labels": {"f:l": {}}}}}]),
        ];
        for record in records {
            let existing = existing(&secret(json!({"managedFields": record})));
            assert_eq!(
                (existing.written, existing.applied),
                (Written::default(), Written::default()),
                "{record}"
            );
        }
        for owners in [json!(5), json!({}), json!("u1")] {
            assert!(existing(&secret(json!({"ownerReferences": owners}))).owners.is_empty());
        }
        let existing =
            existing(&secret(json!({"ownerReferences": [5, null, {"uid": ["u1"], "controller": "true"}]})));
        assert_eq!(existing.owners.len(), 3);
        assert_eq!(existing.controller(), None);
    }

    #[test]
    fn the_record_tells_what_is_ours_alone() {
        let entry = |manager: &str, operation: &str, labels: &[&str], has_type: bool| {
            let labels: serde_json::Map<_, _> =
                labels.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
            let mut fields = json!({"f:metadata": {"f:labels": labels, "f:annotations": {"f:n": {}}}});
            if has_type {
                fields["f:type"] = json!({});
            }
            json!({"manager": manager, "operation": operation, "fieldsV1": fields})
        };
        let existing = existing(&secret(json!({"managedFields": [
            entry("selkie", "Update", &["a", "shared", "foreign"], true),
            entry("selkie", "Apply", &["b", "shared"], true),
            entry("controller", "Update", &["c"], true),
            entry("flux", "Apply", &["foreign"], false),
        ]})));
        let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(names(&existing.written.labels), "a c shared");
        assert_eq!(names(&existing.applied.labels), "b shared");
        assert_eq!(names(&existing.written.annotations), "");
    }
}

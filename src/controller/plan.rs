//! What to do about a Secret: from plain values, without looking anywhere else.
//!
//! Invariants: a Secret of somebody else is never written, unless an annotation of that Secret allows it; one of a sealing
//! key is never made or written, whatever it says; every write names the version that it was decided from, or that
//! there must not be one; what already is as it should be is not written.

mod reserved;

use std::collections::{BTreeMap, BTreeSet};

use selkie::sealed::{ObjectMeta, Secret};
use selkie::secret::SecretBytes;
use serde_json::{Map, Value as Json};
use subtle::ConstantTimeEq;

use super::existing::{Existing, Written};
use super::reason::{Failure, Reason};
pub use reserved::reserved;

/// Whose Secret it is to be, and what lets it be taken over.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The uid of the object that the Secret is made from.
    pub uid: &'a str,
    /// The kind of that object.
    pub kind: &'a str,
    /// The annotation of a Secret that allows to take it over.
    pub managed: &'a str,
    /// The annotation of a Secret that allows to put values into it.
    pub patch: Option<&'a str>,
    /// Whether no annotation is needed to take it over.
    pub adopt: bool,
    /// Whether the API server lets this controller apply.
    pub may_apply: bool,
    /// Whether no message may quote metadata of the Secret.
    pub hides_metadata: bool,
    /// The name of the sealing key of before 0.9, if the Secret is in the namespace where sealing keys are.
    pub reserved: Option<&'a str>,
}

impl Claim<'_> {
    /// Returns a name as messages have it behind a word: with a blank before it, or not at all.
    fn quoted(&self, name: &str) -> String {
        if self.hides_metadata { String::new() } else { format!(" {name:?}") }
    }
}

/// What to do about a Secret.
pub enum Plan {
    /// Apply these fields; whatever else is in the Secret stays. Only if it is still that version.
    Apply(Change),
    /// Make it, if there is none.
    Create(Secret),
    /// It is as it should be.
    Nothing,
    /// It must not, or cannot, be changed.
    Refuse(Failure),
    /// Replace the whole of it: something has to go that applying would not take away. Only if it is still that version.
    Replace(Change),
}

/// A change of a Secret.
pub struct Change {
    /// The uid that it must have.
    pub uid: String,
    /// The version that it must be.
    pub resource_version: String,
    /// What is written.
    pub secret: Secret,
    /// Whether the Secret was somebody else's so far.
    pub is_adoption: bool,
}

/// Returns what to do so that there is the Secret that an object stands for.
#[must_use]
pub fn plan(claim: &Claim<'_>, desired: &Secret, existing: Option<&Existing>) -> Plan {
    let there = existing.map(|existing| &existing.secret.metadata);
    if let Some(failure) = [Some(&desired.metadata), there]
        .into_iter()
        .flatten()
        .find_map(|metadata| reserved(claim.reserved, claim.kind, claim.hides_metadata, metadata))
    {
        return Plan::Refuse(failure);
    }
    let Some(existing) = existing else { return Plan::Create(creation(desired)) };
    let mode = match Mode::of(claim, existing) {
        Ok(mode) => mode,
        Err(failure) => return Plan::Refuse(failure),
    };
    let name = claim.quoted(desired.metadata.name());
    if existing.is_deleting {
        return refuse(
            Reason::Update,
            format!("the Secret{name} is about to be deleted, and is made again when it is gone"),
        );
    }
    if !mode.is_patch() && type_of(desired) != type_of(&existing.secret) {
        if claim.hides_metadata {
            return refuse(Reason::Update, ANOTHER_TYPE);
        }
        return refuse(
            Reason::Update,
            format!(
                "the type of the Secret{name} is {:?} and has to be {:?}, but a type cannot be changed: delete the Secret, and it is made again",
                type_of(&existing.secret),
                type_of(desired),
            ),
        );
    }
    let target = Target::of(claim, desired, existing, mode);
    let is_data_same = target.has_data_of(existing);
    if existing.secret.immutable == Some(true) && !is_data_same {
        return refuse(Reason::Immutable, IMMUTABLE);
    }
    if is_data_same && target.has_metadata_of(existing) && target.has_immutability_of(existing) {
        return Plan::Nothing;
    }
    let is_adoption = mode == Mode::Adopt && !target.owners.is_empty();
    let is_complete = target.leaves_nothing_behind(existing);
    let change = |secret| Change {
        uid: existing.uid.clone(),
        resource_version: existing.resource_version.clone(),
        secret,
        is_adoption,
    };
    if is_complete && claim.may_apply {
        Plan::Apply(change(target.applied()))
    } else {
        Plan::Replace(change(target.replaced(existing)))
    }
}

/// What may be done to a Secret that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Take it over.
    Adopt,
    /// It is that of the object.
    Own,
    /// Put values into it.
    Patch,
    /// Put values into it, and become its owner.
    PatchAndOwn,
}

impl Mode {
    fn of(claim: &Claim<'_>, existing: &Existing) -> Result<Self, Failure> {
        let is_own =
            !claim.uid.is_empty() && existing.controller().is_some_and(|owner| owner.uid == claim.uid);
        let is_managed = existing.says(claim.managed);
        if claim.patch.is_some_and(|annotation| existing.says(annotation)) {
            return Ok(if is_managed { Self::PatchAndOwn } else { Self::Patch });
        }
        if is_own {
            Ok(Self::Own)
        } else if is_managed || claim.adopt {
            Ok(Self::Adopt)
        } else {
            Err(Failure::new(
                Reason::Unmanaged,
                unmanaged(&claim.quoted(existing.secret.metadata.name()), claim.kind),
            ))
        }
    }

    /// Returns whether the Secret is shared: what others wrote into it stays.
    fn is_patch(self) -> bool {
        matches!(self, Self::Patch | Self::PatchAndOwn)
    }
}

/// A Secret as it has to be.
struct Target<'a> {
    mode: Mode,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owners: Vec<Json>,
    /// The uid of an owner that has to go, as the template does not want it any more.
    without_owner: Option<&'a str>,
    data: &'a BTreeMap<String, SecretBytes>,
    type_: Option<String>,
    immutable: Option<bool>,
}

impl<'a> Target<'a> {
    fn of(claim: &Claim<'a>, desired: &'a Secret, existing: &Existing, mode: Mode) -> Self {
        let owners =
            if mode == Mode::Patch { Vec::new() } else { list(&desired.metadata, "ownerReferences") };
        let is_owner = owners.iter().any(|owner| owner["uid"] == claim.uid);
        Self {
            mode,
            labels: texts(&desired.metadata, "labels"),
            annotations: texts(&desired.metadata, "annotations"),
            without_owner: (!is_owner && !mode.is_patch()).then_some(claim.uid),
            owners,
            data: &desired.data,
            type_: existing.secret.type_.clone(),
            immutable: match existing.secret.immutable {
                // It cannot be taken back.
                Some(true) => Some(true),
                // Nobody could put values into it any more.
                present if mode.is_patch() => present,
                _ => desired.immutable,
            },
        }
    }

    fn has_data_of(&self, existing: &Existing) -> bool {
        let present = &existing.secret.data;
        let is_there = |(key, value): (&String, &SecretBytes)| {
            present.get(key).is_some_and(|other| value.expose_secret().ct_eq(other.expose_secret()).into())
        };
        (self.mode.is_patch() || present.len() == self.data.len()) && self.data.iter().all(is_there)
    }

    fn has_metadata_of(&self, existing: &Existing) -> bool {
        let metadata = &existing.secret.metadata;
        let has = |field: &str, wanted: &BTreeMap<String, String>| {
            let present = texts(metadata, field);
            wanted.iter().all(|(name, value)| present.get(name) == Some(value))
        };
        let owners = list(metadata, "ownerReferences");
        let has_owner = |wanted: &Json| owners.iter().any(|owner| is_same_owner(owner, wanted));
        has("labels", &self.labels)
            && has("annotations", &self.annotations)
            && self.owners.iter().all(has_owner)
            && self.stale(existing, &existing.written).is_empty()
            && self.stale(existing, &existing.applied).is_empty()
            && !self.has_wrong_owner(existing)
    }

    fn has_immutability_of(&self, existing: &Existing) -> bool {
        self.immutable.unwrap_or(false) == existing.secret.immutable.unwrap_or(false)
    }

    /// Returns the names of labels and annotations that were written for an earlier state of the object.
    fn stale(&self, existing: &Existing, written: &Written) -> Vec<(&'static str, String)> {
        // Those of a Secret that is shared are not ours to judge.
        if self.mode.is_patch() {
            return Vec::new();
        }
        let of = |field, written: &BTreeSet<String>, wanted: &BTreeMap<String, String>| {
            let present = texts(&existing.secret.metadata, field);
            let is_stale = |name: &&String| present.contains_key(*name) && !wanted.contains_key(*name);
            written.iter().filter(is_stale).map(|name| (field, name.clone())).collect::<Vec<_>>()
        };
        let mut stale = of("labels", &written.labels, &self.labels);
        stale.extend(of("annotations", &written.annotations, &self.annotations));
        stale
    }

    /// Returns whether somebody else controls the Secret, or it has an owner that must not be there.
    fn has_wrong_owner(&self, existing: &Existing) -> bool {
        let is_ours = |uid: &str| self.owners.iter().any(|owner| owner["uid"] == uid);
        let is_wrong = |uid: &str| self.without_owner == Some(uid);
        (!self.owners.is_empty() && existing.controller().is_some_and(|owner| !is_ours(&owner.uid)))
            || existing.owners.iter().any(|owner| is_wrong(&owner.uid))
    }

    /// Returns whether applying is enough, and takes nothing away that has to stay.
    fn leaves_nothing_behind(&self, existing: &Existing) -> bool {
        let has_others = existing.secret.data.keys().any(|key| !self.data.contains_key(key));
        // From a Secret that is shared, applying would take what was applied before.
        !self.mode.is_patch()
            && !has_others
            && self.stale(existing, &existing.written).is_empty()
            && !self.has_wrong_owner(existing)
    }

    /// Returns the fields to apply.
    fn applied(self) -> Secret {
        Secret {
            metadata: metadata(&self.labels, &self.annotations, self.owners),
            type_: self.type_,
            immutable: self.immutable,
            data: copied(self.data),
        }
    }

    /// Returns the whole Secret, with what others wrote beside what is ours.
    fn replaced(self, existing: &Existing) -> Secret {
        let mut stale = self.stale(existing, &existing.written);
        stale.extend(self.stale(existing, &existing.applied));
        let others = |field: &'static str, wanted: &BTreeMap<String, String>| {
            let mut all = texts(&existing.secret.metadata, field);
            all.retain(|name, _| !stale.contains(&(field, name.clone())));
            all.extend(wanted.clone());
            all
        };
        let mut owners = list(&existing.secret.metadata, "ownerReferences");
        let replaces = !self.owners.is_empty();
        owners.retain(|owner| {
            let is_wanted = self.owners.iter().any(|wanted| wanted["uid"] == owner["uid"]);
            let is_replaced = replaces && owner["controller"] == true;
            let has_to_go = self.without_owner.is_some_and(|uid| owner["uid"] == uid);
            !(is_wanted || is_replaced || has_to_go)
        });
        owners.extend(self.owners.iter().cloned());
        let mut metadata =
            metadata(&others("labels", &self.labels), &others("annotations", &self.annotations), owners);
        // Not ours to change, and lost if they were left out.
        keep(&mut metadata, &existing.secret.metadata, &["finalizers", "generateName"]);
        let mut data = if self.mode.is_patch() { copied(&existing.secret.data) } else { BTreeMap::new() };
        data.extend(copied(self.data));
        Secret { metadata, type_: self.type_, immutable: self.immutable, data }
    }
}

/// Returns the Secret that is created: of the metadata of a template what a new object may have.
fn creation(desired: &Secret) -> Secret {
    let mut metadata = metadata(
        &texts(&desired.metadata, "labels"),
        &texts(&desired.metadata, "annotations"),
        list(&desired.metadata, "ownerReferences"),
    );
    // Only a new Secret gets them: one that did its work and took itself out does not come back.
    keep(&mut metadata, &desired.metadata, &["finalizers"]);
    Secret {
        metadata,
        type_: desired.type_.clone(),
        immutable: desired.immutable,
        data: copied(&desired.data),
    }
}

fn metadata(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    owners: Vec<Json>,
) -> ObjectMeta {
    let mut metadata = ObjectMeta::default();
    for (name, value) in labels {
        metadata.set_label(name, value);
    }
    for (name, value) in annotations {
        metadata.set_annotation(name, value);
    }
    if !owners.is_empty() {
        metadata.set_field("ownerReferences", owners.into());
    }
    metadata
}

fn keep(metadata: &mut ObjectMeta, from: &ObjectMeta, fields: &[&str]) {
    let is_something = |value: &&Json| {
        value.as_array().is_some_and(|list| !list.is_empty())
            || value.as_str().is_some_and(|text| !text.is_empty())
    };
    for field in fields {
        if let Some(value) = from.field(field).filter(is_something) {
            metadata.set_field(field, value.clone());
        }
    }
}

fn texts(metadata: &ObjectMeta, field: &str) -> BTreeMap<String, String> {
    let entries = metadata.field(field).and_then(Json::as_object).into_iter().flat_map(Map::iter);
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn list(metadata: &ObjectMeta, field: &str) -> Vec<Json> {
    metadata.field(field).and_then(Json::as_array).cloned().unwrap_or_default()
}

fn is_same_owner(owner: &Json, wanted: &Json) -> bool {
    ["apiVersion", "kind", "name", "uid"].iter().all(|field| owner[field] == wanted[field])
        && (owner["controller"] == true) == (wanted["controller"] == true)
}

fn copied(data: &BTreeMap<String, SecretBytes>) -> BTreeMap<String, SecretBytes> {
    data.iter().map(|(key, value)| (key.clone(), SecretBytes::from(value.expose_secret()))).collect()
}

/// The API server takes none for `Opaque`.
fn type_of(secret: &Secret) -> &str {
    secret.type_.as_deref().filter(|type_| !type_.is_empty()).unwrap_or("Opaque")
}

fn refuse(reason: Reason, message: impl Into<String>) -> Plan {
    Plan::Refuse(Failure::new(reason, message))
}

/// The words of the controller of Sealed Secrets.
fn unmanaged(name: &str, kind: &str) -> String {
    format!("failed update: Resource{name} already exists and is not managed by {kind}")
}

const IMMUTABLE: &str = "the target Secret is immutable. Once a Secret is marked as immutable, it is not possible to revert \
    this change nor to mutate the contents of the data field. You can only delete and recreate the Secret.";

const ANOTHER_TYPE: &str = "the type of the Secret is another one, but a type cannot be changed: delete the Secret, and \
    it is made again";

#[cfg(test)]
mod table;

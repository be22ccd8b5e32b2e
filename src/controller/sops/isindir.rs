//! `SopsSecret` of `isindir.github.com`: an object that is encrypted itself, and makes any number of Secrets.
//!
//! The API server wrote the object anew, so that its MAC cannot be verified over the bytes that were signed. Those are
//! looked for instead: see [`forms`]. An object for which none is found is refused, unless the policy says otherwise.
//!
//! Invariants: the Secrets are in the namespace of the object; all of them are made, or none.

mod forms;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use kube::core::ApiResource;
use selkie::format::Format;
use selkie::sealed::Secret;
use selkie::sops::{Envelope, MacCheck, Metadata, OpenError, Opened};
use serde_json::{Value as Json, json};

use super::aside::{Waiting, aside};
use super::failure::{self, MENDED_BY_KEYS};
use super::keys::SopsKeys;
use super::object::{self, Place, invalid};
use crate::controller::reason::{Failure, Reason};
use crate::controller::source::{Desired, Source};

/// The group of the API that the objects are of.
pub const GROUP: &str = "isindir.github.com";

/// The annotation of a Secret that lets it be taken over, with the value `true`.
pub const ADOPTION: &str = "sopssecret/managed";

/// The annotation of an object that names a key Secret of its namespace.
pub const KEY_SECRET: &str = "selkie.dev/key-secret";

/// The source of Secrets that `SopsSecret`s of `isindir.github.com` are.
pub struct IsindirSecrets {
    resource: ApiResource,
    keys: Arc<SopsKeys>,
    /// What holds for objects that do not say `enforceOwnership`.
    enforce_ownership: bool,
    /// Whether the MAC of an object was verified when it was opened last, by its UID.
    verified: Mutex<HashMap<String, bool>>,
}

impl IsindirSecrets {
    /// Returns the source, with the keys that it opens objects with, and with whether objects that do not say
    /// `enforceOwnership` take over Secrets of others.
    #[must_use]
    pub fn new(keys: Arc<SopsKeys>, enforce_ownership: bool) -> Self {
        let resource = ApiResource {
            group: GROUP.to_owned(),
            version: "v1alpha3".to_owned(),
            api_version: "isindir.github.com/v1alpha3".to_owned(),
            kind: "SopsSecret".to_owned(),
            plural: "sopssecrets".to_owned(),
        };
        Self { resource, keys, enforce_ownership, verified: Mutex::default() }
    }

    async fn secrets(&self, object: &Json) -> Result<Desired, Failure> {
        // What was so of the object once may not be so any more.
        self.forget(object);
        let place = object::place(object)?;
        let spec = object::map(&object["spec"], "spec")?;
        if spec.flag("suspend")?.unwrap_or_default() {
            return Err(object::suspended());
        }
        let adopt = spec.flag("enforceOwnership")?.unwrap_or(self.enforce_ownership);
        let sops = object["sops"].as_object().ok_or_else(|| invalid("sops is missing"))?;
        let metadata = Metadata::from_json(sops).map_err(|error| failure::of_metadata(&error))?;
        let rule = self.keys.rule(&place.namespace)?;
        let secret = object["metadata"]["annotations"][KEY_SECRET].as_str();
        let envelope = self.keys.recover(&place.namespace, secret, metadata).await?;
        let copy = object.clone();
        let (opened, verified) = aside(move |waiting| open(&envelope, &copy, waiting)).await?;
        self.note(object, verified);
        if !verified && !rule.allows_isindir_without_mac() {
            return Err(Failure::new(Reason::MacMismatch, UNVERIFIED));
        }
        let resource = self.resource.clone();
        let secrets = aside(move |_| {
            let plain = opened.tree().to_json(opened.tree().documents()[0]);
            Self::of_templates(&resource, &plain, &place)
        });
        Ok(Desired { secrets: secrets.await?, prune: true, adopt })
    }

    fn of_templates(resource: &ApiResource, plain: &Json, place: &Place) -> Result<Vec<Secret>, Failure> {
        let templates = plain["spec"]["secretTemplates"].as_array();
        let templates = templates.filter(|templates| !templates.is_empty());
        let templates = templates.ok_or_else(|| invalid("spec.secretTemplates has nothing in it"))?;
        let (mut secrets, mut names) = (Vec::new(), BTreeSet::new());
        for (at, template) in templates.iter().enumerate() {
            let secret = Self::of_template(resource, template, at, place)?;
            if !names.insert(secret.metadata.name().to_owned()) {
                // Without the name, which may be encrypted.
                return Err(invalid(format!("spec.secretTemplates[{at}] has the name of another one")));
            }
            secrets.push(secret);
        }
        Ok(secrets)
    }

    fn of_template(
        resource: &ApiResource,
        template: &Json,
        at: usize,
        place: &Place,
    ) -> Result<Secret, Failure> {
        let path = format!("spec.secretTemplates[{at}]");
        let fields = object::map(template, &path)?;
        let (labels, annotations) = (fields.texts("labels")?, fields.texts("annotations")?);
        let failed = |error| invalid(format!("{path} cannot be used: {error}"));
        let content = json!({"data": template["data"], "stringData": template["stringData"]});
        let mut secret = Secret::from_any_json(&content).map_err(failed)?;
        secret.type_ = fields.text("type")?.map(str::to_owned);
        secret.metadata = object::metadata(place, resource, fields.required("name")?);
        for (name, value) in &labels {
            secret.metadata.set_label(name, value);
        }
        for (name, value) in &annotations {
            secret.metadata.set_annotation(name, value);
        }
        object::check_size(&secret)?;
        Ok(secret)
    }

    fn note(&self, object: &Json, verified: bool) {
        let mut known = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_NOTED {
            known.clear();
        }
        known.insert(uid(object).to_owned(), verified);
    }

    fn forget(&self, object: &Json) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).remove(uid(object));
    }
}

impl Source for IsindirSecrets {
    fn resource(&self) -> &ApiResource {
        &self.resource
    }

    fn label(&self) -> &str {
        LABEL
    }

    fn essence(&self, object: &Json) -> Json {
        json!({
            "name": object["metadata"]["name"],
            "keySecret": object["metadata"]["annotations"][KEY_SECRET],
            "spec": object["spec"],
            "sops": object["sops"],
        })
    }

    fn open<'a>(&'a self, object: &'a Json) -> BoxFuture<'a, Result<Desired, Failure>> {
        Box::pin(self.secrets(object))
    }

    fn managed(&self) -> &str {
        ADOPTION
    }

    fn mended_by_keys(&self) -> &[Reason] {
        &MENDED_BY_KEYS
    }

    fn hides_metadata(&self) -> bool {
        true
    }

    fn status(&self, object: &Json, result: Result<(), &Failure>) -> Json {
        let message = match result.err().map(|failure| failure.reason) {
            None | Some(Reason::Ready) => "Healthy",
            Some(Reason::Suspended) => "Reconciliation is suspended",
            Some(Reason::Unmanaged) => "Child secret is not owned by controller error",
            Some(Reason::Immutable | Reason::Update) => "Child secret update error",
            Some(Reason::Fetch | Reason::Status) => "Unknown Error",
            Some(
                Reason::Invalid
                | Reason::MacMismatch
                | Reason::NoKey
                | Reason::NotAllowed
                | Reason::Template
                | Reason::Unseal,
            ) => "Decryption error",
        };
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(uid(object)) {
            None => json!({"message": message}),
            Some(true) => json!({"mac": "Verified", "message": message}),
            Some(false) => json!({"mac": "Unverified", "message": message}),
        }
    }
}

/// Decrypts an object, and returns whether its MAC was verified.
fn open(envelope: &Envelope, object: &Json, waiting: &Waiting) -> Result<(Opened, bool), Failure> {
    for form in forms::signed(object, envelope.metadata().mac_only_encrypted) {
        waiting.check()?;
        match open_form(envelope, &form, MacCheck::Require)? {
            Ok(opened) => return Ok((opened, true)),
            // No other form has another one.
            Err(OpenError::Mac(_) | OpenError::MacMissing) => break,
            // A value that cannot be decrypted may be one that the API server put there.
            Err(_) => {}
        }
    }
    let mut failure = None;
    for form in forms::unsigned(object) {
        waiting.check()?;
        match open_form(envelope, &form, MacCheck::Ignore)? {
            Ok(opened) => return Ok((opened, false)),
            Err(error) => failure = failure.or(Some(failure::of_opening(&error))),
        }
    }
    Err(failure.unwrap_or_else(|| invalid("spec is missing")))
}

fn open_form(
    envelope: &Envelope,
    form: &Json,
    check: MacCheck,
) -> Result<Result<Opened, OpenError>, Failure> {
    let tree = Format::Json.read(form.to_string());
    let tree = tree.map_err(|error| failure::of_parsing("the object", &error))?;
    Ok(envelope.open(Format::Json, tree, check))
}

fn uid(object: &Json) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// What tells these objects from those of `selkie.dev`, whose kind has the same name.
const LABEL: &str = "SopsSecret.isindir.github.com";

const UNVERIFIED: &str = "the MAC cannot be verified: the object was changed by somebody without the key, or its keys \
                          were in an order that cannot be found out; encrypt it with mac_only_encrypted and its \
                          keys in alphabetical order, use a SopsSecret of selkie.dev, or set isindirWithoutMac in the policy";

/// Of how many objects is noted whether they were verified; what is forgotten is not told.
const MOST_NOTED: usize = 100_000;

#[cfg(test)]
mod tests;

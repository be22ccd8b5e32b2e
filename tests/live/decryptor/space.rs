//! A namespace, and the objects in it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Failed;
use rand_core::OsRng;
use selkie::sealed::{SealedSecret, SealingCert, Secret};
use serde_json::{Map, Value as Json, json};

use super::lab::{Deed, Lab};

/// A namespace in which a controller works.
pub struct Space<'a> {
    pub lab: &'a Lab,
    pub name: String,
    certificate: String,
}

impl<'a> Space<'a> {
    /// Returns a namespace, for whose controller values are sealed with a certificate.
    pub fn new(lab: &'a Lab, name: &str, certificate: String) -> Self {
        Self { lab, name: name.to_owned(), certificate }
    }

    /// Seals a Secret with these fields.
    pub fn seal(&self, name: &str, fields: Json) -> Result<Json, Failed> {
        self.seal_for(&self.certificate, name, fields)
    }

    /// Seals a Secret with these fields for somebody else.
    pub fn seal_for(&self, certificate: &str, name: &str, fields: Json) -> Result<Json, Failed> {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}});
        merge(&mut secret, fields);
        secret["metadata"]["name"] = name.into();
        secret["metadata"]["namespace"] = self.name.as_str().into();
        let secret = Secret::from_json(&secret)?;
        let certificate = SealingCert::parse(certificate.as_bytes())?;
        Ok(SealedSecret::seal(&secret, &certificate, &mut OsRng)?.to_json())
    }

    /// Seals a Secret, and creates what comes of it.
    pub fn make(&self, name: &str, fields: Json) -> Result<Json, Failed> {
        self.create(&self.seal(name, fields)?)
    }

    /// Creates an object.
    pub fn create(&self, object: &Json) -> Result<Json, Failed> {
        self.lab.act(&self.path(object, None), Deed::Create(object))
    }

    /// Creates a Secret that nobody sealed.
    pub fn create_secret(&self, name: &str, fields: Json) -> Result<Json, Failed> {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
        merge(&mut secret, fields);
        self.create(&secret)
    }

    /// Gives a SealedSecret another content.
    pub fn change(&self, sealed: &Json) -> Result<Json, Failed> {
        let name = sealed["metadata"]["name"].as_str().unwrap_or_default();
        let mut object = self.sealed(name)?;
        object["spec"] = sealed["spec"].clone();
        object["metadata"]["annotations"] = sealed["metadata"]["annotations"].clone();
        self.lab.act(&self.path(sealed, Some(name)), Deed::Put(&object))
    }

    /// Changes fields of a SealedSecret.
    pub fn patch_sealed(&self, name: &str, patch: Json) -> Result<Json, Failed> {
        self.lab.act(&self.sealed_path(name), Deed::Patch(&patch))
    }

    /// Changes fields of a Secret.
    pub fn patch_secret(&self, name: &str, patch: Json) -> Result<Json, Failed> {
        self.lab.act(&self.secret_path(name), Deed::Patch(&patch))
    }

    /// Deletes a Secret.
    pub fn delete_secret(&self, name: &str) -> Result<(), Failed> {
        self.lab.act(&self.secret_path(name), Deed::Delete).map(|_| ())
    }

    /// Deletes a SealedSecret.
    pub fn delete_sealed(&self, name: &str) -> Result<(), Failed> {
        self.lab.act(&self.sealed_path(name), Deed::Delete).map(|_| ())
    }

    /// Returns a Secret; `None` if there is none.
    pub fn find_secret(&self, name: &str) -> Result<Option<Json>, Failed> {
        self.lab.find(&self.secret_path(name))
    }

    /// Returns a Secret.
    pub fn secret(&self, name: &str) -> Result<Json, Failed> {
        self.find_secret(name)?.ok_or_else(|| format!("there is no Secret {name}").into())
    }

    /// Returns a SealedSecret.
    pub fn sealed(&self, name: &str) -> Result<Json, Failed> {
        let found = self.lab.find(&self.sealed_path(name))?;
        found.ok_or_else(|| format!("there is no SealedSecret {name}").into())
    }

    /// Waits until a SealedSecret is as it should be, and says so of its generation.
    pub fn ready(&self, name: &str) -> Result<Json, Failed> {
        self.state(name, "True", "Ready")
    }

    /// Waits until a SealedSecret says that it failed for a reason; returns the message.
    pub fn failed(&self, name: &str, reason: &str) -> Result<String, Failed> {
        let object = self.state(name, "False", reason)?;
        let message =
            |kind: &str| condition(&object, kind)["message"].as_str().unwrap_or_default().to_owned();
        super::same("the messages of both conditions", message("Ready"), message("Synced"))?;
        Ok(message("Ready"))
    }

    fn state(&self, name: &str, status: &str, reason: &str) -> Result<Json, Failed> {
        let mut last = Json::Null;
        let is_so = self.lab.wait(name, || {
            let object = self.sealed(name)?;
            let ready = condition(&object, "Ready");
            let is_so = object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && (&ready["status"], &ready["reason"]) == (&json!(status), &json!(reason))
                && condition(&object, "Synced")["status"] == status;
            last = object["status"].clone();
            Ok(is_so.then_some(object))
        });
        is_so.map_err(|failed| {
            let message = failed.message().unwrap_or_default();
            format!("{message}: {status} for {reason} is right, but it is {last}").into()
        })
    }

    /// Waits until the values of a Secret are these, and returns it.
    pub fn has(&self, name: &str, expected: &[(&str, &str)]) -> Result<Json, Failed> {
        let mut last = None;
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        let found = self.lab.wait(name, || {
            let secret = self.find_secret(name)?;
            last = secret.as_ref().map(values).transpose()?;
            Ok(secret.filter(|_| last.as_ref() == Some(&expected)))
        });
        found.map_err(|failed| {
            format!("{}: {last:?}, where {expected:?} is right", failed.message().unwrap_or_default()).into()
        })
    }

    /// Waits until an event of a SealedSecret was told, and returns its message.
    pub fn event(&self, name: &str, reason: &str) -> Result<String, Failed> {
        let path = format!("/api/v1/namespaces/{}/events", self.name);
        self.lab.wait(&format!("the event {reason} of {name}"), || {
            let events = self.lab.act(&path, Deed::Get)?;
            let is_it = |event: &&Json| event["reason"] == reason && event["involvedObject"]["name"] == name;
            let event = events["items"].as_array().into_iter().flatten().rfind(is_it).cloned();
            Ok(event.map(|event| event["message"].as_str().unwrap_or_default().to_owned()))
        })
    }

    /// Returns the path of a Secret.
    pub fn secret_path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/secrets/{name}", self.name)
    }

    /// Returns the path of a SealedSecret.
    pub fn sealed_path(&self, name: &str) -> String {
        format!("/apis/bitnami.com/v1alpha1/namespaces/{}/sealedsecrets/{name}", self.name)
    }

    fn path(&self, object: &Json, name: Option<&str>) -> String {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let root = if version.contains('/') { "apis" } else { "api" };
        let plural = object["kind"].as_str().unwrap_or_default().to_lowercase() + "s";
        let path = format!("/{root}/{version}/namespaces/{}/{plural}", self.name);
        name.map_or(path.clone(), |name| format!("{path}/{name}"))
    }
}

/// Returns a condition of an object.
pub fn condition<'a>(object: &'a Json, kind: &str) -> &'a Json {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or(&Json::Null)
}

/// Returns the values of a Secret.
pub fn values(secret: &Json) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
    let mut values = BTreeMap::new();
    for (key, value) in secret["data"].as_object().into_iter().flatten() {
        values.insert(key.clone(), STANDARD.decode(value.as_str().ok_or("a value is no text")?)?);
    }
    Ok(values)
}

/// Returns an object without what the API server says of it.
pub fn plain(mut object: Json) -> Json {
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
        object["metadata"].as_object_mut().map(|fields: &mut Map<_, _>| fields.shift_remove(field));
    }
    object
}

/// Lays objects over objects.
pub fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Json::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

//! The requests that the controller makes for objects and their Secrets.
//!
//! Invariant: what is said of a failure tells nothing of what was sent or received.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use http::header::ACCEPT;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, Request, Status};
use selkie::sealed::Secret;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value as Json, json};

use super::existing::{Existing, FIELD_MANAGER};
use super::metrics::Metrics;
use super::plan::Change;
use super::queue::Key;
use super::status::Version;
use super::watch::Object;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is an object of that name already.
    #[error("{0}")]
    AlreadyExists(String),
    /// The object is of another version by now.
    #[error("{0}")]
    Conflict(String),
    /// The API server does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// The API server cannot be reached, or does not have the time.
    #[error("{message}")]
    Unavailable {
        /// What is wrong.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The API server does not take the object.
    #[error("{0}")]
    Refused(String),
}

/// The API server, for objects of one kind and their Secrets.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    metrics: Arc<Metrics>,
    /// Whether the status can only be updated, as far as is known.
    updates_status: Arc<AtomicBool>,
    hides_metadata: bool,
}

impl Cluster {
    /// Returns the API server behind a client; requests are counted.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics, updates_status: Arc::default(), hides_metadata: false }
    }

    /// Returns the same API server, of whose refusals only reasons and fields are told if names, types, labels and
    /// annotations of Secrets may have been encrypted.
    #[must_use]
    pub fn hiding_metadata(&self, hides_metadata: bool) -> Self {
        Self { hides_metadata, ..self.clone() }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn object(&self, resource: &ApiResource, key: &Key) -> Result<Json, CallError> {
        let request = Request::new(objects(resource, &key.namespace)).get(&key.name, &Default::default());
        // One that cannot be read as a whole has to be told so.
        self.call::<Object>(request).await.map(|object| object.into_json(resource))
    }

    /// Writes the status of an object, if it is still of this version: the API server does not look at the uid of what
    /// is patched into a status, and would replace conditions that others have written meanwhile.
    ///
    /// # Errors
    /// If it is of another version by now, or cannot be written.
    pub async fn write_status(
        &self,
        resource: &ApiResource,
        object: &Json,
        status: Json,
    ) -> Result<(), CallError> {
        let (key, metadata) = (key_of(object), &object["metadata"]);
        let requests = Request::new(objects(resource, &key.namespace));
        let mut patch = status.clone();
        for (name, _) in object["status"].as_object().into_iter().flatten() {
            if status.get(name).is_none() {
                patch[name] = Json::Null;
            }
        }
        let metadata = json!({"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]});
        let patch = Patch::Merge(json!({"metadata": metadata, "status": patch}));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        if !self.updates_status.load(Ordering::Relaxed) {
            // What is sent back is as deep as the object, as the record of who wrote what mirrors it.
            match self
                .write::<IgnoredAny>(requests.patch_subresource("status", &key.name, &params, &patch))
                .await
            {
                // The rules for the controller of Sealed Secrets allow to update, not to patch.
                Err(error) if error.is_for_want_of_patch() => {
                    self.updates_status.store(true, Ordering::Relaxed);
                }
                other => return other.map(|_| ()),
            }
        }
        let mut whole = object.clone();
        whole["status"] = status;
        let body = serde_json::to_vec(&whole).expect("names of fields are texts");
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = requests.replace_subresource("status", &key.name, &params, body);
        self.write::<IgnoredAny>(request).await.map(|_| ())
    }

    /// Reads a Secret; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Existing>, CallError> {
        let request = Request::new(secrets(namespace)).get(name, &Default::default());
        match self.call(request).await {
            Ok(object) => existing(&object).map(Some),
            Err(CallError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a Secret.
    ///
    /// # Errors
    /// If there is one, or it cannot be made.
    pub async fn create(&self, namespace: &str, name: &str, secret: &Secret) -> Result<Version, CallError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let object = object(secret, &json!({"namespace": namespace, "name": name}));
        self.write(Request::new(secrets(namespace)).create(&params, body(&object)))
            .await
            .and_then(|it| version(&it))
    }

    /// Applies fields of a Secret.
    ///
    /// # Errors
    /// If it is of another version by now, or does not take them.
    pub async fn apply(&self, namespace: &str, name: &str, change: &Change) -> Result<Version, CallError> {
        let object = object(&change.secret, &identity(namespace, name, change));
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let request = Request::new(secrets(namespace)).patch(name, &params, &Patch::Apply(object));
        self.write(request).await.and_then(|it| version(&it))
    }

    /// Replaces a Secret.
    ///
    /// # Errors
    /// If it is of another version by now, or does not take it.
    pub async fn replace(&self, namespace: &str, name: &str, change: &Change) -> Result<Version, CallError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let object = object(&change.secret, &identity(namespace, name, change));
        let request = Request::new(secrets(namespace)).replace(name, &params, body(&object));
        self.write(request).await.and_then(|it| version(&it))
    }

    /// Deletes this version of a Secret; one that is gone, or another one, stays as it is.
    ///
    /// # Errors
    /// If it cannot be deleted.
    pub async fn delete(&self, namespace: &str, version: &Version) -> Result<bool, CallError> {
        let preconditions = Preconditions {
            uid: Some(version.uid.clone()),
            resource_version: Some(version.resource_version.clone()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.call::<IgnoredAny>(Request::new(secrets(namespace)).delete(&version.name, &params)).await {
            Ok(_) => Ok(true),
            Err(CallError::NotFound(_) | CallError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a request of whose answer only the metadata are of use: what was written is not sent back.
    async fn write<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, CallError> {
        let request = request.map(|mut request| {
            request.headers_mut().insert(ACCEPT, METADATA);
            request
        });
        self.call(request).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, CallError> {
        let request = request.map_err(|_| CallError::Refused("the name makes no address".to_owned()))?;
        let verb = verb(request.method());
        let result = self.client.request(request).await;
        let code = match &result {
            Ok(_) => Some(200),
            Err(kube::Error::Api(status)) => Some(status.code),
            Err(_) => None,
        };
        self.metrics.api_request(verb, code);
        // What does not like the content of what was sent quotes from it, up to parts of values.
        let hides = self.hides_metadata || matches!(code, Some(400 | 422));
        result.map_err(|error| CallError::of(&error, hides))
    }
}

impl CallError {
    /// Returns whether the role of this controller lacks the verb patch. Others that forbid something, such as an
    /// admission policy, forbid it in any form.
    #[must_use]
    pub fn is_for_want_of_patch(&self) -> bool {
        matches!(self, Self::Forbidden(message) if message.contains(WANT_OF_PATCH))
    }

    /// Says why a request failed, without what was in it.
    #[must_use]
    pub fn from_kube(error: &kube::Error) -> Self {
        Self::of(error, false)
    }

    fn of(error: &kube::Error, hides_metadata: bool) -> Self {
        let kube::Error::Api(status) = error else {
            return match error {
                kube::Error::SerdeError(_) => unreadable(),
                _ => Self::Unavailable {
                    message: "the API server cannot be reached".to_owned(),
                    retry_after: None,
                },
            };
        };
        let message = match status.message.as_str() {
            _ if hides_metadata => without_metadata(status),
            "" => status.reason.clone(),
            message => message.to_owned(),
        };
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Self::AlreadyExists(message),
            (409, _) => Self::Conflict(message),
            (401 | 403, _) => Self::Forbidden(message),
            (404, _) => Self::NotFound(message),
            (429 | 500.., _) => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                Self::Unavailable {
                    message,
                    retry_after: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
                }
            }
            _ => Self::Refused(message),
        }
    }
}

/// Says why the API server refused, in its own words as far as they are fixed: its messages quote what was sent.
fn without_metadata(status: &Status) -> String {
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let reason = Some(status.reason.as_str()).filter(|reason| is_word(reason)).unwrap_or("Failure");
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes: BTreeSet<_> = causes
        .filter_map(|cause| {
            // What stands in brackets is a name that somebody chose.
            let field = cause.field.split('[').next().unwrap_or_default();
            (field.split('.').all(is_word) && is_word(&cause.reason))
                .then(|| format!("{field} ({})", cause.reason))
        })
        .collect();
    let mut message = format!("the API server says {reason}");
    if status.message.contains(WANT_OF_PATCH) {
        message = format!("{message}: {WANT_OF_PATCH}");
    } else if !causes.is_empty() {
        let causes: Vec<_> = causes.into_iter().take(MOST_CAUSES).collect();
        message = format!("{message}: {}", causes.join(", "));
    }
    message
}

/// Returns the name of an object.
#[must_use]
pub fn key_of(object: &Json) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    Key { namespace: text("namespace"), name: text("name") }
}

/// Returns what the API server calls a request.
fn verb(method: &http::Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "DELETE" => "delete",
        "PATCH" => "patch",
        "PUT" => "update",
        _ => "get",
    }
}

fn objects(resource: &ApiResource, namespace: &str) -> String {
    format!("/apis/{}/namespaces/{namespace}/{}", resource.api_version, resource.plural)
}

fn secrets(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets")
}

/// Returns a Secret as it is sent.
fn object(secret: &Secret, identity: &Json) -> Json {
    let mut object = secret.to_json();
    for (name, value) in identity.as_object().into_iter().flatten() {
        object["metadata"][name] = value.clone();
    }
    object
}

fn body(object: &Json) -> Vec<u8> {
    serde_json::to_vec(object).expect("names of fields are texts")
}

fn identity(namespace: &str, name: &str, change: &Change) -> Json {
    json!({
        "namespace": namespace, "name": name,
        "uid": change.uid, "resourceVersion": change.resource_version,
    })
}

fn existing(object: &Json) -> Result<Existing, CallError> {
    Existing::from_json(object).map_err(|error| CallError::Refused(error.to_string()))
}

fn version(object: &Json) -> Result<Version, CallError> {
    let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned).ok_or_else(unreadable);
    Ok(Version { name: text("name")?, uid: text("uid")?, resource_version: text("resourceVersion")? })
}

fn unreadable() -> CallError {
    CallError::Unavailable {
        message: "the API server answered something that cannot be read".to_owned(),
        retry_after: None,
    }
}

/// What the API server says if the role lacks the verb patch.
const WANT_OF_PATCH: &str = "cannot patch resource";

/// Of how many causes of a refusal is told.
const MOST_CAUSES: usize = 10;

/// The metadata of an object, or all of it from a server that cannot do that.
const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");

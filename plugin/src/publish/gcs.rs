//! Buckets of Google Cloud Storage, by its JSON interface.

use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Url};
use selkie::keys::gcp_kms::Credentials;
use selkie::keys::http::{Answer, Http};
use selkie::keys::{Cause, KeySetup, ServiceError};
use selkie::secret::SecretBytes;
use selkie::sops::config::Target;
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::{Arrival, Destination, PutFuture, Takes, said};

/// Returns the bucket that a target names, if it is one.
pub(super) fn connect(
    target: &Target,
    setup: &KeySetup,
) -> Option<Result<Arc<dyn Destination>, ServiceError>> {
    let Target::Gcs { bucket, prefix } = target else { return None };
    let (bucket, prefix) = (bucket.clone(), prefix.clone());
    Some(Endpoint::of(setup).map(|endpoint| {
        let (setup, connection) = (setup.clone(), Arc::default());
        Arc::new(Gcs { bucket, prefix, endpoint, setup, connection }) as Arc<dyn Destination>
    }))
}

/// A bucket.
struct Gcs {
    bucket: String,
    prefix: String,
    endpoint: Endpoint,
    setup: KeySetup,
    connection: Arc<OnceCell<Connection>>,
}

/// Where requests go.
#[derive(Clone, Debug)]
struct Endpoint {
    url: Url,
    /// Whether requests need credentials. Emulators know of none.
    needs_credentials: bool,
}

/// What requests are sent with.
struct Connection {
    http: Http,
    credentials: Option<Credentials>,
}

impl Destination for Gcs {
    fn takes(&self) -> Takes {
        Takes::Document
    }

    fn address(&self, name: &str) -> String {
        format!("gcs://{}/{}{name}", self.bucket, self.prefix)
    }

    fn put<'a>(&'a self, name: &'a str, content: &'a SecretBytes) -> PutFuture<'a> {
        let (connection, setup) = (Arc::clone(&self.connection), self.setup.clone());
        let (endpoint, bucket) = (self.endpoint.clone(), self.bucket.clone());
        let (name, body) = (format!("{}{name}", self.prefix), content.expose_secret().to_vec());
        Box::pin(self.setup.remote.run(async move {
            let connect = || async { Connection::new(&endpoint, &setup) };
            let connection = connection.get_or_try_init(connect).await?;
            let length = body.len();
            let url = endpoint.upload(&bucket, &name)?;
            let request = connection.http.request(Method::POST, url.as_str()).header(CONTENT_TYPE, TEXT);
            let request = match &connection.credentials {
                Some(credentials) => request.headers(credentials.headers().await?),
                None => request,
            };
            let answer = connection.http.send(request.body(body)).await?;
            Ok(arrived(&answer, &bucket, length)?)
        }))
    }
}

impl Endpoint {
    /// Returns Google's own, or the emulator that `STORAGE_EMULATOR_HOST` names: a host with its port, or a URL.
    fn of(setup: &KeySetup) -> Result<Self, ServiceError> {
        let emulator = setup.variable(EMULATOR);
        let text = match &emulator {
            None => "https://storage.googleapis.com".to_owned(),
            Some(url) if url.contains("://") => url.clone(),
            Some(host) => format!("http://{host}"),
        };
        let unusable = || {
            ServiceError::new(Cause::Other, format!("{EMULATOR} is no address: {:?}", said(&text)))
                .with_remedy(format!("set {EMULATOR} to a host and a port, or unset it"))
        };
        let url = Url::parse(&text).ok().filter(|url| !url.cannot_be_a_base()).ok_or_else(unusable)?;
        Ok(Self { url, needs_credentials: emulator.is_none() })
    }

    /// Returns the address that an object is sent to.
    fn upload(&self, bucket: &str, name: &str) -> Result<Url, ServiceError> {
        let mut url = self.url.clone();
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(["upload", "storage", "v1", "b", bucket, "o"]),
            Err(()) => return Err(ServiceError::new(Cause::Other, "the endpoint is no address")),
        };
        url.query_pairs_mut().append_pair("uploadType", "media").append_pair("name", name);
        Ok(url)
    }
}

impl Connection {
    fn new(endpoint: &Endpoint, setup: &KeySetup) -> Result<Self, ServiceError> {
        // Whoever names a token means it for whatever server they name.
        let has_token = setup.variable("GOOGLE_OAUTH_ACCESS_TOKEN").is_some();
        let credentials = match endpoint.needs_credentials || has_token {
            true => Some(Credentials::find(setup)?),
            false => None,
        };
        Ok(Self { http: Http::new()?, credentials })
    }
}

/// Returns what became of an object of this length.
fn arrived(answer: &Answer, bucket: &str, length: usize) -> Result<Arrival, ServiceError> {
    let status = answer.status;
    if status == 200 {
        let object = answer.json()?;
        let size = object.get("size").map(|size| match size {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        });
        // Whatever answers so is no storage, or keeps something else.
        return match size {
            Some(size) if size != length.to_string() => {
                let detail = format!("{size} bytes arrived in place of {length}");
                Err(ServiceError::new(Cause::Answer, detail))
            }
            _ => Ok(Arrival::Put),
        };
    }
    let message = answer.json().ok().and_then(|json| {
        let message = json.pointer("/error/message").or_else(|| json.pointer("/error_description"));
        message.and_then(Json::as_str).map(said)
    });
    let detail = match message {
        Some(message) => format!("GCS answered with status {status}: {message}"),
        None => format!("GCS answered with status {status}"),
    };
    Err(match status {
        401 => ServiceError::new(Cause::Credentials, detail).with_remedy(LOG_IN),
        403 => ServiceError::new(Cause::Denied, detail)
            .with_remedy(format!("ask for the permission storage.objects.create on the bucket {bucket}")),
        404 => ServiceError::new(Cause::Key, detail)
            .with_remedy("make the bucket, or correct gcs_bucket in the destination rule"),
        429 | 500..=599 => ServiceError::new(Cause::Other, detail).with_remedy("try again later"),
        _ => ServiceError::new(Cause::Other, detail),
    })
}

const LOG_IN: &str = "run `gcloud auth application-default login`, or set GOOGLE_CREDENTIALS to the credentials of a service account";

/// The variable of Google's own libraries.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// As sops says; every encrypted document is text.
const TEXT: &str = "text/plain; charset=utf-8";

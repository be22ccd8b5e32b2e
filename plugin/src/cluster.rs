//! The Kubernetes cluster that the configuration of kubectl points at, and all that is asked of it.
//!
//! Every function blocks until there is an answer. Invariants: nothing here reads the environment of the
//! process; every request ends in time, and every answer has a greatest size; no error holds a secret.

mod access;
mod controller;
mod error;
mod forward;
mod overrides;
pub(crate) mod proxy;
mod secrets;

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Bytes;
use kube::Client;
use selkie::secret::SecretBytes;
use tokio::runtime::{Builder, Runtime};

pub use self::access::namespace;
pub use self::controller::{Controller, Verdict};
pub use self::error::{Asked, ClusterError, ServerMessage};
pub use self::overrides::{Hidden, Overrides};
pub use self::secrets::{ClusterSecret, NewSealingKey, SealingKey};

use crate::session::Session;

/// A cluster that can be asked.
pub struct Cluster {
    client: Client,
    runtime: Runtime,
    /// After how long a request is given up, if ever.
    time_limit: Option<Duration>,
    /// What the API server is called, for people.
    server: String,
}

impl Cluster {
    /// Returns the cluster that flags, variables and files choose, as they do for kubectl. It is not asked yet.
    ///
    /// # Errors
    /// If there is no configuration, or it cannot be used.
    pub fn connect(overrides: &Overrides, session: &Session) -> Result<Self, ClusterError> {
        let config = access::config(overrides, session)?;
        let time_limit = overrides.time_limit()?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let runtime = runtime()?;
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config).map_err(|error| error::from_configuration(&error))?
        };
        Ok(Self { client, runtime, time_limit, server })
    }

    /// Returns what the API server is called, for people.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Waits for an answer as long as is allowed.
    fn wait<T>(
        &self,
        asked: &Asked,
        answer: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        self.runtime.block_on(async {
            match self.time_limit {
                None => answer.await,
                Some(limit) => tokio::time::timeout(limit, answer)
                    .await
                    .unwrap_or_else(|_| Err(ClusterError::TimedOut { asked: asked.clone(), after: limit })),
            }
        })
    }

    /// Returns what the API server answers, if it does what it is asked for.
    fn ask(&self, asked: &Asked, question: Question) -> Result<SecretBytes, ClusterError> {
        self.wait(asked, async {
            let answer = self.send(asked, question).await?;
            if answer.status.is_success() { Ok(answer.body) } else { Err(answer.into_error(asked)) }
        })
    }

    /// Returns what is answered, whatever it is.
    async fn send(&self, asked: &Asked, question: Question) -> Result<Answer, ClusterError> {
        let greatest = question.greatest;
        let request = question.into_request()?;
        let sent = self.client.send(request).await;
        let (parts, body) =
            sent.map_err(|error| error::from_client(&error, asked, &self.server))?.into_parts();
        let body = read(body, asked, greatest).await?;
        Ok(Answer { status: parts.status, retry_after: retry_after(&parts.headers), body })
    }
}

#[cfg(test)]
impl Cluster {
    /// Returns a cluster that `answer` stands for: a method, a path with its query, and a body come in.
    fn fake(
        answer: impl Fn(&str, &str, &[u8]) -> (u16, String) + Send + Sync + 'static,
        time_limit: Duration,
    ) -> Self {
        let answer = std::sync::Arc::new(answer);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let answer = std::sync::Arc::clone(&answer);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.expect("the body is at hand");
                let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                let (status, text) = answer(parts.method.as_str(), &path, &body);
                if status == NEVER {
                    std::future::pending::<()>().await;
                }
                let mut answer = http::Response::builder().status(status);
                if status == 429 {
                    answer = answer.header("retry-after", "0");
                }
                Ok::<_, std::convert::Infallible>(
                    answer.body(kube::client::Body::from(text.into_bytes())).expect("it is well-formed"),
                )
            }
        });
        let runtime = runtime().expect("there is a runtime");
        let client = {
            let _inside = runtime.enter();
            Client::new(service, "default")
        };
        Self { client, runtime, time_limit: Some(time_limit), server: "https://fake".to_owned() }
    }
}

/// The status that a fake cluster never answers with, as it never answers.
#[cfg(test)]
const NEVER: u16 = 599;

/// What the API server is asked, in the words of HTTP.
struct Question {
    method: Method,
    path: String,
    accept: &'static str,
    body: SecretBytes,
    /// How many bytes an answer may have.
    greatest: usize,
}

impl Question {
    /// Returns the question for an object.
    fn get(path: String) -> Self {
        Self { method: Method::GET, path, accept: JSON, body: SecretBytes::new(), greatest: GREATEST_OBJECT }
    }

    /// Returns the question to do something with what is given as JSON.
    fn post(path: String, body: SecretBytes) -> Self {
        Self { method: Method::POST, path, accept: JSON, body, greatest: GREATEST_OBJECT }
    }

    /// Returns the question to put the fields that are given as JSON over those of an object.
    fn patch(path: String, body: SecretBytes) -> Self {
        Self { method: Method::PATCH, path, accept: JSON, body, greatest: GREATEST_OBJECT }
    }

    fn into_request<B: From<Bytes>>(self) -> Result<Request<B>, ClusterError> {
        let kind = if self.method == Method::PATCH { PATCH } else { JSON };
        let mut request = Request::builder().method(self.method).uri(self.path);
        request = request.header(header::ACCEPT, self.accept);
        if !self.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        request
            .body(B::from(Bytes::from_owner(Body(self.body))))
            .map_err(|error| ClusterError::Unusable { what: "a name", why: error.to_string() })
    }
}

/// What is sent, which wipes itself.
struct Body(SecretBytes);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// What was answered.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: SecretBytes,
}

impl Answer {
    /// Returns what the API server says in its own words, if it is what answered.
    fn message(&self) -> Option<ServerMessage> {
        ServerMessage::read(self.body.expose_secret())
    }

    fn into_error(self, asked: &Asked) -> ClusterError {
        let (asked, source) = (asked.clone(), self.message());
        match self.status {
            StatusCode::UNAUTHORIZED => ClusterError::Unauthorized { asked, source },
            StatusCode::FORBIDDEN => ClusterError::Forbidden { asked, source },
            StatusCode::NOT_FOUND => ClusterError::NotFound { asked, source },
            StatusCode::CONFLICT => ClusterError::Conflict { asked, source },
            status => ClusterError::Answer { asked, status: status.as_u16(), source },
        }
    }
}

/// Reads a body piece by piece: whoever answers may not fill the memory.
async fn read<B>(mut body: B, asked: &Asked, greatest: usize) -> Result<SecretBytes, ClusterError>
where
    B: http_body_util::BodyExt + Unpin,
    B::Data: AsRef<[u8]>,
    B::Error: std::fmt::Display,
{
    let mut all = SecretBytes::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ClusterError::Broken { asked: asked.clone(), why: error.to_string() })?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.as_ref().len() > greatest {
            return Err(ClusterError::TooLarge { asked: asked.clone(), greatest });
        }
        all.extend_from_slice(data.as_ref());
    }
    Ok(all)
}

fn retry_after(headers: &http::HeaderMap<HeaderValue>) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns a name as a part of a path: none can lead out of its place.
fn segment(name: &str) -> Result<String, ClusterError> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(ClusterError::Unusable { what: "a name", why: format!("{name:?} names nothing") });
    }
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let encode = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Ok(name.bytes().map(encode).collect())
}

/// One thread is enough: whoever asks waits.
fn runtime() -> Result<Runtime, ClusterError> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ClusterError::Unusable { what: "the network", why: error.to_string() })
}

const JSON: &str = "application/json";
const PATCH: &str = "application/merge-patch+json";

/// An object has at most 1.5 MiB where it is kept, and its bytes are written in base64.
const GREATEST_OBJECT: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_elsewhere() {
        assert_eq!(segment("http:a-b.c:http").expect("it is a name"), "http:a-b.c:http");
        assert_eq!(segment("../a?b#c%").expect("it is a name"), "..%2Fa%3Fb%23c%25");
        assert!([".", "..", ""].iter().all(|name| segment(name).is_err()));
    }
}

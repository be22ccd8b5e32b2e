//! What is served under which path, and with which status.
//!
//! Statuses, headers and bodies are those of the controller of Sealed Secrets, which takes any method everywhere. It
//! answers 500 wherever it does not say that a SealedSecret opens or does not, and so do we, but for what callers can do
//! something about: 401 (token), 408 (too slow), 413 (too large), 429 (too often), 503 (too much to do; later).

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use rand_core::OsRng;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::HttpContext;
use super::body::{Bodies, Content};
use super::rate::RateLimit;
use super::sealed::{self, Refusal};
use super::token::Tokens;
use super::work::Workers;
use crate::controller::metrics::Exposition;

/// What requests share.
struct Shared {
    context: HttpContext,
    bodies: Bodies,
    rate: RateLimit,
    /// The door, if there is one.
    tokens: Option<Tokens>,
    workers: Workers,
}

/// Returns what is served where the API is.
pub(super) fn api(context: HttpContext) -> Router {
    let settings = &context.settings;
    let shared = Shared {
        bodies: Bodies::new(settings.max_body),
        rate: RateLimit::new(settings.rate, settings.burst),
        tokens: settings.authenticate.then(|| Tokens::new(context.client.clone())),
        workers: Workers::new(),
        context: context.clone(),
    };
    let routes = Router::new()
        .route("/v1/cert.pem", any(certificate))
        .route("/v1/rotate", any(rotate))
        .route("/v1/verify", any(verify))
        .with_state(Arc::new(shared));
    routes.merge(health(context)).fallback(nothing)
}

/// Returns what is served where metrics are. Probes are answered there, too: that port is none that callers can keep busy.
pub(super) fn metrics(context: HttpContext) -> Router {
    let routes = Router::new().route("/metrics", any(exposition)).with_state(context.clone());
    routes.merge(health(context)).fallback(nothing)
}

fn health(context: HttpContext) -> Router {
    Router::new().route("/healthz", any(liveness)).route("/readyz", any(readiness)).with_state(context)
}

async fn liveness(State(context): State<HttpContext>) -> Response {
    probe("not alive", &context.readiness.silent())
}

async fn readiness(State(context): State<HttpContext>) -> Response {
    probe("not ready", &context.readiness.missing())
}

fn probe(failure: &str, causes: &[&str]) -> Response {
    if causes.is_empty() {
        return ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "ok\n").into_response();
    }
    message(StatusCode::SERVICE_UNAVAILABLE, format!("{failure}: {}\n", causes.join(", ")))
}

async fn exposition(State(context): State<HttpContext>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = Exposition::accepted(accept.unwrap_or_default());
    ([(header::CONTENT_TYPE, form.content_type())], context.metrics.write(form)).into_response()
}

async fn nothing() -> Response {
    message(StatusCode::NOT_FOUND, "404 page not found\n")
}

async fn certificate(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let keys = Arc::clone(&*shared.context.keys.borrow());
    shared
        .count(&head(&request), async {
            match &keys.certificate {
                Some(pem) => {
                    ([(header::CONTENT_TYPE, "application/x-pem-file")], pem.clone()).into_response()
                }
                None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        })
        .await
}

async fn verify(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let head = head(&request);
    let answer = shared.admitted(request, async |content| {
        let (keys, how) = shared.material();
        let result = shared.workers.run(move |stop| sealed::verify(&keys, how, &content.bytes, stop)).await;
        match result {
            Ok(true) => StatusCode::OK.into_response(),
            Ok(false) => StatusCode::CONFLICT.into_response(),
            Err(refusal) => refused(refusal),
        }
    });
    shared.count(&head, answer).await
}

async fn rotate(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let head = head(&request);
    let answer = shared.admitted(request, async |content| {
        let (keys, how) = shared.material();
        let work = move |stop: &_| sealed::rotate(&keys, how, &content.bytes, &mut OsRng, stop);
        match shared.workers.run(work).await {
            Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
            Err(refusal) => refused(refusal),
        }
    });
    shared.count(&head, answer).await
}

fn refused(refusal: Refusal) -> Response {
    tracing::debug!(reason = %refusal, "a SealedSecret of a caller was refused");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

impl Shared {
    /// Lets a request in if its caller does not come too often, and is known where that is wanted; and answers in time.
    async fn admitted<F: Future<Output = Response>>(
        &self,
        request: Request<Body>,
        answer: impl FnOnce(Content) -> F,
    ) -> Response {
        let caller = request.headers().get(FORWARDED_FOR).map_or(&b""[..], HeaderValue::as_bytes);
        let allowance = self.rate.take(request.uri().path(), caller);
        let mut response = if allowance.retry.is_some() {
            self.discarded(request, message(StatusCode::TOO_MANY_REQUESTS, "limit exceeded\n")).await
        } else {
            self.known(request, answer).await
        };
        allowance.write(response.headers_mut());
        response
    }

    async fn known<F: Future<Output = Response>>(
        &self,
        request: Request<Body>,
        answer: impl FnOnce(Content) -> F,
    ) -> Response {
        if let Some(tokens) = &self.tokens
            && let Err(status) = tokens.check(request.headers()).await
        {
            return self.discarded(request, later_or(status)).await;
        }
        let settings = &self.context.settings;
        let content = match timeout(settings.read_timeout, self.bodies.read(request)).await {
            Ok(Ok(content)) => content,
            Ok(Err(status)) => return later_or(status),
            Err(_) => return later_or(StatusCode::REQUEST_TIMEOUT),
        };
        let answer = timeout(settings.write_timeout, answer(content)).await;
        answer.unwrap_or_else(|_| later_or(StatusCode::SERVICE_UNAVAILABLE))
    }

    /// Returns an answer that does not depend on the body, after reading it, so that the caller sees the answer.
    async fn discarded(&self, request: Request<Body>, response: Response) -> Response {
        // If it takes too long, the caller may not see it.
        let _ = timeout(self.context.settings.read_timeout, self.bodies.discard(request)).await;
        response
    }

    /// Returns what SealedSecrets are opened with, as of now.
    fn material(&self) -> (Arc<crate::controller::key_set::KeySet>, selkie::sealed::Unseal) {
        (Arc::clone(&*self.context.keys.borrow()), self.context.unseal)
    }

    /// Counts a request, and how long it takes.
    async fn count(&self, head: &Request<()>, answer: impl Future<Output = Response>) -> Response {
        let (path, method) = (head.uri().path(), head.method().as_str());
        // The path is one of those that are served; nothing else of a request is told.
        let span = tracing::info_span!("http", path, status = tracing::field::Empty);
        let start = Instant::now();
        let response = answer.instrument(span.clone()).await;
        let code = response.status().as_u16();
        span.record("status", code);
        self.context.metrics.http_request(path, method, code, start.elapsed());
        response
    }
}

/// Returns a request without its body and headers.
fn head(request: &Request<Body>) -> Request<()> {
    let mut head = Request::new(());
    *head.uri_mut() = request.uri().clone();
    *head.method_mut() = request.method().clone();
    head
}

/// Returns an answer without a body, which says when to come again, or who may come, if that is what it is about.
fn later_or(status: StatusCode) -> Response {
    let mut response = status.into_response();
    let header = match status {
        StatusCode::REQUEST_TIMEOUT => Some((header::CONNECTION, "close")),
        StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
        StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
        _ => None,
    };
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns an answer for people, as Go's server writes errors.
fn message(status: StatusCode, text: impl Into<String>) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, text.into()).into_response()
}

/// Who called, as the proxy of the API server says it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests;

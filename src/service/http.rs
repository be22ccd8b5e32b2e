//! The paths of HTTP, and what they answer. gRPC comes through the same door.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http_body_util::BodyExt as _;
use selkie::secret::SecretBytes;
use serde_json::json;
use tokio::time::timeout_at;

use super::failure::{Class, Failure};
use super::message::{Helm, Options, Origin};
use super::rpc;
use super::work::{Caller, Content, Input, Job, Output, Service};

/// Returns what is served.
pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/render", post(render))
        .route("/v1/explain", post(explain))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route(&format!("{}{{method}}", rpc::PREFIX), any(rpc::call))
        .fallback(async || Failure::new(Class::NotFound, "there is nothing at this path"))
        .with_state(service)
}

async fn ready(State(service): State<Arc<Service>>) -> Response {
    match service.check().await {
        Ok(()) => "ok\n".into_response(),
        Err(failure) => Failure { class: Class::Unavailable, ..failure }.into_response(),
    }
}

async fn version(State(service): State<Arc<Service>>) -> Response {
    let modes = service.modes();
    answer("application/json", json!({"version": env!("CARGO_PKG_VERSION"), "modes": modes}).to_string())
}

async fn render(State(service): State<Arc<Service>>, request: Request<Body>) -> Result<Response, Failure> {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    let output = if accepts.unwrap_or_default().contains(LINES) { Output::Lines } else { Output::Yaml };
    let job = job(&service, request).await?;
    let rendered = service.render(job, output).await?;
    let kind = if output == Output::Lines { LINES } else { "application/yaml" };
    let counts = [
        ("selkie-objects", rendered.report.objects.to_string()),
        ("selkie-opened", rendered.report.opened.to_string()),
        ("selkie-warnings", rendered.report.warnings.len().to_string()),
        ("selkie-mode", rendered.report.mode),
    ];
    let counts = counts.map(|(name, count)| (HeaderName::from_static(name), count));
    Ok((counts, answer(kind, Bytes::from_owner(Owner(rendered.text)))).into_response())
}

async fn explain(State(service): State<Arc<Service>>, request: Request<Body>) -> Result<Response, Failure> {
    let job = job(&service, request).await?;
    let found = service.explain(job).await?;
    let found: Vec<_> = found.iter().map(selkie::render::Explanation::to_json).collect();
    Ok(answer("application/json", json!({"explanations": found}).to_string()))
}

fn answer(kind: &'static str, body: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, body.into()).into_response()
}

/// Returns who asks: what the connection was opened by.
pub(super) fn caller(request: &Request<Body>) -> Caller {
    request.extensions().get().copied().unwrap_or_default()
}

/// Reads what a caller wants.
async fn job(service: &Service, request: Request<Body>) -> Result<Job, Failure> {
    let caller = caller(&request);
    let (head, body) = request.into_parts();
    let (options, time) = options(head.uri.query().unwrap_or_default())?;
    let deadline = service.deadline(time.or(rpc::timeout(&head.headers)?));
    let is_tree = is_tree(&head.headers)?;
    let content = timeout_at(deadline, content(service, caller, body));
    let content =
        content.await.map_err(|_| Failure::new(Class::Deadline, "the body did not come in time"))??;
    let input = if is_tree { Input::Tree(content) } else { Input::Stream(content, None) };
    Ok(Job { input, options, deadline, caller })
}

async fn content(service: &Service, caller: Caller, mut body: Body) -> Result<Content, Failure> {
    let mut content = service.content(caller);
    while let Some(frame) = service.more(body.frame()).await? {
        let frame = frame.map_err(|_| Failure::new(Class::BadInput, "the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            content.push(&data)?;
        }
    }
    Ok(content)
}

/// Returns whether a body is an archive, and no stream.
fn is_tree(headers: &HeaderMap) -> Result<bool, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/yaml" | "application/x-yaml" | "text/yaml" | "application/json" => Ok(false),
        "application/gzip" | "application/x-gzip" | "application/x-tar+gzip" => Ok(true),
        _ => Err(Failure::new(
            Class::Unsupported,
            "say what the body is: content-type application/yaml for a stream, application/gzip for an archive",
        )),
    }
}

/// Reads a query.
fn options(query: &str) -> Result<(Options, Option<Duration>), Failure> {
    let bad = |detail: String| Failure::new(Class::BadInput, detail);
    let (mut options, mut origin, mut helm, mut time) =
        (Options::default(), Origin::default(), Helm::default(), None);
    for entry in query.split('&').filter(|entry| !entry.is_empty()) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        let value = decoded(value).ok_or_else(|| bad(format!("the value of {name:?} is no text")))?;
        let field = match name {
            "values" => {
                helm.values.push(value);
                continue;
            }
            "set" => {
                helm.set.push(value);
                continue;
            }
            "timeout" => {
                let read = seconds(&value).ok_or_else(|| bad("the timeout is a number of seconds".into()))?;
                time = Some(read);
                continue;
            }
            "mode" => &mut options.mode,
            "builder" => &mut options.builder,
            "folder" => &mut options.folder,
            "project" => &mut origin.project,
            "namespace" => &mut origin.namespace,
            "repository" => &mut origin.repository,
            "path" => &mut origin.path,
            "release" => &mut helm.release,
            _ => return Err(bad(format!("there is no parameter {name:?}"))),
        };
        if !field.is_empty() {
            return Err(bad(format!("{name:?} is there twice")));
        }
        *field = value;
    }
    helm.namespace.clone_from(&origin.namespace);
    (options.origin, options.helm) = (Some(origin), Some(helm));
    Ok((options, time))
}

/// Returns a number of seconds, with or without an `s`.
fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.strip_suffix('s').unwrap_or(text).parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

/// Returns what percent signs and pluses stand for.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, others @ ..] = rest {
        rest = others;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, others) = rest.split_at_checked(2)?;
                rest = others;
                let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
                let digits = str::from_utf8(digits).ok().filter(|_| is_hex)?;
                u8::from_str_radix(digits, 16).ok()?
            }
            &other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Bytes that are wiped when nobody sends them any more.
struct Owner(SecretBytes);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// The type of a body with an object on each line.
const LINES: &str = "application/x-ndjson";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_to_render() {
        let (read, time) =
            options("mode=plain&folder=a%2Fb+c&namespace=n&set=a%3D1&set=b&timeout=1.5s&project=%c3%a4")
                .expect("a query");
        assert_eq!((read.mode.as_str(), read.folder.as_str()), ("plain", "a/b c"));
        let (origin, helm) = (read.origin.expect("one"), read.helm.expect("one"));
        assert_eq!((origin.project.as_str(), origin.namespace.as_str()), ("ä", "n"));
        assert_eq!((helm.namespace.as_str(), helm.set), ("n", vec!["a=1".to_owned(), "b".to_owned()]));
        assert_eq!(time, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_query_that_says_something_else_is_refused() {
        for query in [
            "moed=plain",
            "mode=a&mode=b",
            "mode=%zz",
            "mode=%+1",
            "mode=%4",
            "mode=%ff",
            "timeout=-1",
            "timeout=NaN",
        ] {
            assert_eq!(options(query).err().map(|failure| failure.class), Some(Class::BadInput), "{query}");
        }
    }
}

//! The methods of gRPC.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::failure::{Class, Failure};
use super::http::caller;
use super::message::{ExplainResponse, Explanation, Options, RequestPart, ResponsePart};
use super::work::{Caller, Content, Input, Job, Output, Rendered, Service};

/// What the paths of methods start with.
pub(super) const PREFIX: &str = "/selkie.v1.Decryptor/";

/// The methods.
#[cfg(test)]
pub(super) const METHODS: [&str; 3] = ["DecryptStream", "DecryptTree", "Explain"];

/// Answers a call.
pub(super) async fn call(State(service): State<Arc<Service>>, request: Request<Body>) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        return Failure::new(Class::Unsupported, "this path is for gRPC").into_response();
    }
    let deadline = match timeout(request.headers()) {
        Ok(time) => service.deadline(time),
        Err(failure) => return Status::from(failure).into_http(),
    };
    let method = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    match method {
        "DecryptStream" => decrypt(service, deadline, Wants::Stream, request).await,
        "DecryptTree" => decrypt(service, deadline, Wants::Tree, request).await,
        "Explain" => explain(service, deadline, request).await,
        _ => Status::unimplemented("there is no such method").into_http(),
    }
}

/// Returns how much time a caller gives by the header of gRPC.
///
/// # Errors
/// If that is no time.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(text) = headers.get("grpc-timeout") else { return Ok(None) };
    let time = || {
        let text = text.to_str().ok()?;
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        let number: u64 = digits.parse().ok().filter(|_| is_number)?;
        Some(match unit {
            "H" => Duration::from_secs(number * 3600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        })
    };
    time().map(Some).ok_or_else(|| Failure::new(Class::BadInput, "grpc-timeout is no time"))
}

/// What a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Any,
    Stream,
    Tree,
}

/// The parts of an answer.
type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

async fn decrypt(service: Arc<Service>, deadline: Instant, wants: Wants, request: Request<Body>) -> Response {
    let caller = caller(&request);
    let answer = service_fn(move |request: tonic::Request<Streaming<RequestPart>>| {
        let service = Arc::clone(&service);
        async move {
            let job = job(&service, caller, request.into_inner(), deadline, wants).await?;
            let rendered = service.render(job, Output::Yaml).await?;
            Ok::<_, Status>(tonic::Response::new(parts(rendered)))
        }
    });
    method::<ResponsePart>().streaming(answer, request).await.map(Body::new)
}

async fn explain(service: Arc<Service>, deadline: Instant, request: Request<Body>) -> Response {
    let caller = caller(&request);
    let answer = service_fn(move |request: tonic::Request<Streaming<RequestPart>>| {
        let service = Arc::clone(&service);
        async move {
            let job = job(&service, caller, request.into_inner(), deadline, Wants::Any).await?;
            let found = service.explain(job).await?;
            let messages: Vec<_> = found.iter().map(Explanation::of).collect();
            let parts: Vec<_> = messages
                .chunks(EXPLANATIONS)
                .map(|part| Ok(ExplainResponse { explanations: part.to_vec() }))
                .collect();
            let parts: Parts<ExplainResponse> = Box::pin(stream::iter(parts));
            Ok::<_, Status>(tonic::Response::new(parts))
        }
    });
    method::<ExplainResponse>().streaming(answer, request).await.map(Body::new)
}

fn method<A: prost::Message + Default + 'static>() -> Grpc<ProstCodec<A, RequestPart>> {
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_PART)
}

/// Reads what a caller wants.
async fn job(
    service: &Service,
    caller: Caller,
    parts: Streaming<RequestPart>,
    deadline: Instant,
    wants: Wants,
) -> Result<Job, Failure> {
    let read = timeout_at(deadline, read(service, caller, parts));
    let (options, stream, archive) =
        read.await.map_err(|_| Failure::new(Class::Deadline, "the request did not come in time"))??;
    let input = match wants {
        Wants::Stream => Input::Stream(stream, archive),
        Wants::Any if !stream.is_empty() || archive.is_none() => Input::Stream(stream, archive),
        Wants::Any | Wants::Tree => match archive {
            Some(archive) if stream.is_empty() => Input::Tree(archive),
            _ => return Err(Failure::new(Class::BadInput, "send an archive, and no stream")),
        },
    };
    Ok(Job { input, options, deadline, caller })
}

async fn read(
    service: &Service,
    caller: Caller,
    mut parts: Streaming<RequestPart>,
) -> Result<(Options, Content, Option<Content>), Failure> {
    let (mut options, mut is_first) = (Options::default(), true);
    let (mut stream, mut archive) = (service.content(caller), None);
    while let Some(mut part) = service.more(parts.message()).await?.map_err(failure)? {
        match part.options.take() {
            Some(given) if is_first => options = given,
            Some(_) => return Err(Failure::new(Class::BadInput, "the options come in the first part")),
            None => {}
        }
        is_first = false;
        stream.push(&part.stream)?;
        if !part.archive.is_empty() {
            archive.get_or_insert_with(|| service.content(caller)).push(&part.archive)?;
        }
    }
    Ok((options, stream, archive))
}

/// Tells what is wrong with a part that cannot be read.
fn failure(status: Status) -> Failure {
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => {
            Failure::new(Class::TooLarge, format!("a part has more than {MAX_PART} bytes"))
        }
        _ => Failure::new(Class::BadInput, "a part of the request cannot be read"),
    }
}

/// Returns the report, and then the stream in parts that wipe themselves.
fn parts(rendered: Rendered) -> Parts<ResponsePart> {
    let Rendered { report, text } = rendered;
    let first = ResponsePart { report: Some(report), yaml: Vec::new() };
    let rest = stream::unfold((text, 0), |(text, start)| async move {
        let rest = text.expose_secret().get(start..).filter(|rest| !rest.is_empty())?;
        let part = &rest[..rest.len().min(PART)];
        let next = start + part.len();
        Some((ResponsePart { report: None, yaml: part.to_vec() }, (text, next)))
    });
    Box::pin(stream::once(async { first }).chain(rest).map(Ok))
}

/// How many bytes a part of a request may have.
const MAX_PART: usize = (4 << 20) + (64 << 10);
/// How many bytes of the stream a part of an answer has.
const PART: usize = 1 << 20;
/// How many explanations a part of an answer has.
const EXPLANATIONS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_caller_is_read() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("1", None),
            ("S", None),
            ("", None),
            ("+1S", None),
            ("123456789S", None),
            ("1s", None),
        ] {
            let headers = [(header::HeaderName::from_static("grpc-timeout"), text.parse().expect("a value"))];
            let read = timeout(&headers.into_iter().collect());
            assert_eq!(read.ok().flatten(), expected, "{text}");
        }
        assert_eq!(timeout(&HeaderMap::new()), Ok(None));
    }
}

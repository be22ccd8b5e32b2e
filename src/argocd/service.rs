//! The service that the repo-server asks.
//!
//! Invariants: an answer comes before the client gives up; what nobody waits for is given up; nothing of what is rendered
//! is logged.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream;
use selkie::render::{Archive, Limits};
use tokio::net::UnixListener;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::app::{App, Waiting};
use super::error::AppError;
use super::facts::Facts;
use super::message::{
    AppStreamRequest, CheckPluginConfigurationResponse, Empty, ManifestRequestMetadata, ManifestResponse,
    ParametersAnnouncementResponse, RepositoryResponse,
};
use super::parameters::announcements;
use super::receive::{Received, drain, receive, receive_metadata};
use crate::authority::Renamed;
use crate::render::renderer::Renderer;
use crate::shares::{Budget, Held, Place, Places};

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// How long a message may be, in bytes.
    pub message: usize,
    /// How long an archive may be, in bytes.
    pub archive: u64,
    /// How many applications are rendered at once, those of a project in half of the places; further ones wait.
    pub at_once: usize,
    /// How many bytes all archives and what is unpacked of them take at once, one application aside.
    pub memory: u64,
    /// How long an answer may take, if the client does not say less.
    pub time: Duration,
}

/// Answers the repo-server.
pub(super) struct Plugin {
    renderer: Renderer,
    /// Whether it says itself which applications are its own.
    discovers: bool,
    taken: Taken,
    places: Places,
    memory: Arc<Budget>,
}

/// What became of an application, for the log.
struct Done {
    response: ManifestResponse,
    encrypted: usize,
}

impl Plugin {
    pub(super) fn new(renderer: Renderer, discovers: bool, taken: Taken) -> Self {
        let (places, memory) = (Places::new(taken.at_once), Budget::new(taken.memory, 0));
        Self { renderer, discovers, taken, places, memory }
    }

    /// Serves until `end`, and what is under way then.
    pub(super) async fn serve(self, listener: UnixListener, end: impl Future<Output = ()>) -> io::Result<()> {
        let plugin = Arc::new(self);
        let service = service_fn(move |request| {
            let plugin = Arc::clone(&plugin);
            async move { Ok::<_, Infallible>(route(plugin, request).await) }
        });
        let connections = stream::unfold(listener, |listener| async move {
            loop {
                match listener.accept().await {
                    Ok((connection, _)) => {
                        return Some((Ok::<_, Infallible>(Renamed::new(connection)), listener));
                    }
                    // Too many files are open, say: later there may be less.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        // Pings of a client are answered however many there are: hyper counts none against it.
        Server::builder()
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_with_incoming_shutdown(service, connections, end)
            .await
            .map_err(io::Error::other)
    }

    /// Returns when an answer has to be there: before the client gives up, who would see no reason else.
    fn deadline(&self, metadata: &MetadataMap) -> Instant {
        Instant::now() + allowed(metadata, self.taken.time)
    }

    fn render(&self, received: Received, waiting: Waiting) -> Result<Done, AppError> {
        let facts = facts(&received)?;
        let app = App::new(&facts, &received.metadata.app_rel_path, waiting)?;
        let limits = app.limits(&self.renderer)?;
        let (files, _held) = unpack(&app, received, &limits)?;
        let emission = app.render(&files, &self.renderer)?;
        let mut response = ManifestResponse::default();
        let mut bytes = 0;
        for object in &emission.objects {
            let text = object.to_string();
            bytes += text.len() as u64;
            response.manifests.push(text);
            limits.check_output(bytes).map_err(|error| AppError::Files(error.into()))?;
        }
        Ok(Done { response, encrypted: emission.opened })
    }

    /// Returns whether an application holds something that is encrypted.
    fn matches(&self, received: Received, waiting: Waiting) -> Result<bool, AppError> {
        let facts = facts(&received)?;
        let app = App::new(&facts, &received.metadata.app_rel_path, waiting)?;
        let (files, _held) = unpack(&app, received, &app.limits(&self.renderer)?)?;
        Ok(app.is_encrypted(&files))
    }
}

/// Unpacks what was sent, and lets go of it.
fn unpack(app: &App<'_>, received: Received, limits: &Limits) -> Result<(Archive, Held), AppError> {
    let Received { archive, mut held, .. } = received;
    Ok((app.unpack(&archive, limits, &mut held)?, held))
}

async fn route(plugin: Arc<Plugin>, request: http::Request<Body>) -> http::Response<Body> {
    let max = plugin.taken.message;
    match request.uri().path() {
        GENERATE => {
            let generate = service_fn(move |request| generate(Arc::clone(&plugin), request));
            method::<AppStreamRequest, ManifestResponse>(max).client_streaming(generate, request).await
        }
        CHECK => {
            let discovers = plugin.discovers;
            let check = service_fn(move |_: Request<Empty>| async move {
                Ok::<_, Status>(Response::new(CheckPluginConfigurationResponse {
                    is_discovery_configured: discovers,
                    provide_git_creds: false,
                }))
            });
            method::<Empty, CheckPluginConfigurationResponse>(max).unary(check, request).await
        }
        MATCH => {
            let matches = service_fn(move |request| matches(Arc::clone(&plugin), request));
            method::<AppStreamRequest, RepositoryResponse>(max).client_streaming(matches, request).await
        }
        PARAMETERS => {
            let announce = service_fn(move |request| announce(Arc::clone(&plugin), request));
            method::<AppStreamRequest, ParametersAnnouncementResponse>(max)
                .client_streaming(announce, request)
                .await
        }
        _ => Status::unimplemented("there is no such method").into_http(),
    }
}

fn method<Q, A>(max: usize) -> Grpc<ProstCodec<A, Q>>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(max).max_encoding_message_size(max)
}

async fn generate(
    plugin: Arc<Plugin>,
    request: Request<Streaming<AppStreamRequest>>,
) -> Result<Response<ManifestResponse>, Status> {
    let began = Instant::now();
    let mut asked = Asked::default();
    let result = work(&plugin, request, &mut asked, Plugin::render).await;
    asked.log(began, result.as_ref());
    Ok(Response::new(result?.response))
}

async fn matches(
    plugin: Arc<Plugin>,
    request: Request<Streaming<AppStreamRequest>>,
) -> Result<Response<RepositoryResponse>, Status> {
    let answer = |is_supported| RepositoryResponse { is_supported, is_discovery_enabled: plugin.discovers };
    if !plugin.discovers {
        within(plugin.deadline(request.metadata()), RECEIVING, drain(&mut request.into_inner())).await??;
        return Ok(Response::new(answer(false)));
    }
    let is_supported = work(&plugin, request, &mut Asked::default(), Plugin::matches).await?;
    Ok(Response::new(answer(is_supported)))
}

async fn announce(
    plugin: Arc<Plugin>,
    request: Request<Streaming<AppStreamRequest>>,
) -> Result<Response<ParametersAnnouncementResponse>, Status> {
    within(plugin.deadline(request.metadata()), RECEIVING, drain(&mut request.into_inner())).await??;
    Ok(Response::new(ParametersAnnouncementResponse { parameter_announcements: announcements() }))
}

/// Receives a repository, and does something with it on a thread of its own.
async fn work<T: Send + 'static>(
    plugin: &Arc<Plugin>,
    request: Request<Streaming<AppStreamRequest>>,
    asked: &mut Asked,
    work: impl FnOnce(&Plugin, Received, Waiting) -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    let deadline = plugin.deadline(request.metadata());
    let mut stream = request.into_inner();
    let max = plugin.taken.archive;
    let metadata = within(deadline, RECEIVING, receive_metadata(&mut stream, max)).await??;
    asked.know(&metadata);
    let place = within(deadline, PLACES, plugin.places.acquire(&asked.project)).await?;
    let receiving = receive(&mut stream, metadata, max, plugin.memory.hold(""));
    let received = within(deadline, RECEIVING, receiving).await??;
    asked.bytes = received.archive.len();
    let caller = Caller::default();
    let waiting = Waiting { deadline: Some(deadline), gone: Arc::clone(&caller.0) };
    let working = Arc::clone(plugin);
    let work = tokio::task::spawn_blocking(move || {
        // Given back when the work ends, whether somebody still waits for it or not.
        let _place: Place = place;
        work(&working, received, waiting)
    });
    let result = within(deadline, "rendering takes too long", work).await?;
    result.map_err(|_| AppError::Protocol("the program made a mistake; its log says where"))?
}

/// Waits until a deadline.
async fn within<T>(
    deadline: Instant,
    what: &'static str,
    future: impl Future<Output = T>,
) -> Result<T, AppError> {
    let result = tokio::time::timeout_at(deadline.into(), future).await;
    result.map_err(|_| AppError::Timeout(what))
}

fn facts(received: &Received) -> Result<Facts, AppError> {
    let entries = received.metadata.env.iter().map(|entry| (entry.name.clone(), entry.value.clone()));
    Ok(Facts::new(entries)?)
}

/// Returns how long an answer may take: not as long as the client waits, and not longer than a limit.
fn allowed(metadata: &MetadataMap, limit: Duration) -> Duration {
    let waits = metadata.get("grpc-timeout").and_then(|value| timeout(value.as_bytes()));
    waits.map_or(limit, |time| time.saturating_sub(MARGIN).max(time / 2).min(limit))
}

/// Reads how long a client waits: up to eight digits, and a unit.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Whoever waits for an answer: gone when it is dropped.
#[derive(Default)]
struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Who asked, for the log.
#[derive(Default)]
struct Asked {
    app: String,
    project: String,
    bytes: usize,
}

impl Asked {
    fn know(&mut self, metadata: &ManifestRequestMetadata) {
        let known = |name: &str| {
            let found = metadata.env.iter().find(|entry| entry.name == name);
            found.map(|entry| entry.value.clone()).unwrap_or_default()
        };
        (self.app, self.project) = (known("ARGOCD_APP_NAME"), known("ARGOCD_APP_PROJECT_NAME"));
    }

    #[expect(clippy::print_stderr, reason = "the log of this face")]
    fn log(&self, began: Instant, result: Result<&Done, &AppError>) {
        let (app, project, bytes) = (&self.app, &self.project, self.bytes);
        let milliseconds = began.elapsed().as_millis();
        match result {
            Ok(done) => eprintln!(
                "rendered app={app:?} project={project:?} bytes={bytes} encrypted={} objects={} milliseconds={milliseconds}",
                done.encrypted,
                done.response.manifests.len(),
            ),
            Err(error) => eprintln!(
                "refused app={app:?} project={project:?} bytes={bytes} milliseconds={milliseconds} error={:?}",
                error.told(),
            ),
        }
    }
}

/// The paths of the methods.
pub(super) const CHECK: &str = "/plugin.ConfigManagementPluginService/CheckPluginConfiguration";
pub(super) const GENERATE: &str = "/plugin.ConfigManagementPluginService/GenerateManifest";
pub(super) const MATCH: &str = "/plugin.ConfigManagementPluginService/MatchRepository";
pub(super) const PARAMETERS: &str = "/plugin.ConfigManagementPluginService/GetParametersAnnouncement";

/// What takes too long.
const PLACES: &str = "too many applications are rendered at once, see --at-once";
const RECEIVING: &str = "the repository is sent too slowly, or --max-memory is taken by others";

/// How much earlier an answer is there than a client gives up.
const MARGIN: Duration = Duration::from_millis(100);

/// How long the headers of a request may be, in bytes.
const MAX_HEADERS: u32 = 64 << 10;

/// How often a connection must show that there is still somebody at its other end.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How much may be on its way, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How long nobody is let in after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_there_before_nobody_waits() {
        let limit = Duration::from_secs(300);
        for (waits, expected) in [("60S", 59_900), ("150m", 75), ("10m", 5), ("1H", 300_000), ("x", 300_000)]
        {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", waits.parse().expect("it is text"));
            assert_eq!(allowed(&metadata, limit), Duration::from_millis(expected), "{waits}");
        }
        assert_eq!(allowed(&MetadataMap::new(), limit), limit);
    }

    #[test]
    fn clients_say_how_long_they_wait() {
        for (text, expected) in [
            ("60S", Some(Duration::from_secs(60))),
            ("59999m", Some(Duration::from_millis(59_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("1M", Some(Duration::from_secs(60))),
            ("5u", Some(Duration::from_micros(5))),
            ("5n", Some(Duration::from_nanos(5))),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("123456789S", None),
            ("5s", None),
        ] {
            assert_eq!(timeout(text.as_bytes()), expected, "{text}");
        }
    }
}

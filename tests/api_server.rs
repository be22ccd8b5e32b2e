//! An API server of Kubernetes in memory, for tests of what talks to one: the same answers, events, conflicts and
//! refusals, and faults on demand.
//!
//! Invariants: nothing here waits but by the clock of tokio, which tests stop; what is drawn is drawn from a seed; every
//! write is in the history, with the object before and after.

mod actor;
mod fault;
mod fields;
mod history;
mod list;
mod patch;
mod refusal;
mod resource;
mod review;
mod rules;
mod selector;
mod store;
mod trials;
mod user;
mod verbs;
mod watch;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Bytes;
use kube::client::Body;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch as channel;
use tokio::time::{Instant, sleep};
use tower::Service;

use fault::{refused, reset};
use resource::Target;
use review::Reviews;
use store::Store;
use verbs::{Answer, Ask};
use watch::Watch;

pub use actor::{Actor, Moment};
pub use fault::{Cut, Fault, Faults};
pub use history::Write;
pub use refusal::Refusal;
pub use resource::{Key, Resource};
pub use trials::tests;

/// An API server; clones are the same one.
#[derive(Clone)]
pub struct ApiServer(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    news: channel::Sender<u64>,
    started: Instant,
}

/// All that it knows.
struct State {
    store: Store,
    faults: Faults,
    cuts: Vec<Cut>,
    history: Vec<Write>,
    reviews: Reviews,
    missing: Vec<(String, String)>,
}

/// The way of a process to the server.
#[derive(Clone)]
struct Connection {
    server: ApiServer,
    actor: Arc<Actor>,
}

/// What is sent back.
type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

impl ApiServer {
    /// Returns a server with the namespaces `default` and `kube-system`, whose faults are drawn with a seed.
    pub fn new(seed: u64) -> Self {
        let state = State {
            store: Store::default(),
            faults: Faults::new(seed),
            cuts: Vec::new(),
            history: Vec::new(),
            reviews: Reviews::default(),
            missing: Vec::new(),
        };
        let (news, _) = channel::channel(0);
        let server = Self(Arc::new(Inner { state: Mutex::new(state), news, started: Instant::now() }));
        for namespace in ["default", "kube-system"] {
            server.make_namespace(namespace);
        }
        server
    }

    /// Returns a client for a process.
    pub fn client(&self, actor: &Arc<Actor>) -> kube::Client {
        let connection = Connection { server: self.clone(), actor: Arc::clone(actor) };
        kube::Client::new(connection, "default")
    }

    /// Returns the time.
    pub fn now(&self) -> OffsetDateTime {
        START + self.0.started.elapsed()
    }

    /// Returns the time as objects have it.
    fn timestamp(&self) -> String {
        let now = self.now().replace_nanosecond(0).unwrap_or(START);
        now.format(&Rfc3339).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request of a process.
    async fn serve(self, actor: Arc<Actor>, request: Request<Body>) -> io::Result<Reply> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(io::Error::other)?;
        let number = actor.begin().await;
        let (latency, is_down) = {
            let mut state = self.state();
            let latency = state.faults.latency;
            (state.faults.time(latency), state.faults.is_down)
        };
        if is_down {
            return Err(refused());
        }
        wait(latency).await;
        let Some(ask) = self.ask(&parts, &body) else {
            return reply(404, "404 page not found\n".into(), None);
        };
        let fault = self.state().faults.draw(&ask);
        match fault {
            Some(Fault::NoConnection) => return Err(refused()),
            Some(Fault::Slow(time)) => sleep(time).await,
            _ => {}
        }
        // It may have been killed while the request was under way.
        if actor.is_dead() {
            std::future::pending::<()>().await;
        }
        let result = match fault.and_then(|fault| fault.refusal(&ask)) {
            Some(refusal) => Err(refusal),
            None if ask.query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") => {
                match Watch::begin(&self, &actor, &ask) {
                    Ok(watch) => {
                        actor.end(number).await;
                        let body = StreamBody::new(watch.stream());
                        return Ok(Response::new(UnsyncBoxBody::new(body)));
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            None => self.answer(actor.name(), &ask),
        };
        wait(latency).await;
        actor.end(number).await;
        if fault == Some(Fault::LostReply) {
            return Err(reset());
        }
        match result {
            Ok(answer) => reply(answer.code, answer.body.to_string().into(), None),
            Err(refusal) => reply(refusal.code, refusal.body.to_string().into(), refusal.retry_after),
        }
    }

    /// Reads a request; `None` if it is about nothing that is there.
    fn ask(&self, parts: &http::request::Parts, body: &Bytes) -> Option<Ask> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = Target::parse(parts.uri.path())?;
        let is_missing = |(group, plural): &(String, String)| {
            target.resource.group == group && target.resource.plural == plural
        };
        if self.state().missing.iter().any(is_missing) {
            return None;
        }
        let content_type = text(header::CONTENT_TYPE);
        Some(Ask {
            method: parts.method.to_string(),
            target,
            query: resource::query(parts.uri.query().unwrap_or_default()),
            body: serde_json::from_slice(body).unwrap_or_default(),
            content_type: content_type.split(';').next().unwrap_or_default().to_owned(),
            only_metadata: text(header::ACCEPT).contains("as=PartialObjectMetadata"),
            agent: text(header::USER_AGENT).to_owned(),
            now: self.timestamp(),
        })
    }

    /// Does what a request asks for, notes it, and tells those who watch.
    fn answer(&self, who: &str, ask: &Ask) -> Result<Answer, Refusal> {
        let mut state = self.state();
        let State { store, history, reviews, .. } = &mut *state;
        let verb = match (ask.method.as_str(), &ask.target.name) {
            ("GET", Some(_)) => "get",
            ("GET", None) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            _ => "delete",
        };
        let name = ask.target.name.as_deref().unwrap_or_default();
        if who != user::USER && !reviews.allows(verb, ask.target.resource.plural) {
            let resource = ask.target.resource;
            let group = resource.group;
            let why =
                format!("User {who:?} cannot {verb} resource {:?} in API group {group:?}", resource.plural);
            return Err(Refusal::forbidden(resource, name, &why));
        }
        let before = ask.target.key().and_then(|key| store.get(&key).cloned());
        let result = ask.answer(store, reviews);
        if ask.method != "GET" {
            let sent = match &result {
                Ok(answer) => &answer.body["metadata"]["name"],
                Err(_) => &ask.body["metadata"]["name"],
            };
            let name = ask.target.name.as_deref().or(sent.as_str()).unwrap_or_default();
            let namespace = ask.target.namespace.as_deref().unwrap_or_default();
            let key = Key::new(ask.target.resource, namespace, name);
            let after = store.get(&key).cloned();
            let before = if result.is_err() && ask.target.name.is_none() { after.clone() } else { before };
            history.push(Write {
                who: who.to_owned(),
                agent: ask.agent.clone(),
                manager: ask.query.get("fieldManager").cloned().unwrap_or_default(),
                at: ask.now.clone(),
                method: ask.method.clone(),
                content_type: ask.content_type.clone(),
                status: ask.target.status,
                body: ask.body.clone(),
                code: result.as_ref().map_or_else(|refusal| refusal.code, |answer| answer.code),
                key,
                before,
                after,
            });
        }
        let revision = store.revision();
        drop(state);
        self.0.news.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        result
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Reply;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Reply>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.server.clone().serve(Arc::clone(&self.actor), request).boxed()
    }
}

/// Waits, if there is something to wait for.
async fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Returns an answer.
fn reply(code: u16, body: Bytes, retry_after: Option<u32>) -> io::Result<Reply> {
    let kind = if body.starts_with(b"{") { "application/json" } else { "text/plain; charset=utf-8" };
    let mut response = Response::builder().status(code).header(header::CONTENT_TYPE, kind);
    if let Some(seconds) = retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    let body = Full::new(body).map_err(|never: Infallible| match never {});
    response.body(UnsyncBoxBody::new(body)).map_err(io::Error::other)
}

/// When servers start.
const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::days(20_454));

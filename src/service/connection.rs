//! Connections: who is let in, how many there are, and for how long.
//!
//! Invariants: there are never more than so many, and half of them of one user; one on which nothing is asked ends after a while, however slowly bytes
//! come; what a caller does to its own connection is felt by no other one.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::note;
use super::socket::Socket;
use super::work::Caller;
use crate::authority::Renamed;
use crate::shares::{Place, Places};

/// How long connections wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the head of a request, and for a request at all.
    pub(super) idle: Duration,
    /// For the caller to take what it is sent.
    pub(super) write: Duration,
    /// For requests that are under way when the program ends.
    pub(super) grace: Duration,
}

/// Serves until `shutdown` is true, or whoever would say so is gone; then lets requests end that are under way.
pub(super) async fn serve(
    socket: Socket,
    router: Router,
    patience: Patience,
    mut shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let shares = Places::new(MAX_CONNECTIONS);
    let (mut connections, mut strangers) = (JoinSet::new(), BTreeSet::new());
    loop {
        while connections.try_join_next().is_some() {}
        let next = tokio::select! {
            biased;
            () = told(&mut shutdown) => break,
            next = accepted(&socket, &places) => next,
        };
        match next {
            Ok((stream, caller, place)) => {
                // Whoever has too many loses the next one at once.
                let Some(own) = shares.try_acquire(&caller.name()) else { continue };
                let place = (place, own);
                connections.spawn(connection(
                    stream,
                    caller,
                    place,
                    router.clone(),
                    patience,
                    shutdown.clone(),
                ));
            }
            // One that comes again and again is told once.
            Err(user) if strangers.len() < MAX_STRANGERS && strangers.insert(user) => {
                note(&format!("turned away user {user}; --allow-uid {user} serves that user"));
            }
            Err(_) => {}
        }
    }
    // Nobody new finds the way.
    drop(socket);
    // Those that are still there go with the set.
    let _ = timeout(patience.grace, async { while connections.join_next().await.is_some() {} }).await;
}

/// Returns the next connection, as soon as there is room for it, or the user of one who was turned away.
async fn accepted(
    socket: &Socket,
    places: &Arc<Semaphore>,
) -> Result<(tokio::net::UnixStream, Caller, OwnedSemaphorePermit), u32> {
    let place = Arc::clone(places).acquire_owned().await.expect("nobody closes the places");
    loop {
        match socket.accept().await {
            Ok(Ok((stream, user))) => return Ok((stream, Caller(user), place)),
            Ok(Err(user)) => return Err(user),
            // The connection was given up, or there are no more files to be had: neither is for ever.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// What happens on a connection.
struct Activity {
    start: Instant,
    /// How many requests are being answered.
    requests: AtomicUsize,
    /// When something was last sent, in milliseconds since the start.
    sent: AtomicU64,
}

impl Activity {
    fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), requests: AtomicUsize::new(0), sent: AtomicU64::new(0) })
    }

    fn sends(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.sent.store(now, Ordering::Relaxed);
    }

    /// Returns how long nothing was asked or sent.
    fn idle(&self) -> Duration {
        if self.requests.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        let sent = Duration::from_millis(self.sent.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(sent)
    }
}

/// A request that is being answered.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.sends();
    }
}

/// Serves a connection until its caller, its idleness or the program ends it.
async fn connection(
    stream: tokio::net::UnixStream,
    caller: Caller,
    _place: (OwnedSemaphorePermit, Place),
    router: Router,
    patience: Patience,
    mut shutdown: watch::Receiver<bool>,
) {
    let activity = Activity::new();
    let stream = Steady { stream, limit: patience.write, stalled: None, activity: Arc::clone(&activity) };
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(patience.idle).max_buf_size(MAX_BUFFER);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD)
        .keep_alive_interval(patience.idle)
        .keep_alive_timeout(patience.idle);
    let (router, counted) = (TowerToHyperService::new(router), Arc::clone(&activity));
    let service = service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(caller);
        counted.requests.fetch_add(1, Ordering::Relaxed);
        let (busy, answer) = (Busy(Arc::clone(&counted)), router.call(request));
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    });
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(Renamed::new(stream)), service));
    loop {
        let rest = patience.idle.saturating_sub(activity.idle());
        tokio::select! {
            // A caller may do what it likes to its own connection.
            _ = connection.as_mut() => return,
            () = told(&mut shutdown) => break,
            () = sleep(rest.max(PAUSE)) => {}
        }
        if activity.idle() >= patience.idle {
            return;
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(patience.grace, connection).await;
}

/// Waits for the end of the program.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    // Whoever would tell is gone, if it fails: that is the end, too.
    let _ = shutdown.wait_for(|&ends| ends).await;
}

/// A connection whose caller has to take what it is sent, in time.
struct Steady<S> {
    stream: S,
    limit: Duration,
    /// Rings if nothing can be written for too long.
    stalled: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
}

impl<S> Steady<S> {
    /// Passes on what became of writing, unless it took too long.
    fn watched<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Steady<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Steady<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        if result.is_ready() {
            self.activity.sends();
        }
        self.watched(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(context, result)
    }
}

/// How many connections there are at once.
const MAX_CONNECTIONS: usize = 256;
/// How many users are told that were turned away.
const MAX_STRANGERS: usize = 64;
/// How many requests of a connection are answered at once.
const MAX_STREAMS: u32 = 64;
/// How large the head of a request may be, in bytes.
const MAX_HEAD: u32 = 16 << 10;
/// How much is read ahead of a connection, in bytes; a head has to fit into it.
const MAX_BUFFER: usize = 64 << 10;
/// How long to wait after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

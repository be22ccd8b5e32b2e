//! Connections: how many there are, and for how long.
//!
//! Invariants: there are never more than so many that are served, so large and so old; what a peer does to its own
//! connection is felt by no other one; one that asks for nothing makes room for the next.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::super::settings::HttpSettings;

/// Serves connections until `shutdown` is true, or whoever would say so is gone; then lets those end that are there, for a
/// while.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    settings: HttpSettings,
    mut shutdown: watch::Receiver<bool>,
) {
    let (mut places, mut connections) = (Places::new(MAX_CONNECTIONS), JoinSet::new());
    loop {
        while connections.try_join_next().is_some() {}
        let next = tokio::select! {
            biased;
            () = told(&mut shutdown) => None,
            next = accepted(&listener, &mut places) => Some(next),
        };
        let Some((stream, place)) = next else { break };
        connections.spawn(connection(stream, place, router.clone(), settings, shutdown.clone()));
    }
    drop(listener);
    // Those that are still there go with the set.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

/// Returns the next connection, as soon as there is room for it.
async fn accepted(listener: &TcpListener, places: &mut Places) -> (TcpStream, Place) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, places.next().await),
            // The connection was given up, or there are no more files to be had: neither is for ever.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// The places for connections.
struct Places {
    slots: Arc<Semaphore>,
    /// Those that are taken, in the order in which they were.
    taken: VecDeque<Weak<Peer>>,
}

/// The place of a connection, until it is dropped.
struct Place {
    peer: Arc<Peer>,
    _slot: OwnedSemaphorePermit,
}

/// What is known of a connection by whoever wants its place.
#[derive(Default)]
struct Peer {
    /// How many requests are being answered.
    requests: AtomicUsize,
    has_to_go: Notify,
}

/// A request that is being answered.
struct Busy(Arc<Peer>);

impl Places {
    fn new(count: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(count)), taken: VecDeque::new() }
    }

    /// Returns the next place. If all are taken, the oldest connection has to go that waits for a request.
    async fn next(&mut self) -> Place {
        let mut slot = Arc::clone(&self.slots).try_acquire_owned().ok();
        while slot.is_none() {
            self.make_room();
            let next = timeout(PAUSE, Arc::clone(&self.slots).acquire_owned());
            slot = next.await.ok().map(|slot| slot.expect("nobody closes the slots"));
        }
        let place = Place { peer: Arc::default(), _slot: slot.expect("the loop ends with one") };
        self.taken.retain(|peer| peer.strong_count() > 0);
        self.taken.push_back(Arc::downgrade(&place.peer));
        place
    }

    fn make_room(&mut self) {
        let is_idle =
            |peer: &Weak<Peer>| peer.upgrade().is_some_and(|peer| peer.requests.load(Ordering::Relaxed) == 0);
        let Some(index) = self.taken.iter().position(is_idle) else { return };
        if let Some(peer) = self.taken.remove(index).and_then(|peer| peer.upgrade()) {
            peer.has_to_go.notify_one();
        }
    }
}

impl Busy {
    fn new(peer: &Arc<Peer>) -> Self {
        peer.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(peer))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection until its peer, its time or the program ends.
async fn connection(
    stream: TcpStream,
    place: Place,
    router: Router,
    settings: HttpSettings,
    mut shutdown: watch::Receiver<bool>,
) {
    // Only a delay, if it fails.
    let _ = stream.set_nodelay(true);
    let stream = Steady { stream, limit: settings.write_timeout, stalled: None };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.read_timeout)
        .max_buf_size(MAX_BUFFER)
        .max_header_size(MAX_HEAD);
    let (router, peer) = (TowerToHyperService::new(router), Arc::clone(&place.peer));
    let service = service_fn(move |request| {
        let (busy, answer) = (Busy::new(&peer), router.call(request));
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return ended(result),
        () = told(&mut shutdown) => {}
        () = place.peer.has_to_go.notified() => {
            // A request that came at the last moment is answered; half a head is not waited for.
            connection.as_mut().graceful_shutdown();
            match timeout(PAUSE, connection.as_mut()).await {
                Ok(result) => return ended(result),
                Err(_) if place.peer.requests.load(Ordering::Relaxed) == 0 => return,
                Err(_) => {}
            }
        }
        () = sleep(MAX_AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let rest = settings.read_timeout.saturating_add(settings.write_timeout);
    if let Ok(result) = timeout(rest, connection).await {
        ended(result);
    }
}

/// Waits for the end of the program.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    // Whoever would tell is gone, if it fails: that is the end, too.
    let _ = shutdown.wait_for(|&ends| ends).await;
}

/// A peer may do what it likes to its own connection.
fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A connection whose peer has to take what it is sent, in time.
struct Steady<S> {
    stream: S,
    limit: Duration,
    /// Rings if nothing can be written for too long.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Steady<S> {
    /// Passes on what became of writing, unless it took too long.
    fn watched<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let limit = self.limit;
        let far = || Instant::now() + MAX_AGE;
        let end = || Instant::now().checked_add(limit).unwrap_or_else(far);
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end())));
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

/// How many connections there are at once, for each address.
const MAX_CONNECTIONS: usize = 512;
/// How large the head of a request may be, in bytes.
const MAX_HEAD: usize = 32 << 10;
/// How much is read ahead of a connection, in bytes.
const MAX_BUFFER: usize = 64 << 10;
/// How old a connection gets.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How long requests may go on that are under way when the program ends.
const GRACE: Duration = Duration::from_secs(20);
/// How long to wait after a connection could not be accepted, and for one that has to go.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::test_kit;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_comes_when_all_places_are_taken_gets_that_of_the_oldest_that_asks_for_nothing() {
        let mut places = Places::new(3);
        let mut taken = [places.next().await, places.next().await, places.next().await].map(Some);
        let peers = taken.each_ref().map(|place| Arc::clone(&place.as_ref().expect("it is taken").peer));
        let busy = [Busy::new(&peers[0]), Busy::new(&peers[1])];
        let told = |index: usize| futures_util::FutureExt::now_or_never(peers[index].has_to_go.notified());
        let _fourth = {
            let mut next = std::pin::pin!(places.next());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
            assert_eq!([0, 1, 2].map(|index| told(index).is_some()), [false, false, true]);
            drop(taken[2].take());
            next.await
        };
        drop(busy);
        let mut next = std::pin::pin!(places.next());
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        assert_eq!([0, 1].map(|index| told(index).is_some()), [true, false]);
        drop(taken[0].take());
        drop(next.await);
    }

    #[tokio::test]
    async fn a_connection_that_sends_nothing_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (settings, mut places) = (test_kit::settings(), Places::new(1));
        let (_end, ends) = watch::channel(false);
        let mut idle = TcpStream::connect(address).await.expect("a connection");
        // It is stuck in the middle of a head.
        idle.write_all(b"GET / HT").await.expect("it is taken");
        let (stream, place) = accepted(&listener, &mut places).await;
        tokio::spawn(connection(stream, place, Router::new(), settings, ends));
        let _next = TcpStream::connect(address).await.expect("a connection");
        drop(accepted(&listener, &mut places).await);
        let mut rest = Vec::new();
        // Whether it is closed or torn off: it is over.
        let _ = idle.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (stream, _peer) = duplex(8);
        let mut steady = Steady { stream, limit: Duration::from_secs(5), stalled: None };
        steady.write_all(b"12345678").await.expect("there is room");
        let start = Instant::now();
        let error = steady.write_all(b"9").await.expect_err("nobody reads");
        assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, Duration::from_secs(5)));
    }
}

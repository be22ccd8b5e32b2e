//! Connections: how many there are, and for how long.
//!
//! Invariants: there are never more than so many, so large and so old; what a peer does to its own connection is felt by no
//! other one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
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
    let (slots, mut connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), JoinSet::new());
    loop {
        while connections.try_join_next().is_some() {}
        let next = tokio::select! {
            biased;
            () = told(&mut shutdown) => None,
            next = accepted(&listener, &slots) => Some(next),
        };
        let Some((stream, slot)) = next else { break };
        connections.spawn(connection(stream, slot, router.clone(), settings, shutdown.clone()));
    }
    drop(listener);
    // Those that are still there go with the set.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

/// Returns the next connection, as soon as there is room for it.
async fn accepted(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots).acquire_owned().await.expect("nobody closes the slots");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            // The connection was given up, or there are no more files to be had: neither is for ever.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection until its peer, its time or the program ends.
async fn connection(
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
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
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return ended(result),
        () = told(&mut shutdown) => {}
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
/// How long to wait after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_connection_beyond_the_bound_waits_for_one_to_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let slots = Arc::new(Semaphore::new(1));
        let _peers = [TcpStream::connect(address).await, TcpStream::connect(address).await];
        let first = accepted(&listener, &slots).await;
        let mut second = std::pin::pin!(accepted(&listener, &slots));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        drop(second.await);
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

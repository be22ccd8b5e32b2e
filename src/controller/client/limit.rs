//! How often the API server is asked.
//!
//! Invariant: whoever comes first goes first; who gives up waiting leaves the place empty.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tower::{Layer, Service};

/// So many requests at once, and then so many a second. Clones share the count.
#[derive(Clone)]
pub struct Limit {
    state: Arc<Mutex<State>>,
    interval: Duration,
    burst: Duration,
}

struct State {
    /// When the next request would have its turn, if there were no burst.
    next: Instant,
}

impl Limit {
    /// Returns a limit of which nothing is used yet.
    #[must_use]
    pub fn new(qps: f64, burst: u32) -> Self {
        let interval = Duration::from_secs_f64(1.0 / qps);
        // As for the client of Go, nothing can be asked without a burst of at least one.
        let burst = interval.saturating_mul(burst.max(1) - 1);
        Self { state: Arc::new(Mutex::new(State { next: Instant::now() })), interval, burst }
    }

    /// Waits for its turn.
    pub async fn turn(&self) {
        let turn = self.reserve(Instant::now());
        tokio::time::sleep_until(turn).await;
    }

    /// Returns when a request that comes now has its turn.
    fn reserve(&self, now: Instant) -> Instant {
        // Nothing can fail while it is locked.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state.next.max(now);
        state.next = due + self.interval;
        due.checked_sub(self.burst).map_or(now, |turn| turn.max(now))
    }
}

/// Lets requests wait for their turn.
#[derive(Clone)]
pub struct LimitLayer {
    limit: Option<Limit>,
}

impl LimitLayer {
    /// Returns a layer; without a limit nobody waits.
    #[must_use]
    pub fn new(limit: Option<Limit>) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited { inner, limit: self.limit.clone() }
    }
}

/// A service whose requests wait for their turn.
#[derive(Clone)]
pub struct Limited<S> {
    inner: S,
    limit: Option<Limit>,
}

impl<S, R> Service<R> for Limited<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // A service of ours does nothing before its future is asked for the first time.
        let answer = self.inner.call(request);
        match self.limit.clone() {
            None => Box::pin(answer),
            Some(limit) => Box::pin(async move {
                limit.turn().await;
                answer.await
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn some_are_asked_at_once_and_then_so_many_a_second() {
        let (limit, start) = (Limit::new(5.0, 3), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..6 {
            limit.turn().await;
            waits.push(start.elapsed().as_millis());
        }
        assert_eq!(waits, [0, 0, 0, 200, 400, 600]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..4 {
            limit.turn().await;
        }
        assert_eq!(start.elapsed().as_millis(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn clones_share_the_count_and_go_in_their_order() {
        let (limit, start) = (Limit::new(1.0, 1), Instant::now());
        let turns = (0..3).map(|number| {
            let limit = limit.clone();
            async move {
                limit.turn().await;
                (number, start.elapsed().as_secs())
            }
        });
        assert_eq!(futures_util::future::join_all(turns).await, [(0, 0), (1, 1), (2, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_before_its_turn() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let inner = tower::service_fn({
            let sent = Arc::clone(&sent);
            move |number: u32| {
                let sent = Arc::clone(&sent);
                async move {
                    sent.lock().expect("nothing failed").push((number, start.elapsed().as_secs()));
                    Ok::<_, std::convert::Infallible>(())
                }
            }
        });
        let mut service = LimitLayer::new(Some(Limit::new(1.0, 1))).layer(inner);
        let answers: Vec<_> = (0..3).map(|number| service.call(number)).collect();
        for answer in answers {
            answer.await.expect("it is answered");
        }
        assert_eq!(*sent.lock().expect("nothing failed"), [(0, 0), (1, 1), (2, 2)]);
    }
}

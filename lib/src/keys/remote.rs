//! Requests to servers, on threads of their own, so that whoever waits for one needs no runtime.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::service::{Cause, KeyError, ServiceError};

/// Runs requests to servers, each for a limited time. Its threads start with the first request.
///
/// What it returns can be awaited anywhere, outside of a runtime as well.
#[derive(Debug)]
pub struct Remote {
    runtime: OnceLock<Runtime>,
    limit: Duration,
}

impl Remote {
    /// How long a request may take if nothing else is said.
    pub const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

    /// Returns what runs requests for no longer than `limit` each.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { runtime: OnceLock::new(), limit }
    }

    /// Returns how long a request may take.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs a request. It ends when the future that is returned is dropped.
    ///
    /// # Errors
    /// If the request fails, takes too long, or cannot be started.
    pub async fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, KeyError>> + Send + 'static,
    ) -> Result<T, KeyError> {
        let limit = self.limit;
        let request = async move { tokio::time::timeout(limit, request).await };
        let mut task = Task(self.runtime()?.spawn(request));
        match (&mut task.0).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ServiceError::new(
                Cause::Timeout,
                format!("there was no answer within {}", describe(limit)),
            )
            .with_remedy("try again, or allow more time with `--key-timeout`")
            .into()),
            Err(error) if error.is_cancelled() => Err(broken("the request was ended")),
            Err(_) => Err(broken("the request broke off: this is a bug")),
        }
    }

    /// Returns the runtime, for what waits for others rather than for an answer.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn runtime(&self) -> Result<&Runtime, KeyError> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("requests").enable_all().build();
        let runtime = runtime.map_err(|error| broken(&format!("no thread can be started: {error}")))?;
        // Another thread may have been quicker; its runtime is as good.
        if let Err(second) = self.runtime.set(runtime) {
            second.shutdown_background();
        }
        self.runtime.get().ok_or_else(|| broken("no thread can be started"))
    }
}

impl Default for Remote {
    fn default() -> Self {
        Self::new(Self::DEFAULT_LIMIT)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Nobody waits for what is still under way; and within a runtime, nobody may.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A request that ends with whoever waits for it.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn broken(what: &str) -> KeyError {
    ServiceError::new(Cause::Other, what).into()
}

fn describe(limit: Duration) -> String {
    match limit.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

/// Requests wait more than they work: a few threads are enough for many.
const THREADS: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_request_is_awaited_outside_of_a_runtime() {
        let remote = Remote::default();
        let request = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(7)
        };
        assert_eq!(pollster::block_on(remote.run(request)), Ok(7));
    }

    #[test]
    fn what_takes_too_long_ends() {
        let remote = Remote::new(Duration::from_millis(5));
        let ended = pollster::block_on(remote.run(std::future::pending::<Result<(), KeyError>>()));
        let Err(KeyError::Service(error)) = ended else { panic!("{ended:?}") };
        assert_eq!((error.cause, error.detail.as_str()), (Cause::Timeout, "there was no answer within 5 ms"));
    }

    #[test]
    fn who_does_not_wait_ends_the_request() {
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let remote = Remote::default();
        let is_dropped = Arc::new(AtomicBool::new(false));
        let flag = Flag(Arc::clone(&is_dropped));
        let request = async move {
            let _flag = flag;
            std::future::pending::<Result<(), KeyError>>().await
        };
        let mut future = Box::pin(remote.run(request));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        drop(future);
        while !is_dropped.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }
}

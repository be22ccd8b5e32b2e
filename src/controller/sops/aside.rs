//! Computations that take a while, on threads where nobody else waits for a turn.
//!
//! Invariant: a computation whose answer nobody waits for any more does not begin, or learns of it at its next step.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::controller::reason::{Failure, Reason};

/// Tells a computation whether somebody waits for its answer.
#[derive(Default)]
pub struct Waiting {
    is_over: Arc<AtomicBool>,
}

impl Waiting {
    /// Goes on if somebody waits: to be asked before every step.
    ///
    /// # Errors
    /// If nobody does; nobody reads the message either.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(Failure::new(Reason::Unseal, "it took too long"));
        }
        Ok(())
    }
}

/// Returns what a computation comes to. It ends early if this future is dropped.
pub async fn aside<T: Send + 'static>(work: impl FnOnce(&Waiting) -> T + Send + 'static) -> T {
    let waiting = Waiting::default();
    let is_over = Arc::clone(&waiting.is_over);
    // Without a runtime, there is nobody else.
    let Ok(runtime) = Handle::try_current() else { return work(&waiting) };
    let task = runtime.spawn_blocking(move || work(&waiting));
    let _given_up = GivenUp { is_over, task: task.abort_handle() };
    match task.await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and whoever waits with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Tells a computation, when it is dropped, that nobody waits any more.
struct GivenUp {
    is_over: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

#[cfg(test)]
impl Waiting {
    /// Has nobody wait any more.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_threads_of_the_runtime_stay_free() {
        let own = thread::current().id();
        assert_ne!(aside(|_| thread::current().id()).await, own);
    }

    #[tokio::test]
    async fn a_computation_ends_that_nobody_waits_for() {
        let (has_begun, begun) = oneshot::channel();
        let (has_ended, ended) = oneshot::channel();
        let work = aside(|waiting| {
            has_begun.send(()).expect("somebody listens");
            while waiting.check().is_ok() {
                thread::yield_now();
            }
            has_ended.send(()).expect("somebody listens");
        });
        tokio::select! {
            () = work => panic!("it ended on its own"),
            begun = begun => begun.expect("it began"),
        }
        ended.await.expect("it ended");
    }

    #[test]
    fn without_a_runtime_it_is_done_at_once() {
        assert_eq!(pollster::block_on(aside(|waiting| waiting.check())), Ok(()));
    }
}

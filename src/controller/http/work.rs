//! Work of the processor for callers, of which there is only so much at once: reconciling has to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::sealed::Refusal;

/// Where work is done, away from what must not wait.
#[derive(Clone)]
pub(super) struct Workers(Arc<Semaphore>);

/// Tells work that nobody waits for it any more.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

/// Says so when the caller is gone.
struct StopOnDrop(Stop);

impl Workers {
    /// Returns workers that leave at least half of the processors alone, where there are more than one.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Does work. If the caller does not wait for its end, it is told to stop.
    ///
    /// # Errors
    /// If it failed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Stop) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let slot = Arc::clone(&self.0).acquire_owned().await.map_err(|_| Refusal::Stopped)?;
        let stop = Stop::default();
        let _guard = StopOnDrop(stop.clone());
        let task = tokio::task::spawn_blocking(move || {
            // The slot is taken for as long as the work goes on, not as long as somebody waits.
            let _slot = slot;
            work(&stop)
        });
        // It ends without a result only if it panicked, or with the program.
        task.await.unwrap_or(Err(Refusal::Stopped))
    }
}

impl Stop {
    /// Makes sure that somebody waits.
    ///
    /// # Errors
    /// If nobody does.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.0.load(Ordering::Relaxed) { Err(Refusal::Stopped) } else { Ok(()) }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_stops_and_makes_room() {
        let workers = Workers(Arc::new(Semaphore::new(1)));
        let (started, has_started) = oneshot::channel();
        let endless = workers.run(move |stop| {
            started.send(()).expect("somebody listens");
            loop {
                stop.check()?;
                std::thread::yield_now();
            }
            #[expect(unreachable_code, reason = "it tells the type")]
            Ok(())
        });
        tokio::select! {
            result = endless => panic!("it ended: {result:?}"),
            result = has_started => result.expect("it started"),
        }
        assert_eq!(workers.run(|_| Ok(7)).await, Ok(7));
    }
}

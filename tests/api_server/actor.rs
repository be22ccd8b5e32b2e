//! Processes that make requests, and that can be killed between any two of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// A process. Once it is dead nothing that it asks for happens, and no answer comes: whatever of its tasks still runs
/// makes no difference any more.
#[derive(Debug)]
pub struct Actor {
    name: String,
    requests: AtomicU64,
    end: Mutex<Option<(u64, Moment)>>,
    dead: watch::Sender<bool>,
}

/// When in the course of a request a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The request was done, and the answer does not arrive.
    After,
    /// The request does not arrive.
    Before,
}

impl Actor {
    /// Returns a process that lives.
    pub fn new(name: &str) -> Arc<Self> {
        let (dead, _) = watch::channel(false);
        Arc::new(Self { name: name.to_owned(), requests: AtomicU64::new(0), end: Mutex::new(None), dead })
    }

    /// Kills it now.
    pub fn kill(&self) {
        self.dead.send_replace(true);
    }

    /// Kills it in the course of a request, the first being 1.
    pub fn kill_at(&self, request: u64, moment: Moment) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some((request, moment));
    }

    /// Waits until it is dead.
    pub async fn died(&self) {
        // The sender is a part of `self`: waiting cannot fail.
        let _ = self.dead.subscribe().wait_for(|dead| *dead).await;
    }

    /// Counts a request, and returns its number. If the process dies of it, this does not return.
    pub async fn begin(&self) -> u64 {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.pass(number, Moment::Before).await;
        number
    }

    /// Goes on after a request was done. If the process dies of it, this does not return.
    pub async fn end(&self, number: u64) {
        self.pass(number, Moment::After).await;
    }

    /// Returns whether it is dead.
    pub fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Returns how many requests it made.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn pass(&self, number: u64, moment: Moment) {
        let end = *self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_some_and(|end| end == (number, moment)) {
            self.kill();
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}

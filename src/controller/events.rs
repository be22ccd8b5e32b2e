//! Events: what `kubectl describe` shows of an object.
//!
//! Invariants: whoever hands an event in never waits, and never hears of a failure: events are news, not state. What
//! waits and what is remembered is bounded. All that is asked of the API server is to create and to patch `events` of
//! the core group.

mod memory;
mod post;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use kube::core::ApiResource;
use serde_json::Value as Json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::reason::Reason;

/// Where events are handed in. Never waits: what cannot be sent in time is left out, and counted.
///
/// The task behind it ends, after it has sent what waits, when [`Events::close`] was called, or all handles are gone.
#[derive(Clone)]
pub struct Events {
    line: Arc<Line>,
}

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct About {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
}

impl About {
    /// Returns what an event says of an object of a kind.
    #[must_use]
    pub fn of(resource: &ApiResource, object: &Json) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        Self {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
        }
    }
}

impl Events {
    /// Starts the task that sends events. Whoever ends the program calls [`Events::close`], and waits for the task, which
    /// takes no longer than five seconds then.
    #[must_use]
    pub fn start(client: Client) -> (Self, JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (closing, closed) = watch::channel(());
        let dropped = Arc::default();
        let task = tokio::spawn(post::run(client, waiting, closed, Arc::clone(&dropped)));
        let open = Mutex::new(Some(Open { queue, _closing: closing }));
        (Self { line: Arc::new(Line { open, dropped }) }, task)
    }

    /// Hands in an event.
    pub fn send(&self, about: About, reason: Reason, message: &str) {
        let notice = Notice { about, reason, message: cut(message).to_owned() };
        let open = self.line.open.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = open.as_ref().is_some_and(|open| open.queue.try_send(notice).is_ok());
        if !sent {
            self.line.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes no more events, and lets the task end.
    pub fn close(&self) {
        self.line.open.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Returns how many events were left out, because too many waited or the API server did not take them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.line.dropped.load(Ordering::Relaxed)
    }
}

/// The way to the task.
struct Line {
    open: Mutex<Option<Open>>,
    dropped: Arc<AtomicU64>,
}

/// What the task sees the end of.
struct Open {
    queue: mpsc::Sender<Notice>,
    _closing: watch::Sender<()>,
}

/// An event that was handed in.
#[derive(Clone, Debug)]
struct Notice {
    about: About,
    reason: Reason,
    message: String,
}

/// Cuts a message to what the API server takes, between two characters.
fn cut(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// How many events may wait.
const QUEUE: usize = 1000;

/// How many bytes a message may have.
const MAX_MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_two_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"a".repeat(2000)).len(), 1024);
        assert_eq!(cut(&"ö".repeat(1000)).len(), 1024);
        assert_eq!(cut(&format!("a{}", "ö".repeat(1000))).len(), 1023);
        assert_eq!(cut(&"🔑".repeat(300)).len(), 1024);
    }
}

//! Watches: what changes, line by line.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use hyper::body::{Bytes, Frame};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::ApiServer;
use super::actor::Actor;
use super::fault::{Cut, refused, reset};
use super::refusal::Refusal;
use super::resource::Resource;
use super::selector::Selection;
use super::store::Change;
use super::verbs::{Ask, metadata_of};

/// A watch that somebody reads.
pub struct Watch {
    server: ApiServer,
    actor: Arc<Actor>,
    resource: &'static Resource,
    selection: Selection,
    only_metadata: bool,
    revision: u64,
    cuts: usize,
    news: watch::Receiver<u64>,
    lag: Duration,
    ends: Instant,
    bookmark: Option<Instant>,
    waiting: VecDeque<Result<Bytes, io::Error>>,
    is_over: bool,
}

impl Watch {
    /// Begins a watch.
    ///
    /// # Errors
    /// If the selectors or the version are none.
    pub fn begin(server: &ApiServer, actor: &Arc<Actor>, ask: &Ask) -> Result<Self, Refusal> {
        let selection = Selection::parse(&ask.target, &ask.query)?;
        let text = |name: &str| ask.query.get(name).map_or("", String::as_str);
        let from: u64 = match text("resourceVersion") {
            "" => 0,
            version => version.parse().map_err(|_| Refusal::bad_request("invalid resource version"))?,
        };
        let seconds = text("timeoutSeconds").parse().unwrap_or(1800);
        let mut state = server.state();
        let life = Duration::from_secs(seconds);
        let life = match state.faults.watch_life {
            Some(longest) => state.faults.time(longest).min(life),
            None => life,
        };
        let longest = state.faults.lag;
        let lag = state.faults.time(longest);
        let now = Instant::now();
        let mut watch = Self {
            server: server.clone(),
            actor: Arc::clone(actor),
            resource: ask.target.resource,
            selection,
            only_metadata: ask.only_metadata,
            revision: from,
            cuts: state.cuts.len(),
            news: server.0.news.subscribe(),
            lag,
            ends: now + life,
            bookmark: (text("allowWatchBookmarks") == "true").then_some(now + BOOKMARKS),
            waiting: VecDeque::new(),
            is_over: false,
        };
        let with_start = text("sendInitialEvents") == "true";
        if from == 0 || with_start {
            watch.revision = state.store.revision();
            let objects = state.store.list(&watch.selection, watch.revision).unwrap_or_default();
            let lines = objects.iter().map(|(_, object)| watch.line("ADDED", object)).collect::<String>();
            if !lines.is_empty() {
                watch.waiting.push_back(Ok(lines.into()));
            }
            if with_start {
                let mut bookmark = watch.bookmark();
                bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                watch.waiting.push_back(Ok(written("BOOKMARK", &bookmark).into()));
            }
        }
        Ok(watch)
    }

    /// Returns what is read from it.
    pub fn stream(self) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
        unfold(self, async |mut watch| {
            let next = watch.next().await?;
            Some((next.map(Frame::data), watch))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        loop {
            if let Some(bytes) = self.waiting.pop_front() {
                if self.actor.is_dead() {
                    std::future::pending::<()>().await;
                }
                return Some(bytes);
            }
            if self.is_over {
                return None;
            }
            self.news.mark_unchanged();
            self.look();
            if self.waiting.is_empty() && !self.is_over {
                self.wait().await;
            }
        }
    }

    /// Looks for what happened.
    fn look(&mut self) {
        let server = self.server.clone();
        let state = server.state();
        if state.faults.is_down {
            self.finish(Err(refused()));
        } else if let Some(cut) = state.cuts.get(self.cuts) {
            self.finish(match cut {
                Cut::Close => Ok(String::new()),
                Cut::Error => Err(reset()),
                Cut::Expire => Ok(self.too_old(state.store.compacted())),
            });
        } else if let Some(changes) = state.store.changes_since(self.revision) {
            let lines: String = changes.iter().filter_map(|change| self.change(change)).collect();
            self.revision = self.revision.max(state.store.revision());
            if !lines.is_empty() {
                self.waiting.push_back(Ok(lines.into()));
            }
        } else {
            self.finish(Ok(self.too_old(state.store.compacted())));
        }
    }

    /// Waits until there may be something.
    async fn wait(&mut self) {
        let until = self.bookmark.map_or(self.ends, |bookmark| bookmark.min(self.ends));
        tokio::select! {
            result = self.news.changed() => {
                if result.is_err() {
                    self.is_over = true;
                }
                if !self.lag.is_zero() {
                    sleep(self.lag).await;
                }
            }
            () = sleep_until(until) => {
                let is_end = Instant::now() >= self.ends;
                if self.bookmark.is_some() {
                    self.bookmark = Some(Instant::now() + BOOKMARKS);
                    self.waiting.push_back(Ok(written("BOOKMARK", &self.bookmark()).into()));
                }
                self.is_over = is_end;
            }
        }
    }

    fn finish(&mut self, last: Result<String, io::Error>) {
        self.is_over = true;
        if last.as_ref().map_or(true, |text| !text.is_empty()) {
            self.waiting.push_back(last.map(Into::into));
        }
    }

    /// The line for a change, if it is seen.
    fn change(&self, change: &Change) -> Option<String> {
        let seen = |object: &Option<Arc<Json>>| {
            object.clone().filter(|object| self.selection.has(&change.key, object))
        };
        match (seen(&change.old), seen(&change.new)) {
            (None, None) => None,
            (None, Some(new)) => Some(self.line("ADDED", &new)),
            (Some(_), Some(new)) => Some(self.line("MODIFIED", &new)),
            (Some(old), None) => {
                let mut old = (*old).clone();
                old["metadata"]["resourceVersion"] = json!(change.revision.to_string());
                Some(self.line("DELETED", &old))
            }
        }
    }

    fn line(&self, kind: &str, object: &Json) -> String {
        if self.only_metadata { written(kind, &metadata_of(object)) } else { written(kind, object) }
    }

    fn bookmark(&self) -> Json {
        let metadata = json!({"resourceVersion": self.revision.to_string(), "creationTimestamp": null});
        match self.only_metadata {
            true => metadata_of(&json!({"metadata": metadata})),
            false => {
                let (kind, api_version) = (self.resource.kind, self.resource.api_version());
                json!({"kind": kind, "apiVersion": api_version, "metadata": metadata})
            }
        }
    }

    fn too_old(&self, compacted: u64) -> String {
        let message = format!("too old resource version: {} ({compacted})", self.revision);
        written("ERROR", &Refusal::expired(message).body)
    }
}

/// An event as a line.
fn written(kind: &str, object: &Json) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// How often those who want them get bookmarks.
const BOOKMARKS: Duration = Duration::from_secs(60);

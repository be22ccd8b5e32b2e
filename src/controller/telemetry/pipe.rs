//! The way of spans to a collector.
//!
//! Invariants: whoever ends a span never waits; what there is no room for is dropped, and counted; how often it is
//! logged that something went wrong does not depend on how often it does.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::allowed::allowed;

/// What sends spans, in a task of its own.
pub struct Pipe {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Pipe {
    /// Starts sending spans with an exporter. Has to be called inside of a runtime of tokio.
    pub fn start(exporter: impl SpanExporter + 'static) -> (Self, Inlet) {
        let (sender, receiver) = mpsc::channel(ROOM);
        let (stop, stopped) = oneshot::channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let outlet = Outlet {
            exporter,
            spans: receiver,
            stopped: Some(stopped),
            dropped: Arc::clone(&dropped),
            failed: 0,
            told: None,
        };
        (Self { stop, task: tokio::spawn(outlet.run()) }, Inlet { spans: sender, dropped })
    }

    /// Sends what is there, for so long at most.
    pub async fn finish(self, limit: Duration) {
        drop(self.stop);
        let abort = self.task.abort_handle();
        if timeout(limit, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Where ended spans go in.
pub struct Inlet {
    spans: mpsc::Sender<SpanData>,
    dropped: Arc<AtomicU64>,
}

impl SpanProcessor for Inlet {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _limit: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl fmt::Debug for Inlet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inlet").finish_non_exhaustive()
    }
}

/// Where they come out.
struct Outlet<E> {
    exporter: E,
    spans: mpsc::Receiver<SpanData>,
    stopped: Option<oneshot::Receiver<()>>,
    dropped: Arc<AtomicU64>,
    failed: u64,
    told: Option<Instant>,
}

impl<E: SpanExporter> Outlet<E> {
    async fn run(mut self) {
        let mut batch = Vec::new();
        while self.fill(&mut batch).await {
            let spans: Vec<_> = mem::take(&mut batch).into_iter().map(allowed).collect();
            let count = spans.len() as u64;
            let sent = timeout(ANSWER, self.exporter.export(spans)).await;
            let sent = sent.unwrap_or(Err(OTelSdkError::Timeout(ANSWER)));
            if sent.is_err() {
                self.failed += count;
            }
            self.tell(sent.err().as_ref());
        }
    }

    /// Waits for spans, and a little longer for more. Returns whether there are any; if not, there will not be.
    async fn fill(&mut self, batch: &mut Vec<SpanData>) -> bool {
        let mut end = None;
        while batch.len() < BATCH {
            let due = async {
                match end {
                    None => std::future::pending().await,
                    Some(end) => sleep_until(end).await,
                }
            };
            let stopped = async {
                match &mut self.stopped {
                    None => std::future::pending().await,
                    // It is dropped, not sent.
                    Some(stopped) => stopped.await.unwrap_or(()),
                }
            };
            tokio::select! {
                count = self.spans.recv_many(batch, BATCH - batch.len()) => match count {
                    0 => break,
                    _ => end = end.or_else(|| Some(Instant::now() + INTERVAL)),
                },
                () = due => break,
                () = stopped => {
                    self.spans.close();
                    self.stopped = None;
                }
            }
        }
        !batch.is_empty()
    }

    /// Logs what went wrong, unless that was done a little while ago.
    fn tell(&mut self, error: Option<&OTelSdkError>) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let is_due = self.told.is_none_or(|told| told.elapsed() >= QUIET);
        if (self.failed == 0 && dropped == 0) || !is_due {
            return;
        }
        let error = error.map_or_else(|| "they came too fast".to_owned(), without_addresses);
        tracing::warn!(failed = self.failed, dropped, error, "Spans were not sent");
        self.dropped.fetch_sub(dropped, Ordering::Relaxed);
        self.failed = 0;
        self.told = Some(Instant::now());
    }
}

/// Returns what an error says, without addresses: those may have a password.
fn without_addresses(error: &OTelSdkError) -> String {
    let text = error.to_string();
    let words = text.split_whitespace().map(|word| if word.contains("://") { "…" } else { word });
    words.take(WORDS).collect::<Vec<_>>().join(" ")
}

/// How many spans may wait.
const ROOM: usize = 2048;

/// How many are sent at once.
const BATCH: usize = 512;

/// For how long a span waits for others.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a collector may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long nothing is said after something was.
const QUIET: Duration = Duration::from_secs(300);

/// How many words of an error are logged.
const WORDS: usize = 40;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::info_span;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::controller::telemetry::traces;

    /// What a collector does.
    #[derive(Clone, Copy, Debug)]
    enum Does {
        Hang,
        Refuse,
        Take,
    }

    #[derive(Clone, Debug)]
    struct Collector {
        does: Does,
        /// How many came when, in seconds.
        batches: Arc<Mutex<Vec<(usize, u64)>>>,
        start: Instant,
    }

    impl Collector {
        fn new(does: Does) -> Self {
            Self { does, batches: Arc::default(), start: Instant::now() }
        }

        fn batches(&self) -> Vec<(usize, u64)> {
            self.batches.lock().expect("nothing failed").clone()
        }
    }

    impl SpanExporter for Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let seconds = self.start.elapsed().as_secs();
            self.batches.lock().expect("nothing failed").push((batch.len(), seconds));
            match self.does {
                Does::Hang => std::future::pending().await,
                Does::Refuse => Err(OTelSdkError::InternalFailure("at http://a:b@c: no".to_owned())),
                Does::Take => Ok(()),
            }
        }
    }

    /// Starts a pipe, and returns how to end so many spans.
    fn start(collector: &Collector) -> (Pipe, Arc<AtomicU64>, impl Fn(usize)) {
        let (pipe, inlet) = Pipe::start(collector.clone());
        let dropped = Arc::clone(&inlet.dropped);
        let provider = SdkTracerProvider::builder().with_span_processor(inlet).build();
        let subscriber = Arc::new(Registry::default().with(traces::layer(&provider)));
        let end = move |count| {
            let _provider = &provider;
            tracing::subscriber::with_default(Arc::clone(&subscriber), || {
                (0..count).for_each(|_| drop(info_span!("work")));
            });
        };
        (pipe, dropped, end)
    }

    #[tokio::test(start_paused = true)]
    async fn spans_wait_for_others_but_not_for_long() {
        let collector = Collector::new(Does::Take);
        let (pipe, _, end) = start(&collector);
        tokio::time::sleep(Duration::from_secs(10)).await;
        end(3);
        tokio::time::sleep(Duration::from_secs(2)).await;
        end(4);
        tokio::time::sleep(Duration::from_secs(60)).await;
        end(BATCH + 1);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(collector.batches(), [(7, 15), (BATCH, 72), (1, 77)]);
        pipe.finish(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_at_the_end_is_sent_at_once() {
        let collector = Collector::new(Does::Take);
        let (pipe, dropped, end) = start(&collector);
        end(BATCH + 2);
        pipe.finish(Duration::from_secs(1)).await;
        assert_eq!(collector.batches(), [(BATCH, 0), (2, 0)]);
        end(1);
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_collector_that_hangs() {
        let collector = Collector::new(Does::Hang);
        let (pipe, dropped, end) = start(&collector);
        end(ROOM + 5);
        assert_eq!(dropped.load(Ordering::Relaxed), 5);
        pipe.finish(Duration::from_secs(1)).await;
        assert_eq!(collector.start.elapsed(), Duration::from_secs(1));
        assert_eq!(collector.batches(), [(BATCH, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_refuses_is_told_of_once_in_a_while() {
        let collector = Collector::new(Does::Refuse);
        let (_, receiver) = mpsc::channel(1);
        let mut outlet = Outlet {
            exporter: collector,
            spans: receiver,
            stopped: None,
            dropped: Arc::default(),
            failed: 0,
            told: None,
        };
        let error = OTelSdkError::InternalFailure("no".to_owned());
        let mut left = Vec::new();
        for _ in 0..4 {
            outlet.failed += 10;
            outlet.tell(Some(&error));
            left.push(outlet.failed);
            tokio::time::sleep(QUIET / 2).await;
        }
        assert_eq!(left, [0, 10, 0, 10]);
    }

    #[test]
    fn errors_show_no_addresses() {
        let error = OTelSdkError::InternalFailure("sending to http://a:hush@b failed".to_owned());
        let text = without_addresses(&error);
        assert!(text.ends_with("sending to … failed") && !text.contains("hush"), "{text}");
    }
}

//! Logs and traces.
//!
//! ```text
//! event ─► log layer ─► line ─► stdout, stderr
//! span  ─► trace layer ─► sampler ─► pipe ─► allowed fields ─► collector
//! ```
//!
//! Invariants: a line of the log is one line, whatever its values are; of other crates only warnings are logged, and
//! none that quote what they were sent; what leaves as a trace has names and attributes from a list; nothing waits for
//! a collector.

mod allowed;
mod line;
mod log_layer;
mod origin;
mod pipe;
mod traces;

use std::io;
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use time::OffsetDateTime;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use log_layer::{LogLayer, Outputs};
use pipe::Pipe;

pub use traces::{TraceError, TraceSettings};

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// An object of JSON.
    Json,
    /// `key=value`, as the package slog of Go writes it.
    #[default]
    Text,
}

/// What is logged, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether what is no warning goes to stdout; else all goes to stderr.
    pub info_to_stdout: bool,
    /// What is less than this is not logged.
    pub level: tracing::Level,
    /// What a line looks like.
    pub format: LogFormat,
}

/// Why there are no logs and traces.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// Somebody else logs in this process.
    #[error("the log was started before")]
    Started,
    /// Traces cannot be sent.
    #[error("traces cannot be sent")]
    Traces(#[source] TraceError),
}

/// Logs and traces that were started.
#[must_use = "what is not sent yet is lost without a call of finish"]
pub struct Telemetry {
    traces: Option<(Pipe, SdkTracerProvider)>,
}

impl Telemetry {
    /// Starts the log of this process and, if there are settings for them, its traces. With traces it has to be
    /// called inside of a runtime of tokio.
    ///
    /// # Errors
    /// If there is a log already, or traces cannot be sent as the settings say.
    pub fn start(log: &LogSettings, traces: Option<&TraceSettings>) -> Result<Self, TelemetryError> {
        let traces = traces.map(traces::start).transpose().map_err(TelemetryError::Traces)?;
        let outputs = match log.info_to_stdout {
            true => Outputs::new(io::stdout(), io::stderr()),
            false => Outputs::new(io::stderr(), io::stderr()),
        };
        let provider = traces.as_ref().map(|(_, provider)| provider);
        let subscriber = subscriber(log, outputs, OffsetDateTime::now_utc, provider);
        tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Started)?;
        Ok(Self { traces })
    }

    /// Sends what is not sent yet, if that does not take long.
    pub async fn finish(self) {
        if let Some((pipe, _provider)) = self.traces {
            pipe.finish(FINISH).await;
        }
    }
}

/// Returns what writes the log, and makes traces if there is somebody to take them.
fn subscriber(
    log: &LogSettings,
    outputs: Outputs,
    clock: fn() -> OffsetDateTime,
    provider: Option<&SdkTracerProvider>,
) -> impl Subscriber + Send + Sync + 'static {
    let lines = LogLayer::new(log.format, outputs, clock).with_filter(origin::logged(log.level));
    Registry::default().with(lines).with(provider.map(traces::layer))
}

/// How long the end of the program waits for a collector.
const FINISH: Duration = Duration::from_secs(5);

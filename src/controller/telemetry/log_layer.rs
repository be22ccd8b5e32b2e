//! What turns events into lines of the log.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use super::line::Fields;

/// Where lines go.
pub struct Outputs {
    rest: Mutex<Box<dyn Write + Send>>,
    warnings: Mutex<Box<dyn Write + Send>>,
}

impl Outputs {
    /// Returns where lines go: warnings and errors here, and all else there.
    pub fn new(rest: impl Write + Send + 'static, warnings: impl Write + Send + 'static) -> Self {
        Self { rest: Mutex::new(Box::new(rest)), warnings: Mutex::new(Box::new(warnings)) }
    }

    fn write(&self, level: Level, line: &str) {
        let output = if level <= Level::WARN { &self.warnings } else { &self.rest };
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        // Where a log cannot be written, nobody can be told of it.
        output.write_all(line.as_bytes()).and_then(|()| output.flush()).unwrap_or(());
    }
}

/// Writes events, with the fields of the spans around them.
pub struct LogLayer {
    format: LogFormat,
    outputs: Outputs,
    clock: fn() -> OffsetDateTime,
}

impl LogLayer {
    /// Returns a layer that writes there.
    #[must_use]
    pub fn new(format: LogFormat, outputs: Outputs, clock: fn() -> OffsetDateTime) -> Self {
        Self { format, outputs, clock }
    }
}

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span.clone());
            }
        }
        let mut of_event = Fields::default();
        event.record(&mut of_event);
        fields.extend(of_event);
        let level = *event.metadata().level();
        self.outputs.write(level, &fields.line(self.format, (self.clock)(), level));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::{debug, error, info, info_span, warn};

    use super::*;
    use crate::controller::telemetry::{LogSettings, subscriber};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nothing failed").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns what goes where when this is done.
    fn logged(format: LogFormat, level: Level, work: impl FnOnce()) -> (String, String) {
        logged_beside(None, format, level, work)
    }

    fn logged_beside(
        provider: Option<&SdkTracerProvider>,
        format: LogFormat,
        level: Level,
        work: impl FnOnce(),
    ) -> (String, String) {
        let (rest, warnings) = (Memory::default(), Memory::default());
        let settings = LogSettings { info_to_stdout: true, level, format };
        let outputs = Outputs::new(rest.clone(), warnings.clone());
        let subscriber = subscriber(&settings, outputs, || OffsetDateTime::UNIX_EPOCH, provider);
        tracing::subscriber::with_default(subscriber, work);
        let text = |memory: Memory| {
            String::from_utf8(memory.0.lock().expect("nothing failed").clone()).expect("it is text")
        };
        (text(rest), text(warnings))
    }

    fn work() {
        let span = info_span!("reconcile", namespace = "a", name = "b", attempt = tracing::field::Empty);
        let _inside = span.enter();
        span.record("attempt", 2);
        info!(count = 3, ok = true, error = %"no key", "Secret written");
        warn!(name = "other", share = 0.5, "line\nbreak");
        error!(target: "hyper::proto", "broken");
        info!(target: "hyper::proto", "chatty");
        warn!(target: "kube_client::client", "{{\"password\":\"hush\"}}");
        debug!("detail");
    }

    #[test]
    fn text_is_that_of_slog() {
        let (rest, warnings) = logged(LogFormat::Text, Level::INFO, work);
        assert_eq!(
            rest,
            "time=1970-01-01T00:00:00.000Z level=INFO msg=\"Secret written\" namespace=a name=b attempt=2 count=3 \
             ok=true error=\"no key\"\n"
        );
        assert_eq!(
            warnings,
            "time=1970-01-01T00:00:00.000Z level=WARN msg=\"line\\nbreak\" namespace=a name=other attempt=2 \
             share=0.5\n\
             time=1970-01-01T00:00:00.000Z level=ERROR msg=broken namespace=a name=b attempt=2\n"
        );
    }

    #[test]
    fn json_is_that_of_slog() {
        let (rest, _) = logged(LogFormat::Json, Level::INFO, work);
        assert_eq!(
            rest,
            "{\"time\":\"1970-01-01T00:00:00Z\",\"level\":\"INFO\",\"msg\":\"Secret written\",\"namespace\":\"a\",\
             \"name\":\"b\",\"attempt\":2,\"count\":3,\"ok\":true,\"error\":\"no key\"}\n"
        );
    }

    #[test]
    fn the_level_tells_what_is_logged() {
        let (rest, _) = logged(LogFormat::Text, Level::DEBUG, work);
        assert!(rest.contains("level=DEBUG msg=detail"), "{rest}");
        let (rest, warnings) = logged(LogFormat::Text, Level::ERROR, work);
        assert_eq!((rest.as_str(), warnings.lines().count()), ("", 1));
    }

    #[test]
    fn others_only_warn_and_quote_nothing() {
        let (rest, warnings) = logged(LogFormat::Text, Level::DEBUG, work);
        assert!(warnings.contains("broken") && !rest.contains("chatty") && !warnings.contains("hush"));
    }

    #[test]
    fn traces_change_nothing_about_the_log() {
        let provider = SdkTracerProvider::builder().build();
        for level in [Level::DEBUG, Level::INFO, Level::ERROR] {
            let beside = logged_beside(Some(&provider), LogFormat::Text, level, work);
            assert_eq!(beside, logged(LogFormat::Text, level, work));
        }
    }
}

//! What of a span may leave the cluster.
//!
//! Invariant: names, and values of fields that are on the list; nothing that was put together while the program ran.

use std::borrow::Cow;

use opentelemetry::trace::Status;
use opentelemetry::{KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::line::beginning;

/// Returns what of a span may leave.
pub fn allowed(mut span: SpanData) -> SpanData {
    // A name that is owned is none of those in the source.
    if let Cow::Owned(_) = span.name {
        span.name = Cow::Borrowed("span");
    }
    span.attributes.retain(|attribute| FIELDS.contains(&attribute.key.as_str()));
    span.attributes.iter_mut().for_each(shorten);
    span.events = SpanEvents::default();
    span.links = SpanLinks::default();
    if let Status::Error { description } = &mut span.status {
        *description = Cow::Borrowed("");
    }
    span
}

fn shorten(attribute: &mut KeyValue) {
    if let Value::String(text) = &attribute.value {
        let short = beginning(text.as_str(), LONGEST).to_owned();
        attribute.value = Value::String(StringValue::from(short));
    }
}

/// The fields that may leave: words from closed sets, numbers, and names of objects. No other field is on a span of ours.
const FIELDS: [&str; 6] = ["attempts", "kind", "name", "namespace", "path", "status"];

/// How long a value may be, as names of objects are.
const LONGEST: usize = 253;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use opentelemetry::Context;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanProcessor};
    use tracing::{error, info_span};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::controller::telemetry::traces;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _span: &mut Span, _context: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().expect("nothing failed").push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _limit: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// Returns the spans of some work, before anything is taken out of them.
    fn spans(work: impl FnOnce()) -> Vec<SpanData> {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_span_processor(kept.clone()).build();
        let subscriber = Registry::default().with(traces::layer(&provider));
        tracing::subscriber::with_default(subscriber, work);
        let spans = kept.0.lock().expect("nothing failed");
        spans.clone()
    }

    fn keys(span: &SpanData) -> Vec<&str> {
        span.attributes.iter().map(|attribute| attribute.key.as_str()).collect()
    }

    #[test]
    fn only_fields_of_the_list_leave() {
        let spans = spans(|| {
            let span = info_span!("open", namespace = "a", password = "hush", attempts = 2, error = "hush");
            let _inside = span.enter();
            error!(error = "hush", "hush");
        });
        let all = format!("{spans:?}");
        let left: Vec<_> = spans.into_iter().map(allowed).collect();
        assert!(all.contains("hush") && !format!("{left:?}").contains("hush"));
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].name.as_ref(), keys(&left[0])), ("open", vec!["namespace", "attempts"]));
    }

    #[test]
    fn names_that_were_put_together_do_not_leave() {
        let name = format!("{}{}", "hu", "sh");
        let spans = spans(|| {
            drop(info_span!(
                "open",
                otel.name = name,
                otel.status_code = "ERROR",
                otel.status_description = name
            ));
        });
        let left: Vec<_> = spans.into_iter().map(allowed).collect();
        assert_eq!((left.len(), left[0].name.as_ref()), (1, "span"));
        assert!(!format!("{left:?}").contains("hush"), "{left:?}");
    }

    #[test]
    fn values_have_an_end() {
        let spans = spans(|| drop(info_span!("open", name = "ü".repeat(300))));
        let left: Vec<_> = spans.into_iter().map(allowed).collect();
        assert_eq!(left[0].attributes[0].value.as_str().len(), 252);
    }

    #[test]
    fn spans_of_others_and_details_are_no_part_of_traces() {
        let spans = spans(|| {
            drop(info_span!(target: "hyper::proto", "request"));
            drop(tracing::debug_span!("detail"));
            drop(info_span!("open"));
        });
        assert_eq!(spans.iter().map(|span| span.name.as_ref()).collect::<Vec<_>>(), ["open"]);
    }
}

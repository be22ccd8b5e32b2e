//! Where traces go, and which: what the variables of OpenTelemetry say.

use std::collections::BTreeMap;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanExporter as _};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::origin;
use super::pipe::Pipe;

/// Why traces cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The collector cannot be reached as the variables say.
    #[error("the variables OTEL_EXPORTER_OTLP_* cannot be followed")]
    Exporter,
    /// A variable has a value that it cannot have.
    #[error("the variable {name} must be {expected}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What it can have.
        expected: &'static str,
    },
}

/// Where traces go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    endpoint: String,
    protocol: Protocol,
    sampling: Sampling,
    resource: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

/// Which of the traces that begin here are sent. None begins elsewhere, so that what depends on the beginning does
/// not differ from what does not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sampling {
    All,
    Nothing,
    Part(f64),
}

impl TraceSettings {
    /// Returns what variables say; `None` if they name no collector, or say that there is none.
    ///
    /// # Errors
    /// If a variable has a value that it cannot have.
    pub fn of(environment: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TraceError> {
        let variable = |name: &str| environment(name).filter(|text| !text.trim().is_empty());
        if variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match variable("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => return Err(wrong("OTEL_TRACES_EXPORTER", "otlp or none")),
        }
        let of_traces = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let of_all = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let Some(endpoint) = of_traces.clone().or(of_all) else { return Ok(None) };
        let protocol = protocol(&variable)?;
        let endpoint = match (protocol, of_traces) {
            (Protocol::Http, None) => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            _ => endpoint,
        };
        if protocol == Protocol::Grpc && endpoint.starts_with("https:") {
            return Err(wrong("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf for an address with https"));
        }
        Ok(Some(Self { endpoint, protocol, sampling: sampling(&variable)?, resource: resource(&variable)? }))
    }
}

/// Starts sending spans. Has to be called inside of a runtime of tokio.
///
/// # Errors
/// If the variables cannot be followed.
pub fn start(settings: &TraceSettings) -> Result<(Pipe, SdkTracerProvider), TraceError> {
    // What headers there are, and how long an answer may take, the exporter reads from the environment itself.
    let endpoint = settings.endpoint.clone();
    let exporter = match settings.protocol {
        Protocol::Grpc => SpanExporter::builder().with_tonic().with_endpoint(endpoint).build(),
        Protocol::Http => {
            set_up_tls();
            let builder = SpanExporter::builder().with_http().with_endpoint(endpoint);
            builder.with_protocol(opentelemetry_otlp::Protocol::HttpBinary).build()
        }
    };
    // What is wrong with them could quote a header.
    let mut exporter = exporter.map_err(|_| TraceError::Exporter)?;
    let attributes = settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let resource = Resource::builder_empty().with_attributes(attributes).build();
    exporter.set_resource(&resource);
    let (pipe, inlet) = Pipe::start(exporter);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(settings.sampling.sampler())
        .with_span_processor(inlet)
        .build();
    Ok((pipe, provider))
}

/// Returns what makes spans of OpenTelemetry of those of this program.
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SERVICE))
        .with_context_activation(false)
        .with_error_events_to_exceptions(false)
        .with_error_events_to_status(false)
        .with_error_fields_to_exceptions(false)
        .with_error_records_to_exceptions(false)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(origin::traced())
}

impl Sampling {
    fn sampler(self) -> Sampler {
        Sampler::ParentBased(Box::new(match self {
            Self::All => Sampler::AlwaysOn,
            Self::Nothing => Sampler::AlwaysOff,
            Self::Part(ratio) => Sampler::TraceIdRatioBased(ratio),
        }))
    }
}

fn protocol(variable: &impl Fn(&str) -> Option<String>) -> Result<Protocol, TraceError> {
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match variable(name).as_deref() {
            None => {}
            Some("grpc") => return Ok(Protocol::Grpc),
            Some("http/protobuf") => return Ok(Protocol::Http),
            Some(_) => return Err(wrong(name, "grpc or http/protobuf")),
        }
    }
    Ok(Protocol::Http)
}

fn sampling(variable: &impl Fn(&str) -> Option<String>) -> Result<Sampling, TraceError> {
    let ratio = || match variable("OTEL_TRACES_SAMPLER_ARG").map(|text| text.trim().parse::<f64>()) {
        None => Ok(Sampling::Part(1.0)),
        Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(Sampling::Part(ratio)),
        Some(_) => Err(wrong("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1")),
    };
    match variable("OTEL_TRACES_SAMPLER").as_deref() {
        None | Some("always_on" | "parentbased_always_on") => Ok(Sampling::All),
        Some("always_off" | "parentbased_always_off") => Ok(Sampling::Nothing),
        Some("traceidratio" | "parentbased_traceidratio") => ratio(),
        Some(_) => {
            let expected = "always_on, always_off or traceidratio, with or without parentbased_";
            Err(wrong("OTEL_TRACES_SAMPLER", expected))
        }
    }
}

/// Returns what is told of this program: its name and version, and what else the variables say.
fn resource(variable: &impl Fn(&str) -> Option<String>) -> Result<BTreeMap<String, String>, TraceError> {
    let mut resource = BTreeMap::new();
    resource.insert("service.name".to_owned(), SERVICE.to_owned());
    resource.insert("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    for entry in attributes.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let pair = entry.split_once('=').filter(|(key, _)| !key.trim().is_empty());
        let (key, value) = pair.ok_or_else(|| wrong("OTEL_RESOURCE_ATTRIBUTES", "key=value,…"))?;
        resource.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    if let Some(name) = variable("OTEL_SERVICE_NAME") {
        resource.insert("service.name".to_owned(), name);
    }
    Ok(resource)
}

fn wrong(name: &'static str, expected: &'static str) -> TraceError {
    TraceError::Variable { name, expected }
}

/// Sets up TLS for the client of the exporter, as that of Kubernetes does for itself.
fn set_up_tls() {
    let config = kube::Config::new(http::Uri::from_static("http://localhost"));
    // It is never used, so that it does not matter whether it could be.
    drop(kube::client::ClientBuilder::try_from(config));
}

/// What traces call this program.
const SERVICE: &str = "selkie-controller";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, TraceError> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        TraceSettings::of(|name| variables.get(name).map(|text| (*text).to_owned()))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");

    #[test]
    fn there_are_no_traces_without_a_collector() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
        assert_eq!(of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]), Ok(None));
        assert_eq!(of(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    }

    #[test]
    fn the_collector_is_the_one_for_traces() {
        let found = |variables: &[_]| {
            let settings = of(variables).expect("they can be followed").expect("there is one");
            (settings.endpoint, settings.protocol)
        };
        assert_eq!(found(&[ENDPOINT]), ("http://c:4318/v1/traces".to_owned(), Protocol::Http));
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t/x");
        assert_eq!(found(&[ENDPOINT, traces]), ("https://t/x".to_owned(), Protocol::Http));
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(found(&[ENDPOINT, grpc]), ("http://c:4318/".to_owned(), Protocol::Grpc));
        let http = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert_eq!(found(&[ENDPOINT, grpc, http]).1, Protocol::Http);
        let error = of(&[traces, grpc]).expect_err("there is no TLS for it");
        assert!(error.to_string().contains("http/protobuf"), "{error}");
    }

    #[test]
    fn the_sampler_is_that_of_the_variable() {
        let found = |sampler, argument| {
            let sampler = ("OTEL_TRACES_SAMPLER", sampler);
            let settings = of(&[ENDPOINT, sampler, ("OTEL_TRACES_SAMPLER_ARG", argument)])?;
            Ok::<_, TraceError>(settings.map(|settings| settings.sampling))
        };
        assert_eq!(found("", ""), Ok(Some(Sampling::All)));
        assert_eq!(found("parentbased_always_off", ""), Ok(Some(Sampling::Nothing)));
        assert_eq!(found("traceidratio", "0.25"), Ok(Some(Sampling::Part(0.25))));
        assert_eq!(found("parentbased_traceidratio", ""), Ok(Some(Sampling::Part(1.0))));
        for (sampler, argument, name) in [
            ("traceidratio", "2", "OTEL_TRACES_SAMPLER_ARG"),
            ("traceidratio", "NaN", "OTEL_TRACES_SAMPLER_ARG"),
            ("jaeger_remote", "", "OTEL_TRACES_SAMPLER"),
        ] {
            let error = found(sampler, argument).expect_err("it cannot be followed");
            assert!(matches!(error, TraceError::Variable { name: found, .. } if found == name), "{error}");
        }
    }

    #[test]
    fn what_is_told_of_this_program_are_its_name_and_what_variables_say() {
        let found = |variables: &[_]| {
            let settings = of(variables).expect("they can be followed").expect("there is one");
            let resource = settings.resource.into_iter();
            resource.filter(|(key, _)| key != "service.version").collect::<Vec<_>>()
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=c");
        assert_eq!(found(&[ENDPOINT]), [pair("service.name", SERVICE)]);
        assert_eq!(found(&[ENDPOINT, attributes]), [pair("a", "b"), pair("service.name", "c")]);
        assert_eq!(
            found(&[ENDPOINT, attributes, ("OTEL_SERVICE_NAME", "d")]),
            [pair("a", "b"), pair("service.name", "d")]
        );
        assert!(of(&[ENDPOINT, ("OTEL_RESOURCE_ATTRIBUTES", "a")]).is_err());
    }

    fn has(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Reads until there are the names of the program and of a span.
    async fn read(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !has(&bytes, SERVICE) || !has(&bytes, "reconcile") {
            assert!(stream.read_buf(&mut bytes).await.expect("it can be read") > 0, "it ended");
        }
        bytes
    }

    /// Sends a span, and returns what a collector reads.
    async fn sent(protocol: &str, path: &str) -> Vec<u8> {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = format!("http://{}{path}", server.local_addr().expect("it is known"));
        let variables = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", address.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ];
        let settings = of(&variables).expect("they can be followed").expect("there is a collector");
        let (pipe, provider) = start(&settings).expect("it can be started");
        tracing::subscriber::with_default(Registry::default().with(layer(&provider)), || {
            drop(tracing::info_span!("reconcile", namespace = "team-a", password = "hush"));
        });
        let read = async {
            let (mut stream, _) = server.accept().await.expect("it comes");
            let bytes = read(&mut stream).await;
            // If it is not what is to be answered, the connection ends all the same.
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap_or(());
            bytes
        };
        futures_util::future::join(pipe.finish(Duration::from_secs(20)), read).await.1
    }

    #[tokio::test]
    async fn spans_are_sent_over_http() {
        let bytes = sent("http/protobuf", "/v1/traces").await;
        assert!(bytes.starts_with(b"POST /v1/traces HTTP/1.1"));
        assert!(has(&bytes, "team-a") && !has(&bytes, "hush") && !has(&bytes, "password"));
    }

    #[tokio::test]
    async fn spans_are_sent_over_grpc() {
        let bytes = sent("grpc", "").await;
        assert!(bytes.starts_with(b"PRI * HTTP/2.0"));
        assert!(has(&bytes, "team-a") && !has(&bytes, "hush") && !has(&bytes, "password"));
    }
}

//! What Prometheus is told: the metrics of the controller of Sealed Secrets under their names, and our own.
//!
//! Invariants: a label is a word of ours, or the name of a namespace, of which there are only so many, or, as long as
//! an object is there, its name; nothing of a Secret is in any.

mod exposition;
mod isindir;
mod keys;
mod label;
mod objects;
mod process;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use selkie::sealed::KIND;

use super::key_set::KeySet;
use super::reason::Reason;
use super::sops::ISINDIR_GROUP;
use isindir::Isindir;
use keys::Keys;
use label::{Cap, Labels};
use objects::{Object, Objects};

pub use exposition::Exposition;

/// The metrics of a controller.
pub struct Metrics {
    registry: Registry,
    kinds: Cap,
    namespaces: Cap,
    objects: Arc<Objects>,
    keys: Arc<Keys>,
    unseal_requests: Counter,
    unseal_errors: Family<Labels<2>, Counter>,
    http_requests: Family<Labels<3>, Counter>,
    http_duration: Histograms<2>,
    attempts: Family<Labels<1>, Counter>,
    failures: Family<Labels<2>, Counter>,
    writes: Family<Labels<2>, Counter>,
    skipped: Family<Labels<1>, Counter>,
    duration: Histograms<1>,
    queue_depth: Family<Labels<1>, Gauge>,
    queue_known: Family<Labels<1>, Gauge>,
    is_leader: Gauge,
    members: Gauge,
    events_dropped: Counter,
    api_requests: Family<Labels<2>, Counter>,
    isindir: Isindir,
}

/// What was done to a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Written {
    /// It was taken over.
    Adopted,
    /// It was made.
    Created,
    /// It was deleted.
    Deleted,
    /// It was as it should be.
    Unchanged,
    /// It was changed.
    Updated,
}

impl Metrics {
    /// Returns metrics that say nothing yet, and will name single objects.
    #[must_use]
    pub fn new() -> Self {
        Self::with_objects(true)
    }

    /// Returns metrics that say nothing yet. Whether they will name single objects is up to the caller.
    #[must_use]
    pub fn with_objects(are_named: bool) -> Self {
        let mut registry = Registry::default();
        let to = &mut registry;
        let build: Family<Labels<1>, Gauge> =
            described(to, "sealed_secrets_controller_build_info", "Build information");
        build.get_or_create(&[("revision", format!("v{}", env!("CARGO_PKG_VERSION")))]).set(0);
        let metrics = Self {
            kinds: Cap::new(MAX_KINDS),
            namespaces: Cap::new(MAX_NAMESPACES),
            objects: Arc::new(Objects::new(are_named)),
            keys: Arc::default(),
            unseal_requests: described(
                to,
                "sealed_secrets_controller_unseal_requests",
                "Total number of sealed secret unseal requests",
            ),
            unseal_errors: described(
                to,
                "sealed_secrets_controller_unseal_errors",
                "Total number of sealed secret unseal errors by reason",
            ),
            http_requests: described(
                to,
                "sealed_secrets_controller_http_requests",
                "A counter for requests to the wrapped handler",
            ),
            http_duration: histograms(
                to,
                "sealed_secrets_controller_http_request_duration_seconds",
                "A histogram of latencies for requests",
            ),
            attempts: described(to, "selkie_attempts", "Attempts at reconciling an object"),
            failures: described(to, "selkie_failures", "Attempts at reconciling an object that failed"),
            writes: described(to, "selkie_secret_writes", "What was done to Secrets"),
            skipped: described(
                to,
                "selkie_skipped",
                "Objects that had not changed since they were last reconciled",
            ),
            duration: histograms(
                to,
                "selkie_reconcile_duration_seconds",
                "How long it took to reconcile an object",
            ),
            queue_depth: described(to, "selkie_queue_depth", "Objects that wait to be reconciled"),
            queue_known: described(to, "selkie_queue_objects", "Objects that are known"),
            is_leader: described(to, "selkie_is_leader", "Whether this replica makes sealing keys"),
            members: described(to, "selkie_members", "Replicas that live, as far as this one knows"),
            events_dropped: described(to, "selkie_events_dropped", "Events that could not be sent in time"),
            api_requests: described(to, "selkie_api_requests", "Requests to the API server"),
            isindir: Isindir::new(to),
            registry,
        };
        metrics.collecting()
    }

    /// Counts an attempt at an object.
    pub fn attempt(&self, kind: &str) {
        if kind == KIND {
            self.unseal_requests.inc();
        }
        self.attempts.get_or_create(&[self.kind(kind)]).inc();
    }

    /// Counts an attempt that failed.
    pub fn failed(&self, kind: &str, namespace: &str, reason: Reason) {
        if let Some(word) = reason.error_label().filter(|_| kind == KIND) {
            let namespace = self.namespaces.value(namespace);
            self.unseal_errors.get_or_create(&[("reason", word.to_owned()), ("namespace", namespace)]).inc();
        }
        self.failures.get_or_create(&[self.kind(kind), ("reason", reason.word().to_owned())]).inc();
    }

    /// Counts an attempt that came to an end, at an object of a group of the API.
    pub fn ended(&self, group: &str, reason: Reason) {
        if group == ISINDIR_GROUP {
            self.isindir.count(reason);
        }
    }

    /// Notes the state of an object; `instance` is its label `app.kubernetes.io/instance`.
    pub fn state(&self, kind: &str, namespace: &str, name: &str, instance: &str, reason: Reason) {
        self.objects.set(self.object(kind, namespace, name), instance, reason);
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, kind: &str, namespace: &str, name: &str) {
        self.objects.remove(&self.object(kind, namespace, name));
    }

    /// Counts what was done to a Secret.
    pub fn wrote(&self, kind: &str, written: Written) {
        self.writes.get_or_create(&[self.kind(kind), ("op", written.word().to_owned())]).inc();
    }

    /// Notes how many objects wait, and how many are known.
    pub fn queue(&self, kind: &str, waiting: usize, known: usize) {
        self.queue_depth.get_or_create(&[self.kind(kind)]).set(count(waiting));
        self.queue_known.get_or_create(&[self.kind(kind)]).set(count(known));
    }

    /// Counts objects that were left alone at the start, because nothing had changed since they were last reconciled.
    pub fn skipped(&self, kind: &str) {
        self.skipped.get_or_create(&[self.kind(kind)]).inc();
    }

    /// Notes how long an attempt at an object took.
    pub fn reconciled(&self, kind: &str, took: Duration) {
        self.duration.get_or_create(&[self.kind(kind)]).observe(took.as_secs_f64());
    }

    /// Notes the sealing keys of the moment.
    pub fn keys(&self, keys: &KeySet) {
        self.keys.set(keys);
    }

    /// Notes whether this replica is the leader.
    pub fn leader(&self, is_leader: bool) {
        self.is_leader.set(i64::from(is_leader));
    }

    /// Notes how many replicas live.
    pub fn members(&self, members: usize) {
        self.members.set(count(members));
    }

    /// Counts an event that was left out.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Counts a request to the API server; no code if there was no answer.
    pub fn api_request(&self, verb: &str, code: Option<u16>) {
        let labels = [("verb", label::verb(verb).to_owned()), ("code", label::code(code))];
        self.api_requests.get_or_create(&labels).inc();
    }

    /// Counts a request that was answered.
    pub fn http_request(&self, path: &str, method: &str, code: u16, took: Duration) {
        let path = ("path", label::path(path).to_owned());
        let method = ("method", label::method(method).to_owned());
        let code = ("code", label::code(Some(code)));
        self.http_duration.get_or_create(&[path.clone(), method.clone()]).observe(took.as_secs_f64());
        self.http_requests.get_or_create(&[path, code, method]).inc();
    }

    /// Returns all of it, written down.
    #[must_use]
    pub fn write(&self, form: Exposition) -> String {
        form.write(&self.registry)
    }

    /// Adds what is counted only when somebody asks.
    fn collecting(mut self) -> Self {
        self.registry.register_collector(Box::new(Arc::clone(&self.objects)));
        self.registry.register_collector(Box::new(Arc::clone(&self.keys)));
        self.registry.register_collector(Box::new(process::Process));
        self
    }

    fn kind(&self, kind: &str) -> (&'static str, String) {
        ("kind", self.kinds.value(kind))
    }

    fn object(&self, kind: &str, namespace: &str, name: &str) -> Object {
        Object { kind: self.kinds.value(kind), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Written {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Adopted => "adopt",
            Self::Created => "create",
            Self::Deleted => "delete",
            Self::Unchanged => "noop",
            Self::Updated => "update",
        }
    }
}

/// Histograms, one for every set of labels.
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Registers a metric.
fn described<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn histograms<const N: usize>(registry: &mut Registry, name: &str, help: &str) -> Histograms<N> {
    let family = Histograms::new_with_constructor(|| Histogram::new(BUCKETS));
    registry.register(name, help, family.clone());
    family
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The limits of buckets that Prometheus' library for Go has when it is told none, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How many kinds are told apart: more than there are sources.
const MAX_KINDS: usize = 16;
/// How many namespaces are told apart in metrics that stay when a namespace goes.
const MAX_NAMESPACES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        metrics.write(Exposition::Text)
    }

    #[test]
    fn the_metrics_of_sealed_secrets_have_their_names() {
        let metrics = Metrics::new();
        assert!(!text(&metrics).contains("unseal_errors_total{"), "no error yet");
        metrics.attempt(KIND);
        metrics.failed(KIND, "shop", Reason::Unmanaged);
        metrics.http_request("/v1/verify", "POST", 409, Duration::from_millis(7));
        let text = text(&metrics);
        for line in [
            "# TYPE sealed_secrets_controller_build_info gauge",
            "# TYPE sealed_secrets_controller_unseal_requests_total counter",
            "sealed_secrets_controller_unseal_requests_total 1",
            "sealed_secrets_controller_unseal_errors_total{reason=\"unmanaged\",namespace=\"shop\"} 1",
            "sealed_secrets_controller_http_requests_total{path=\"/v1/verify\",code=\"409\",method=\"post\"} 1",
            "sealed_secrets_controller_http_request_duration_seconds_bucket{le=\"0.005\",path=\"/v1/verify\",method=\"post\"} 0",
            "sealed_secrets_controller_http_request_duration_seconds_bucket{le=\"10\",path=\"/v1/verify\",method=\"post\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("# EOF"));
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(metrics.write(Exposition::OpenMetrics).ends_with("# EOF\n"));
    }

    #[test]
    fn what_sops_secrets_operator_counts_is_counted_for_its_objects_alone() {
        let metrics = Metrics::new();
        let (ready, failed) = (Reason::Ready, [Reason::NoKey, Reason::Update]);
        for reason in [ready, ready, ready, Reason::Suspended].into_iter().chain(failed) {
            metrics.ended(ISINDIR_GROUP, reason);
            metrics.ended("selkie.dev", reason);
        }
        let text = text(&metrics);
        for (name, count) in [("successes", 3), ("failures", 2), ("suspends", 1)] {
            let line = format!("sopssecrets_reconcilation_{name}_total {count}\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_line_is_one_that_old_scrapers_read() {
        let metrics = Metrics::new();
        metrics.state(KIND, "shop", "db", "a \"b\" \\", Reason::Ready);
        for line in text(&metrics).lines() {
            let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
            let is_sample = line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
            assert!(is_comment || is_sample, "{line}");
        }
    }

    #[test]
    fn what_is_said_of_an_object_goes_with_it() {
        let metrics = Metrics::new();
        let condition = |value: i64| {
            format!(
                "sealed_secrets_controller_condition_info{{namespace=\"shop\",name=\"db\",condition=\"Synced\",ss_app_kubernetes_io_instance=\"app\"}} {value}\n"
            )
        };
        metrics.state(KIND, "shop", "db", "old", Reason::Unseal);
        metrics.state(KIND, "shop", "db", "app", Reason::Unseal);
        assert!(text(&metrics).contains(&condition(-1)));
        assert!(!text(&metrics).contains("\"old\""), "the label changed");
        metrics.state(KIND, "shop", "db", "app", Reason::Suspended);
        assert!(text(&metrics).contains(&condition(0)));
        metrics.state(KIND, "shop", "db", "app", Reason::Ready);
        assert!(text(&metrics).contains(&condition(1)));
        assert!(text(&metrics).contains("selkie_objects{kind=\"SealedSecret\",reason=\"Ready\"} 1\n"));
        assert!(text(&metrics).contains("selkie_objects{kind=\"SealedSecret\",reason=\"UnsealFailed\"} 0\n"));
        metrics.forget(KIND, "shop", "db");
        assert!(!text(&metrics).contains("\"db\""));
    }

    #[test]
    fn single_objects_are_named_only_if_that_is_wanted() {
        let metrics = Metrics::with_objects(false);
        metrics.state(KIND, "shop", "db", "app", Reason::Ready);
        let text = text(&metrics);
        assert!(text.contains("selkie_objects{kind=\"SealedSecret\",reason=\"Ready\"} 1\n"));
        assert!(!text.contains("\"db\""), "{text}");
    }

    #[test]
    fn namespaces_beyond_the_limit_are_one() {
        let metrics = Metrics::new();
        for number in 0..MAX_NAMESPACES + 5 {
            metrics.failed(KIND, &format!("n{number}"), Reason::Unseal);
        }
        let text = text(&metrics);
        assert!(text.contains("unseal_errors_total{reason=\"unseal\",namespace=\"other\"} 5\n"));
        assert!(text.contains("selkie_failures_total{kind=\"SealedSecret\",reason=\"UnsealFailed\"} 1005\n"));
    }
}

//! The state of every object, which is counted when Prometheus asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use selkie::sealed::KIND;

use super::Reason;

/// The objects that are known, and how they are.
///
/// Invariant: an object that was forgotten has no series any more.
#[derive(Debug)]
pub(super) struct Objects {
    /// Whether there are series of single objects.
    are_named: bool,
    known: Mutex<BTreeMap<Object, State>>,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// How an object is.
#[derive(Debug)]
struct State {
    /// Its label `app.kubernetes.io/instance`.
    instance: String,
    reason: Reason,
}

impl Objects {
    pub(super) const fn new(are_named: bool) -> Self {
        Self { are_named, known: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn set(&self, object: Object, instance: &str, reason: Reason) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(object, State { instance: instance.to_owned(), reason });
    }

    pub(super) fn remove(&self, object: &Object) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }

    /// Writes how many objects are in which state. States that no object is in are zero, so that one can tell that
    /// it has ended.
    fn encode_counts(known: &BTreeMap<Object, State>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut counts = BTreeMap::<(&str, Reason), i64>::new();
        for (Object { kind, .. }, state) in known {
            for reason in Reason::ALL {
                *counts.entry((kind, reason)).or_default() += i64::from(reason == state.reason);
            }
        }
        let help = "Objects, by kind and the reason of their condition Ready";
        let mut metric = encoder.encode_descriptor("selkie_objects", help, None, MetricType::Gauge)?;
        for ((kind, reason), count) in counts {
            let labels = [("kind", kind), ("reason", reason.word())];
            ConstGauge::new(count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes the condition of every SealedSecret, as the controller of Sealed Secrets does.
    fn encode_conditions(
        known: &BTreeMap<Object, State>,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let name = "sealed_secrets_controller_condition_info";
        let help = "Current condition of a SealedSecret: -1 for False, 0 for Unknown, 1 for True";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (object, state) in known.iter().filter(|(object, _)| object.kind == KIND) {
            let labels = [
                ("namespace", object.namespace.as_str()),
                ("name", &object.name),
                ("condition", "Synced"),
                ("ss_app_kubernetes_io_instance", &state.instance),
            ];
            let value = match state.reason {
                Reason::Ready => 1_i64,
                Reason::Suspended => 0,
                _ => -1,
            };
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes whether every object is as it should be.
    fn encode_readiness(known: &BTreeMap<Object, State>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Whether an object is as it should be";
        let mut metric = encoder.encode_descriptor("selkie_object_ready", help, None, MetricType::Gauge)?;
        for (Object { kind, namespace, name }, state) in known {
            let labels = [("kind", kind.as_str()), ("namespace", namespace), ("name", name)];
            let value = i64::from(state.reason == Reason::Ready);
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return Ok(());
        }
        Self::encode_counts(&known, &mut encoder)?;
        if self.are_named {
            Self::encode_conditions(&known, &mut encoder)?;
            Self::encode_readiness(&known, &mut encoder)?;
        }
        Ok(())
    }
}

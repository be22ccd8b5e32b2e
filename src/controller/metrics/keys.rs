//! What of the sealing keys anybody may know.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use time::OffsetDateTime;

use super::super::key_set::{KeyFacts, KeySet, KeyState};

/// The keys of the moment, whose states are found out when Prometheus asks.
#[derive(Debug, Default)]
pub(super) struct Keys(Mutex<Moment>);

#[derive(Debug, Default)]
struct Moment {
    facts: Vec<KeyFacts>,
    /// Until when the certificate is valid that new values are sealed for.
    newest: Option<OffsetDateTime>,
    generation: u64,
}

impl Keys {
    pub(super) fn set(&self, set: &KeySet) {
        let newest = set.newest().and_then(|key| key.not_after);
        let moment = Moment { facts: set.facts.clone(), newest, generation: set.generation };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }
}

/// Returns the label for what a key is used for, now; `None` if it is not one that can be read.
fn state(facts: &KeyFacts, now: OffsetDateTime) -> Option<&'static str> {
    match facts.state {
        KeyState::Broken => None,
        KeyState::Active if facts.not_after.is_some_and(|end| end < now) => Some("expired"),
        state => Some(state.word()),
    }
}

impl Collector for Keys {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let moment = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = OffsetDateTime::now_utc();
        let count = |is_meant: &dyn Fn(&KeyFacts) -> bool| {
            let count = moment.facts.iter().filter(|facts| is_meant(facts)).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        let mut gauge = |name, help, value: i64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(
            "selkie_keyset_generation",
            "How often the sealing keys changed since the start",
            i64::try_from(moment.generation).unwrap_or(i64::MAX),
        )?;
        gauge(
            "selkie_key_secrets_broken",
            "Secrets with the label of sealing keys that hold none that can be read",
            count(&|facts| facts.state == KeyState::Broken),
        )?;
        if let Some(end) = moment.newest {
            let help = "When the certificate ends that new values are sealed for";
            gauge("selkie_newest_key_not_after_timestamp_seconds", help, end.unix_timestamp())?;
        }
        let help = "Sealing keys, by state";
        let mut metric = encoder.encode_descriptor("selkie_keys", help, None, MetricType::Gauge)?;
        for word in ["active", "expired", "retired"] {
            let value = count(&|facts| state(facts, now) == Some(word));
            ConstGauge::new(value).encode(metric.encode_family(&[("state", word)])?)?;
        }
        // Two Secrets may hold the same key.
        let end = |facts: &KeyFacts| Some((facts.fingerprint.clone()?, facts.not_after?));
        let ends: BTreeMap<_, _> = moment.facts.iter().filter_map(end).collect();
        if ends.is_empty() {
            return Ok(());
        }
        let (name, help) =
            ("selkie_key_not_after_timestamp_seconds", "When the certificate of a sealing key ends");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (fingerprint, end) in ends {
            let labels = [("fingerprint", fingerprint.as_str())];
            ConstGauge::new(end.unix_timestamp()).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::controller::metrics::{Exposition, Metrics};

    fn key(name: &str, state: KeyState, not_after: OffsetDateTime) -> KeyFacts {
        let fingerprint = Some(format!("SHA256:{name}"));
        KeyFacts { name: name.to_owned(), fingerprint, not_before: None, not_after: Some(not_after), state }
    }

    #[test]
    fn keys_are_counted_by_state_and_told_by_fingerprint_alone() {
        let later = OffsetDateTime::now_utc() + Duration::days(9);
        let broken = KeyFacts { fingerprint: None, not_after: None, ..key("d", KeyState::Broken, later) };
        let facts = vec![
            key("a", KeyState::Active, OffsetDateTime::UNIX_EPOCH),
            key("b", KeyState::Retired, later),
            key("c", KeyState::Active, later),
            broken,
        ];
        let metrics = Metrics::new();
        metrics.keys(&KeySet { facts, generation: 2, ..KeySet::default() });
        let text = metrics.write(Exposition::Text);
        for line in [
            "selkie_keys{state=\"active\"} 1",
            "selkie_keys{state=\"expired\"} 1",
            "selkie_keys{state=\"retired\"} 1",
            "selkie_keyset_generation 2",
            "selkie_key_secrets_broken 1",
            "selkie_key_not_after_timestamp_seconds{fingerprint=\"SHA256:a\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("selkie_newest_key"), "there is no certificate");
        metrics.keys(&KeySet::default());
        assert!(!metrics.write(Exposition::Text).contains("fingerprint"), "what is gone is not told");
    }
}

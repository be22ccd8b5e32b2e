//! What of the sealing keys anybody may know.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use selkie::sealed::SealingCert;
use time::OffsetDateTime;

use super::super::key_set::KeySet;

/// The keys of the moment, whose states are found out when Prometheus asks.
#[derive(Debug, Default)]
pub(super) struct KeyFacts(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    keys: Vec<KeyFact>,
    /// Until when the certificate is valid that new values are sealed for.
    newest: Option<OffsetDateTime>,
    generation: u64,
    broken: usize,
}

#[derive(Debug)]
struct KeyFact {
    fingerprint: String,
    not_after: Option<OffsetDateTime>,
    is_retired: bool,
}

impl KeyFacts {
    pub(super) fn set(&self, set: &KeySet) {
        let fact = |key: &selkie::sealed::Key| KeyFact {
            fingerprint: key.fingerprint().to_owned(),
            not_after: key.not_after,
            is_retired: key.is_retired,
        };
        let keys = set.registry.keys().iter().map(fact).collect();
        // A certificate that cannot be read has no end that one could tell.
        let cert = set.certificate.as_ref().and_then(|pem| SealingCert::parse(pem.as_bytes()).ok());
        let newest = cert.and_then(|cert| cert.validity()).map(|validity| validity.not_after);
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *facts = Facts { keys, newest, generation: set.generation, broken: facts.broken };
    }

    pub(super) fn set_broken(&self, count: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).broken = count;
    }
}

impl KeyFact {
    fn state(&self, now: OffsetDateTime) -> &'static str {
        match self.not_after {
            _ if self.is_retired => "retired",
            Some(end) if end < now => "expired",
            _ => "active",
        }
    }
}

impl Collector for KeyFacts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = OffsetDateTime::now_utc();
        let mut gauge = |name, help, value: i64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(
            "selkie_keyset_generation",
            "How often the sealing keys changed since the start",
            i64::try_from(facts.generation).unwrap_or(i64::MAX),
        )?;
        gauge(
            "selkie_key_secrets_broken",
            "Secrets with the label of sealing keys that hold none that can be read",
            i64::try_from(facts.broken).unwrap_or(i64::MAX),
        )?;
        if let Some(end) = facts.newest {
            let help = "When the certificate ends that new values are sealed for";
            gauge("selkie_newest_key_not_after_timestamp_seconds", help, end.unix_timestamp())?;
        }
        let help = "Sealing keys, by state";
        let mut metric = encoder.encode_descriptor("selkie_keys", help, None, MetricType::Gauge)?;
        for state in ["active", "expired", "retired"] {
            let count = facts.keys.iter().filter(|key| key.state(now) == state).count();
            let value = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(metric.encode_family(&[("state", state)])?)?;
        }
        let ends: Vec<_> =
            facts.keys.iter().filter_map(|key| Some((&key.fingerprint, key.not_after?))).collect();
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
    use selkie::sealed::{Key, KeyRegistry, KeySize, SealingKey, SmallKeys};
    use selkie::secret::SecretBytes;
    use time::Duration;

    use super::*;
    use crate::controller::metrics::{Exposition, Metrics};

    fn key(pem: &SecretBytes, not_after: Option<OffsetDateTime>, is_retired: bool) -> Key {
        let mut key = Key::new(SealingKey::parse(pem, SmallKeys::Refuse).expect("a key"), "a key");
        (key.not_after, key.is_retired) = (not_after, is_retired);
        key
    }

    #[test]
    fn keys_are_counted_by_state_and_told_by_fingerprint_alone() {
        let pems = [(), (), ()].map(|()| SealingKey::generate(KeySize::Rsa2048).expect("a key").to_pem());
        let later = OffsetDateTime::now_utc() + Duration::days(9);
        let mut registry = KeyRegistry::new();
        registry.add(key(&pems[0], Some(OffsetDateTime::UNIX_EPOCH), false));
        registry.add(key(&pems[1], Some(later), true));
        registry.add(key(&pems[2], Some(later), false));
        let fingerprint = registry.keys()[0].fingerprint().to_owned();
        let metrics = Metrics::new();
        metrics.broken_keys(4);
        metrics.keys(&KeySet { registry, certificate: None, generation: 2 });
        let text = metrics.write(Exposition::Text);
        for line in [
            "selkie_keys{state=\"active\"} 1",
            "selkie_keys{state=\"expired\"} 1",
            "selkie_keys{state=\"retired\"} 1",
            "selkie_keyset_generation 2",
            "selkie_key_secrets_broken 4",
            &format!("selkie_key_not_after_timestamp_seconds{{fingerprint=\"{fingerprint}\"}} 0"),
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("selkie_newest_key"), "there is no certificate");
        metrics.keys(&KeySet::default());
        assert!(!metrics.write(Exposition::Text).contains("fingerprint"), "what is gone is not told");
    }
}

//! Keys and settings to test with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand_core::OsRng;
use selkie::sealed::{Key, KeyRegistry, KeySize, SealingCert, SealingKey, SmallKeys, Unseal};
use selkie::secret::SecretBytes;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{HttpContext, Readiness};
use crate::controller::key_set::KeySet;
use crate::controller::metrics::Metrics;
use crate::controller::settings::HttpSettings;

/// An old key and a new one, the same in all tests.
fn pems() -> &'static [SecretBytes; 2] {
    static PEMS: OnceLock<[SecretBytes; 2]> = OnceLock::new();
    PEMS.get_or_init(|| [(), ()].map(|()| SealingKey::generate(KeySize::Rsa2048).expect("a key").to_pem()))
}

pub(super) fn key(index: usize) -> SealingKey {
    SealingKey::parse(&pems()[index], SmallKeys::Refuse).expect("a key")
}

pub(super) fn cert(index: usize) -> SealingCert {
    let (start, life) = (OffsetDateTime::UNIX_EPOCH, time::Duration::days(36_500));
    SealingCert::generate(&key(index), "", start, life, &mut OsRng).expect("a certificate")
}

/// Both keys, of which the second one is the newest.
pub(super) fn keys() -> KeySet {
    let mut registry = KeyRegistry::new();
    registry.add(Key::new(key(0), "old"));
    registry.add(Key::new(key(1), "new"));
    KeySet { registry, certificate: Some(cert(1).to_pem().to_owned()), generation: 1, ..KeySet::default() }
}

pub(super) fn settings() -> HttpSettings {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    HttpSettings {
        listen: address,
        listen_metrics: address,
        read_timeout: Duration::from_secs(120),
        write_timeout: Duration::from_secs(120),
        rate: 1000,
        burst: 1000,
        max_body: 1 << 20,
        authenticate: false,
        object_metrics: true,
    }
}

pub(super) fn context(keys: KeySet, settings: HttpSettings) -> HttpContext {
    HttpContext {
        settings,
        unseal: Unseal { deprecated_data: true, ..Unseal::default() },
        // A receiver keeps what its sender had last.
        keys: watch::channel(Arc::new(keys)).1,
        metrics: Arc::new(Metrics::new()),
        readiness: Readiness::new(&["keys"]),
        client: None,
    }
}

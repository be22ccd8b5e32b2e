//! New sealing keys, and the Secrets that they are kept in.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use rand_core::OsRng;
use selkie::sealed::{ACTIVE, KEY_LABEL, SealingCert, SealingKey, SealingKeyError};
use time::OffsetDateTime;

use super::found::{CERT, KEY};
use crate::controller::settings::KeySettings;

/// A key that is not in the cluster yet.
pub(super) struct NewKey {
    key: SealingKey,
    cert: SealingCert,
}

impl NewKey {
    /// Makes a key, which takes a core for some seconds, and then its certificate, valid from that time on.
    pub(super) fn generate(
        settings: &KeySettings,
        clock: impl Fn() -> OffsetDateTime,
    ) -> Result<Self, SealingKeyError> {
        let lifetime = time::Duration::try_from(settings.lifetime).map_err(|_| SealingKeyError::Validity)?;
        let key = SealingKey::generate(settings.size)?;
        let cert = SealingCert::generate(&key, &settings.common_name, clock(), lifetime, &mut OsRng)?;
        Ok(Self { key, cert })
    }

    /// Returns the certificate as PEM.
    pub(super) fn certificate(&self) -> &str {
        self.cert.to_pem()
    }

    /// Returns the fingerprint of the key.
    pub(super) fn fingerprint(&self) -> String {
        self.key.fingerprint()
    }

    /// Returns the Secret for the key, which does not wipe itself. Its name begins with the prefix, without a dash in
    /// between, as it always did.
    pub(super) fn to_secret(&self, settings: &KeySettings) -> Secret {
        let mut labels = settings.labels.clone();
        // No setting makes a new key one that is not used.
        labels.insert(KEY_LABEL.to_owned(), ACTIVE.to_owned());
        let metadata = ObjectMeta {
            generate_name: Some(settings.prefix.clone()),
            labels: Some(labels),
            annotations: Some(settings.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        };
        let data = BTreeMap::from([
            (CERT.to_owned(), ByteString(self.cert.to_pem().as_bytes().to_vec())),
            (KEY.to_owned(), ByteString(self.key.to_pem().expose_secret().to_vec())),
        ]);
        Secret { metadata, type_: Some(TYPE.to_owned()), data: Some(data), ..Secret::default() }
    }
}

/// The type of key Secrets.
const TYPE: &str = "kubernetes.io/tls";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use selkie::sealed::KeySize;

    use super::super::found::Found;
    use super::*;
    use crate::controller::key_set::KeyState;
    use crate::controller::settings::KeyOrder;

    #[test]
    fn a_new_key_is_one_that_is_found() {
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let settings = KeySettings {
            prefix: "sealed-secrets-key".to_owned(),
            size: KeySize::Rsa2048,
            lifetime: Duration::from_secs(3600),
            common_name: "c".to_owned(),
            renew_period: None,
            order: KeyOrder::CertNotBefore,
            cutoff: None,
            annotations: map("a", "1"),
            labels: map(KEY_LABEL, "compromised").into_iter().chain(map("l", "2")).collect(),
        };
        let new = NewKey::generate(&settings, || OffsetDateTime::UNIX_EPOCH).expect("a key");
        let secret = new.to_secret(&settings);
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
        assert_eq!(secret.metadata.generate_name.as_deref(), Some("sealed-secrets-key"));
        assert_eq!(secret.metadata.annotations, Some(map("a", "1")));
        let expected = map(KEY_LABEL, "active").into_iter().chain(map("l", "2")).collect();
        assert_eq!(secret.metadata.labels, Some(expected));
        let found = Found::new(secret);
        assert_eq!((found.seen.facts.state, found.problem), (KeyState::Active, None));
        assert_eq!(found.seen.facts.fingerprint, Some(new.fingerprint()));
        let hour = OffsetDateTime::UNIX_EPOCH + time::Duration::hours(1);
        assert_eq!(found.seen.facts.not_after, Some(hour));
        assert_eq!(found.certificate.as_deref(), Some(new.certificate()));
    }
}

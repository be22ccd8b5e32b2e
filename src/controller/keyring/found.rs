//! Key Secrets as they are found in the cluster.
//!
//! Invariants: a Secret that cannot be read says so, and is told from the others by its name; private keys of retired
//! Secrets are not even read; nothing is sealed for a key that an object brought along, as whoever made that object may
//! know it.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use selkie::sealed::{ACTIVE, Backup, KEY_LABEL, Key, ObjectMeta, SealingCert, SmallKeys};
use selkie::secret::SecretBytes;
use time::OffsetDateTime;

use super::plan::Seen;
use crate::controller::key_set::{KeyFacts, KeyState};

/// A key Secret.
pub(super) struct Found {
    /// What is to know of it.
    pub seen: Seen,
    /// The keys in it, that of the certificate first: more than one if somebody put them there.
    pub keys: Vec<Key>,
    /// The certificate as PEM.
    pub certificate: Option<String>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

impl Found {
    /// Reads a Secret. One without a label is of before 0.9, where keys had none.
    pub(super) fn new(secret: Secret) -> Self {
        let metadata = secret.metadata;
        let created = metadata.creation_timestamp.map(|time| time.0.as_second());
        let created = created.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let label = metadata.labels.as_ref().and_then(|labels| labels.get(KEY_LABEL));
        let is_retired = label.is_some_and(|label| label != ACTIVE);
        let name = metadata.name.unwrap_or_default();
        let maker = metadata.owner_references.as_ref().and_then(|owners| owners.iter().find_map(maker));
        // All of them wipe themselves, whether they are of use or not.
        let data = secret.data.unwrap_or_default().into_iter();
        let data: Vec<_> = data.map(|(key, value)| (key, SecretBytes::from(value.0))).collect();
        let entry = |name: &str| data.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let cert = entry(CERT).map_or(&[][..], SecretBytes::expose_secret);
        let mut found = if is_retired { Self::retired(cert) } else { Self::active(&name, entry(KEY), cert) };
        if let Some(kind) = maker {
            found.distrust(&kind);
        }
        (found.seen.facts.name, found.seen.created) = (name, created);
        found
    }

    /// Lets the key open values, and nothing else. It was there before such Secrets were refused, and the way back must
    /// not be barred.
    fn distrust(&mut self, kind: &str) {
        if self.seen.facts.state != KeyState::Active {
            return;
        }
        (self.seen.facts.state, self.certificate) = (KeyState::Broken, None);
        self.problem = Some(format!(
            "a {kind} made the Secret, so nothing is sealed for its key: apply the Secret itself, without an owner"
        ));
    }

    fn retired(cert: &[u8]) -> Self {
        // It is known by its certificate or not at all: nothing depends on it.
        let cert = SealingCert::parse(cert).ok();
        let validity = cert.as_ref().and_then(SealingCert::validity);
        let facts = KeyFacts {
            name: String::new(),
            fingerprint: cert.map(|cert| cert.fingerprint()),
            not_before: validity.map(|validity| validity.not_before),
            not_after: validity.map(|validity| validity.not_after),
            state: KeyState::Retired,
        };
        Self { seen: Seen { facts, created: None }, keys: Vec::new(), certificate: None, problem: None }
    }

    fn active(name: &str, key: Option<&SecretBytes>, cert: &[u8]) -> Self {
        let mut backup = Backup::default();
        match key {
            Some(key) => backup.add(ObjectMeta::named("", name), key, cert, SmallKeys::Refuse),
            None => return Self::broken("the Secret has no tls.key"),
        }
        let problem = backup.problems.first().map(|problem| problem.kind.to_string());
        let secrets = backup.keys.into_iter().map(|key| key.secret);
        let mut certificate = None;
        let keys: Vec<_> = secrets
            .map(|secret| {
                let cert = secret.cert.as_ref().map(|cert| cert.to_pem().to_owned());
                certificate = certificate.take().or(cert);
                secret.into_key(name)
            })
            .collect();
        let Some(first) = keys.first() else {
            return Self::broken(problem.as_deref().unwrap_or("the Secret has no key"));
        };
        let facts = KeyFacts {
            name: String::new(),
            fingerprint: Some(first.fingerprint().to_owned()),
            not_before: first.not_before,
            not_after: first.not_after,
            state: if certificate.is_some() { KeyState::Active } else { KeyState::Broken },
        };
        Self { seen: Seen { facts, created: None }, keys, certificate, problem }
    }

    fn broken(problem: &str) -> Self {
        let facts = KeyFacts {
            name: String::new(),
            fingerprint: None,
            not_before: None,
            not_after: None,
            state: KeyState::Broken,
        };
        let problem = Some(problem.to_owned());
        Self { seen: Seen { facts, created: None }, keys: Vec::new(), certificate: None, problem }
    }
}

/// Returns the kind of an owner that Secrets are made of.
fn maker(owner: &OwnerReference) -> Option<String> {
    let (group, _) = owner.api_version.split_once('/')?;
    MAKERS.contains(&group).then(|| owner.kind.clone())
}

/// The groups of the kinds of objects that Secrets are made of.
const MAKERS: [&str; 3] = ["bitnami.com", "isindir.github.com", "selkie.dev"];
/// The entry of a key Secret that holds the certificate.
pub(super) const CERT: &str = "tls.crt";
/// The entry of a key Secret that holds the key.
pub(super) const KEY: &str = "tls.key";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use rand::rngs::OsRng;
    use selkie::sealed::{KeySize, SealingKey};

    use super::*;

    fn pair() -> (Vec<u8>, String) {
        let key = SealingKey::generate(KeySize::Rsa2048).expect("a key");
        let begin = OffsetDateTime::UNIX_EPOCH;
        let cert = SealingCert::generate(&key, "", begin, time::Duration::days(1), &mut OsRng);
        (key.to_pem().expose_secret().to_vec(), cert.expect("a certificate").to_pem().to_owned())
    }

    fn read(label: Option<&str>, entries: &[(&str, &[u8])]) -> Found {
        Found::new(secret(label, entries))
    }

    fn secret(label: Option<&str>, entries: &[(&str, &[u8])]) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some("k".to_owned());
        secret.metadata.labels =
            label.map(|label| BTreeMap::from([(KEY_LABEL.to_owned(), label.to_owned())]));
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())));
        secret.data = Some(entries.collect());
        secret
    }

    #[test]
    fn labels_tell_what_a_key_is_for() {
        let (key, cert) = pair();
        let entries = [(KEY, key.as_slice()), (CERT, cert.as_bytes())];
        for (label, state, count) in [
            (Some("active"), KeyState::Active, 1),
            (None, KeyState::Active, 1),
            (Some("compromised"), KeyState::Retired, 0),
            (Some(""), KeyState::Retired, 0),
        ] {
            let found = read(label, &entries);
            let facts = &found.seen.facts;
            assert_eq!((facts.state, found.keys.len(), facts.name.as_str()), (state, count, "k"));
            let end = OffsetDateTime::UNIX_EPOCH + time::Duration::days(1);
            assert_eq!((facts.not_after, facts.fingerprint.is_some()), (Some(end), true));
            assert_eq!((found.certificate.is_some(), found.problem), (state == KeyState::Active, None));
        }
    }

    #[test]
    fn a_key_opens_values_whatever_its_certificate_is() {
        let ((key, _), (_, foreign)) = (pair(), pair());
        for cert in [&b""[..], b"junk", foreign.as_bytes()] {
            let found = read(Some("active"), &[(KEY, &key), (CERT, cert)]);
            assert_eq!((found.seen.facts.state, found.keys.len()), (KeyState::Broken, 1));
            assert!(found.seen.facts.fingerprint.is_some() && found.certificate.is_none());
            assert!(found.problem.is_some_and(|problem| problem.contains("certificate")));
        }
    }

    #[test]
    fn nothing_is_sealed_for_a_key_that_an_object_brought_along() {
        let (key, cert) = pair();
        for (group, state) in [
            ("bitnami.com/v1alpha1", KeyState::Broken),
            ("isindir.github.com/v1alpha3", KeyState::Broken),
            ("selkie.dev/v1alpha1", KeyState::Broken),
            ("apps/v1", KeyState::Active),
            ("v1", KeyState::Active),
        ] {
            let mut secret = secret(Some("active"), &[(KEY, &key), (CERT, cert.as_bytes())]);
            let owner =
                OwnerReference { api_version: group.to_owned(), kind: "It".to_owned(), ..Default::default() };
            secret.metadata.owner_references = Some(vec![owner]);
            let found = Found::new(secret);
            let is_trusted = state == KeyState::Active;
            assert_eq!((found.seen.facts.state, found.keys.len()), (state, 1), "{group}");
            assert_eq!(
                (found.certificate.is_some(), found.problem.is_none()),
                (is_trusted, is_trusted),
                "{group}"
            );
        }
    }

    #[test]
    fn what_is_broken_is_told_without_what_is_in_it() {
        let (_, cert) = pair();
        let junk = b"-----BEGIN RSA PRIVATE KEY-----\nHUNTER\n-----END RSA PRIVATE KEY-----\n";
        for (key, expected) in [
            (Some(&b""[..]), "there is no private key in PEM"),
            (Some(b"hunter2"), "there is no private key in PEM"),
            (Some(junk), "the private key is malformed"),
            (None, "the Secret has no tls.key"),
        ] {
            let entries: Vec<_> =
                key.map(|key| (KEY, key)).into_iter().chain([(CERT, cert.as_bytes())]).collect();
            let found = read(Some("active"), &entries);
            assert_eq!(
                (found.problem.as_deref(), found.seen.facts.state),
                (Some(expected), KeyState::Broken)
            );
            assert!(found.keys.is_empty() && found.seen.facts.fingerprint.is_none());
        }
    }
}

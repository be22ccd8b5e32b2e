//! SealedSecrets, as Secrets are made from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use kube::core::ApiResource;
use selkie::sealed::{
    API_VERSION, GROUP, ItemError, KIND, KeyCause, SealedSecret, Secret, Unseal, UnsealError, ValueError,
};
use selkie::template::Surroundings;
use serde_json::{Value as Json, json};

use super::key_set::{KeySet, Keys};
use super::keyring::Clock;
use super::reason::{Failure, Reason};
use super::source::{Desired, Source};

/// The kind SealedSecret.
pub struct SealedSecrets {
    resource: ApiResource,
    keys: Keys,
    how: Unseal,
    now: Clock,
}

impl SealedSecrets {
    /// Returns the kind, whose objects are opened with the keys of the moment.
    #[must_use]
    pub fn new(keys: Keys, how: Unseal, now: Clock) -> Self {
        let resource = ApiResource {
            group: GROUP.to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            plural: "sealedsecrets".to_owned(),
        };
        Self { resource, keys, how, now }
    }
}

impl Source for SealedSecrets {
    fn resource(&self) -> &ApiResource {
        &self.resource
    }

    fn essence(&self, object: &Json) -> Json {
        let annotations = object["metadata"]["annotations"].as_object().into_iter().flatten();
        let of_ours = annotations.filter(|(name, _)| name.starts_with(ANNOTATIONS));
        let annotations: BTreeMap<_, _> = of_ours.collect();
        json!({
            "spec": object["spec"],
            "annotations": annotations,
            "how": [self.how.deprecated_data, self.how.collision == selkie::sealed::Collision::Item],
        })
    }

    fn open<'a>(&'a self, object: &'a Json) -> BoxFuture<'a, Result<Desired, Failure>> {
        let keys = Arc::clone(&self.keys.borrow());
        let (how, now) = (self.how, Arc::clone(&self.now));
        let sealed = SealedSecret::from_json(object);
        Box::pin(async move {
            let sealed = sealed.map_err(|error| Failure::new(Reason::Invalid, error.to_string()))?;
            let opened = tokio::task::spawn_blocking(move || open(&sealed, &keys, how, &now));
            // A panic is told by the hook for panics; the object is tried again.
            let secret = opened.await.map_err(|_| Failure::new(Reason::Unseal, "unsealing it stopped"))??;
            Ok(Desired { secrets: vec![secret], prune: false, adopt: false })
        })
    }

    fn patch(&self) -> Option<&str> {
        Some(PATCH)
    }

    fn status(&self, _object: &Json, result: Result<(), &Failure>) -> Json {
        // The condition that the controller of Sealed Secrets writes, and that sync engines look at.
        match result {
            Ok(()) => json!({"conditions": [{"type": "Synced", "status": "True"}]}),
            Err(failure) => {
                json!({"conditions": [{"type": "Synced", "status": "False", "message": failure.message}]})
            }
        }
    }
}

/// Returns the Secret, with the annotation without which a Secret without owner would be nobody's.
fn open(sealed: &SealedSecret, keys: &KeySet, how: Unseal, now: &Clock) -> Result<Secret, Failure> {
    let mut surroundings = Surroundings { rng: &mut rand_core::OsRng, now: now() };
    let mut secret =
        sealed.unseal(&keys.registry, how, &mut surroundings).map_err(|error| failure(&error))?;
    if sealed.template.metadata.annotation(SKIP_OWNER) == Some("true")
        && secret.metadata.annotation(MANAGED).is_none()
    {
        secret.metadata.set_annotation(MANAGED, "true");
    }
    Ok(secret)
}

fn failure(error: &UnsealError) -> Failure {
    let reason = match error {
        UnsealError::DeprecatedItem(error) => reason_of_item(error),
        // What a new key may mend comes first.
        UnsealError::Values(errors) => {
            let reasons = errors.values().map(|error| match error {
                ValueError::Item(error) => reason_of_item(error),
                _ => Reason::Template,
            });
            reasons.min_by_key(|reason| *reason != Reason::NoKey).unwrap_or(Reason::Unseal)
        }
        _ => Reason::Invalid,
    };
    Failure::new(reason, error.to_string())
}

fn reason_of_item(error: &ItemError) -> Reason {
    match error {
        // The key is there, and another one will not help.
        ItemError::Locked(causes) if causes.iter().any(|cause| FOUND.contains(cause)) => Reason::Unseal,
        ItemError::Locked(_) => Reason::NoKey,
        _ => Reason::Unseal,
    }
}

/// What a key says of an item that was sealed for it.
const FOUND: [KeyCause; 2] = [KeyCause::Changed, KeyCause::SessionKey];
/// What the annotations of Sealed Secrets begin with.
const ANNOTATIONS: &str = "sealedsecrets.bitnami.com/";
/// The annotation of a Secret that may be taken over.
pub const MANAGED: &str = "sealedsecrets.bitnami.com/managed";
/// The annotation of a Secret that values may be put into.
const PATCH: &str = "sealedsecrets.bitnami.com/patch";
/// The annotation of a template whose Secret gets no owner.
const SKIP_OWNER: &str = "sealedsecrets.bitnami.com/skip-set-owner-references";

#[cfg(test)]
mod tests {
    use selkie::sealed::{Collision, Key, KeyRegistry, KeySize, SealingKey};
    use selkie::secret::SecretBytes;
    use tokio::sync::watch;

    use time::OffsetDateTime;

    use super::*;

    fn kind(how: Unseal, keys: KeySet) -> SealedSecrets {
        let (_, keys) = watch::channel(Arc::new(keys));
        SealedSecrets::new(keys, how, Arc::new(|| OffsetDateTime::UNIX_EPOCH))
    }

    fn object() -> Json {
        json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "metadata": {
                "name": "s", "namespace": "ns", "uid": "u1", "generation": 1, "resourceVersion": "5",
                "labels": {"l": "1"}, "annotations": {"n": "2"},
            },
            "spec": {"encryptedData": {"a": "AgA="}},
        })
    }

    #[test]
    fn the_essence_is_what_the_secret_is_made_from() {
        let kind = kind(Unseal::default(), KeySet::default());
        let essence = |change: &dyn Fn(&mut Json)| {
            let mut object = object();
            change(&mut object);
            kind.essence(&object)
        };
        let before = essence(&|_| {});
        let same: [&dyn Fn(&mut Json); 5] = [
            &|object| object["metadata"]["resourceVersion"] = "6".into(),
            &|object| object["metadata"]["generation"] = 2.into(),
            &|object| object["metadata"]["labels"] = json!({"l": "2"}),
            &|object| object["metadata"]["annotations"]["n"] = "3".into(),
            &|object| object["status"] = json!({"conditions": []}),
        ];
        for change in same {
            assert_eq!(essence(change), before);
        }
        let others: [&dyn Fn(&mut Json); 4] = [
            &|object| object["spec"]["encryptedData"]["a"] = "AgB=".into(),
            &|object| object["spec"]["template"] = json!({"type": "t"}),
            // Upstream does not look at the object again when its scope changes.
            &|object| {
                object["metadata"]["annotations"]["sealedsecrets.bitnami.com/cluster-wide"] = "true".into();
            },
            &|object| {
                object["metadata"]["annotations"]["sealedsecrets.bitnami.com/namespace-wide"] =
                    "false".into();
            },
        ];
        for change in others {
            assert_ne!(essence(change), before);
        }
    }

    #[test]
    fn how_objects_are_opened_is_of_the_essence() {
        let hows = [
            Unseal::default(),
            Unseal { deprecated_data: true, ..Unseal::default() },
            Unseal { collision: Collision::Template, ..Unseal::default() },
        ];
        let essences = hows.map(|how| kind(how, KeySet::default()).essence(&object()));
        assert!(essences[0] != essences[1] && essences[0] != essences[2] && essences[1] != essences[2]);
    }

    #[tokio::test]
    async fn a_key_that_comes_later_opens_what_no_key_opened() {
        let key = SealingKey::generate(KeySize::Rsa2048).expect("a key");
        let now = OffsetDateTime::UNIX_EPOCH;
        let rng = &mut rand_core::OsRng;
        let cert = selkie::sealed::SealingCert::generate(&key, "", now, time::Duration::days(1), rng);
        let item = cert.expect("a certificate").seal_labelled(&SecretBytes::from("x"), "ns/s", rng);
        let mut object = object();
        object["spec"]["encryptedData"]["a"] = item.expect("an item").into();

        let (sender, keys) = watch::channel(Arc::new(KeySet::default()));
        let kind = SealedSecrets::new(keys, Unseal::default(), Arc::new(move || now));
        let reason = kind.open(&object).await.err().map(|failure| failure.reason);
        assert_eq!(reason, Some(Reason::NoKey));
        let mut registry = KeyRegistry::new();
        registry.add(Key::new(key, "a key"));
        sender.send_replace(Arc::new(KeySet { registry, ..KeySet::default() }));
        let desired = kind.open(&object).await.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(desired.secrets[0].data["a"].expose_secret(), b"x");
        assert!(!desired.prune && !desired.adopt);
    }
}

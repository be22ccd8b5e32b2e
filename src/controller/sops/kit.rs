//! What tests of this module are made of: keys, documents, and a cluster that has key Secrets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, NewIdentity, generate};
use selkie::keys::{KeyGroup, MasterKey, age};
use selkie::sealed::Secret;
use selkie::secret::SecretBytes;
use selkie::sops::Metadata;
use serde_json::{Value as Json, json};

use super::SopsSettings;
use super::key_secret::{KeySecret, KeySecrets};
use super::keys::SopsKeys;
use crate::controller::reason::Failure;

/// The key Secrets of a cluster that is none, and how often one was read.
#[derive(Clone, Default)]
pub struct Cluster {
    secrets: Arc<Mutex<HashMap<(String, String), Stored>>>,
    reads: Arc<Mutex<usize>>,
}

/// The version of a Secret, and its entries.
type Stored = (String, Vec<(String, String)>);

impl Cluster {
    /// Puts a key Secret.
    pub fn put(&self, namespace: &str, name: &str, version: &str, entries: &[(&str, &str)]) {
        let entries = entries.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
        let mut secrets = self.secrets.lock().expect("no panic");
        secrets.insert((namespace.to_owned(), name.to_owned()), (version.to_owned(), entries));
    }

    /// Returns how often a Secret was read.
    pub fn reads(&self) -> usize {
        *self.reads.lock().expect("no panic")
    }
}

impl KeySecrets for Cluster {
    fn get<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<KeySecret>, Failure>> {
        *self.reads.lock().expect("no panic") += 1;
        let secrets = self.secrets.lock().expect("no panic");
        let found = secrets.get(&(namespace.to_owned(), name.to_owned())).map(|(version, entries)| {
            let entries = entries.iter().map(|(name, text)| (name.clone(), text.as_str().into())).collect();
            KeySecret { version: version.clone(), entries }
        });
        Box::pin(async move { Ok(found) })
    }
}

/// An identity, and a cluster.
pub struct World {
    /// The identity that documents are for.
    pub identity: NewIdentity,
    /// The cluster.
    pub cluster: Cluster,
    /// What the keys are told.
    pub settings: SopsSettings,
}

impl World {
    /// Returns a world in which nobody has a key.
    pub fn new() -> Self {
        let identity = identity(1);
        Self { identity, cluster: Cluster::default(), settings: SopsSettings::default() }
    }

    /// Returns a world in which the namespace `shop` has the key in the Secret `keys`.
    pub fn with_own_secret() -> Self {
        let world = Self::new();
        world.cluster.put("shop", "keys", "1", &[("age.agekey", &text(&world.identity.secret))]);
        world
    }

    /// Returns the keys.
    pub fn keys(&self) -> Arc<SopsKeys> {
        let keys = SopsKeys::new(&self.settings, Box::new(self.cluster.clone()), |_| None);
        Arc::new(keys.expect("keys"))
    }

    /// Returns a document, encrypted.
    pub fn encrypted(&self, source: &str, format: Format, change: impl FnOnce(&mut Metadata)) -> String {
        let keys = MasterKey::parse_list(&age::KIND, &self.identity.recipient).expect("a key");
        let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
        change(&mut metadata);
        let service = AgeService::new(Identities::new());
        let (now, mut rng) = ("2026-01-02T03:04:05Z", ChaCha20Rng::seed_from_u64(7));
        text(&selkie::encrypt(source, format, metadata, &[&service], now, &mut rng).expect("encrypted"))
    }

    /// Returns the `spec` of a `SopsSecret` of ours with a document.
    pub fn spec(&self, source: &str, format: Format, target: Json) -> Json {
        json!({
            "document": self.encrypted(source, format, |_| {}),
            "format": format.store().name(),
            "target": target,
            "keys": {"secretRef": {"name": "keys"}},
        })
    }
}

/// Returns an identity.
pub fn identity(seed: u64) -> NewIdentity {
    generate(IdentityKind::X25519, &mut ChaCha20Rng::seed_from_u64(seed))
}

/// Returns a secret as text.
pub fn text(secret: &SecretBytes) -> String {
    String::from_utf8(secret.expose_secret().to_vec()).expect("text")
}

fn shown(secret: &SecretBytes) -> &str {
    str::from_utf8(secret.expose_secret()).unwrap_or("binary")
}

/// Returns an object as the API server gives it.
pub fn object(api_version: &str, spec: &Json) -> Json {
    json!({
        "apiVersion": api_version,
        "kind": "SopsSecret",
        "metadata": {"name": "db", "namespace": "shop", "uid": "u-1", "generation": 1, "resourceVersion": "1"},
        "spec": spec,
    })
}

/// Returns whatever somebody may put into an object: deep, wide, and of odd types under names that mean something.
pub fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,8}".prop_map(Json::from),
        Just(Json::from("ENC[AES256_GCM,data:AA==,iv:AAAA,tag:AAAA,type:str]")),
    ];
    let name = prop_oneof![
        3 => proptest::sample::select(NAMES).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        let entries = vec((name.clone(), inner.clone()), 0..6);
        prop_oneof![
            vec(inner, 0..6).prop_map(Json::from),
            entries.prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
}

/// The names of fields that are looked at.
const NAMES: &[&str] = &[
    "annotations",
    "data",
    "enforceOwnership",
    "kubectl.kubernetes.io/last-applied-configuration",
    "labels",
    "metadata",
    "name",
    "namespace",
    "secretTemplates",
    "sops",
    "stringData",
    "suspend",
    "type",
];

/// Returns what a Secret says, in short; `binary` stands for what is no text.
pub fn told(secret: &Secret) -> String {
    let owner = &secret.metadata.field("ownerReferences").expect("an owner")[0];
    assert_eq!((owner["name"].as_str(), owner["uid"].as_str()), (Some("db"), Some("u-1")));
    assert_eq!((owner["controller"].as_bool(), owner["kind"].as_str()), (Some(true), Some("SopsSecret")));
    let data: serde_json::Map<_, _> =
        secret.data.iter().map(|(key, value)| (key.clone(), shown(value).into())).collect();
    let of_metadata = |field: &str| secret.metadata.field(field).map(|value| format!(" {field}={value}"));
    format!(
        "{}/{} {}{}{}{} {}",
        secret.metadata.namespace(),
        secret.metadata.name(),
        secret.type_.as_deref().unwrap_or("-"),
        if secret.immutable == Some(true) { " immutable" } else { "" },
        of_metadata("labels").unwrap_or_default(),
        of_metadata("annotations").unwrap_or_default(),
        Json::Object(data),
    )
}

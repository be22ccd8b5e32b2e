//! Sealing keys, and values sealed once: what all schedules take from.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use selkie::sealed::{KeySecret, KeySize, SealingCert, SealingKey, SealingScope};
use selkie::secret::SecretBytes;
use serde_json::{Value as Json, json};
use time::{Duration, OffsetDateTime};

use crate::envelope::rng;

/// The namespaces of users.
pub const NAMESPACES: [&str; 2] = ["default", "team"];
/// The names of SealedSecrets and Secrets.
pub const NAMES: [&str; 3] = ["cache", "db", "mail"];
/// How many keys there are. The first one is in the cluster from the beginning.
pub const KEYS: usize = 3;
/// How many values there are for each place and key.
pub const VALUES: usize = 3;
/// What every plaintext begins with, so that it is found where it must not be.
pub const PLAIN: &str = "plain-";
/// The namespace of the controller.
pub const OWN: &str = "kube-system";

/// The only one.
pub static POOL: LazyLock<Pool> = LazyLock::new(Pool::make);

/// Keys and sealed values.
pub struct Pool {
    keys: Vec<Json>,
    items: BTreeMap<(usize, usize, usize, usize), String>,
    origins: HashMap<String, Origin>,
}

/// What an item holds.
pub struct Origin {
    /// The namespace and name that it was sealed for.
    pub place: (&'static str, &'static str),
    /// The key that opens it.
    pub key: usize,
    /// The plaintext.
    pub plain: String,
}

impl Pool {
    fn make() -> Self {
        let mut rng = rng(11);
        let begin = OffsetDateTime::UNIX_EPOCH + Duration::days(20_400);
        let (mut keys, mut items, mut origins) = (Vec::new(), BTreeMap::new(), HashMap::new());
        for index in 0..KEYS {
            let key = SealingKey::generate(KeySize::Rsa2048).expect("a key can be made");
            let from = begin + Duration::days(i64::try_from(index).unwrap_or_default());
            let cert = SealingCert::generate(&key, "", from, Duration::days(3650), &mut rng);
            let cert = cert.expect("a certificate can be made");
            for (space, namespace) in NAMESPACES.into_iter().enumerate() {
                for (number, name) in NAMES.into_iter().enumerate() {
                    for value in 0..VALUES {
                        let plain = format!("{PLAIN}{namespace}-{name}-{index}-{value}");
                        let bytes = SecretBytes::from(plain.clone().into_bytes());
                        let item = cert.seal_value(&bytes, SealingScope::Strict, namespace, name, &mut rng);
                        let item = item.expect("it can be sealed");
                        items.insert((space, number, index, value), item.clone());
                        origins.insert(item, Origin { place: (namespace, name), key: index, plain });
                    }
                }
            }
            let secret = KeySecret::new(key, cert, OWN, &key_name(index)).to_secret().to_json();
            keys.push(secret);
        }
        Self { keys, items, origins }
    }

    /// Returns the Secret of a key.
    pub fn key(&self, index: usize) -> &Json {
        &self.keys[index]
    }

    /// Returns a sealed value, by the numbers of namespace, name, key and value.
    pub fn item(&self, place: (usize, usize), key: usize, value: usize) -> &str {
        &self.items[&(place.0, place.1, key, value)]
    }

    /// Returns what an item holds; `None` if it is none of these.
    pub fn origin(&self, item: &str) -> Option<&Origin> {
        self.origins.get(item)
    }
}

/// The name of the Secret of a key.
pub fn key_name(index: usize) -> String {
    format!("sealed-secrets-key{index}")
}

/// Returns a SealedSecret.
pub fn sealed(place: (usize, usize), items: Json, template: Json) -> Json {
    json!({
        "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
        "metadata": {"namespace": NAMESPACES[place.0], "name": NAMES[place.1]},
        "spec": {"encryptedData": items, "template": template},
    })
}

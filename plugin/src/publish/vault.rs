//! Stores of keys and values in HashiCorp Vault and OpenBao, of version 1 and 2.
//!
//! They get what a document says, decrypted. What is there already is not written again.

use std::sync::Arc;

use selkie::keys::hc_vault::{Client, shown};
use selkie::keys::{Cause, KeyError, KeySetup, ServiceError};
use selkie::secret::SecretBytes;
use selkie::sops::config::Target;
use serde_json::Value as Json;
use zeroize::Zeroize;

use super::{Arrival, Destination, PutFuture, Takes};

/// Returns the store that a target names, if it is one.
pub(super) fn connect(
    target: &Target,
    setup: &KeySetup,
) -> Option<Result<Arc<dyn Destination>, ServiceError>> {
    let Target::Vault { address, mount, path, version } = target else { return None };
    let named = Some(address.clone()).filter(|address| !address.is_empty());
    let Some(address) = named.or_else(|| setup.variable("VAULT_ADDR")).or_else(|| setup.variable("BAO_ADDR"))
    else {
        let error = ServiceError::new(Cause::Other, "no server is named");
        return Some(Err(error.with_remedy("set VAULT_ADDR, or vault_address in the destination rule")));
    };
    let client = Client::new(setup);
    Some(Ok(Arc::new(Store { address, place: Place::new(mount, path, *version), client })))
}

/// A store.
struct Store {
    address: String,
    place: Place,
    client: Client,
}

/// Where secrets are in a server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// What stands in front of the names, with a slash at its end.
    front: String,
    has_versions: bool,
}

impl Destination for Store {
    fn takes(&self) -> Takes {
        Takes::Values
    }

    fn address(&self, name: &str) -> String {
        format!("{}/v1/{}", shown(&self.address).trim_end_matches('/'), self.place.of(name))
    }

    fn check(&self, name: &str) -> Result<(), ServiceError> {
        let path = self.place.of(name);
        self.client.check(&self.address, &path).map_err(|error| self.place.explain(error))
    }

    fn put<'a>(&'a self, name: &'a str, content: &'a SecretBytes) -> PutFuture<'a> {
        let path = self.place.of(name);
        Box::pin(async move {
            let unseen = match self.client.read(&self.address, &path).await {
                Ok(Some(answer)) if self.place.holds(&answer.body, content) => return Ok(Arrival::Unchanged),
                Ok(_) => None,
                // Who may write need not be allowed to read.
                Err(KeyError::Service(error)) if error.cause == Cause::Denied => Some(error.detail),
                Err(KeyError::Service(error)) => return Err(self.place.explain(error).into()),
                Err(error) => return Err(error),
            };
            let written = self.client.write(&self.address, &path, self.place.body(content)).await;
            written.map_err(|error| match error {
                KeyError::Service(error) => self.place.explain(error).into(),
                error => error,
            })?;
            Ok(unseen.map_or(Arrival::Put, Arrival::PutUnseen))
        })
    }
}

impl Place {
    fn new(mount: &str, path: &str, version: u8) -> Self {
        let has_versions = version == 2;
        let parts = [mount, if has_versions { "data" } else { "" }, path];
        let parts = parts.iter().flat_map(|part| part.split('/')).filter(|part| !part.is_empty());
        Self { front: parts.map(|part| format!("{part}/")).collect(), has_versions }
    }

    /// Says what can be done about an error, where that is a matter of the rule.
    fn explain(&self, error: ServiceError) -> ServiceError {
        let says = |text: &str| error.detail.to_lowercase().contains(text);
        let remedy = if says("no path of vault") {
            "correct vault_path and vault_kv_mount_name in the destination rule, or rename the file"
        } else if !self.has_versions && (says("versioned k/v") || error.cause == Cause::Key) {
            "the mount may be one of version 2: see vault_kv_version in the destination rule, and \
             `vault secrets list -detailed`"
        } else if error.cause == Cause::Key {
            "see whether the mount is there and which version it has, with `vault secrets list -detailed`: \
             vault_kv_mount_name and vault_kv_version in the destination rule name them"
        } else {
            return error;
        };
        error.with_remedy(remedy)
    }

    /// Returns the path of a secret.
    fn of(&self, name: &str) -> String {
        format!("{}{name}", self.front)
    }

    /// Returns the body of the request that writes values.
    fn body(&self, values: &SecretBytes) -> SecretBytes {
        let (front, end): (&[u8], &[u8]) = if self.has_versions { (b"{\"data\":", b"}") } else { (b"", b"") };
        let mut body = SecretBytes::with_capacity(values.len() + front.len() + end.len());
        body.extend_from_slice(front);
        body.extend_from_slice(values.expose_secret().trim_ascii());
        body.extend_from_slice(end);
        body
    }

    /// Returns whether an answer has these values.
    fn holds(&self, answer: &SecretBytes, values: &SecretBytes) -> bool {
        let pointer = if self.has_versions { "/data/data" } else { "/data" };
        let read = |bytes: &SecretBytes| serde_json::from_slice(bytes.expose_secret()).ok().map(Wiped);
        match (read(answer), read(values)) {
            (Some(answer), Some(values)) => {
                answer.0.pointer(pointer).is_some_and(|present| same(present, &values.0))
            }
            _ => false,
        }
    }
}

/// Values whose texts are wiped when they are dropped.
struct Wiped(Json);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Json) {
    match value {
        Json::Array(values) => values.iter_mut().for_each(wipe),
        Json::Object(values) => values.values_mut().for_each(wipe),
        Json::String(text) => text.zeroize(),
        Json::Number(number) => *number = 0.into(),
        Json::Bool(_) | Json::Null => *value = Json::Null,
    }
}

/// Returns whether two values are the same; 1.0 is 1.
fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Json::Number(left), Json::Number(right)) => {
            left == right || (left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64()
        }
        (Json::Object(left), Json::Object(right)) => {
            let is_in_right =
                |(key, value): (&String, &Json)| right.get(key).is_some_and(|present| same(value, present));
            left.len() == right.len() && left.iter().all(is_in_right)
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn slashes_of_a_rule_do_not_count() {
        let place = |mount, path, version| Place::new(mount, path, version).of("a/b.yaml");
        assert_eq!(place("secret/", "app/", 2), "secret/data/app/a/b.yaml");
        assert_eq!(place("/team/kv", "/app//x", 2), "team/kv/data/app/x/a/b.yaml");
        assert_eq!(place("kv1", "app", 1), "kv1/app/a/b.yaml");
    }

    #[test]
    fn what_cannot_be_published_is_found_before() {
        let check = |allowlist: &str, path: &str| {
            let allowlist = allowlist.to_owned();
            let setup = KeySetup::new(move |name| match name {
                "VAULT_ADDR" => Some("http://127.0.0.1:9".to_owned()),
                "SOPS_HC_VAULT_ALLOWLIST" => Some(allowlist.clone()).filter(|list| !list.is_empty()),
                _ => None,
            });
            let address = String::new();
            let target = Target::Vault { address, mount: "secret".into(), path: path.into(), version: 2 };
            connect(&target, &setup).expect("a store").expect("an address").check("a.yaml")
        };
        assert_eq!(check("", "app"), Ok(()));
        assert!(check("none", "app").is_err_and(|error| error.cause == Cause::Untrusted));
        let remedy = check("", "../../sys/").err().and_then(|error| error.remedy).unwrap_or_default();
        assert!(remedy.contains("vault_path"), "{remedy}");
    }

    #[test]
    fn another_version_of_the_store_is_thought_of() {
        let error = || ServiceError::new(Cause::Other, "Invalid path for a versioned K/V secrets engine");
        let remedy = |version| Place::new("m", "p", version).explain(error()).remedy.unwrap_or_default();
        assert!(remedy(1).contains("vault_kv_version"));
        assert_eq!(remedy(2), "");
    }

    #[test]
    fn each_version_has_its_form() {
        let values = SecretBytes::from("{\n\"a\": 1\n}\n");
        let body = |version| {
            let body = Place::new("m", "p", version).body(&values);
            serde_json::from_slice::<Json>(body.expose_secret()).expect("JSON")
        };
        assert_eq!((body(1), body(2)), (json!({"a": 1}), json!({"data": {"a": 1}})));
    }

    #[test]
    fn what_is_there_is_compared_by_value() {
        let holds = |version, answer: Json| {
            let answer = SecretBytes::from(answer.to_string());
            Place::new("m", "p", version)
                .holds(&answer, &SecretBytes::from(r#"{"a":1,"b":[2.5,{"c":null}]}"#))
        };
        assert!(holds(2, json!({"data": {"data": {"b": [2.5, {"c": null}], "a": 1.0}, "metadata": {}}})));
        assert!(holds(1, json!({"data": {"b": [2.5, {"c": null}], "a": 1}})));
        for other in [
            json!({"data": {"data": null}}),
            json!({"data": {"data": {"a": 1}}}),
            json!({"data": {"data": {"a": "1", "b": [2.5, {"c": null}]}}}),
            json!({"data": {"data": {"a": 1, "b": [{"c": null}, 2.5]}}}),
            json!({}),
        ] {
            assert!(!holds(2, other.clone()), "{other}");
        }
    }

    #[test]
    fn nothing_is_left_of_what_is_wiped() {
        let mut values = json!({"a": "secret", "b": [{"c": "secret"}, 7, true]});
        wipe(&mut values);
        assert_eq!(values, json!({"a": "", "b": [{"c": ""}, 0, null]}));
    }

    #[test]
    fn an_address_is_told_without_a_password() {
        let setup = KeySetup::new(|_| None);
        let (address, path) = ("https://u:secret@vault/".to_owned(), "app".to_owned());
        let target = Target::Vault { address, mount: "secret".to_owned(), path, version: 2 };
        let store = connect(&target, &setup).expect("a store").expect("an address");
        assert_eq!(store.address("a"), "https://vault/v1/secret/data/app/a");
    }

    #[test]
    fn large_integers_are_not_rounded() {
        assert!(!same(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)));
    }
}

//! Secrets and SealedSecrets of a cluster: those to compare with, and the keys of the controller.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use selkie::secret::SecretBytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::{Asked, Cluster, ClusterError, Question, segment};
use crate::base64;

/// A Secret of a cluster.
pub struct ClusterSecret {
    /// Its type, such as `Opaque`.
    pub kind: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its values, by their keys.
    pub data: Vec<(String, SecretBytes)>,
}

/// A key of the controller of Sealed Secrets, as the cluster keeps it.
pub struct SealingKey {
    /// The name of its Secret.
    pub name: String,
    /// The value of its label: the controller uses keys that are `active`.
    pub label: String,
    /// When its Secret was made, in RFC 3339.
    pub created: Option<String>,
    /// Its certificate, in PEM.
    pub certificate: Vec<u8>,
    /// Its private key, in PEM.
    pub private_key: SecretBytes,
}

/// A key for the controller of Sealed Secrets to use.
pub struct NewSealingKey<'a> {
    /// The name of its Secret; without one the cluster makes it up.
    pub name: Option<&'a str>,
    /// The value of its label: the controller uses keys that are `active`.
    pub label: &'a str,
    /// Its certificate, in PEM.
    pub certificate: &'a [u8],
    /// Its private key, in PEM.
    pub private_key: &'a SecretBytes,
}

impl Cluster {
    /// Returns a Secret.
    ///
    /// # Errors
    /// If it is not there, or must not be read.
    pub fn secret(&self, namespace: &str, name: &str) -> Result<ClusterSecret, ClusterError> {
        let asked = Asked::one("get", "secrets", namespace, name);
        let path = format!("{}/{}", secrets(namespace)?, segment(name)?);
        let answer = self.ask(&asked, Question::get(path))?;
        let secret: Secret = parse(&asked, &answer)?;
        Ok(ClusterSecret {
            kind: secret.type_,
            labels: secret.metadata.labels.unwrap_or_default(),
            annotations: secret.metadata.annotations.unwrap_or_default(),
            data: secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, value.0.into()))
                .collect(),
        })
    }

    /// Returns all keys that are kept for a controller in a namespace, whatever their label says, by their names.
    ///
    /// # Errors
    /// If Secrets must not be listed.
    pub fn sealing_keys(&self, namespace: &str) -> Result<Vec<SealingKey>, ClusterError> {
        let asked = Asked::many("list", "secrets", Some(namespace));
        let path = format!("{}?labelSelector={}", secrets(namespace)?, segment(KEY_LABEL)?);
        let mut keys = Vec::new();
        for secret in self.list::<Secret>(&asked, &path)? {
            let (metadata, mut data) = (secret.metadata, secret.data.unwrap_or_default());
            // What is no key is labelled as one all the same: the controller would not start with it.
            let mut take = |key: &str| data.remove(key).map(|value| value.0).unwrap_or_default();
            keys.push(SealingKey {
                name: metadata.name.unwrap_or_default(),
                label: metadata.labels.unwrap_or_default().remove(KEY_LABEL).unwrap_or_default(),
                created: metadata.creation_timestamp.map(|time| time.0.to_string()),
                certificate: take("tls.crt"),
                private_key: take("tls.key").into(),
            });
        }
        Ok(keys)
    }

    /// Makes a Secret with a key for the controller, and returns its name. One that is there is not touched.
    ///
    /// # Errors
    /// If there is a Secret of this name, or none may be made.
    pub fn create_sealing_key(
        &self,
        namespace: &str,
        key: &NewSealingKey<'_>,
    ) -> Result<String, ClusterError> {
        let asked = match key.name {
            Some(name) => Asked::one("create", "secrets", namespace, name),
            None => Asked::many("create", "secrets", Some(namespace)),
        };
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"labels": {KEY_LABEL: key.label}},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": base64::encode(&SecretBytes::from(key.certificate))},
        });
        match key.name {
            Some(name) => object["metadata"]["name"] = name.into(),
            None => object["metadata"]["generateName"] = PREFIX.into(),
        }
        let question = Question::post(secrets(namespace)?, with_private_key(&object, key.private_key));
        let answer = self.ask(&asked, question).map_err(without_message)?;
        let secret: Secret = parse(&asked, &answer)?;
        Ok(secret.metadata.name.unwrap_or_default())
    }

    /// Changes what the label of a key says; the key itself is not touched.
    ///
    /// # Errors
    /// If there is no such Secret, or it must not be changed.
    pub fn label_sealing_key(&self, namespace: &str, name: &str, label: &str) -> Result<(), ClusterError> {
        let asked = Asked::one("patch", "secrets", namespace, name);
        let path = format!("{}/{}", secrets(namespace)?, segment(name)?);
        let change = json!({"metadata": {"labels": {KEY_LABEL: label}}});
        let question = Question::patch(path, SecretBytes::from(change.to_string()));
        self.ask(&asked, question).map_err(without_message).map(|_| ())
    }

    /// Returns all objects of a list, which comes in parts.
    fn list<T: DeserializeOwned>(&self, asked: &Asked, path: &str) -> Result<Vec<T>, ClusterError> {
        let mut all = Vec::new();
        let mut next = String::new();
        for _ in 0..PARTS {
            let path = format!("{path}&limit={PART}{next}");
            let question = Question { greatest: GREATEST_PART, ..Question::get(path) };
            let part: Part<T> = parse(asked, &self.ask(asked, question)?)?;
            all.extend(part.items);
            match part.metadata.and_then(|metadata| metadata.next).filter(|next| !next.is_empty()) {
                Some(token) => next = format!("&continue={}", segment(&token)?),
                None => return Ok(all),
            }
        }
        Err(ClusterError::TooLarge { asked: asked.clone(), greatest: PARTS * GREATEST_PART })
    }
}

#[derive(Deserialize)]
struct Part<T> {
    metadata: Option<PartMetadata>,
    items: Vec<T>,
}

#[derive(Deserialize)]
struct PartMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

fn secrets(namespace: &str) -> Result<String, ClusterError> {
    Ok(format!("/api/v1/namespaces/{}/secrets", segment(namespace)?))
}

fn parse<T: DeserializeOwned>(asked: &Asked, answer: &SecretBytes) -> Result<T, ClusterError> {
    // What the parser says may show what it read.
    serde_json::from_slice(answer.expose_secret())
        .map_err(|_| ClusterError::Malformed { asked: asked.clone() })
}

/// Returns the text of an object with a private key in its data, which stands in no other text in between.
fn with_private_key(object: &Json, key: &SecretBytes) -> SecretBytes {
    let text = object.to_string();
    let start = text.find(DATA).expect("the object has data") + DATA.len();
    let encoded = SecretBytes::from(base64::encode(key));
    let mut whole = SecretBytes::with_capacity(text.len() + encoded.len() + 16);
    whole.extend_from_slice(&text.as_bytes()[..start]);
    whole.extend_from_slice(b"\"tls.key\":\"");
    whole.extend_from_slice(encoded.expose_secret());
    whole.extend_from_slice(b"\",");
    whole.extend_from_slice(&text.as_bytes()[start..]);
    whole
}

/// An API server that refuses an object may show what is in it, and so may what it asks whether to admit it.
fn without_message(error: ClusterError) -> ClusterError {
    let source = None;
    match error {
        ClusterError::Answer { asked, status, .. } => ClusterError::Answer { asked, status, source },
        ClusterError::Conflict { asked, .. } => ClusterError::Conflict { asked, source },
        ClusterError::Forbidden { asked, .. } => ClusterError::Forbidden { asked, source },
        ClusterError::NotFound { asked, .. } => ClusterError::NotFound { asked, source },
        ClusterError::Unauthorized { asked, .. } => ClusterError::Unauthorized { asked, source },
        error => error,
    }
}

/// What comes before the first entry of the data of an object, which is the only map of that name in it.
const DATA: &str = "\"data\":{";

const KEY_LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";

/// What the controller begins the names of its keys with.
const PREFIX: &str = "sealed-secrets-key";

/// How many objects come at a time, and how often.
const PART: usize = 250;
const PARTS: usize = 400;

const GREATEST_PART: usize = 512 << 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cluster(answer: impl Fn(&str, &str, &[u8]) -> (u16, String) + Send + Sync + 'static) -> Cluster {
        Cluster::fake(answer, Duration::from_secs(5))
    }

    #[test]
    fn lists_are_read_to_their_end() {
        let cluster = cluster(|_, path, _| {
            let part = match path.contains("continue=a%2Fb") {
                true => json!({"items": [{"metadata": {"name": "2"}}]}),
                false => json!({"metadata": {"continue": "a/b"}, "items": [{"metadata": {"name": "1"}}]}),
            };
            (200, part.to_string())
        });
        let all = cluster.list::<Json>(&Asked::many("list", "secrets", None), "/api/v1/secrets?");
        let all = all.expect("they are listed");
        let names: Vec<_> = all.iter().map(|object| object["metadata"]["name"].as_str()).collect();
        assert_eq!(names, [Some("1"), Some("2")]);
    }

    #[test]
    fn a_key_is_sent_as_a_secret() {
        let cluster = cluster(|_, _, body| {
            let object: Json = serde_json::from_slice(body).expect("JSON");
            let expected = json!({"tls.crt": "Yw==", "tls.key": "aw=="});
            (if object["data"] == expected { 201 } else { 400 }, r#"{"metadata":{"name":"b"}}"#.to_owned())
        });
        let private_key = &SecretBytes::from("k");
        let key = NewSealingKey { name: Some("\"data\":{"), label: "active", certificate: b"c", private_key };
        assert_eq!(cluster.create_sealing_key("ns", &key).expect("it is made"), "b");
    }

    #[test]
    fn no_value_is_in_an_error() {
        let refusing = |status: u16| {
            let text = json!({"kind": "Status", "message": "Invalid value: hush"}).to_string();
            cluster(move |_, _, _| (status, text.clone()))
        };
        let key = NewSealingKey {
            name: None,
            label: "active",
            certificate: b"",
            private_key: &SecretBytes::from("hush"),
        };
        for status in [401, 403, 404, 409, 422, 500] {
            let made = refusing(status).create_sealing_key("ns", &key).expect_err("it is refused");
            let labelled = refusing(status).label_sealing_key("ns", "a", "x").expect_err("it is refused");
            for error in [made, labelled] {
                assert!(!format!("{error} {error:?} {:?}", error.causes()).contains("hush"), "{status}");
            }
        }
        let error = cluster(|_, _, _| (200, r#"{"data":{"a":"hush!"}}"#.to_owned())).secret("ns", "a");
        let Err(error) = error else { panic!("it cannot be read") };
        assert!(!format!("{error} {error:?} {:?}", error.causes()).contains("hush"));
    }
}

//! What kubeseal makes of the objects that it is given: which of them are Secrets to seal, for which name,
//! namespace and scope, and with which texts it refuses the others.

use rand_core::CryptoRngCore;
use serde_json::{Map, Value as Json};

use crate::sealed::{CertError, SealedSecret, SealingCert, SealingError, SealingScope, Secret, SecretError};

/// How a Secret is sealed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices<'a> {
    /// Whether a Secret without values is sealed.
    pub allow_empty_data: bool,
    /// The name to take in place of the Secret's.
    pub name: Option<&'a str>,
    /// The namespace to take in place of the Secret's.
    pub namespace: Option<&'a str>,
    /// Where the user works.
    pub surroundings: Surroundings<'a>,
    /// The scope to take in place of the one that the annotations of the Secret ask for; strict leaves that.
    pub scope: SealingScope,
}

/// In which namespace a user works.
#[derive(Clone, Copy, Debug, Default)]
pub enum Surroundings<'a> {
    /// In one that was named for this run: a Secret of another one is a mistake.
    Named(&'a str),
    /// In the one of the configuration.
    Configured(&'a str),
    /// In none that is known.
    #[default]
    Unknown,
}

/// Why an object is not sealed. No variant holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// A value is not base64.
    #[error("json: cannot unmarshal string into Go struct field Secret.data.{key} of type []uint8: {source}")]
    Base64 {
        /// The key of the value.
        key: String,
        /// Where it is wrong.
        source: crate::sealed::Base64Error,
    },
    /// There are no values.
    #[error(
        "secret.data is empty in input Secret, assuming this is an error and aborting. To work with empty data, \
         --allow-empty-data can be used"
    )]
    EmptyData,
    /// A field is not of its type.
    #[error(transparent)]
    Field(SecretError),
    /// The object says that it is something else.
    #[error("the input is a {0}, not a Secret")]
    Kind(String),
    /// The Secret is in another namespace than the one that was named.
    #[error("namespace mismatch: input secret is in namespace {secret:?} but {named:?} was specified")]
    Namespace {
        /// The namespace of the Secret.
        secret: String,
        /// The one that was named.
        named: String,
    },
    /// It cannot be sealed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
}

/// Reads the fields of a Secret from an object. One that says it is something else is none, unless it has no
/// values and may not be sealed without: that is told when it is its turn.
///
/// # Errors
/// If a value is not base64, or the object is something else.
pub fn secret(object: Map<String, Json>, choices: &Choices<'_>) -> Result<Secret, ObjectError> {
    let object = Json::Object(object);
    let other = other_kind(&object);
    let secret = Secret::from_any_json(&object).map_err(|error| match (error, &other) {
        (_, Some(kind)) => ObjectError::Kind(kind.clone()),
        (SecretError::Data { key, source }, None) => ObjectError::Base64 { key, source },
        (error, None) => ObjectError::Field(error),
    })?;
    match other {
        Some(kind) if choices.allow_empty_data || !secret.data.is_empty() => Err(ObjectError::Kind(kind)),
        _ => Ok(secret),
    }
}

/// Seals a Secret.
///
/// # Errors
/// If it has no values, no name, or another namespace than was named, or cannot be sealed.
pub fn seal(
    mut secret: Secret,
    choices: &Choices<'_>,
    cert: &SealingCert,
    rng: &mut dyn CryptoRngCore,
) -> Result<SealedSecret, ObjectError> {
    if secret.data.is_empty() && !choices.allow_empty_data {
        return Err(ObjectError::EmptyData);
    }
    let metadata = &mut secret.metadata;
    if let Some(name) = choices.name {
        metadata.set_name(name);
    }
    if metadata.name().is_empty() {
        return Err(SealingError::MissingName.into());
    }
    if let Some(namespace) = choices.namespace {
        metadata.set_namespace(namespace);
    }
    if choices.scope != SealingScope::Strict {
        choices.scope.annotate(metadata);
    }
    if SealingScope::of(metadata) != SealingScope::ClusterWide {
        match choices.surroundings {
            Surroundings::Named(named) if !["", named].contains(&metadata.namespace()) => {
                let (secret, named) = (metadata.namespace().to_owned(), named.to_owned());
                return Err(ObjectError::Namespace { secret, named });
            }
            Surroundings::Named(namespace) | Surroundings::Configured(namespace)
                if metadata.namespace().is_empty() =>
            {
                metadata.set_namespace(namespace);
            }
            _ => {}
        }
    }
    Ok(SealedSecret::seal(&secret, cert, rng)?)
}

/// Returns what kubeseal says of a certificate that cannot be used.
#[must_use]
pub fn cert_message(error: &CertError) -> String {
    match error {
        CertError::Expired(end) => {
            let end = end.to_offset(time::UtcOffset::UTC);
            let date = format!("{} {}, {}", end.month(), end.day(), end.year());
            format!("failed to encrypt using an expired certificate on {date}")
        }
        CertError::Missing | CertError::PublicKey => {
            "data does not contain any valid RSA or ECDSA certificates".to_owned()
        }
        CertError::NotRsa => "expected RSA public key but found one of another algorithm".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the kind that an object says it is, if it is not a Secret.
fn other_kind(object: &Json) -> Option<String> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    match (text("kind"), text("apiVersion")) {
        ("" | "Secret", "" | "v1") => None,
        ("", version) => Some(format!("thing of version {version}")),
        ("Secret", version) => Some(format!("Secret of version {version}")),
        (kind, _) => Some(kind.to_owned()),
    }
}

#[cfg(all(test, feature = "aws-lc"))]
mod tests {
    use rand::rngs::OsRng;
    use serde_json::json;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::sealed::{KeySize, SealingKey};

    fn cert() -> SealingCert {
        let key = SealingKey::generate(KeySize::Rsa2048).expect("a new key");
        let now = OffsetDateTime::UNIX_EPOCH;
        SealingCert::generate(&key, "", now, Duration::days(1), &mut OsRng).expect("a certificate")
    }

    fn sealed(object: Json, choices: &Choices<'_>) -> Result<(String, String, SealingScope), String> {
        let Json::Object(object) = object else { panic!("not an object") };
        let sealed = secret(object, choices).and_then(|secret| seal(secret, choices, &cert(), &mut OsRng));
        let sealed = sealed.map_err(|error| error.to_string())?;
        let metadata = &sealed.metadata;
        Ok((metadata.namespace().to_owned(), metadata.name().to_owned(), sealed.scope()))
    }

    #[test]
    fn namespaces_come_from_the_secret_then_from_where_the_user_works() {
        let of = |namespace: &str, surroundings| {
            let object = json!({"metadata": {"name": "n", "namespace": namespace}, "data": {"a": ""}});
            sealed(object, &Choices { surroundings, ..Choices::default() }).map(|(namespace, ..)| namespace)
        };
        assert_eq!(of("x", Surroundings::Configured("y")).as_deref(), Ok("x"));
        assert_eq!(of("", Surroundings::Configured("y")).as_deref(), Ok("y"));
        assert_eq!(of("y", Surroundings::Named("y")).as_deref(), Ok("y"));
        assert_eq!(
            of("x", Surroundings::Named("y")).expect_err("another one"),
            "namespace mismatch: input secret is in namespace \"x\" but \"y\" was specified"
        );
        assert_eq!(of("", Surroundings::Unknown).expect_err("none"), "secret must declare a namespace");
    }

    #[test]
    fn scopes_of_flags_win_over_annotations_except_for_strict() {
        let annotations = json!({"sealedsecrets.bitnami.com/cluster-wide": "true"});
        let object = json!({"metadata": {"name": "n", "annotations": annotations}, "stringData": {"a": "b"}});
        let of = |scope| {
            let surroundings = Surroundings::Named("y");
            sealed(object.clone(), &Choices { scope, surroundings, ..Choices::default() })
        };
        let (namespace, _, scope) = of(SealingScope::Strict).expect("sealed");
        assert_eq!((namespace.as_str(), scope), ("", SealingScope::ClusterWide));
        let (namespace, _, scope) = of(SealingScope::NamespaceWide).expect("sealed");
        assert_eq!((namespace.as_str(), scope), ("y", SealingScope::NamespaceWide));
    }

    #[test]
    fn other_kinds_are_not_sealed() {
        let of = |object| sealed(object, &Choices { allow_empty_data: true, ..Choices::default() });
        let config = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "eA=="}});
        assert_eq!(of(config).expect_err("another kind"), "the input is a ConfigMap, not a Secret");
        let config = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "x y"}});
        assert_eq!(of(config).expect_err("another kind"), "the input is a ConfigMap, not a Secret");
        let empty = json!({"kind": "Deployment", "apiVersion": "apps/v1"});
        assert_eq!(of(empty).expect_err("another kind"), "the input is a Deployment, not a Secret");
        let secret = json!({"kind": "Secret", "apiVersion": "v2", "data": {"a": "eA=="}});
        assert_eq!(
            of(secret).expect_err("another version"),
            "the input is a Secret of version v2, not a Secret"
        );
        let bad = json!({"data": {"a": "x y"}});
        assert_eq!(
            of(bad).expect_err("no base64"),
            "json: cannot unmarshal string into Go struct field Secret.data.a of type []uint8: \
             illegal base64 data at input byte 1"
        );
    }
}

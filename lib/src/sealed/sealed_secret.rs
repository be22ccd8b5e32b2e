//! SealedSecrets: the objects that stand in Git.

use std::collections::BTreeMap;

use rand_core::CryptoRngCore;
use serde_json::{Map, Value as Json};

use super::cert::SealingCert;
use super::item::ItemError;
use super::object_meta::ObjectMeta;
use super::registry::KeyRegistry;
use super::scope::SealingScope;
use super::secret::{Secret, SecretError, entries, text, truth};
use super::{API_VERSION, KIND};

/// A SealedSecret. Only its items are encrypted; nothing in it is a secret by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SealedSecret {
    /// Its metadata, whose annotations tell the scope.
    pub metadata: ObjectMeta,
    /// What the Secret is made of besides the items.
    pub template: SecretTemplate,
    /// The items: a key of the Secret, and its sealed value.
    pub encrypted_data: BTreeMap<String, String>,
    /// The whole Secret as one item, as kubeseal wrote it before 0.7.
    pub deprecated_data: Option<String>,
}

/// What a Secret is made of besides the items of the SealedSecret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecretTemplate {
    /// The metadata of the Secret. Its name and namespace count for nothing.
    pub metadata: ObjectMeta,
    /// The `type` of the Secret.
    pub type_: Option<String>,
    /// Whether the Secret may be changed once it is there.
    pub immutable: Option<bool>,
    /// Templates of further values; null takes an item of that name out of the Secret.
    pub data: BTreeMap<String, Option<String>>,
}

/// Why a Secret cannot be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealingError {
    /// The key of the certificate cannot take a session key.
    #[error("message too long for RSA key size")]
    KeyTooSmall,
    /// The Secret has no values.
    #[error("the Secret has no values")]
    Empty,
    /// The Secret has no name.
    #[error("missing metadata.name in input Secret")]
    MissingName,
    /// The Secret has no namespace, and the scope binds its values to one.
    #[error("secret must declare a namespace")]
    MissingNamespace,
    /// The Secret is in another namespace than the one that was asked for.
    #[error("namespace mismatch: input secret is in namespace {found:?} but {wanted:?} was specified")]
    NamespaceMismatch {
        /// The namespace of the Secret.
        found: String,
        /// The namespace that was asked for.
        wanted: String,
    },
}

/// Why an object is not a SealedSecret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedSecretError {
    /// A field is not of its type.
    #[error(transparent)]
    Field(SecretError),
    /// The object is of another kind.
    #[error("the object is a {0}, not a SealedSecret")]
    Kind(String),
    /// The object is of a version that nothing reads.
    #[error("the object is of version {0}, not of bitnami.com/v1alpha1")]
    Version(String),
}

/// What became of the items of a SealedSecret that was sealed again.
#[derive(Debug, Default)]
pub struct Resealed {
    /// The items with a new ciphertext.
    pub changed: Vec<String>,
    /// The items that were sealed for the wanted key already.
    pub kept: Vec<String>,
    /// The items that no key opens; they stay as they are.
    pub failed: Vec<(String, ItemError)>,
}

impl SealedSecret {
    /// Returns whether an object says that it is a SealedSecret, of whatever version.
    #[must_use]
    pub fn is_one(object: &Json) -> bool {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        object["kind"] == KIND && version.split('/').next() == Some(super::GROUP)
    }

    /// Reads a SealedSecret, as leniently as the controller: items that are no texts are empty ones, and
    /// `encryptedData` that is no map has no items, so that one broken object is told by its own status.
    ///
    /// # Errors
    /// If the object is of another kind or version, or another field is not of its type.
    pub fn from_json(object: &Json) -> Result<Self, SealedSecretError> {
        let kind = object["kind"].as_str().unwrap_or("thing without a kind");
        if kind != KIND {
            return Err(SealedSecretError::Kind(kind.to_owned()));
        }
        match object["apiVersion"].as_str().unwrap_or_default() {
            API_VERSION => Self::from_any_json(object).map_err(SealedSecretError::Field),
            other => Err(SealedSecretError::Version(other.to_owned())),
        }
    }

    /// Reads what has the fields of a SealedSecret, whatever kind it says that it is.
    ///
    /// # Errors
    /// If a field is not of its type.
    pub fn from_any_json(object: &Json) -> Result<Self, SecretError> {
        let spec = &object["spec"];
        if !(spec.is_null() || spec.is_object()) {
            return Err(SecretError::Field { path: "spec".to_owned(), expected: "a map" });
        }
        let items = spec["encryptedData"].as_object().into_iter().flatten();
        let item =
            |(key, value): (&String, &Json)| (key.clone(), value.as_str().unwrap_or_default().to_owned());
        Ok(Self {
            metadata: ObjectMeta::parse(&object["metadata"])?,
            template: SecretTemplate::from_json(&spec["template"])?,
            encrypted_data: items.map(item).collect(),
            deprecated_data: text(&spec["data"], || "spec.data".to_owned())?.map(str::to_owned),
        })
    }

    /// Seals a Secret. What the API server sets, owners, and copies of the object in annotations are left out.
    ///
    /// # Errors
    /// If the Secret has no name, or no namespace where its scope needs one, or the key is too small.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "aws-lc")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use selkie::sealed::{Key, KeyRegistry, Secret, SealedSecret, SealingCert, SealingKey, KeySize};
    /// use serde_json::json;
    ///
    /// let rng = &mut rand::rngs::OsRng;
    /// # let now = time::OffsetDateTime::UNIX_EPOCH;
    /// let key = SealingKey::generate(KeySize::Rsa2048)?;
    /// let cert = SealingCert::generate(&key, "", now, time::Duration::days(3650), rng)?;
    ///
    /// let secret = Secret::from_json(&json!({
    ///     "apiVersion": "v1", "kind": "Secret",
    ///     "metadata": {"name": "db", "namespace": "shop"},
    ///     "stringData": {"password": "of the sea"},
    /// }))?;
    /// let sealed = SealedSecret::seal(&secret, &cert, rng)?;
    ///
    /// let mut keys = KeyRegistry::new();
    /// keys.add(Key::new(key, "a new key"));
    /// let label = "shop/db";
    /// let opened = keys.open(&sealed.encrypted_data["password"], label)?;
    /// assert_eq!(opened.value.expose_secret(), b"of the sea");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "aws-lc"))]
    /// # fn main() {}
    /// ```
    pub fn seal(
        secret: &Secret,
        cert: &SealingCert,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, SealingError> {
        let mut sealed = Self::without_items(secret)?;
        let label = sealed.label();
        for (key, value) in &secret.data {
            sealed.encrypted_data.insert(key.clone(), cert.seal_labelled(value, &label, rng)?);
        }
        Ok(sealed)
    }

    /// Seals a Secret as [`seal`](Self::seal) does, but so that the same Secret always gives the same object, as long
    /// as `key` is the same. That tells whoever sees two objects whether the Secret changed, and whoever has `key` can
    /// try out values: it has to be kept as what decrypts them is.
    ///
    /// # Errors
    /// If the Secret has no name, or no namespace where its scope needs one, or the key is too small.
    pub fn seal_repeatably(
        secret: &Secret,
        cert: &SealingCert,
        key: &[u8; 32],
    ) -> Result<Self, SealingError> {
        let mut sealed = Self::without_items(secret)?;
        let label = sealed.label();
        for (entry, value) in &secret.data {
            let place = [secret.metadata.namespace(), secret.metadata.name(), entry];
            let item = cert.seal_repeatably(value, &label, &place, key)?;
            sealed.encrypted_data.insert(entry.clone(), item);
        }
        Ok(sealed)
    }

    /// Returns what [`seal`](Self::seal) makes of a Secret, without any item.
    ///
    /// # Errors
    /// If the Secret has no name, or no namespace where its scope needs one.
    pub fn without_items(secret: &Secret) -> Result<Self, SealingError> {
        let scope = SealingScope::of(&secret.metadata);
        let (namespace, name) = (secret.metadata.namespace(), secret.metadata.name());
        if name.is_empty() {
            return Err(SealingError::MissingName);
        }
        if namespace.is_empty() && scope != SealingScope::ClusterWide {
            return Err(SealingError::MissingNamespace);
        }
        let mut sealed = Self { metadata: ObjectMeta::named(namespace, name), ..Self::default() };
        scope.annotate(&mut sealed.metadata);
        sealed.template.metadata = secret.metadata.clone();
        sealed.template.metadata.strip();
        sealed.template.type_.clone_from(&secret.type_);
        sealed.template.immutable = secret.immutable;
        Ok(sealed)
    }

    /// Seals every item again that was not sealed for `cert`; nothing else of the object changes. With `always`,
    /// those too that were.
    ///
    /// # Errors
    /// If the key of the certificate is too small. Items that no key opens are told in the result.
    pub fn reseal(
        &mut self,
        keys: &KeyRegistry,
        cert: &SealingCert,
        always: bool,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Resealed, SealingError> {
        let (label, wanted) = (self.label(), cert.fingerprint());
        let mut resealed = Resealed::default();
        for (key, item) in &mut self.encrypted_data {
            match keys.open(item, &label) {
                Ok(opened) if !always && keys.keys()[opened.key].fingerprint() == wanted => {
                    resealed.kept.push(key.clone());
                }
                Ok(opened) => {
                    *item = cert.seal_labelled(&opened.value, &label, rng)?;
                    resealed.changed.push(key.clone());
                }
                Err(error) => resealed.failed.push((key.clone(), error)),
            }
        }
        Ok(resealed)
    }

    /// Puts what `update` has over what is there: items, templates, and the labels and annotations of the
    /// Secret. Both have to be sealed for the same name, namespace and scope.
    pub fn merge(&mut self, update: Self) {
        for field in ["labels", "annotations"] {
            self.template.metadata.overlay(field, &update.template.metadata);
        }
        self.encrypted_data.extend(update.encrypted_data);
        self.template.data.extend(update.template.data);
    }

    /// Returns the scope that the annotations ask for.
    #[must_use]
    pub fn scope(&self) -> SealingScope {
        SealingScope::of(&self.metadata)
    }

    /// Returns what the items have to be sealed together with.
    #[must_use]
    pub fn label(&self) -> String {
        self.scope().label(self.metadata.namespace(), self.metadata.name())
    }

    /// Returns the object as it is written down.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut spec = Map::new();
        spec.insert("template".to_owned(), self.template.to_json());
        if let Some(data) = &self.deprecated_data {
            spec.insert("data".to_owned(), data.as_str().into());
        }
        let items = self.encrypted_data.iter().map(|(key, item)| (key.clone(), item.as_str().into()));
        spec.insert("encryptedData".to_owned(), Json::Object(items.collect()));
        let fields = [
            ("kind", KIND.into()),
            ("apiVersion", API_VERSION.into()),
            ("metadata", self.metadata.to_json()),
            ("spec", Json::Object(spec)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
    }
}

impl SecretTemplate {
    fn from_json(template: &Json) -> Result<Self, SecretError> {
        if !(template.is_null() || template.is_object()) {
            return Err(SecretError::Field { path: "spec.template".to_owned(), expected: "a map" });
        }
        let mut data = BTreeMap::new();
        for (key, value) in entries(template, "data")? {
            let value = text(value, || format!("spec.template.data[{key:?}]"))?;
            data.insert(key.clone(), value.map(str::to_owned));
        }
        Ok(Self {
            metadata: ObjectMeta::parse(&template["metadata"])?,
            type_: text(&template["type"], || "spec.template.type".to_owned())?.map(str::to_owned),
            immutable: truth(&template["immutable"], "spec.template.immutable")?,
            data,
        })
    }

    fn to_json(&self) -> Json {
        let mut template = Map::new();
        template.insert("metadata".to_owned(), self.metadata.to_json());
        if let Some(type_) = self.type_.as_ref().filter(|type_| !type_.is_empty()) {
            template.insert("type".to_owned(), type_.as_str().into());
        }
        if let Some(immutable) = self.immutable {
            template.insert("immutable".to_owned(), immutable.into());
        }
        if !self.data.is_empty() {
            let data = self.data.iter().map(|(key, text)| (key.clone(), text.as_deref().into()));
            template.insert("data".to_owned(), Json::Object(data.collect()));
        }
        Json::Object(template)
    }
}

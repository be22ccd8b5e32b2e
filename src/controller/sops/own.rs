//! `SopsSecret` of `selkie.dev`: a Secret as an encrypted file of SOPS, carried byte for byte, so that its MAC can be
//! verified.
//!
//! ```yaml
//! apiVersion: selkie.dev/v1alpha1
//! kind: SopsSecret
//! metadata: {name: db, namespace: shop}
//! spec:
//!   document: |            # or documentBase64
//!     password: ENC[…]
//!     sops: {…}
//!   format: yaml           # json, dotenv, ini, binary
//!   target: {name: db, type: Opaque, immutable: false, labels: {}, annotations: {}, layout: keys, key: ""}
//!   keys: {secretRef: {name: sops-keys}}
//!   suspend: false
//! ```
//!
//! Invariants: the MAC is verified, always; a document makes one Secret, in the namespace of the object, or none at all.

mod target;

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use kube::core::ApiResource;
use selkie::format::Format;
use selkie::secret::SecretBytes;
use selkie::sops::{MacCheck, Metadata};
use selkie::tree::Tree;
use serde_json::{Map, Value as Json, json};

use self::target::Target;
use super::aside::aside;
use super::failure::{self, MENDED_BY_KEYS};
use super::keys::SopsKeys;
use super::object::{self, Field};
use crate::controller::reason::{Failure, Reason};
use crate::controller::source::{Desired, Source};

/// The source of Secrets that `SopsSecret`s of `selkie.dev` are.
pub struct SopsSecrets {
    resource: ApiResource,
    keys: Arc<SopsKeys>,
}

/// What an object says.
struct Spec {
    document: SecretBytes,
    format: Format,
    target: Target,
    secret: Option<String>,
}

impl SopsSecrets {
    /// Returns the source, with the keys that it opens documents with.
    #[must_use]
    pub fn new(keys: Arc<SopsKeys>) -> Self {
        let resource = ApiResource {
            group: "selkie.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "selkie.dev/v1alpha1".to_owned(),
            kind: "SopsSecret".to_owned(),
            plural: "sopssecrets".to_owned(),
        };
        Self { resource, keys }
    }

    async fn secrets(&self, object: &Json) -> Result<Desired, Failure> {
        let place = object::place(object)?;
        let spec = object::map(&object["spec"], "spec")?;
        if spec.flag("suspend")?.unwrap_or_default() {
            return Err(object::suspended());
        }
        let Spec { document, format, target, secret } = Spec::parse(&spec, &place.name)?;
        let (tree, metadata) = aside(move |_| read(format, document)).await?;
        let envelope = self.keys.recover(&place.namespace, secret.as_deref(), metadata).await?;
        let metadata = object::metadata(&place, &self.resource, &target.name);
        let secret = aside(move |waiting| {
            let opened = envelope.open(format, tree, MacCheck::Require);
            let opened = opened.map_err(|error| failure::of_opening(&error))?;
            waiting.check()?;
            target.secret(&opened, metadata)
        });
        Ok(Desired { secrets: vec![secret.await?], prune: true, adopt: false })
    }
}

impl Source for SopsSecrets {
    fn resource(&self) -> &ApiResource {
        &self.resource
    }

    fn essence(&self, object: &Json) -> Json {
        json!({"name": object["metadata"]["name"], "spec": object["spec"]})
    }

    fn open<'a>(&'a self, object: &'a Json) -> BoxFuture<'a, Result<Desired, Failure>> {
        Box::pin(self.secrets(object))
    }

    fn managed(&self) -> &str {
        MANAGED
    }

    fn mended_by_keys(&self) -> &[Reason] {
        &MENDED_BY_KEYS
    }

    fn hides_metadata(&self) -> bool {
        true
    }

    fn status(&self, _: &Json, _: Result<(), &Failure>) -> Json {
        Json::Object(Map::new())
    }
}

/// Reads a document, and what it says of its keys.
fn read(format: Format, document: SecretBytes) -> Result<(Tree, Metadata), Failure> {
    let tree = format.read(document).map_err(|error| failure::of_parsing("the document", &error))?;
    let metadata = Metadata::from_entry(tree.metadata()).map_err(|error| failure::of_metadata(&error))?;
    Ok((tree, metadata))
}

impl Spec {
    fn parse(spec: &Field<'_>, name: &str) -> Result<Self, Failure> {
        let format = match spec.text("format")? {
            None => Format::Yaml,
            Some(name) => Format::from_name(name).ok_or_else(|| {
                object::invalid("spec.format is not one of yaml, json, dotenv, ini, binary")
            })?,
        };
        let document = match (spec.text("document")?, spec.text("documentBase64")?) {
            (Some(text), None) => SecretBytes::from(text),
            (None, Some(text)) => {
                let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
                let bytes = BASE64_STANDARD.decode(text);
                bytes.map_err(|_| object::invalid("spec.documentBase64 is not base64"))?.into()
            }
            (None, None) => return Err(object::invalid("spec has neither document nor documentBase64")),
            (Some(_), Some(_)) => return Err(object::invalid("spec has both document and documentBase64")),
        };
        let secret = match spec.map("keys")? {
            None => None,
            Some(keys) => match keys.map("secretRef")? {
                None => None,
                Some(secret) => Some(secret.required("name")?.to_owned()),
            },
        };
        Ok(Self { document, format, target: Target::parse(spec.map("target")?, name)?, secret })
    }
}

/// The annotation of a Secret that may be taken over.
const MANAGED: &str = "selkie.dev/managed";

#[cfg(test)]
mod tests;
